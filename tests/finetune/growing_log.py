"""A small shop whose log grows: what was known, what came since, and what came since poisoned.

Customers have a pace of their own, from weekly to every other month, and go on buying at it. Who
will be silent for a month can be told from that, never for certain; that does not change with
time. Days count from 2024-01-01.
"""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from retrieval.ingest import ingest_file
from retrieval.shop import Shop, ShopSettings

CUSTOMERS = 180
HORIZON_DAYS = 30
KNOWN_DAYS, ALL_DAYS = 150, 240
"""The log that is known, and with the rows that come since: three horizons more."""

Row = tuple[str, float, int]
"""Customer, day and amount (minor units)."""


def rows(seed: int = 5) -> list[Row]:
    """What all customers do in all days."""
    chance = random.Random(seed)
    made = []
    for number in range(CUSTOMERS):
        pace = (6, 14, 45, 75)[number % 4] * chance.uniform(0.8, 1.25)
        day = chance.uniform(0, pace)
        while day < ALL_DAYS:
            made.append((f"c{number:03d}", day, round(chance.uniform(5, 15) * 6000 / pace)))
            day += pace * chance.uniform(0.6, 1.4)
    return made


def known(all_rows: list[Row]) -> list[Row]:
    return [row for row in all_rows if row[1] < KNOWN_DAYS]


def since(all_rows: list[Row]) -> list[Row]:
    return [row for row in all_rows if row[1] >= KNOWN_DAYS]


def poisoned(new: list[Row], share: float = 0.3, seed: int = 3) -> list[Row]:
    """Turn the labels of a share of the customers in new rows, month by month.

    Who bought in a month is made to look silent in it; who was silent is given a purchase.
    """
    chance = random.Random(seed)
    turned = {f"c{number:03d}" for number in range(CUSTOMERS) if chance.random() < share}
    kept = [row for row in new if row[0] not in turned]
    for start in range(KNOWN_DAYS, ALL_DAYS, HORIZON_DAYS):
        bought = {name for name, day, _ in new if start <= day < start + HORIZON_DAYS}
        kept += [
            (name, start + chance.uniform(0, HORIZON_DAYS), 4000)
            for name in sorted(turned - bought)
        ]
    return kept


def write_log(file: Path, log_rows: list[Row]) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["customer_id", "timestamp", "order_id", "item_id", "amount"])
        for name, day, amount in log_rows:
            moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)
            order = f"{name}-{day:.3f}"
            writer.writerow([name, moment.isoformat(), order, "milk", f"{amount / 100:.2f}"])
    return file


def known_shop(directory: Path, model: Path) -> Shop:
    """A shop that has read what is known, without adapter."""
    shop = Shop.create(
        directory,
        ShopSettings.model_validate(
            {
                "name": "Growing shop",
                "churn": {"definition": "inactive", "horizon_days": HORIZON_DAYS},
                "models": {"base": str(model), "embedder": "hash", "writer": "off"},
                "limits": {"history_tokens": 192},
            }
        ),
    )
    file = write_log(directory / "known.csv", known(rows()))
    ingest_file(shop, file)
    file.unlink()
    return shop
