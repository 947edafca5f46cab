"""The shops that benchmarks run on: real logs, read once into a working folder.

A working folder holds one shop directory a data set, without index or adapter.
"""

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
    """A real shop and the moment at which it is tested."""

    name: str
    shop: Shop
    test_cutoff: datetime


def open_bench_shops(
    work: Path, data: Path, names: Collection[str], progress: Progress
) -> Iterator[BenchShop]:
    """Open shops, reading their logs the first time.

    Args:
        work: where the shop directories are kept.
        names: which.
        data: holds `online_retail.parquet`.
        progress: told of the reading.
    """
    if "complete_journey" in names:
        yield BenchShop(
            name="complete_journey",
            shop=_complete_journey(work / "complete-journey", progress),
            test_cutoff=datetime(2017, 10, 1, tzinfo=UTC),
        )
    if "online_retail" in names:
        yield BenchShop(
            name="online_retail",
            shop=_online_retail(work / "online-retail", data / "online_retail.parquet", progress),
            test_cutoff=datetime(2011, 9, 9, tzinfo=UTC),
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


def _opened(directory: Path, settings: ShopSettings) -> Shop:
    if (directory / SETTINGS_FILE).exists():
        return Shop.open(directory)
    return Shop.create(directory, settings)
