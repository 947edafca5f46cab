"""Recommendations beside the strongest simple and neural peers, on real shops, in one run.

    make bench-recommendation

Complete Journey and Online Retail, split by time at the design's test cut-offs; the next 28 days
are the truth. Two tasks: basket (repeats count) and discovery (only items never bought before).
All items are candidates; EASE, Mult-VAE and GRU4Rec know the 8,000 best-selling ones, as the share
of the truth that is printed shows. Peers are tuned for NDCG@10 on the four weeks before the test
cut-off; Patron is the shipped default, but that the nearest texts are found by comparing with all.
Online Retail is read from `--data`. The last line printed is one JSON document; see
`bench/report.py`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.recommendation_checks import check_cold_start, check_reasons
from bench.recommendation_compare import claim_certainty, compare, metrics_of
from bench.recommendation_data import TASKS, ShopData, Window, read_data, window
from bench.recommendation_judge import compare_judge
from bench.recommendation_lists import Lists, arranged, learn, peer_lists, ranked
from bench.recommendation_peers import Peer, peers
from bench.recommendation_speed import TIMED, measure_speed
from bench.report import Report
from bench.shops import open_bench_shops
from finetune.neural_source import MOST_ITEMS
from retrieval.embedder import open_embedder
from retrieval.progress import Progress
from retrieval.recommender import Recommender
from ui.terminal import progress_bars

SETS = ("complete_journey", "online_retail")
_DIALS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)


def main() -> None:
    """Measure and print; exits with 1 where a claim does not hold."""
    arguments = _arguments()
    embedder = open_embedder("minilm")
    report = Report(seed=arguments.seed)
    with progress_bars() as progress:
        for bench in open_bench_shops(arguments.work, arguments.data, arguments.sets, progress):
            data = read_data(bench, embedder)
            others = peers(arguments.work / f"{bench.name}-chroma", embedder)
            _measure(data, others, arguments, report, progress)
        if arguments.sets:
            claim_certainty(report)
        if arguments.speed:
            measure_speed(arguments, report, progress)
    report.finish()
    sys.exit(not report.holds())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="holds online_retail.parquet"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("bench/.work"), help="keeps what is read between runs"
    )
    parser.add_argument("--shop", type=Path, default=Path("demo-shop"), help="for the timings")
    parser.add_argument("--customers", type=int, default=2_000, help="a set, at most")
    parser.add_argument(
        "--lm-customers", type=int, default=500, help="a set whom the language model judges"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=SETS)
    parser.add_argument("--without-lm", action="store_true", help="leave the language model out")
    parser.add_argument("--speed", nargs="*", choices=TIMED, default=TIMED, help="what is timed")
    return parser.parse_args()


def _measure(
    data: ShopData,
    others: Sequence[Peer],
    arguments: argparse.Namespace,
    report: Report,
    progress: Progress,
) -> None:
    """Everything about one shop."""
    validation = window(data, data.validation_cutoff, arguments.customers, arguments.seed)
    test = window(data, data.test_cutoff, arguments.customers, arguments.seed)
    report.say(f"{data.name}: {len(test.customers)} customers, {len(data.table)} items")
    for task in TASKS:
        share = _known_share(test, task)
        report.say(f"  {share:.1%} of the truth of {task} is among the 8,000 best-selling items")
    tuned = learn(validation, arguments.seed, progress)
    _show_dials(tuned, validation, report)
    started = time.perf_counter()
    recommender = learn(test, arguments.seed, progress)
    report.say(f"  learnt in {time.perf_counter() - started:.0f} s")

    lists: dict[str, Lists] = {
        "patron": arranged(recommender, test, ranked(recommender, test)),
        "patron, each id": {
            task: found.best(len(test.customers))
            for task, found in ranked(recommender, test).items()
        },
    }
    for number, peer in enumerate(others):
        progress(f"Peers on {data.name}", number, len(others))
        lists[peer.name] = peer_lists(peer, validation, test, report)
    progress(f"Peers on {data.name}", len(others), len(others))
    for task in TASKS:
        compare(test, task, {name: by_task[task] for name, by_task in lists.items()}, report)
    check_reasons(recommender, test, arguments.seed, report, progress)
    check_cold_start(recommender, test, arguments.seed, report, progress)
    if not arguments.without_lm:
        compare_judge(tuned, recommender, data, arguments, report, progress)


def _known_share(test: Window, task: str) -> float:
    """Share of what is bought that the peers of a bounded size may name."""
    customers = test.sales.customers
    best = np.lexsort((np.arange(len(customers)), -customers))[:MOST_ITEMS]
    truth = np.concatenate(test.truths(task))
    return float(np.isin(truth, best).mean())


def _show_dials(recommender: Recommender, validation: Window, report: Report) -> None:
    """What the diversity dial trades, on the validation window, where its default was chosen."""
    found = ranked(recommender, validation)
    for task in TASKS:
        figures = {}
        for dial in _DIALS:
            lists = arranged(recommender, validation, found, dial=dial)[task]
            metrics = metrics_of(validation, task, lists)
            figures[f"diversity = {dial}"] = {
                name: float(metrics[name].mean())
                for name in ("ndcg@10", "recall@20", "diversity@10")
            }
        report.table(f"{validation.data.name}, {task}, validation: the diversity dial", figures)


if __name__ == "__main__":
    main()
