"""What became of the rows of a file: each is accepted, quarantined or a duplicate."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa

from retrieval.errors import IngestError
from retrieval.readers import RawTable
from retrieval.shop import Shop

_SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """What became of one file; `read == accepted + quarantined + duplicates`.

    Attributes:
        file: as it was given.
        read: rows in it.
        accepted: rows taken in.
        quarantined: bad rows, kept in `quarantine_file`.
        duplicates: good rows that say nothing new.
        mapping: target name to source column.
        guessed: targets whose column was guessed.
        notes: what else was decided for the file.
        quarantine_file: None where no row was bad.
    """

    file: Path
    read: int
    accepted: int
    quarantined: int
    duplicates: int
    mapping: Mapping[str, str]
    guessed: tuple[str, ...]
    notes: tuple[str, ...]
    quarantine_file: Path | None

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        values = dataclasses.asdict(self)
        kept = self.quarantine_file
        return values | {
            "file": str(self.file),
            "quarantine_file": None if kept is None else str(kept),
            "guessed": list(self.guessed),
            "notes": list(self.notes),
        }


_File = TypeVar("_File", bound=CheckedFile)


@dataclass(frozen=True, kw_only=True)
class CheckedFiles(Generic[_File]):
    """What became of several files."""

    files: tuple[_File, ...]

    @property
    def read(self) -> int:
        """Rows in all files."""
        return sum(file.read for file in self.files)

    @property
    def accepted(self) -> int:
        """Rows taken in."""
        return sum(file.accepted for file in self.files)

    @property
    def quarantined(self) -> int:
        """Bad rows."""
        return sum(file.quarantined for file in self.files)

    @property
    def duplicates(self) -> int:
        """Good rows that say nothing new."""
        return sum(file.duplicates for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "read": self.read,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "duplicates": self.duplicates,
            "files": [file.to_json() for file in self.files],
        }


def bad_limit(shop: Shop, max_bad_share: float | None) -> float:
    """The largest share of bad rows to go on with: the option's, or the shop's.

    Raises:
        IngestError: the option is no share.
    """
    limit = shop.settings.limits.max_bad_share if max_bad_share is None else max_bad_share
    if not 0 <= limit <= 1:
        raise IngestError(f"--max-bad {limit} is no share.", hint="Give a number from 0 to 1.")
    return limit


def check_share(file: Path, raw: RawTable, bad: pa.Table, limit: float) -> None:
    """See that a file is not bad altogether.

    Args:
        file: as it was given.
        raw: its rows.
        bad: columns of `row_checks.BAD_SCHEMA`.
        limit: the largest share (0 to 1) of bad rows.

    Raises:
        IngestError: more of it is bad; the message has the commonest reasons.
    """
    quarantined = bad.num_rows + len(raw.misshapen)
    share = quarantined / raw.rows
    if share <= limit:
        return
    reasons = Counter(
        f"{column}: {reason}"
        for column, reason in zip(bad["column"].to_pylist(), bad["reason"].to_pylist(), strict=True)
    )
    reasons.update(row.reason for row in raw.misshapen)
    top = "; ".join(
        f"{reason} ({count:,})" for reason, count in reasons.most_common(_SHOWN_REASONS)
    )
    allow = min(1.0, math.ceil(share * 100) / 100)
    raise IngestError(
        f"{file}: {quarantined:,} of {raw.rows:,} rows are bad ({share:.1%}, the limit is "
        f"{limit:.1%}); mostly {top}.",
        hint="Nothing was changed. Correct the file or --map, or allow it with "
        f"--max-bad {allow:g}.",
    )


def check_accounts(file: Path, read: int, accepted: int, quarantined: int, duplicates: int) -> None:
    """See that no row is lost or counted twice.

    Raises:
        IngestError: the numbers do not add up; nothing must be written then.
    """
    if read != accepted + quarantined + duplicates:
        raise IngestError(
            f"{file}: {read} rows were read, but {accepted} accepted, {quarantined} quarantined "
            f"and {duplicates} duplicates do not add up to that.",
            hint="Nothing was changed. This is a fault of Patron; please report it with the file.",
        )
