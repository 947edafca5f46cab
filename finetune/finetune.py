"""Fine-tune a shop's adapter: train on today's log, finish, and put it before the gate."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from finetune.adapter import (
    LoraSettings,
    Manifest,
    check_compatible,
    current_adapter,
    current_id,
    current_prompt_hashes,
    read_manifest,
    read_weights,
)
from finetune.base_model import BaseModelFiles, find_base_model, load_base_model
from finetune.errors import AdapterError
from finetune.finishing import finish_adapter
from finetune.gate import split_seed
from finetune.model_card import plot_losses
from finetune.settling import settle
from finetune.slots import Slots, build_slots
from finetune.training import TrainingResult, TrainingSettings, settings_json, train
from finetune.training_window import CUTOFFS, TrainingWindow, training_window
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop


class Start(StrEnum):
    """Which weights training begins from."""

    SCRATCH = "scratch"
    CURRENT = "current"
    BEST = "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """The adapter that training may continue from.

    Attributes:
        adapter_id: of it; None where there is none that fits.
        manifest: of it.
    """

    adapter_id: str | None = None
    manifest: Manifest | None = None


def finetune(
    shop: Shop,
    *,
    lora: LoraSettings | None = None,
    settings: TrainingSettings | None = None,
    cutoffs: int = CUTOFFS,
    start: Start = Start.BEST,
    progress: Progress = no_progress,
) -> Manifest:
    """Train an adapter on the shop's log and make it the current one if it is not worse.

    A killed run continues where it was when called again with the same log and settings, and
    ends in the same adapter. Customers that the current adapter held out are held out again.

    Args:
        shop: with a log long enough for a training and a test window.
        lora: shape of the adapter.
        settings: how to train.
        cutoffs: how many cut-offs to learn from, the newest and earlier ones a third of a horizon
            apart; customers held out are judged at the newest only.
        start: whether to begin from fresh weights, from the current adapter's, or to try both and
            keep what has the lower loss on customers held out. A shop's first adapter begins
            from fresh weights.
        progress: told of every step.

    Raises:
        TrainingError: too few customers, or all of one kind.
        AdapterError: training is to begin from the current adapter, which does not fit.
        AdapterRefusedError: the gate keeps the new adapter from becoming the current one.
        ShopError: the log is too short.
    """
    lora, settings = lora or LoraSettings(), settings or TrainingSettings()
    with shop.lock("finetune"):
        version = shop.log.version()
        files = find_base_model(shop.settings.models.base, progress)
        slots = build_slots(files, shop.settings.value.tiers)
        origin = _origin(shop, files, slots, start)
        seed = settings.seed if origin.manifest is None else split_seed(origin.manifest)
        window = training_window(shop, files, seed, cutoffs, progress)
        run = _run_name(shop, files, window, lora, settings)
        origin = _first_origin(shop, origin, run, start)
        folder = shop.adapters / f".training-{run}"
        results = {
            name: _train(shop, files, slots, window, name, lora, settings, folder, progress)
            for name in _starts(origin, lora, start)
        }
        losses = {name: min(result.validation_losses) for name, result in results.items()}
        best = min(losses, key=lambda name: losses[name])
        result = results[best]
        training = {
            **settings_json(lora, settings)["training"],
            "best_epoch": result.best_epoch,
            "validation_losses": list(result.validation_losses),
            "cutoffs": window.cutoffs,
            "examples": len(window.part(validation=False)) + sum(map(len, window.earlier)),
            "split_seed": seed,
            "run": run,
            "origin": origin.adapter_id,
            "start": best,
            "start_losses": losses,
        }
        plot_losses(result, folder / "adapter" / "loss.png")
        manifest = finish_adapter(
            shop, files, slots, window, result.state, lora, training, folder, progress
        )
        settle(shop, files, manifest, version, progress)
        return manifest


def _origin(shop: Shop, files: BaseModelFiles, slots: Slots, start: Start) -> _Origin:
    """The current adapter, if it fits the shop."""
    if start is Start.CURRENT:
        current_adapter(shop)  # says so where there is none
    adapter_id = current_id(shop)
    if adapter_id is None:
        return _Origin()
    try:
        manifest = read_manifest(shop.adapters / adapter_id)
        check_compatible(manifest, files, slots, shop.settings)
    except AdapterError:
        # It answers nothing any more; a new one is what mends that.
        if start is Start.CURRENT:
            raise
        return _Origin()
    return _Origin(adapter_id=adapter_id, manifest=manifest)


def _first_origin(shop: Shop, origin: _Origin, run: str, start: Start) -> _Origin:
    """What the run began beside when it first ran: the same command ends in the same adapter."""
    if origin.manifest is None or origin.manifest.training.get("run") != run:
        return origin
    before = origin.manifest.training["origin"]
    if before is None or not (shop.adapters / before).is_dir():
        return origin if start is Start.CURRENT else _Origin()
    return _Origin(adapter_id=before, manifest=read_manifest(shop.adapters / before))


def _starts(origin: _Origin, lora: LoraSettings, start: Start) -> list[str]:
    """From what to train: "scratch", or the id of the adapter to continue from."""
    if start is Start.SCRATCH or origin.adapter_id is None or origin.manifest is None:
        return [Start.SCRATCH.value]
    if start is Start.CURRENT:
        return [origin.adapter_id]
    # Of another shape, its weights are of no use.
    fits = origin.manifest.lora == lora
    return [Start.SCRATCH.value, *([origin.adapter_id] if fits else [])]


def _train(
    shop: Shop,
    files: BaseModelFiles,
    slots: Slots,
    window: TrainingWindow,
    name: str,
    lora: LoraSettings,
    settings: TrainingSettings,
    folder: Path,
    progress: Progress,
) -> TrainingResult:
    state: Any = None if name == Start.SCRATCH else read_weights(shop.adapters / name)
    return train(
        load_base_model(files),
        slots,
        window.training_examples(files, slots),
        window.validation_examples(files, slots),
        lora=lora,
        settings=settings,
        folder=folder / name,
        start=state,
        progress=progress,
    )


def _run_name(
    shop: Shop,
    files: BaseModelFiles,
    window: TrainingWindow,
    lora: LoraSettings,
    settings: TrainingSettings,
) -> str:
    """A hash of all that decides the weights: a changed log or setting starts a new run."""
    digest = hashlib.sha256()
    digest.update(json.dumps(settings_json(lora, settings), sort_keys=True).encode())
    digest.update(files.sha256.encode())
    digest.update(json.dumps(current_prompt_hashes(), sort_keys=True).encode())
    digest.update(shop.settings.model_dump_json().encode())
    digest.update(f"{window.split_seed}".encode())
    for history, example in window.labelled():
        digest.update(f"{history.text}\x1f{example.spend}\x1f{example.churned}\x1e".encode())
    return digest.hexdigest()[:12]
