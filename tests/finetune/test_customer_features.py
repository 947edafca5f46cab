import numpy as np
import pytest

from finetune.customer_features import FEATURES, customer_features
from tests.finetune.hand_made import past_of


def _named(orders: list[tuple[float, int]], as_of: float, horizon: int = 90) -> dict[str, float]:
    row = customer_features([past_of(orders, as_of=as_of)], horizon)[0]
    return dict(zip(FEATURES, row.tolist(), strict=True))


def test_known_answers() -> None:
    found = _named([(0, 1000), (30, 1000), (59.5, 3000), (60, 1000)], as_of=90)
    assert found["recency"] == pytest.approx(np.log1p(60))
    assert found["frequency"] == pytest.approx(np.log(3))  # two order days after the first
    assert found["T"] == pytest.approx(np.log(91))
    assert found["monetary_value"] == pytest.approx(np.log(1501))
    assert found["usual_spend"] == pytest.approx(np.log(6001))
    assert found["since_last_by_horizon"] == pytest.approx(30 / 90)
    assert found["spend_last_horizon"] == pytest.approx(np.log(2))
    assert found["spend_last_third"] == pytest.approx(np.log1p(3 * 1000 / 6000))
    assert found["days_last_horizon"] == pytest.approx(np.log1p(3))
    assert found["last_order_by_average"] == pytest.approx(np.log1p(1000 / 1500))


def test_relative_features_do_not_mind_the_currency() -> None:
    small = _named([(0, 100), (20, 300), (50, 200)], as_of=80)
    large = _named([(0, 10000), (20, 30000), (50, 20000)], as_of=80)
    money = {"monetary_value", "usual_spend"}
    assert {k: v for k, v in small.items() if k not in money} == pytest.approx(
        {k: v for k, v in large.items() if k not in money}
    )
    assert small["usual_spend"] < large["usual_spend"]


def test_a_first_order_of_today_and_free_goods_are_finite() -> None:
    for orders in ([(9.99, 500)], [(3, 0)], [(3, 0), (3, 0)]):
        row = customer_features([past_of(orders, as_of=10)], 90)
        assert row.shape == (1, len(FEATURES))
        assert np.isfinite(row).all()


def test_nobody_gives_no_rows() -> None:
    assert customer_features([], 90).shape == (0, len(FEATURES))
