"""From trained weights to a whole adapter: prior, blend, calibration, manifest, model card."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit

from finetune.adapter import (
    HELD_OUT_PRIOR_FILE,
    MANIFEST_FILE,
    PRIOR_FILE,
    WEIGHTS_FILE,
    LoraSettings,
    Manifest,
    current_prompt_hashes,
    weights_bytes,
)
from finetune.base_model import BaseModelFiles
from finetune.blend import fit_blend
from finetune.calibration import Calibration, fit_calibration
from finetune.foresight import at_risk_above
from finetune.lora_predictor import Logits, LoraPredictor
from finetune.metrics import churn_metrics, spearman, tier_f1
from finetune.model_card import write_model_card
from finetune.prior import Prior
from finetune.scoring import calibrated_answers
from finetune.season import Seasons, drawn_customers, read_seasons
from finetune.slots import Slots
from finetune.spend_interval import fit_spend_interval
from finetune.training_window import TrainingWindow, learn_priors
from retrieval.history import usual_spend
from retrieval.orders import read_pasts
from retrieval.progress import Progress
from retrieval.shop import Shop, write_atomically
from retrieval.time_split import present


def finish_adapter(
    shop: Shop,
    files: BaseModelFiles,
    slots: Slots,
    window: TrainingWindow,
    state: Mapping[str, Any],
    lora: LoraSettings,
    training: dict[str, Any],
    folder: Path,
    progress: Progress,
) -> Manifest:
    """Write an adapter, judged and calibrated as it will be loaded, into the shop's adapters.

    It is not made current.

    Args:
        shop: whose.
        files: of the base model.
        slots: where the answers stand.
        window: what it learnt from.
        state: its weights by name.
        lora: their shape.
        training: how they were trained, for the manifest.
        folder: for work in progress; its `adapter` folder holds the loss curve already.
        progress: told of every step.
    """
    weights = weights_bytes(dict(state))
    progress("Learning the prior", 0, 1)
    # Shares are chosen by the prior that never saw the validation customers; the other answers.
    held_out, learnt = learn_priors(shop, window)
    # Validation customers are asked about on the level of their own moment.
    judged = held_out.levelled([example.past for example in window.examples])
    now = present(shop)
    asked = drawn_customers(shop.log, now)
    learnt = learnt.levelled(list(read_pasts(shop.log, now, asked)))
    progress("Learning the prior", 1, 1)
    prior_text = learnt.to_json().encode()
    adapter_id = f"patron-{hashlib.sha256(weights + prior_text).hexdigest()[:10]}"
    building = folder / "adapter"
    write_atomically(building / WEIGHTS_FILE, weights)
    write_atomically(building / PRIOR_FILE, prior_text)
    write_atomically(building / HELD_OUT_PRIOR_FILE, held_out.to_json().encode())
    validation = window.part(validation=True)
    draft = _manifest(shop, files, slots, window, lora, training, adapter_id)
    write_atomically(building / MANIFEST_FILE, draft.to_json().encode())
    predictor = LoraPredictor.load(building, files, shop.settings)
    logits = predictor.logits([window.histories[index] for index in validation], progress=progress)
    manifest = _calibrated(draft, shop, window, validation, logits, judged)
    # Answers are given on today's level, so what counts as at risk lies on it, too.
    today = expit(logit(draft.base_rate) + manifest.blend.churn * learnt.churn_shift)
    manifest = replace(manifest, at_risk_above=at_risk_above(float(today)))
    write_atomically(building / MANIFEST_FILE, manifest.to_json().encode())
    write_model_card(manifest, building / "model_card.md")
    target = shop.adapters / adapter_id
    if target.is_dir():
        # The same weights and prior again, perhaps in use: each file is replaced, the folder stays.
        for file in building.iterdir():
            write_atomically(target / file.name, file.read_bytes())
    else:
        building.rename(target)
    return manifest


def _manifest(
    shop: Shop,
    files: BaseModelFiles,
    slots: Slots,
    window: TrainingWindow,
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
        validation_customers=len(window.part(validation=True)),
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
    window: TrainingWindow,
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
    model = calibrated_answers(calibration, logits, usual)
    counted = prior.answers(pasts)
    blend = fit_blend(model, counted, tiers=tiers, churned=churned, spends=spends)
    answers = blend.mix(model, counted)
    metrics = {
        **churn_metrics(churned, answers.churn, probabilities=True),
        "tier_f1": tier_f1(tiers, answers.tiers.argmax(axis=1).tolist()),
        "spearman": spearman(spends, answers.spend),
    }
    return replace(
        draft,
        calibration=calibration,
        blend=blend,
        metrics=metrics,
        spend_interval=fit_spend_interval(answers.spend, spends, _seasons(shop, window, prior)),
    )


def _seasons(shop: Shop, window: TrainingWindow, prior: Prior) -> Seasons:
    """Of horizons up to the training window's; what is tested stays unseen."""
    split = window.split
    return read_seasons(shop.log, prior, newest=split.train_cutoff, first_event=split.first_event)
