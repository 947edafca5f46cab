"""GRU4Rec: a recurrent network over what a customer bought, in order (Hidasi et al., 2016).

"Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, with the cross-entropy
over shared sampled items of Hidasi & Karatzoglou (2018, "Recurrent Neural Networks with Top-k
Gains for Session-based Recommendations").
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import cross_entropy, dropout, embedding

from finetune.neural_source import (
    MOST_ITEMS,
    ItemColumns,
    Network,
    batches,
    descend,
    glorot,
    load_network,
    save_network,
    seeded,
)
from retrieval.baskets import Baskets
from retrieval.counting_sources import customers_by_item
from retrieval.lines import Ints, Lines
from retrieval.progress import Progress, no_progress
from retrieval.source_names import SourceName

_LINES = 100  # most recent ones read of each customer


class Gru4RecNetwork(Network):
    """One GRU layer whose input and output share the items' embeddings.

    Args:
        columns: items that take part.
        dimension: of the embeddings and of the hidden state.
    """

    def __init__(self, columns: int, dimension: int) -> None:
        super().__init__()
        self.sizes = (columns, dimension)
        self.item = glorot(columns, dimension)
        self.item_bias = Parameter(torch.zeros(columns))
        self.input = glorot(dimension, 3 * dimension)
        self.input_bias = Parameter(torch.zeros(3 * dimension))
        self.gates = glorot(dimension, 2 * dimension)
        self.candidate = glorot(dimension, dimension)

    def states(self, column: Tensor, drop: float = 0.0) -> Tensor:
        """Hidden states after each line: `[customers, lines, dimension]`.

        Equations 1 to 4 of the paper: with update gate z, reset gate r and candidate c,
        `h = (1 - z) h' + z c` where `c = tanh(W x + U (r h'))`.

        Args:
            column: `[customers, lines]` columns of the items, in order.
            drop: share of the embedded input, and of the states given, left out at random.
        """
        given = dropout(embedding(column, self.item), drop) @ self.input + self.input_bias
        dimension = self.candidate.shape[0]
        state = given.new_zeros(len(given), dimension)
        states = []
        for now in given.unbind(dim=1):
            gates = torch.sigmoid(now[:, : 2 * dimension] + state @ self.gates)
            update, reset = gates.chunk(2, dim=1)
            candidate = torch.tanh(now[:, 2 * dimension :] + (reset * state) @ self.candidate)
            state = torch.lerp(state, candidate, update)
            states.append(state)
        return dropout(torch.stack(states, dim=1), drop)

    def logits(self, states: Tensor) -> Tensor:
        """`[states, columns]` from `[states, dimension]`."""
        return states @ self.item.T + self.item_bias


class Gru4Rec:
    """GRU4Rec: which items come next after a customer's latest ones.

    Args:
        columns: items that take part.
        network: trained weights.
    """

    name = SourceName.GRU4REC

    def __init__(self, columns: ItemColumns, network: Gru4RecNetwork) -> None:
        self._columns = columns
        self._network = network

    @classmethod
    def fit(
        cls,
        lines: Lines,
        items: int,
        *,
        most_items: int = MOST_ITEMS,
        dimension: int = 100,
        epochs: int = 15,
        batch_size: int = 64,
        negatives: int = 256,
        popularity: float = 0.75,
        dropout: float = 0.5,
        learning_rate: float = 2e-3,
        seed: int = 7,
        progress: Progress = no_progress,
    ) -> Self:
        """Learn to tell an item of a customer's next order after each of their lines.

        Args:
            lines: bought lines.
            items: rows of the item table.
            most_items: best-selling items that take part.
            dimension: of the embeddings and of the hidden state.
            epochs: how often each customer comes, each time with other lines.
            batch_size: customers a step.
            negatives: items drawn a step for all its lines to be told from; where no more take
                part, every line is told from all.
            popularity: they are drawn by `customers ** popularity`.
            dropout: share of the embedded input, and of the states, left out at random.
            learning_rate: of Adam.
            seed: of weights, order, dropout and sampling.
            progress: told after every epoch.
        """
        columns = ItemColumns.best_selling(lines, items, most_items)
        sequences = _Sequences.of(lines, columns)
        sold = customers_by_item(lines, items)[columns.rows] ** popularity
        share = torch.from_numpy(sold / sold.sum())
        random = np.random.default_rng(seed)
        with seeded(seed):
            network = Gru4RecNetwork(len(columns), dimension)
            optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)
            todo = batches(len(sequences), batch_size, epochs, "Training gru4rec", progress)
            for batch in todo:
                column, known, following = sequences.draw(batch, random)
                states = network.states(column, dropout)[known]
                if len(columns) <= negatives:
                    loss = cross_entropy(network.logits(states), following)
                else:
                    drawn = share.multinomial(negatives, replacement=True)
                    loss = sampled_loss(network, states, following, drawn, share)
                descend(optimizer, loss)
        return cls(columns, network)

    def scores(self, baskets: Baskets) -> Any:
        """Probabilities of the items that take part, after the latest lines."""
        return self._columns.probabilities(baskets, self._logits)

    def save(self, folder: Path) -> None:
        """Write the weights."""
        save_network(folder, self._columns, self._network)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the weights."""
        return cls(*load_network(folder, Gru4RecNetwork))

    def _logits(self, baskets: Baskets) -> tuple[Ints, Tensor]:
        column = self._columns.of(baskets.line_item)
        part = column >= 0
        ends = np.concatenate(([0], np.cumsum(part)))[baskets.line_starts]
        known = np.flatnonzero(np.diff(ends))
        starts = np.maximum(ends[known], ends[known + 1] - _LINES)
        place, real = _padded(starts, ends[known + 1])
        states = self._network.states(torch.from_numpy(column[part][place]))
        latest = states[torch.arange(len(known)), torch.from_numpy(real.sum(axis=1) - 1)]
        return known, self._network.logits(latest)


def sampled_loss(
    network: Gru4RecNetwork, states: Tensor, following: Tensor, drawn: Tensor, share: Tensor
) -> Tensor:
    """Cross-entropy whose sum over all other items is estimated from some.

    Each drawn item stands for `1 / (draws * share)` items, so that the estimate of the sum is
    unbiased (Bengio & Senecal, 2003).

    Args:
        network: gives the logits.
        states: `[states, dimension]`.
        following: `[states]` columns of the right items.
        drawn: `[draws]` columns of the drawn items, the same for all states.
        share: `[columns]` probability with which each is drawn.

    Returns:
        The mean over states.
    """
    right = (states * network.item[following]).sum(dim=1) + network.item_bias[following]
    weight = torch.log(len(drawn) * share[drawn])
    others = torch.addmm(network.item_bias[drawn] - weight, states, network.item[drawn].T)
    # Not minus infinity, whose gradient would be undefined where all that is drawn is right.
    others = others.masked_fill(drawn == following[:, None], torch.finfo(others.dtype).min)
    return (torch.logaddexp(others.logsumexp(dim=1), right) - right).mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sequences:
    """Customers of two orders or more, by their lines of items that take part.

    Attributes:
        column: `[lines]` the item's column.
        order: `[lines]` number of the order, rising by one from order to order.
        order_starts: `[orders + 1]` where each order's lines begin.
        starts: `[customers]` where each customer's lines begin.
        ends: `[customers]` where their last order begins, which has no next.
    """

    column: Ints
    order: Ints
    order_starts: Ints
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, lines: Lines, columns: ItemColumns) -> "_Sequences":
        column = columns.of(lines.item)
        part = column >= 0
        customer, order = lines.customer[part], lines.order[part]
        order_starts = np.flatnonzero(np.diff(order, prepend=-1))
        starts = np.flatnonzero(np.diff(customer, prepend=-1))
        last_orders = np.searchsorted(order_starts, np.append(starts, len(order))[1:]) - 1
        ends = order_starts[last_orders]
        several = ends > starts
        return cls(
            column=column[part],
            order=np.cumsum(np.diff(order, prepend=-1) != 0) - 1,
            order_starts=np.append(order_starts, len(order)),
            starts=starts[several],
            ends=ends[several],
        )

    def __len__(self) -> int:
        return len(self.starts)

    def draw(self, batch: Ints, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Some consecutive lines of each customer, and what may follow them.

        The items of an order have no order of their own: they come in a random one, and what
        follows is a random item of the next order.

        Args:
            batch: customers.
            random: draws them.

        Returns:
            Columns `[batch, lines]`, which of these are no padding, and for those, row by row,
            the columns that follow.
        """
        starts, ends = self.starts[batch], self.ends[batch]
        starts = random.integers(starts, np.maximum(starts, ends - _LINES), endpoint=True)
        place, real = _padded(starts, np.minimum(ends, starts + _LINES))
        within = np.where(real, self.order[place] + random.random(place.shape), np.inf)
        place = np.take_along_axis(place, np.argsort(within, axis=1), axis=1)
        following = self.order[place[real]] + 1
        chosen = random.integers(self.order_starts[following], self.order_starts[following + 1])
        return (
            torch.from_numpy(self.column[place]),
            torch.from_numpy(real),
            torch.from_numpy(self.column[chosen]),
        )


def _padded(starts: Ints, ends: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Places `[rows, longest]` from each start to each end, and which of them are no padding."""
    place = starts[:, None] + np.arange(np.max(ends - starts, initial=1))
    real = place < ends[:, None]
    return np.where(real, place, starts[:, None]), real
