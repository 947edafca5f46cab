import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from finetune.cross_shop import LM_FEATURE, CrossShopPrior, fit_cross_shop
from finetune.day_one import DayOne, fit_day_one
from finetune.errors import TrainingError
from finetune.few_labels import fit_few_labels
from finetune.shop_windows import ShopWindow, draw, read_shop_window
from retrieval.event_log import EventLog
from retrieval.shop import ChurnDefinition
from tests.finetune.hand_made import day, event_table
from tests.finetune.other_shops import tell_shop, window_of

_NONE = np.arange(0)


@pytest.fixture(scope="module")
def windows() -> list[ShopWindow]:
    """Two shops: pence and days; yen and three days a step."""
    return [
        window_of(*tell_shop(1), "pence"),
        window_of(*tell_shop(2, money=150, pace=3), "yen", pace=3),
    ]


@pytest.fixture(scope="module")
def prior(windows: list[ShopWindow]) -> CrossShopPrior:
    return fit_cross_shop(windows)


def _day_one(
    prior: CrossShopPrior,
    seed: int = 3,
    definition: ChurnDefinition = ChurnDefinition.INACTIVE,
    **story: float,
) -> tuple[DayOne, ShopWindow]:
    """A third shop, in cents and two days a step."""
    pasts, after = tell_shop(seed, money=20, pace=2, **story)
    day_one = fit_day_one(
        prior, pasts, definition=definition, horizon_days=180, quantiles=(0.5, 0.8)
    )
    return day_one, window_of(pasts, after, "cents", pace=2)


@pytest.mark.parametrize("definition", list(ChurnDefinition))
def test_a_shop_it_never_saw_is_foreseen(
    prior: CrossShopPrior, definition: ChurnDefinition
) -> None:
    day_one, window = _day_one(prior, definition=definition)
    answers = day_one.answers_about(window.described)
    churned = window.churned(definition)
    assert roc_auc_score(churned, answers.churn) > 0.85
    assert np.corrcoef(answers.spend, window.spend)[0, 1] > 0.5
    assert abs(answers.spend.sum() / window.spend.sum() - 1) < 0.25
    assert answers.tiers.shape == (400, 3)
    assert (answers.tiers >= -1e-12).all()
    np.testing.assert_allclose(answers.tiers.sum(axis=1), 1.0)


def test_how_many_fall_silent_is_told_by_the_shops_own_rhythm(prior: CrossShopPrior) -> None:
    day_one, window = _day_one(prior)
    found = day_one.answers_about(window.described).churn.mean()
    assert found == pytest.approx(window.described.foreseen.no_purchase.mean(), abs=1e-3)


def test_tiers_begin_at_quantiles_of_what_is_foreseen(prior: CrossShopPrior) -> None:
    day_one, window = _day_one(prior)
    tiers = day_one.answers_about(window.described).tiers.mean(axis=0)
    low, high = day_one.thresholds
    assert 0 < low < high
    np.testing.assert_allclose(tiers, [0.5, 0.3, 0.2], atol=1e-3)


def test_whoever_buys_nothing_reaches_a_tier_that_begins_at_nothing(
    prior: CrossShopPrior,
) -> None:
    pasts, _ = tell_shop(5)
    day_one = fit_day_one(
        prior,
        pasts,
        definition=ChurnDefinition.INACTIVE,
        horizon_days=90,
        quantiles=(0.01, 0.8),
    )
    assert day_one.thresholds[0] == 0.0
    np.testing.assert_allclose(day_one.answers(pasts).tiers[:, 0], 0.0)


def test_one_customer_is_answered_the_same_alone_and_among_others(prior: CrossShopPrior) -> None:
    pasts, _ = tell_shop(3)
    day_one = fit_day_one(
        prior, pasts, definition=ChurnDefinition.DECLINE, horizon_days=90, quantiles=(0.5, 0.8)
    )
    all_, alone = day_one.answers(pasts), day_one.answers(pasts[7:8])
    assert alone.churn[0] == pytest.approx(all_.churn[7], abs=1e-9)
    assert alone.spend[0] == pytest.approx(all_.spend[7], rel=1e-9)


def test_intervals_hold_what_was_spent_and_narrow_with_labels(prior: CrossShopPrior) -> None:
    day_one, window = _day_one(prior)
    low, high = day_one.spend_interval(window.described, coverage=0.8)
    inside = (low <= window.spend) & (window.spend <= high)
    assert inside.mean() > 0.7
    known = day_one.spend_interval(window.described, coverage=0.8, labelled=1000)
    assert (known[0] >= low).all()
    assert (known[1] <= high).all()
    assert (known[1] - known[0]).mean() < 0.99 * (high - low).mean()
    expected = day_one.answers_about(window.described).spend
    assert ((low <= expected) & (expected <= high)).all()
    widenings = [prior.widening(count) for count in (0, 10, 100, 1000)]
    assert widenings == sorted(widenings, reverse=True)
    assert widenings[0] > widenings[-1] > 1
    assert prior.level_error_after(0) == pytest.approx(prior.level_error)


def test_shops_that_differ_more_leave_a_new_one_less_certain(windows: list[ShopWindow]) -> None:
    generous = replace(windows[1], spend=windows[1].spend * 6)
    assert (
        fit_cross_shop([windows[0], generous]).level_error > 2 * fit_cross_shop(windows).level_error
    )


def test_each_shop_counts_the_same(windows: list[ShopWindow]) -> None:
    """Ten customers who contradict four hundred weigh as much."""
    contrary = window_of(*tell_shop(9, contrary=True), "contrary")
    few = contrary.part(np.arange(10))
    alone = fit_cross_shop([windows[0]]).churn(contrary.described, ChurnDefinition.INACTIVE)
    both = fit_cross_shop([windows[0], few]).churn(contrary.described, ChurnDefinition.INACTIVE)
    churned = contrary.churned(ChurnDefinition.INACTIVE)
    assert roc_auc_score(churned, both) > roc_auc_score(churned, alone) + 0.02


def test_it_answers_the_same_when_read_back_and_fitted_again(
    prior: CrossShopPrior, windows: list[ShopWindow]
) -> None:
    assert CrossShopPrior.from_json(prior.to_json()) == prior == fit_cross_shop(windows)
    assert prior.shops == ("pence", "yen")


def test_a_damaged_or_foreign_file_is_refused(prior: CrossShopPrior) -> None:
    with pytest.raises(ValueError, match="other features"):
        CrossShopPrior.from_json(replace(prior, features=("recency",)).to_json())
    document = json.loads(prior.to_json())
    del document["decline"]
    with pytest.raises(ValueError, match="decline"):
        CrossShopPrior.from_json(json.dumps(document))
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        CrossShopPrior.from_json(prior.to_json()[:100])


def test_without_customers_nothing_is_learnt(windows: list[ShopWindow]) -> None:
    with pytest.raises(TrainingError, match="another shop"):
        fit_cross_shop([])
    with pytest.raises(TrainingError, match="another shop"):
        fit_cross_shop([windows[0].part(_NONE)])


def test_a_language_models_word_is_read_where_it_was_learnt(windows: list[ShopWindow]) -> None:
    """Its log odds tell who leaves where nothing else does."""

    def told(window: ShopWindow) -> ShopWindow:
        gone = window.churned(ChurnDefinition.INACTIVE)
        described = window.described
        noise = np.random.default_rng(0).normal(size=len(window))
        features = np.column_stack([described.features, 4 * gone + noise])
        return replace(window, described=replace(described, features=features))

    prior = fit_cross_shop([told(window) for window in windows])
    assert prior.features[-1] == LM_FEATURE
    pasts, after = tell_shop(3)
    plain = window_of(pasts, after, "third")
    gone = plain.churned(ChurnDefinition.INACTIVE)
    lm = 4 * gone + np.random.default_rng(1).normal(size=400)
    day_one = fit_day_one(
        prior,
        pasts,
        definition=ChurnDefinition.INACTIVE,
        horizon_days=90,
        quantiles=(0.5, 0.8),
        lm_log_odds=lm,
    )
    assert roc_auc_score(gone, day_one.answers(pasts, lm).churn) > 0.95
    with pytest.raises(ValueError, match="28 numbers, and 29"):
        day_one.answers(pasts)


def test_no_label_changes_nothing_and_a_few_move_the_level(prior: CrossShopPrior) -> None:
    day_one, window = _day_one(prior)
    described = window.described
    none = fit_few_labels(day_one, window.part(_NONE))
    np.testing.assert_allclose(
        none.answers_about(day_one, described).churn, day_one.answers_about(described).churn
    )
    assert (none.spend_factor, none.labelled) == (1.0, 0)
    all_left = replace(window, bought=np.zeros(400, dtype=bool), spend=np.zeros(400))
    means = [
        fit_few_labels(day_one, all_left.part(np.arange(count)))
        .answers_about(day_one, described)
        .churn.mean()
        for count in (0, 4, 40, 400)
    ]
    assert means == sorted(means)
    assert means[1] < means[0] + 0.1
    assert means[-1] > means[0] + 0.3


def test_few_labels_do_not_lose_what_other_shops_teach(prior: CrossShopPrior) -> None:
    day_one, window = _day_one(prior)
    churned = window.churned(ChurnDefinition.INACTIVE)
    few = fit_few_labels(day_one, window.part(draw(400, 20)))
    before = roc_auc_score(churned, day_one.answers_about(window.described).churn)
    after = roc_auc_score(churned, few.answers_about(day_one, window.described).churn)
    assert after > before - 0.01


def test_many_labels_outvote_the_other_shops(prior: CrossShopPrior) -> None:
    day_one, window = _day_one(prior, seed=9, contrary=True, count=3000)
    churned = window.churned(ChurnDefinition.INACTIVE)
    assert roc_auc_score(churned, day_one.answers_about(window.described).churn) < 0.3
    few = fit_few_labels(day_one, window)
    assert roc_auc_score(churned, few.answers_about(day_one, window.described).churn) > 0.7


def test_spend_moves_towards_what_the_shops_own_customers_spent(prior: CrossShopPrior) -> None:
    day_one, window = _day_one(prior)
    richer = replace(window, spend=window.spend * 3)
    foretold = day_one.answers_about(window.described).spend
    factors = [
        fit_few_labels(day_one, richer.part(np.arange(count))).spend_factor
        for count in (5, 50, 400)
    ]
    assert 1 < factors[0] < factors[1] < factors[2] < richer.spend.sum() / foretold.sum()


def test_a_log_is_labelled_by_either_definition(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    rows = [(name, when, 1000, "purchase") for name in ("a", "b", "c") for when in (0, 30, 60)]
    rows += [("a", 100, 900, "purchase"), ("b", 100, 400, "purchase"), ("c", 121, 900, "purchase")]
    log.append(event_table(rows), source="by hand")
    window = read_shop_window(log, day(90), 30, "small")
    assert window.churned(ChurnDefinition.INACTIVE).tolist() == [False, False, True]
    assert window.churned(ChurnDefinition.DECLINE).tolist() == [False, True, True]
    assert window.spend.tolist() == [900, 400, 0]
    assert len(read_shop_window(log, day(90), 30, "small", most=2)) == 2
