"""A small shop with catalogue and log, its index, and all that an index holds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.catalogue import Catalogue, Item
from retrieval.embedder import Embedder, HashEmbedder, Vectors
from retrieval.index import IndexReport, build_index, current_generation
from retrieval.sales import Sales
from retrieval.shop import Shop, ShopSettings
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
    sales = Sales.read(folder)
    found["sales"] = dict(sales.items)
    found["together"] = {item_id: sales.bought_with(item_id) for item_id in sales.ids}
    return found
