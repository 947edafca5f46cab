import csv
import gzip
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retrieval.catalogue import Catalogue, Item
from retrieval.catalogue_files import (
    CatalogueFileReport,
    merge_catalogue_file,
    merge_catalogue_files,
)
from retrieval.errors import IngestError, ShopError
from retrieval.ingest import ingest_file
from retrieval.shop import Shop, ShopSettings

_HEADER = "sku,name,department,unit_price,cost_price,on_hand\n"
_GOOD = (
    "mug,Red mug,Kitchen,$4.99,2.10,12\n"
    "tea,Green tea,Drinks,3.49,,0\n"
    'pot,"Pot, large",,"1,234.50",$800,"1,200"\n'
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop.create(tmp_path / "shop", ShopSettings())


def _write(folder: Path, text: str, name: str = "items.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


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


_ITEMS = {
    "mug": _item("mug", "Red mug", "Kitchen", 499, 210, 12),
    "tea": _item("tea", "Green tea", "Drinks", 349, None, 0),
    "pot": _item("pot", "Pot, large", "", 123450, 80000, 1200),
}


def _items(shop: Shop) -> dict[str, Item]:
    return Catalogue.read(shop.items_file).items


def _counts(report: CatalogueFileReport) -> tuple[int, int, int, int]:
    return report.read, report.accepted, report.quarantined, report.duplicates


def _quarantined(report: CatalogueFileReport) -> list[dict[str, str]]:
    assert report.quarantine_file is not None
    with report.quarantine_file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _reasons(report: CatalogueFileReport) -> list[tuple[str, ...]]:
    return [
        (row["patron_line"], row["patron_column"], row["patron_value"], row["patron_reason"])
        for row in _quarantined(report)
    ]


def test_a_catalogue_is_read_as_it_is_written(shop: Shop, tmp_path: Path) -> None:
    report = merge_catalogue_file(shop, _write(tmp_path, _HEADER + _GOOD))
    assert _items(shop) == _ITEMS
    assert _counts(report) == (3, 3, 0, 0)
    assert (report.added, report.changed) == (3, 0)
    assert report.quarantine_file is None
    assert report.mapping == {
        "item_id": "sku",
        "title": "name",
        "category": "department",
        "price": "unit_price",
        "cost": "cost_price",
        "stock": "on_hand",
    }
    assert set(report.guessed) == set(report.mapping)
    assert report.notes == ()


@pytest.mark.parametrize("name", ["items.csv.gz", "items.jsonl", "items.jsonl.gz"])
def test_other_forms_give_the_same(shop: Shop, tmp_path: Path, name: str) -> None:
    lines = (
        '{"sku": "mug", "name": "Red mug", "department": "Kitchen", "unit_price": 4.99,'
        ' "unit_cost": 2.10, "inventory": 12}\n'
        '{"sku": "tea", "name": "Green tea", "department": "Drinks", "unit_price": "$3.49",'
        ' "unit_cost": null, "inventory": 0}\n'
        '{"sku": "pot", "name": "Pot, large", "unit_price": 1234.5, "unit_cost": 800,'
        ' "inventory": 1200}\n'
    )
    content = (lines if "jsonl" in name else _HEADER + _GOOD).encode()
    file = tmp_path / name
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert _counts(merge_catalogue_file(shop, file)) == (3, 3, 0, 0)
    assert _items(shop) == _ITEMS


def test_parquet_keeps_its_types(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "items.parquet"
    table = pa.table(
        {
            "product_id": [1.0, 2.0, None],
            "description": ["Mug", None, "Nobody's"],
            "price": [4.99, None, 1.0],
            "cost": pa.array([2, None, 1], pa.decimal128(8, 2)),
            "quantity_in_stock": pa.array([12.0, float("nan"), 3.0]),
        }
    )
    pq.write_table(table, file)
    report = merge_catalogue_file(shop, file, max_bad_share=0.5)
    assert _items(shop) == {"1": _item("1", "Mug", "", 499, 200, 12), "2": _item("2")}
    assert _reasons(report) == [("3", "product_id", "", "empty")]


def test_a_log_and_a_catalogue_mean_the_same_item(shop: Shop, tmp_path: Path) -> None:
    log = "customer,date,sku,description,qty,price\n1,2024-01-05, 007 ,Tea,1,3.00\n"
    ingest_file(shop, _write(tmp_path, log, "log.csv"))
    merge_catalogue_file(shop, _write(tmp_path, "sku,cost,stock\n007 ,1.00,4\n"))
    assert _items(shop) == {"007": _item("007", "Tea", "", 300, 100, 4)}
    ingest_file(shop, _write(tmp_path, log.replace("3.00", "3.20"), "later.csv"))
    assert _items(shop) == {"007": _item("007", "Tea", "", 320, 100, 4)}


def test_only_what_is_told_changes(shop: Shop, tmp_path: Path) -> None:
    merge_catalogue_file(shop, _write(tmp_path, _HEADER + _GOOD))
    stock = "sku,title,price,stock\nmug,,n/a,0\ntea,NULL,,\npot,,,7\nnew,,,\n"
    report = merge_catalogue_file(shop, _write(tmp_path, stock, "stock.csv"))
    assert _items(shop) == {
        "mug": _item("mug", "Red mug", "Kitchen", 499, 210, 0),
        "tea": _ITEMS["tea"],
        "pot": _item("pot", "Pot, large", "", 123450, 80000, 7),
        "new": _item("new"),
    }
    assert (report.accepted, report.added, report.changed) == (4, 1, 2)


def test_the_same_file_again_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    file = _write(tmp_path, _HEADER + _GOOD)
    merge_catalogue_file(shop, file)
    before = shop.items_file.stat().st_mtime_ns
    report = merge_catalogue_file(shop, file)
    assert (report.accepted, report.added, report.changed) == (3, 0, 0)
    assert shop.items_file.stat().st_mtime_ns == before


_BAD = [
    (",No id,,1,1,1", "sku", "", "empty"),
    ("nan,No id,,1,1,1", "sku", "nan", "empty"),
    ("unknown,No id,,1,1,1", "sku", "unknown", "stands for sales without an item"),
    ("a\u0007b,Bell,,1,1,1", "sku", "a\u0007b", "holds a control character"),
    (f"{'x' * 201},Long,,1,1,1", "sku", "x" * 201, "longer than 200 characters"),
    ("a,Tea,,kr 5,1,1", "unit_price", "kr 5", "not a number"),
    ("a,Tea,,=1+2,1,1", "unit_price", "=1+2", "not a number"),
    ("a,Tea,,-4.99,1,1", "unit_price", "-4.99", "negative"),
    ("a,Tea,,(4.99),1,1", "unit_price", "(4.99)", "negative"),
    ("a,Tea,,1e999,1,1", "unit_price", "1e999", "too large an amount"),
    ("a,Tea,,1,-1,1", "cost_price", "-1", "negative"),
    ("a,Tea,,1,cheap,1", "cost_price", "cheap", "not a number"),
    ("a,Tea,,1,1,-1", "on_hand", "-1", "negative; write 0 where none is left"),
    ("a,Tea,,1,1,1.5", "on_hand", "1.5", "not a whole number of pieces"),
    ("a,Tea,,1,1,1e-300", "on_hand", "1e-300", "not a whole number of pieces"),
    ("a,Tea,,1,1,1e999", "on_hand", "1e999", "larger than 1,000,000,000"),
    ("a,Tea,,1,1,yes", "on_hand", "yes", "not a number"),
    ("a,Tea,,x,x,x", "unit_price", "x", "not a number"),
    ("a,Tea,,1", "", "a,Tea,,1", "4 fields where the header has 6"),
]


@pytest.mark.parametrize(("row", "column", "value", "reason"), _BAD)
def test_a_bad_row_is_kept_with_its_reason(
    shop: Shop, tmp_path: Path, row: str, column: str, value: str, reason: str
) -> None:
    file = _write(tmp_path, f"{_HEADER}{_GOOD}{row}\n")
    report = merge_catalogue_file(shop, file, max_bad_share=0.25)
    assert _counts(report) == (4, 3, 1, 0)
    assert _reasons(report) == [("5", column, value, reason)]
    assert _items(shop) == _ITEMS


@pytest.mark.parametrize(
    ("text", "stock"),
    [("0", 0), ("-0", 0), ("12.0", 12), ("1e3", 1000), ("+5", 5), ("", None), ("NaN", None)],
)
def test_stock_is_whole_pieces(shop: Shop, tmp_path: Path, text: str, stock: int | None) -> None:
    merge_catalogue_file(shop, _write(tmp_path, f"sku,stock\na,{text}\n"))
    assert _items(shop)["a"].stock == stock


def test_another_currency_sign_is_taken_as_the_shops_and_said(shop: Shop, tmp_path: Path) -> None:
    report = merge_catalogue_file(shop, _write(tmp_path, "sku,price,cost\na,€4.99,$2\nb,£1,₿1\n"))
    assert _items(shop)["a"] == _item("a", "", "", 499, 200)
    assert report.notes == tuple(
        f"Amounts are written with {sign} and were taken as USD." for sign in "£€₿"
    )


def test_the_currency_decides_the_digits(tmp_path: Path) -> None:
    shop = Shop.create(tmp_path / "yen", ShopSettings(currency="JPY"))
    merge_catalogue_file(shop, _write(tmp_path, "sku,price,cost\na,¥500,120.0\n"))
    assert _items(shop)["a"] == _item("a", "", "", 500, 120)


def test_decimal_commas_are_told_by_the_whole_file(shop: Shop, tmp_path: Path) -> None:
    text = "sku;price;cost;stock\na;4,99;1.234,50;1.200\nb;5;;\nc;2,345;x;\n"
    report = merge_catalogue_file(shop, _write(tmp_path, text), max_bad_share=0.5)
    assert _items(shop)["a"] == _item("a", "", "", 499, 123450, 1200)
    assert "decimal comma" in report.notes[0]
    rows = _quarantined(report)
    rows[0]["cost"] = "1"
    corrected = tmp_path / "corrected.csv"
    with corrected.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    assert _counts(merge_catalogue_file(shop, corrected)) == (1, 1, 0, 0)
    # 2,345 alone would be read as thousands.
    assert _items(shop)["c"] == _item("c", "", "", 234, 100)


def test_awkward_texts_stay_texts(shop: Shop, tmp_path: Path) -> None:
    rows = [
        ("=cmd|' /C calc'!A0", "=SUM(A1:A9)", "@here"),
        ("+1", "-2+3", "[bold]red[/bold]"),
        ("茶-🍵", "Thé  vert\n« bio »\u200b", "Früchte & Tees"),
        ("שלום", "e\u0301clair", "'; DROP TABLE items; --"),
        ("É", "1", ""),
        ("E\u0301", "2", ""),
    ]
    file = tmp_path / "items.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("sku", "title", "category"), *rows])
    assert _counts(merge_catalogue_file(shop, file)) == (6, 6, 0, 0)
    items = _items(shop)
    assert list(items) == sorted(item_id for item_id, _, _ in rows)
    assert (items["+1"].title, items["+1"].category) == ("-2+3", "[bold]red[/bold]")
    assert items["=cmd|' /C calc'!A0"].title == "=SUM(A1:A9)"
    assert items["茶-🍵"].title == "Thé vert « bio »"
    assert items["שלום"].category == "'; DROP TABLE items; --"
    assert (items["É"].title, items["E\u0301"].title) == ("1", "2")


def test_a_formula_in_a_bad_row_is_kept_as_it_stood(shop: Shop, tmp_path: Path) -> None:
    file = _write(tmp_path, 'sku,title,price\n=1+1,"=HYPERLINK(""x"")",free\n')
    rows = _quarantined(merge_catalogue_file(shop, file, max_bad_share=1))
    assert (rows[0]["sku"], rows[0]["title"]) == ("=1+1", '=HYPERLINK("x")')


def test_the_same_row_again_is_a_duplicate(shop: Shop, tmp_path: Path) -> None:
    text = "sku,title,price\na,Tea,5\nb,Mug,1\na, Tea ,$5.00\nb,Mug,1\nb,Mug,1\n"
    report = merge_catalogue_file(shop, _write(tmp_path, text))
    assert _counts(report) == (5, 2, 0, 3)
    assert report.notes == ()


def test_of_rows_that_differ_the_later_counts_and_is_named(shop: Shop, tmp_path: Path) -> None:
    text = "sku,title,price,stock\na,Tea,5,3\na,,6,\na,Tea,5,3\nb,Mug,,1\nb,,2,\nc,Jam,1,1\n"
    report = merge_catalogue_file(shop, _write(tmp_path, text + "c,Jam,,0\nc,Jam,1,1\nc,,1,2\n"))
    assert _counts(report) == (9, 9, 0, 0)
    assert _items(shop) == {
        "a": _item("a", "Tea", "", 500, None, 3),
        "b": _item("b", "Mug", "", 200, None, 1),
        "c": _item("c", "Jam", "", 100, None, 2),
    }
    assert report.notes == (
        "Told more than once, and the later row counts: a (price of line 4), c (stock of line 10).",
    )


def test_many_differing_items_are_not_all_named(shop: Shop, tmp_path: Path) -> None:
    rows = "".join(f"i{n},{price}\n" for n in range(5) for price in (1, 2))
    report = merge_catalogue_file(shop, _write(tmp_path, f"sku,price\n{rows}"))
    assert report.notes[0].endswith("i2 (price of line 7) and 2 more.")


def test_columns_that_are_not_used_are_said(shop: Shop, tmp_path: Path) -> None:
    report = merge_catalogue_file(shop, _write(tmp_path, "sku,Preis,quantity,stock\na,4,9,1\n"))
    assert report.notes == ("Columns not used: Preis, quantity.",)
    assert _items(shop)["a"] == _item("a", "", "", None, None, 1)


def test_options_choose_columns(shop: Shop, tmp_path: Path) -> None:
    file = _write(tmp_path, "id,Artikel,Preis,price,quantity\n7,Tee,4,9,3\n")
    mapped = {"item_id": "id", "title": "Artikel", "price": "Preis", "stock": "quantity"}
    report = merge_catalogue_file(shop, file, column_map=mapped)
    assert _items(shop) == {"7": _item("7", "Tee", "", 400, None, 3)}
    assert report.guessed == ()


@pytest.mark.parametrize(
    ("names", "sources"),
    [
        ("Product,EAN,ID", {"item_id": "ID", "title": "Product"}),
        ("Item,SKU", {"item_id": "SKU", "title": "Item"}),
        ("Product,Cost per item", {"item_id": "Product", "cost": "Cost per item"}),
        ("Variant SKU,Stock-Qty", {"item_id": "Variant SKU", "stock": "Stock-Qty"}),
    ],
)
def test_an_id_is_guessed_before_a_name(
    shop: Shop, tmp_path: Path, names: str, sources: dict[str, str]
) -> None:
    file = _write(tmp_path, f"{names}\n{','.join('123'[: names.count(',') + 1])}\n")
    assert merge_catalogue_file(shop, file).mapping == sources


def test_ids_of_which_none_is_known_are_said(shop: Shop, tmp_path: Path) -> None:
    merge_catalogue_file(shop, _write(tmp_path, _HEADER + _GOOD))
    report = merge_catalogue_file(shop, _write(tmp_path, "ean,price\n400,1\n", "ean.csv"))
    assert "see that ean holds the item ids of the log" in report.notes[0]


@pytest.mark.parametrize(
    ("names", "title"),
    [
        ("sku,description,name", "name"),
        ("sku,product_name,title", "title"),
        ("id,Description", "Description"),
    ],
)
def test_a_name_is_a_title_before_a_description(
    shop: Shop, tmp_path: Path, names: str, title: str
) -> None:
    file = _write(tmp_path, f"{names}\n{','.join('abc'[: names.count(',') + 1])}\n")
    assert merge_catalogue_file(shop, file).mapping["title"] == title


def test_too_many_bad_rows_stop_before_any_change(shop: Shop, tmp_path: Path) -> None:
    merge_catalogue_file(shop, _write(tmp_path, _HEADER + _GOOD))
    file = _write(tmp_path, "sku,price\na,1\nb,free\nc,free\n,1\n", "bad.csv")
    with pytest.raises(IngestError) as caught:
        merge_catalogue_file(shop, file)
    assert "bad.csv: 3 of 4 rows are bad (75.0%, the limit is 20.0%)" in caught.value.message
    assert "price: not a number (2); sku: empty (1)" in caught.value.message
    assert "--max-bad 0.75" in caught.value.hint
    assert _items(shop) == _ITEMS
    assert not shop.quarantine.exists()
    assert _counts(merge_catalogue_file(shop, file, max_bad_share=0.75)) == (4, 1, 3, 0)


@pytest.mark.parametrize(
    ("content", "options", "says", "hint"),
    [
        ("", {}, "is empty", "Export"),
        ("sku,price\n", {}, "no rows", "at least one row"),
        ("title,price\nTea,1\n", {}, r"items.csv has no column for item_id", "--map item_id="),
        ("sku,Preis\na,1\n", {}, "no column for title or category or price", "--map title="),
        ("sku\na\n", {}, "no column for title", "--map title="),
        ("sku~price\na~1\n", {}, "separator", "comma"),
        ("sku,p\na,1\n", {"column_map": {"price": "q"}}, "--map price=q: .*'q'", "sku, p"),
        (
            "sku,p\na,1\n",
            {"column_map": {"unit_price": "p"}},
            "no 'unit_price' to map to. Did you mean 'price'",
            "item_id, title, category, price, cost, stock",
        ),
        ("sku,price\na,1\n", {"max_bad_share": 20.0}, "--max-bad", "0 to 1"),
        ("patron_read_as,sku,price\nx,a,1\n", {}, "patron_read_as", "Restore"),
    ],
)
def test_errors_say_what_to_mend_and_change_nothing(
    shop: Shop, tmp_path: Path, content: str, options: dict[str, Any], says: str, hint: str
) -> None:
    with pytest.raises(IngestError, match=says) as caught:
        merge_catalogue_file(shop, _write(tmp_path, content), **options)
    assert hint in caught.value.hint
    assert {file.name for file in shop.directory.iterdir()} <= {"shop.toml", ".ingest.lock"}


def test_a_damaged_catalogue_is_not_written_over(shop: Shop, tmp_path: Path) -> None:
    shop.items_file.write_bytes(b"no parquet")
    with pytest.raises(ShopError, match="is not a catalogue"):
        merge_catalogue_file(
            shop, _write(tmp_path, _HEADER + _GOOD + ",,,1,1,1\n"), max_bad_share=1
        )
    assert shop.items_file.read_bytes() == b"no parquet"
    assert not shop.quarantine.exists()


def test_a_missing_file_stops_before_the_others(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="does not exist"):
        merge_catalogue_files(shop, [_write(tmp_path, _HEADER + _GOOD), tmp_path / "none.csv"])
    assert not shop.items_file.exists()


def test_of_several_files_the_later_counts(shop: Shop, tmp_path: Path) -> None:
    files = [
        _write(tmp_path, _HEADER + _GOOD),
        _write(tmp_path, "sku,stock\nmug,3\nmug,3\n,1\n", "stock.csv"),
    ]
    report = merge_catalogue_files(shop, files, max_bad_share=0.5)
    assert (report.read, report.accepted, report.quarantined, report.duplicates) == (6, 4, 1, 1)
    assert report.to_json()["files"][1]["changed"] == 1
    assert _items(shop)["mug"].stock == 3


def test_only_one_process_writes(shop: Shop, tmp_path: Path) -> None:
    file = _write(tmp_path, _HEADER + _GOOD)
    with shop.lock("ingest"), pytest.raises(ShopError, match="Another process"):
        merge_catalogue_file(shop, file)
    assert merge_catalogue_file(shop, file).accepted == 3


def test_a_log_read_as_catalogue_keeps_the_logs_own_quarantine(shop: Shop, tmp_path: Path) -> None:
    file = _write(
        tmp_path, "customer,date,sku,title,price\n,2024-01-05,a,Tea,5\n1,2024-01-05,,,5\n"
    )
    log = ingest_file(shop, file, max_bad_share=1)
    items = merge_catalogue_file(shop, file, max_bad_share=1)
    assert log.quarantine_file is not None
    assert "customer" in log.quarantine_file.read_text()
    assert [row["patron_column"] for row in _quarantined(items)] == ["sku"]
    assert log.quarantine_file != items.quarantine_file


_CELL = st.one_of(
    st.sampled_from(["a", "b", "", "0", "7", "-3", "4.50", "$5", "(1)", "x", "NaN", "1e999", "=1"]),
    st.text(max_size=4),
)
_ROWS = st.lists(st.lists(_CELL, min_size=1, max_size=7), min_size=1, max_size=8)


def _csv(file: Path, rows: list[list[str]], *, quoted: bool = True) -> Path:
    with file.open("w", newline="", encoding="utf-8", errors="replace") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
        writer.writerow(["sku", "title", "category", "price", "cost", "stock"])
        writer.writerows(rows)
    return file


@settings(max_examples=50)
@given(_ROWS, st.booleans())
@example(rows=[["a", "a", "a", "a", "a", "\r0"]], quoted=False)
def test_every_row_is_accounted_for(rows: list[list[str]], quoted: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop.create(Path(folder) / "shop", ShopSettings())
        good = ["a", "Tea", "Drinks", "1", "1", "1"]
        file = _csv(Path(folder) / "items.csv", [good, *rows], quoted=quoted)
        report = merge_catalogue_file(shop, file, max_bad_share=1)
        assert report.read == report.accepted + report.quarantined + report.duplicates
        kept = _quarantined(report) if report.quarantined else []
        assert len(kept) == report.quarantined
        assert all(row["patron_line"] and row["patron_reason"] for row in kept)
        items = _items(shop)
        assert 1 <= len(items) == report.added <= report.accepted
        for item in items.values():
            assert item.title
            assert all(n is None or n >= 0 for n in (item.price, item.cost, item.stock))
        again = merge_catalogue_file(shop, file, max_bad_share=1)
        assert _counts(again) == _counts(report)
        assert (again.added, again.changed) == (0, 0)


_FEW = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "Tea", "Mug"]),
    st.sampled_from(["", "Drinks"]),
    st.sampled_from(["", "1", "2"]),
    st.sampled_from(["", "0"]),
    st.sampled_from(["", "0", "9"]),
)


@settings(max_examples=40)
@given(st.lists(_FEW, min_size=1, max_size=6))
def test_a_file_is_its_rows_one_after_the_other(rows: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = Shop.create(Path(folder) / "whole", ShopSettings())
        split = Shop.create(Path(folder) / "split", ShopSettings())
        merge_catalogue_file(whole, _csv(Path(folder) / "items.csv", [list(row) for row in rows]))
        for row in rows:
            merge_catalogue_file(split, _csv(Path(folder) / "row.csv", [list(row)]))
        assert _items(whole) == _items(split)
