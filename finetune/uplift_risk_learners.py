"""Learners of effects that read another outcome's expectation as one more feature.

How likely a customer is to buy anyway says much of how far an offer moves them (Kent et al., 2020,
"The PATH statement", Annals of Internal Medicine 172(1): risk modelling). Both keep the contract
`finetune.uplift.UpliftLearner`.
"""

from typing import Self

import numpy as np

from finetune.calibration import Floats
from finetune.uplift import (
    Flags,
    Regressor,
    RegressorFactory,
    UpliftLearner,
    check_campaign,
    ridge,
)


class DependentTLearner:
    """A T-learner whose model with the offer reads another model's answer.

    Betlei, Diemert and Amini (2018), "Uplift prediction with dependent feature representation in
    imbalanced treatment and control conditions": the dependent data representation. What is read
    is the outcome expected without the offer, as there, or the outcome expected after another
    offer, so that an earlier campaign helps to tell who answers to offers at all.

    Args:
        outcome_model: makes both models.
        elsewhere: a model, already fitted to the same features, of the outcome after another
            offer; None to read the outcome without the offer.
    """

    def __init__(
        self, outcome_model: RegressorFactory = ridge, elsewhere: Regressor | None = None
    ) -> None:
        self._with, self._without = outcome_model(), outcome_model()
        self._read = self._without if elsewhere is None else elsewhere

    def fit(
        self, features: Floats, treated: Flags, outcome: Floats, propensity: Floats | None
    ) -> Self:
        """Learn from a past campaign; see `UpliftLearner.fit`."""
        check_campaign(features, treated, outcome, propensity)
        self._without.fit(features[~treated], outcome[~treated])
        self._with.fit(_with_answer(features[treated], self._read), outcome[treated])
        return self

    def effect(self, features: Floats) -> Floats:
        """Expected effect on each customer `[n]`, in units of the outcome."""
        with_offer = self._with.predict(_with_answer(features, self._read))
        return np.asarray(with_offer - self._without.predict(features))


class PrognosticLearner:
    """Another learner, given the outcome expected without the offer beside the features.

    Args:
        learner: learns the effects.
        outcome_model: makes the model of the outcome without the offer.
    """

    def __init__(self, learner: UpliftLearner, outcome_model: RegressorFactory = ridge) -> None:
        self._learner = learner
        self._without = outcome_model()

    def fit(
        self, features: Floats, treated: Flags, outcome: Floats, propensity: Floats | None
    ) -> Self:
        """Learn from a past campaign; see `UpliftLearner.fit`."""
        check_campaign(features, treated, outcome, propensity)
        self._without.fit(features[~treated], outcome[~treated])
        self._learner.fit(_with_answer(features, self._without), treated, outcome, propensity)
        return self

    def effect(self, features: Floats) -> Floats:
        """Expected effect on each customer `[n]`, in units of the outcome."""
        return self._learner.effect(_with_answer(features, self._without))


def _with_answer(features: Floats, model: Regressor) -> Floats:
    return np.column_stack([features, model.predict(features)])
