"""Churn and value predictions beside their peers, on three real shops, in one run.

    make bench-prediction

Complete Journey (churn is decline of spend), Online Retail and CDNOW (churn is no purchase), split
by time. All peers are fitted on the training cut-off alone; Patron's prior learns from it and from
up to two earlier cut-offs, whose outcomes end before the test cut-off too, and has a cross-shop
part from the other shops measured. The language model is judged on Complete Journey, with the
demonstration shop's current adapter; there the part is patron-base's, which has seen the training
windows of all three. CDNOW is judged on 4,000 customers drawn once; the others on all known at the
test cut-off.

Where all three shops are measured, each is also foreseen from the other two: on day one, without a
label (sets `SHOP, day one`), and with 64, 256 and 1,024 labelled customers (`SHOP, 64 labels`).
`bg_nbd_today` is fitted to the log up to the test cut-off, which the day-one answers read too.

BG/NBD gives no chance of a decline of spend, so on Complete Journey its churn is a ranking without
Brier score. Intervals are of the middle 95 % of 500 draws of customers; of 300 with few labels.
The last line printed is one JSON document: `commit`, `seed`, `hardware`, `rows` (`set`, `system`,
`metric`, `value`, `low`, `high`) and `differences` (`set`, `metric`, `system`, `peer`, `gain`,
`low`, `high`; `gain` is positive where the system is better); with `--speed` also `speed`, see
`bench.prediction_speed`.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.prediction_day_one import OURS as DAY_ONE
from bench.prediction_day_one import (
    Judged,
    add_share_of_in_shop,
    learn_cross_shop,
    leave_one_out,
)
from bench.prediction_few_labels import compare_few_labels, plot_few_labels
from bench.prediction_intervals import prior_interval, with_interval
from bench.prediction_measures import (
    COMPARED,
    MEASURES,
    SpendEnds,
    System,
    Truth,
    draw_measures,
    gain,
    interval,
    measure,
    total_of_actual,
)
from bench.prediction_peers import Task, peer_systems
from bench.prediction_plots import plot_predictions
from bench.prediction_speed import measure_speed, speed_lines
from bench.report import Report
from bench.shops import BenchShop, open_bench_shops
from finetune.adapter import current_adapter
from finetune.base_model import find_base_model
from finetune.cross_shop import CrossShopPrior
from finetune.evaluation import as_scores, patron_scores
from finetune.labels import Example, build_labels, tier_of, tier_thresholds
from finetune.lora_predictor import LoraPredictor
from finetune.prior import fit_prior
from retrieval.orders import CustomerPast
from retrieval.progress import Progress
from retrieval.shop import Shop
from retrieval.time_split import learning_cutoffs
from ui.terminal import progress_bars

SETS = ("complete_journey", "online_retail", "cdnow")
_OURS = "patron"
_WITH_ADAPTER = "complete_journey"
_MOST_CUSTOMERS = {"cdnow": 4_000}
_DRAWS = 500


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    report = Report(seed=arguments.seed)
    judged: list[Judged] = []
    with progress_bars() as progress:
        shops = list(open_bench_shops(arguments.work, arguments.data, arguments.sets, progress))
        cross_shop = learn_cross_shop(shops, progress)
        for bench in shops:
            judged.append(_measure(bench, cross_shop.get(bench.name), arguments, report, progress))
        if cross_shop:
            _from_other_shops(judged, cross_shop, arguments.work / "plots", report, progress)
        found: dict[str, Any] = {"rows": report.rows, "differences": report.differences}
        if arguments.speed:
            found["speed"] = measure_speed(
                arguments.shop, arguments.work, seed=arguments.seed, progress=progress
            )
            report.say("\n".join(speed_lines(found["speed"])))
    print(json.dumps(report.origin() | found, allow_nan=False))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shop", type=Path, default=Path("demo-shop"), help="has the adapter")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data"),
        help="holds online_retail.parquet and CDNOW_master.txt",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("bench/.work"), help="keeps what is read between runs"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=SETS)
    parser.add_argument("--without-lm", action="store_true", help="leave the language model out")
    parser.add_argument(
        "--speed",
        action="store_true",
        help="measure scoring and fine-tuning, too (ten minutes)",
    )
    return parser.parse_args()


def _measure(
    bench: BenchShop,
    cross_shop: CrossShopPrior | None,
    arguments: argparse.Namespace,
    report: Report,
    progress: Progress,
) -> Judged:
    """Everything about one shop that is learnt in it, with what is learnt in others."""
    settings = bench.shop.settings
    windows = _learning_windows(bench, progress)
    thresholds = tier_thresholds([example.spend for example in windows[0]], settings)
    test = _test_customers(bench, arguments.seed)
    pasts = [example.past for example in test]
    truth = Truth(
        churned=np.array([example.churned for example in test]),
        spend=np.array([example.spend for example in test], dtype=np.float64),
        tiers=[tier_of(example.spend, thresholds) for example in test],
    )
    report.say(
        f"{bench.name}: {len(test)} test customers, {truth.churned.mean():.1%} of them left; "
        f"learnt from {', '.join(str(len(window)) for window in windows)} customers"
    )
    systems: dict[str, System] = {}
    if bench.name == _WITH_ADAPTER and not arguments.without_lm:
        systems |= _with_adapter(
            Shop.open(arguments.shop), bench, pasts, thresholds, report, progress
        )
    prior = fit_prior(
        windows,
        thresholds,
        settings.churn.horizon_days,
        settings.churn.definition,
        cross_shop=cross_shop,
    ).levelled(pasts)
    systems["patron_prior"] = with_interval(
        System(scores=as_scores(prior.answers(pasts)), money=True),
        prior_interval(bench, windows, thresholds, arguments.seed),
        bench.test_cutoff,
    )
    progress(f"Peers on {bench.name}", 0, 1)
    task = Task(
        train=windows[0],
        pasts=pasts,
        thresholds=thresholds,
        churn=settings.churn,
        seed=arguments.seed,
    )
    systems |= peer_systems(task, report)
    progress(f"Peers on {bench.name}", 1, 1)
    compare(bench.name, truth, systems, report)
    plot_predictions(
        bench.name, truth, systems, arguments.work / "plots" / f"prediction-{bench.name}.png"
    )
    return Judged(bench=bench, truth=truth, task=task, systems=systems)


def _from_other_shops(
    shops: Sequence[Judged],
    cross_shop: Mapping[str, CrossShopPrior],
    plots: Path,
    report: Report,
    progress: Progress,
) -> None:
    """Each shop without a label, and with a few, from what the other shops teach."""
    curves = {}
    for left_out in leave_one_out(shops, cross_shop, report):
        name = left_out.judged.bench.name
        compare(f"{name}, day one", left_out.judged.truth, left_out.systems, report, ours=DAY_ONE)
        add_share_of_in_shop(left_out, report)
        curves[name] = compare_few_labels(left_out, report, progress)
    plot_few_labels(curves, plots / "prediction-few-labels.png")


def compare(
    set_: str,
    truth: Truth,
    systems: Mapping[str, System],
    report: Report,
    *,
    ours: str | None = None,
) -> None:
    """Add every system's figures and Patron's differences, and print them.

    Args:
        set_: its name.
        truth: what happened.
        systems: what they answered.
        report: where to.
        ours: whose differences; the shipped default or, without an adapter, its prior if None.
    """
    found = {name: measure(truth, system) for name, system in systems.items()}
    draws = draw_measures(truth, systems, _DRAWS, report.seed)
    for name, values in found.items():
        for metric in MEASURES:
            if values[metric] is not None:
                bounds = interval(draws[name][metric]) if metric in draws[name] else (None, None)
                head = {"set": set_, "system": name, "metric": metric}
                report.rows.append(head | _figures("value", values[metric], *bounds))
    report.table(f"{set_}, test", found)
    for name, system in systems.items():
        if system.ends is not None:
            _add_total(set_, name, truth, system.ends, report)
    ours = ours or (_OURS if _OURS in systems else "patron_prior")
    for metric in COMPARED:
        shown = {}
        for peer in systems:
            if peer.startswith(_OURS) or metric not in draws[peer]:
                continue
            mean = gain(metric, found[ours][metric], found[peer][metric])
            bounds = interval(gain(metric, draws[ours][metric], draws[peer][metric]))
            head = {"set": set_, "metric": metric, "system": ours, "peer": peer}
            figures = _figures("gain", mean, *bounds)
            report.differences.append(head | figures)
            shown[peer] = figures
        if shown:
            report.table(f"{set_}: {metric} of {ours}, gain over", shown)


def _add_total(set_: str, name: str, truth: Truth, ends: SpendEnds, report: Report) -> None:
    """The total's interval, as a row (shares of what was spent) and in words."""
    value, low, high = total_of_actual(truth, ends)
    covers = low <= 1 <= high
    head = {"set": set_, "system": name, "metric": "spend_total"}
    report.rows.append(
        head | _figures("value", value, low, high) | {"covers": covers, "season": ends.season}
    )
    report.say(
        f"  {name}: total spend {value:.3f} of the actual, {ends.coverage:.0%} interval {low:.3f} "
        f"to {high:.3f}: {'covers' if covers else 'MISSES'} it; season {ends.season}"
    )


def _learning_windows(bench: BenchShop, progress: Progress) -> list[list[Example]]:
    """Labelled customers at the training cut-off and at up to two earlier ones."""
    shop = bench.shop
    span = shop.log.span()
    assert span is not None, f"{shop.directory} is empty"
    horizon = timedelta(days=shop.settings.churn.horizon_days)
    cutoffs = learning_cutoffs(bench.train_cutoff, horizon, span[0])
    windows = []
    for number, cutoff in enumerate(cutoffs):
        progress(f"Labels of {bench.name}", number, len(cutoffs))
        windows.append(build_labels(shop.log, cutoff, shop.settings))
    progress(f"Labels of {bench.name}", len(cutoffs), len(cutoffs))
    return windows


def _test_customers(bench: BenchShop, seed: int) -> list[Example]:
    test = build_labels(bench.shop.log, bench.test_cutoff, bench.shop.settings)
    most = _MOST_CUSTOMERS.get(bench.name, len(test))
    if len(test) <= most:
        return test
    drawn = np.sort(np.random.default_rng(seed).permutation(len(test))[:most])
    return [test[index] for index in drawn]


def _with_adapter(
    demo: Shop,
    bench: BenchShop,
    pasts: Sequence[CustomerPast],
    thresholds: tuple[float, ...],
    report: Report,
    progress: Progress,
) -> dict[str, System]:
    """What Patron answers, blended with the adapter's own prior, and its two halves."""
    files = find_base_model(demo.settings.models.base, progress)
    predictor = LoraPredictor.load(current_adapter(demo), files, demo.settings)
    manifest = predictor.manifest
    horizon = timedelta(days=demo.settings.churn.horizon_days)
    learnt_until = datetime.fromisoformat(manifest.train_cutoff) + horizon
    if learnt_until > bench.test_cutoff:
        raise SystemExit(
            f"The adapter {manifest.adapter_id} learnt from outcomes up to "
            f"{learnt_until:%Y-%m-%d}, past the test cut-off {bench.test_cutoff:%Y-%m-%d}."
        )
    report.say(f"  adapter {manifest.adapter_id}, blend {manifest.blend}")
    if not np.allclose(manifest.thresholds, thresholds):
        report.say(f"  the adapter's tiers begin at {manifest.thresholds}, not at {thresholds}")
    scores = patron_scores(demo, predictor, pasts, files, progress=progress)
    systems = {name: System(scores=answers, money=True) for name, answers in scores.items()}
    if manifest.spend_interval is None:
        report.say("  the adapter has no interval: patron finetune --keep-weights makes one")
        return systems
    # `patron_scores` has corrected the season already.
    factor = manifest.spend_interval.seasons.at(bench.test_cutoff).factor
    ours = systems[_OURS].scores
    assert ours.spend is not None
    plain = System(scores=replace(ours, spend=ours.spend / factor), money=True)
    return systems | {_OURS: with_interval(plain, manifest.spend_interval, bench.test_cutoff)}


def _figures(name: str, value: float, low: float | None, high: float | None) -> dict[str, object]:
    """A figure and its interval, rounded; None for what could not be measured."""
    return {
        key: round(float(figure), 5) if figure is not None and np.isfinite(figure) else None
        for key, figure in ((name, value), ("low", low), ("high", high))
    }


if __name__ == "__main__":
    main()
