"""What the agent gives back: predictions, recommendations, customer cards and answers."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from agent.offer_choice import NoOffer, OfferDecision
from agent.offer_worth import OfferWorth
from finetune.drivers import Driver
from finetune.value import Stage
from retrieval.evidence import Evidence
from retrieval.money import to_major
from retrieval.ranking import Recommendation


class Intent(StrEnum):
    """What a turn asks for."""

    WHO = "who"
    CHURN = "churn"
    VALUE = "value"
    RECOMMEND = "recommend"
    WHY_ITEM = "why_item"
    OFFER = "offer"
    COMPARE = "compare"
    LIKE = "like"
    DISLIKE = "dislike"
    THANKS = "thanks"
    HELP = "help"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a customer is worth and whether they are leaving.

    Attributes:
        tier_probabilities: by tier, lowest first; they sum to one.
        churn_risk: calibrated probability of churn within `horizon_days`.
        churn_definition: what churn means, in words.
        expected_spend: over the horizon, minor units.
        ltv: minor units; see `finetune.value.lifetime_value`.
        expected_spend_low: low end of the interval around expected spend, minor units; None where
            the adapter was made without intervals, and then high end, coverage and season are too.
        expected_spend_high: high end, minor units.
        expected_spend_coverage: share of customers whose spend lies in their interval.
        season: "known: ..." or "unknown: ...", with the reason.
        evidence: records the prediction was read from.
        drivers: what each line of the history adds, the largest change of the risk first; None
            where it was not asked for, or what answered does not compute it.
        basis: what the prediction rests on, in words; None for an adapter of the shop's own.
    """

    customer_id: str
    as_of: datetime
    value_tier: str
    tier_probabilities: dict[str, float]
    churn_risk: float
    churn_definition: str
    horizon_days: int
    expected_spend: int
    ltv: int
    currency: str
    stage: Stage
    adapter_id: str
    evidence: tuple[Evidence, ...]
    drivers: tuple[Driver, ...] | None = None
    expected_spend_low: int | None = None
    expected_spend_high: int | None = None
    expected_spend_coverage: float | None = None
    season: str | None = None
    basis: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts; money in major units."""
        return {
            "customer_id": self.customer_id,
            "as_of": self.as_of.isoformat(),
            "value_tier": self.value_tier,
            "tier_probabilities": self.tier_probabilities,
            "churn_risk": self.churn_risk,
            "churn_definition": self.churn_definition,
            "horizon_days": self.horizon_days,
            "expected_spend": float(to_major(self.expected_spend, self.currency)),
            "expected_spend_low": _major(self.expected_spend_low, self.currency),
            "expected_spend_high": _major(self.expected_spend_high, self.currency),
            "expected_spend_coverage": self.expected_spend_coverage,
            "season": self.season,
            "ltv": float(to_major(self.ltv, self.currency)),
            "currency": self.currency,
            "stage": self.stage.value,
            "adapter_id": self.adapter_id,
            "basis": self.basis,
            "drivers": None
            if self.drivers is None
            else [_driver_json(driver, self.currency) for driver in self.drivers],
            "evidence": [evidence_json(record) for record in self.evidence],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendations:
    """Items for a customer, and the offer that goes with them.

    Attributes:
        customer_id: None for somebody new whom the log does not know.
        offer: None where it was not asked for.
        notes: what had to be given up of what was asked, one sentence each.
    """

    customer_id: str | None
    items: tuple[Recommendation, ...]
    offer: OfferDecision | NoOffer | None
    currency: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts."""
        return {
            "customer_id": self.customer_id,
            "items": [item_json(item, self.currency) for item in self.items],
            "offer": None if self.offer is None else offer_json(self.offer, self.currency),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentOrder:
    """One order on a customer's card; `amount` in minor units, `titles` of its largest items."""

    order_id: str
    day: date
    amount: int
    item_count: int
    titles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerCard:
    """Who a customer is, at a glance.

    Attributes:
        prediction: None for shoppers, who see their orders but not the shop's scores.
        spend: all purchases, minor units.
        monthly_spend: first day of each month with its spend (minor units), oldest first, months
            without a purchase included.
        similar_left: of how many similar past customers how many left: (left, of); None for
            shoppers or where the index holds no outcomes.
    """

    customer_id: str
    as_of: datetime
    currency: str
    first_order: date
    last_order: date
    orders: int
    spend: int
    recent_orders: tuple[RecentOrder, ...]
    monthly_spend: tuple[tuple[date, int], ...]
    history: str
    prediction: Prediction | None
    similar_left: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answered turn.

    Attributes:
        text: the sentences, as shown.
        replaced_sentences: how many of the model's sentences failed the check and were replaced by
            the plain facts.
        written_sentences: how many sentences the model was asked to write.
    """

    text: str
    intent: Intent
    customer_id: str | None
    items: tuple[Recommendation, ...]
    offer: OfferDecision | NoOffer | None
    prediction: Prediction | None
    evidence: tuple[Evidence, ...]
    replaced_sentences: int
    written_sentences: int
    currency: str

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts."""
        return {
            "text": self.text,
            "intent": self.intent.value,
            "items": [item_json(item, self.currency) for item in self.items],
            "offer": None if self.offer is None else offer_json(self.offer, self.currency),
            "prediction": None if self.prediction is None else self.prediction.to_json(),
            "evidence": [evidence_json(record) for record in self.evidence],
            "replaced_sentences": self.replaced_sentences,
            "written_sentences": self.written_sentences,
        }


def _driver_json(driver: Driver, currency: str) -> dict[str, Any]:
    """What one line adds, for scripts; above 0 it raises the risk, the spend or the chance."""
    return {
        "line": driver.line.value,
        "text": driver.text,
        "churn_risk_change": round(driver.churn_risk_change, 4),
        "expected_spend_change": float(to_major(round(driver.expected_spend_change), currency)),
        "tier_chance_change": round(driver.tier_chance_change, 4),
    }


def evidence_json(record: Evidence) -> dict[str, str]:
    """An evidence record for scripts."""
    return {"id": record.id, "text": record.text}


def item_json(item: Recommendation, currency: str) -> dict[str, Any]:
    """A recommended item for scripts; price in major units."""
    return {
        "item_id": item.item_id,
        "title": item.title,
        "category": item.category,
        "price": None if item.price is None else float(to_major(item.price, currency)),
        "score": item.score,
        "sources": [source.value for source in item.sources],
        "reason": item.reason,
        "cites": list(item.cites),
        "evidence": [evidence_json(record) for record in item.evidence],
    }


def offer_json(offer: OfferDecision | NoOffer, currency: str) -> dict[str, Any] | None:
    """The chosen offer for scripts, None where no offer fits; cost in major units."""
    if isinstance(offer, NoOffer):
        return None
    return {
        "offer_id": offer.offer.offer_id,
        "title": offer.offer.title,
        "cost": float(to_major(offer.cost, currency)),
        "reason": offer.reason,
        "expires": offer.offer.expires.isoformat(),
        "rules": [line.text for line in offer.rules],
        "worth": None if offer.worth is None else _worth_json(offer.worth, currency),
        "runner_up": None if offer.runner_up is None else offer.runner_up.offer_id,
        "propensity": offer.propensity,
        "explored": offer.explored,
    }


def _major(minor: int | None, currency: str) -> float | None:
    return None if minor is None else float(to_major(minor, currency))


def _worth_json(worth: OfferWorth, currency: str) -> dict[str, Any]:
    return {
        "expected_gain": float(to_major(worth.gain, currency)),
        "low": float(to_major(worth.low, currency)),
        "high": float(to_major(worth.high, currency)),
        "expected_cost": float(to_major(worth.cost, currency)),
        "redemption_chance": round(worth.redemption_chance, 4),
        "measured": worth.measured,
        "basis": worth.basis,
    }
