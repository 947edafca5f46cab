from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.assortment import Assortment
from retrieval.catalogue import Catalogue, Item
from retrieval.embedder import HashEmbedder
from retrieval.filters import Filters
from retrieval.index import Generation, open_generation
from retrieval.item_table import item_table
from retrieval.ranking import recommend
from retrieval.relaxation import Relaxed, relaxed
from retrieval.shop import RecommendSettings, Shop
from tests.retrieval.small_index import ITEMS, bought_by, build, context_of, fits, small_shop

_CATALOGUE = Catalogue(ITEMS)
_IDS = [item.item_id for item in ITEMS]
_NEVER = RecommendSettings(never_categories=("Kitchen",), never_items=("milk2",))


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Generation]]:
    shop = small_shop(tmp_path_factory.mktemp("relaxation") / "shop")
    build(shop)
    generation = open_generation(shop, HashEmbedder(32))
    yield shop, generation
    generation.vectors.close()


def _relaxed(
    filters: Filters,
    own: tuple[str, ...] = (),
    disliked: tuple[str, ...] = (),
    rules: RecommendSettings | None = None,
    items: tuple[Item, ...] = ITEMS,
) -> tuple[set[str], Relaxed]:
    """Ids of what may be shown, and all that was decided."""
    catalogue = Catalogue(items)
    assortment = Assortment(item_table(catalogue), catalogue, rules or RecommendSettings())
    found = relaxed(assortment, filters, assortment.rows(own), disliked, currency="USD")
    ids = assortment.table.ids.to_pylist()
    return {ids[row] for row in np.flatnonzero(found.allowed)}, found


def test_filters_that_something_fits_stay_as_they_are() -> None:
    filters = Filters(categories=frozenset({"Bakery"}), max_price=300)
    ids, found = _relaxed(filters)
    assert (ids, found.filters, found.notes) == ({"bread"}, filters, ())


def test_nothing_so_cheap_gives_the_cheapest_and_its_price() -> None:
    ids, found = _relaxed(Filters(max_price=9))
    assert found.notes == ("Nothing that fits costs $0.09 or less; the nearest price is $1.19.",)
    assert ids == {"milk", "milk2"}, "up to half above the nearest"
    assert found.filters == Filters(max_price=178)


def test_nothing_so_dear_gives_the_dearest_and_its_price() -> None:
    ids, found = _relaxed(Filters(min_price=9_000))
    assert found.notes == ("Nothing that fits costs $90.00 or more; the nearest price is $25.00.",)
    assert ids == {"unsold"}, "down to a third below the nearest"


@pytest.mark.parametrize(
    ("low", "high", "nearest", "expected"),
    [
        (300, 340, "$3.49", {"tea"}),  # 9 above, and 51 below is bread
        (255, 300, "$2.49", {"bread"}),  # 6 below, and 49 above is tea
        (1_400, 1_500, "$12.99", {"cake"}),
        (1, 2, "$1.19", {"milk", "milk2"}),
    ],
)
def test_between_two_prices_the_nearest_on_either_side_counts(
    low: int, high: int, nearest: str, expected: set[str]
) -> None:
    ids, found = _relaxed(Filters(min_price=low, max_price=high))
    assert found.notes[0].endswith(f"; the nearest price is {nearest}.")
    assert ids == expected


def test_limits_that_contradict_give_the_nearest_price_too() -> None:
    ids, found = _relaxed(Filters(min_price=400, max_price=300))
    assert "the nearest price is $3.49" in found.notes[0]
    assert "tea" in ids


def test_price_is_widened_within_what_else_is_asked() -> None:
    ids, found = _relaxed(Filters(categories=frozenset({"Bakery"}), max_price=100))
    assert ids == {"bread"}
    assert "the nearest price is $2.49" in found.notes[0]
    assert found.filters.categories == {"Bakery"}


def test_words_that_nothing_holds_are_let_go() -> None:
    ids, found = _relaxed(Filters(words=("flying", "helicopter"), categories=frozenset({"Dairy"})))
    assert ids == {"milk", "milk2"}
    assert found.notes == ("Nothing that fits is called 'flying helicopter'.",)
    assert found.filters == Filters(categories=frozenset({"Dairy"}))


def test_a_price_is_widened_after_words_are_let_go() -> None:
    ids, found = _relaxed(Filters(words=("helicopter",), max_price=1))
    assert ids == {"milk", "milk2"}
    assert found.notes == (
        "Nothing that fits is called 'helicopter'.",
        "Nothing that fits costs $0.01 or less; the nearest price is $1.19.",
    )


def test_a_category_that_nothing_is_in_is_let_go_last_of_what_is_asked() -> None:
    ids, found = _relaxed(Filters(categories=frozenset({"Toys"})))
    assert ids == set(_IDS)
    assert found.notes == ("Nothing in Toys fits; these are from other categories.",)


def test_where_everything_was_bought_new_only_is_let_go() -> None:
    filters = Filters(categories=frozenset({"Dairy"}), new_only=True)
    ids, found = _relaxed(filters, own=("milk", "milk2"))
    assert ids == set(_IDS) - {"milk", "milk2"}, "the wish for new items is kept longer"
    assert found.notes == ("Nothing in Dairy fits; these are from other categories.",)
    ids, found = _relaxed(filters, own=tuple(_IDS))
    assert ids == set(_IDS)
    assert found.notes[-1] == "Nothing that fits is new; these were bought before."


def test_unknown_items_are_named() -> None:
    ids, found = _relaxed(
        Filters(only_items=frozenset({"cake", "spaceship"}), exclude_items=frozenset({"rocket"}))
    )
    assert ids == {"cake"}
    assert found.notes == (
        "There is no item 'rocket' here; it is left out of the filter.",
        "There is no item 'spaceship' here; it is left out of the filter.",
    )


def test_where_none_of_the_named_items_can_be_shown_others_are() -> None:
    ids, found = _relaxed(Filters(only_items=frozenset({"spaceship"})))
    assert ids == set(_IDS)
    assert found.notes[-1] == "None of the named items can be shown; these are others."


def test_an_excluded_or_disliked_or_forbidden_item_never_comes_back() -> None:
    ids, found = _relaxed(
        Filters(
            max_price=1,
            exclude_items=frozenset({"bread"}),
            exclude_categories=frozenset({"Hot drinks"}),
        ),
        disliked=("milk",),
        rules=_NEVER,
    )
    assert ids == {"cake"}
    assert found.notes == ("Nothing that fits costs $0.01 or less; the nearest price is $12.99.",)


def test_where_everything_is_excluded_nothing_is_given_up() -> None:
    filters = Filters(exclude_items=frozenset(_IDS), words=("tea",), max_price=5, new_only=True)
    ids, found = _relaxed(filters)
    assert (ids, found.filters, found.notes) == (set(), filters, ())


def test_a_price_is_let_go_where_no_price_is_known() -> None:
    unpriced = tuple(replace(item, price=None) for item in ITEMS)
    ids, found = _relaxed(Filters(max_price=500), items=unpriced)
    assert ids == set(_IDS)
    assert found.notes == ("The price of what fits is not known.",)


def test_an_empty_catalogue_is_an_empty_answer() -> None:
    ids, found = _relaxed(Filters(max_price=500, words=("tea",)), items=())
    assert (ids, found.notes) == (set(), ())


_SOME_IDS = st.sampled_from([*_IDS, "spaceship"])
_FILTERS = st.builds(
    Filters,
    categories=st.frozensets(st.sampled_from(["Dairy", "Bakery", "Toys", "Kitchen"]), max_size=2),
    exclude_categories=st.frozensets(st.sampled_from(["Dairy", "Bakery", "Toys"]), max_size=2),
    min_price=st.none() | st.integers(-10, 3_000),
    max_price=st.none() | st.integers(-10, 3_000),
    only_items=st.frozensets(_SOME_IDS, max_size=2),
    exclude_items=st.frozensets(_SOME_IDS, max_size=4),
    words=st.lists(st.sampled_from(["tea", "milk", "helicopter"]), max_size=2).map(tuple),
    exclude_words=st.lists(st.sampled_from(["green", "dairy"]), max_size=1).map(tuple),
    new_only=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(
    filters=_FILTERS,
    customer=st.sampled_from(["a", "b", "e", "nobody"]),
    disliked=st.frozensets(st.sampled_from(_IDS), max_size=2),
    rules=st.sampled_from([RecommendSettings(), _NEVER]),
    count=st.integers(0, 8),
)
def test_whatever_is_asked_there_is_an_answer_that_fits_what_is_left_of_it(
    indexed: tuple[Shop, Generation],
    filters: Filters,
    customer: str,
    disliked: frozenset[str],
    rules: RecommendSettings,
    count: int,
) -> None:
    context = context_of(*indexed, customer, rules=rules)
    own = bought_by(customer)
    decided = relaxed(
        context.assortment,
        filters,
        context.assortment.rows(own),
        disliked,
        currency="USD",
    )
    kept: dict[str, Any] = {
        name: getattr(filters, name)
        for name in ("exclude_categories", "exclude_items", "exclude_words")
    }
    assert decided.filters == replace(decided.filters, **kept), "what was left out stays out"
    unknown = "spaceship" in filters.only_items | filters.exclude_items
    assert bool(decided.notes) is (decided.filters != filters or unknown)

    unwanted = {_CATALOGUE.title(item_id) for item_id in disliked}
    may_show = [
        item
        for item in ITEMS
        if item.title not in unwanted
        and item.item_id not in rules.never_items
        and item.category not in rules.never_categories
    ]
    fitting = {item.title for item in may_show if fits(item, decided.filters, own)}
    assert bool(fitting) is any(fits(item, Filters(**kept), own) for item in may_show)
    shown = recommend(context, count=count, filters=filters, disliked=disliked)
    assert shown.notes == decided.notes
    assert len(shown.items) == min(count, len(fitting))
    for item in shown.items:
        assert _CATALOGUE.items[item.item_id] in may_show
        assert fits(_CATALOGUE.items[item.item_id], decided.filters, own)
