from typing import Any

import numpy as np
import pytest

from retrieval.baskets import Baskets, baskets_of
from retrieval.item_neighbours import order_counts
from retrieval.latent_sources import Als, Svd
from retrieval.lines import Lines
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_AS_OF = moment("2024-03-01")
_ITEMS = 9  # 0-3 one taste, 4-7 the other, 8 never sold


def _two_tastes() -> Lines:
    """Everybody lacks one item of their group's four."""
    return lines_of(
        {
            (f"c{group}{number}", f"2024-01-0{number + 1}", "o"): tuple(
                4 * group + item for item in range(4) if item != number % 4
            )
            for group in (0, 1)
            for number in range(8)
        }
    )


def _baskets(lines: Lines, items: int = _ITEMS) -> Baskets:
    return baskets_of(lines, _AS_OF, items, np.arange(len(lines.customer_ids)))


def test_als_folds_a_customer_in_by_hand() -> None:
    """Taste 0.5 of item 0 counts 1 + 2 * 0.5 = 2: the factor is 2 / (1 + 4 + 0.5 + 1)."""
    als = Als(np.array([[1.0], [2.0], [0.0]], dtype=np.float32), 2.0, 0.5)
    baskets = _baskets(lines_of({("a", "2024-01-01", "o"): (0,)}), 3)
    assert als.scores(baskets)[0].tolist() == pytest.approx([2 / 6.5, 4 / 6.5, 0.0])


def test_als_folds_in_by_weighted_least_squares() -> None:
    """Equation 4: (Y'CY + lambda)x = Y'Cp over all items, bought or not."""
    factors = np.random.default_rng(5).normal(size=(_ITEMS, 3)).astype(np.float32)
    confidence, regularisation = 5.0, 0.7
    baskets = _baskets(_two_tastes())
    found = Als(factors, confidence, regularisation).scores(baskets)
    tastes = baskets.matrix(baskets.taste).toarray()
    for row in range(len(baskets)):
        weight = np.diag(1.0 + confidence * tastes[row])
        left = factors.T @ weight @ factors + regularisation * np.eye(3)
        customer = np.linalg.solve(left, factors.T @ weight @ (tastes[row] > 0))
        np.testing.assert_allclose(found[row], factors @ customer, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "fit",
    [
        lambda lines: Als.fit(lines, _ITEMS, dimension=2),
        lambda lines: Svd.fit(lines, _ITEMS, dimension=2),
    ],
)
def test_the_missing_item_of_the_own_taste_comes_before_the_other_taste(fit: Any) -> None:
    scores = np.asarray(fit(_two_tastes()).scores(_baskets(_two_tastes())))
    for row in range(16):
        group, missing = row // 8, row % 8 % 4
        other = scores[row, 4 * (1 - group) : 4 * (1 - group) + 4]
        assert scores[row, 4 * group + missing] > other.max() + 0.1
        assert abs(scores[row, 8]) < 0.05


def test_the_seed_of_als_alone_decides() -> None:
    baskets = _baskets(_two_tastes())
    first, second, other = (
        Als.fit(_two_tastes(), _ITEMS, dimension=2, seed=seed).scores(baskets) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_svd_projects_onto_the_strongest_right_singular_vectors() -> None:
    lines, baskets = _two_tastes(), _baskets(_two_tastes())
    counts = np.log1p(order_counts(lines, _ITEMS).toarray())
    right = np.linalg.svd(counts)[2][:2]
    found = Svd.fit(lines, _ITEMS, dimension=2).scores(baskets)
    tastes = np.log1p(baskets.matrix(baskets.taste).toarray())
    np.testing.assert_allclose(found, tastes @ right.T @ right, rtol=1e-4, atol=1e-5)


def test_svd_of_given_vectors_by_hand() -> None:
    """The direction (0.6, 0.8, 0): of a basket of item 0 it keeps 0.36 and 0.48."""
    svd = Svd(np.array([[0.6], [0.8], [0.0]], dtype=np.float32))
    baskets = _baskets(lines_of({("a", "2024-01-01", "o"): (0,)}), 3)
    taste = np.log1p(0.5)
    expected = [0.36 * taste, 0.48 * taste, 0.0]
    assert svd.scores(baskets)[0].tolist() == pytest.approx(expected)


def test_directions_that_nobody_bought_take_no_part_in_svd() -> None:
    """Two kinds of customers span two directions, however many are asked for.

    Who bought item 0 is half of those who bought 0 and 1; who bought what nobody did is nobody.
    """
    lines = lines_of(
        {(f"c{number}", "2024-01-01", "o"): (0, 1) if number % 2 else (2, 3) for number in range(8)}
    )
    half = lines_of({("new", "2024-01-01", "o"): (0,), ("odd", "2024-01-01", "o"): (7,)})
    scores = Svd.fit(lines, 8, dimension=6).scores(_baskets(half, 8))
    expected = np.zeros((2, 8))
    expected[0, :2] = np.log1p(0.5) / 2
    np.testing.assert_allclose(scores, expected, atol=1e-4)
