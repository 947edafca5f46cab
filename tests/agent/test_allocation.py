"""Budgets are never exceeded, and the proven bound stands between the optimum and nothing."""

import ctypes
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from agent import budget_prices, exact_allocation
from agent.allocation import Allocation, allocate
from agent.budget_prices import Floats, Integers

Case = tuple[Floats, Integers, int | None, Integers | None, NDArray[np.bool_]]


@st.composite
def cases(draw: st.DrawFn, most_customers: int = 5, most_offers: int = 3) -> Case:
    """Small problems; whole gains make ties common, and so hard places."""
    n, m = draw(st.integers(1, most_customers)), draw(st.integers(1, most_offers))
    gain = draw(
        arrays(np.float64, (n, m), elements=st.one_of(st.integers(-3, 9), st.floats(-5, 50)))
    )
    shape = draw(st.sampled_from([(m,), (n, m)]))
    cost = draw(arrays(np.int64, shape, elements=st.integers(0, 9)))
    budget = draw(st.none() | st.integers(0, 25))
    offer_budgets = draw(st.none() | arrays(np.int64, (m,), elements=st.integers(0, 15)))
    eligible = draw(arrays(np.bool_, (n, m), elements=st.sampled_from([True, True, False])))
    return gain, cost, budget, offer_budgets, eligible


def solve(case: Case, exact_cells: int) -> Allocation:
    gain, cost, budget, offer_budgets, eligible = case
    return allocate(
        gain,
        cost,
        budget=budget,
        offer_budgets=offer_budgets,
        eligible=eligible,
        exact_cells=exact_cells,
    )


def check(case: Case, found: Allocation) -> None:
    """What holds of every allocation, summed anew from its choice."""
    gain, cost, budget, offer_budgets, eligible = case
    n, m = gain.shape
    cost = np.broadcast_to(cost, gain.shape)
    assert found.choice.shape == (n,)
    assert found.choice.dtype == np.int32
    spent, total = [0] * m, 0.0
    for customer, offer in enumerate(found.choice.tolist()):
        assert -1 <= offer < m
        if offer >= 0:
            assert gain[customer, offer] > 0
            assert eligible[customer, offer]
            spent[offer] += int(cost[customer, offer])
            total += float(gain[customer, offer])
    assert found.cost_by_offer.tolist() == spent
    assert found.cost == sum(spent)
    assert budget is None or sum(spent) <= budget
    assert offer_budgets is None or all(
        used <= limit for used, limit in zip(spent, offer_budgets, strict=True)
    )
    assert found.gain == pytest.approx(total, rel=1e-6)
    assert found.gain <= found.upper_bound
    if found.upper_bound > 0:
        assert found.gap == pytest.approx(1 - found.gain / found.upper_bound, abs=1e-9)
    else:
        assert found.gap == 0


def optimum(case: Case) -> float:
    """By trying everything."""
    gain, cost, budget, offer_budgets, eligible = case
    n, m = gain.shape
    cost = np.broadcast_to(cost, gain.shape)
    best = 0.0
    for choice in product(range(-1, m), repeat=n):
        taken = [(customer, offer) for customer, offer in enumerate(choice) if offer >= 0]
        if not all(eligible[pair] for pair in taken):
            continue
        spent = np.zeros(m, dtype=int)
        for customer, offer in taken:
            spent[offer] += cost[customer, offer]
        if (budget is None or spent.sum() <= budget) and (
            offer_budgets is None or (spent <= offer_budgets).all()
        ):
            best = max(best, sum(float(gain[pair]) for pair in taken))
    return best


@settings(max_examples=60)
@given(case=cases())
def test_branch_and_bound_is_the_best_of_all_choices(case: Case) -> None:
    found = solve(case, exact_cells=1_000)
    check(case, found)
    assert found.exact
    assert found.gain == pytest.approx(optimum(case), rel=1e-6, abs=1e-5)


@settings(max_examples=60)
@given(case=cases())
def test_the_bound_is_never_below_the_best(case: Case) -> None:
    found = solve(case, exact_cells=0)
    check(case, found)
    best = optimum(case)
    assert found.gain <= best * (1 + 1e-9) + 1e-9
    assert best <= found.upper_bound * (1 + 1e-9) + 1e-9
    if found.exact:
        assert found.gain == pytest.approx(best, rel=1e-6)


@settings(max_examples=40)
@given(case=cases(most_customers=40, most_offers=6))
def test_budgets_hold_and_the_same_question_has_the_same_answer(case: Case) -> None:
    for exact_cells in (0, 1_000):
        found, again = solve(case, exact_cells), solve(case, exact_cells)
        check(case, found)
        assert found.choice.tolist() == again.choice.tolist()
        assert found.upper_bound == again.upper_bound


def random_case(customers: int, offers: int, *, by_customer: bool) -> Case:
    random = np.random.default_rng(customers)
    gain = random.gamma(2.0, 50.0, (customers, offers)).astype(np.float32) - 30
    cost = random.integers(20, 200, (customers, offers) if by_customer else offers)
    budget = customers * 20
    own = np.full(offers, 2 * budget // offers)
    return gain, cost, budget, own, random.random((customers, offers)) < 0.7


@pytest.mark.parametrize("by_customer", [False, True])
def test_many_customers_come_close_to_the_bound(by_customer: bool) -> None:
    case = random_case(20_000, 10, by_customer=by_customer)
    found = solve(case, exact_cells=0)
    check(case, found)
    assert 0 < found.gap < 5e-4
    assert found.cost > 0.999 * 20_000 * 20


def test_branch_and_bound_betters_the_prices_or_proves_them() -> None:
    case = random_case(100, 6, by_customer=False)
    prices, exact = solve(case, exact_cells=0), solve(case, exact_cells=1_000)
    check(case, exact)
    assert prices.gain <= exact.gain <= exact.upper_bound <= prices.upper_bound
    assert exact.exact
    assert exact.gap < prices.gap


def test_chunks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(3_000, 8, by_customer=True)
    whole = solve(case, exact_cells=0)
    monkeypatch.setattr(budget_prices, "_CELLS_AT_ONCE", 800)
    parts = solve(case, exact_cells=0)
    assert parts.choice.tolist() == whole.choice.tolist()
    assert parts.upper_bound == pytest.approx(whole.upper_bound, rel=1e-12)


def test_without_budgets_everybody_gets_their_best() -> None:
    gain = np.array([[1.0, 5.0], [4.0, 4.0], [-1.0, 0.0]])
    found = allocate(gain, np.array([10, 20]))
    assert found.choice.tolist() == [1, 0, -1]
    assert (found.gain, found.cost, found.gap, found.exact) == (9.0, 30, 0.0, True)


def test_the_budget_goes_to_the_gain_not_to_the_ratio() -> None:
    # By ratio the first would get offer 0 (3 for 1); 10 for 5 is what the budget can buy.
    found = allocate(np.array([[3.0, 10.0]]), np.array([1, 5]), budget=5)
    assert found.choice.tolist() == [1]


def test_of_equals_the_first_customer_and_the_first_offer_win() -> None:
    for exact_cells in (0, 1_000):
        found = allocate(np.full((4, 2), 7.0), np.array([5, 5]), budget=10, exact_cells=exact_cells)
        assert found.choice.tolist() == [0, 0, -1, -1]


def test_nothing_to_give_is_no_error() -> None:
    nobody = allocate(np.empty((0, 3)), np.array([1, 2, 3]), budget=10)
    assert (nobody.choice.shape, nobody.cost_by_offer.tolist()) == ((0,), [0, 0, 0])
    no_offers = allocate(np.empty((2, 0)), np.empty(0, dtype=int), budget=10)
    assert no_offers.choice.tolist() == [-1, -1]
    no_money = allocate(np.ones((2, 1)), np.array([1]), budget=0)
    assert (no_money.choice.tolist(), no_money.upper_bound, no_money.exact) == ([-1, -1], 0.0, True)


def test_what_c_code_prints_stays_out_of_standard_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with exact_allocation._stdout_to_stderr():
        ctypes.CDLL(None).puts(b"debugging")
    print("{}")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("{}\n", "debugging\n")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cost": np.array([1, 2, 3])}, "cost"),
        ({"cost": np.array([1.0, 2.0])}, "cost must be whole minor units"),
        ({"cost": np.array([1, 2], dtype=np.uint32)}, "cost must be whole minor units"),
        ({"cost": np.array([-1, 2])}, "cost must not be negative"),
        ({"budget": -1}, "budget must not be negative"),
        ({"offer_budgets": [1]}, "offer_budgets must have shape"),
        ({"offer_budgets": [1.5, 2.0]}, "offer_budgets must be whole"),
        ({"eligible": np.ones((1, 2), dtype=bool)}, "eligible"),
        ({"gain": np.array([[np.nan, 1.0], [1.0, 1.0]])}, "gain"),
        ({"gain": np.array([[np.inf, 1.0], [1.0, 1.0]])}, "gain"),
    ],
)
def test_wrong_questions_are_refused(wrong: dict[str, object], message: str) -> None:
    right: dict[str, object] = {"gain": np.ones((2, 2)), "cost": np.array([1, 2])}
    question = right | wrong
    gain, cost = question.pop("gain"), question.pop("cost")
    with pytest.raises(ValueError, match=message):
        allocate(gain, cost, **question)  # type: ignore[arg-type]
