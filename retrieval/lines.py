"""Bought lines as arrays: what candidate sources, features and rankings are learned from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrieval.event_log import EventLog
from retrieval.item_table import ItemTable

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_LINES = """
SELECT customer_id, order_id, item_id, epoch_us(min(timestamp)) AS time,
       sum(amount)::BIGINT AS amount, sum(quantity)::DOUBLE AS quantity
FROM events
WHERE kind = 'purchase' AND timestamp < $until
GROUP BY customer_id, order_id, item_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """One entry for each item of each order, by customer, then oldest first.

    Attributes:
        customer_ids: by customer number.
        customer: `[lines]` customer number.
        order: `[lines]` order number, unique over customers.
        item: `[lines]` row of the item table.
        time: `[lines]` microseconds since 1970, UTC.
        amount: `[lines]` minor units.
        quantity: `[lines]`.
    """

    customer_ids: Sequence[str]
    customer: Ints
    order: Ints
    item: Ints
    time: Ints
    amount: Ints
    quantity: NDArray[np.float64]

    def between(self, start: datetime | None, end: datetime) -> "Lines":
        """Lines in `[start, end)`; customers keep their numbers."""
        keep = self.time < microseconds(end)
        if start is not None:
            keep &= self.time >= microseconds(start)
        return self._where(keep)

    def without_items(self, items: Ints) -> "Lines":
        """Lines of all other items."""
        return self._where(~np.isin(self.item, items))

    def without_orders(self, orders: Ints) -> "Lines":
        """Lines of all other orders."""
        return self._where(~np.isin(self.order, orders))

    def of_customers(self, customers: Ints) -> "Lines":
        """Lines of some customers, who keep their numbers."""
        return self._where(np.isin(self.customer, customers))

    def of_last_orders(self) -> "Lines":
        """Lines of each customer's newest moment of purchase."""
        newest = np.zeros(len(self.customer_ids), dtype=np.int64)
        np.maximum.at(newest, self.customer, self.time)
        return self._where(self.time == newest[self.customer])

    def _where(self, keep: Any) -> "Lines":
        return Lines(
            customer_ids=self.customer_ids,
            customer=self.customer[keep],
            order=self.order[keep],
            item=self.item[keep],
            time=self.time[keep],
            amount=self.amount[keep],
            quantity=self.quantity[keep],
        )


def read_lines(log: EventLog, items: ItemTable, until: datetime) -> Lines:
    """Every line before a moment; items that the table lacks are left out."""
    table = log.query(_LINES, {"until": until})
    rows = items.rows_of(table["item_id"].combine_chunks())
    known = rows >= 0
    customer_ids, customer = _numbered(table["customer_id"])
    order_ids, order_number = _numbered(table["order_id"])
    # An order id may repeat among customers.
    order = np.unique(customer * max(1, len(order_ids)) + order_number, return_inverse=True)[1]
    time = table["time"].to_numpy()
    sort = np.lexsort((rows, order, time, customer))
    sort = sort[known[sort]]
    return Lines(
        customer_ids=customer_ids,
        customer=customer[sort],
        order=order[sort].astype(np.int64),
        item=rows[sort],
        time=time[sort],
        amount=table["amount"].to_numpy()[sort],
        quantity=table["quantity"].to_numpy()[sort],
    )


def _numbered(ids: Any) -> tuple[list[str], Ints]:
    """Distinct ids and each one's number among them, which follows their order.

    The log's query gives rows in any order; so the same log still gives the same arrays.
    """
    encoded = ids.combine_chunks().dictionary_encode()
    sorting = pc.sort_indices(encoded.dictionary)
    number = np.empty(len(sorting), dtype=np.int64)
    number[np.asarray(sorting)] = np.arange(len(sorting))
    return encoded.dictionary.take(sorting).to_pylist(), number[np.asarray(encoded.indices)]


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970."""
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
