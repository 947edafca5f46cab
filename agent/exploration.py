"""Try a declared share of offers at random, and log how likely each choice was.

Only choices with a known chance let later learning tell what an offer did from whom it went to.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """How much a shop explores.

    Attributes:
        share: of customers in a period, those whose choice is drawn uniformly (epsilon), 0 to 1.
        seed: the shop's own; another seed draws other customers.
        period: such as "2026-11"; a customer's draw is the same throughout it.
    """

    share: float
    seed: str
    period: str

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, not {self.share}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The action taken.

    Attributes:
        offer_id: None for no offer.
        propensity: chance that this action had of being taken, for the log.
        explored: whether it was drawn uniformly; it may be the best one all the same.
        chances: of every action that was open, this one among them.
    """

    offer_id: str | None
    propensity: float
    explored: bool
    chances: Mapping[str | None, float]


def choose(customer_id: str, gains: Mapping[str | None, float], exploration: Exploration) -> Choice:
    """Take the best action, or for the declared share of customers any, each as likely.

    The draw is a hash (BLAKE2) of seed, customer and period: the same question in one period has
    the same answer.

    Args:
        customer_id: whose choice it is.
        gains: expected gain of every offer that passes all rules, and of None, no offer.
        exploration: the shop's.

    Raises:
        ValueError: None is not among the actions, or a gain is not a number.
    """
    chances = propensities(gains, exploration)
    actions = list(chances)
    explore, pick = _draws(customer_id, exploration)
    explored = explore < exploration.share
    action = actions[int(pick * len(actions))] if explored else _best(gains)
    return Choice(offer_id=action, propensity=chances[action], explored=explored, chances=chances)


def propensities(
    gains: Mapping[str | None, float], exploration: Exploration
) -> dict[str | None, float]:
    """Chance of every action: share / number of actions, and 1 - share more for the best one.

    Raises:
        ValueError: as for `choose`.
    """
    if None not in gains:
        raise ValueError("gains must hold None, the action of making no offer")
    for action, gain in gains.items():
        if math.isnan(gain):
            raise ValueError(f"the gain of {action!r} is not a number")
    best = _best(gains)
    even = exploration.share / len(gains)
    return {
        action: even + (1 - exploration.share) * (action == best)
        for action in sorted(gains, key=_order)
    }


def _best(gains: Mapping[str | None, float]) -> str | None:
    return min(gains, key=lambda action: (-gains[action], _order(action)))


def _order(action: str | None) -> tuple[bool, str]:
    """No offer first, so that an offer that gains nothing is not made; then by id."""
    return action is not None, action or ""


def _draws(customer_id: str, exploration: Exploration) -> tuple[float, float]:
    """Two independent numbers in [0, 1)."""
    # JSON keeps the parts apart: ("a", "bc") and ("ab", "c") are different questions.
    question = json.dumps([exploration.seed, exploration.period, customer_id])
    digest = hashlib.blake2b(question.encode(), digest_size=14).digest()
    # 53 of 56 bits: what a float holds exactly, so that 1.0 never comes out.
    first, second = (int.from_bytes(part) >> 3 for part in (digest[:7], digest[7:]))
    return first / 2**53, second / 2**53
