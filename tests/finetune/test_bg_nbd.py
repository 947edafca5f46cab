import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifetimes import BetaGeoFitter
from scipy.special import expit
from scipy.stats import beta, gamma

from finetune.bg_nbd import BgNbd, fit_bg_nbd
from finetune.errors import TrainingError
from finetune.rfm import Rfm
from tests.finetune.bought_and_gone import cdnow_sample, one_by_one, shared_file, simulate

CDNOW = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426, log_likelihood=-9582.4)


def _model(*parameters: float) -> BgNbd:
    r, alpha, a, b = parameters
    return BgNbd(r=r, alpha=alpha, a=a, b=b, log_likelihood=0.0)


@st.composite
def models(draw: st.DrawFn) -> BgNbd:
    return _model(*(10 ** draw(st.floats(-1.3, 3)) for _ in range(4)))


@st.composite
def histories(draw: st.DrawFn) -> Rfm:
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        frequency = draw(st.integers(0, 300))
        whole = draw(st.floats(frequency / 7, frequency / 7 + 200))
        recency = whole * draw(st.floats(0.2, 1)) if frequency else 0.0
        rows.append((recency, frequency if recency > 0 else 0, whole, 0.0))
    return one_by_one(*rows)


def test_cdnow_gives_the_published_parameters() -> None:
    rfm = cdnow_sample()
    fitted = fit_bg_nbd(rfm)
    assert fitted.fallback is None
    assert round(fitted.r, 3) == CDNOW.r
    assert round(fitted.alpha, 3) == CDNOW.alpha
    assert round(fitted.a, 3) == CDNOW.a
    assert round(fitted.b, 3) == CDNOW.b
    assert round(fitted.log_likelihood, 1) == CDNOW.log_likelihood


def test_the_published_example_of_an_expectation() -> None:
    """Fader, Hardie & Lee give 1.226 for x 2, t_x 30.43, T 38.86 over 39 weeks."""
    rfm = one_by_one((30.43, 2, 38.86, 0))
    assert CDNOW.expected_purchases(rfm, 39)[0] == pytest.approx(1.226, abs=0.001)


def test_lifetimes_agrees_at_random_parameters() -> None:
    random = np.random.default_rng(1)
    for _ in range(40):
        # Where a + b < 1, lifetimes takes the logarithm of a negative number for one-time buyers.
        ours = _model(*10 ** random.uniform((-1, -1, -0.2, -0.2), 1))
        theirs = BetaGeoFitter()
        theirs.params_ = pd.Series({"r": ours.r, "alpha": ours.alpha, "a": ours.a, "b": ours.b})
        whole = random.uniform(1, 80, 50)
        frequency = random.poisson(random.choice([0.5, 5, 20]), 50).astype(float)
        recency = np.where(frequency > 0, whole * random.uniform(0.05, 1, 50), 0.0)
        rfm = Rfm(recency=recency, frequency=frequency, T=whole, monetary_value=np.zeros(50))
        np.testing.assert_allclose(
            ours.expected_purchases(rfm, 26),
            theirs.conditional_expected_number_of_purchases_up_to_time(
                26, frequency, recency, whole
            ),
            rtol=1e-7,
        )
        np.testing.assert_allclose(
            ours.probability_alive(rfm),
            theirs.conditional_probability_alive(frequency, recency, whole),
            rtol=1e-9,
        )


def test_lifetimes_fits_the_same_parameters() -> None:
    rfm, _ = simulate(0.8, 5.0, 0.7, 3.0, until=np.full(3000, 40.0), horizon=0, seed=2)
    theirs = BetaGeoFitter().fit(rfm.frequency, rfm.recency, rfm.T)
    ours = fit_bg_nbd(rfm)
    assert ours.fallback is None
    np.testing.assert_allclose(
        [ours.r, ours.alpha, ours.a, ours.b], theirs.params_.to_numpy(), rtol=1e-3
    )


@pytest.mark.parametrize("parameters", [(0.6, 5.0, 0.8, 2.4), (2.0, 8.0, 1.0, 3.0)])
def test_the_story_as_told_by_integration(parameters: tuple[float, float, float, float]) -> None:
    """Averages over rate and chance of leaving, taken numerically; a = 1 is 0 / 0 in eq. 10."""
    r, alpha, a, b = parameters
    recency, frequency, whole, horizon = 12.0, 3, 20.0, 9.0
    # Even steps in the logarithm and the logit: sums over them are exact to many digits.
    rate = np.exp(np.linspace(-40, 5, 600))[:, None]
    leaving = expit(np.linspace(-60, 30, 600))[None, :]
    prior = gamma.pdf(rate, r, scale=1 / alpha) * rate
    prior = prior * beta.pdf(leaving, a, b) * leaving * (1 - leaving)
    bought = rate**frequency * (1 - leaving) ** (frequency - 1)
    stayed = prior * bought * (1 - leaving) * np.exp(-rate * whole)
    left = prior * bought * leaving * np.exp(-rate * recency)
    total = (stayed + left).sum()
    quiet = (stayed * np.exp(-rate * horizon) + left).sum() / total
    purchases = (stayed * -np.expm1(-rate * leaving * horizon) / leaving).sum() / total

    rfm, model = one_by_one((recency, frequency, whole, 0)), _model(*parameters)
    assert model.probability_alive(rfm)[0] == pytest.approx(stayed.sum() / total)
    assert model.probability_of_no_purchase(rfm, horizon)[0] == pytest.approx(quiet)
    assert model.expected_purchases(rfm, horizon)[0] == pytest.approx(purchases)


def test_simulated_customers_do_what_was_foretold() -> None:
    until = np.random.default_rng(3).uniform(5, 60, 200_000)
    parameters, horizon = (0.6, 6.0, 0.8, 2.4), 13.0
    rfm, later = simulate(*parameters, until=until, horizon=horizon, seed=4)
    model = _model(*parameters)
    quiet = model.probability_of_no_purchase(rfm, horizon)
    purchases = model.expected_purchases(rfm, horizon)
    recent = rfm.recency > 0.6 * rfm.T
    bought = [rfm.frequency == 1, rfm.frequency == 2, rfm.frequency > 2, rfm.frequency > 8]
    groups = [rfm.frequency == 0] + [part & side for part in bought for side in (recent, ~recent)]
    for group in groups:
        assert group.sum() > 50
        for foretold, happened in ((quiet, later == 0), (purchases, later)):
            gaps = happened[group] - foretold[group]
            assert abs(gaps.mean()) < 4 * gaps.std() / np.sqrt(group.sum())


def test_simulated_parameters_are_found_again() -> None:
    rfm, _ = simulate(0.6, 6.0, 0.8, 2.4, until=np.full(50_000, 60.0), horizon=0, seed=5)
    fitted = fit_bg_nbd(rfm)
    np.testing.assert_allclose(
        [fitted.r, fitted.alpha, fitted.a, fitted.b], [0.6, 6.0, 0.8, 2.4], rtol=0.1
    )


def test_the_unit_of_time_changes_nothing_else() -> None:
    weeks, _ = simulate(0.6, 6.0, 0.8, 2.4, until=np.full(2000, 60.0), horizon=0, seed=6)
    days = Rfm(
        recency=weeks.recency * 7,
        frequency=weeks.frequency,
        T=weeks.T * 7,
        monetary_value=weeks.monetary_value,
    )
    by_week, by_day = fit_bg_nbd(weeks), fit_bg_nbd(days)
    assert by_day.alpha == pytest.approx(by_week.alpha * 7, rel=1e-6)
    np.testing.assert_allclose(
        by_day.expected_purchases(days, 91), by_week.expected_purchases(weeks, 13), rtol=1e-6
    )


def test_one_time_buyers_are_alive_but_may_well_not_buy() -> None:
    rfm = one_by_one((0, 0, 1, 0), (0, 0, 50, 0), (0, 0, 500, 0))
    np.testing.assert_array_equal(CDNOW.probability_alive(rfm), 1.0)
    quiet = CDNOW.probability_of_no_purchase(rfm, 13)
    assert 0.5 < quiet[0] < quiet[1] < quiet[2] < 1


def test_large_parameters_keep_their_digits() -> None:
    """As b grows nobody leaves, and (r + x) t / (alpha + T) purchases are left to expect."""
    rfm = one_by_one((0, 0, 30, 0), (25, 12, 30, 0), (99, 3000, 100, 0))
    for b in (1e9, 6e12):
        model = _model(0.7, 9.0, 1.5, b)
        np.testing.assert_allclose(
            model.expected_purchases(rfm, 13),
            (0.7 + rfm.frequency) * 13 / (9 + rfm.T) * model.probability_alive(rfm),
            rtol=1e-4,
        )
    # A homogeneous population: rate 0.5, and one in five leaves after a purchase.
    same = _model(5e7, 1e8, 2e7, 8e7)
    expected = (1 - np.exp(-0.5 * 0.2 * 13)) / 0.2
    assert same.expected_purchases(one_by_one((0, 0, 30, 0)), 13)[0] == pytest.approx(
        expected, rel=1e-5
    )


def test_online_retail_runs_away_and_is_caught() -> None:
    lines = pd.read_parquet(
        shared_file("online_retail.parquet"), columns=["InvoiceNo", "InvoiceDate", "CustomerID"]
    ).dropna()
    lines = lines[~lines.InvoiceNo.astype(str).str.startswith("C")]
    end = pd.Timestamp("2011-09-09")
    days = pd.to_datetime(lines.InvoiceDate).dt.normalize()
    visits = days[days < end].groupby(lines.CustomerID).agg(["min", "max", "nunique"])
    count = len(visits)
    rfm = Rfm(
        recency=((visits["max"] - visits["min"]).dt.days / 7).to_numpy(float),
        frequency=(visits["nunique"] - 1).to_numpy(float),
        T=((end - visits["min"]).dt.days / 7).to_numpy(float),
        monetary_value=np.zeros(count),
    )
    fitted = fit_bg_nbd(rfm)
    assert fitted.fallback is not None
    assert "ran away" in fitted.fallback
    assert max(fitted.r, fitted.alpha, fitted.a, fitted.b) < 100
    expected = fitted.expected_purchases(rfm, 13)
    assert np.isfinite(expected).all()
    assert 0.5 < expected.mean() < 2


def test_a_fit_that_runs_away_says_so() -> None:
    steady = one_by_one(*[(weeks, weeks, weeks, 0) for weeks in range(5, 40)])
    fitted = fit_bg_nbd(steady)
    assert fitted.fallback is not None
    assert fitted.fallback.startswith("The BG/NBD fit ran away")
    assert "over 35 customers" in fitted.fallback
    assert (fitted.probability_alive(steady) > 0.9).all()
    np.testing.assert_allclose(fitted.expected_purchases(steady, 10), 10, rtol=0.3)


@pytest.mark.parametrize("rows", [[(0, 0, 30, 0)], [(0, 0, 30, 0)] * 500, [(3, 1, 9, 0)]])
def test_little_to_learn_from_still_gives_finite_answers(
    rows: list[tuple[float, float, float, float]],
) -> None:
    rfm = one_by_one(*rows)
    fitted = fit_bg_nbd(rfm)
    assert fitted.fallback is not None
    assert 0 < fitted.expected_purchases(rfm, 13)[0] < 10
    assert 0 < fitted.probability_of_no_purchase(rfm, 13)[0] < 1


def test_a_penalty_pulls_parameters_to_the_middle() -> None:
    steady = one_by_one(*[(weeks, weeks, weeks, 0) for weeks in range(5, 40)])
    weak, strong = fit_bg_nbd(steady, penalty=0.5), fit_bg_nbd(steady, penalty=50)
    assert weak.fallback is None
    assert weak.b > strong.b > 1
    assert weak.log_likelihood > strong.log_likelihood
    with pytest.raises(ValueError, match="must not be negative"):
        fit_bg_nbd(steady, penalty=-1)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no customers"):
        fit_bg_nbd(one_by_one())
    with pytest.raises(TrainingError, match="on the last day"):
        fit_bg_nbd(one_by_one((0, 0, 0, 0), (0, 0, 0, 0)))


@pytest.mark.parametrize("horizon", [-1.0, np.nan, np.inf])
def test_a_horizon_is_a_length_of_time(horizon: float) -> None:
    rfm = one_by_one((0, 0, 30, 0))
    with pytest.raises(ValueError, match="must be a length of time"):
        CDNOW.expected_purchases(rfm, horizon)
    with pytest.raises(ValueError, match="must be a length of time"):
        CDNOW.probability_of_no_purchase(rfm, horizon)


def test_no_customers_no_answers() -> None:
    nobody = one_by_one()
    assert len(CDNOW.expected_purchases(nobody, 13)) == 0
    assert len(CDNOW.probability_alive(nobody)) == 0
    assert len(CDNOW.probability_of_no_purchase(nobody, 13)) == 0


@given(models(), histories(), st.floats(0, 104), st.floats(0, 104))
def test_answers_make_sense(model: BgNbd, rfm: Rfm, one: float, other: float) -> None:
    short, long = sorted((one, other))
    alive = model.probability_alive(rfm)
    assert ((alive >= 0) & (alive <= 1)).all()
    quiet, later = (model.probability_of_no_purchase(rfm, time) for time in (short, long))
    assert ((later >= 0) & (later <= quiet + 1e-12) & (quiet <= 1)).all()
    few, many = (model.expected_purchases(rfm, time) for time in (short, long))
    slack = 1e-9 * (1 + many)
    assert np.isfinite(many).all()
    assert ((few >= 0) & (few <= many + slack)).all()
    # At least one purchase in so many, and no more than would come if nobody left.
    assert (1 - later <= many + slack).all()
    assert (many <= alive * (model.r + rfm.frequency) * long / (model.alpha + rfm.T) + slack).all()
