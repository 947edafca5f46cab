"""From a customer's purchases to recommendations: rank, arrange by the shop's rules, explain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from retrieval.arranging import Chosen, Judge, arrange
from retrieval.assortment import Assortment
from retrieval.catalogue import Catalogue
from retrieval.evidence import Evidence, item_evidence
from retrieval.filters import Filters
from retrieval.purchases import Purchase, basket_variants
from retrieval.reasons import Reason, explain
from retrieval.recommender import Recommender
from retrieval.relaxation import relaxed
from retrieval.source_names import SourceName


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """An item that is shown, with its reason and the records the reason cites.

    Attributes:
        price: minor units, None where unknown.
        score: chance that the customer, if they buy at all within four weeks, buys it; a fused
            score where nothing is learnt yet.
        sources: the sources that named the item.
        reason: one sentence, true by construction.
        cites: ids of all the customer's orders that the reason rests on.
    """

    item_id: str
    title: str
    category: str
    price: int | None
    score: float
    sources: tuple[SourceName, ...]
    reason: str
    evidence: tuple[Evidence, ...]
    cites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendContext:
    """Whom to recommend to, and from what.

    Attributes:
        purchases: of the customer before `as_of`, oldest first; empty for a new customer.
    """

    recommender: Recommender
    assortment: Assortment
    catalogue: Catalogue
    purchases: Sequence[Purchase]
    as_of: datetime
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Items, best first, and what had to be given up of what was asked."""

    items: tuple[Recommendation, ...]
    notes: tuple[str, ...]


def recommend(
    context: RecommendContext,
    *,
    count: int,
    filters: Filters,
    disliked: frozenset[str] = frozenset(),
    judge: Judge | None = None,
) -> Selection:
    """Choose items for one customer.

    Args:
        context: the customer's purchases and the shop's structures.
        count: how many at most.
        filters: what every item must respect; loosened, with a note, where nothing fits.
        disliked: item ids the customer said no to; items of the same title stay away too.
        judge: reorders the best candidates by the language model's judgement; None leaves it out.
    """
    recommender, assortment = context.recommender, context.assortment
    basket = basket_variants(context.purchases, recommender.table, context.as_of)
    fitting = relaxed(assortment, filters, basket.item, disliked, currency=context.currency)
    new_only = fitting.filters.new_only
    ranked = recommender.rank(basket, new_only=new_only, allowed=fitting.allowed)
    chosen = arrange(
        recommender,
        assortment,
        basket,
        ranked,
        fitting.allowed,
        count,
        new_only=new_only,
        judge=judge,
    )
    reasons = explain(
        recommender,
        assortment,
        context.catalogue,
        context.purchases,
        basket,
        [candidate.item for candidate in chosen],
        context.as_of,
        new_only=new_only,
    )
    items = tuple(
        _recommendation(context, candidate, reason)
        for candidate, reason in zip(chosen, reasons, strict=True)
    )
    return Selection(items=items, notes=fitting.notes)


def _recommendation(context: RecommendContext, candidate: Chosen, reason: Reason) -> Recommendation:
    item = context.assortment.item(candidate.item)
    return Recommendation(
        item_id=item.item_id,
        title=item.title,
        category=item.category,
        price=item.price,
        score=round(candidate.score, 6),
        sources=candidate.sources,
        reason=reason.text,
        evidence=(item_evidence(item, context.currency), *reason.evidence),
        cites=reason.cites,
    )
