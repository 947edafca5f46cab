"""The LSTM learns what the order of purchases tells; the mean is of the best on validation."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench import prediction_peers
from bench.prediction_lstm import lstm_scores
from bench.prediction_peers import Task, peer_systems
from bench.report import Report
from finetune.baselines import BaselineScores
from finetune.labels import Example
from retrieval.shop import ChurnDefinition, ChurnSettings
from tests.finetune.hand_made import past_of

_CUTS = (1.0, 4000.0)


def _window(count: int, seed: int) -> list[Example]:
    """Whoever's amounts fall leaves; the sums, the days and the newest day are alike."""
    random = np.random.default_rng(seed)
    examples = []
    for number in range(count):
        leaves = bool(random.random() < 0.5)
        amounts = np.sort(random.integers(500, 3000, 5))
        amounts = amounts[::-1] if leaves else amounts
        orders = [(float(20 * step), int(amount)) for step, amount in enumerate(amounts)]
        spend = 0 if leaves else int(amounts.sum())
        past = past_of(orders, as_of=100, customer_id=f"c{number}")
        examples.append(Example(past=past, spend=spend, churned=leaves))
    return examples


def test_the_lstm_reads_the_order_of_purchases() -> None:
    unseen = _window(200, 2)
    scores = lstm_scores(
        _window(400, 1), [example.past for example in unseen], _CUTS, 7, Report(seed=7)
    )
    churned = [example.churned for example in unseen]
    spends = np.array([example.spend for example in unseen])
    assert scores.churn is not None
    assert scores.spend is not None
    assert roc_auc_score(churned, scores.churn) > 0.95
    assert abs(scores.churn.mean() - np.mean(churned)) < 0.1
    assert np.corrcoef(scores.spend, spends)[0, 1] > 0.8
    assert abs(scores.spend.sum() / spends.sum() - 1) < 0.25
    assert scores.tiers is not None
    assert {0, 2} <= set(scores.tiers)


def test_the_lstm_answers_the_same_again_and_alone() -> None:
    train, unseen = _window(80, 1), [example.past for example in _window(20, 2)]
    first = lstm_scores(train, unseen, _CUTS, 7, Report(seed=7))
    again = lstm_scores(train, unseen, _CUTS, 7, Report(seed=7))
    alone = lstm_scores(train, unseen[:1], _CUTS, 7, Report(seed=7))
    np.testing.assert_array_equal(first.churn, again.churn)
    np.testing.assert_allclose(alone.churn, first.churn[:1], rtol=1e-5)


def _scores(churn: list[float], spend: list[float]) -> BaselineScores:
    return BaselineScores(
        churn=np.array(churn), churn_is_probability=True, tiers=None, spend=np.array(spend)
    )


def test_the_mean_is_of_the_two_best_on_validation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On validation two peers are right and two are wrong; what they say of the others differs."""
    train, asked = _window(10, 1), _window(2, 2)
    peers = ("logistic_rfm", "lightgbm_rfm", "bg_nbd", "lstm")

    def answers(task: Task, report: Report) -> dict[str, BaselineScores]:
        if len(task.pasts) == len(asked) and len(task.train) == len(train):
            return {
                name: _scores([0.1 * (number + 1)] * 2, [float(number)] * 2)
                for number, name in enumerate(peers)
            }
        truth = {example.past.customer_id: example for example in train}
        left = [float(truth[past.customer_id].churned) for past in task.pasts]
        spends = [float(truth[past.customer_id].spend) for past in task.pasts]
        assert not {past.customer_id for past in task.pasts} & {
            example.past.customer_id for example in task.train
        }
        good = _scores([0.05 + 0.9 * value for value in left], spends)
        poor = _scores([0.95 - 0.9 * value for value in left], [-value for value in spends])
        return dict(zip(peers, (poor, good, poor, good), strict=True))

    monkeypatch.setattr(prediction_peers, "_learning_peers", answers)
    task = Task(
        train=train,
        pasts=[example.past for example in asked],
        thresholds=_CUTS,
        churn=ChurnSettings(definition=ChurnDefinition.INACTIVE, horizon_days=30),
        seed=7,
    )
    systems = peer_systems(task, Report(seed=7))
    mean = systems["mean_of_best_two"].scores
    np.testing.assert_allclose(mean.churn, [(0.2 + 0.4) / 2] * 2)
    np.testing.assert_allclose(mean.spend, [(np.log1p(1) + np.log1p(3)) / 2] * 2)
    assert "mean_of_best_two: lightgbm_rfm and lstm" in capsys.readouterr().out
