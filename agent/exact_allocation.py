"""Small problems of choosing offers, by branch and bound (HiGHS)."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp
from scipy.sparse import csr_array, vstack

from agent.budget_prices import NO_LIMIT, Problem

# Of nodes, not of time, so that the answer is the same on every machine.
_MOST_NODES = 1_000
_STDOUT, _STDERR = 1, 2
_REDIRECTING = Lock()


def branch_and_bound(problem: Problem) -> tuple[NDArray[np.int32] | None, float]:
    """The best choice found within the budgets, and a proven bound on the gain of any.

    Returns:
        An offer for each customer, -1 for none, shape (n,), or None where none was found in the
        nodes allowed; and the bound, which equals the gain where the choice is proven best.
    """
    customers, offers = np.nonzero(np.isfinite(problem.gain))
    pairs, everybody = np.arange(len(customers)), len(problem.gain)
    cost = problem.cost_of(customers, offers).astype(np.float64)
    one_each = csr_array((np.ones(len(pairs)), (customers, pairs)), shape=(everybody, len(pairs)))
    own = csr_array((cost, (offers, pairs)), shape=(problem.gain.shape[1], len(pairs)))
    budgets = np.where(problem.budgets < NO_LIMIT, problem.budgets, np.inf)
    with _stdout_to_stderr():
        solved: OptimizeResult = milp(
            -problem.gain[customers, offers].astype(np.float64),
            constraints=[
                LinearConstraint(one_each, ub=1),
                LinearConstraint(vstack([csr_array(cost[None, :]), own]), ub=budgets),
            ],
            integrality=np.ones(len(pairs)),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0, "node_limit": _MOST_NODES},
        )
    bound = np.inf if solved.mip_dual_bound is None else -float(solved.mip_dual_bound)
    if solved.x is None:
        return None, bound
    choice = np.full(everybody, -1, dtype=np.int32)
    taken = solved.x > 0.5
    choice[customers[taken]] = offers[taken]
    # HiGHS allows itself a millionth; whole minor units allow nothing.
    within = problem.left(problem.totals(choice)[1]).min() >= 0
    return (choice if within else None), bound


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Keep what C code prints out of output that scripts read.

    HiGHS leaves a line of debugging on stdout, whatever its settings (HiGHS.jl issue 312).
    """
    with _REDIRECTING:
        sys.stdout.flush()
        kept = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        try:
            yield
        finally:
            # C keeps its own buffer, which would else come out after we are done.
            ctypes.CDLL(None).fflush(None)
            os.dup2(kept, _STDOUT)
            os.close(kept)
