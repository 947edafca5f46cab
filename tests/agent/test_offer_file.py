from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import OfferError
from agent.offer_file import read_offers, write_offers
from agent.offers import Covers, Eligibility, Offer, OfferBook, OfferKind
from retrieval.money import to_major
from tests.agent.hand_made_offers import day, offer, percent_offer

NEW_YORK = ZoneInfo("America/New_York")
TEA = """
[[offers]]
offer_id = "tea"
title = "$1.10 off tea"
kind = "amount"
value = 1.10
cost = "0.85"
budget = 100
starts = 2017-12-01
expires = 2018-02-01
"""
LAST = "expires = 2018-02-01\n"
AMOUNT = 'kind = "amount"\nvalue = 1.10\n'
TEN_PERCENT = 'kind = "percent"\nvalue = 10\nmax_discount = 5\n'


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "offers.toml"
    file.write_text(text, encoding="utf-8")
    return file


def tea_with(*lines: str, who: str = "") -> str:
    restrictions = f"[offers.eligibility]\n{who}\n" if who else ""
    return TEA + "\n".join(lines) + "\n" + restrictions


def refusal(tmp_path: Path, text: str) -> OfferError:
    with pytest.raises(OfferError) as raised:
        read_offers(
            write(tmp_path, text),
            "USD",
            NEW_YORK,
            known_tiers=["low", "high"],
            known_stages=["new", "at risk"],
        )
    return raised.value


def test_absent_file_is_an_empty_book(tmp_path: Path) -> None:
    assert len(read_offers(tmp_path / "offers.toml", "USD", UTC)) == 0


def test_amounts_are_read_exactly_in_minor_units(tmp_path: Path) -> None:
    tea = read_offers(write(tmp_path, TEA), "USD", UTC)["tea"]
    assert (tea.value, tea.cost, tea.budget) == (110, 85, 10_000)
    assert tea.covers.everything
    assert tea.cap_per_customer == 1
    assert (tea.stackable, tea.needs_code, tea.holdout_share) == (True, False, 0)


def test_amounts_follow_the_currency(tmp_path: Path) -> None:
    text = TEA.replace("1.10", "110").replace('"0.85"', "85").replace("= 100", "= 200")
    assert read_offers(write(tmp_path, text), "JPY", UTC)["tea"].value == 110


def test_days_are_the_shop_s(tmp_path: Path) -> None:
    tea = read_offers(write(tmp_path, TEA), "USD", NEW_YORK)["tea"]
    assert tea.starts.astimezone(UTC) == datetime(2017, 12, 1, 5, tzinfo=UTC)
    assert tea.valid_before == "2018-02-01"
    text = TEA.replace("expires = 2018-02-01", "expires = 2018-02-01T23:00:00Z")
    tea = read_offers(write(tmp_path, text), "USD", NEW_YORK)["tea"]
    assert tea.valid_before == "2018-02-01 18:00 EST"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('cost = "0.85"', 'cost = "-1"', "cost"),
        ('cost = "0.85"', 'cost = "0.855"', "cost"),
        ('cost = "0.85"', 'cost = "cheap"', "cost"),
        ('cost = "0.85"', "cost = true", "cost"),
        ('cost = "0.85"', "cost = inf", "cost"),
        ('cost = "0.85"', "", "cost"),
        ('cost = "0.85"', "cost = 200", "budget"),
        ("budget = 100", "budget = 1.09", "budget"),
        (AMOUNT, TEN_PERCENT.replace("= 5", "= 101"), "budget"),
        ("value = 1.10", "value = 0", "value"),
        ("budget = 100", "budget = 1e30", "budget"),
        ('kind = "amount"', 'kind = "gift"', "kind"),
        ('kind = "amount"', 'kind = "percent"', "value"),
        (AMOUNT, 'kind = "percent"\nvalue = 101\n', "value"),
        (AMOUNT, 'kind = "percent"\nvalue = 10\n', "max_discount"),
        (AMOUNT, 'kind = "percent"\nvalue = 10\nmax_discount = 0\n', "max_discount"),
        (AMOUNT, TEN_PERCENT + "min_discount = 5.01\n", "min_discount"),
        (AMOUNT, AMOUNT + "max_discount = 1\n", "max_discount"),
        (AMOUNT, AMOUNT + "min_discount = 1\n", "min_discount"),
        (LAST, "expires = 2017-12-01\n", "expires"),
        (LAST, 'expires = "2018-02-01"\n', "expires"),
        (LAST, "expires = 18:00:00\n", "expires"),
        (LAST, "expires = 2018-03-11T02:30:00\n", "expires"),
        ("starts = 2017-12-01", "starts = 2017-11-05T01:30:00", "starts"),
    ],
)
def test_a_wrong_offer_is_named_with_its_field(
    tmp_path: Path, old: str, new: str, field: str
) -> None:
    assert old in TEA
    error = refusal(tmp_path, TEA.replace(old, new))
    assert "'tea'" in error.message
    assert f"'{field}'" in error.message
    assert field in error.hint
    assert error.code == "offer_error"


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ("colour = 1", "colour"),
        ("cap_per_customer = 0", "cap_per_customer"),
        ("cap_per_customer = true", "cap_per_customer"),
        ("cap_days = 0", "cap_days"),
        ("cap_days = 1.5", "cap_days"),
        ("min_order = -1", "min_order"),
        ("period_days = 0\nperiod_budget = 10", "period_days"),
        ("period_days = 7", "period_budget"),
        ("period_budget = 10", "period_days"),
        ("period_days = 7\nperiod_budget = 1.09", "period_budget"),
        ("period_days = 7\nperiod_budget = 101", "period_budget"),
        ("holdout_share = 1", "holdout_share"),
        ("holdout_share = -0.1", "holdout_share"),
        ('stackable = "no"', "stackable"),
        ("needs_code = 1", "needs_code"),
    ],
)
def test_so_is_a_wrong_rule(tmp_path: Path, lines: str, field: str) -> None:
    assert f"'tea': '{field}': " in refusal(tmp_path, tea_with(lines)).message


@pytest.mark.parametrize(
    ("who", "field"),
    [
        ("min_churn_risk = 1.5", "eligibility.min_churn_risk"),
        ("min_churn_risk = 0.5\nmax_churn_risk = 0.4", "eligibility.max_churn_risk"),
        ("bought_category = true", "eligibility.bought_category"),
        ('bought_category = "yes"', "eligibility.bought_category"),
        ('tiers = ["golden"]', "eligibility.tiers"),
        ('stages = ["at_risk"]', "eligibility.stages"),
        ('first_order = true\ntiers = ["low"]', "eligibility.first_order"),
        ('first_order = true\nstages = ["new"]', "eligibility.first_order"),
        ("first_order = true\nmin_churn_risk = 0", "eligibility.first_order"),
        ("first_order = true\nmax_churn_risk = 1", "eligibility.first_order"),
        ("first_order = true\nmin_expected_spend = 0", "eligibility.first_order"),
    ],
)
def test_so_is_a_wrong_restriction(tmp_path: Path, who: str, field: str) -> None:
    assert f"'tea': '{field}': " in refusal(tmp_path, tea_with(who=who)).message


def test_a_first_order_cannot_ask_for_an_earlier_purchase(tmp_path: Path) -> None:
    text = tea_with(who="first_order = true\nbought_category = true")
    message = refusal(tmp_path, text + '[offers.covers]\ncategories = ["Teas"]\n').message
    assert message.endswith(
        "'eligibility.first_order': nobody without an order can meet bought_category; leave one "
        "of the two out."
    )


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        (tea_with("period_days = 7"), "add what such a period may cost"),
        (tea_with("period_budget = 10"), "add how many days it is for"),
        (TEA.replace("= 100", "= 1"), "raise it to the larger of cost"),
        (TEA.replace("2018-02-01", "2018-03-11T02:30:00"), "comes never in America/New_York"),
        (TEA.replace("2017-12-01", "2017-11-05T01:30:00"), "such as 2017-11-05T01:30:00-05:00"),
    ],
)
def test_messages_say_how_to_mend_it(tmp_path: Path, text: str, mend: str) -> None:
    assert mend in refusal(tmp_path, text).message


def test_an_offer_without_an_id_is_named_by_its_place(tmp_path: Path) -> None:
    text = TEA + TEA.replace('offer_id = "tea"\n', "")
    with pytest.raises(OfferError, match=r"number 2.*'offer_id'"):
        read_offers(write(tmp_path, text), "USD", UTC)


@pytest.mark.parametrize("text", ["[[offers]", "offers = 3", "[[offer]]\n", "offers = [1]"])
def test_what_is_no_list_of_offers_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(OfferError, match=r"offers\.toml"):
        read_offers(write(tmp_path, text), "USD", UTC)


def test_two_offers_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OfferError, match="'tea': 'offer_id'"):
        read_offers(write(tmp_path, TEA + TEA), "USD", UTC)


def test_a_file_is_written_for_people(tmp_path: Path) -> None:
    file = tmp_path / "offers.toml"
    write_offers(file, OfferBook([offer()], currency="USD"), UTC)
    assert file.read_text() == (
        "[[offers]]\n"
        'offer_id = "tea"\n'
        'title = "$1.00 off tea"\n'
        'kind = "amount"\n'
        'value = "1.00"\n'
        'cost = "0.85"\n'
        "cap_per_customer = 1\n"
        'budget = "100.00"\n'
        "starts = 2017-12-01\n"
        "expires = 2018-02-01\n"
        "\n"
        "[offers.covers]\n"
        'categories = ["Teas"]\n'
    )


_NAMES = st.text("aé\"'\\#$ ", min_size=1, max_size=8).map(str.strip).filter(bool)
_MOMENTS = st.one_of(
    st.dates(date(2017, 1, 1), date(2019, 1, 1)).map(lambda it: day(it.year, it.month, it.day)),
    st.datetimes(datetime(2017, 1, 1), datetime(2019, 1, 1), timezones=st.just(UTC)),
)


@st.composite
def eligibilities(draw: st.DrawFn, *, covers_something: bool) -> Eligibility:
    if draw(st.booleans()):
        return Eligibility(first_order=draw(st.booleans()))
    low, high = sorted(draw(st.tuples(*[st.floats(0, 1, width=16)] * 2)))
    return Eligibility(
        tiers=tuple(draw(st.lists(_NAMES, max_size=2))),
        stages=tuple(draw(st.lists(_NAMES, max_size=2))),
        min_churn_risk=draw(st.sampled_from([None, low])),
        max_churn_risk=draw(st.sampled_from([None, high])),
        bought_category=covers_something and draw(st.booleans()),
        min_expected_spend=draw(st.none() | st.integers(0, 10_000)),
    )


@st.composite
def offers(draw: st.DrawFn, offer_id: str) -> Offer:
    value = draw(st.integers(1, 100))
    most = draw(st.integers(1, 900))
    percent = draw(st.booleans())
    covers = Covers(
        categories=tuple(draw(st.lists(_NAMES, max_size=2))),
        item_ids=tuple(draw(st.lists(_NAMES, max_size=2))),
    )
    starts, expires = sorted(draw(st.lists(_MOMENTS, min_size=2, max_size=2, unique=True)))
    budget = draw(st.integers(1000, 10**9))
    period_days = draw(st.none() | st.integers(1, 3660))
    return offer(
        offer_id,
        title=draw(_NAMES),
        description=draw(_NAMES | st.just("")),
        kind=OfferKind.PERCENT if percent else OfferKind.AMOUNT,
        value=value,
        min_discount=draw(st.none() | st.integers(0, most)) if percent else None,
        max_discount=most if percent else None,
        min_order=draw(st.integers(0, 9000)),
        cost=draw(st.integers(0, 1000)),
        covers=covers,
        eligibility=draw(eligibilities(covers_something=not covers.everything)),
        cap_per_customer=draw(st.integers(1, 1000)),
        cap_days=draw(st.none() | st.integers(1, 3660)),
        budget=budget,
        period_budget=None if period_days is None else draw(st.integers(1000, budget)),
        period_days=period_days,
        starts=starts,
        expires=expires,
        exclusive_group=draw(_NAMES | st.just("")),
        stackable=draw(st.booleans()),
        needs_code=draw(st.booleans()),
        holdout_share=draw(st.floats(0, 1, exclude_max=True)),
        effect_group=draw(_NAMES | st.just("")),
        source=draw(_NAMES | st.just("")),
    )


def _in_utc(it: Offer) -> Offer:
    """Python takes times that a clock shows twice for unequal to those of any other zone."""
    return replace(it, starts=it.starts.astimezone(UTC), expires=it.expires.astimezone(UTC))


@settings(max_examples=100, deadline=None)
@given(first=offers("one"), second=offers("two"), zone=st.sampled_from([UTC, NEW_YORK]))
def test_a_written_book_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, first: Offer, second: Offer, zone: ZoneInfo
) -> None:
    file = tmp_path_factory.mktemp("shop") / "offers.toml"
    written = OfferBook([first, second], currency="USD")
    write_offers(file, written, zone)
    read = read_offers(file, "USD", zone)
    assert {each.starts.tzinfo for each in read.values()} == {zone}
    assert [_in_utc(each) for each in read.values()] == [_in_utc(each) for each in written.values()]


@settings(max_examples=50, deadline=None)
@given(amount=st.integers(1, 10**14 - 1), currency=st.sampled_from(["USD", "JPY", "KWD"]))
def test_no_amount_changes_on_its_way_through_the_file(
    tmp_path_factory: pytest.TempPathFactory, amount: int, currency: str
) -> None:
    file = tmp_path_factory.mktemp("shop") / "offers.toml"
    if to_major(amount, currency) >= Decimal(10**12):
        amount = amount // 1000
    it = offer(value=amount, budget=amount, cost=1)
    write_offers(file, OfferBook([it], currency=currency), UTC)
    read = read_offers(file, currency, UTC)["tea"]
    assert (read.value, read.budget) == (amount, amount)


def test_a_percent_offer_s_bounds_are_read(tmp_path: Path) -> None:
    text = TEA.replace(AMOUNT, TEN_PERCENT + "min_discount = 0.50\n")
    ten = read_offers(write(tmp_path, text), "USD", UTC)["tea"]
    assert (ten.value, ten.min_discount, ten.max_discount) == (10, 50, 500)
    assert ten.hold == percent_offer(cost=85).hold == 500
