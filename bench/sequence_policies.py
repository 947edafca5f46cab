"""Policies over time, learnt from some customers of Complete Journey and judged on others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from finetune.calibration import Floats
from finetune.campaign_effects import CampaignEffect
from finetune.customer_paths import CustomerPaths, Economics
from finetune.customer_states import (
    Policy,
    Transitions,
    state_columns,
    states_at,
    tier_cuts,
    transitions_of,
)
from finetune.fitted_q import (
    QSettings,
    behaviour_policy,
    fitted_q_evaluation,
    fitted_q_iteration,
    greedy_policy,
    policy_network,
    supported,
)
from finetune.linear_evaluation import LinearEvaluation, PolicyReturn, linear_evaluation
from finetune.sampling_error import effective_sample_size
from finetune.shop_simulator import fit_simulator, following, simulate

SEQUENTIAL = "sequential"
ONE_STEP = "one-step"
SEQUENTIAL_GREEDY = "sequential, greedy"
ONE_STEP_GREEDY = "one-step, greedy"
AS_LOGGED = "as logged"
NEVER = "never"
_TYPE_A = "Type A"
# A network takes seconds to fit for each policy.
_BY_NETWORK = (SEQUENTIAL, ONE_STEP, AS_LOGGED, NEVER)
_DRAWS = 1_000
# What an action's effect may change with: few, for few campaigns were sent.
_EFFECT_COLUMNS = (
    "stage: at risk",
    "top tier",
    "spend by top tier, recent",
    "recency",
    "periods with an offer, recent",
    "log redemptions",
)
_SMALLEST_CHANCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How policies are learnt and judged.

    Attributes:
        first: the first period whose step is learnt from; those before fill the states.
        ahead: periods at the end of the log over which returns run.
        discount: of a period.
        quantiles: of recent spend, at which tiers begin.
        economics: what a period is worth.
        seeds: of the simulator's luck; the first also of everything else.
    """

    first: int
    ahead: int
    discount: float
    quantiles: tuple[float, ...]
    economics: Economics
    seeds: tuple[int, ...]

    def returns(self, paths: CustomerPaths) -> Floats:
        """Discounted reward of each customer over the periods ahead, minor units `[customers]`."""
        rewards = self.economics.rewards(paths)[:, -self.ahead :]
        return np.asarray(rewards @ self.discount ** np.arange(self.ahead))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What is found of one policy; money in minor units over all periods ahead.

    Attributes:
        linear: return per customer by linear fitted Q evaluation.
        network: the same by the network, without draws; None where it was not asked.
        simulated: in the simulator, mean over its seeds `[customers]`.
        offered: chance of a campaign, mean over the judged states.
        supported: share of choices that the log makes often enough.
        effective_steps: share of the judged steps that importance weights leave.
        effective_paths: judged customers whose whole path importance weights leave, in number.
    """

    linear: PolicyReturn
    network: float | None
    simulated: Floats
    offered: float
    supported: float
    effective_steps: float
    effective_paths: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Half:
    """One part of the customers, judged.

    Attributes:
        observed: their real return `[customers]`.
        judged: by policy.
        effects: of campaigns, in the simulator that was fitted to the others.
    """

    observed: Floats
    judged: dict[str, Judged]
    effects: tuple[CampaignEffect, ...]


def judge(learnt: CustomerPaths, others: CustomerPaths, protocol: Protocol) -> Half:
    """Learn all policies from some customers and judge them on the others."""
    begin = others.periods - protocol.ahead
    others = others.of(others.known_at(begin))
    seed = protocol.seeds[0]
    cuts = tier_cuts(learnt, protocol.first, protocol.quantiles)
    settings = QSettings(periods=protocol.ahead, discount=protocol.discount, seed=seed)
    steps = transitions_of(learnt, cuts, protocol.economics, first=protocol.first)
    behaviour = behaviour_policy(steps, len(learnt.actions), seed=seed)
    policies = _policies(steps, behaviour, settings, learnt.kinds)
    held = transitions_of(others, cuts, protocol.economics, first=protocol.first)
    starts = states_at(others, begin, cuts)
    linear = linear_evaluation(
        held,
        (np.arange(len(starts)), starts),
        policies,
        LinearEvaluation(
            periods=protocol.ahead,
            discount=protocol.discount,
            effect_columns=tuple(state_columns(learnt.kinds, _EFFECT_COLUMNS)),
            draws=_DRAWS,
            seed=seed,
        ),
    )
    simulator = fit_simulator(learnt, cuts, until=learnt.periods, first=protocol.first)
    judged = {}
    for name, policy in policies.items():
        simulated = [
            protocol.returns(simulate(simulator, others, following(policy), first=begin, seed=luck))
            for luck in protocol.seeds
        ]
        chances, logged = policy(held.state), behaviour(held.state)
        inside = supported(logged, settings.least_support)
        weight = step_weights(chances, logged, held)
        judged[name] = Judged(
            linear=linear[name],
            network=_by_network(held, starts, policy, settings) if name in _BY_NETWORK else None,
            simulated=np.mean(simulated, axis=0),
            offered=1 - float(chances[:, 0].mean()),
            supported=float((chances * inside).sum(axis=1).mean()),
            effective_steps=effective_sample_size(weight) / len(weight),
            effective_paths=effective_sample_size(
                path_weights(weight, held, len(starts), protocol.ahead)
            ),
        )
    return Half(observed=protocol.returns(others), judged=judged, effects=simulator.effects)


def together(halves: Sequence[Half]) -> dict[str, Judged]:
    """Every policy over the customers of all parts, each of which judged its own version."""
    sizes = np.array([len(half.observed) for half in halves])
    share = sizes / sizes.sum()
    found = {}
    for name in halves[0].judged:
        each = [half.judged[name] for half in halves]
        linear = PolicyReturn(
            value=float(share @ [judged.linear.value for judged in each]),
            draws=share @ np.array([judged.linear.draws for judged in each]),
        )
        found[name] = Judged(
            linear=linear,
            network=_over(share, [judged.network for judged in each]),
            simulated=np.concatenate([judged.simulated for judged in each]),
            offered=float(share @ [judged.offered for judged in each]),
            supported=float(share @ [judged.supported for judged in each]),
            effective_steps=float(share @ [judged.effective_steps for judged in each]),
            effective_paths=sum(judged.effective_paths for judged in each),
        )
    return found


def _policies(
    steps: Transitions, behaviour: Policy, settings: QSettings, kinds: tuple[str, ...]
) -> dict[str, Policy]:
    """All that are compared, by name."""
    actions, type_a = len(kinds) + 1, kinds.index(_TYPE_A) + 1
    at_risk, *upper = state_columns(kinds, ("stage: at risk", "middle tier", "top tier"))

    def always(action: int) -> Policy:
        return lambda states: np.tile(np.eye(actions)[action], (len(states), 1))

    def at_risk_in_upper_tiers(states: Floats) -> Floats:
        chosen = (states[:, at_risk] > 0) & (states[:, upper].sum(axis=1) > 0)
        return np.asarray(np.eye(actions)[np.where(chosen, type_a, 0)])

    policies: dict[str, Policy] = {}
    for name, greedy, periods in (
        (SEQUENTIAL, SEQUENTIAL_GREEDY, settings.periods),
        (ONE_STEP, ONE_STEP_GREEDY, 1),
    ):
        ahead = replace(settings, periods=periods)
        values = fitted_q_iteration(steps, behaviour, ahead)
        policies[name] = policy_network(values, steps, behaviour, ahead)
        policies[greedy] = greedy_policy(values, behaviour, settings.least_support)
    return policies | {
        AS_LOGGED: behaviour,
        "at risk in upper tiers": at_risk_in_upper_tiers,
        NEVER: always(0),
        f"always {_TYPE_A}": always(type_a),
    }


def _by_network(held: Transitions, starts: Floats, policy: Policy, settings: QSettings) -> float:
    values = fitted_q_evaluation(held, policy, settings).values(starts)
    return float((policy(starts) * values).sum(axis=1).mean())


def _over(share: Floats, parts: Sequence[float | None]) -> float | None:
    """Mean over the parts; None where one is unknown."""
    known = [part for part in parts if part is not None]
    return float(share @ known) if len(known) == len(parts) else None


def step_weights(chances: Floats, logged: Floats, steps: Transitions) -> Floats:
    """The policy's chance of each logged action over the log's `[steps]`.

    Args:
        chances: of each action under the policy `[steps, actions]`.
        logged: under the log's own policy, estimated; held above a hundredth.
        steps: what was done.
    """
    rows = np.arange(len(steps.action))
    chance = np.maximum(logged[rows, steps.action], _SMALLEST_CHANCE)
    return np.asarray(chances[rows, steps.action] / chance)


def path_weights(weight: Floats, steps: Transitions, customers: int, ahead: int) -> Floats:
    """Product of each customer's weights over the periods ahead, in which all are known."""
    late = len(weight) - customers * ahead  # steps come by period
    path = np.ones(customers)
    np.multiply.at(path, steps.customer[late:], weight[late:])
    return path
