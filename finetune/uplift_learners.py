"""Learners of effects: one for all, and the T-, X- and DR-learner.

All keep the contract `finetune.uplift.UpliftLearner`. None draws a random number but for the
folds of cross-fitting, which a seed settles.
"""

from typing import Self

import numpy as np

from finetune.calibration import Floats
from finetune.cross_fitting import FOLDS
from finetune.uplift import (
    Flags,
    Regressor,
    RegressorFactory,
    check_campaign,
    ridge,
)
from finetune.uplift_outcomes import CLIP, doubly_robust_outcomes


class ConstantEffect:
    """One effect for everybody: what a single offer for everyone rests on.

    The mean of `doubly_robust_outcomes`, which is the augmented inverse propensity weighting
    estimate of the average effect (Robins, Rotnitzky and Zhao, 1994).

    Attributes:
        average: the effect, in units of the outcome.
        standard_error: of the average.
    """

    average: float
    standard_error: float

    def __init__(
        self,
        outcome_model: RegressorFactory = ridge,
        *,
        folds: int = FOLDS,
        clip: float = CLIP,
        seed: int = 0,
    ) -> None:
        self._outcome_model = outcome_model
        self._folds, self._clip, self._seed = folds, clip, seed

    def fit(
        self, features: Floats, treated: Flags, outcome: Floats, propensity: Floats | None
    ) -> Self:
        """Learn from a past campaign; see `UpliftLearner.fit`."""
        effects = doubly_robust_outcomes(
            features,
            treated,
            outcome,
            propensity,
            outcome_model=self._outcome_model,
            folds=self._folds,
            clip=self._clip,
            seed=self._seed,
        )
        self.average = float(effects.mean())
        self.standard_error = float(effects.std(ddof=1) / np.sqrt(len(effects)))
        return self

    def effect(self, features: Floats) -> Floats:
        """The average effect, for each customer `[n]`."""
        return np.full(len(features), self.average)


class TLearner:
    """Two models, with and without the offer; the effect is their difference.

    Künzel et al. (2019), "Metalearners for estimating heterogeneous treatment effects using machine
    learning", PNAS 116(10). The propensity is not used: where treatment depends on more than the
    features, choose another learner.
    """

    def __init__(self, outcome_model: RegressorFactory = ridge) -> None:
        self._with, self._without = outcome_model(), outcome_model()

    def fit(
        self, features: Floats, treated: Flags, outcome: Floats, propensity: Floats | None
    ) -> Self:
        """Learn from a past campaign; see `UpliftLearner.fit`."""
        check_campaign(features, treated, outcome, propensity)
        self._with.fit(features[treated], outcome[treated])
        self._without.fit(features[~treated], outcome[~treated])
        return self

    def effect(self, features: Floats) -> Floats:
        """Expected effect on each customer `[n]`, in units of the outcome."""
        return np.asarray(self._with.predict(features) - self._without.predict(features))


class XLearner:
    """A T-learner's guesses of each customer's own effect, learnt once more in either group.

    Künzel et al. (2019), equations 7 to 9. The two second models are weighted by g: those treated
    count by the share not treated and the reverse. Any g between 0 and 1 is valid; this is one
    number, so that a new customer needs no propensity.
    """

    def __init__(
        self, outcome_model: RegressorFactory = ridge, effect_model: RegressorFactory = ridge
    ) -> None:
        self._outcome_model = outcome_model
        self._among_treated, self._among_others = effect_model(), effect_model()
        self._share = 0.5

    def fit(
        self, features: Floats, treated: Flags, outcome: Floats, propensity: Floats | None
    ) -> Self:
        """Learn from a past campaign; see `UpliftLearner.fit`."""
        check_campaign(features, treated, outcome, propensity)
        ours, others = features[treated], features[~treated]
        with_offer, without = self._outcome_model(), self._outcome_model()
        with_offer.fit(ours, outcome[treated])
        without.fit(others, outcome[~treated])
        self._among_treated.fit(ours, outcome[treated] - without.predict(ours))
        self._among_others.fit(others, with_offer.predict(others) - outcome[~treated])
        self._share = float(treated.mean() if propensity is None else propensity.mean())
        return self

    def effect(self, features: Floats) -> Floats:
        """Expected effect on each customer `[n]`, in units of the outcome."""
        return np.asarray(
            self._share * self._among_others.predict(features)
            + (1 - self._share) * self._among_treated.predict(features)
        )


class DRLearner:
    """Regresses each customer's doubly robust effect on the features.

    Kennedy (2020), "Towards optimal doubly robust estimation of heterogeneous causal effects",
    algorithm 1, with cross-fitting in place of one split. Right if either the outcome models or
    the propensities are.
    """

    def __init__(
        self,
        outcome_model: RegressorFactory = ridge,
        effect_model: RegressorFactory = ridge,
        *,
        folds: int = FOLDS,
        clip: float = CLIP,
        seed: int = 0,
    ) -> None:
        self._outcome_model = outcome_model
        self._effects: Regressor = effect_model()
        self._folds, self._clip, self._seed = folds, clip, seed

    def fit(
        self, features: Floats, treated: Flags, outcome: Floats, propensity: Floats | None
    ) -> Self:
        """Learn from a past campaign; see `UpliftLearner.fit`."""
        effects = doubly_robust_outcomes(
            features,
            treated,
            outcome,
            propensity,
            outcome_model=self._outcome_model,
            folds=self._folds,
            clip=self._clip,
            seed=self._seed,
        )
        self._effects.fit(features, effects)
        return self

    def effect(self, features: Floats) -> Floats:
        """Expected effect on each customer `[n]`, in units of the outcome."""
        return np.asarray(self._effects.predict(features))
