"""Who could have been contacted and who could not: chances, overlap weights and balance."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from finetune.calibration import Floats
from finetune.cross_fitting import FOLDS, folds_of
from finetune.sampling_error import effective_sample_size
from finetune.uplift import Flags

OVERLAP = 0.05
"""Customers with a chance this far from 0 and 1 count as within the overlap."""
_LOGISTIC_C = 0.05
_CLIP = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How alike the contacted and the others are, before and after weighting.

    Attributes:
        inside: share of the contacted whose chance is within the overlap.
        effective_contacted: contacted customers of equal weight that say as much (Kong, 1992).
        effective_others: the same of those not contacted.
        apart_before: largest absolute standardised mean difference over the features.
        apart_after: the same with overlap weights.
    """

    inside: float
    effective_contacted: float
    effective_others: float
    apart_before: float
    apart_after: float


def chances_of_contact(features: Floats, treated: Flags, seed: int) -> Floats:
    """Each customer's chance of being contacted `[n]`, by a logistic model of the other folds."""
    fold = folds_of(treated, seed)
    chances = np.empty(len(treated))
    for part in range(FOLDS):
        held = fold == part
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=_LOGISTIC_C, max_iter=1000)
        ).fit(features[~held], treated[~held])
        chances[held] = model.predict_proba(features[held])[:, 1]
    return np.clip(chances, _CLIP, 1 - _CLIP)


def overlap_weights(treated: Flags, chances: Floats) -> Floats:
    """1 - e for the contacted and e for the others `[n]` (Li, Morgan and Zaslavsky, 2018).

    They weigh most whom the shop might as well have chosen as not, need no trimming, and are the
    weights with the smallest variance. The effect they lead to is that on such customers.
    """
    return np.where(treated, 1 - chances, chances)


def overlap_of(features: Floats, treated: Flags, chances: Floats) -> Overlap:
    """Overlap and balance of one campaign."""
    weights = overlap_weights(treated, chances)
    return Overlap(
        inside=float(((chances >= OVERLAP) & (chances <= 1 - OVERLAP))[treated].mean()),
        effective_contacted=effective_sample_size(weights[treated]),
        effective_others=effective_sample_size(weights[~treated]),
        apart_before=_apart(features, treated, np.ones(len(treated))),
        apart_after=_apart(features, treated, weights),
    )


def _apart(features: Floats, treated: Flags, weights: Floats) -> float:
    """Difference of means over the unweighted spread of both groups (Austin, 2009)."""
    means = [np.average(features[g], axis=0, weights=weights[g]) for g in (treated, ~treated)]
    spread = np.sqrt((features[treated].var(axis=0) + features[~treated].var(axis=0)) / 2)
    varies = spread > 0
    return float(np.abs((means[0] - means[1])[varies] / spread[varies]).max(initial=0.0))
