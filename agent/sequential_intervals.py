"""Intervals for a difference of two groups' means: one for a single look, one for every look.

The usual interval is right with probability 1 - alpha at one moment fixed before. Looked at again
and again it is, sooner or later, wrong. An asymptotic confidence sequence is right at all moments
together with that probability, for the price of being wider.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
asymptotic confidence sequences" (2021, Annals of Statistics 2024): the normal mixture boundary and
the tuning of rho. Their estimator for randomised experiments with each group's own mean as its
regression is the difference of means, and its variance is Neyman's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw
from scipy.stats import norm

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From `low` to `high`, in the unit of the means."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Treatment minus control, in the unit of the values.

    Attributes:
        treatment: number of customers, control likewise.
        treatment_mean: mean of the group, control likewise.
        effect: difference of the means.
        standard_error: of the effect.
        fixed: interval for one look at a moment chosen before.
        sequential: interval for any number of looks.
    """

    treatment: int
    control: int
    treatment_mean: float
    control_mean: float
    effect: float
    standard_error: float
    fixed: Interval
    sequential: Interval


def difference_of_means(
    treatment: Floats, control: Floats, *, alpha: float, planned: int
) -> Difference:
    """Compare two groups of customers, each a sample in random order.

    Both intervals rest on the central limit theorem; fewer than some dozens of customers a group
    are too few for either.

    Args:
        treatment: values `[n]`, at least two.
        control: values `[m]`, at least two.
        alpha: chance that an interval misses the true difference.
        planned: customers of both groups together at which the sequential interval is to be
            narrowest; fixed before the first look.

    Raises:
        ValueError: a group has fewer than two customers.
    """
    if min(len(treatment), len(control)) < 2:
        raise ValueError("each group needs at least two customers")
    effect = float(treatment.mean() - control.mean())
    error = float(
        np.sqrt(treatment.var(ddof=1) / len(treatment) + control.var(ddof=1) / len(control))
    )
    customers = len(treatment) + len(control)
    once = fixed_factor(alpha) * error
    always = sequential_factor(customers, alpha=alpha, planned=planned) * error
    return Difference(
        treatment=len(treatment),
        control=len(control),
        treatment_mean=float(treatment.mean()),
        control_mean=float(control.mean()),
        effect=effect,
        standard_error=error,
        fixed=Interval(low=effect - once, high=effect + once),
        sequential=Interval(low=effect - always, high=effect + always),
    )


def fixed_factor(alpha: float) -> float:
    """Standard errors on either side of a two-sided interval for one look: 1.96 at 0.05."""
    return float(norm.isf(alpha / 2))


def sequential_factor(customers: int, *, alpha: float, planned: int) -> float:
    """Standard errors on either side of an interval for any number of looks.

    With n customers, `sqrt((n rho^2 + 1) / (n rho^2) * log((n rho^2 + 1) / alpha^2))`: the
    boundary of theorem 2.2 of the paper, divided by the standard error.

    Args:
        customers: seen so far, both groups together.
        alpha: chance that the interval is wrong at any look.
        planned: customers at which it is narrowest.
    """
    information = customers * tuned_rho(planned, alpha) ** 2
    return float(np.sqrt((information + 1) / information * np.log((information + 1) / alpha**2)))


def tuned_rho(planned: int, alpha: float) -> float:
    """The mixture's rho that makes the sequential interval narrowest at `planned` customers.

    The width at n depends on x = n rho^2 alone and is smallest where x = log((x + 1) / alpha^2),
    whose solution is x = -W(-alpha^2 / e) - 1 on the lower branch of Lambert's W.
    """
    information = -lambertw(-(alpha**2) / np.e, k=-1).real - 1
    return float(np.sqrt(information / planned))
