"""A small neural network over the prior's features: chance of leaving, and spend with its zeros.

It answers both at once, spend as a zero-inflated lognormal (Wang, Liu & Miao, 2019, "A Deep
Probabilistic Model for Customer Lifetime Value Prediction"). Alone it is no better than trees; it
errs elsewhere, so that a mix with them foresees spend better than either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from finetune.calibration import Floats
from finetune.held_out import is_held_out
from finetune.one_thread import one_thread
from finetune.spread import varies

_WIDTH, _DROPOUT = 32, 0.2
_RATE, _WEIGHT_DECAY = 1e-3, 1e-2
_SEEDS = 5
_MOST_EPOCHS, _PATIENCE = 60, 4
# Examples a step; of many, so many that an epoch has no more steps than this.
_FEW, _BATCH_OF_FEW, _BATCH, _MOST_STEPS = 4_000, 32, 128, 300
# To tell when to stop; where there are fewer on either side, nothing is held out for it.
_FEWEST, _UNTOLD_EPOCHS = 20, 20
_STOPPING_SEED = -1  # of no split that holds customers out of training
_FARTHEST = 4.0  # standard deviations from the mean, beyond which a feature says no more
_LEAST_SPREAD, _MOST_SPREAD = 0.05, 2.0
_DECIMALS = 6
_CHURN, _BUYS, _AMOUNT, _SPREAD = range(4)

Layer = tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]
"""Weights `[outputs, inputs]` and biases `[outputs]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorNetwork:
    """Fitted networks, which answer by their mean.

    Attributes:
        scale: mean spend of the examples, minor units; the networks count in it.
        columns: of the features, those that are read; none that was the same for everybody.
        centre: of these.
        width: of these, their standard deviations.
        members: layers of each network.
    """

    scale: float
    columns: tuple[int, ...]
    centre: tuple[float, ...]
    width: tuple[float, ...]
    members: tuple[tuple[Layer, ...], ...]

    def churn_odds(self, features: Floats) -> Floats:
        """Log odds of leaving `[n]`."""
        return np.asarray(np.mean([out[:, _CHURN] for out in self._outputs(features)], axis=0))

    def log_spend(self, features: Floats) -> Floats:
        """Log(1 + expected spend) `[n]`, minor units."""
        expected = [_expected(out) for out in self._outputs(features)]
        return np.asarray(np.mean(np.log1p(self.scale * np.array(expected)), axis=0))

    def _outputs(self, features: Floats) -> list[Floats]:
        """What each member says `[n, 4]`."""
        read = features[:, list(self.columns)]
        put = _put(read, np.array(self.centre), np.array(self.width))
        return [_through(member, put) for member in self.members]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "PriorNetwork":
        """Read what `dataclasses.asdict` made of one."""
        return cls(
            scale=document["scale"],
            columns=tuple(document["columns"]),
            centre=tuple(document["centre"]),
            width=tuple(document["width"]),
            members=tuple(
                tuple((tuple(map(tuple, weights)), tuple(biases)) for weights, biases in member)
                for member in document["members"]
            ),
        )


def fit_prior_network(
    features: Floats,
    churned: NDArray[np.bool_],
    spends: Floats,
    trust: Floats,
    customer_ids: Sequence[str],
    columns: Sequence[int],
) -> PriorNetwork:
    """Fit all members.

    How long to learn is told by a fifth of the customers; then all are learnt from, for as long.

    Args:
        features: `[n, features]`.
        churned: who left `[n]`.
        spends: over the horizon `[n]`, minor units.
        trust: weight of each example `[n]`.
        customer_ids: whose examples they are; one customer's lie on one side.
        columns: of the features, those to read.
    """
    # What is the same for everybody would keep the weights it began with.
    columns = [column for column in columns if varies(features[:, column])]
    read = features[:, columns]
    centre, width = read.mean(axis=0), read.std(axis=0)
    scale = max(float(spends.mean()), 1.0)
    data = _Data(
        features=_tensor(_put(read, centre, width)),
        churned=_tensor(churned),
        spends=_tensor(spends / scale),
        trust=_tensor(trust),
    )
    # Products this small are slower on several threads, and end in other last digits.
    with one_thread():
        epochs = _epochs(data, customer_ids)
        everybody = torch.arange(len(features))
        members = [_train(data, everybody, epochs, seed, None)[0] for seed in range(_SEEDS)]
    return PriorNetwork(
        scale=scale,
        columns=tuple(columns),
        centre=tuple(centre.tolist()),
        width=tuple(width.tolist()),
        members=tuple(_layers(member) for member in members),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Data:
    """Examples as tensors: features `[n, features]`, the others `[n]`; spends in means."""

    features: Tensor
    churned: Tensor
    spends: Tensor
    trust: Tensor


def _epochs(data: _Data, customer_ids: Sequence[str]) -> int:
    """How long to learn, as told by customers held out for it."""
    held = np.array([is_held_out(customer, _STOPPING_SEED) for customer in customer_ids])
    if not _FEWEST <= held.sum() <= len(held) - _FEWEST:
        return _UNTOLD_EPOCHS
    told, learnt = (torch.tensor(np.flatnonzero(side)) for side in (held, ~held))
    _, losses = _train(data, learnt, _MOST_EPOCHS, 0, told)
    return int(np.argmin(losses)) + 1


def _train(
    data: _Data, learnt: Tensor, epochs: int, seed: int, told: Tensor | None
) -> tuple[nn.Sequential, list[float]]:
    """A network, and its loss on `told` after each epoch, until that no longer falls."""
    count = len(data.spends)  # not of the part that is learnt from: both take the same steps
    batch = _BATCH_OF_FEW if count < _FEW else max(_BATCH, count // _MOST_STEPS)
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(data)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
        for _ in range(epochs):
            network.train()
            for rows in torch.split(learnt[torch.randperm(len(learnt))], batch):
                loss = _loss(network, data, rows)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            network.eval()
            if told is not None:
                with torch.no_grad():
                    losses.append(float(_loss(network, data, told)))
                if len(losses) - 1 - int(np.argmin(losses)) >= _PATIENCE:
                    break
    return network, losses


def _network(data: _Data) -> nn.Sequential:
    last = nn.Linear(_WIDTH, 4)
    # It begins at what holds of everybody, so that few examples leave it there.
    with torch.no_grad():
        last.bias.copy_(torch.tensor(_of_everybody(data)))
    return nn.Sequential(
        nn.Linear(data.features.shape[1], _WIDTH),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(_WIDTH, _WIDTH),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        last,
    )


def _of_everybody(data: _Data) -> list[float]:
    """Outputs that say the same of all: rates by the rule of succession, log spend of buyers."""
    bought = data.spends > 0
    count = len(data.spends) + 2
    odds = [float(logit((float(yes.sum()) + 1) / count)) for yes in (data.churned, bought)]
    logs = torch.log(data.spends[bought])
    amount = float(logs.mean()) if len(logs) else 0.0
    spread = float(logs.std().clamp(_LEAST_SPREAD, _MOST_SPREAD)) if len(logs) > 1 else 1.0
    return [*odds, amount, float(np.log(np.expm1(spread)))]


def _loss(network: nn.Sequential, data: _Data, rows: Tensor) -> Tensor:
    """Of churn and of the zero-inflated lognormal, less a term without parameters."""
    given: Tensor = network(data.features[rows])
    spend, trust = data.spends[rows], data.trust[rows]
    bought = spend > 0
    spread = softplus(given[:, _SPREAD]).clamp(_LEAST_SPREAD, _MOST_SPREAD)
    logs = torch.log(torch.where(bought, spend, torch.ones_like(spend)))
    amounts = torch.log(spread) + ((logs - given[:, _AMOUNT]) / spread) ** 2 / 2
    losses = (
        _log_loss(given[:, _CHURN], data.churned[rows])
        + _log_loss(given[:, _BUYS], bought.float())
        + torch.where(bought, amounts, torch.zeros_like(amounts))
    )
    return (losses * trust).sum() / trust.sum()


def _log_loss(odds: Tensor, answers: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(odds, answers, reduction="none")


def _expected(outputs: Floats) -> Floats:
    """Mean of the zero-inflated lognormal `[n]`, in mean spends."""
    spread = np.clip(np.logaddexp(0, outputs[:, _SPREAD]), _LEAST_SPREAD, _MOST_SPREAD)
    return np.asarray(expit(outputs[:, _BUYS]) * np.exp(outputs[:, _AMOUNT] + spread**2 / 2))


def _put(features: Floats, centre: Floats, width: Floats) -> Floats:
    """Features on the networks' scale."""
    return np.asarray(np.clip((features - centre) / width, -_FARTHEST, _FARTHEST))


def _through(layers: Sequence[Layer], put: Floats) -> Floats:
    """Outputs `[n, 4]` of one network."""
    *hidden, last = [(np.array(weights), np.array(biases)) for weights, biases in layers]
    for weights, biases in hidden:
        put = np.maximum(put @ weights.T + biases, 0.0)
    return np.asarray(put @ last[0].T + last[1])


def _layers(network: nn.Sequential) -> tuple[Layer, ...]:
    return tuple(
        (
            tuple(tuple(row) for row in _rounded(part.weight)),
            tuple(_rounded(part.bias)),
        )
        for part in network
        if isinstance(part, nn.Linear)
    )


def _rounded(weights: Tensor) -> Any:
    """As lists of numbers short enough to be kept as text."""
    return weights.detach().double().numpy().round(_DECIMALS).tolist()


def _tensor(numbers: NDArray[Any]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)
