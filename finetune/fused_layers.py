"""Llama's layers for reading on a CPU: fewer and larger products, with what follows built in.

oneDNN multiplies by weights that are laid out for it once, a fifth faster than by plain ones, and
adds the residual, gates and multiplies while a product is still in the cache. The three products
that make queries, keys and values are one; a norm's weights are multiplied into what reads it. All
in float32. In the last layer only those places are taken further that are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Identity, Linear, SiLU
from transformers.activations import SiLUActivation
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from finetune.packed_pass import PASS_TOKENS, PackedDecoder, Packing, attend, places


def packed_decoder(model: Any, head: Sequence[int] = ()) -> PackedDecoder:
    """The fastest decoder for a model; takes the model over, nothing else may read with it."""
    return FusedDecoder(model, head) if can_fuse(model) else PackedDecoder(model, head)


def can_fuse(model: Any) -> bool:
    """Whether all layers are of the kind that is written out here."""
    return (
        model.device.type == "cpu"
        and model.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and all(_is_known(layer) for layer in model.get_decoder().layers)
    )


class FusedDecoder(PackedDecoder):
    """A decoder of Llama's kind that only reads; see `PackedDecoder`.

    Args:
        model: for which `can_fuse` holds. Its layers are taken out of it, so that no weights are
            held twice.
        head: token ids that every prompt begins with.
        depth: read only so many layers, and no norm behind them; those above stay in the model.
    """

    def __init__(self, model: Any, head: Sequence[int] = (), depth: int | None = None) -> None:
        super().__init__(model, head)
        layers = self.decoder.layers
        self._norm = self.decoder.norm if depth is None else Identity()
        self._layers = []
        for number in range(len(layers) if depth is None else depth):
            self._layers.append(_Layer.of(layers[number], number))
            layers[number] = Identity()

    def hidden(self, packing: Packing, activations: Tensor | None = None) -> Tensor:
        """See `PackedDecoder.hidden`."""
        return self._through(packing, activations)

    def hidden_at(
        self, packing: Packing, offsets: Sequence[int], activations: Tensor | None = None
    ) -> Tensor:
        """See `PackedDecoder.hidden_at`."""
        hidden = self._through(packing, activations, offsets)
        return hidden.view(len(packing.ends), len(offsets), hidden.shape[1])

    def _through(
        self, packing: Packing, activations: Tensor | None, offsets: Sequence[int] | None = None
    ) -> Tensor:
        """Hidden states of all tokens; with offsets, of those places, prompt by prompt."""
        hidden = self.decoder.embed_tokens(packing.ids)[0] if activations is None else activations
        rotation = rotation_of(self.decoder, hidden, packing)
        last = len(self._layers) - 1
        for number, layer in enumerate(self._layers):
            hidden = layer.read(hidden, rotation, packing, offsets if number == last else None)
        normed: Tensor = self._norm(hidden)
        return normed


def rotation_of(decoder: Any, hidden: Tensor, packing: Packing) -> Tensor:
    """By what pairs of numbers turn at each position: complex, `[tokens, 1, pairs]`."""
    cosine, sine = decoder.rotary_emb(hidden[None], position_ids=packing.positions)
    pairs = cosine.shape[-1] // 2
    return torch.complex(cosine[0, :, :pairs].contiguous(), sine[0, :, :pairs].contiguous())[
        :, None
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A layer's weights as oneDNN wants them."""

    number: int
    heads: int
    groups: int
    width: int
    scaling: float
    epsilon: float
    asks_keys_values: Tensor
    out: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, layer: Any, number: int) -> "_Layer":
        attention, mlp = layer.self_attn, layer.mlp
        before, behind = layer.input_layernorm, layer.post_attention_layernorm
        width = attention.head_dim
        asks, keys = (
            pairs_together(part.weight, width) for part in (attention.q_proj, attention.k_proj)
        )
        together = torch.cat([asks, keys, attention.v_proj.weight])
        return cls(
            number=number,
            heads=len(asks) // width,
            groups=len(keys) // width,
            width=width,
            scaling=attention.scaling,
            epsilon=before.variance_epsilon,
            asks_keys_values=laid_out(together * before.weight),
            out=laid_out(attention.o_proj.weight),
            gate=laid_out(mlp.gate_proj.weight * behind.weight),
            up=laid_out(mlp.up_proj.weight * behind.weight),
            down=laid_out(mlp.down_proj.weight),
        )

    def read(
        self,
        hidden: Tensor,
        rotation: Tensor,
        packing: Packing,
        offsets: Sequence[int] | None = None,
    ) -> Tensor:
        """What the layer makes of `[tokens, width]`; with offsets, at those places only."""
        together = product(_normed(hidden, self.epsilon), self.asks_keys_values)
        by_head = together.view(len(together), -1, self.width)
        rotated = turned(by_head[:, : self.heads + self.groups], rotation)
        asks = rotated[:, : self.heads]
        if offsets is not None:
            chosen = places(packing, offsets).flatten()
            asks, hidden = asks[chosen], hidden[chosen]
        attended = attend(
            asks,
            rotated[:, self.heads :],
            by_head[:, self.heads + self.groups :],
            packing,
            self.number,
            scaling=self.scaling,
            offsets=offsets,
        )
        hidden = _product_and(attended, self.out, hidden, "add")
        normed = _normed(hidden, self.epsilon)
        opened = _product_and(normed, self.up, _gate(normed, self.gate), "mul")
        return _product_and(opened, self.down, hidden, "add")


def laid_out(weight: Tensor) -> Tensor:
    """A weight `[out, in]` in oneDNN's own order, fit for as many rows as a pass has."""
    ordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PASS_TOKENS)
    return ordered


def product(rows: Tensor, weight: Tensor) -> Tensor:
    """`rows @ weight.T`, the weight laid out."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
    return found


def _gate(rows: Tensor, weight: Tensor) -> Tensor:
    """SiLU of the product."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "swish", [1.0], "")
    return found


def _product_and(rows: Tensor, weight: Tensor, other: Tensor, how: str) -> Tensor:
    """The product with `other` added or multiplied."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, other, weight, None, how)
    return found


def _normed(hidden: Tensor, epsilon: float) -> Tensor:
    """Divided by the root of the mean square; the norm's weights are in what reads it."""
    length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
    return hidden * torch.rsqrt(length.square() / hidden.shape[-1] + epsilon)


def turned(states: Tensor, rotation: Tensor) -> Tensor:
    """Rotary position: each pair of numbers `[tokens, heads, 2 * pairs]` turned in its plane."""
    pairs = torch.view_as_complex(states.view(*states.shape[:2], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2)


def pairs_together(weight: Tensor, width: int) -> Tensor:
    """Rows in such an order that the two numbers that rotate together are neighbours.

    Llama has them half a head apart. Queries and keys are both reordered, so their products stay.
    """
    order = torch.arange(width).view(2, -1).T.flatten()
    return weight.view(-1, width, weight.shape[1])[:, order].flatten(0, 1)


def _is_known(layer: Any) -> bool:
    if type(layer) is not LlamaDecoderLayer:
        return False
    linears = [getattr(layer.self_attn, name) for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
    linears += [getattr(layer.mlp, name) for name in ("gate_proj", "up_proj", "down_proj")]
    return isinstance(layer.mlp.act_fn, SiLU | SiLUActivation) and all(
        type(linear) is Linear and linear.bias is None for linear in linears
    )
