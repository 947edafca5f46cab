"""What a benchmark found: rows, paired differences, claims; a table for people, JSON for scripts.

The last line printed is one JSON document: `commit`, `seed`, `hardware`, `rows` (`set`, `task`,
`system`, `metric`, `value`, `low`, `high`), `differences` (`set`, `task`, `metric`, `system`,
`peer`, `gain`, `low`, `high`; `gain` is positive where the system is better), `claims` and `speed`.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from retrieval.ranking_metrics import bootstrap

_OUT = Console(width=150)


@dataclass
class Report:
    """Gathers results; `claims` are what must hold."""

    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    speed: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print a line for people."""
        _OUT.print(text, highlight=False, markup=False)

    def add_row(
        self, set_: str, task: str, system: str, metric: str, values: NDArray[np.float64] | float
    ) -> None:
        """Add a figure; with its interval where values by customer are given."""
        mean, low, high = (
            (values, None, None) if isinstance(values, float) else bootstrap(values, seed=self.seed)
        )
        self.rows.append(
            {
                "set": set_,
                "task": task,
                "system": system,
                "metric": metric,
                "value": _rounded(mean),
                "low": _rounded(low),
                "high": _rounded(high),
            }
        )

    def add_difference(
        self,
        set_: str,
        task: str,
        metric: str,
        system: str,
        peer: str,
        gains: NDArray[np.float64],
    ) -> None:
        """Add a paired difference by customer."""
        gain, low, high = bootstrap(gains, seed=self.seed)
        self.differences.append(
            {
                "set": set_,
                "task": task,
                "metric": metric,
                "system": system,
                "peer": peer,
                "gain": _rounded(gain),
                "low": _rounded(low),
                "high": _rounded(high),
            }
        )

    def claim(self, text: str, holds: bool) -> None:
        """Say what must hold, and whether it does."""
        self.claims.append({"claim": text, "holds": bool(holds)})
        self.say(f"  {'holds' if holds else 'FAILS'}: {text}")

    def holds(self) -> bool:
        """Whether every claim holds."""
        return all(claim["holds"] for claim in self.claims)

    def table(self, title: str, figures: Mapping[str, Mapping[str, float | None]]) -> None:
        """Print figures of systems by metric; a dash where there is none."""
        table = Table(title=title, title_justify="left")
        table.add_column("system")
        metrics = list(next(iter(figures.values())))
        for metric in metrics:
            table.add_column(metric, justify="right")
        for system, values in figures.items():
            table.add_row(system, *(_shown(values[metric]) for metric in metrics))
        _OUT.print(table)

    def origin(self) -> dict[str, Any]:
        """Where and how the figures were made."""
        return {"commit": _commit(), "seed": self.seed, "hardware": hardware()}

    def document(self) -> dict[str, Any]:
        """Everything found, as JSON values."""
        return self.origin() | {
            "rows": self.rows,
            "differences": self.differences,
            "claims": self.claims,
            "speed": self.speed,
        }

    def finish(self) -> None:
        """Print the JSON document."""
        print(json.dumps(self.document(), allow_nan=False))


def hardware() -> str:
    """Processor, cores and memory."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = names[0] if names else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB"


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)
