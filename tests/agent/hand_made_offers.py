"""One offer, one customer and one moment, of which each test changes what it is about."""

from datetime import UTC, datetime

from agent.offer_worth import OfferWorth
from agent.offers import Covers, Offer, OfferBook, OfferCustomer, OfferKind

NOW = datetime(2018, 1, 1, 12, tzinfo=UTC)


def day(year: int, month: int, number: int) -> datetime:
    """Midnight, UTC."""
    return datetime(year, month, number, tzinfo=UTC)


def offer(offer_id: str = "tea", **changes: object) -> Offer:
    """$1.00 off tea at a cost of $0.85, for everybody, in December and January."""
    values: dict[str, object] = {
        "offer_id": offer_id,
        "title": "$1.00 off tea",
        "description": "",
        "kind": OfferKind.AMOUNT,
        "value": 100,
        "max_discount": None,
        "cost": 85,
        "covers": Covers(categories=("Teas",)),
        "budget": 10_000,
        "starts": day(2017, 12, 1),
        "expires": day(2018, 2, 1),
    }
    return Offer(**values | changes)  # type: ignore[arg-type]


def percent_offer(offer_id: str = "ten", **changes: object) -> Offer:
    """10% off tea, at most $5.00."""
    values: dict[str, object] = {"kind": OfferKind.PERCENT, "value": 10, "max_discount": 500}
    return offer(offer_id, **values | changes)


def customer(**changes: object) -> OfferCustomer:
    """Somebody at risk who buys tea, with $40.00 at stake."""
    values: dict[str, object] = {
        "customer_id": "7",
        "value_tier": "middle",
        "churn_risk": 0.4,
        "stage": "at risk",
        "expected_spend": 10_000,
        "bought_categories": {"Teas": 3, "Cheese": 8},
        "bought_items": frozenset({"green-tea"}),
    }
    return OfferCustomer(**values | changes)  # type: ignore[arg-type]


def book(*offers: Offer) -> OfferBook:
    """A book in dollars."""
    return OfferBook(offers, currency="USD")


def worth(gain: int, **changes: object) -> OfferWorth:
    """What an offer gains, minor units, give or take a dollar."""
    values: dict[str, object] = {
        "gain": gain,
        "low": gain - 100,
        "high": gain + 100,
        "redemption_chance": 0.2,
        "cost": 17,
        "measured": True,
        "basis": "made for the tests",
    }
    return OfferWorth(**values | changes)  # type: ignore[arg-type]
