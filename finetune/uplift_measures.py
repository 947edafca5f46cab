"""How well effects rank customers: Qini coefficient and area under the uplift curve.

Both walk down the customers, the highest predicted effect first, and ask what the offer changed
among those passed so far. Customers with equal predicted effects are passed together, so their
order in the data decides nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from finetune.uplift import Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetingCurve:
    """What targeting the first customers gains, from nobody to everybody.

    Attributes:
        customers: how many are targeted, rising from 0 `[draws, points]`.
        gain: what the offer changed among them `[draws, points]`; see `Walk`.
    """

    customers: Floats
    gain: Floats

    @property
    def area(self) -> Floats:
        """Area under the curve, by trapezoids `[draws]`."""
        return np.asarray(np.trapezoid(self.gain, self.customers))

    @property
    def area_over_chance(self) -> Floats:
        """Area above the straight line that targeting at random follows `[draws]`."""
        return np.asarray(self.area - self.customers[:, -1] * self.gain[:, -1] / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Running sums down the customers, after each group of equal effects, from 0.

    Each is `[draws, points]`.

    Attributes:
        treated: how many of those passed had the offer.
        others: how many had not.
        treated_outcome: sum of the outcomes of the former.
        others_outcome: sum of the outcomes of the latter.
    """

    treated: Floats
    others: Floats
    treated_outcome: Floats
    others_outcome: Floats

    def qini_curve(self) -> TargetingCurve:
        """Extra outcome of the treated among those passed: Y_t - Y_c N_t / N_c (Radcliffe 2007)."""
        expected = self.others_outcome * _ratio(self.treated, self.others)
        return TargetingCurve(
            customers=self.treated + self.others, gain=self.treated_outcome - expected
        )

    def uplift_curve(self) -> TargetingCurve:
        """Difference of mean outcomes among those passed, times their number."""
        difference = _ratio(self.treated_outcome, self.treated)
        difference -= _ratio(self.others_outcome, self.others)
        customers = self.treated + self.others
        return TargetingCurve(customers=customers, gain=difference * customers)

    def area_per_customer(self) -> Floats:
        """`auuc` of each draw `[draws]`."""
        curve = self.uplift_curve()
        return np.asarray(curve.area / curve.customers[:, -1] ** 2)


def walk_down(
    outcome: Floats, effect: Floats, treated: Flags, weights: Floats | None = None
) -> Walk:
    """Pass the customers, the highest predicted effect first.

    Args:
        outcome: `[n]`.
        effect: predicted `[n]`.
        treated: `[n]`.
        weights: how often each customer counts, draw by draw of a bootstrap `[draws, n]`; once in
            one draw where left out.
    """
    order = np.argsort(-effect, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(effect[order])), len(order) - 1)
    counts = np.ones((1, len(order))) if weights is None else weights[:, order]
    ours = counts * treated[order]
    theirs = counts - ours
    return Walk(
        treated=_running(ours, ends),
        others=_running(theirs, ends),
        treated_outcome=_running(ours * outcome[order], ends),
        others_outcome=_running(theirs * outcome[order], ends),
    )


def perfect_area(outcome: Floats, treated: Flags, weights: Floats | None = None) -> Floats:
    """Area of the Qini curve over chance in the perfect order `[draws]`.

    That order knows the outcomes: those treated by falling outcome, then those without outcome,
    then the others by rising outcome, so that negative effects count too.
    """
    order = np.where(treated, outcome, -outcome)
    return walk_down(outcome, order, treated, weights).qini_curve().area_over_chance


def qini_coefficient(outcome: Floats, effect: Floats, treated: Flags) -> float:
    """Area of the Qini curve over chance, divided by `perfect_area`.

    0 is chance, 1 perfect, below 0 worse than chance. On outcomes of 0 and 1 this equals
    scikit-uplift's `qini_auc_score(negative_effect=True)`; on amounts, which that refuses, it is
    the same formula. NaN where the outcome leaves nothing to rank.
    """
    most = float(perfect_area(outcome, treated)[0])
    if most <= 0:
        return float("nan")
    return float(walk_down(outcome, effect, treated).qini_curve().area_over_chance[0]) / most


def auuc(outcome: Floats, effect: Floats, treated: Flags) -> float:
    """Area under the uplift curve in outcome units per customer: area / customers squared.

    It is what an average customer gains if a random share of them, all shares alike, is targeted
    in the predicted order. Chance gives half the average effect. scikit-uplift's
    `uplift_auc_score` takes chance away and divides by a perfect order that exists for outcomes of
    0 and 1 only; the curve is the same.
    """
    return float(walk_down(outcome, effect, treated).area_per_customer()[0])


def _running(values: Floats, ends: NDArray[np.intp]) -> Floats:
    sums = np.cumsum(values, axis=1)[:, ends]
    return np.concatenate([np.zeros((len(values), 1)), sums], axis=1)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Division that gives 0 where nobody has been passed yet."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)
