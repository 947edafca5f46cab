"""The statistical prior: what counting alone foresees of a customer, learnt at several cut-offs.

It answers the predictor's three questions (churn, value tier, spend) from `customer_features`, and
the calibrated answers blend it with the language model's; see `finetune.blend`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import lightgbm
import numpy as np

from finetune.calibration import Floats
from finetune.chance_model import TREE_SETTINGS, ChanceModel, fit_chance_model, grown
from finetune.customer_features import FEATURES, customer_features
from finetune.labels import Example
from retrieval.orders import CustomerPast

# An older window counts less, for habits and seasons move.
_TRUST_A_CUTOFF = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers about the same customers: `churn [n]`, `tiers [n, tiers]`, `spend [n]` (minor)."""

    churn: Floats
    tiers: Floats
    spend: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Fitted models.

    Attributes:
        horizon_days: over which they foresee.
        features: names of the columns they read, so that another set is refused.
        churn: chance of leaving.
        reaches: chance of reaching each tier above the lowest.
        spend_trees: LightGBM's text for spend in units of `spend_scale`.
        spend_scale: mean spend of the examples, minor units.
        neutral: mean of each feature over the examples, older windows counting less: what stands
            in for a feature that is taken away. Empty in files made before it was kept.
    """

    horizon_days: int
    features: tuple[str, ...]
    churn: ChanceModel
    reaches: tuple[ChanceModel, ...]
    spend_trees: str
    spend_scale: float
    neutral: tuple[float, ...] = ()

    def answers(self, pasts: Sequence[CustomerPast]) -> Answers:
        """Answers for customers, in their order."""
        return self.answers_of(customer_features(pasts, self.horizon_days))

    def answers_of(self, features: Floats) -> Answers:
        """Answers from rows of `customer_features` `[n, features]`."""
        reached = np.column_stack([model.chances(features) for model in self.reaches])
        # A higher tier cannot be likelier to be reached than a lower one.
        reached = np.minimum.accumulate(reached, axis=1)
        edges = np.column_stack([np.ones(len(features)), reached, np.zeros(len(features))])
        return Answers(
            churn=self.churn.chances(features),
            tiers=-np.diff(edges, axis=1),
            spend=grown(self.spend_trees, features) * self.spend_scale,
        )

    def to_json(self) -> str:
        """The prior file's text."""
        return json.dumps(asdict(self), sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Prior":
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is damaged, or reads other features than this version makes.
        """
        try:
            document = json.loads(text)
            prior = cls(
                horizon_days=document["horizon_days"],
                features=tuple(document["features"]),
                churn=ChanceModel.from_json(document["churn"]),
                reaches=tuple(ChanceModel.from_json(model) for model in document["reaches"]),
                spend_trees=document["spend_trees"],
                spend_scale=document["spend_scale"],
                neutral=tuple(document.get("neutral", ())),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no {error}") from error
        if prior.features != FEATURES:
            raise ValueError("it reads other features than this version makes")
        return prior


def fit_prior(
    windows: Sequence[Sequence[Example]], thresholds: Sequence[float], horizon_days: int
) -> Prior:
    """Fit on labelled windows.

    Args:
        windows: examples at each cut-off, the newest first.
        thresholds: spend (minor units) at which each tier above the lowest begins.
        horizon_days: of the labels.
    """
    examples = [example for window in windows for example in window]
    features = customer_features([example.past for example in examples], horizon_days)
    trust = np.concatenate(
        [np.full(len(window), _TRUST_A_CUTOFF**age) for age, window in enumerate(windows)]
    )
    churned = np.array([example.churned for example in examples])
    spends = np.array([example.spend for example in examples], dtype=np.float64)
    scale = max(float(spends.mean()), 1.0)
    trees = lightgbm.LGBMRegressor(
        **TREE_SETTINGS, objective="tweedie", tweedie_variance_power=1.3
    ).fit(features, spends / scale, sample_weight=trust)
    return Prior(
        horizon_days=horizon_days,
        features=FEATURES,
        churn=fit_chance_model(features, churned, trust),
        reaches=tuple(fit_chance_model(features, spends >= cut, trust) for cut in thresholds),
        spend_trees=trees.booster_.model_to_string(),
        spend_scale=scale,
        neutral=tuple(float(mean) for mean in np.average(features, axis=0, weights=trust)),
    )
