"""The event: one row of the log, and the one vocabulary of its columns."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import pyarrow as pa

CUSTOMER_ID = "customer_id"
TIMESTAMP = "timestamp"
ORDER_ID = "order_id"
ITEM_ID = "item_id"
QUANTITY = "quantity"
AMOUNT = "amount"
KIND = "kind"
EVENT_ID = "event_id"
SOURCE = "source"
LINE = "line"


class Kind(StrEnum):
    """What happened. Only a `PURCHASE` is spend."""

    PURCHASE = "purchase"
    RETURN = "return"
    VIEW = "view"
    MESSAGE = "message"


EVENT_SCHEMA = pa.schema(
    [
        pa.field(CUSTOMER_ID, pa.string(), nullable=False),
        pa.field(TIMESTAMP, pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field(ORDER_ID, pa.string(), nullable=False),
        pa.field(ITEM_ID, pa.string(), nullable=False),
        pa.field(QUANTITY, pa.float64(), nullable=False),
        pa.field(AMOUNT, pa.int64(), nullable=False),  # minor units of the shop's currency
        pa.field(KIND, pa.string(), nullable=False),
        pa.field(EVENT_ID, pa.string(), nullable=False),
        pa.field(SOURCE, pa.string(), nullable=False),  # file name the row came from
        pa.field(LINE, pa.int64(), nullable=False),  # physical line (1 is the first) in it
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, as `Agent.observe` takes it.

    Attributes:
        timestamp: aware; stored as UTC.
        amount: minor units of the shop's currency (cents); 0 for events that are not sales.
    """

    customer_id: str
    timestamp: datetime
    order_id: str
    item_id: str
    quantity: float = 1.0
    amount: int = 0
    kind: Kind = Kind.PURCHASE
