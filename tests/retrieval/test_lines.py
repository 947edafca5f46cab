from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from retrieval.catalogue import Catalogue, Item
from retrieval.event_log import EventLog
from retrieval.events import Kind
from retrieval.item_table import ItemTable, item_table
from retrieval.lines import Lines, microseconds, read_lines
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import append, bought, log_of, moment

_AS_OF = moment("2024-03-01")
_EVENTS = [
    bought("b", "2024-02-01", "o1", "tea", 300),
    bought("a", "2024-01-01T10:05", "o1", "milk", 100),
    bought("a", "2024-01-01T10:00", "o1", "milk", 90),
    bought("a", "2024-01-01T10:00", "o1", "bread", 150),
    bought("a", "2024-01-20", "o2", "milk", 120),
    bought("a", "2024-01-20", "o2", "ghost", 900),
    bought("a", "2024-01-22", "o2", "milk", -120, Kind.RETURN),
    bought("a", "2024-02-10", "", "tea", 0, Kind.VIEW),
    bought("a", "2024-03-01", "o3", "tea", 300),
    bought("ghostly", "2024-01-05", "o9", "ghost", 900),
    bought("late", "2024-03-01", "o4", "milk", 100),
]


def _table() -> ItemTable:
    """Bread is row 0, milk 1 and tea 2; ghost is unknown."""
    names = ("bread", "milk", "tea")
    return item_table(
        Catalogue(Item(item_id=name, title=name, category="", price=None) for name in names)
    )


def _same(left: Lines, right: Lines) -> None:
    assert list(left.customer_ids) == list(right.customer_ids)
    for field in fields(Lines)[1:]:
        mine, theirs = getattr(left, field.name), getattr(right, field.name)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return log_of(tmp_path, _EVENTS)


def test_one_line_is_an_item_of_an_order(log: EventLog) -> None:
    lines = read_lines(log, _table(), _AS_OF)
    assert list(lines.customer_ids) == ["a", "b", "ghostly"]
    assert lines.customer.tolist() == [0, 0, 0, 1]
    assert lines.item.tolist() == [0, 1, 1, 2]
    assert lines.amount.tolist() == [150, 190, 120, 300]
    assert lines.quantity.tolist() == [1.0, 2.0, 1.0, 1.0]
    assert lines.time.tolist() == [
        microseconds(moment(when))
        for when in ("2024-01-01T10:00", "2024-01-01T10:00", "2024-01-20", "2024-02-01")
    ]


def test_the_same_order_id_of_two_customers_is_two_orders(log: EventLog) -> None:
    lines = read_lines(log, _table(), _AS_OF)
    assert lines.order.tolist() == [0, 0, 1, 2]


def test_lines_written_by_hand_are_those_read_from_a_log(tmp_path: Path) -> None:
    orders: dict[tuple[str, str, str], tuple[int, ...]] = {
        ("b", "2024-01-03", "o1"): (2, 0, 0),
        ("a", "2024-01-09", "o1"): (1,),
        ("a", "2024-01-05", "o2"): (2, 1),
    }
    names = _table().ids.to_pylist()
    log = log_of(
        tmp_path,
        [
            bought(customer, when, order, names[item], 100)
            for (customer, when, order), items in orders.items()
            for item in items
        ],
    )
    _same(read_lines(log, _table(), _AS_OF), lines_of(orders))


def test_the_order_of_writing_changes_nothing(log: EventLog, tmp_path: Path) -> None:
    """Orders of the same moment are in the order of their ids."""
    moments = [bought("a", "2024-02-05", order, "tea", 1) for order in ("z", "y", "x")]
    append(log, moments)
    other = log_of(tmp_path / "other", [*reversed(moments), *reversed(_EVENTS)])
    lines = read_lines(log, _table(), _AS_OF)
    _same(read_lines(other, _table(), _AS_OF), lines)
    _same(read_lines(log, _table(), _AS_OF), lines)
    assert lines.order.tolist() == [0, 0, 1, 2, 3, 4, 5]


def test_order_numbers_follow_order_ids(tmp_path: Path) -> None:
    names = [f"o{number:02}" for number in range(30)]
    log = log_of(tmp_path, [bought("a", "2024-02-05", name, "tea", 1) for name in names[::-1]])
    lines = read_lines(log, _table(), _AS_OF)
    assert lines.order.tolist() == list(range(30))
    priced = log_of(
        tmp_path / "priced",
        [bought("a", "2024-02-05", name, "tea", price) for price, name in enumerate(names)],
    )
    assert read_lines(priced, _table(), _AS_OF).amount.tolist() == list(range(30))


def test_later_events_change_nothing(log: EventLog) -> None:
    before = read_lines(log, _table(), _AS_OF)
    append(
        log,
        [
            bought("a", _AS_OF, "o1", "milk", 77),
            bought("0", _AS_OF + timedelta(days=1), "o8", "milk", 77),
        ],
    )
    _same(read_lines(log, _table(), _AS_OF), before)


def test_before_the_first_order_there_are_no_lines(log: EventLog) -> None:
    lines = read_lines(log, _table(), moment("2024-01-01T10:00"))
    assert len(lines.item) == len(lines.customer_ids) == 0
    assert {lines.customer.dtype, lines.order.dtype, lines.item.dtype} == {np.dtype(np.int64)}


def test_moments_are_counted_in_utc(tmp_path: Path) -> None:
    log_of(tmp_path, [bought("a", "2024-06-30T23:30", "o1", "milk", 1)])
    london = EventLog(tmp_path / "log", "Europe/London")
    lines = read_lines(london, _table(), moment("2024-08-01"))
    assert lines.time.tolist() == [microseconds(moment("2024-06-30T23:30"))]
    assert microseconds(moment("1970-01-02T00:00") + timedelta(microseconds=3)) == 86_400_000_003


_LINES = lines_of(
    {
        ("a", "2024-01-01", "o1"): (0, 1),
        ("a", "2024-01-02", "o2"): (1,),
        ("b", "2024-01-02", "o3"): (0, 2),
        ("c", "2024-01-03", "o4"): (2,),
    }
)


def test_between_takes_its_start_and_not_its_end() -> None:
    part = _LINES.between(moment("2024-01-02"), moment("2024-01-03"))
    assert part.customer.tolist() == [0, 1, 1]
    assert part.item.tolist() == [1, 0, 2]
    assert list(part.customer_ids) == ["a", "b", "c"]
    everything = _LINES.between(None, moment("2024-01-03T00:01"))
    _same(everything, _LINES)
    assert len(_LINES.between(moment("2024-01-03"), moment("2024-01-03")).item) == 0


def test_items_can_be_left_out() -> None:
    part = _LINES.without_items([0, 2])
    assert list(zip(part.customer.tolist(), part.item.tolist(), strict=True)) == [(0, 1), (0, 1)]
    assert part.order.tolist() == [0, 1]
    _same(_LINES.without_items([]), _LINES)


def test_orders_can_be_left_out() -> None:
    part = _LINES.without_orders([0, 2])
    assert part.order.tolist() == [1, 3]
    assert part.item.tolist() == [1, 2]
    _same(_LINES.without_orders([]), _LINES)


def test_lines_of_some_customers_keep_their_numbers() -> None:
    part = _LINES.of_customers(np.array([1, 2]))
    assert part.customer.tolist() == [1, 1, 2]
    assert part.amount.tolist() == [100, 100, 100]
    assert list(part.customer_ids) == ["a", "b", "c"]
