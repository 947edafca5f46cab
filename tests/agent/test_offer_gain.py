"""The gain of an offer: known by hand, and the same one by one and at once."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.offer_gain import GainTerms, OfferEffect, expected_gain, expected_gains
from finetune.value import lifetime_value, lifetime_values

# Two whole horizons ahead and no discount, so that sums can be done by hand.
TERMS = GainTerms(margin_share=0.5, horizon_days=90, discount_rate=0.0, ltv_days=180)
NO_EFFECT = OfferEffect(churn=0.0, spend=0.0, redemption=0.0, cost=0)

terms = st.builds(
    GainTerms,
    margin_share=st.floats(0, 1),
    horizon_days=st.integers(7, 400),
    discount_rate=st.floats(0, 0.5),
    ltv_days=st.integers(7, 1500),
    lasting_share=st.floats(0, 1),
    lasting_risk_share=st.floats(0, 1),
)
effects = st.builds(
    OfferEffect,
    churn=st.floats(-1, 1),
    spend=st.floats(-500, 5000),
    redemption=st.floats(0, 1),
    cost=st.integers(0, 2000),
)


@pytest.mark.parametrize(
    ("changes", "lasting", "gain"),
    [
        ({}, 0.0, 0.0),
        # 100 more in the first horizon only, half of it margin.
        ({"spend": 100.0}, 0.0, 50.0),
        # and a quarter of it in the second, if the customer (risk 0.4) is still there.
        ({"spend": 100.0}, 0.25, 50.0 + 0.5 * 25 * 0.6),
        # 0.1 more stay for the second horizon's 1000.
        ({"churn": -0.1}, 0.0, 0.5 * 0.1 * 1000),
        ({"churn": 0.1}, 0.0, -0.5 * 0.1 * 1000),
        # No risk falls below 0: 0.4 more stay, not 0.9.
        ({"churn": -0.9}, 0.0, 0.5 * 0.4 * 1000),
        # The cost counts in full: margin has no share in it.
        ({"redemption": 0.2, "cost": 300}, 0.0, -60.0),
        ({"churn": -0.1, "spend": 100.0, "redemption": 0.2, "cost": 300}, 1.0, 75.0),
    ],
)
def test_gain_known_by_hand(changes: dict[str, float], lasting: float, gain: float) -> None:
    effect = replace(NO_EFFECT, **changes)
    found = expected_gain(1000, 0.4, effect, replace(TERMS, lasting_share=lasting))
    assert found == pytest.approx(gain)


def test_a_kept_customer_has_their_usual_risk_afterwards_unless_declared() -> None:
    three = replace(TERMS, ltv_days=270)
    kept = replace(NO_EFFECT, churn=-0.2)
    # Without: 0.6 stay, then 0.6 of those. With: 0.8 stay, then 0.6 of those.
    once = 0.5 * 1000 * ((0.8 + 0.8 * 0.6) - (0.6 + 0.6 * 0.6))
    lasts = 0.5 * 1000 * ((0.8 + 0.8 * 0.8) - (0.6 + 0.6 * 0.6))
    assert expected_gain(1000, 0.4, kept, three) == pytest.approx(once)
    lasting = replace(three, lasting_risk_share=1.0)
    assert expected_gain(1000, 0.4, kept, lasting) == pytest.approx(lasts)


@given(
    spend=st.floats(0, 1e6),
    risk=st.floats(0, 1),
    change=st.tuples(st.floats(-1, 1), st.floats(-1e5, 1e5)),
    terms=terms,
)
def test_effects_that_last_are_a_difference_of_lifetime_values(
    spend: float, risk: float, change: tuple[float, float], terms: GainTerms
) -> None:
    lasting = replace(terms, margin_share=1.0, lasting_share=1.0, lasting_risk_share=1.0)
    churn, more = change
    days = {
        "horizon_days": terms.horizon_days,
        "discount_rate": terms.discount_rate,
        "ltv_days": terms.ltv_days,
    }
    after = lifetime_value(max(0.0, spend + more), min(1.0, max(0.0, risk + churn)), **days)
    before = lifetime_value(spend, risk, **days)
    effect = replace(NO_EFFECT, churn=churn, spend=more)
    # Each lifetime value is rounded to one minor unit.
    assert expected_gain(spend, risk, effect, lasting) == pytest.approx(after - before, abs=1.01)


@given(
    spends=st.lists(st.floats(0, 1e5), min_size=1, max_size=5),
    risks=st.lists(st.floats(0, 1), min_size=5, max_size=5),
    offers=st.lists(effects, min_size=1, max_size=4),
    terms=terms,
)
def test_one_by_one_and_at_once_are_the_same(
    spends: list[float], risks: list[float], offers: list[OfferEffect], terms: GainTerms
) -> None:
    many = expected_gains(
        np.array(spends, np.float32),
        np.array(risks[: len(spends)], np.float32),
        churn_effect=np.array([[x.churn for x in offers]], np.float32),
        spend_effect=np.array([[x.spend for x in offers]], np.float32),
        expected_cost=np.array([[x.redemption * x.cost for x in offers]], np.float32),
        terms=terms,
    )
    assert many.dtype == np.float32
    assert many.shape == (len(spends), len(offers))
    for row, (spend, risk) in enumerate(zip(spends, risks, strict=False)):
        for column, effect in enumerate(offers):
            one = expected_gain(spend, risk, effect, terms)
            size = terms.ltv_days / terms.horizon_days * (spend + abs(effect.spend)) + effect.cost
            assert many[row, column] == pytest.approx(one, abs=1e-5 * size + 1e-6)


def test_float32_keeps_small_gains_on_large_lifetime_values() -> None:
    small = OfferEffect(churn=-1e-5, spend=0.0, redemption=0.0, cost=0)
    year = GainTerms(margin_share=0.3, horizon_days=30, discount_rate=0.1, ltv_days=1500)
    exact = expected_gain(10_000_000, 0.01, small, year)
    found = expected_gains(
        np.array([10_000_000], np.float32),
        np.array([0.01], np.float32),
        churn_effect=np.array([[-1e-5]], np.float32),
        spend_effect=np.zeros((1, 1), np.float32),
        expected_cost=np.zeros((1, 1), np.float32),
        terms=year,
    )
    assert found[0, 0] == pytest.approx(exact, rel=1e-3)


@given(spend=st.floats(0, 1e7), risk=st.floats(0, 1), terms=terms)
def test_lifetime_values_at_once_are_those_one_by_one(
    spend: float, risk: float, terms: GainTerms
) -> None:
    days = {
        "horizon_days": terms.horizon_days,
        "discount_rate": terms.discount_rate,
        "ltv_days": terms.ltv_days,
    }
    (found,) = lifetime_values(np.array([spend]), np.array([risk]), **days)
    assert found == pytest.approx(lifetime_value(spend, risk, **days), abs=0.501)


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin_share": 1.2},
        {"lasting_share": -0.1},
        {"lasting_risk_share": 2.0},
        {"horizon_days": 0},
        {"ltv_days": 0},
        {"discount_rate": -1.0},
    ],
)
def test_terms_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(TERMS, **wrong)
