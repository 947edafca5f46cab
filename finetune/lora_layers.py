"""Adapted Llama layers for training on a CPU, each step cheaper than layer by layer in peft.

A layer's weights are merged with its adapter once a step, `W + s B A`, and multiplied as one; the
small matrices have their gradients from the merged product's. Prompts lie end to end; in the last
layer only the places that are asked for are taken further. The losses are those of plain peft.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import silu

from finetune.fused_layers import laid_out, pairs_together, product, rotation_of, turned
from finetune.packed_pass import Packing, attend, places

_ADAPTER = "default"  # peft's name of the only one


class LoraLayers:
    """The uppermost layers of a peft-wrapped model for whose base model `can_fuse` held."""

    def __init__(self, wrapped: Any, depth: int) -> None:
        """Read the parameters of the layers from `depth` on; peft's own objects, not copies."""
        self._decoder = wrapped.get_base_model().get_decoder()
        self._layers = [_Layer.of(layer) for layer in self._decoder.layers[depth:]]

    def hidden_at(self, packing: Packing, offsets: Sequence[int], activations: Tensor) -> Tensor:
        """Hidden states behind the final norm at places of each prompt: `[prompts, places, width]`.

        Args:
            packing: the prompts.
            offsets: of the places, from the prompts' ends.
            activations: what the lowest of these layers reads `[tokens, width]`.
        """
        rotation = rotation_of(self._decoder, activations, packing)
        hidden = activations
        for layer in self._layers[:-1]:
            hidden = layer.read(hidden, rotation, packing, None)
        hidden = self._layers[-1].read(hidden, rotation, packing, offsets)
        normed: Tensor = self._decoder.norm(hidden)
        return normed.view(-1, len(offsets), hidden.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adapted:
    """A linear with its adapter; rows are in the order that `_Layer` wants.

    Attributes:
        weight: frozen, `[out, in]`, with the weights of the norm before it.
        norm: those weights `[in]`; None where no norm stands before.
        down: A `[rank, in]`.
        up: B `[out, rank]`.
        width: of a head where rows are to be reordered so that rotating pairs are neighbours.
    """

    weight: Tensor
    norm: Tensor | None
    down: Tensor
    up: Tensor
    scaling: float
    width: int | None

    @classmethod
    def of(cls, linear: Any, norm: Tensor | None, width: int | None = None) -> "_Adapted":
        weight = linear.base_layer.weight.detach()
        if width is not None:
            weight = pairs_together(weight, width)
        return cls(
            weight=weight if norm is None else weight * norm,
            norm=norm,
            down=linear.lora_A[_ADAPTER].weight,
            up=linear.lora_B[_ADAPTER].weight,
            scaling=linear.scaling[_ADAPTER],
            width=width,
        )

    def small(self) -> tuple[Tensor, Tensor]:
        """A with the norm's weights, and B scaled and in order."""
        down = self.down if self.norm is None else self.down * self.norm
        up = self.up if self.width is None else pairs_together(self.up, self.width)
        return down, up * self.scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A layer: linears that read the same stand together."""

    number: int
    heads: int
    groups: int
    width: int
    scaling: float
    epsilon: float
    asks_keys_values: tuple[_Adapted, ...]
    out: tuple[_Adapted, ...]
    gate_up: tuple[_Adapted, ...]
    down: tuple[_Adapted, ...]

    @classmethod
    def of(cls, layer: Any) -> "_Layer":
        attention, mlp = layer.self_attn, layer.mlp
        before, behind = layer.input_layernorm, layer.post_attention_layernorm
        width = attention.head_dim
        first, second = before.weight.detach(), behind.weight.detach()
        return cls(
            number=attention.layer_idx,
            heads=attention.q_proj.out_features // width,
            groups=attention.k_proj.out_features // width,
            width=width,
            scaling=attention.scaling,
            epsilon=before.variance_epsilon,
            asks_keys_values=(
                _Adapted.of(attention.q_proj, first, width),
                _Adapted.of(attention.k_proj, first, width),
                _Adapted.of(attention.v_proj, first),
            ),
            out=(_Adapted.of(attention.o_proj, None),),
            gate_up=(_Adapted.of(mlp.gate_proj, second), _Adapted.of(mlp.up_proj, second)),
            down=(_Adapted.of(mlp.down_proj, None),),
        )

    def read(
        self, hidden: Tensor, rotation: Tensor, packing: Packing, offsets: Sequence[int] | None
    ) -> Tensor:
        """What the layer makes of `[tokens, width]`; with offsets, at those places only."""
        together = _merged(_normed(hidden, self.epsilon), self.asks_keys_values)
        turning = (self.heads + self.groups) * self.width
        first, values = torch.split(together, [turning, together.shape[1] - turning], dim=1)
        rotated = turned(_by_head(first, self.width), rotation)
        asks, keys = torch.split(rotated, [self.heads, self.groups], dim=1)
        if offsets is not None:
            chosen = places(packing, offsets).flatten()
            asks, hidden = asks[chosen], hidden[chosen]
        attended = attend(
            asks,
            keys,
            _by_head(values, self.width),
            packing,
            self.number,
            scaling=self.scaling,
            offsets=offsets,
        )
        hidden = hidden + _merged(attended, self.out)
        opened = _gated(_merged(_normed(hidden, self.epsilon), self.gate_up))
        return hidden + _merged(opened, self.down)


def _by_head(states: Tensor, width: int) -> Tensor:
    return states.view(len(states), -1, width)


def _merged(rows: Tensor, linears: Sequence[_Adapted]) -> Tensor:
    """The linears' outputs beside one another."""
    small = [linear.small() for linear in linears]
    weights = [linear.weight for linear in linears]
    return _Merged.apply(rows, weights, *(part for pair in small for part in pair))  # type: ignore[no-any-return, no-untyped-call]


class _Merged(Function):
    """`rows @ (W + B A).T` of several linears that read the same rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Sequence[Tensor], *small: Tensor) -> Tensor:
        downs, ups = small[::2], small[1::2]
        merged = torch.cat(
            [
                torch.addmm(weight, up, down)
                for weight, down, up in zip(weights, downs, ups, strict=True)
            ]
        )
        ctx.save_for_backward(rows, merged, *small)
        return product(rows, laid_out(merged))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous()
        rows, merged, *small = ctx.saved_tensors
        downs, ups = small[::2], small[1::2]
        parts = torch.split(gradient, [len(up) for up in ups], dim=1)
        ranks = [len(down) for down in downs]
        inner = rows @ torch.cat(downs).T
        outer = torch.cat([part @ up for part, up in zip(parts, ups, strict=True)], dim=1)
        of_downs = torch.split(outer.T @ rows, ranks)
        of_ups = [
            part.T @ through
            for part, through in zip(parts, torch.split(inner, ranks, dim=1), strict=True)
        ]
        of_rows = product(gradient, laid_out(merged.T)) if ctx.needs_input_grad[0] else None
        return of_rows, None, *(one for pair in zip(of_downs, of_ups, strict=True) for one in pair)


def _normed(hidden: Tensor, epsilon: float) -> Tensor:
    return _Normed.apply(hidden, epsilon)  # type: ignore[no-any-return, no-untyped-call]


class _Normed(Function):
    """Division by the root of the mean square."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, epsilon: float) -> Tensor:
        length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
        factor = torch.rsqrt(length.square() / hidden.shape[-1] + epsilon)
        normed = hidden * factor
        ctx.save_for_backward(normed, factor)
        return normed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0]
        normed, factor = ctx.saved_tensors
        along = torch.linalg.vecdot(gradient, normed)[:, None] / normed.shape[-1]
        return torch.addcmul(gradient, normed, along, value=-1) * factor, None


def _gated(gate_up: Tensor) -> Tensor:
    return _Gated.apply(gate_up)  # type: ignore[no-any-return, no-untyped-call]


class _Gated(Function):
    """SiLU of the left half times the right half."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=1)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0]
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=1)
        found = torch.empty_like(gate_up)
        half = gate.shape[1]
        torch.mul(gradient, silu(gate), out=found[:, half:])
        found[:, :half] = torch.ops.aten.silu_backward(gradient * up, gate)
        return found
