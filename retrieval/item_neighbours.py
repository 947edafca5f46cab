"""Sources that are one sparse matrix of items by items: bought together, and EASE.

A customer's score of an item is the sum over what they bought of taste times the matrix's weight,
so each bought item's part in a score is known exactly.
"""

import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import linalg, sparse

from retrieval.baskets import Baskets
from retrieval.lines import Floats, Ints, Lines
from retrieval.source_names import SourceName
from retrieval.sources import load_array, load_matrix, save_arrays, save_matrix, values_at

_KNN_NEIGHBOURS = 200
_EASE_ITEMS = 8_000
_EASE_WEIGHTS = 400


class ItemNeighbours:
    """Weights from a bought item to others.

    Args:
        weights: sparse `[items, items]`.
        power: tastes enter as `taste ** power`, so that a staple does not drown the rest.
    """

    name: SourceName

    def __init__(self, weights: Any, power: float, towards: Any = None) -> None:
        self.weights = weights
        self.power = power
        # The same by the item led to; kept beside it because taking columns would read it all.
        self._towards = weights.T.tocsr() if towards is None else towards

    def scores(self, baskets: Baskets) -> Any:
        """Taste times weights: sparse `[customers, items]`."""
        return baskets.matrix(baskets.taste**self.power) @ self.weights

    def scores_at(self, baskets: Baskets, customer: Ints, item: Ints) -> Floats:
        """Scores of a few pairs of customer row and item row: `[pairs]`."""
        tastes = baskets.matrix(baskets.taste**self.power)
        wanted, place = np.unique(item, return_inverse=True)
        part = (tastes @ self._towards[wanted].T).todense()
        return np.asarray(part)[customer, place].astype(np.float32)

    def parts(self, baskets: Baskets, customer: int, item: int) -> Floats:
        """What each of a customer's items adds to the score of one item: `[pairs of customer]`."""
        pairs = slice(baskets.starts[customer], baskets.starts[customer + 1])
        row = slice(self._towards.indptr[item], self._towards.indptr[item + 1])
        own = baskets.item[pairs].astype(np.int64)
        weights = values_at(
            self._towards.indices[row].astype(np.int64), self._towards.data[row], own
        )
        return weights * baskets.taste[pairs] ** np.float32(self.power)

    def save(self, folder: Path) -> None:
        """Write the matrix, by rows and by columns."""
        save_matrix(folder / "from", self.weights)
        save_matrix(folder / "towards", self._towards)
        save_arrays(folder, {"power": np.float64(self.power)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the matrix; its rows stay on disk until they are needed."""
        return cls(
            load_matrix(folder / "from"),
            float(load_array(folder, "power")),
            load_matrix(folder / "towards"),
        )


class BoughtTogether(ItemNeighbours):
    """Item-based nearest neighbours with BM25 weights (Robertson & Zaragoza, 2009).

    Neighbours are items bought by the same customers, by `implicit`.
    """

    name = SourceName.TOGETHER

    @classmethod
    def fit(
        cls,
        lines: Lines,
        items: int,
        *,
        neighbours: int = _KNN_NEIGHBOURS,
        k1: float = 1.2,
        b: float = 0.75,
        power: float = 0.5,
        with_self: bool = False,
    ) -> Self:
        """Find each item's neighbours.

        Args:
            lines: bought lines.
            items: rows of the item table.
            neighbours: kept of each item.
            k1: how soon repeated orders stop adding.
            b: how much the orders of best-selling items count less.
            power: of tastes, see `ItemNeighbours`.
            with_self: whether an item is its own nearest neighbour, so that what was bought is
                named again.
        """
        # Imported here: only building needs it.
        from implicit.nearest_neighbours import BM25Recommender
        from implicit.utils import ParameterWarning

        if len(lines.item) == 0:
            return cls(sparse.csr_matrix((items, items), dtype=np.float32), power)
        model = BM25Recommender(K=neighbours + 1, K1=k1, B=b, num_threads=0)
        with warnings.catch_warnings():
            # It warns of the form in which it hands its own matrix on.
            warnings.simplefilter("ignore", ParameterWarning)
            model.fit(order_counts(lines, items).tocsr(), show_progress=False)
        if with_self:
            return cls(model.similarity.tocsr().astype(np.float32), power)
        return cls(_without_diagonal(model.similarity), power)


class Ease(ItemNeighbours):
    """EASE: a linear model from baskets to items in closed form (Steck, 2019, equation 8).

    Only the best-selling items take part, and only the strongest weights are kept, so that its
    size does not grow with the square of the catalogue.
    """

    name = SourceName.EASE

    @classmethod
    def fit(
        cls,
        lines: Lines,
        items: int,
        *,
        regularisation: float = 200.0,
        most_items: int = _EASE_ITEMS,
        most_weights: int = _EASE_WEIGHTS,
        power: float = 0.0,
    ) -> Self:
        """Solve for the weights.

        Args:
            lines: bought lines.
            items: rows of the item table.
            regularisation: lambda of the paper.
            most_items: best-selling items that take part.
            most_weights: strongest weights kept of each item.
            power: of tastes, see `ItemNeighbours`; 0 reads only whether an item was bought.
        """
        bought = order_counts(lines, items)
        bought.data[:] = 1.0
        sold = np.asarray(bought.sum(axis=0)).ravel()
        chosen = np.sort(np.lexsort((np.arange(items), -sold))[: min(most_items, items)])
        chosen = chosen[sold[chosen] > 0]
        if len(chosen) == 0:
            return cls(sparse.csr_matrix((items, items), dtype=np.float32), power)
        part = bought[:, chosen]
        gram = np.asarray((part.T @ part).todense(), dtype=np.float32)
        gram[np.diag_indices_from(gram)] += regularisation
        inverse = _inverse(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return cls(_kept(weights, chosen, items, most_weights), power)


def order_counts(lines: Lines, items: int) -> Any:
    """Orders by customer and item: sparse `[customers, items]`."""
    return sparse.csr_matrix(
        (np.ones(len(lines.item), dtype=np.float32), (lines.customer, lines.item)),
        shape=(len(lines.customer_ids), items),
    )


def _inverse(gram: Any) -> Any:
    """Inverse of a symmetric positive definite matrix, by Cholesky: half the work of LU."""
    factor, _ = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
    lower, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    return np.tril(lower) + np.tril(lower, -1).T


def _without_diagonal(matrix: Any) -> Any:
    matrix = matrix.tocoo()
    off = matrix.row != matrix.col
    return sparse.csr_matrix(
        (matrix.data[off].astype(np.float32), (matrix.row[off], matrix.col[off])),
        shape=matrix.shape,
    )


def _kept(weights: Any, chosen: Ints, items: int, most: int) -> Any:
    """The strongest weights of each row, in the columns of all items."""
    most = min(most, weights.shape[1])
    columns = np.argpartition(-np.abs(weights), most - 1, axis=1)[:, :most]
    rows = np.repeat(np.arange(len(chosen)), most)
    values = weights[rows, columns.ravel()]
    return sparse.csr_matrix(
        (values.astype(np.float32), (chosen[rows], chosen[columns.ravel()])), shape=(items, items)
    )
