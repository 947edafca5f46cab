"""Train the adapter: cross-entropy over the label tokens at two slots, resumable at every point.

The layers below the lowest adapted one never change, so they run once; their activations (the
embeddings, where every layer that is read is adapted) are kept (`finetune.trunk`) and every epoch
starts from them. On a CPU prompts lie end to end. Work in
progress lies in one folder named by the content of the run; a run killed at any moment and started
again continues there and ends in the same adapter. On a GPU the passes run in bfloat16, the weights
stay float32.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import cross_entropy

from finetune.adapter import LoraSettings, add_lora, begin_from, lora_state, trainable
from finetune.fused_layers import can_fuse
from finetune.lora_layers import LoraLayers
from finetune.packed_pass import PackedDecoder, packing_of
from finetune.slots import Slots, label_weights, logits_at_slots
from finetune.trunk import DeviceTrunk, DiskTrunk, Precision, depth_below
from retrieval.progress import Progress, no_progress
from retrieval.shop import write_atomically

_CHECKPOINT_STEPS = 20
_CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How to train; the defaults are those of the shipped adapter.

    On a CPU, `trunk_precision` is what the frozen layers' activations are kept in; float32 takes
    twice the disk and repeats plain peft's losses to the fifth figure.
    """

    epochs: int = 4
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup_share: float = 0.05
    seed: int = 7
    trunk_precision: Precision = "float16"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingExample:
    """A prompt's token ids with its two true answers (indices into the labels)."""

    prompt: tuple[int, ...]
    tier: int
    churned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What training left.

    Attributes:
        state: adapter weights of the best epoch, float16.
        losses: training loss of every step.
        validation_losses: after each epoch.
        best_epoch: 0 for the first.
        steps_per_epoch: to place the epochs on the steps' axis.
    """

    state: dict[str, Tensor]
    losses: tuple[float, ...]
    validation_losses: tuple[float, ...]
    best_epoch: int
    steps_per_epoch: int


def train(
    model: Any,
    slots: Slots,
    training: Sequence[TrainingExample],
    validation: Sequence[TrainingExample],
    *,
    lora: LoraSettings,
    settings: TrainingSettings,
    folder: Path,
    start: Mapping[str, Tensor] | None = None,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train a LoRA adapter on a frozen base model.

    Args:
        model: causal language model, float32; LoRA layers are put into it.
        slots: where the answers stand.
        training: examples to learn from.
        validation: examples of other customers; the epoch with the lowest loss on them is kept.
        lora: shape of the adapter.
        settings: epochs, batch size, rate and seed.
        folder: for work in progress; give the same folder to continue a killed run.
        start: an adapter's weights of the same shape to begin from, instead of fresh ones.
        device: where torch computes, `cpu` or `cuda`.
        progress: told of every step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    weights = label_weights(model, slots)
    depth = depth_below(model, lora)
    prompts = [example.prompt for example in (*training, *validation)]
    model.to(device)
    weights = weights.to(device)
    # Asked before the trunk takes the lower layers out: what it leaves is of no known kind.
    fusible = can_fuse(model)
    upper: _PaddedUpper | _PackedUpper
    if device == "cpu":
        packed = DiskTrunk(model, depth, folder, prompts, progress, settings.trunk_precision)
    else:
        padded = DeviceTrunk(model, depth, prompts, progress)
    wrapped = add_lora(model, lora)
    # Named before the lower layers are cut off, which renumbers the others.
    adapter = trainable(wrapped)
    if start is not None:
        begin_from(adapter, start)
    if device == "cpu":
        upper = _PackedUpper(wrapped, depth, packed, fused=fusible)
    else:
        upper = _PaddedUpper(wrapped, depth, padded)
    parameters = list(adapter.values())
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    steps_per_epoch = -(-len(training) // settings.batch_size)
    total = settings.epochs * steps_per_epoch
    run = _Run.load(folder, adapter, optimizer)

    def loss_of(examples: Sequence[TrainingExample], indices: Sequence[int]) -> Tensor:
        hidden = upper.at_slots([example.prompt for example in examples], indices, slots)
        tier, churn = logits_at_slots(hidden, slots, weights)
        tiers = torch.tensor([example.tier for example in examples], device=device)
        churned = torch.tensor([example.churned for example in examples], device=device)
        return cross_entropy(tier, tiers) + cross_entropy(churn, churned)

    while run.step < total:
        epoch, position = divmod(run.step, steps_per_epoch)
        chosen = _epoch_batches(training, settings, epoch)[position]
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _rate_factor(run.step, total, settings)
        loss = loss_of([training[index] for index in chosen], chosen)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        run.losses.append(float(loss.detach()))
        run.step += 1
        if position + 1 == steps_per_epoch:
            run.end_epoch(adapter, _validate(loss_of, validation, len(training), settings))
        if run.step % _CHECKPOINT_STEPS == 0 or position + 1 == steps_per_epoch:
            run.save(folder, adapter, optimizer)
        progress(f"Training (loss {run.recent_loss():.3f})", run.step, total)

    return TrainingResult(
        state=run.best_state,
        losses=tuple(run.losses),
        validation_losses=tuple(run.validation_losses),
        best_epoch=int(np.argmin(run.validation_losses)),
        steps_per_epoch=steps_per_epoch,
    )


class _PaddedUpper:
    """The adapted layers and the final norm on a GPU, fed with the trunk's activations."""

    def __init__(self, wrapped: Any, depth: int, trunk: DeviceTrunk) -> None:
        self._decoder = _cut_off(wrapped, depth)
        self._trunk = trunk

    def at_slots(
        self, prompts: Sequence[Sequence[int]], indices: Sequence[int], slots: Slots
    ) -> Tensor:
        """Hidden states at both slots: `[prompts, 2, width]`."""
        with torch.autocast("cuda", dtype=torch.bfloat16):
            activations = self._trunk.batch(indices)
            hidden = self._decoder(inputs_embeds=activations, use_cache=False).last_hidden_state
        ends = torch.tensor([len(prompt) for prompt in prompts])
        rows = torch.arange(len(prompts))[:, None]
        found: Tensor = hidden[rows, ends[:, None] + torch.tensor(slots.offsets)].float()
        return found


class _PackedUpper:
    """The same on a CPU, without padding."""

    def __init__(self, wrapped: Any, depth: int, trunk: DiskTrunk, *, fused: bool) -> None:
        self._layers: LoraLayers | PackedDecoder
        if fused:
            self._layers = LoraLayers(wrapped, depth)
        else:
            _cut_off(wrapped, depth)
            self._layers = PackedDecoder(wrapped.get_base_model())
        self._trunk = trunk

    def at_slots(
        self, prompts: Sequence[Sequence[int]], indices: Sequence[int], slots: Slots
    ) -> Tensor:
        """Hidden states at both slots: `[prompts, 2, width]`."""
        return self._layers.hidden_at(
            packing_of(prompts), slots.offsets, self._trunk.batch(indices)
        )


def _cut_off(wrapped: Any, depth: int) -> Any:
    """Leave only the decoder's layers from `depth` on."""
    decoder = wrapped.get_base_model().get_decoder()
    decoder.layers = decoder.layers[depth:]
    decoder.config.num_hidden_layers -= depth
    return decoder


@dataclass(slots=True, kw_only=True)
class _Run:
    """Where a run is: everything that a continued run needs to end the same."""

    step: int
    losses: list[float]
    validation_losses: list[float]
    best_state: dict[str, Tensor]

    @classmethod
    def load(
        cls, folder: Path, adapter: dict[str, Parameter], optimizer: torch.optim.Optimizer
    ) -> "_Run":
        file = folder / _CHECKPOINT
        if not file.exists():
            return cls(step=0, losses=[], validation_losses=[], best_state={})
        saved = torch.load(file, weights_only=True)
        with torch.no_grad():
            for name, parameter in adapter.items():
                parameter.copy_(saved["adapter"][name])
        optimizer.load_state_dict(saved["optimizer"])
        return cls(
            step=saved["step"],
            losses=saved["losses"],
            validation_losses=saved["validation_losses"],
            best_state=saved["best_state"],
        )

    def save(
        self, folder: Path, adapter: dict[str, Parameter], optimizer: torch.optim.Optimizer
    ) -> None:
        buffer = io.BytesIO()
        torch.save(
            {
                "adapter": {name: parameter.detach() for name, parameter in adapter.items()},
                "optimizer": optimizer.state_dict(),
                "step": self.step,
                "losses": self.losses,
                "validation_losses": self.validation_losses,
                "best_state": self.best_state,
            },
            buffer,
        )
        write_atomically(folder / _CHECKPOINT, buffer.getvalue())

    def end_epoch(self, adapter: dict[str, Parameter], validation_loss: float) -> None:
        if not self.validation_losses or validation_loss < min(self.validation_losses):
            self.best_state = lora_state(adapter)
        self.validation_losses.append(validation_loss)

    def recent_loss(self) -> float:
        recent = self.losses[-50:]
        return sum(recent) / len(recent) if recent else float("nan")


def _epoch_batches(
    examples: Sequence[TrainingExample], settings: TrainingSettings, epoch: int
) -> list[list[int]]:
    """Shuffled batches of prompts of similar length; the same for the same seed and epoch.

    Shuffling first and sorting only within wide pools keeps the order random while little of a
    batch is padding on a GPU; on a CPU none is.
    """
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(examples)).tolist()
    pool = settings.batch_size * 16
    arranged: list[int] = []
    for start in range(0, len(order), pool):
        arranged += sorted(
            order[start : start + pool], key=lambda index: len(examples[index].prompt)
        )
    batches = [
        arranged[start : start + settings.batch_size]
        for start in range(0, len(arranged), settings.batch_size)
    ]
    shuffled = np.random.default_rng([settings.seed, epoch, 1]).permutation(len(batches))
    return [batches[number] for number in shuffled]


def _rate_factor(step: int, total: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then cosine decay to nothing."""
    warmup = max(1, round(total * settings.warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return float(0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, total - warmup))))


@torch.inference_mode()
def _validate(
    loss_of: Any,
    validation: Sequence[TrainingExample],
    offset: int,
    settings: TrainingSettings,
) -> float:
    """Mean loss over validation examples, whose activations follow the training ones'."""
    total = 0.0
    for start in range(0, len(validation), settings.batch_size):
        part = validation[start : start + settings.batch_size]
        indices = list(range(offset + start, offset + start + len(part)))
        total += float(loss_of(part, indices)) * len(part)
    return total / len(validation)


def settings_json(lora: LoraSettings, settings: TrainingSettings) -> dict[str, Any]:
    """The settings as plain values, for manifests and for naming a run."""
    return {"lora": asdict(lora), "training": asdict(settings)}
