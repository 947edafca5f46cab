"""What the prediction benchmark's figures rest on: measures known by hand, and the gains' sign."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from bench.prediction import compare
from bench.prediction_intervals import with_interval
from bench.prediction_measures import (
    SpendEnds,
    System,
    Truth,
    decile_mape,
    deciles,
    draw_measures,
    measure,
    normalised_gini,
    total_of_actual,
)
from bench.report import Report
from finetune.baselines import BaselineScores
from finetune.calibration import Floats
from finetune.metrics import auc_of_ranks
from finetune.season import Backcast, Seasons
from finetune.spend_interval import Total, fit_spend_interval

_SPEND = np.arange(20, dtype=np.float64)
_TRUTH = Truth(churned=_SPEND < 8, spend=_SPEND, tiers=[int(spend >= 10) for spend in _SPEND])


def _system(churn: Floats, spend: Floats, *, money: bool = True) -> System:
    tiers = [int(value >= 10) for value in spend]
    scores = BaselineScores(churn=churn, churn_is_probability=money, tiers=tiers, spend=spend)
    return System(scores=scores, money=money)


_GOOD = _system(np.where(_SPEND < 8, 0.9, 0.1), _SPEND * 1.5)
_POOR = _system(np.linspace(0.2, 0.6, 20), _SPEND[::-1].copy())
_ONLY_RANKS = _system(np.linspace(9, 1, 20), np.log1p(_SPEND), money=False)


@pytest.mark.parametrize(
    ("spend", "scores", "gini"),
    [
        ([0, 1, 2], [1, 2, 3], 1.0),
        ([0, 1, 2], [3, 2, 1], -1.0),
        ([0, 1, 2], [5, 5, 5], 0.0),
        ([0, 0, 0, 4], [1, 2, 4, 3], 1 / 3),
        ([0, 0, 0, 4], [0, 0, 1, 1], 2 / 3),  # the two above share the places 3 and 4
    ],
)
def test_gini_known_by_hand(spend: list[float], scores: list[float], gini: float) -> None:
    assert normalised_gini(np.array(spend, float), np.array(scores, float)) == pytest.approx(gini)


def test_deciles_hold_equally_many_and_the_highest_come_first() -> None:
    parts = deciles(_SPEND)
    assert [len(part) for part in parts] == [2] * 10
    assert parts[0].tolist() == [19, 18]
    assert parts[-1].tolist() == [1, 0]


def test_decile_error_is_relative_and_leaves_out_those_who_spent_nothing() -> None:
    spend = np.where(_SPEND < 2, 0.0, 10.0)
    predicted = np.where(_SPEND < 2, 1.0, np.where(_SPEND < 11, 15.0, 20.0))
    # Four deciles at +100 %, one half and half (+75 %), four at +50 %; the last spent nothing.
    assert decile_mape(spend, predicted) == pytest.approx((4 * 1.0 + 0.75 + 4 * 0.5) / 9)


def test_measures_agree_with_the_truth_and_stay_away_where_not_answered() -> None:
    good, ranks = measure(_TRUTH, _GOOD), measure(_TRUTH, _ONLY_RANKS)
    assert good["churn_auc"] == good["spearman"] == good["gini"] == pytest.approx(1.0)
    assert good["brier"] == pytest.approx(0.01)
    assert good["bias"] == pytest.approx(0.5)
    assert good["decile_mape"] == pytest.approx(0.5)
    assert ranks["gini"] == pytest.approx(1.0)
    assert [ranks[name] for name in ("brier", "ece", "decile_mape", "bias")] == [None] * 4


def test_area_is_unknown_where_all_ended_alike() -> None:
    assert np.isnan(auc_of_ranks(np.ones(3, dtype=bool), np.arange(3.0)))
    assert auc_of_ranks(np.array([True, False]), np.array([1.5, 1.5])) == 0.5


def test_draws_are_the_same_for_all_systems_and_agree_with_the_whole() -> None:
    draws = draw_measures(_TRUTH, {"one": _GOOD, "two": _GOOD, "poor": _POOR}, 20, seed=7)
    for metric, values in draws["one"].items():
        np.testing.assert_array_equal(values, draws["two"][metric])
    np.testing.assert_allclose(draws["one"]["gini"], 1.0)
    assert draws["poor"]["gini"].max() < 0


def test_gains_are_positive_where_patron_is_better() -> None:
    report = Report(seed=7)
    systems = {"patron_prior": _GOOD, "poor": _POOR, "ranks": _ONLY_RANKS}
    compare("made up", _TRUTH, systems, report)
    gains = {(row["peer"], row["metric"]): row for row in report.differences}
    for metric in ("churn_auc", "brier", "spearman", "gini"):
        assert 0 < gains["poor", metric]["low"] <= gains["poor", metric]["gain"]
    assert ("ranks", "brier") not in gains
    report = Report(seed=7)
    compare("made up", _TRUTH, {"patron_prior": _POOR, "good": _GOOD}, report)
    assert all(row["high"] < 0 for row in report.differences)


def _ends(low: float, high: float, total: Total) -> SpendEnds:
    return SpendEnds(
        low=low * _SPEND, high=high * _SPEND, total=total, coverage=0.8, season="unknown: too young"
    )


def test_coverage_is_the_share_of_customers_inside_their_interval() -> None:
    total = Total(expected=285.0, low=150.0, high=300.0)
    wide = replace(_GOOD, ends=_ends(0.5, 1.0, total))
    assert measure(_TRUTH, wide)["spend_coverage"] == 1.0
    assert measure(_TRUTH, replace(_GOOD, ends=_ends(0.5, 0.9, total)))["spend_coverage"] == 0.05
    assert measure(_TRUTH, _GOOD)["spend_coverage"] is None
    assert total_of_actual(_TRUTH, wide.ends or _ends(0, 0, total)) == (1.5, 150 / 190, 300 / 190)


@pytest.mark.parametrize(("low", "covers"), [(150.0, True), (191.0, False)])
def test_the_report_says_whether_the_total_is_covered(
    low: float, covers: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(seed=1)
    ours = replace(_GOOD, ends=_ends(0.5, 1.0, Total(expected=285.0, low=low, high=300.0)))
    compare("toy", _TRUTH, {"patron_prior": ours, "peer": _POOR}, report)
    (row,) = [row for row in report.rows if row["metric"] == "spend_total"]
    assert (row["system"], row["covers"], row["season"]) == (
        "patron_prior", covers, "unknown: too young",
    )  # fmt: skip
    assert (row["value"], row["high"]) == (1.5, round(300 / 190, 5))
    assert ("covers it" in capsys.readouterr().out) is covers


def test_a_known_season_corrects_spend_and_ends_together() -> None:
    backcasts = tuple(
        Backcast(
            cutoff=datetime(2023, month, 1, tzinfo=UTC).isoformat(),
            customers=9,
            expected=1.0,
            actual=2.0,
        )
        for month in range(4, 12)
    )
    seasons = Seasons(
        first_event=datetime(2022, 9, 1, tzinfo=UTC).isoformat(),
        horizon_days=90,
        backcasts=backcasts,
    )
    interval = fit_spend_interval(np.full(100, 10.0), np.arange(100) / 5, seasons)
    assert interval is not None
    plain = with_interval(_GOOD, interval, datetime(2022, 12, 1, tzinfo=UTC))
    doubled = with_interval(_GOOD, interval, datetime(2024, 6, 1, tzinfo=UTC))
    assert plain.scores.spend is not None
    assert doubled.scores.spend is not None
    assert _GOOD.scores.spend is not None
    np.testing.assert_allclose(plain.scores.spend, _GOOD.scores.spend)
    np.testing.assert_allclose(doubled.scores.spend, 2 * _GOOD.scores.spend)
    assert doubled.ends is not None
    assert doubled.ends.season.startswith("known")
    assert (doubled.ends.low <= doubled.scores.spend).all()
    assert (doubled.ends.high >= doubled.scores.spend).all()
