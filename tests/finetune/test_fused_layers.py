from pathlib import Path

import pytest
import torch

from finetune.base_model import find_base_model, load_base_model
from finetune.fused_layers import FusedDecoder, can_fuse, packed_decoder
from finetune.packed_pass import PackedDecoder
from tests.finetune.hand_made import examples, model_and_slots

HEAD = (7, 8, 9, 10, 11)


def _prompts(folder: Path, head: tuple[int, ...]) -> list[list[int]]:
    prompts = [list(example.prompt) for example in examples(folder, 12)]
    # Some neighbours of equal length, some not.
    return [[*head, *prompt] for prompt in (prompts[0], prompts[0][::-1], *prompts)]


@pytest.mark.parametrize("head", [(), HEAD])
@torch.inference_mode()
def test_fused_layers_read_as_transformers_does(tiny_model: Path, head: tuple[int, ...]) -> None:
    prompts = _prompts(tiny_model, head)
    plain = load_base_model(find_base_model(str(tiny_model))).get_decoder()
    for layer in plain.layers:  # weights of a norm that do nothing would hide a mistake
        torch.nn.init.uniform_(layer.input_layernorm.weight, 0.5, 2)
        torch.nn.init.uniform_(layer.post_attention_layernorm.weight, 0.5, 2)
    model, _ = model_and_slots(tiny_model)
    model.get_decoder().load_state_dict(plain.state_dict())
    decoder = packed_decoder(model, head)
    assert isinstance(decoder, FusedDecoder)
    for _ in range(2):  # the second time the head has been read already
        packing = decoder.pack(prompts)
        hidden = decoder.hidden(packing).split([len(prompt) - len(head) for prompt in prompts])
        chosen = decoder.hidden_at(packing, (-5, -1))
        for prompt, states, two in zip(prompts, hidden, chosen, strict=True):
            alone = plain(input_ids=torch.tensor([prompt])).last_hidden_state[0]
            assert torch.allclose(states, alone[len(head) :], atol=1e-4)
            assert torch.allclose(two, alone[[-5, -1]], atol=1e-4)


@torch.inference_mode()
def test_places_are_those_of_a_plain_decoder(tiny_model: Path) -> None:
    prompts = _prompts(tiny_model, HEAD)
    found = []
    for kind in (PackedDecoder, FusedDecoder):
        decoder = kind(model_and_slots(tiny_model)[0], HEAD)
        found.append(decoder.hidden_at(decoder.pack(prompts), (-3, -1)))
    assert found[0].shape == (len(prompts), 2, 32)
    assert torch.allclose(*found, atol=1e-5)


def test_layers_of_another_kind_are_left_to_transformers(tiny_model: Path) -> None:
    model, _ = model_and_slots(tiny_model)
    assert can_fuse(model)
    linear = model.get_decoder().layers[1].mlp.down_proj
    linear.bias = torch.nn.Parameter(torch.zeros(linear.out_features))
    assert not can_fuse(model)
    assert type(packed_decoder(model)) is PackedDecoder


def test_weights_are_not_held_twice(tiny_model: Path) -> None:
    model, _ = model_and_slots(tiny_model)
    FusedDecoder(model)
    left = [name for name, _ in model.named_parameters()]
    assert left == ["model.embed_tokens.weight", "model.norm.weight"]
