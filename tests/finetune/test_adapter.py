import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.agent import Agent
from finetune.adapter import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    LoraSettings,
    add_lora,
    current_adapter,
    install_adapter,
    load_lora,
    lora_state,
    make_current,
    read_manifest,
    shipped_adapters,
    trainable,
    weights_bytes,
)
from finetune.base_model import find_base_model
from finetune.errors import AdapterError
from finetune.lora_predictor import LoraPredictor
from retrieval.shop import Shop, ShopSettings
from tests.finetune.hand_made import model_and_slots
from tests.tiny_model import build_tiny_model
from tests.tiny_shop import LORA


def _load(shop: Shop, settings: ShopSettings | None = None) -> LoraPredictor:
    files = find_base_model(shop.settings.models.base)
    return LoraPredictor.load(current_adapter(shop), files, settings or shop.settings)


def _edit_manifest(shop: Shop, change: Callable[[dict[str, Any]], object]) -> None:
    file = current_adapter(shop) / MANIFEST_FILE
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda document: document.update(base_sha256="0" * 64), "base model"),
        (lambda document: document["prompt_sha256"].update(predict="0" * 64), "prompts"),
        (lambda document: document["prompt_sha256"].update(history="0" * 64), "prompts"),
        (lambda document: document["label_ids"].reverse(), "label tokens"),
        (lambda document: document.update(churn_definition="decline"), "churn definition"),
        (lambda document: document.update(horizon_days=61), "horizon"),
        (lambda document: document.update(history_tokens=511), "history token budget"),
    ],
)
def test_an_adapter_trained_for_something_else_is_refused(
    shop: Shop, change: Callable[[dict[str, Any]], object], what: str
) -> None:
    assert _load(shop).manifest.adapter_id == current_adapter(shop).name
    _edit_manifest(shop, change)
    with pytest.raises(AdapterError, match=f"was trained with another {what}\\.") as caught:
        _load(shop)
    assert "patron finetune" in caught.value.hint


def test_another_base_model_is_refused(shop: Shop, tmp_path: Path) -> None:
    other = find_base_model(str(build_tiny_model(tmp_path / "other", seed=1)))
    with pytest.raises(AdapterError, match="another base model"):
        LoraPredictor.load(current_adapter(shop), other, shop.settings)


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ({"churn": {"definition": "decline", "horizon_days": 60}}, "churn definition"),
        ({"churn": {"definition": "inactive", "horizon_days": 30}}, "horizon"),
    ],
)
def test_a_shop_that_was_changed_since_is_refused(
    shop: Shop, section: dict[str, Any], what: str
) -> None:
    changed = ShopSettings.model_validate(shop.settings.model_dump() | section)
    with pytest.raises(AdapterError, match=f"another {what}"):
        _load(shop, changed)


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _garble(file: Path) -> None:
    file.write_bytes(b"\x00\xff not what it was" * 20)


@pytest.mark.parametrize("damage", [_truncate, _garble, Path.unlink])
@pytest.mark.parametrize("name", [WEIGHTS_FILE, MANIFEST_FILE])
def test_a_damaged_adapter_is_named_with_a_hint(
    shop: Shop, damage: Callable[[Path], object], name: str
) -> None:
    damage(current_adapter(shop) / name)
    with pytest.raises(AdapterError, match=name) as caught:
        _load(shop)
    assert "patron finetune" in caught.value.hint


@pytest.mark.parametrize("text", ["[]", "{}", "null", '"text"'])
def test_a_manifest_of_another_shape_is_damaged(shop: Shop, text: str) -> None:
    folder = current_adapter(shop)
    (folder / MANIFEST_FILE).write_text(text)
    with pytest.raises(AdapterError, match="missing or damaged"):
        read_manifest(folder)


@pytest.mark.parametrize("lora", [{"rank": 8, "layers": 2}, {"rank": 4, "layers": 1}])
def test_weights_of_another_shape_are_refused(shop: Shop, lora: dict[str, int]) -> None:
    _edit_manifest(shop, lambda document: document.update(lora=lora))
    with pytest.raises(AdapterError, match=WEIGHTS_FILE):
        _load(shop)


def test_a_shop_without_a_current_adapter_says_how_to_train_one(shop: Shop) -> None:
    pointer = shop.adapters / "current"
    make_current(shop, "patron-gone")
    with pytest.raises(AdapterError, match="is gone") as gone:
        current_adapter(shop)
    pointer.unlink()
    with pytest.raises(AdapterError, match="no trained adapter yet") as missing:
        current_adapter(shop)
    for caught in (gone, missing):
        assert caught.value.hint == f"Train one: patron finetune --shop {shop.directory}"


def _content(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_an_adapter_can_be_installed_again_and_again(shop: Shop, tmp_path: Path) -> None:
    source = shutil.copytree(current_adapter(shop), tmp_path / "source")
    shutil.rmtree(shop.adapters)
    manifest = install_adapter(shop, source)
    first = _content(shop.adapters)
    promotions = first.pop("promotions.jsonl")
    assert b'"installed"' in promotions
    assert first == {
        **{f"{manifest.adapter_id}/{name}": data for name, data in _content(source).items()},
        "current": f"{manifest.adapter_id}\n".encode(),
    }
    assert install_adapter(shop, source) == manifest
    assert _content(shop.adapters) == {**first, "promotions.jsonl": promotions}
    assert _load(shop).manifest == manifest


def test_an_adapter_is_installed_whole_or_not_at_all(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(current_adapter(shop), tmp_path / "source")
    name = read_manifest(source).adapter_id
    shutil.rmtree(shop.adapters / name)
    make_current(shop, "the-one-before")
    copy = shutil.copytree

    def half(origin: Path, target: Path) -> None:
        copy(origin, target)
        (target / WEIGHTS_FILE).unlink()
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", half)
        with pytest.raises(OSError, match="No space"):
            install_adapter(shop, source)
    assert not (shop.adapters / name).exists()
    assert (shop.adapters / "current").read_text() == "the-one-before\n"
    # What the interrupted copy left behind does no harm.
    install_adapter(shop, source)
    assert _content(shop.adapters / name) == _content(source)
    assert current_adapter(shop).name == name
    assert sorted(file.name for file in shop.adapters.iterdir()) == sorted(
        ["current", "promotions.jsonl", name]
    )


def test_a_saved_adapter_gives_the_same_logits_when_loaded(
    tiny_model: Path, tmp_path: Path
) -> None:
    model, _ = model_and_slots(tiny_model)
    wrapped = add_lora(model, LORA)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in trainable(wrapped).values():
            parameter.copy_((torch.randn_like(parameter) * 0.1).half())
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(lora_state(trainable(wrapped))))
    fresh, _ = model_and_slots(tiny_model)
    prompt = torch.tensor([[5, 9, 33, 12, 80, 41]])
    with torch.inference_mode():
        plain = fresh(input_ids=prompt).logits
        expected = wrapped.eval()(input_ids=prompt).logits
        loaded = load_lora(fresh, tmp_path, LORA)(input_ids=prompt).logits
    assert torch.equal(loaded, expected)
    assert (loaded - plain).abs().max() > 0.1


def test_lora_goes_on_the_uppermost_layers(tiny_model: Path) -> None:
    model, _ = model_and_slots(tiny_model)
    names = trainable(add_lora(model, LoraSettings(rank=2, layers=3)))
    assert {name.split("layers.")[1].split(".")[0] for name in names} == {"1", "2", "3"}
    assert {parameter.shape[0] for name, parameter in names.items() if "lora_A" in name} == {2}


def test_layers_above_those_that_are_read_are_left_out(tiny_model: Path) -> None:
    model, _ = model_and_slots(tiny_model)
    wrapped = add_lora(model, LoraSettings(rank=2, base_layers=3, layers=2))
    assert len(wrapped.get_base_model().get_decoder().layers) == 3
    assert {name.split("layers.")[1].split(".")[0] for name in trainable(wrapped)} == {"1", "2"}


def test_an_adapter_made_before_reads_the_whole_base_model(shop: Shop) -> None:
    _edit_manifest(shop, lambda document: document["lora"].pop("base_layers"))
    assert read_manifest(current_adapter(shop)).lora.base_layers is None


def test_a_manifest_keeps_its_spend_interval(shop: Shop) -> None:
    manifest = read_manifest(current_adapter(shop))
    assert manifest.spend_interval is not None
    assert manifest.spend_interval.coverage == 0.8
    assert manifest.spend_interval.groups[-1].up_to is None
    assert manifest.spend_interval.seasons.backcasts


def test_adapters_made_before_intervals_load_and_answer_without_one(shop: Shop) -> None:
    for folder in shipped_adapters():
        read_manifest(folder)
    _edit_manifest(shop, lambda document: document.pop("spend_interval"))
    assert _load(shop).manifest.spend_interval is None
    prediction = Agent.open(shop.directory).predict("c04")
    assert prediction.expected_spend > 0
    assert (prediction.expected_spend_low, prediction.season) == (None, None)
    assert prediction.to_json()["expected_spend_high"] is None
