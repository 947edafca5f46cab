"""Patron beside every peer on one task: figures, paired differences, and whether claims hold."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.recommendation_data import Window
from bench.report import Report
from retrieval.lines import Ints
from retrieval.ranking_metrics import coverage, list_metrics

SHOWN = ("recall@20", "ndcg@10", "mrr@10", "coverage@10", "novelty@10", "diversity@10", "value@10")
JUDGED_BY = ("ndcg@10", "recall@20")
SYSTEM = "patron"
_LEAST_CERTAIN = 3  # comparisons with the best peer whose interval lies above 0


def metrics_of(window: Window, task: str, lists: Ints) -> dict[str, NDArray[np.float64]]:
    """Metrics of the customers who bought something the task asks for: `[customers]` by name."""
    truths = window.truths(task)
    asked = np.array([len(truth) > 0 for truth in truths])
    return list_metrics(
        lists[asked],
        [truth for truth in truths if len(truth)],
        price=window.sales.unit_price,
        popularity=window.sales.customers / np.float32(len(np.unique(window.past.customer))),
        vectors=window.data.vectors[window.data.table.text],
    )


def compare(window: Window, task: str, lists: Mapping[str, Ints], report: Report) -> None:
    """Add every system's figures and Patron's differences, and judge the claims of the task."""
    set_ = window.data.name
    found = {system: metrics_of(window, task, rows) for system, rows in lists.items()}
    sellable = int(window.data.assortment.sellable.sum())
    figures = {}
    for system, metrics in found.items():
        covered = coverage(lists[system], sellable)
        for metric, values in metrics.items():
            report.add_row(set_, task, system, metric, values)
        report.add_row(set_, task, system, "coverage@10", covered)
        means = {metric: float(values.mean()) for metric, values in metrics.items()}
        figures[system] = {
            metric: covered if metric == "coverage@10" else means[metric] for metric in SHOWN
        }
    report.table(f"{set_}, {task}, test", figures)
    others = [system for system in found if not system.startswith(SYSTEM)]
    for peer in [system for system in found if system != SYSTEM]:
        for metric, values in found[SYSTEM].items():
            gains = values - found[peer][metric]
            report.add_difference(set_, task, metric, SYSTEM, peer, gains)
    for metric in JUDGED_BY:
        best = max(others, key=lambda system: figures[system][metric])
        gain = figures[SYSTEM][metric] - figures[best][metric]
        report.claim(f"{set_}, {task}: {metric} is not below {best}'s ({gain:+.4f})", gain >= 0)
    best = max(others, key=lambda system: figures[system]["ndcg@10"])
    gain = figures[SYSTEM]["diversity@10"] - figures[best]["diversity@10"]
    report.claim(f"{set_}, {task}: lists are more diverse than {best}'s ({gain:+.4f})", gain > 0)


def claim_certainty(report: Report) -> None:
    """Of all comparisons with the best peer, enough must be certain."""
    best: dict[tuple[str, str, str], dict[str, Any]] = {}
    for difference in report.differences:
        peer_is_ours = difference["peer"].startswith(SYSTEM)
        if difference["system"] != SYSTEM or peer_is_ours or difference["metric"] not in JUDGED_BY:
            continue
        key = (difference["set"], difference["task"], difference["metric"])
        if key not in best or difference["gain"] < best[key]["gain"]:
            best[key] = difference
    for key, difference in best.items():
        report.say(
            f"  {', '.join(key)}: {difference['gain']:+.4f} "
            f"[{difference['low']:+.4f}, {difference['high']:+.4f}] over {difference['peer']}"
        )
    certain = sum(difference["low"] > 0 for difference in best.values())
    report.claim(
        f"{certain} of {len(best)} comparisons with the best peer have an interval above 0",
        certain >= _LEAST_CERTAIN,
    )
