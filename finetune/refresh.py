"""Fit an adapter's prior, blend and calibration to today's log, and keep its weights."""

import shutil

from finetune.adapter import (
    Manifest,
    check_compatible,
    current_adapter,
    read_manifest,
    read_weights,
)
from finetune.base_model import find_base_model
from finetune.finishing import finish_adapter
from finetune.gate import split_seed
from finetune.settling import settle
from finetune.slots import build_slots
from finetune.training_window import training_window
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop, write_atomically


def refresh(shop: Shop, *, progress: Progress = no_progress) -> Manifest:
    """Keep the current adapter's weights; fit prior, blend and calibration to today's log.

    Minutes instead of an hour. The customers held out in the adapter's training are held out
    again, so neither side has learnt from those the blend is chosen on, before it is chosen.

    Args:
        shop: with an adapter and a log long enough for a training and a test window.
        progress: told of every step.

    Raises:
        AdapterError: the shop has no adapter that fits.
        AdapterRefusedError: the gate keeps what comes out from becoming the current one.
        TrainingError: too few customers, or all of one kind.
        ShopError: the log is too short.
    """
    with shop.lock("finetune"):
        version = shop.log.version()
        files = find_base_model(shop.settings.models.base, progress)
        slots = build_slots(files, shop.settings.value.tiers)
        current = current_adapter(shop)
        manifest = read_manifest(current)
        check_compatible(manifest, files, slots, shop.settings)
        state = read_weights(current)
        window = training_window(shop, files, split_seed(manifest), 1, progress)
        folder = shop.adapters / ".training-refresh"
        shutil.rmtree(folder, ignore_errors=True)
        write_atomically(folder / "adapter" / "loss.png", (current / "loss.png").read_bytes())
        fitted = finish_adapter(
            shop, files, slots, window, state, manifest.lora, manifest.training, folder, progress
        )
        settle(shop, files, fitted, version, progress)
        return fitted
