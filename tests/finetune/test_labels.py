from datetime import timedelta
from pathlib import Path

import pytest

from finetune.labels import Example, build_labels, tier_of, tier_thresholds
from retrieval.event_log import EventLog
from retrieval.shop import ChurnDefinition, ChurnSettings, ShopSettings, ValueSettings
from tests.finetune.hand_made import day, event_table

CUTOFF = 90
# Three orders of 1000 in the 90 days before the cut-off: usually 1000 in 30 days.
_BOUGHT_BEFORE = ("steady", "half", "fading", "gone", "edge", "returner", "gift")
_AFTER = [
    ("steady", 100, 600, "purchase"),
    ("steady", 119.999, 400, "purchase"),
    ("half", 100, 500, "purchase"),
    ("fading", 100, 499, "purchase"),
    ("gone", 120, 5000, "purchase"),
    ("edge", 90, 700, "purchase"),
    ("returner", 95, -1000, "return"),
    ("gift", 95, 0, "purchase"),
    ("young", 100, 300, "purchase"),
    ("newcomer", 91, 800, "purchase"),
    ("viewer", 91, 800, "purchase"),
]
_LOG = [
    *[(customer, when, 1000, "purchase") for customer in _BOUGHT_BEFORE for when in (0, 30, 60)],
    ("steady", 61, -1000, "return"),
    ("young", 80, 600, "purchase"),
    ("viewer", 50, 0, "view"),
    *_AFTER,
]


def _settings(definition: ChurnDefinition) -> ShopSettings:
    return ShopSettings(churn=ChurnSettings(definition=definition, horizon_days=30))


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    log = EventLog(tmp_path / "log")
    log.append(event_table(_LOG), source="by hand")
    return log


def _labels(log: EventLog, definition: ChurnDefinition) -> dict[str, Example]:
    examples = build_labels(log, day(CUTOFF), _settings(definition))
    ids = [example.past.customer_id for example in examples]
    assert ids == sorted(ids)
    return {example.past.customer_id: example for example in examples}


def test_inactive_means_no_purchase_within_the_horizon(log: EventLog) -> None:
    labels = _labels(log, ChurnDefinition.INACTIVE)
    assert {name for name, label in labels.items() if label.churned} == {"gone", "returner"}


def test_decline_means_under_half_of_the_own_usual_spend(log: EventLog) -> None:
    labels = _labels(log, ChurnDefinition.DECLINE)
    assert {name for name, label in labels.items() if label.churned} == {
        "fading",
        "gone",
        "returner",
        "gift",
    }


def test_spend_is_what_was_bought_from_the_cutoff_to_the_end_of_the_horizon(log: EventLog) -> None:
    labels = _labels(log, ChurnDefinition.INACTIVE)
    assert {name: label.spend for name, label in labels.items()} == {
        "steady": 1000,
        "half": 500,
        "fading": 499,
        "gone": 0,
        "edge": 700,
        "returner": 0,
        "gift": 0,
        "young": 300,
    }


def test_customers_without_an_order_before_the_cutoff_are_left_out(log: EventLog) -> None:
    assert {"newcomer", "viewer"}.isdisjoint(_labels(log, ChurnDefinition.INACTIVE))


def test_the_past_ends_before_the_cutoff(log: EventLog) -> None:
    labels = _labels(log, ChurnDefinition.INACTIVE)
    assert [order.timestamp for order in labels["edge"].past.orders] == [day(0), day(30), day(60)]
    assert all(label.past.last_event < day(CUTOFF) for label in labels.values())


def test_nothing_after_the_horizon_counts(log: EventLog) -> None:
    before = {name: _labels(log, name) for name in ChurnDefinition}
    end = CUTOFF + 30
    late = [("gone", end + 1, 9000, "purchase"), ("fading", end, 9000, "purchase")]
    log.append(event_table(late), source="later")
    assert {name: _labels(log, name) for name in ChurnDefinition} == before
    # One microsecond earlier it is inside.
    inside = (timedelta(days=end) - timedelta(microseconds=1)) / timedelta(days=1)
    log.append(event_table([("gone", inside, 1, "purchase")]), source="in time")
    gone = _labels(log, ChurnDefinition.INACTIVE)["gone"]
    assert (gone.spend, gone.churned) == (1, False)


def test_thresholds_are_quantiles_of_the_given_spends() -> None:
    settings = ShopSettings(
        value=ValueSettings(tiers=("low", "middle", "high"), quantiles=(0.5, 0.75))
    )
    assert tier_thresholds([0, 100, 200, 300, 400], settings) == (200.0, 300.0)
    assert tier_thresholds([0, 0, 0, 0, 1000], settings) == (0.0, 0.0)


def test_a_tier_begins_at_its_threshold() -> None:
    thresholds = (200.0, 300.0)
    spends = [0, 199, 199.99, 200, 299, 300, 10_000]
    assert [tier_of(spend, thresholds) for spend in spends] == [0, 0, 0, 1, 1, 2, 2]
    assert tier_of(5, ()) == 0
