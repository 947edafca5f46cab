import numpy as np
import pytest

from finetune.metrics import calibration_error, churn_metrics, spearman, tier_f1


def test_calibration_error_of_one_customer_a_bin() -> None:
    truth = np.array([0, 1, 0, 1])
    probabilities = np.array([0.1, 0.7, 0.2, 0.9])
    # |0 - .1| + |0 - .2| + |1 - .7| + |1 - .9| = 0.7, over four.
    assert calibration_error(truth, probabilities) == pytest.approx(0.175)


def test_calibration_error_of_two_customers_a_bin() -> None:
    probabilities = np.repeat(np.linspace(0.05, 0.95, 10), 2)
    truth = np.tile([0, 1], 10)
    # Each bin holds one leaver of two: |.5 - .05|, |.5 - .15| ... twice, mean .25.
    assert calibration_error(truth, probabilities) == pytest.approx(0.25)


def test_calibration_error_weighs_bins_by_their_customers() -> None:
    # Eleven customers make one bin of two (the lowest) and nine of one.
    probabilities = np.array([0.0, 0.02, *np.linspace(0.1, 0.9, 9)])
    truth = np.array([0, 1, *[0] * 9])
    assert calibration_error(truth, probabilities) == pytest.approx((2 * 0.49 + 4.5) / 11)


def test_calibration_error_does_not_ask_for_sorted_rows() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.random(100)
    truth = (generator.random(100) < probabilities).astype(int)
    order = generator.permutation(100)
    assert calibration_error(truth[order], probabilities[order]) == pytest.approx(
        calibration_error(truth, probabilities)
    )


def test_probabilities_that_come_true_have_no_calibration_error() -> None:
    truth = np.tile([0, 0, 0, 1], 10)
    assert calibration_error(truth, np.full(40, 0.25)) == pytest.approx(0.0)


def test_churn_metrics_by_hand() -> None:
    metrics = churn_metrics(
        [True, False, True, False], np.array([0.9, 0.8, 0.7, 0.6]), probabilities=True
    )
    assert metrics["churn_auc"] == pytest.approx(0.75)  # three of four pairs in order
    assert metrics["pr_auc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert metrics["brier"] == pytest.approx((0.01 + 0.64 + 0.09 + 0.36) / 4)
    assert metrics["ece"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.6) / 4)


@pytest.mark.parametrize(("scores", "auc"), [([3, 4, 1, 2], 1), ([1, 2, 3, 4], 0), ([5] * 4, 0.5)])
def test_auc_of_perfect_reversed_and_equal_scores(scores: list[float], auc: float) -> None:
    metrics = churn_metrics([True, True, False, False], np.array(scores), probabilities=False)
    assert metrics["churn_auc"] == auc
    assert set(metrics) == {"churn_auc", "pr_auc"}


@pytest.mark.parametrize("churned", [True, False])
def test_a_ranking_of_one_kind_cannot_be_judged(churned: bool) -> None:
    with pytest.raises(ValueError, match="churned"):
        churn_metrics([churned] * 3, np.array([0.1, 0.2, 0.3]), probabilities=True)


def test_tier_f1_is_the_mean_over_tiers() -> None:
    assert tier_f1([0, 1, 2], [0, 1, 2]) == 1
    # Tier 0: one of two found, none wrong: 2/3. Tier 1: both found, one wrong: 4/5.
    assert tier_f1([0, 0, 1, 1], [0, 1, 1, 1]) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_spearman_counts_ranks_only() -> None:
    assert spearman([1, 2, 3, 4], np.array([1.0, 10.0, 100.0, 5000.0])) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx(-1)
    assert spearman([1, 2, 3, 4], np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.8)
