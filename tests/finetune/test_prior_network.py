import dataclasses
import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from finetune.calibration import Floats
from finetune.held_out import is_held_out
from finetune.prior_network import _STOPPING_SEED, PriorNetwork, fit_prior_network

_READ = (0, 1, 2)

_Examples = tuple[Floats, NDArray[np.bool_], Floats]


def _examples(count: int, seed: int) -> _Examples:
    """Who leaves lies in the first feature, who buys and for how much in the second."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 4))
    churned = random.random(count) < expit(-1 + 2 * features[:, 0])
    bought = random.random(count) < expit(1 + features[:, 1])
    spends = np.where(bought, np.exp(7 + 0.8 * features[:, 1] + random.normal(0, 0.4, count)), 0.0)
    return features, churned, np.round(spends)


def _fitted(examples: _Examples) -> PriorNetwork:
    features, churned, spends = examples
    ids = [f"c{number}" for number in range(len(features))]
    return fit_prior_network(features, churned, spends, np.ones(len(features)), ids, _READ)


def _answers(network: PriorNetwork, features: Floats) -> tuple[Floats, Floats]:
    return network.churn_odds(features), network.log_spend(features)


@pytest.fixture(scope="module")
def network() -> PriorNetwork:
    return _fitted(_examples(1500, 1))


def test_it_foresees_examples_it_never_saw(network: PriorNetwork) -> None:
    features, churned, spends = _examples(1500, 2)
    odds, logs = _answers(network, features)
    known = expit(-1 + 2 * features[:, 0])
    assert roc_auc_score(churned, odds) > roc_auc_score(churned, known) - 0.01
    assert expit(odds).mean() == pytest.approx(churned.mean(), abs=0.04)
    assert np.expm1(logs).sum() == pytest.approx(spends.sum(), rel=0.15)
    # A buyer's mean amount times the chance of buying, known from how the examples were made.
    true = expit(1 + features[:, 1]) * np.exp(7 + 0.8 * features[:, 1] + 0.08)
    assert np.corrcoef(logs, np.log1p(true))[0, 1] > 0.97


def test_it_answers_the_same_when_read_back_and_when_fitted_again(network: PriorNetwork) -> None:
    document = json.loads(json.dumps(dataclasses.asdict(network)))
    assert PriorNetwork.from_json(document) == network == _fitted(_examples(1500, 1))


def test_a_batch_answers_as_each_alone(network: PriorNetwork) -> None:
    features, _, _ = _examples(20, 3)
    odds, logs = _answers(network, features)
    alone = [_answers(network, features[[row]]) for row in range(20)]
    np.testing.assert_allclose(odds, [one[0][0] for one in alone], atol=1e-12)
    np.testing.assert_allclose(logs, [one[1][0] for one in alone], atol=1e-12)


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("left", [True, False])
def test_a_handful_all_of_one_kind_stays_near_what_holds_of_them(count: int, left: bool) -> None:
    features = np.random.default_rng(0).normal(size=(count, 4))
    spends = np.zeros(count) if left else np.full(count, 500.0)
    odds, logs = _answers(_fitted((features, np.full(count, left), spends)), features)
    assert ((odds > 0) == left).all()
    assert np.isfinite(logs).all()
    assert (np.expm1(logs) < 500).all() if left else (np.expm1(logs) > 200).all()


def test_an_odd_customer_stays_within_what_the_features_can_say(network: PriorNetwork) -> None:
    centre, width = np.array([*network.centre, 0.0]), np.array([*network.width, 1.0])
    beyond = np.array([[1.0, -1.0, 0.0, 0.0]])
    odd, edge = centre + 1e9 * beyond, centre + 4 * width * beyond
    for found, expected in zip(_answers(network, odd), _answers(network, edge), strict=True):
        np.testing.assert_allclose(found, expected)


def test_it_does_not_see_what_it_does_not_read(network: PriorNetwork) -> None:
    features, _, _ = _examples(5, 5)
    moved = features + np.array([0.0, 0.0, 0.0, 7.0])
    for found, expected in zip(_answers(network, moved), _answers(network, features), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_column_that_was_the_same_for_everybody_moves_nothing() -> None:
    features, churned, spends = _examples(300, 6)
    features[:, 2] = 0.7
    network = _fitted((features, churned, spends))
    assert network.columns == (0, 1)
    moved = features + np.array([0.0, 0.0, 5.0, 0.0])
    np.testing.assert_array_equal(network.churn_odds(moved), network.churn_odds(features))


def test_it_is_told_when_to_stop_also_among_customers_that_a_split_left() -> None:
    """Fine-tuning holds customers out by a seed of the user's; theirs must not be this one."""
    for seed in range(10):
        ids = [name for name in map(str, range(400)) if not is_held_out(name, seed)][:200]
        held = [is_held_out(name, _STOPPING_SEED) for name in ids]
        assert 20 < sum(held) < 60


def test_trust_decides_between_contrary_examples() -> None:
    features, churned, spends = _examples(600, 4)
    ids = [f"c{number}" for number in range(600)]
    both = fit_prior_network(
        np.concatenate([features, features]),
        np.concatenate([churned, ~churned]),
        np.concatenate([spends, spends]),
        np.repeat([1.0, 0.1], 600),
        [*ids, *ids],
        _READ,
    )
    assert roc_auc_score(churned, both.churn_odds(features)) > 0.75
