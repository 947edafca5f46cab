"""Day one: predictions for a shop that has no label, learnt in the other shops of the bench.

Each shop is left out in turn. The others' windows up to their own training cut-offs are labelled
by the definition of churn of the shop left out; of that shop only the log before the test cut-off
is read. In-shop peers have learnt from the labels of its training cut-off.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from bench.prediction_measures import System, Truth, measure
from bench.prediction_peers import Task, bg_nbd_scores
from bench.report import Report
from bench.shops import BenchShop
from finetune.cross_shop import CrossShopPrior, fit_cross_shop
from finetune.day_one import DayOne, fit_day_one
from finetune.evaluation import as_scores
from finetune.shop_windows import Described, ShopWindow, describe, read_shop_window
from retrieval.orders import CustomerPast, read_pasts
from retrieval.progress import Progress
from retrieval.time_split import learning_cutoffs

OURS = "patron_day_one"
BG_NBD_TODAY = "bg_nbd_today"
IN_SHOP = "lightgbm_rfm"
PEERS = ("logistic_rfm", IN_SHOP, "bg_nbd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A shop with its test customers and the answers of its in-shop systems.

    Attributes:
        bench: the shop.
        truth: what happened to the test customers.
        task: what the peers were given.
        systems: what they answered.
    """

    bench: BenchShop
    truth: Truth
    task: Task
    systems: Mapping[str, System]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A shop that was left out.

    Attributes:
        judged: the shop.
        prior: learnt in the others.
        day_one: on the shop's level at the test cut-off.
        described: its test customers.
        systems: day-one answers beside the peers'.
    """

    judged: Judged
    prior: CrossShopPrior
    day_one: DayOne
    described: Described
    systems: Mapping[str, System]


def learn_cross_shop(shops: Sequence[BenchShop], progress: Progress) -> dict[str, CrossShopPrior]:
    """What the others teach of each shop, by its name; nothing where there is one alone."""
    if len(shops) < 2:
        return {}
    windows = []
    for number, bench in enumerate(shops):
        progress("Windows of other shops", number, len(shops))
        windows += shop_windows(bench)
    progress("Windows of other shops", len(shops), len(shops))
    return {
        bench.name: fit_cross_shop([window for window in windows if window.shop != bench.name])
        for bench in shops
    }


def leave_one_out(
    shops: Sequence[Judged], cross_shop: Mapping[str, CrossShopPrior], report: Report
) -> Iterator[LeftOut]:
    """Foresee each shop from the others.

    Args:
        shops: which.
        cross_shop: what the others teach of each, see `learn_cross_shop`.
        report: told of the models.
    """
    for judged in shops:
        bench = judged.bench
        prior = cross_shop[bench.name]
        customers = list(read_pasts(bench.shop.log, bench.test_cutoff))
        day_one = day_one_of(prior, bench, customers)
        pasts = judged.task.pasts
        described = describe(pasts, day_one.horizon_days, day_one.scale)
        low, high = day_one.spend_interval(described)
        inside = np.mean((judged.truth.spend >= low) & (judged.truth.spend <= high))
        report.say(
            f"{bench.name}, day one: learnt in {' and '.join(prior.shops)}; tiers cut at "
            f"{', '.join(f'{cut:.0f}' for cut in day_one.thresholds)} minor units (labels: "
            f"{', '.join(f'{cut:.0f}' for cut in judged.task.thresholds)}); {inside:.1%} of spends "
            f"in their 80% intervals"
        )
        systems = {
            OURS: System(scores=as_scores(day_one.answers_about(described)), money=True),
            BG_NBD_TODAY: System(scores=bg_nbd_scores(customers, judged.task, report), money=True),
            **{name: judged.systems[name] for name in PEERS},
        }
        yield LeftOut(
            judged=judged, prior=prior, day_one=day_one, described=described, systems=systems
        )


def add_share_of_in_shop(left_out: LeftOut, report: Report) -> None:
    """Say how much of the in-shop peer's churn AUC is there on day one."""
    name, truth = left_out.judged.bench.name, left_out.judged.truth
    ours, theirs = (
        measure(truth, left_out.systems[system])["churn_auc"] for system in (OURS, IN_SHOP)
    )
    assert ours is not None
    assert theirs is not None
    report.say(f"{name}, day one: {ours / theirs:.1%} of {IN_SHOP}'s churn AUC, without a label")
    report.rows.append(
        {
            "set": f"{name}, day one",
            "system": OURS,
            "metric": "share_of_in_shop_auc",
            "value": round(ours / theirs, 5),
            "low": None,
            "high": None,
        }
    )


def shop_windows(bench: BenchShop) -> list[ShopWindow]:
    """Labelled customers of a shop at the cut-offs that its own prior learns from."""
    span = bench.shop.log.span()
    assert span is not None, f"{bench.shop.directory} is empty"
    days = bench.shop.settings.churn.horizon_days
    cutoffs = learning_cutoffs(bench.train_cutoff, timedelta(days=days), span[0])
    return [read_shop_window(bench.shop.log, cutoff, days, bench.name) for cutoff in cutoffs]


def day_one_of(
    prior: CrossShopPrior, bench: BenchShop, customers: Sequence[CustomerPast]
) -> DayOne:
    """Put a prior on a shop's level at the moment of these customers."""
    settings = bench.shop.settings
    return fit_day_one(
        prior,
        customers,
        definition=settings.churn.definition,
        horizon_days=settings.churn.horizon_days,
        quantiles=settings.value.quantiles,
    )
