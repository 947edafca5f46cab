"""The return of policies by linear fitted Q evaluation, with a bootstrap over customers.

Le, Voloshin and Yue (2019) with a linear Q (Duan and Wang, 2020), which is quick enough to be
fitted again for every draw of customers (Hao et al., 2021).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from finetune.calibration import Floats
from finetune.customer_paths import Ints
from finetune.customer_states import Policy, Transitions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyReturn:
    """Foreseen return per customer of one policy.

    Attributes:
        value: over all customers.
        draws: over each draw of customers; draw i is the same customers for every policy.
    """

    value: float
    draws: Floats

    @property
    def interval(self) -> tuple[float, float]:
        """The middle 95 % of the draws."""
        low, high = np.percentile(self.draws, [2.5, 97.5])
        return float(low), float(high)

    def gain_over(self, other: "PolicyReturn") -> tuple[float, float, float]:
        """How much more it returns, and the paired interval."""
        low, high = np.percentile(self.draws - other.draws, [2.5, 97.5])
        return self.value - other.value, float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearEvaluation:
    """How linear fitted Q evaluation is done.

    Attributes:
        periods: how far to look.
        discount: of the next period's value.
        effect_columns: columns of the state with which an action's effect may change.
        ridge: penalty on all but the intercept, in steps; it pulls effects towards 0.
        draws: of customers.
        seed: of the draws.
    """

    periods: int
    discount: float
    effect_columns: tuple[int, ...]
    ridge: float = 10.0
    draws: int = 300
    seed: int = 0


def linear_evaluation(
    steps: Transitions,
    starts: tuple[Ints, Floats],
    policies: Mapping[str, Policy],
    settings: LinearEvaluation,
) -> dict[str, PolicyReturn]:
    """Foresee the return of each policy from given states, with draws over customers.

    Q is linear in the state, in each action, and in each action times `effect_columns`. Each draw
    takes customers with replacement, with all their steps, and fits again for every policy.

    Args:
        steps: logged.
        starts: customers `[k]`, numbered as in the steps, and the states they start from
            `[k, features]`.
        policies: to be judged.
        settings: how.
    """
    customers, start_states = starts
    features = _Features.of(steps, settings.effect_columns)
    actions = next(iter(policies.values()))(start_states[:1]).shape[1]
    logged = features(steps.state, np.eye(actions)[steps.action])
    ahead = {name: features(steps.next_state, p(steps.next_state)) for name, p in policies.items()}
    begin = {name: features(start_states, p(start_states)) for name, p in policies.items()}
    penalty = settings.ridge * np.eye(logged.shape[1])
    penalty[0, 0] = 0.0

    def returns(weight: Floats) -> list[float]:
        """Of each policy, where customers count as often as they weigh."""
        weighted = logged * weight[steps.customer][:, None]
        inverse = np.linalg.inv(weighted.T @ logged + penalty)
        reward = inverse @ (weighted.T @ steps.reward)
        found = []
        for name in policies:
            onward = settings.discount * inverse @ (weighted.T @ ahead[name])
            coefficients = reward
            for _ in range(settings.periods - 1):
                coefficients = reward + onward @ coefficients
            found.append(float(np.average(begin[name] @ coefficients, weights=weight[customers])))
        return found

    count = int(max(steps.customer.max(), customers.max())) + 1
    people = np.unique(customers)
    generator = np.random.default_rng(settings.seed)
    draws = np.array(
        [
            returns(
                np.bincount(generator.choice(people, len(people)), minlength=count).astype(float)
            )
            for _ in range(settings.draws)
        ]
    )
    values = returns(np.ones(count))
    return {
        name: PolicyReturn(value=value, draws=draws[:, column])
        for column, (name, value) in enumerate(zip(policies, values, strict=True))
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Features:
    """What Q is linear in: the state, each action but the first, and their products."""

    centre: Floats
    scale: Floats
    effect_columns: tuple[int, ...]

    @classmethod
    def of(cls, steps: Transitions, effect_columns: tuple[int, ...]) -> "_Features":
        centre, scale = standard(steps.state)
        return cls(centre=centre, scale=scale, effect_columns=effect_columns)

    def __call__(self, states: Floats, chances: Floats) -> Floats:
        inputs = (states - self.centre) / self.scale
        ones = np.ones((len(states), 1))
        effects = np.hstack([ones, inputs[:, self.effect_columns]])
        parts = [chances[:, [action]] * effects for action in range(1, chances.shape[1])]
        return np.hstack([ones, inputs, *parts])


def standard(states: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column, 1 for a constant one."""
    scale = states.std(axis=0)
    return states.mean(axis=0), np.where(scale > 1e-9, scale, 1.0)
