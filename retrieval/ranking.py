"""From candidates to recommendations: fuse, filter, rank, and say why, citing orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrieval.candidates import SOURCES, Candidate, CandidateContext, Purchase, Source
from retrieval.evidence import Evidence, item_evidence, order_evidence, sales_evidence
from retrieval.sales import RECENT_DAYS
from retrieval.words import mentions

# Own repeats lead baskets (DESIGN.md, section 5); the others bring what is new.
_WEIGHTS: Mapping[Source, float] = {
    Source.OWN: 1.0,
    Source.TOGETHER: 0.6,
    Source.SIMILAR: 0.35,
    Source.POPULAR: 0.3,
}
_RANK_OFFSET = 20  # reciprocal rank fusion's k
_CITED_ORDERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a recommendation must respect.

    Attributes:
        categories: allowed categories, exact; empty allows all.
        exclude_categories: categories left out, exact.
        min_price: minor units.
        max_price: minor units; items without a price do not pass a price limit.
        exclude_items: item ids.
        words: items whose title or category holds all of these are kept.
        exclude_words: items whose title or category holds one of these are left out.
        new_only: leave out what the customer bought before.
    """

    categories: frozenset[str] = frozenset()
    exclude_categories: frozenset[str] = frozenset()
    min_price: int | None = None
    max_price: int | None = None
    exclude_items: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    exclude_words: tuple[str, ...] = ()
    new_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """An item that is shown, with its reason and the records the reason cites.

    Attributes:
        price: minor units, None where unknown.
        score: fused, higher is better.
        reason: one sentence, true by construction.
    """

    item_id: str
    title: str
    category: str
    price: int | None
    score: float
    sources: tuple[Source, ...]
    reason: str
    evidence: tuple[Evidence, ...]


def recommend(
    context: CandidateContext,
    *,
    count: int,
    filters: Filters,
    currency: str,
    disliked: frozenset[str] = frozenset(),
) -> list[Recommendation]:
    """Choose items for one customer.

    Sources are fused by weighted reciprocal rank (Cormack et al., 2009), so that their scores
    need no common scale. Of items that share a title only the best is shown.

    Args:
        context: the customer's purchases and the shop's structures.
        count: how many at most.
        filters: what every item must respect.
        currency: for prices in reasons.
        disliked: item ids the customer said no to; items of the same title stay away too.
    """
    disliked = frozenset(context.catalogue.title(item_id) for item_id in disliked)
    fused: dict[str, float] = {}
    by_item: dict[str, list[Candidate]] = {}
    for source, generate in SOURCES.items():
        allowed = [c for c in generate(context) if _passes(context, c.item_id, filters, disliked)]
        for rank, candidate in enumerate(allowed):
            weight = _WEIGHTS[source] / (_RANK_OFFSET + rank + 1)
            fused[candidate.item_id] = fused.get(candidate.item_id, 0.0) + weight
            by_item.setdefault(candidate.item_id, []).append(candidate)
    if len(_one_per_title(context, list(fused))) < count:
        _fill_from_catalogue(context, count, filters, disliked, fused, by_item)
    ranked = sorted(fused, key=lambda item_id: (-fused[item_id], item_id))
    shown = _one_per_title(context, ranked)[:count]
    return [
        _explained(context, item_id, fused[item_id], by_item[item_id], currency)
        for item_id in shown
    ]


def _fill_from_catalogue(
    context: CandidateContext,
    count: int,
    filters: Filters,
    disliked: frozenset[str],
    fused: dict[str, float],
    by_item: dict[str, list[Candidate]],
) -> None:
    """Add the best-selling items that pass, for narrow filters that the sources miss."""
    for item_id in context.sales.popular:
        if len(fused) >= 3 * count:
            return
        if item_id not in fused and _passes(context, item_id, filters, disliked):
            sold = context.sales.items[item_id]
            fused[item_id] = _WEIGHTS[Source.POPULAR] / (_RANK_OFFSET + 500 + len(fused))
            by_item[item_id] = [
                Candidate(
                    item_id=item_id,
                    source=Source.POPULAR,
                    score=float(sold.recent_customers),
                    because=None,
                )
            ]


def _passes(
    context: CandidateContext, item_id: str, filters: Filters, disliked: frozenset[str]
) -> bool:
    item = context.catalogue.items.get(item_id)
    if item is None or item_id in filters.exclude_items or item.title in disliked:
        return False
    if filters.categories and item.category not in filters.categories:
        return False
    if item.category in filters.exclude_categories:
        return False
    if filters.new_only and item_id in context.own:
        return False
    price = item.price
    limited = filters.min_price is not None or filters.max_price is not None
    if limited and price is None:
        return False
    if price is not None:
        if filters.min_price is not None and price < filters.min_price:
            return False
        if filters.max_price is not None and price > filters.max_price:
            return False
    if not all(mentions(item.text, word) for word in filters.words):
        return False
    return not any(mentions(item.text, word) for word in filters.exclude_words)


def _one_per_title(context: CandidateContext, ranked: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    chosen = []
    for item_id in ranked:
        title = context.catalogue.title(item_id)
        if title not in seen:
            seen.add(title)
            chosen.append(item_id)
    return chosen


def _explained(
    context: CandidateContext,
    item_id: str,
    score: float,
    candidates: Sequence[Candidate],
    currency: str,
) -> Recommendation:
    item = context.catalogue.items[item_id]
    leading = min(candidates, key=lambda c: list(SOURCES).index(c.source))
    reason, cited = _reason(context, leading)
    return Recommendation(
        item_id=item_id,
        title=item.title,
        category=item.category,
        price=item.price,
        score=round(score, 6),
        sources=tuple(candidate.source for candidate in candidates),
        reason=reason,
        evidence=(item_evidence(item, currency), *cited),
    )


def _reason(context: CandidateContext, candidate: Candidate) -> tuple[str, list[Evidence]]:
    """One sentence and the records it cites, from the source that put the item there."""
    if candidate.because is None:
        sold = context.sales.items[candidate.item_id]
        counted = sales_evidence(
            candidate.item_id,
            f"customers by {context.as_of:%Y-%m-%d}: {sold.recent_customers} in {RECENT_DAYS} "
            f"days, {sold.customers} in all",
        )
        if sold.recent_customers:
            text = f"{sold.recent_customers} customers bought it in the last {RECENT_DAYS} days."
        else:
            text = f"{sold.customers} customers have bought it."
        return text, [counted]
    bought = _newest_orders(context, candidate.because)
    last = bought[0]
    title = context.catalogue.title(candidate.because)
    cited = [order_evidence(purchase, title) for purchase in bought[:_CITED_ORDERS]]
    when = f"{last.timestamp:%Y-%m-%d} (order {last.order_id})"
    if candidate.source is Source.OWN:
        orders = len({purchase.order_id for purchase in bought})
        times = "once" if orders == 1 else f"in {orders} orders"
        first = bought[-1]
        counted = sales_evidence(
            f"{candidate.item_id}:own",
            f"orders that hold {title}: {orders}, the first on {first.timestamp:%Y-%m-%d} "
            f"(order {first.order_id})",
        )
        return f"Bought {times}, last on {when}.", [*cited, counted]
    link = "Often bought together with" if candidate.source is Source.TOGETHER else "Similar to"
    return f"{link} {title}, bought on {when}.", cited


def _newest_orders(context: CandidateContext, item_id: str) -> list[Purchase]:
    orders: dict[str, Purchase] = {}
    for purchase in context.purchases:
        if purchase.item_id == item_id:
            orders[purchase.order_id] = purchase
    return list(reversed(orders.values()))
