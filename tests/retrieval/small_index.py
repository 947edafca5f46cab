"""A small shop with catalogue and log, its index, and all that an index holds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.assortment import Assortment
from retrieval.catalogue import Catalogue, Item
from retrieval.embedder import Embedder, HashEmbedder, Vectors
from retrieval.filters import Filters
from retrieval.index import Generation, IndexReport, build_index, current_generation
from retrieval.purchases import purchases_of
from retrieval.ranking import RecommendContext
from retrieval.shop import RecommendSettings, Shop, ShopSettings
from retrieval.vector_store import CollectionName, VectorStore
from tests.retrieval.small_log import append, bought, count_words, moment

AS_OF = moment("2024-03-01")
ITEMS = (
    Item(item_id="milk", title="Milk", category="Dairy", price=129),
    Item(item_id="milk2", title="Milk", category="Dairy", price=119),
    Item(item_id="bread", title="Bread", category="Bakery", price=249),
    Item(item_id="tea", title="Green tea", category="Hot drinks", price=349),
    Item(item_id="tea2", title="Black tea", category="Hot drinks", price=None),
    Item(item_id="cake", title="Cake", category="Bakery", price=1_299),
    Item(item_id="unsold", title="Green teapot", category="Kitchen", price=2_500),
)
# Milk, bread and tea share orders; tea2, cake and milk2 are sold alone; ghost has no catalogue row.
ORDERS: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("a", "2024-01-02", "o1"): ("milk", "bread"),
    ("a", "2024-01-22", "o2"): ("milk",),
    ("a", "2024-02-20", "o3"): ("milk", "ghost"),
    ("b", "2024-01-05", "o4"): ("milk", "bread", "tea"),
    ("b", "2024-02-05", "o5"): ("milk", "bread", "tea"),
    ("c", "2024-01-07", "o6"): ("bread", "tea"),
    ("c", "2024-02-25", "o7"): ("cake", "milk2"),
    ("d", "2024-02-26", "o8"): ("tea2",),
    ("e", "2024-02-27", "o9"): ("cake", "tea2"),
    ("e", "2024-02-28", "o10"): ("ghost",),
}


class CountingEmbedder(HashEmbedder):
    """Remembers what it was asked to embed."""

    def __init__(self, dimension: int = 32) -> None:
        super().__init__(dimension)
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts.extend(texts)
        return super().embed(texts)


def small_shop(directory: Path, more_items: int = 0) -> Shop:
    """Without an index."""
    shop = Shop.create(
        directory,
        ShopSettings.model_validate(
            {"churn": {"horizon_days": 20}, "models": {"embedder": "hash", "writer": "off"}}
        ),
    )
    more = [
        Item(item_id=f"m{number}", title=f"Thing {number}", category="More", price=number)
        for number in range(more_items)
    ]
    Catalogue([*ITEMS, *more]).write(shop.items_file)
    append(
        shop.log,
        [
            bought(customer, when, order_id, item_id, 100 + len(item_id))
            for (customer, when, order_id), items in ORDERS.items()
            for item_id in items
        ],
    )
    return shop


def build(shop: Shop, embedder: Embedder | None = None) -> IndexReport:
    """Build with the small embedder."""
    return build_index(shop, embedder or HashEmbedder(32), count_words)


def context_of(
    shop: Shop,
    generation: Generation,
    customer_id: str,
    *,
    catalogue: Catalogue | None = None,
    rules: RecommendSettings | None = None,
) -> RecommendContext:
    """What a recommendation for one customer is made from, at `AS_OF`.

    Args:
        shop: with a log.
        generation: of the shop.
        customer_id: for whom.
        catalogue: of `ITEMS` where None.
        rules: the shop's where None.
    """
    catalogue = Catalogue(ITEMS) if catalogue is None else catalogue
    return RecommendContext(
        recommender=generation.recommender,
        assortment=Assortment(
            generation.recommender.table, catalogue, rules or shop.settings.recommend
        ),
        catalogue=catalogue,
        purchases=purchases_of(shop.log, customer_id, AS_OF),
        as_of=AS_OF,
        currency="USD",
    )


def bought_by(customer_id: str) -> set[str]:
    """Items that a customer of `ORDERS` bought."""
    return {item for (who, _, _), items in ORDERS.items() if who == customer_id for item in items}


def fits(item: Item, filters: Filters, own: set[str]) -> bool:
    """The rules of filters once more, in other words than the code's."""
    words = f"{item.title} {item.category}".lower().split()
    low = 0 if filters.min_price is None else filters.min_price
    high = 10**12 if filters.max_price is None else filters.max_price
    priced = item.price is not None and low <= item.price <= high
    unlimited = filters.min_price is None and filters.max_price is None
    return (
        (not filters.categories or item.category in filters.categories)
        and item.category not in filters.exclude_categories
        and (priced or unlimited)
        and (not filters.only_items or item.item_id in filters.only_items)
        and item.item_id not in filters.exclude_items
        and all(word.lower().removesuffix("s") in words for word in filters.words)
        and not any(word.lower() in words for word in filters.exclude_words)
        and not (filters.new_only and item.item_id in own)
    )


def contents(shop: Shop, embedder: Embedder | None = None) -> dict[str, Any]:
    """All that the current generation holds, read through its files."""
    name = current_generation(shop)
    assert name is not None
    folder = shop.index / name
    store = VectorStore(folder / "chroma", embedder or HashEmbedder(32))
    found: dict[str, Any] = {"manifest": json.loads((folder / "generation.json").read_text())}
    for collection in CollectionName:
        entries = store.get(collection, sorted(store.metadata(collection)))
        found[collection] = {
            id_: (entry.text, dict(entry.metadata), np.round(entry.vector, 5).tolist())
            for id_, entry in entries.items()
        }
    store.close()
    learnt = folder / "recommender"
    found["recommender"] = {
        str(file.relative_to(learnt)): file.read_bytes()
        for file in sorted(learnt.rglob("*"))
        if file.is_file()
    }
    return found
