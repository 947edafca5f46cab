"""The tiny shop's first customers, ingested and indexed, without an adapter."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agent.offer_file import write_offers
from agent.offers import OfferBook
from finetune.indexing import index_shop
from retrieval.catalogue import Catalogue
from retrieval.ingest import ingest_file
from retrieval.shop import Shop
from tests.tiny_shop import ITEMS, events, offers, settings


def build_untrained_shop(directory: Path, model: Path, customers: int = 12) -> Shop:
    shop = Shop.create(directory, settings(model))
    Catalogue(ITEMS).write(shop.items_file)
    write_offers(shop.offers_file, OfferBook(offers(), currency="USD"), shop.zone)
    source = directory / "events.parquet"
    first = [row for row in events() if int(str(row["customer_id"])[1:]) < customers]
    pq.write_table(pa.Table.from_pylist(first), source)
    ingest_file(shop, source)
    source.unlink()
    index_shop(shop)
    return shop
