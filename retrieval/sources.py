"""Candidate sources: each learns from bought lines and scores items for customers.

Every source has the same small interface, so that a shop can name those it wants in `shop.toml`.
A source folds customers in from what they bought, so an order of a second ago counts, and a new
customer needs no training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.baskets import Baskets
from retrieval.lines import Floats, Ints
from retrieval.source_names import SourceName


class CandidateSource(Protocol):
    """Scores items for customers from what they bought; a higher score is better."""

    @property
    def name(self) -> SourceName:
        """Which one it is."""
        ...

    def scores(self, baskets: Baskets) -> Any:
        """Scores `[customers, items]`, sparse (absent is 0) or dense; only positive ones count."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learnt into an empty folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; large arrays stay on disk until they are needed."""
        ...


def strongest(
    scores: Any,
    count: int,
    *,
    without: Baskets | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[Ints, Floats]:
    """The best items of each customer.

    Args:
        scores: `[customers, items]`, sparse or dense.
        count: how many a customer.
        without: leave out what these customers, the same rows, bought before.
        allowed: `[items]` which items may be named; all where None.

    Returns:
        Item rows and scores `[customers, count]`, best first, ties by row; -1 and 0 where fewer
        items have a positive score.
    """
    is_own = np.zeros(scores.shape[1], dtype=bool)
    rows = np.full((scores.shape[0], count), -1, dtype=np.int64)
    values = np.zeros((scores.shape[0], count), dtype=np.float32)
    for customer in range(scores.shape[0]):
        if sparse.issparse(scores):
            part = slice(scores.indptr[customer], scores.indptr[customer + 1])
            item, score = scores.indices[part].astype(np.int64), scores.data[part]
            positive = score > 0
            item, score = item[positive], score[positive]
        else:
            score = np.asarray(scores[customer])
            item = np.flatnonzero(score > 0)
            score = score[item]
        if allowed is not None:
            item, score = item[allowed[item]], score[allowed[item]]
        if without is not None:
            own = without.item[without.starts[customer] : without.starts[customer + 1]]
            is_own[own] = True
            new = ~is_own[item]
            item, score = item[new], score[new]
            is_own[own] = False
        if len(item) > count:
            least = np.partition(score, len(score) - count)[len(score) - count]
            near = score >= least
            item, score = item[near], score[near]
        best = np.lexsort((item, -score))[:count]
        rows[customer, : len(best)] = item[best]
        values[customer, : len(best)] = score[best]
    return rows, values


def scores_at(scores: Any, customer: Ints, item: Ints) -> Floats:
    """Scores of pairs of customer row and item row: `[pairs]`."""
    if not sparse.issparse(scores):
        return np.asarray(scores[customer, item], dtype=np.float32)
    scores = scores.tocsr()
    scores.sort_indices()
    keys = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr)) * scores.shape[1]
    return values_at(keys + scores.indices, scores.data, customer * scores.shape[1] + item)


def values_at(keys: Ints, values: Floats, wanted: Ints, absent: float = 0.0) -> Floats:
    """Values by key, `absent` where there is none; `keys` rise."""
    if len(keys) == 0:
        return np.full(len(wanted), absent, dtype=np.float32)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], absent).astype(np.float32)


def save_arrays(folder: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, each into a file of its own that can be memory-mapped."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(array), allow_pickle=False)


def load_array(folder: Path, name: str) -> Any:
    """An array that stays on disk until it is read."""
    return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def save_matrix(folder: Path, matrix: Any) -> None:
    """Write a sparse square matrix."""
    matrix = matrix.tocsr()
    matrix.sort_indices()
    save_arrays(
        folder,
        {
            "indptr": matrix.indptr,
            "indices": matrix.indices,
            "data": matrix.data.astype(np.float32),
        },
    )


def load_matrix(folder: Path) -> Any:
    """A sparse square matrix whose rows stay on disk until they are read."""
    indptr, indices, data = (load_array(folder, name) for name in ("indptr", "indices", "data"))
    size = len(indptr) - 1
    return sparse.csr_matrix((data, indices, indptr), shape=(size, size), copy=False)
