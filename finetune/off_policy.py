"""What a policy would have earned, from what another policy did: IPS, SNIPS and DR.

A policy gives each customer's chance of each action (an offer, or none). The log holds one action
a customer, taken with a known or estimated chance, and the reward that followed. All three
estimators weigh a customer by the policy's chance of the logged action over the log's chance of it;
intervals are of 95 %, by the influence function and the normal law, over customers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from finetune.errors import TrainingError
from finetune.sampling_error import TWO_SIDED_95, effective_sample_size


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedActions:
    """What was done and what came of it.

    Attributes:
        actions: index of each customer's action `[n]`.
        rewards: what followed, in any unit `[n]`.
        propensities: chance with which the log chose each action `[n, actions]`; rows sum to 1.
    """

    actions: NDArray[np.intp]
    rewards: Floats
    propensities: Floats

    def __post_init__(self) -> None:
        _check_chances("propensities", self.propensities, len(self.actions))
        if len(self.rewards) != len(self.actions):
            raise TrainingError(
                f"There are {len(self.rewards)} rewards for {len(self.actions)} actions.",
                hint="Give one reward a customer.",
            )
        if not (self._chance_of_action() > 0).all():
            row = int(np.flatnonzero(self._chance_of_action() <= 0)[0])
            raise TrainingError(
                f"Row {row} took action {self.actions[row]}, which its propensities call "
                "impossible.",
                hint="Give the chances with which the log really chose.",
            )

    def _chance_of_action(self) -> Floats:
        return np.asarray(self.propensities[np.arange(len(self.actions)), self.actions])

    def weights(self, policy: Floats) -> Floats:
        """The policy's chance of the logged action over the log's `[n]`.

        Args:
            policy: chances `[n, actions]`; rows sum to 1.

        Raises:
            TrainingError: the policy's shape or sums are wrong, or it may take an action that the
                log never would have: then the log says nothing of it.
        """
        _check_chances("policy", policy, len(self.actions))
        if policy.shape != self.propensities.shape:
            raise TrainingError(
                f"The policy knows {policy.shape[1]} actions, the log "
                f"{self.propensities.shape[1]}.",
                hint="Give both the same actions in the same order.",
            )
        unseen = ((policy > 0) & (self.propensities <= 0)).any(axis=1)
        if unseen.any():
            raise TrainingError(
                f"For row {int(np.flatnonzero(unseen)[0])} the policy may take an action that the "
                "log never would have.",
                hint="Keep the policy to actions that were tried, or leave those customers out.",
            )
        chosen = policy[np.arange(len(self.actions)), self.actions]
        return np.asarray(chosen / self._chance_of_action())


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """Estimated reward per customer.

    Attributes:
        value: mean reward under the policy.
        low: lower end of the 95% interval.
        high: upper end.
        effective_sample_size: customers of equal weight that say as much; 0 where the policy
            never does what the log did.
        influence: each customer's part in the error `[n]`, with mean 0; what paired differences
            need.
    """

    value: float
    low: float
    high: float
    effective_sample_size: float
    influence: Floats


def ips(logged: LoggedActions, policy: Floats) -> PolicyValue:
    """Inverse propensity scoring: mean of w r (Horvitz and Thompson, 1952). Unbiased, noisy."""
    weights = logged.weights(policy)
    terms = weights * logged.rewards
    return _estimate(float(terms.mean()), terms - terms.mean(), weights)


def snips(logged: LoggedActions, policy: Floats) -> PolicyValue:
    """Self-normalised: sum of w r / sum of w (Swaminathan and Joachims, 2015). Steadier.

    Raises:
        TrainingError: no customer's logged action is one that the policy would take.
    """
    weights = logged.weights(policy)
    total = float(weights.sum())
    if total == 0:
        raise TrainingError(
            "The log never did what the policy would do.",
            hint="Judge the policy on a log that tried its actions.",
        )
    value = float((weights * logged.rewards).sum() / total)
    return _estimate(value, weights * (logged.rewards - value) / weights.mean(), weights)


def doubly_robust(logged: LoggedActions, policy: Floats, expected: Floats) -> PolicyValue:
    """A model's answer, mended by the weighted errors it made (Dudík, Langford and Li, 2011).

    Right on average if either the model or the propensities are.

    Args:
        logged: what was done.
        policy: chances `[n, actions]`.
        expected: reward that a model expects of each action `[n, actions]`, learnt from other
            customers or other folds.

    Raises:
        TrainingError: shapes differ; see `LoggedActions.weights` too.
    """
    weights = logged.weights(policy)
    if expected.shape != policy.shape:
        raise TrainingError(
            f"Expected rewards have the shape {expected.shape}, the policy {policy.shape}.",
            hint="Give one expected reward a customer and action.",
        )
    of_action = expected[np.arange(len(logged.actions)), logged.actions]
    terms = (policy * expected).sum(axis=1) + weights * (logged.rewards - of_action)
    return _estimate(float(terms.mean()), terms - terms.mean(), weights)


def difference(value: PolicyValue, other: PolicyValue) -> tuple[float, float, float]:
    """How much more the first earns per customer, and its 95% interval, paired by customer.

    Args:
        value: of one policy.
        other: of another, by the same estimator on the same log.
    """
    gain = value.value - other.value
    margin = _margin(value.influence - other.influence)
    return gain, gain - margin, gain + margin


def certain(actions: NDArray[np.intp], count: int) -> Floats:
    """The policy that takes these actions for sure `[n, count]`."""
    return np.eye(count)[actions]


def _estimate(value: float, influence: Floats, weights: Floats) -> PolicyValue:
    margin = _margin(influence)
    return PolicyValue(
        value=value,
        low=value - margin,
        high=value + margin,
        effective_sample_size=effective_sample_size(weights),
        influence=influence,
    )


def _margin(influence: Floats) -> float:
    return TWO_SIDED_95 * float(influence.std(ddof=1)) / float(np.sqrt(len(influence)))


def _check_chances(name: str, chances: Floats, rows: int) -> None:
    if chances.ndim != 2 or len(chances) != rows:
        raise TrainingError(
            f"'{name}' has the shape {chances.shape}, but there are {rows} customers.",
            hint="Give one row a customer and one column an action.",
        )
    wrong = (chances < 0).any(axis=1) | ~np.isclose(chances.sum(axis=1), 1.0)
    if wrong.any():
        raise TrainingError(
            f"'{name}' of row {int(np.flatnonzero(wrong)[0])} are not chances that sum to 1.",
            hint="Give numbers from 0 to 1 that sum to 1 in each row.",
        )
