"""Patron's candidates on one campaign, and its choice among them within the training half alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.offers_hillstrom_systems import INCUMBENT, Campaign, Candidate, Views, candidates
from finetune.calibration import Floats
from finetune.uplift import Flags
from finetune.uplift_measures import qini_coefficient, walk_down

FOLDS = 3
MEAN = "mean"
"""The mean of all candidates, which is a challenger too."""
OURS = "patron"

_DRAWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHalf:
    """Customers of all arms to learn one e-mail's effect on one outcome from.

    Attributes:
        views: of the customers.
        actions: what each was sent `[n]`.
        arm: the e-mail, an action; its campaign is its customers and those sent nothing.
        outcome: `[n]`.
        binary: whether the outcome is 0 or 1.
        fold: of each customer `[n]`.
    """

    views: Views
    actions: NDArray[np.intp]
    arm: int
    outcome: Floats
    binary: bool
    fold: NDArray[np.intp]

    @property
    def in_campaign(self) -> Flags:
        """Who was sent the e-mail or nothing `[n]`."""
        return np.isin(self.actions, (0, self.arm))

    def campaign(self, among: Flags) -> Campaign:
        """The campaign, of some customers."""
        chosen = np.flatnonzero(self.in_campaign & among)
        other = np.flatnonzero(~self.in_campaign & among)
        return Campaign(
            views=self.views.of(chosen),
            treated=self.actions[chosen] == self.arm,
            outcome=self.outcome[chosen],
            binary=self.binary,
            other_views=self.views.of(other),
            other_outcome=self.outcome[other],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """What Patron's candidates, and its choice under its own name, say.

    Attributes:
        effects: by candidate, on customers of the test half.
        cross_fitted: by candidate, on the training half, each guessed from the other folds.
        chosen: which of them Patron takes.
    """

    effects: dict[str, Floats]
    cross_fitted: dict[str, Floats]
    chosen: str


def folds_of(count: int, seed: int) -> NDArray[np.intp]:
    """A fold for each customer `[n]`, alike in size."""
    fold: NDArray[np.intp] = np.random.default_rng(seed).permutation(count) % FOLDS
    return fold


def guess(train: TrainingHalf, customers: Views, seed: int) -> Guesses:
    """Fit every candidate, choose, and answer for customers."""
    made = candidates(binary=train.binary)
    everyone = train.campaign(np.ones(len(train.actions), dtype=bool))
    effects = {name: made[name].effects(everyone, customers) for name in made}
    cross_fitted = {name: cross_fit(made[name], train) for name in made}
    for found in (effects, cross_fitted):
        found[MEAN] = np.mean(list(found.values()), axis=0)
    chosen = choose_learner(
        {name: effect[train.in_campaign] for name, effect in cross_fitted.items()},
        everyone.outcome,
        everyone.treated,
        seed,
    )
    for found in (effects, cross_fitted):
        found[OURS] = found[chosen]
    return Guesses(effects=effects, cross_fitted=cross_fitted, chosen=chosen)


def cross_fit(candidate: Candidate, train: TrainingHalf) -> Floats:
    """Effects on everybody of the training half, each guessed from the other folds `[n]`."""
    effects = np.empty(len(train.actions))
    for part in range(FOLDS):
        held = train.fold == part
        effects[held] = candidate.effects(
            train.campaign(~held), train.views.of(np.flatnonzero(held))
        )
    return effects


def choose_learner(
    cross_fitted: Mapping[str, Floats], outcome: Floats, treated: Flags, seed: int
) -> str:
    """The name among `cross_fitted` that Patron ranks by.

    The incumbent stands unless the challenger with the highest Qini coefficient of cross-fitted
    effects is surely better: the paired 95% interval of the difference, over draws of customers,
    lies above 0. Taking the highest without that test follows noise.

    Args:
        cross_fitted: effects by candidate, of the campaign's customers `[n]`.
        outcome: `[n]`.
        treated: `[n]`.
        seed: of the draws.
    """
    qini = {name: qini_coefficient(outcome, cross_fitted[name], treated) for name in cross_fitted}
    challenger = max(qini, key=lambda name: qini[name])
    weights = np.random.default_rng(seed).poisson(1.0, (_DRAWS, len(outcome))).astype(np.float64)
    # The perfect order's area, common to both, decides nothing about which is larger.
    first, second = (
        walk_down(outcome, cross_fitted[name], treated, weights).qini_curve().area_over_chance
        for name in (challenger, INCUMBENT)
    )
    surely = float(np.percentile(first - second, 2.5)) > 0
    return challenger if surely else INCUMBENT
