import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.calibration import Floats
from finetune.season import Season, Seasons
from finetune.spend_interval import (
    SpendInterval,
    fewest_customers,
    fit_spend_interval,
    foresee_spend,
)

NO_SEASONS = Seasons(first_event="2024-01-01T00:00:00+00:00", horizon_days=90, backcasts=())
STILL = Season(known=True, factor=1.0, spread=0.0, freedom=3.0, text="known: still")
MOVING = replace(STILL, known=False, spread=0.3, text="unknown: moving")
MOMENT = datetime(2024, 10, 1, tzinfo=UTC)


def customers(
    random: np.random.Generator, count: int, nothing: float, noise: float
) -> tuple[Floats, Floats]:
    """Expected and actual spend; a share buys nothing, the rest is lognormal, right on average."""
    expected = np.exp(random.normal(9, 1.5, count))
    buys = random.random(count) >= nothing
    shares = np.exp(noise * random.standard_normal(count) - noise**2 / 2) / (1 - nothing)
    return expected, np.where(buys, expected * shares, 0.0)


def fitted(random: np.random.Generator, count: int = 600, nothing: float = 0.3) -> SpendInterval:
    expected, actual = customers(random, count, nothing, 0.6)
    interval = fit_spend_interval(expected, actual.tolist(), NO_SEASONS)
    assert interval is not None
    return interval


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(9, 400),
    nothing=st.sampled_from((0.0, 0.05, 0.1, 0.3, 0.9)),
    noise=st.floats(0.05, 1.5),
)
def test_exchangeable_customers_are_covered_as_declared(
    seed: int, count: int, nothing: float, noise: float
) -> None:
    random, inside = np.random.default_rng(seed), []
    for _ in range(60):
        expected, actual = customers(random, count + 100, nothing, noise)
        interval = fit_spend_interval(expected[:count], actual[:count].tolist(), NO_SEASONS)
        assert interval is not None
        low, high = interval.around(expected[count:], STILL)
        inside.append(np.mean((actual[count:] >= low) & (actual[count:] <= high)))
    # Three standard errors of the mean of sixty fits.
    assert np.mean(inside) >= 0.8 - 3 * np.std(inside) / np.sqrt(len(inside)) - 0.005


def test_where_nobody_buys_nothing_both_tails_are_cut() -> None:
    random = np.random.default_rng(1)
    interval = fitted(random, 5_000, nothing=0.0)
    expected, actual = customers(random, 20_000, 0.0, 0.6)
    low, high = interval.around(expected, STILL)
    assert np.mean(actual < low) == pytest.approx(0.1, abs=0.02)
    assert np.mean(actual > high) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("nothing", [0.0, 0.3, 0.95])
def test_the_interval_is_not_negative_and_holds_the_expected_spend(nothing: float) -> None:
    random = np.random.default_rng(2)
    interval = fitted(random, nothing=nothing)
    expected = np.concatenate([[0.0, 0.4, 1e12], customers(random, 500, nothing, 1.0)[0]])
    low, high = interval.around(expected, STILL)
    assert (low >= 0).all()
    assert (low <= expected).all()
    assert (expected <= high).all()


def test_a_moving_shop_has_wider_intervals_and_a_known_season_moves_them() -> None:
    interval = fitted(np.random.default_rng(3), nothing=0.0)
    expected = np.array([1_000.0, 10_000.0, 100_000.0])
    low, high = interval.around(expected, STILL)
    wide_low, wide_high = interval.around(expected, MOVING)
    assert (wide_low < low).all()
    assert (wide_high > high).all()
    twice_low, twice_high = interval.around(expected, replace(STILL, factor=2.0))
    np.testing.assert_allclose(twice_low, 2 * low)
    np.testing.assert_allclose(twice_high, 2 * high)


def test_too_few_customers_get_no_interval() -> None:
    few = fewest_customers()
    assert few == 9
    shares = np.arange(1.0, few + 1)
    assert fit_spend_interval(np.full(few - 1, 100.0), shares[1:].tolist(), NO_SEASONS) is None
    interval = fit_spend_interval(np.full(few, 100.0), (100 * shares).tolist(), NO_SEASONS)
    assert interval is not None
    # Nine customers and one to come: the tenth below and the tenth above lie outside.
    assert interval.groups[0].ends(0.8, 0.0, 3.0) == (1.0, 9.0)


def test_customers_expected_alike_fall_into_one_group() -> None:
    interval = fit_spend_interval(np.full(500, 100.0), [100.0] * 250 + [0.0] * 250, NO_SEASONS)
    assert interval is not None
    assert len(interval.groups) == 1
    assert interval.groups[0].customers == 500


def test_the_total_is_covered_as_declared_where_the_level_is_all_that_moves() -> None:
    random, covered = np.random.default_rng(4), []
    for _ in range(200):
        interval = fitted(random, 300)
        moved = np.exp(MOVING.spread * random.standard_t(MOVING.freedom))
        expected, actual = customers(random, 400, 0.3, 0.6)
        total = interval.total(interval.sums(expected), MOVING)
        covered.append(total.low <= moved * actual.sum() <= total.high)
    assert np.mean(covered) == pytest.approx(0.8, abs=0.08)


def test_sums_of_parts_give_the_total_of_all() -> None:
    random = np.random.default_rng(5)
    interval = fitted(random)
    expected = customers(random, 1_000, 0.3, 0.6)[0]
    parts = interval.sums(expected[:400]) + interval.sums(expected[400:])
    whole = interval.total(interval.sums(expected), MOVING)
    assert interval.total(parts, MOVING).high == pytest.approx(whole.high)
    assert whole.expected == pytest.approx(expected.sum())
    assert 0 <= whole.low < whole.expected < whole.high


def test_a_manifest_keeps_it_whole() -> None:
    interval = fitted(np.random.default_rng(6))
    assert SpendInterval.from_json(json.loads(json.dumps(asdict(interval)))) == interval


def test_customers_are_told_whole_minor_units_and_the_season() -> None:
    interval = fitted(np.random.default_rng(7))
    (one, other) = foresee_spend(interval, np.array([10_000.4, 0.0]), [MOMENT, MOMENT])
    assert one.expected == 10_000
    assert isinstance(one.low, int)
    assert isinstance(one.high, int)
    assert one.coverage == 0.8
    assert one.season == (
        "unknown: the log holds only 274 days before the cut-off (544 are needed)"
    )
    assert (other.low, other.expected) == (0, 0)


def test_without_an_interval_there_is_the_expected_spend_alone() -> None:
    (one,) = foresee_spend(None, np.array([735.2]), [MOMENT])
    assert (one.expected, one.low, one.high, one.season) == (735, None, None, None)
