"""What each customer did before a moment: orders, favourites, habits and returns, from the log."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from retrieval.event_log import EventLog

_TOP_ITEMS = 3
_FAVOURITES = 4
_SPAN = 15 * 24 * 60 * 60 * 10**6  # microseconds
_LEAST_POWER = -1000  # of two, so that no weight is rounded to nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order; `amount` in minor units, `top_items` by amount, highest first."""

    order_id: str
    timestamp: datetime
    amount: int
    item_count: int
    top_items: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerPast:
    """All that is known of one customer before `as_of`.

    Attributes:
        orders: oldest first; at least one.
        favourites: item ids with the number of orders that hold them, most first.
        units_a_line: median quantity of an order's line.
        kept_lately: of the items bought before the last 15 days, the share bought again in them;
            an item counts twice as much for each earlier 15 days that it was bought in, and half
            for each that it was not, since it first was (Gautrais et al., 2017, "Understanding
            Customer Attrition at an Individual Level"). 0 where fewer than two items were bought
            before: what is kept of one item, the orders say already.
        kept_before: the same 15 days earlier.
        returned: worth of returned goods, minor units, not negative.
        event_count: events before `as_of`, of any kind; with `last_event` it tells whether a
            stored text is still current.
    """

    customer_id: str
    as_of: datetime
    orders: tuple[Order, ...]
    favourites: tuple[tuple[str, int], ...]
    units_a_line: float
    kept_lately: float
    kept_before: float
    returned: int
    event_count: int
    last_event: datetime

    @property
    def spend(self) -> int:
        """Purchases before `as_of`, minor units; returns are not subtracted."""
        return sum(order.amount for order in self.orders)

    @property
    def first(self) -> datetime:
        """Moment of the first order."""
        return self.orders[0].timestamp

    @property
    def last(self) -> datetime:
        """Moment of the last order."""
        return self.orders[-1].timestamp


_PASTS = f"""
WITH past AS (
    SELECT * FROM events
    WHERE timestamp < $as_of
),
lines AS (
    SELECT customer_id, order_id, item_id,
           min(timestamp) AS timestamp, sum(amount)::BIGINT AS amount, sum(quantity) AS quantity
    FROM past WHERE kind = 'purchase' GROUP BY ALL
),
orders AS (
    SELECT customer_id, order_id, min(timestamp) AS timestamp, sum(amount)::BIGINT AS amount,
           count(*) AS item_count,
           list(item_id ORDER BY amount DESC, item_id)[:{_TOP_ITEMS}] AS top_items
    FROM lines GROUP BY ALL
),
histories AS (
    SELECT customer_id,
           list({{order_id: order_id, timestamp: timestamp, amount: amount,
                  item_count: item_count, top_items: top_items}}
                ORDER BY timestamp, order_id) AS orders
    FROM orders GROUP BY ALL
),
items AS (
    SELECT customer_id, item_id, count(DISTINCT order_id) AS orders, max(timestamp) AS last
    FROM lines GROUP BY ALL
),
favourites AS (
    SELECT customer_id,
           list({{item_id: item_id, orders: orders}}
                ORDER BY orders DESC, last DESC, item_id)[:{_FAVOURITES}] AS favourites
    FROM items WHERE orders > 1 GROUP BY ALL
),
units AS (
    SELECT customer_id, round(median(quantity), 9) AS units_a_line FROM lines GROUP BY ALL
),
spans AS (
    SELECT DISTINCT customer_id, item_id,
           (epoch_us($as_of) - epoch_us(timestamp)) // {_SPAN} AS span
    FROM lines
),
habits AS (
    SELECT customer_id, asked, bool_or(span = asked) AS kept,
           2 * count(*) FILTER (span > asked) - (max(span) - asked) AS power,
           pow(2, greatest(power, {_LEAST_POWER})) AS weight
    FROM spans, (VALUES (0), (1)) AS of (asked)
    GROUP BY customer_id, item_id, asked HAVING max(span) > asked
),
kept AS (
    -- Rounded: the last digits of a sum hang on the order in which it was added up.
    SELECT customer_id, asked, round(sum(weight) FILTER (kept) / sum(weight), 9) AS share
    FROM habits GROUP BY ALL HAVING count(*) > 1
),
totals AS (
    SELECT customer_id, count(*) AS event_count, max(timestamp) AS last_event,
           coalesce(-sum(amount) FILTER (kind = 'return'), 0)::BIGINT AS returned
    FROM past GROUP BY ALL
)
SELECT h.customer_id, h.orders, coalesce(f.favourites, []) AS favourites,
       u.units_a_line, coalesce(lately.share, 0) AS kept_lately,
       coalesce(earlier.share, 0) AS kept_before,
       t.returned, t.event_count, t.last_event
FROM histories h JOIN totals t USING (customer_id) JOIN units u USING (customer_id)
LEFT JOIN favourites f USING (customer_id)
LEFT JOIN kept lately ON lately.customer_id = h.customer_id AND lately.asked = 0
LEFT JOIN kept earlier ON earlier.customer_id = h.customer_id AND earlier.asked = 1
ORDER BY h.customer_id
"""


def read_pasts(
    log: EventLog, as_of: datetime, customer_ids: Iterable[str] | None = None
) -> Iterator[CustomerPast]:
    """Read what customers did before a moment, in the order of their ids.

    Args:
        log: the event log.
        as_of: exclusive; nothing from this moment on is read.
        customer_ids: whom to read; all customers with an order where None.

    Yields:
        One past a customer; customers without an order before `as_of` are left out.
    """
    table = log.query(
        _PASTS,
        {"as_of": as_of},
        customer_ids=None if customer_ids is None else sorted(set(customer_ids)),
    )
    for batch in table.to_batches(max_chunksize=512):
        yield from _pasts_of(batch, as_of)


def _pasts_of(batch: pa.RecordBatch, as_of: datetime) -> Iterator[CustomerPast]:
    for row in batch.to_pylist():
        yield CustomerPast(
            customer_id=row["customer_id"],
            as_of=as_of,
            orders=tuple(
                Order(
                    order_id=order["order_id"],
                    timestamp=order["timestamp"],
                    amount=order["amount"],
                    item_count=order["item_count"],
                    top_items=tuple(order["top_items"]),
                )
                for order in row["orders"]
            ),
            favourites=tuple((item["item_id"], item["orders"]) for item in row["favourites"]),
            units_a_line=row["units_a_line"],
            kept_lately=row["kept_lately"],
            kept_before=row["kept_before"],
            returned=max(0, row["returned"]),
            event_count=row["event_count"],
            last_event=row["last_event"],
        )
