"""What the rules may know of customers, from the log and the predictions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow.parquet as pq

from agent.errors import OfferError
from agent.offers import OfferCustomer
from finetune.batch_scoring import PREDICTIONS_FILE
from retrieval.catalogue import Catalogue
from retrieval.events import Kind
from retrieval.money import to_minor
from retrieval.orders import CustomerPast, read_pasts
from retrieval.shop import Shop

_CHUNK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOfferCustomer:
    """A customer with an order, for the rules and for the effects."""

    customer: OfferCustomer
    past: CustomerPast


def offer_customer(
    customer_id: str, bought: Iterable[tuple[str, str]], catalogue: Catalogue, **predicted: Any
) -> OfferCustomer:
    """What the rules may know of a customer with an order.

    Args:
        customer_id: whom.
        bought: order id and item id of everything that the customer bought.
        catalogue: says which categories the items are of.
        predicted: value tier, churn risk, stage and expected spend.
    """
    items: set[str] = set()
    orders: dict[str, set[str]] = {}
    for order_id, item_id in bought:
        items.add(item_id)
        item = catalogue.items.get(item_id)
        if item is not None and item.category:
            orders.setdefault(item.category, set()).add(order_id)
    return OfferCustomer(
        customer_id=customer_id,
        bought_categories={name: len(each) for name, each in orders.items()},
        bought_items=frozenset(items),
        **predicted,
    )


def scored_customers(shop: Shop, as_of: datetime) -> dict[str, dict[str, Any]]:
    """The rows of the shop's own predictions, by customer.

    Args:
        shop: the shop.
        as_of: the moment that they must be of.

    Raises:
        OfferError: there are none, or they are of another moment.
    """
    file = shop.directory / PREDICTIONS_FILE
    hint = f"Score customers first: patron score --shop {shop.directory}"
    if not file.exists():
        raise OfferError(f"{file} does not exist, so nobody's risk is known.", hint=hint)
    columns = ["customer_id", "as_of", "value_tier", "churn_risk", "stage", "expected_spend"]
    rows = pq.read_table(file, columns=columns).to_pylist()
    if rows and rows[0]["as_of"] != as_of:
        raise OfferError(
            f"{file} is of {rows[0]['as_of']:%Y-%m-%d %H:%M:%S} UTC, but the log goes on until "
            f"{as_of:%Y-%m-%d %H:%M:%S} UTC.",
            hint=hint,
        )
    return {row["customer_id"]: row for row in rows}


def known_customers(
    shop: Shop, catalogue: Catalogue, scored: Mapping[str, dict[str, Any]], as_of: datetime
) -> Iterator[KnownOfferCustomer]:
    """Every scored customer, in the order of `scored`, some hundreds in memory.

    Args:
        shop: the shop.
        catalogue: its items.
        scored: rows of `scored_customers`.
        as_of: nothing from this moment on is read.
    """
    ids = list(scored)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        bought = _bought(shop, chunk, as_of)
        pasts = {past.customer_id: past for past in read_pasts(shop.log, as_of, chunk)}
        for customer_id in chunk:
            row = scored[customer_id]
            yield KnownOfferCustomer(
                customer=offer_customer(
                    customer_id,
                    bought[customer_id],
                    catalogue,
                    value_tier=row["value_tier"],
                    churn_risk=row["churn_risk"],
                    stage=row["stage"],
                    expected_spend=to_minor(row["expected_spend"], shop.settings.currency),
                ),
                past=pasts[customer_id],
            )


def _bought(
    shop: Shop, customer_ids: Sequence[str], as_of: datetime
) -> dict[str, list[tuple[str, str]]]:
    table = shop.log.query(
        "SELECT DISTINCT customer_id, order_id, item_id FROM events "
        f"WHERE kind = '{Kind.PURCHASE}' AND timestamp < $as_of",
        {"as_of": as_of},
        customer_ids=customer_ids,
    )
    found: dict[str, list[tuple[str, str]]] = {each: [] for each in customer_ids}
    columns = (table[name].to_pylist() for name in ("customer_id", "order_id", "item_id"))
    for customer_id, order_id, item_id in zip(*columns, strict=True):
        found[customer_id].append((order_id, item_id))
    return found
