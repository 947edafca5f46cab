import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cuped import adjusted
from agent.sequential_intervals import (
    difference_of_means,
    fixed_factor,
    sequential_factor,
    tuned_rho,
)

ALPHA = 0.05


def test_known_answer() -> None:
    found = difference_of_means(
        np.array([3.0, 5.0, 7.0]), np.array([1.0, 2.0]), alpha=ALPHA, planned=5
    )
    assert (found.treatment_mean, found.control_mean, found.effect) == (5.0, 1.5, 3.5)
    # Variances 4 and 0.5, over 3 and 2 customers.
    assert found.standard_error == pytest.approx(math.sqrt(4 / 3 + 0.25))
    assert found.fixed.high == pytest.approx(3.5 + 1.959964 * found.standard_error)
    # At the planned size the factor is sqrt(x + 1) with x = log((x + 1) / 0.0025).
    assert found.sequential.low == pytest.approx(3.5 - 3.0351224 * found.standard_error)
    assert found.fixed.holds(1.1)
    assert not found.fixed.holds(0.9)
    assert found.sequential.holds(0.0)
    with pytest.raises(ValueError, match="two customers"):
        difference_of_means(np.array([1.0]), np.array([1.0, 2.0]), alpha=ALPHA, planned=5)


def test_the_boundary_of_the_paper() -> None:
    n, rho = 700, 0.09
    planned = round(n * (tuned_rho(n, ALPHA) / rho) ** 2)
    rho = tuned_rho(planned, ALPHA)
    # Theorem 2.2 as printed, for a standard deviation of 1, over the standard error 1 / sqrt(n).
    printed = math.sqrt(
        2 * (n * rho**2 + 1) / (n**2 * rho**2) * math.log(math.sqrt(n * rho**2 + 1) / ALPHA)
    )
    found = sequential_factor(n, alpha=ALPHA, planned=planned)
    assert found / math.sqrt(n) == pytest.approx(printed)


@given(st.floats(0.001, 0.3), st.integers(10, 10**6), st.floats(0.01, 100))
def test_narrowest_at_the_planned_size_and_never_as_narrow_as_one_look(
    alpha: float, planned: int, times: float
) -> None:
    other = max(1, round(planned * times))
    best = sequential_factor(planned, alpha=alpha, planned=planned)
    # For the same number of customers, a rho tuned for another number is no better.
    assert sequential_factor(other, alpha=alpha, planned=planned) >= best - 1e-9
    assert best > fixed_factor(alpha)


def test_peeking_raises_no_false_alarm_but_for_who_trusts_one_look() -> None:
    """400 experiments without an effect, each looked at every 100 customers up to 2,000."""
    runs, looks, step, share = 400, 20, 100, 0.3
    draws = np.random.default_rng(20261125)
    alarms = {"fixed": 0, "sequential": 0}
    for _ in range(runs):
        spend = draws.lognormal(3, 1, looks * step) * (draws.random(looks * step) < 0.7)
        control = draws.random(looks * step) < share
        wrong = {"fixed": False, "sequential": False}
        for seen in range(step, looks * step + 1, step):
            found = difference_of_means(
                spend[:seen][~control[:seen]],
                spend[:seen][control[:seen]],
                alpha=ALPHA,
                planned=looks * step,
            )
            wrong["fixed"] |= not found.fixed.holds(0)
            wrong["sequential"] |= not found.sequential.holds(0)
        for name in alarms:
            alarms[name] += wrong[name]
    assert alarms["sequential"] / runs <= ALPHA
    # Two Monte Carlo errors above alpha, and by far.
    assert alarms["fixed"] / runs > ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    assert alarms["fixed"] / runs > 0.15


def test_a_true_effect_is_found_and_covered() -> None:
    draws = np.random.default_rng(3)
    treatment, control = draws.normal(12, 5, 2_000), draws.normal(10, 5, 500)
    found = difference_of_means(treatment, control, alpha=ALPHA, planned=2_500)
    assert found.sequential.low > 0
    assert found.sequential.holds(2)


def test_adjusting_keeps_the_effect_and_takes_out_what_was_before() -> None:
    draws = np.random.default_rng(5)
    before = draws.normal(100, 30, 4_000)
    control = draws.random(4_000) < 0.5
    outcome = before + draws.normal(0, 10, 4_000) + np.where(control, 0.0, 4.0)
    clean = adjusted(outcome, before)
    assert clean.mean() == pytest.approx(outcome.mean())
    assert np.corrcoef(clean, before)[0, 1] == pytest.approx(0, abs=1e-9)
    plain = difference_of_means(outcome[~control], outcome[control], alpha=ALPHA, planned=4_000)
    found = difference_of_means(clean[~control], clean[control], alpha=ALPHA, planned=4_000)
    # The correlation is 0.95, so a third of the error is left.
    assert found.standard_error / plain.standard_error == pytest.approx(math.sqrt(0.1), rel=0.1)
    assert found.sequential.holds(4)
    assert not found.sequential.holds(0)


def test_adjusting_for_what_does_not_vary_changes_nothing() -> None:
    outcome = np.array([1.0, 2.0, 3.0])
    assert adjusted(outcome, np.ones(3)).tolist() == [1.0, 2.0, 3.0]
