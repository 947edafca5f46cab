"""How many customers an experiment needs, and how small an effect those there are can show.

Two-sided tests of two groups of unequal size, by the normal approximation: for means as in Chow,
Shao and Wang, "Sample Size Calculations in Clinical Research", section 3.2; for shares as in
Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", section 4.2, without
continuity correction. For an experiment that is looked at all the time, the critical value of one
look gives way to that of the confidence sequence at its planned size.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from scipy.optimize import brentq
from scipy.stats import norm

from agent.sequential_intervals import fixed_factor, sequential_factor


class Looks(StrEnum):
    """How often the effect is looked at: `ONCE`, at the planned size, or `ALWAYS`."""

    ONCE = "once"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What the size of an experiment follows from, beside the effect.

    Attributes:
        holdout_share: share of customers in the control group.
        power: chance of finding the effect where there is one.
        alpha: chance of finding one where there is none.
        looks: how often the effect is looked at.
        variance_left: share of the variance that is left once what the time before foretells is
            taken out: 1 - r^2, with r the correlation of the two.
    """

    holdout_share: float
    power: float = 0.8
    alpha: float = 0.05
    looks: Looks = Looks.ONCE
    variance_left: float = 1.0

    @property
    def critical(self) -> float:
        """Standard errors from zero at which an effect counts as found."""
        if self.looks is Looks.ONCE:
            return fixed_factor(self.alpha)
        # The same for every size, where the sequence is tuned for that size.
        return sequential_factor(1, alpha=self.alpha, planned=1)

    @property
    def clearance(self) -> float:
        """Standard errors beyond the critical value that give the power."""
        return float(norm.ppf(self.power))

    @property
    def spread(self) -> float:
        """Variance of a difference of means, over a value's own, times all customers."""
        return self.variance_left * (1 / self.holdout_share + 1 / (1 - self.holdout_share))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSizes:
    """Customers needed in each group."""

    treatment: int
    control: int

    @property
    def total(self) -> int:
        """Customers needed together."""
        return self.treatment + self.control


def customers_for_means(deviation: float, effect: float, design: Design) -> GroupSizes:
    """Customers needed to find a difference of means.

    Args:
        deviation: standard deviation of a customer's value, in the unit of `effect`.
        effect: the difference to find; not zero.
        design: shares, power and looks.
    """
    reach = (design.critical + design.clearance) * deviation / effect
    return _split(reach**2 * design.spread, design)


def effect_for_means(deviation: float, customers: int, design: Design) -> float:
    """The smallest difference of means that so many customers can show; `deviation`'s unit."""
    return (design.critical + design.clearance) * deviation * math.sqrt(design.spread / customers)


def customers_for_shares(control: float, treatment: float, design: Design) -> GroupSizes:
    """Customers needed to find a difference of two shares.

    Args:
        control: the control group's share, above 0 and below 1.
        treatment: the treatment group's share, another one.
        design: shares of the groups, power and looks.
    """
    return _split(_customers_for_shares(control, treatment, design), design)


def effect_for_shares(control: float, customers: int, design: Design) -> float | None:
    """The smallest rise of a share that so many customers can show.

    Args:
        control: the control group's share, above 0 and below 1.
        customers: in both groups together.
        design: shares of the groups, power and looks.

    Returns:
        Treatment share minus control share; None where not even a share of 1 could be told apart.
    """

    def missing(treatment: float) -> float:
        return _customers_for_shares(control, treatment, design) - customers

    nearest, farthest = control + 1e-9, 1 - 1e-12
    if missing(farthest) > 0:
        return None
    if missing(nearest) <= 0:  # nothing is left to chance
        return 0.0
    return float(brentq(missing, nearest, farthest, xtol=1e-12)) - control


def _customers_for_shares(control: float, treatment: float, design: Design) -> float:
    holdout = design.holdout_share
    pooled = holdout * control + (1 - holdout) * treatment
    under_null = math.sqrt(pooled * (1 - pooled) * design.spread)
    under_effect = math.sqrt(
        design.variance_left
        * (control * (1 - control) / holdout + treatment * (1 - treatment) / (1 - holdout))
    )
    reach = design.critical * under_null + design.clearance * under_effect
    return (reach / (treatment - control)) ** 2


def _split(customers: float, design: Design) -> GroupSizes:
    # Fewer than two customers have no spread.
    return GroupSizes(
        treatment=max(2, math.ceil(customers * (1 - design.holdout_share))),
        control=max(2, math.ceil(customers * design.holdout_share)),
    )
