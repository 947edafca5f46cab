"""Fine-tune a shop's adapter: labels, training, validation, calibration, manifest, model card."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from finetune.adapter import (
    MANIFEST_FILE,
    PRIOR_FILE,
    WEIGHTS_FILE,
    LoraSettings,
    Manifest,
    check_compatible,
    current_adapter,
    current_prompt_hashes,
    make_current,
    read_manifest,
    read_weights,
    weights_bytes,
)
from finetune.base_model import (
    BaseModelFiles,
    find_base_model,
    load_base_model,
    token_counter,
)
from finetune.blend import fit_blend
from finetune.calibration import Calibration, fit_calibration
from finetune.errors import TrainingError
from finetune.labels import Example, build_labels, tier_of, tier_thresholds
from finetune.lora_predictor import Logits, LoraPredictor
from finetune.metrics import churn_metrics, spearman, tier_f1
from finetune.model_card import plot_losses, write_model_card
from finetune.prior import Prior, fit_prior
from finetune.scoring import calibrated_answers
from finetune.season import read_seasons
from finetune.slots import Slots, build_slots, encode_prompt
from finetune.spend_interval import fit_spend_interval
from finetune.training import (
    TrainingExample,
    TrainingSettings,
    settings_json,
    train,
)
from retrieval.catalogue import Catalogue
from retrieval.history import History, render_history, usual_spend
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop, write_atomically
from retrieval.time_split import TimeSplit, learning_cutoffs, split_by_time

_VALIDATION_SHARE = 0.2
_FEWEST_CUSTOMERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """The labelled training window, split by customer."""

    split: TimeSplit
    examples: list[Example]
    histories: list[History]
    thresholds: tuple[float, ...]
    validation: frozenset[int]

    def part(self, *, validation: bool) -> list[int]:
        """Indices of validation or of training customers."""
        return [i for i in range(len(self.examples)) if (i in self.validation) is validation]

    def tier(self, index: int) -> int:
        return tier_of(self.examples[index].spend, self.thresholds)


def finetune(
    shop: Shop,
    *,
    lora: LoraSettings | None = None,
    settings: TrainingSettings | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Train the shop's adapter on its training window and make it the current one.

    A killed run continues where it was when called again with the same log and settings, and
    ends in the same adapter.

    Args:
        shop: with a log long enough for a training and a test window.
        lora: shape of the adapter.
        settings: how to train.
        progress: told of every step.

    Raises:
        TrainingError: too few customers, or all of one kind.
        ShopError: the log is too short.
    """
    lora, settings = lora or LoraSettings(), settings or TrainingSettings()
    with shop.lock("finetune"):
        files = find_base_model(shop.settings.models.base, progress)
        slots = build_slots(files, shop.settings.value.tiers)
        window = _training_window(shop, files, settings.seed, progress)
        folder = shop.adapters / f".training-{_run_name(shop, files, window, lora, settings)}"
        result = train(
            load_base_model(files),
            slots,
            _encode(window, window.part(validation=False), files, slots),
            _encode(window, window.part(validation=True), files, slots),
            lora=lora,
            settings=settings,
            folder=folder,
            progress=progress,
        )
        training = {
            **settings_json(lora, settings)["training"],
            "best_epoch": result.best_epoch,
            "validation_losses": list(result.validation_losses),
        }
        plot_losses(result, folder / "adapter" / "loss.png")
        return _finish(shop, files, slots, window, result.state, lora, training, folder, progress)


def refresh(shop: Shop, *, progress: Progress = no_progress) -> Manifest:
    """Keep the current adapter's weights; fit prior, blend and calibration to today's log.

    Minutes instead of an hour. The customers held out in the adapter's training are held out
    again, so neither side has learnt from those the blend is chosen on.

    Args:
        shop: with an adapter and a log long enough for a training and a test window.
        progress: told of every step.

    Raises:
        AdapterError: the shop has no adapter that fits.
        TrainingError: too few customers, or all of one kind.
        ShopError: the log is too short.
    """
    with shop.lock("finetune"):
        files = find_base_model(shop.settings.models.base, progress)
        slots = build_slots(files, shop.settings.value.tiers)
        current = current_adapter(shop)
        manifest = read_manifest(current)
        check_compatible(manifest, files, slots, shop.settings)
        state = read_weights(current)
        window = _training_window(shop, files, manifest.training["seed"], progress)
        folder = shop.adapters / ".training-refresh"
        shutil.rmtree(folder, ignore_errors=True)
        write_atomically(folder / "adapter" / "loss.png", (current / "loss.png").read_bytes())
        return _finish(
            shop, files, slots, window, state, manifest.lora, manifest.training, folder, progress
        )


def _training_window(shop: Shop, files: BaseModelFiles, seed: int, progress: Progress) -> _Window:
    progress("Building labels", 0, 1)
    split = split_by_time(shop)
    examples = build_labels(shop.log, split.train_cutoff, shop.settings)
    catalogue = Catalogue.read(shop.items_file)
    count = token_counter(files)
    histories = [
        render_history(
            example.past, settings=shop.settings, catalogue=catalogue, count_tokens=count
        )
        for example in examples
    ]
    progress("Building labels", 1, 1)
    validation = frozenset(
        index
        for index, example in enumerate(examples)
        if _share(example.past.customer_id, seed) < _VALIDATION_SHARE
    )
    window = _Window(
        split=split,
        examples=examples,
        histories=histories,
        thresholds=tier_thresholds([example.spend for example in examples], shop.settings)
        if examples
        else (),
        validation=validation,
    )
    _check_learnable(shop, window)
    return window


def _check_learnable(shop: Shop, window: _Window) -> None:
    for validation, name in ((False, "training"), (True, "validation")):
        part = window.part(validation=validation)
        churned = sum(window.examples[index].churned for index in part)
        fewest = _FEWEST_CUSTOMERS * (_VALIDATION_SHARE if validation else 1 - _VALIDATION_SHARE)
        if len(part) < fewest or not 0 < churned < len(part):
            raise TrainingError(
                f"The training window has too little to learn from: {len(part)} {name} customers, "
                f"{churned} of whom churned.",
                hint=f"Give at least {_FEWEST_CUSTOMERS} customers, some of whom left and some of "
                f"whom stayed; or change churn or windows in {shop.directory / 'shop.toml'}.",
            )
        if len({window.tier(index) for index in part}) < 2:
            raise TrainingError(
                f"All {name} customers fall into one value tier.",
                hint="Choose other value.quantiles in shop.toml.",
            )


def _encode(
    window: _Window, indices: Sequence[int], files: BaseModelFiles, slots: Slots
) -> list[TrainingExample]:
    return [
        TrainingExample(
            prompt=tuple(encode_prompt(files, slots, window.histories[index].text)),
            tier=window.tier(index),
            churned=int(window.examples[index].churned),
        )
        for index in indices
    ]


def _finish(
    shop: Shop,
    files: BaseModelFiles,
    slots: Slots,
    window: _Window,
    state: dict[str, Any],
    lora: LoraSettings,
    training: dict[str, Any],
    folder: Path,
    progress: Progress,
) -> Manifest:
    """Write the adapter, judged and calibrated as it will be loaded, and make it the current one.

    `folder / "adapter"` holds the loss curve already.
    """
    weights = weights_bytes(state)
    progress("Learning the prior", 0, 1)
    prior = _fit_prior(shop, window)
    progress("Learning the prior", 1, 1)
    prior_text = prior.to_json().encode()
    adapter_id = f"patron-{hashlib.sha256(weights + prior_text).hexdigest()[:10]}"
    building = folder / "adapter"
    write_atomically(building / WEIGHTS_FILE, weights)
    write_atomically(building / PRIOR_FILE, prior_text)
    validation = window.part(validation=True)
    draft = _manifest(shop, files, slots, window, lora, training, adapter_id)
    write_atomically(building / MANIFEST_FILE, draft.to_json().encode())
    predictor = LoraPredictor.load(building, files, shop.settings)
    logits = predictor.logits([window.histories[index] for index in validation], progress=progress)
    manifest = _calibrated(draft, shop, window, validation, logits, prior)
    write_atomically(building / MANIFEST_FILE, manifest.to_json().encode())
    write_model_card(manifest, building / "model_card.md")
    target = shop.adapters / adapter_id
    if target.is_dir():
        # The same weights and prior again, perhaps in use: each file is replaced, the folder stays.
        for file in building.iterdir():
            write_atomically(target / file.name, file.read_bytes())
    else:
        building.rename(target)
    make_current(shop, adapter_id)
    for unfinished in shop.adapters.glob(".training-*"):
        shutil.rmtree(unfinished)
    return manifest


def _fit_prior(shop: Shop, window: _Window) -> Prior:
    """Learn from the training customers at every cut-off; validation customers stay unseen."""
    held_out = {window.examples[index].past.customer_id for index in window.validation}
    split = window.split
    _, *before = learning_cutoffs(split.train_cutoff, split.horizon, split.first_event)
    earlier = [build_labels(shop.log, cutoff, shop.settings) for cutoff in before]
    return fit_prior(
        [
            [example for example in examples if example.past.customer_id not in held_out]
            for examples in (window.examples, *earlier)
        ],
        window.thresholds,
        shop.settings.churn.horizon_days,
    )


def _manifest(
    shop: Shop,
    files: BaseModelFiles,
    slots: Slots,
    window: _Window,
    lora: LoraSettings,
    training: dict[str, Any],
    adapter_id: str,
) -> Manifest:
    churned = [window.examples[index].churned for index in window.part(validation=False)]
    tiers = len(slots.tier_ids)
    return Manifest(
        adapter_id=adapter_id,
        shop=shop.settings.name,
        base_model=files.name,
        base_sha256=files.sha256,
        prompt_sha256=current_prompt_hashes(),
        label_ids=slots.label_ids,
        tiers=shop.settings.value.tiers,
        thresholds=window.thresholds,
        churn_definition=shop.settings.churn.definition.value,
        horizon_days=shop.settings.churn.horizon_days,
        history_tokens=shop.settings.limits.history_tokens,
        currency=shop.settings.currency,
        train_cutoff=window.split.train_cutoff.isoformat(),
        train_customers=len(churned),
        validation_customers=len(window.validation),
        base_rate=float(np.mean(churned)),
        at_risk_above=0.0,
        lora=lora,
        training=training,
        calibration=Calibration(
            churn=(1.0, 0.0),
            tier_weights=tuple(tuple(row) for row in np.eye(tiers).tolist()),
            tier_biases=(0.0,) * tiers,
            spend=(0.0,) * (tiers + 3),
        ),
        metrics={},
    )


def _calibrated(
    draft: Manifest,
    shop: Shop,
    window: _Window,
    validation: Sequence[int],
    logits: Logits,
    prior: Prior,
) -> Manifest:
    examples = [window.examples[index] for index in validation]
    horizon = shop.settings.churn.horizon_days
    usual = np.array([usual_spend(example.past, horizon) for example in examples])
    tiers = [window.tier(index) for index in validation]
    churned = [example.churned for example in examples]
    spends = [float(example.spend) for example in examples]
    calibration = fit_calibration(
        tier_logits=logits.tier,
        churn_logits=logits.churn,
        usual=usual,
        tiers=tiers,
        churned=churned,
        spends=spends,
    )
    pasts = [example.past for example in examples]
    model = calibrated_answers(calibration, logits, pasts, horizon)
    counted = prior.answers(pasts)
    blend = fit_blend(model, counted, tiers=tiers, churned=churned, spends=spends)
    answers = blend.mix(model, counted)
    metrics = {
        **churn_metrics(churned, answers.churn, probabilities=True),
        "tier_f1": tier_f1(tiers, answers.tiers.argmax(axis=1).tolist()),
        "spearman": spearman(spends, answers.spend),
    }
    split = window.split
    # Of horizons up to the training window's; what is tested stays unseen.
    seasons = read_seasons(
        shop.log, prior, newest=split.train_cutoff, first_event=split.first_event
    )
    return replace(
        draft,
        calibration=calibration,
        blend=blend,
        metrics=metrics,
        spend_interval=fit_spend_interval(answers.spend, spends, seasons),
        # Half as likely again as the average customer to leave.
        at_risk_above=min(0.9, 1.5 * draft.base_rate),
    )


def _run_name(
    shop: Shop,
    files: BaseModelFiles,
    window: _Window,
    lora: LoraSettings,
    settings: TrainingSettings,
) -> str:
    """A hash of all that decides the result: a changed log or setting starts a new run."""
    digest = hashlib.sha256()
    digest.update(json.dumps(settings_json(lora, settings), sort_keys=True).encode())
    digest.update(files.sha256.encode())
    digest.update(json.dumps(current_prompt_hashes(), sort_keys=True).encode())
    digest.update(shop.settings.model_dump_json().encode())
    for example, history in zip(window.examples, window.histories, strict=True):
        digest.update(f"{history.text}\x1f{example.spend}\x1f{example.churned}\x1e".encode())
    return digest.hexdigest()[:12]


def _share(customer_id: str, seed: int) -> float:
    """A number in [0, 1) from the customer's id, the same on every machine."""
    digest = hashlib.sha256(f"{seed}:{customer_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
