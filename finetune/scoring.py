"""Calibrated answers of a predictor: tier, churn risk, expected spend, LTV and stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from finetune.adapter import Manifest
from finetune.calibration import Calibration, Floats
from finetune.day_one_predictor import DayOnePredictor
from finetune.foresight import Foresight
from finetune.lora_predictor import Logits, LoraPredictor
from finetune.predictors import Predictor
from finetune.prior import Answers, Prior
from finetune.spend_interval import foresee_spend
from finetune.value import Stage, lifecycle_stage, lifetime_value
from retrieval.history import History, usual_spend
from retrieval.orders import CustomerPast
from retrieval.progress import Progress, no_progress
from retrieval.shop import ShopSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One customer's calibrated answers; money in minor units.

    Attributes:
        tier_probabilities: lowest tier first.
        expected_spend: over the coming horizon, its season corrected where that is known.
        ltv: from expected spend without the season, for it looks over many horizons.
        expected_spend_low: low end of the interval around expected spend; None where the adapter
            was made without intervals, and then what follows is None too.
        expected_spend_high: high end.
        expected_spend_coverage: share of customers whose spend lies in their interval.
        season: "known: ..." or "unknown: ...", with the reason.
        basis: what the answers rest on, in words; None for an adapter of the shop's own.
    """

    customer_id: str
    tier_probabilities: tuple[float, ...]
    churn_risk: float
    expected_spend: int
    ltv: int
    stage: Stage
    expected_spend_low: int | None = None
    expected_spend_high: int | None = None
    expected_spend_coverage: float | None = None
    season: str | None = None
    basis: str | None = None

    @property
    def tier(self) -> int:
        """Index of the likeliest tier."""
        return int(np.argmax(self.tier_probabilities))


def score_all(
    predictor: Predictor,
    pasts: Sequence[CustomerPast],
    histories: Sequence[History],
    settings: ShopSettings,
    *,
    progress: Progress = no_progress,
) -> list[Score]:
    """Score customers.

    Args:
        predictor: the adapter that answers, or patron-base.
        pasts: what each customer did; at one moment for patron-base.
        histories: the same customers' texts, in the same order; patron-base reads none.
        settings: horizon, discount rate and how far LTV looks.
        progress: told after each batch.

    Raises:
        TrainingError: patron-base has nobody who has been a customer for as much as a day.
    """
    if not pasts:
        return []
    horizon = settings.churn.horizon_days
    if isinstance(predictor, DayOnePredictor):
        foresight = predictor.foresee(pasts)
        progress("Scoring customers", len(pasts), len(pasts))
    else:
        foresight = _foresee(predictor, pasts, histories, horizon, progress)
    answers = foresight.answers
    scores = []
    for past, risk, probabilities, spend, foreseen in zip(
        pasts, answers.churn, answers.tiers, answers.spend, foresight.spends, strict=True
    ):
        scores.append(
            Score(
                customer_id=past.customer_id,
                tier_probabilities=tuple(float(p) for p in probabilities),
                churn_risk=float(risk),
                expected_spend=foreseen.expected,
                expected_spend_low=foreseen.low,
                expected_spend_high=foreseen.high,
                expected_spend_coverage=foreseen.coverage,
                season=foreseen.season,
                basis=foresight.basis,
                ltv=lifetime_value(
                    float(spend),
                    float(risk),
                    horizon_days=horizon,
                    discount_rate=settings.value.discount_rate,
                    ltv_days=settings.value.ltv_days,
                ),
                stage=lifecycle_stage(
                    past,
                    horizon_days=horizon,
                    churn_risk=float(risk),
                    at_risk_above=foresight.at_risk_above,
                    top_tier=int(np.argmax(probabilities)) == len(probabilities) - 1,
                ),
            )
        )
    return scores


def _foresee(
    predictor: LoraPredictor,
    pasts: Sequence[CustomerPast],
    histories: Sequence[History],
    horizon_days: int,
    progress: Progress,
) -> Foresight:
    """An adapter's answers: language model and prior blended, the season in the spend told."""
    manifest = predictor.manifest
    answers = blended_answers(
        predictor, predictor.prior, pasts, histories, horizon_days, progress=progress
    )
    moments = [past.as_of for past in pasts]
    return Foresight(
        answers=answers,
        spends=foresee_spend(manifest.spend_interval, answers.spend, moments),
        at_risk_above=manifest.at_risk_above,
    )


def season_factor(manifest: Manifest, as_of: datetime) -> float:
    """By what expected spend is multiplied at a moment; 1 where the season is unknown."""
    interval = manifest.spend_interval
    return 1.0 if interval is None else interval.seasons.at(as_of).factor


def blended_answers(
    predictor: LoraPredictor,
    prior: Prior | None,
    pasts: Sequence[CustomerPast],
    histories: Sequence[History],
    horizon_days: int,
    *,
    progress: Progress = no_progress,
) -> Answers:
    """Language model and prior blended, without the season.

    Args:
        predictor: whose blend; its language model is asked only where it has a share.
        prior: the predictor's, on the level of the moment; None in an adapter without one.
        pasts: what each customer did.
        histories: the same customers' texts, in the same order.
        horizon_days: over which is foreseen.
        progress: told after each batch.
    """
    blend = predictor.manifest.blend
    if prior is None:
        return model_answers(predictor, pasts, histories, horizon_days, progress=progress)
    counted = prior.answers(pasts)
    if blend.prior_alone:
        progress("Scoring customers", len(pasts), len(pasts))
        return counted
    model = model_answers(predictor, pasts, histories, horizon_days, progress=progress)
    return blend.mix(model, counted)


def model_answers(
    predictor: LoraPredictor,
    pasts: Sequence[CustomerPast],
    histories: Sequence[History],
    horizon_days: int,
    *,
    progress: Progress = no_progress,
) -> Answers:
    """The language model's own calibrated answers, without the prior."""
    logits = predictor.logits(histories, progress=progress)
    usual = np.array([usual_spend(past, horizon_days) for past in pasts])
    return calibrated_answers(predictor.manifest.calibration, logits, usual)


def calibrated_answers(calibration: Calibration, logits: Logits, usual: Floats) -> Answers:
    """Answers of raw logits; `usual` is the same customers' usual spend `[n]`, minor units."""
    return Answers(
        churn=calibration.churn_risk(logits.churn),
        tiers=calibration.tier_probabilities(logits.tier),
        spend=calibration.expected_spend(logits.tier, logits.churn, usual),
    )
