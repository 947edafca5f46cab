from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.base_model import find_base_model, load_base_model
from finetune.packed_pass import PackedDecoder, Packing, packed_batches
from retrieval.errors import ShopError
from tests.finetune.hand_made import examples, model_and_slots

HEAD = (7, 8, 9, 10, 11)


def _prompts(folder: Path, count: int = 12) -> list[list[int]]:
    return [list(example.prompt) for example in examples(folder, count)]


@torch.inference_mode()
def _alone(folder: Path, prompts: list[list[int]]) -> list[torch.Tensor]:
    """Hidden states of each prompt, read by transformers on its own."""
    decoder = load_base_model(find_base_model(str(folder))).get_decoder()
    return [decoder(input_ids=torch.tensor([prompt])).last_hidden_state[0] for prompt in prompts]


@torch.inference_mode()
def _packed(folder: Path, prompts: list[list[int]], head: tuple[int, ...]) -> list[torch.Tensor]:
    model, _ = model_and_slots(folder)
    decoder = PackedDecoder(model, head)
    hidden = None
    # The second time the head has been read already.
    for _ in range(2):
        packing = decoder.pack(prompts)
        again = decoder.hidden(packing)
        assert hidden is None or torch.equal(hidden, again)
        hidden = again
    assert hidden is not None
    lengths = [len(prompt) - len(head) for prompt in prompts]
    assert packing.ends.tolist() == np.cumsum(lengths).tolist()
    return list(hidden.split(lengths))


def test_a_packed_prompt_reads_as_if_it_were_alone(tiny_model: Path) -> None:
    prompts = _prompts(tiny_model)
    # Some neighbours of equal length, some not.
    prompts = [prompts[0], prompts[0][::-1], *prompts]
    for packed, alone in zip(
        _packed(tiny_model, prompts, ()), _alone(tiny_model, prompts), strict=True
    ):
        assert torch.allclose(packed, alone, atol=1e-5)


def test_a_head_read_once_changes_nothing(tiny_model: Path) -> None:
    prompts = [[*HEAD, *prompt] for prompt in _prompts(tiny_model)]
    prompts = [prompts[3], *prompts, prompts[-1]]
    for packed, alone in zip(
        _packed(tiny_model, prompts, HEAD), _alone(tiny_model, prompts), strict=True
    ):
        assert torch.allclose(packed, alone[len(HEAD) :], atol=1e-5)


def test_a_head_is_read_once(tiny_model: Path) -> None:
    model, _ = model_and_slots(tiny_model)
    decoder = PackedDecoder(model, HEAD)
    read: list[int] = []
    model.get_decoder().layers[0].register_forward_pre_hook(
        lambda _, inputs: read.append(inputs[0].shape[1])
    )
    prompts = [[*HEAD, 20, 21], [*HEAD, 22, 23, 24]]
    with torch.inference_mode():
        for _ in range(3):
            decoder.hidden(decoder.pack(prompts))
    assert read == [len(HEAD), 5, 5, 5]


def test_a_head_whose_reading_failed_is_read_again(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[*HEAD, *prompt] for prompt in _prompts(tiny_model)]
    decoder = PackedDecoder(model_and_slots(tiny_model)[0], HEAD)

    def fail(packing: Packing) -> torch.Tensor:
        raise MemoryError

    with monkeypatch.context() as failing:
        failing.setattr(decoder, "hidden", fail)
        with pytest.raises(MemoryError):
            decoder.pack(prompts)
    with torch.inference_mode():
        hidden = decoder.hidden(decoder.pack(prompts))
    expected = torch.cat([alone[len(HEAD) :] for alone in _alone(tiny_model, prompts)])
    assert torch.allclose(hidden, expected, atol=1e-5)


def test_a_prompt_without_the_head_is_refused(tiny_model: Path) -> None:
    decoder = PackedDecoder(model_and_slots(tiny_model)[0], HEAD)
    with torch.inference_mode(), pytest.raises(ValueError, match="does not begin with the head"):
        decoder.pack([[*HEAD, 3], [7, 8, 3, 10, 11, 4]])


def test_attention_of_another_kind_is_refused(tiny_model: Path) -> None:
    model, _ = model_and_slots(tiny_model)
    decoder = PackedDecoder(model)
    packing = decoder.pack([[1, 2, 3, 4]])
    for option in ({"softcap": 30.0}, {"sliding_window": 3}):
        with torch.inference_mode(), pytest.raises(ShopError, match=next(iter(option))):
            decoder.decoder(
                input_ids=packing.ids, position_ids=packing.positions, packing=packing, **option
            )
    with torch.inference_mode():
        decoder.decoder(
            input_ids=packing.ids, position_ids=packing.positions, packing=packing, sliding_window=4
        )


def test_batches_hold_every_prompt_once_and_not_too_many_tokens() -> None:
    lengths = np.random.default_rng(3).integers(1, 40, 200).tolist()
    lengths.append(500)
    batches = list(packed_batches(lengths, 100))
    assert sorted(index for batch in batches for index in batch) == list(range(201))
    tokens = [sum(lengths[index] for index in batch) for batch in batches]
    assert max(tokens[:-1]) <= 100
    assert batches[-1] == [200]
    # Nothing that would have fitted is left for the next.
    for batch, following, count in zip(batches, batches[1:], tokens, strict=False):
        assert count + lengths[following[0]] > 100
        assert lengths[batch[-1]] <= lengths[following[0]]
    assert list(packed_batches([], 100)) == []
