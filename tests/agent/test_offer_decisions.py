"""What a decision could have come to survives the ledger's log."""

from pathlib import Path

import pytest

from agent.exploration import Exploration
from agent.ledger import Ledger
from agent.offer_choice import NoOffer, OfferDecision, choose_offer
from agent.offer_decisions import logged_choices, open_actions
from agent.offers import LedgerView
from tests.agent.hand_made_offers import NOW, book, customer, offer

# Two offers of one kind, and one that names no kind.
OFFERS = book(
    offer("tea", effect_group="mail"), offer("milk", effect_group="mail"), offer("cake", cost=90)
)
HALF = Exploration(share=0.5, seed="shop", period="9")


def log(ledger: Ledger, customer_id: str, exploration: Exploration | None) -> None:
    decision = choose_offer(
        OFFERS, customer(customer_id=customer_id), LedgerView(), NOW, exploration=exploration
    )
    made = isinstance(decision, OfferDecision)
    ledger.log_decision(
        customer_id,
        decision.offer.offer_id if made else None,
        idempotency_key=customer_id,
        propensity=decision.propensity,
        explored=decision.explored,
        expected_gain=0,
        as_of=NOW,
        inputs=open_actions(decision, "9"),
    )


def test_every_open_kind_is_read_with_the_chance_it_had(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        for number in range(60):
            log(ledger, str(number), HALF)
        choices = logged_choices(ledger.decisions())
    # The best offer is of the kind mail: half of all, and two of four of the other half.
    wanted = {None: 0.125, "mail": 0.75, "cake": 0.125}
    assert {each.kind for each in choices} == set(wanted)
    for each in choices:
        assert each.chances == pytest.approx(wanted)
        assert (each.period, each.at) == ("9", NOW)
    assert 0 < sum(each.explored for each in choices) < 60


def test_without_chance_only_what_was_chosen_was_open(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        log(ledger, "7", None)
        (choice,) = logged_choices(ledger.decisions())
    assert choice.chances == {"mail": 1.0}


def test_a_decision_of_an_earlier_version_has_no_chances(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.log_decision(
            "7",
            "tea",
            idempotency_key="1",
            propensity=0.25,
            explored=True,
            expected_gain=0,
            as_of=NOW,
            inputs={"reason": "because"},
        )
        (choice,) = logged_choices(ledger.decisions())
    assert choice.chances == {}


def test_where_no_rule_passes_nothing_but_no_offer_is_open() -> None:
    decision = choose_offer(book(offer(budget=0)), customer(), LedgerView(), NOW, exploration=HALF)
    assert isinstance(decision, NoOffer)
    assert open_actions(decision, "9")["actions"] == [
        {"offer_id": None, "kind": None, "chance": 1.0}
    ]
