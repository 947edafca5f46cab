"""How good predictions are, and how sure that is: measures of one system, paired differences."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from finetune.baselines import BaselineScores
from finetune.calibration import Floats
from finetune.metrics import auc_of_ranks, churn_metrics, spearman, tier_f1
from finetune.spend_interval import Total

MEASURES = (
    "churn_auc",
    "pr_auc",
    "brier",
    "ece",
    "tier_f1",
    "spearman",
    "gini",
    "decile_mape",
    "bias",
    "spend_coverage",
)
COMPARED = ("churn_auc", "brier", "spearman", "gini")
_LOWER_IS_BETTER = ("brier",)
_DECILES = 10

Draws = dict[str, dict[str, Floats]]
"""Values by draw, by system and metric."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """What happened; arrays `[n]`.

    Attributes:
        churned: by the shop's definition.
        spend: within the horizon, minor units.
        tiers: index of the value tier.
    """

    churned: NDArray[np.bool_]
    spend: Floats
    tiers: list[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpendEnds:
    """Intervals around a system's spend, minor units.

    Attributes:
        low: low end by customer `[n]`.
        high: high end `[n]`.
        total: of all test customers together.
        coverage: share that shall lie inside.
        season: what is known of it, in words.
    """

    low: Floats
    high: Floats
    total: Total
    coverage: float
    season: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """A system's answers about all test customers.

    Attributes:
        scores: its answers.
        money: whether `scores.spend` is money; otherwise it only ranks.
        ends: intervals around its spend; None where it gives none.
    """

    scores: BaselineScores
    money: bool
    ends: SpendEnds | None = None


def measure(truth: Truth, system: System) -> dict[str, float | None]:
    """All `MEASURES`; None where the system gives no such answer."""
    found: dict[str, float | None] = dict.fromkeys(MEASURES)
    scores = system.scores
    if scores.churn is not None:
        found |= churn_metrics(
            truth.churned.tolist(), scores.churn, probabilities=scores.churn_is_probability
        )
    if scores.tiers is not None:
        found["tier_f1"] = tier_f1(truth.tiers, scores.tiers)
    if scores.spend is not None:
        found["spearman"] = spearman(truth.spend.tolist(), scores.spend)
        found["gini"] = normalised_gini(truth.spend, scores.spend)
        if system.money:
            found["decile_mape"] = decile_mape(truth.spend, scores.spend)
            found["bias"] = float(scores.spend.sum() / truth.spend.sum() - 1)
    if system.ends is not None:
        inside = (truth.spend >= system.ends.low) & (truth.spend <= system.ends.high)
        found["spend_coverage"] = float(inside.mean())
    return found


def total_of_actual(truth: Truth, ends: SpendEnds) -> tuple[float, float, float]:
    """Expected total and the ends of its interval as shares of what was spent.

    The interval covers the actual total where 1 lies between the ends.
    """
    actual = truth.spend.sum()
    total = ends.total
    return float(total.expected / actual), float(total.low / actual), float(total.high / actual)


def normalised_gini(spend: Floats, scores: Floats) -> float:
    """Gini of spend in the order of the scores, as a share of that in the true order.

    1 is the perfect order, 0 is chance. Customers with equal scores share their places.
    """
    return _gini_of_ranks(spend, rankdata(spend), rankdata(scores))


def deciles(scores: Floats) -> list[NDArray[np.intp]]:
    """Customers in ten groups of equally many, the highest scores first."""
    return np.array_split(np.argsort(-scores, kind="stable"), _DECILES)


def decile_mape(spend: Floats, predicted: Floats) -> float:
    """Mean absolute relative error of total spend by decile of predicted spend.

    As in Wang, Liu & Miao (2019). A decile that spent nothing has no relative error and is left
    out.
    """
    errors = [
        abs(predicted[part].sum() / spend[part].sum() - 1)
        for part in deciles(predicted)
        if spend[part].sum() > 0
    ]
    return float(np.mean(errors))


def draw_measures(truth: Truth, systems: Mapping[str, System], draws: int, seed: int) -> Draws:
    """`COMPARED` measures on customers drawn with replacement, the same for all systems."""
    random = np.random.default_rng(seed)
    count = len(truth.spend)
    found: Draws = {name: {} for name in systems}
    for name, system in systems.items():
        for metric in COMPARED:
            if _answers(system, metric):
                found[name][metric] = np.full(draws, np.nan)
    for draw in range(draws):
        drawn = random.integers(count, size=count)
        churned, spend = truth.churned[drawn], truth.spend[drawn]
        spend_ranks = rankdata(spend)
        for name, system in systems.items():
            values = found[name]
            if system.scores.churn is not None:
                churn = system.scores.churn[drawn]
                values["churn_auc"][draw] = auc_of_ranks(churned, rankdata(churn))
                if "brier" in values:
                    values["brier"][draw] = np.mean((churn - churned) ** 2)
            if system.scores.spend is not None:
                ranks = rankdata(system.scores.spend[drawn])
                values["spearman"][draw] = _correlation(spend_ranks, ranks)
                values["gini"][draw] = _gini_of_ranks(spend, spend_ranks, ranks)
    return found


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of the draws; NaN where no draw could be measured."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def gain(metric: str, ours: Floats | float, theirs: Floats | float) -> Floats | float:
    """Difference that is positive where ours is better."""
    return theirs - ours if metric in _LOWER_IS_BETTER else ours - theirs


def _answers(system: System, metric: str) -> bool:
    if metric == "brier":
        return system.scores.churn is not None and system.scores.churn_is_probability
    if metric == "churn_auc":
        return system.scores.churn is not None
    return system.scores.spend is not None


def _correlation(left: Floats, right: Floats) -> float:
    left, right = left - left.mean(), right - right.mean()
    scale = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / scale) if scale > 0 else float("nan")


def _gini_of_ranks(spend: Floats, spend_ranks: Floats, ranks: Floats) -> float:
    """The area between the Lorenz curve and the diagonal is the covariance of spend and rank."""
    middle = (len(spend) + 1) / 2
    best = spend @ (spend_ranks - middle)
    return float(spend @ (ranks - middle) / best) if best > 0 else float("nan")
