import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from retrieval.assortment import Assortment
from retrieval.baskets import Baskets
from retrieval.catalogue import Catalogue
from retrieval.embedder import HashEmbedder
from retrieval.filters import Filters
from retrieval.index import Generation, open_generation
from retrieval.lines import Ints
from retrieval.purchases import Purchase, basket_variants
from retrieval.ranking import RecommendContext, recommend
from retrieval.reasons import Reason, explain
from retrieval.recommender import Recommender
from retrieval.shop import RecommendSettings, Shop
from retrieval.source_names import SourceName
from tests.retrieval.small_index import AS_OF, ITEMS, ORDERS, build, context_of, small_shop
from tests.retrieval.small_log import moment

_CUSTOMERS = ("a", "b", "c", "d", "e", "nobody")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Generation]]:
    shop = small_shop(tmp_path_factory.mktemp("reasons") / "shop")
    build(shop)
    generation = open_generation(shop, HashEmbedder(32))
    yield shop, generation
    generation.vectors.close()


@pytest.fixture(scope="module")
def contexts(indexed: tuple[Shop, Generation]) -> dict[str, RecommendContext]:
    return {customer: context_of(*indexed, customer) for customer in _CUSTOMERS}


def _purchases(*bought: tuple[str, str, str]) -> list[Purchase]:
    """Purchases from item, moment and order."""
    return [
        Purchase(item_id=item, order_id=order, timestamp=moment(when), amount=100)
        for item, when, order in bought
    ]


def _explain(
    recommender: Recommender,
    purchases: Sequence[Purchase],
    items: Sequence[str],
    as_of: str = "2024-03-01",
    *,
    new_only: bool = False,
) -> list[Reason]:
    catalogue = Catalogue(ITEMS)
    return explain(
        recommender,
        Assortment(recommender.table, catalogue, RecommendSettings()),
        catalogue,
        purchases,
        basket_variants(purchases, recommender.table, moment(as_of)),
        [recommender.table.row[item] for item in items],
        moment(as_of),
        new_only=new_only,
    )


def _score(
    recommender: Recommender, purchases: Sequence[Purchase], item_id: str, *, new_only: bool
) -> float:
    """An item's score where just these purchases were made; 0 where it is not even named."""
    basket = basket_variants(purchases, recommender.table, AS_OF)
    ranked = recommender.rank(basket, new_only=new_only)
    row = recommender.table.row[item_id]
    return float(ranked.score[ranked.item == row].sum())


@pytest.mark.parametrize("new_only", [False, True])
def test_without_the_orders_that_a_reason_cites_the_item_would_score_less(
    contexts: dict[str, RecommendContext], new_only: bool
) -> None:
    cited = 0
    for context in contexts.values():
        shown = recommend(context, count=10, filters=Filters(new_only=new_only)).items
        for item in shown:
            if not item.cites:
                continue
            cited += 1
            left = [p for p in context.purchases if p.order_id not in item.cites]
            before, after = (
                _score(context.recommender, purchases, item.item_id, new_only=new_only)
                for purchases in (context.purchases, left)
            )
            assert after < before, (item.item_id, item.reason)
    assert cited >= 10 if not new_only else cited >= 5


def test_a_reason_says_how_far_the_score_falls(contexts: dict[str, RecommendContext]) -> None:
    context = contexts["a"]
    (reason,) = _explain(context.recommender, context.purchases, ["milk"])
    left = [p for p in context.purchases if p.order_id not in {"o1", "o2", "o3"}]
    expected = _score(context.recommender, context.purchases, "milk", new_only=False) - _score(
        context.recommender, left, "milk", new_only=False
    )
    assert left == []
    assert reason.fall == pytest.approx(expected, rel=1e-5)
    (popular,) = _explain(context.recommender, [], ["milk"])
    assert (popular.fall, popular.cites) == (0.0, ())


def test_an_own_repeat_tells_its_rhythm(indexed: tuple[Shop, Generation]) -> None:
    """Orders on 1, 8 and 15 January and on 2 February: 32 days in 3 gaps, and 27 days to March."""
    purchases = _purchases(
        ("milk", "2024-01-01", "p1"),
        ("milk", "2024-01-08", "p2"),
        ("bread", "2024-01-08", "p2"),
        ("milk", "2024-01-15", "p3"),
        ("milk", "2024-02-02", "p4"),
    )
    milk, bread = _explain(indexed[1].recommender, purchases, ["milk", "bread"])
    assert milk.text == (
        "Bought in 4 orders, about every 11 days, last on 2024-02-02 (order p4), 28 days ago."
    )
    assert milk.cites == ("p4", "p3", "p2", "p1")
    assert [(record.id, record.text) for record in milk.evidence] == [
        ("order:p4", "order p4 on 2024-02-02: Milk"),
        ("order:p3", "order p3 on 2024-01-15: Milk"),
        (
            "log:milk:own",
            "orders that hold Milk: 4, about every 11 days, 28 days ago, the first on 2024-01-01 "
            "(order p1)",
        ),
    ]
    assert bread.text == "Bought once, last on 2024-01-08 (order p2), 53 days ago."
    assert bread.cites == ("p2",)


@pytest.mark.parametrize(
    ("days", "as_of", "rhythm"),
    [
        (("01", "02"), "2024-01-09", "Bought in 2 orders, last"),
        (
            ("01", "02", "03"),
            "2024-01-04",
            "about every 1 day, last on 2024-01-03 (order p2), 1 day ago.",
        ),
        (
            ("01", "03", "05"),
            "2024-01-05T12:00",
            "about every 2 days, last on 2024-01-05 (order p2).",
        ),
        (("01", "01T09:00", "01T10:00"), "2024-01-09", "Bought in 3 orders, last"),
    ],
)
def test_a_rhythm_needs_three_orders_on_several_days(
    indexed: tuple[Shop, Generation], days: tuple[str, ...], as_of: str, rhythm: str
) -> None:
    purchases = _purchases(
        *(("tea", f"2024-01-{day}", f"p{number}") for number, day in enumerate(days))
    )
    (reason,) = _explain(indexed[1].recommender, purchases, ["tea"], as_of)
    assert rhythm in reason.text


def test_two_lines_of_one_order_are_one_order(indexed: tuple[Shop, Generation]) -> None:
    purchases = _purchases(("tea", "2024-01-01", "p1"), ("tea", "2024-01-01", "p1"))
    (reason,) = _explain(indexed[1].recommender, purchases, ["tea"])
    assert reason.text == "Bought once, last on 2024-01-01 (order p1), 60 days ago."


class _Scripted(Recommender):
    """Scores by which orders a basket holds, told by the items that stand for them."""

    def __init__(self, real: Recommender, scores: Mapping[frozenset[str], float]) -> None:
        super().__init__(real.table, real.sales, real.sources, None, real.as_of)
        self._scores = scores

    def score_pairs(
        self, baskets: Baskets, customer: Ints, item: Ints, *, new_only: bool
    ) -> np.ndarray[Any, Any]:
        ids = self.table.ids.to_pylist()
        held = [
            frozenset(ids[i] for i in baskets.item[baskets.starts[c] : baskets.starts[c + 1]])
            for c in customer
        ]
        return np.array([self._scores[basket] for basket in held])


_BREAD_AND_TEA = (("bread", "2024-01-05", "p1"), ("tea", "2024-02-05", "p2"))


@pytest.mark.parametrize(
    ("without_bread", "without_tea", "text"),
    [
        (0.2, 0.9, "Bought once, last on 2024-01-05 (order p1), 56 days ago."),
        # Own repeats come first even where another reason weighs more.
        (0.4, 0.1, "Bought once, last on 2024-01-05 (order p1), 56 days ago."),
        # Where the own orders do not carry the score, what carries it is said.
        (
            0.5,
            0.4,
            "Bought by others who buy Green tea, which was bought on 2024-02-05 (order p2).",
        ),
        (
            0.6,
            0.4,
            "Bought by others who buy Green tea, which was bought on 2024-02-05 (order p2).",
        ),
        # Where no order carries it, none is cited.
        (0.5, 0.5, "1 customer bought it in the 28 days to 2024-02-28."),
        (0.9, 0.8, "1 customer bought it in the 28 days to 2024-02-28."),
    ],
)
def test_only_what_carries_the_score_is_given_as_the_reason(
    indexed: tuple[Shop, Generation], without_bread: float, without_tea: float, text: str
) -> None:
    """Bread was bought, and is often bought by those who buy tea."""
    scripted = _Scripted(
        indexed[1].recommender,
        {
            frozenset({"bread", "tea"}): 0.5,
            frozenset({"tea"}): without_bread,
            frozenset({"bread"}): without_tea,
        },
    )
    (reason,) = _explain(scripted, _purchases(*_BREAD_AND_TEA), ["bread"])
    assert reason.text == text
    assert (reason.cites == ()) is ("(order" not in text)
    assert (reason.fall > 0) is bool(reason.cites)


def test_who_bought_both_is_never_made_up(contexts: dict[str, RecommendContext]) -> None:
    """EASE leads from milk to black tea over two others, but nobody bought both."""
    buyers: dict[str, set[str]] = {}
    by_title: dict[str, set[str]] = {}
    title = Catalogue(ITEMS).title
    for (customer, _, _), items in ORDERS.items():
        for item_id in items:
            buyers.setdefault(item_id, set()).add(customer)
            by_title.setdefault(title(item_id), set()).add(customer)
    assert not buyers["milk"] & buyers["tea2"]
    told = 0
    for context in contexts.values():
        for item in recommend(context, count=10, filters=Filters()).items:
            if found := re.match("Bought by others who buy (.+), which was bought on", item.reason):
                told += 1
                assert by_title[found[1]] & buyers[item.item_id], item.reason
    assert told > 3
    a = {i.item_id: i.reason for i in recommend(contexts["a"], count=10, filters=Filters()).items}
    assert a["tea2"] == "2 customers bought it in the 28 days to 2024-02-28."


def test_a_shop_without_what_is_bought_together_tells_how_an_item_sells(
    indexed: tuple[Shop, Generation],
) -> None:
    real = indexed[1].recommender
    names = (SourceName.OWN_RECENT, SourceName.EASE)
    only = Recommender(
        real.table, real.sales, {name: real.sources[name] for name in names}, None, real.as_of
    )
    own, new = _explain(only, _purchases(("bread", "2024-02-20", "p1")), ["bread", "tea"])
    assert own.cites == ("p1",)
    assert new.text == "1 customer bought it in the 28 days to 2024-02-28."


def test_figures_of_sales_stand_in_their_record(contexts: dict[str, RecommendContext]) -> None:
    recommender = contexts["nobody"].recommender
    cake, unsold = _explain(recommender, [], ["cake", "unsold"])
    assert cake.text == "2 customers bought it in the 28 days to 2024-02-28."
    assert [r.text for r in cake.evidence] == ["customers by 2024-02-28: 2 in 28 days, 2 in all"]
    assert unsold.text == "It had not been sold by 2024-02-28."
    assert [r.text for r in unsold.evidence] == ["customers by 2024-02-28: 0 in 28 days, 0 in all"]


def test_what_sold_only_long_ago_says_so(tmp_path: Any) -> None:
    from tests.retrieval.small_log import append, bought

    shop = small_shop(tmp_path / "shop")
    append(shop.log, [bought("f", "2024-04-20", "o11", "bread", 249)])
    build(shop)
    generation = open_generation(shop, HashEmbedder(32))
    tea, cake = _explain(generation.recommender, [], ["tea", "cake"], "2024-04-21")
    assert tea.text == "2 customers have bought it."
    assert cake.text == "2 customers have bought it."
    generation.vectors.close()


def test_every_figure_stands_in_evidence(contexts: dict[str, RecommendContext]) -> None:
    for context in contexts.values():
        for item in recommend(context, count=10, filters=Filters()).items:
            evidence = " ".join(record.text for record in item.evidence)
            for figure in re.findall(r"\d{4}-\d{2}-\d{2}|\bo\d+\b|\d+", item.reason):
                assert figure in evidence, item.reason
            for order in item.cites:
                assert order in {purchase.order_id for purchase in context.purchases}


def test_nothing_shown_needs_no_reason(indexed: tuple[Shop, Generation]) -> None:
    assert _explain(indexed[1].recommender, _purchases(*_BREAD_AND_TEA), []) == []
