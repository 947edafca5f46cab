from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from bench.prediction_speed import BARS, needed_operations, speed_lines
from bench.prediction_speed_memory import measure_memory
from bench.prediction_speed_training import as_text_example, train_with_peft
from finetune.adapter import weights_bytes
from finetune.base_model import find_base_model
from retrieval.progress import no_progress
from retrieval.shop import Shop
from tests.finetune.hand_made import examples, model_and_slots


def test_operations_are_those_that_torch_counts(tiny_model: Path) -> None:
    model, slots = model_and_slots(tiny_model)
    model.config._attn_implementation = "eager"  # torch counts no operations of fused attention
    config, length = model.config, 10
    labels = 2 * len(slots.label_ids) * config.hidden_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.get_decoder()(input_ids=torch.ones(1, length, dtype=torch.long))
    # torch counts attention to what stands behind, too: each of n tokens to all n.
    seen = 3 * sum(range(1, length + 1))  # in three layers; then what the two slots see in the last
    seen += sum(length + offset + 1 for offset in slots.offsets)
    attention = 2 * 2 * config.hidden_size * (4 * length * length - seen)
    # Two square matrices and three of the gated part, at all but the slots.
    spared = 2 * config.hidden_size**2 + 3 * config.hidden_size * config.intermediate_size
    expected = counter.get_total_flops() + labels - attention - 2 * (length - 2) * spared
    assert needed_operations(model, slots, length) == expected


def test_the_peers_loss_is_over_the_full_vocabulary_at_both_answers(tiny_model: Path) -> None:
    model, slots = model_and_slots(tiny_model)
    example = examples(tiny_model, 1)[0]
    encoded = {
        name: torch.tensor([values]) for name, values in as_text_example(example, slots).items()
    }
    with torch.inference_mode():
        loss = model(**encoded).loss
        logits = model(input_ids=torch.tensor([example.prompt])).logits[0]
    answers = torch.tensor([slots.tier_ids[example.tier], slots.churn_ids[example.churned]])
    expected = cross_entropy(logits[[slots.tier_offset, slots.churn_offset]], answers)
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def test_the_peer_learns(tiny_model: Path, tmp_path: Path) -> None:
    _, slots = model_and_slots(tiny_model)
    files = find_base_model(str(tiny_model))
    learnt = examples(tiny_model, 6)

    def learn() -> dict[str, torch.Tensor]:
        return dict(
            train_with_peft(files, slots, learnt, rank=4, epochs=1, seed=7, folder=tmp_path)
        )

    state = learn()
    assert weights_bytes(learn()) == weights_bytes(state)
    # Two matrices for each of seven linears in every one of the four layers.
    assert len(state) == 2 * 7 * 4
    assert any(bool(weight.any()) for name, weight in state.items() if "lora_B" in name)


def test_memory_is_measured_on_shops_of_the_sizes_asked_for(shop: Shop, tmp_path: Path) -> None:
    found = measure_memory(shop, tmp_path, seed=7, progress=no_progress, sizes=(30, 130))
    assert {size: figures["customers"] for size, figures in found.items()} == {"30": 30, "130": 130}
    assert all(figures["peak_mib"] > 100 for figures in found.values())
    assert not (tmp_path / "speed-memory").exists()


def test_memory_is_not_that_of_the_process_that_started_it(shop: Shop, tmp_path: Path) -> None:
    held = np.ones(2_000_000_000 // 8)
    found = measure_memory(shop, tmp_path, seed=7, progress=no_progress, sizes=(30,))
    assert found["30"]["peak_mib"] < held.nbytes / 2**20


def test_lines_say_which_bars_hold() -> None:
    measured: dict[str, float] = defaultdict(float)
    speed = {
        "score_vs_generate": 9.99,
        "score_gemm_share": 0.7,
        "finetune_vs_peft": 5.0,
        "memory": {"2000": {"peak_mib": 1.0, "grown_mib": 0.0, "seconds": 1.0}},
        "details": {"scoring": measured, "training": measured},
    }
    verdicts = [line.split(":")[0] for line in speed_lines(speed)[-len(BARS) :]]
    assert verdicts == ["FAILS", "holds", "holds"]
