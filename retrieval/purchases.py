"""What one customer bought, read from the log at the moment of asking."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from retrieval.baskets import Baskets, baskets_of
from retrieval.event_log import EventLog
from retrieval.events import AMOUNT, ITEM_ID, KIND, ORDER_ID, TIMESTAMP, Kind
from retrieval.item_table import ItemTable
from retrieval.lines import Lines, microseconds

_COLUMNS = (TIMESTAMP, ORDER_ID, ITEM_ID, AMOUNT, KIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One bought line of the customer: what a reason may cite."""

    item_id: str
    order_id: str
    timestamp: datetime
    amount: int


def purchases_of(log: EventLog, customer_id: str, as_of: datetime) -> list[Purchase]:
    """What a customer bought before a moment, oldest first."""
    rows = log.customer_events(customer_id, until=as_of, columns=_COLUMNS).to_pylist()
    return [
        Purchase(
            item_id=row["item_id"],
            order_id=row["order_id"],
            timestamp=row["timestamp"],
            amount=row["amount"],
        )
        for row in rows
        if row["kind"] == Kind.PURCHASE
    ]


def basket_variants(
    purchases: Sequence[Purchase],
    table: ItemTable,
    as_of: datetime,
    without: Sequence[frozenset[str]] = (frozenset(),),
) -> Baskets:
    """One customer's basket as the sources read it, once for each set of orders left out.

    Args:
        purchases: of the customer, oldest first; items that the table lacks are left out.
        table: the items.
        as_of: the moment of asking.
        without: order ids to leave out; one row of the result each.
    """
    known = [(table.row[p.item_id], p) for p in purchases if p.item_id in table.row]
    orders = {order: number for number, order in enumerate(sorted({p.order_id for _, p in known}))}
    lines: dict[tuple[int, int], int] = {}
    for row, purchase in known:
        # One line for each item of an order, at its first moment, as the log's query has it.
        lines.setdefault((orders[purchase.order_id], row), microseconds(purchase.timestamp))
    order = np.array([key[0] for key in lines], dtype=np.int64)
    item = np.array([key[1] for key in lines], dtype=np.int64)
    time = np.array(list(lines.values()), dtype=np.int64)
    sort = np.lexsort((item, order, time))
    order, item, time = order[sort], item[sort], time[sort]
    kept = [
        ~np.isin(order, [orders[name] for name in left_out if name in orders])
        for left_out in without
    ]
    size = len(orders)
    return baskets_of(
        Lines(
            customer_ids=[str(variant) for variant in range(len(without))],
            customer=np.concatenate([np.full(k.sum(), n) for n, k in enumerate(kept)]).astype(
                np.int64
            ),
            order=np.concatenate([order[k] + n * size for n, k in enumerate(kept)]),
            item=np.concatenate([item[k] for k in kept]),
            time=np.concatenate([time[k] for k in kept]),
            amount=np.zeros(sum(k.sum() for k in kept), dtype=np.int64),
            quantity=np.zeros(sum(k.sum() for k in kept)),
        ),
        as_of,
        len(table),
        np.arange(len(without)),
    )
