"""Mult-VAE: a variational autoencoder of what customers bought (Liang et al., 2018).

"Variational Autoencoders for Collaborative Filtering", WWW 2018.
"""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import dropout, embedding_bag, log_softmax

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
from retrieval.item_neighbours import order_counts
from retrieval.lines import Ints, Lines
from retrieval.progress import Progress, no_progress
from retrieval.source_names import SourceName


class MultVaeNetwork(Network):
    """Items to hidden to latent, and back.

    Args:
        columns: items that take part.
        hidden: units of the one hidden layer on either side.
        dimension: of the latent space.
    """

    def __init__(self, columns: int, hidden: int, dimension: int) -> None:
        super().__init__()
        self.sizes = (columns, hidden, dimension)
        self.into_hidden = glorot(columns, hidden)
        self.into_latent = glorot(hidden, 2 * dimension)
        self.from_latent = glorot(dimension, hidden)
        self.from_hidden = glorot(hidden, columns)
        self.into_hidden_bias = Parameter(torch.zeros(hidden))
        self.into_latent_bias = Parameter(torch.zeros(2 * dimension))
        self.from_latent_bias = Parameter(torch.zeros(hidden))
        self.from_hidden_bias = Parameter(torch.zeros(columns))

    def encode(self, column: Tensor, starts: Tensor, drop: float = 0.0) -> tuple[Tensor, Tensor]:
        """The posterior's mean and logarithm of variance, each `[customers, dimension]`.

        Args:
            column: `[pairs]` columns of what was bought, customer after customer.
            starts: `[customers + 1]` where each customer's pairs begin.
            drop: share of the input left out at random.
        """
        counts = starts.diff()
        # A row of 0 and 1 has the L2 norm of the root of its ones.
        given = dropout(counts.float().rsqrt().repeat_interleave(counts), drop)
        # The sum over what was bought is the product with the whole row, at a part of the cost.
        product = embedding_bag(
            column,
            self.into_hidden,
            starts,
            mode="sum",
            per_sample_weights=given,
            include_last_offset=True,
        )
        hidden = torch.tanh(product + self.into_hidden_bias)
        mean, log_variance = (hidden @ self.into_latent + self.into_latent_bias).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latent: Tensor) -> Tensor:
        """Logits `[customers, columns]` from points `[customers, dimension]`."""
        hidden = torch.tanh(latent @ self.from_latent + self.from_latent_bias)
        return hidden @ self.from_hidden + self.from_hidden_bias


class MultVae:
    """Mult-VAE: which items a customer's purchases, seen as one draw, make likely.

    Args:
        columns: items that take part.
        network: trained weights.
    """

    name = SourceName.MULT_VAE

    def __init__(self, columns: ItemColumns, network: MultVaeNetwork) -> None:
        self._columns = columns
        self._network = network

    @classmethod
    def fit(
        cls,
        lines: Lines,
        items: int,
        *,
        most_items: int = MOST_ITEMS,
        hidden: int = 300,
        dimension: int = 100,
        epochs: int = 40,
        batch_size: int = 256,
        beta: float = 0.2,
        dropout: float = 0.5,
        learning_rate: float = 1e-3,
        seed: int = 7,
        progress: Progress = no_progress,
    ) -> Self:
        """Maximise the evidence lower bound, the KL term's weight rising from 0 to `beta`.

        Args:
            lines: bought lines.
            items: rows of the item table.
            most_items: best-selling items that take part.
            hidden: units of the hidden layers.
            dimension: of the latent space.
            epochs: passes over the customers.
            batch_size: customers a step.
            beta: weight of the KL term in the last step (section 2.2.2 of the paper).
            dropout: share of the input left out at random.
            learning_rate: of Adam.
            seed: of weights, order, dropout and sampling.
            progress: told after every epoch.
        """
        columns = ItemColumns.best_selling(lines, items, most_items)
        bought = order_counts(lines, items)[:, columns.rows]
        bought = bought[np.diff(bought.indptr) > 0]
        bought.data[:] = 1.0
        steps = epochs * -(-bought.shape[0] // batch_size)
        with seeded(seed):
            network = MultVaeNetwork(len(columns), hidden, dimension)
            optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)
            todo = batches(bought.shape[0], batch_size, epochs, "Training mult-vae", progress)
            for step, batch in enumerate(todo, 1):
                column, starts = _pairs(bought[batch])
                mean, log_variance = network.encode(column, starts, dropout)
                logits = network.decode(_sample(mean, log_variance))
                loss = multinomial_loss(logits, column, starts)
                loss = loss + beta * step / steps * kl_to_prior(mean, log_variance)
                descend(optimizer, loss)
        return cls(columns, network)

    def scores(self, baskets: Baskets) -> Any:
        """Probabilities of the items that take part, decoded from the posterior's mean."""
        return self._columns.probabilities(baskets, self._logits)

    def save(self, folder: Path) -> None:
        """Write the weights."""
        save_network(folder, self._columns, self._network)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the weights."""
        return cls(*load_network(folder, MultVaeNetwork))

    def _logits(self, baskets: Baskets) -> tuple[Ints, Tensor]:
        bought = self._columns.matrix(baskets)
        known = np.flatnonzero(np.diff(bought.indptr))
        mean, _ = self._network.encode(*_pairs(bought[known]))
        return known, self._network.decode(mean)


def multinomial_loss(logits: Tensor, column: Tensor, starts: Tensor) -> Tensor:
    """Minus the multinomial log-likelihood (equation 2), mean over customers.

    Args:
        logits: `[customers, columns]`.
        column: `[pairs]` columns of what was bought, customer after customer.
        starts: `[customers + 1]` where each customer's pairs begin.
    """
    customer = torch.arange(len(logits)).repeat_interleave(starts.diff())
    return -log_softmax(logits, dim=1)[customer, column].sum() / len(logits)


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of `N(mean, variance)` from the standard normal, mean over customers.

    Args:
        mean: `[customers, dimension]`.
        log_variance: `[customers, dimension]`.
    """
    each = mean**2 + log_variance.exp() - 1.0 - log_variance
    return 0.5 * each.sum(dim=1).mean()


def _sample(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A point of each posterior, by reparametrisation (Kingma & Welling, 2014)."""
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def _pairs(bought: Any) -> tuple[Tensor, Tensor]:
    """Columns and starts of a sparse matrix's rows."""
    return (
        torch.from_numpy(bought.indices.astype(np.int64)),
        torch.from_numpy(bought.indptr.astype(np.int64)),
    )
