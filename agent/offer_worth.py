"""What making an offer to a customer is worth, from the measured effects of past campaigns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.offer_gain import GainTerms, OfferEffect, expected_gain
from agent.offers import Offer
from finetune.contacts import Contact
from finetune.offer_effects import EffectEstimate, OfferEffects
from retrieval.orders import CustomerPast
from retrieval.shop import ShopSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferWorth:
    """What an offer is expected to change for one customer; money in minor units.

    Attributes:
        gain: margin of the lifetime value gained, minus the expected cost.
        low: the same at the lower end of the 95% interval of the average effect on spend. The
            gain itself is of an effect that was shrunk, and may differ between customers.
        high: the same at its upper end.
        redemption_chance: of redeeming at least once, 0 to 1.
        cost: expected, so the chance of redemption times the cost of one.
        measured: whether the effect could be told from none.
        basis: how the effect was estimated, in words.
    """

    gain: int
    low: int
    high: int
    redemption_chance: float
    cost: int
    measured: bool
    basis: str


def kind_of(offer: Offer) -> str:
    """As which kind an offer's effect is learned: that of past campaigns it names, else its own."""
    return offer.effect_group or offer.offer_id


def gain_terms(settings: ShopSettings) -> GainTerms:
    """What the shop's settings declare about the worth of a change."""
    return GainTerms(
        margin_share=settings.offers.margin,
        horizon_days=settings.churn.horizon_days,
        discount_rate=settings.value.discount_rate,
        ltv_days=settings.value.ltv_days,
        lasting_share=settings.offers.lasting_share,
    )


def offer_worths(
    offers: Iterable[Offer],
    effects: OfferEffects,
    past: CustomerPast,
    contacts: Sequence[Contact],
    *,
    expected_spend: int,
    churn_risk: float,
    terms: GainTerms,
) -> Mapping[str, OfferWorth]:
    """The worth of offers for one customer, by offer id.

    The effect on spend counts once. An effect on leaving counts only where it was learned over the
    horizon that churn risk is of: the chance of leaving within another window is another chance.

    Args:
        offers: which.
        effects: what the shop's past campaigns changed.
        past: the customer's, as of now.
        contacts: the customer's own earlier contacts.
        expected_spend: of the customer over the horizon, minor units.
        churn_risk: of the customer over the horizon.
        terms: the shop's.
    """
    estimates: dict[str, EffectEstimate] = {}
    worths = {}
    for offer in offers:
        kind = kind_of(offer)
        if kind not in estimates:
            estimates[kind] = effects.estimate(kind, past, contacts)
        estimate = estimates[kind]
        of_horizon = estimate.window_days == terms.horizon_days
        churn = estimate.churn_effect if of_horizon else 0.0

        def gain(
            spend: int, churn: float, offer: Offer = offer, estimate: EffectEstimate = estimate
        ) -> int:
            effect = OfferEffect(
                churn=churn, spend=spend, redemption=estimate.redemption_chance, cost=offer.cost
            )
            return round(expected_gain(expected_spend, churn_risk, effect, terms))

        worths[offer.offer_id] = OfferWorth(
            gain=gain(estimate.spend_effect, churn),
            low=gain(estimate.spend_low, churn),
            high=gain(estimate.spend_high, churn),
            redemption_chance=estimate.redemption_chance,
            cost=round(estimate.redemption_chance * offer.cost),
            measured=estimate.measured,
            basis=estimate.basis,
        )
    return worths
