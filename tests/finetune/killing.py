"""Work that dies by SIGKILL at a known moment, in processes of its own.

The processes fork from a server that has imported the libraries once, and computes nothing.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from importlib import import_module
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch

import finetune.batch_scoring as scoring
from finetune.batch_scoring import score_shop
from finetune.finetune import finetune
from finetune.training import train
from retrieval.shop import Shop
from tests.finetune.hand_made import SMALL_RUN, examples, model_and_slots
from tests.tiny_shop import LORA, TRAINING

TRAIN_COUNT, VALIDATION_COUNT = 90, 40


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "transformers.models.llama.modeling_llama"])
    return context


def exit_code_of(target: Callable[..., None], *arguments: object) -> int | None:
    """Run a function in a process of its own and return how the process ended."""
    process = _server().Process(target=_alone, args=(target, *arguments))
    process.start()
    process.join(120)
    return process.exitcode


def _alone(target: Callable[..., None], *arguments: object) -> None:
    torch.set_num_threads(1)  # as in conftest.py
    target(*arguments)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(step: str, done: int) -> Callable[[str, int, int], None]:
    def progress(name: str, position: int, total: int) -> None:
        if name.startswith(step) and position == done:
            _die()

    return progress


def _die_at_call(owner: Any, name: str, number: int) -> None:
    """Make the `number`th call of a function the last thing that happens."""
    real, calls = getattr(owner, name), 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            _die()
        return real(*arguments, **options)

    setattr(owner, name, counted)


def train_and_die(model_folder: Path, work: Path, step: str, done: int) -> None:
    """Die on a report of progress; with `step` "write", while the `done`th file is written."""
    model, slots = model_and_slots(model_folder)
    if step == "write":
        _die_at_call(os, "fsync", done)
    train(
        model,
        slots,
        examples(model_folder, TRAIN_COUNT),
        examples(model_folder, VALIDATION_COUNT, first=TRAIN_COUNT),
        lora=LORA,
        settings=SMALL_RUN,
        folder=work,
        progress=_die_at(step, done),
    )


def finetune_and_die(
    directory: Path, module: str, function: str, number: int, options: dict[str, Any]
) -> None:
    """Die instead of the `number`th call of one of the steps that `finetune` takes."""
    _die_at_call(import_module(module), function, number)
    finetune(Shop.open(directory), **options)


def finetune_and_die_at(directory: Path, step: str, done: int) -> None:
    """Die on a report of progress."""
    finetune(Shop.open(directory), lora=LORA, settings=TRAINING, progress=_die_at(step, done))


def score_and_die(directory: Path, chunk_size: int, function: str, number: int) -> None:
    """Die instead of the `number`th call of one of the steps that `score_shop` takes."""
    _die_at_call(scoring, function, number)
    score_shop(Shop.open(directory), chunk_size=chunk_size)


def score_and_die_at(directory: Path, chunk_size: int, step: str, done: int) -> None:
    """Die on a report of progress."""
    score_shop(Shop.open(directory), chunk_size=chunk_size, progress=_die_at(step, done))
