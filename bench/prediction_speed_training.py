"""Fine-tuning's speed beside plain peft with the Trainer of transformers.

Both learn the same examples, with the same rank and the same highest rate. Ours passes over them
twice as often, for it reads fewer layers and needs more steps to the same loss; examples a second
count each pass, and `time_vs_peft` is what is left of the gain in time. The peer is what the
manuals of both libraries show: LoRA on the seven linears of every layer, the Trainer's own batch
size and schedule, batches padded to their longest, and the loss over the full vocabulary at the two
places where an answer stands (the question's words have none). Ours is trained as `patron finetune`
does it, in the shape of the shop's adapter: the lower layers of the base model only; it pays for
its validation after each epoch and for checkpoints.

Held-out customers' label loss (cross-entropy over the label tokens alone) is measured for both in
the same way; the difference comes with the standard error of the paired differences.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)

from finetune.adapter import LoraSettings, current_adapter, lora_state, read_manifest, trainable
from finetune.adapter_comparison import logits_of_adapters
from finetune.base_model import BaseModelFiles, find_base_model, load_base_model
from finetune.calibration import Floats
from finetune.lora_predictor import Logits
from finetune.slots import Slots, build_slots
from finetune.training import TrainingExample, TrainingSettings, train
from finetune.training_window import training_window
from retrieval.progress import Progress
from retrieval.shop import Shop

_TRAINING = 128
_EPOCHS, _PEFT_EPOCHS = 6, 3
_BATCH = 8  # the Trainer's own
_VALIDATION = 16  # read by ours after each epoch
_HELD_OUT = 96
_SPLIT_SEED = 7
_RATE = 1e-3

State = Mapping[str, torch.Tensor]


def measure_training(shop: Shop, work: Path, *, seed: int, progress: Progress) -> dict[str, float]:
    """Examples a second of both, each example counted once an epoch, and both losses."""
    files = find_base_model(shop.settings.models.base)
    slots = build_slots(files, shop.settings.value.tiers)
    lora = read_manifest(current_adapter(shop)).lora
    settings = TrainingSettings(seed=seed, epochs=_EPOCHS, batch_size=_BATCH, learning_rate=_RATE)
    training, validation, held_out = draw_examples(shop, files, slots, seed, progress)
    started, started_cpu = time.perf_counter(), time.process_time()
    folder = work / "speed-training"
    shutil.rmtree(folder, ignore_errors=True)
    ours = train(
        load_base_model(files),
        slots,
        training,
        validation,
        lora=lora,
        settings=settings,
        folder=folder,
        progress=progress,
    )
    ours_s, ours_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    progress("Fine-tuning with plain peft", 0, 1)
    started, started_cpu = time.perf_counter(), time.process_time()
    theirs = train_with_peft(
        files, slots, training, rank=lora.rank, epochs=_PEFT_EPOCHS, seed=seed, folder=folder
    )
    theirs_s, theirs_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    progress("Fine-tuning with plain peft", 1, 1)
    every_layer = LoraSettings(rank=lora.rank, base_layers=None, layers=_layers(files))
    adapters = {"ours": (ours.state, lora), "peft": (theirs, every_layer)}
    losses = label_losses(files, slots, adapters, held_out)
    shutil.rmtree(folder)
    read, read_by_peft = len(training) * _EPOCHS, len(training) * _PEFT_EPOCHS
    difference = losses["ours"] - losses["peft"]
    return {
        "finetune_vs_peft": round(read / ours_s / (read_by_peft / theirs_s), 2),
        "finetune_vs_peft_cpu": round(read / ours_cpu_s / (read_by_peft / theirs_cpu_s), 2),
        "time_vs_peft": round(theirs_s / ours_s, 2),
        "ours_per_s": round(read / ours_s, 3),
        "peft_per_s": round(read_by_peft / theirs_s, 3),
        "examples": len(training),
        "epochs": _EPOCHS,
        "peft_epochs": _PEFT_EPOCHS,
        "held_out": len(held_out),
        "ours_loss": round(float(losses["ours"].mean()), 4),
        "peft_loss": round(float(losses["peft"].mean()), 4),
        "loss_difference": round(float(difference.mean()), 4),
        "loss_difference_error": round(float(difference.std() / np.sqrt(len(difference))), 4),
    }


def train_with_peft(
    files: BaseModelFiles,
    slots: Slots,
    examples: Sequence[TrainingExample],
    *,
    rank: int,
    epochs: int,
    seed: int,
    folder: Path,
) -> State:
    """What a user of peft and transformers would write; the adapter's weights as ours are kept."""
    tokenizer = AutoTokenizer.from_pretrained(files.folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(seed)
    wrapped = get_peft_model(
        load_base_model(files),
        LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules=[
                *("q_proj", "k_proj", "v_proj", "o_proj"),
                *("gate_proj", "up_proj", "down_proj"),
            ],
            task_type="CAUSAL_LM",
        ),
    )
    trainer = Trainer(
        model=wrapped,
        args=TrainingArguments(
            output_dir=str(folder / "peft"),
            per_device_train_batch_size=_BATCH,
            num_train_epochs=epochs,
            learning_rate=_RATE,
            seed=seed,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        ),
        train_dataset=[as_text_example(example, slots) for example in examples],
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    trainer.train()
    return lora_state(trainable(wrapped))


def as_text_example(example: TrainingExample, slots: Slots) -> dict[str, list[int]]:
    """Tokens and labels as transformers wants them: a label stands where its token would be.

    The answer to the second question ends the text; the first one's is not in it, as in ours, for
    the second must not be read off the first.
    """
    answer = slots.churn_ids[example.churned]
    ids = [*example.prompt, answer]
    labels = [-100] * len(ids)
    # transformers shifts labels by one: the token behind a slot is what the slot predicts.
    labels[len(example.prompt) + slots.tier_offset + 1] = slots.tier_ids[example.tier]
    labels[len(example.prompt) + slots.churn_offset + 1] = answer
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def draw_examples(
    shop: Shop, files: BaseModelFiles, slots: Slots, seed: int, progress: Progress
) -> tuple[list[TrainingExample], list[TrainingExample], list[TrainingExample]]:
    """Real customers at the training cut-off: to learn, to validate and to compare on."""
    window = training_window(shop, files, _SPLIT_SEED, 1, progress)
    random = np.random.default_rng(seed)
    learnt, others = (
        [part[index] for index in random.permutation(len(part))]
        for part in (
            window.training_examples(files, slots),
            window.validation_examples(files, slots),
        )
    )
    held_out = others[_VALIDATION : _VALIDATION + _HELD_OUT]
    return learnt[:_TRAINING], others[:_VALIDATION], held_out


def _layers(files: BaseModelFiles) -> int:
    layers: int = AutoConfig.from_pretrained(files.folder).num_hidden_layers
    return layers


def label_losses(
    files: BaseModelFiles,
    slots: Slots,
    adapters: Mapping[str, tuple[State, LoraSettings]],
    examples: Sequence[TrainingExample],
) -> dict[str, Floats]:
    """Label loss of every held-out customer `[customers]`, by adapter."""
    logits = logits_of_adapters(files, slots, adapters, [example.prompt for example in examples])
    return {name: _label_loss(found, examples) for name, found in logits.items()}


def _label_loss(logits: Logits, examples: Sequence[TrainingExample]) -> Floats:
    tiers = [example.tier for example in examples]
    churned = [example.churned for example in examples]
    rows = np.arange(len(examples))

    def loss(values: Any, true: Sequence[int]) -> Floats:
        found: Floats = np.logaddexp.reduce(values, axis=1) - values[rows, list(true)]
        return found

    return loss(logits.tier, tiers) + loss(logits.churn, churned)
