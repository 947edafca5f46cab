from typing import Any

import numpy as np
import pytest

from retrieval.baskets import baskets_of
from retrieval.counting_sources import (
    OwnRepeats,
    Popular,
    RecentOwnRepeats,
    Trending,
    customers_by_item,
)
from retrieval.sources import strongest
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_AS_OF = moment("2024-03-01")
_ITEMS = 6
# 60 days before the moment is 1 January, four weeks before it 2 February.
_LINES = lines_of(
    {
        ("a", "2023-11-02", "o1"): (0, 1),
        ("a", "2024-01-01", "o2"): (0,),
        ("a", "2024-02-29", "o3"): (2, 3, 3),
        ("b", "2024-02-01T23:59", "o4"): (0, 4),
        ("c", "2024-02-02", "o5"): (4, 4),
        ("c", "2024-02-03", "o6"): (4,),
        ("d", "2024-01-02", "o7"): (4, 1),
        ("e", "2024-01-01", "o8"): (),
    }
)
_BASKETS = baskets_of(_LINES, _AS_OF, _ITEMS, np.arange(5))


def _best(source: Any, row: int) -> list[int]:
    items = strongest(source.scores(_BASKETS), _ITEMS)[0][row]
    return [int(item) for item in items if item >= 0]


def test_own_repeats_are_by_orders_then_by_the_last() -> None:
    """Customer a has two orders of item 0, and one of 2 and 3 yesterday, of 1 long ago."""
    assert _best(OwnRepeats(), 0) == [0, 2, 3, 1]
    scores = OwnRepeats().scores(_BASKETS).toarray()
    assert scores[0, :4] == pytest.approx([2 + 0.5 / 61, 1 + 0.5 / 121, 1.25, 1.25])


def test_recent_own_repeats_fade() -> None:
    """Orders of 120 and 60 days ago count 0.25 and 0.5, together less than one of yesterday."""
    assert _best(RecentOwnRepeats(), 0) == [2, 3, 0, 1]
    scores = RecentOwnRepeats().scores(_BASKETS).toarray()
    assert scores[0, :4] == pytest.approx([0.75, 0.25, 0.5 ** (1 / 60), 0.5 ** (1 / 60)])


def test_own_repeats_of_who_bought_nothing_are_none() -> None:
    assert _best(OwnRepeats(), 4) == _best(RecentOwnRepeats(), 4) == []


def test_customers_are_counted_once_an_item() -> None:
    assert customers_by_item(_LINES, _ITEMS).tolist() == [2.0, 2.0, 1.0, 1.0, 3.0, 0.0]


def test_popular_items_are_by_all_customers_for_everybody() -> None:
    popular = Popular.fit(_LINES, _ITEMS)
    assert _best(popular, 0) == _best(popular, 4) == [4, 0, 1, 2, 3]


def test_recently_popular_items_are_of_four_weeks_and_ties_of_all_time() -> None:
    """Since 2 February one customer each of 2, 3 and 4; before it 4 had most, then 0 and 1."""
    trending = Trending.fit(_LINES, _ITEMS, _AS_OF)
    assert _best(trending, 3) == [4, 2, 3, 0, 1]
    scores = trending.scores(_BASKETS)[3]
    assert scores.tolist() == pytest.approx([2 / 31, 2 / 31, 1 + 1 / 31, 1 + 1 / 31, 1 + 3 / 31, 0])


def test_one_recent_customer_outweighs_any_number_of_old_ones() -> None:
    old = {(f"c{number:03}", "2023-06-01", "o"): (0,) for number in range(500)}
    lines = lines_of({**old, ("z", "2024-02-20", "o"): (1,)})
    scores = Trending.fit(lines, 2, _AS_OF).scores(_BASKETS.rows(0, 1))[0]
    assert scores[1] > 9 * scores[0] > 0


def test_a_shorter_half_life_forgets_sooner() -> None:
    """With 30 days, orders of 120 and 60 days ago count a sixteenth and a quarter."""
    scores = RecentOwnRepeats(30).scores(_BASKETS).toarray()
    assert scores[0, :2] == pytest.approx([1 / 16 + 1 / 4, 1 / 16])


def test_a_shorter_window_sees_only_the_newest_trend() -> None:
    """In the last two days only a bought, and only items 2 and 3."""
    assert set(_best(Trending.fit(_LINES, _ITEMS, _AS_OF, days=2), 1)[:2]) == {2, 3}
