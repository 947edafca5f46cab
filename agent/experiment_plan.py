"""Before an experiment: how many customers it needs, and what the shop's own could show.

Mean and spread come from the shop's own past: up to three horizons back to back at the log's end.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from agent.daily_spend import DailySpend, read_daily_spend
from agent.experiments import ExperimentError, Metric
from agent.sample_size import (
    Design,
    GroupSizes,
    Looks,
    customers_for_means,
    customers_for_shares,
    effect_for_means,
    effect_for_shares,
)
from retrieval.shop import Shop
from retrieval.time_split import present

_MOST_WINDOWS = 3
_HORIZONS = (7, 14, 28, 56, 84, 112, 168, 252, 364)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastHorizons:
    """A metric of customers over horizons of one length, all in the past.

    Attributes:
        days: length of a horizon.
        windows: number of horizons read.
        mean: of a customer, minor units or a share; mean of the horizons.
        deviation: standard deviation over customers within a horizon.
        correlation: with the same customers' values of the horizon before.
    """

    days: int
    windows: int
    mean: float
    deviation: float
    correlation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The smallest effects that the customers there are can show over one horizon length.

    All are shares of the mean; None where not even the largest possible effect shows.

    Attributes:
        past: the horizons this rests on.
        once: looked at once, at the end.
        always: looked at at any time.
        always_adjusted: looked at at any time and adjusted for the time before; what a report does.
    """

    past: PastHorizons
    once: float | None
    always: float | None
    always_adjusted: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an experiment would need and could show.

    Attributes:
        metric: what is counted.
        effect: the effect to find, as a share of the mean.
        design: shares, power and alpha.
        customers: those whom it would cover.
        past: horizons of the length asked for.
        once: customers needed where the effect is looked at once; None where the effect is
            impossible, as a share above 1.
        always: customers needed where it is looked at at any time; None likewise.
        always_adjusted: the same, adjusted for the time before; what a report does.
        reaches: by horizon length, shortest first.
        days_needed: the shortest of these lengths over which the customers there are suffice; None
            where none does.
    """

    metric: Metric
    effect: float
    design: Design
    customers: int
    past: PastHorizons
    once: GroupSizes | None
    always: GroupSizes | None
    always_adjusted: GroupSizes | None
    reaches: tuple[Reach, ...]
    days_needed: int | None

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts; means in minor units or shares."""
        return asdict(self)


def plan_experiment(
    shop: Shop,
    *,
    customer_ids: Collection[str] | None,
    metric: Metric,
    effect: float,
    horizon_days: int,
    design: Design,
) -> Plan:
    """Size an experiment on the customers a shop has.

    Args:
        shop: with a log.
        customer_ids: whom it would cover; None for all.
        metric: what is counted.
        effect: the effect to find, as a share of the mean; above 0.
        horizon_days: over which the metric would be counted.
        design: shares, power and alpha; how often is looked is the plan's own matter.

    Raises:
        ExperimentError: the log is shorter than two horizons, or has too few of these customers.
        ShopError: the log is empty.
    """
    end = present(shop).astimezone(shop.zone).date()
    daily = read_daily_spend(shop, end)
    covered = _covered(daily, customer_ids, end)
    pasts = {
        days: _past_horizons(daily, customer_ids, metric, days, end)
        for days in sorted({horizon_days, *_HORIZONS})
    }
    past = pasts[horizon_days]
    if past is None:
        raise ExperimentError(
            f"The log has too little of these {len(covered):,} customers for horizons of "
            f"{horizon_days} days.",
            hint="Shorten --horizon-days, or cover more customers; two horizons must fit the log.",
        )
    found = [each for each in pasts.values() if each is not None]
    reaches = tuple(_reach(each, metric, len(covered), design) for each in found)
    enough = (
        each.past.days
        for each in reaches
        if each.always_adjusted is not None and each.always_adjusted <= effect
    )
    once, always, adjusted = _three_ways(design, past)
    return Plan(
        metric=metric,
        effect=effect,
        design=design,
        customers=len(covered),
        past=past,
        once=_needed(past, metric, effect, once),
        always=_needed(past, metric, effect, always),
        always_adjusted=_needed(past, metric, effect, adjusted),
        reaches=reaches,
        days_needed=next(enough, None),
    )


def _covered(daily: DailySpend, customer_ids: Collection[str] | None, before: date) -> list[str]:
    known = daily.known_before(before)
    return sorted(known if customer_ids is None else known & frozenset(customer_ids))


def _past_horizons(
    daily: DailySpend,
    customer_ids: Collection[str] | None,
    metric: Metric,
    days: int,
    end: date,
) -> PastHorizons | None:
    """Up to three past horizons; None where the log holds not one with another before it."""
    first = date.fromordinal(int(daily.day.min()))
    starts = [end - timedelta(days=days * back) for back in range(1, _MOST_WINDOWS + 1)]
    means, variances, correlations = [], [], []
    for start in starts:
        ids = _covered(daily, customer_ids, start)
        if start - timedelta(days=days) < first or len(ids) < 2:
            continue
        entries = np.full(len(ids), start.toordinal())
        values = daily.values(ids, entries, days, metric)
        varies = values.after.std() > 0 and values.before.std() > 0
        means.append(values.after.mean())
        variances.append(values.after.var(ddof=1))
        correlations.append(np.corrcoef(values.after, values.before)[0, 1] if varies else 0.0)
    if not means or not np.mean(means) > 0:
        return None
    return PastHorizons(
        days=days,
        windows=len(means),
        mean=float(np.mean(means)),
        deviation=float(np.sqrt(np.mean(variances))),
        correlation=float(np.mean(correlations)),
    )


def _three_ways(design: Design, past: PastHorizons) -> tuple[Design, Design, Design]:
    """Looked at once; at any time; at any time and adjusted for the time before."""
    always = replace(design, looks=Looks.ALWAYS)
    return (
        replace(design, looks=Looks.ONCE),
        always,
        replace(always, variance_left=max(0.0, 1 - past.correlation**2)),
    )


def _reach(past: PastHorizons, metric: Metric, customers: int, design: Design) -> Reach:
    once, always, adjusted = (
        _smallest(past, metric, customers, way) for way in _three_ways(design, past)
    )
    return Reach(past=past, once=once, always=always, always_adjusted=adjusted)


def _smallest(past: PastHorizons, metric: Metric, customers: int, design: Design) -> float | None:
    """The smallest effect that shows, as a share of the mean."""
    if metric is Metric.SPEND:
        return effect_for_means(past.deviation, customers, design) / past.mean
    found = effect_for_shares(past.mean, customers, design) if past.mean < 1 else None
    return None if found is None else found / past.mean


def _needed(past: PastHorizons, metric: Metric, effect: float, design: Design) -> GroupSizes | None:
    if metric is Metric.SPEND:
        return customers_for_means(past.deviation, effect * past.mean, design)
    raised = past.mean * (1 + effect)
    return customers_for_shares(past.mean, raised, design) if raised < 1 else None
