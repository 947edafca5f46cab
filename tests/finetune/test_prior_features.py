from dataclasses import replace

import numpy as np
import pytest

from finetune.customer_features import FEATURES
from finetune.prior_features import (
    FADING_DAYS,
    FADING_SPEND,
    FADING_SPEND_BY_USUAL,
    KEPT_ITEMS,
    PRIOR_FEATURES,
    UNITS_A_LINE,
    prior_features,
)
from tests.finetune.hand_made import past_of

Orders = list[tuple[float, int]]


def _named(orders: Orders, as_of: float, horizon: int = 60) -> dict[str, float]:
    row = prior_features([past_of(orders, as_of=as_of)], horizon)[0]
    return dict(zip(PRIOR_FEATURES, row.tolist(), strict=True))


def test_they_begin_with_what_counting_reads() -> None:
    assert PRIOR_FEATURES[: len(FEATURES)] == FEATURES
    assert len(set(PRIOR_FEATURES)) == len(PRIOR_FEATURES)


def test_an_order_counts_half_after_a_half_life() -> None:
    # One order, a horizon old: 3 half-lives of a third of it, 6 of a sixth.
    found = _named([(0, 600)], as_of=60)
    for pace, days, left in (("third", 20, 1 / 8), ("sixth", 10, 1 / 64)):
        decay = np.log(2) / days
        steady = (1 - left) / decay
        assert np.expm1(found[f"fading_spend_{pace}"]) == pytest.approx(60 * 600 * left / steady)
        assert np.expm1(found[f"fading_days_{pace}"]) == pytest.approx(60 * left / steady)


def test_a_steady_customer_has_the_same_at_every_pace() -> None:
    found = _named([(float(day), 100) for day in range(600)], as_of=599.5)
    assert [found[name] for name in FADING_DAYS] == pytest.approx([np.log1p(60)] * 5, rel=0.02)
    assert [found[name] for name in FADING_SPEND] == pytest.approx([np.log1p(6000)] * 5, rel=0.02)
    assert [found[name] for name in FADING_SPEND_BY_USUAL] == pytest.approx(
        [np.log(2)] * 5, rel=0.03
    )


def test_a_newcomer_is_not_taken_for_who_buys_every_day() -> None:
    newcomer = _named([(0, 100)], as_of=1)
    daily = _named([(float(day), 100) for day in range(60)], as_of=60)
    for name in (*FADING_DAYS, *FADING_SPEND):
        assert newcomer[name] < daily[name] / 1.2
    # At the slowest pace one order is hardly more than one order in a horizon.
    assert np.expm1(newcomer["fading_days_four_thirds"]) == pytest.approx(1, rel=0.35)


def test_who_went_silent_fades_fastest_at_the_shortest_pace() -> None:
    found = _named([(float(day), 100) for day in range(0, 300, 5)], as_of=360)
    rates = [found[name] for name in FADING_DAYS]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1] / 5


def test_a_first_order_of_today_and_free_goods_are_finite() -> None:
    for orders in ([(9.99, 500)], [(3.0, 0)], [(3.0, 0), (3.0, 0)]):
        row = prior_features([past_of(orders, as_of=10)], 90)
        assert row.shape == (1, len(PRIOR_FEATURES))
        assert np.isfinite(row).all()


def test_nobody_gives_no_rows() -> None:
    assert prior_features([], 90).shape == (0, len(PRIOR_FEATURES))


def test_habits_are_what_the_past_says() -> None:
    past = replace(
        past_of([(0, 100)], as_of=10), kept_lately=0.25, kept_before=0.5, units_a_line=6.0
    )
    found = dict(zip(PRIOR_FEATURES, prior_features([past], 60)[0].tolist(), strict=True))
    assert [found[name] for name in KEPT_ITEMS] == [0.25, 0.5]
    assert found[UNITS_A_LINE] == pytest.approx(np.log(7))
