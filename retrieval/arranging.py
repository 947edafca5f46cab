"""From scored candidates to the list that is shown: the shop's rules, value and difference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval.assortment import Assortment, Mask
from retrieval.baskets import Baskets
from retrieval.diversity import diversified
from retrieval.lines import Ints
from retrieval.recommender import Ranked, Recommender
from retrieval.source_names import SourceName
from retrieval.text_similarity import Similar

JUDGED = 20  # best candidates that the language model may reorder
_POOL_LEAST = 40  # candidates that a list is arranged from, beside four for each item shown
_POOL_EACH = 4
_JUDGE_WEIGHT = 0.25

Judge = Callable[[Sequence[str]], NDArray[np.float64]]
"""From titles to the language model's logit of yes, one each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One candidate.

    Attributes:
        item: row of the item table.
        score: the recommender's.
        relevance: what it is arranged by; the score, unless the language model moved it.
        sources: the sources that named it.
    """

    item: int
    score: float
    relevance: float
    sources: tuple[SourceName, ...]


def arrange(
    recommender: Recommender,
    assortment: Assortment,
    basket: Baskets,
    ranked: Ranked,
    allowed: Mask,
    count: int,
    *,
    new_only: bool,
    judge: Judge | None = None,
) -> list[Chosen]:
    """Choose what one customer is shown, and in which order.

    Of items that share a title only the best is shown. Where the sources named too few, the
    best-selling of the rest follow.

    Args:
        recommender: that ranked.
        assortment: the shop's items and rules.
        basket: what the customer bought, one row.
        ranked: the customer's candidates.
        allowed: `[items]` what may be shown.
        count: how many at most.
        new_only: whether only items never bought were ranked.
        judge: reorders the best by the language model's judgement; None leaves it out.
    """
    pool = _pool(recommender, assortment, basket, ranked, allowed, count, new_only=new_only)
    if judge is not None:
        pool = _judged(assortment, pool, judge)
    return _by_rules(recommender, assortment, pool, count)


def _pool(
    recommender: Recommender,
    assortment: Assortment,
    basket: Baskets,
    ranked: Ranked,
    allowed: Mask,
    count: int,
    *,
    new_only: bool,
) -> list[Chosen]:
    """The best candidates, one a title, best first."""
    names = list(recommender.sources)
    order = np.lexsort((ranked.item, -ranked.score))[: _POOL_EACH * (count + _POOL_LEAST)]
    found = ranked.item[order]
    candidates = [
        Chosen(
            item=item,
            score=score,
            relevance=score,
            sources=tuple(name for name, named in zip(names, found_by, strict=True) if named),
        )
        for item, score, found_by in zip(
            found.tolist(),
            ranked.score[order].tolist(),
            ranked.found_by[:, order].T.tolist(),
            strict=True,
        )
    ]
    more = _best_sellers(recommender, assortment, allowed, found, count)
    if len(more):
        own = recommender.score_pairs(
            basket, np.zeros(len(more), dtype=np.int64), more, new_only=new_only
        )
        # Under those that a source named, falling, so that the better-selling stays in front.
        least = candidates[-1].score if candidates else 1.0
        relevance = np.minimum(own, least) * (1.0 - 1e-6 * np.arange(1, len(more) + 1))
        candidates += [
            Chosen(item=item, score=score, relevance=below, sources=(SourceName.POPULAR,))
            for item, score, below in zip(
                more.tolist(), own.tolist(), relevance.tolist(), strict=True
            )
        ]
    pins = set(assortment.rows(assortment.rules.pin_items).tolist())
    by_title: dict[int, int] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.item not in pins):
        by_title.setdefault(int(assortment.title[candidate.item]), candidate.item)
    kept = set(by_title.values())
    pool = [candidate for candidate in candidates if candidate.item in kept]
    most = _POOL_EACH * count + _POOL_LEAST
    return [
        candidate for place, candidate in enumerate(pool) if place < most or candidate.item in pins
    ]


def _best_sellers(
    recommender: Recommender, assortment: Assortment, allowed: Mask, found: Ints, count: int
) -> Ints:
    """Allowed items that no source named, one a title: pinned ones, and as many as are missing."""
    pinned = assortment.rows(assortment.rules.pin_items)
    pinned = pinned[allowed[pinned] & ~np.isin(pinned, found)]
    missing = count - len(np.unique(assortment.title[found]))
    if missing <= 0:
        return pinned
    rest = allowed.copy()
    rest[found] = False
    rest[pinned] = False
    rows = np.flatnonzero(rest)
    rows = rows[~np.isin(assortment.title[rows], assortment.title[found])]
    sales = recommender.sales
    rows = rows[np.lexsort((rows, -sales.customers[rows], -sales.recent_customers[rows]))]
    first_of_title = np.sort(np.unique(assortment.title[rows], return_index=True)[1])
    return np.concatenate([pinned, rows[first_of_title][:missing]])


def _judged(assortment: Assortment, pool: list[Chosen], judge: Judge) -> list[Chosen]:
    """The pool with its best in the order of the ranker's and the language model's judgement."""
    best = pool[:JUDGED]
    scores = np.array([candidate.score for candidate in best])
    combined = combine_judgement(scores, judge([assortment.item(c.item).title for c in best]))
    order = np.argsort(-combined, kind="stable")
    # A place's relevance stays with the place, so that arranging keeps to the new order.
    moved = [replace(best[old], relevance=best[new].relevance) for new, old in enumerate(order)]
    return [*moved, *pool[JUDGED:]]


def combine_judgement(
    score: NDArray[np.float64], judged: NDArray[np.float64], weight: float = _JUDGE_WEIGHT
) -> NDArray[np.float64]:
    """The ranker's log-odds plus the language model's logit brought to their spread: `[items]`.

    Args:
        score: `[items]` chances.
        judged: `[items]` logits of yes less those of no.
        weight: of the language model; 0 leaves the ranker's order.
    """
    chance = np.clip(score, 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(chance / (1 - chance))
    spread = float(judged.std())
    if spread == 0:
        return odds
    moved: NDArray[np.float64] = odds + weight * odds.std() * (judged - judged.mean()) / spread
    return moved


def _by_rules(
    recommender: Recommender, assortment: Assortment, pool: list[Chosen], count: int
) -> list[Chosen]:
    """Pinned items, then the best by chance, value and difference."""
    rules = assortment.rules
    pins = set(assortment.rows(rules.pin_items).tolist())
    pinned = [candidate for candidate in pool if candidate.item in pins][:count]
    rest = [candidate for candidate in pool if candidate.item not in pins]
    rows = np.array([candidate.item for candidate in rest], dtype=np.int64)
    relevance = np.array([candidate.relevance for candidate in rest])
    places = diversified(
        relevance * value_factor(assortment, rows, rules.value),
        likeness(recommender, assortment, rows),
        dial=rules.diversity,
        count=count - len(pinned),
        groups=[assortment.category(row) for row in rows],
        most_per_group=rules.most_per_category,
    )
    return [*pinned, *(rest[place] for place in places)]


def value_factor(assortment: Assortment, rows: Ints, dial: float) -> NDArray[np.float64]:
    """What a chance is multiplied by: margin (or price) to the power of the dial: `[rows]`."""
    factor: NDArray[np.float64] = np.maximum(assortment.margin[rows], 1).astype(np.float64) ** dial
    return factor


def likeness(recommender: Recommender, assortment: Assortment, rows: Ints) -> NDArray[np.float32]:
    """Nearness of texts, or being of one category where no texts are read: `[rows, rows]`."""
    source = recommender.sources.get(SourceName.SIMILAR)
    if isinstance(source, Similar):
        return source.similarity(rows)
    categories = np.array([assortment.category(row) for row in rows])
    same: NDArray[np.float32] = (categories[:, None] == categories[None, :]).astype(np.float32)
    return same
