"""A few labels of the shop: what other shops teach, corrected by the customers known so far.

A logistic regression whose first input is the day-one log odds of leaving, with the weight one,
and whose other weights are zero, unless the shop's own labels say otherwise: maximum a posteriori
under normal priors, which a few labels hardly move and thousands outvote.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from finetune.calibration import Floats
from finetune.day_one import DayOne
from finetune.prior import Answers
from finetune.shop_windows import Described, ShopWindow

# Standard deviations of the priors, chosen with labels of training windows of the shops left out:
# these did best over 64, 256 and 1,024 labels of those tried (EXPERIMENTS.md).
_LEVEL_SPREAD = 0.5
_SLOPE_SPREAD = 0.2
_FEATURE_SPREAD = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FewLabels:
    """A shop's own correction of its day-one answers.

    Attributes:
        level: added to the log odds of leaving.
        slope: of the day-one log odds.
        weights: of the described features, as they are.
        spend_factor: by which expected spend is multiplied.
        labelled: customers it rests on.
    """

    level: float
    slope: float
    weights: tuple[float, ...]
    spend_factor: float
    labelled: int

    def churn_log_odds(self, day_one: DayOne, described: Described) -> Floats:
        """Log odds of leaving `[n]`."""
        own = described.features @ np.array(self.weights)
        return np.asarray(self.level + self.slope * day_one.churn_log_odds(described) + own)

    def answers_about(self, day_one: DayOne, described: Described) -> Answers:
        """Corrected answers; tiers are those of day one."""
        answers = day_one.answers_about(described)
        return replace(
            answers,
            churn=np.asarray(expit(self.churn_log_odds(day_one, described))),
            spend=answers.spend * self.spend_factor,
        )


def fit_few_labels(day_one: DayOne, window: ShopWindow) -> FewLabels:
    """Learn a shop's correction.

    Args:
        day_one: of the shop, at the cut-off of its labels.
        window: the customers whose outcomes are known; one of any outcome is enough.
    """
    described, churned = window.described, window.churned(day_one.definition).astype(np.float64)
    features = described.features
    # The scale of what is usual is the other shops': that of a few customers would be chance.
    spread = np.array(day_one.prior.feature_spreads)
    middle = features.mean(axis=0) if len(features) else np.zeros(len(spread))
    inputs = np.column_stack(
        [np.ones(len(features)), day_one.churn_log_odds(described), (features - middle) / spread]
    )
    start = np.concatenate([[0.0, 1.0], np.zeros(len(spread))])
    precision = (
        np.concatenate([[_LEVEL_SPREAD, _SLOPE_SPREAD], np.full(len(spread), _FEATURE_SPREAD)])
        ** -2.0
    )

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds, off = inputs @ weights, weights - start
        value = np.logaddexp(0, odds).sum() - churned @ odds + (precision * off**2).sum() / 2
        return float(value), inputs.T @ (expit(odds) - churned) + precision * off

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    weights = found[2:] / spread
    return FewLabels(
        level=float(found[0] - weights @ middle),
        slope=float(found[1]),
        weights=tuple(float(weight) for weight in weights),
        spend_factor=_spend_factor(day_one, window),
        labelled=len(window),
    )


def _spend_factor(day_one: DayOne, window: ShopWindow) -> float:
    """Spent over foretold, moved towards one by what the level of a new shop is off by.

    As many customers who spend as foretold are added as tell as much as is known beforehand.
    """
    prior = day_one.prior
    foretold = prior.spend(window.described)
    if not len(foretold):
        return 1.0
    added = (prior.spread / prior.level_error) ** 2 * max(float(foretold.mean()), 1.0)
    return float((window.spend.sum() + added) / (foretold.sum() + added))
