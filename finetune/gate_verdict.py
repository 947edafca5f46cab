"""What the gate found of a new adapter beside the current one, and what it decided."""

from dataclasses import asdict, dataclass
from typing import Any

from finetune.log_break import BreakTest


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One measure of both adapters on the same customers.

    Attributes:
        measure: its name.
        current: of the current adapter.
        new: of the new one.
        low: lower end of the 98% interval of how much worse the new one is; negative is better.
        high: its upper end.
        allowed: how much worse counts as the same.
    """

    measure: str
    current: float
    new: float
    low: float
    high: float
    allowed: float

    @property
    def worse(self) -> bool:
        """Whether the new adapter is worse beyond what chance would show."""
        return self.low > self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class GateWindow:
    """Both adapters at one cut-off.

    Attributes:
        name: which window, in words.
        cutoff: ISO moment.
        customers: how many were judged on.
        whom: who they are, in words.
    """

    name: str
    cutoff: str
    customers: int
    whom: str
    rows: tuple[GateRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What the gate decided.

    Attributes:
        against: the adapter that was current.
        windows: on which both were judged.
        breaks: later windows of the log against the one that is trusted.
        reasons: why the new adapter is refused; none where it passes.
        notes: what could not be judged, and why.
    """

    adapter_id: str
    against: str
    windows: tuple[GateWindow, ...]
    breaks: tuple[BreakTest, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the new adapter may become the current one."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the record and for scripts."""
        return asdict(self) | {"passed": self.passed}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "GateVerdict":
        """Read what `to_json` wrote."""
        return cls(
            adapter_id=document["adapter_id"],
            against=document["against"],
            windows=tuple(
                GateWindow(**{**window, "rows": tuple(GateRow(**row) for row in window["rows"])})
                for window in document["windows"]
            ),
            breaks=tuple(
                BreakTest(**{**found, "reasons": tuple(found["reasons"])})
                for found in document["breaks"]
            ),
            reasons=tuple(document["reasons"]),
            notes=tuple(document["notes"]),
        )
