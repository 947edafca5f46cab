"""`patron score` and `patron adapters` as a person types them, run in this process."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from finetune.adapter import current_adapter, make_current
from retrieval.money import format_money, to_minor
from retrieval.shop import Shop
from tests.tiny_shop import CUSTOMERS
from tests.ui.test_cli import Run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


@pytest.mark.parametrize("command", ["list", "promote", "rollback"])
def test_the_adapter_commands_explain_themselves(run: Run, command: str) -> None:
    assert command in run("adapters", "--help")[1]
    code, out, _ = run("adapters", command, "--help")
    assert code == 0
    assert "--shop" in out


def test_score_writes_every_customer(run: Run, shop: Shop, tmp_path: Path) -> None:
    out_file = tmp_path / "all.parquet"
    code, out, err = run("score", "--shop", shop.directory, "--out", out_file, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["customers"], document["continued"]) == (CUSTOMERS, 0)
    assert document["file"] == str(out_file)
    assert document["adapter_id"] == current_adapter(shop).name
    assert set(document["stages"]) == {"lapsed", "new", "won back", "at risk", "loyal", "active"}
    assert sum(document["tiers"].values()) == sum(document["stages"].values()) == CUSTOMERS
    table = pq.read_table(out_file)
    assert table.num_rows == CUSTOMERS
    assert document["expected_spend"] == float(sum(table["expected_spend"].to_pylist()))
    assert not (shop.directory / "predictions.parquet").exists()


def test_people_see_counts_and_the_expected_spend(run: Run, shop: Shop) -> None:
    code, out, _ = run("score", "--shop", shop.directory)
    said = " ".join(out.split())
    table = pq.read_table(shop.directory / "predictions.parquet")
    assert code == 0
    assert f"{CUSTOMERS} customers with an order, {CUSTOMERS} rows in" in said
    for column in ("value_tier", "stage"):
        values = table[column].to_pylist()
        for name in set(values):
            share = values.count(name) / CUSTOMERS
            assert f"│ {name} │ {values.count(name)} │ {share:.1%} │" in said
    total = to_minor(sum(table["expected_spend"].to_pylist()), "USD")
    assert f"Expected spend of all: {format_money(total, 'USD')} over 60 days (80% between" in said
    assert "season unknown: the log holds only" in said


def test_what_score_needs_is_said(run: Run, shop: Shop, tmp_path: Path) -> None:
    code, _, err = run("score", "--shop", tmp_path / "none", "--json")
    assert (code, json.loads(err)["error"]["code"]) == (2, "shop_error")
    code, _, err = run("score", "--shop", shop.directory, "--out", tmp_path, "--json")
    assert (code, json.loads(err)["error"]["code"]) == (2, "storage_error")
    shutil.rmtree(current_adapter(shop))
    code, _, err = run("score", "--shop", shop.directory, "--json")
    assert (code, json.loads(err)["error"]["code"]) == (2, "adapter_error")


def _another(shop: Shop) -> tuple[str, str]:
    """The shop's adapter, and a copy of it by another name."""
    first = current_adapter(shop)
    shutil.copytree(first, shop.adapters / "patron-b")
    return first.name, "patron-b"


def test_adapters_are_listed(run: Run, shop: Shop) -> None:
    first, other = _another(shop)
    code, out, _ = run("adapters", "list", "--shop", shop.directory, "--json")
    document = json.loads(out)
    listed = document["adapters"]
    assert (code, document["answers"]) == (0, first)
    assert [(a["adapter_id"], a["current"], a["why"]) for a in listed] == [
        (first, True, "fine-tuned"),
        (other, False, None),
    ]
    assert listed[0]["train_cutoff"].startswith("2024-07-01")
    assert set(listed[0]["metrics"]) == {"churn_auc", "brier", "spearman"}
    code, out, _ = run("adapters", "list", "--shop", shop.directory)
    assert code == 0
    for word in (first[:8], other, "current", "fine-tuned", "Brier", "Spearman"):
        assert word in out
    shutil.rmtree(shop.adapters)
    code, out, _ = run("adapters", "list", "--shop", shop.directory)
    assert code == 0
    assert "patron finetune" in out
    assert "patron-base" in out


def test_an_adapter_is_promoted_and_rolled_back(run: Run, shop: Shop) -> None:
    first, other = _another(shop)
    code, out, _ = run("adapters", "promote", other, "--shop", shop.directory)
    assert (code, out) == (0, f"{other} is current now, after {first}.\n")
    assert current_adapter(shop).name == other
    code, out, _ = run("adapters", "promote", other, "--shop", shop.directory)
    assert (code, out) == (0, f"{other} was current already.\n")
    code, out, _ = run("adapters", "rollback", "--shop", shop.directory)
    assert (code, out) == (0, f"{first} is current again.\n")
    assert current_adapter(shop).name == first
    code, _, err = run("adapters", "rollback", "--shop", shop.directory)
    assert code == 2
    assert "nothing to go back to" in " ".join(err.split())


def test_an_adapter_that_does_not_fit_is_refused_with_the_reason(run: Run, shop: Shop) -> None:
    first, other = _another(shop)
    file = shop.adapters / other / "manifest.json"
    file.write_text(file.read_text().replace('"horizon_days": 60', '"horizon_days": 90'))
    code, _, err = run("adapters", "promote", other, "--shop", shop.directory)
    assert code == 2
    assert "was trained with another horizon" in " ".join(err.split())
    assert current_adapter(shop).name == first
    make_current(shop, other)
    code, out, _ = run("adapters", "rollback", "--shop", shop.directory)
    assert (code, out) == (0, f"{first} is current again.\n")
