from dataclasses import replace
from math import log1p, nan

import numpy as np
import pytest

from retrieval.baskets import Baskets, baskets_of
from retrieval.catalogue import Catalogue, Item
from retrieval.features import feature_names, features
from retrieval.item_sales import ItemSales, item_sales
from retrieval.item_table import item_table
from retrieval.lines import Lines
from retrieval.source_names import SourceName
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_AS_OF = moment("2024-03-01")
# Items 0 and 1 share a text, 0, 1 and 3 a category; 3 never sold.
_TABLE = item_table(
    Catalogue(
        [
            Item(item_id="i0", title="Milk", category="Dairy", price=None),
            Item(item_id="i1", title="Milk", category="Dairy", price=None),
            Item(item_id="i2", title="Tea", category="Drinks", price=None),
            Item(item_id="i3", title="Cheese", category="Dairy", price=None),
        ]
    )
)
_PRICES = np.array([100, 200, 400, 0])
_SOURCES = (SourceName.TOGETHER, SourceName.SIMILAR)
_SCORES = (6.0, 0.5)
# Orders of a are 60, 30 and 10 days old, those of b 20 and 5 days; c never bought.
_ORDERS: dict[tuple[str, str, str], tuple[int, ...]] = {
    ("a", "2024-01-01", "o1"): (0, 2),
    ("a", "2024-01-31", "o2"): (0,),
    ("a", "2024-02-20", "o3"): (1,),
    ("b", "2024-02-10", "o1"): (0,),
    ("b", "2024-02-25", "o2"): (0, 2),
    ("c", "2024-01-01", "o1"): (),
}
_A, _B, _C = range(3)
_TASTE_0 = 0.5 + 0.5**0.5  # of a
_TASTE_1 = 0.5 ** (1 / 6)
_TASTE_2 = 0.5


def _lines() -> Lines:
    lines = lines_of(_ORDERS)
    return replace(lines, amount=_PRICES[lines.item])


def _learnt() -> tuple[ItemSales, Baskets]:
    lines = _lines()
    return item_sales(lines, 4, _AS_OF), baskets_of(lines, _AS_OF, 4, np.arange(3))


def _described(customer: int, item: int) -> dict[str, float]:
    sales, baskets = _learnt()
    scores = {
        name: np.array([score], dtype=np.float32)
        for name, score in zip(_SOURCES, _SCORES, strict=True)
    }
    (row,) = features(_TABLE, sales, baskets, scores, np.array([customer]), np.array([item]))
    return dict(zip(feature_names(_SOURCES), row.tolist(), strict=True))


def _expect(found: dict[str, float], **expected: float) -> None:
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_what_is_known_of_an_item_bought_twice() -> None:
    _expect(
        _described(_A, 0),
        own_orders=2,
        own_taste=_TASTE_0,
        own_last=30,
        own_first=60,
        own_share=2 / 3,
        own_rate=2 / 60,
        own_gap=30,
        own_lateness=1.0,
        own_in_last_order=0,
    )


def test_lateness_is_days_waited_by_days_between() -> None:
    """Customer b bought item 0 20 and 5 days ago: a third of the gap has passed."""
    _expect(_described(_B, 0), own_gap=15, own_lateness=1 / 3, own_in_last_order=1)


def test_an_item_bought_once_has_no_gap() -> None:
    """A rate is by a week at least."""
    _expect(
        _described(_A, 1),
        own_orders=1,
        own_rate=1 / 10,
        own_gap=nan,
        own_lateness=nan,
        own_in_last_order=1,
    )
    _expect(_described(_B, 2), own_first=5, own_rate=1 / 7)


def test_how_an_item_sells() -> None:
    """The gaps of a and b are 30 and 15 days; a has waited 30."""
    _expect(
        _described(_A, 0),
        item_customers=log1p(2),
        item_recent=log1p(1),
        item_trend=1 / 2,
        item_repeat_share=1.0,
        item_gap=22.5,
        item_price=log1p(100),
        item_last_sold=5,
        item_first_sold=60,
        item_gap_lateness=30 / 22.5,
    )


def test_what_is_known_of_a_customer() -> None:
    """Four lines in three orders over fifty days."""
    _expect(
        _described(_A, 3),
        orders=3,
        last_order=10,
        first_order=60,
        items=3,
        items_an_order=4 / 3,
        order_gap=25,
    )
    _expect(_described(_B, 3), orders=2, items=2, items_an_order=3 / 2, order_gap=15)


def test_how_an_item_goes_with_a_basket() -> None:
    """The item's own taste counts in its category's share, and not in the tastes beside it."""
    total = _TASTE_0 + _TASTE_1 + _TASTE_2
    usual = (_TASTE_0 * log1p(100) + _TASTE_1 * log1p(200) + _TASTE_2 * log1p(400)) / total
    _expect(
        _described(_A, 0),
        category_taste=_TASTE_1,
        category_share=(_TASTE_0 + _TASTE_1) / total,
        text_taste=_TASTE_1,
        price_fit=log1p(100) - usual,
    )
    _expect(
        _described(_A, 2),
        category_taste=0,
        category_share=_TASTE_2 / total,
        text_taste=0,
        price_fit=log1p(400) - usual,
    )


def test_an_item_that_never_sold_is_mostly_unknown() -> None:
    _expect(
        _described(_A, 3),
        own_orders=0,
        own_taste=0,
        own_last=nan,
        own_first=nan,
        own_share=0,
        own_rate=0,
        own_gap=nan,
        own_lateness=nan,
        own_in_last_order=0,
        item_customers=0,
        item_recent=0,
        item_trend=0,
        item_repeat_share=0,
        item_gap=nan,
        item_price=nan,
        item_last_sold=nan,
        item_first_sold=nan,
        item_gap_lateness=nan,
        category_taste=_TASTE_0 + _TASTE_1,
        text_taste=0,
        price_fit=nan,
    )


def test_a_customer_who_bought_nothing_is_mostly_unknown() -> None:
    _expect(
        _described(_C, 0),
        own_orders=0,
        own_share=0,
        own_in_last_order=0,
        orders=0,
        last_order=nan,
        first_order=0,
        items=0,
        items_an_order=0,
        order_gap=nan,
        category_taste=0,
        category_share=0,
        text_taste=0,
        price_fit=log1p(100),
    )


def test_scores_come_with_their_share_of_each_bought_item() -> None:
    """Customer a bought three items; nobody is divided by zero."""
    found = _described(_A, 0)
    assert list(found)[-4:] == [
        "bought together",
        "bought together for each bought",
        "similar",
        "similar for each bought",
    ]
    assert list(found.values())[-4:] == pytest.approx([6.0, 2.0, 0.5, 0.5 / 3])
    assert list(_described(_C, 0).values())[-4:] == pytest.approx([6.0, 6.0, 0.5, 0.5])


def test_names_are_those_of_the_columns() -> None:
    sales, baskets = _learnt()
    nobody = np.zeros(0, dtype=np.int64)
    for sources in ((), _SOURCES[:1], _SOURCES):
        scores = {name: np.zeros(0, dtype=np.float32) for name in sources}
        found = features(_TABLE, sales, baskets, scores, nobody, nobody)
        names = feature_names(sources)
        assert found.shape == (0, len(names))
        assert len(set(names)) == len(names)


def test_each_pair_is_described_alone() -> None:
    sales, baskets = _learnt()
    customer, item = np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
    scores = {
        name: np.full(12, score, np.float32) for name, score in zip(_SOURCES, _SCORES, strict=True)
    }
    found = features(_TABLE, sales, baskets, scores, customer[::-1], item[::-1])
    assert found.dtype == np.float32
    for row, pair in enumerate(zip(customer[::-1], item[::-1], strict=True)):
        alone = list(_described(*map(int, pair)).values())
        np.testing.assert_array_equal(found[row], np.array(alone, dtype=np.float32))


def test_orders_of_one_moment_divide_nothing_by_zero() -> None:
    """Two orders at once have a gap of no days."""
    lines = lines_of({("a", "2024-02-20", "o1"): (0,), ("a", "2024-02-20", "o2"): (0,)})
    sales, baskets = item_sales(lines, 4, _AS_OF), baskets_of(lines, _AS_OF, 4, np.arange(1))
    with np.errstate(divide="raise", invalid="raise"):
        (row,) = features(_TABLE, sales, baskets, {}, np.array([0]), np.array([0]))
    found = dict(zip(feature_names(()), row.tolist(), strict=True))
    _expect(found, own_gap=0, own_lateness=10, item_gap=0, order_gap=0)
