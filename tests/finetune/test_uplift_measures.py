"""Qini and uplift curves: numbers worked by hand, ties, weights, and scikit-uplift's answers."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc
from sklift.metrics import qini_auc_score
from sklift.metrics import uplift_curve as sklift_curve

from finetune.uplift_measures import auuc, perfect_area, qini_coefficient, walk_down

# Four customers in the predicted order: treated buyer, untreated, treated, untreated buyer.
_OUTCOME = np.array([1.0, 0.0, 0.0, 1.0])
_TREATED = np.array([True, False, True, False])
_EFFECT = np.array([0.9, 0.8, 0.2, 0.1])


def test_curves_worked_by_hand() -> None:
    walk = walk_down(_OUTCOME, _EFFECT, _TREATED)
    qini = walk.qini_curve()
    assert qini.customers.tolist() == [[0, 1, 2, 3, 4]]
    assert qini.gain.tolist() == [[0, 1, 1, 1, 0]]
    assert qini.area == 3.0
    assert qini.area_over_chance == 3.0
    assert walk.uplift_curve().gain.tolist() == [[0, 1, 2, 1.5, 0]]
    assert auuc(_OUTCOME, _EFFECT, _TREATED) == pytest.approx(4.5 / 16)


def test_the_perfect_order_is_one_and_its_reverse_is_below_nought() -> None:
    assert qini_coefficient(_OUTCOME, _EFFECT, _TREATED) == pytest.approx(1.0)
    # Gains of the reverse: 0, -1, -1/2, 0, an area of -1.5 of 3.
    assert qini_coefficient(_OUTCOME, -_EFFECT, _TREATED) == pytest.approx(-0.5)


def test_one_effect_for_all_is_chance() -> None:
    same = np.zeros(4)
    assert qini_coefficient(_OUTCOME, same, _TREATED) == 0.0
    assert auuc(_OUTCOME, same, _TREATED) == 0.0
    lifted = np.where(_TREATED, 1.0, 0.0)
    assert auuc(lifted, same, _TREATED) == pytest.approx(0.5)  # half the effect of 1


def test_nothing_to_rank_is_not_a_number() -> None:
    assert np.isnan(qini_coefficient(np.zeros(4), _EFFECT, _TREATED))


_ROWS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.sampled_from([-1.0, 0.0, 0.5, 2.0])),
    min_size=4,
    max_size=60,
).filter(lambda rows: 0 < sum(treated for _, treated, _ in rows) < len(rows))


def _columns(rows: list[tuple[bool, bool, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    outcome, treated, effect = zip(*rows, strict=True)
    return np.array(outcome, float), np.array(effect), np.array(treated)


@given(rows=_ROWS, seed=st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_rows_decides_nothing(rows: list, seed: int) -> None:
    outcome, effect, treated = _columns(rows)
    moved = np.random.default_rng(seed).permutation(len(rows))
    first = auuc(outcome, effect, treated)
    assert auuc(outcome[moved], effect[moved], treated[moved]) == pytest.approx(first)


@given(rows=_ROWS, seed=st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_a_weight_counts_a_customer_so_often(rows: list, seed: int) -> None:
    outcome, effect, treated = _columns(rows)
    counts = np.random.default_rng(seed).integers(1, 4, (2, len(rows)))
    walk = walk_down(outcome, effect, treated, counts.astype(float))
    areas, over_chance = walk.area_per_customer(), walk.qini_curve().area_over_chance
    most = perfect_area(outcome, treated, counts.astype(float))
    for draw, count in enumerate(counts):
        often = np.repeat(np.arange(len(rows)), count)
        repeated = outcome[often], effect[often], treated[often]
        if most[draw] > 0:
            assert over_chance[draw] / most[draw] == pytest.approx(qini_coefficient(*repeated))
        assert areas[draw] == pytest.approx(auuc(*repeated))


@given(rows=_ROWS)
@settings(max_examples=100, deadline=None)
def test_scikit_uplift_says_the_same(rows: list) -> None:
    outcome, effect, treated = _columns(rows)
    assume(0 < outcome.sum() < len(outcome))  # it refuses outcomes that are all alike
    ours = qini_coefficient(outcome, effect, treated)
    if np.isfinite(ours):
        theirs = qini_auc_score(outcome, effect, treated.astype(int))
        assert ours == pytest.approx(theirs)
    area = auc(*sklift_curve(outcome, effect, treated.astype(int)))
    assert auuc(outcome, effect, treated) == pytest.approx(area / len(rows) ** 2)
