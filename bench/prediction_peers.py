"""What predictions are compared with: RFM models, boosted trees and the customer-value models.

All are fitted on the training cut-off alone, and answer about the test customers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import lightgbm
import numpy as np
from sklearn.metrics import log_loss, mean_tweedie_deviance

from bench.prediction_measures import System
from bench.report import Report
from finetune.baselines import (
    BaselineScores,
    LogisticRfm,
    past_spend_scores,
    recency_scores,
    rfm_features,
)
from finetune.bg_nbd import fit_bg_nbd
from finetune.calibration import Floats
from finetune.gamma_gamma import expected_spend, fit_gamma_gamma
from finetune.labels import Example, tier_of
from finetune.rfm import rfm_of
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast
from retrieval.shop import ChurnDefinition, ChurnSettings

_DAYS_A_WEEK = 7
_VALIDATION_SHARE = 0.2
_TWEEDIE_POWER = 1.3
_LEAST_SPEND = 1e-6
_TREES, _LEAVES = (50, 100, 200), (4, 8, 16)
_FIXED: dict[str, Any] = {
    "learning_rate": 0.05,
    "min_child_samples": 40,
    "deterministic": True,
    "force_row_wise": True,
    "n_jobs": 1,
    "verbose": -1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every peer is given.

    Attributes:
        train: labelled customers at the training cut-off.
        pasts: test customers.
        thresholds: of the value tiers, minor units.
        churn: the shop's horizon and definition.
        seed: of the validation split and of the trees.
    """

    train: Sequence[Example]
    pasts: Sequence[CustomerPast]
    thresholds: tuple[float, ...]
    churn: ChurnSettings
    seed: int


def peer_systems(task: Task, report: Report) -> dict[str, System]:
    """Answers of every peer.

    Logistic regression predicts log spend, so that its spend and its mean with others only rank.
    """
    horizon = task.churn.horizon_days
    logistic = LogisticRfm(horizon).fit(task.train, task.thresholds).scores(task.pasts)
    boosted = _lightgbm(task, report)
    past_spend = past_spend_scores(task.pasts, horizon, task.thresholds)
    return {
        "recency": System(scores=recency_scores(task.pasts), money=False),
        "past_spend": System(scores=past_spend, money=True),
        "logistic_rfm": System(scores=logistic, money=False),
        "lightgbm_rfm": System(scores=boosted, money=True),
        "bg_nbd": System(scores=_bg_nbd(task, report), money=True),
        "mean_of_best_two": System(scores=_mean(logistic, boosted), money=False),
    }


def _lightgbm(task: Task, report: Report) -> BaselineScores:
    """Boosted trees on RFM features; each question has the settings that its own loss chose."""
    horizon = task.churn.horizon_days
    features = rfm_features([example.past for example in task.train], horizon)
    asked = rfm_features(task.pasts, horizon)
    spends = np.array([example.spend for example in task.train], dtype=np.float64)
    churned = np.array([example.churned for example in task.train])
    tiers = np.array([tier_of(spend, task.thresholds) for spend in spends])
    scale = max(float(spends.mean()), 1.0)
    order = np.random.default_rng(task.seed).permutation(len(features))
    held, learnt = np.split(order, [round(_VALIDATION_SHARE * len(order))])
    grid = [
        {**_FIXED, "random_state": task.seed, "n_estimators": trees, "num_leaves": leaves}
        for trees, leaves in product(_TREES, _LEAVES)
    ]

    def best(
        question: str, make: Callable[..., Any], answers: Any, loss: Callable[[Any], float]
    ) -> Any:
        def validation_loss(settings: dict[str, Any]) -> float:
            return loss(make(**settings).fit(features[learnt], answers[learnt]))

        chosen = min(grid, key=validation_loss)
        report.say(
            f"  lightgbm_rfm, {question}: {chosen['n_estimators']} trees of "
            f"{chosen['num_leaves']} leaves"
        )
        return make(**chosen).fit(features, answers)

    def tweedie(**settings: Any) -> Any:
        return lightgbm.LGBMRegressor(
            objective="tweedie", tweedie_variance_power=_TWEEDIE_POWER, **settings
        )

    churn = best(
        "churn",
        lightgbm.LGBMClassifier,
        churned,
        lambda model: log_loss(churned[held], model.predict_proba(features[held])[:, 1]),
    )
    tier = best(
        "tier",
        lightgbm.LGBMClassifier,
        tiers,
        lambda model: log_loss(
            tiers[held], model.predict_proba(features[held]), labels=model.classes_
        ),
    )
    spend = best(
        "spend",
        tweedie,
        spends / scale,
        lambda model: mean_tweedie_deviance(
            spends[held] / scale,
            np.maximum(model.predict(features[held]), _LEAST_SPEND),
            power=_TWEEDIE_POWER,
        ),
    )
    return BaselineScores(
        churn=churn.predict_proba(asked)[:, 1],
        churn_is_probability=True,
        tiers=[int(index) for index in tier.predict(asked)],
        spend=spend.predict(asked) * scale,
    )


def _bg_nbd(task: Task, report: Report) -> BaselineScores:
    """BG/NBD and gamma-gamma.

    They know no decline of spend: there, low expected spend for the customer's habits is risk.
    """
    horizon = task.churn.horizon_days / _DAYS_A_WEEK
    learnt, asked = rfm_of([example.past for example in task.train]), rfm_of(task.pasts)
    purchases, amounts = fit_bg_nbd(learnt), fit_gamma_gamma(learnt)
    for fallback in (purchases.fallback, amounts.fallback):
        if fallback:
            report.say(f"  bg_nbd: {fallback}")
    spend = expected_spend(purchases, amounts, asked, horizon)
    inactive = task.churn.definition is ChurnDefinition.INACTIVE
    return BaselineScores(
        churn=(
            purchases.probability_of_no_purchase(asked, horizon)
            if inactive
            else -spend / _usual(task)
        ),
        churn_is_probability=inactive,
        tiers=[tier_of(value, task.thresholds) for value in spend],
        spend=spend,
    )


def _usual(task: Task) -> Floats:
    horizon = task.churn.horizon_days
    return np.array([max(usual_spend(past, horizon), 1.0) for past in task.pasts])


def _mean(logistic: BaselineScores, boosted: BaselineScores) -> BaselineScores:
    """Mean chance of leaving, and mean log spend; it names no tier."""
    assert logistic.churn is not None
    assert boosted.churn is not None
    assert logistic.spend is not None
    assert boosted.spend is not None
    return BaselineScores(
        churn=(logistic.churn + boosted.churn) / 2,
        churn_is_probability=True,
        tiers=None,
        spend=(logistic.spend + np.log1p(boosted.spend)) / 2,
    )
