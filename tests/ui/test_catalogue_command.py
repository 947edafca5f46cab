"""`patron catalogue` as a person types it, run in this process."""

import json
from pathlib import Path

import pytest

from retrieval.catalogue import Catalogue, Item
from retrieval.shop import Shop, ShopSettings
from tests.ui.test_cli import Run

_TEXT = "SKU,Name,Preis,Unit Cost,Inventory\nmug,Red mug,$4.99,2.10,12\ntea,Green tea,3.49,,0\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an empty shop and a catalogue file."""
    Shop.create(tmp_path / "shop", ShopSettings())
    (tmp_path / "items.csv").write_text(_TEXT)
    return tmp_path


def _run(run: Run, folder: Path, *arguments: object) -> tuple[int, str, str]:
    return run("catalogue", folder / "items.csv", "--shop", folder / "shop", *arguments)


def test_it_explains_itself(run: Run) -> None:
    code, out, _ = run("catalogue", "--help")
    assert code == 0
    for word in ("--shop", "--map", "--max-bad", "--json", "FILE"):
        assert word in out


def test_a_catalogue_is_merged(run: Run, folder: Path) -> None:
    code, out, _ = _run(run, folder, "--map", "price=Preis", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["read"], report["accepted"], report["quarantined"], report["duplicates"]) == (
        2, 2, 0, 0,
    )  # fmt: skip
    (file,) = report["files"]
    assert (file["added"], file["changed"], file["quarantine_file"]) == (2, 0, None)
    assert file["mapping"]["price"] == "Preis"
    assert "price" not in file["guessed"]
    assert Catalogue.read(Shop.open(folder / "shop").items_file).items == {
        "mug": Item(item_id="mug", title="Red mug", category="", price=499, cost=210, stock=12),
        "tea": Item(item_id="tea", title="Green tea", category="", price=349, cost=None, stock=0),
    }


def test_people_see_what_was_guessed_rejected_and_left(run: Run, folder: Path) -> None:
    file = folder / "[b]i.csv"
    file.write_text(_TEXT + "pot,Pot,1,1,-2\n")
    code, out, _ = run("catalogue", file, "--shop", folder / "shop", "--max-bad", 0.5)
    assert code == 0
    said = " ".join(out.split())
    assert "│ [b]i.csv │ 3 │ 2 │ 1 │ 0 │ 2 │ 0 │" in said
    assert "[b]i.csv: item_id = SKU, title = Name, cost = Unit Cost" in said
    assert "(guessed: item_id, title, cost, stock)" in said
    assert "Columns not used: Preis." in said
    assert "run patron catalogue on that file" in said
    assert "patron index --shop" in said


def test_ingest_shows_a_file_name_in_brackets_too(run: Run, folder: Path) -> None:
    file = folder / "[red]log.csv"
    file.write_text("customer,date,amount\n1,2024-01-05,5\n")
    code, out, _ = run("ingest", file, "--shop", folder / "shop")
    assert code == 0
    assert "│ [red]log.csv" in out


def test_too_many_bad_rows_are_an_error(run: Run, folder: Path) -> None:
    (folder / "items.csv").write_text(_TEXT + "pot,Pot,1,1,-2\n")
    code, out, err = _run(run, folder, "--json")
    error = json.loads(err)["error"]
    assert (code, out, error["code"]) == (2, "", "ingest_error")
    assert "items.csv: 1 of 3 rows are bad" in error["message"]
    assert "--max-bad" in error["hint"]
    assert not (folder / "shop" / "items.parquet").exists()


def test_a_map_that_is_no_map(run: Run, folder: Path) -> None:
    code, _, err = _run(run, folder, "--map", "price")
    assert code == 2
    assert "--map price" in err
    assert "item_id=SKU" in err


def test_a_target_of_a_log_is_none_of_a_catalogue(run: Run, folder: Path) -> None:
    code, _, err = _run(run, folder, "--map", "amount=Preis")
    assert code == 2
    assert "item_id, title, category, price, cost, stock" in err.replace("\n", " ")


def test_no_shop_is_one_clear_sentence(run: Run, folder: Path) -> None:
    code, _, err = run("catalogue", folder / "items.csv", "--shop", folder / "none", "--json")
    assert code == 2
    assert "patron init" in json.loads(err)["error"]["hint"]


def test_an_item_that_sold_out_is_not_recommended(run: Run, shop: Shop) -> None:
    recommend = ("recommend", "c04", "--shop", shop.directory, "--no-offer", "--json")
    before = {item["item_id"] for item in json.loads(run(*recommend)[1])["items"]}
    assert "milk" in before
    file = shop.directory / "stock.csv"
    file.write_text("sku,stock\nmilk,0\ncoffee,3\n")
    assert run("catalogue", file, "--shop", shop.directory)[0] == 0
    after = {item["item_id"] for item in json.loads(run(*recommend)[1])["items"]}
    assert "milk" not in after
    assert "coffee" in after
