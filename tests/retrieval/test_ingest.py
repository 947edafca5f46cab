import csv
import gzip
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.catalogue import Catalogue
from retrieval.errors import IngestError, ShopError
from retrieval.events import Event, Kind
from retrieval.ingest import append_event, ingest_file, ingest_files
from retrieval.shop import Shop, ShopSettings

_ROOT = Path(__file__).parents[2]
_HEADER = "CustomerID,InvoiceDate,InvoiceNo,StockCode,Description,Quantity,UnitPrice\n"
_GOOD = (
    "1,2024-01-05 10:00,100,mug,Red mug,2,2.55\n"
    "1,2024-01-05 10:00,100,mug,Red mug,2,2.55\n"
    "2,2024-01-06 11:00,101,tea,Green tea,1,4.00\n"
    "2,2024-01-07 12:00,C102,tea,Green tea,-1,4.00\n"
    "3,2024-02-01 09:00,103,mug,RED MUG!,1,2.75\n"
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop.create(tmp_path / "shop", ShopSettings(currency="GBP", timezone="Europe/London"))


def _write(folder: Path, text: str, name: str = "log.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def _events(shop: Shop) -> list[dict[str, Any]]:
    return shop.log.query("SELECT * FROM events ORDER BY event_id").to_pylist()


def _state(shop: Shop) -> dict[str, Any]:
    """All that an ingest may leave behind, but for the remains of an interrupted write."""
    return {
        "events": _events(shop),
        "items": Catalogue.read(shop.items_file).items,
        "quarantine": {
            file.name: file.read_bytes()
            for file in shop.quarantine.glob("*")
            if not file.name.startswith(".")
        },
    }


def test_a_tiny_log_has_its_known_totals(shop: Shop, tmp_path: Path) -> None:
    report = ingest_file(shop, _write(tmp_path, _HEADER + _GOOD))
    assert (report.read, report.accepted, report.quarantined, report.duplicates) == (5, 5, 0, 0)
    assert shop.log.totals() == {"events": 5, "customers": 3, "spend": 510 + 510 + 400 + 275}
    net = shop.log.query("SELECT sum(amount)::BIGINT AS net FROM events").to_pylist()
    assert net == [{"net": 510 + 510 + 275}]
    rows = shop.log.query("SELECT * FROM events WHERE kind = 'return'").to_pylist()
    assert [(row["amount"], row["quantity"], row["line"]) for row in rows] == [(-400, -1.0, 5)]
    assert rows[0]["source"] == "log.csv"
    assert report.quarantine_file is None
    assert report.log_version == 0


def test_the_catalogue_takes_the_usual_title_and_the_newest_price(
    shop: Shop, tmp_path: Path
) -> None:
    ingest_file(shop, _write(tmp_path, _HEADER + _GOOD))
    items = Catalogue.read(shop.items_file).items
    assert (items["mug"].title, items["mug"].price) == ("Red mug", 275)
    older = _HEADER + "9,2023-01-05,90,mug,Red mug,1,1.00\n9,2023-01-05,90,jam,,1,3.00\n"
    ingest_file(shop, _write(tmp_path, older, "older.csv"))
    items = Catalogue.read(shop.items_file).items
    assert items["mug"].price == 275
    assert (items["jam"].title, items["jam"].price) == ("jam", 300)


def test_a_log_without_descriptions_adds_only_new_items(shop: Shop, tmp_path: Path) -> None:
    ingest_file(shop, _write(tmp_path, _HEADER + _GOOD))
    plain = "customer,date,sku,qty,amount\n1,2024-03-01,mug,1,9.99\n1,2024-03-01,pot,2,5.00\n"
    ingest_file(shop, _write(tmp_path, plain + "1,2024-03-01,,1,1\n", "plain.csv"))
    items = Catalogue.read(shop.items_file).items
    assert items["mug"].price == 275
    assert items["pot"].price == 250
    assert "unknown" not in items


def test_the_same_file_again_adds_nothing(shop: Shop, tmp_path: Path) -> None:
    file = _write(tmp_path, _HEADER + _GOOD)
    ingest_file(shop, file)
    before = _state(shop)
    again = ingest_file(shop, file)
    assert (again.accepted, again.duplicates, again.log_version) == (0, 5, 0)
    assert _state(shop) == before


def test_an_overlapping_export_of_another_form_adds_only_what_is_new(
    shop: Shop, tmp_path: Path
) -> None:
    ingest_file(shop, _write(tmp_path, _HEADER + _GOOD))
    table = pa.table(
        {
            "CustomerID": [1.0, 1.0, 4.0],
            "InvoiceDate": [
                datetime(2024, 1, 5, 10),
                datetime(2024, 1, 5, 10),
                datetime(2024, 3, 1),
            ],
            "InvoiceNo": [100, 100, 104],
            "StockCode": ["mug", "mug", "mug"],
            "Quantity": [2, 2, 1],
            "UnitPrice": [2.55, 2.55, 3.0],
        }
    )
    file = tmp_path / "more.parquet"
    pq.write_table(table, file)
    report = ingest_file(shop, file)
    assert (report.accepted, report.duplicates) == (1, 2)


def test_identity_is_the_same_on_every_machine(shop: Shop, tmp_path: Path) -> None:
    text = "customer,date,order_id,sku,qty,amount\n1,2024-01-05T10:00Z,100,mug,2,5.10\n"
    ingest_file(shop, _write(tmp_path, text))
    # printf '1\x1f1704448800000000\x1f100\x1fmug\x1f2.0\x1f510\x1fpurchase\x1f0' | md5sum
    assert _events(shop)[0]["event_id"] == "a544ee3dc4eb776ea35a032befb60f2f"


@pytest.mark.parametrize("name", ["log.csv.gz", "log.jsonl.gz"])
def test_gzipped_files_are_taken_in(shop: Shop, tmp_path: Path, name: str) -> None:
    text = (
        "customer,date,amount\n1,2024-01-05,5\n"
        if "csv" in name
        else '{"customer": 1, "date": "2024-01-05", "amount": 5.00}\n'
    )
    file = tmp_path / name
    file.write_bytes(gzip.compress(text.encode()))
    assert ingest_file(shop, file).accepted == 1
    assert shop.log.totals()["spend"] == 500


def test_options_choose_columns_and_zone(shop: Shop, tmp_path: Path) -> None:
    file = _write(tmp_path, "who,when,date,paid\n1,2024-01-05 23:30,x,5\n")
    report = ingest_file(
        shop,
        file,
        column_map={"customer_id": "who", "timestamp": "when", "amount": "paid"},
        timezone="America/New_York",
    )
    assert report.guessed == ()
    event = _events(shop)[0]
    assert event["timestamp"] == datetime(2024, 1, 6, 4, 30, tzinfo=UTC)


_DIRTY = _HEADER + (
    "1,13/01/2024 10:00,100,mug,Red mug,2,2.55\n"
    ",03/02/2024 10:00,101,mug,Red mug,1,2.55\n"
    '2,03/02/2024 10:00,102,tea,"Green\ntea",x,4.00\n'
    "3,03/02/2024 10:00,103,tea\n"
    '4,03/02/2024 10:00,104,tea,"Green, fine",1,4.00\n'
)


def test_a_corrected_quarantine_file_is_taken_in(shop: Shop, tmp_path: Path) -> None:
    report = ingest_file(shop, _write(tmp_path, _DIRTY), max_bad_share=0.7)
    assert (report.read, report.accepted, report.quarantined) == (5, 2, 3)
    kept = report.quarantine_file
    assert kept is not None
    with kept.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [
        (row["patron_line"], row["patron_column"], row["patron_value"], row["patron_reason"])
        for row in rows
    ] == [
        ("3", "CustomerID", "", "empty"),
        ("4", "Quantity", "x", "not a number"),
        ("6", "", "3,03/02/2024 10:00,103,tea", "4 fields where the header has 7"),
    ]
    assert rows[1]["Description"] == "Green\ntea"

    still_bad = ingest_file(shop, kept, max_bad_share=1)
    assert (still_bad.accepted, still_bad.quarantined) == (0, 3)

    rows[0]["CustomerID"] = "9"
    rows[1]["Quantity"] = "1"
    rows[2] |= {"Quantity": "1", "UnitPrice": "4.00"}
    corrected = tmp_path / "corrected.csv"
    with corrected.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    mended = ingest_file(shop, corrected)
    assert (mended.accepted, mended.quarantined) == (3, 0)
    # 3 February: the quarantined rows alone would not tell day from month.
    days = shop.log.query("SELECT DISTINCT timestamp::DATE AS day FROM events ORDER BY day")
    assert [str(row["day"]) for row in days.to_pylist()] == ["2024-01-13", "2024-02-03"]
    assert ingest_file(shop, corrected).accepted == 0


def test_too_many_bad_rows_stop_before_any_change(shop: Shop, tmp_path: Path) -> None:
    rows = "".join(f"{n},2024-01-05,5\n" for n in range(79)) + ",2024-01-05,5\n" * 20 + "1,x,5\n"
    file = _write(tmp_path, "customer,date,amount\n" + rows)
    with pytest.raises(IngestError) as caught:
        ingest_file(shop, file)
    assert "21 of 100 rows are bad (21.0%, the limit is 20.0%)" in caught.value.message
    assert "customer: empty (20); date: not a date and time (1)" in caught.value.message
    assert "--max-bad 0.21" in caught.value.hint
    assert not list(shop.quarantine.glob("*"))
    assert not shop.items_file.exists()
    assert shop.log.version() == -1
    assert ingest_file(shop, file, max_bad_share=0.21).accepted == 79


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("", {}, "is empty"),
        ("customer,date,amount\n", {}, "no rows"),
        ("customer,amount\n1,2\n", {}, "timestamp"),
        ("customer~date~amount\n1~2~3\n", {}, "separator"),
        ("customer,date,amount\n1,2024-01-01,2\n", {"column_map": {"amount": "amt"}}, "amt"),
        ("customer,date,amount\n1,2024-01-01,2\n", {"timezone": "Europe/Londn"}, "--timezone"),
        ("customer,date,amount\n1,2024-01-01,2\n", {"max_bad_share": 20.0}, "--max-bad"),
    ],
)
def test_errors_change_nothing(
    shop: Shop, tmp_path: Path, content: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(IngestError, match=says):
        ingest_file(shop, _write(tmp_path, content), **options)
    assert {file.name for file in shop.directory.iterdir()} <= {"shop.toml", ".ingest.lock"}


def test_a_missing_file_stops_before_the_others(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="does not exist"):
        ingest_files(shop, [_write(tmp_path, _HEADER + _GOOD), tmp_path / "none.csv"])
    assert shop.log.version() == -1


def test_several_files_sum_up(shop: Shop, tmp_path: Path) -> None:
    file = _write(tmp_path, _HEADER + _GOOD)
    steps: list[tuple[str, int, int]] = []
    report = ingest_files(
        shop, [file, file], progress=lambda step, done, total: steps.append((step, done, total))
    )
    assert report.to_json()["files"][1]["duplicates"] == 5
    assert (report.read, report.accepted, report.quarantined, report.duplicates) == (10, 5, 0, 5)
    begun = [step for step, done, _ in steps if done == 0]
    ended = [step for step, done, total in steps if done == total]
    assert begun == ended == ["Reading the file", "Checking rows", "Storing events"] * 2


def test_only_one_process_ingests(shop: Shop, tmp_path: Path) -> None:
    file = _write(tmp_path, _HEADER + _GOOD)
    with shop.lock("ingest"), pytest.raises(ShopError, match="Another process"):
        ingest_file(shop, file)
    assert ingest_file(shop, file).accepted == 5


_CELL = st.one_of(
    st.sampled_from(["1", "2", "", "2024-01-05", "31/12/2023", "-3", "4.50", "£5", "x", "NaN"]),
    st.text(max_size=6),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(_CELL, min_size=1, max_size=5), min_size=1, max_size=8), st.booleans())
def test_every_row_is_accounted_for(rows: list[list[str]], quoted: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop.create(Path(folder) / "shop", ShopSettings())
        file = Path(folder) / "log.csv"
        with file.open("w", newline="", encoding="utf-8", errors="replace") as stream:
            style = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
            writer = csv.writer(stream, quoting=style)
            writer.writerow(["customer", "date", "qty", "amount"])
            writer.writerow(["1", "2024-01-05", "1", "5"])
            writer.writerows(rows)
        first = ingest_file(shop, file, max_bad_share=1)
        assert first.read == first.accepted + first.quarantined + first.duplicates
        assert first.accepted == shop.log.totals()["events"]
        spend = shop.log.query("SELECT min(amount) AS low FROM events WHERE kind = 'purchase'")
        assert spend.to_pylist()[0]["low"] >= 0
        second = ingest_file(shop, file, max_bad_share=1)
        assert (second.accepted, second.duplicates) == (0, first.accepted)
        assert second.quarantined == first.quarantined


_KILLED = """
import os, signal, sys
from pathlib import Path
import retrieval.ingest
from retrieval.catalogue import Catalogue
from retrieval.event_log import EventLog
from retrieval.shop import Shop

owners = {
    "write_quarantine": retrieval.ingest, "write": Catalogue, "append": EventLog,
}
directory, file, name, when = sys.argv[1:]
real = getattr(owners[name], name)

def die(*args, **kwargs):
    if when == "after":
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owners[name], name, die)
retrieval.ingest.ingest_file(Shop.open(directory), Path(file), max_bad_share=1)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["write_quarantine", "write", "append"])
def test_killed_at_any_moment_and_run_again_ends_the_same(
    shop: Shop, tmp_path: Path, name: str, when: str
) -> None:
    file = _write(tmp_path, _DIRTY)
    undisturbed = Shop.create(tmp_path / "undisturbed", shop.settings)
    ingest_file(undisturbed, file, max_bad_share=1)
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(shop.directory), str(file), name, when],
        cwd=_ROOT,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    report = ingest_file(shop, file, max_bad_share=1)
    assert report.accepted + report.duplicates == 2
    assert _state(shop) == _state(undisturbed)


def _event(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "customer_id": "1",
        "timestamp": datetime(2024, 1, 5, 10, tzinfo=UTC),
        "order_id": "100",
        "item_id": "mug",
        "quantity": 2.0,
        "amount": 510,
    }
    return Event(**(values | changes))


def test_an_observed_event_is_stored_once(shop: Shop) -> None:
    assert append_event(shop, _event())
    assert not append_event(shop, _event())
    assert append_event(shop, _event(quantity=3.0))
    assert {event["source"] for event in _events(shop)} == {"observe"}


def test_an_observed_event_is_the_ingested_row(shop: Shop, tmp_path: Path) -> None:
    ingest_file(shop, _write(tmp_path, _HEADER + _GOOD))
    assert not append_event(shop, _event())


def test_an_observed_return_is_no_spend(shop: Shop) -> None:
    append_event(shop, _event(kind=Kind.RETURN))
    assert (_events(shop)[0]["amount"], shop.log.totals()["spend"]) == (-510, 0)


def test_an_observed_message_needs_no_order_and_item(shop: Shop) -> None:
    append_event(shop, _event(kind=Kind.MESSAGE, order_id="", item_id="", amount=0))
    assert (_events(shop)[0]["order_id"], _events(shop)[0]["item_id"]) == ("1-20240105", "unknown")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"customer_id": " "}, "customer_id"),
        ({"item_id": "a\x1fb"}, "item_id"),
        ({"order_id": "x" * 201}, "order_id"),
        ({"timestamp": datetime(2024, 1, 5)}, "timestamp"),
        ({"timestamp": datetime(2999, 1, 5, tzinfo=UTC)}, "timestamp"),
        ({"quantity": float("nan")}, "quantity"),
        ({"amount": 10**14}, "amount"),
        ({"amount": 5, "kind": Kind.VIEW}, "amount"),
    ],
)
def test_a_bad_observed_event_names_its_field(
    shop: Shop, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(IngestError, match=field):
        append_event(shop, _event(**changes))
    assert shop.log.version() == -1
