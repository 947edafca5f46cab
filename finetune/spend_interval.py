"""Intervals around expected spend: of one customer, and of a group's total.

One customer's interval is split conformal (Vovk et al., 2005), by groups of similar expected spend:
what share of the expected the validation customers of the group really spent. For customers who
are exchangeable with those it covers at least the declared share, whatever the model. Customers of
another season are not exchangeable, so the ends are moved apart by what the shop as a whole may
move. The total's interval adds up what customers do on their own, what the validation customers
leave open, and the season.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from finetune.calibration import Floats
from finetune.season import Season, Seasons

COVERAGE = 0.8
_SMALLEST_GROUP = 50
_MOST_GROUPS = 10
_MOST_SHARES = 400
_MOVES = 41
_DRAWS = 4_000
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendGroup:
    """Customers of similar expected spend.

    Attributes:
        up_to: expected spend (minor units) up to which it reaches; None for the last.
        customers: validation customers it was learnt from.
        shares: of the expected, that they spent: sorted, every so many-th where there are many.
        variance: of those shares.
    """

    up_to: float | None
    customers: int
    shares: tuple[float, ...]
    variance: float

    def ends(self, coverage: float, spread: float, freedom: float) -> tuple[float, float]:
        """Ends of the interval as shares of the expected.

        By rank among the group's customers and one more, the customer to come; then, if that is
        wider, of their shares times what the shop as a whole may move.

        Args:
            coverage: share of customers that shall lie inside.
            spread: of the shop's movement, as a logarithm.
            freedom: degrees of freedom of the t distribution it moves by.
        """
        places, tail = self.customers + 1, (1 - coverage) / 2
        above = _rank(places, 1 - tail)
        known, moved = np.array(self.shares), np.array(self.shares)
        if spread > 0:
            moves = np.exp(spread * student_t.ppf((np.arange(_MOVES) + 0.5) / _MOVES, freedom))
            moved = np.sort(np.outer(known, moves).ravel())

        def at(rank: int) -> tuple[float, float]:
            share = rank / self.customers
            return _at(known, share), _at(moved, share)

        below = at(places - above)
        if below[0] <= 0:
            # Nobody can lie below nothing; the whole share outside goes above.
            return 0.0, max(at(_rank(places, coverage)))
        return min(below), max(at(above))


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Expected spend of a group together and its interval, minor units."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendInterval:
    """Turns expected spend into intervals.

    Attributes:
        coverage: share of customers, and of totals, that shall lie inside.
        groups: by expected spend, lowest first.
        total_error: standard deviation of the validation customers' total over their expected, by
            bootstrap: how well the level of all is known.
        seasons: tells the season at a cut-off.
    """

    coverage: float
    groups: tuple[SpendGroup, ...]
    total_error: float
    seasons: Seasons

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "SpendInterval":
        """Read what `dataclasses.asdict` made of one."""
        return cls(
            coverage=document["coverage"],
            groups=tuple(
                SpendGroup(**{**group, "shares": tuple(group["shares"])})
                for group in document["groups"]
            ),
            total_error=document["total_error"],
            seasons=Seasons.from_json(document["seasons"]),
        )

    def around(self, expected: Floats, season: Season) -> tuple[Floats, Floats]:
        """Low and high ends `[n]` for customers, minor units.

        The expected spend itself always lies inside: where four of five buy nothing, the mean is
        above what most will spend.

        Args:
            expected: spend without the season `[n]`, minor units.
            season: corrects the ends where it is known, and moves them apart.
        """
        group = self._group_of(expected)
        ends = np.array(
            [g.ends(self.coverage, season.spread, season.freedom) for g in self.groups]
        )[group]
        low = np.minimum(ends[:, 0], 1.0) * expected
        high = np.maximum(ends[:, 1], 1.0) * expected
        return season.factor * low, season.factor * high

    def sums(self, expected: Floats) -> Floats:
        """What `total` needs of customers: sum of expected spend and its variance `[2]`.

        Sums of parts may be added, so a shop of any size needs no more memory.
        """
        variance = np.array([member.variance for member in self.groups])[self._group_of(expected)]
        return np.array([expected.sum(), (variance * expected**2).sum()])

    def total(self, sums: Floats, season: Season) -> Total:
        """The interval of a total.

        Args:
            sums: of `sums`, of expected spend without the season.
            season: corrects the total where known, and widens it by what the shop may still move.
        """
        expected, variance = (float(value) for value in sums)
        random = np.random.default_rng(_SEED)
        own = np.sqrt(variance) * random.standard_normal(_DRAWS)
        level = 1 + self.total_error * random.standard_normal(_DRAWS)
        move = np.exp(season.spread * random.standard_t(season.freedom, _DRAWS))
        drawn = season.factor * np.maximum(expected * level + own, 0.0) * move
        low, high = np.quantile(drawn, ((1 - self.coverage) / 2, (1 + self.coverage) / 2))
        return Total(expected=season.factor * expected, low=float(low), high=float(high))

    def _group_of(self, expected: Floats) -> Any:
        edges = [group.up_to for group in self.groups if group.up_to is not None]
        return np.searchsorted(edges, expected, side="left")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenSpend:
    """One customer's expected spend as it is told, minor units.

    Attributes:
        expected: its season corrected where that is known.
        low: low end of the interval; None without intervals, as all that follows.
        high: high end.
        coverage: share of customers whose spend lies in their interval.
        season: what is known of it, in words.
    """

    expected: int
    low: int | None = None
    high: int | None = None
    coverage: float | None = None
    season: str | None = None


def foresee_spend(
    interval: SpendInterval | None, spend: Floats, moments: Sequence[datetime]
) -> list[ForeseenSpend]:
    """Expected spend with interval and season.

    Args:
        interval: None in adapters made without.
        spend: the predictor's answers `[n]`, minor units.
        moments: as of which each was asked.
    """
    if interval is None:
        return [ForeseenSpend(expected=round(float(amount))) for amount in spend]
    found: list[ForeseenSpend | None] = [None] * len(spend)
    for moment in set(moments):
        season = interval.seasons.at(moment)
        those = [index for index, other in enumerate(moments) if other == moment]
        lows, highs = interval.around(spend[those], season)
        for index, low, high in zip(those, lows, highs, strict=True):
            found[index] = ForeseenSpend(
                expected=round(season.factor * float(spend[index])),
                low=math.floor(low),
                high=math.ceil(high),
                coverage=interval.coverage,
                season=season.text,
            )
    return [one for one in found if one is not None]


def fewest_customers(coverage: float = COVERAGE) -> int:
    """How few customers an interval can be learnt from: fewer leave a tail without any."""
    return int(np.ceil(round((1 + coverage) / (1 - coverage), 9)))


def fit_spend_interval(
    expected: Floats, spends: Sequence[float], seasons: Seasons, *, coverage: float = COVERAGE
) -> SpendInterval | None:
    """Fit on customers that the predictor has not learnt from.

    Args:
        expected: the predictor's answers about them `[n]`, minor units.
        spends: what they spent, minor units.
        seasons: of the shop.
        coverage: share that shall lie inside.

    Returns:
        The intervals; None with fewer customers than `fewest_customers` names.
    """
    actual = np.asarray(spends, dtype=np.float64)
    fewest = fewest_customers(coverage)
    if len(actual) < fewest:
        return None
    expected = np.maximum(expected, 1.0)  # a share of nothing cannot be told
    count = int(np.clip(len(actual) // _SMALLEST_GROUP, 1, _MOST_GROUPS))
    # Equal expectations must not be torn apart, for then a new customer's group is not told.
    edges = np.unique(np.quantile(expected, np.arange(1, count) / count, method="lower"))
    group = np.searchsorted(edges, expected, side="left")
    while len(edges) and np.bincount(group, minlength=len(edges) + 1).min() < fewest:
        smallest = int(np.bincount(group, minlength=len(edges) + 1).argmin())
        edges = np.delete(edges, min(smallest, len(edges) - 1))
        group = np.searchsorted(edges, expected, side="left")
    bounds: list[float | None] = [*(float(edge) for edge in edges), None]
    return SpendInterval(
        coverage=coverage,
        groups=tuple(
            _group(actual[group == number] / expected[group == number], bound)
            for number, bound in enumerate(bounds)
        ),
        total_error=_total_error(expected, actual),
        seasons=seasons,
    )


def _group(shares: Floats, up_to: float | None) -> SpendGroup:
    kept = np.sort(shares)
    if len(kept) > _MOST_SHARES:
        kept = np.quantile(
            kept, np.arange(1, _MOST_SHARES + 1) / _MOST_SHARES, method="inverted_cdf"
        )
    return SpendGroup(
        up_to=up_to,
        customers=len(shares),
        shares=tuple(float(share) for share in kept),
        variance=float(shares.var(ddof=1)),
    )


def _at(ordered: Floats, share: float) -> float:
    """The value that this share of the sorted values does not exceed."""
    return float(ordered[min(_rank(len(ordered), share), len(ordered)) - 1])


def _rank(places: int, share: float) -> int:
    # Rounded first, for 0.9 * 10 must not become the tenth place for a digit's sake.
    return int(np.ceil(round(places * share, 9)))


def _total_error(expected: Floats, actual: Floats) -> float:
    random = np.random.default_rng(_SEED)
    drawn = random.integers(len(actual), size=(500, len(actual)))
    return float(np.std(actual[drawn].sum(axis=1) / expected[drawn].sum(axis=1)))
