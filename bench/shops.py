"""The shops that benchmarks run on: real logs, read once into a working folder.

Complete Journey and Online Retail serve both benches; CDNOW, which names no items, predictions
alone. A working folder holds one shop directory a data set, without index or adapter.
"""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from retrieval.catalogue import Catalogue
from retrieval.ingest import ingest_file
from retrieval.progress import Progress
from retrieval.shop import SETTINGS_FILE, Shop, ShopSettings
from ui import complete_journey
from ui.demo import DEMO_SETTINGS

_RETAIL_COLUMNS = {
    "customer_id": "CustomerID",
    "timestamp": "InvoiceDate",
    "order_id": "InvoiceNo",
    "item_id": "StockCode",
    "title": "Description",
    "quantity": "Quantity",
    "unit_price": "UnitPrice",
}
_RETAIL_BAD_ROWS = 0.3  # a quarter of its rows name no customer


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchShop:
    """A real shop, and the moments at which predictors learn and at which all is tested."""

    name: str
    shop: Shop
    train_cutoff: datetime
    test_cutoff: datetime


def open_bench_shops(
    work: Path, data: Path, names: Collection[str], progress: Progress
) -> Iterator[BenchShop]:
    """Open shops, reading their logs the first time.

    Args:
        work: where the shop directories are kept.
        names: which.
        data: holds `online_retail.parquet` and `CDNOW_master.txt`.
        progress: told of the reading.
    """
    if "complete_journey" in names:
        yield BenchShop(
            name="complete_journey",
            shop=_complete_journey(work / "complete-journey", progress),
            train_cutoff=datetime(2017, 7, 1, tzinfo=UTC),
            test_cutoff=datetime(2017, 10, 1, tzinfo=UTC),
        )
    if "online_retail" in names:
        yield BenchShop(
            name="online_retail",
            shop=_online_retail(work / "online-retail", data / "online_retail.parquet", progress),
            train_cutoff=datetime(2011, 6, 10, tzinfo=UTC),
            test_cutoff=datetime(2011, 9, 9, tzinfo=UTC),
        )
    if "cdnow" in names:
        yield BenchShop(
            name="cdnow",
            shop=_cdnow(work / "cdnow", data / "CDNOW_master.txt", progress),
            train_cutoff=datetime(1997, 7, 1, tzinfo=UTC),
            test_cutoff=datetime(1998, 1, 1, tzinfo=UTC),
        )


def _complete_journey(directory: Path, progress: Progress) -> Shop:
    # Every item is a candidate here, tobacco and fuel too, for the peers know no rules.
    document = DEMO_SETTINGS.model_dump(mode="json", exclude_none=True)
    document["recommend"]["never_categories"] = []
    shop = _opened(directory, ShopSettings.model_validate(document))
    if shop.log.version() < 0:
        Catalogue(complete_journey.catalogue()).write(shop.items_file)
        transactions = directory / "transactions.parquet"
        complete_journey.write_transactions(transactions)
        ingest_file(shop, transactions, progress=progress)
        transactions.unlink()
    return shop


def _online_retail(directory: Path, source: Path, progress: Progress) -> Shop:
    settings = ShopSettings.model_validate(
        {
            "name": "Online Retail",
            "currency": "GBP",
            "timezone": "Europe/London",
            "churn": {"horizon_days": 91},
        }
    )
    shop = _opened(directory, settings)
    if shop.log.version() < 0:
        ingest_file(
            shop,
            source,
            column_map=_RETAIL_COLUMNS,
            max_bad_share=_RETAIL_BAD_ROWS,
            progress=progress,
        )
    return shop


def _cdnow(directory: Path, source: Path, progress: Progress) -> Shop:
    settings = ShopSettings.model_validate(
        {
            "name": "CDNOW",
            "currency": "USD",
            "timezone": "UTC",
            "churn": {"definition": "inactive", "horizon_days": 180},
        }
    )
    shop = _opened(directory, settings)
    if shop.log.version() < 0:
        purchases = directory / "purchases.csv"
        _write_cdnow(source, purchases)
        ingest_file(shop, purchases, progress=progress)
        purchases.unlink()
    return shop


def _write_cdnow(source: Path, target: Path) -> None:
    """Give each row of the file, which is a purchase, an order number; all items are CDs."""
    with source.open(encoding="ascii") as lines, target.open("w", encoding="ascii") as out:
        next(lines)
        writer = csv.writer(out)
        writer.writerow(["customer_id", "timestamp", "order_id", "item_id", "quantity", "amount"])
        for number, line in enumerate(lines):
            customer, day, quantity, amount = line.split()
            moment = f"{day[:4]}-{day[4:6]}-{day[6:]}"
            writer.writerow([customer, moment, number, "CD", quantity, float(amount)])


def _opened(directory: Path, settings: ShopSettings) -> Shop:
    if (directory / SETTINGS_FILE).exists():
        return Shop.open(directory)
    return Shop.create(directory, settings)
