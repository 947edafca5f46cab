"""Qini curves of Hillstrom's e-mails."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bench.offers_hillstrom_split import OURS, SHARES
from finetune.calibration import Floats

_SHOWN_PEERS = 6


def plot_qini_curves(
    curves: Mapping[str, Mapping[str, Floats]], peers: Mapping[str, list[str]], file: Path
) -> None:
    """Draw a panel a set as a PNG: Patron, and its best peers.

    Args:
        curves: by set and system, extra outcome a hundred customers at `SHARES`, mean over splits.
        peers: by set, the best first.
        file: to write.
    """
    figure = Figure(figsize=(6.5 * len(curves), 5.5), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (set_, by_system) in zip(panels, curves.items(), strict=True):
        last = float(by_system[OURS][-1])
        axes.plot([0, 1], [0, last], color="#9aa5ad", linewidth=0.8, label="chance")
        for number, name in enumerate([OURS, *peers[set_][:_SHOWN_PEERS]]):
            width = 2.2 if name == OURS else 1.1
            axes.plot(SHARES, by_system[name], color=f"C{number}", linewidth=width, label=name)
        axes.set(
            xlabel="share of customers targeted, the highest effect first",
            ylabel="extra outcome a hundred treated customers",
            title=set_,
        )
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
