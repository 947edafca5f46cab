from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.catalogue import Catalogue, Item
from retrieval.errors import ShopError


def _item(
    item_id: str,
    title: str = "",
    category: str = "",
    price: int | None = None,
    cost: int | None = None,
    stock: int | None = None,
) -> Item:
    return Item(
        item_id=item_id,
        title=title or item_id,
        category=category,
        price=price,
        cost=cost,
        stock=stock,
    )


_ITEMS = [
    _item("tea", "Green tea", "Drinks", 349, 120, 0),
    _item("cake", "Cake", "Bakery", None),
    _item("x", "x"),
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    Catalogue(_ITEMS).write(tmp_path / "items.parquet")
    assert Catalogue.read(tmp_path / "items.parquet").items == {i.item_id: i for i in _ITEMS}


def test_a_catalogue_without_cost_and_stock_is_read(tmp_path: Path) -> None:
    columns = {"item_id": ["tea"], "title": ["Tea"], "category": ["Drinks"], "price": [349]}
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    assert Catalogue.read(tmp_path / "items.parquet").items == {
        "tea": _item("tea", "Tea", "Drinks", 349)
    }
    pq.write_table(pa.table({**columns, "stock": [3]}), tmp_path / "items.parquet")
    assert Catalogue.read(tmp_path / "items.parquet").items["tea"].stock == 3


def test_the_same_items_give_the_same_bytes(tmp_path: Path) -> None:
    Catalogue(_ITEMS).write(tmp_path / "one.parquet")
    Catalogue(reversed(_ITEMS)).write(tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_no_file_is_an_empty_catalogue(tmp_path: Path) -> None:
    assert len(Catalogue.read(tmp_path / "items.parquet")) == 0


def test_text_holds_title_and_category() -> None:
    assert [item.text for item in _ITEMS] == ["Green tea (Drinks)", "Cake (Bakery)", "x"]


def test_title_of_an_unknown_item_is_its_id() -> None:
    catalogue = Catalogue(_ITEMS)
    assert catalogue.title("tea") == "Green tea"
    assert catalogue.title("gone") == "gone"


def test_categories_are_sorted_without_the_empty_one() -> None:
    assert Catalogue(_ITEMS).categories == ("Bakery", "Drinks")


def test_merging_adds_and_replaces() -> None:
    merged = Catalogue(_ITEMS).merged([_item("tea", "Sencha", "Tea", 399), _item("jam", "Jam")])
    assert merged.items["tea"] == _item("tea", "Sencha", "Tea", 399, 120, 0)
    assert merged.items["jam"].title == "Jam"
    assert set(merged.items) == {"tea", "cake", "x", "jam"}


def test_an_unknown_value_hides_no_known_one() -> None:
    merged = Catalogue(_ITEMS).merged([_item("tea"), _item("cake", "", "", 1299)])
    assert merged.items["tea"] == _ITEMS[0]
    assert merged.items["cake"] == _item("cake", "Cake", "Bakery", 1299)


def test_cost_and_stock_are_merged_and_none_left_is_a_known_value() -> None:
    merged = Catalogue(_ITEMS).merged([_item("tea", stock=5), _item("cake", cost=80, stock=0)])
    assert (merged.items["tea"].cost, merged.items["tea"].stock) == (120, 5)
    assert (merged.items["cake"].cost, merged.items["cake"].stock) == (80, 0)
    again = merged.merged([_item("cake"), _item("tea", stock=0)])
    assert (again.items["cake"].stock, again.items["tea"].stock) == (0, 0)


def test_merging_leaves_the_older_catalogue_alone() -> None:
    catalogue = Catalogue(_ITEMS)
    catalogue.merged([_item("tea", "Sencha")])
    assert catalogue.items["tea"] == _ITEMS[0]


def _not_parquet(file: Path) -> None:
    file.write_text("item_id,title\n")


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _other_columns(file: Path) -> None:
    pq.write_table(pa.table({"item_id": ["tea"], "name": ["Tea"]}), file)


def _other_types(file: Path) -> None:
    columns = {"item_id": ["t"], "title": ["T"], "category": [""], "price": ["cheap"]}
    pq.write_table(pa.table(columns), file)


def _damaged_page(file: Path) -> None:
    Catalogue(_ITEMS).write(file)
    content = bytearray(file.read_bytes())
    content[4:40] = bytes(36)
    file.write_bytes(content)


def _damaged_footer(file: Path) -> None:
    Catalogue(_ITEMS).write(file)
    content = bytearray(file.read_bytes())
    content[-60:-8] = b"\xff" * 52
    file.write_bytes(content)


def _truncated(file: Path) -> None:
    Catalogue(_ITEMS).write(file)
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize(
    "spoil",
    [
        _not_parquet,
        _empty,
        _other_columns,
        _other_types,
        _damaged_page,
        _damaged_footer,
        _truncated,
    ],
)
def test_what_is_no_catalogue_is_named(tmp_path: Path, spoil: object) -> None:
    file = tmp_path / "items.parquet"
    assert callable(spoil)
    spoil(file)
    with pytest.raises(ShopError, match=r"items\.parquet is not a catalogue") as caught:
        Catalogue.read(file)
    assert "item_id, title, category and price" in caught.value.hint
