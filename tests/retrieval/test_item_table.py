from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrieval.catalogue import Catalogue, Item
from retrieval.embedding_cache import text_id
from retrieval.item_table import ItemTable, item_table

_CATALOGUE = Catalogue(
    [
        Item(item_id="tea", title="Tea", category="Drinks", price=349),
        Item(item_id="milk2", title="Milk", category="Dairy", price=119),
        Item(item_id="milk", title="Milk", category="Dairy", price=129),
        Item(item_id="oats", title="Milk", category="Vegan", price=None),
        Item(item_id="odd", title="Odd thing", category="", price=None),
    ]
)


@pytest.fixture
def table() -> ItemTable:
    return item_table(_CATALOGUE)


def test_rows_are_in_the_order_of_item_ids(table: ItemTable) -> None:
    assert table.ids.to_pylist() == ["milk", "milk2", "oats", "odd", "tea"]
    assert len(table) == 5
    assert table.row == {"milk": 0, "milk2": 1, "oats": 2, "odd": 3, "tea": 4}


def test_rows_of_ids_are_minus_one_where_the_table_lacks_them(table: ItemTable) -> None:
    rows = table.rows_of(["tea", "ghost", "milk", "tea"])
    assert rows.tolist() == [4, -1, 0, 4]
    assert rows.dtype == np.int64
    assert table.rows_of(pa.array(["odd", ""])).tolist() == [3, -1]
    assert table.rows_of([]).tolist() == []


def test_the_unknown_category_is_zero(table: ItemTable) -> None:
    """The others follow their names: Dairy, Drinks, Vegan."""
    assert table.category.tolist() == [1, 1, 3, 0, 2]
    drinks = item_table(Catalogue([_CATALOGUE.items["tea"]]))
    assert drinks.category.tolist() == [1]


def test_items_of_one_text_share_a_code(table: ItemTable) -> None:
    texts = [table.text_ids[code] for code in table.text]
    assert texts == [
        text_id(text)
        for text in ("Milk (Dairy)", "Milk (Dairy)", "Milk (Vegan)", "Odd thing", "Tea (Drinks)")
    ]
    assert len(table.text_ids) == len(set(table.text_ids)) == 4


@pytest.mark.parametrize("catalogue", [_CATALOGUE, Catalogue([])])
def test_saved_and_loaded_a_table_is_the_same(catalogue: Catalogue, tmp_path: Path) -> None:
    table = item_table(catalogue)
    table.save(tmp_path / "items")
    loaded = ItemTable.load(tmp_path / "items")
    assert loaded.ids.equals(table.ids)
    assert loaded.row == table.row
    assert list(loaded.text_ids) == list(table.text_ids)
    for name in ("category", "text"):
        before, after = getattr(table, name), getattr(loaded, name)
        assert before.dtype == after.dtype == np.int32
        np.testing.assert_array_equal(before, after)
    assert loaded.rows_of(["tea"]).tolist() == table.rows_of(["tea"]).tolist()
