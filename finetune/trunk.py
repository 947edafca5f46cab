"""The frozen lower layers: run once over all prompts, their activations kept for every epoch.

On a CPU they lie on disk in float16, so that memory does not grow with the examples, and prompts
are read end to end; on a GPU they stay on the device in bfloat16, padded.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.adapter import LoraSettings, layers_read
from finetune.fused_layers import FusedDecoder, can_fuse
from finetune.packed_pass import PASS_TOKENS, PackedDecoder, packed_batches
from finetune.slots import pad_right
from retrieval.progress import Progress
from retrieval.shop import write_atomically

_CHUNK = 64  # prompts whose activations share one file
_DEVICE_BATCH = 256  # prompts a pass on a GPU

Precision: TypeAlias = Literal["float16", "float32"]


def depth_below(model: Any, lora: LoraSettings) -> int:
    """How many layers lie below the lowest adapted one."""
    layers = layers_read(model, lora)
    return layers - min(lora.layers, layers)


class DiskTrunk:
    """Activations of the layers below `depth` of some prompts, in files; for a model on a CPU."""

    def __init__(
        self,
        model: Any,
        depth: int,
        folder: Path,
        prompts: Sequence[Sequence[int]],
        progress: Progress,
        precision: Precision = "float16",
    ) -> None:
        """Compute what is not there yet.

        Args:
            model: causal language model; from now on only its layers from `depth` on are read.
            depth: how many of its layers.
            folder: for the files; a killed run's are used again.
            prompts: token ids.
            progress: told of every file.
            precision: in which activations are kept.
        """
        self._prompts = prompts
        self._files = [
            folder / f"trunk-{start:07d}.npy" for start in range(0, len(prompts), _CHUNK)
        ]
        whole = all(file.exists() for file in self._files)
        reader = None if whole else _lower_reader(model, depth)
        for number, file in enumerate(self._files):
            if reader is not None and not file.exists():
                chunk = prompts[number * _CHUNK : (number + 1) * _CHUNK]
                _write(reader, chunk, file, precision)
            progress("Reading histories", number + 1, len(self._files))
        if isinstance(reader, _CutDecoder):
            reader.restore()
        self._offsets = self._chunk_offsets()

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Activations of some prompts, end to end: `[tokens, width]`."""
        rows = np.concatenate([self._row(index) for index in indices])
        return torch.from_numpy(rows.astype(np.float32, copy=False))

    def _row(self, index: int) -> NDArray[np.floating[Any]]:
        chunk = np.load(self._files[index // _CHUNK], mmap_mode="r")
        start = self._offsets[index]
        row: NDArray[np.floating[Any]] = chunk[start : start + len(self._prompts[index])]
        return row

    def _chunk_offsets(self) -> list[int]:
        offsets, position = [], 0
        for index, prompt in enumerate(self._prompts):
            if index % _CHUNK == 0:
                position = 0
            offsets.append(position)
            position += len(prompt)
        return offsets


def _write(
    reader: PackedDecoder, prompts: Sequence[Sequence[int]], file: Path, precision: Precision
) -> None:
    lengths = [len(prompt) for prompt in prompts]
    rows: dict[int, NDArray[np.floating[Any]]] = {}
    for batch in packed_batches(lengths, PASS_TOKENS):
        with torch.inference_mode():
            hidden = reader.hidden(reader.pack([prompts[index] for index in batch]))
        states = torch.split(hidden, [lengths[index] for index in batch])
        for index, part in zip(batch, states, strict=True):
            rows[index] = part.numpy().astype(precision)
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate([rows[index] for index in range(len(prompts))]))
    write_atomically(file, buffer.getvalue())


class DeviceTrunk:
    """Activations of the layers below `depth` in one tensor `[tokens of all prompts, width]`."""

    def __init__(
        self, model: Any, depth: int, prompts: Sequence[Sequence[int]], progress: Progress
    ) -> None:
        """Compute them.

        Args:
            model: causal language model on a GPU.
            depth: how many of its layers.
            prompts: token ids.
            progress: told of every pass.
        """
        lower = _LowerLayers(model, depth)
        self._lengths = torch.tensor([len(prompt) for prompt in prompts], device=lower.device)
        self._starts = self._lengths.cumsum(0) - self._lengths
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        kept: Tensor | None = None
        for start in range(0, len(order), _DEVICE_BATCH):
            bucket = order[start : start + _DEVICE_BATCH]
            ids = pad_right([prompts[index] for index in bucket]).to(lower.device)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                hidden = lower.forward(ids)
            if kept is None:
                total = int(self._lengths.sum())
                kept = torch.empty(
                    (total, hidden.shape[2]), dtype=torch.bfloat16, device=lower.device
                )
            chosen = torch.tensor(bucket, device=lower.device)
            inside = self._inside(chosen, hidden.shape[1])
            kept[self._places(chosen, hidden.shape[1])[inside]] = hidden[inside].to(kept.dtype)
            progress("Reading histories", start + len(bucket), len(order))
        assert kept is not None, "no prompts"
        self._kept = kept
        lower.restore()

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Activations of some prompts, padded on the right: `[batch, longest, width]`."""
        chosen = torch.tensor(indices, device=self._kept.device)
        longest = int(self._lengths[chosen].max())
        places = self._places(chosen, longest).clamp(max=len(self._kept) - 1)
        return self._kept[places].float() * self._inside(chosen, longest)[..., None]

    def _places(self, chosen: Tensor, longest: int) -> Tensor:
        return self._starts[chosen, None] + torch.arange(longest, device=chosen.device)

    def _inside(self, chosen: Tensor, longest: int) -> Tensor:
        return torch.arange(longest, device=chosen.device) < self._lengths[chosen, None]


class _LowerLayers:
    """The decoder cut after `depth` layers, without its final norm."""

    def __init__(self, model: Any, depth: int) -> None:
        self.device = model.device
        self._decoder = model.get_decoder()
        self._layers, self._norm = self._decoder.layers, self._decoder.norm
        self._decoder.layers = self._layers[:depth]
        self._decoder.norm = torch.nn.Identity()
        self._decoder.config.num_hidden_layers = depth
        self._full_depth = len(self._layers)

    @torch.inference_mode()
    def forward(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self._decoder(input_ids=ids, use_cache=False).last_hidden_state
        return hidden

    def restore(self) -> None:
        self._decoder.layers, self._decoder.norm = self._layers, self._norm
        self._decoder.config.num_hidden_layers = self._full_depth


class _CutDecoder(PackedDecoder):
    """The same cut for packed prompts, where the model's layers are not Llama's."""

    def __init__(self, model: Any, depth: int) -> None:
        super().__init__(model)
        self.restore = _LowerLayers(model, depth).restore


def _lower_reader(model: Any, depth: int) -> PackedDecoder:
    fusible = can_fuse(model)
    return FusedDecoder(model, depth=depth) if fusible else _CutDecoder(model, depth)
