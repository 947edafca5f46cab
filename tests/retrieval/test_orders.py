from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.event_log import EventLog
from retrieval.events import Kind
from retrieval.orders import CustomerPast, Order, read_pasts
from tests.retrieval.small_log import append, bought, log_of, moment

_AS_OF = moment("2024-03-01")


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return log_of(
        tmp_path,
        [
            bought("b", "2024-02-01", "o9", "tea", 300),
            bought("a", "2024-01-01T10:00", "o1", "milk", 100),
            bought("a", "2024-01-01T10:05", "o1", "milk", 100),
            bought("a", "2024-01-01T10:00", "o1", "bread", 150),
            bought("a", "2024-01-20", "o2", "milk", 120),
            bought("a", "2024-01-20", "o2", "cake", 900),
            bought("a", "2024-01-20", "o2", "jam", 400),
            bought("a", "2024-01-20", "o2", "tea", 400),
            bought("a", "2024-01-22", "o2", "cake", -900, Kind.RETURN),
            bought("a", "2024-02-10", "", "coffee", 0, Kind.VIEW),
            bought("a", "2024-03-01", "o3", "milk", 5_000),
            bought("late", "2024-03-01", "o4", "milk", 100),
            bought("looker", "2024-01-01", "", "milk", 0, Kind.VIEW),
        ],
    )


def _past(log: EventLog, customer_id: str) -> CustomerPast:
    (past,) = read_pasts(log, _AS_OF, [customer_id])
    return past


def test_a_customers_past(log: EventLog) -> None:
    past = _past(log, "a")
    assert past == CustomerPast(
        customer_id="a",
        as_of=_AS_OF,
        orders=(
            Order(
                order_id="o1",
                timestamp=moment("2024-01-01T10:00"),
                amount=350,
                item_count=2,
                top_items=("milk", "bread"),
            ),
            Order(
                order_id="o2",
                timestamp=moment("2024-01-20"),
                amount=1820,
                item_count=4,
                top_items=("cake", "jam", "tea"),
            ),
        ),
        favourites=(("milk", 2),),
        units_a_line=1.0,
        kept_lately=0.0,
        kept_before=0.0,
        returned=900,
        event_count=9,
        last_event=moment("2024-02-10"),
    )
    assert past.first == moment("2024-01-01T10:00")
    assert past.last == moment("2024-01-20")


def test_returns_are_never_spend(log: EventLog) -> None:
    assert _past(log, "a").spend == 2170


def test_a_return_of_what_was_bought_before_the_log_is_still_shown(tmp_path: Path) -> None:
    log = log_of(
        tmp_path,
        [
            bought("a", "2024-01-01", "r1", "milk", -700, Kind.RETURN),
            bought("a", "2024-01-02", "o1", "milk", 100),
        ],
    )
    past = _past(log, "a")
    assert (past.spend, past.returned) == (100, 700)
    assert past.first == moment("2024-01-02")


def test_customers_come_in_order_and_only_those_with_an_order(log: EventLog) -> None:
    assert [past.customer_id for past in read_pasts(log, _AS_OF)] == ["a", "b"]
    later = moment("2024-03-02")
    assert [past.customer_id for past in read_pasts(log, later)] == ["a", "b", "late"]


def test_some_customers_read_as_all_of_them_do(log: EventLog) -> None:
    everyone = {past.customer_id: past for past in read_pasts(log, _AS_OF)}
    some = list(read_pasts(log, _AS_OF, ["b", "a", "b", "nobody", "looker"]))
    assert some == [everyone["a"], everyone["b"]]
    assert list(read_pasts(log, _AS_OF, [])) == []


def test_nothing_before_the_first_order(log: EventLog) -> None:
    assert list(read_pasts(log, moment("2024-01-01T10:00"))) == []


def test_favourites_are_the_four_most_frequent_then_the_most_recent(tmp_path: Path) -> None:
    orders = {
        "o1": ["a1", "b2", "c3", "d4", "e5"],
        "o2": ["a1", "b2", "c3", "d4", "once"],
        "o3": ["a1", "e5"],
    }
    log = log_of(
        tmp_path,
        [
            bought("x", f"2024-01-0{number}", order_id, item_id, 10)
            for number, (order_id, items) in enumerate(orders.items(), 1)
            for item_id in items
        ],
    )
    (past,) = read_pasts(log, _AS_OF)
    assert past.favourites == (("a1", 3), ("e5", 2), ("b2", 2), ("c3", 2))


def test_what_is_kept_weighs_items_by_the_spans_they_were_bought_in(tmp_path: Path) -> None:
    # Spans of 15 days before 2024-03-01: from February 15, January 31, 16 and 1.
    days = {
        "milk": ["2024-01-20", "2024-02-05", "2024-02-06", "2024-02-20"],
        "bread": ["2024-01-20", "2024-02-05"],
        "cake": ["2024-01-20"],
        "kiwi": ["2024-02-20"],
    }
    log = log_of(
        tmp_path,
        [bought("x", day, f"o{day}", item, 10) for item in days for day in days[item]],
    )
    past = _past(log, "x")
    # Milk and bread were bought in both spans before (4 each), cake in one of two (1).
    assert past.kept_lately == pytest.approx(4 / 9)
    # A span earlier all three had been bought once (2 each), and two of them were kept.
    assert past.kept_before == pytest.approx(2 / 3)


@pytest.mark.parametrize(("bought_again", "kept"), [("20T23:30", 0), ("21T00:30", 1)])
def test_spans_are_elapsed_time_whatever_the_shops_zone(
    tmp_path: Path, bought_again: str, kept: float
) -> None:
    # Clocks go back between: by the calendar the 15 days before November 5 begin an hour earlier.
    days = ["2024-10-10", f"2024-10-{bought_again}"]
    log_of(
        tmp_path,
        [bought("x", day, f"o{day}", item, 10) for item in ("tea", "milk") for day in days],
    )
    for zone in ("UTC", "Europe/London", "America/New_York"):
        (past,) = read_pasts(EventLog(tmp_path / "log", zone), moment("2024-11-05"))
        assert past.kept_lately == kept


def test_purchases_of_half_a_century_ago_still_weigh_something(tmp_path: Path) -> None:
    days = ["1970-01-01", "2024-02-20"]
    log = log_of(tmp_path, [bought("x", day, f"o{day}", "milk", 10) for day in days])
    append(log, [bought("x", "1970-01-01", "o0", "tea", 10)])
    assert _past(log, "x").kept_lately == 0.5


def test_nothing_is_kept_of_one_item_or_of_none(tmp_path: Path) -> None:
    log = log_of(
        tmp_path,
        [
            *(bought("one", f"2024-02-{day}", f"o{day}", "milk", 10) for day in (10, 20)),
            bought("new", "2024-02-20", "n1", "milk", 10),
            bought("new", "2024-02-20", "n1", "tea", 10),
        ],
    )
    for past in read_pasts(log, _AS_OF):
        assert (past.kept_lately, past.kept_before) == (0, 0)


def test_units_are_the_median_of_lines(tmp_path: Path) -> None:
    pack = replace(bought("x", "2024-01-01", "o1", "egg", 100), quantity=12.0)
    two = replace(bought("x", "2024-01-02", "o2", "egg", 100), quantity=2.0)
    log = log_of(tmp_path, [pack, two, bought("x", "2024-01-02", "o2", "milk", 10)])
    assert _past(log, "x").units_a_line == 2


def test_later_events_change_nothing(log: EventLog) -> None:
    before = list(read_pasts(log, _AS_OF))
    append(
        log,
        [
            bought("a", _AS_OF, "o1", "milk", 77),
            bought("a", "2024-03-05", "o1", "milk", -77, Kind.RETURN),
            bought("new", "2024-03-05", "o8", "milk", 77),
        ],
    )
    assert list(read_pasts(log, _AS_OF)) == before


def test_days_are_those_of_the_shops_zone(tmp_path: Path) -> None:
    log_of(tmp_path, [bought("a", "2024-06-30T23:30", "o1", "milk", 1)])
    london = EventLog(tmp_path / "log", "Europe/London")
    (past,) = read_pasts(london, moment("2024-08-01"))
    assert f"{past.first:%Y-%m-%d %H:%M}" == "2024-07-01 00:30"
    assert f"{past.last_event:%Y-%m-%d}" == "2024-07-01"
