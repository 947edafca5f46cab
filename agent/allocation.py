"""Which offer to whom under budgets: a multiple-choice knapsack over customers and offers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.budget_prices import (
    NO_LIMIT,
    Floats,
    Integers,
    Problem,
    best_at_prices,
    budget_prices,
    for_all_rows,
    priced_gain,
)
from agent.exact_allocation import branch_and_bound

_EXACT_CELLS = 5_000
# Of the bound: less than this apart is equal, to the rounding of float64.
_EQUAL = 1e-9
_Choice = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """An offer or none for each customer, within all budgets.

    Attributes:
        choice: index of the offer, -1 for none; shape (n,).
        gain: sum of the gains chosen, minor units.
        cost: sum of the costs chosen, minor units.
        cost_by_offer: likewise by offer; shape (m,).
        upper_bound: proven: no allocation within the budgets gains more.
        gap: (upper_bound - gain) / upper_bound; 0 where nothing can be gained.
        exact: whether the allocation is proven to be optimal.
    """

    choice: _Choice
    gain: float
    cost: int
    cost_by_offer: NDArray[np.int64]
    upper_bound: float
    gap: float
    exact: bool


def allocate(
    gain: Floats,
    cost: Integers,
    *,
    budget: int | None = None,
    offer_budgets: ArrayLike | None = None,
    eligible: NDArray[np.bool_] | None = None,
    exact_cells: int = _EXACT_CELLS,
) -> Allocation:
    """Choose at most one offer for each customer so that the gain is highest within the budgets.

    Customers choose freely at the prices of the budgets (`budget_prices`, which prove the bound);
    whoever is then one too many for a budget goes without, the least worth first; what is left
    over is filled with the best moves that fit. Small problems are solved again by branch and
    bound (HiGHS). The same input has the same answer; of equals the first customer and the first
    offer win.

    Args:
        gain: expected gain of each offer for each customer, net of its cost; shape (n, m). What
            gains nothing is never chosen. float32 is kept, all else is read as float64.
        cost: expected cost that counts against the budgets, minor units; shape (m,) or (n, m).
        budget: of all offers together, minor units; None for no limit.
        offer_budgets: of each offer, minor units, shape (m,); None for no limits.
        eligible: who may have which offer, shape (n, m); None for everybody everything.
        exact_cells: branch and bound is tried where no more pairs than this can be chosen.

    Raises:
        ValueError: shapes disagree, a gain is NaN or infinite, or a cost or budget is negative or
            no signed integer.
    """
    problem = _problem(gain, cost, budget, offer_budgets, eligible)
    if not np.isfinite(problem.gain).any():
        nothing = np.full(len(gain), -1, dtype=np.int32)
        return _allocation(problem, nothing, bound=0.0)
    prices = budget_prices(problem)
    choice = best_at_prices(problem, prices.by_offer)
    _drop_what_exceeds(problem, choice, prices.by_offer)
    _fill_what_is_left(problem, choice, prices.by_offer)
    found = _allocation(problem, choice, prices.bound)
    if found.exact or np.isfinite(problem.gain).sum() > exact_cells:
        return found
    better, bound = branch_and_bound(problem)
    bound = min(bound, prices.bound)
    if better is not None and problem.totals(better)[0] > found.gain * (1 + _EQUAL):
        choice = better
    return _allocation(problem, choice, bound)


def _problem(
    gain: Floats,
    cost: Integers,
    budget: int | None,
    offer_budgets: ArrayLike | None,
    eligible: NDArray[np.bool_] | None,
) -> Problem:
    """Checked, with minus infinity wherever a pair of customer and offer cannot be chosen."""
    if gain.ndim != 2 or cost.shape not in (gain.shape, gain.shape[1:]):
        raise ValueError(f"gain {gain.shape} must be (n, m), and cost {cost.shape} (m,) or (n, m)")
    offers = gain.shape[1]
    whole = np.array([NO_LIMIT if budget is None else budget])
    own = np.full(offers, NO_LIMIT) if offer_budgets is None else np.asarray(offer_budgets)
    if own.shape != (offers,):
        raise ValueError(f"offer_budgets must have shape {(offers,)}, not {own.shape}")
    if eligible is not None and eligible.shape != gain.shape:
        raise ValueError(f"eligible must have shape {gain.shape}, not {eligible.shape}")
    for name, amounts in (("cost", cost), ("budget", whole), ("offer_budgets", own)):
        if not np.issubdtype(amounts.dtype, np.signedinteger):
            raise ValueError(f"{name} must be whole minor units, of a signed integer type")
        if amounts.size and amounts.min() < 0:
            raise ValueError(f"{name} must not be negative")
    if not (gain < np.inf).all():
        raise ValueError("every gain must be a number, and finite")
    usable = (gain > 0) & (cost <= np.minimum(whole, own))
    if eligible is not None:
        usable &= eligible
    precision = np.float32 if gain.dtype == np.float32 else np.float64
    return Problem(
        gain=np.where(usable, gain, -np.inf).astype(precision, copy=False),
        cost=cost,
        budgets=np.concatenate([whole, own]).astype(np.int64),
    )


def _allocation(problem: Problem, choice: _Choice, bound: float) -> Allocation:
    gain, spent = problem.totals(choice)
    bound = max(bound, gain)
    gap = (bound - gain) / bound if bound > 0 else 0.0
    return Allocation(
        choice=choice,
        gain=gain,
        cost=int(spent.sum()),
        cost_by_offer=spent,
        upper_bound=bound,
        gap=gap,
        exact=gap <= _EQUAL,
    )


# --- within the budgets --------------------------------------------------------------------------


def _drop_what_exceeds(problem: Problem, choice: _Choice, by_offer: NDArray[np.float64]) -> None:
    """Take offers back, least worth per unit of cost first, until every budget is kept."""
    whole, *own = problem.budgets.tolist()
    for offer, budget in enumerate(own):
        _keep_within(problem, choice, np.flatnonzero(choice == offer), budget, by_offer)
    _keep_within(problem, choice, np.flatnonzero(choice >= 0), whole, by_offer)


def _keep_within(
    problem: Problem,
    choice: _Choice,
    customers: Integers,
    budget: int,
    by_offer: NDArray[np.float64],
) -> None:
    offers = choice[customers]
    cost = problem.cost_of(customers, offers).astype(np.int64)
    if cost.sum() <= budget:
        return
    worth = problem.gain[customers, offers] - by_offer[offers] * cost
    per_cost = np.divide(worth, cost, out=np.full(len(cost), np.inf), where=cost > 0)
    best_first = np.argsort(-per_cost, kind="stable")
    choice[customers[best_first[np.cumsum(cost[best_first]) > budget]]] = -1


def _fill_what_is_left(problem: Problem, choice: _Choice, by_offer: NDArray[np.float64]) -> None:
    """Make the moves that raise the gain and fit, best first at the prices, until none is left.

    A move gives a customer an offer, or a better one than they hold; each raises the gain, so that
    this ends.
    """
    moved = True
    while moved:
        left = problem.left(problem.totals(choice)[1])

        def moves(rows: slice, left: Integers = left) -> list[Integers | Floats]:
            return _best_moves(problem, choice, by_offer, left, rows)

        chunks = for_all_rows(problem, moves)
        customers, offers, worth = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        best_first = np.argsort(-worth, kind="stable")
        moved = _make_moves(problem, choice, left, customers[best_first], offers[best_first])


def _best_moves(
    problem: Problem, choice: _Choice, by_offer: NDArray[np.float64], left: Integers, rows: slice
) -> list[Integers | Floats]:
    """Customers who can move, to which offer, and what that is worth at the prices."""
    gain, cost = problem.gain[rows], problem.cost_rows(rows)
    priced = priced_gain(problem, by_offer, rows)
    index, held = np.arange(len(gain)), choice[rows]
    held_gain, held_priced = (
        np.where(held >= 0, table[index, held], 0)[:, None] for table in (gain, priced)
    )
    held_cost = np.where(held >= 0, problem.cost_of(index + rows.start, held), 0)[:, None]
    fits = (gain > held_gain) & (cost <= left[1:]) & (cost - held_cost <= left[0])
    worth = np.where(fits, priced - held_priced, -np.inf)
    offers = worth.argmax(axis=1)
    movable = np.flatnonzero(fits[index, offers])
    return [movable + rows.start, offers[movable], worth[movable, offers[movable]]]


def _make_moves(
    problem: Problem, choice: _Choice, left: Integers, customers: Integers, offers: Integers
) -> bool:
    """Make the moves that still fit, in this order; whether there was one."""
    whole, *own = left.tolist()
    costs = problem.cost_of(customers, offers).tolist()
    held = choice[customers]
    held_costs = np.where(held >= 0, problem.cost_of(customers, held), 0).tolist()
    moved = False
    for customer, offer, cost, before, freed in zip(
        customers.tolist(), offers.tolist(), costs, held.tolist(), held_costs, strict=True
    ):
        if cost > own[offer] or cost - freed > whole:
            continue
        whole -= cost - freed
        own[offer] -= cost
        if before >= 0:
            own[before] += freed
        choice[customer] = offer
        moved = True
    return moved
