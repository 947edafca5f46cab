"""Pictures of offers over time: real beside simulated behaviour, and returns by policy."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.sequence_behaviour import Behaviour
from finetune.calibration import Floats

_QUIET = "#9aa5ad"


def plot_fidelity(behaviours: Mapping[str, Behaviour], file: Path) -> None:
    """Draw the share of customers, or gaps, up to each value, a line a source."""
    figure = Figure(figsize=(16, 4.2), layout="constrained")
    panels = figure.subplots(1, 4)
    for number, (name, each) in enumerate(behaviours.items()):
        look = {"color": f"C{number}", "linewidth": 2.2 if name == "real" else 1.3, "label": name}
        _share_up_to(panels[0], each.spend / 100, look)
        _share_up_to(panels[1], each.total / 100, look)
        _share_up_to(panels[2], each.visits, look)
        _share_up_to(panels[3], each.gaps, look)
    panels[0].set(xlabel="spend a period, USD", xscale="symlog", ylabel="share up to", xlim=0)
    panels[1].set(xlabel="spend in all periods, USD", xscale="symlog", xlim=0)
    panels[2].set(xlabel="days with a purchase a period")
    panels[3].set(xlabel="days between purchases", xscale="log")
    for axes in panels:
        axes.grid(alpha=0.25)
    panels[0].legend(frameon=False, fontsize=9)
    figure.suptitle("Held-out customers and periods: real and simulated")
    _save(figure, file)


def plot_returns(
    estimates: Mapping[str, Mapping[str, tuple[float, float, float]]], unit: str, file: Path
) -> None:
    """Draw each policy's return, or gain in it, with its interval, a panel an estimator.

    Args:
        estimates: by estimator, then by policy: value, low and high.
        unit: of the figures.
        file: PNG.
    """
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(estimates), sharey=True))
    for axes, (title, policies) in zip(panels, estimates.items(), strict=True):
        for number, (value, low, high) in enumerate(policies.values()):
            axes.plot([low, high], [number, number], color="C0", linewidth=2)
            axes.plot(value, number, "o", color="C0")
        axes.set(title=title, xlabel=unit, yticks=range(len(policies)))
        axes.set_yticklabels(list(policies))
        left, right = axes.get_xlim()
        if left < 0 < right:
            axes.axvline(0, color=_QUIET, linewidth=0.8)
        axes.grid(alpha=0.25, axis="x")
    panels[0].invert_yaxis()
    _save(figure, file)


def _share_up_to(axes: Axes, values: Floats, look: dict[str, object]) -> None:
    axes.step(np.sort(values), np.arange(1, len(values) + 1) / len(values), **look)  # type: ignore[arg-type]


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
