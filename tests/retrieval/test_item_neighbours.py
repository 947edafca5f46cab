from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from retrieval.baskets import Baskets, baskets_of
from retrieval.item_neighbours import BoughtTogether, Ease, ItemNeighbours, order_counts
from retrieval.lines import Lines
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_AS_OF = moment("2024-03-01")
_ITEMS = 6  # item 5 never sold
_LINES = lines_of(
    {
        ("a", "2024-01-01", "o1"): (0, 1),
        ("a", "2024-02-29", "o2"): (0, 2),
        ("b", "2024-01-05", "o1"): (0, 1, 1),
        ("c", "2024-01-06", "o1"): (0, 2),
        ("d", "2024-01-07", "o1"): (3, 4),
        ("d", "2024-01-09", "o2"): (3,),
        ("e", "2024-01-07", "o1"): (3, 1),
    }
)
# What the customers bought, by hand.
_BOUGHT = np.array(
    [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 1, 0, 1, 0, 0],
    ],
    dtype=np.float64,
)


def _baskets(lines: Lines = _LINES) -> Baskets:
    return baskets_of(lines, _AS_OF, _ITEMS, np.arange(len(lines.customer_ids)))


def _closed_form(bought: NDArray[np.float64], regularisation: float) -> NDArray[np.float64]:
    """Steck (2019): each column regressed on the others, the diagonal held at zero."""
    items = bought.shape[1]
    weights = np.zeros((items, items))
    for item in range(items):
        others = np.delete(np.arange(items), item)
        given = bought[:, others]
        left = given.T @ given + regularisation * np.eye(items - 1)
        weights[others, item] = np.linalg.solve(left, given.T @ bought[:, item])
    return weights


def test_orders_are_counted_by_customer_and_item() -> None:
    counts = order_counts(_LINES, _ITEMS).toarray()
    np.testing.assert_array_equal(counts > 0, _BOUGHT > 0)
    assert counts[0].tolist() == [2, 1, 1, 0, 0, 0]
    assert counts[1].tolist() == [1, 1, 0, 0, 0, 0]
    assert counts[3].tolist() == [0, 0, 0, 2, 1, 0]


def test_ease_of_two_items_by_hand() -> None:
    """G + 1 = [[4, 2], [2, 3]]; its inverse is [[3, -2], [-2, 4]] / 8."""
    lines = lines_of(
        {
            ("a", "2024-01-01", "o"): (0, 1),
            ("b", "2024-01-01", "o"): (0, 1),
            ("c", "2024-01-01", "o"): (0,),
        }
    )
    weights = Ease.fit(lines, 2, regularisation=1.0).weights.toarray()
    np.testing.assert_allclose(weights, [[0.0, 2 / 4], [2 / 3, 0.0]], rtol=1e-5)


@pytest.mark.parametrize("regularisation", [0.5, 20.0])
def test_ease_regresses_each_item_on_the_others(regularisation: float) -> None:
    ease = Ease.fit(_LINES, _ITEMS, regularisation=regularisation)
    expected = _closed_form(_BOUGHT, regularisation)
    np.testing.assert_allclose(ease.weights.toarray(), expected, rtol=1e-4, atol=1e-6)
    assert not ease.weights.diagonal().any()
    scores = ease.scores(_baskets()).toarray()
    np.testing.assert_allclose(scores, _BOUGHT @ expected, rtol=1e-4, atol=1e-6)


def test_ease_never_names_what_was_never_sold() -> None:
    weights = Ease.fit(_LINES, _ITEMS).weights.toarray()
    assert not weights[5].any()
    assert not weights[:, 5].any()


def test_only_the_best_selling_items_take_part_in_ease() -> None:
    """Items 0 and 1 have three customers; of 2 and 3 with two each, 2 comes first."""
    ease = Ease.fit(_LINES, _ITEMS, regularisation=1.0, most_items=3)
    expected = np.zeros((_ITEMS, _ITEMS))
    expected[:3, :3] = _closed_form(_BOUGHT[:, :3], 1.0)
    np.testing.assert_allclose(ease.weights.toarray(), expected, rtol=1e-4, atol=1e-6)


def test_only_the_strongest_weights_of_ease_are_kept() -> None:
    """By size, whatever their sign: items never bought together have negative weights."""
    whole = _closed_form(_BOUGHT, 1.0)[:5, :5]
    kept = Ease.fit(_LINES, _ITEMS, regularisation=1.0, most_weights=2).weights.toarray()[:5, :5]
    for row in range(5):
        named = np.flatnonzero(kept[row])
        np.testing.assert_allclose(kept[row, named], whole[row, named], rtol=1e-4)
        sizes, left = np.sort(np.abs(whole[row]))[-2:], np.sort(np.abs(kept[row]))[-2:]
        np.testing.assert_allclose(left, sizes, rtol=1e-4, atol=1e-6)
        assert len(named) <= 2
    assert (kept < 0).any()


def test_bought_together_has_bm25_weights() -> None:
    """Robertson & Zaragoza (2009): an item is a document, its customers are the terms."""
    k1, b = 1.2, 0.75
    counts = order_counts(_LINES, _ITEMS).toarray()
    weighted = np.zeros(counts.shape)
    lengths = counts.sum(axis=0)
    for customer, item in zip(*np.nonzero(counts), strict=True):
        count = counts[customer, item]
        norm = k1 * (1 - b + b * lengths[item] / lengths.mean())
        rarity = np.log(_ITEMS / (1 + (counts[customer] > 0).sum()))
        weighted[customer, item] = rarity * count * (k1 + 1) / (count + norm)
    expected = weighted.T @ weighted
    np.fill_diagonal(expected, 0.0)
    weights = BoughtTogether.fit(_LINES, _ITEMS, k1=k1, b=b).weights.toarray()
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_items_are_neighbours_where_they_share_a_customer() -> None:
    """Items 0 and 3 have none in common; nothing is its own neighbour, nor the unsold one's."""
    weights = BoughtTogether.fit(_LINES, _ITEMS).weights.toarray()
    shared = (_BOUGHT.T @ _BOUGHT > 0) & ~np.eye(_ITEMS, dtype=bool)
    np.testing.assert_array_equal(weights > 0, shared)


def test_only_the_nearest_neighbours_are_kept() -> None:
    every = BoughtTogether.fit(_LINES, _ITEMS).weights.toarray()
    few = BoughtTogether.fit(_LINES, _ITEMS, neighbours=1).weights.toarray()
    for row in range(5):
        kept = np.flatnonzero(few[row])
        np.testing.assert_array_equal(few[row, kept], every[row, kept])
        assert every[row].argmax() in kept
        assert len(kept) <= 2


def test_a_score_is_the_sum_of_powers_of_taste_times_weights() -> None:
    """Of item 2 for b, who bought 0 and 1 55 days ago: sqrt(taste) * (4 + 9)."""
    weights = np.zeros((_ITEMS, _ITEMS), dtype=np.float32)
    weights[0, 2], weights[1, 2], weights[3, 2] = 4.0, 9.0, 100.0
    lines = lines_of({("b", "2024-01-06", "o"): (0, 1)})
    source = ItemNeighbours(sparse.csr_matrix(weights), 0.5)
    taste = 0.5 ** (55 / 60)
    baskets = _baskets(lines)
    assert source.scores(baskets).toarray()[0, 2] == pytest.approx(taste**0.5 * 13)
    parts = source.parts(baskets, 0, 2)
    assert parts.tolist() == pytest.approx([taste**0.5 * 4, taste**0.5 * 9])


@pytest.mark.parametrize("kind", [BoughtTogether, Ease])
@pytest.mark.parametrize("from_disk", [False, True])
def test_parts_sum_to_the_score(
    kind: type[BoughtTogether | Ease], from_disk: bool, tmp_path: Path
) -> None:
    source: ItemNeighbours = kind.fit(_LINES, _ITEMS)
    if from_disk:
        source.save(tmp_path)
        source = kind.load(tmp_path)
    baskets = _baskets()
    scores = source.scores(baskets).toarray()
    for customer in range(len(baskets)):
        own = baskets.starts[customer + 1] - baskets.starts[customer]
        for item in range(_ITEMS):
            parts = source.parts(baskets, customer, item)
            assert len(parts) == own
            assert parts.sum() == pytest.approx(scores[customer, item], rel=1e-4, abs=1e-6)


def test_ease_reads_only_whether_an_item_was_bought() -> None:
    ease = Ease.fit(_LINES, _ITEMS)
    often = lines_of(
        {("a", f"2024-01-0{day}", f"o{day}"): (0, 1) for day in range(1, 9)}
        | {("b", "2023-01-01", "o"): (0, 1)}
    )
    first, second = ease.scores(_baskets(often)).toarray()
    np.testing.assert_array_equal(first, second)


def test_with_itself_a_bought_item_is_named_again() -> None:
    alone = BoughtTogether.fit(_LINES, _ITEMS).scores(_baskets()).toarray()
    again = BoughtTogether.fit(_LINES, _ITEMS, with_self=True).scores(_baskets()).toarray()
    assert np.all(again[_BOUGHT > 0] > alone[_BOUGHT > 0])
    assert again[3].argmax() == 3, "what d bought in both orders"
