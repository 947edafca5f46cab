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
    """Neighbours of equal length: `count` prompts of `length` tokens."""

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
            read: KeysValues = {}
            if self._head:
                self.hidden(packing_of([self._head], keep=read))
            self._read_head = read
        skip = len(self._head)
        for prompt in prompts:
            if tuple(prompt[:skip]) != self._head:
                raise ValueError("a prompt does not begin with the head")
        return packing_of([prompt[skip:] for prompt in prompts], skip, self._read_head)

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

    def hidden_at(
        self, packing: Packing, offsets: Sequence[int], activations: Tensor | None = None
    ) -> Tensor:
        """Hidden states of some places of each prompt: `[prompts, places, width]`.

        Args:
            packing: the prompts.
            offsets: of the places, from the prompts' ends; -1 is the last token.
            activations: see `hidden`.
        """
        return self.hidden(packing, activations)[places(packing, offsets)]


def places(packing: Packing, offsets: Sequence[int]) -> Tensor:
    """Where tokens at offsets from the prompts' ends lie in a pass: `[prompts, offsets]`."""
    return packing.ends[:, None] + torch.tensor(list(offsets))


def packing_of(
    prompts: Sequence[Sequence[int]],
    skip: int = 0,
    before: KeysValues | None = None,
    keep: KeysValues | None = None,
) -> Packing:
    """Pack prompts.

    Args:
        prompts: token ids, without what stands before all of them.
        skip: how many tokens that is.
        before: its keys and values.
        keep: see `Packing`.
    """
    lengths = [len(prompt) for prompt in prompts]
    runs = tuple(Run(len(list(same)), length) for length, same in groupby(lengths))
    return Packing(
        ids=torch.tensor([[token for prompt in prompts for token in prompt]]),
        positions=torch.cat([torch.arange(skip, skip + length) for length in lengths])[None],
        ends=torch.tensor(lengths).cumsum(0),
        runs=runs,
        before=before or {},
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
    asked, keys, values = (states[0].transpose(0, 1) for states in (query, key, value))
    output = attend(asked, keys, values, packing, module.layer_idx, scaling=scaling)
    return output[None], None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    layer: int,
    *,
    scaling: float,
    offsets: Sequence[int] | None = None,
) -> Tensor:
    """Causal attention of each prompt to itself and to what stands before it.

    Args:
        query: `[tokens, heads, width]`; where there are offsets, of these places only, prompt by
            prompt.
        key: `[tokens, heads, width]`.
        value: the same.
        packing: the prompts.
        layer: number of the layer, for what stands before and for what is kept.
        scaling: of the products.
        offsets: places from the prompts' ends that attend; None for all tokens.

    Returns:
        `[queries, heads * width]`.
    """
    if packing.keep is not None:
        packing.keep[layer] = (key.transpose(0, 1)[None], value.transpose(0, 1)[None])
    before = packing.before.get(layer)
    sizes = [run.count * run.length for run in packing.runs]
    asking = None if offsets is None else [run.count * len(offsets) for run in packing.runs]
    parts = zip(
        packing.runs,
        torch.split(query, asking or sizes),
        torch.split(key, sizes),
        torch.split(value, sizes),
        strict=True,
    )
    outputs = []
    for run, *states in parts:
        asked, keys, values = (
            part.view(run.count, -1, *part.shape[1:]).transpose(1, 2) for part in states
        )
        if before is not None:
            keys, values = (
                torch.cat([kept.expand(run.count, -1, -1, -1), own], dim=2)
                for kept, own in zip(before, (keys, values), strict=True)
            )
        seen = None
        if before is not None or offsets is not None:
            all_tokens = keys.shape[2]
            last_seen = (
                torch.arange(-run.length, 0) if offsets is None else torch.tensor(list(offsets))
            )
            seen = torch.arange(all_tokens) <= (all_tokens + last_seen)[:, None]
        attended = scaled_dot_product_attention(
            asked,
            keys,
            values,
            attn_mask=seen,
            is_causal=seen is None,
            scale=scaling,
            enable_gqa=keys.shape[1] != asked.shape[1],
        )
        outputs.append(attended.transpose(1, 2).flatten(0, 1).flatten(1))
    return torch.cat(outputs)


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
