"""From raw slot logits to probabilities and money, fitted on validation customers only."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, TweedieRegressor

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Coefficients that turn logits into calibrated answers.

    Attributes:
        churn: slope and intercept on the logit difference yes - no (Platt scaling).
        tier_weights: per tier, weights on the centred tier logits `[tiers, tiers]`.
        tier_biases: per tier.
        spend: weights of a log-linear model of expected spend on the centred tier logits, the
            churn logit difference and log(1 + usual spend), then its intercept.
    """

    churn: tuple[float, float]
    tier_weights: tuple[tuple[float, ...], ...]
    tier_biases: tuple[float, ...]
    spend: tuple[float, ...]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Calibration":
        """Read what `to_json` wrote."""
        return cls(
            churn=tuple(document["churn"]),
            tier_weights=tuple(tuple(row) for row in document["tier_weights"]),
            tier_biases=tuple(document["tier_biases"]),
            spend=tuple(document["spend"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return asdict(self)

    def churn_risk(self, churn_logits: Floats) -> Floats:
        """Calibrated probability of churn `[n]` from logits of no and yes `[n, 2]`."""
        slope, intercept = self.churn
        raw = slope * (churn_logits[:, 1] - churn_logits[:, 0]) + intercept
        return np.asarray(1 / (1 + np.exp(-raw)))

    def tier_probabilities(self, tier_logits: Floats) -> Floats:
        """Calibrated probabilities `[n, tiers]` from tier logits `[n, tiers]`."""
        raw = _centred(tier_logits) @ np.array(self.tier_weights).T + np.array(self.tier_biases)
        raw -= raw.max(axis=1, keepdims=True)
        exponent = np.exp(raw)
        return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))

    def expected_spend(self, tier_logits: Floats, churn_logits: Floats, usual: Floats) -> Floats:
        """Expected spend over the horizon in minor units `[n]`; `usual` is usual spend `[n]`."""
        *weights, intercept = self.spend
        return np.asarray(
            np.exp(
                _spend_features(tier_logits, churn_logits, usual) @ np.array(weights) + intercept
            )
        )


def fit_calibration(
    *,
    tier_logits: Floats,
    churn_logits: Floats,
    usual: Floats,
    tiers: Sequence[int],
    churned: Sequence[bool],
    spends: Sequence[float],
) -> Calibration:
    """Fit on validation customers.

    Churn by Platt scaling (Platt, 1999), tiers by vector scaling with all pairs (Guo et al.,
    2017), spend by a Tweedie regression with a log link, scaled so that its mean over the
    customers it is fitted on equals the actual mean.

    Args:
        tier_logits: `[n, tiers]`.
        churn_logits: `[n, 2]`, no and yes.
        usual: usual spend per horizon `[n]`, minor units.
        tiers: true tier indices.
        churned: true churn.
        spends: true holdout spend, minor units.
    """
    tier_count = tier_logits.shape[1]
    difference = (churn_logits[:, 1] - churn_logits[:, 0]).reshape(-1, 1)
    churn = LogisticRegression(C=100.0).fit(difference, np.asarray(churned, dtype=int))
    tier = LogisticRegression(C=10.0, max_iter=2000).fit(_centred(tier_logits), np.asarray(tiers))
    weights = np.zeros((tier_count, tier_count))
    biases = np.full(tier_count, -20.0)  # a tier that no validation customer reached
    if len(tier.classes_) == 2:
        weights[tier.classes_[1]] = tier.coef_[0]
        biases[tier.classes_[0]] = 0.0
        biases[tier.classes_[1]] = tier.intercept_[0]
    else:
        weights[tier.classes_] = tier.coef_
        biases[tier.classes_] = tier.intercept_
    spend = TweedieRegressor(power=1.5, alpha=1e-3, link="log", max_iter=5000)
    # Scaled to a mean of one, so that the penalty means the same in every currency.
    scale = float(np.mean(spends))
    features = _spend_features(tier_logits, churn_logits, usual)
    spend.fit(features, np.asarray(spends) / scale)
    # The fit itself keeps a weighted mean only: its weights are those of the Tweedie variance.
    scale /= float(np.mean(spend.predict(features)))
    return Calibration(
        churn=(float(churn.coef_[0, 0]), float(churn.intercept_[0])),
        tier_weights=tuple(tuple(float(value) for value in row) for row in weights),
        tier_biases=tuple(float(value) for value in biases),
        spend=(*(float(value) for value in spend.coef_), float(spend.intercept_ + np.log(scale))),
    )


def _centred(logits: Floats) -> Floats:
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))


def _spend_features(tier_logits: Floats, churn_logits: Floats, usual: Floats) -> Floats:
    return np.column_stack(
        [
            _centred(tier_logits),
            churn_logits[:, 1] - churn_logits[:, 0],
            np.log1p(np.maximum(usual, 0.0)),
        ]
    )
