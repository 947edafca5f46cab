"""Offers for a million customers under budgets: seconds, memory and the gap to the proven bound.

    make bench-allocation

Churn risk and expected spend are drawn, with replacement, from the shop's own predictions, and go
through the formula of the expected gain. What each offer does to whom is drawn from a seeded
generator: this measures size and speed and says nothing of any real offer. Two greedy peers choose
in the same run; 2,000 customers and 20 of the offers are solved by branch and bound besides. The
last line printed is one JSON document: `commit`, `seed`, `hardware`, `customers`, `offers`,
`seconds` (drawing, gains and allocation), `peak_gib` (of the process until then), `gain`,
`upper_bound`, `gap` (as in `agent.allocation`), `greedy_gain` (by ratio), `greedy_by_gain_gain`,
and `exact_gap_small` (to the bound that branch and bound proves, of what is found without it).
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.allocation_task import Customers, Task, draw_gains, read_customers, with_budgets
from bench.report import Report
from retrieval.progress import Progress
from ui.terminal import progress_bars

_SMALL = (2_000, 20)
_ALL_EXACTLY = 10**9
_Result = TypeVar("_Result")


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    report = Report(seed=arguments.seed)
    with progress_bars() as progress:
        found = measure(
            read_customers(arguments.shop), arguments.customers, arguments.offers, report, progress
        )
    print(json.dumps(report.origin() | found, allow_nan=False))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shop", type=Path, default=Path("demo-shop"), help="has predictions")
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--offers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def measure(
    known: Customers, customers: int, offers: int, report: Report, progress: Progress
) -> dict[str, float]:
    """Draw the problem, solve it, and solve it as the peers do; the figures of the JSON."""
    drawing, drawn = _timed(lambda: draw_gains(known, customers, offers, report.seed, progress))
    setting, task = _timed(lambda: with_budgets(*drawn))
    progress("Allocation", 0, 1)
    solving, found = _timed(lambda: task.solve(exact_cells=0))
    progress("Allocation", 1, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    by_ratio_seconds, by_ratio = _timed(lambda: greedy(task, task.gain / np.maximum(task.cost, 1)))
    by_gain_seconds, by_gain = _timed(lambda: greedy(task, task.gain))
    exact_seconds, small_gap = _timed(lambda: _small_gap(task, report))
    bound = found.upper_bound
    figures = {
        "prices, repair and fill-in": (found.gain, found.cost, solving),
        "greedy by gain per cost": (*by_ratio, by_ratio_seconds),
        "greedy by gain": (*by_gain, by_gain_seconds),
    }
    report.table(
        f"{customers:,} customers, {offers} offers, budget {task.budget:,} minor units",
        {
            name: {
                "gain": gain,
                "of the bound": gain / bound,
                "of the budget": cost / task.budget,
                "seconds": seconds,
            }
            for name, (gain, cost, seconds) in figures.items()
        },
    )
    report.say(
        f"drawing and gains {drawing:.1f} s, budgets {setting:.1f} s (not counted), allocation "
        f"{solving:.1f} s, small problem {exact_seconds:.1f} s; peak {peak:.2f} GiB; no allocation "
        f"gains more than {bound:,.0f}: gap {found.gap:.2e}"
    )
    return {
        "customers": customers,
        "offers": offers,
        "seconds": round(drawing + solving, 2),
        "peak_gib": round(peak, 3),
        "gain": round(found.gain),
        "upper_bound": round(bound),
        "gap": found.gap,
        "greedy_gain": round(by_ratio[0]),
        "greedy_by_gain_gain": round(by_gain[0]),
        "exact_gap_small": small_gap,
    }


def _small_gap(task: Task, report: Report) -> float:
    rows, columns = _SMALL
    part = slice(rows), slice(columns)
    small = with_budgets(task.gain[part], task.cost[part], task.eligible[part])
    ours, best = small.solve(exact_cells=0), small.solve(exact_cells=_ALL_EXACTLY)
    report.say(
        f"{rows:,} customers, {columns} offers: {ours.gain:,.0f}, of {best.gain:,.0f} by branch "
        f"and bound ({'proven best' if best.exact else f'proven to {best.gap:.1e}'}); own bound "
        f"{ours.upper_bound:,.0f}"
    )
    return (best.upper_bound - ours.gain) / best.upper_bound


def greedy(task: Task, key: NDArray[np.floating[Any]]) -> tuple[float, int]:
    """Give out pairs of customer and offer by the highest key; gain and cost.

    An offer that the next pair in line does not fit into is closed, and with the whole budget so
    is everything; customers whose best offer has closed go on with their next best.
    """
    key = np.where((task.gain > 0) & task.eligible, key, -np.inf)
    customers = np.arange(len(key))
    best = key.argmax(axis=1)
    waiting = np.isfinite(key[customers, best])
    left = task.offer_budgets.copy()
    gain, spent = 0.0, 0
    while waiting.any():
        line = np.flatnonzero(waiting)
        line = line[np.argsort(-key[line, best[line]], kind="stable")]
        offers, costs = best[line], task.cost[line, best[line]].astype(np.int64)
        blocked = {-1: np.searchsorted(np.cumsum(costs), task.budget - spent, side="right")}
        for offer in np.unique(offers):
            places = np.flatnonzero(offers == offer)
            fitting = np.searchsorted(np.cumsum(costs[places]), left[offer], side="right")
            if fitting < len(places):
                blocked[int(offer)] = places[fitting]
        closed = min(blocked, key=lambda offer: blocked[offer])
        taken = slice(0, blocked[closed])
        gain += float(task.gain[line[taken], offers[taken]].sum(dtype=np.float64))
        spent += int(costs[taken].sum())
        np.subtract.at(left, offers[taken], costs[taken])
        waiting[line[taken]] = False
        if closed < 0:
            break
        key[:, closed] = -np.inf
        again = np.flatnonzero(waiting & (best == closed))
        best[again] = key[again].argmax(axis=1)
        waiting[again] = np.isfinite(key[again, best[again]])
    return gain, spent


def _timed(step: Callable[[], _Result]) -> tuple[float, _Result]:
    started = time.perf_counter()
    result = step()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
