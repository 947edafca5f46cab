import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.resources import Resources
from finetune import adapter as adapters
from finetune.adapter import (
    MANIFEST_FILE,
    PRIOR_FILE,
    WEIGHTS_FILE,
    current_adapter,
    current_id,
    install_adapter,
    make_current,
)
from finetune.errors import AdapterError
from finetune.promotions import PROMOTIONS_FILE, Why, read_promotions
from finetune.registry import LISTED_METRICS, list_adapters, promote, roll_back
from retrieval.shop import Shop


def _another(shop: Shop, name: str, **changes: Any) -> str:
    """A copy of the shop's adapter under another name."""
    folder = shutil.copytree(current_adapter(shop), shop.adapters / name)
    file = folder / MANIFEST_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"adapter_id": name} | changes))
    return name


@pytest.fixture
def first(shop: Shop) -> str:
    """The shop's own adapter, beside which stand b and c."""
    for name in ("patron-b", "patron-c"):
        _another(shop, name)
    return current_adapter(shop).name


def _whys(shop: Shop) -> list[tuple[str, str]]:
    lines = (shop.adapters / PROMOTIONS_FILE).read_text().splitlines()
    return [(document["id"], document["why"]) for document in map(json.loads, lines)]


def test_every_adapter_is_listed_the_current_one_first(shop: Shop, first: str) -> None:
    promote(shop, "patron-c")
    (shop.adapters / "patron-b" / MANIFEST_FILE).write_text("{}")
    (shop.adapters / ".training-0").mkdir()
    listed = list_adapters(shop)
    assert [(a.adapter_id, a.current, a.why) for a in listed] == [
        ("patron-c", True, Why.PROMOTED),
        (first, False, Why.FINE_TUNED),
        ("patron-b", False, None),
    ]
    newest, trained, damaged = listed
    assert newest.made_current is not None
    assert trained.made_current is not None
    assert datetime.now(UTC) - newest.made_current < timedelta(minutes=5)
    assert trained.made_current < newest.made_current
    assert newest.train_cutoff == "2024-07-01T00:00:00+00:00"
    metrics = json.loads((current_adapter(shop) / MANIFEST_FILE).read_text())["metrics"]
    assert newest.metrics == {name: metrics[name] for name in LISTED_METRICS}
    assert set(newest.metrics) == {"churn_auc", "brier", "spearman"}
    assert damaged.made_current is damaged.train_cutoff is None
    assert "missing or damaged" in str(damaged.damage)
    documents = [adapter.to_json() for adapter in listed]
    assert json.loads(json.dumps(documents)) == documents


def test_a_shop_without_adapters_lists_none(shop: Shop) -> None:
    shutil.rmtree(shop.adapters)
    assert list_adapters(shop) == []


def test_each_way_of_becoming_current_is_recorded(shop: Shop, first: str, tmp_path: Path) -> None:
    source = shutil.copytree(shop.adapters / "patron-b", tmp_path / "source")
    assert promote(shop, "patron-c") == first
    install_adapter(shop, source)
    assert roll_back(shop) == "patron-c"
    assert _whys(shop) == [
        (first, "fine-tuned"),
        ("patron-c", "promoted"),
        ("patron-b", "installed"),
        ("patron-c", "rolled back"),
    ]
    for line in (shop.adapters / PROMOTIONS_FILE).read_text().splitlines():
        assert datetime.fromisoformat(json.loads(line)["moment"]).utcoffset() == timedelta(0)


def test_what_is_current_already_is_not_recorded_again(shop: Shop, first: str) -> None:
    assert promote(shop, first) == first
    assert _whys(shop) == [(first, "fine-tuned")]


def test_rolling_back_twice_goes_back_one_further(shop: Shop, first: str) -> None:
    promote(shop, "patron-b")
    promote(shop, "patron-c")
    assert roll_back(shop) == "patron-b" == current_id(shop)
    assert roll_back(shop) == first == current_id(shop)
    with pytest.raises(AdapterError, match="nothing to go back to") as caught:
        roll_back(shop)
    assert "patron adapters list" in caught.value.hint
    assert current_id(shop) == first


def test_what_was_rolled_back_is_not_gone_back_to(shop: Shop, first: str) -> None:
    promote(shop, "patron-b")
    roll_back(shop)
    promote(shop, "patron-c")
    assert roll_back(shop) == first


def test_an_adapter_may_be_current_more_than_once(shop: Shop, first: str) -> None:
    promote(shop, "patron-b")
    promote(shop, first)
    assert roll_back(shop) == "patron-b"
    assert roll_back(shop) == first
    with pytest.raises(AdapterError, match="nothing to go back to"):
        roll_back(shop)


def test_a_shop_from_before_there_was_a_record(shop: Shop, first: str) -> None:
    (shop.adapters / PROMOTIONS_FILE).unlink()
    assert list_adapters(shop)[0].made_current is None
    promote(shop, "patron-b")
    assert roll_back(shop) == first


def test_a_pointer_moved_by_hand_is_gone_back_from(shop: Shop, first: str) -> None:
    (shop.adapters / "current").write_text("patron-b\n")
    promote(shop, "patron-c")
    assert roll_back(shop) == "patron-b"


def test_without_a_current_adapter_nothing_is_rolled_back(shop: Shop) -> None:
    (shop.adapters / "current").unlink()
    with pytest.raises(AdapterError, match="no current adapter") as caught:
        roll_back(shop)
    assert "patron finetune" in caught.value.hint


def test_a_move_that_a_crash_prevented_does_not_count(
    shop: Shop, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    promote(shop, "patron-b")
    for move in (lambda: promote(shop, "patron-c"), lambda: roll_back(shop)):
        with monkeypatch.context() as patched:
            patched.setattr(adapters, "write_atomically", crash)
            with pytest.raises(KeyboardInterrupt):
                move()
        assert current_id(shop) == "patron-b"
    moves = read_promotions(shop.adapters, "patron-b")
    assert [move.adapter_id for move in moves] == [first, "patron-b"]
    assert not [a for a in list_adapters(shop) if a.adapter_id == "patron-c" and a.made_current]
    assert roll_back(shop) == first


def test_a_line_that_a_crash_cut_does_no_harm(shop: Shop, first: str) -> None:
    with (shop.adapters / PROMOTIONS_FILE).open("a") as stream:
        stream.write('{"id": "patron-c", "befo')
    promote(shop, "patron-b")
    assert roll_back(shop) == first
    assert [p.why for p in read_promotions(shop.adapters, first)] == [
        Why.FINE_TUNED, Why.PROMOTED, Why.ROLLED_BACK,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: _set(folder, horizon_days=61), "another horizon"),
        (lambda folder: _set(folder, base_sha256="0" * 64), "another base model"),
        (lambda folder: _set(folder, label_ids=[1, 2, 3, 4, 5]), "another label tokens"),
        (lambda folder: _set(folder, prompt_sha256={}), "another prompts"),
        (lambda folder: (folder / WEIGHTS_FILE).unlink(), "cannot be used"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"cut"), "cannot be used"),
        (lambda folder: (folder / PRIOR_FILE).write_text("{"), "prior.json cannot be used"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), "missing or damaged"),
        (shutil.rmtree, "There is no adapter 'patron-b'"),
    ],
)
def test_what_could_not_be_loaded_is_refused_and_the_current_one_stays(
    shop: Shop, first: str, damage: Callable[[Path], object], why: str
) -> None:
    damage(shop.adapters / "patron-b")
    with pytest.raises(AdapterError, match=why) as caught:
        promote(shop, "patron-b")
    assert "patron adapters list" in caught.value.hint
    assert current_id(shop) == first
    # Nor is it gone back to.
    make_current(shop, "patron-b")
    make_current(shop, "patron-c")
    with pytest.raises(AdapterError, match=why):
        roll_back(shop)
    assert current_id(shop) == "patron-c"


def _set(folder: Path, **changes: object) -> None:
    file = folder / MANIFEST_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("name", ["nobody", "..", "", ".", "../adapters/patron-b", "current"])
def test_only_a_listed_name_is_promoted(shop: Shop, first: str, name: str) -> None:
    with pytest.raises(AdapterError, match="There is no adapter"):
        promote(shop, name)
    assert current_id(shop) == first


def test_a_running_agent_takes_up_the_new_adapter(shop: Shop, first: str) -> None:
    resources = Resources(shop)
    before = resources.predictor()
    assert before.manifest.adapter_id == first
    assert resources.predictor() is before
    promote(Shop.open(shop.directory), "patron-b")
    assert resources.predictor().manifest.adapter_id == "patron-b"
    roll_back(Shop.open(shop.directory))
    assert resources.predictor().manifest.adapter_id == first
