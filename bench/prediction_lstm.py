"""An LSTM over a customer's orders: the classic recurrent network for churn and customer value.

One step an order: days since the order before, amount and item count, in logarithms. What the
network holds after the last order meets the time since it and the customer's age at the cut-off,
and three heads answer together: churn, value tier, and spend as a zero-inflated lognormal (Wang,
Liu & Miao, 2019, "A Deep Probabilistic Model for Customer Lifetime Value Prediction").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    softplus,
)
from torch.nn.utils.rnn import pack_padded_sequence

from bench.report import Report
from finetune.baselines import BaselineScores
from finetune.labels import Example, tier_of
from retrieval.orders import CustomerPast

_DAY = timedelta(days=1)
_LONGEST = 32  # latest orders read of each customer
_MOST_EXAMPLES = 4_000
_VALIDATION_SHARE = 0.2
_MOST_EPOCHS, _PATIENCE, _BATCH = 30, 4, 128
_SIZES, _RATES = (16, 32), (3e-3, 1e-2)
_DROPOUT = 0.2
_LEAST_SPREAD, _MOST_SPREAD = 0.05, 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Batch:
    """Customers as tensors.

    Attributes:
        steps: `[n, longest, 3]`, padded on the right.
        lengths: orders of each `[n]`.
        state: time since the last order, and age, `[n, 2]`.
    """

    steps: Tensor
    lengths: Tensor
    state: Tensor

    def part(self, rows: Tensor) -> "_Batch":
        """Some customers, padded no further than they need."""
        lengths = self.lengths[rows]
        return _Batch(
            steps=self.steps[rows, : int(lengths.max())], lengths=lengths, state=self.state[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answers:
    """What came after: churn `[n]`, tier `[n]`, and spend in units of the mean `[n]`."""

    churned: Tensor
    tier: Tensor
    spend: Tensor


class _Network(nn.Module):
    """An LSTM with three heads.

    Args:
        size: of the hidden state.
        tiers: how many value tiers there are.
    """

    def __init__(self, size: int, tiers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, size, batch_first=True)
        self.mixed = nn.Linear(size + 2, size)
        self.dropout = nn.Dropout(_DROPOUT)
        self.churn = nn.Linear(size, 1)
        self.tier = nn.Linear(size, tiers)
        self.spend = nn.Linear(size, 3)

    def forward(self, batch: _Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of churn `[n]` and tiers, and the three numbers of the spend `[n, 3]`."""
        packed = pack_padded_sequence(
            batch.steps, batch.lengths, batch_first=True, enforce_sorted=False
        )
        _, (hidden, _) = self.lstm(packed)
        mixed = self.dropout(torch.relu(self.mixed(torch.cat([hidden[-1], batch.state], dim=1))))
        return self.churn(mixed)[:, 0], self.tier(mixed), self.spend(mixed)


def lstm_scores(
    train: Sequence[Example],
    pasts: Sequence[CustomerPast],
    thresholds: tuple[float, ...],
    seed: int,
    report: Report,
) -> BaselineScores:
    """Train on the training cut-off and answer about other customers.

    Size and learning rate are those with the lowest loss on a fifth of the customers, each stopped
    where that loss no longer falls. The chosen network is trained again on all, for as long.

    Args:
        train: labelled customers at the training cut-off.
        pasts: who is asked about.
        thresholds: of the value tiers, minor units.
        seed: of the split, the weights and the order of the batches.
        report: told which settings were chosen.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(train))
    if len(order) > _MOST_EXAMPLES:
        order = order[:_MOST_EXAMPLES]
        report.say(f"  lstm: trained on {_MOST_EXAMPLES} of {len(train)} customers, for time")
    examples = [train[index] for index in order]
    scale = max(float(np.mean([example.spend for example in examples])), 1.0)
    answers = _Answers(
        churned=torch.tensor([float(example.churned) for example in examples]),
        tier=torch.tensor([tier_of(example.spend, thresholds) for example in examples]),
        spend=torch.tensor([example.spend / scale for example in examples]),
    )
    learnt_steps, learnt_state = _numbers([example.past for example in examples])
    centres = [_centre(np.concatenate(learnt_steps)), _centre(learnt_state)]
    customers = _batch(learnt_steps, learnt_state, centres)
    held = torch.arange(round(_VALIDATION_SHARE * len(examples)))
    learnt = torch.arange(len(held), len(examples))
    tiers = len(thresholds) + 1
    found = []
    for size in _SIZES:
        for rate in _RATES:
            _, losses = _train(
                customers, answers, learnt, held, size, rate, _MOST_EPOCHS, seed, tiers
            )
            found.append((min(losses), size, rate, int(np.argmin(losses)) + 1))
    _, size, rate, epochs = min(found)
    report.say(f"  lstm: {size} units, rate {rate}, {epochs} epochs")
    everyone = torch.arange(len(examples))
    network, _ = _train(customers, answers, everyone, None, size, rate, epochs, seed, tiers)
    with torch.no_grad():
        churn, tier, spend = network(_batch(*_numbers(pasts), centres))
    return BaselineScores(
        churn=torch.sigmoid(churn).double().numpy(),
        churn_is_probability=True,
        tiers=tier.argmax(dim=1).tolist(),
        spend=_expected(spend).double().numpy() * scale,
    )


def _train(
    customers: _Batch,
    answers: _Answers,
    learnt: Tensor,
    held: Tensor | None,
    size: int,
    rate: float,
    epochs: int,
    seed: int,
    tiers: int,
) -> tuple[_Network, list[float]]:
    """A network, and its loss on those held out after each epoch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network(size, tiers)
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
        losses: list[float] = []
        for _ in range(epochs):
            network.train()
            for rows in learnt[torch.randperm(len(learnt))].split(_BATCH):
                loss = _loss(network, customers.part(rows), answers, rows)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            network.eval()
            if held is not None:
                with torch.no_grad():
                    losses.append(float(_loss(network, customers.part(held), answers, held)))
                if len(losses) - 1 - int(np.argmin(losses)) >= _PATIENCE:
                    break
    return network, losses


def _loss(network: _Network, batch: _Batch, answers: _Answers, rows: Tensor) -> Tensor:
    churn, tier, spend = network(batch)
    return (
        binary_cross_entropy_with_logits(churn, answers.churned[rows])
        + cross_entropy(tier, answers.tier[rows])
        + _spend_loss(spend, answers.spend[rows])
    )


def _spend_loss(given: Tensor, spend: Tensor) -> Tensor:
    """Negative log-likelihood of the zero-inflated lognormal, less a term without parameters."""
    bought = spend > 0
    buys = binary_cross_entropy_with_logits(given[:, 0], bought.float())
    if not bought.any():
        return buys
    spread = _spread(given[bought, 2])
    off = (torch.log(spend[bought]) - given[bought, 1]) / spread
    return buys + (torch.log(spread) + off**2 / 2).sum() / len(spend)


def _expected(given: Tensor) -> Tensor:
    """Mean of the zero-inflated lognormal `[n]`."""
    return torch.sigmoid(given[:, 0]) * torch.exp(given[:, 1] + _spread(given[:, 2]) ** 2 / 2)


def _spread(raw: Tensor) -> Tensor:
    """Bounded: the mean grows with the exponential of its square."""
    return softplus(raw).clamp(_LEAST_SPREAD, _MOST_SPREAD)


def _numbers(pasts: Sequence[CustomerPast]) -> tuple[list[np.ndarray], np.ndarray]:
    """Steps of each customer `[orders, 3]`, and the state of all `[n, 2]`."""
    steps = []
    for past in pasts:
        days = np.array([(order.timestamp - past.first) / _DAY for order in past.orders])
        gaps = np.diff(days, prepend=days[0])
        amounts = np.array([max(order.amount, 0) for order in past.orders], dtype=np.float64)
        items = np.array([order.item_count for order in past.orders], dtype=np.float64)
        steps.append(np.log1p(np.column_stack([gaps, amounts, items]))[-_LONGEST:])
    state = [[(past.as_of - past.last) / _DAY, (past.as_of - past.first) / _DAY] for past in pasts]
    return steps, np.log1p(np.array(state))


def _centre(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each column."""
    spread = numbers.std(axis=0)
    return numbers.mean(axis=0), np.where(spread > 0, spread, 1.0)


def _batch(
    steps: list[np.ndarray], state: np.ndarray, centres: list[tuple[np.ndarray, np.ndarray]]
) -> _Batch:
    """Put numbers on the scale of the training customers, and pad."""
    (mean, spread), (state_mean, state_spread) = centres
    lengths = [len(one) for one in steps]
    padded = np.zeros((len(steps), max(lengths), 3), dtype=np.float32)
    for row, one in enumerate(steps):
        padded[row, : len(one)] = (one - mean) / spread
    return _Batch(
        steps=torch.from_numpy(padded),
        lengths=torch.tensor(lengths),
        state=torch.from_numpy(((state - state_mean) / state_spread).astype(np.float32)),
    )
