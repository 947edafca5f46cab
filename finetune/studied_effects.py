"""The effect of one campaign, of several together, and which method is believed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np

from finetune.calibration import Floats
from finetune.overlap import Overlap
from finetune.sampling_error import TWO_SIDED_95

PLACEBOS = (1, 2)
"""How many windows before a campaign its placebos begin."""
_LEAST_ERROR = 1e-9


class Method(StrEnum):
    """How contacted customers and others are compared; see `finetune.campaign_study`."""

    ADJUSTMENT = "adjustment"
    DIFFERENCES = "difference in differences"


class Measure(StrEnum):
    """What is counted in a window: spend in minor units, or leaving as the shop defines it."""

    SPEND = "spend"
    CHURN = "churn"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudiedEffect:
    """One campaign's effect per contacted customer, or that of a placebo.

    Attributes:
        starts: of the campaign.
        windows_early: 0 for the effect; a placebo begins so many windows before the campaign.
        contacted: customers.
        effect: of the contact on one customer, in units of the measure.
        weight: of the campaign among others, the sum of its customers' e (1 - e).
        customer_ids: of everybody compared.
        influence: each one's part in the error `[n]`; its mean square over n is the variance.
        overlap: of the comparison.
    """

    campaign_id: str
    kind: str
    starts: datetime
    method: Method
    measure: Measure
    windows_early: int
    contacted: int
    effect: float
    weight: float
    customer_ids: tuple[str, ...]
    influence: Floats
    overlap: Overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """The mean effect of several campaigns, or of own decisions, with its 95% interval.

    Attributes:
        contacted: customers of the campaigns, and decisions for an offer.
    """

    effect: float
    low: float
    high: float
    campaigns: int
    contacted: int

    @property
    def contains_zero(self) -> bool:
        """Whether no effect at all is within the interval."""
        return self.low <= 0 <= self.high

    @property
    def error(self) -> float:
        """The standard error that the interval was made of."""
        return (self.high - self.low) / (2 * TWO_SIDED_95)

    @property
    def shrunk(self) -> float:
        """The effect b kept at b (1 - (error / b)^2), or at 0 where the error is the larger.

        An effect that was picked because it stands out is too large on average; the positive-part
        rule of James and Stein (1961) takes the more off, the less it stands out.
        """
        error = self.error
        return self.effect * (1 - (error / self.effect) ** 2) if abs(self.effect) > error else 0.0

    def contradicts(self, other: "Pooled") -> bool:
        """Whether the two differ by more than chance alone makes likely (5 %)."""
        apart = TWO_SIDED_95 * float(np.hypot(self.error, other.error))
        return abs(self.effect - other.effect) > apart

    def with_evidence(self, other: "Pooled") -> "Pooled":
        """Both together, each weighing by its precision, 1 / error^2.

        Their errors are taken as independent: they are of other windows.
        """
        precision = np.maximum([self.error, other.error], _LEAST_ERROR) ** -2.0
        effect = float(np.average([self.effect, other.effect], weights=precision))
        margin = TWO_SIDED_95 / float(np.sqrt(precision.sum()))
        return Pooled(
            effect=effect,
            low=effect - margin,
            high=effect + margin,
            campaigns=self.campaigns + other.campaigns,
            contacted=self.contacted + other.contacted,
        )


def pooled(effects: Iterable[StudiedEffect]) -> Pooled | None:
    """The weighted mean over campaigns; None without any.

    The interval minds that one customer may have been in several of them: a customer's parts in
    the errors are added before they are squared.
    """
    chosen = list(effects)
    total = sum(each.weight for each in chosen)
    if not total:
        return None
    errors: dict[str, float] = {}
    for each in chosen:
        share = each.weight / total / len(each.influence)
        for customer_id, part in zip(each.customer_ids, each.influence, strict=True):
            errors[customer_id] = errors.get(customer_id, 0.0) + share * float(part)
    effect = sum(each.weight / total * each.effect for each in chosen)
    margin = TWO_SIDED_95 * float(np.sqrt(sum(error**2 for error in errors.values())))
    return Pooled(
        effect=effect,
        low=effect - margin,
        high=effect + margin,
        campaigns=len(chosen),
        contacted=sum(each.contacted for each in chosen),
    )


def choose_method(effects: Iterable[StudiedEffect], until: datetime) -> Method:
    """Adjustment where it passes its placebos on spend, else difference in differences.

    Args:
        effects: of any campaigns.
        until: campaigns that start from here on have no say.
    """
    earlier = [
        each
        for each in effects
        if each.starts < until
        and each.method is Method.ADJUSTMENT
        and each.measure is Measure.SPEND
    ]
    placebos = [pooled(e for e in earlier if e.windows_early == early) for early in PLACEBOS]
    seen = [placebo for placebo in placebos if placebo is not None]
    passes = bool(seen) and all(placebo.contains_zero for placebo in seen)
    return Method.ADJUSTMENT if passes else Method.DIFFERENCES
