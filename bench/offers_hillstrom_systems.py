"""Patron's candidates for the effect of an e-mail on each customer.

Every learner sees one campaign, an arm and the customers sent nothing, and answers for customers it
has not seen. `t_dependent_other` also reads what the other arm's customers did, which no peer does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from finetune.uplift import (
    Flags,
    RegressorFactory,
    UpliftLearner,
    chances,
    lasso,
    ridge,
    trees,
)
from finetune.uplift_learners import DRLearner, TLearner, XLearner
from finetune.uplift_risk_learners import DependentTLearner, PrognosticLearner

INCUMBENT = "t_dependent_other"
"""The candidate that stands until another seems better on the training half.

It was chosen with test halves of other splits looked at.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What is known of customers before the e-mail, seen in several ways.

    Attributes:
        rfm: recency, spend, categories, channel, area, new or not `[n, 10]`.
        lm: principal components of the language model's embedding of the history `[n, k]`.
        bought: whether the men's and the women's department were bought from `[n, 2]`.
        spent: in the last year, dollars `[n]`.
    """

    rfm: Floats
    lm: Floats
    bought: Floats
    spent: Floats

    @property
    def both(self) -> Floats:
        """RFM and language model side by side."""
        return np.column_stack([self.rfm, self.lm])

    def of(self, chosen: NDArray[np.intp]) -> "Views":
        """The same views of some customers."""
        return Views(
            rfm=self.rfm[chosen],
            lm=self.lm[chosen],
            bought=self.bought[chosen],
            spent=self.spent[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Customers of one arm and customers sent nothing, to learn from.

    Attributes:
        views: of the customers.
        treated: who was sent the e-mail `[n]`.
        outcome: what each did `[n]`.
        binary: whether the outcome is 0 or 1.
        other_views: of the customers sent the other e-mail, of the same part of the data.
        other_outcome: what each of those did.
    """

    views: Views
    treated: Flags
    outcome: Floats
    binary: bool
    other_views: Views
    other_outcome: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A learner, made for a campaign, and the view it reads."""

    learner: Callable[[Campaign], UpliftLearner]
    view: Callable[[Views], Floats]

    def effects(self, campaign: Campaign, customers: Views) -> Floats:
        """Learn from the campaign and answer for customers `[n]`."""
        learner = self.learner(campaign).fit(
            self.view(campaign.views), campaign.treated, campaign.outcome, None
        )
        return learner.effect(self.view(customers))


def candidates(*, binary: bool) -> dict[str, Candidate]:
    """Patron's candidates; logistic regression stands for ridge where outcomes are 0 and 1."""
    base = chances if binary else ridge
    over_rfm: dict[str, Callable[[], UpliftLearner]] = {
        "t_ridge": lambda: TLearner(ridge),
        "t_trees": lambda: TLearner(trees),
        "t_dependent": lambda: DependentTLearner(base),
        "x_trees_lasso": lambda: XLearner(trees, lasso),
        "dr_trees": lambda: DRLearner(trees, trees, folds=2),
        "dr_lasso": lambda: DRLearner(base, lasso),
        "dr_lasso_prognostic": lambda: PrognosticLearner(DRLearner(base, lasso), base),
    }
    if binary:
        over_rfm["t_logistic"] = lambda: TLearner(chances)
    made = {name: _candidate(learner, _rfm) for name, learner in over_rfm.items()}
    made["t_categories"] = _candidate(lambda: TLearner(base), _bought)
    made["lm_t_ridge"] = _candidate(lambda: TLearner(ridge), _lm)
    made["lm_x_lasso"] = _candidate(lambda: XLearner(ridge, lasso), _lm)
    made["lm_dr_lasso"] = _candidate(lambda: DRLearner(base, lasso), _both)
    made[INCUMBENT] = Candidate(learner=partial(_t_other, base), view=_rfm)
    return made


def _candidate(learner: Callable[[], UpliftLearner], view: Callable[[Views], Floats]) -> Candidate:
    return Candidate(learner=lambda _: learner(), view=view)


def _t_other(base: RegressorFactory, campaign: Campaign) -> UpliftLearner:
    """A T-learner that reads the outcome expected after the other e-mail."""
    other = base()
    other.fit(campaign.other_views.rfm, campaign.other_outcome)
    return DependentTLearner(base, elsewhere=other)


def _rfm(views: Views) -> Floats:
    return views.rfm


def _lm(views: Views) -> Floats:
    return views.lm


def _both(views: Views) -> Floats:
    return views.both


def _bought(views: Views) -> Floats:
    return views.bought
