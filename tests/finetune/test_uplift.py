"""The contract of every learner of effects: known effects on small campaigns, and refusals."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from finetune.calibration import Floats
from finetune.errors import TrainingError
from finetune.uplift import Flags, UpliftLearner, chances, lasso, ridge, trees
from finetune.uplift_learners import (
    ConstantEffect,
    DRLearner,
    TLearner,
    XLearner,
)
from finetune.uplift_outcomes import doubly_robust_outcomes
from finetune.uplift_risk_learners import DependentTLearner, PrognosticLearner

Maker = Callable[[], UpliftLearner]
LEARNERS: dict[str, Maker] = {
    "constant": ConstantEffect,
    "t": TLearner,
    "x": XLearner,
    "dr": DRLearner,
    "dependent_t": DependentTLearner,
    "prognostic": lambda: PrognosticLearner(DRLearner()),
    "t_trees": partial(TLearner, trees),
    "x_trees": partial(XLearner, trees, trees),
    "dr_trees": partial(DRLearner, trees, trees),
    "dr_lasso": partial(DRLearner, ridge, lasso),
}
VARYING = [name for name in LEARNERS if name != "constant"]


def _customers(count: int = 1200) -> tuple[Floats, Flags]:
    generator = np.random.default_rng(5)
    return generator.normal(size=(count, 3)), generator.random(count) < 0.4


def _outcome(features: Floats, treated: Flags, effect: Floats) -> Floats:
    noise = np.random.default_rng(6).normal(scale=0.05, size=len(features))
    return np.asarray(3 + features[:, 1] + treated * effect + noise)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_a_constant_effect_is_found(make: Maker) -> None:
    features, treated = _customers()
    outcome = _outcome(features, treated, np.full(len(features), 2.0))
    effect = make().fit(features, treated, outcome, None).effect(features)
    assert effect.shape == (len(features),)
    assert effect.mean() == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_no_effect_is_no_effect(make: Maker) -> None:
    features, treated = _customers()
    outcome = _outcome(features, treated, np.zeros(len(features)))
    effect = make().fit(features, treated, outcome, None).effect(features)
    assert abs(effect.mean()) < 0.1


@pytest.mark.parametrize("name", VARYING)
def test_an_effect_that_is_a_feature_is_followed(name: str) -> None:
    features, treated = _customers()
    outcome = _outcome(features, treated, features[:, 0])
    effect = LEARNERS[name]().fit(features, treated, outcome, None).effect(features)
    assert np.corrcoef(effect, features[:, 0])[0, 1] > 0.9
    assert np.polyfit(features[:, 0], effect, 1)[0] == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_the_same_campaign_teaches_the_same(make: Maker) -> None:
    features, treated = _customers(400)
    outcome = _outcome(features, treated, features[:, 0])
    first = make().fit(features, treated, outcome, None).effect(features[:50])
    again = make().fit(features, treated, outcome, None).effect(features[:50])
    assert np.array_equal(first, again)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f, t, y, p: (f, t, y[:-1], p), "'outcome' has 39 rows"),
        (lambda f, t, y, p: (f[:, 0], t, y, p), "two dimensions"),
        (lambda f, t, y, p: (f, np.zeros(40, bool), y, p), "0 customers had the offer"),
        (lambda f, t, y, p: (f, t, np.where(np.arange(40) == 7, np.nan, y), p), "row 7"),
        (lambda f, t, y, p: (f, t, y, np.where(np.arange(40) == 3, 1.0, p)), "row 3 is 1.0"),
    ],
)
def test_what_teaches_nothing_is_refused(make: Maker, spoil: Callable, message: str) -> None:
    features, treated = _customers(40)
    outcome = _outcome(features, treated, features[:, 0])
    with pytest.raises(TrainingError, match=message):
        make().fit(*spoil(features, treated, outcome, np.full(40, 0.4)))


def test_known_propensities_undo_a_campaign_that_chose_its_customers() -> None:
    # The offer went to good customers mostly, and the outcome models may not see who is good.
    generator = np.random.default_rng(8)
    good = generator.random(20_000) < 0.5
    chance = np.where(good, 0.8, 0.2)
    treated = generator.random(20_000) < chance
    outcome = 5.0 * good + 1.0 * treated
    blind = np.zeros((20_000, 1))
    naive = ConstantEffect().fit(blind, treated, outcome, None)
    mended = ConstantEffect().fit(blind, treated, outcome, chance)
    assert naive.average == pytest.approx(4.0, abs=0.1)
    assert mended.average == pytest.approx(1.0, abs=4 * mended.standard_error)
    assert mended.standard_error < 0.1


def test_constant_effect_is_the_difference_of_means_where_nothing_is_known() -> None:
    treated = np.arange(40) % 2 == 0
    outcome = np.where(treated, 7.0, 4.0)
    learner = ConstantEffect().fit(np.zeros((40, 1)), treated, outcome, None)
    assert learner.average == pytest.approx(3.0)
    assert learner.standard_error == pytest.approx(0.0, abs=1e-9)


def test_extreme_propensities_are_clipped() -> None:
    features, treated = _customers(400)
    chance = np.where(np.arange(400) == 0, 1e-9, 0.4)
    treated[0] = True
    outcome = _outcome(features, treated, np.zeros(400)) + 10.0 * (np.arange(400) == 0)
    wild = doubly_robust_outcomes(features, treated, outcome, chance, clip=0.0)
    tame = doubly_robust_outcomes(features, treated, outcome, chance, clip=0.1)
    assert wild[0] > 1e8
    assert abs(tame[0]) < 200
    assert np.allclose(wild[1:], tame[1:])


def test_another_offer_can_tell_who_answers_to_offers() -> None:
    features, treated = _customers(4000)
    answers = np.abs(features[:, 0])  # no straight line in the features says this
    elsewhere = trees()
    elsewhere.fit(features, answers)
    outcome = _outcome(features, treated, answers)
    alone = DependentTLearner().fit(features, treated, outcome, None).effect(features)
    helped = DependentTLearner(elsewhere=elsewhere).fit(features, treated, outcome, None)
    assert np.corrcoef(alone, answers)[0, 1] < 0.5
    assert np.corrcoef(helped.effect(features), answers)[0, 1] > 0.9


def test_one_fold_cannot_cross_fit() -> None:
    features, treated = _customers(40)
    with pytest.raises(TrainingError, match="2 folds, not 1"):
        doubly_robust_outcomes(features, treated, features[:, 0], None, folds=1)


def test_chances_stay_between_nought_and_one_and_know_one_answer() -> None:
    features, _ = _customers(200)
    model = chances()
    model.fit(features, (features[:, 0] > 0).astype(float))
    answers = model.predict(features * 10)
    assert answers.min() >= 0
    assert answers.max() <= 1
    assert answers[features[:, 0] > 1].min() > 0.9
    nobody = chances()
    nobody.fit(features, np.zeros(200))
    assert nobody.predict(features).max() < 0.01


def test_chances_refuse_amounts() -> None:
    features, _ = _customers(20)
    with pytest.raises(TrainingError, match="0 and 1"):
        chances().fit(features, features[:, 0])
