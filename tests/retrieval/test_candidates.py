from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from retrieval.candidates import (
    SOURCES,
    Candidate,
    CandidateContext,
    Source,
    best_seller,
    bought_together,
    items_by_text,
    own_repeats,
    popular,
    purchases_of,
    similar,
)
from retrieval.catalogue import Catalogue
from retrieval.embedder import HashEmbedder
from retrieval.embedding_cache import text_id
from retrieval.events import Kind
from retrieval.index import Generation, open_generation
from retrieval.shop import Shop
from tests.retrieval.small_index import AS_OF, ITEMS, build, small_shop
from tests.retrieval.small_log import append, bought

_CATALOGUE = Catalogue(ITEMS)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = small_shop(tmp_path_factory.mktemp("candidates") / "shop")
    build(shop)
    return shop


@pytest.fixture(scope="module")
def generation(shop: Shop) -> Iterator[Generation]:
    generation = open_generation(shop, HashEmbedder(32))
    yield generation
    generation.vectors.close()


def _context(shop: Shop, generation: Generation, customer_id: str) -> CandidateContext:
    return CandidateContext(
        purchases=purchases_of(shop.log, customer_id, AS_OF),
        as_of=AS_OF,
        catalogue=_CATALOGUE,
        sales=generation.sales,
        vectors=generation.vectors,
        items_by_text=items_by_text(_CATALOGUE),
    )


def test_purchases_are_the_customers_own_before_the_moment(tmp_path: Path) -> None:
    shop = small_shop(tmp_path / "shop")
    append(
        shop.log,
        [
            bought("a", "2024-02-21", "o3", "milk", -104, Kind.RETURN),
            bought("a", "2024-02-22", "", "cake", 0, Kind.VIEW),
            bought("a", AS_OF, "o50", "cake", 104),
        ],
    )
    purchases = purchases_of(shop.log, "a", AS_OF)
    assert [(p.order_id, p.item_id, p.amount) for p in purchases] == [
        ("o1", "milk", 104),
        ("o1", "bread", 105),
        ("o2", "milk", 104),
        ("o3", "milk", 104),
        ("o3", "ghost", 105),
    ]
    assert purchases == sorted(purchases, key=lambda p: p.timestamp)
    assert purchases_of(shop.log, "nobody", AS_OF) == []


def test_own_repeats_count_orders_with_a_half_life(shop: Shop, generation: Generation) -> None:
    """Customer a bought milk 59, 39 and 10 days ago, bread 59 and ghost 10 days ago."""
    own = own_repeats(_context(shop, generation, "a"))
    assert [(c.item_id, c.source, c.because) for c in own] == [
        ("milk", Source.OWN, "milk"),
        ("ghost", Source.OWN, "ghost"),
        ("bread", Source.OWN, "bread"),
    ]
    half = [0.5 ** (days / 60) for days in (59, 39, 10)]
    assert [c.score for c in own] == pytest.approx([sum(half), half[2], half[0]])


def test_an_item_counts_once_an_order(tmp_path: Path, generation: Generation) -> None:
    shop = small_shop(tmp_path / "shop")
    append(shop.log, [bought("z", "2024-02-29", "z1", "tea", n) for n in (1, 2, 3)])
    (own,) = own_repeats(_context(shop, generation, "z"))
    assert own.score == pytest.approx(0.5 ** (1 / 60))


def test_bought_together_are_new_items_that_share_orders(
    shop: Shop, generation: Generation
) -> None:
    """Tea shares 2 of 5 orders with milk, which a loves, and 3 of 4 with bread, bought once."""
    (candidate,) = bought_together(_context(shop, generation, "a"))
    assert (candidate.item_id, candidate.because) == ("tea", "milk")
    taste = sum(0.5 ** (days / 60) for days in (59, 39, 10))
    assert candidate.score == pytest.approx(2 / (5 * 3) ** 0.5 * taste)
    assert candidate.score > 3 / (4 * 3) ** 0.5 * 0.5 ** (59 / 60)


def test_own_items_are_not_bought_together(shop: Shop, generation: Generation) -> None:
    assert bought_together(_context(shop, generation, "b")) == []


def test_similar_items_have_near_texts(shop: Shop, generation: Generation) -> None:
    """Customer d bought black tea; green tea shares its category and a word."""
    candidates = similar(_context(shop, generation, "d"))
    assert candidates[0].item_id == "tea"
    assert {c.because for c in candidates} == {"tea2"}
    assert "tea2" not in {c.item_id for c in candidates}
    vectors = HashEmbedder(32).embed([_CATALOGUE.items[i].text for i in ("tea", "tea2")])
    assert candidates[0].score == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-4)


def test_similar_items_have_been_sold(shop: Shop, generation: Generation) -> None:
    for customer in "abcde":
        found = {c.item_id for c in similar(_context(shop, generation, customer))}
        assert "unsold" not in found


def test_nothing_is_similar_to_what_the_catalogue_lacks(
    tmp_path: Path, generation: Generation
) -> None:
    shop = small_shop(tmp_path / "shop")
    append(shop.log, [bought("z", "2024-02-20", "z1", "ghost", 1)])
    assert similar(_context(shop, generation, "z")) == []


def test_popular_is_by_recent_customers(shop: Shop, generation: Generation) -> None:
    """Since 31 January: cake c e, ghost a e, milk a b, tea2 d e; one each of the others."""
    found = popular(_context(shop, generation, "a"))
    assert [(c.item_id, c.score) for c in found] == [
        ("cake", 2),
        ("ghost", 2),
        ("milk", 2),
        ("tea2", 2),
        ("bread", 1),
        ("tea", 1),
        ("milk2", 1),
    ]
    assert {c.because for c in found} == {None}
    assert len(popular(_context(shop, generation, "a"), 2)) == 2


def test_without_a_past_only_popular_items_remain(shop: Shop, generation: Generation) -> None:
    context = _context(shop, generation, "nobody")
    found = {source: bool(generate(context)) for source, generate in SOURCES.items()}
    assert found == {
        Source.OWN: False,
        Source.TOGETHER: False,
        Source.SIMILAR: False,
        Source.POPULAR: True,
    }


def test_every_source_is_best_first_and_the_same_each_time(
    shop: Shop, generation: Generation
) -> None:
    for customer in "abcde":
        context = _context(shop, generation, customer)
        for source, generate in SOURCES.items():
            found: list[Candidate] = generate(context)
            scores = [c.score for c in found]
            assert scores == sorted(scores, reverse=True)
            assert len({c.item_id for c in found}) == len(found)
            assert {c.source for c in found} <= {source}
            assert generate(context) == found


def test_the_best_seller_of_those_that_share_a_text(shop: Shop, generation: Generation) -> None:
    context = _context(shop, generation, "a")
    milk = text_id("Milk (Dairy)")
    assert best_seller(context, milk, frozenset()) == "milk"
    assert best_seller(context, milk, {"milk"}) == "milk2"
    assert best_seller(context, milk, {"milk", "milk2"}) is None
    assert best_seller(context, text_id("Green teapot (Kitchen)"), frozenset()) is None
    assert best_seller(context, "nothing", frozenset()) is None


def test_taste_fades(tmp_path: Path, generation: Generation) -> None:
    shop = small_shop(tmp_path / "shop")
    append(
        shop.log,
        [
            bought("z", AS_OF - timedelta(days=300), "z1", "tea", 1),
            bought("z", AS_OF - timedelta(days=299), "z2", "tea", 1),
            bought("z", AS_OF - timedelta(days=2), "z3", "cake", 1),
        ],
    )
    own = own_repeats(_context(shop, generation, "z"))
    assert [candidate.item_id for candidate in own] == ["cake", "tea"]
