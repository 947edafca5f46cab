"""Prompts laid end to end in one pass of a causal language model: nothing is padded.

Linear layers see one long row of tokens; attention takes each prompt apart. What all prompts begin
with (`Slots.head`) is read once, its keys and values are kept and every later pass starts behind
it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from retrieval.errors import ShopError

# Tokens a pass: enough for the matrix products to run at full speed, few enough for what a layer
# leaves to stay in a processor's cache.
PASS_TOKENS = 1024

_ATTENTION = "patron_packed"
# What attention of other kinds is told and this one does not do.
_UNKNOWN = ("softcap", "s_aux", "position_bias")

# Keys and values of a layer, each `[1, heads, tokens, width]`, by the layer's number.
KeysValues = dict[int, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours of equal length: `count` prompts of `length` tokens from token `start` on."""

    start: int
    count: int
    length: int


@dataclass(frozen=True, slots=True)
class Packing:
    """Prompts end to end.

    Attributes:
        ids: token ids `[1, tokens]`.
        positions: where each token stands in its whole prompt `[1, tokens]`.
        ends: index behind each prompt's last token `[prompts]`.
        runs: all prompts, neighbours of equal length together.
        before: keys and values of what stands before every prompt.
        keep: where attention is to put keys and values; not kept where None.
    """

    ids: Tensor
    positions: Tensor
    ends: Tensor
    runs: tuple[Run, ...]
    before: KeysValues
    keep: KeysValues | None = None


def packed_batches(lengths: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Deal prompts out to passes, shortest first; a prompt longer than a pass has its own.

    Args:
        lengths: of the prompts, in tokens.
        most_tokens: in a pass.

    Yields:
        Indices of a pass's prompts.
    """
    batch: list[int] = []
    tokens = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and tokens + lengths[index] > most_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += lengths[index]
    if batch:
        yield batch


class PackedDecoder:
    """A decoder that reads packed prompts; from now on it reads nothing else.

    One pass at a time: the caller holds a lock.

    Args:
        model: a causal language model in evaluation mode. Its keys and values of the head are
            kept as long as this object, so a model with other weights needs another.
        head: token ids that every prompt begins with.

    Raises:
        ShopError: on reading, where the model's attention is of a kind that is not known here.
    """

    def __init__(self, model: Any, head: Sequence[int] = ()) -> None:
        AttentionInterface.register(_ATTENTION, _packed_attention)
        self.decoder = model.get_decoder()
        self.decoder.config._attn_implementation = _ATTENTION
        self._head = tuple(head)
        self._read_head: KeysValues | None = None

    def pack(self, prompts: Sequence[Sequence[int]]) -> Packing:
        """Lay whole prompts end to end, without their head, which is read here once."""
        if self._read_head is None:
            self._read_head = {}
            if self._head:
                packing = _pack([self._head], 0, {}, keep=self._read_head)
                self.hidden(packing)
        skip = len(self._head)
        for prompt in prompts:
            if tuple(prompt[:skip]) != self._head:
                raise ValueError("a prompt does not begin with the head")
        return _pack([prompt[skip:] for prompt in prompts], skip, self._read_head)

    def hidden(self, packing: Packing, activations: Tensor | None = None) -> Tensor:
        """Hidden states behind the decoder's layers and norm: `[tokens, width]`.

        Args:
            packing: the prompts.
            activations: what the first layer reads instead of the prompts' embeddings
                `[tokens, width]`.
        """
        read: dict[str, Tensor] = (
            {"input_ids": packing.ids}
            if activations is None
            else {"inputs_embeds": activations[None]}
        )
        hidden: Tensor = self.decoder(
            **read, position_ids=packing.positions, use_cache=False, packing=packing
        ).last_hidden_state
        return hidden[0]


def _pack(
    prompts: Sequence[Sequence[int]], first: int, before: KeysValues, keep: KeysValues | None = None
) -> Packing:
    """Pack prompts whose first token stands at position `first`."""
    lengths = [len(prompt) for prompt in prompts]
    runs, start = [], 0
    for length, same in groupby(lengths):
        count = len(list(same))
        runs.append(Run(start, count, length))
        start += count * length
    return Packing(
        ids=torch.tensor([[token for prompt in prompts for token in prompt]]),
        positions=torch.cat([torch.arange(first, first + length) for length in lengths])[None],
        ends=torch.tensor(lengths).cumsum(0),
        runs=tuple(runs),
        before=before,
        keep=keep,
    )


def _packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    packing: Packing,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention of each prompt to itself and to what stands before it.

    Called by transformers' attention modules with `[1, heads, tokens, width]`.
    """
    _check_known(packing, options)
    if packing.keep is not None:
        packing.keep[module.layer_idx] = (key, value)
    before = packing.before.get(module.layer_idx)
    output = query.new_empty(query.shape[2], query.shape[1], value.shape[3])
    for run in packing.runs:
        chosen = slice(run.start, run.start + run.count * run.length)
        asked, keys, values = (
            states[0, :, chosen].reshape(len(states[0]), run.count, run.length, -1).transpose(0, 1)
            for states in (query, key, value)
        )
        seen = None
        if before is not None:
            first_keys, first_values = (kept.expand(run.count, -1, -1, -1) for kept in before)
            keys = torch.cat([first_keys, keys], dim=2)
            values = torch.cat([first_values, values], dim=2)
            head = first_keys.shape[2]
            seen = torch.ones(run.length, head + run.length, dtype=torch.bool).tril(head)
        states = scaled_dot_product_attention(
            asked,
            keys,
            values,
            attn_mask=seen,
            is_causal=seen is None,
            scale=scaling,
            enable_gqa=keys.shape[1] != asked.shape[1],
        )
        output[chosen] = states.transpose(1, 2).flatten(0, 1)
    return output.flatten(1)[None], None


def _check_known(packing: Packing, options: Mapping[str, Any]) -> None:
    other = [name for name in _UNKNOWN if options.get(name) is not None]
    window = options.get("sliding_window")
    if window is not None and int(packing.positions.max()) >= window:
        other.append("sliding_window")
    if other:
        raise ShopError(
            f"This base model's attention is of a kind that Patron does not know ({other[0]}).",
            hint="Choose another models.base in shop.toml.",
        )
