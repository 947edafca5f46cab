"""What the sources that are small networks share: their items, steps of training, and files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module, Parameter
from torch.nn.functional import softmax

from retrieval.baskets import Baskets
from retrieval.counting_sources import customers_by_item
from retrieval.lines import Floats, Ints, Lines
from retrieval.progress import Progress
from retrieval.sources import load_array, save_arrays

MOST_ITEMS = 8_000
_CHUNK = 256  # customers scored at a time
_LEAST = torch.finfo(torch.float32).tiny


class Network(Module):
    """Weights of a source.

    Attributes:
        sizes: what its class is called with to make one of the same shape.
    """

    sizes: tuple[int, ...]


_AnyNetwork = TypeVar("_AnyNetwork", bound=Network)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemColumns:
    """The items that take part in a source, each a column of its network.

    Attributes:
        items: rows of the item table.
        rows: `[columns]` rising rows of those that take part.
    """

    items: int
    rows: Ints

    @classmethod
    def best_selling(cls, lines: Lines, items: int, most: int) -> "ItemColumns":
        """Those that most customers bought, ties by row; an item never sold takes no part."""
        sold = customers_by_item(lines, items)
        rows = np.lexsort((np.arange(items), -sold))[:most]
        return cls(items=items, rows=np.sort(rows[sold[rows] > 0]))

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, item: Ints) -> Ints:
        """Columns of item rows, -1 for those that take no part."""
        column = np.full(self.items, -1, dtype=np.int64)
        column[self.rows] = np.arange(len(self.rows))
        return column[item]

    def matrix(self, baskets: Baskets) -> Any:
        """1 where a customer bought an item: sparse `[customers, columns]`."""
        return baskets.matrix(np.ones(len(baskets.item)))[:, self.rows]

    def probabilities(
        self, baskets: Baskets, logits: Callable[[Baskets], tuple[Ints, Tensor]]
    ) -> Floats:
        """Softmax of a network's logits, a chunk of customers at a time.

        Args:
            baskets: the customers.
            logits: gives the rows of the customers that the network can judge, and their logits
                `[those, columns]`.

        Returns:
            `[customers, items]`, 0 for the other customers and for items that take no part.
        """
        scores = np.zeros((len(baskets), self.items), dtype=np.float32)
        for start in range(0, len(baskets), _CHUNK):
            with torch.inference_mode():
                known, values = logits(baskets.rows(start, min(start + _CHUNK, len(baskets))))
                # An item that the network all but rules out still comes before those it lacks.
                likely = softmax(values, dim=1).clamp_min(_LEAST)
            scores[np.ix_(start + known, self.rows)] = likely.numpy()
        return scores


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from a seed of their own; the caller's go on unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def glorot(inputs: int, outputs: int) -> Parameter:
    """Weights `[inputs, outputs]` drawn as by Glorot & Bengio (2010)."""
    return Parameter(torch.nn.init.xavier_normal_(torch.empty(inputs, outputs)))


def batches(examples: int, size: int, epochs: int, step: str, progress: Progress) -> Iterator[Ints]:
    """Shuffled batches of `0..examples - 1`, every epoch anew.

    Args:
        examples: how many there are.
        size: of a batch.
        epochs: how often each example comes.
        step: what the progress calls the work.
        progress: told after every epoch.
    """
    for epoch in range(epochs):
        order: Ints = torch.randperm(examples).numpy()
        for start in range(0, examples, size):
            yield order[start : start + size]
        progress(step, epoch + 1, epochs)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def save_network(folder: Path, columns: ItemColumns, network: Network) -> None:
    """Write the items and the weights."""
    weights = {name: weight.numpy() for name, weight in network.state_dict().items()}
    shape = {"items": columns.items, "rows": columns.rows, "sizes": network.sizes}
    save_arrays(folder, {**weights, **shape})


def load_network(folder: Path, make: Callable[..., _AnyNetwork]) -> tuple[ItemColumns, _AnyNetwork]:
    """Read what `save_network` wrote.

    Args:
        folder: where it lies.
        make: the network's class.
    """
    columns = ItemColumns(
        items=int(load_array(folder, "items")), rows=np.array(load_array(folder, "rows"))
    )
    network = make(*(int(size) for size in load_array(folder, "sizes")))
    network.load_state_dict(
        {
            name: torch.from_numpy(np.array(load_array(folder, name)))
            for name in network.state_dict()
        }
    )
    return columns, network
