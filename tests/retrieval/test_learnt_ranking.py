"""The whole path with a learnt ranker: habits of a year, an index, recommendations."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from retrieval.assortment import Assortment
from retrieval.catalogue import Catalogue, Item
from retrieval.embedder import HashEmbedder
from retrieval.events import Event
from retrieval.filters import Filters
from retrieval.index import Generation, build_index, open_generation
from retrieval.purchases import basket_variants, purchases_of
from retrieval.ranking import RecommendContext, recommend
from retrieval.shop import Shop, ShopSettings
from retrieval.time_split import present
from tests.retrieval.small_log import append, bought, count_words, moment

_START, _DAYS = moment("2024-01-01T09:00"), 364
_CUSTOMERS, _KINDS, _EACH = 150, 3, 12  # customers of a kind buy items of that kind
_WEEKLY = 2  # staples of every order; two more are bought in every other one
_ITEMS = [
    Item(
        item_id=f"k{kind}i{number:02d}",
        title=f"Thing {kind} {number}",
        category=f"Kind {kind}",
        price=100 + 10 * number,
    )
    for kind in range(_KINDS)
    for number in range(_EACH)
]


def _staples(customer: int) -> list[str]:
    """Two weekly and two fortnightly items, the same for a few customers of a kind."""
    kind, first = customer % _KINDS, (customer // _KINDS) % _EACH
    return [f"k{kind}i{(first + step * 2) % _EACH:02d}" for step in range(4)]


def _events() -> Iterator[Event]:
    random = np.random.default_rng(7)
    for customer in range(_CUSTOMERS):
        staples = _staples(customer)
        for week in range(_DAYS // 7):
            when: datetime = _START + timedelta(days=7 * week + customer % 7)
            items = staples[:_WEEKLY] if week % 2 else staples
            if random.random() < 0.3:
                items = [*items, f"k{customer % _KINDS}i{random.integers(_EACH):02d}"]
            for item_id in dict.fromkeys(items):
                yield bought(f"c{customer:03d}", when, f"o{customer}-{week}", item_id, 100)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Generation]]:
    directory: Path = tmp_path_factory.mktemp("learnt") / "shop"
    settings = {"models": {"embedder": "hash", "writer": "off"}}
    shop = Shop.create(directory, ShopSettings.model_validate(settings))
    Catalogue(_ITEMS).write(shop.items_file)
    append(shop.log, _events())
    build_index(shop, HashEmbedder(32), count_words)
    generation = open_generation(shop, HashEmbedder(32))
    yield shop, generation
    generation.vectors.close()


def _context(indexed: tuple[Shop, Generation], customer_id: str) -> RecommendContext:
    shop, generation = indexed
    catalogue = Catalogue(_ITEMS)
    as_of = present(shop)
    return RecommendContext(
        recommender=generation.recommender,
        assortment=Assortment(generation.recommender.table, catalogue, shop.settings.recommend),
        catalogue=catalogue,
        purchases=purchases_of(shop.log, customer_id, as_of),
        as_of=as_of,
        currency="USD",
    )


def test_a_year_of_habits_is_learnt(indexed: tuple[Shop, Generation]) -> None:
    _, generation = indexed
    assert generation.manifest.ranking_learnt
    assert generation.recommender.learnt


def test_staples_lead_with_a_high_chance_and_their_rhythm(
    indexed: tuple[Shop, Generation],
) -> None:
    for customer in (0, 70, 149):
        found = recommend(_context(indexed, f"c{customer:03d}"), count=4, filters=Filters()).items
        weekly = set(_staples(customer)[:_WEEKLY])
        assert {item.item_id for item in found} == set(_staples(customer))
        chances = {item.item_id: item.score for item in found}
        assert all(0.5 < chances[item_id] < 1 for item_id in weekly)
        for item in found:
            assert "about every " in item.reason
            days = int(item.reason.split("about every ")[1].split(" ")[0])
            assert abs(days - (7 if item.item_id in weekly else 14)) <= 2


def test_the_cited_orders_carry_the_chance(indexed: tuple[Shop, Generation]) -> None:
    for new_only in (False, True):
        context = _context(indexed, "c010")
        shown = recommend(context, count=5, filters=Filters(new_only=new_only)).items
        recommender, cited = context.recommender, 0
        for item in shown:
            if not item.cites:
                continue
            cited += 1
            row = recommender.table.row[item.item_id]
            scores = []
            for without in (frozenset[str](), frozenset(item.cites)):
                basket = basket_variants(
                    context.purchases, recommender.table, context.as_of, [without]
                )
                ranked = recommender.rank(basket, new_only=new_only)
                scores.append(float(ranked.score[ranked.item == row].sum()))
            assert scores[1] < scores[0], item.reason
            if not new_only:
                assert scores[0] == pytest.approx(item.score, abs=1e-6)
        assert cited or new_only


def test_new_items_are_of_the_customers_kind(indexed: tuple[Shop, Generation]) -> None:
    for customer in (1, 32):
        context = _context(indexed, f"c{customer:03d}")
        own = {purchase.item_id for purchase in context.purchases}
        found = recommend(context, count=3, filters=Filters(new_only=True)).items
        unseen = [
            item.item_id
            for item in _ITEMS
            if item.category == f"Kind {customer % _KINDS}" and item.item_id not in own
        ]
        assert not own & {item.item_id for item in found}
        first = {item.item_id for item in found[: len(unseen)]}
        assert first <= set(unseen)


def test_somebody_new_gets_a_full_list(indexed: tuple[Shop, Generation]) -> None:
    found = recommend(_context(indexed, "nobody"), count=5, filters=Filters()).items
    assert len(found) == 5
    assert all(item.cites == () and 0 <= item.score <= 1 for item in found)


def test_an_order_of_a_moment_ago_counts_in_the_next_list(
    indexed: tuple[Shop, Generation],
) -> None:
    context = _context(indexed, "nobody")
    before = recommend(context, count=5, filters=Filters()).items
    shop, _ = indexed
    first = purchases_of(shop.log, "c000", context.as_of)[-4:]
    after = recommend(
        RecommendContext(
            recommender=context.recommender,
            assortment=context.assortment,
            catalogue=context.catalogue,
            purchases=first,
            as_of=context.as_of,
            currency="USD",
        ),
        count=5,
        filters=Filters(),
    ).items
    assert before != after
    assert {purchase.item_id for purchase in first} & {item.item_id for item in after}


def test_the_same_log_gives_the_same_ranking(
    indexed: tuple[Shop, Generation], tmp_path: Path
) -> None:
    shop, _ = indexed
    other = Shop.create(tmp_path / "shop", shop.settings)
    Catalogue(_ITEMS).write(other.items_file)
    append(other.log, _events())
    build_index(other, HashEmbedder(32), count_words)
    generation = open_generation(other, HashEmbedder(32))
    for customer_id in ("c003", "nobody"):
        one, two = (_context(where, customer_id) for where in (indexed, (other, generation)))
        assert recommend(one, count=8, filters=Filters()) == recommend(
            two, count=8, filters=Filters()
        )
    generation.vectors.close()
