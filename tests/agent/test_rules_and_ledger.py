"""What the rules let pass the ledger grants, and what they refuse it refuses too."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import LedgerError
from agent.ledger import Ledger
from agent.offer_rules import Rule, apply_rules
from agent.offers import Offer
from tests.agent.hand_made_offers import customer, day, offer

CUSTOMERS = ("7", "8")


# What limits an offer that is otherwise open to all; one that many limits forbid proves little.
LIMITS: tuple[dict[str, object], ...] = (
    {"starts": day(2017, 12, 3)},
    {"expires": day(2017, 12, 4)},
    {"cap_per_customer": 1},
    {"cap_per_customer": 1, "cap_days": 2},
    {"cap_per_customer": 2, "cap_days": 1},
    {"exclusive_group": "g"},
    {"stackable": False},
    {"needs_code": True},
    {"budget": 200},
    {"period_budget": 100, "period_days": 2},
)


def limited_offers(offer_id: str) -> st.SearchStrategy[Offer]:
    def limited(limits: list[dict[str, object]]) -> Offer:
        changes: dict[str, object] = {"cap_per_customer": 9}
        for limit in limits:
            changes |= limit
        return offer(offer_id, **changes)

    return st.lists(st.sampled_from(LIMITS), max_size=2).map(limited)


@settings(max_examples=60, deadline=None)
@given(
    offers=st.tuples(limited_offers("tea"), limited_offers("soap")),
    requests=st.lists(
        st.tuples(st.sampled_from(CUSTOMERS), st.integers(0, 1), st.integers(0, 30)),
        min_size=3,
        max_size=6,
    ),
)
def test_rules_and_ledger_agree_on_every_claim(
    tmp_path_factory: pytest.TempPathFactory,
    offers: tuple[Offer, Offer],
    requests: list[tuple[str, int, int]],
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("shop") / "ledger.db")
    for it in offers:
        ledger.add_codes(it.offer_id, [f"{it.offer_id}-{number}" for number in range(2)])
    now = day(2017, 12, 1)
    for number, (customer_id, which, hours) in enumerate(requests):
        now += timedelta(hours=hours)
        view = ledger.view(customer_id, now)
        lines = apply_rules(
            offers[which], customer(customer_id=customer_id), view, now, currency="USD"
        )
        failed = [line.rule for line in lines if not line.passed]
        assert Rule.WORTH not in failed
        assert granted(ledger, offers[which], customer_id, now, str(number)) is not bool(failed)


def granted(ledger: Ledger, it: Offer, customer_id: str, now: datetime, key: str) -> bool:
    try:
        ledger.claim(it, customer_id, idempotency_key=key, as_of=now, decision={})
    except LedgerError:
        return False
    return True
