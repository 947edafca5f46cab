"""One real shop at one moment: who is asked, what they had bought, what they then bought."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from bench.shops import BenchShop
from retrieval.assortment import Assortment
from retrieval.baskets import Baskets, baskets_of
from retrieval.catalogue import Catalogue
from retrieval.embedder import Embedder, Vectors
from retrieval.index import text_vectors
from retrieval.item_sales import ItemSales, item_sales
from retrieval.item_table import ItemTable, item_table
from retrieval.lines import Ints, Lines, read_lines
from retrieval.recommender import HORIZON
from retrieval.shop import RecommendSettings
from retrieval.source_kinds import SourceInput

TASKS = ("basket", "discovery")
LENGTH = 20  # of the lists that are judged


@dataclass(frozen=True, kw_only=True)
class ShopData:
    """A shop's items and lines."""

    name: str
    test_cutoff: datetime
    shop: Any
    catalogue: Catalogue
    table: ItemTable
    assortment: Assortment
    lines: Lines
    vectors: Vectors

    @property
    def validation_cutoff(self) -> datetime:
        """The moment at which settings are chosen; its outcomes end at the test cut-off."""
        return self.test_cutoff - HORIZON


@dataclass(frozen=True, kw_only=True)
class Window:
    """Customers at a moment.

    Attributes:
        customers: `[customers]` numbers.
        baskets: what they had bought.
        past: all lines before the moment.
        only: item rows that alone count as truth; all where None.
        known: baskets of the same customers whose items never count as truth.
    """

    data: ShopData
    cutoff: datetime
    customers: Ints
    baskets: Baskets
    past: Lines
    only: Ints | None = None
    known: Baskets | None = None

    @cached_property
    def sales(self) -> ItemSales:
        """How items sold before the moment."""
        return item_sales(self.past, len(self.data.table), self.cutoff)

    @property
    def given(self) -> SourceInput:
        """What a source may learn from."""
        return SourceInput(
            lines=self.past,
            table=self.data.table,
            sales=self.sales,
            vectors=self.data.vectors,
            as_of=self.cutoff,
        )

    def truths(self, task: str) -> list[Ints]:
        """What each customer bought in the four weeks after; only new items for discovery."""
        items = len(self.data.table)
        after = self.data.lines.between(self.cutoff, self.cutoff + HORIZON)
        keys = np.unique(after.customer * items + after.item)
        truths = []
        for row, customer in enumerate(self.customers):
            first, end = np.searchsorted(keys, [customer * items, (customer + 1) * items])
            bought = keys[first:end] - customer * items
            if task == "discovery":
                own = slice(self.baskets.starts[row], self.baskets.starts[row + 1])
                bought = bought[~np.isin(bought, self.baskets.item[own])]
            if self.only is not None:
                bought = np.intersect1d(bought, self.only)
            if self.known is not None:
                own = slice(self.known.starts[row], self.known.starts[row + 1])
                bought = np.setdiff1d(bought, self.known.item[own])
            truths.append(bought)
        return truths


def read_data(bench: BenchShop, embedder: Embedder) -> ShopData:
    """Read a shop's lines to the end of the test window."""
    catalogue = Catalogue.read(bench.shop.items_file)
    table = item_table(catalogue)
    return ShopData(
        name=bench.name,
        test_cutoff=bench.test_cutoff,
        shop=bench.shop,
        catalogue=catalogue,
        table=table,
        # The defaults of today, whatever they were when the shop was made.
        assortment=Assortment(table, catalogue, RecommendSettings()),
        lines=read_lines(bench.shop.log, table, bench.test_cutoff + HORIZON),
        vectors=text_vectors(bench.shop, catalogue, table, embedder),
    )


def window(data: ShopData, cutoff: datetime, most_customers: int, seed: int) -> Window:
    """Customers who bought both before a moment and in the four weeks after, or some of them."""
    past = data.lines.between(None, cutoff)
    after = data.lines.between(cutoff, cutoff + HORIZON)
    customers = np.intersect1d(np.unique(past.customer), np.unique(after.customer))
    if len(customers) > most_customers:
        drawn = np.random.default_rng(seed).choice(customers, most_customers, replace=False)
        customers = np.sort(drawn)
    baskets = baskets_of(past, cutoff, len(data.table), customers)
    return Window(data=data, cutoff=cutoff, customers=customers, baskets=baskets, past=past)
