import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from finetune.chance_model import fit_chance_model
from finetune.labels import Example
from finetune.prior import _READ, Prior, fit_prior
from finetune.prior_features import PRIOR_FEATURES, prior_features
from retrieval.shop import ChurnDefinition
from tests.finetune.hand_made import past_of

_CUTS = (2000.0, 6000.0)


def _window(count: int, seed: int) -> list[Example]:
    """Regulars who come back with their usual spend, and people who went silent and do not."""
    generator = np.random.default_rng(seed)
    examples = []
    for number in range(count):
        gone = bool(generator.random() < 0.4)
        amount = int(generator.integers(200, 3000))
        last = 110 if gone else 178
        days = np.sort(generator.uniform(0, last, 6))
        past = past_of([(float(day), amount) for day in days], as_of=180, customer_id=f"c{number}")
        left = gone if generator.random() < 0.9 else not gone
        examples.append(Example(past=past, spend=0 if left else 3 * amount, churned=left))
    return examples


@pytest.fixture(scope="module")
def windows() -> list[list[Example]]:
    return [_window(400, 1), _window(400, 2)]


def test_it_foresees_customers_it_never_saw(windows: list[list[Example]]) -> None:
    unseen = _window(400, 3)
    answers = fit_prior(windows, _CUTS, 90).answers([example.past for example in unseen])
    churned = [example.churned for example in unseen]
    assert roc_auc_score(churned, answers.churn) > 0.8
    assert abs(answers.churn.mean() - np.mean(churned)) < 0.06
    spends = np.array([example.spend for example in unseen])
    assert abs(answers.spend.sum() / spends.sum() - 1) < 0.15
    assert np.corrcoef(answers.spend, spends)[0, 1] > 0.6


def test_tier_chances_add_up(windows: list[list[Example]]) -> None:
    answers = fit_prior(windows, _CUTS, 90).answers([example.past for example in windows[0]])
    assert answers.tiers.shape == (400, 3)
    assert (answers.tiers >= 0).all()
    np.testing.assert_allclose(answers.tiers.sum(axis=1), 1.0)


def test_it_answers_the_same_when_read_back_and_when_fitted_again(
    windows: list[list[Example]],
) -> None:
    prior = fit_prior(windows, _CUTS, 90)
    again = type(prior).from_json(prior.to_json())
    assert again == prior == fit_prior(windows, _CUTS, 90)
    one = again.answers([windows[0][7].past])
    all_ = prior.answers([example.past for example in windows[0]])
    assert one.churn[0] == pytest.approx(all_.churn[7], abs=1e-12)
    # BG/NBD integrates over as many nodes as the batch needs.
    assert one.spend[0] == pytest.approx(all_.spend[7], rel=1e-5)


def test_the_newest_window_counts_most(windows: list[list[Example]]) -> None:
    contrary = [Example(past=e.past, spend=e.spend, churned=not e.churned) for e in windows[1]]
    prior = fit_prior([windows[0], contrary], _CUTS, 90)
    churned = [example.churned for example in windows[0]]
    answers = prior.answers([example.past for example in windows[0]])
    assert roc_auc_score(churned, answers.churn) > 0.6


def test_a_damaged_or_foreign_file_is_refused(windows: list[list[Example]]) -> None:
    prior = fit_prior(windows[:1], _CUTS, 90)
    with pytest.raises(ValueError, match="other features"):
        type(prior).from_json(replace(prior, features=("recency",)).to_json())
    document = json.loads(prior.to_json())
    del document["churn"]
    with pytest.raises(ValueError, match="churn"):
        type(prior).from_json(json.dumps(document))
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        type(prior).from_json(prior.to_json()[:100])


@pytest.mark.parametrize("answer", [True, False])
def test_answers_of_one_kind_give_a_chance_short_of_certain(answer: bool) -> None:
    model = fit_chance_model(np.ones((8, 2)), np.full(8, answer), np.ones(8))
    assert model.chances(np.zeros((1, 2)))[0] == pytest.approx(0.9 if answer else 0.1)


def test_it_keeps_the_mean_example(windows: list[list[Example]]) -> None:
    prior = fit_prior(windows[:1], _CUTS, 90)
    features = prior_features([example.past for example in windows[0]], 90)
    np.testing.assert_allclose(prior.neutral, features.mean(axis=0))


def test_an_older_file_is_refused_by_what_it_lacks(windows: list[list[Example]]) -> None:
    document = json.loads(fit_prior(windows[:1], _CUTS, 90).to_json())
    del document["spend"]
    with pytest.raises(ValueError, match="spend"):
        Prior.from_json(json.dumps(document))


def test_its_level_follows_the_rhythm_where_churn_is_silence(
    windows: list[list[Example]],
) -> None:
    pasts = [example.past for example in windows[0]]
    prior = fit_prior(windows, _CUTS, 90, ChurnDefinition.INACTIVE)
    features = prior_features(pasts, 90)
    levelled = prior.levelled(pasts)
    assert prior.silence_gap is not None
    assert levelled.answers(pasts).churn.mean() == pytest.approx(
        prior.spend.rhythm.silence(features, 90).mean() + prior.silence_gap, abs=1e-3
    )
    np.testing.assert_array_equal(
        np.argsort(levelled.answers(pasts).churn), np.argsort(prior.answers(pasts).churn)
    )


def test_its_level_stays_where_churn_is_a_decline(windows: list[list[Example]]) -> None:
    prior = fit_prior(windows, _CUTS, 90)
    assert prior.levelled([example.past for example in windows[0]]) == prior


def test_age_moves_neither_churn_nor_tiers(windows: list[list[Example]]) -> None:
    prior = fit_prior(windows, _CUTS, 90)
    features = prior_features([example.past for example in windows[0]], 90)
    older = features.copy()
    older[:, [PRIOR_FEATURES.index("recency"), PRIOR_FEATURES.index("T")]] += 1.0
    known, moved = prior.answers_of(features), prior.answers_of(older)
    np.testing.assert_array_equal(known.churn, moved.churn)
    np.testing.assert_array_equal(known.tiers, moved.tiers)
    assert (known.spend != moved.spend).any()  # the rhythm reads it


def test_the_network_has_its_share_in_churn(windows: list[list[Example]]) -> None:
    prior = fit_prior(windows, _CUTS, 90)
    features = prior_features([example.past for example in windows[0]], 90)
    counted = prior.churn.chances(features[:, _READ])
    odds = 0.7 * logit(counted) + 0.3 * prior.spend.network.churn_odds(features)
    np.testing.assert_allclose(prior.answers_of(features).churn, expit(odds + prior.churn_level))


def test_the_newest_window_tells_how_many_leave(windows: list[list[Example]]) -> None:
    older = [replace(example, churned=False) for example in windows[1]]
    prior = fit_prior([windows[0], older], _CUTS, 90)
    chances = prior.answers([example.past for example in windows[0]]).churn
    assert chances.mean() == pytest.approx(np.mean([example.churned for example in windows[0]]))


def test_a_window_without_customers_changes_nothing(windows: list[list[Example]]) -> None:
    inactive = ChurnDefinition.INACTIVE
    assert fit_prior([windows[0], []], _CUTS, 90, inactive) == fit_prior(
        windows[:1], _CUTS, 90, inactive
    )


def test_an_odd_customer_is_not_expected_to_outspend_the_shop(
    windows: list[list[Example]],
) -> None:
    prior = fit_prior(windows, _CUTS, 90)
    features = prior_features([example.past for example in windows[0]], 90)
    largest = prior.spend.expected(features).max()
    odd = features[:1].copy()
    odd[0, PRIOR_FEATURES.index("returned_share")] = 1e6
    odd[0, PRIOR_FEATURES.index("monetary_value")] = 40.0
    assert prior.spend.expected(odd)[0] <= 3 * (largest + 1)
