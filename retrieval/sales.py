"""What sells and what is bought together: built with each index generation, then only read."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from retrieval.event_log import EventLog
from retrieval.shop import write_atomically

RECENT_DAYS = 28
_TOGETHER_NEIGHBOURS = 30
_FEWEST_ORDERS = 3

_ITEM_SALES = """
SELECT item_id,
       count(DISTINCT customer_id) AS customers,
       count(DISTINCT order_id) AS orders,
       count(DISTINCT customer_id) FILTER (timestamp >= $recent) AS recent_customers
FROM events WHERE kind = 'purchase' AND timestamp < $as_of
GROUP BY ALL
ORDER BY item_id
"""

_ORDER_ITEMS = """
WITH frequent AS (
    SELECT item_id FROM events
    WHERE kind = 'purchase' AND timestamp < $as_of
    GROUP BY item_id HAVING count(DISTINCT order_id) >= $fewest
)
SELECT DISTINCT dense_rank() OVER (ORDER BY order_id) - 1 AS order_number, item_id
FROM events JOIN frequent USING (item_id)
WHERE kind = 'purchase' AND timestamp < $as_of
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSales:
    """How one item sells; recent is the last four weeks."""

    item_id: str
    customers: int
    orders: int
    recent_customers: int


class Sales:
    """Sales by item, and item-to-item neighbours by orders they share.

    Attributes:
        items: by item id.
        together: cosine over orders, `[items, items]`, the strongest neighbours of each row.
    """

    def __init__(self, items: Mapping[str, ItemSales], together: Any) -> None:
        self.items = items
        self.ids = list(items)
        self.together = together

    @cached_property
    def position(self) -> dict[str, int]:
        """Row of each item in `together`."""
        return {item_id: row for row, item_id in enumerate(self.ids)}

    @cached_property
    def popular(self) -> list[str]:
        """Item ids by customers in the last weeks, then by all customers, most first."""
        return sorted(
            self.ids,
            key=lambda item_id: (
                -self.items[item_id].recent_customers,
                -self.items[item_id].customers,
                item_id,
            ),
        )

    def bought_with(self, item_id: str) -> list[tuple[str, float]]:
        """Items that share orders with this one, with the cosine, nearest first."""
        row = self.position.get(item_id)
        if row is None:
            return []
        start, end = self.together.indptr[row], self.together.indptr[row + 1]
        pairs = zip(self.together.indices[start:end], self.together.data[start:end], strict=True)
        neighbours = [(self.ids[column], float(value)) for column, value in pairs if column != row]
        return sorted(neighbours, key=lambda pair: (-pair[1], pair[0]))

    def write(self, folder: Path) -> None:
        """Write both structures into a generation's folder."""
        table = pa.table(
            {
                name: [getattr(item, name) for item in self.items.values()]
                for name in ItemSales.__dataclass_fields__
            },
            schema=_SALES_SCHEMA,
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write_atomically(folder / "sales.parquet", buffer.getvalue())
        buffer = io.BytesIO()
        sparse.save_npz(buffer, self.together)
        write_atomically(folder / "together.npz", buffer.getvalue())

    @classmethod
    def read(cls, folder: Path) -> "Sales":
        """Read what `write` wrote."""
        rows = pq.read_table(folder / "sales.parquet").to_pylist()
        items = {row["item_id"]: ItemSales(**row) for row in rows}
        return cls(items, sparse.load_npz(folder / "together.npz"))


_SALES_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("customers", pa.int64()),
        ("orders", pa.int64()),
        ("recent_customers", pa.int64()),
    ]
)


def build_sales(log: EventLog, as_of: datetime) -> Sales:
    """Count sales before a moment and find what is bought together.

    Neighbours are the cosine of items' order sets (Sarwar et al., 2001), by `implicit`.
    """
    rows = log.query(
        _ITEM_SALES, {"as_of": as_of, "recent": as_of - timedelta(days=RECENT_DAYS)}
    ).to_pylist()
    items = {row["item_id"]: ItemSales(**row) for row in rows}
    pairs = log.query(_ORDER_ITEMS, {"as_of": as_of, "fewest": _FEWEST_ORDERS})
    return Sales(items, _together(pairs, list(items)))


def _together(pairs: pa.Table, item_ids: list[str]) -> Any:
    # Imported here: only building needs it.
    from implicit.nearest_neighbours import CosineRecommender
    from implicit.utils import ParameterWarning

    if pairs.num_rows == 0:
        return sparse.csr_matrix((len(item_ids), len(item_ids)), dtype=np.float64)
    columns = pa.array(item_ids).dictionary_encode().dictionary
    item = np.asarray(pc.index_in(pairs["item_id"], value_set=columns))
    order = pairs["order_number"].to_numpy()
    matrix = sparse.csr_matrix(
        (np.ones(len(item)), (order, item)), shape=(int(order.max()) + 1, len(item_ids))
    )
    model = CosineRecommender(K=_TOGETHER_NEIGHBOURS + 1, num_threads=0)
    with warnings.catch_warnings():
        # It warns of the form in which it hands its own matrix on.
        warnings.simplefilter("ignore", ParameterWarning)
        model.fit(matrix.tocsr(), show_progress=False)
    return model.similarity.tocsr()
