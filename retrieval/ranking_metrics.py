"""How good lists of items are: for one customer, and for all together.

Truth is what a customer bought in the four weeks after. Lists are item rows, best first, -1 where
a list is shorter.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.lines import Floats, Ints

CUTOFFS = (5, 10, 20)


def list_metrics(
    lists: Ints,
    truths: Sequence[Ints],
    *,
    price: Floats,
    popularity: Floats,
    vectors: Any,
) -> dict[str, NDArray[np.float64]]:
    """Metrics of each customer's list.

    Args:
        lists: `[customers, 20]` item rows, -1 where a list is shorter.
        truths: what each customer bought; at least one item each.
        price: `[items]` minor units, for value.
        popularity: `[items]` share of all customers who bought the item, for novelty.
        vectors: `[items, dimension]` unit vectors of the items' texts, for diversity.

    Returns:
        `[customers]` by name: `recall@k`, `ndcg@k` and `mrr@k` for 5, 10 and 20; `value@10`, the
        share of the truth's worth that the list holds; `novelty@10`, mean bits of the items'
        rarity; `diversity@10`, one less the mean cosine between items (Ziegler et al., 2005).
    """
    hits = _hits(lists, truths)
    wanted = np.array([len(truth) for truth in truths])
    found = {}
    for k in CUTOFFS:
        found[f"recall@{k}"] = hits[:, :k].sum(axis=1) / wanted
        found[f"ndcg@{k}"] = _discounted(hits[:, :k], wanted)
        found[f"mrr@{k}"] = _reciprocal_rank(hits[:, :k])
    found["value@10"] = _value(lists[:, :10], hits[:, :10], truths, price)
    found["novelty@10"] = _novelty(lists[:, :10], popularity)
    found["diversity@10"] = _diversity(lists[:, :10], vectors)
    return found


def coverage(lists: Ints, sellable: int) -> float:
    """Share of the sellable items that stand in some customer's first ten."""
    shown = np.unique(lists[:, :10])
    return float((shown >= 0).sum() / max(1, sellable))


def ndcg(lists: Ints, truths: Sequence[Ints], k: int) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen, 2002): `[customers]`.

    Customers without a truth count 0.
    """
    wanted = np.array([max(1, len(truth)) for truth in truths])
    return _discounted(_hits(lists, truths)[:, :k], wanted)


def _hits(lists: Ints, truths: Sequence[Ints]) -> NDArray[np.bool_]:
    return np.stack(
        [np.isin(row, truth) & (row >= 0) for row, truth in zip(lists, truths, strict=True)]
    )


def _discounted(hits: NDArray[np.bool_], wanted: Ints) -> NDArray[np.float64]:
    discount = 1.0 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.cumsum(discount)[np.minimum(wanted, hits.shape[1]) - 1]
    gained: NDArray[np.float64] = (hits * discount).sum(axis=1) / ideal
    return gained


def _reciprocal_rank(hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(hits.any(axis=1), 1.0 / (1.0 + hits.argmax(axis=1)), 0.0)


def _value(
    lists: Ints, hits: NDArray[np.bool_], truths: Sequence[Ints], price: Floats
) -> NDArray[np.float64]:
    known = np.nan_to_num(np.asarray(price, dtype=np.float64))
    captured = (np.where(hits, known[lists], 0.0)).sum(axis=1)
    worth = np.array([known[truth].sum() for truth in truths])
    return np.where(worth > 0, captured / np.where(worth > 0, worth, 1.0), 0.0)


def _novelty(lists: Ints, popularity: Floats) -> NDArray[np.float64]:
    least = popularity[popularity > 0].min(initial=1.0)
    bits = -np.log2(np.maximum(popularity, least))
    shown = lists >= 0
    total = np.where(shown, bits[lists], 0.0).sum(axis=1)
    novelty: NDArray[np.float64] = total / np.maximum(shown.sum(axis=1), 1)
    return novelty


def _diversity(lists: Ints, vectors: Any) -> NDArray[np.float64]:
    diversity = np.zeros(len(lists))
    for row, items in enumerate(lists):
        shown = items[items >= 0]
        if len(shown) < 2:
            continue
        rows = np.asarray(vectors[shown], dtype=np.float64)
        cosine = rows @ rows.T
        pairs = np.triu_indices(len(shown), k=1)
        diversity[row] = 1.0 - cosine[pairs].mean()
    return diversity


def bootstrap(
    values: NDArray[np.float64], *, resamples: int = 1_000, seed: int = 7
) -> tuple[float, float, float]:
    """Mean over customers with its 95% interval, by resampling customers.

    Given differences of two systems on the same customers, the interval is a paired one.
    """
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    means = values[draws].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)
