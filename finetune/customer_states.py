"""The state a customer was in when a period began, and the steps from state to state.

A state reads only what was known when its period began, from purchases and campaigns alone, so that
a simulator can be asked for the same states as a log. It holds no season: one year shows each
season once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from finetune.customer_paths import CustomerPaths, Economics, Flags, Ints
from finetune.value import Stage

Policy = Callable[[Floats], Floats]
"""From states `[n, features]` to the chance of each action `[n, actions]`; rows sum to 1."""

HORIZON_PERIODS = 3
"""Periods in the horizon of the lifecycle stage, and in what a state calls recent."""
_STAGES = tuple(Stage)
_NEW_ORDERS = 3
_STEADY_ORDERS = 10
_LONGEST_RECENCY = 6.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transitions:
    """Steps from period to period, one a row; a lapsed customer may come back, so none is final.

    Attributes:
        customer: row of the customer in the paths `[m]`.
        state: before the period `[m, features]`.
        action: what the log did in it `[m]`.
        reward: of the period `[m]`.
        next_state: before the next `[m, features]`.
    """

    customer: Ints
    state: Floats
    action: Ints
    reward: Floats
    next_state: Floats


def state_names(kinds: Sequence[str]) -> tuple[str, ...]:
    """Columns of a state, in order."""
    return (
        *(f"stage: {stage}" for stage in _STAGES),
        "middle tier",
        "top tier",
        "log usual spend",
        "log spend, last period",
        "log spend, recent",
        "usual spend by top tier",
        "spend by top tier, last period",
        "spend by top tier, recent",
        "log visits, last period",
        "visits, recent",
        "recency",
        "share of periods with a visit",
        *(f"last sent: {kind}" for kind in kinds),
        "periods with an offer, recent",
        "share of periods with an offer",
        "log redemptions",
        "log redemptions, recent",
    )


def state_columns(kinds: Sequence[str], names: Sequence[str]) -> list[int]:
    """Where in a state these columns are."""
    columns = state_names(kinds)
    return [columns.index(name) for name in names]


def tier_cuts(paths: CustomerPaths, period: int, quantiles: Sequence[float]) -> tuple[float, float]:
    """Recent spend a period at which the middle and the top tier begin, minor units.

    Args:
        paths: the training customers' alone.
        period: the moment, as in `states_at`.
        quantiles: two, of recent spend among customers known by then.
    """
    recent = _recent(paths.spend, period)[paths.known_at(period)]
    middle, top = np.quantile(recent, quantiles)
    return float(middle), float(max(top, 1.0))


def tiers_at(paths: CustomerPaths, period: int, cuts: tuple[float, float]) -> NDArray[np.intp]:
    """Value tier by recent spend when the period began: 0 low, 1 middle, 2 top `[customers]`."""
    return np.searchsorted(cuts, _recent(paths.spend, period), side="right")


def states_at(paths: CustomerPaths, period: int, cuts: tuple[float, float]) -> Floats:
    """States when the period began `[customers, features]`; columns are `state_names`.

    Rows of customers who had not bought by then (see `known_at`) mean nothing.

    Args:
        paths: what customers did; nothing from `period` on is read.
        period: from `HORIZON_PERIODS` to the number of periods, which is the end of the paths.
        cuts: of `tier_cuts`.
    """
    if not HORIZON_PERIODS <= period <= paths.periods:
        raise ValueError(f"period {period} is not from {HORIZON_PERIODS} to {paths.periods}")
    spend, action = paths.spend[:, :period].astype(np.float64), paths.action[:, :period]
    redemptions = paths.redemptions[:, :period]
    visits = paths.visits[:, :period]
    usual = _usual(paths, period)
    recent = _recent(spend, period)
    tier = tiers_at(paths, period, cuts)
    stage = stages_at(paths, period, top_tier=tier == 2)
    days = period * paths.period_days
    since = np.argmax(paths.visited[:, :days][:, ::-1], axis=1) / paths.period_days
    known_periods = np.maximum(period - np.argmax(visits > 0, axis=1), 1)
    offered = action > 0
    top = cuts[1]
    columns = (
        *((stage == number) for number in range(len(_STAGES))),
        tier == 1,
        tier == 2,
        np.log1p(usual),
        np.log1p(spend[:, -1]),
        np.log1p(recent),
        usual / top,
        spend[:, -1] / top,
        recent / top,
        np.log1p(visits[:, -1]),
        _recent(visits, period),
        np.minimum(since, _LONGEST_RECENCY),
        (visits > 0).sum(axis=1) / known_periods,
        *(action[:, -1] == number + 1 for number in range(len(paths.kinds))),
        offered[:, -HORIZON_PERIODS:].sum(axis=1),
        offered.mean(axis=1),
        np.log1p(redemptions.sum(axis=1)),
        np.log1p(redemptions[:, -HORIZON_PERIODS:].sum(axis=1)),
    )
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def stages_at(paths: CustomerPaths, period: int, *, top_tier: Flags) -> NDArray[np.intp]:
    """Lifecycle stage when the period began, as its place in `Stage` `[customers]`.

    The rules of `finetune.value.lifecycle_stage` for all customers at once, with days for orders
    and `HORIZON_PERIODS` periods for the horizon. No predictor can be asked about simulated
    customers, so at risk is who spent, in the last horizon, under half of their usual.

    Args:
        paths: what customers did; nothing from `period` on is read.
        period: the moment.
        top_tier: who is in the top tier `[customers]`.
    """
    end = period * paths.period_days
    horizon = HORIZON_PERIODS * paths.period_days
    visited = paths.visited[:, :end]
    count = visited.sum(axis=1)
    age_of_first = end - np.argmax(visited, axis=1)
    age_of_last = np.argmax(visited[:, ::-1], axis=1) + 1
    inside = visited[:, end - horizon :]
    # One day more than there was, so that it is never empty.
    before = np.pad(visited, ((0, 0), (1, 0)))[:, :-horizon]
    pause = np.argmax(inside, axis=1) + np.argmax(before[:, ::-1], axis=1) + 1
    declined = _recent(paths.spend, period) < _usual(paths, period) / 2
    rules = (
        age_of_last > horizon,
        (age_of_first <= horizon) & (count <= _NEW_ORDERS),
        inside.any(axis=1) & before.any(axis=1) & (pause >= horizon),
        declined,
        top_tier | ((count >= _STEADY_ORDERS) & (_median_gap(visited) <= horizon / 6)),
    )
    return np.asarray(np.select(rules, range(len(rules)), default=len(rules)), dtype=np.intp)


def transitions_of(
    paths: CustomerPaths,
    cuts: tuple[float, float],
    economics: Economics,
    *,
    first: int = HORIZON_PERIODS,
) -> Transitions:
    """Every step of every customer from a period on, once they were known.

    Args:
        paths: what customers did.
        cuts: of `tier_cuts`.
        economics: what a period is worth.
        first: the first period that gives a step.
    """
    rewards = economics.rewards(paths)
    states = {period: states_at(paths, period, cuts) for period in range(first, paths.periods + 1)}
    known = {period: np.flatnonzero(paths.known_at(period)) for period in states}
    periods = range(first, paths.periods)
    return Transitions(
        customer=np.concatenate([known[period] for period in periods]),
        state=np.concatenate([states[period][known[period]] for period in periods]),
        action=np.concatenate([paths.action[known[period], period] for period in periods]),
        reward=np.concatenate([rewards[known[period], period] for period in periods]),
        next_state=np.concatenate([states[period + 1][known[period]] for period in periods]),
    )


def _recent(values: NDArray[np.generic], period: int) -> Floats:
    return np.asarray(values[:, period - HORIZON_PERIODS : period].mean(axis=1), dtype=np.float64)


def _usual(paths: CustomerPaths, period: int) -> Floats:
    """Spend a period since the period of the first purchase."""
    spend = paths.spend[:, :period]
    return np.asarray(spend.sum(axis=1) / np.maximum(period - np.argmax(spend > 0, axis=1), 1))


def _median_gap(visited: Flags) -> Floats:
    """Median days between days with a purchase; infinite with fewer than two `[customers]`."""
    row, day = np.nonzero(visited)
    same = row[1:] == row[:-1]
    row, gap = row[1:][same], np.diff(day)[same]
    gap = gap[np.lexsort((gap, row))]
    count = np.bincount(row, minlength=len(visited))
    begin = np.cumsum(count) - count
    medians = np.full(len(visited), np.inf)
    some = count > 0
    lower = gap[(begin + (count - 1) // 2)[some]]
    medians[some] = (lower + gap[(begin + count // 2)[some]]) / 2
    return medians
