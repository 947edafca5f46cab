"""A tiny shop with a known story: steady customers, dwindling ones, and one who has gone.

Customers c00..c59 buy from 2024-01-01 to 2024-12-31. Those whose number divides by three dwindle:
they stop in the middle of the year. Every order holds Milk; the odd also buy Bread, the even
Coffee beans.
"""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agent.offer_file import write_offers
from agent.offers import Covers, Eligibility, Offer, OfferBook, OfferKind
from finetune.adapter import LoraSettings
from finetune.finetune import finetune
from finetune.indexing import index_shop
from finetune.training import TrainingSettings
from retrieval.catalogue import Catalogue, Item
from retrieval.ingest import ingest_file
from retrieval.shop import Shop, ShopSettings

CUSTOMERS = 60
START = datetime(2024, 1, 1, 9, 0, tzinfo=UTC)
END = datetime(2025, 1, 1, tzinfo=UTC)
# Of the tiny model's four layers, so that the end-to-end tests leave one out.
LORA = LoraSettings(rank=4, base_layers=3, layers=2)
TRAINING = TrainingSettings(epochs=2, batch_size=16, learning_rate=5e-3)

ITEMS = (
    Item(item_id="milk", title="Milk", category="Dairy", price=129),
    Item(item_id="bread", title="Bread", category="Bakery", price=249),
    Item(item_id="coffee", title="Coffee beans", category="Hot drinks", price=899),
    Item(item_id="tea", title="Green tea", category="Hot drinks", price=349),
    Item(item_id="cheese", title="Cheese", category="Dairy", price=599),
    Item(item_id="cake", title="Cake", category="Bakery", price=1299),
)


def settings(model: Path) -> ShopSettings:
    """Sixty-day horizon, real embedder left out."""
    return ShopSettings.model_validate(
        {
            "name": "Tiny shop",
            "churn": {"definition": "inactive", "horizon_days": 60},
            "windows": {
                "train_cutoff": "2024-07-01T00:00:00Z",
                "test_cutoff": "2024-10-01T00:00:00Z",
            },
            "models": {"base": str(model), "embedder": "hash", "writer": "off"},
            "limits": {"history_tokens": 512},
        }
    )


def events() -> list[dict[str, object]]:
    """Every line of the year."""
    rows: list[dict[str, object]] = []
    for number in range(CUSTOMERS):
        gap = timedelta(days=5 + number % 7)
        moment = START + timedelta(days=number % 11)
        last = START + timedelta(days=140 + number * 3) if number % 3 == 0 else END
        order = 0
        while moment < min(last, END):
            order_id = f"o{number:02d}-{order:03d}"
            basket = ["milk", "bread" if number % 2 else "coffee"]
            if order % 4 == 0:
                basket.append("tea" if number % 2 == 0 else "cheese")
            for item_id in basket:
                price = next(item.price for item in ITEMS if item.item_id == item_id)
                quantity = 1 + number % 3
                rows.append(
                    {
                        "customer_id": f"c{number:02d}",
                        "timestamp": moment,
                        "order_id": order_id,
                        "item_id": item_id,
                        "quantity": float(quantity),
                        "amount": (price or 0) * quantity / 100,
                    }
                )
            moment += gap
            order += 1
    return rows


def offers() -> list[Offer]:
    """One that fits whoever buys hot drinks, one that has run out."""

    def offer(offer_id: str, title: str, starts: datetime, expires: datetime) -> Offer:
        return Offer(
            offer_id=offer_id,
            title=title,
            description=f"{title}, once.",
            kind=OfferKind.AMOUNT,
            value=100,
            max_discount=None,
            cost=80,
            covers=Covers(categories=("Hot drinks",)),
            eligibility=Eligibility(bought_category=True),
            cap_per_customer=1,
            budget=1_000,
            starts=starts,
            expires=expires,
            exclusive_group="drinks",
            source="made for the tests",
        )

    return [
        offer("drinks", "$1.00 off hot drinks", _day(2024, 12), _day(2025, 2)),
        offer("old", "$1.00 off summer drinks", _day(2024, 6), _day(2024, 8)),
    ]


def _day(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def build_shop(directory: Path, model: Path) -> Shop:
    """A shop with log, catalogue and offers, without index and adapter."""
    shop = Shop.create(directory, settings(model))
    Catalogue(ITEMS).write(shop.items_file)
    write_offers(shop.offers_file, OfferBook(offers(), currency="USD"), shop.zone)
    source = directory / "events.parquet"
    pq.write_table(pa.Table.from_pylist(events()), source)
    ingest_file(shop, source)
    source.unlink()
    return shop


def build_trained_shop(directory: Path, model: Path) -> Path:
    """A shop with everything."""
    shop = build_shop(directory, model)
    index_shop(shop)
    finetune(shop, lora=LORA, settings=TRAINING)
    return directory


def copy_shop(source: Path, target: Path) -> Shop:
    """A shop is one directory: copying it copies the shop."""
    shutil.copytree(source, target)
    return Shop.open(target)
