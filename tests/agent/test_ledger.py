"""Claims: what is booked, and what each limit refuses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import LedgerError
from agent.ledger import Balance, ClaimState, Ledger
from agent.offers import LedgerView, Offer, OfferKind, RunningClaim
from tests.agent.ledger_hand_made import END, NOW, WHY, claim, offer, redeem, reserve, reverse


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def test_a_claim_is_booked_and_seen(ledger: Ledger) -> None:
    taken = offer(exclusive_group="g")
    made = claim(ledger, taken, "7", "k1")
    assert (made.offer_id, made.customer_id, made.repeated) == ("tea", "7", False)
    assert (made.state, made.cost, made.held, made.discount) == (ClaimState.CLAIMED, 85, 100, 0)
    assert (made.claimed_at, made.expires, made.code) == (NOW, END, None)
    view = ledger.view("7", NOW)
    assert view.claims == {"tea": (NOW,)}
    held = RunningClaim(offer_id="tea", exclusive_group="g", stackable=True, until=END)
    assert view.running == (held,)
    assert view.budget_left(taken) == 900
    assert view.budget_left(offer("other")) == 1000
    assert (ledger.view("8", NOW).claims, ledger.view("8", NOW).running) == ({}, ())
    assert ledger.balances() == {"tea": Balance(opening=1000, held=100, redeemed=0, left=900)}
    assert [line.what for line in ledger.audit()] == ["budget", "claim"]
    assert ledger.audit()[1].details["decision"] == WHY
    assert ledger.check() == ()


def test_what_a_percent_offer_holds_is_its_most(ledger: Ledger) -> None:
    ceiling = offer(kind=OfferKind.PERCENT, value=10, max_discount=250)
    assert claim(ledger, ceiling, "7", "k1").held == 250


@pytest.mark.parametrize("now", [datetime(2017, 11, 30, 23, 59, tzinfo=UTC), END])
@pytest.mark.parametrize("take", [claim, reserve])
def test_dates_are_checked(ledger: Ledger, now: datetime, take: Callable[..., object]) -> None:
    with pytest.raises(LedgerError, match="'tea' does not run"):
        take(ledger, offer(), "7", "k1", now)
    assert ledger.balances()["tea"].left == 1000


def test_the_cap_is_checked(ledger: Ledger) -> None:
    twice = offer(cap_per_customer=2)
    claim(ledger, twice, "7", "k1")
    reserve(ledger, twice, "7", "k2")
    with pytest.raises(LedgerError, match="Customer '7' has claimed offer 'tea' 2 times"):
        claim(ledger, twice, "7", "k3")
    claim(ledger, twice, "8", "k4")
    assert ledger.balances()["tea"].held == 300
    assert ledger.audit()[3].what == "refused claim"


def test_the_cap_looks_back_on_its_days(ledger: Ledger) -> None:
    weekly = offer(cap_days=7)
    claim(ledger, weekly, "7", "k1")
    week = timedelta(days=7)
    with pytest.raises(LedgerError, match="as often as"):
        claim(ledger, weekly, "7", "k2", NOW + week - timedelta(microseconds=1))
    claim(ledger, weekly, "7", "k3", NOW + week)
    assert ledger.view("7", NOW).claims == {"tea": (NOW, NOW + week)}


def test_what_was_given_back_does_not_count_towards_the_cap(ledger: Ledger) -> None:
    reserve(ledger, offer(), "7", "k1", minutes=30)
    again = claim(ledger, offer(), "7", "k2", NOW + timedelta(minutes=30))
    reverse(ledger, again.claim_id, "k3", NOW + timedelta(minutes=31))
    third = claim(ledger, offer(), "7", "k4", NOW + timedelta(minutes=32))
    redeem(ledger, third.claim_id, "k5")
    with pytest.raises(LedgerError, match="has claimed offer 'tea' 1 times"):
        claim(ledger, offer(), "7", "k6", NOW + timedelta(minutes=33))


def test_one_running_claim_in_an_exclusive_group(ledger: Ledger) -> None:
    claim(ledger, offer("january", exclusive_group="g", cap_per_customer=2), "7", "k1")
    long = offer("long", exclusive_group="g", expires=datetime(2018, 6, 1, tzinfo=UTC))
    with pytest.raises(LedgerError, match="holds offer 'january' of the group 'g'"):
        claim(ledger, long, "7", "k2")
    with pytest.raises(LedgerError, match="of the group 'g'"):
        claim(ledger, offer("january", exclusive_group="g", cap_per_customer=2), "7", "k2")
    claim(ledger, offer("ungrouped"), "7", "k3")
    claim(ledger, offer("other", exclusive_group="h"), "7", "k4")
    claim(ledger, long, "7", "k5", END)  # what January's claim held is over


def test_redeeming_frees_the_exclusive_group(ledger: Ledger) -> None:
    first = claim(ledger, offer("a", exclusive_group="g"), "7", "k1")
    redeem(ledger, first.claim_id, "k2")
    claim(ledger, offer("b", exclusive_group="g"), "7", "k3")


def test_what_does_not_stack_is_held_alone(ledger: Ledger) -> None:
    alone = offer("alone", stackable=False, cap_per_customer=2)
    held = claim(ledger, alone, "7", "k1")
    claim(ledger, alone, "7", "k2")  # stacking is about other offers
    with pytest.raises(LedgerError, match="holds offer 'alone'; 'alone' does not stack"):
        claim(ledger, offer("b"), "7", "k3")
    claim(ledger, offer("b"), "8", "k4")
    with pytest.raises(LedgerError, match="holds offer 'b'; 'alone' does not stack"):
        reserve(ledger, alone, "8", "k5")
    assert held.is_open


def test_the_budget_is_never_overspent(ledger: Ledger) -> None:
    small = offer(budget=250)
    claim(ledger, small, "1", "k1")
    claim(ledger, small, "2", "k2")
    with pytest.raises(LedgerError, match="budget of offer 'tea' is used up"):
        claim(ledger, small, "3", "k3")
    assert ledger.balances()["tea"] == Balance(opening=250, held=200, redeemed=0, left=50)


def test_a_budget_is_spent_to_the_last_cent(ledger: Ledger) -> None:
    claim(ledger, offer(budget=200), "1", "k1")
    claim(ledger, offer(budget=200), "2", "k2")
    assert ledger.balances()["tea"].left == 0


def test_a_changed_budget_is_followed_and_audited(ledger: Ledger) -> None:
    claim(ledger, offer(budget=100), "1", "k1")
    claim(ledger, offer(budget=200), "2", "k2")
    with pytest.raises(LedgerError, match="used up"):
        claim(ledger, offer(budget=150), "3", "k3")
    assert ledger.balances()["tea"] == Balance(opening=150, held=200, redeemed=0, left=-50)
    changes = [line.details for line in ledger.audit(what="budget")]
    assert [(change["before"], change["opening"]) for change in changes] == [
        (None, 100),
        (100, 200),
        (200, 150),
    ]


def monthly(**changes: object) -> Offer:
    """Two claims in each ten days from December 1."""
    return offer(period_budget=200, period_days=10, cap_per_customer=9, **changes)


def test_a_period_budget_is_checked_and_begins_anew(ledger: Ledger) -> None:
    last = datetime(2017, 12, 10, 23, 59, 59, tzinfo=UTC)
    claim(ledger, monthly(), "1", "k1", datetime(2017, 12, 1, tzinfo=UTC))
    claim(ledger, monthly(), "2", "k2", last)
    with pytest.raises(LedgerError, match="for the period from 2017-12-01 is used up"):
        claim(ledger, monthly(), "3", "k3", last)
    assert ledger.balances()["tea"].held == 200
    assert ledger.view("1", last).period_spent == {"tea": 200}
    claim(ledger, monthly(), "3", "k4", last + timedelta(seconds=1))
    assert ledger.view("1", last + timedelta(seconds=1)).period_spent == {"tea": 100}
    assert ledger.check() == ()


def test_what_comes_back_returns_to_the_period_it_was_taken_from(ledger: Ledger) -> None:
    first = datetime(2017, 12, 1, tzinfo=UTC)
    made = claim(ledger, monthly(), "1", "k1", first)
    claim(ledger, monthly(), "2", "k2", first + timedelta(days=10))
    redeem(ledger, made.claim_id, "k3", discount=30)
    assert ledger.view("1", first).period_spent == {"tea": 30}
    reverse(ledger, made.claim_id, "k4", first + timedelta(days=10))
    assert ledger.view("1", first).period_spent == {"tea": 0}
    assert ledger.view("1", first + timedelta(days=10)).period_spent == {"tea": 100}
    assert ledger.check() == ()


def test_a_changed_period_counts_the_claims_that_it_holds(ledger: Ledger) -> None:
    first = datetime(2017, 12, 1, tzinfo=UTC)
    claim(ledger, monthly(), "1", "k1", first)
    claim(ledger, monthly(), "1", "k2", first + timedelta(days=10))
    longer = offer(period_budget=200, period_days=20, cap_per_customer=9)
    with pytest.raises(LedgerError, match="is used up"):
        claim(ledger, longer, "1", "k3", first + timedelta(days=11))
    claim(ledger, offer(period_budget=300, period_days=20, cap_per_customer=9), "1", "k4", first)
    assert ledger.view("1", first).period_spent == {"tea": 300}
    assert ledger.check() == ()


def test_each_claim_takes_one_code_until_there_is_none(ledger: Ledger) -> None:
    coded = offer(needs_code=True, cap_per_customer=9)
    assert ledger.add_codes("tea", ["A", "B", "A"]) == 2
    assert ledger.add_codes("tea", ["B", "C"]) == 1
    taken = [claim(ledger, coded, "7", f"k{number}").code for number in range(3)]
    assert taken == ["A", "B", "C"]
    with pytest.raises(LedgerError, match="'tea' has no code left"):
        claim(ledger, coded, "7", "k4")
    assert ledger.balances()["tea"].held == 300
    assert ledger.codes_left("tea") == 0


def test_a_code_is_given_back_before_redemption_only(ledger: Ledger) -> None:
    coded = offer(needs_code=True, cap_per_customer=9)
    ledger.add_codes("tea", ["A", "B"])
    reversed_ = reverse(ledger, claim(ledger, coded, "7", "k1").claim_id, "k2")
    assert reversed_.code is None
    reserve(ledger, coded, "7", "k3", minutes=1)
    later = NOW + timedelta(minutes=1)
    assert ledger.view("7", later).codes_left == {"tea": 2}
    used = claim(ledger, coded, "7", "k4", later)
    assert used.code == "A"
    redeem(ledger, used.claim_id, "k5")
    assert reverse(ledger, used.claim_id, "k6").code == "A"
    assert ledger.codes_left("tea") == 1
    assert claim(ledger, coded, "7", "k7", later).code == "B"
    assert ledger.check() == ()


def test_a_code_belongs_to_one_offer_and_is_not_blank(ledger: Ledger) -> None:
    ledger.add_codes("tea", ["A"])
    with pytest.raises(LedgerError, match="Code 'A' belongs to offer 'tea', not to 'soap'"):
        ledger.add_codes("soap", ["B", "A"])
    with pytest.raises(LedgerError, match="A code of offer 'soap' is blank"):
        ledger.add_codes("soap", ["B", " "])
    assert ledger.codes_left("soap") == 0
    assert [line.details["added"] for line in ledger.audit(what="codes")] == [1]


def test_the_view_leaves_out_what_is_over(ledger: Ledger) -> None:
    coded = monthly(needs_code=True)
    ledger.add_codes("tea", ["A"])
    reserve(ledger, coded, "7", "k1", minutes=1)
    just_before = ledger.view("7", NOW + timedelta(seconds=59))
    assert (just_before.claims, just_before.codes_left) == ({"tea": (NOW,)}, {})
    assert (just_before.spent, just_before.period_spent) == ({"tea": 100}, {"tea": 100})
    over = ledger.view("7", NOW + timedelta(minutes=1))
    assert (over.claims, over.running, over.codes_left) == ({}, (), {"tea": 1})
    assert (over.spent, over.period_spent) == ({"tea": 0}, {"tea": 0})


def test_an_empty_ledger_has_an_empty_view(ledger: Ledger) -> None:
    assert ledger.view("7", NOW) == LedgerView()


def test_a_moment_without_a_time_zone_is_a_mistake(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="aware"):
        claim(ledger, offer(), "7", "k1", datetime(2018, 1, 1))
    assert ledger.balances() == {}
