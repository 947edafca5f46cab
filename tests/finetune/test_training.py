from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from torch.nn.functional import cross_entropy

import finetune.training
import finetune.trunk
from finetune.adapter import LoraSettings, weights_bytes
from finetune.slots import Slots
from finetune.training import (
    TrainingExample,
    TrainingResult,
    TrainingSettings,
    _epoch_batches,
    train,
)
from finetune.trunk import Precision
from tests.finetune.hand_made import SMALL_RUN, examples, model_and_slots
from tests.finetune.killing import TRAIN_COUNT, VALIDATION_COUNT, exit_code_of, train_and_die
from tests.tiny_shop import LORA

# 90 examples in fours: 23 steps an epoch, a checkpoint every 20 steps and after each epoch.
STEPS = 46
# The trunk's activations are kept in float16, so losses differ from float32's in the third figure.
FLOAT16 = 2e-3
FLOAT32 = 1e-5


class _InterruptedError(Exception):
    """What a test raises to stop a run."""


def _run(
    folder: Path, work: Path, settings: TrainingSettings = SMALL_RUN, **options: Any
) -> TrainingResult:
    model, slots = model_and_slots(folder)
    return train(
        model,
        slots,
        examples(folder, TRAIN_COUNT),
        examples(folder, VALIDATION_COUNT, first=TRAIN_COUNT),
        lora=LORA,
        settings=settings,
        folder=work,
        **options,
    )


@pytest.fixture(scope="module")
def whole_run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """What an uninterrupted run ends in."""
    return _run(tiny_model, tmp_path_factory.mktemp("whole-run"))


def _same(result: TrainingResult, other: TrainingResult) -> bool:
    return (
        weights_bytes(result.state) == weights_bytes(other.state)
        and result.losses == other.losses
        and result.validation_losses == other.validation_losses
        and result.best_epoch == other.best_epoch
    )


def _plain_lora(model: Any, lora: LoraSettings) -> Any:
    """LoRA as anyone would put it on with peft, on a model of so many layers."""
    decoder = model.model
    count = min(lora.base_layers or 99, model.config.num_hidden_layers)
    decoder.layers, decoder.config.num_hidden_layers = decoder.layers[:count], count
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=2 * lora.rank,
            lora_dropout=0.0,
            target_modules=[
                *("q_proj", "k_proj", "v_proj", "o_proj"),
                *("gate_proj", "up_proj", "down_proj"),
            ],
            layers_to_transform=list(range(count - lora.layers, count)),
            layers_pattern="layers",
            task_type="CAUSAL_LM",
        ),
    )


def _plain_loss(wrapped: Any, slots: Slots, batch: list[TrainingExample]) -> torch.Tensor:
    """Mean cross-entropy over the label tokens, one whole prompt at a time, nothing padded."""
    total = torch.zeros(())
    for example in batch:
        logits = wrapped(input_ids=torch.tensor([list(example.prompt)])).logits[0]
        tier = logits[slots.tier_offset, list(slots.tier_ids)]
        churn = logits[slots.churn_offset, list(slots.churn_ids)]
        total = total + cross_entropy(tier, torch.tensor(example.tier))
        total = total + cross_entropy(churn, torch.tensor(example.churned))
    return total / len(batch)


def _plain_losses(
    folder: Path,
    training: list[TrainingExample],
    lora: LoraSettings,
    settings: TrainingSettings,
) -> list[float]:
    model, slots = model_and_slots(folder)
    torch.manual_seed(settings.seed)
    wrapped = _plain_lora(model, lora)
    parameters = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    batches = [
        batch
        for epoch in range(settings.epochs)
        for batch in _epoch_batches(training, settings, epoch)
    ]
    warm = max(1, round(len(batches) * settings.warmup_share))
    losses = []
    for step, batch in enumerate(batches):
        share = (step - warm) / (len(batches) - warm)
        factor = (step + 1) / warm if step < warm else (1 + np.cos(np.pi * share)) / 2
        optimizer.param_groups[0]["lr"] = settings.learning_rate * factor
        loss = _plain_loss(wrapped, slots, [training[index] for index in batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize(("base_layers", "layers"), [(None, 1), (None, 2), (4, 4), (3, 2), (2, 2)])
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("fused", [True, False])
def test_losses_are_those_of_plain_peft_step_by_step(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    base_layers: int | None,
    layers: int,
    precision: Precision,
    fused: bool,
) -> None:
    if not fused:  # as for a base model whose layers are not Llama's
        for module in (finetune.training, finetune.trunk):
            monkeypatch.setattr(module, "can_fuse", lambda model: False)
    lora = LoraSettings(rank=4, base_layers=base_layers, layers=layers)
    settings = TrainingSettings(
        epochs=3, batch_size=8, learning_rate=2e-3, warmup_share=0.3, trunk_precision=precision
    )
    training = examples(tiny_model, 30)
    model, slots = model_and_slots(tiny_model)
    result = train(
        model,
        slots,
        training,
        examples(tiny_model, 4, first=30),
        lora=lora,
        settings=settings,
        folder=tmp_path,
    )
    plain = _plain_losses(tiny_model, training, lora, settings)
    assert len(result.losses) == 12
    tolerance = {"float32": FLOAT32, "float16": FLOAT16}[precision]
    assert result.losses == pytest.approx(plain, abs=tolerance)
    # They would not be equal by standing still.
    assert np.ptp(plain) > 20 * FLOAT16


def test_training_learns(tiny_model: Path, tmp_path: Path) -> None:
    model, slots = model_and_slots(tiny_model)
    result = train(
        model,
        slots,
        examples(tiny_model, 12),
        examples(tiny_model, 3),
        lora=LORA,
        settings=TrainingSettings(epochs=20, batch_size=6, learning_rate=1e-2),
        folder=tmp_path,
    )
    assert np.mean(result.losses[-4:]) < 0.3 * np.mean(result.losses[:4])


def test_a_run_reports_every_step_and_epoch(whole_run: TrainingResult) -> None:
    assert whole_run.steps_per_epoch == STEPS // 2
    assert len(whole_run.losses) == STEPS
    assert len(whole_run.validation_losses) == 2


def test_every_epoch_sees_each_example_once() -> None:
    made = [
        TrainingExample(prompt=(1,) * (number % 17 + 1), tier=0, churned=0) for number in range(150)
    ]
    settings = TrainingSettings(batch_size=8)
    epochs = [_epoch_batches(made, settings, epoch) for epoch in range(3)]
    for batches in epochs:
        assert sorted(index for batch in batches for index in batch) == list(range(150))
        assert len(batches) == 19
    assert epochs[0] != epochs[1] != epochs[2]
    assert _epoch_batches(made, settings, 1) == epochs[1]


def test_the_same_seed_gives_the_same_bytes(
    tiny_model: Path, tmp_path: Path, whole_run: TrainingResult
) -> None:
    assert _same(_run(tiny_model, tmp_path), whole_run)


def test_another_seed_gives_other_bytes(
    tiny_model: Path, tmp_path: Path, whole_run: TrainingResult
) -> None:
    other = _run(tiny_model, tmp_path, replace(SMALL_RUN, seed=8))
    assert weights_bytes(other.state) != weights_bytes(whole_run.state)


@pytest.mark.parametrize(
    ("step", "done"),
    [
        ("Reading histories", 2),
        *(("Training", done) for done in (1, 20, 22, 23, STEPS)),
    ],
)
def test_an_interrupted_run_continues_to_the_same_end(
    tiny_model: Path, tmp_path: Path, whole_run: TrainingResult, step: str, done: int
) -> None:
    def interrupt(name: str, position: int, total: int) -> None:
        if name.startswith(step) and position == done:
            raise _InterruptedError

    with pytest.raises(_InterruptedError):
        _run(tiny_model, tmp_path, progress=interrupt)
    assert _same(_run(tiny_model, tmp_path), whole_run)


def test_a_continued_run_does_not_start_over(tiny_model: Path, tmp_path: Path) -> None:
    steps: list[int] = []

    def interrupt(name: str, position: int, total: int) -> None:
        if name.startswith("Training"):
            steps.append(position)
            if len(steps) in (22, 30):
                raise _InterruptedError

    for _ in range(2):
        with pytest.raises(_InterruptedError):
            _run(tiny_model, tmp_path, progress=interrupt)
    _run(tiny_model, tmp_path, progress=interrupt)
    # From the last checkpoint each time: after step 20, then after the epoch's end, step 23.
    assert steps == [*range(1, 23), *range(21, 29), *range(24, STEPS + 1)]


@pytest.mark.parametrize(
    ("step", "done"),
    [
        ("Reading histories", 1),  # between two files of the trunk
        ("Training", 22),  # between a checkpoint and the end of the epoch
        ("Training", 23),  # at the end of the epoch
        ("write", 2),  # half through the trunk's second file
        ("write", 5),  # half through the second checkpoint
    ],
)
def test_a_run_killed_at_any_moment_continues_to_the_same_end(
    tiny_model: Path, tmp_path: Path, whole_run: TrainingResult, step: str, done: int
) -> None:
    assert exit_code_of(train_and_die, tiny_model, tmp_path, step, done) == -9
    if step == "write":
        assert list(tmp_path.glob(".*.npy.*" if done == 2 else ".checkpoint.pt.*"))
    assert _same(_run(tiny_model, tmp_path), whole_run)


def test_the_adapter_moves_and_the_base_model_does_not(tiny_model: Path, tmp_path: Path) -> None:
    model, slots = model_and_slots(tiny_model)
    before = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    result = train(
        model,
        slots,
        examples(tiny_model, 20),
        examples(tiny_model, 4, first=20),
        lora=LORA,
        settings=SMALL_RUN,
        folder=tmp_path,
    )
    assert all(torch.equal(parameter, value) for parameter, value in before)
    fresh, _ = model_and_slots(tiny_model)
    torch.manual_seed(SMALL_RUN.seed)
    start = {
        name: parameter.detach().half()
        for name, parameter in _plain_lora(fresh, LORA).named_parameters()
        if parameter.requires_grad
    }
    # Two matrices for each of seven linears in two layers.
    assert set(result.state) == set(start)
    assert len(start) == 2 * 7 * 2
    assert [name for name in start if torch.equal(result.state[name], start[name])] == []


def test_the_epoch_that_does_best_on_validation_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    """Validation customers answer the opposite: what is learnt is soon worse than nothing."""
    model, slots = model_and_slots(tiny_model)
    contrary = examples(tiny_model, 24, contrary=True)
    result = train(
        model,
        slots,
        examples(tiny_model, 24),
        contrary,
        lora=LORA,
        settings=TrainingSettings(epochs=12, batch_size=8, learning_rate=1e-2),
        folder=tmp_path,
    )
    losses = result.validation_losses
    assert losses[result.best_epoch] == min(losses)
    assert losses[-1] > min(losses) + 0.5
    fresh, _ = model_and_slots(tiny_model)
    wrapped = _plain_lora(fresh, LORA)
    plain = {name.replace(".default", ""): value.float() for name, value in result.state.items()}
    set_peft_model_state_dict(wrapped, plain)
    with torch.inference_mode():
        kept = float(_plain_loss(wrapped, slots, contrary))
    assert kept == pytest.approx(min(losses), abs=10 * FLOAT16)
