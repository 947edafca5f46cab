import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifetimes import GammaGammaFitter

from finetune.bg_nbd import BgNbd
from finetune.calibration import Floats
from finetune.errors import TrainingError
from finetune.gamma_gamma import GammaGamma, expected_spend, fit_gamma_gamma
from finetune.rfm import Rfm
from tests.finetune.bought_and_gone import cdnow_sample, one_by_one

PURCHASES = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426, log_likelihood=-9582.4)


def _spenders(frequency: Floats, monetary_value: Floats) -> Rfm:
    once = frequency == 0
    return Rfm(
        recency=np.where(once, 0.0, 10.0),
        frequency=frequency,
        T=np.full(len(frequency), 20.0),
        monetary_value=np.where(once, 0.0, monetary_value),
    )


def _simulated(p: float, q: float, v: float, *, count: int, seed: int) -> Rfm:
    random = np.random.default_rng(seed)
    frequency = random.poisson(3, count).astype(float)
    rates = random.gamma(q, 1 / v, count)
    bought = np.maximum(frequency, 1)
    return _spenders(frequency, random.gamma(p * bought) / rates / bought)


def test_cdnow_gives_the_published_parameters() -> None:
    """Fader & Hardie (2013) give p 6.25, q 3.74 and v 15.44 dollars."""
    fitted = fit_gamma_gamma(cdnow_sample())
    assert fitted.fallback is None
    assert round(fitted.p, 2) == 6.25
    assert round(fitted.q, 2) == 3.74
    assert fitted.v / 100 == pytest.approx(15.44, abs=0.005)


def test_lifetimes_agrees_at_random_parameters() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        p, q, v = 10 ** random.uniform(-0.5, 1, 3)
        ours = GammaGamma(p=p, q=1 + q, v=v, log_likelihood=0.0)
        theirs = GammaGammaFitter()
        theirs.params_ = pd.Series({"p": p, "q": 1 + q, "v": v})
        rfm = _simulated(p, 1 + q, v, count=50, seed=2)
        np.testing.assert_allclose(
            ours.expected_average(rfm),
            theirs.conditional_expected_average_profit(rfm.frequency, rfm.monetary_value),
            rtol=1e-9,
        )


def test_lifetimes_fits_the_same_parameters() -> None:
    rfm = _simulated(4.0, 3.0, 20.0, count=3000, seed=3)
    again = rfm.frequency > 0
    theirs = GammaGammaFitter().fit(rfm.frequency[again], rfm.monetary_value[again])
    ours = fit_gamma_gamma(rfm)
    np.testing.assert_allclose([ours.p, ours.q, ours.v], theirs.params_.to_numpy(), rtol=1e-3)
    np.testing.assert_allclose([ours.p, ours.q, ours.v], [4.0, 3.0, 20.0], rtol=0.15)


def test_the_currency_changes_nothing_else() -> None:
    rfm = _simulated(4.0, 3.0, 2000.0, count=2000, seed=4)
    dear = _spenders(rfm.frequency, rfm.monetary_value * 1e5)
    small, large = fit_gamma_gamma(rfm), fit_gamma_gamma(dear)
    np.testing.assert_allclose(
        [large.p, large.q, large.v / 1e5], [small.p, small.q, small.v], rtol=1e-5
    )


def test_one_time_buyers_get_the_mean_and_others_move_towards_their_own() -> None:
    model = GammaGamma(p=6.25, q=3.74, v=1544.0, log_likelihood=0.0)
    rfm = _spenders(np.array([0.0, 1.0, 10.0, 1000.0]), np.full(4, 9000.0))
    average = model.expected_average(rfm)
    assert average[0] == pytest.approx(6.25 * 1544 / 2.74) == model.mean
    # (p v + p x m) / (p x + q - 1)
    assert average[1] == pytest.approx(6.25 * (1544 + 9000) / (6.25 + 2.74))
    assert average[0] < average[1] < average[2] < average[3] < 9000
    assert average[3] == pytest.approx(9000, rel=0.001)


def test_spend_without_a_mean_falls_back_to_the_one_observed() -> None:
    rfm = _simulated(3.0, 0.7, 500.0, count=2000, seed=5)
    again = rfm.frequency > 0
    fitted = fit_gamma_gamma(rfm)
    assert fitted.fallback is not None
    assert "too near 1 for mean spend to exist" in fitted.fallback
    assert fitted.q > 1
    assert fitted.mean == pytest.approx(rfm.monetary_value[again].mean())
    assert np.isfinite(fitted.expected_average(rfm)).all()


@pytest.mark.parametrize(
    "spends", [[1200.0], [1200.0] * 50, [1.0, 2.0], [1199.0, 1200.0, 1201.0] * 30]
)
def test_customers_who_barely_differ_are_given_about_their_mean(spends: list[float]) -> None:
    rfm = _spenders(np.arange(1.0, len(spends) + 1), np.array(spends))
    fitted = fit_gamma_gamma(rfm)
    assert fitted.fallback is not None
    assert "ran away" in fitted.fallback
    assert fitted.mean == pytest.approx(np.mean(spends))


def test_free_orders_are_no_spend_to_learn_from() -> None:
    rfm = _simulated(4.0, 3.0, 20.0, count=500, seed=6)
    free = _spenders(np.append(rfm.frequency, 2.0), np.append(rfm.monetary_value, 0.0))
    assert fit_gamma_gamma(free) == fit_gamma_gamma(rfm)
    assert fit_gamma_gamma(rfm).expected_average(free)[-1] > 0


def test_nobody_who_bought_again_is_an_error() -> None:
    for rfm in (one_by_one(), one_by_one((0, 0, 9, 0)), one_by_one((2, 1, 9, 0))):
        with pytest.raises(TrainingError, match="No customer has spent anything after"):
            fit_gamma_gamma(rfm)


def test_expected_spend_is_purchases_times_their_average() -> None:
    amounts = GammaGamma(p=6.25, q=3.74, v=1544.0, log_likelihood=0.0)
    rfm = one_by_one((30.43, 2, 38.86, 2235))
    # 1.226 purchases of (6.25 * 1544 + 12.5 * 2235) / (12.5 + 2.74) cents
    assert expected_spend(PURCHASES, amounts, rfm, 39)[0] == pytest.approx(1.226 * 2466, rel=1e-3)


@given(
    p=st.floats(0.01, 100),
    above=st.floats(0.01, 100),
    v=st.floats(0.01, 1e6),
    frequency=st.integers(0, 300),
    spend=st.floats(0, 1e9),
    horizon=st.floats(0, 104),
)
def test_spend_is_finite_and_never_negative(
    p: float, above: float, v: float, frequency: int, spend: float, horizon: float
) -> None:
    amounts = GammaGamma(p=p, q=1 + above, v=v, log_likelihood=0.0)
    rfm = _spenders(np.array([float(frequency)]), np.array([spend]))
    average = amounts.expected_average(rfm)[0]
    low, high = sorted((amounts.mean, rfm.monetary_value[0] if frequency else amounts.mean))
    assert low * (1 - 1e-9) <= average <= high * (1 + 1e-9)
    total = expected_spend(PURCHASES, amounts, rfm, horizon)[0]
    assert np.isfinite(total)
    assert total >= 0
