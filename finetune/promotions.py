"""Which adapters were current, when and why: an append-only file beside the pointer.

A line is written before the pointer moves. The line after it, or the pointer itself, tells whether
the move took place; a line whose move a crash prevented does not count.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from retrieval.errors import StorageError

PROMOTIONS_FILE = "promotions.jsonl"


class Why(StrEnum):
    """Why an adapter became the current one."""

    FINE_TUNED = "fine-tuned"
    INSTALLED = "installed"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One move of the pointer.

    Attributes:
        before: the adapter that was current until then; None where there was none.
    """

    adapter_id: str
    before: str | None
    moment: datetime
    why: Why

    def to_json(self) -> str:
        """The file's line."""
        document = {
            "id": self.adapter_id,
            "before": self.before,
            "moment": self.moment.isoformat(),
            "why": self.why.value,
        }
        return json.dumps(document, ensure_ascii=False)


def record_promotion(folder: Path, adapter_id: str, before: str | None, why: Why) -> None:
    """Write a line; the pointer moves after it.

    Raises:
        StorageError: the disk refuses.
    """
    file = folder / PROMOTIONS_FILE
    promotion = Promotion(adapter_id=adapter_id, before=before, moment=datetime.now(UTC), why=why)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Begun on a line of its own: the one before may have been cut by a crash.
        cut = file.is_file() and not file.read_bytes().endswith(b"\n")
        with file.open("ab") as stream:
            stream.write(("\n" if cut else "").encode() + promotion.to_json().encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise StorageError(
            f"Cannot write {file}: {error}.",
            hint="Free some space or make the folder writable, then run it again.",
        ) from error


def read_promotions(folder: Path, current: str | None) -> list[Promotion]:
    """The moves that took place, oldest first.

    Args:
        folder: of the adapters.
        current: where the pointer points now.
    """
    file = folder / PROMOTIONS_FILE
    if not file.is_file():
        return []
    written = [
        promotion
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if (promotion := _parse(line)) is not None
    ]
    reached = [*(later.before for _, later in pairwise(written)), current]
    return [p for p, at_next in zip(written, reached, strict=False) if p.adapter_id == at_next]


def adapters_before(promotions: list[Promotion], current: str) -> list[str]:
    """The adapters one can go back to, the last first; what was rolled back is not among them."""
    stack: list[str] = []
    for promotion in promotions:
        if promotion.before is not None and stack[-1:] != [promotion.before]:
            stack.append(promotion.before)
        if promotion.why is Why.ROLLED_BACK:
            del stack[-1:]
        if stack[-1:] != [promotion.adapter_id]:
            stack.append(promotion.adapter_id)
    if stack[-1:] == [current]:
        stack.pop()
    return stack[::-1]


def _parse(line: str) -> Promotion | None:
    """A line, or None where a crash cut it."""
    try:
        document = json.loads(line)
        return Promotion(
            adapter_id=document["id"],
            before=document["before"],
            moment=datetime.fromisoformat(document["moment"]),
            why=Why(document["why"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
