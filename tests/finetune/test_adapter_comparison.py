from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.adapter import (
    LoraSettings,
    add_lora,
    begin_from,
    current_adapter,
    lora_state,
    read_weights,
    trainable,
)
from finetune.adapter_comparison import logits_of_adapters
from finetune.base_model import find_base_model, load_base_model, token_counter, token_ids
from finetune.errors import AdapterError
from finetune.lora_predictor import Logits, LoraPredictor
from finetune.slots import build_slots, encode_prompt
from retrieval.catalogue import Catalogue
from retrieval.history import render_history
from retrieval.orders import read_pasts
from retrieval.shop import Shop
from retrieval.time_split import present
from tests.finetune.hand_made import examples, model_and_slots

SHAPES = {
    "one layer": LoraSettings(rank=4, layers=1),
    "two layers": LoraSettings(rank=4, layers=2),
    "two others": LoraSettings(rank=2, layers=2),
    "the third of three": LoraSettings(rank=2, base_layers=3, layers=1),
}


def _state(folder: Path, lora: LoraSettings, seed: int) -> dict[str, torch.Tensor]:
    """Weights that change much, which fresh ones would not."""
    torch.manual_seed(seed)
    adapter = trainable(add_lora(model_and_slots(folder)[0], lora))
    return lora_state({name: torch.randn_like(value) * 0.3 for name, value in adapter.items()})


@torch.inference_mode()
def _plain(
    folder: Path, state: dict[str, torch.Tensor], lora: LoraSettings, prompts: list[tuple[int, ...]]
) -> Logits:
    """One prompt after the other through peft, adapter unmerged."""
    model, slots = model_and_slots(folder)
    wrapped = add_lora(model, lora).eval()
    begin_from(trainable(wrapped), state)
    logits = [wrapped(input_ids=torch.tensor([prompt])).logits[0] for prompt in prompts]
    return Logits(
        tier=torch.stack([one[slots.tier_offset, list(slots.tier_ids)] for one in logits]).numpy(),
        churn=torch.stack(
            [one[slots.churn_offset, list(slots.churn_ids)] for one in logits]
        ).numpy(),
    )


@pytest.mark.parametrize("whole", [False, True])
def test_adapters_together_say_what_each_says_alone(tiny_model: Path, whole: bool) -> None:
    """With an adapter of all four layers nothing is shared but the prompts."""
    shapes = SHAPES | ({"all layers": LoraSettings(rank=4, layers=4)} if whole else {})
    adapters = {
        name: (_state(tiny_model, lora, number), lora)
        for number, (name, lora) in enumerate(shapes.items())
    }
    prompts = [example.prompt for example in examples(tiny_model, 20)]
    seen: list[tuple[int, int]] = []
    together = logits_of_adapters(
        find_base_model(str(tiny_model)),
        model_and_slots(tiny_model)[1],
        adapters,
        prompts,
        pass_tokens=200,
        progress=lambda step, done, total: seen.append((done, total)),
    )
    assert list(together) == list(adapters)
    for name, (state, lora) in adapters.items():
        alone = _plain(tiny_model, state, lora, prompts)
        assert np.abs(together[name].tier - alone.tier).max() < 1e-4
        assert np.abs(together[name].churn - alone.churn).max() < 1e-4
    first, second = (together[name].churn for name in list(adapters)[:2])
    assert np.abs(first - second).max() > 0.1
    assert len(seen) > 3
    assert seen[-1] == (20, 20)


def test_shared_layers_run_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lower: list[int] = []
    loaded = load_base_model(find_base_model(str(tiny_model)))

    def load(_: object) -> object:
        """The first model that is loaded is the shared one."""
        if not lower:
            lower.append(0)
            loaded.get_decoder().layers[0].register_forward_hook(lambda *_: lower.append(1))
            return loaded
        return load_base_model(find_base_model(str(tiny_model)))

    monkeypatch.setattr("finetune.adapter_comparison.load_base_model", load)
    logits_of_adapters(
        find_base_model(str(tiny_model)),
        model_and_slots(tiny_model)[1],
        {name: (_state(tiny_model, lora, 1), lora) for name, lora in SHAPES.items()},
        [example.prompt for example in examples(tiny_model, 5)],
        pass_tokens=10_000,
    )
    assert lower == [0, 1]


def test_weights_of_another_shape_are_refused(tiny_model: Path) -> None:
    files, (_, slots) = find_base_model(str(tiny_model)), model_and_slots(tiny_model)
    state = _state(tiny_model, SHAPES["one layer"], 1)
    with pytest.raises(AdapterError, match="shape"):
        logits_of_adapters(files, slots, {"wrong": (state, SHAPES["two layers"])}, [(1, 2, 3)])
    assert logits_of_adapters(files, slots, {}, [(1, 2, 3)]) == {}


def test_a_head_that_is_read_once_changes_no_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question begins with a line: read once by one side, with every prompt by the other."""
    files = find_base_model(shop.settings.models.base)
    adapter = current_adapter(shop)
    slots = build_slots(files, shop.settings.value.tiers)
    headed = replace(slots, head=tuple(token_ids(files, "Orders by 20 days, newest first: ")))
    histories = [
        render_history(
            past,
            settings=shop.settings,
            catalogue=Catalogue.read(shop.items_file),
            count_tokens=token_counter(files),
        )
        for past in read_pasts(shop.log, present(shop))
    ]
    found = []
    for used in (headed, slots):
        monkeypatch.setattr("finetune.lora_predictor.build_slots", lambda *_, used=used: used)
        predictor = LoraPredictor.load(adapter, files, shop.settings)
        found.append(predictor.logits(histories))
    prompts = [encode_prompt(files, headed, history.text) for history in histories]
    assert all(tuple(prompt[: len(headed.head)]) == headed.head for prompt in prompts)
    state = {"it": (read_weights(adapter), predictor.manifest.lora)}
    whole = logits_of_adapters(files, headed, state, prompts)["it"]
    assert np.abs(found[0].tier - whole.tier).max() < 1e-4
    assert np.abs(found[0].churn - whole.churn).max() < 1e-4
    # The line is read, not left out.
    assert np.abs(found[0].churn - found[1].churn).max() > 1e-2
