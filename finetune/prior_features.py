"""What the statistical prior reads: `customer_features`, fading spend and order days, and habits.

The customer's own usual is one number over the whole past, and the last horizon is another. Between
them lies how they came to where they are: every order counts, the less the older it is, at five
paces. And who leaves a shop by and by first stops buying there some of what they always bought.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from finetune.calibration import Floats
from finetune.customer_features import FEATURES, customer_features
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast

_DAY = timedelta(days=1)
# In horizons: after so long an order counts half.
_HALF_LIVES = {
    "twelfth": 1 / 12,
    "sixth": 1 / 6,
    "third": 1 / 3,
    "two_thirds": 2 / 3,
    "four_thirds": 4 / 3,
}
FADING_SPEND_BY_USUAL = tuple(f"fading_spend_by_usual_{pace}" for pace in _HALF_LIVES)
FADING_DAYS = tuple(f"fading_days_{pace}" for pace in _HALF_LIVES)
FADING_SPEND = tuple(f"fading_spend_{pace}" for pace in _HALF_LIVES)
KEPT_ITEMS = ("kept_lately", "kept_before")
UNITS_A_LINE = "units_a_line"
PRIOR_FEATURES = (
    *FEATURES,
    *FADING_SPEND_BY_USUAL,
    *FADING_DAYS,
    *FADING_SPEND,
    *KEPT_ITEMS,
    UNITS_A_LINE,
)
"""Columns of `prior_features`."""


def prior_features(pasts: Sequence[CustomerPast], horizon_days: int) -> Floats:
    """Features `[n, 41]`, in the order of `PRIOR_FEATURES`.

    Fading sums are scaled so that a customer of steady habit has the same number at every pace:
    what a horizon at that rate would bring. They and the units a line are logarithms.

    Args:
        pasts: what each customer did.
        horizon_days: over which churn and spend are foreseen.
    """
    if not pasts:
        return np.zeros((0, len(PRIOR_FEATURES)))
    fading = np.array([_fading(past, horizon_days) for past in pasts])
    habits = np.array(
        [
            [past.kept_lately, past.kept_before, np.log1p(max(past.units_a_line, 0.0))]
            for past in pasts
        ]
    )
    return np.column_stack([customer_features(pasts, horizon_days), fading, habits])


def _fading(past: CustomerPast, horizon: int) -> Floats:
    ages = np.array([(past.as_of - order.timestamp) / _DAY for order in past.orders])
    amounts = np.array([order.amount for order in past.orders], dtype=np.float64)
    days = np.unique(np.floor(ages))
    decays = np.log(2) / (horizon * np.array(list(_HALF_LIVES.values())))
    # What one a day, as long as the customer is known, would have left; a horizon at least, so that
    # a first order of yesterday is not taken for a daily habit.
    steady = -np.expm1(-decays * max(float(ages[0]), float(horizon))) / decays
    spend = horizon * (np.exp(-np.outer(decays, ages)) @ amounts) / steady
    order_days = horizon * np.exp(-np.outer(decays, days)).sum(axis=1) / steady
    usual = max(usual_spend(past, horizon), 1.0)
    return np.asarray(np.log1p(np.concatenate([spend / usual, order_days, spend])))
