import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.catalogue import Catalogue, Item
from retrieval.embedder import HashEmbedder
from retrieval.filters import Filters
from retrieval.index import Generation, open_generation
from retrieval.ranking import Recommendation, RecommendContext, Selection, recommend
from retrieval.shop import RecommendSettings, Shop
from retrieval.source_names import DEFAULT_SOURCES, SourceName
from tests.retrieval.small_index import (
    ITEMS,
    ORDERS,
    bought_by,
    build,
    context_of,
    fits,
    small_shop,
)

_CATALOGUE = Catalogue(ITEMS)
_IDS = [item.item_id for item in ITEMS]
_CUSTOMERS = ("a", "b", "c", "d", "e", "nobody")

Contexts = dict[str, RecommendContext]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Generation]]:
    shop = small_shop(tmp_path_factory.mktemp("ranking") / "shop")
    build(shop)
    generation = open_generation(shop, HashEmbedder(32))
    yield shop, generation
    generation.vectors.close()


@pytest.fixture(scope="module")
def contexts(indexed: tuple[Shop, Generation]) -> Contexts:
    return {customer: context_of(*indexed, customer) for customer in _CUSTOMERS}


def _select(
    context: RecommendContext,
    filters: Filters | None = None,
    count: int = 10,
    disliked: frozenset[str] = frozenset(),
) -> Selection:
    return recommend(context, count=count, filters=filters or Filters(), disliked=disliked)


def _recommend(
    context: RecommendContext,
    filters: Filters | None = None,
    count: int = 10,
    disliked: frozenset[str] = frozenset(),
) -> tuple[Recommendation, ...]:
    return _select(context, filters, count, disliked).items


def _ids(found: tuple[Recommendation, ...]) -> list[str]:
    return [item.item_id for item in found]


def test_own_repeats_lead(contexts: Contexts) -> None:
    first = _recommend(contexts["a"])[0]
    assert (first.item_id, first.title, first.category, first.price) == (
        "milk",
        "Milk",
        "Dairy",
        129,
    )
    assert first.sources == (SourceName.OWN_RECENT,)
    assert first.score == pytest.approx(1 / 21, abs=1e-6), "first of the own, of weight 1"
    for customer in ("a", "b", "c", "d", "e"):
        found = _ids(_recommend(contexts[customer]))
        own = [item_id for item_id in found if item_id in bought_by(customer)]
        assert found[: len(own)] == own


def test_each_kind_of_reason_is_given(contexts: Contexts) -> None:
    reasons = {item.item_id: item.reason for item in _recommend(contexts["a"])}
    assert reasons["bread"] == "Bought once, last on 2024-01-02 (order o1), 59 days ago."
    assert reasons["tea"] == (
        "Bought by others who buy Milk, which was bought on 2024-02-20 (order o3)."
    )
    assert reasons["unsold"] == "It had not been sold by 2024-02-28."
    similar = {item.item_id: item.reason for item in _recommend(contexts["d"])}
    assert similar["tea"] == "Similar to Black tea, bought on 2024-02-26 (order o8)."
    popular = {item.item_id: item.reason for item in _recommend(contexts["nobody"])}
    assert popular["cake"] == "2 customers bought it in the 28 days to 2024-02-28."
    assert popular["tea"] == "1 customer bought it in the 28 days to 2024-02-28."


def test_a_customer_with_one_order_gets_it_and_more(contexts: Contexts) -> None:
    found = _recommend(contexts["d"])
    assert found[0].item_id == "tea2"
    assert found[0].reason == "Bought once, last on 2024-02-26 (order o8), 4 days ago."
    assert len(found) > 1


def test_a_customer_without_a_past_gets_what_sells(contexts: Contexts) -> None:
    found = _recommend(contexts["nobody"])
    assert _ids(found)[:3] == ["cake", "milk", "tea2"], "two customers each, then by row"
    assert all(item.cites == () for item in found)
    assert {source for item in found[:5] for source in item.sources} == {SourceName.TRENDING}


def test_what_never_sold_is_shown_where_too_few_others_fit(contexts: Contexts) -> None:
    found = _recommend(contexts["nobody"])
    assert (_ids(found)[-1], found[-1].sources) == ("unsold", (SourceName.POPULAR,))
    assert "unsold" not in _ids(_recommend(contexts["nobody"], count=5))
    kitchen = Filters(categories=frozenset({"Kitchen"}))
    assert _ids(_recommend(contexts["nobody"], kitchen, count=5)) == ["unsold"]


def test_of_items_with_one_title_the_best_is_shown(contexts: Contexts) -> None:
    for context in contexts.values():
        titles = [item.title for item in _recommend(context)]
        assert len(titles) == len(set(titles))
    only = Filters(exclude_items=frozenset({"milk"}))
    assert "milk2" in _ids(_recommend(contexts["a"], only))


def test_a_disliked_title_stays_away_under_every_id(contexts: Contexts) -> None:
    found = _ids(_recommend(contexts["a"], disliked=frozenset({"milk"})))
    assert found
    assert not {"milk", "milk2"} & set(found)


def test_new_only_leaves_out_what_was_bought(contexts: Contexts) -> None:
    found = _ids(_recommend(contexts["a"], Filters(new_only=True)))
    assert found
    assert not {"milk", "bread", "ghost"} & set(found)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(categories=frozenset({"Bakery"})), {"bread", "cake"}),
        (Filters(exclude_categories=frozenset({"Bakery", "Dairy"})), {"tea", "tea2", "unsold"}),
        (Filters(max_price=249), {"milk", "bread"}),
        (Filters(min_price=250), {"tea", "cake", "unsold"}),
        (Filters(min_price=349, max_price=349), {"tea"}),
        (Filters(words=("TEA",)), {"tea", "tea2"}),
        (Filters(words=("tea", "green")), {"tea"}),
        (Filters(exclude_words=("drinks", "cake")), {"milk", "bread", "unsold"}),
        (Filters(only_items=frozenset({"cake", "milk2"})), {"cake", "milk2"}),
        (
            Filters(exclude_items=frozenset({"milk", "milk2"})),
            {"bread", "tea", "tea2", "cake", "unsold"},
        ),
        (Filters(exclude_items=frozenset(_IDS)), set()),
    ],
)
def test_filters_with_known_answers(
    contexts: Contexts, filters: Filters, expected: set[str]
) -> None:
    found = _select(contexts["b"], filters)
    assert set(_ids(found.items)) == expected
    assert found.notes == ()


@pytest.mark.parametrize(
    ("filters", "expected", "note"),
    [
        (Filters(categories=frozenset({"bakery"})), 6, "Nothing in bakery fits"),
        (Filters(words=("helicopter",)), 6, "Nothing that fits is called 'helicopter'"),
        (Filters(min_price=10**9), 1, "the nearest price is $25.00"),
        (Filters(max_price=100), 1, "the nearest price is $1.19"),
    ],
)
def test_where_nothing_fits_the_nearest_is_shown_and_said(
    contexts: Contexts, filters: Filters, expected: int, note: str
) -> None:
    found = _select(contexts["b"], filters)
    assert len(found.items) == expected
    assert len(found.notes) == 1
    assert note in found.notes[0]


def test_nothing_asked_for_is_nothing(contexts: Contexts) -> None:
    assert _recommend(contexts["a"], count=0) == ()


_FILTERS = st.builds(
    Filters,
    categories=st.frozensets(st.sampled_from(["Dairy", "Bakery", "Hot drinks", "Kitchen"])),
    exclude_categories=st.frozensets(st.sampled_from(["Dairy", "Kitchen"]), max_size=1),
    min_price=st.none() | st.integers(0, 1_500),
    max_price=st.none() | st.integers(0, 1_500),
    exclude_items=st.frozensets(st.sampled_from(_IDS), max_size=3),
    words=st.lists(st.sampled_from(["tea", "MILK", "bakery", "teas"]), max_size=2).map(tuple),
    exclude_words=st.lists(st.sampled_from(["black", "Dairy", "x", "te"]), max_size=2).map(tuple),
    new_only=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(
    filters=_FILTERS,
    customer=st.sampled_from(_CUSTOMERS),
    disliked=st.frozensets(st.sampled_from(_IDS), max_size=2),
    count=st.integers(1, 8),
)
def test_whatever_is_recommended_fits_and_is_sold_here(
    contexts: Contexts,
    filters: Filters,
    customer: str,
    disliked: frozenset[str],
    count: int,
) -> None:
    own = bought_by(customer)
    unwanted = {_CATALOGUE.title(item_id) for item_id in disliked}
    selection = _select(contexts[customer], filters, count, disliked)
    found = selection.items
    for item in found:
        entry = _CATALOGUE.items[item.item_id]
        assert (item.title, item.category, item.price) == (
            entry.title,
            entry.category,
            entry.price,
        )
        assert fits(entry, filters, own) or selection.notes
        assert item.item_id not in filters.exclude_items
        assert item.category not in filters.exclude_categories
        assert item.title not in unwanted
    fitting = {e.title for e in ITEMS if e.title not in unwanted and fits(e, filters, own)}
    if fitting:
        assert selection.notes == ()
        assert len(found) == min(count, len(fitting)), "what fits is found"
    assert len(set(_ids(found))) == len(found)


def test_every_figure_of_a_reason_stands_in_its_evidence_and_in_the_log(
    contexts: Contexts,
) -> None:
    seen: set[SourceName] = set()
    for customer, context in contexts.items():
        own = {
            (when, order): items for (who, when, order), items in ORDERS.items() if who == customer
        }
        for item in _recommend(context):
            seen.update(item.sources)
            evidence = " ".join(record.text for record in item.evidence)
            figures = re.findall(r"\d{4}-\d{2}-\d{2}|\bo\d+\b|\d+", item.reason)
            assert figures or item.reason == "It had not been sold by 2024-02-28."
            assert all(figure in evidence for figure in figures)
            cited = re.search(r"on (\S+) \(order (o\d+)\)", item.reason)
            if cited is None:
                assert item.cites == ()
                continue
            assert cited.groups() in own
            assert f"order {cited[2]} on {cited[1]}" in evidence
            title = re.search(
                r"(?:who buy|to|kind of) (.+?),(?: which was)? bought on", item.reason
            )
            wanted = title[1] if title else item.title
            held = {_CATALOGUE.title(i) for i in own[cited.groups()]}  # type: ignore[index]
            assert wanted in held
    assert seen == {*DEFAULT_SOURCES, SourceName.POPULAR}


def test_the_same_question_has_the_same_answer(contexts: Contexts) -> None:
    for context in contexts.values():
        assert _select(context) == _select(context)


def test_a_shorter_list_is_the_beginning_of_a_longer(contexts: Contexts) -> None:
    for context in contexts.values():
        assert _ids(_recommend(context, count=2)) == _ids(_recommend(context, count=6))[:2]


# The shop's rules


def _by_rules(
    indexed: tuple[Shop, Generation], customer: str, count: int = 6, **rules: Any
) -> list[str]:
    context = context_of(*indexed, customer, rules=RecommendSettings(**rules))
    return _ids(_recommend(context, count=count))


def test_pinned_items_come_first_where_they_fit(indexed: tuple[Shop, Generation]) -> None:
    assert _by_rules(indexed, "a", 3)[0] == "milk"
    assert _by_rules(indexed, "a", 3, pin_items=("unsold",)) == ["unsold", "milk", "bread"]
    assert _by_rules(indexed, "a", 1, pin_items=("unsold", "nothing")) == ["unsold"]
    context = context_of(*indexed, "a", rules=RecommendSettings(pin_items=("unsold",)))
    cheap = _recommend(context, Filters(max_price=300))
    assert _ids(cheap) == ["milk", "bread"], "a pinned item that does not fit stays away"
    disliked = _recommend(context, disliked=frozenset({"unsold"}))
    assert "unsold" not in _ids(disliked)


def test_a_pinned_item_is_shown_instead_of_another_of_its_title(
    indexed: tuple[Shop, Generation],
) -> None:
    found = _by_rules(indexed, "a", 3, pin_items=("milk2",))
    assert found[0] == "milk2"
    assert "milk" not in found


def test_a_pinned_item_is_found_among_many_others(tmp_path_factory: Any) -> None:
    """A hundred better candidates do not crowd it out."""
    shop = small_shop(tmp_path_factory.mktemp("pins") / "shop", more_items=300)
    build(shop)
    generation = open_generation(shop, HashEmbedder(32))
    catalogue = Catalogue.read(shop.items_file)
    rules = RecommendSettings(pin_items=("m299",), diversity=0.0)
    context = context_of(shop, generation, "a", catalogue=catalogue, rules=rules)
    assert _ids(_recommend(context, count=2)) == ["m299", "milk"]
    assert len(_recommend(context, count=100)) == 100
    generation.vectors.close()


def test_one_category_does_not_fill_the_list(indexed: tuple[Shop, Generation]) -> None:
    category = {item.item_id: item.category for item in ITEMS}
    free = [category[i] for i in _by_rules(indexed, "c", 4, diversity=0.0)]
    assert free == ["Bakery", "Dairy", "Bakery", "Hot drinks"]
    capped = [category[i] for i in _by_rules(indexed, "c", 4, diversity=0.0, most_per_category=1)]
    assert sorted(capped) == ["Bakery", "Dairy", "Hot drinks", "Kitchen"]


def test_the_value_dial_goes_from_the_likeliest_to_the_worthiest(
    indexed: tuple[Shop, Generation],
) -> None:
    assert _by_rules(indexed, "a", 2, diversity=0.0) == ["milk", "bread"]
    # Chance times price: cake .0225 * 1299, unsold .0054 * 2500, bread .0455 * 249, milk .048 * 129
    dear = _by_rules(indexed, "a", 4, diversity=0.0, value=1.0)
    assert dear == ["cake", "unsold", "bread", "milk"]


def test_value_is_margin_where_the_cost_is_known(indexed: tuple[Shop, Generation]) -> None:
    costly = Catalogue([*ITEMS, replace(_CATALOGUE.items["cake"], cost=1_298)])
    rules = RecommendSettings(diversity=0.0, value=1.0)
    context = context_of(*indexed, "a", catalogue=costly, rules=rules)
    assert _ids(_recommend(context, count=4)) == ["unsold", "bread", "milk", "tea"]


def test_the_diversity_dial_goes_from_the_likeliest_to_the_most_different(
    indexed: tuple[Shop, Generation],
) -> None:
    shop, generation = indexed
    table = generation.recommender.table
    similar: Any = generation.recommender.sources[SourceName.SIMILAR]

    def nearness(items: list[str]) -> float:
        rows = np.array([table.row[item_id] for item_id in items])
        cosine = similar.similarity(rows)
        return float(cosine[np.triu_indices(len(rows), 1)].mean())

    plain = _by_rules(indexed, "b", 3, diversity=0.0)
    assert set(plain) == {"milk", "bread", "tea"}, "what was bought, likeliest first"
    mixed = _by_rules(indexed, "b", 3, diversity=1.0)
    assert mixed[0] == plain[0]
    assert nearness(mixed) <= nearness(plain)
    context = context_of(shop, generation, "b", rules=RecommendSettings(diversity=0.0))
    scores = [item.score for item in _recommend(context)]
    assert scores == sorted(scores, reverse=True)


def test_an_item_gone_from_the_catalogue_is_not_shown(indexed: tuple[Shop, Generation]) -> None:
    left = Catalogue([item for item in ITEMS if item.item_id not in ("milk", "milk2")])
    found = _recommend(context_of(*indexed, "a", catalogue=left))
    assert found[0].item_id == "bread"
    assert "Milk" not in {item.title for item in found}


def test_what_is_sold_out_is_not_shown(indexed: tuple[Shop, Generation]) -> None:
    stock = {"milk": 0, "bread": 3}
    catalogue = Catalogue(
        Item(
            item_id=item.item_id,
            title=item.title,
            category=item.category,
            price=item.price,
            stock=stock.get(item.item_id),
        )
        for item in ITEMS
    )
    found = _ids(_recommend(context_of(*indexed, "a", catalogue=catalogue)))
    assert "milk" not in found
    assert {"bread", "milk2"} <= set(found)


def test_no_purchases_and_nothing_to_show_is_an_empty_list(
    indexed: tuple[Shop, Generation],
) -> None:
    context = context_of(*indexed, "nobody", catalogue=Catalogue([]))
    assert _select(context) == Selection(items=(), notes=())


# A judge


def test_a_judge_reorders_the_best_and_adds_none(indexed: tuple[Shop, Generation]) -> None:
    context = context_of(*indexed, "a", rules=RecommendSettings(diversity=0.0))
    asked: list[list[str]] = []

    def judge(titles: Any) -> Any:
        asked.append(list(titles))
        return np.array([10.0 if title == "Green tea" else 0.0 for title in titles])

    plain = _recommend(context)
    judged = recommend(context, count=10, filters=Filters(), judge=judge).items
    assert set(_ids(judged)) == set(_ids(plain))
    assert _ids(plain)[2:4] == ["cake", "tea"]
    assert _ids(judged)[2:4] == ["tea", "cake"]
    assert set(asked[0]) == {item.title for item in plain}
