"""What the sections of `make bench-offers` found, in one shape.

The last line printed is one JSON document: `commit`, `seed`, `hardware`, `rows` (`set`, `system`,
`metric`, `value`, `low`, `high`), `differences` (`set`, `metric`, `system`, `peer`, `gain`, `low`,
`high`; `gain` is positive where the system is better) and `verdicts` (`set`, `text`). A figure
without an interval, or one that could not be measured, is null.
"""

import json
from collections.abc import Mapping
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
class OfferReport:
    """Gathers what the sections find, and prints it for people and for scripts."""

    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._printed = Report(seed=self.seed)

    def say(self, text: str) -> None:
        """Print a line for people."""
        self._printed.say(text)

    def table(self, title: str, figures: Mapping[str, Mapping[str, float | None]]) -> None:
        """Print figures of systems by metric; a dash where there is none."""
        self._printed.table(title, figures)

    def row(
        self,
        set_: str,
        system: str,
        metric: str,
        value: float,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        """Add one figure of one system, with its 95% interval where there is one."""
        head = {"set": set_, "system": system, "metric": metric}
        self.rows.append(head | _figures(value=value, low=low, high=high))

    def difference(
        self,
        set_: str,
        metric: str,
        system: str,
        peer: str,
        gain: float,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        """Add a paired difference; `gain` is positive where the system is better than the peer."""
        head = {"set": set_, "metric": metric, "system": system, "peer": peer}
        self.differences.append(head | _figures(gain=gain, low=low, high=high))

    def verdict(self, set_: str, text: str) -> None:
        """Say in words what the figures mean, computed from the figures."""
        self.verdicts.append({"set": set_, "text": text})
        self.say(f"  {set_}: {text}")

    def finish(self) -> None:
        """Print the JSON document."""
        found = {
            "rows": self.rows,
            "differences": self.differences,
            "verdicts": self.verdicts,
        }
        print(json.dumps(self._printed.origin() | found, allow_nan=False))


class Section(Protocol):
    """One part of the bench: a module's `measure`."""

    def __call__(self, report: OfferReport, options: OfferOptions) -> None:
        """Measure, and add to the report."""
        ...


def _figures(**figures: float | None) -> dict[str, float | None]:
    return {
        name: round(float(figure), 5) if figure is not None and np.isfinite(figure) else None
        for name, figure in figures.items()
    }
