"""A shop in New York whose customers buy exactly what a test says, and an experiment on it."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from agent.experiment_files import make_experiment
from agent.experiments import Experiment
from retrieval.events import EVENT_SCHEMA
from retrieval.shop import Shop, ShopSettings

START = date(2024, 6, 1)


def new_shop(directory: Path) -> Shop:
    return Shop.create(directory, ShopSettings(timezone="America/New_York"))


def buy(shop: Shop, purchases: Iterable[tuple[str, datetime, int]]) -> None:
    """Append purchases: customer, moment and amount in cents."""
    rows = [
        {
            "customer_id": customer_id,
            "timestamp": moment,
            "order_id": f"o{number}",
            "item_id": "milk",
            "quantity": 1.0,
            "amount": amount,
            "kind": "purchase",
            "event_id": f"{customer_id}-{number}",
            "source": "test",
            "line": number,
        }
        for number, (customer_id, moment, amount) in enumerate(purchases)
    ]
    shop.log.append(pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), source="test")


def noon(day: date) -> datetime:
    """Midday in New York, in June."""
    return datetime(day.year, day.month, day.day, 16, tzinfo=UTC)


def days_after(days: int) -> date:
    return START + timedelta(days=days)


def experiment(**changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "experiment_id": "spring",
        "offers": ["tea"],
        "holdout_share": 0.5,
        "metric": "spend",
        "written": "2024-05-20",
        "starts": START,
        "enrolment_days": 10,
        "horizon_days": 20,
        "minimum_effect": 0.1,
        "power": 0.8,
        "alpha": 0.05,
        "margin": 0.5,
        "salt": "spring",
        "covers": "all customers",
        "customer_ids": None,
        "planned_customers": 400,
    }
    return make_experiment(values | changes)
