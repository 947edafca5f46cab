import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.diversity import diversified

_RELEVANCE = np.array([1.0, 0.9, 0.8, 0.1])
# Item 1 is like item 0; items 2 and 3 are like nothing.
_LIKENESS = np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float32)


def test_a_dial_of_zero_keeps_the_order_of_relevance() -> None:
    assert diversified(_RELEVANCE, _LIKENESS, dial=0.0, count=4) == [0, 1, 2, 3]
    shuffled = _RELEVANCE[[2, 0, 3, 1]]
    assert diversified(shuffled, _LIKENESS, dial=0.0, count=4) == [1, 3, 0, 2]


def test_equals_keep_their_order() -> None:
    assert diversified(np.ones(4), np.eye(4, dtype=np.float32), dial=0.3, count=4) == [0, 1, 2, 3]


def test_what_is_like_the_first_comes_later() -> None:
    """After item 0, item 1 gains 0.45 - 0.45 = 0, item 2 0.4 and item 3 0.05."""
    assert diversified(_RELEVANCE, _LIKENESS, dial=0.5, count=2) == [0, 2]


def test_nearness_is_the_mean_over_what_is_chosen() -> None:
    """After 0 and 2, item 1 gains 0.45 - 0.5 * 0.9 / 2 = 0.225, item 3 0.05."""
    assert diversified(_RELEVANCE, _LIKENESS, dial=0.5, count=4) == [0, 2, 1, 3]
    assert diversified(_RELEVANCE, _LIKENESS, dial=0.7, count=4) == [0, 2, 3, 1]


def test_relevance_is_a_share_of_the_best() -> None:
    for scale in (0.001, 50.0):
        found = diversified(scale * _RELEVANCE, _LIKENESS, dial=0.7, count=4)
        assert found == [0, 2, 3, 1]


def test_a_dial_of_one_looks_at_differences_alone() -> None:
    assert diversified(_RELEVANCE, _LIKENESS, dial=1.0, count=4) == [0, 2, 3, 1]
    worthless = np.array([1.0, 0.9, 0.0, 0.0])
    assert diversified(worthless, _LIKENESS, dial=1.0, count=3) == [0, 2, 3]


def test_no_more_of_a_group_than_allowed() -> None:
    groups = [7, 7, 7, 8]
    assert diversified(
        _RELEVANCE, _LIKENESS, dial=0.0, count=4, groups=groups, most_per_group=2
    ) == [0, 1, 3]
    assert diversified(
        _RELEVANCE, _LIKENESS, dial=0.0, count=4, groups=groups, most_per_group=1
    ) == [0, 3]
    assert diversified(
        _RELEVANCE, _LIKENESS, dial=0.0, count=4, groups=groups, most_per_group=0
    ) == [0, 1, 2, 3]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (2, [0, 1]), (99, [0, 1, 2, 3])])
def test_a_list_is_as_long_as_wanted_or_as_there_is(count: int, expected: list[int]) -> None:
    assert diversified(_RELEVANCE, _LIKENESS, dial=0.0, count=count) == expected


def test_of_nothing_nothing_is_chosen() -> None:
    nothing = np.zeros((0, 0), dtype=np.float32)
    assert diversified(np.zeros(0), nothing, dial=0.5, count=3) == []


def test_without_any_relevance_a_list_is_still_given() -> None:
    assert diversified(np.zeros(4), _LIKENESS, dial=0.5, count=2) == [0, 2]


@st.composite
def _candidates(draw: st.DrawFn) -> tuple[list[float], list[list[float]], list[int]]:
    size = draw(st.integers(1, 8))
    shares = st.floats(0.0, 1.0)
    relevance = draw(st.lists(shares, min_size=size, max_size=size))
    angles = draw(st.lists(st.floats(0.0, 3.0), min_size=size, max_size=size))
    likeness = [[float(np.cos(left - right)) for right in angles] for left in angles]
    groups = draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    return relevance, likeness, groups


@given(_candidates(), st.floats(0.0, 1.0), st.integers(0, 10), st.integers(0, 3))
def test_positions_differ_and_a_shorter_list_begins_the_longer(
    candidates: tuple[list[float], list[list[float]], list[int]],
    dial: float,
    count: int,
    most: int,
) -> None:
    relevance, likeness, groups = candidates
    arrays = np.array(relevance), np.array(likeness, dtype=np.float32)
    whole = diversified(*arrays, dial=dial, count=99, groups=groups, most_per_group=most)
    assert len(set(whole)) == len(whole)
    assert set(whole) <= set(range(len(relevance)))
    chosen = [groups[position] for position in whole]
    for group in set(groups):
        there = groups.count(group)
        assert chosen.count(group) == (min(most, there) if most else there)
    part = diversified(*arrays, dial=dial, count=count, groups=groups, most_per_group=most)
    assert part == whole[:count]
