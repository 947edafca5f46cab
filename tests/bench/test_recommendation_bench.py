"""What the benchmark's figures rest on: who is asked, what is true, and which claims hold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.recommendation_compare import claim_certainty, compare, metrics_of
from bench.recommendation_data import LENGTH, ShopData, Window, window
from bench.recommendation_lists import Found, peer_lists, source_lists
from bench.recommendation_peers import Peer
from bench.report import Report
from retrieval.assortment import Assortment
from retrieval.baskets import Baskets
from retrieval.catalogue import Catalogue, Item
from retrieval.counting_sources import OwnRepeats
from retrieval.item_table import item_table
from retrieval.lines import Ints
from retrieval.recommender import Ranked
from retrieval.shop import RecommendSettings
from tests.retrieval.small_lines import AMOUNT, lines_of
from tests.retrieval.small_log import moment

_CUTOFF = moment("2024-03-01")  # 28 days later it is 29 March
_ITEMS = 6
_CATALOGUE = Catalogue(
    Item(item_id=f"i{row}", title=f"Thing {row}", category="", price=100, stock=int(row != 5))
    for row in range(_ITEMS)
)
_TABLE = item_table(_CATALOGUE)
_ORDERS = {
    ("anna", "2024-02-01", "o1"): (0, 1),
    ("anna", "2024-03-01", "o2"): (0, 2),  # exactly at the cut-off
    ("anna", "2024-03-29", "o3"): (3,),  # exactly 28 days after
    ("bert", "2024-02-10", "o1"): (1,),
    ("cleo", "2024-02-29T23:59", "o1"): (4,),
    ("cleo", "2024-03-28T23:59", "o2"): (4,),
    ("dora", "2024-03-01", "o1"): (0,),
    ("dora", "2024-03-02", "o2"): (0,),
    ("emil", "2024-02-01", "o1"): (2,),
    ("emil", "2024-03-29", "o2"): (2,),
    ("faye", "2024-01-05", "o1"): (3,),
    ("faye", "2024-03-05", "o2"): (1, 3),
    ("faye", "2024-03-06", "o3"): (1, 5),
}
_ANNA, _CLEO, _DORA, _FAYE = 0, 2, 3, 5
_WITHOUT_WIDTH, _ASTRIDE = (0.25, 0.25), (-1.0, 1.2)


def _data(orders: Mapping[tuple[str, str, str], Sequence[int]] = _ORDERS) -> ShopData:
    return ShopData(
        name="small",
        test_cutoff=_CUTOFF,
        shop=None,
        catalogue=_CATALOGUE,
        table=_TABLE,
        assortment=Assortment(_TABLE, _CATALOGUE, RecommendSettings()),
        lines=lines_of(orders),
        vectors=np.eye(_ITEMS, dtype=np.float32),
    )


def _many(customers: int) -> ShopData:
    """Customer n bought item n % 6 before the cut-off and the next one after."""
    orders = {}
    for number in range(customers):
        orders[f"c{number:03}", "2024-02-01", "o1"] = (number % _ITEMS,)
        orders[f"c{number:03}", "2024-03-02", "o2"] = ((number + 1) % _ITEMS,)
    return _data(orders)


def _window(data: ShopData | None = None, most_customers: int = 99, seed: int = 7) -> Window:
    return window(data or _data(), _CUTOFF, most_customers, seed)


def _truths(asked: Window, task: str) -> list[list[int]]:
    return [truth.tolist() for truth in asked.truths(task)]


def _padded(*lists: Sequence[int], length: int = LENGTH) -> Ints:
    return np.array([[*items, *[-1] * (length - len(items))] for items in lists], dtype=np.int64)


class _Fixed:
    """A source with the same scores for everybody."""

    def __init__(self, *scores: float) -> None:
        self._scores = np.array(scores, dtype=np.float32)

    def scores(self, baskets: Baskets) -> Any:
        return np.tile(self._scores, (len(baskets), 1))


# Windows.


def test_asked_are_those_who_bought_before_and_within_four_weeks_after() -> None:
    """Dora came at the cut-off, emil came back exactly 28 days after, bert never."""
    assert _window().customers.tolist() == [_ANNA, _CLEO, _FAYE]


def test_a_purchase_at_the_cutoff_is_no_past() -> None:
    asked = _window()
    assert asked.past.customer.tolist() == [0, 0, 1, 2, 4, 5]
    assert asked.past.item.tolist() == [0, 1, 1, 4, 2, 3]
    assert asked.baskets.starts.tolist() == [0, 2, 3, 4]
    assert asked.baskets.item.tolist() == [0, 1, 4, 3]
    assert asked.sales.customers.tolist() == [1, 2, 1, 1, 1, 0]


def test_truth_starts_at_the_cutoff_and_ends_before_28_days() -> None:
    assert _truths(_window(), "basket") == [[0, 2], [4], [1, 3, 5]]


def test_discovery_leaves_own_items_out() -> None:
    assert _truths(_window(), "discovery") == [[2], [], [1, 5]]


def test_only_restricts_the_truth_of_both_tasks() -> None:
    restricted = replace(_window(), only=np.array([0, 3, 5]))
    assert _truths(restricted, "basket") == [[0], [], [3, 5]]
    assert _truths(restricted, "discovery") == [[], [], [5]]
    nothing = replace(_window(), only=np.array([], dtype=np.int64))
    assert _truths(nothing, "basket") == [[], [], []]


def test_what_a_source_may_learn_from_ends_before_the_cutoff() -> None:
    """Had it not, a peer would know the answers."""
    given = _window().given
    assert given.as_of == _CUTOFF
    assert given.lines.time.max() < _CUTOFF.timestamp() * 1_000_000
    assert given.sales.unit_price[:5].tolist() == [AMOUNT] * 5


def test_settings_are_chosen_on_outcomes_that_end_where_the_test_begins() -> None:
    data = _data()
    assert data.validation_cutoff == moment("2024-02-02")
    validation = window(data, data.validation_cutoff, 99, 7)
    assert validation.customers.tolist() == [], "nobody bought on both sides of 2 February"
    bert_came_before = _data({**_ORDERS, ("bert", "2024-02-01", "o0"): (0,)})
    validation = window(bert_came_before, data.validation_cutoff, 99, 7)
    assert validation.customers.tolist() == [1]
    assert _truths(validation, "basket") == [[1]]


def test_no_more_customers_than_wanted_drawn_by_seed() -> None:
    data = _many(40)
    drawn = _window(data, most_customers=10)
    assert len(drawn.customers) == len(drawn.baskets) == 10
    assert (np.diff(drawn.customers) > 0).all()
    assert drawn.baskets.item.tolist() == (drawn.customers % _ITEMS).tolist()
    assert _truths(drawn, "basket") == [[(n + 1) % _ITEMS] for n in drawn.customers.tolist()]
    again, other = _window(data, most_customers=10), _window(data, most_customers=10, seed=8)
    assert drawn.customers.tolist() == again.customers.tolist() != other.customers.tolist()
    assert _window(data, most_customers=40).customers.tolist() == list(range(40))


# Figures and claims.


def test_metrics_are_of_those_with_a_truth() -> None:
    """Cleo discovered nothing. Faye's list holds item 1 at rank 2, and 5 is missing."""
    lists = _padded([2], [0], [0, 1])
    found = metrics_of(_window(), "discovery", lists)
    assert found["recall@20"].tolist() == [1.0, 0.5]
    assert found["mrr@10"].tolist() == [1.0, 0.5]
    assert len(metrics_of(_window(), "basket", lists)["recall@20"]) == 3


def test_comparing_adds_figures_differences_and_claims() -> None:
    """Basket truths are items 0 and 2, 4, and 1, 3 and 5; five of six items are in stock."""
    lists = {
        "patron": _padded([0, 2], [4], [1, 3, 0]),
        "patron, dial 0": _padded([0, 2], [4], [1, 3, 0]),
        "good": _padded([0, 2], [4], [0]),
        "poor": _padded([1], [1], [1]),
    }
    report = Report(seed=7)
    compare(_window(), "basket", lists, report)
    value = {(row["system"], row["metric"]): row["value"] for row in report.rows}
    assert value["patron", "recall@20"] == pytest.approx((1 + 1 + 2 / 3) / 3, abs=1e-5)
    assert value["good", "recall@20"] == pytest.approx(2 / 3, abs=1e-5)
    assert value["poor", "recall@20"] == pytest.approx(1 / 9, abs=1e-5)
    assert value["patron", "coverage@10"] == 1.0
    assert value["poor", "coverage@10"] == 0.2
    assert {row["set"] for row in report.rows} == {"small"}
    assert {row["task"] for row in report.rows} == {"basket"}
    gain = {
        (line["system"], line["peer"]): line["gain"]
        for line in report.differences
        if line["metric"] == "recall@20"
    }
    assert gain == {
        ("patron", "patron, dial 0"): 0.0,
        ("patron", "good"): pytest.approx(2 / 9, abs=1e-5),
        ("patron", "poor"): pytest.approx(7 / 9, abs=1e-5),
    }
    assert len(report.claims) == 3
    assert all("good" in claim["claim"] for claim in report.claims), "it is the best peer"
    assert report.holds()


def test_a_better_peer_refutes_the_claims() -> None:
    lists = {"patron": _padded([1], [1], [0]), "peer": _padded([0], [4], [1])}
    report = Report(seed=7)
    compare(_window(), "basket", lists, report)
    assert [claim["holds"] for claim in report.claims] == [False, False, False]


def _difference(
    report: Report,
    peer: str,
    gains: Sequence[float],
    *,
    task: str = "basket",
    metric: str = "ndcg@10",
    system: str = "patron",
) -> None:
    report.add_difference("small", task, metric, system, peer, np.array(gains))


def _four_certain() -> Report:
    report = Report(seed=7)
    for task in ("basket", "discovery"):
        for metric in ("ndcg@10", "recall@20"):
            _difference(report, "als", _WITHOUT_WIDTH, task=task, metric=metric)
    return report


def _certainty(report: Report) -> tuple[str, bool]:
    """How many of how many, and whether these are enough."""
    claim_certainty(report)
    claim = report.claims[-1]
    return claim["claim"].partition(" comparisons")[0], claim["holds"]


def test_certain_is_what_lies_above_0_with_its_whole_interval() -> None:
    """Of two customers' gains the interval runs from the less to the greater."""
    report = _four_certain()
    assert _certainty(report) == ("4 of 4", True)
    _difference(report, "als", _ASTRIDE, task="third")
    assert _certainty(report) == ("4 of 5", True)
    _difference(report, "als", (0.0, 0.5), task="fourth")
    assert _certainty(report) == ("4 of 6", True)


def test_only_the_best_peer_of_each_comparison_counts() -> None:
    """Where a peer is nearer to Patron than another, the other's clear loss counts nothing."""
    report = Report(seed=7)
    for task in ("basket", "discovery", "third"):
        _difference(report, "weak", (0.5, 0.5), task=task)
        _difference(report, "strong", _ASTRIDE, task=task)
        _difference(report, "weaker", (0.75, 0.75), task=task)
    assert _certainty(report) == ("0 of 3", False)


def test_the_best_peer_may_be_certain_where_a_weaker_one_is_not() -> None:
    report = _four_certain()
    _difference(report, "weak", (-1.0, 9.0))
    assert _certainty(report) == ("4 of 4", True)


def test_comparisons_with_and_among_patrons_own_lists_do_not_count() -> None:
    report = _four_certain()
    _difference(report, "patron, dial 0", _ASTRIDE)
    _difference(report, "patron, each id", (-1.0, -1.0), task="discovery")
    _difference(report, "patron, dial 0", _WITHOUT_WIDTH, task="third", system="patron, dial 0")
    _difference(report, "als", _WITHOUT_WIDTH, task="third", system="patron, dial 0")
    _difference(report, "als", _WITHOUT_WIDTH, task="third", metric="mrr@10")
    assert _certainty(report) == ("4 of 4", True)


def test_two_certain_comparisons_are_too_few() -> None:
    report = Report(seed=7)
    for task, gains in (("a", _WITHOUT_WIDTH), ("b", _WITHOUT_WIDTH), ("c", _ASTRIDE)):
        _difference(report, "als", gains, task=task)
    assert _certainty(report) == ("2 of 3", False)
    _difference(report, "als", _WITHOUT_WIDTH, task="d")
    assert _certainty(report) == ("3 of 4", True)


# The report.


def test_a_row_has_an_interval_where_customers_are_known() -> None:
    report = Report(seed=7)
    report.add_row("small", "basket", "als", "ndcg@10", np.array([0.0, 1.0]))
    report.add_row("small", "basket", "als", "coverage@10", 1 / 3)
    report.add_row("small", "basket", "als", "coverage@10", np.float64(0.5))
    named = {"set": "small", "task": "basket", "system": "als"}
    assert report.rows == [
        named | {"metric": "ndcg@10", "value": 0.5, "low": 0.0, "high": 1.0},
        named | {"metric": "coverage@10", "value": 0.33333, "low": None, "high": None},
        named | {"metric": "coverage@10", "value": 0.5, "low": None, "high": None},
    ]


def test_a_difference_is_positive_where_the_system_is_better() -> None:
    report = Report(seed=7)
    report.add_difference("small", "basket", "ndcg@10", "patron", "als", np.array([-0.25, 0.75]))
    assert report.differences == [
        {
            "set": "small",
            "task": "basket",
            "metric": "ndcg@10",
            "system": "patron",
            "peer": "als",
            "gain": 0.25,
            "low": -0.25,
            "high": 0.75,
        }
    ]


def test_a_report_holds_where_every_claim_does(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(seed=7)
    assert report.holds()
    report.claim("water is wet", True)
    assert report.holds()
    report.claim("[b]pigs[/b] fly", np.bool_(False))
    report.claim("the sky is up", np.bool_(True))
    assert not report.holds()
    assert [claim["holds"] for claim in report.claims] == [True, False, True]
    printed = capsys.readouterr().out
    assert "holds: water is wet" in printed
    assert "FAILS: [b]pigs[/b] fly" in printed


def test_the_last_line_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(seed=11)
    report.say("a word first")
    report.table("figures", {"als": {"ndcg@10": 0.5}, "svd": {"ndcg@10": 0.25}})
    report.add_row("small", "basket", "als", "ndcg@10", np.array([0.5, 0.5], dtype=np.float32))
    report.add_difference("small", "basket", "ndcg@10", "patron", "als", np.array([0.125]))
    report.claim("water is wet", np.bool_(True))
    report.speed["recommend"] = {"p95_ms": 12.5}
    report.finish()
    printed = capsys.readouterr().out
    assert "0.2500" in printed
    assert printed.endswith("\n")
    document = json.loads(printed.splitlines()[-1])
    assert list(document) == [
        "commit", "seed", "hardware", "rows", "differences", "claims", "speed",
    ]  # fmt: skip
    assert document["seed"] == 11
    assert "cores" in document["hardware"]
    assert document["rows"] == report.rows
    assert document["differences"] == report.differences
    assert document["claims"] == [{"claim": "water is wet", "holds": True}]
    assert document["speed"] == {"recommend": {"p95_ms": 12.5}}


# Lists.


def test_a_sources_lists_are_its_highest_scores_and_new_ones_for_discovery() -> None:
    """Items 1 and 3 are equal, 4 has no score; own are 0 and 1, 4, and 3."""
    lists = source_lists(_Fixed(5, 2, 3, 2, 0, -1), _window())
    assert set(lists) == {"basket", "discovery"}
    np.testing.assert_array_equal(lists["basket"], _padded(*[[0, 2, 1, 3]] * 3))
    np.testing.assert_array_equal(lists["discovery"], _padded([2, 3], [0, 2, 1, 3], [0, 2, 1]))


def test_customers_of_every_chunk_get_their_own_list() -> None:
    asked = _window(_many(600), most_customers=600)
    lists = source_lists(OwnRepeats(), asked)
    np.testing.assert_array_equal(lists["basket"], _padded(*[[n % _ITEMS] for n in range(600)]))
    np.testing.assert_array_equal(lists["discovery"], _padded(*[[]] * 600))


def test_a_peer_has_the_settings_that_validate_best_on_each_task() -> None:
    """Everybody buys item 0 again, and item 1, then item 2, for the first time."""
    orders = {}
    for number in range(4):
        orders[f"c{number}", "2024-01-20", "o1"] = (0,)
        orders[f"c{number}", "2024-02-20", "o2"] = (0, 1)
        orders[f"c{number}", "2024-03-20", "o3"] = (0, 2)
    data = _data(orders)
    asked_at: list[tuple[str, str]] = []

    def fit(name: str, *scores: float) -> Any:
        def fitted(given: Any) -> Any:
            asked_at.append((name, given.as_of.date().isoformat()))
            return _Fixed(*scores)

        return fitted

    trials = {"own": fit("own", 9, 7, 0, 0, 8, 0), "new": fit("new", 0, 5, 2, 1, 0, 0)}
    report = Report(seed=7)
    validation = window(data, data.validation_cutoff, 99, 7)
    lists = peer_lists(Peer(name="peer", trials=trials), validation, _window(data), report)
    # True on validation are 0 and 1, of these 1 is new. "own" names 0, 4, 1 and new 4, 1; "new"
    # names 1, 2, 3 on both tasks.
    np.testing.assert_array_equal(lists["basket"], _padded(*[[0, 4, 1]] * 4))
    np.testing.assert_array_equal(lists["discovery"], _padded(*[[2, 3]] * 4))
    assert asked_at[:2] == [("own", "2024-02-02"), ("new", "2024-02-02")]
    assert sorted(asked_at[2:]) == [("new", "2024-03-01"), ("own", "2024-03-01")]


def test_a_peer_without_settings_is_not_tuned() -> None:
    peer = Peer(name="own repeats", trials={"": lambda _: OwnRepeats()})
    lists = peer_lists(peer, _window(), _window(), Report(seed=7))
    np.testing.assert_array_equal(lists["basket"], _padded([0, 1], [4], [3]))
    np.testing.assert_array_equal(lists["discovery"], _padded([], [], []))


def _found() -> Found:
    """Two candidates of the second customer are equal; the third has none."""
    return Found(
        ranked=Ranked(
            customer=np.array([0, 1, 1, 1, 1, 3]),
            item=np.array([2, 0, 1, 4, 5, 3]),
            score=np.array([0.1, 0.2, 0.9, 0.5, 0.5, 0.3]),
            found_by=np.array([[True, False, True, False, True, False]]),
        ),
        starts=np.array([0, 1, 5, 5, 6]),
    )


def test_the_best_are_the_highest_scores_and_equals_by_row() -> None:
    np.testing.assert_array_equal(
        _found().best(4, length=3), [[2, -1, -1], [1, 4, 5], [-1, -1, -1], [3, -1, -1]]
    )
    np.testing.assert_array_equal(_found().best(2, length=2), [[2, -1], [1, 4]])
    np.testing.assert_array_equal(_found().best(4), _padded([2], [1, 4, 5, 0], [], [3]))


def test_one_customers_candidates() -> None:
    own = _found().of(1)
    assert own.customer.tolist() == [1, 1, 1, 1]
    assert own.item.tolist() == [0, 1, 4, 5]
    assert own.score.tolist() == [0.2, 0.9, 0.5, 0.5]
    assert own.found_by.tolist() == [[False, True, False, True]]
    assert len(_found().of(2).item) == 0
