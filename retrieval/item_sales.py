"""How each item sells, counted before a moment: `[items]` arrays beside the item table."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.counting_sources import RECENT_DAYS, customers_by_item
from retrieval.lines import Floats, Lines, microseconds
from retrieval.sources import load_array, save_arrays

_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSales:
    """Counts and habits of items; every array is `[items]`.

    Attributes:
        customers: who ever bought it.
        recent_customers: who bought it in the last four weeks.
        repeat_share: of its customers, those with two orders of it or more.
        usual_gap: days between a repeating customer's orders of it, on average; NaN where unknown.
        unit_price: minor units paid for one, on average; NaN where it never sold.
        last_sold: days since it last sold; NaN where it never did.
        first_sold: days since it first sold; NaN where it never did.
    """

    customers: Floats
    recent_customers: Floats
    repeat_share: Floats
    usual_gap: Floats
    unit_price: Floats
    last_sold: Floats
    first_sold: Floats

    def save(self, folder: Path) -> None:
        """Write each array into a file of its own."""
        save_arrays(folder, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, folder: Path) -> "ItemSales":
        """Read the arrays; they stay on disk until they are needed."""
        return cls(**{field.name: load_array(folder, field.name) for field in fields(cls)})


def item_sales(lines: Lines, items: int, as_of: datetime) -> ItemSales:
    """Count how items sell.

    Args:
        lines: all before `as_of`.
        items: rows of the item table.
        as_of: the moment that days are counted back from.
    """
    customers = customers_by_item(lines, items)
    recent = lines.between(as_of - timedelta(days=RECENT_DAYS), as_of)
    pairs, pair = np.unique(lines.customer * items + lines.item, return_inverse=True)
    orders = np.bincount(pair, minlength=len(pairs))
    days = (microseconds(as_of) - lines.time) / _DAY
    last, first = np.full(len(pairs), np.inf), np.zeros(len(pairs))
    np.minimum.at(last, pair, days)
    np.maximum.at(first, pair, days)
    item = pairs % items
    repeats = orders > 1
    gaps = np.bincount(
        item[repeats], ((first - last) / np.maximum(orders - 1, 1))[repeats], minlength=items
    )
    repeating = np.bincount(item[repeats], minlength=items)
    sold, first_sold = np.full(items, np.inf), np.full(items, -np.inf)
    np.minimum.at(sold, item, last)
    np.maximum.at(first_sold, item, first)
    amount = np.bincount(lines.item, lines.amount, minlength=items)
    quantity = np.bincount(lines.item, lines.quantity, minlength=items)
    return ItemSales(
        customers=customers,
        recent_customers=customers_by_item(recent, items),
        repeat_share=(repeating / np.maximum(customers, 1)).astype(np.float32),
        usual_gap=_share(gaps, repeating),
        unit_price=_share(amount, quantity),
        last_sold=np.where(np.isfinite(sold), sold, np.nan).astype(np.float32),
        first_sold=np.where(np.isfinite(first_sold), first_sold, np.nan).astype(np.float32),
    )


def _share(total: Any, count: Any) -> Floats:
    return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan).astype(np.float32)
