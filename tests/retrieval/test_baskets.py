from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.baskets import Baskets, baskets_of
from retrieval.lines import Lines
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_AS_OF = moment("2024-03-01")
_ITEMS = 5
# 60 days before the moment is 1 January, 120 days 2 November.
_LINES = lines_of(
    {
        ("a", "2023-11-02", "o1"): (3, 1),
        ("a", "2024-01-01", "o2"): (3, 3),
        ("b", "2024-02-29", "o1"): (0,),
        ("c", "2024-01-01", "o1"): (),
        ("d", "2024-02-20", "o1"): (4, 2),
        ("d", "2024-02-28T12:00", "o2"): (0,),
    }
)


def _baskets(customers: tuple[int, ...], lines: Lines = _LINES) -> Baskets:
    return baskets_of(lines, _AS_OF, _ITEMS, np.array(customers, dtype=np.int64))


def _same(left: Baskets, right: Baskets) -> None:
    for field in fields(Baskets):
        np.testing.assert_array_equal(
            getattr(left, field.name), getattr(right, field.name), err_msg=field.name
        )


def test_orders_are_counted_by_item() -> None:
    """The second order of a holds item 3 twice, and counts it once."""
    baskets = _baskets((0, 1))
    assert len(baskets) == 2
    assert baskets.starts.tolist() == [0, 2, 3]
    assert baskets.item.tolist() == [1, 3, 0]
    assert baskets.orders.tolist() == [1.0, 2.0, 1.0]
    assert baskets.customer.tolist() == [0, 0, 1]


def test_taste_halves_every_sixty_days() -> None:
    baskets = _baskets((0, 1))
    assert baskets.taste.tolist() == pytest.approx([0.25, 0.75, 0.5 ** (1 / 60)])


def test_days_since_an_item_was_bought_last_and_first() -> None:
    baskets = _baskets((0, 3))
    assert baskets.item.tolist() == [1, 3, 0, 2, 4]
    assert baskets.last.tolist() == [120.0, 60.0, 1.5, 10.0, 10.0]
    assert baskets.first.tolist() == [120.0, 120.0, 1.5, 10.0, 10.0]


def test_orders_of_a_customer_are_counted_with_their_days() -> None:
    baskets = _baskets((0, 1, 3))
    assert baskets.order_count.tolist() == [2.0, 1.0, 2.0]
    assert baskets.last_order.tolist() == [60.0, 1.0, 1.5]
    assert baskets.first_order.tolist() == [120.0, 1.0, 10.0]


def test_items_stay_in_the_order_in_which_they_were_bought() -> None:
    baskets = _baskets((0, 3))
    assert baskets.line_starts.tolist() == [0, 3, 6]
    assert baskets.line_item.tolist() == [1, 3, 3, 2, 4, 0]
    assert baskets.line_order.tolist() == [0, 0, 1, 4, 4, 5]


def test_a_customer_without_a_line_has_an_empty_row() -> None:
    baskets = _baskets((1, 2, 3))
    assert baskets.starts.tolist() == [0, 1, 1, 4]
    assert baskets.line_starts.tolist() == [0, 1, 1, 4]
    assert baskets.order_count.tolist() == [1.0, 0.0, 2.0]
    assert baskets.last_order[1] == np.inf
    assert baskets.first_order[1] == 0.0
    unknown = _baskets((2, 99))
    assert unknown.starts.tolist() == [0, 0, 0]


def test_without_customers_or_lines_there_is_nothing() -> None:
    assert len(_baskets(())) == 0
    nothing = _baskets((0, 1), _LINES.without_items(range(_ITEMS)))
    assert nothing.starts.tolist() == [0, 0, 0]
    assert nothing.matrix(nothing.orders).shape == (2, _ITEMS)


def test_values_of_the_pairs_make_a_matrix() -> None:
    baskets = _baskets((0, 2, 3))
    np.testing.assert_array_equal(
        baskets.matrix(baskets.orders).toarray(),
        [[0, 1, 0, 2, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1]],
    )


def test_some_rows_are_the_baskets_of_those_customers() -> None:
    everyone = _baskets((0, 1, 2, 3))
    for start in range(5):
        for end in range(start, 5):
            _same(everyone.rows(start, end), _baskets(tuple(range(start, end))))


def test_lines_of_others_change_nothing() -> None:
    _same(_baskets((1, 3), _LINES.of_customers(np.array([1, 3]))), _baskets((1, 3)))


_ORDERS = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(1, 28), st.sampled_from(["o1", "o2", "o3"])),
    st.lists(st.integers(0, _ITEMS - 1), min_size=1, max_size=4),
    max_size=8,
)


@given(_ORDERS)
def test_sums_are_those_of_a_slow_count(orders: dict[tuple[str, int, str], list[int]]) -> None:
    """An order has one moment, so one of each customer and id is drawn."""
    drawn = {(who, order): (day, items) for (who, day, order), items in orders.items()}
    lines = lines_of(
        {(who, f"2024-02-{day:02}", order): items for (who, order), (day, items) in drawn.items()}
    )
    names = list(lines.customer_ids)
    baskets = baskets_of(lines, _AS_OF, _ITEMS, np.arange(len(names)))
    days_of: dict[tuple[str, int], list[int]] = {}
    days_of_orders: dict[str, list[int]] = {}
    for (who, _), (day, items) in drawn.items():
        days_of_orders.setdefault(who, []).append(30 - day)  # 1 March is day 30 of February
        for item in set(items):
            days_of.setdefault((who, item), []).append(30 - day)
    pairs = sorted(days_of)
    found = zip(baskets.customer.tolist(), baskets.item.tolist(), strict=True)
    assert [(names[row], item) for row, item in found] == pairs
    assert baskets.orders.tolist() == [len(days_of[pair]) for pair in pairs]
    assert baskets.last.tolist() == [min(days_of[pair]) for pair in pairs]
    assert baskets.first.tolist() == [max(days_of[pair]) for pair in pairs]
    tastes = [sum(0.5 ** (days / 60) for days in days_of[pair]) for pair in pairs]
    assert baskets.taste.tolist() == pytest.approx(tastes, rel=1e-5)
    assert baskets.order_count.tolist() == [len(days_of_orders[name]) for name in names]
    assert baskets.last_order.tolist() == [min(days_of_orders[name]) for name in names]
    assert baskets.first_order.tolist() == [max(days_of_orders[name]) for name in names]
    assert len(baskets.line_item) == sum(len(set(items)) for _, items in drawn.values())
