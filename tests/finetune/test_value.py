import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.adapter import current_adapter
from finetune.base_model import find_base_model, token_counter
from finetune.lora_predictor import LoraPredictor
from finetune.scoring import score_all
from finetune.value import Stage, lifecycle_stage, lifetime_value
from retrieval.catalogue import Catalogue
from retrieval.history import render_history
from retrieval.orders import CustomerPast
from retrieval.shop import Shop
from tests.finetune.hand_made import past_of

HORIZON = 60
NOW = 365


@pytest.mark.parametrize(
    ("spend", "risk", "horizon", "discount", "days", "expected"),
    [
        (1000, 0.0, 90, 0.0, 360, 4000),  # nobody leaves: four whole periods
        (1000, 1.0, 90, 0.0, 360, 1000),  # all leave: the first period only
        (1000, 0.5, 90, 0.0, 360, 1875),  # 1000 (1 + 1/2 + 1/4 + 1/8)
        (1000, 0.2, 100, 0.0, 250, 2120),  # 1000 (1 + 0.8 + half of 0.64)
        (1000, 0.3, 90, 0.0, 45, 500),  # half of one period
        (1000, 0.0, 90, 0.0, 90, 1000),
        (0, 0.2, 90, 0.1, 360, 0),
        # A year's rate of 21% is 10% for half a year, or nearly: 731 days are two of 365.25.
        (121_000, 0.0, 730, 0.1, 730, 100_013),
        # 100000 / 1.1^(90/365.25) = 97678.86, and 0.8 of that again once more discounted.
        (100_000, 0.2, 90, 0.1, 180, 174_008),
    ],
)
def test_lifetime_value_is_the_discounted_sum(
    spend: float, risk: float, horizon: int, discount: float, days: int, expected: int
) -> None:
    value = lifetime_value(spend, risk, horizon_days=horizon, discount_rate=discount, ltv_days=days)
    assert value == expected


@given(
    spend=st.floats(0, 1e8),
    risks=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    discount=st.floats(0, 0.99),
    horizon=st.integers(7, 730),
    days=st.integers(30, 3650),
)
def test_more_risk_never_raises_lifetime_value(
    spend: float, risks: tuple[float, float], discount: float, horizon: int, days: int
) -> None:
    low, high = (
        lifetime_value(spend, risk, horizon_days=horizon, discount_rate=discount, ltv_days=days)
        for risk in sorted(risks)
    )
    assert 0 <= high <= low <= spend * max(1.0, days / horizon) + 1


def _stage(past: CustomerPast, *, risk: float = 0.1, top_tier: bool = False) -> Stage:
    return lifecycle_stage(
        past, horizon_days=HORIZON, churn_risk=risk, at_risk_above=0.4, top_tier=top_tier
    )


def _bought(*days: float) -> CustomerPast:
    return past_of([(when, 1000) for when in days], as_of=NOW)


def test_lapsed_after_a_whole_horizon_without_an_order() -> None:
    assert _stage(_bought(100, 200, NOW - 60.01)) is Stage.LAPSED
    assert _stage(_bought(250, NOW - 61), risk=0.0, top_tier=True) is Stage.LAPSED
    assert _stage(_bought(200, 250, NOW - 60)) is not Stage.LAPSED


def test_new_within_the_first_horizon_and_three_orders() -> None:
    assert _stage(_bought(NOW - 1)) is Stage.NEW
    assert _stage(_bought(NOW - 60, NOW - 30, NOW - 1), risk=0.9, top_tier=True) is Stage.NEW
    assert _stage(_bought(NOW - 40, NOW - 30, NOW - 20, NOW - 1)) is Stage.ACTIVE
    assert _stage(_bought(NOW - 61, NOW - 30)) is Stage.ACTIVE


def test_won_back_after_a_pause_of_a_horizon() -> None:
    assert _stage(_bought(0, 10, NOW - 5)) is Stage.WON_BACK
    assert _stage(_bought(NOW - 65, NOW - 5), risk=0.9, top_tier=True) is Stage.WON_BACK
    assert _stage(_bought(NOW - 64, NOW - 5)) is Stage.ACTIVE
    # The pause ended longer than a horizon ago.
    assert _stage(_bought(100, NOW - 70, NOW - 40, NOW - 5)) is Stage.ACTIVE


def test_at_risk_from_the_mark_on() -> None:
    often = _bought(*range(NOW - 120, NOW, 10))
    assert _stage(often, risk=0.4, top_tier=True) is Stage.AT_RISK
    assert _stage(often, risk=0.399, top_tier=True) is Stage.LOYAL


def test_loyal_by_tier_or_by_ten_steady_orders() -> None:
    assert _stage(_bought(NOW - 80, NOW - 40), top_tier=True) is Stage.LOYAL
    assert _stage(_bought(*range(NOW - 100, NOW, 10))) is Stage.LOYAL
    assert _stage(_bought(*range(NOW - 90, NOW, 10))) is Stage.ACTIVE  # nine orders
    assert _stage(_bought(*range(NOW - 121, NOW, 11))) is Stage.ACTIVE  # eleven days apart


@pytest.mark.parametrize("days_ago", [1, 59, 61, 180])
def test_a_one_time_buyer_is_never_certain_to_stay(shop: Shop, days_ago: int) -> None:
    """Known elsewhere: P(alive) = 1 for whoever bought once, however long ago."""
    files = find_base_model(shop.settings.models.base)
    predictor = LoraPredictor.load(current_adapter(shop), files, shop.settings)
    past = past_of([(NOW - days_ago, 1000)], as_of=NOW)
    history = render_history(
        past,
        settings=shop.settings,
        catalogue=Catalogue.read(shop.items_file),
        count_tokens=token_counter(files),
    )
    (score,) = score_all(predictor, [past], [history], shop.settings)
    assert 0 < score.churn_risk < 1
    assert score.stage is (Stage.LAPSED if days_ago > HORIZON else Stage.NEW)
