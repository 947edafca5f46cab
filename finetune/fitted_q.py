"""Offers over time, learnt and judged offline from logged steps.

A value network by fitted Q iteration (Ernst, Geurts and Wehenkel, 2005), kept to actions that the
log supports as in BCQ (Fujimoto, Meger and Precup, 2019); a policy network weighted by advantage
(Peng et al., 2019); and fitted Q evaluation of any policy by the same networks (Le, Voloshin and
Yue, 2019). All foresee a number of periods, not an endless future.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from lightgbm import LGBMClassifier
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from finetune.calibration import Floats
from finetune.customer_paths import Flags
from finetune.customer_states import Policy, Transitions
from finetune.errors import TrainingError
from finetune.linear_evaluation import standard


@dataclass(frozen=True, slots=True, kw_only=True)
class QSettings:
    """How networks are fitted.

    Attributes:
        periods: how far to look; 1 gives the one-step policy.
        discount: of the next period's value.
        least_support: chance under the log's policy below which an action is not considered.
        hidden: units in each of two layers.
        networks: fitted from different weights and averaged.
        epochs: passes over the steps for the first period; a third of them for each further one.
        batch_size: steps in a gradient.
        learning_rate: of Adam.
        weight_decay: of Adam.
        seed: of weights and order.
    """

    periods: int
    discount: float
    least_support: float = 0.05
    hidden: int = 48
    networks: int = 3
    epochs: int = 30
    batch_size: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValueNetwork:
    """Expected return of each action; networks over standardised states, averaged."""

    networks: tuple[nn.Sequential, ...]
    centre: Floats
    scale: Floats
    unit: float

    def values(self, states: Floats) -> Floats:
        """Return over the periods ahead, in the unit of rewards `[n, actions]`."""
        inputs = _inputs(states, self.centre, self.scale)
        with torch.no_grad():
            answers = torch.stack([network(inputs) for network in self.networks]).mean(dim=0)
        return np.asarray(answers.double().numpy() * self.unit)


def behaviour_policy(steps: Transitions, actions: int, *, seed: int = 0) -> Policy:
    """Estimate with which chance the log took each action in a state, by small trees.

    Raises:
        TrainingError: an action was never taken.
    """
    absent = sorted(set(range(actions)) - set(steps.action.tolist()))
    if absent:
        raise TrainingError(
            f"The log never took action {absent[0]}.", hint="Leave that kind of campaign out."
        )
    model = LGBMClassifier(
        n_estimators=60,
        num_leaves=8,
        learning_rate=0.05,
        random_state=seed,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    model.fit(steps.state, steps.action)

    def chances(states: Floats) -> Floats:
        return np.asarray(model.predict_proba(states), dtype=np.float64)

    return chances


def supported(behaviour: Floats, least: float) -> Flags:
    """Which actions have the least support, or are the log's most likely one `[n, actions]`."""
    likeliest = behaviour == behaviour.max(axis=1, keepdims=True)
    return np.asarray((behaviour >= least) | likeliest)


def fitted_q_iteration(steps: Transitions, behaviour: Policy, settings: QSettings) -> ValueNetwork:
    """Learn the best return within the log's support.

    Q_1 = r and Q_h = r + discount x max over supported a of Q_{h-1}(s', a).

    Args:
        steps: logged.
        behaviour: with which chance the log took each action.
        settings: how to fit.
    """
    allowed = supported(behaviour(steps.next_state), settings.least_support)

    def ahead(values: Floats) -> Floats:
        return np.asarray(np.where(allowed, values, -np.inf).max(axis=1))

    return _fit_backwards(steps, allowed.shape[1], settings, ahead)


def fitted_q_evaluation(steps: Transitions, policy: Policy, settings: QSettings) -> ValueNetwork:
    """Foresee the return of following a policy.

    Q_1 = r and Q_h = r + discount x sum over a of policy(a | s') Q_{h-1}(s', a).

    Args:
        steps: logged by any policy that tried the actions.
        policy: to be judged.
        settings: how to fit; support plays no part.
    """
    chances = policy(steps.next_state)

    def ahead(values: Floats) -> Floats:
        return np.asarray((chances * values).sum(axis=1))

    return _fit_backwards(steps, chances.shape[1], settings, ahead)


def greedy_policy(values: ValueNetwork, behaviour: Policy, least_support: float) -> Policy:
    """Take the supported action of the highest value."""

    def chances(states: Floats) -> Floats:
        allowed = supported(behaviour(states), least_support)
        best = np.where(allowed, values.values(states), -np.inf).argmax(axis=1)
        return np.asarray(np.eye(allowed.shape[1])[best])

    return chances


def policy_network(
    values: ValueNetwork,
    steps: Transitions,
    behaviour: Policy,
    settings: QSettings,
    *,
    temperature: float = 0.5,
) -> Policy:
    """Fit a network to the log's policy, weighted by advantage and kept to its support.

    Its aim is b(a | s) exp(A(s, a) / t), brought to sum 1, with A = Q - sum of b Q: the optimum of
    advantage-weighted regression (Peng et al., 2019).

    Args:
        values: of the actions.
        steps: whose states it is fitted on.
        behaviour: b.
        settings: how to fit.
        temperature: t, in standard deviations of the advantage over supported actions.
    """
    log_chances = behaviour(steps.state)
    allowed = supported(log_chances, settings.least_support)
    returns = values.values(steps.state)
    advantage = returns - (log_chances * returns).sum(axis=1, keepdims=True)
    spread = max(float(advantage[allowed].std()), 1e-9) * temperature
    exponent = np.where(allowed, np.log(log_chances) + advantage / spread, -np.inf)
    aim = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    aim /= aim.sum(axis=1, keepdims=True)
    aims = torch.tensor(aim, dtype=torch.float32)
    inputs = _inputs(steps.state, values.centre, values.scale)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        network = _network(inputs.shape[1], aims.shape[1], settings.hidden)
        optimizer = _adam(network, settings)
        for rows in _batches(len(inputs), settings.epochs, settings.batch_size):
            loss = -(aims[rows] * log_softmax(network(inputs[rows]), dim=1)).sum(dim=1).mean()
            _descend(optimizer, loss)

    def chances(states: Floats) -> Floats:
        with torch.no_grad():
            logits = network(_inputs(states, values.centre, values.scale)).double().numpy()
        within = supported(behaviour(states), settings.least_support)
        logits = np.where(within, logits, -np.inf)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    return chances


def _fit_backwards(
    steps: Transitions, actions: int, settings: QSettings, ahead: Callable[[Floats], Floats]
) -> ValueNetwork:
    """Fit Q_1, then each Q_h on what `ahead` makes of Q_{h-1} in the next states."""
    centre, scale = standard(steps.state)
    unit = max(float(steps.reward.std()), 1e-9)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        networks = tuple(
            _network(steps.state.shape[1], actions, settings.hidden)
            for _ in range(settings.networks)
        )
        fitted = ValueNetwork(networks=networks, centre=centre, scale=scale, unit=unit)
        inputs, taken = _inputs(steps.state, centre, scale), torch.tensor(steps.action)[:, None]
        aim, epochs = steps.reward, settings.epochs
        for period in range(settings.periods):
            if period:
                aim = steps.reward + settings.discount * ahead(fitted.values(steps.next_state))
                epochs = -(-settings.epochs // 3)
            aims = torch.tensor(aim / unit, dtype=torch.float32)[:, None]
            for network in networks:
                optimizer = _adam(network, settings)
                for rows in _batches(len(inputs), epochs, settings.batch_size):
                    error = network(inputs[rows]).gather(1, taken[rows]) - aims[rows]
                    _descend(optimizer, error.square().mean())
    return fitted


def _network(features: int, actions: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, actions),
    )


def _adam(network: nn.Module, settings: QSettings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        network.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def _batches(count: int, epochs: int, size: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        order = torch.randperm(count)
        yield from (order[begin : begin + size] for begin in range(0, count, size))


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _inputs(states: Floats, centre: Floats, scale: Floats) -> Tensor:
    return torch.tensor((states - centre) / scale, dtype=torch.float32)
