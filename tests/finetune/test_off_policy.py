"""What a policy would have earned: numbers worked by hand, coverage of the intervals, refusals."""

from collections.abc import Callable

import numpy as np
import pytest

from finetune.calibration import Floats
from finetune.errors import TrainingError
from finetune.off_policy import (
    LoggedActions,
    PolicyValue,
    certain,
    difference,
    doubly_robust,
    ips,
    snips,
)

# Four customers, two actions; the log took the second with chance 1/4.
_LOGGED = LoggedActions(
    actions=np.array([0, 0, 1, 1]),
    rewards=np.array([1.0, 2.0, 4.0, 8.0]),
    propensities=np.tile([0.75, 0.25], (4, 1)),
)
_SECOND = certain(np.array([1, 1, 1, 1]), 2)
_EXPECTED = np.tile([1.0, 5.0], (4, 1))


def test_estimates_worked_by_hand() -> None:
    # Weights of the second action: 0, 0, 4, 4.
    assert ips(_LOGGED, _SECOND).value == pytest.approx((16 + 32) / 4)
    assert snips(_LOGGED, _SECOND).value == pytest.approx((16 + 32) / 8)
    assert doubly_robust(_LOGGED, _SECOND, _EXPECTED).value == pytest.approx(
        (5 + 5 + (5 - 4) + (5 + 12)) / 4
    )
    assert ips(_LOGGED, _SECOND).effective_sample_size == pytest.approx(8**2 / 32)


def test_the_policy_of_the_log_earns_what_the_log_earned() -> None:
    for value in (
        ips(_LOGGED, _LOGGED.propensities),
        snips(_LOGGED, _LOGGED.propensities),
        doubly_robust(_LOGGED, _LOGGED.propensities, np.zeros((4, 2))),
    ):
        assert value.value == pytest.approx(3.75)
        assert value.effective_sample_size == pytest.approx(4)
        assert value.influence.mean() == pytest.approx(0)
        margin = 1.959964 * np.std(_LOGGED.rewards, ddof=1) / 2
        assert (value.low, value.high) == pytest.approx((3.75 - margin, 3.75 + margin))


def _simulated(seed: int, count: int = 800) -> tuple[LoggedActions, Floats, Floats, float]:
    """Three actions, chosen by a feature; the policy's true value is known."""
    generator = np.random.default_rng(seed)
    feature = generator.random(count)
    chances = np.column_stack([0.2 + 0.5 * feature, 0.4 - 0.25 * feature, 0.4 - 0.25 * feature])
    draws = generator.random((count, 1))
    actions = (draws > np.cumsum(chances, axis=1)).sum(axis=1)
    means = np.column_stack([feature, 2 * feature, np.ones(count)])
    rewards = means[np.arange(count), actions] + generator.normal(size=count)
    logged = LoggedActions(actions=actions, rewards=rewards, propensities=chances)
    policy = certain(np.where(feature > 0.5, 1, 2), 3)
    return logged, policy, means, 0.5 * 1.0 + 0.5 * 1.5


_ESTIMATORS: dict[str, Callable[[LoggedActions, Floats, Floats], PolicyValue]] = {
    "ips": lambda logged, policy, _: ips(logged, policy),
    "snips": lambda logged, policy, _: snips(logged, policy),
    "dr": doubly_robust,
    "dr of a wrong model": lambda logged, policy, means: doubly_robust(logged, policy, means - 1),
}


@pytest.mark.parametrize("estimate", _ESTIMATORS.values(), ids=_ESTIMATORS)
def test_intervals_cover_the_truth_as_often_as_they_say(
    estimate: Callable[[LoggedActions, Floats, Floats], PolicyValue],
) -> None:
    covered, widths = 0, []
    for seed in range(200):
        logged, policy, means, truth = _simulated(seed)
        value = estimate(logged, policy, means)
        covered += value.low <= truth <= value.high
        widths.append(value.high - value.low)
    assert 180 <= covered <= 199  # 95 % of 200, give or take
    assert np.mean(widths) < 0.6


def test_a_good_model_narrows_the_interval() -> None:
    logged, policy, means, _ = _simulated(1)
    plain, mended = ips(logged, policy), doubly_robust(logged, policy, means)
    assert mended.high - mended.low < plain.high - plain.low


def test_a_paired_difference_is_narrower_than_the_two_intervals() -> None:
    logged, policy, _, _ = _simulated(2)
    close = policy.copy()
    close[:50] = certain(np.zeros(50, dtype=np.intp), 3)
    first, second = ips(logged, policy), ips(logged, close)
    gain, low, high = difference(first, second)
    assert gain == pytest.approx(first.value - second.value)
    assert low < gain < high
    assert high - low < (first.high - first.low)
    assert difference(first, first) == (0.0, 0.0, 0.0)


def test_a_policy_that_the_log_never_followed_has_no_self_normalised_value() -> None:
    logged = LoggedActions(
        actions=np.array([0, 0]),
        rewards=np.array([1.0, 2.0]),
        propensities=np.full((2, 2), 0.5),
    )
    other = certain(np.array([1, 1]), 2)
    assert ips(logged, other).value == 0
    assert ips(logged, other).effective_sample_size == 0
    with pytest.raises(TrainingError, match="never did"):
        snips(logged, other)


def test_what_the_log_says_nothing_of_is_refused() -> None:
    logged = LoggedActions(
        actions=np.array([0, 0]), rewards=np.ones(2), propensities=np.array([[0.5, 0.5], [1, 0]])
    )
    with pytest.raises(TrainingError, match="row 1 the policy may take"):
        ips(logged, certain(np.array([1, 1]), 2))
    with pytest.raises(TrainingError, match="not chances that sum to 1"):
        ips(logged, np.full((2, 2), 0.6))
    with pytest.raises(TrainingError, match="knows 3 actions"):
        ips(logged, certain(np.array([0, 0]), 3))
    with pytest.raises(TrainingError, match="Expected rewards"):
        doubly_robust(logged, certain(np.array([0, 0]), 2), np.zeros((2, 3)))


def test_a_log_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(TrainingError, match="Row 1 took action 1"):
        LoggedActions(
            actions=np.array([0, 1]), rewards=np.ones(2), propensities=np.tile([1.0, 0.0], (2, 1))
        )
    with pytest.raises(TrainingError, match="3 rewards for 2 actions"):
        LoggedActions(
            actions=np.array([0, 1]), rewards=np.ones(3), propensities=np.full((2, 2), 0.5)
        )
