"""Evidence: the records that a claim rests on, in the words in which they may be shown."""

from dataclasses import dataclass

from retrieval.catalogue import Item
from retrieval.money import format_money
from retrieval.purchases import Purchase


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One record.

    Attributes:
        id: what kind of record and which, such as `order:31198570044`.
        text: what the record says; every number or name that is shown stands in such a text.
    """

    id: str
    text: str


def order_evidence(purchase: Purchase, title: str) -> Evidence:
    """A line of an order of the customer."""
    return Evidence(
        id=f"order:{purchase.order_id}",
        text=f"order {purchase.order_id} on {purchase.timestamp:%Y-%m-%d}: {title}",
    )


def item_evidence(item: Item, currency: str) -> Evidence:
    """A catalogue entry."""
    price = f", {format_money(item.price, currency)}" if item.price is not None else ""
    category = f" ({item.category})" if item.category else ""
    return Evidence(id=f"item:{item.item_id}", text=f"{item.title}{category}{price}")


def sales_evidence(key: str, text: str) -> Evidence:
    """A count over the event log."""
    return Evidence(id=f"log:{key}", text=text)
