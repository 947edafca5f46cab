"""What people use today: recency, past spend and logistic RFM, judged beside the predictor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from finetune.calibration import Floats
from finetune.labels import Example, tier_of
from retrieval.history import usual_gap, usual_spend
from retrieval.orders import CustomerPast

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineScores:
    """One system's answers for the same customers; None where it gives none.

    Attributes:
        churn: higher is likelier to leave `[n]`.
        churn_is_probability: whether Brier and ECE may be judged.
        tiers: predicted tier indices.
        spend: higher is worth more `[n]`.
    """

    churn: Floats | None
    churn_is_probability: bool
    tiers: list[int] | None
    spend: Floats | None


def recency_scores(pasts: Sequence[CustomerPast]) -> BaselineScores:
    """Days since the last order; the longer, the likelier gone."""
    days = np.array([(past.as_of - past.last) / _DAY for past in pasts])
    return BaselineScores(churn=days, churn_is_probability=False, tiers=None, spend=-days)


def past_spend_scores(
    pasts: Sequence[CustomerPast], horizon_days: int, thresholds: tuple[float, ...]
) -> BaselineScores:
    """Usual spend per horizon carried forward: as value, as tier, and low spend as risk."""
    usual = np.array([usual_spend(past, horizon_days) for past in pasts])
    return BaselineScores(
        churn=-usual,
        churn_is_probability=False,
        tiers=[tier_of(value, thresholds) for value in usual],
        spend=usual,
    )


class LogisticRfm:
    """Logistic regression on RFM features, with ridge regression of log spend."""

    def __init__(self, horizon_days: int) -> None:
        self._horizon = horizon_days
        self._churn: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        self._tier: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        self._spend: Any = make_pipeline(StandardScaler(), Ridge())

    def fit(self, examples: Sequence[Example], thresholds: tuple[float, ...]) -> "LogisticRfm":
        """Learn from a training window."""
        features = rfm_features([example.past for example in examples], self._horizon)
        self._churn.fit(features, [example.churned for example in examples])
        self._tier.fit(features, [tier_of(example.spend, thresholds) for example in examples])
        self._spend.fit(features, np.log1p([example.spend for example in examples]))
        return self

    def scores(self, pasts: Sequence[CustomerPast]) -> BaselineScores:
        """Answers for customers."""
        features = rfm_features(pasts, self._horizon)
        return BaselineScores(
            churn=self._churn.predict_proba(features)[:, 1],
            churn_is_probability=True,
            tiers=[int(tier) for tier in self._tier.predict(features)],
            spend=self._spend.predict(features),
        )


def rfm_features(pasts: Sequence[CustomerPast], horizon_days: int) -> Floats:
    """RFM features `[n, 7]`.

    recency, frequency, T and monetary_value as the CLV literature has them (Fader et al., 2005),
    in logarithms; then how late the customer is against their own gap, and their spend in the
    last horizon and its last third against their own usual.
    """
    return np.array([_features_of(past, horizon_days) for past in pasts], dtype=np.float64)


def _features_of(past: CustomerPast, horizon_days: int) -> list[float]:
    days = {order.timestamp.date() for order in past.orders}
    age = (past.as_of - past.first) / _DAY
    since_last = (past.as_of - past.last) / _DAY
    usual = max(usual_spend(past, horizon_days), 1.0)
    gap = usual_gap(past) or float(horizon_days)
    third = horizon_days / 3
    return [
        np.log1p(age - since_last),
        np.log1p(len(days) - 1),
        np.log1p(age),
        np.log1p(past.spend / len(past.orders)),
        np.log1p(since_last / max(gap, 1.0)),
        np.log1p(_spend_since(past, horizon_days) / usual),
        np.log1p(_spend_since(past, third) / (usual / 3)),
    ]


def _spend_since(past: CustomerPast, days: float) -> int:
    start = past.as_of - timedelta(days=days)
    return sum(order.amount for order in past.orders if order.timestamp >= start)
