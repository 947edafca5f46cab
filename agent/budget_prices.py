"""What a unit of each budget is worth: prices at which customers, choosing freely, keep to them.

The Lagrangian dual of choosing offers. Whatever the prices, the gain of the free choice at those
prices plus the worth of the budgets is no less than the gain of any choice within the budgets
(weak duality; Fisher, 1981), so the lowest such sum found is a proven upper bound.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
# Minor units; more than any budget, and sums of it still fit 64 bits.
NO_LIMIT = 2**61
_CELLS_AT_ONCE = 2**18
_TOLERANCE = 1e-7
_MOST_EVALUATIONS = 300
_MOST_CUTS = 60
_CELLS_TO_CUT = 2**20
_FIRST_BOX = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """n customers, m offers, and the budgets.

    Attributes:
        gain: shape (n, m); minus infinity where the offer cannot be made.
        cost: minor units, shape (m,), or (n, m) where it differs between customers.
        budgets: of all offers together, then of each offer, minor units; `NO_LIMIT` where there is
            none; shape (1 + m,).
    """

    gain: Floats
    cost: Integers
    budgets: NDArray[np.int64]

    def cost_of(self, customers: Integers, offers: Integers) -> Integers:
        """Cost of giving each of these customers the offer beside it."""
        return self.cost[offers] if self.cost.ndim == 1 else self.cost[customers, offers]

    def cost_rows(self, rows: slice) -> Integers:
        """Costs that broadcast against `gain[rows]`."""
        return self.cost if self.cost.ndim == 1 else self.cost[rows]

    def totals(self, choice: Integers) -> tuple[float, NDArray[np.int64]]:
        """Gain and cost by offer of a choice: an offer for each customer, -1 for none."""
        customers = np.flatnonzero(choice >= 0)
        offers = choice[customers]
        spent = np.zeros(self.gain.shape[1], dtype=np.int64)
        np.add.at(spent, offers, self.cost_of(customers, offers))
        return float(self.gain[customers, offers].sum(dtype=np.float64)), spent

    def left(self, spent: NDArray[np.int64]) -> NDArray[np.int64]:
        """What each budget has left after costs by offer; shape (1 + m,)."""
        return np.asarray(self.budgets - _by_budget(spent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices of one unit of cost, by offer, and the bound that they prove.

    Attributes:
        by_offer: that of the whole budget and that of the offer's own together; shape (m,).
        bound: no choice within the budgets gains more (to the rounding of float64).
    """

    by_offer: NDArray[np.float64]
    bound: float


def budget_prices(problem: Problem) -> Prices:
    """Prices with the lowest bound.

    L-BFGS-B brings the prices near; with many customers the dual is all but smooth, and that is
    all. With fewer its kinks matter: cutting planes within a box (the Boxstep method; Marsten,
    Hogan and Blankenship, 1975), built of all choices seen so far, go on until no lower bound is
    left or `_MOST_CUTS` are spent.
    """
    dual = _Dual(problem)
    if dual.binding:
        minimize(
            dual.evaluate,
            dual.best,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] * len(dual.best),
            options={"maxfun": _MOST_EVALUATIONS, "ftol": 1e-9, "gtol": 1e-12},
        )
        if problem.gain.size <= _CELLS_TO_CUT:
            _cut(dual)
    return Prices(by_offer=dual.by_offer(dual.best), bound=dual.bound())


def best_at_prices(problem: Problem, by_offer: NDArray[np.float64]) -> NDArray[np.int32]:
    """Each customer's offer of highest gain less price, -1 where none is above 0; shape (n,)."""
    choice = np.empty(len(problem.gain), dtype=np.int32)

    def choose(rows: slice) -> None:
        priced = priced_gain(problem, by_offer, rows)
        offers = priced.argmax(axis=1)
        above = priced[np.arange(len(offers)), offers] > 0
        choice[rows] = np.where(above, offers, -1)

    for_all_rows(problem, choose)
    return choice


def priced_gain(problem: Problem, by_offer: NDArray[np.float64], rows: slice) -> Floats:
    """Gain less cost times price, in the precision of the gains; shape (rows, m)."""
    prices = by_offer.astype(problem.gain.dtype)
    cost = problem.cost_rows(rows).astype(problem.gain.dtype)
    return np.asarray(problem.gain[rows] - prices * cost)


def for_all_rows(problem: Problem, step: Callable[[slice], Any]) -> list[Any]:
    """Run a step on chunks of customers, on all cores (numpy lets go of the lock), in order."""
    customers, offers = problem.gain.shape
    size = max(1, _CELLS_AT_ONCE // offers)
    chunks = [slice(start, start + size) for start in range(0, customers, size)]
    if len(chunks) == 1:
        return [step(chunks[0])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(step, chunks))


class _Dual:
    """The dual function over one multiplier for each budget that has a limit.

    Gains, costs and multipliers are relative to the free choice without budgets, so that
    tolerances mean the same in any currency.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.limited = np.flatnonzero(problem.budgets < NO_LIMIT)
        free = best_at_prices(problem, np.zeros(problem.gain.shape[1]))
        self.gain_unit, spent = problem.totals(free)
        self.binding = bool((problem.left(spent) < 0).any())
        self.cost_unit = max(1.0, float(spent.sum()))
        self.budgets = problem.budgets[self.limited] / self.cost_unit
        self.cuts: list[tuple[float, NDArray[np.float64]]] = []
        self.best, self.value = np.zeros(len(self.limited)), np.inf

    def by_offer(self, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Price of a unit of cost by offer."""
        everywhere = np.zeros(len(self.problem.budgets))
        everywhere[self.limited] = multipliers
        return np.asarray((everywhere[0] + everywhere[1:]) * (self.gain_unit / self.cost_unit))

    def evaluate(self, multipliers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The dual's value there and a subgradient; keeps the choice as a cut."""
        choice = best_at_prices(self.problem, self.by_offer(multipliers))
        gain, spent = self.problem.totals(choice)
        used = _by_budget(spent)[self.limited] / self.cost_unit
        self.cuts.append((gain / self.gain_unit, used))
        value = gain / self.gain_unit + float((self.budgets - used) @ multipliers)
        if value < self.value:
            self.best, self.value = multipliers.copy(), value
        return value, self.budgets - used

    def bound(self) -> float:
        """The lowest value found, summed anew in float64 whatever the precision of the gains."""
        by_offer = self.by_offer(self.best)

        def highest(rows: slice) -> float:
            cost = self.problem.cost_rows(rows) * by_offer
            priced = self.problem.gain[rows].astype(np.float64) - cost
            return float(np.maximum(priced.max(axis=1), 0).sum())

        budgets = float(self.budgets @ self.best) * self.gain_unit
        return float(sum(for_all_rows(self.problem, highest))) + budgets


def _by_budget(spent: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(spent.sum(), spent)


def _cut(dual: _Dual) -> None:
    """Lower the dual by cutting planes within a box around the best multipliers."""
    box = _FIRST_BOX
    for _ in range(_MOST_CUTS):
        centre, value = dual.best, dual.value
        low, high = np.maximum(0, centre - box), centre + box
        # min theta + budgets x  such that  theta >= gain - used x  for every choice seen.
        found = linprog(
            np.append(dual.budgets, 1.0),
            A_ub=np.array([[*-used, -1.0] for _, used in dual.cuts]),
            b_ub=np.array([-gain for gain, _ in dual.cuts]),
            bounds=[*zip(low, high, strict=True), (0, None)],
            method="highs",
        )
        at = found.x[:-1]
        if value - found.fun <= _TOLERANCE * value:
            edge = (at >= high - 1e-9) | ((at <= low + 1e-9) & (low > 0))
            if not edge.any():
                return
            box *= 4
        elif dual.evaluate(at)[0] >= value:
            box /= 2
