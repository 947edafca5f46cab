"""What the ranker reads of a customer and a candidate: one row of numbers a pair."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.baskets import Baskets
from retrieval.item_sales import ItemSales
from retrieval.item_table import ItemTable
from retrieval.lines import Floats, Ints
from retrieval.source_names import SourceName
from retrieval.sources import scores_at, values_at

OWN_FEATURES = (
    "own_orders", "own_taste", "own_last", "own_first", "own_share", "own_rate",
    "own_gap", "own_lateness", "own_in_last_order",
)  # fmt: skip
ITEM_FEATURES = (
    "item_customers", "item_recent", "item_trend", "item_repeat_share", "item_gap",
    "item_price", "item_last_sold", "item_first_sold", "item_gap_lateness",
)  # fmt: skip
CUSTOMER_FEATURES = ("orders", "last_order", "first_order", "items", "items_an_order", "order_gap")
AFFINITY_FEATURES = ("category_taste", "category_share", "text_taste", "price_fit")


def feature_names(sources: tuple[SourceName, ...]) -> tuple[str, ...]:
    """Names of the columns that `features` makes."""
    scored = [name for source in sources for name in (f"{source}", f"{source} for each bought")]
    return (*OWN_FEATURES, *ITEM_FEATURES, *CUSTOMER_FEATURES, *AFFINITY_FEATURES, *scored)


def features(
    table: ItemTable,
    sales: ItemSales,
    baskets: Baskets,
    scores: Mapping[SourceName, Floats],
    customer: Ints,
    item: Ints,
) -> NDArray[np.float32]:
    """Describe pairs of customer and candidate.

    Args:
        table: the items.
        sales: how they sold before the baskets' moment.
        baskets: what the customers bought.
        scores: of each source, `[pairs]`.
        customer: `[pairs]` rows of the baskets.
        item: `[pairs]` rows of the item table.

    Returns:
        `[pairs, features]`, NaN where something is unknown, columns as `feature_names` has them.
    """
    columns = [
        *_own(baskets, customer, item),
        *_item(sales, item),
        *(column[customer] for column in _customer(baskets)),
        *_affinity(table, sales, baskets, customer, item),
    ]
    own_last = columns[OWN_FEATURES.index("own_last")]
    gap = columns[len(OWN_FEATURES) + ITEM_FEATURES.index("item_gap")]
    with np.errstate(divide="ignore"):
        item_gap_lateness = own_last / gap
    columns.insert(len(OWN_FEATURES) + ITEM_FEATURES.index("item_gap_lateness"), item_gap_lateness)
    bought = np.maximum(np.diff(baskets.starts), 1)[customer]
    for score in scores.values():
        # A score grows with the number of bought items; divided by it, customers compare.
        columns += [score, score / bought]
    return np.column_stack(columns).astype(np.float32)


def _own(baskets: Baskets, customer: Ints, item: Ints) -> list[Any]:
    keys = baskets.customer * baskets.items + baskets.item
    wanted = customer * baskets.items + item
    orders = values_at(keys, baskets.orders, wanted)
    taste = values_at(keys, baskets.taste, wanted)
    last = values_at(keys, baskets.last, wanted, absent=np.nan)
    first = values_at(keys, baskets.first, wanted, absent=np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(orders > 1, (first - last) / (orders - 1), np.nan)
        share = orders / np.maximum(baskets.order_count[customer], 1)
        rate = np.where(orders > 0, orders / np.maximum(first, 7.0), 0.0)
        lateness = last / np.maximum(gap, 1.0)
    newest = np.where(orders > 0, last <= baskets.last_order[customer] + 1e-3, False)
    return [orders, taste, last, first, share, rate, gap, lateness, newest]


def _item(sales: ItemSales, item: Ints) -> list[Any]:
    customers, recent = sales.customers[item], sales.recent_customers[item]
    return [
        np.log1p(customers),
        np.log1p(recent),
        recent / np.maximum(customers, 1),
        sales.repeat_share[item],
        sales.usual_gap[item],
        np.log1p(sales.unit_price[item]),
        sales.last_sold[item],
        sales.first_sold[item],
    ]


def _customer(baskets: Baskets) -> list[Any]:
    orders = baskets.order_count
    lines = np.diff(baskets.line_starts)
    span = baskets.first_order - baskets.last_order
    with np.errstate(invalid="ignore"):
        gap = np.where(orders > 1, span / np.maximum(orders - 1, 1), np.nan)
    return [
        orders,
        np.where(orders > 0, baskets.last_order, np.nan),
        baskets.first_order,
        np.diff(baskets.starts),
        lines / np.maximum(orders, 1),
        gap,
    ]


def _affinity(
    table: ItemTable, sales: ItemSales, baskets: Baskets, customer: Ints, item: Ints
) -> list[Any]:
    taste = baskets.matrix(baskets.taste)
    own = values_at(
        baskets.customer * baskets.items + baskets.item,
        baskets.taste,
        customer * baskets.items + item,
    )
    total = np.asarray(taste.sum(axis=1)).ravel()[customer]
    category = _grouped(taste, table.category, customer, item)
    text = _grouped(taste, table.text, customer, item)
    price = np.log1p(np.nan_to_num(sales.unit_price[baskets.item], nan=0.0))
    spent = np.bincount(baskets.customer, price * baskets.taste, minlength=len(baskets))
    weight = np.bincount(baskets.customer, baskets.taste, minlength=len(baskets))
    usual = spent / np.maximum(weight, 1e-9)
    fit = np.log1p(sales.unit_price[item]) - usual[customer]
    return [category - own, category / np.maximum(total, 1e-9), text - own, fit]


def _grouped(taste: Any, group: NDArray[np.int32], customer: Ints, item: Ints) -> Floats:
    """Taste for all items of a candidate's group."""
    coo = taste.tocoo()
    groups = int(group.max(initial=0)) + 1
    gathered = sparse.csr_matrix(
        (coo.data, (coo.row, group[coo.col])), shape=(taste.shape[0], groups)
    )
    gathered.sum_duplicates()
    return scores_at(gathered, customer, group[item].astype(np.int64))
