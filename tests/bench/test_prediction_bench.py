"""What the prediction benchmark's figures rest on: measures known by hand, and the gains' sign."""

import numpy as np
import pytest

from bench.prediction import compare
from bench.prediction_measures import (
    System,
    Truth,
    auc,
    decile_mape,
    deciles,
    draw_measures,
    measure,
    normalised_gini,
)
from bench.report import Report
from finetune.baselines import BaselineScores
from finetune.calibration import Floats

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
    assert np.isnan(auc(np.ones(3, dtype=bool), np.arange(3.0)))
    assert auc(np.array([True, False]), np.array([1.5, 1.5])) == 0.5


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
