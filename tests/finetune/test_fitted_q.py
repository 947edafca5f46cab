"""A tiny shop with known values: a customer is fresh or tired, and one offer tires them.

Fresh: no offer earns 2 and the customer stays fresh; an offer earns 3 and makes them tired.
Tired: all earn 0; without an offer they are fresh again with chance 1/2. So the offer is right for
one period and wrong for many.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.calibration import Floats
from finetune.customer_states import Policy, Transitions
from finetune.errors import TrainingError
from finetune.fitted_q import (
    QSettings,
    ValueNetwork,
    behaviour_policy,
    fitted_q_evaluation,
    fitted_q_iteration,
    greedy_policy,
    policy_network,
    supported,
)
from finetune.linear_evaluation import LinearEvaluation, PolicyReturn, linear_evaluation

FRESH, TIRED = np.eye(2)
DISCOUNT = 0.9
PERIODS = 6
REWARD = np.array([[2.0, 3.0], [0.0, 0.0]])
STAYS_OR_GETS_FRESH = np.array([[1.0, 0.0], [0.5, 0.0]])
SETTINGS = QSettings(
    periods=PERIODS,
    discount=DISCOUNT,
    hidden=16,
    networks=1,
    epochs=24,
    batch_size=100,
    learning_rate=1e-2,
    weight_decay=0.0,
)


def logged(
    chance_of_offer: float = 0.4, *, customers: int = 200, noise: float = 0.0
) -> Transitions:
    generator = np.random.default_rng(1)
    customer = np.repeat(np.arange(customers), 5)
    tired = generator.integers(0, 2, len(customer))
    action = (generator.random(len(customer)) < chance_of_offer).astype(np.int64)
    fresh_next = generator.random(len(customer)) < STAYS_OR_GETS_FRESH[tired, action]
    reward = REWARD[tired, action] + noise * generator.normal(size=len(customer))
    return Transitions(
        customer=customer,
        state=np.eye(2)[tired],
        action=action,
        reward=reward,
        next_state=np.eye(2)[1 - fresh_next.astype(np.int64)],
    )


def exact(chances: Floats | None, periods: int = PERIODS) -> Floats:
    """Q of the best policy, or of one with these chances `[states, actions]`."""
    values = REWARD
    for _ in range(periods - 1):
        ahead = values.max(axis=1) if chances is None else (chances * values).sum(axis=1)
        onward = STAYS_OR_GETS_FRESH * ahead[0] + (1 - STAYS_OR_GETS_FRESH) * ahead[1]
        values = REWARD + DISCOUNT * onward
    return values


def always(action: int) -> Policy:
    return lambda states: np.tile(np.eye(2)[action], (len(states), 1))


def evenly(states: Floats) -> Floats:
    return np.full((len(states), 2), 0.5)


BOTH = np.array([FRESH, TIRED])


@pytest.fixture(scope="module")
def best() -> ValueNetwork:
    return fitted_q_iteration(logged(), evenly, SETTINGS)


def test_iteration_finds_the_best_values(best: ValueNetwork) -> None:
    np.testing.assert_allclose(best.values(BOTH), exact(None), atol=0.35)


def test_looking_ahead_wins_where_one_step_is_wrong(best: ValueNetwork) -> None:
    ahead = greedy_policy(best, evenly, 0.05)
    one = replace(SETTINGS, periods=1)
    myopic = greedy_policy(fitted_q_iteration(logged(), evenly, one), evenly, 0.05)
    assert ahead(BOTH)[0].tolist() == [1, 0]
    assert myopic(BOTH)[0].tolist() == [0, 1]
    assert exact(ahead(BOTH))[0, 0] > exact(myopic(BOTH))[0, 1] + 3


def test_the_policy_network_leans_towards_the_better_action_within_support(
    best: ValueNetwork,
) -> None:
    steps = logged()
    policy = policy_network(best, steps, evenly, SETTINGS)
    chances = policy(BOTH)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert chances[0, 0] > 0.75

    def hardly_ever_nothing(states: Floats) -> Floats:
        return np.tile([0.01, 0.99], (len(states), 1))

    kept = policy_network(best, steps, hardly_ever_nothing, SETTINGS)(BOTH)
    assert kept.tolist() == [[0, 1], [0, 1]]


def test_actions_without_support_are_not_counted_on() -> None:
    def never_nothing(states: Floats) -> Floats:
        return np.tile([0.0, 1.0], (len(states), 1))

    values = fitted_q_iteration(logged(), never_nothing, SETTINGS)
    np.testing.assert_allclose(values.values(BOTH)[:, 1], exact(always(1)(BOTH))[:, 1], atol=0.35)
    assert greedy_policy(values, never_nothing, 0.05)(BOTH).tolist() == [[0, 1], [0, 1]]


def test_the_likeliest_action_is_always_supported() -> None:
    chances = np.array([[0.96, 0.04], [0.5, 0.5]])
    assert supported(chances, 0.05).tolist() == [[True, False], [True, True]]
    assert supported(np.array([[0.6, 0.4]]), 0.7).tolist() == [[True, False]]


@pytest.mark.parametrize("action", [0, 1])
def test_network_evaluation_gives_the_policys_value(action: int) -> None:
    policy = always(action)
    values = fitted_q_evaluation(logged(), policy, SETTINGS).values(BOTH)
    np.testing.assert_allclose(values, exact(policy(BOTH)), atol=0.35)


def judged(steps: Transitions, **changes: object) -> dict[str, PolicyReturn]:
    policies = {"none": always(0), "offer": always(1), "evenly": evenly}
    options = {"ridge": 1e-6, "draws": 100} | changes
    customers = np.arange(200)
    starts = np.tile(FRESH, (200, 1))
    settings = LinearEvaluation(
        periods=PERIODS, discount=DISCOUNT, effect_columns=(0, 1), **options
    )
    return linear_evaluation(steps, (customers, starts), policies, settings)


def test_linear_evaluation_gives_the_policys_value_and_an_interval_around_it() -> None:
    found = judged(logged(noise=1.0))
    for name, policy in (("none", always(0)), ("offer", always(1)), ("evenly", evenly)):
        chances = policy(BOTH)
        value = float(chances[0] @ exact(chances)[0])
        low, high = found[name].interval
        error = (high - low) / (2 * 1.96)
        assert 0 < error < 0.5
        assert found[name].value == pytest.approx(value, abs=3 * error)
    gain, low, high = found["none"].gain_over(found["offer"])
    assert low < gain < high
    assert low > 0


def test_linear_evaluation_is_exact_without_noise_in_rewards_or_moves() -> None:
    steps = logged()
    fixed = Transitions(
        customer=steps.customer,
        state=steps.state,
        action=steps.action,
        reward=steps.reward,
        next_state=np.where(steps.action[:, None] == 0, FRESH, TIRED),
    )
    found = judged(fixed, draws=2)
    none = 2 * (1 - DISCOUNT**PERIODS) / (1 - DISCOUNT)
    assert found["none"].value == pytest.approx(none, abs=1e-3)
    assert found["offer"].value == pytest.approx(3, abs=1e-3)


def test_more_draws_leave_the_first_as_they_were_and_seeds_change_them() -> None:
    steps = logged(noise=1.0)
    first, again = judged(steps, draws=5), judged(steps, draws=9)
    np.testing.assert_array_equal(first["offer"].draws, again["offer"].draws[:5])
    other = judged(steps, draws=5, seed=2)
    assert not np.array_equal(first["offer"].draws, other["offer"].draws)


def test_the_same_seed_gives_the_same_networks_and_leaves_the_others_luck_alone() -> None:
    steps, short = logged(customers=40), replace(SETTINGS, epochs=3)
    torch.manual_seed(3)
    first = fitted_q_iteration(steps, evenly, short).values(BOTH)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)
    np.testing.assert_array_equal(first, fitted_q_iteration(steps, evenly, short).values(BOTH))


def test_the_logs_policy_is_found() -> None:
    behaviour = behaviour_policy(logged(0.3, customers=800), 2)
    np.testing.assert_allclose(behaviour(BOTH)[:, 1], 0.3, atol=0.05)


def test_an_action_that_was_never_taken_is_refused() -> None:
    with pytest.raises(TrainingError, match="never took action 2"):
        behaviour_policy(logged(), 3)
