import json
import shutil
from pathlib import Path

import pytest

from finetune.adapter import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    current_adapter,
    make_current,
)
from finetune.errors import AdapterError
from finetune.promotions import PROMOTIONS_FILE, Why, read_promotions
from finetune.registry import list_adapters, promote, roll_back
from retrieval.shop import Shop


@pytest.fixture
def names(shop: Shop) -> list[str]:
    """The shop's adapter, and two more of the same weights under other names."""
    first = current_adapter(shop)
    copies = [shutil.copytree(first, shop.adapters / f"patron-copy{number}") for number in (1, 2)]
    return [first.name, *(copy.name for copy in copies)]


def _now(shop: Shop) -> str:
    return current_adapter(shop).name


def test_the_list_tells_which_is_current_and_since_when(shop: Shop, names: list[str]) -> None:
    promote(shop, names[1])
    first, *others = list_adapters(shop)
    assert (first.adapter_id, first.current, first.why) == (names[1], True, Why.PROMOTED)
    assert first.made_current is not None
    assert first.metrics["churn_auc"] is not None
    assert {other.adapter_id for other in others} == {names[0], names[2]}
    assert not any(other.current for other in others)
    assert json.loads(json.dumps(first.to_json()))["why"] == "promoted"


def test_a_damaged_adapter_is_listed_with_what_is_wrong(shop: Shop, names: list[str]) -> None:
    (shop.adapters / names[2] / MANIFEST_FILE).write_text("{}")
    damaged = {adapter.adapter_id: adapter.damage for adapter in list_adapters(shop)}
    assert "manifest.json is missing or damaged" in (damaged[names[2]] or "")
    assert damaged[names[0]] is None


def test_rolling_back_twice_goes_back_two(shop: Shop, names: list[str]) -> None:
    assert promote(shop, names[1]) == names[0]
    assert promote(shop, names[2]) == names[1]
    assert roll_back(shop) == _now(shop) == names[1]
    assert roll_back(shop) == _now(shop) == names[0]
    with pytest.raises(AdapterError, match="nothing to go back to"):
        roll_back(shop)
    assert _now(shop) == names[0]


def test_after_a_roll_back_a_promotion_begins_a_new_way(shop: Shop, names: list[str]) -> None:
    promote(shop, names[1])
    roll_back(shop)
    promote(shop, names[2])
    assert roll_back(shop) == names[0]


def test_promoting_the_current_one_changes_nothing(shop: Shop, names: list[str]) -> None:
    promote(shop, names[1])
    assert promote(shop, names[1]) == names[1]
    assert roll_back(shop) == names[0]


def _without_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()


def _for_another_horizon(folder: Path) -> None:
    document = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps({**document, "horizon_days": 9}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(_without_weights, "cannot be used"), (_for_another_horizon, "another horizon")],
)
def test_what_could_not_be_loaded_is_not_promoted(
    shop: Shop, names: list[str], spoil: object, message: str
) -> None:
    assert callable(spoil)
    spoil(shop.adapters / names[1])
    with pytest.raises(AdapterError, match=message) as caught:
        promote(shop, names[1])
    assert "patron adapters list" in caught.value.hint
    assert _now(shop) == names[0]


def test_an_unknown_or_outside_name_is_refused(shop: Shop, names: list[str]) -> None:
    for name in ("patron-none", "../adapters", ""):
        with pytest.raises(AdapterError, match="no adapter"):
            promote(shop, name)
    assert _now(shop) == names[0]


def test_a_move_that_a_crash_prevented_does_not_count(shop: Shop, names: list[str]) -> None:
    promote(shop, names[1])
    file = shop.adapters / PROMOTIONS_FILE
    line = {"id": names[2], "before": names[1], "moment": "2026-01-01T00:00:00+00:00"}
    file.write_text(file.read_text() + json.dumps({**line, "why": "promoted"}) + "\n{cut")
    moves = read_promotions(shop.adapters, names[1])
    assert [move.adapter_id for move in moves][-1] == names[1]
    make_current(shop, names[2])
    assert roll_back(shop) == names[1]
