from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.lines import Ints
from retrieval.ranking_metrics import CUTOFFS, bootstrap, coverage, list_metrics, ndcg

_ITEMS = 25
_LENGTH = 20
# What a hit at rank r gains: 1 / log2(r + 1).
_SECOND, _THIRD, _FIFTH, _SIXTH = 0.63093, 0.5, 0.38685, 0.35621
_WITHIN = 1e-5


def _lists(*lists: Sequence[int]) -> Ints:
    """Each filled up with -1."""
    return np.array([[*items, *[-1] * (_LENGTH - len(items))] for items in lists], dtype=np.int64)


def _metrics(
    lists: Sequence[Sequence[int]], truths: Sequence[Sequence[int]], **of_items: Any
) -> dict[str, list[float]]:
    known = {
        "price": np.full(_ITEMS, 100, dtype=np.float32),
        "popularity": np.full(_ITEMS, 0.5, dtype=np.float32),
        "vectors": np.eye(_ITEMS, dtype=np.float32),
    }
    found = list_metrics(
        _lists(*lists), [np.array(truth, dtype=np.int64) for truth in truths], **known | of_items
    )
    return {metric: values.tolist() for metric, values in found.items()}


def _close(*values: float) -> Any:
    return pytest.approx(list(values), abs=_WITHIN)


def test_every_metric_has_a_value_for_each_customer() -> None:
    found = _metrics([[0], [1], []], [[0], [0], [0]])
    of_ranks = {f"{metric}@{k}" for metric in ("recall", "ndcg", "mrr") for k in (5, 10, 20)}
    assert set(found) == of_ranks | {"value@10", "novelty@10", "diversity@10"}
    assert {len(values) for values in found.values()} == {3}


def test_recall_is_the_share_of_the_truth_that_the_list_holds() -> None:
    """The first list holds items 1 and 2 at ranks 2 and 6, the second nothing that is true."""
    found = _metrics([[3, 1, 4, 0, 5, 2], [3, 4]], [[1, 2, 24], [1]])
    assert found["recall@5"] == _close(1 / 3, 0)
    assert found["recall@10"] == _close(2 / 3, 0)
    assert found["recall@20"] == _close(2 / 3, 0)


def test_a_cutoff_counts_its_own_rank_and_not_the_next() -> None:
    first_of = [[*range(1, rank), 0] for rank in (5, 6, 10, 11, 20)]
    found = _metrics(first_of, [[0]] * 5)
    assert found["recall@5"] == [1, 0, 0, 0, 0]
    assert found["recall@10"] == [1, 1, 1, 0, 0]
    assert found["recall@20"] == [1, 1, 1, 1, 1]


def test_ndcg_with_fewer_truths_than_ranks_is_measured_against_the_truths_first() -> None:
    """Two truths at best gain 1 + 0.63093."""
    found = _metrics([[3, 1, 4, 0, 2], [1, 2, 3], [2, 3, 1]], [[1, 2]] * 3)
    best = 1 + _SECOND
    expected = _close((_SECOND + _FIFTH) / best, 1, (1 + _THIRD) / best)
    assert found["ndcg@5"] == expected
    assert found["ndcg@10"] == expected
    assert found["ndcg@20"] == expected


def test_ndcg_with_more_truths_than_ranks_is_one_where_all_ranks_hit() -> None:
    found = _metrics([range(6), range(8)], [range(8), range(8)])
    assert found["ndcg@5"] == _close(1, 1)
    assert found["ndcg@10"][1] == pytest.approx(1)
    assert found["ndcg@10"][0] < 1
    assert found["recall@5"] == _close(5 / 8, 5 / 8)


def test_ndcg_of_a_single_truth_is_its_discount() -> None:
    found = _metrics([[0], [1, 0], [1, 2, 3, 4, 5, 0]], [[0]] * 3)
    assert found["ndcg@10"] == _close(1, _SECOND, _SIXTH)
    assert found["ndcg@5"] == _close(1, _SECOND, 0)


def test_ndcg_alone_is_that_of_all_metrics_and_counts_0_without_a_truth() -> None:
    lists = _lists([3, 1, 4, 0, 2], [0, 1], [0])
    truths = [np.array([1, 2]), np.array([], dtype=np.int64), np.array([0])]
    best = 1 + _SECOND
    assert ndcg(lists, truths, 10).tolist() == _close((_SECOND + _FIFTH) / best, 0, 1)
    assert ndcg(lists, truths, 2).tolist() == _close(_SECOND / best, 0, 1)


def test_mrr_is_one_over_the_first_hits_rank() -> None:
    found = _metrics([[0, 1], [3, 1, 0], [2, 3, 4, 5, 6, 0], [5, 6]], [[0, 1]] * 4)
    assert found["mrr@5"] == _close(1, 1 / 2, 0, 0)
    assert found["mrr@10"] == _close(1, 1 / 2, 1 / 6, 0)


def test_value_is_the_share_of_the_truths_worth() -> None:
    """Item 2 has no known price; item 1 at rank 11 comes too late."""
    price = np.full(_ITEMS, np.nan, dtype=np.float32)
    price[[0, 1, 3]] = 100, 300, 50
    late = [*range(10, 20), 1]
    lists = [[1, 2], [1, 0, 2, 3], [3, 0], late, [2]]
    truths = [[0, 1, 2], [0, 1, 2], [0, 1], [1], [2]]
    found = _metrics(lists, truths, price=price)
    assert found["value@10"] == _close(0.75, 1, 0.25, 0, 0)


def test_novelty_is_the_mean_bits_of_the_items_shown() -> None:
    """Item 2, which nobody bought, counts as the rarest that somebody did."""
    popularity = np.ones(_ITEMS, dtype=np.float32)
    popularity[[0, 1, 2]] = 0.5, 0.25, 0.0
    lists = [[0, 1], [1, 2], [3], [0, 1, 3], [], [*range(3, 13), 1]]
    found = _metrics(lists, [[0]] * 6, popularity=popularity)
    assert found["novelty@10"] == _close(1.5, 2, 0, 1, 0, 0)


def test_novelty_is_nothing_where_nothing_was_ever_bought() -> None:
    found = _metrics([[0, 1]], [[0]], popularity=np.zeros(_ITEMS, dtype=np.float32))
    assert found["novelty@10"] == [0.0]


def test_diversity_is_one_less_the_mean_cosine_of_pairs() -> None:
    vectors = np.zeros((_ITEMS, 2), dtype=np.float32)
    vectors[:] = 1, 0
    vectors[[1, 2, 3]] = (0, 1), (0.6, 0.8), (-1, 0)
    lists = [[0, 1], [0, 2], [0, 1, 2], [0, 4], [0, 3], [0], [], [*range(4, 14), 1]]
    found = _metrics(lists, [[0]] * 8, vectors=vectors)
    assert found["diversity@10"] == _close(1, 0.4, 1 - 1.4 / 3, 0, 2, 0, 0, 0)


def test_places_without_an_item_are_no_hits_though_the_last_item_is_true() -> None:
    """A row of -1 would name the last item in numpy."""
    price = np.full(_ITEMS, 100, dtype=np.float32)
    popularity = np.full(_ITEMS, 0.5, dtype=np.float32)
    price[-1], popularity[-1] = 9_999, 0.001
    found = _metrics([[], [0]], [[24], [24]], price=price, popularity=popularity)
    novelty = found.pop("novelty@10")
    assert novelty == _close(0, 1)
    assert all(values == [0, 0] for values in found.values())


def test_coverage_counts_each_item_of_the_first_ten_once() -> None:
    assert coverage(_lists([0, 1], [1, 2], []), 4) == 0.75
    assert coverage(_lists(range(12)), 20) == 0.5
    assert coverage(_lists([], []), 4) == 0.0
    assert coverage(_lists([]), 0) == 0.0


def test_a_constant_has_an_interval_without_width() -> None:
    assert bootstrap(np.full(50, 0.25)) == (0.25, 0.25, 0.25)
    assert bootstrap(np.array([0.75])) == (0.75, 0.75, 0.75)


def test_the_interval_of_two_customers() -> None:
    """Their resampled mean is 0, 1/2 or 1, a quarter, half and a quarter of the time."""
    assert bootstrap(np.array([0.0, 1.0])) == (0.5, 0.0, 1.0)


def test_the_interval_of_many_customers_is_about_two_standard_errors_wide() -> None:
    """Half of 400 customers: the standard error is 0.5 / 20."""
    mean, low, high = bootstrap(np.arange(400) % 2 * 1.0, resamples=4_000)
    assert mean == 0.5
    assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_differences_on_the_same_customers_are_paired() -> None:
    """Customers differ widely, the two systems always by an eighth."""
    theirs = np.arange(40) % 2 * 1.0
    ours = theirs + 0.125
    _, low, _ = bootstrap(ours)
    _, _, high = bootstrap(theirs)
    assert low < high, "side by side the intervals overlap"
    assert bootstrap(ours - theirs) == (0.125, 0.125, 0.125)


def test_the_interval_follows_the_seed() -> None:
    values = np.random.default_rng(1).random(30)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)
    assert bootstrap(values) == bootstrap(values, seed=7, resamples=1_000)


@st.composite
def _judged(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], NDArray[np.float32]]:
    """Lists of different items, truths and prices, some unknown."""
    customers = draw(st.integers(1, 4))
    item = st.integers(0, _ITEMS - 1)
    lists = [draw(st.lists(item, unique=True, max_size=_LENGTH)) for _ in range(customers)]
    truths = [draw(st.lists(item, unique=True, min_size=1)) for _ in range(customers)]
    price = st.one_of(st.just(np.nan), st.integers(0, 100_000))
    prices = draw(st.lists(price, min_size=_ITEMS, max_size=_ITEMS))
    return lists, truths, np.array(prices, dtype=np.float32)


@settings(max_examples=60)
@given(judged=_judged(), seed=st.integers(0, 99))
def test_shares_are_between_0_and_1(
    judged: tuple[list[list[int]], list[list[int]], NDArray[np.float32]], seed: int
) -> None:
    lists, truths, price = judged
    random = np.random.default_rng(seed)
    vectors = random.random((_ITEMS, 3))  # none points away from another
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    popularity = random.random(_ITEMS) * (random.random(_ITEMS) < 0.7)
    found = _metrics(lists, truths, price=price, popularity=popularity, vectors=vectors)
    assert min(found.pop("novelty@10")) >= 0
    for metric, values in found.items():
        assert min(values) >= -1e-9, metric
        assert max(values) <= 1 + 1e-9, metric
    for metric in ("recall", "mrr"):
        by_cutoff = [found[f"{metric}@{k}"] for k in CUTOFFS]
        assert (np.diff(by_cutoff, axis=0) >= 0).all(), "more ranks cannot hit less"
    assert 0 <= coverage(_lists(*lists), _ITEMS) <= 1


@settings(max_examples=30)
@given(truth=st.lists(st.integers(0, _ITEMS - 1), unique=True, min_size=1))
def test_the_truth_itself_is_the_best_list(truth: list[int]) -> None:
    found = _metrics([truth[:_LENGTH]], [truth])
    for k in CUTOFFS:
        assert found[f"ndcg@{k}"] == _close(1)
        assert found[f"mrr@{k}"] == _close(1)
        assert found[f"recall@{k}"] == _close(min(k, len(truth)) / len(truth))


@settings(max_examples=30)
@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=20), seed=st.integers(0, 99))
def test_an_interval_stays_among_the_values(values: list[float], seed: int) -> None:
    mean, low, high = bootstrap(np.array(values), resamples=100, seed=seed)
    assert mean == pytest.approx(sum(values) / len(values))
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
