import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from agent.daily_spend import read_daily_spend
from agent.experiment_files import (
    experiment_file,
    experiment_values,
    list_experiments,
    make_experiment,
    read_experiment,
    running_experiments,
    start_experiment,
    stop_experiment,
)
from agent.experiment_outcomes import Outcomes, read_outcomes
from agent.experiment_population import customers_of_file, customers_of_tier
from agent.experiments import (
    Experiment,
    ExperimentError,
    Group,
    Metric,
    Status,
    assign,
    draw,
    entry_day,
    entry_moment,
    held_out,
)
from agent.sample_ratio import check_sample_ratio
from retrieval.shop import Shop, ShopSettings
from tests.agent.experiment_shop import START, buy, days_after, experiment, new_shop, noon
from tests.tiny_shop import offers

IDS = [f"c{number}" for number in range(20_000)]
# (what, salt, customer) as the mapping gave them when it was first written; they never change.
GOLDEN = {
    ("group", "spring", "c01"): 0.619122450893,
    ("group", "spring", "c02"): 0.288014962678,
    ("group", "autumn", "c01"): 0.427233818649,
    ("entry", "spring", "c01"): 0.200335576372,
    ("entry", "spring", "Żółć 4"): 0.567431613845,
}


def test_draws_never_change() -> None:
    for key, value in GOLDEN.items():
        assert draw(*key) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_draws_are_the_same_in_another_process(seed: str) -> None:
    code = "from agent.experiments import draw; print(draw('group', 'spring', 'c01'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert float(done.stdout) == draw("group", "spring", "c01")


def test_a_draw_below_the_share_is_control() -> None:
    # c02 draws 0.288, c01 draws 0.619.
    assert assign(experiment(holdout_share=0.3), "c02") is Group.CONTROL
    assert assign(experiment(holdout_share=0.28), "c02") is Group.TREATMENT
    assert assign(experiment(holdout_share=0.3), "c01") is Group.TREATMENT


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_groups_have_the_planned_sizes(share: float) -> None:
    tested = experiment(holdout_share=share)
    control = sum(assign(tested, each) is Group.CONTROL for each in IDS)
    assert not check_sample_ratio(len(IDS) - control, control, share).mismatch


def test_experiments_are_independent_and_so_is_the_entry() -> None:
    spring, autumn = experiment(), experiment(salt="autumn")
    pairs = [(assign(spring, each), assign(autumn, each)) for each in IDS]
    table = [[pairs.count((a, b)) for b in Group] for a in Group]
    assert chi2_contingency(table).pvalue > 0.001
    days = [(assign(spring, each), int(entry_moment(spring, each))) for each in IDS]
    by_day = [[days.count((group, day)) for day in range(10)] for group in Group]
    assert min(min(row) for row in by_day) > 800
    assert chi2_contingency(by_day).pvalue > 0.001


@given(st.text(max_size=20), st.integers(1, 60))
def test_everybody_enters_while_customers_enter(customer_id: str, enrolment_days: int) -> None:
    tested = experiment(enrolment_days=enrolment_days)
    assert tested.starts <= entry_day(tested, customer_id) <= tested.last_entry


def test_offers_are_withheld_from_control_and_from_those_not_yet_in() -> None:
    tested = experiment()
    control = next(each for each in IDS if assign(tested, each) is Group.CONTROL)
    treated = next(
        each
        for each in IDS
        if assign(tested, each) is Group.TREATMENT and entry_day(tested, each) == days_after(4)
    )
    assert held_out([tested], control, "tea", days_after(29)) is tested
    assert held_out([tested], control, "coffee", days_after(29)) is None
    assert held_out([tested], treated, "tea", days_after(3)) is tested
    assert held_out([tested], treated, "tea", days_after(4)) is None
    others = replace(tested, customer_ids=frozenset({"somebody"}))
    assert held_out([others], control, "tea", days_after(29)) is None
    assert held_out([], control, "tea", days_after(29)) is None


def test_status_by_day() -> None:
    tested = experiment(enrolment_days=10, horizon_days=20)
    assert (tested.last_entry, tested.ends) == (days_after(9), days_after(29))
    found = [tested.status(days_after(day)) for day in (-1, 0, 28, 29)]
    assert found == [Status.PLANNED, Status.RUNNING, Status.RUNNING, Status.ENDED]
    assert replace(tested, stopped=days_after(5)).status(days_after(5)) is Status.STOPPED
    assert replace(tested, stopped=days_after(5)).status(days_after(4)) is Status.RUNNING


@given(
    st.floats(0.01, 0.99),
    st.sampled_from(Metric),
    st.none() | st.frozensets(st.text(min_size=1, max_size=8), max_size=5),
    st.none() | st.dates(date(2024, 1, 1), date(2025, 1, 1)),
)
def test_an_experiment_survives_its_file(
    share: float, metric: Metric, ids: frozenset[str] | None, stopped: date | None
) -> None:
    made = replace(
        experiment(), holdout_share=share, metric=metric, customer_ids=ids, stopped=stopped
    )
    assert make_experiment(json.loads(json.dumps(experiment_values(made)))) == made


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("experiment_id", "../etc"),
        ("experiment_id", "Spring sale"),
        ("holdout_share", 0),
        ("holdout_share", 1),
        ("metric", "clicks"),
        ("offers", []),
        ("enrolment_days", 0),
        ("alpha", 0.9),
        ("margin", 1.5),
        ("salt", "a/b"),
        ("planned_customers", 1),
        ("colour", "red"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object) -> None:
    with pytest.raises(ExperimentError, match=field):
        experiment(**{field: value})


# --- in the shop ---------------------------------------------------------------------------------

OFFERS = {offer.offer_id: offer for offer in offers()}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop.create(tmp_path / "shop", ShopSettings())


def drinks(**changes: object) -> Experiment:
    """On an offer that runs from 2024-12-01 until before 2025-02-01."""
    return experiment(**{"offers": ["drinks"], "starts": "2024-12-10"} | changes)


def test_an_experiment_is_written_once(shop: Shop) -> None:
    made = drinks()
    file = start_experiment(shop, made, OFFERS)
    before = file.read_bytes()
    assert file == experiment_file(shop, "spring")
    assert read_experiment(shop, "spring") == made
    with pytest.raises(ExperimentError, match="already"):
        start_experiment(shop, drinks(holdout_share=0.1), OFFERS)
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == ["spring.json"]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (drinks(offers=["gold"]), "no offer 'gold'"),
        (drinks(offers=["old"]), "'old' runs from 2024-06-01"),
        (drinks(starts="2024-11-30"), "customers would enter from 2024-11-30"),
        (drinks(starts="2025-01-23"), "to 2025-02-01"),
    ],
)
def test_an_offer_must_run_while_customers_enter(shop: Shop, made: Experiment, told: str) -> None:
    with pytest.raises(ExperimentError, match=told):
        start_experiment(shop, made, OFFERS)
    assert list_experiments(shop) == ()


def test_one_offer_is_under_one_test_at_a_time(shop: Shop) -> None:
    first = drinks(enrolment_days=5, horizon_days=10)
    assert first.ends == date(2024, 12, 24)
    start_experiment(shop, first, OFFERS)
    with pytest.raises(ExperimentError, match="under test in experiment 'spring' until 2024-12-24"):
        start_experiment(shop, drinks(experiment_id="b", starts="2024-12-23"), OFFERS)
    start_experiment(shop, drinks(experiment_id="b", starts="2024-12-24"), OFFERS)
    assert [each.experiment_id for each in list_experiments(shop)] == ["spring", "b"]


def test_a_stopped_experiment_withholds_nothing(shop: Shop) -> None:
    start_experiment(shop, drinks(), OFFERS)
    at = datetime(2024, 12, 15, 12, tzinfo=UTC)
    assert [each.experiment_id for each in running_experiments(shop, at)] == ["spring"]
    assert running_experiments(shop, at - timedelta(days=6)) == ()
    assert stop_experiment(shop, "spring", at.date()).stopped == at.date()
    assert running_experiments(shop, at) == ()
    with pytest.raises(ExperimentError, match="over since 2024-12-15"):
        stop_experiment(shop, "spring", date(2024, 12, 16))
    start_experiment(shop, drinks(experiment_id="b", starts="2024-12-15"), OFFERS)


def test_the_shops_own_midnight_begins_an_experiment(tmp_path: Path) -> None:
    shop = new_shop(tmp_path / "shop")
    start_experiment(shop, drinks(starts="2024-12-10"), OFFERS)
    assert running_experiments(shop, datetime(2024, 12, 10, 4, 59, tzinfo=UTC)) == ()
    assert running_experiments(shop, datetime(2024, 12, 10, 5, 0, tzinfo=UTC)) != ()


def test_a_damaged_file_is_named(shop: Shop) -> None:
    start_experiment(shop, drinks(), OFFERS)
    file = experiment_file(shop, "spring")
    good = file.read_text()
    for bad in ("{", "[]", good.replace('"spring"', '"other"', 1), good.replace("0.5", "5", 1)):
        file.write_text(bad)
        with pytest.raises(ExperimentError, match="spring"):
            list_experiments(shop)
    with pytest.raises(ExperimentError, match="no experiment 'nope'"):
        read_experiment(shop, "nope")


def test_a_list_of_customers_is_checked_by_line(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("c01\n\n  c02 \n")
    assert customers_of_file(file, {"c01", "c02", "c03"}) == {"c01", "c02"}
    with pytest.raises(ExperimentError, match="line 3: 'c02'"):
        customers_of_file(file, {"c01"})
    with pytest.raises(ExperimentError, match=r"absent\.txt"):
        customers_of_file(tmp_path / "absent.txt", {"c01"})


def test_a_tier_needs_predictions_from_before_the_start(shop: Shop) -> None:
    with pytest.raises(ExperimentError, match="low, middle, high"):
        customers_of_tier(shop, "gold", date(2025, 1, 1))
    with pytest.raises(ExperimentError, match=r"predictions\.parquet"):
        customers_of_tier(shop, "high", date(2025, 1, 1))


# --- outcomes ------------------------------------------------------------------------------------


def test_outcomes_are_read_around_each_customers_own_entry(tmp_path: Path) -> None:
    shop = new_shop(tmp_path / "shop")
    tested = experiment(enrolment_days=1, horizon_days=3)
    late_evening = datetime(2024, 6, 1, 3, 30, tzinfo=UTC)  # 23:30 on 31 May in New York
    buy(
        shop,
        [
            ("a", noon(days_after(-4)), 1),  # a day too early
            ("a", noon(days_after(-3)), 20),
            ("a", late_evening, 300),
            ("a", late_evening + timedelta(hours=1), 4_000),  # 0:30 on the day of entry
            ("a", noon(days_after(2)), 50_000),
            ("a", noon(days_after(3)), 600_000),  # a day too late
            ("b", noon(days_after(-90)), 7),
            ("new", noon(days_after(1)), 900),  # no customer before the start
        ],
    )
    early = read_outcomes(shop, tested, days_after(2))
    assert early.customer_ids == ()
    assert sum(early.entered.values()) == 2
    found = read_outcomes(shop, tested, days_after(3))
    assert _by_id(found) == {"a": (320.0, 54_000.0), "b": (0.0, 0.0)}
    assert _by_id(read_outcomes(shop, tested, days_after(30))) == _by_id(found)
    returned = read_outcomes(shop, replace(tested, metric=Metric.RETURNED), days_after(3))
    assert _by_id(returned) == {"a": (1.0, 1.0), "b": (0.0, 0.0)}


def _by_id(found: Outcomes) -> dict[str, tuple[float, float]]:
    pairs = zip(found.values.before.tolist(), found.values.after.tolist(), strict=True)
    return dict(zip(found.customer_ids, pairs, strict=True))


def test_customers_come_in_the_order_of_entry_and_by_assignment(tmp_path: Path) -> None:
    shop = new_shop(tmp_path / "shop")
    buy(shop, [(each, noon(days_after(-1)), 100) for each in IDS[:300]])
    tested = experiment(enrolment_days=10, horizon_days=5)
    found = read_outcomes(shop, tested, days_after(9))
    entered = {each for each in IDS[:300] if int(entry_moment(tested, each)) <= 4}
    assert set(found.customer_ids) == entered
    moments = [entry_moment(tested, each) for each in found.customer_ids]
    assert moments == sorted(moments)
    assert found.over.tolist() == [int(moment) + 5 for moment in moments]
    assert found.control.tolist() == [
        assign(tested, each) is Group.CONTROL for each in found.customer_ids
    ]
    assert sum(found.entered.values()) == 300
    some = replace(tested, customer_ids=frozenset(IDS[:10]))
    assert set(read_outcomes(shop, some, days_after(14)).customer_ids) == set(IDS[:10])
    stopped = replace(tested, stopped=days_after(9))
    assert read_outcomes(shop, stopped, days_after(14)).customer_ids == found.customer_ids


def test_daily_spend_of_an_empty_log(tmp_path: Path) -> None:
    assert read_daily_spend(new_shop(tmp_path / "shop"), START).known_before(START) == frozenset()


# --- the sizes of the groups ---------------------------------------------------------------------


def test_sample_ratio_known_answers() -> None:
    # Kohavi, Tang and Xu, "Trustworthy Online Controlled Experiments", chapter 3: p = 1.8e-6.
    found = check_sample_ratio(821_588, 815_482, 0.5)
    assert found.p_value == pytest.approx(1.8e-6, rel=0.02)
    assert found.mismatch
    assert found.always_valid_p < 0.001
    even = check_sample_ratio(900, 100, 0.1)
    assert (even.p_value, even.always_valid_p, even.mismatch) == (1.0, 1.0, False)
    assert check_sample_ratio(0, 50, 0.1).mismatch
    with pytest.raises(ValueError, match="no customers"):
        check_sample_ratio(0, 0, 0.1)
