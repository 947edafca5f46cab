import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.candidates import CandidateContext, Source, items_by_text, purchases_of
from retrieval.catalogue import Catalogue, Item
from retrieval.embedder import HashEmbedder
from retrieval.index import open_generation
from retrieval.ranking import Filters, Recommendation, recommend
from tests.retrieval.small_index import AS_OF, ITEMS, ORDERS, build, small_shop

_CATALOGUE = Catalogue(ITEMS)
_IDS = [item.item_id for item in ITEMS]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, CandidateContext]]:
    shop = small_shop(tmp_path_factory.mktemp("ranking") / "shop")
    build(shop)
    generation = open_generation(shop, HashEmbedder(32))
    yield {
        customer: CandidateContext(
            purchases=purchases_of(shop.log, customer, AS_OF),
            as_of=AS_OF,
            catalogue=_CATALOGUE,
            sales=generation.sales,
            vectors=generation.vectors,
            items_by_text=items_by_text(_CATALOGUE),
        )
        for customer in ("a", "b", "c", "d", "e", "nobody")
    }
    generation.vectors.close()


def _recommend(
    context: CandidateContext,
    filters: Filters | None = None,
    count: int = 10,
    disliked: frozenset[str] = frozenset(),
) -> list[Recommendation]:
    return recommend(
        context, count=count, filters=filters or Filters(), currency="USD", disliked=disliked
    )


def _ids(found: list[Recommendation]) -> list[str]:
    return [item.item_id for item in found]


def test_own_repeats_lead(contexts: dict[str, CandidateContext]) -> None:
    first = _recommend(contexts["a"])[0]
    assert (first.item_id, first.title, first.category, first.price) == (
        "milk",
        "Milk",
        "Dairy",
        129,
    )
    assert first.sources == (Source.OWN, Source.POPULAR)
    assert first.reason == "Bought in 3 orders, last on 2024-02-20 (order o3)."
    assert [(e.id, e.text) for e in first.evidence] == [
        ("item:milk", "Milk (Dairy), $1.29"),
        ("order:o3", "order o3 on 2024-02-20: Milk"),
        ("order:o2", "order o2 on 2024-01-22: Milk"),
        ("log:milk:own", "orders that hold Milk: 3, the first on 2024-01-02 (order o1)"),
    ]


def test_each_source_says_why(contexts: dict[str, CandidateContext]) -> None:
    reasons = {item.item_id: item.reason for item in _recommend(contexts["a"])}
    assert reasons["bread"] == "Bought once, last on 2024-01-02 (order o1)."
    assert reasons["tea"] == ("Often bought together with Milk, bought on 2024-02-20 (order o3).")
    similar = {item.item_id: item.reason for item in _recommend(contexts["d"])}
    assert similar["tea"] == "Similar to Black tea, bought on 2024-02-26 (order o8)."
    popular = {item.item_id: item.reason for item in _recommend(contexts["nobody"])}
    assert popular["cake"] == "2 customers bought it in the last 28 days."


def test_a_customer_with_one_order_gets_it_and_more(
    contexts: dict[str, CandidateContext],
) -> None:
    found = _recommend(contexts["d"])
    assert found[0].item_id == "tea2"
    assert found[0].reason == "Bought once, last on 2024-02-26 (order o8)."
    assert len(found) > 1


def test_a_customer_without_a_past_gets_what_sells(
    contexts: dict[str, CandidateContext],
) -> None:
    found = _recommend(contexts["nobody"])
    assert _ids(found)[:2] == ["cake", "milk"]
    assert {source for item in found for source in item.sources} == {Source.POPULAR}


def test_of_items_with_one_title_the_best_is_shown(
    contexts: dict[str, CandidateContext],
) -> None:
    for context in contexts.values():
        titles = [item.title for item in _recommend(context)]
        assert len(titles) == len(set(titles))
    only = Filters(exclude_items=frozenset({"milk"}))
    assert "milk2" in _ids(_recommend(contexts["a"], only))


def test_a_disliked_title_stays_away_under_every_id(
    contexts: dict[str, CandidateContext],
) -> None:
    found = _ids(_recommend(contexts["a"], disliked=frozenset({"milk"})))
    assert not {"milk", "milk2"} & set(found)


def test_new_only_leaves_out_what_was_bought(contexts: dict[str, CandidateContext]) -> None:
    found = _ids(_recommend(contexts["a"], Filters(new_only=True)))
    assert found
    assert not {"milk", "bread", "ghost"} & set(found)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(categories=frozenset({"Bakery"})), {"bread", "cake"}),
        (Filters(categories=frozenset({"bakery"})), set()),
        (Filters(max_price=249), {"milk", "bread"}),
        (Filters(min_price=250), {"tea", "cake"}),
        (Filters(min_price=349, max_price=349), {"tea"}),
        (Filters(words=("TEA",)), {"tea", "tea2"}),
        (Filters(words=("tea", "green")), {"tea"}),
        (Filters(exclude_words=("drinks", "cake")), {"milk", "bread"}),
        (Filters(exclude_items=frozenset({"milk", "milk2"})), {"bread", "tea", "tea2", "cake"}),
        (Filters(words=("helicopter",)), set()),
        (Filters(min_price=10**9), set()),
        (Filters(exclude_items=frozenset(_IDS)), set()),
    ],
)
def test_filters_with_known_answers(
    contexts: dict[str, CandidateContext], filters: Filters, expected: set[str]
) -> None:
    assert set(_ids(_recommend(contexts["b"], filters))) == expected


def test_nothing_asked_for_is_nothing(contexts: dict[str, CandidateContext]) -> None:
    assert _recommend(contexts["a"], count=0) == []


_FILTERS = st.builds(
    Filters,
    categories=st.frozensets(st.sampled_from(["Dairy", "Bakery", "Hot drinks", "Kitchen"])),
    min_price=st.none() | st.integers(0, 1_500),
    max_price=st.none() | st.integers(0, 1_500),
    exclude_items=st.frozensets(st.sampled_from(_IDS), max_size=3),
    words=st.lists(st.sampled_from(["tea", "MILK", "bakery", "teas"]), max_size=2).map(tuple),
    exclude_words=st.lists(st.sampled_from(["black", "Dairy", "x", "te"]), max_size=2).map(tuple),
    new_only=st.booleans(),
)


def _fits(item: Item, filters: Filters, bought: set[str]) -> bool:
    """The rules once more, in other words than the code's."""
    words = f"{item.title} {item.category}".lower().split()
    low = 0 if filters.min_price is None else filters.min_price
    high = 10**12 if filters.max_price is None else filters.max_price
    priced = item.price is not None and low <= item.price <= high
    unlimited = filters.min_price is None and filters.max_price is None
    return (
        (not filters.categories or item.category in filters.categories)
        and (priced or unlimited)
        and item.item_id not in filters.exclude_items
        and all(word.lower().removesuffix("s") in words for word in filters.words)
        and not any(word.lower() in words for word in filters.exclude_words)
        and not (filters.new_only and item.item_id in bought)
    )


@settings(max_examples=60, deadline=None)
@given(
    filters=_FILTERS,
    customer=st.sampled_from(["a", "b", "c", "d", "e", "nobody"]),
    disliked=st.frozensets(st.sampled_from(_IDS), max_size=2),
    count=st.integers(1, 6),
)
def test_whatever_is_recommended_fits_and_is_sold_here(
    contexts: dict[str, CandidateContext],
    filters: Filters,
    customer: str,
    disliked: frozenset[str],
    count: int,
) -> None:
    bought = {i for (who, _, _), items in ORDERS.items() if who == customer for i in items}
    sold = {item_id for items in ORDERS.values() for item_id in items}
    unwanted = {_CATALOGUE.title(item_id) for item_id in disliked}
    found = _recommend(contexts[customer], filters, count, disliked)
    for item in found:
        entry = _CATALOGUE.items[item.item_id]
        assert (item.title, item.category, item.price) == (
            entry.title,
            entry.category,
            entry.price,
        )
        assert _fits(entry, filters, bought)
        assert item.title not in unwanted
    fitting = {
        entry.title
        for entry in ITEMS
        if entry.item_id in sold and entry.title not in unwanted and _fits(entry, filters, bought)
    }
    assert len(found) == min(count, len(fitting)), "what fits and sells is found"
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert len(set(_ids(found))) == len(found)


def test_every_figure_of_a_reason_stands_in_its_evidence_and_in_the_log(
    contexts: dict[str, CandidateContext],
) -> None:
    seen: set[Source] = set()
    for customer, context in contexts.items():
        own = {
            (when, order): items for (who, when, order), items in ORDERS.items() if who == customer
        }
        for item in _recommend(context):
            seen.update(item.sources)
            evidence = " ".join(record.text for record in item.evidence)
            figures = re.findall(r"\d{4}-\d{2}-\d{2}|\bo\d+\b|\d+", item.reason)
            assert figures
            assert all(figure in evidence for figure in figures)
            cited = re.search(r"on (\S+) \(order (o\d+)\)", item.reason)
            if cited is None:
                continue
            assert cited.groups() in own
            assert f"order {cited[2]} on {cited[1]}" in evidence
            title = re.search(r"(?:with|to) (.+), bought on", item.reason)
            wanted = title[1] if title else item.title
            held = {_CATALOGUE.title(i) for i in own[cited.groups()]}  # type: ignore[index]
            assert wanted in held
    assert seen == set(Source)


def test_the_same_question_has_the_same_answer(contexts: dict[str, CandidateContext]) -> None:
    for context in contexts.values():
        assert _recommend(context) == _recommend(context)


def test_a_shorter_list_is_the_beginning_of_a_longer(
    contexts: dict[str, CandidateContext],
) -> None:
    for context in contexts.values():
        assert _ids(_recommend(context, count=2)) == _ids(_recommend(context, count=6))[:2]
