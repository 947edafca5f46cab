from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.exploration import Exploration
from agent.offer_choice import NoOffer, OfferDecision, choose_offer
from agent.offer_rules import Rule
from agent.offers import Covers, Eligibility, LedgerView, OfferCustomer
from tests.agent.hand_made_offers import NOW, book, customer, day, offer, worth

NOTHING_CLAIMED = LedgerView()


def test_a_fitting_offer_is_chosen_with_true_reasons() -> None:
    decision = choose_offer(book(offer()), customer(), NOTHING_CLAIMED, NOW)
    assert isinstance(decision, OfferDecision)
    assert decision.offer.offer_id == "tea"
    assert decision.cost == 85
    assert decision.runner_up is None
    assert all(line.passed for line in decision.rules)
    assert decision.reason == (
        "'$1.00 off tea' costs the shop $0.85, and $40.00 is at stake (40.0% churn risk of "
        "$100.00 expected spend); this customer bought Teas in 3 orders."
    )


def test_somebody_without_an_order_may_only_have_an_offer_for_the_first() -> None:
    new = OfferCustomer(customer_id="77")
    none = choose_offer(book(offer()), new, NOTHING_CLAIMED, NOW)
    assert isinstance(none, NoOffer)
    assert none.rule is Rule.WORTH
    first = offer("welcome", eligibility=Eligibility(first_order=True))
    decision = choose_offer(book(offer(), first), new, NOTHING_CLAIMED, NOW)
    assert isinstance(decision, OfferDecision)
    assert decision.offer is first
    assert decision.reason == (
        "'$1.00 off tea' costs the shop $0.85, and is for a first order, which this customer has "
        "not placed yet."
    )


def test_relevance_goes_before_cost_and_cost_before_id() -> None:
    cheese = Covers(categories=("Cheese",))
    everything = offer("all", covers=Covers(), cost=1)
    dear = offer("a-dear-cheese", covers=cheese, cost=90)
    cheap = offer("b-cheap-cheese", covers=cheese, cost=80)
    same = offer("c-cheap-cheese", covers=cheese, cost=80)
    decision = choose_offer(
        book(everything, offer(), same, dear, cheap), customer(), NOTHING_CLAIMED, NOW
    )
    assert isinstance(decision, OfferDecision)
    assert decision.offer.offer_id == "b-cheap-cheese"
    assert decision.runner_up is not None
    assert decision.runner_up.offer_id == "c-cheap-cheese"
    assert set(decision.considered) == {"all", "tea", *[x.offer_id for x in (dear, cheap, same)]}


def test_no_offer_names_the_commonest_rule_of_those_that_run() -> None:
    result = choose_offer(
        book(
            *[offer(f"over-{number}", expires=day(2017, 12, 5)) for number in range(5)],
            offer("one", eligibility=Eligibility(tiers=("low",))),
            offer("two", eligibility=Eligibility(stages=("new",))),
            offer("three", eligibility=Eligibility(stages=("lapsed",))),
        ),
        customer(),
        NOTHING_CLAIMED,
        NOW,
    )
    assert isinstance(result, NoOffer)
    assert result.rule is Rule.STAGE
    assert result.reason == (
        "No offer fits: the commonest reason, for 2 of 3 running on 2018-01-01, is that it is for "
        "other lifecycle stages."
    )


def test_an_empty_book_gives_no_offer() -> None:
    result = choose_offer(book(), customer(), NOTHING_CLAIMED, NOW)
    assert isinstance(result, NoOffer)
    assert result.rule is None


def test_a_moment_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        choose_offer(book(), customer(), NOTHING_CLAIMED, datetime(2018, 1, 1))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_choice_is_deterministic_and_within_the_rules(data: st.DataObject) -> None:
    costs = data.draw(st.lists(st.integers(0, 6000), min_size=1, max_size=6))
    offers = [
        offer(f"o{number}", cost=cost, covers=Covers(categories=(category,)), budget=6000)
        for number, cost in enumerate(costs)
        for category in [data.draw(st.sampled_from(["Teas", "Cheese", "Soap"]))]
    ]
    spent = {x.offer_id: data.draw(st.integers(0, 6000)) for x in offers}
    view = LedgerView(spent=spent)
    who = customer(churn_risk=data.draw(st.floats(0, 1)))
    first = choose_offer(book(*offers), who, view, NOW)
    assert choose_offer(book(*data.draw(st.permutations(offers))), who, view, NOW) == first
    if isinstance(first, OfferDecision):
        assert who.at_stake is not None
        assert first.cost <= who.at_stake
        assert spent[first.offer.offer_id] + first.offer.hold <= first.offer.budget
    else:
        assert all(any(not x.passed for x in lines) for lines in first.considered.values())


def test_the_largest_expected_gain_goes_before_relevance_and_is_in_the_reason() -> None:
    cheese = offer("cheese", covers=Covers(categories=("Cheese",)))
    decision = choose_offer(
        book(cheese, offer()),
        customer(),
        NOTHING_CLAIMED,
        NOW,
        worths={"cheese": worth(150), "tea": worth(320)},
    )
    assert isinstance(decision, OfferDecision)
    assert decision.offer.offer_id == "tea"
    assert decision.worth == worth(320)
    assert decision.runner_up is cheese
    assert decision.runner_up_worth == worth(150)
    assert decision.reason.endswith("; it is expected to gain $3.20.")
    assert decision.record()["worth"]["gain"] == 320


def test_an_offer_that_does_not_pay_is_not_made() -> None:
    none = choose_offer(book(offer()), customer(), NOTHING_CLAIMED, NOW, worths={"tea": worth(0)})
    assert isinstance(none, NoOffer)
    assert none.rule is Rule.GAIN
    assert "not expected to gain more than it costs" in none.reason


def test_an_experiment_withholds_an_offer() -> None:
    none = choose_offer(book(offer()), customer(), NOTHING_CLAIMED, NOW, withheld={"tea": "autumn"})
    assert isinstance(none, NoOffer)
    assert none.rule is Rule.EXPERIMENT


def test_chance_picks_among_all_that_the_rules_allow_and_the_chances_are_kept() -> None:
    offers = book(
        offer("best"), offer("loses"), offer("over", expires=day(2017, 12, 5)), offer("second")
    )
    worths = {"best": worth(300), "second": worth(200), "loses": worth(-5), "over": worth(900)}
    exploration = Exploration(share=0.5, seed="shop", period="1")
    count = 4_000
    chosen: dict[str | None, int] = {}
    for number in range(count):
        decision = choose_offer(
            offers,
            customer(customer_id=str(number)),
            NOTHING_CLAIMED,
            NOW,
            worths=worths,
            exploration=exploration,
        )
        offer_id = decision.offer.offer_id if isinstance(decision, OfferDecision) else None
        assert decision.propensity == (0.625 if offer_id == "best" else 0.125)
        assert decision.explored or offer_id == "best"
        chosen[offer_id] = chosen.get(offer_id, 0) + 1
    assert set(chosen) == {"best", "second", "loses", None}
    for offer_id, times in chosen.items():
        assert times / count == pytest.approx(0.625 if offer_id == "best" else 0.125, abs=0.03)
