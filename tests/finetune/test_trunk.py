from pathlib import Path

import numpy as np
import pytest
import torch

import finetune.trunk
from finetune.trunk import DeviceTrunk, DiskTrunk
from retrieval.progress import no_progress
from tests.finetune.hand_made import examples, model_and_slots

# Of the four layers, so many lie below.
DEPTH = 2
BFLOAT16 = 2**-8


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_devices_trunk_holds_what_the_disks_does(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, which computes in float32: the same activations, whatever lies where."""
    monkeypatch.setattr(finetune.trunk, "_DEVICE_BATCH", 5)  # several passes
    prompts = [example.prompt for example in examples(tiny_model, 83)]
    lengths = [len(prompt) for prompt in prompts]
    last, longest = len(prompts) - 1, int(np.argmax(lengths))
    assert lengths[last] < lengths[longest]
    device = DeviceTrunk(model_and_slots(tiny_model)[0], DEPTH, prompts, no_progress)
    disk = DiskTrunk(
        model_and_slots(tiny_model)[0], DEPTH, tmp_path, prompts, no_progress, "float32"
    )
    shuffled = np.random.default_rng(3).permutation(len(prompts)).tolist()
    for indices in (shuffled, [longest, last], [last], [longest]):
        padded = device.batch(indices)
        assert padded.shape[1] == max(lengths[index] for index in indices)
        expected = disk.batch(indices).split([lengths[index] for index in indices])
        for row, states in zip(padded, expected, strict=True):
            assert torch.allclose(row[: len(states)], states, rtol=BFLOAT16, atol=1e-3)
            assert not row[len(states) :].any()
