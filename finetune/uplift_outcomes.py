"""Each customer's own effect, estimated so that either of two models may be wrong."""

import numpy as np

from finetune.calibration import Floats
from finetune.cross_fitting import FOLDS, folds_of
from finetune.errors import TrainingError
from finetune.uplift import Flags, RegressorFactory, check_campaign, ridge

CLIP = 0.02
"""Propensities are kept this far from 0 and 1 where nothing else is asked."""


def doubly_robust_outcomes(
    features: Floats,
    treated: Flags,
    outcome: Floats,
    propensity: Floats | None,
    *,
    outcome_model: RegressorFactory = ridge,
    folds: int = FOLDS,
    clip: float = CLIP,
    seed: int = 0,
) -> Floats:
    """Each customer's effect by augmented inverse propensity weighting `[n]`, very noisy.

    m1(x) - m0(x) + (t - e) / (e (1 - e)) * (y - m_t(x)), where the outcome models m are fitted on
    the other folds and e is the propensity (Kennedy, 2020, equation 4). Its mean over any group of
    customers estimates the group's average effect.

    Args:
        features: `[n, k]`.
        treated: `[n]`.
        outcome: `[n]`.
        propensity: `[n]`, or None for the treated share.
        outcome_model: makes m.
        folds: parts, with equal shares of treated; at least 2.
        clip: propensities are brought within clip and 1 - clip.
        seed: settles the folds.

    Raises:
        TrainingError: see `UpliftLearner.fit`, or fewer than two folds.
    """
    if folds < 2:
        raise TrainingError(
            f"Cross-fitting needs at least 2 folds, not {folds}.", hint="Give folds=5."
        )
    check_campaign(features, treated, outcome, propensity, fewest=folds)
    fold = folds_of(treated, seed, folds)
    with_offer, without = np.empty(len(outcome)), np.empty(len(outcome))
    for part in range(folds):
        held = fold == part
        for answers, group in ((with_offer, treated), (without, ~treated)):
            model = outcome_model()
            model.fit(features[group & ~held], outcome[group & ~held])
            answers[held] = model.predict(features[held])
    chance = np.full(len(outcome), treated.mean()) if propensity is None else propensity
    chance = np.clip(chance, clip, 1 - clip)
    error = outcome - np.where(treated, with_offer, without)
    weight = (treated - chance) / (chance * (1 - chance))
    return np.asarray(with_offer - without + weight * error)
