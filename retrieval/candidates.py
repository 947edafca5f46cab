"""Candidate sources: items that might be shown to a customer, each with what put it there.

Every source is a function of the same context and returns scored candidates, best first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

import numpy as np

from retrieval.catalogue import Catalogue
from retrieval.embedding_cache import text_id
from retrieval.event_log import EventLog
from retrieval.events import Kind
from retrieval.sales import Sales
from retrieval.vector_store import CollectionName, VectorStore

_HALF_LIFE_DAYS = 60.0
_SEEDS = 12  # own items from which neighbours are looked up
_SIMILAR_TEXTS = 40


class Source(StrEnum):
    """Where a candidate came from."""

    OWN = "own repeats"
    TOGETHER = "bought together"
    SIMILAR = "similar"
    POPULAR = "popular"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One bought line of the customer: what a reason may cite."""

    item_id: str
    order_id: str
    timestamp: datetime
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An item that might be shown.

    Attributes:
        score: on the source's own scale; only the order matters.
        because: the customer's own item that led here; None for popular items.
    """

    item_id: str
    source: Source
    score: float
    because: str | None


@dataclass(frozen=True, kw_only=True)
class CandidateContext:
    """What the sources read.

    Attributes:
        purchases: of the customer before `as_of`, oldest first.
    """

    purchases: Sequence[Purchase]
    as_of: datetime
    catalogue: Catalogue
    sales: Sales
    vectors: VectorStore
    items_by_text: Mapping[str, Sequence[str]]

    @cached_property
    def own(self) -> frozenset[str]:
        """Items the customer has bought."""
        return frozenset(purchase.item_id for purchase in self.purchases)


def own_repeats(context: CandidateContext) -> list[Candidate]:
    """Items bought before, by how many orders hold them, recent orders counting more."""
    return [
        Candidate(item_id=item_id, source=Source.OWN, score=score, because=item_id)
        for item_id, score in _taste(context)
    ]


def bought_together(context: CandidateContext) -> list[Candidate]:
    """Items that share orders with what the customer buys, and that they do not buy yet."""
    best: dict[str, tuple[float, str]] = {}
    for seed, taste in _taste(context)[:_SEEDS]:
        for item_id, closeness in context.sales.bought_with(seed):
            score = closeness * taste
            if item_id not in context.own and score > best.get(item_id, (0.0, ""))[0]:
                best[item_id] = (score, seed)
    return _sorted(
        Candidate(item_id=item_id, source=Source.TOGETHER, score=score, because=seed)
        for item_id, (score, seed) in best.items()
    )


def similar(context: CandidateContext) -> list[Candidate]:
    """Items whose text is near those of what the customer buys, in the index."""
    seeds = [
        (item_id, taste)
        for item_id, taste in _taste(context)[:_SEEDS]
        if item_id in context.catalogue.items
    ]
    if not seeds:
        return []
    text_ids = {item_id: text_id(context.catalogue.items[item_id].text) for item_id, _ in seeds}
    stored = context.vectors.get(CollectionName.ITEMS, sorted(set(text_ids.values())))
    seeds = [(item_id, taste) for item_id, taste in seeds if text_ids[item_id] in stored]
    if not seeds:
        return []
    matrix = np.stack([stored[text_ids[item_id]].vector for item_id, _ in seeds])
    centre = np.average(matrix, axis=0, weights=[taste for _, taste in seeds])
    candidates = []
    near = context.vectors.nearest(CollectionName.ITEMS, centre.astype(np.float32), _SIMILAR_TEXTS)
    texts = context.vectors.get(CollectionName.ITEMS, [neighbour.id for neighbour in near])
    for neighbour in near:
        item_id = best_seller(context, neighbour.id, context.own)
        if item_id is None:
            continue
        because = seeds[int(np.argmax(matrix @ texts[neighbour.id].vector))][0]
        candidates.append(
            Candidate(
                item_id=item_id,
                source=Source.SIMILAR,
                score=neighbour.similarity,
                because=because,
            )
        )
    return _sorted(candidates)


def popular(context: CandidateContext, count: int = 200) -> list[Candidate]:
    """Items that most customers bought in the last weeks."""
    return [
        Candidate(
            item_id=item_id,
            source=Source.POPULAR,
            score=float(context.sales.items[item_id].recent_customers),
            because=None,
        )
        for item_id in context.sales.popular[:count]
    ]


SOURCES: Mapping[Source, Callable[[CandidateContext], list[Candidate]]] = {
    Source.OWN: own_repeats,
    Source.TOGETHER: bought_together,
    Source.SIMILAR: similar,
    Source.POPULAR: popular,
}


def best_seller(
    context: CandidateContext, item_text_id: str, besides: frozenset[str]
) -> str | None:
    """The best-selling item of those that share a text; None where all are left out."""
    choices = [i for i in context.items_by_text.get(item_text_id, ()) if i not in besides]
    sold = [i for i in choices if i in context.sales.items]
    if not sold:
        return None
    return max(sold, key=lambda i: (context.sales.items[i].customers, i))


def purchases_of(log: EventLog, customer_id: str, as_of: datetime) -> list[Purchase]:
    """What a customer bought before a moment, oldest first."""
    rows = log.customer_events(customer_id, until=as_of).to_pylist()
    return [
        Purchase(
            item_id=row["item_id"],
            order_id=row["order_id"],
            timestamp=row["timestamp"],
            amount=row["amount"],
        )
        for row in rows
        if row["kind"] == Kind.PURCHASE
    ]


def items_by_text(catalogue: Catalogue) -> dict[str, list[str]]:
    """Item ids by the id of their text."""
    grouped: dict[str, list[str]] = {}
    for item in catalogue.items.values():
        grouped.setdefault(text_id(item.text), []).append(item.item_id)
    return grouped


def _taste(context: CandidateContext) -> list[tuple[str, float]]:
    """Own items with recency-weighted numbers of orders, highest first."""
    seen: set[tuple[str, str]] = set()
    scores: dict[str, float] = {}
    for purchase in context.purchases:
        if (purchase.item_id, purchase.order_id) in seen:
            continue
        seen.add((purchase.item_id, purchase.order_id))
        days = (context.as_of - purchase.timestamp).total_seconds() / 86_400
        scores[purchase.item_id] = scores.get(purchase.item_id, 0.0) + 0.5 ** (
            days / _HALF_LIFE_DAYS
        )
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def _sorted(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: (-candidate.score, candidate.item_id))
