from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.item_sales import ItemSales, item_sales
from retrieval.lines import Lines
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_AS_OF = moment("2024-03-01")
_ITEMS = 4  # item 3 never sold
# Four weeks before the moment is 2 February.
_ORDERS: dict[tuple[str, str, str], tuple[int, ...]] = {
    ("a", "2024-01-01", "o1"): (0, 1),
    ("a", "2024-01-11", "o2"): (0,),
    ("a", "2024-02-20", "o3"): (0,),
    ("b", "2024-02-10", "o1"): (0, 1, 1),
    ("b", "2024-02-20", "o2"): (0,),
    ("c", "2024-01-31", "o1"): (2,),
    ("c", "2024-02-02", "o2"): (2,),
    ("d", "2024-02-01T23:59", "o1"): (0, 1),
}
_NAN = float("nan")


def _lines() -> Lines:
    """Two pieces of item 1 cost 400, all else 100 a piece."""
    lines = lines_of(_ORDERS)
    return replace(lines, amount=np.where(lines.quantity == 2, 400, lines.amount))


@pytest.fixture
def sales() -> ItemSales:
    return item_sales(_lines(), _ITEMS, _AS_OF)


def test_customers_are_counted_once_an_item(sales: ItemSales) -> None:
    assert sales.customers.tolist() == [3.0, 3.0, 1.0, 0.0]


def test_recent_customers_bought_in_the_last_four_weeks(sales: ItemSales) -> None:
    """Customer d bought items 0 and 1 a minute too early."""
    assert sales.recent_customers.tolist() == [2.0, 1.0, 1.0, 0.0]


def test_repeats_are_customers_of_two_orders_or_more(sales: ItemSales) -> None:
    """Of item 0 a and b; two pieces in one order of item 1 are no repeat."""
    assert sales.repeat_share.tolist() == pytest.approx([2 / 3, 0.0, 1.0, 0.0])


def test_the_usual_gap_is_the_mean_over_repeating_customers(sales: ItemSales) -> None:
    """Of item 0 a has 50 days over two gaps, b one gap of 10; c waits 2 days for item 2."""
    assert sales.usual_gap.tolist() == pytest.approx([17.5, _NAN, 2.0, _NAN], nan_ok=True)


def test_the_unit_price_is_what_a_piece_cost(sales: ItemSales) -> None:
    """Item 1: 100 + 400 + 100 for four pieces."""
    assert sales.unit_price.tolist() == pytest.approx([100.0, 150.0, 100.0, _NAN], nan_ok=True)


def test_days_since_an_item_sold_last_and_first(sales: ItemSales) -> None:
    assert sales.last_sold.tolist() == pytest.approx([10.0, 20.0, 28.0, _NAN], nan_ok=True)
    assert sales.first_sold.tolist() == pytest.approx([60.0, 60.0, 30.0, _NAN], nan_ok=True)


def test_without_lines_everything_is_unknown() -> None:
    sales = item_sales(lines_of({}), 2, _AS_OF)
    for field in fields(sales):
        counted = field.name in ("customers", "recent_customers", "repeat_share")
        expected = [0.0, 0.0] if counted else [_NAN, _NAN]
        assert getattr(sales, field.name).tolist() == pytest.approx(expected, nan_ok=True)


def test_saved_and_loaded_the_arrays_are_the_same_and_stay_on_disk(
    sales: ItemSales, tmp_path: Path
) -> None:
    sales.save(tmp_path / "sales")
    loaded = ItemSales.load(tmp_path / "sales")
    for field in fields(sales):
        before, after = getattr(sales, field.name), getattr(loaded, field.name)
        assert isinstance(after, np.memmap)
        assert before.dtype == after.dtype == np.float32
        np.testing.assert_array_equal(before, after)
