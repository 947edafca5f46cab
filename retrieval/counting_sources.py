"""Sources that only count: what the customer buys again, and what everybody buys."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np

from retrieval.baskets import Baskets
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
    """What the customer bought before, recent orders counting more."""

    name = SourceName.OWN_RECENT

    def scores(self, baskets: Baskets) -> Any:
        """Orders that hold the item, each halved every 60 days."""
        return baskets.matrix(baskets.taste)

    def save(self, folder: Path) -> None:
        """Nothing is learnt."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Nothing is read."""
        return cls()


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
    """What most customers bought in the last four weeks, ties by all time."""

    name = SourceName.TRENDING

    @classmethod
    def fit(cls, lines: Lines, items: int, as_of: datetime) -> Self:
        """Count customers of the last weeks by item."""
        recent = lines.between(as_of - timedelta(days=RECENT_DAYS), as_of)
        ever = customers_by_item(lines, items)
        return cls(customers_by_item(recent, items) + ever / (1.0 + 10.0 * ever.max(initial=1.0)))


def customers_by_item(lines: Lines, items: int) -> Floats:
    """Distinct customers of each item: `[items]`."""
    pairs = np.unique(lines.customer * items + lines.item)
    return np.bincount(pairs % items, minlength=items).astype(np.float32)
