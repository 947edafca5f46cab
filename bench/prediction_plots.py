"""Pictures of predictions: ROC curves, calibration, and spend by decile of predicted value."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from bench.prediction_measures import System, Truth, deciles


def plot_predictions(set_: str, truth: Truth, systems: Mapping[str, System], file: Path) -> None:
    """Draw all three of one data set side by side as a PNG."""
    figure = Figure(figsize=(18, 5.5), layout="constrained")
    roc, calibration, lift = figure.subplots(1, 3)
    share = [0.0, 1.0]
    roc.plot(share, share, color="#9aa5ad", linewidth=0.8)
    calibration.plot(share, share, color="#9aa5ad", linewidth=0.8)
    lift.axhline(1, color="#9aa5ad", linewidth=0.8)
    for number, (name, system) in enumerate(systems.items()):
        width = 2.2 if name.startswith("patron") else 1.1
        look = {"color": f"C{number}", "linewidth": width, "label": name}
        scores = system.scores
        if scores.churn is not None:
            wrong, right, _ = roc_curve(truth.churned, scores.churn)
            roc.plot(wrong, right, **look)
        if scores.churn is not None and scores.churn_is_probability:
            parts = deciles(scores.churn)
            calibration.plot(
                [scores.churn[part].mean() for part in parts],
                [truth.churned[part].mean() for part in parts],
                "o-",
                markersize=3,
                **look,
            )
        if scores.spend is not None:
            parts = deciles(scores.spend)
            means = [truth.spend[part].mean() / truth.spend.mean() for part in parts]
            lift.plot(np.arange(1, len(parts) + 1), means, "o-", markersize=3, **look)
    roc.set(xlabel="share of stayers flagged", ylabel="share of leavers found", title="ROC")
    calibration.set(
        xlabel="predicted chance of leaving, by decile",
        ylabel="share that left",
        title="Calibration",
    )
    lift.set(
        xlabel="decile of predicted spend, the highest first",
        ylabel="mean true spend / mean of all",
        title="Decile lift",
    )
    for axes in (roc, calibration, lift):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(set_)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
