"""Sources that put items into a space of few dimensions: ALS and SVD."""

from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.sparse.linalg import svds
from threadpoolctl import threadpool_limits

from retrieval.baskets import Baskets
from retrieval.item_neighbours import order_counts
from retrieval.lines import Floats, Lines
from retrieval.source_names import SourceName
from retrieval.sources import load_array, save_arrays


class Als:
    """Implicit-feedback matrix factorisation (Hu, Koren & Volinsky, 2008), by `implicit`.

    Args:
        factors: `[items, dimension]`.
        confidence: alpha of the paper: a taste t counts `1 + alpha t`.
        regularisation: lambda of the paper.
    """

    name = SourceName.ALS

    def __init__(self, factors: Floats, confidence: float, regularisation: float) -> None:
        self._factors = factors
        self._confidence = confidence
        self._regularisation = regularisation

    @classmethod
    def fit(
        cls,
        lines: Lines,
        items: int,
        *,
        dimension: int = 64,
        confidence: float = 5.0,
        regularisation: float = 1.0,
        iterations: int = 12,
        seed: int = 7,
    ) -> Self:
        """Alternate least squares between customers and items."""
        # Imported here: only building needs it.
        from implicit.als import AlternatingLeastSquares

        # Its own threads and those of BLAS get in each other's way.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=dimension,
                alpha=confidence,
                regularization=regularisation,
                iterations=iterations,
                random_state=seed,
                num_threads=0,
            )
            model.fit(order_counts(lines, items).tocsr(), show_progress=False)
        return cls(np.asarray(model.item_factors, np.float32), confidence, regularisation)

    def scores(self, baskets: Baskets) -> Any:
        """Fold each customer in (equation 4 of the paper), then multiply with the items."""
        gram = self._gram
        customers = np.zeros((len(baskets), self._factors.shape[1]), dtype=np.float32)
        for row in range(len(baskets)):
            part = slice(baskets.starts[row], baskets.starts[row + 1])
            own = np.asarray(self._factors[baskets.item[part]])
            extra = self._confidence * baskets.taste[part]
            left = gram + (own * extra[:, None]).T @ own
            customers[row] = np.linalg.solve(left, own.T @ (1.0 + extra))
        return customers @ self._factors.T

    @cached_property
    def _gram(self) -> Floats:
        gram: Floats = self._factors.T @ self._factors
        gram[np.diag_indices_from(gram)] += self._regularisation
        return gram

    def save(self, folder: Path) -> None:
        """Write the factors."""
        save_arrays(
            folder,
            {"factors": self._factors, "settings": [self._confidence, self._regularisation]},
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the factors."""
        confidence, regularisation = load_array(folder, "settings")
        return cls(load_array(folder, "factors"), float(confidence), float(regularisation))


class Svd:
    """PureSVD: truncated singular vectors of customers by items (Cremonesi et al., 2010).

    Args:
        factors: `[items, dimension]`, orthonormal columns.
    """

    name = SourceName.SVD

    def __init__(self, factors: Floats) -> None:
        self._factors = factors

    @classmethod
    def fit(cls, lines: Lines, items: int, *, dimension: int = 64, seed: int = 7) -> Self:
        """Take the strongest right singular vectors of the logarithm of order counts."""
        matrix = order_counts(lines, items)
        matrix.data = np.log1p(matrix.data)
        dimension = min(dimension, min(matrix.shape) - 1)
        if dimension < 1 or matrix.nnz == 0:
            return cls(np.zeros((items, 1), dtype=np.float32))
        start = np.random.default_rng(seed).normal(size=min(matrix.shape))
        _, strength, right = svds(matrix, k=dimension, v0=start)
        # Vectors of no strength are arbitrary ones that complete the space.
        right = right[strength > 1e-5 * strength.max()]
        return cls(np.ascontiguousarray(right.T, dtype=np.float32))

    def scores(self, baskets: Baskets) -> Any:
        """Project tastes onto the vectors and back."""
        return (baskets.matrix(np.log1p(baskets.taste)) @ self._factors) @ self._factors.T

    def save(self, folder: Path) -> None:
        """Write the vectors."""
        save_arrays(folder, {"factors": self._factors})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the vectors."""
        return cls(load_array(folder, "factors"))
