"""What a customer is worth over time, and where in their life with the shop they are."""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.history import usual_gap
from retrieval.orders import CustomerPast

_YEAR_DAYS = 365.25
_NEW_ORDERS = 3
_Money = TypeVar("_Money", float, NDArray[np.floating[Any]])


class Stage(StrEnum):
    """Lifecycle stage, in the order in which the rules are tried."""

    LAPSED = "lapsed"
    NEW = "new"
    WON_BACK = "won back"
    AT_RISK = "at risk"
    LOYAL = "loyal"
    ACTIVE = "active"


def lifetime_value(
    expected_spend: float,
    churn_risk: float,
    *,
    horizon_days: int,
    discount_rate: float,
    ltv_days: int,
) -> int:
    """LTV = sum over t of C_t p_t / (1 + d)^t, in the unit of `expected_spend`.

    A period t = 1..n is one horizon. C_t p_t is the expected spend of the first period, which
    has the chance of leaving in it already, times the chance of having stayed through the
    periods before, (1 - churn risk)^(t-1); d is the yearly rate brought to one horizon.

    Args:
        expected_spend: over one horizon, minor units.
        churn_risk: over one horizon.
        horizon_days: length of a period.
        discount_rate: yearly.
        ltv_days: how far to look; a last part of a period counts as its share.
    """
    periods = _periods(horizon_days, discount_rate, ltv_days)
    return round(_discounted_sum(expected_spend, churn_risk, periods))


def lifetime_values(
    expected_spend: NDArray[np.floating[Any]],
    churn_risk: NDArray[np.floating[Any]],
    *,
    horizon_days: int,
    discount_rate: float,
    ltv_days: int,
) -> NDArray[np.floating[Any]]:
    """`lifetime_value` of many at once, not rounded; shapes broadcast, float32 stays float32."""
    periods = _periods(horizon_days, discount_rate, ltv_days)
    spend, risk = np.broadcast_arrays(expected_spend, churn_risk)
    return _discounted_sum(spend, risk, periods)


def horizon_discount(horizon_days: int, discount_rate: float) -> float:
    """What an amount one horizon away is divided by; the rate is yearly."""
    return float((1 + discount_rate) ** (horizon_days / _YEAR_DAYS))


def _discounted_sum(
    expected_spend: _Money, churn_risk: _Money, periods: Iterator[tuple[float, float]]
) -> _Money:
    total = 0 * expected_spend
    for earlier, (share, discount) in enumerate(periods):
        total = total + share * expected_spend * (1 - churn_risk) ** earlier / discount
    return total


def _periods(
    horizon_days: int, discount_rate: float, ltv_days: int
) -> Iterator[tuple[float, float]]:
    """Share of a whole period that counts, and (1 + d)^t, of each period."""
    discount = horizon_discount(horizon_days, discount_rate)
    left, period = ltv_days / horizon_days, 1
    while left > 1e-9:
        share = min(1.0, left)
        yield share, discount**period
        left -= share
        period += 1


def lifecycle_stage(
    past: CustomerPast,
    *,
    horizon_days: int,
    churn_risk: float,
    at_risk_above: float,
    top_tier: bool,
) -> Stage:
    """The first rule that holds, in the order of `Stage`.

    Lapsed: no order for a whole horizon. New: first order within the last horizon and at most
    three orders. Won back: an order within the last horizon after a pause of a horizon or more.
    At risk: churn risk at or above the adapter's mark. Loyal: predicted in the top tier, or ten
    orders and more at a steady pace. Else active.
    """
    horizon = timedelta(days=horizon_days)
    moments = [order.timestamp for order in past.orders]
    if past.as_of - past.last > horizon:
        return Stage.LAPSED
    if past.as_of - past.first <= horizon and len(moments) <= _NEW_ORDERS:
        return Stage.NEW
    recent_start = past.as_of - horizon
    if any(
        later - earlier >= horizon and later >= recent_start for earlier, later in pairwise(moments)
    ):
        return Stage.WON_BACK
    if churn_risk >= at_risk_above:
        return Stage.AT_RISK
    gap = usual_gap(past)
    steady = gap is not None and len(moments) >= 10 and gap <= horizon_days / 6
    return Stage.LOYAL if top_tier or steady else Stage.ACTIVE
