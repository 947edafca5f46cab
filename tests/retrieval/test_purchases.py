from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from retrieval.baskets import Baskets, baskets_of
from retrieval.catalogue import Catalogue, Item
from retrieval.event_log import EventLog
from retrieval.events import Kind
from retrieval.item_table import ItemTable, item_table
from retrieval.lines import read_lines
from retrieval.purchases import basket_variants, purchases_of
from tests.retrieval.small_log import bought, log_of, moment

_AS_OF = moment("2024-03-01")
_EVENTS = [
    bought("a", "2024-01-02", "o1", "milk", 104),
    bought("a", "2024-01-02", "o1", "bread", 105),
    bought("a", "2024-02-10T09:00", "z", "tea", 103),
    bought("a", "2024-02-10T09:30", "z", "milk", 103),
    bought("a", "2024-02-10T09:30", "o2", "bread", 104),
    bought("a", "2024-02-10T09:40", "z", "tea", 103),
    bought("a", "2024-02-20", "o3", "milk", 104),
    bought("a", "2024-02-20", "o3", "ghost", 105),
    bought("a", "2024-02-21", "o3", "milk", -104, Kind.RETURN),
    bought("a", "2024-02-22", "", "tea", 0, Kind.VIEW),
    bought("a", "2024-02-25", "o4", "ghost", 105),
    bought("a", "2024-03-01", "o5", "tea", 104),
    bought("b", "2024-02-11", "o1", "tea", 104),
]


def _table() -> ItemTable:
    names = ("bread", "cake", "milk", "tea")
    return item_table(
        Catalogue(Item(item_id=name, title=name, category="", price=None) for name in names)
    )


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return log_of(tmp_path, _EVENTS)


def _of_the_log(log: EventLog, customer_id: str) -> Baskets:
    """The customer's basket as it is read with everybody's."""
    lines = read_lines(log, _table(), _AS_OF)
    customer = np.array([list(lines.customer_ids).index(customer_id)])
    return baskets_of(lines, _AS_OF, len(_table()), customer)


def _same(left: Baskets, right: Baskets) -> None:
    """But for the numbers of the orders, which are the log's or the customer's own."""
    for field in fields(Baskets):
        mine, theirs = getattr(left, field.name), getattr(right, field.name)
        if field.name == "line_order":
            mine, theirs = (np.unique(value, return_inverse=True)[1] for value in (mine, theirs))
        np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


def test_purchases_are_the_customers_own_before_the_moment(log: EventLog) -> None:
    purchases = purchases_of(log, "a", _AS_OF)
    assert [(p.order_id, p.item_id, p.amount) for p in purchases] == [
        ("o1", "bread", 105),
        ("o1", "milk", 104),
        ("z", "tea", 103),
        ("o2", "bread", 104),
        ("z", "milk", 103),
        ("z", "tea", 103),
        ("o3", "ghost", 105),
        ("o3", "milk", 104),
        ("o4", "ghost", 105),
    ]
    assert purchases == sorted(purchases, key=lambda purchase: purchase.timestamp)
    assert purchases_of(log, "nobody", _AS_OF) == []


@pytest.mark.parametrize("customer_id", ["a", "b"])
def test_a_basket_of_purchases_is_that_of_the_log(log: EventLog, customer_id: str) -> None:
    basket = basket_variants(purchases_of(log, customer_id, _AS_OF), _table(), _AS_OF)
    _same(basket, _of_the_log(log, customer_id))


def test_a_basket_counts_an_item_once_an_order(log: EventLog) -> None:
    """The order of nothing but an unknown item counts nowhere."""
    basket = basket_variants(purchases_of(log, "a", _AS_OF), _table(), _AS_OF)
    assert basket.item.tolist() == [0, 2, 3]
    assert basket.orders.tolist() == [2.0, 3.0, 1.0]
    assert basket.order_count.tolist() == [4.0]
    assert basket.last_order.tolist() == [10.0]


@pytest.mark.parametrize("left_out", [{"o1"}, {"z", "o3"}, {"o1", "o2", "o3", "o4", "z"}, {"?"}])
def test_orders_left_out_are_as_if_they_had_never_been(
    log: EventLog, tmp_path: Path, left_out: set[str]
) -> None:
    purchases = purchases_of(log, "a", _AS_OF)
    variants = basket_variants(purchases, _table(), _AS_OF, [frozenset(), frozenset(left_out)])
    assert len(variants) == 2
    _same(variants.rows(0, 1), basket_variants(purchases, _table(), _AS_OF))
    kept = [event for event in _EVENTS if event.order_id not in left_out]
    without = purchases_of(log_of(tmp_path / "without", kept), "a", _AS_OF)
    _same(variants.rows(1, 2), basket_variants(without, _table(), _AS_OF))


def test_each_variant_leaves_out_its_own_orders(log: EventLog) -> None:
    purchases = purchases_of(log, "a", _AS_OF)
    sets = [frozenset({"o1"}), frozenset({"o2"}), frozenset({"o1", "o2", "o3", "z"}), frozenset()]
    variants = basket_variants(purchases, _table(), _AS_OF, sets)
    assert variants.order_count.tolist() == [3.0, 3.0, 0.0, 4.0]
    for row, left_out in enumerate(sets):
        alone = basket_variants(purchases, _table(), _AS_OF, [left_out])
        _same(variants.rows(row, row + 1), alone)


def test_who_bought_nothing_has_an_empty_basket() -> None:
    basket = basket_variants([], _table(), _AS_OF)
    assert (len(basket), basket.starts.tolist()) == (1, [0, 0])
    assert basket.order_count.tolist() == [0.0]


def test_days_are_counted_to_the_moment_of_asking(log: EventLog) -> None:
    purchases = purchases_of(log, "b", _AS_OF)
    later = basket_variants(purchases, _table(), _AS_OF + timedelta(hours=12))
    assert later.last.tolist() == [19.5]
