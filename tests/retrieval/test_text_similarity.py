from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from retrieval.baskets import Baskets, baskets_of
from retrieval.embedder import Vectors
from retrieval.text_similarity import Similar
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_AS_OF = moment("2024-03-01")
# Unit vectors of four texts: 0 and 1 near, 2 at a right angle to 0, 3 opposite.
_VECTORS = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]], dtype=np.float32)
_TEXT = np.array([0, 1, 1, 1, 1, 2, 3], dtype=np.int32)  # of seven items
_CUSTOMERS = np.array([5, 0, 9, 0, 2, 1, 8], dtype=np.float32)
_ITEMS = len(_TEXT)


def _similar() -> Similar:
    return Similar.fit(_VECTORS, _TEXT, _CUSTOMERS)


def _baskets(*orders: tuple[str, Sequence[int]]) -> Baskets:
    lines = lines_of({("a", when, f"o{when}"): items for when, items in orders})
    return baskets_of(lines, _AS_OF, _ITEMS, np.arange(1))


def test_the_best_selling_items_of_a_near_text_are_named() -> None:
    """Of text 1 item 2 has nine customers and 4 two; of 1 and 3, which never sold, 1 is first."""
    scores = _similar().scores(_baskets(("2024-02-01", [0]))).toarray()[0]
    assert scores.tolist() == pytest.approx([0.0, 0.8, 0.8, 0.0, 0.8, 0.0, -1.0])


def test_an_item_that_never_sold_is_named_where_its_text_is_near() -> None:
    unsold = Similar.fit(_VECTORS, _TEXT, np.zeros(_ITEMS, dtype=np.float32))
    scores = unsold.scores(_baskets(("2024-02-01", [5]))).toarray()[0]
    assert scores[1] == pytest.approx(0.6)


def test_what_the_customer_bought_is_not_named() -> None:
    scores = _similar().scores(_baskets(("2024-02-01", [2, 0]))).toarray()[0]
    assert np.flatnonzero(scores > 0).tolist() == [1, 3, 4, 5]


def test_the_centre_is_the_mean_by_the_root_of_taste() -> None:
    """Item 0 of 120 days ago counts sqrt(0.25), item 5 of today 1: towards (1, 2)."""
    baskets = _baskets(("2023-11-02", [0]), ("2024-03-01", [5]))
    pairs = np.arange(_ITEMS)
    cosines = _similar().scores_at(baskets, np.zeros(_ITEMS, dtype=np.int64), pairs)
    centre = np.array([1.0, 2.0]) / 5**0.5
    assert cosines.tolist() == pytest.approx((_VECTORS[_TEXT] @ centre).tolist())
    assert cosines[1] == pytest.approx(2.0 / 5**0.5)


def test_an_index_can_find_the_nearest_texts() -> None:
    asked: list[tuple[list[float], int]] = []

    def nearest(centre: Vectors, count: int) -> list[int]:
        asked.append((centre.tolist(), count))
        return [2, 0]

    similar = _similar().with_index(nearest)
    scores = similar.scores(_baskets(("2024-02-01", [1]))).toarray()[0]
    assert scores.tolist() == pytest.approx([0.8, 0, 0, 0, 0, 0.6, 0])
    ((centre, count),) = asked
    assert centre == pytest.approx([0.8, 0.6])
    assert count == 60


def test_an_index_that_finds_nothing_names_nothing() -> None:
    similar = _similar().with_index(lambda _centre, _count: [])
    assert similar.scores(_baskets(("2024-02-01", [0]))).nnz == 0


def test_only_the_nearest_texts_are_compared() -> None:
    """Of 80 texts on a half circle, the 20 farthest are not named."""
    angles = np.linspace(0.0, np.pi, 80)
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    text = np.arange(80, dtype=np.int32)
    similar = Similar.fit(vectors, text, np.zeros(80, dtype=np.float32))
    baskets = baskets_of(lines_of({("a", "2024-02-01", "o"): (0,)}), _AS_OF, 80, np.arange(1))
    named = similar.scores(baskets).tocoo().col
    assert sorted(named.tolist()) == list(range(1, 60))


def test_opposite_tastes_have_no_centre() -> None:
    baskets = _baskets(("2024-02-01", [0, 6]))
    assert _similar().scores(baskets).nnz == 0
    assert _similar().scores_at(baskets, np.array([0]), np.array([1])).tolist() == [0.0]


def test_parts_are_root_of_taste_times_squared_cosine() -> None:
    """Of item 1: item 0 of 60 days ago is at 0.8, item 5 of today at 0.6; what is far adds none."""
    baskets = _baskets(("2024-01-01", [0, 6]), ("2024-03-01", [5]))
    assert baskets.item.tolist() == [0, 5, 6]
    parts = _similar().parts(baskets, 0, 1)
    assert parts.tolist() == pytest.approx([0.5**0.5 * 0.64, 0.36, 0.0])


def test_similarity_is_the_cosine_between_items() -> None:
    cosine = _similar().similarity(np.array([0, 2, 5]))
    np.testing.assert_allclose(cosine, [[1, 0.8, 0], [0.8, 1, 0.6], [0, 0.6, 1]], atol=1e-6)


def test_loaded_it_keeps_its_vectors_on_disk(tmp_path: Path) -> None:
    _similar().save(tmp_path)
    loaded = Similar.load(tmp_path)
    assert isinstance(loaded.vectors, np.memmap)
    baskets = _baskets(("2024-02-01", [0]), ("2024-02-20", [5]))
    np.testing.assert_array_equal(
        loaded.scores(baskets).toarray(), _similar().scores(baskets).toarray()
    )
    assert loaded.parts(baskets, 0, 2).tolist() == _similar().parts(baskets, 0, 2).tolist()


def test_with_own_items_what_was_bought_is_named_again() -> None:
    vectors = np.eye(3, dtype=np.float32)
    similar = Similar.fit(vectors, np.arange(3, dtype=np.int32), np.ones(3, dtype=np.float32))
    again = similar.with_index(lambda _vector, _count: [0, 1, 2], with_own=True)
    baskets = baskets_of(
        lines_of({("a", "2024-01-01", "o1"): (1,)}), moment("2024-03-01"), 3, np.arange(1)
    )
    assert similar.scores(baskets).toarray()[0, 1] == 0
    assert again.scores(baskets).toarray()[0].argmax() == 1
