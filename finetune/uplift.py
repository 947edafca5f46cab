"""What an offer changes: the contract of every learner of effects, and what learners are made of.

The effect of an offer on a customer is the expected outcome with it minus the expected outcome
without it (Rubin, 1974). The learners themselves stand in `finetune.uplift_learners`.
"""

from collections.abc import Callable
from typing import Any, Protocol, Self

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LassoLarsIC, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from finetune.calibration import Floats
from finetune.chance_model import TREE_SETTINGS
from finetune.errors import TrainingError

Flags = NDArray[np.bool_]

_RIDGE_PENALTY = 10.0


class UpliftLearner(Protocol):
    """Learns the effect of one offer from customers who had it and customers who had not."""

    def fit(
        self, features: Floats, treated: Flags, outcome: Floats, propensity: Floats | None
    ) -> Self:
        """Learn from a past campaign.

        Args:
            features: what was known of each customer before the campaign `[n, k]`.
            treated: who had the offer `[n]`.
            outcome: what each did afterwards, in any unit `[n]`.
            propensity: each customer's chance of having been treated `[n]`, between 0 and 1
                exclusive; None where a coin decided, with the treated share as everybody's.

        Raises:
            TrainingError: shapes differ, a number is not finite, a propensity is out of range, or
                too few customers were treated or not treated.
        """
        ...

    def effect(self, features: Floats) -> Floats:
        """Expected effect on each customer `[n]`, in units of the outcome."""
        ...


class Regressor(Protocol):
    """What a learner of effects is made of: any regression in scikit-learn's manner."""

    def fit(self, features: Floats, target: Floats) -> Any:
        """Learn `target [n]` from `features [n, k]`."""
        ...

    def predict(self, features: Floats) -> Floats:
        """Expected target `[n]`."""
        ...


RegressorFactory = Callable[[], Regressor]
"""Makes a regressor that has learnt nothing yet."""


def ridge(penalty: float = _RIDGE_PENALTY) -> Regressor:
    """Ridge regression on features brought to one scale."""
    model: Regressor = make_pipeline(StandardScaler(), Ridge(alpha=penalty))
    return model


def lasso() -> Regressor:
    """Lasso on features brought to one scale, its penalty chosen by BIC (Zou et al., 2007).

    Noisy targets leave it with few features or none, and then it answers with their mean.
    """
    model: Regressor = make_pipeline(StandardScaler(), LassoLarsIC(criterion="bic"))
    return model


def trees() -> Regressor:
    """LightGBM with the prior's small, slow trees; the same trees at every call."""
    model: Regressor = lightgbm.LGBMRegressor(**TREE_SETTINGS)
    return model


def chances() -> Regressor:
    """Logistic regression on features brought to one scale, for outcomes of 0 and 1.

    Its expected outcome is a chance, never below 0 or above 1. Where all examples are alike it
    answers with the rule of succession, 1 in n + 2 for what has never been seen.
    """
    return _Chances()


class _Chances:
    def __init__(self) -> None:
        self._model: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        self._always: float | None = None

    def fit(self, features: Floats, target: Floats) -> "_Chances":
        if not np.isin(target, (0, 1)).all():
            raise TrainingError(
                "Logistic regression needs outcomes of 0 and 1.",
                hint="Choose ridge or trees for amounts.",
            )
        seen = float(target.sum())
        if 0 < seen < len(target):
            self._always = None
            self._model.fit(features, target)
        else:
            self._always = (seen + 1) / (len(target) + 2)
        return self

    def predict(self, features: Floats) -> Floats:
        if self._always is not None:
            return np.full(len(features), self._always)
        return np.asarray(self._model.predict_proba(features)[:, 1])


def check_campaign(
    features: Floats,
    treated: Flags,
    outcome: Floats,
    propensity: Floats | None,
    *,
    fewest: int = 2,
) -> None:
    """Refuse what nothing can be learnt from.

    Args:
        features: `[n, k]`.
        treated: `[n]`.
        outcome: `[n]`.
        propensity: `[n]` or None.
        fewest: customers needed with the offer, and without it.

    Raises:
        TrainingError: see `UpliftLearner.fit`.
    """
    if features.ndim != 2:
        raise TrainingError(
            f"Features must have two dimensions, not {features.ndim}.",
            hint="Give one row a customer and one column a feature.",
        )
    columns = {"features": features, "treated": treated, "outcome": outcome}
    if propensity is not None:
        columns["propensity"] = propensity
    for name, column in columns.items():
        if len(column) != len(features):
            raise TrainingError(
                f"'{name}' has {len(column)} rows, but there are {len(features)} customers.",
                hint="Give one row a customer in each, in the same order.",
            )
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column.reshape(len(column), -1)).all(axis=1))[0])
            raise TrainingError(
                f"'{name}' of row {row} is not a finite number.",
                hint="Leave the customer out, or fill the gap before learning.",
            )
    if propensity is not None and not ((propensity > 0) & (propensity < 1)).all():
        row = int(np.flatnonzero(~((propensity > 0) & (propensity < 1)))[0])
        raise TrainingError(
            f"The propensity of row {row} is {propensity[row]}, not between 0 and 1.",
            hint="Leave out customers who were sure to be treated, or sure not to be.",
        )
    with_offer = int(treated.sum())
    if min(with_offer, len(treated) - with_offer) < fewest:
        raise TrainingError(
            f"{with_offer} customers had the offer and {len(treated) - with_offer} had not; "
            f"{fewest} of each are needed.",
            hint="Choose a campaign with a larger group held back.",
        )
