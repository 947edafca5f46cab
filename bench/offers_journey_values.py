"""What choosing some households would have earned, by doubly robust effects on profit.

A later campaign's households whose chance of being contacted lay between 0.05 and 0.95 are chosen
among; the budget is the number of contacts that the shop made among them. Profit is the sum over
the chosen of their effects (finetune.uplift_outcomes), less the cost of the contacts. Intervals are
over draws of households, with all campaigns of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from finetune.campaign_panels import Panel
from finetune.campaign_study import chances_of, outcome_of
from finetune.overlap import OVERLAP
from finetune.sampling_error import effective_sample_size
from finetune.studied_effects import Measure, Method
from finetune.uplift_outcomes import doubly_robust_outcomes

CENTS = 100
Score = Callable[[str, Floats], Floats]
"""A number for each household `[n]`, from a campaign's kind and features `[n, k]`."""
_FEWEST = 20
_ROUNDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a contact brings and costs.

    Attributes:
        margin: share of spend that the shop keeps.
        contact_cost: of one contact, minor units.
    """

    margin: float
    contact_cost: int

    def in_words(self) -> str:
        """The terms as a line of print."""
        return (
            f"  Profit = margin {self.margin} x spend changed - coupon discounts - "
            f"{self.contact_cost / CENTS:.2f} dollars a contact; margin and cost are assumed."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanValue:
    """What a policy's plan within the budget would have earned.

    Attributes:
        contacts: how many it makes.
        effective: contacted households of equal weight that its profit rests on.
        profit: dollars per contact of the budget, spent or not.
    """

    contacts: float
    effective: float
    profit: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterCampaign:
    """A later campaign's households within the overlap.

    Attributes:
        profits: each one's doubly robust effect on profit, less the contact's cost, dollars `[n]`.
        budget: contacts that the shop made among them.
    """

    kind: str
    customer_ids: tuple[str, ...]
    features: Floats
    treated: NDArray[np.bool_]
    chances: Floats
    profits: Floats
    budget: int


class Draws:
    """Profits of plans over the same draws of households."""

    def __init__(self, later: Sequence[LaterCampaign], seed: int) -> None:
        self._later = later
        self.budget = sum(each.budget for each in later)
        ids = sorted({customer for each in later for customer in each.customer_ids})
        row = {customer: number for number, customer in enumerate(ids)}
        self._rows = [np.array([row[c] for c in each.customer_ids]) for each in later]
        generator = np.random.default_rng(seed)
        self._counts = np.array(
            [
                np.bincount(generator.integers(len(ids), size=len(ids)), minlength=len(ids))
                for _ in range(_ROUNDS)
            ]
        )

    def profit(self, plan: Sequence[Floats]) -> Interval:
        """Dollars per contact of the budget; a plan has each household's chance of a contact."""
        by_household = np.zeros(self._counts.shape[1])
        for each, rows, chosen in zip(self._later, self._rows, plan, strict=True):
            by_household[rows] += chosen * each.profits / self.budget
        low, high = np.percentile(self._counts @ by_household, [2.5, 97.5])
        return Interval(mean=float(by_household.sum()), low=float(low), high=float(high))

    def value(self, plan: Sequence[Floats]) -> PlanValue:
        """Profit of a plan and what it rests on."""
        weights = np.concatenate(
            [
                chosen * each.treated / each.chances
                for each, chosen in zip(self._later, plan, strict=True)
            ]
        )
        return PlanValue(
            contacts=float(sum(chosen.sum() for chosen in plan)),
            effective=effective_sample_size(weights),
            profit=self.profit(plan),
        )


def best_within_budget(
    campaign: LaterCampaign, score: Score, *, only_gains: bool = False
) -> Floats:
    """1 for those with the highest scores within the budget (above 0, where asked), else 0."""
    scores = score(campaign.kind, campaign.features)
    chosen = np.zeros(len(scores))
    chosen[np.argsort(-scores, kind="stable")[: campaign.budget]] = 1.0
    return chosen * (scores > 0) if only_gains else chosen


def score_campaign(panel: Panel, method: Method, terms: Terms, seed: int) -> LaterCampaign | None:
    """A later campaign's effects on profit; None where the overlap holds too few households."""
    chances = chances_of(panel, seed)
    inside = (chances >= OVERLAP) & (chances <= 1 - OVERLAP)
    treated = panel.treated[inside]
    if min(treated.sum(), (~treated).sum()) < _FEWEST:
        return None
    profit = terms.margin * outcome_of(panel, method, Measure.SPEND) - panel.discount
    effects = doubly_robust_outcomes(
        panel.features[inside], treated, profit[inside], chances[inside], clip=OVERLAP, seed=seed
    )
    return LaterCampaign(
        kind=panel.kind,
        customer_ids=tuple(np.array(panel.customer_ids)[inside]),
        features=panel.features[inside],
        treated=treated,
        chances=chances[inside],
        profits=(effects - terms.contact_cost) / CENTS,
        budget=int(treated.sum()),
    )
