"""Which adapters were current, when and why, and what the gate said: an append-only file.

A line is written before the pointer moves. The line after it, or the pointer itself, tells whether
the move took place; a line whose move a crash prevented does not count. Verdicts of the gate have
lines of their own.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from finetune.gate_verdict import GateVerdict
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
        log_version: of the event log at that moment; None in lines from before it was recorded.
    """

    adapter_id: str
    before: str | None
    moment: datetime
    why: Why
    log_version: int | None = None

    def to_json(self) -> str:
        """The file's line."""
        document = {
            "id": self.adapter_id,
            "before": self.before,
            "moment": self.moment.isoformat(),
            "why": self.why.value,
            "log_version": self.log_version,
        }
        return json.dumps(document, ensure_ascii=False)


def record_promotion(
    folder: Path, adapter_id: str, before: str | None, why: Why, log_version: int | None = None
) -> None:
    """Write a line; the pointer moves after it.

    Args:
        folder: of the adapters.
        adapter_id: that becomes current.
        before: that was current until now.
        why: it becomes current.
        log_version: of the event log.

    Raises:
        StorageError: the disk refuses.
    """
    promotion = Promotion(
        adapter_id=adapter_id,
        before=before,
        moment=datetime.now(UTC),
        why=why,
        log_version=log_version,
    )
    _append(folder, promotion.to_json())


def record_verdict(folder: Path, verdict: GateVerdict, log_version: int) -> None:
    """Write down what the gate decided, whether or not the pointer moves.

    Args:
        folder: of the adapters.
        verdict: what it found.
        log_version: of the event log that the new adapter was made from.

    Raises:
        StorageError: the disk refuses.
    """
    document = {
        "id": verdict.adapter_id,
        "moment": datetime.now(UTC).isoformat(),
        "log_version": log_version,
        "verdict": verdict.to_json(),
    }
    _append(folder, json.dumps(document, ensure_ascii=False))


def read_verdicts(folder: Path) -> dict[str, GateVerdict]:
    """The newest verdict on each adapter that the gate has judged."""
    verdicts = {}
    for document in _documents(folder):
        try:
            verdicts[document["id"]] = GateVerdict.from_json(document["verdict"])
        except (KeyError, TypeError):
            continue
    return verdicts


def known_log_version(folder: Path, adapter_id: str) -> int | None:
    """Version of the event log when an adapter was made or installed; None if not recorded.

    The first line about it counts: coming back to it later says nothing about rows read since.
    """
    for document in _documents(folder):
        if document.get("id") == adapter_id and isinstance(document.get("log_version"), int):
            version: int = document["log_version"]
            return version
    return None


def _append(folder: Path, line: str) -> None:
    file = folder / PROMOTIONS_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Begun on a line of its own: the one before may have been cut by a crash.
        cut = file.is_file() and not file.read_bytes().endswith(b"\n")
        with file.open("ab") as stream:
            stream.write(("\n" if cut else "").encode() + line.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise StorageError(
            f"Cannot write {file}: {error}.",
            hint="Free some space or make the folder writable, then run it again.",
        ) from error


def _documents(folder: Path) -> list[dict[str, Any]]:
    """The file's lines, oldest first, without those that a crash cut."""
    file = folder / PROMOTIONS_FILE
    if not file.is_file():
        return []
    documents = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            documents.append(document)
    return documents


def read_promotions(folder: Path, current: str | None) -> list[Promotion]:
    """The moves that took place, oldest first.

    Args:
        folder: of the adapters.
        current: where the pointer points now.
    """
    written = [
        promotion
        for document in _documents(folder)
        if (promotion := _promotion(document)) is not None
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


def _promotion(document: dict[str, Any]) -> Promotion | None:
    """A move of the pointer; None where the line is about something else."""
    try:
        return Promotion(
            adapter_id=document["id"],
            before=document["before"],
            moment=datetime.fromisoformat(document["moment"]),
            why=Why(document["why"]),
            log_version=document.get("log_version"),
        )
    except (ValueError, KeyError, TypeError):
        return None
