"""The peers of the allocation benchmark, and its figures at a tiny size."""

import numpy as np
import pytest

from agent.offer_gain import GainTerms
from bench.allocation import greedy, measure
from bench.allocation_task import Customers, Task, draw_gains, with_budgets
from bench.report import Report
from retrieval.progress import no_progress

KNOWN = Customers(
    churn_risk=np.array([0.1, 0.3, 0.6], np.float32),
    expected_spend=np.array([90_000, 20_000, 5_000], np.float32),
    terms=GainTerms(margin_share=0.25, horizon_days=90, discount_rate=0.1, ltv_days=360),
)


def task(gain: list[list[float]], cost: list[list[int]], budget: int, own: list[int]) -> Task:
    return Task(
        gain=np.array(gain, np.float32),
        cost=np.array(cost, np.int32),
        eligible=np.ones((len(gain), len(own)), dtype=np.bool_),
        budget=budget,
        offer_budgets=np.array(own),
    )


def test_greedy_known_by_hand() -> None:
    small = task([[9, 4], [8, 7], [6, 1]], [[3, 1], [3, 3], [3, 1]], budget=7, own=[3, 6])
    # By gain: 9 closes offer 0 (3 of 3), then 7 of offer 1 (6 of 7), then 1 for the last one.
    assert greedy(small, small.gain) == (9 + 7 + 1, 7)
    # By ratio: 4/1 goes first, then 8/3 for offer 0, then 1/1.
    assert greedy(small, small.gain / small.cost) == (4 + 8 + 1, 5)


def test_greedy_keeps_to_the_rules_and_to_the_budgets() -> None:
    gain, cost, eligible = draw_gains(KNOWN, 500, 6, 3, no_progress)
    drawn = with_budgets(gain, cost, eligible)
    found = drawn.solve(exact_cells=0)
    for key in (drawn.gain, drawn.gain / drawn.cost):
        by_key, spent = greedy(drawn, key)
        assert 0 < spent <= drawn.budget
        assert 0 < by_key <= found.upper_bound
    assert greedy(drawn, drawn.gain)[0] < found.gain


def test_the_same_seed_draws_the_same_problem() -> None:
    first, again, other = (draw_gains(KNOWN, 40, 5, seed, no_progress) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not (first[0] == other[0]).all()
    assert (first[0] > 0).any()
    assert (first[0] < 0).any()


def test_the_figures_of_a_tiny_run(capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(KNOWN, 200, 5, Report(seed=7), no_progress)
    assert (found["customers"], found["offers"]) == (200, 5)
    for gain in (found["gain"], found["greedy_gain"], found["greedy_by_gain_gain"]):
        assert 0.9 * found["upper_bound"] < gain <= found["upper_bound"]
    assert found["gap"] == pytest.approx(1 - found["gain"] / found["upper_bound"], abs=1e-3)
    assert 0 <= found["exact_gap_small"] < 0.05
    assert found["seconds"] >= 0
    assert 0 < found["peak_gib"] < 4
    assert "greedy by gain per cost" in capsys.readouterr().out
