from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from retrieval import learning
from retrieval import recommender as module
from retrieval.baskets import Baskets, baskets_of
from retrieval.catalogue import Catalogue, Item
from retrieval.counting_sources import Popular, customers_by_item
from retrieval.embedder import HashEmbedder, Vectors
from retrieval.item_table import ItemTable, item_table
from retrieval.learning import fit_recommender
from retrieval.lines import Ints, Lines, microseconds
from retrieval.ranker import Ranker
from retrieval.recommender import HORIZON, Ranked, Recommender
from retrieval.source_kinds import SOURCE_KINDS, SourceInput, SourceKind
from retrieval.source_names import DEFAULT_SOURCES, SourceName
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_AS_OF = moment("2024-12-31")
_CUSTOMERS, _ITEMS, _KINDS = 150, 60, 6
_Orders = Mapping[tuple[str, str, str], list[int]]


def _habits() -> list[Ints]:
    """Each customer's six items, all of one kind of ten."""
    random = np.random.default_rng(1)
    size = _ITEMS // _KINDS
    return [
        np.sort(random.choice(size, 6, replace=False)) + size * (customer % _KINDS)
        for customer in range(_CUSTOMERS)
    ]


@cache
def _orders() -> _Orders:
    """A year of orders every twelve days or so: some of the habits, and at times any other item."""
    random = np.random.default_rng(2)
    orders: dict[tuple[str, str, str], list[int]] = {}
    for customer, habits in enumerate(_habits()):
        day = float(random.uniform(0, 12))
        while day < 364:
            items = [int(item) for item in habits if random.random() < 0.6]
            items += [int(random.integers(_ITEMS))] if random.random() < 0.3 else []
            when = moment("2024-01-01") + timedelta(days=day)
            orders[f"c{customer:03}", f"{when:%Y-%m-%dT%H:%M}", f"o{len(orders):05}"] = items
            day += float(random.gamma(6.0, 2.0))
    return orders


def _table() -> ItemTable:
    return item_table(
        Catalogue(
            Item(
                item_id=f"i{row:02}",
                title=f"Thing {row} kind{row % 7}",
                category=f"k{row // 10}",
                price=100,
            )
            for row in range(_ITEMS)
        )
    )


def _vectors() -> Vectors:
    """No two items share a text, so text codes are rows."""
    return HashEmbedder(32).embed(
        [f"Thing {row} kind{row % 7} (k{row // 10})" for row in range(_ITEMS)]
    )


def _fit(
    lines: Lines, names: tuple[SourceName, ...] = DEFAULT_SOURCES, seed: int = 7
) -> Recommender:
    return fit_recommender(lines, _table(), _vectors(), _AS_OF, names, SOURCE_KINDS, seed=seed)


def _baskets(lines: Lines | None = None) -> Baskets:
    lines = (lines or lines_of(_orders())).between(None, _AS_OF)
    return baskets_of(lines, _AS_OF, _ITEMS, np.arange(_CUSTOMERS))


def _few() -> Lines:
    """Too few customers to learn a ranking."""
    return lines_of({key: items for key, items in _orders().items() if key[0] < "c030"})


@pytest.fixture(scope="module")
def learnt() -> Recommender:
    return _fit(lines_of(_orders()))


@pytest.fixture(scope="module")
def fused() -> Recommender:
    return _fit(_few())


@pytest.fixture(params=["learnt", "fused"])
def either(request: pytest.FixtureRequest) -> Recommender:
    found: Recommender = request.getfixturevalue(request.param)
    return found


def _lists(ranked: Ranked, count: int) -> list[list[int]]:
    lists = []
    for customer in range(_CUSTOMERS):
        mine = ranked.customer == customer
        order = np.argsort(-ranked.score[mine], kind="stable")[:count]
        lists.append(ranked.item[mine][order].tolist())
    return lists


def _same(left: Ranked, right: Ranked) -> None:
    for name in ("customer", "item", "score", "found_by"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


def test_a_year_of_habits_is_learnt(learnt: Recommender) -> None:
    assert learnt.learnt
    assert isinstance(learnt.ranker, Ranker)
    assert learnt.as_of == _AS_OF
    assert tuple(learnt.sources) == DEFAULT_SOURCES


def test_habits_come_first(either: Recommender) -> None:
    lists = _lists(either.rank(_baskets()), 6)
    shares = [np.isin(own, habits).mean() for own, habits in zip(lists, _habits(), strict=True)]
    assert np.mean(shares) > 0.97


def test_chances_are_about_as_high_as_purchases_are(learnt: Recommender) -> None:
    """A habit is in three of five orders, so over four weeks nearly sure."""
    ranked = learnt.rank(_baskets())
    habits = _habits()
    habitual = np.array(
        [item in habits[row] for row, item in zip(ranked.customer, ranked.item, strict=True)]
    )
    assert ranked.score[habitual].mean() > 0.6
    assert ranked.score[~habitual].mean() < 0.1
    assert 0 < ranked.score.min() < ranked.score.max() < 1


def test_candidates_are_in_order_and_each_was_found(either: Recommender) -> None:
    ranked = either.rank(_baskets())
    keys = ranked.customer * _ITEMS + ranked.item
    assert (np.diff(keys) > 0).all()
    assert ranked.found_by.shape == (len(DEFAULT_SOURCES), len(keys))
    assert ranked.found_by.any(axis=0).all()
    own = np.isin(keys, _baskets().customer * _ITEMS + _baskets().item)
    np.testing.assert_array_equal(ranked.found_by[0], own)
    assert not ranked.found_by[1:, own].any()


def test_all_own_items_are_candidates(either: Recommender) -> None:
    baskets = _baskets()
    ranked = either.rank(baskets)
    own = baskets.customer * _ITEMS + baskets.item
    assert np.isin(own, ranked.customer * _ITEMS + ranked.item).all()


def test_new_items_alone_are_never_own_ones(either: Recommender) -> None:
    baskets = _baskets()
    ranked = either.rank(baskets, new_only=True)
    assert len(ranked.item) > 1_000
    own = baskets.customer * _ITEMS + baskets.item
    assert not np.isin(ranked.customer * _ITEMS + ranked.item, own).any()


@pytest.mark.parametrize("new_only", [False, True])
def test_only_allowed_items_are_ranked(either: Recommender, new_only: bool) -> None:
    allowed = np.arange(_ITEMS) % 3 == 0
    ranked = either.rank(_baskets(), new_only=new_only, allowed=allowed)
    assert allowed[ranked.item].all()
    assert set(ranked.customer.tolist()) == set(range(_CUSTOMERS))
    nothing = either.rank(_baskets(), new_only=new_only, allowed=np.zeros(_ITEMS, dtype=bool))
    assert len(nothing.item) == len(nothing.score) == 0


def test_leaving_items_out_does_not_change_the_chances_of_the_others(learnt: Recommender) -> None:
    allowed = np.arange(_ITEMS) % 3 == 0
    every, some = learnt.rank(_baskets()), learnt.rank(_baskets(), allowed=allowed)
    _, one, other = np.intersect1d(
        every.customer * _ITEMS + every.item,
        some.customer * _ITEMS + some.item,
        return_indices=True,
    )
    assert len(one) == allowed[every.item].sum()
    np.testing.assert_allclose(some.score[other], every.score[one], atol=1e-12)


def test_where_few_items_are_allowed_all_of_them_are_judged() -> None:
    """Own repeats alone name nothing new, yet the ranker can judge it."""
    found = _fit(lines_of(_orders()), (SourceName.OWN,))
    baskets = _baskets()
    allowed = np.isin(np.arange(_ITEMS), [4, 17, 59])
    ranked = found.rank(baskets, allowed=allowed)
    assert ranked.customer.tolist() == np.repeat(np.arange(_CUSTOMERS), 3).tolist()
    assert ranked.item.tolist() == [4, 17, 59] * _CUSTOMERS
    own = np.isin(ranked.customer * _ITEMS + ranked.item, baskets.customer * _ITEMS + baskets.item)
    np.testing.assert_array_equal(ranked.found_by, [own])
    new = found.rank(baskets, allowed=allowed, new_only=True)
    np.testing.assert_array_equal(new.item, ranked.item[~own])
    np.testing.assert_array_equal(new.customer, ranked.customer[~own])


@pytest.mark.parametrize("new_only", [False, True])
def test_scores_of_pairs_are_those_of_the_ranking(either: Recommender, new_only: bool) -> None:
    ranked = either.rank(_baskets(), new_only=new_only)
    some = np.random.default_rng(3).permutation(len(ranked.item))[:400]
    found = either.score_pairs(
        _baskets(), ranked.customer[some], ranked.item[some], new_only=new_only
    )
    np.testing.assert_allclose(found, ranked.score[some], atol=1e-6)


def test_more_customers_than_are_scored_at_a_time_rank_the_same(
    either: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = either.rank(_baskets())
    monkeypatch.setattr(module, "_CHUNK", 64)
    chunks = either.rank(_baskets())
    np.testing.assert_array_equal(chunks.customer, whole.customer)
    np.testing.assert_array_equal(chunks.item, whole.item)
    np.testing.assert_allclose(chunks.score, whole.score, atol=1e-6)


def test_who_bought_nothing_is_shown_what_sells(either: Recommender) -> None:
    nobody = _baskets(lines_of(_orders()).without_items(range(_ITEMS))).rows(0, 1)
    ranked = either.rank(nobody)
    assert len(ranked.item) > 10
    trending = DEFAULT_SOURCES.index(SourceName.TRENDING)
    assert ranked.found_by[trending].all()


def test_for_no_customers_nothing_is_ranked(either: Recommender) -> None:
    ranked = either.rank(_baskets().rows(0, 0))
    assert len(ranked.item) == len(ranked.customer) == len(ranked.score) == 0
    assert ranked.found_by.shape == (len(DEFAULT_SOURCES), 0)


def test_saved_and_loaded_it_ranks_the_same(either: Recommender, tmp_path: Path) -> None:
    either.save(tmp_path / "recommender")
    loaded = Recommender.load(tmp_path / "recommender", SOURCE_KINDS)
    assert (loaded.learnt, loaded.as_of) == (either.learnt, either.as_of)
    assert tuple(loaded.sources) == tuple(either.sources)
    for new_only in (False, True):
        _same(
            loaded.rank(_baskets(), new_only=new_only), either.rank(_baskets(), new_only=new_only)
        )
    pairs = np.array([0, 5, 9]), np.array([3, 59, 0])
    np.testing.assert_array_equal(
        loaded.score_pairs(_baskets(), *pairs, new_only=False),
        either.score_pairs(_baskets(), *pairs, new_only=False),
    )


def test_later_events_change_nothing(learnt: Recommender) -> None:
    """Neither those of a customer who is known, nor those of a new one."""
    later = {
        ("c000", "2024-12-31", "late1"): list(range(_ITEMS)),
        ("c001", "2025-01-01", "late2"): list(range(0, _ITEMS, 2)),
        ("z", "2025-01-02", "late3"): [1, 2, 3],
    }
    lines = lines_of({**_orders(), **later})
    _same(_fit(lines).rank(_baskets(lines)), learnt.rank(_baskets()))


def test_nothing_learns_from_the_month_it_is_judged_by() -> None:
    """Sources are learnt at each month's start, from what came before it, and then once more."""
    seen: list[SourceInput] = []

    def fit(given: SourceInput) -> Popular:
        seen.append(given)
        return Popular.fit(given.lines, _ITEMS)

    kinds = {SourceName.POPULAR: SourceKind(fit=fit, load=Popular.load)}
    fit_recommender(lines_of(_orders()), _table(), _vectors(), _AS_OF, [SourceName.POPULAR], kinds)
    month = timedelta(days=28)
    assert [given.as_of for given in seen] == [_AS_OF - 2 * month, _AS_OF - month, _AS_OF]
    for given in seen:
        last = given.lines.time.max()
        assert microseconds(given.as_of - timedelta(days=2)) < last < microseconds(given.as_of)
        assert given.sales.customers.tolist() == customers_by_item(given.lines, _ITEMS).tolist()


def test_the_same_seed_learns_the_same(learnt: Recommender) -> None:
    """The seed is the trees' alone here: there are too few customers to choose from."""
    other = _fit(lines_of(_orders()), seed=8).rank(_baskets())
    ranked = learnt.rank(_baskets())
    np.testing.assert_array_equal(other.item, ranked.item)
    assert not np.array_equal(other.score, ranked.score)


def test_a_log_too_small_is_ranked_by_fusion(fused: Recommender) -> None:
    assert not fused.learnt
    assert fused.ranker is None


def test_fusion_adds_reciprocal_ranks_and_own_repeats_lead() -> None:
    """Own repeats count 1 / (20 + rank), all others together half of it."""
    lines = lines_of({("a", "2024-12-01", "o1"): [5, 7], ("a", "2024-12-20", "o2"): [7]})
    small = _fit(lines, (SourceName.OWN, SourceName.POPULAR))
    baskets = baskets_of(lines, _AS_OF, _ITEMS, np.arange(1))
    ranked = small.rank(baskets)
    assert ranked.item.tolist() == [5, 7]
    assert ranked.score.tolist() == pytest.approx([1 / 22, 1 / 21])
    stranger = small.rank(_baskets(lines.without_items([5, 7])).rows(0, 1))
    assert stranger.item.tolist() == [5, 7]
    assert stranger.score.tolist() == pytest.approx([0.5 / 21, 0.5 / 22])


def test_sources_that_name_the_same_item_add_up() -> None:
    """Own repeats are not asked; the two others share the half. Only 6 was bought with 5."""
    lines = lines_of(
        {
            ("a", "2024-12-01", "o1"): [5],
            ("b", "2024-12-01", "o2"): [5, 6],
            ("c", "2024-12-02", "o3"): [7],
            ("d", "2024-12-02", "o4"): [7],
        }
    )
    small = _fit(lines, (SourceName.POPULAR, SourceName.EASE))
    ranked = small.rank(baskets_of(lines, _AS_OF, _ITEMS, np.arange(1)))
    assert ranked.item.tolist() == [6, 7]
    assert ranked.score.tolist() == pytest.approx([0.25 / 22 + 0.25 / 21, 0.25 / 21])
    assert ranked.found_by.tolist() == [[True, True], [True, False]]


def test_a_pair_that_is_no_candidate_has_no_fused_score(fused: Recommender) -> None:
    """Own items are no candidates where only new ones are wanted."""
    own = _baskets().item[:1]
    found = fused.score_pairs(_baskets(), np.array([0]), own, new_only=True)
    assert found.tolist() == [0.0]


@pytest.mark.parametrize(
    "names",
    [
        (SourceName.OWN,),
        (SourceName.OWN_RECENT,),
        (SourceName.POPULAR,),
        (SourceName.EASE, SourceName.OWN, SourceName.EASE),
        (SourceName.ALS, SourceName.SVD, SourceName.OWN),
    ],
)
def test_any_choice_of_sources_learns_and_ranks(names: tuple[SourceName, ...]) -> None:
    found = _fit(lines_of(_orders()), names)
    baskets = _baskets()
    for new_only in (False, True):
        ranked = found.rank(baskets, new_only=new_only)
        assert len(ranked.score) == len(ranked.item)
        assert ranked.found_by.shape == (len(set(names)), len(ranked.item))
        np.testing.assert_allclose(
            found.score_pairs(baskets, ranked.customer, ranked.item, new_only=new_only),
            ranked.score,
            atol=1e-6,
        )


def test_progress_ends_where_it_should() -> None:
    told: list[tuple[int, int]] = []
    fit_recommender(
        _few(), _table(), _vectors(), _AS_OF, DEFAULT_SOURCES, SOURCE_KINDS,
        progress=lambda _, done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_repeats_of_hidden_items_teach_nothing_of_what_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every item hidden, only items that the customer never had may be called bought."""
    monkeypatch.setattr(learning, "_NEW_ITEMS", 1.0)
    lines = lines_of(_orders())
    cut = _AS_OF - HORIZON
    examples = learning._window(
        lines, _table(), _vectors(), cut, DEFAULT_SOURCES, SOURCE_KINDS, seed=1
    )
    before, during = lines.between(None, cut), lines.between(cut, _AS_OF)
    had = {*zip(before.customer.tolist(), before.item.tolist(), strict=True)}
    bought = {*zip(during.customer.tolist(), during.item.tolist(), strict=True)}
    assert bought & had, "somebody buys again"
    assert not examples.own.any()
    assert examples.bought.sum() <= 2 * len(bought - had), "who stands in again counts again"
