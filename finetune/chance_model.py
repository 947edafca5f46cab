"""The chance of a yes from numbers: logistic regression and boosted trees, averaged."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from finetune.calibration import Floats
from finetune.spread import spread_of

# Small, slow trees: windows of a few thousand customers reward caution.
TREE_SETTINGS: dict[str, Any] = {
    "n_estimators": 150,
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_child_samples": 40,
    "subsample": 0.7,
    "subsample_freq": 1,
    "colsample_bytree": 0.5,
    "reg_lambda": 5.0,
    "random_state": 0,
    "deterministic": True,
    "force_row_wise": True,
    "n_jobs": 1,
    "verbose": -1,
}
_LOGISTIC_C = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ChanceModel:
    """Mean of a logistic regression and of boosted trees.

    Attributes:
        weights: of the features, unscaled `[features]`; then the intercept.
        trees: LightGBM's own text; empty where the examples were all of one kind, and then the
            intercept alone answers.
    """

    weights: tuple[float, ...]
    trees: str

    def chances(self, features: Floats) -> Floats:
        """Probability of a yes `[n]`."""
        *slopes, intercept = self.weights
        logistic = 1 / (1 + np.exp(-(features @ np.array(slopes) + intercept)))
        if not self.trees:
            return np.asarray(logistic)
        return np.asarray((logistic + grown(self.trees, features)) / 2)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "ChanceModel":
        """Read what `dataclasses.asdict` made of one."""
        return cls(weights=tuple(document["weights"]), trees=document["trees"])


def grown(trees: str, features: Floats) -> Floats:
    """What LightGBM's trees say of each row `[n]`."""
    return np.asarray(_booster(trees).predict(features, num_threads=1))


# Reading the text takes longer than asking about one customer; a predictor has a handful.
@lru_cache(maxsize=32)
def _booster(trees: str) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=trees)


def fit_chance_model(features: Floats, answers: NDArray[np.bool_], trust: Floats) -> ChanceModel:
    """Fit both halves.

    Args:
        features: `[n, features]`.
        answers: yes or no `[n]`.
        trust: weight of each example `[n]`.
    """
    if answers.all() or not answers.any():
        # One in n + 2, the rule of succession: never seen is not impossible.
        odds = (answers.sum() + 1) / ((~answers).sum() + 1)
        return ChanceModel(weights=(*[0.0] * features.shape[1], float(np.log(odds))), trees="")
    centre, spread = features.mean(axis=0), spread_of(features)
    logistic = LogisticRegression(C=_LOGISTIC_C, max_iter=3000).fit(
        (features - centre) / spread, answers, sample_weight=trust
    )
    slopes = logistic.coef_[0] / spread
    intercept = float(logistic.intercept_[0] - slopes @ centre)
    trees = lightgbm.LGBMClassifier(**TREE_SETTINGS).fit(features, answers, sample_weight=trust)
    return ChanceModel(
        weights=(*(float(slope) for slope in slopes), intercept),
        trees=trees.booster_.model_to_string(),
    )
