"""The money that an offer changes: lifetime value gained, minus what the offer costs.

What the customer would have done anyway is out already: effects are differences between the
customer with the offer and the same customer without it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.value import horizon_discount, lifetime_values

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GainTerms:
    """What the shop declares about the worth of a change.

    Attributes:
        margin_share: what the shop keeps of a unit of spend, 0 to 1.
        horizon_days: length of the period that spend, risk and effects are of.
        discount_rate: yearly.
        ltv_days: how far to look.
        lasting_share: of the effect on spend, what remains in each later period. 0: the effect
            ends with the horizon.
        lasting_risk_share: of the effect on churn risk, what remains in each later period. 0: who
            was kept has afterwards the risk that they have without the offer.
    """

    margin_share: float
    horizon_days: int
    discount_rate: float
    ltv_days: int
    lasting_share: float = 0.0
    lasting_risk_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("margin_share", "lasting_share", "lasting_risk_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.horizon_days < 1 or self.ltv_days < 1:
            raise ValueError("horizon_days and ltv_days must be at least 1")
        if self.discount_rate <= -1:
            raise ValueError(f"discount_rate must be above -1, not {self.discount_rate}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferEffect:
    """What one offer changes for one customer over the horizon.

    Attributes:
        churn: change of the churn risk; negative keeps the customer.
        spend: change of the whole spend of the horizon, minor units, at prices before the offer's
            discount (its cost counts on its own); the spend of those kept in the horizon is in it.
        redemption: chance that the offer is redeemed, 0 to 1.
        cost: what one redemption costs the shop, minor units.
    """

    churn: float
    spend: float
    redemption: float
    cost: int


def expected_gain(
    expected_spend: float, churn_risk: float, effect: OfferEffect, terms: GainTerms
) -> float:
    """`expected_gains` of one customer and one offer, minor units."""
    return float(
        expected_gains(
            np.array([expected_spend]),
            np.array([churn_risk]),
            churn_effect=np.array([[effect.churn]]),
            spend_effect=np.array([[effect.spend]]),
            expected_cost=np.array([[effect.redemption * effect.cost]]),
            terms=terms,
        )[0, 0]
    )


def expected_gains(
    expected_spend: Floats,
    churn_risk: Floats,
    *,
    churn_effect: Floats,
    spend_effect: Floats,
    expected_cost: Floats,
    terms: GainTerms,
) -> Floats:
    """Margin of the lifetime value gained, minus the expected cost.

    With LTV(S, r) of `finetune.value.lifetime_value`, seen from the end of the first horizon over
    the days that are left, S the expected spend and r the churn risk, e and c the effects on them,
    w the part of the first horizon that counts and d its discount:

        gain = margin (w e + (1 - r - c) LTV(S + lasting e, r + lasting_risk c)
                           - (1 - r) LTV(S, r)) / d - expected cost

    Where both effects last in full this is margin (LTV(S + e, r + c) - LTV(S, r)) - expected cost.
    A changed risk stays within 0 and 1, a changed spend at 0 or above.

    Args:
        expected_spend: over one horizon without the offer, minor units; shape (n,).
        churn_risk: over one horizon without the offer; shape (n,).
        churn_effect: see `OfferEffect.churn`; shape (n, m), or (1, m) for one alike for all.
        spend_effect: see `OfferEffect.spend`; shaped likewise.
        expected_cost: chance of redemption times the cost of one, minor units; shaped likewise.
        terms: the shop's.

    Returns:
        Minor units, shape (n, m); float32 where all arrays are.
    """
    spend, risk = expected_spend[:, None], churn_risk[:, None]
    risk_after = np.clip(risk + churn_effect, 0, 1)
    spend_change = np.maximum(spend_effect, -spend)
    later_change = terms.lasting_share * spend_change
    per_unit = _later_value_per_unit(risk, terms)
    # Differences of small terms, never of two lifetime values: float32 would lose the cents.
    later = per_unit * (later_change * (1 - risk_after) - spend * (risk_after - risk))
    if terms.lasting_risk_share:
        later_risk = np.clip(risk + terms.lasting_risk_share * churn_effect, 0, 1)
        more = _later_value_per_unit(later_risk, terms) - per_unit
        later += (1 - risk_after) * (spend + later_change) * more
    first = min(1.0, terms.ltv_days / terms.horizon_days)
    discount = horizon_discount(terms.horizon_days, terms.discount_rate)
    value = (first * spend_change + later) * (terms.margin_share / discount)
    return np.asarray(value - expected_cost)


def _later_value_per_unit(churn_risk: Floats, terms: GainTerms) -> Floats:
    """LTV at the end of the first horizon, per unit of spend a horizon, over the days left."""
    return lifetime_values(
        np.ones_like(churn_risk),
        churn_risk,
        horizon_days=terms.horizon_days,
        discount_rate=terms.discount_rate,
        ltv_days=terms.ltv_days - terms.horizon_days,
    )
