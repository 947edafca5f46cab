import numpy as np
import pytest

from finetune.blend import Blend, fit_blend
from finetune.prior import Answers

COUNT = 600


def _side(truth: np.ndarray, spends: np.ndarray, noise: float, seed: int) -> Answers:
    generator = np.random.default_rng(seed)
    churn = 1 / (1 + np.exp(-(2.0 * (2 * truth - 1) + generator.normal(0, noise, len(truth)))))
    third = np.column_stack([churn, (1 - churn) / 2, (1 - churn) / 2])
    return Answers(
        churn=churn, tiers=third, spend=spends.mean() + (spends - spends.mean()) / (1 + noise)
    )


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).random(COUNT) < 0.3


@pytest.fixture
def spends(truth: np.ndarray) -> np.ndarray:
    return np.where(truth, 0.0, np.random.default_rng(1).gamma(2, 500, COUNT))


def test_no_share_and_full_share_are_the_sides_themselves(
    truth: np.ndarray, spends: np.ndarray
) -> None:
    model, prior = _side(truth, spends, 1, 2), _side(truth, spends, 3, 3)
    for blend, side in ((Blend(), model), (Blend(churn=1, tier=1, spend=1), prior)):
        mixed = blend.mix(model, prior)
        np.testing.assert_allclose(mixed.churn, side.churn, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(mixed.tiers, side.tiers, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(mixed.spend, side.spend)


def test_the_better_side_gets_the_greater_share(truth: np.ndarray, spends: np.ndarray) -> None:
    good, bad = _side(truth, spends, 0.5, 2), _side(truth, spends, 6, 3)
    told = {"tiers": (~truth).astype(int).tolist(), "churned": truth.tolist()}
    low = fit_blend(good, bad, spends=spends.tolist(), **told)
    high = fit_blend(bad, good, spends=spends.tolist(), **told)
    assert low.churn < 0.5 < high.churn
    assert low.tier < 0.5 < high.tier
    assert low.spend < 0.5 < high.spend


def test_two_independent_sides_together_beat_each(truth: np.ndarray, spends: np.ndarray) -> None:
    one, other = _side(truth, spends, 4, 2), _side(truth, spends, 4, 3)
    blend = fit_blend(
        one,
        other,
        tiers=(~truth).astype(int).tolist(),
        churned=truth.tolist(),
        spends=spends.tolist(),
    )
    assert 0 < blend.churn < 1

    def brier(churn: np.ndarray) -> float:
        return float(((churn - truth) ** 2).mean())

    mixed = blend.mix(one, other)
    assert brier(mixed.churn) < min(brier(one.churn), brier(other.churn))
    np.testing.assert_allclose(mixed.tiers.sum(axis=1), 1.0)


def test_certainty_is_survived(truth: np.ndarray, spends: np.ndarray) -> None:
    sure = Answers(
        churn=np.array([0.0, 1.0]), tiers=np.array([[1.0, 0.0], [0.0, 1.0]]), spend=np.zeros(2)
    )
    mixed = Blend(churn=0.5, tier=0.5, spend=0.5).mix(sure, sure)
    assert np.isfinite(mixed.churn).all()
    assert np.isfinite(mixed.tiers).all()
