"""What a shop's own offers changed, from decisions that chance had a known part in.

A decision names every action that was open and its chance, so those who came to an offer and those
who came to none differ by a draw whose odds are known. Where both were possible, the two are
compared under the chances that were logged (`finetune.campaign_study.weighted_effect`): inverse
propensities in their overlap form, mended by a regression, so nothing about whom the shop prefers
has to be assumed. It is the effect of having been decided, whether or not the offer was passed on
or taken.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from finetune.campaign_panels import Records
from finetune.campaign_study import FEWEST, weighted_effect
from finetune.sampling_error import TWO_SIDED_95
from finetune.studied_effects import Pooled


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedChoice:
    """One decision of the shop's own, to make an offer to a customer or none.

    Attributes:
        at: the moment it was made for, aware.
        period: in which the customer's draw is one; later decisions of it follow from the first.
        kind: of the offer; None for no offer.
        explored: whether chance alone picked among the open actions.
        chances: of each kind that was open, and of None; empty where they were not logged.
    """

    customer_id: str
    at: datetime
    period: str
    kind: str | None
    explored: bool
    chances: Mapping[str | None, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedEffect:
    """What own decisions say of one kind of offer.

    Attributes:
        offered: decisions for it, where no offer was possible too.
        without: decisions for no offer, where it was possible too.
        explored: how many of both were picked by chance alone.
        effect: on spend in the window, minor units per decision; None with too few.
        low: lower end of its 95% interval.
        high: upper end.
    """

    offered: int
    without: int
    explored: int
    effect: float | None
    low: float | None
    high: float | None

    @property
    def decisions(self) -> int:
        """How many were compared, or could have been were they not too few."""
        return self.offered + self.without

    def pooled(self) -> Pooled | None:
        """The effect as that of campaigns is kept; None with too few decisions."""
        if self.effect is None or self.low is None or self.high is None:
            return None
        return Pooled(
            effect=self.effect, low=self.low, high=self.high, campaigns=0, contacted=self.offered
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDecisions:
    """What the ledger's log of decisions gave to learn from.

    Attributes:
        read: decisions in the log.
        certain: among them, those that could not have come out otherwise or logged no chances.
        repeated: later ones of a customer and period, which follow from the first.
        unfinished: whose window is not over.
        strangers: of customers without an order before.
        kinds: what is left says, by kind.
    """

    read: int
    certain: int
    repeated: int
    unfinished: int
    strangers: int
    kinds: dict[str, DecidedEffect]


def learn_from_decisions(
    choices: Sequence[LoggedChoice], records: Records, *, seed: int = 0
) -> OwnDecisions:
    """Estimate each kind's effect on spend from the shop's own decisions and what came after.

    Only a customer's first decision of a period counts, and only once its window is over.

    Args:
        choices: of the log, oldest first.
        records: orders and contacts of the shop.
        seed: settles folds.
    """
    left_out: Counter[str] = Counter()
    usable: list[LoggedChoice] = []
    seen: set[tuple[str, str]] = set()
    for choice in choices:
        draw = (choice.customer_id, choice.period)
        fault = _why_not(choice, records, repeated=draw in seen)
        seen.add(draw)
        if fault:
            left_out[fault] += 1
        else:
            usable.append(choice)
    kinds = sorted({kind for choice in usable for kind in choice.chances if kind is not None})
    return OwnDecisions(
        read=len(choices),
        certain=left_out["certain"],
        repeated=left_out["repeated"],
        unfinished=left_out["unfinished"],
        strangers=left_out["strangers"],
        kinds={kind: _effect_of(kind, usable, records, seed) for kind in kinds},
    )


def _why_not(choice: LoggedChoice, records: Records, *, repeated: bool) -> str:
    """Why a decision cannot be learnt from; "" where it can."""
    # A period's first decision stands even where it taught nothing: the next one follows from it.
    if repeated:
        return "repeated"
    if sum(chance > 0 for chance in choice.chances.values()) < 2:
        return "certain"
    if choice.at + records.window > records.ends:
        return "unfinished"
    return "" if records.knows(choice.customer_id, choice.at) else "strangers"


def _effect_of(
    kind: str, usable: Sequence[LoggedChoice], records: Records, seed: int
) -> DecidedEffect:
    compared = [
        choice
        for choice in usable
        if choice.kind in (kind, None)
        and choice.chances.get(kind, 0.0) > 0
        and choice.chances.get(None, 0.0) > 0
    ]
    offered = np.array([choice.kind == kind for choice in compared], dtype=bool)
    effect = low = high = None
    if min(offered.sum(), (~offered).sum()) >= FEWEST:
        effect, margin = _compare(kind, compared, offered, records, seed)
        low, high = effect - margin, effect + margin
    return DecidedEffect(
        offered=int(offered.sum()),
        without=int((~offered).sum()),
        explored=sum(choice.explored for choice in compared),
        effect=effect,
        low=low,
        high=high,
    )


def _compare(
    kind: str,
    compared: Sequence[LoggedChoice],
    offered: np.ndarray,
    records: Records,
    seed: int,
) -> tuple[float, float]:
    """The effect and half of its interval's width; a customer decided for twice counts as one."""
    # Given that it came to the offer or to none, this is the chance that it came to the offer.
    chances = np.array(
        [each.chances[kind] / (each.chances[kind] + each.chances[None]) for each in compared]
    )
    features, spend = records.at_moments([(each.customer_id, each.at) for each in compared], kind)
    effect, influence = weighted_effect(features, offered, spend, chances, seed)
    errors: Counter[str] = Counter()
    for each, part in zip(compared, influence, strict=True):
        errors[each.customer_id] += part / len(compared)
    return effect, TWO_SIDED_95 * float(np.sqrt(sum(error**2 for error in errors.values())))
