"""The source that reads: items whose text is near those of what the customer buys.

It knows items that never sold, which counting cannot.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.baskets import Baskets
from retrieval.embedder import Vectors
from retrieval.lines import Floats, Ints
from retrieval.source_names import SourceName
from retrieval.sources import load_array, save_arrays

_NEAREST_TEXTS = 60
_ITEMS_OF_A_TEXT = 3

Nearest = Callable[[Vectors, int], Sequence[int]]
"""From a vector and a count to the codes of the nearest texts."""


class Similar:
    """Nearness of an item's text to the centre of a customer's tastes.

    Args:
        vectors: `[texts, dimension]` unit vectors by text code.
        text: `[items]` text code of each item.
        by_sales: `[items]` item rows, by text, best-selling first.
        nearest: finds nearest texts in the index; compares with all of them where None.
        with_own: whether what the customer bought is named again.
    """

    name = SourceName.SIMILAR

    def __init__(
        self,
        vectors: Any,
        text: NDArray[np.int32],
        by_sales: Ints,
        nearest: Nearest | None = None,
        *,
        with_own: bool = False,
    ) -> None:
        self.vectors = vectors
        self._text = text
        self._by_sales = by_sales
        self._starts = np.searchsorted(text[by_sales], np.arange(len(vectors) + 1))
        self._nearest = nearest or self._nearest_of_all
        self._with_own = with_own

    @classmethod
    def fit(cls, vectors: Vectors, text: NDArray[np.int32], customers: Floats) -> Self:
        """Order the items of each text by how many customers bought them."""
        by_sales = np.lexsort((np.arange(len(text)), -customers, text))
        return cls(vectors.astype(np.float32), text, by_sales)

    def with_index(self, nearest: Nearest, *, with_own: bool = False) -> "Similar":
        """The same, asking an index for the nearest texts."""
        return Similar(self.vectors, self._text, self._by_sales, nearest, with_own=with_own)

    def scores(self, baskets: Baskets) -> Any:
        """Cosine of the best items of the nearest texts; new ones alone unless `with_own`."""
        customer, item, score = [], [], []
        is_own = np.zeros(baskets.items, dtype=bool)
        for row, centre in enumerate(self._centres(baskets)):
            if not centre.any():
                continue
            own = baskets.item[baskets.starts[row] : baskets.starts[row + 1]]
            is_own[own] = not self._with_own
            texts = np.asarray(self._nearest(centre, _NEAREST_TEXTS), dtype=np.int64)
            near = self.vectors[texts] @ centre
            for text, cosine in zip(texts, near, strict=True):
                items = self._by_sales[self._starts[text] : self._starts[text + 1]]
                new = items[~is_own[items]][:_ITEMS_OF_A_TEXT]
                customer += [row] * len(new)
                item += new.tolist()
                score += [float(cosine)] * len(new)
            is_own[own] = False
        return sparse.csr_matrix(
            (np.array(score, dtype=np.float32), (customer, item)),
            shape=(len(baskets), baskets.items),
        )

    def scores_at(self, baskets: Baskets, customer: Ints, item: Ints) -> Floats:
        """Cosine of a few pairs of customer row and item row: `[pairs]`."""
        centres = self._centres(baskets)
        near = self.vectors[self._text[item]]
        cosine: Floats = np.einsum("pd,pd->p", near, centres[customer])
        return cosine

    def parts(self, baskets: Baskets, customer: int, item: int) -> Floats:
        """Taste times cosine of each of a customer's items with one item: `[pairs of customer]`."""
        pairs = slice(baskets.starts[customer], baskets.starts[customer + 1])
        own = self.vectors[self._text[baskets.item[pairs]]]
        near = own @ self.vectors[self._text[item]]
        # Squared, so that one very near item counts before many staples a little near.
        parts: Floats = np.sqrt(baskets.taste[pairs]) * np.maximum(near, 0.0) ** 2
        return parts

    def similarity(self, items: Ints) -> Floats:
        """Cosine between items: `[items, items]`."""
        vectors = self.vectors[self._text[items]]
        cosine: Floats = vectors @ vectors.T
        return cosine

    def save(self, folder: Path) -> None:
        """Write vectors and orders."""
        save_arrays(
            folder, {"vectors": self.vectors, "text": self._text, "by_sales": self._by_sales}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; vectors stay on disk until they are needed."""
        return cls(*(load_array(folder, name) for name in ("vectors", "text", "by_sales")))

    def _centres(self, baskets: Baskets) -> Vectors:
        """Unit mean vector of each customer's items by taste: `[customers, dimension]`."""
        centres = np.zeros((len(baskets), self.vectors.shape[1]), dtype=np.float32)
        for row in range(len(baskets)):
            pairs = slice(baskets.starts[row], baskets.starts[row + 1])
            own = self.vectors[self._text[baskets.item[pairs]]]
            centres[row] = np.sqrt(baskets.taste[pairs]) @ own
        lengths = np.linalg.norm(centres, axis=1, keepdims=True)
        unit: Vectors = (centres / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
        return unit

    def _nearest_of_all(self, centre: Vectors, count: int) -> Sequence[int]:
        near = self.vectors @ centre
        count = min(count, len(near))
        codes: list[int] = np.argpartition(-near, count - 1)[:count].tolist()
        return codes
