"""Several adapters' answers to the same prompts: what they share is run once.

The layers below the lowest adapted one of any adapter run once a batch, then each adapter's upper
layers read their activations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune.adapter import LoraSettings, add_lora, begin_from, trainable
from finetune.base_model import BaseModelFiles, load_base_model
from finetune.lora_predictor import Logits
from finetune.packed_pass import PASS_TOKENS, PackedDecoder, packed_batches
from finetune.slots import Slots, label_weights, logits_at_slots
from finetune.trunk import depth_below
from retrieval.progress import Progress, no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layers:
    """Some neighbouring layers and the norm behind them."""

    layers: torch.nn.ModuleList
    norm: torch.nn.Module


def logits_of_adapters(
    files: BaseModelFiles,
    slots: Slots,
    adapters: Mapping[str, tuple[Mapping[str, Tensor], LoraSettings]],
    prompts: Sequence[Sequence[int]],
    *,
    pass_tokens: int = PASS_TOKENS,
    progress: Progress = no_progress,
) -> dict[str, Logits]:
    """Label logits of every adapter, each as `LoraPredictor` gives them.

    Args:
        files: the base model of all adapters.
        slots: where the answers stand.
        adapters: weights as `train` leaves or `read_weights` reads them, with their shape, by name.
        prompts: token ids as `encode_prompt` makes them.
        pass_tokens: at most so many tokens a pass.
        progress: told after each pass.

    Returns:
        Logits by the adapter's name, in the order of the prompts.

    Raises:
        AdapterError: weights do not have the shape that is said.
    """
    model = load_base_model(files)
    weights = label_weights(model, slots)
    depth = min((depth_below(model, lora) for _, lora in adapters.values()), default=0)
    uppers = {
        name: _upper_layers(files, state, lora, depth) for name, (state, lora) in adapters.items()
    }
    decoder = _SharedDecoder(model, depth, uppers)
    found = {
        name: Logits(
            tier=np.zeros((len(prompts), len(slots.tier_ids))), churn=np.zeros((len(prompts), 2))
        )
        for name in adapters
    }
    done = 0
    for batch in packed_batches([len(prompt) for prompt in prompts], pass_tokens):
        hidden = decoder.read([prompts[index] for index in batch], slots.offsets)
        for name, states in hidden.items():
            tier, churn = logits_at_slots(states, slots, weights)
            found[name].tier[batch] = tier.double().numpy()
            found[name].churn[batch] = churn.double().numpy()
        done += len(batch)
        progress("Scoring with every adapter", done, len(prompts))
    return found


def _upper_layers(
    files: BaseModelFiles, state: Mapping[str, Tensor], lora: LoraSettings, depth: int
) -> _Layers:
    """Merge an adapter into a base model of its own and keep the layers from `depth` on."""
    wrapped = add_lora(load_base_model(files), lora)
    begin_from(trainable(wrapped), state)
    # So that these layers, too, take packed prompts apart.
    decoder = PackedDecoder(wrapped.eval().merge_and_unload()).decoder
    return _Layers(layers=decoder.layers[depth:], norm=decoder.norm)


class _SharedDecoder:
    """The shared layers, with one adapter's upper layers after the other's behind them."""

    def __init__(self, model: Any, depth: int, uppers: Mapping[str, _Layers]) -> None:
        # Whole prompts: what a head leaves in the upper layers is another for every adapter.
        self._packed = PackedDecoder(model)
        layers = self._packed.decoder.layers[:depth]
        self._lower = _Layers(layers=layers, norm=torch.nn.Identity())
        self._uppers = uppers

    @torch.inference_mode()
    def read(self, prompts: Sequence[Sequence[int]], offsets: Sequence[int]) -> dict[str, Tensor]:
        """Hidden states behind each adapter's norm: `[prompts, offsets, width]`."""
        packing = self._packed.pack(prompts)
        self._put(self._lower)
        activations = self._packed.hidden(packing)
        hidden = {}
        for name, upper in self._uppers.items():
            self._put(upper)
            hidden[name] = self._packed.hidden_at(packing, offsets, activations)
        return hidden

    def _put(self, part: _Layers) -> None:
        self._packed.decoder.layers, self._packed.decoder.norm = part.layers, part.norm
