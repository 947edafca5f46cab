"""The frozen lower layers: run once over all prompts, their activations kept for every epoch.

On a CPU they lie on disk in float16, so that memory does not grow with the examples; on a GPU they
stay on the device in bfloat16.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.adapter import LoraSettings
from finetune.slots import pad_right
from retrieval.progress import Progress
from retrieval.shop import write_atomically

_CHUNK = 64  # prompts whose activations share one file
_DEVICE_BATCH = 256  # prompts a pass on a GPU
_DISK_BATCH = 16  # prompts a pass on a CPU


def depth_below(model: Any, lora: LoraSettings) -> int:
    """How many layers lie below the lowest adapted one."""
    layers: int = model.config.num_hidden_layers
    return layers - min(lora.layers, layers)


class Trunk:
    """Activations of the layers below `depth` of some prompts."""

    def __init__(
        self,
        model: Any,
        depth: int,
        folder: Path,
        prompts: Sequence[Sequence[int]],
        progress: Progress,
    ) -> None:
        """Compute what is not there yet.

        Args:
            model: causal language model; where its weights lie decides where activations do.
            depth: how many of its layers.
            folder: for the files of a CPU run; a killed run's are used again.
            prompts: token ids.
            progress: told of every pass.
        """
        lower = _LowerLayers(model, depth)
        on_cpu = model.device.type == "cpu"
        self._kept: _OnDisk | _OnDevice = (
            _OnDisk(lower, folder, prompts, progress)
            if on_cpu
            else _OnDevice(lower, prompts, progress)
        )
        lower.restore()

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Activations of some prompts, padded on the right: `[batch, longest, width]`."""
        return self._kept.batch(indices)


class _OnDisk:
    def __init__(
        self,
        lower: "_LowerLayers",
        folder: Path,
        prompts: Sequence[Sequence[int]],
        progress: Progress,
    ) -> None:
        self._prompts = prompts
        self._files = [
            folder / f"trunk-{start:07d}.npy" for start in range(0, len(prompts), _CHUNK)
        ]
        for number, file in enumerate(self._files):
            if not file.exists():
                start = number * _CHUNK
                self._compute(lower, prompts[start : start + _CHUNK], file)
            progress("Reading histories", number + 1, len(self._files))
        self._offsets = self._chunk_offsets()

    def batch(self, indices: Sequence[int]) -> Tensor:
        rows = [self._row(index) for index in indices]
        longest = max(row.shape[0] for row in rows)
        padded = np.zeros((len(rows), longest, rows[0].shape[1]), dtype=np.float32)
        for number, row in enumerate(rows):
            padded[number, : row.shape[0]] = row
        return torch.from_numpy(padded)

    def _row(self, index: int) -> NDArray[np.float16]:
        chunk = np.load(self._files[index // _CHUNK], mmap_mode="r")
        start = self._offsets[index]
        row: NDArray[np.float16] = chunk[start : start + len(self._prompts[index])]
        return row

    def _compute(self, lower: "_LowerLayers", prompts: Sequence[Sequence[int]], file: Path) -> None:
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        rows: dict[int, NDArray[np.float16]] = {}
        for start in range(0, len(order), _DISK_BATCH):
            bucket = order[start : start + _DISK_BATCH]
            hidden = lower.forward(pad_right([prompts[index] for index in bucket]))
            for number, index in enumerate(bucket):
                rows[index] = hidden[number, : len(prompts[index])].to(torch.float16).numpy()
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate([rows[index] for index in range(len(prompts))]))
        write_atomically(file, buffer.getvalue())

    def _chunk_offsets(self) -> list[int]:
        offsets, position = [], 0
        for index, prompt in enumerate(self._prompts):
            if index % _CHUNK == 0:
                position = 0
            offsets.append(position)
            position += len(prompt)
        return offsets


class _OnDevice:
    """All activations in one tensor `[tokens of all prompts, width]`."""

    def __init__(
        self, lower: "_LowerLayers", prompts: Sequence[Sequence[int]], progress: Progress
    ) -> None:
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

    def batch(self, indices: Sequence[int]) -> Tensor:
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
