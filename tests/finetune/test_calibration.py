import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.calibration import Calibration, Floats, fit_calibration
from finetune.metrics import calibration_error

COUNT = 4000


class _Customers:
    """Made-up customers of whom it is known how their logits and answers hang together."""

    def __init__(self, seed: int = 0, tiers: tuple[int, ...] = (0, 1, 2)) -> None:
        generator = np.random.default_rng(seed)
        self.tier_logits = generator.normal(size=(COUNT, 3)) * 2
        self.churn_logits = generator.normal(size=(COUNT, 2)) * 2
        difference = self.churn_logits[:, 1] - self.churn_logits[:, 0]
        self.risk = 1 / (1 + np.exp(-(0.5 * difference - 1.0)))
        self.churned = generator.random(COUNT) < self.risk
        raw = np.exp(0.7 * self.tier_logits[:, list(tiers)])
        self.tier_truth = raw / raw.sum(axis=1, keepdims=True)
        cumulated = self.tier_truth.cumsum(axis=1)
        picked = (generator.random((COUNT, 1)) > cumulated).sum(axis=1).clip(max=len(tiers) - 1)
        self.tiers = np.array(tiers)[picked]
        self.usual = np.exp(generator.normal(9, 1, COUNT))
        level = np.exp(0.4 * (self.tier_logits[:, 2] - self.tier_logits.mean(axis=1)))
        self.spends = np.where(
            self.churned, 0.0, np.round(self.usual * level * generator.gamma(2, 0.5, COUNT))
        )

    def fit(self) -> Calibration:
        return fit_calibration(
            tier_logits=self.tier_logits,
            churn_logits=self.churn_logits,
            usual=self.usual,
            tiers=self.tiers.tolist(),
            churned=self.churned.tolist(),
            spends=self.spends.tolist(),
        )


CUSTOMERS = _Customers()
FITTED = CUSTOMERS.fit()
_LOGITS = st.floats(-50, 50)


def test_churn_risk_finds_the_true_curve() -> None:
    slope, intercept = FITTED.churn
    assert (slope, intercept) == pytest.approx((0.5, -1.0), abs=0.1)
    others = _Customers(seed=1)
    risk = FITTED.churn_risk(others.churn_logits)
    assert np.abs(risk - others.risk).max() < 0.05
    assert calibration_error(others.churned.astype(int), risk) < 0.04


def test_tier_probabilities_find_the_true_shares() -> None:
    others = _Customers(seed=1)
    probabilities = FITTED.tier_probabilities(others.tier_logits)
    assert np.abs(probabilities - others.tier_truth).max() < 0.1
    for tier in range(3):
        assert calibration_error((others.tiers == tier).astype(int), probabilities[:, tier]) < 0.04


def test_expected_spend_has_the_actual_mean_of_the_fitted_customers() -> None:
    expected = FITTED.expected_spend(CUSTOMERS.tier_logits, CUSTOMERS.churn_logits, CUSTOMERS.usual)
    assert expected.mean() == pytest.approx(CUSTOMERS.spends.mean(), rel=1e-3)


@pytest.mark.parametrize("unit", [0.01, 100.0])
def test_expected_spend_means_the_same_in_every_currency(unit: float) -> None:
    spends = (CUSTOMERS.spends * unit).tolist()
    fitted = fit_calibration(
        tier_logits=CUSTOMERS.tier_logits,
        churn_logits=CUSTOMERS.churn_logits,
        usual=CUSTOMERS.usual,
        tiers=CUSTOMERS.tiers.tolist(),
        churned=CUSTOMERS.churned.tolist(),
        spends=spends,
    )
    arguments = (CUSTOMERS.tier_logits, CUSTOMERS.churn_logits, CUSTOMERS.usual)
    assert fitted.expected_spend(*arguments) == pytest.approx(
        unit * FITTED.expected_spend(*arguments), rel=1e-6
    )


def test_expected_spend_rises_with_tier_and_usual_spend_and_falls_with_risk() -> None:
    tier = np.array([[0.0, 0, 0], [0, 0, 3], [0, 0, 0], [0, 0, 0]])
    churn = np.array([[0.0, 0], [0, 0], [0, 0], [0, 3]])
    usual = np.array([8000.0, 8000, 16_000, 8000])
    plain, high, rich, leaving = FITTED.expected_spend(tier, churn, usual)
    assert leaving < plain < min(high, rich)


@settings(max_examples=60)
@given(
    tier=st.tuples(_LOGITS, _LOGITS, _LOGITS),
    churn=st.tuples(_LOGITS, _LOGITS),
    usual=st.floats(0, 1e9),
)
def test_answers_keep_their_bounds(
    tier: tuple[float, float, float], churn: tuple[float, float], usual: float
) -> None:
    tier_logits, churn_logits = np.array([tier]), np.array([churn])
    assert 0 <= FITTED.churn_risk(churn_logits)[0] <= 1
    probabilities = FITTED.tier_probabilities(tier_logits)[0]
    assert probabilities.min() >= 0
    assert probabilities.sum() == pytest.approx(1)
    spend = FITTED.expected_spend(tier_logits, churn_logits, np.array([usual]))[0]
    assert np.isfinite(spend)
    assert spend > 0


def _argmax_of(fitted: Calibration, logits: list[list[float]]) -> list[int]:
    return [int(row.argmax()) for row in fitted.tier_probabilities(np.array(logits))]


@pytest.mark.parametrize("present", [(0, 1), (0, 2), (1, 2)])
def test_a_tier_that_nobody_reached_is_next_to_impossible(present: tuple[int, int]) -> None:
    customers = _Customers(tiers=present)
    fitted = customers.fit()
    (absent,) = {0, 1, 2} - set(present)
    probabilities = fitted.tier_probabilities(customers.tier_logits)
    assert probabilities.shape == (COUNT, 3)
    assert probabilities[:, absent].max() < 1e-6
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(COUNT))
    assert np.abs(probabilities[:, list(present)] - customers.tier_truth).max() < 0.1
    strong = [[9.0 if column == tier else 0.0 for column in range(3)] for tier in present]
    assert _argmax_of(fitted, strong) == list(present)


def test_a_fourth_tier_that_nobody_reached_is_next_to_impossible() -> None:
    four: Floats = np.column_stack([CUSTOMERS.tier_logits, np.zeros(COUNT)])
    fitted = fit_calibration(
        tier_logits=four,
        churn_logits=CUSTOMERS.churn_logits,
        usual=CUSTOMERS.usual,
        tiers=CUSTOMERS.tiers.tolist(),
        churned=CUSTOMERS.churned.tolist(),
        spends=CUSTOMERS.spends.tolist(),
    )
    probabilities = fitted.tier_probabilities(four)
    assert probabilities[:, 3].max() < 1e-6
    assert np.abs(probabilities[:, :3] - CUSTOMERS.tier_truth).max() < 0.1


def test_calibration_survives_a_json_file() -> None:
    assert Calibration.from_json(json.loads(json.dumps(FITTED.to_json()))) == FITTED
