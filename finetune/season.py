"""The season: how far the coming weeks differ from the weeks that a predictor learnt from.

A predictor learns from the outcomes of one stretch of the year. Where the log reaches back far
enough, the prior is asked about the same weeks of last year: what customers then spent, over what
it expected of them, corrects what it expects now. Where it does not, the season is unknown, and
how far the shop's total moved between horizons so far tells how far it may move again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from finetune.prior import Prior
from retrieval.event_log import EventLog
from retrieval.events import CUSTOMER_ID, KIND, TIMESTAMP, Kind
from retrieval.orders import read_pasts
from retrieval.outcomes import spend_between

_YEAR = timedelta(days=364)  # whole weeks, so that weekdays meet
_TENTH = 1.2816  # a normal distribution has a tenth of its mass beyond so many deviations
# What is assumed of a shop before it is seen: from one horizon to the next, four of five totals
# stay within a factor of 1.5 (gift and department stores sell about half as much again in their
# best quarter as in their worst), and within 1.2 of the same weeks a year before.
UNKNOWN_SPREAD = float(np.log(1.5)) / _TENTH
_KNOWN_SPREAD = float(np.log(1.2)) / _TENTH
_ASSUMED_CHANGES = 3  # what is assumed counts as so many changes seen
# The customers of a young log are its keenest, and spend more than their short pasts foretell.
_HORIZONS_BEFORE_A_CHANGE = 1
_HORIZONS_BEFORE_A_SEASON = 2
_MOST_CUSTOMERS = 2_000
_MOST_CUTOFFS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Backcast:
    """A horizon of the past, foreseen by a prior that learnt later.

    Attributes:
        cutoff: ISO moment at which it begins.
        customers: how many, drawn from all with an order before it.
        expected: what the prior expects of them, minor units.
        actual: what they spent, minor units.
    """

    cutoff: str
    customers: int
    expected: float
    actual: float

    @property
    def moment(self) -> datetime:
        """When it begins."""
        return datetime.fromisoformat(self.cutoff)

    @property
    def log_ratio(self) -> float:
        """How much more was spent than expected, as a logarithm."""
        return float(np.log(self.actual / self.expected))


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """What is known of the season at one cut-off.

    Attributes:
        known: whether the same weeks of last year were seen.
        factor: by which expected spend is multiplied; 1 where the season is unknown.
        spread: standard deviation of what the shop's total may still move by, as a logarithm.
        freedom: degrees of freedom of the t distribution it moves by.
        text: "known: ..." or "unknown: ...", with the reason.
    """

    known: bool
    factor: float
    spread: float
    freedom: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seasons:
    """What a shop's past horizons tell of its seasons.

    Attributes:
        first_event: ISO moment of the log's first purchase.
        horizon_days: length of a horizon.
        backcasts: a third of a horizon apart, the oldest first.
    """

    first_event: str
    horizon_days: int
    backcasts: tuple[Backcast, ...]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Seasons":
        """Read what `dataclasses.asdict` made of one."""
        return cls(
            first_event=document["first_event"],
            horizon_days=document["horizon_days"],
            backcasts=tuple(Backcast(**backcast) for backcast in document["backcasts"]),
        )

    def at(self, cutoff: datetime) -> Season:
        """What is known of the season of the horizon after a cut-off."""
        before = cutoff - datetime.fromisoformat(self.first_event)
        needed = _YEAR + _HORIZONS_BEFORE_A_SEASON * self._horizon
        if before < needed:
            return self._unknown(
                f"the log holds only {before.days} days before the cut-off "
                f"({needed.days} are needed)"
            )
        log_ratio = self._last_year(cutoff)
        if log_ratio is None:
            return self._unknown("the adapter was fitted before these weeks of last year were over")
        factor = float(np.exp(log_ratio))
        spread, freedom = _spread(self._changes_over_years(), _KNOWN_SPREAD)
        return Season(
            known=True,
            factor=factor,
            spread=spread,
            freedom=freedom,
            text=f"known: in the same weeks of last year customers spent {factor:.2f} times what "
            "is expected without the season",
        )

    @property
    def _horizon(self) -> timedelta:
        return timedelta(days=self.horizon_days)

    def _unknown(self, why: str) -> Season:
        spread, freedom = _spread(self._changes_over_horizons(), UNKNOWN_SPREAD)
        return Season(
            known=False, factor=1.0, spread=spread, freedom=freedom, text=f"unknown: {why}"
        )

    def _last_year(self, cutoff: datetime) -> float | None:
        """Log ratio of the same weeks a year before, between the two backcasts around them."""
        wanted = cutoff - _YEAR
        trusted = datetime.fromisoformat(self.first_event) + (
            _HORIZONS_BEFORE_A_SEASON * self._horizon
        )
        usable = [
            backcast
            for backcast in self.backcasts
            # A third of a horizon of tolerance on the old side keeps both neighbours in.
            if backcast.moment >= trusted - self._horizon / 3
            and backcast.moment + self._horizon <= cutoff
        ]
        earlier = [backcast for backcast in usable if backcast.moment <= wanted]
        later = [backcast for backcast in usable if backcast.moment > wanted]
        step = self._horizon / 3
        if earlier and later:
            left, right = earlier[-1], later[0]
            share = (wanted - left.moment) / (right.moment - left.moment)
            return (1 - share) * left.log_ratio + share * right.log_ratio
        nearest = min(usable, key=lambda b: abs(b.moment - wanted), default=None)
        if nearest is None or abs(nearest.moment - wanted) > step / 2:
            return None
        return nearest.log_ratio

    def _changes_over_horizons(self) -> list[float]:
        """Change of the log ratio from each horizon to the next, none overlapping."""
        apart = self.backcasts[::-1][::3]
        return [newer.log_ratio - older.log_ratio for newer, older in pairwise(apart)]

    def _changes_over_years(self) -> list[float]:
        """Change of the log ratio from a horizon to the same weeks a year later."""
        changes = []
        for backcast in self.backcasts[::-1][::3]:
            before = self._last_year(backcast.moment)
            if before is not None:
                changes.append(backcast.log_ratio - before)
        return changes


def read_seasons(
    log: EventLog,
    prior: Prior,
    *,
    newest: datetime,
    first_event: datetime,
) -> Seasons:
    """Ask the prior about past horizons and compare with what was spent.

    Args:
        log: the event log.
        prior: fitted; its horizon is taken.
        newest: cut-off of the newest horizon that may be looked at, as a rule the training
            cut-off; older ones lie thirds of a horizon before it.
        first_event: moment of the log's first purchase.
    """
    horizon = timedelta(days=prior.horizon_days)
    oldest = first_event + _HORIZONS_BEFORE_A_CHANGE * horizon
    cutoffs = [newest - step * horizon / 3 for step in range(_MOST_CUTOFFS)]
    backcasts = [
        backcast
        for cutoff in reversed(cutoffs)
        if cutoff >= oldest and (backcast := _backcast(log, prior, cutoff, horizon)) is not None
    ]
    return Seasons(
        first_event=first_event.isoformat(),
        horizon_days=prior.horizon_days,
        backcasts=tuple(backcasts),
    )


def _backcast(log: EventLog, prior: Prior, cutoff: datetime, horizon: timedelta) -> Backcast | None:
    """None where the shop stood still, of which no ratio can be told."""
    pasts = list(read_pasts(log, cutoff, drawn_customers(log, cutoff)))
    after = spend_between(log, cutoff, cutoff + horizon)
    expected = float(prior.answers(pasts).spend.sum()) if pasts else 0.0
    actual = float(sum(after.get(past.customer_id, 0) for past in pasts))
    if expected <= 0 or actual <= 0:
        return None
    return Backcast(
        cutoff=cutoff.isoformat(), customers=len(pasts), expected=expected, actual=actual
    )


def drawn_customers(log: EventLog, cutoff: datetime) -> Sequence[str]:
    """Customers with an order before a moment; of many, those whose ids hash lowest."""
    ids: list[str] = log.query(
        f"SELECT DISTINCT {CUSTOMER_ID} FROM events "
        f"WHERE {KIND} = '{Kind.PURCHASE}' AND {TIMESTAMP} < $cutoff",
        {"cutoff": cutoff},
    )[CUSTOMER_ID].to_pylist()
    if len(ids) <= _MOST_CUSTOMERS:
        return ids
    return sorted(ids, key=lambda name: hashlib.sha256(name.encode()).digest())[:_MOST_CUSTOMERS]


def _spread(changes: Sequence[float], assumed: float) -> tuple[float, float]:
    """Scale and degrees of freedom of the next change, from those seen and what is assumed."""
    freedom = _ASSUMED_CHANGES + len(changes)
    squares = _ASSUMED_CHANGES * assumed**2 + sum(change**2 for change in changes)
    return float(np.sqrt(squares / freedom)), float(freedom)
