"""The catalogue: what the shop sells. One Parquet file of items."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.errors import ShopError
from retrieval.shop import write_atomically

_OPTIONAL = ("cost", "stock")

ITEM_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),  # "" where unknown
        pa.field("price", pa.int64()),  # minor units; null where unknown
        pa.field("cost", pa.int64()),  # minor units; null where unknown
        pa.field("stock", pa.int64()),  # pieces; null where it is not kept
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing the shop sells.

    Attributes:
        price: minor units, None where unknown.
        cost: what it costs the shop, minor units, None where unknown.
        stock: pieces left, None where it is not kept; an item with none left is not shown.
    """

    item_id: str
    title: str
    category: str
    price: int | None
    cost: int | None = None
    stock: int | None = None

    @property
    def text(self) -> str:
        """What is embedded; items that share it share one vector."""
        return f"{self.title} ({self.category})" if self.category else self.title

    def over(self, older: "Item") -> "Item":
        """This item, with what it leaves unknown taken from an older record of it."""
        return Item(
            item_id=self.item_id,
            title=self.title if self.title != self.item_id else older.title,
            category=self.category or older.category,
            price=self.price if self.price is not None else older.price,
            cost=self.cost if self.cost is not None else older.cost,
            stock=self.stock if self.stock is not None else older.stock,
        )


class Catalogue:
    """Items by id."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: dict[str, Item] = {item.item_id: item for item in items}

    @classmethod
    def read(cls, file: Path) -> "Catalogue":
        """Read a catalogue; an absent file is an empty one.

        Raises:
            ShopError: the file is not a catalogue.
        """
        if not file.exists():
            return cls([])
        try:
            table = _with_optional_columns(pq.read_table(file))
            table = table.select(ITEM_SCHEMA.names).cast(ITEM_SCHEMA)
        except (pa.ArrowException, KeyError, OSError) as error:
            raise ShopError(
                f"{file} is not a catalogue: {error}.",
                hint="It needs the columns item_id, title, category and price (minor units).",
            ) from error
        return cls(Item(**row) for row in table.to_pylist())

    def write(self, file: Path) -> None:
        """Write the catalogue atomically, in the order of item ids."""
        rows = [self.items[item_id] for item_id in sorted(self.items)]
        table = pa.table(
            {name: [getattr(item, name) for item in rows] for name in ITEM_SCHEMA.names},
            schema=ITEM_SCHEMA,
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        write_atomically(file, buffer.getvalue())

    def merged(self, newer: Iterable[Item]) -> "Catalogue":
        """This catalogue with newer items put over it; an unknown value never hides a known one."""
        items = dict(self.items)
        for item in newer:
            old = items.get(item.item_id)
            items[item.item_id] = item if old is None else item.over(old)
        return Catalogue(items.values())

    def title(self, item_id: str) -> str:
        """The item's title, or its id where the catalogue lacks it."""
        item = self.items.get(item_id)
        return item.title if item else item_id

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """All categories, sorted, without the empty one."""
        return tuple(sorted({item.category for item in self.items.values()} - {""}))

    def __len__(self) -> int:
        return len(self.items)


def _with_optional_columns(table: pa.Table) -> pa.Table:
    """The table with the columns that an older or simpler catalogue need not have."""
    for name in _OPTIONAL:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.int64()))
    return table
