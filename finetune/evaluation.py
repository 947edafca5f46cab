"""Judge the current adapter on the test window, beside what people use today."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from finetune.adapter import current_adapter
from finetune.base_model import BaseModelFiles, find_base_model, token_counter
from finetune.baselines import BaselineScores, LogisticRfm, past_spend_scores, recency_scores
from finetune.calibration import Floats
from finetune.errors import TrainingError
from finetune.labels import Example, build_labels, tier_of
from finetune.lora_predictor import LoraPredictor
from finetune.metrics import churn_metrics, spearman, tier_f1
from finetune.prior import Answers
from finetune.scoring import model_answers, season_factor
from retrieval.catalogue import Catalogue
from retrieval.history import render_history
from retrieval.orders import CustomerPast
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop
from retrieval.time_split import split_by_time

METRICS = ("churn_auc", "pr_auc", "brier", "ece", "tier_f1", "spearman")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Measures of each system on the same customers.

    Attributes:
        base_rate: share of test customers who churned; the PR-AUC of chance.
        systems: measures by system; None where a system gives no such answer.
    """

    shop: str
    adapter_id: str
    churn_definition: str
    horizon_days: int
    train_cutoff: str
    test_cutoff: str
    customers: int
    base_rate: float
    systems: dict[str, dict[str, float | None]]

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts."""
        return asdict(self)


def evaluate(shop: Shop, *, progress: Progress = no_progress) -> Evaluation:
    """Score every customer known at the test cut-off and compare with what they did.

    The adapter and the tier thresholds come from its own training; the logistic RFM is fitted on
    the same training window.

    Raises:
        AdapterError: the shop has no adapter that fits.
        ShopError: the log is too short.
        TrainingError: everybody or nobody churned in the test window.
    """
    files = find_base_model(shop.settings.models.base, progress)
    predictor = LoraPredictor.load(current_adapter(shop), files, shop.settings)
    thresholds = predictor.manifest.thresholds
    split = split_by_time(shop)
    learnt_until = datetime.fromisoformat(predictor.manifest.train_cutoff) + split.horizon
    if learnt_until > split.test_cutoff:
        raise TrainingError(
            f"The adapter {predictor.manifest.adapter_id} learnt from outcomes up to "
            f"{learnt_until:%Y-%m-%d}, past the test cut-off {split.test_cutoff:%Y-%m-%d}.",
            hint="Move windows.test_cutoff in shop.toml, or run patron finetune again.",
        )
    progress("Building labels", 0, 2)
    train = build_labels(shop.log, split.train_cutoff, shop.settings)
    progress("Building labels", 1, 2)
    test = build_labels(shop.log, split.test_cutoff, shop.settings)
    progress("Building labels", 2, 2)
    churned = sum(example.churned for example in test)
    if not 0 < churned < len(test):
        raise TrainingError(
            f"The test window cannot be judged: {churned} of {len(test)} customers churned.",
            hint="Choose another churn definition, horizon or test cut-off in shop.toml.",
        )
    pasts = [example.past for example in test]
    horizon = shop.settings.churn.horizon_days
    systems = {
        **patron_scores(shop, predictor, pasts, files, progress=progress),
        "recency": recency_scores(pasts),
        "past_spend": past_spend_scores(pasts, horizon, thresholds),
        "logistic_rfm": LogisticRfm(horizon).fit(train, thresholds).scores(pasts),
    }
    return Evaluation(
        shop=shop.settings.name,
        adapter_id=predictor.manifest.adapter_id,
        churn_definition=shop.settings.churn.definition.value,
        horizon_days=horizon,
        train_cutoff=split.train_cutoff.isoformat(),
        test_cutoff=split.test_cutoff.isoformat(),
        customers=len(test),
        base_rate=churned / len(test),
        systems={name: _measure(test, thresholds, scores) for name, scores in systems.items()},
    )


def patron_scores(
    shop: Shop,
    predictor: LoraPredictor,
    pasts: Sequence[CustomerPast],
    files: BaseModelFiles,
    *,
    progress: Progress = no_progress,
) -> dict[str, BaselineScores]:
    """What Patron answers, then its two halves: the language model alone, the prior alone."""
    catalogue, count = Catalogue.read(shop.items_file), token_counter(files)
    histories = [
        render_history(past, settings=shop.settings, catalogue=catalogue, count_tokens=count)
        for past in pasts
    ]
    horizon = shop.settings.churn.horizon_days
    model = model_answers(predictor, pasts, histories, horizon, progress=progress)
    factors = np.array([season_factor(predictor.manifest, past.as_of) for past in pasts])
    if predictor.prior is None:
        return {"patron": as_scores(_in_season(model, factors))}
    prior = predictor.prior.levelled(pasts).answers(pasts)
    return {
        "patron": as_scores(_in_season(predictor.manifest.blend.mix(model, prior), factors)),
        "patron_lm": as_scores(model),
        "patron_prior": as_scores(prior),
    }


def as_scores(answers: Answers) -> BaselineScores:
    """Answers in the form in which systems are judged."""
    return BaselineScores(
        churn=answers.churn,
        churn_is_probability=True,
        tiers=answers.tiers.argmax(axis=1).tolist(),
        spend=answers.spend,
    )


def _in_season(answers: Answers, factors: Floats) -> Answers:
    """Answers whose spend has its season corrected, as customers are scored."""
    return replace(answers, spend=factors * answers.spend)


def _measure(
    test: list[Example], thresholds: tuple[float, ...], scores: BaselineScores
) -> dict[str, float | None]:
    measures: dict[str, float | None] = dict.fromkeys(METRICS)
    if scores.churn is not None:
        churned = [example.churned for example in test]
        measures |= churn_metrics(churned, scores.churn, probabilities=scores.churn_is_probability)
    if scores.tiers is not None:
        true = [tier_of(example.spend, thresholds) for example in test]
        measures["tier_f1"] = tier_f1(true, scores.tiers)
    if scores.spend is not None:
        measures["spearman"] = spearman([float(example.spend) for example in test], scores.spend)
    return measures
