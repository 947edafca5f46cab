"""One offer and short ways to ask the ledger about it."""

from datetime import UTC, datetime, timedelta

from agent.ledger import Claim, Ledger
from agent.offers import Offer, OfferKind

NOW = datetime(2018, 1, 1, 12, tzinfo=UTC)
END = datetime(2018, 2, 1, tzinfo=UTC)
WHY = {"reason": "because"}


def offer(offer_id: str = "tea", **changes: object) -> Offer:
    """An offer of $1.00 in January and December, which costs 85 and holds 100."""
    values: dict[str, object] = {
        "offer_id": offer_id,
        "title": "$1.00 off tea",
        "description": "",
        "kind": OfferKind.AMOUNT,
        "value": 100,
        "max_discount": None,
        "cost": 85,
        "budget": 1000,
        "starts": datetime(2017, 12, 1, tzinfo=UTC),
        "expires": END,
    }
    return Offer(**values | changes)  # type: ignore[arg-type]


def claim(
    ledger: Ledger,
    taken: Offer,
    customer_id: str,
    key: str,
    now: datetime = NOW,
    reservation: str | None = None,
) -> Claim:
    return ledger.claim(
        taken,
        customer_id,
        idempotency_key=key,
        as_of=now,
        decision=WHY,
        reservation=reservation,
    )


def reserve(
    ledger: Ledger, taken: Offer, customer_id: str, key: str, now: datetime = NOW, minutes: int = 30
) -> Claim:
    return ledger.reserve(
        taken,
        customer_id,
        idempotency_key=key,
        as_of=now,
        ttl=timedelta(minutes=minutes),
        decision=WHY,
    )


def redeem(
    ledger: Ledger,
    claim_id: str,
    key: str,
    order_id: str = "o1",
    discount: int = 70,
    now: datetime = NOW,
    order_total: int = 1_000,
) -> Claim:
    return ledger.redeem(
        claim_id,
        order_id=order_id,
        order_total=order_total,
        discount=discount,
        idempotency_key=key,
        as_of=now,
        decision=WHY,
    )


def reverse(ledger: Ledger, claim_id: str, key: str, now: datetime = NOW) -> Claim:
    return ledger.reverse(claim_id, reason="a return", idempotency_key=key, as_of=now, decision=WHY)
