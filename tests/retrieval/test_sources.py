from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from retrieval.baskets import baskets_of
from retrieval.sources import (
    load_array,
    load_matrix,
    save_arrays,
    save_matrix,
    scores_at,
    strongest,
    values_at,
)
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_DENSE = np.array([[0.5, 0.0, 2.0, 0.5, -1.0], [0.0, 0.0, 0.0, 0.0, 3.0]], dtype=np.float32)
_FORMS = pytest.mark.parametrize(
    "scores", [_DENSE, sparse.csr_matrix(_DENSE)], ids=["dense", "csr"]
)


@_FORMS
def test_the_strongest_come_first_and_ties_by_row(scores: object) -> None:
    items, values = strongest(scores, 2)
    assert items.tolist() == [[2, 0], [4, -1]]
    assert values.tolist() == [[2.0, 0.5], [3.0, 0.0]]


@_FORMS
def test_only_positive_scores_count(scores: object) -> None:
    items, values = strongest(scores, 4)
    assert items.tolist() == [[2, 0, 3, -1], [4, -1, -1, -1]]
    assert values[0].tolist() == [2.0, 0.5, 0.5, 0.0]


@_FORMS
def test_only_allowed_items_are_named(scores: object) -> None:
    allowed = np.array([True, True, False, True, False])
    assert strongest(scores, 2, allowed=allowed)[0].tolist() == [[0, 3], [-1, -1]]


@_FORMS
def test_what_was_bought_before_can_be_left_out(scores: object) -> None:
    lines = lines_of({("a", "2024-01-01", "o"): (1, 2), ("b", "2024-01-01", "o"): (0,)})
    own = baskets_of(lines, moment("2024-03-01"), 5, np.arange(2))
    assert strongest(scores, 2, without=own)[0].tolist() == [[0, 3], [4, -1]]


@_FORMS
def test_scores_at_reads_pairs(scores: object) -> None:
    customer, item = np.array([1, 0, 0, 1]), np.array([4, 2, 1, 0])
    assert scores_at(scores, customer, item).tolist() == [3.0, 2.0, 0.0, 0.0]
    nothing = np.zeros(0, dtype=np.int64)
    assert scores_at(scores, nothing, nothing).tolist() == []


def test_unsorted_rows_read_the_same() -> None:
    matrix = sparse.csr_matrix((np.array([2.0, 1.0]), np.array([3, 0]), np.array([0, 2])))
    assert scores_at(matrix, np.array([0, 0]), np.array([0, 3])).tolist() == [1.0, 2.0]


def test_values_are_found_by_key() -> None:
    keys, values = np.array([2, 5, 9]), np.array([1.0, 2.0, 3.0], dtype=np.float32)
    assert values_at(keys, values, np.array([9, 0, 5, 10])).tolist() == [3.0, 0.0, 2.0, 0.0]
    assert values_at(keys, values, np.array([3]), absent=7.0).tolist() == [7.0]
    none = values_at(keys[:0], values[:0], np.array([1, 2]), absent=np.nan)
    assert np.isnan(none).tolist() == [True, True]


def test_arrays_come_back_from_disk(tmp_path: Path) -> None:
    save_arrays(tmp_path / "new", {"one": [1.5, 2.5], "two": np.arange(3)})
    one = load_array(tmp_path / "new", "one")
    assert isinstance(one, np.memmap)
    assert one.tolist() == [1.5, 2.5]
    assert load_array(tmp_path / "new", "two").dtype == np.int64


@pytest.mark.parametrize("density", [0.0, 0.4])
def test_a_matrix_comes_back_from_disk(density: float, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    matrix = sparse.random_array((6, 6), density=density, rng=random, format="csr")
    save_matrix(tmp_path / "matrix", matrix)
    loaded = load_matrix(tmp_path / "matrix")
    assert loaded.shape == (6, 6)
    np.testing.assert_allclose(loaded.toarray(), matrix.toarray(), rtol=1e-6)
    base = loaded.data
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
