"""What customers bought before a moment, one row a customer, as the sources read it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.lines import Floats, Ints, Lines, microseconds

HALF_LIFE_DAYS = 60.0
_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Baskets:
    """Customers by what they bought, in compressed rows: pairs of customer and item.

    Attributes:
        items: number of columns, the rows of the item table.
        starts: `[customers + 1]` where each customer's pairs begin.
        item: `[pairs]` item rows, rising within a customer.
        orders: `[pairs]` orders that hold the item.
        taste: `[pairs]` the same, an order of d days ago counting `0.5 ** (d / 60)`.
        last: `[pairs]` days since the newest order that holds it.
        first: `[pairs]` days since the oldest.
        order_count: `[customers]` orders in all.
        last_order: `[customers]` days since the newest order.
        first_order: `[customers]` days since the oldest.
        line_starts: `[customers + 1]` where each customer's lines begin.
        line_item: `[lines]` items as they were bought, oldest first.
        line_order: `[lines]` numbers of their orders.
        line_days: `[lines]` days since they were bought.
    """

    items: int
    starts: Ints
    item: Ints
    orders: Floats
    taste: Floats
    last: Floats
    first: Floats
    order_count: Floats
    last_order: Floats
    first_order: Floats
    line_starts: Ints
    line_item: Ints
    line_order: Ints
    line_days: Floats

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def customer(self) -> Ints:
        """`[pairs]` row of each pair's customer."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def matrix(self, values: NDArray[Any]) -> Any:
        """Values of the pairs as a sparse matrix `[customers, items]`."""
        return sparse.csr_matrix(
            (values.astype(np.float32), self.item, self.starts), shape=(len(self), self.items)
        )

    def rows(self, start: int, end: int) -> "Baskets":
        """Some consecutive customers."""
        pairs = slice(self.starts[start], self.starts[end])
        lines = slice(self.line_starts[start], self.line_starts[end])
        return Baskets(
            items=self.items,
            starts=self.starts[start : end + 1] - self.starts[start],
            item=self.item[pairs],
            orders=self.orders[pairs],
            taste=self.taste[pairs],
            last=self.last[pairs],
            first=self.first[pairs],
            order_count=self.order_count[start:end],
            last_order=self.last_order[start:end],
            first_order=self.first_order[start:end],
            line_starts=self.line_starts[start : end + 1] - self.line_starts[start],
            line_item=self.line_item[lines],
            line_order=self.line_order[lines],
            line_days=self.line_days[lines],
        )


def baskets_of(lines: Lines, as_of: datetime, items: int, customers: Ints) -> Baskets:
    """Gather lines by customer and item.

    Args:
        lines: all before `as_of`.
        as_of: the moment that days are counted back from.
        items: rows of the item table.
        customers: `[customers]` rising numbers of the customers wanted, each a row of the result;
            one without a line has an empty row.
    """
    position = np.searchsorted(customers, lines.customer)
    position = np.minimum(position, max(0, len(customers) - 1))
    wanted = customers[position] == lines.customer if len(customers) else np.zeros(0, bool)
    customer, item = position[wanted], lines.item[wanted]
    order, time = lines.order[wanted], lines.time[wanted]
    days = ((microseconds(as_of) - time) / _DAY).astype(np.float32)
    count = len(customers)

    key = customer * items + item
    pairs, pair = np.unique(key, return_inverse=True)
    orders = np.bincount(pair, minlength=len(pairs)).astype(np.float32)
    taste = np.bincount(pair, 0.5 ** (days / HALF_LIFE_DAYS), minlength=len(pairs))
    last = np.full(len(pairs), np.inf, dtype=np.float32)
    np.minimum.at(last, pair, days)
    first = np.zeros(len(pairs), dtype=np.float32)
    np.maximum.at(first, pair, days)

    last_order = np.full(count, np.inf, dtype=np.float32)
    np.minimum.at(last_order, customer, days)
    first_order = np.zeros(count, dtype=np.float32)
    np.maximum.at(first_order, customer, days)
    each_order = np.unique(order, return_index=True)[1]
    return Baskets(
        items=items,
        starts=_starts(pairs // items, count),
        item=pairs % items,
        orders=orders,
        taste=taste.astype(np.float32),
        last=last,
        first=first,
        order_count=np.bincount(customer[each_order], minlength=count).astype(np.float32),
        last_order=last_order,
        first_order=first_order,
        line_starts=_starts(customer, count),
        line_item=item,
        line_order=order,
        line_days=days,
    )


def _starts(customer: Ints, count: int) -> Ints:
    """Where each customer begins in an array that is sorted by customer."""
    return np.concatenate(([0], np.cumsum(np.bincount(customer, minlength=count)))).astype(np.int64)
