"""`patron score` and `patron adapters` as a person types them, run in this process."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from finetune.adapter import current_adapter
from retrieval.shop import Shop
from tests.tiny_shop import CUSTOMERS
from tests.ui.test_cli import Run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def test_score_writes_everybody_and_says_so(run: Run, shop: Shop) -> None:
    code, out, _ = run("score", "--shop", shop.directory)
    assert code == 0
    assert f"{CUSTOMERS} customers with an order, {CUSTOMERS} rows in" in out
    assert "Expected spend of all: $" in out
    for word in ("low", "high", "lapsed"):
        assert word in out
    assert pq.read_metadata(shop.directory / "predictions.parquet").num_rows == CUSTOMERS


def test_score_in_json(run: Run, shop: Shop) -> None:
    code, out, _ = run("score", "--shop", shop.directory, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["customers"] == CUSTOMERS == sum(document["tiers"].values())


def test_adapters_are_listed_promoted_and_rolled_back(run: Run, shop: Shop) -> None:
    first = current_adapter(shop).name
    shutil.copytree(shop.adapters / first, shop.adapters / "patron-other")
    code, out, _ = run("adapters", "promote", "patron-other", "--shop", shop.directory)
    assert code == 0
    assert f"patron-other is current now, after {first}." in out
    code, out, _ = run("adapters", "list", "--shop", shop.directory, "--json")
    assert code == 0
    assert [a["adapter_id"] for a in json.loads(out)["adapters"]] == ["patron-other", first]
    code, out, _ = run("adapters", "list", "--shop", shop.directory)
    assert "patron-other" in out
    assert "current" in out
    code, out, _ = run("adapters", "rollback", "--shop", shop.directory)
    assert (code, current_adapter(shop).name) == (0, first)
    assert f"{first} is current again." in out


def test_an_unknown_adapter_ends_in_one_sentence(run: Run, shop: Shop) -> None:
    code, _, err = run("adapters", "promote", "patron-none", "--shop", shop.directory)
    assert code == 2
    assert "There is no adapter 'patron-none'" in " ".join(err.split())


def test_weights_are_kept_when_asked(run: Run, shop: Shop) -> None:
    first = current_adapter(shop).name
    code, out, _ = run("finetune", "--keep-weights", "--shop", shop.directory)
    assert code == 0
    assert f"Adapter {first}" in out
