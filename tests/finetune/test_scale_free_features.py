import json

import numpy as np
import pytest

from finetune.errors import TrainingError
from finetune.scale_free_features import (
    SCALE_FREE_FEATURES,
    ShopScale,
    measure_shop,
    scale_free_features,
    share_below,
)
from tests.finetune.hand_made import past_of
from tests.finetune.other_shops import tell_shop


@pytest.mark.parametrize(("money", "pace"), [(100, 1), (1, 3), (7, 2)])
def test_another_currency_and_another_pace_change_nothing(money: int, pace: int) -> None:
    plain, _ = tell_shop(1)
    other, _ = tell_shop(1, money=money, pace=pace)
    expected = scale_free_features(plain, 90, measure_shop(plain, 90))
    found = scale_free_features(other, 90 * pace, measure_shop(other, 90 * pace))
    assert expected.shape == (400, len(SCALE_FREE_FEATURES))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    assert (expected.std(axis=0) > 0).sum() >= len(SCALE_FREE_FEATURES) - 3  # one item, no returns


def test_silence_shows_against_the_horizon_and_the_own_gap() -> None:
    pasts, _ = tell_shop(1)
    scale = measure_shop(pasts, 90)
    on_time = past_of([(150, 1000), (160, 1000), (170, 1000)], as_of=180)
    late = past_of([(90, 1000), (100, 1000), (110, 1000)], as_of=180)
    rows = dict(
        zip(SCALE_FREE_FEATURES, scale_free_features([on_time, late], 90, scale).T, strict=True)
    )
    np.testing.assert_allclose(rows["since_last_by_horizon"], [10 / 90, 70 / 90])
    np.testing.assert_allclose(rows["since_last_by_gap"], np.log1p([1, 7]))
    assert rows["bg_nbd_no_purchase"][1] > rows["bg_nbd_no_purchase"][0]
    assert rows["rank_of_since_last"][1] > rows["rank_of_since_last"][0]


def test_one_customer_reads_the_same_alone_and_among_others() -> None:
    pasts, _ = tell_shop(1)
    scale = measure_shop(pasts, 90)
    all_ = scale_free_features(pasts, 90, scale)
    np.testing.assert_allclose(scale_free_features(pasts[5:6], 90, scale)[0], all_[5])
    assert scale_free_features([], 90, scale).shape == (0, len(SCALE_FREE_FEATURES))


def test_places_among_customers_are_shared_by_equals() -> None:
    marks = np.array([1.0, 2.0, 2.0, 3.0])
    np.testing.assert_allclose(
        share_below(marks, np.array([0.0, 2.0, 2.5, 9.0])), [0, 0.5, 0.75, 1]
    )


def test_a_shop_of_one_time_buyers_has_a_scale() -> None:
    pasts = [past_of([(day, 500)], as_of=60, customer_id=f"c{day}") for day in range(5)]
    scale = measure_shop(pasts, 30)
    assert scale.rhythm.amounts is None
    assert scale.gap == 30
    assert np.isfinite(scale_free_features(pasts, 30, scale)).all()
    foreseen = scale.foreseen(pasts, 30)
    np.testing.assert_allclose(foreseen.spend, foreseen.purchases * 500)


def test_without_customers_there_is_no_scale() -> None:
    with pytest.raises(TrainingError, match="no customers"):
        measure_shop([], 30)


def test_a_scale_read_back_is_the_same() -> None:
    for pasts in (tell_shop(1, count=50)[0], [past_of([(1, 500)], as_of=60)]):
        scale = measure_shop(pasts, 30)
        assert ShopScale.from_json(json.loads(json.dumps(scale.to_json()))) == scale
