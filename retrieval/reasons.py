"""Why an item is shown: reasons that are computed, not narrated.

A reason that cites orders is used only if it survives the deletion test: without the cited orders
the item's score must fall. Of those that pass, own repeats come first, then the largest fall.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from retrieval.assortment import Assortment
from retrieval.baskets import Baskets
from retrieval.catalogue import Catalogue
from retrieval.counting_sources import RECENT_DAYS
from retrieval.evidence import Evidence, order_evidence, sales_evidence
from retrieval.item_neighbours import Ease, ItemNeighbours
from retrieval.lines import Floats
from retrieval.purchases import Purchase, basket_variants
from retrieval.recommender import Recommender
from retrieval.source_names import SourceName
from retrieval.text_similarity import Similar

_SHOWN_ORDERS = 2
_NEAR_TEXT = 0.6  # cosine from which texts are called similar


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One sentence and what it rests on.

    Attributes:
        source: the signal that the reason names.
        text: one sentence, true by construction.
        cites: ids of all the customer's orders that the reason rests on.
        evidence: the records that hold every figure of the text.
        fall: how much the item's score falls without the cited orders; 0 where none is cited.
    """

    source: SourceName
    text: str
    cites: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    fall: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A reason to be tested: the customer's own item that led to the shown one."""

    item: int
    source: SourceName
    because: str
    orders: frozenset[str]


def explain(
    recommender: Recommender,
    assortment: Assortment,
    catalogue: Catalogue,
    purchases: Sequence[Purchase],
    basket: Baskets,
    rows: Sequence[int],
    as_of: datetime,
    *,
    new_only: bool,
) -> list[Reason]:
    """Say why each of some items is shown to one customer.

    Args:
        recommender: that ranked them.
        assortment: the shop's items.
        catalogue: for titles.
        purchases: of the customer, oldest first.
        basket: the same, one row.
        rows: item rows that are shown.
        as_of: the moment of asking.
        new_only: whether they were ranked among new items alone.
    """
    claims = [claim for row in rows for claim in _claims(recommender, purchases, basket, row)]
    falls = _falls(recommender, purchases, as_of, claims, basket, new_only=new_only)
    reasons = []
    for row in rows:
        passed = [
            (claim, fall)
            for claim, fall in zip(claims, falls, strict=True)
            if claim.item == row and fall > 0
        ]
        if not passed:
            reasons.append(_without_orders(recommender, assortment, row, as_of))
            continue
        claim, fall = max(passed, key=lambda pair: (pair[0].source is SourceName.OWN, pair[1]))
        shown = assortment.item(row).title
        reasons.append(_with_orders(claim, fall, shown, purchases, catalogue, as_of))
    return reasons


def _claims(
    recommender: Recommender, purchases: Sequence[Purchase], basket: Baskets, row: int
) -> list[_Claim]:
    """The own item itself, and the own item that each source's score mostly comes from."""
    item_id = recommender.table.ids[row].as_py()
    seeds: dict[str, SourceName] = {}
    if any(purchase.item_id == item_id for purchase in purchases):
        seeds[item_id] = SourceName.OWN
    together = recommender.sources.get(SourceName.TOGETHER)
    for source in recommender.sources.values():
        if isinstance(source, ItemNeighbours | Similar):
            parts = source.parts(basket, 0, row)
            if isinstance(source, Ease):
                # Its weights may be those of items that no customer bought both of.
                if not isinstance(together, ItemNeighbours):
                    continue
                parts = np.where(together.parts(basket, 0, row) > 0, parts, 0.0)
            seed = _strongest_part(parts, basket, row)
            if seed is None or (isinstance(source, Similar) and not _near(source, seed, row)):
                continue
            name = SourceName.SIMILAR if isinstance(source, Similar) else SourceName.TOGETHER
            seeds.setdefault(recommender.table.ids[seed].as_py(), name)
    return [
        _Claim(
            item=row,
            source=source,
            because=because,
            orders=frozenset(p.order_id for p in purchases if p.item_id == because),
        )
        for because, source in seeds.items()
    ]


def _strongest_part(parts: Floats, basket: Baskets, row: int) -> int | None:
    """Row of the own item, other than the shown one, that adds most; None where none adds."""
    parts = np.where(basket.item == row, 0.0, parts)
    if len(parts) == 0 or parts.max() <= 0:
        return None
    return int(basket.item[int(np.argmax(parts))])


def _near(source: Similar, seed: int, row: int) -> bool:
    return bool(source.similarity(np.array([seed, row]))[0, 1] >= _NEAR_TEXT)


def _falls(
    recommender: Recommender,
    purchases: Sequence[Purchase],
    as_of: datetime,
    claims: Sequence[_Claim],
    basket: Baskets,
    *,
    new_only: bool,
) -> list[float]:
    """How much each claimed item's score falls when the claim's orders are left out."""
    if not claims:
        return []
    items = np.array([claim.item for claim in claims], dtype=np.int64)
    shown, place = np.unique(items, return_inverse=True)
    whole = recommender.score_pairs(
        basket, np.zeros(len(shown), dtype=np.int64), shown, new_only=new_only
    )
    variants = list(dict.fromkeys(claim.orders for claim in claims))
    baskets = basket_variants(purchases, recommender.table, as_of, variants)
    rows = np.array([variants.index(claim.orders) for claim in claims], dtype=np.int64)
    left = recommender.score_pairs(baskets, rows, items, new_only=new_only)
    return [float(fall) for fall in whole[place] - left]


def _with_orders(
    claim: _Claim,
    fall: float,
    shown: str,
    purchases: Sequence[Purchase],
    catalogue: Catalogue,
    as_of: datetime,
) -> Reason:
    """The reason of a claim that passed, for an item of the title `shown`."""
    title = catalogue.title(claim.because)
    bought = _newest_orders(purchases, claim.because)
    last, first = bought[0], bought[-1]
    cited = [order_evidence(purchase, title) for purchase in bought[:_SHOWN_ORDERS]]
    when = f"{last.timestamp:%Y-%m-%d} (order {last.order_id})"
    if claim.source is SourceName.OWN:
        every, ago = _rhythm(bought), _ago(last, as_of)
        text = f"Bought {_times(len(bought))}{every}, last on {when}{ago}."
        record = (
            f"orders that hold {title}: {len(bought)}{every}{ago}, the first on "
            f"{first.timestamp:%Y-%m-%d} (order {first.order_id})"
        )
        cited.append(sales_evidence(f"{claim.because}:own", record))
    elif title == shown:
        text = f"Another kind of {title}, which was bought on {when}."
    elif claim.source is SourceName.SIMILAR:
        text = f"Similar to {title}, bought on {when}."
    else:
        text = f"Bought by others who buy {title}, which was bought on {when}."
    return Reason(
        source=claim.source,
        text=text,
        cites=tuple(purchase.order_id for purchase in bought),
        evidence=tuple(cited),
        fall=fall,
    )


def _times(orders: int) -> str:
    return "once" if orders == 1 else f"in {orders} orders"


def _rhythm(bought: Sequence[Purchase]) -> str:
    """How often, where three orders or more show a habit."""
    span = bought[0].timestamp - bought[-1].timestamp
    gap = round(span.total_seconds() / 86_400 / max(1, len(bought) - 1))
    if len(bought) < 3 or gap < 1:
        return ""
    return f", about every {_days(gap)}"


def _ago(last: Purchase, as_of: datetime) -> str:
    days = (as_of - last.timestamp).days
    return f", {_days(days)} ago" if days >= 1 else ""


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"


def _newest_orders(purchases: Sequence[Purchase], item_id: str) -> list[Purchase]:
    orders: dict[str, Purchase] = {}
    for purchase in purchases:
        if purchase.item_id == item_id:
            orders[purchase.order_id] = purchase
    return list(reversed(orders.values()))


def _without_orders(
    recommender: Recommender, assortment: Assortment, row: int, as_of: datetime
) -> Reason:
    """How the item sells: a reason that rests on no order of the customer."""
    item = assortment.item(row)
    recent = int(recommender.sales.recent_customers[row])
    ever = int(recommender.sales.customers[row])
    record = sales_evidence(
        item.item_id,
        f"customers by {recommender.as_of:%Y-%m-%d}: {recent} in {RECENT_DAYS} days, {ever} in all",
    )
    counted = f"{recommender.as_of:%Y-%m-%d}"
    current = as_of - recommender.as_of < timedelta(days=1)
    if item.item_id in assortment.rules.pin_items:
        text = "The shop features it."
        record = sales_evidence(f"{item.item_id}:pinned", "recommend.pin_items in shop.toml")
    elif recent:
        when = f"last {RECENT_DAYS} days" if current else f"{RECENT_DAYS} days to {counted}"
        text = f"{_customers(recent)} bought it in the {when}."
    elif ever:
        text = f"{_customers(ever)} {'has' if ever == 1 else 'have'} bought it."
    elif current:
        text = "New here: it has not been sold yet."
    else:
        text = f"It had not been sold by {counted}."
    return Reason(source=SourceName.POPULAR, text=text, cites=(), evidence=(record,))


def _customers(count: int) -> str:
    return f"{count} customer{'' if count == 1 else 's'}"
