"""What the shop may show now: the catalogue's items by the shop's rules and a turn's filters.

Prices, stock and categories are the current catalogue's; rows are the recommender's.
"""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import Catalogue, Item
from retrieval.filters import Filters
from retrieval.item_table import ItemTable
from retrieval.lines import Ints
from retrieval.shop import RecommendSettings
from retrieval.words import words_of

Mask = NDArray[np.bool_]


class Assortment:
    """The current catalogue in the recommender's rows.

    Attributes:
        items: by row; None where the catalogue no longer holds the item.
        price: `[items]` minor units, -1 where unknown.
        title: `[items]` code of the title, one for items that a reader cannot tell apart.
        margin: `[items]` price less cost, or the price where the cost is unknown; minor units,
            0 where there is no price.
        rules: the shop's.
    """

    def __init__(self, table: ItemTable, catalogue: Catalogue, rules: RecommendSettings) -> None:
        self.table = table
        self.rules = rules
        self.items: list[Item | None] = [catalogue.items.get(i) for i in table.ids.to_pylist()]
        self.price = self._numbers("price")
        cost = self._numbers("cost")
        self.margin = np.maximum(self.price - np.maximum(cost, 0), 0)
        self._categories, self._category = _coded(
            item.category if item else "" for item in self.items
        )
        self._texts, self._text = _coded(item.text if item else "" for item in self.items)
        _, self.title = _coded(item.title if item else "" for item in self.items)

    @cached_property
    def sellable(self) -> Mask:
        """`[items]` in the catalogue, in stock and not forbidden by the shop."""
        mask = np.array([item is not None for item in self.items], dtype=bool)
        mask &= self._numbers("stock") != 0
        mask &= ~self._in_categories(self.rules.never_categories)
        mask[self.rows(self.rules.never_items)] = False
        return mask

    def item(self, row: int) -> Item:
        """The item of a row that may be shown."""
        item = self.items[row]
        if item is None:
            raise KeyError(f"row {row} is not in the catalogue")
        return item

    def category(self, row: int) -> int:
        """Code of a row's category."""
        return int(self._category[row])

    def with_text(self, text_id: str) -> list[str]:
        """Ids of the items that share an indexed text."""
        return self._by_text.get(text_id, [])

    @cached_property
    def _by_text(self) -> dict[str, list[str]]:
        grouped: dict[str, list[str]] = {}
        for row, item_id in enumerate(self.table.ids.to_pylist()):
            grouped.setdefault(self.table.text_ids[self.table.text[row]], []).append(item_id)
        return grouped

    def rows(self, item_ids: Iterable[str]) -> Ints:
        """Rows of item ids, without those that are unknown."""
        found = [self.table.row[item_id] for item_id in item_ids if item_id in self.table.row]
        return np.array(found, dtype=np.int64)

    def allowed(self, filters: Filters, own: Ints, disliked: Iterable[str] = ()) -> Mask:
        """What may be shown to one customer.

        Args:
            filters: what is asked.
            own: rows of what the customer bought, left out where only new items are asked for.
            disliked: item ids the customer said no to; items of the same title stay away too.

        Returns:
            `[items]`.
        """
        mask = self.sellable.copy()
        if filters.categories:
            mask &= self._in_categories(filters.categories)
        if filters.exclude_categories:
            mask &= ~self._in_categories(filters.exclude_categories)
        if filters.min_price is not None or filters.max_price is not None:
            low = 0 if filters.min_price is None else filters.min_price
            mask &= self.price >= max(0, low)
            if filters.max_price is not None:
                mask &= self.price <= filters.max_price
        if filters.only_items:
            only = np.zeros(len(mask), dtype=bool)
            only[self.rows(filters.only_items)] = True
            mask &= only
        mask[self.rows(filters.exclude_items)] = False
        if filters.words or filters.exclude_words:
            mask &= self._by_words(filters)
        if filters.new_only:
            mask[own] = False
        unwanted = self.rows(disliked)
        if len(unwanted):
            mask &= ~np.isin(self.title, self.title[unwanted])
        return mask

    def _by_words(self, filters: Filters) -> Mask:
        fits = np.ones(len(self._texts), dtype=bool)
        for word in filters.words:
            fits &= self._mentioning(word)
        for word in filters.exclude_words:
            fits &= ~self._mentioning(word)
        return fits[self._text]

    def _mentioning(self, word: str) -> Mask:
        """`[texts]` that hold a word, or all words of a phrase; see `retrieval.words.mentions`."""
        held = np.zeros(len(self._texts), dtype=bool)
        stems = words_of(word)
        if stems:
            codes = [self._texts_by_stem.get(stem, frozenset()) for stem in stems]
            held[list(frozenset.intersection(*codes))] = True
        return held

    @cached_property
    def _texts_by_stem(self) -> dict[str, frozenset[int]]:
        by_stem: dict[str, set[int]] = {}
        for code, text in enumerate(self._texts):
            for stem in words_of(text):
                by_stem.setdefault(stem, set()).add(code)
        return {stem: frozenset(codes) for stem, codes in by_stem.items()}

    def _in_categories(self, names: Iterable[str]) -> Mask:
        wanted = set(names)
        return np.array([name in wanted for name in self._categories], dtype=bool)[self._category]

    def _numbers(self, column: str) -> NDArray[np.int64]:
        values = (getattr(item, column) if item is not None else None for item in self.items)
        return np.fromiter((-1 if v is None else v for v in values), np.int64, len(self.items))


def _coded(values: Iterable[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Distinct values, and the code of each."""
    codes: dict[str, int] = {}
    coded = np.fromiter((codes.setdefault(value, len(codes)) for value in values), np.int32)
    return list(codes), coded
