"""What counting reads of a customer: numbers, most of them relative to habit."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from finetune.calibration import Floats
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast

_DAY = timedelta(days=1)
FEATURES = (
    "recency",
    "frequency",
    "T",
    "monetary_value",
    "usual_spend",
    "since_last",
    "since_last_by_horizon",
    "since_last_by_gap",
    "since_last_by_longest_gap",
    "gap_spread",
    "spend_last_horizon",
    "spend_last_third",
    "spend_last_sixth",
    "spend_before_by_usual",
    "days_last_horizon",
    "days_last_third",
    "days_by_usual_last_third",
    "last_order_by_average",
    "amount_spread",
    "items_an_order",
    "returned_share",
    "repeat_share",
    "busy_share",
)
"""Columns of `customer_features`."""


def customer_features(pasts: Sequence[CustomerPast], horizon_days: int) -> Floats:
    """Features `[n, 23]`, in the order of `FEATURES`.

    recency, frequency, T and monetary_value as the CLV literature has them (Fader et al., 2005),
    in logarithms; then how late the customer is against their own gaps, and spend and order days
    of the last horizon and of its last third and sixth against their own usual. What is relative
    means the same a year later and in another shop.

    Args:
        pasts: what each customer did.
        horizon_days: over which churn and spend are foreseen.
    """
    if not pasts:
        return np.zeros((0, len(FEATURES)))
    return np.array([_features_of(past, horizon_days) for past in pasts], dtype=np.float64)


def _features_of(past: CustomerPast, horizon: int) -> list[float]:
    ages = np.array([(past.as_of - order.timestamp) / _DAY for order in past.orders])
    amounts = np.array([order.amount for order in past.orders], dtype=np.float64)
    days = np.unique(np.floor(ages))[::-1]  # ages of the days with an order, oldest first
    gaps = -np.diff(days)
    first, last = float(ages[0]), float(ages[-1])
    usual = max(usual_spend(past, horizon), 1.0)
    usual_days = len(days) * horizon / max(first, float(horizon))
    gap = float(np.median(gaps)) if len(gaps) else float(horizon)
    longest = float(gaps.max()) if len(gaps) else float(horizon)
    average = max(float(amounts.mean()), 1.0)

    def spend_within(span: float) -> float:
        return float(amounts[ages <= span].sum())

    def days_within(span: float) -> int:
        return int((days <= span).sum())

    before = float(amounts[(ages > horizon) & (ages <= 2 * horizon)].sum())
    return [
        np.log1p(first - last),
        np.log1p(len(days) - 1),
        np.log1p(first),
        np.log1p(average),
        np.log1p(usual),
        np.log1p(last),
        last / horizon,
        np.log1p(last / max(gap, 1.0)),
        np.log1p(last / max(longest, 1.0)),
        float(gaps.std() / max(gaps.mean(), 1.0)) if len(gaps) > 1 else 0.0,
        np.log1p(spend_within(horizon) / usual),
        np.log1p(3 * spend_within(horizon / 3) / usual),
        np.log1p(6 * spend_within(horizon / 6) / usual),
        np.log1p(before / usual),
        np.log1p(days_within(horizon)),
        np.log1p(days_within(horizon / 3)),
        np.log1p(3 * days_within(horizon / 3) / usual_days),
        np.log1p(float(amounts[-1]) / average),
        float(amounts.std() / average),
        np.log1p(np.mean([order.item_count for order in past.orders])),
        past.returned / max(float(amounts.sum()), 1.0),
        past.favourites[0][1] / len(past.orders) if past.favourites else 0.0,
        _busy_share(ages, first, horizon),
    ]


def _busy_share(ages: Floats, first: float, horizon: int) -> float:
    """Share of the customer's thirds of a horizon, so far, that hold an order."""
    third = horizon / 3
    return len(np.unique(np.floor(ages / third))) / (int(first / third) + 1)
