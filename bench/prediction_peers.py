"""What predictions are compared with: RFM models, boosted trees, an LSTM, customer-value models.

All are fitted on the training cut-off alone, and answer about the test customers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import lightgbm
import numpy as np
from sklearn.metrics import log_loss, mean_tweedie_deviance

from bench.prediction_lstm import lstm_scores
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
from finetune.metrics import spearman
from finetune.rfm import rfm_of
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast
from retrieval.shop import ChurnDefinition, ChurnSettings

_LOGISTIC = "logistic_rfm"
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
    order = np.random.default_rng(task.seed).permutation(len(task.train))
    held, learnt = np.split(order, [round(_VALIDATION_SHARE * len(order))])
    answers = _learning_peers(task, report)
    validation = replace(
        task,
        train=[task.train[index] for index in learnt],
        pasts=[task.train[index].past for index in held],
    )
    report.say("  the same without a fifth of the customers, to choose the best two by:")
    best = _best_two(
        answers, _learning_peers(validation, report), [task.train[index] for index in held], report
    )
    past_spend = past_spend_scores(task.pasts, horizon, task.thresholds)
    return {
        "recency": System(scores=recency_scores(task.pasts), money=False),
        "past_spend": System(scores=past_spend, money=True),
        **{
            name: System(scores=scores, money=name != _LOGISTIC) for name, scores in answers.items()
        },
        "mean_of_best_two": System(scores=best, money=False),
    }


def _learning_peers(task: Task, report: Report) -> dict[str, BaselineScores]:
    """Answers of the peers that learn from customers."""
    return {
        _LOGISTIC: LogisticRfm(task.churn.horizon_days)
        .fit(task.train, task.thresholds)
        .scores(task.pasts),
        "lightgbm_rfm": _lightgbm(task, report),
        "bg_nbd": bg_nbd_scores([example.past for example in task.train], task, report),
        "lstm": lstm_scores(task.train, task.pasts, task.thresholds, task.seed, report),
    }


def _best_two(
    answers: Mapping[str, BaselineScores],
    validated: Mapping[str, BaselineScores],
    held: Sequence[Example],
    report: Report,
) -> BaselineScores:
    """Mean chance of leaving and mean log spend of the two best; it names no tier.

    The best in chance of leaving have the lowest log loss on validation customers, the best in
    spend the highest rank correlation there.
    """
    churned = [example.churned for example in held]
    spends = [float(example.spend) for example in held]
    losses = {
        name: log_loss(churned, scores.churn, labels=[False, True])
        for name, scores in validated.items()
        if scores.churn_is_probability
    }
    ranks = {
        name: spearman(spends, scores.spend)
        for name, scores in validated.items()
        if scores.spend is not None
    }
    leaving = sorted(losses, key=lambda name: losses[name])[:2]
    spending = sorted(ranks, key=lambda name: -ranks[name])[:2]
    report.say(f"  mean_of_best_two: {' and '.join(leaving)}; spend: {' and '.join(spending)}")
    return BaselineScores(
        churn=np.mean([answers[name].churn for name in leaving], axis=0),
        churn_is_probability=True,
        tiers=None,
        spend=np.mean([_log_spend(name, answers[name]) for name in spending], axis=0),
    )


def _log_spend(name: str, scores: BaselineScores) -> Floats:
    assert scores.spend is not None
    return scores.spend if name == _LOGISTIC else np.log1p(np.maximum(scores.spend, 0.0))


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


def bg_nbd_scores(customers: Sequence[CustomerPast], task: Task, report: Report) -> BaselineScores:
    """BG/NBD and gamma-gamma, fitted to customers without their outcomes.

    They know no decline of spend: there, low expected spend for the customer's habits is risk.
    """
    horizon = task.churn.horizon_days / _DAYS_A_WEEK
    learnt, asked = rfm_of(customers), rfm_of(task.pasts)
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
