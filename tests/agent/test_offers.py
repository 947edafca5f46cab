from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.offers import Covers, LedgerView, OfferCustomer
from tests.agent.hand_made_offers import book, customer, day, offer, percent_offer

NEW_YORK = ZoneInfo("America/New_York")


def test_covers_narrow_to_items_where_given() -> None:
    assert Covers().includes("1", "Teas")
    assert Covers(categories=("Teas",)).includes("1", "Teas")
    assert not Covers(categories=("Teas",)).includes("1", "Cheese")
    assert Covers(categories=("Teas",), item_ids=("1",)).includes("1", "Teas")
    assert not Covers(categories=("Teas",), item_ids=("1",)).includes("2", "Teas")


def test_a_book_is_in_the_order_of_ids() -> None:
    assert list(book(offer("b"), offer("c"), offer("a"))) == ["a", "b", "c"]


def test_an_offer_runs_from_its_start_until_before_its_end() -> None:
    it = offer()
    assert it.runs_at(it.starts)
    assert it.runs_at(it.expires - timedelta(microseconds=1))
    assert not it.runs_at(it.expires)
    assert not it.runs_at(it.starts - timedelta(microseconds=1))


def test_an_offer_ends_once_although_the_clock_shows_its_end_twice() -> None:
    # On 2017-11-05 New York's clock goes from 02:00 back to 01:00.
    ends = datetime(2017, 11, 5, 1, 30, tzinfo=NEW_YORK)
    it = offer(starts=datetime(2017, 11, 1, tzinfo=NEW_YORK), expires=ends)
    shown_earlier = datetime(2017, 11, 5, 1, 10, fold=1, tzinfo=NEW_YORK)
    assert it.runs_at(ends.astimezone(UTC) - timedelta(minutes=1))
    assert not it.runs_at(shown_earlier)


def test_an_expiry_is_read_as_a_day_only_where_the_day_begins_then() -> None:
    assert offer().valid_before == "2018-02-01"
    at_six = datetime(2018, 2, 1, 18, tzinfo=NEW_YORK)
    assert offer(expires=at_six).valid_before == "2018-02-01 18:00 EST"
    assert offer(expires=at_six.replace(hour=0, second=1)).valid_before == "2018-02-01 00:00 EST"


def test_an_offer_without_periods_has_none() -> None:
    assert offer().period_start(day(2018, 1, 1)) is None


def test_periods_are_whole_days_of_24_hours_across_a_change_of_the_clock() -> None:
    starts = datetime(2017, 11, 4, tzinfo=NEW_YORK)
    it = offer(starts=starts, period_days=1, period_budget=500)
    second = starts.astimezone(UTC) + timedelta(hours=24)
    third = second + timedelta(hours=24)
    assert it.period_start(starts) == starts
    assert it.period_start(third - timedelta(microseconds=1)) == second
    assert it.period_start(third) == third
    # 2017-11-05 has 25 hours: its last belongs to the period after.
    assert it.period_start(datetime(2017, 11, 5, 23, 30, tzinfo=NEW_YORK)) == third


@given(
    seconds=st.integers(0, 10**8),
    days=st.integers(1, 90),
    offset=st.integers(-12, 14),
)
def test_a_moment_lies_in_its_period(seconds: int, days: int, offset: int) -> None:
    it = offer(period_days=days, period_budget=500)
    moment = (it.starts + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=offset)))
    began = it.period_start(moment)
    assert began is not None
    assert began <= moment < began + timedelta(days=days)
    assert (began - it.starts) % timedelta(days=days) == timedelta()


def test_the_cap_looks_back_over_its_days() -> None:
    now = datetime(2018, 1, 31, 12, tzinfo=NEW_YORK)
    assert offer().cap_since(now) is None
    assert offer(cap_days=30).cap_since(now) == datetime(2018, 1, 1, 17, tzinfo=UTC)


def test_a_claim_holds_the_most_that_it_is_known_to_cost() -> None:
    assert offer(value=100, cost=85).hold == 100
    assert offer(value=100, cost=130).hold == 130
    assert percent_offer(max_discount=500, cost=85).hold == 500
    assert percent_offer(max_discount=50, cost=85).hold == 85


def test_what_is_left_of_a_budget_is_opening_minus_spent() -> None:
    assert LedgerView().budget_left(offer(budget=900)) == 900
    assert LedgerView(spent={"tea": 85}).budget_left(offer(budget=900)) == 815


def test_of_a_customer_without_an_order_nothing_is_known() -> None:
    new = OfferCustomer(customer_id="77")
    assert not new.has_ordered
    assert new.at_stake is None
    assert customer().has_ordered
    assert customer().at_stake == 4000


@pytest.mark.parametrize(
    "changes", [{"stage": None}, {"churn_risk": None}, {"value_tier": None, "stage": None}]
)
def test_half_known_customers_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="known together"):
        customer(**changes)


@pytest.mark.parametrize("risk", [-0.1, 1.1, float("nan")])
def test_a_churn_risk_is_a_probability(risk: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        customer(churn_risk=risk)
