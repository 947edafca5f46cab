"""The cross-shop part of a shop's prior: it says who leaves first, not how many."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from finetune.cross_shop import LM_FEATURE, CrossShopPrior, fit_cross_shop
from finetune.cross_shop_churn import CROSS_SHOP_FEATURES, CrossShopChurn
from finetune.errors import TrainingError
from finetune.labels import Example
from finetune.prior import Prior, fit_prior
from finetune.prior_features import PRIOR_FEATURES
from retrieval.orders import CustomerPast
from retrieval.shop import ChurnDefinition
from tests.finetune.hand_made import past_of
from tests.finetune.other_shops import tell_shop, window_of

_HORIZON = 180
_CUTS = (20_000.0, 60_000.0)


@pytest.fixture(scope="module")
def others() -> CrossShopPrior:
    """Two shops: pence and days; yen and three days a step."""
    return fit_cross_shop(
        [
            window_of(*tell_shop(1), "pence"),
            window_of(*tell_shop(2, money=150, pace=3), "yen", pace=3),
        ]
    )


def _examples(seed: int, count: int = 400) -> list[Example]:
    """Customers of a third shop, in cents and two days a step."""
    pasts, after = tell_shop(seed, money=20, pace=2, count=count)
    return [
        Example(
            past=past,
            spend=after.get(past.customer_id, 0),
            churned=past.customer_id not in after,
        )
        for past in pasts
    ]


def _pasts(examples: list[Example]) -> list[CustomerPast]:
    return [example.past for example in examples]


def _fit(
    examples: list[Example],
    others: CrossShopPrior | None,
    definition: ChurnDefinition = ChurnDefinition.DECLINE,
) -> Prior:
    return fit_prior([examples], _CUTS, _HORIZON, definition, cross_shop=others)


def test_few_customers_of_its_own_are_helped(others: CrossShopPrior) -> None:
    unseen = _examples(6)
    churned = [example.churned for example in unseen]

    def auc(seed: int, given: CrossShopPrior | None) -> float:
        few = _examples(seed, count=24)
        return float(roc_auc_score(churned, _fit(few, given).answers(_pasts(unseen)).churn))

    gains = [auc(seed, others) - auc(seed, None) for seed in (5, 7, 8)]
    assert min(gains) > 0


def test_they_have_a_fifth_of_the_log_odds_and_no_say_in_how_many(others: CrossShopPrior) -> None:
    examples = _examples(5)
    alone, helped = _fit(examples, None), _fit(examples, others)
    assert helped.cross_shop is not None
    rows = helped.rows(_pasts(examples))
    part = helped.cross_shop.log_odds(rows[:, len(PRIOR_FEATURES) :])
    own = logit(alone.answers(_pasts(examples)).churn) - alone.churn_level
    assert part.mean() == pytest.approx(own.mean())
    odds = 0.8 * own + 0.2 * part + helped.churn_level
    np.testing.assert_allclose(helped.answers_of(rows).churn, expit(odds))
    left = np.mean([example.churned for example in examples])
    assert expit(odds).mean() == pytest.approx(left)


def test_tiers_and_spend_stay_the_shops_own(others: CrossShopPrior) -> None:
    examples = _examples(5)
    alone, helped = (_fit(examples, given).answers(_pasts(examples)) for given in (None, others))
    np.testing.assert_array_equal(alone.tiers, helped.tiers)
    np.testing.assert_array_equal(alone.spend, helped.spend)


@pytest.mark.parametrize("definition", list(ChurnDefinition))
def test_they_speak_of_leaving_as_the_shop_defines_it(
    others: CrossShopPrior, definition: ChurnDefinition
) -> None:
    part = _fit(_examples(5), others, definition).cross_shop
    assert part is not None
    inactive = definition is ChurnDefinition.INACTIVE
    assert part.chance == (others.inactive if inactive else others.decline)
    assert part.shops == ("pence", "yen")


@pytest.mark.parametrize("definition", list(ChurnDefinition))
def test_what_is_usual_is_measured_at_the_moment_of_the_answer(
    others: CrossShopPrior, definition: ChurnDefinition
) -> None:
    examples = _examples(5)
    prior = _fit(examples, others, definition)
    later = _pasts(_examples(6))[:100]
    levelled = prior.levelled(later)
    assert levelled.cross_shop is not None
    assert prior.cross_shop is not None
    assert levelled.cross_shop.scale == prior.cross_shop.at(later, _HORIZON).scale
    assert levelled.cross_shop.scale != prior.cross_shop.scale
    # It says who leaves, not how many: its mean is that of the shop's own models, or of its rhythm.
    rows = levelled.rows(later)
    if definition is ChurnDefinition.DECLINE:
        own = (
            logit(_fit(examples, None, definition).answers(later).churn)
            - _fit(examples, None, definition).churn_level
        )
        part = levelled.cross_shop.log_odds(rows[:, len(PRIOR_FEATURES) :])
        assert part.mean() == pytest.approx(own.mean())
        assert levelled.churn_shift == 0
    else:
        assert levelled.silence_gap is not None
        silence = levelled.spend.rhythm.silence(rows[:, : len(PRIOR_FEATURES)], _HORIZON).mean()
        mean = levelled.answers_of(rows).churn.mean()
        assert mean == pytest.approx(silence + levelled.silence_gap, abs=1e-3)


def test_the_level_of_its_own_moment_is_where_it_began(others: CrossShopPrior) -> None:
    examples = _examples(5)
    prior = _fit(examples, others)
    again = prior.levelled(_pasts(examples))
    np.testing.assert_allclose(
        again.answers(_pasts(examples)).churn, prior.answers(_pasts(examples)).churn
    )


def test_it_answers_the_same_when_read_back(others: CrossShopPrior) -> None:
    examples = _examples(5)
    prior = _fit(examples, others)
    assert prior.features == (*PRIOR_FEATURES, *CROSS_SHOP_FEATURES)
    assert len(prior.neutral) == len(prior.features)
    again = Prior.from_json(prior.to_json())
    assert again == prior
    np.testing.assert_array_equal(
        again.answers(_pasts(examples)).churn, prior.answers(_pasts(examples)).churn
    )


def test_a_file_that_names_features_without_a_part_for_them_is_refused(
    others: CrossShopPrior,
) -> None:
    document = json.loads(_fit(_examples(5, count=60), others).to_json())
    document["cross_shop"] = None
    with pytest.raises(ValueError, match="other features"):
        Prior.from_json(json.dumps(document))


def test_a_shop_of_today_has_no_usual_yet(others: CrossShopPrior) -> None:
    today = [past_of([(10, 100)], as_of=10, customer_id=f"c{number}") for number in range(2)]
    with pytest.raises(TrainingError):
        CrossShopChurn.of(others, ChurnDefinition.DECLINE, today, _HORIZON)


def test_a_prior_that_reads_a_language_model_is_no_part(others: CrossShopPrior) -> None:
    reads_more = replace(others, features=(*others.features, LM_FEATURE))
    with pytest.raises(ValueError, match=LM_FEATURE):
        CrossShopChurn.of(reads_more, ChurnDefinition.DECLINE, _pasts(_examples(5)), _HORIZON)
