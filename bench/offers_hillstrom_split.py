"""One random half to learn from and the other to be judged on: every system of Hillstrom's test."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from bench.offers_hillstrom_choice import FOLDS, OURS, TrainingHalf, folds_of, guess
from bench.offers_hillstrom_data import ARMS, OUTCOMES, Trial
from bench.offers_hillstrom_peers import peer_effects
from bench.offers_hillstrom_policy import (
    Actions,
    Choice,
    Judged,
    Log,
    Price,
    choose_policy,
    everybody,
    expected_spend,
    follow,
    judge,
    simple_policies,
)
from bench.offers_hillstrom_systems import Views
from finetune.calibration import Floats
from finetune.off_policy import certain
from finetune.uplift_measures import Walk, perfect_area, walk_down

PERSONAL = "patron_personal"
SINGLE = "best_single"
"""What the training half found best for everybody."""
SHARES = np.linspace(0, 1, 101)
"""Shares of customers targeted at which curves are drawn."""

_COMPONENTS = 24
# Few enough draws for the processor's cache: one walk of all takes three times as long.
_TOGETHER = 20
_BOUGHT_COLUMN = {"men": 0, "women": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """How well one system ranks customers of the test half.

    Attributes:
        qini: Qini coefficient.
        auuc: area under the uplift curve, outcome per customer.
        qini_draws: of draws of customers `[draws]`.
        auuc_draws: likewise.
        curve: extra outcome a hundred customers at `SHARES`.
    """

    qini: float
    auuc: float
    qini_draws: Floats
    auuc_draws: Floats
    curve: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What one random split found.

    Attributes:
        tested: customers of the test half.
        ranked: by (e-mail, outcome) and system.
        chosen: by (e-mail, outcome), the candidate that Patron took.
        judged: by policy.
        choice: what the training half said of policies.
    """

    tested: NDArray[np.intp]
    ranked: dict[tuple[str, str], dict[str, Ranked]]
    chosen: dict[tuple[str, str], str]
    judged: dict[str, Judged]
    choice: Choice


def measure_split(
    trial: Trial,
    embeddings: NDArray[np.float32],
    seed: int,
    draws: Mapping[tuple[str, str], int],
    price: Price,
) -> Split:
    """Learn on one half, judge on the other.

    Args:
        trial: the whole test.
        embeddings: of each customer's history `[n, width]`.
        seed: of the split.
        draws: of customers, for the intervals of each (e-mail, outcome); the same whatever the
            split.
        price: for profits.
    """
    with threadpool_limits(1):
        return _measure(trial, embeddings, seed, draws, price)


def _measure(
    trial: Trial,
    embeddings: NDArray[np.float32],
    seed: int,
    draws: Mapping[tuple[str, str], int],
    price: Price,
) -> Split:
    order = np.random.default_rng(seed).permutation(len(trial.actions))
    train, test = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    components = PCA(_COMPONENTS, svd_solver="covariance_eigh").fit(embeddings[train])
    views = Views(
        rfm=trial.features,
        lm=components.transform(embeddings).astype(np.float64),
        bought=trial.bought,
        spent=trial.spent,
    )
    fold = folds_of(len(train), seed)
    counts = _draw_customers(len(order), max(draws.values()))
    ranked: dict[tuple[str, str], dict[str, Ranked]] = {}
    chosen: dict[tuple[str, str], str] = {}
    guessed: dict[str, dict[str, Floats]] = {}
    cross_fitted: dict[str, dict[str, Floats]] = {}
    for arm in ARMS[1:]:
        for outcome in OUTCOMES:
            half = TrainingHalf(
                views=views.of(train),
                actions=trial.actions[train],
                arm=ARMS.index(arm),
                outcome=trial.outcomes[outcome][train],
                binary=outcome != "spend",
                fold=fold,
            )
            ours = guess(half, views.of(test), seed)
            effects = ours.effects | peer_effects(
                half.campaign(np.ones(len(train), dtype=bool)),
                views.of(test),
                bought_column=_BOUGHT_COLUMN[arm],
                seed=seed,
            )
            ranked[arm, outcome] = _rank(
                trial, test, arm, outcome, effects, counts[: draws[arm, outcome]]
            )
            chosen[arm, outcome] = ours.chosen
            if outcome == "spend":
                guessed[arm], cross_fitted[arm] = effects, ours.cross_fitted
    log = Log(
        views=views,
        actions=trial.actions,
        visits=trial.outcomes["visit"],
        spend=trial.outcomes["spend"],
    )
    choice = choose_policy(
        log.of(train),
        _cross_fitted_spend(log.of(train), fold),
        _by_learner(cross_fitted),
        price,
        seed,
    )
    policies = _policies(log.of(train), views.of(test), _by_learner(guessed), choice, price)
    expected = expected_spend(log.of(train), views.of(test))
    return Split(
        tested=test,
        ranked=ranked,
        chosen=chosen,
        judged={
            name: judge(log.of(test), expected, policy, price) for name, policy in policies.items()
        },
        choice=choice,
    )


def _rank(
    trial: Trial,
    test: NDArray[np.intp],
    arm: str,
    outcome: str,
    effects: Mapping[str, Floats],
    counts: NDArray[np.uint8],
) -> dict[str, Ranked]:
    inside = np.isin(trial.actions[test], (0, ARMS.index(arm)))
    customers = test[inside]
    reached, treated = trial.outcomes[outcome][customers], trial.actions[customers] > 0
    once = np.ones((1, len(customers)))
    pieces = np.array_split(counts[:, customers], max(1, len(counts) // _TOGETHER))
    drawn = [perfect_area(reached, treated, piece.astype(np.float64)) for piece in pieces]
    whole = perfect_area(reached, treated, once)
    ranked = {}
    for name, effect in effects.items():
        curve, qini, area = _areas(walk_down(reached, effect[inside], treated, once), whole)
        draws = [
            _areas(walk_down(reached, effect[inside], treated, piece.astype(np.float64)), most)
            for piece, most in zip(pieces, drawn, strict=True)
        ]
        ranked[name] = Ranked(
            qini=float(qini[0]),
            auuc=float(area[0]),
            qini_draws=np.concatenate([each[1] for each in draws]),
            auuc_draws=np.concatenate([each[2] for each in draws]),
            curve=curve,
        )
    return ranked


def _areas(walk: Walk, most: Floats) -> tuple[Floats, Floats, Floats]:
    """The first draw's curve at `SHARES`; Qini coefficient and area of each draw."""
    curve = walk.qini_curve()
    share = curve.customers[0] / curve.customers[0, -1]
    gain = np.interp(SHARES, share, 100 * curve.gain[0] / walk.treated[0, -1])
    return gain, curve.area_over_chance / most, walk.area_per_customer()


def _draw_customers(count: int, draws: int) -> NDArray[np.uint8]:
    """How often each customer counts in each draw `[draws, n]`, as a bootstrap would."""
    return np.random.default_rng(0).poisson(1.0, (draws, count)).astype(np.uint8)


def _cross_fitted_spend(train: Log, fold: NDArray[np.intp]) -> Floats:
    expected = np.empty((len(train.actions), len(ARMS)))
    for part in range(FOLDS):
        held = np.flatnonzero(fold == part)
        others = train.of(np.flatnonzero(fold != part))
        expected[held] = expected_spend(others, train.views.of(held))
    return expected


def _by_learner(effects: Mapping[str, Mapping[str, Floats]]) -> dict[str, dict[str, Floats]]:
    """Effects by e-mail and learner, turned to be by learner and e-mail; scores are left out."""
    scores = {"random", "by_risk", "by_value", "by_category"}
    first = next(iter(effects.values()))
    return {
        name: {arm: effects[arm][name] for arm in effects} for name in first if name not in scores
    }


def _policies(
    train: Log,
    customers: Views,
    effects: Mapping[str, Mapping[str, Floats]],
    choice: Choice,
    price: Price,
) -> dict[str, Floats]:
    """Chances of each action by policy `[n, actions]`."""
    count = len(customers.spent)
    actions: dict[str, Actions] = simple_policies(train, customers, price)
    # Patron's own mean of learners stands under another name here: what is chosen is `patron`.
    learners = {("patron_ranking" if name == OURS else name): by for name, by in effects.items()}
    actions |= {name: follow(by_arm, price) for name, by_arm in learners.items()}
    actions[PERSONAL] = follow(effects[choice.personal], price)
    actions[SINGLE] = everybody(choice.single, count)
    actions[OURS] = actions[PERSONAL] if choice.pays else actions[SINGLE]
    policies = {name: certain(chosen, len(ARMS)) for name, chosen in actions.items()}
    policies["random"] = np.full((count, len(ARMS)), 1 / len(ARMS))
    return policies
