"""Pasts, prompts and models made by hand, small enough to work out what must come out."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from finetune.base_model import find_base_model, load_base_model, token_ids
from finetune.slots import Slots, build_slots, encode_prompt
from finetune.training import TrainingExample, TrainingSettings
from retrieval.events import EVENT_SCHEMA
from retrieval.orders import CustomerPast, Order

DAY_ZERO = datetime(2024, 1, 1, tzinfo=UTC)
TIERS = ("low", "middle", "high")


def day(number: float) -> datetime:
    return DAY_ZERO + timedelta(days=number)


def past_of(
    orders: Sequence[tuple[float, int]], *, as_of: float, customer_id: str = "c1"
) -> CustomerPast:
    """A past from (day, amount) pairs."""
    return CustomerPast(
        customer_id=customer_id,
        as_of=day(as_of),
        orders=tuple(
            Order(
                order_id=f"{customer_id}-{number}",
                timestamp=day(when),
                amount=amount,
                item_count=1,
                top_items=("milk",),
            )
            for number, (when, amount) in enumerate(orders)
        ),
        favourites=(),
        units_a_line=1.0,
        kept_lately=0.0,
        kept_before=0.0,
        returned=0,
        event_count=len(orders),
        last_event=day(orders[-1][0]),
    )


def event_table(rows: Sequence[tuple[str, float, int, str]]) -> pa.Table:
    """Events from (customer, day, amount, kind)."""
    return pa.Table.from_pylist(
        [
            {
                "customer_id": customer_id,
                "timestamp": day(when),
                "order_id": f"{customer_id}-{when}",
                "item_id": "milk",
                "quantity": 1.0,
                "amount": amount,
                "kind": kind,
                "event_id": f"{customer_id}-{when}-{kind}",
                "source": "made by hand",
                "line": line,
            }
            for line, (customer_id, when, amount, kind) in enumerate(rows, start=2)
        ],
        schema=EVENT_SCHEMA,
    )


def model_and_slots(folder: Path) -> tuple[Any, Slots]:
    """A fresh tiny model: training changes the one it is given."""
    files = find_base_model(str(folder))
    return load_base_model(files), build_slots(files, TIERS)


def examples(
    folder: Path, count: int, *, first: int = 0, contrary: bool = False
) -> list[TrainingExample]:
    """Prompts of many lengths whose answers stand in their words; the opposite if `contrary`."""
    files = find_base_model(str(folder))
    slots = build_slots(files, TIERS)
    made = []
    for number in range(first, first + count):
        late, tier = number % 2 == 0, number % 3
        text = (
            f"Last order {number} days ago: {'very late' if late else 'on time'}.\n"
            f"Spend last 60 days {('far lower', 'as', 'far higher')[tier]} usual.\n"
            + "Often buys Milk.\n"
            * (number % 5)
        )
        made.append(
            TrainingExample(
                prompt=tuple(encode_prompt(files, slots, text)),
                tier=2 - tier if contrary else tier,
                churned=int(late is not contrary),
            )
        )
    return made


def tokens(folder: Path, text: str) -> list[int]:
    return token_ids(find_base_model(str(folder)), text)


SMALL_RUN = TrainingSettings(epochs=2, batch_size=4, learning_rate=2e-3)
