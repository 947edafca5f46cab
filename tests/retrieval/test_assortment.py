from typing import Any

import numpy as np
import pytest

from retrieval.assortment import Assortment
from retrieval.catalogue import Catalogue, Item
from retrieval.filters import Filters
from retrieval.item_table import item_table
from retrieval.shop import RecommendSettings


def _item(item_id: str, title: str, category: str, price: int | None, **more: int | None) -> Item:
    return Item(item_id=item_id, title=title, category=category, price=price, **more)


_ITEMS = (
    _item("cake", "Cake", "Bakery", 1_299, cost=900),
    _item("cigar", "Cigar", "Tobacco", 700, stock=5),
    _item("gone", "Lemonade", "Drinks", 199, stock=0),
    _item("milk", "Milk", "Dairy", 129, cost=150, stock=1),
    _item("milk2", "Milk", "Organic dairy", 159),
    _item("tea", "Green tea", "Drinks", 349),
    _item("tea2", "Black tea", "Drinks", None),
    _item("thing", "Thing", "", 50),
)
_SELLABLE = {"cake", "cigar", "milk", "milk2", "tea", "tea2", "thing"}


def _assortment(items: tuple[Item, ...] = _ITEMS, **rules: Any) -> Assortment:
    """The table is always of `_ITEMS`, as an older index would have it."""
    return Assortment(item_table(Catalogue(_ITEMS)), Catalogue(items), RecommendSettings(**rules))


def _allowed(
    filters: Filters | None = None,
    own: tuple[str, ...] = (),
    disliked: tuple[str, ...] = (),
    assortment: Assortment | None = None,
) -> set[str]:
    assortment = assortment or _assortment()
    mask = assortment.allowed(filters or Filters(), assortment.rows(own), disliked)
    ids = assortment.table.ids.to_pylist()
    return {ids[row] for row in np.flatnonzero(mask)}


def test_what_is_sold_out_may_not_be_shown_and_unkept_stock_may() -> None:
    assert _allowed() == _SELLABLE


def test_what_left_the_catalogue_may_not_be_shown() -> None:
    left = _assortment(tuple(item for item in _ITEMS if item.item_id != "milk"))
    assert _allowed(assortment=left) == _SELLABLE - {"milk"}
    with pytest.raises(KeyError, match="not in the catalogue"):
        left.item(left.table.row["milk"])


def test_what_came_after_the_index_waits_for_the_next() -> None:
    more = _assortment((*_ITEMS, _item("new", "New", "Drinks", 1)))
    assert _allowed(assortment=more) == _SELLABLE


def test_what_the_shop_never_shows() -> None:
    strict = _assortment(never_categories=("Tobacco", "Nothing"), never_items=("cake", "unknown"))
    assert _allowed(assortment=strict) == _SELLABLE - {"cigar", "cake"}
    named = Filters(only_items=frozenset({"cigar", "cake", "tea"}))
    assert _allowed(named, assortment=strict) == {"tea"}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(categories=frozenset({"Drinks", "Bakery"})), {"cake", "tea", "tea2"}),
        (Filters(categories=frozenset({"drinks"})), set()),
        (
            Filters(exclude_categories=frozenset({"Drinks", "Tobacco", "Dairy"})),
            {"cake", "milk2", "thing"},
        ),
        (Filters(max_price=129), {"milk", "thing"}),
        (Filters(max_price=128), {"thing"}),
        (Filters(min_price=700), {"cake", "cigar"}),
        (Filters(min_price=129, max_price=349), {"milk", "milk2", "tea"}),
        (Filters(min_price=0), _SELLABLE - {"tea2"}),
        (Filters(min_price=-5), _SELLABLE - {"tea2"}),
        (Filters(max_price=-1), set()),
        (Filters(only_items=frozenset({"tea", "gone", "unknown"})), {"tea"}),
        (Filters(only_items=frozenset({"unknown"})), set()),
        (Filters(exclude_items=frozenset({"tea", "unknown"})), _SELLABLE - {"tea"}),
        (Filters(words=("tea",)), {"tea", "tea2"}),
        (Filters(words=("TEAS", "green")), {"tea"}),
        (Filters(words=("green tea",)), {"tea"}),
        (Filters(words=("dairy",)), {"milk", "milk2"}),
        (Filters(words=("te",)), set()),
        (Filters(exclude_words=("milk", "drinks")), {"cake", "cigar", "thing"}),
        (Filters(words=("tea",), exclude_words=("black",)), {"tea"}),
    ],
)
def test_filters_with_known_answers(filters: Filters, expected: set[str]) -> None:
    assert _allowed(filters) == expected


def test_what_was_bought_is_left_out_only_where_new_items_are_asked_for() -> None:
    assert _allowed(own=("milk", "tea", "unknown")) == _SELLABLE
    assert _allowed(Filters(new_only=True), own=("milk", "tea", "unknown")) == _SELLABLE - {
        "milk",
        "tea",
    }


def test_a_disliked_title_stays_away_under_every_id_and_category() -> None:
    assert _allowed(disliked=("milk2", "unknown")) == _SELLABLE - {"milk", "milk2"}


def test_margin_is_price_less_cost_and_never_negative() -> None:
    assortment = _assortment()
    margin = dict(zip(assortment.table.ids.to_pylist(), assortment.margin.tolist(), strict=True))
    assert margin["cake"] == 399
    assert margin["milk"] == 0, "it costs more than it brings"
    assert margin["tea"] == 349, "the price where the cost is not known"
    assert margin["tea2"] == 0, "no price"


def test_prices_are_those_of_the_current_catalogue() -> None:
    dearer = tuple(
        _item("milk", "Milk", "Dairy", 500) if item.item_id == "milk" else item for item in _ITEMS
    )
    assert _allowed(Filters(max_price=129), assortment=_assortment(dearer)) == {"thing"}


def test_items_of_one_text_are_found_by_it() -> None:
    twins = (_item("a", "Milk", "Dairy", 1), _item("b", "Milk", "Dairy", 2), *_ITEMS[:1])
    table = item_table(Catalogue(twins))
    assortment = Assortment(table, Catalogue(twins), RecommendSettings())
    text = table.text_ids[table.text[table.row["a"]]]
    assert assortment.with_text(text) == ["a", "b"]
    assert assortment.with_text("unknown") == []
