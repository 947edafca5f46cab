"""Sources that only count: what the customer buys again, and what everybody buys."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import sparse

from retrieval.baskets import HALF_LIFE_DAYS, Baskets
from retrieval.lines import Floats, Lines
from retrieval.source_names import SourceName
from retrieval.sources import load_array, save_arrays

RECENT_DAYS = 28


class OwnRepeats:
    """What the customer bought before, by how many orders hold it."""

    name = SourceName.OWN

    def scores(self, baskets: Baskets) -> Any:
        """Orders that hold the item; of equals the one bought last comes first."""
        return baskets.matrix(baskets.orders + 0.5 / (1.0 + baskets.last))

    def save(self, folder: Path) -> None:
        """Nothing is learnt."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Nothing is read."""
        return cls()


class RecentOwnRepeats:
    """What the customer bought before, recent orders counting more.

    Args:
        half_life: days after which an order counts half.
    """

    name = SourceName.OWN_RECENT

    def __init__(self, half_life: float = HALF_LIFE_DAYS) -> None:
        self._half_life = half_life

    def scores(self, baskets: Baskets) -> Any:
        """Orders that hold the item, each halved every half-life."""
        fresh = (0.5 ** (baskets.line_days / self._half_life)).astype(np.float32)
        # Lines of one item in several orders add up.
        return (
            sparse.csr_matrix(
                (fresh, baskets.line_item, baskets.line_starts), shape=(len(baskets), baskets.items)
            )
            .tocoo()
            .tocsr()
        )

    def save(self, folder: Path) -> None:
        """Write the half-life."""
        save_arrays(folder, {"half_life": np.float64(self._half_life)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the half-life."""
        return cls(float(load_array(folder, "half_life")))


class _Popularity:
    """The same scores for everybody: customers who bought each item."""

    def __init__(self, customers: Floats) -> None:
        self._customers = customers

    def scores(self, baskets: Baskets) -> Any:
        """Customers who bought the item."""
        return np.broadcast_to(self._customers, (len(baskets), len(self._customers)))

    def save(self, folder: Path) -> None:
        """Write the counts."""
        save_arrays(folder, {"customers": self._customers})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the counts."""
        return cls(load_array(folder, "customers"))


class Popular(_Popularity):
    """What most customers ever bought."""

    name = SourceName.POPULAR

    @classmethod
    def fit(cls, lines: Lines, items: int) -> Self:
        """Count customers by item."""
        return cls(customers_by_item(lines, items))


class Trending(_Popularity):
    """What most customers bought in the last weeks, ties by all time."""

    name = SourceName.TRENDING

    @classmethod
    def fit(cls, lines: Lines, items: int, as_of: datetime, *, days: int = RECENT_DAYS) -> Self:
        """Count customers of the last days by item."""
        recent = lines.between(as_of - timedelta(days=days), as_of)
        ever = customers_by_item(lines, items)
        return cls(customers_by_item(recent, items) + ever / (1.0 + 10.0 * ever.max(initial=1.0)))


def customers_by_item(lines: Lines, items: int) -> Floats:
    """Distinct customers of each item: `[items]`."""
    pairs = np.unique(lines.customer * items + lines.item)
    return np.bincount(pairs % items, minlength=items).astype(np.float32)
