"""What the sections of `make bench-offers` found: a `Report` whose intervals come with the figures.

The last line printed is one JSON document with the keys of `bench.report`, but `speed`, and
`verdicts` (`set`, `task`, `text`). A figure without an interval, or one that could not be measured,
is null.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferOptions:
    """What every section is told.

    Attributes:
        seeds: how many random splits, or fits, a section repeats.
        seed: the first of them; the others follow it.
        data: folder that holds `hillstrom.csv`.
        work: folder kept between runs.
        plots: folder that pictures are written to.
        margin: share of Hillstrom's spend that is left as profit; an assumption.
        message_cents: what one of Hillstrom's e-mails costs, cents; an assumption.
    """

    seeds: int = 8
    seed: int = 0
    data: Path = Path("../shared/data")
    work: Path = Path("bench/.work")
    plots: Path = Path("bench/.work/plots")
    margin: float = 0.3
    message_cents: int = 5


@dataclass
class OfferReport(Report):
    """Gathers what the sections find.

    `about` names the set, and after its first space the task: "hillstrom women/visit".
    """

    verdicts: list[dict[str, str]] = field(default_factory=list)

    def row(
        self,
        about: str,
        system: str,
        metric: str,
        value: float,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        """Add one figure of one system, with its 95% interval where there is one."""
        head = _place(about) | {"system": system, "metric": metric}
        self.rows.append(head | _figures(value=value, low=low, high=high))

    def difference(
        self,
        about: str,
        metric: str,
        system: str,
        peer: str,
        gain: float,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        """Add a paired difference; `gain` is positive where the system is better than the peer."""
        head = _place(about) | {"metric": metric, "system": system, "peer": peer}
        self.differences.append(head | _figures(gain=gain, low=low, high=high))

    def verdict(self, about: str, text: str) -> None:
        """Say in words what the figures mean, computed from the figures."""
        self.verdicts.append(_place(about) | {"text": text})
        self.say(f"  {about}: {text}")

    def document(self) -> dict[str, Any]:
        """Everything found, as JSON values; nothing here is timed."""
        found = Report.document(self) | {"verdicts": self.verdicts}
        del found["speed"]
        return found


class Section(Protocol):
    """One part of the bench: a module's `measure`."""

    def __call__(self, report: OfferReport, options: OfferOptions) -> None:
        """Measure, and add to the report."""
        ...


def _place(about: str) -> dict[str, str]:
    set_, _, task = about.partition(" ")
    return {"set": set_, "task": task}


def _figures(**figures: float | None) -> dict[str, float | None]:
    return {
        name: round(float(figure), 5) if figure is not None and np.isfinite(figure) else None
        for name, figure in figures.items()
    }
