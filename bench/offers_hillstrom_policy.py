"""Whom to send which e-mail: policies of three actions, and what each earns on the other half.

A policy made of effects sends the e-mail with the highest expected profit, margin * effect on spend
minus the cost of a message, or none where neither is above 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.offers_hillstrom_data import ARMS
from bench.offers_hillstrom_systems import Views
from finetune.calibration import Floats
from finetune.off_policy import (
    LoggedActions,
    PolicyValue,
    certain,
    difference,
    doubly_robust,
    ips,
    snips,
)
from finetune.uplift import Flags, chances, ridge

Actions = NDArray[np.intp]

_SENT_TO = 0.5  # by risk and by value: the half that stands first


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a sale leaves and a message costs.

    Attributes:
        margin: share of spend that is left.
        message_cents: what one message costs, cents.
    """

    margin: float
    message_cents: int

    def profit(self, spend: Floats, sent: Flags) -> Floats:
        """Dollars left of spend in dollars, after the message."""
        return np.asarray(self.margin * spend - self.message_cents / 100 * sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Customers, what a coin sent them, and what they spent.

    Attributes:
        views: of the customers.
        actions: index into `ARMS` `[n]`.
        visits: 0 or 1 `[n]`.
        spend: dollars `[n]`.
    """

    views: Views
    actions: Actions
    visits: Floats
    spend: Floats

    def of(self, chosen: NDArray[np.intp]) -> "Log":
        """The same of some customers."""
        return Log(
            views=self.views.of(chosen),
            actions=self.actions[chosen],
            visits=self.visits[chosen],
            spend=self.spend[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a policy earns per customer, dollars.

    Attributes:
        spend: by estimator: ips, snips, dr.
        profit: after cost, by the doubly robust estimator.
        messages: share of customers sent one.
    """

    spend: dict[str, PolicyValue]
    profit: PolicyValue
    messages: float


def follow(effects: Mapping[str, Floats], price: Price) -> Actions:
    """The policy of effects on spend, by e-mail `[n]` each."""
    gains = [price.profit(effects[arm], np.array(True)) for arm in ARMS[1:]]
    return np.argmax(np.column_stack([np.zeros(len(gains[0])), *gains]), axis=1)


def everybody(arm: str, count: int) -> Actions:
    """The same for each."""
    return np.full(count, ARMS.index(arm), dtype=np.intp)


def simple_policies(train: Log, customers: Views, price: Price) -> dict[str, Actions]:
    """One e-mail for all, and targeting by risk, by value and by category, settled on `train`.

    By risk, the half likeliest not to visit without an e-mail is sent the better of the two; by
    value, the half that spent most. By category, each is sent that of the department bought from,
    and the better of the two after buying from both.
    """
    count = len(customers.spent)
    better = better_arm(train, price)
    unsent = train.actions == 0
    visits = chances()
    visits.fit(train.views.rfm[unsent], train.visits[unsent])
    bought_men, bought_women = customers.bought.astype(bool).T
    by_category = np.where(bought_men, ARMS.index("men"), ARMS.index("women"))
    return {
        "never": everybody("none", count),
        "always_men": everybody("men", count),
        "always_women": everybody("women", count),
        "by_risk": _first_half(-visits.predict(customers.rfm), better),
        "by_value": _first_half(customers.spent, better),
        "by_category": np.where(bought_men & bought_women, better, by_category),
    }


def better_arm(log: Log, price: Price) -> int:
    """Index of the e-mail with the higher mean profit in a log."""
    means = [
        price.profit(log.spend[log.actions == arm], np.array(True)).mean()
        for arm in range(1, len(ARMS))
    ]
    return 1 + int(np.argmax(means))


def expected_spend(train: Log, customers: Views) -> Floats:
    """Spend that ridge regression expects after each action `[n, actions]`."""
    columns = []
    for arm in range(len(ARMS)):
        model = ridge()
        chosen = train.actions == arm
        model.fit(train.views.rfm[chosen], train.spend[chosen])
        columns.append(model.predict(customers.rfm))
    return np.column_stack(columns)


def judge(log: Log, expected: Floats, policy: Floats, price: Price) -> Judged:
    """What a policy earns on a log whose coin gave each action the same chance.

    Args:
        log: customers that the policy was not learnt from.
        expected: spend that a model, not learnt from them either, expects `[n, actions]`.
        policy: chances `[n, actions]`.
        price: for the profit.
    """
    coin = np.full((len(log.actions), len(ARMS)), 1 / len(ARMS))
    spends = LoggedActions(actions=log.actions, rewards=log.spend, propensities=coin)
    profits = LoggedActions(
        actions=log.actions,
        rewards=price.profit(log.spend, log.actions > 0),
        propensities=coin,
    )
    sent = np.array([False, True, True])
    return Judged(
        spend={
            "ips": ips(spends, policy),
            "snips": snips(spends, policy),
            "dr": doubly_robust(spends, policy, expected),
        },
        profit=doubly_robust(profits, policy, price.profit(expected, sent)),
        messages=float(policy[:, 1:].sum(axis=1).mean()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the training half decided.

    Attributes:
        single: the best one action for everybody.
        personal: the learner whose policy was worth most on one part of the half.
        pays: whether its interval over the single one lies above 0 on the other part. The part that
            it was picked on would flatter it, as the luckiest of many.
    """

    single: str
    personal: str
    pays: bool


def choose_policy(
    log: Log,
    expected: Floats,
    cross_fitted: Mapping[str, Mapping[str, Floats]],
    price: Price,
    seed: int,
) -> Choice:
    """Choose by cross-fitted profit within the training half.

    The one action is picked on all of the half, which flatters it if anything, and the learner on
    one part; whether the learner pays is read from the other part.

    Args:
        log: the training half.
        expected: cross-fitted expected spend `[n, actions]`.
        cross_fitted: by learner and e-mail, effects on spend guessed from other folds.
        price: for the profit.
        seed: parts the half.
    """
    count = len(log.actions)
    picking, judging = parts_of(count, seed)

    def worth(actions: Actions, among: NDArray[np.intp]) -> PolicyValue:
        policy = certain(actions[among], len(ARMS))
        return judge(log.of(among), expected[among], policy, price).profit

    singles = {arm: worth(everybody(arm, count), np.arange(count)).value for arm in ARMS}
    personals = {name: follow(effects, price) for name, effects in cross_fitted.items()}
    single = max(singles, key=singles.__getitem__)
    picked = {name: worth(actions, picking).value for name, actions in personals.items()}
    personal = max(picked, key=picked.__getitem__)
    _, low, _ = difference(
        worth(personals[personal], judging), worth(everybody(single, count), judging)
    )
    return Choice(single=single, personal=personal, pays=low > 0)


def parts_of(count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Customers, by number, that a learner is picked on, and those it is judged on."""
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])


def _first_half(scores: Floats, arm: int) -> Actions:
    actions = np.zeros(len(scores), dtype=np.intp)
    actions[np.argsort(-scores, kind="stable")[: int(_SENT_TO * len(scores))]] = arm
    return actions
