"""Spend of customers by day, read from the log once, and sums of it around any day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from agent.experiments import Metric
from agent.sequential_intervals import Floats
from retrieval.shop import Shop

# A date taken from a moment is the shop's own.
_BY_DAY = """
SELECT customer_id, timestamp::DATE AS day, sum(amount)::DOUBLE AS spend FROM events
WHERE kind = 'purchase' AND day < $before GROUP BY ALL
"""

Days = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """A metric of customers, in their order: minor units, or 0 and 1.

    Attributes:
        after: `[n]`, over the horizon from the day of entry.
        before: `[n]`, over as many days before that day.
    """

    after: Floats
    before: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySpend:
    """Purchases of customers by day, one row a customer and day with an order.

    Attributes:
        places: of each customer in what follows, by id.
        place: `[rows]`, whose.
        day: `[rows]`, as `date.toordinal` numbers it, in the shop's time zone.
        spend: `[rows]`, minor units.
    """

    places: dict[str, int]
    place: NDArray[np.int64]
    day: Days
    spend: Floats

    def known_before(self, day: date) -> frozenset[str]:
        """Customers with an order before a day."""
        known = set(self.place[self.day < day.toordinal()].tolist())
        return frozenset(each for each, place in self.places.items() if place in known)

    def values(
        self, customer_ids: Sequence[str], entries: Days, horizon_days: int, metric: Metric
    ) -> Values:
        """A metric of customers over the horizon after each one's entry and over that before it.

        Args:
            customer_ids: `[n]`, each with an order.
            entries: `[n]`, days as `date.toordinal` numbers them; the day itself is after.
            horizon_days: length of either time.
            metric: what is counted.
        """
        places = np.array([self.places[each] for each in customer_ids], dtype=np.int64)
        far = np.iinfo(np.int64).max // 2
        entry = np.full(len(self.places), far)
        entry[places] = entries
        since = self.day - entry[self.place]
        after = self._sums((since >= 0) & (since < horizon_days), metric)
        before = self._sums((since < 0) & (since >= -horizon_days), metric)
        return Values(after=after[places], before=before[places])

    def _sums(self, rows: NDArray[np.bool_], metric: Metric) -> Floats:
        count = len(self.places)
        if metric is Metric.RETURNED:
            return (np.bincount(self.place[rows], minlength=count) > 0).astype(np.float64)
        sums = np.bincount(self.place[rows], weights=self.spend[rows], minlength=count)
        return sums.astype(np.float64)


def read_daily_spend(shop: Shop, before: date) -> DailySpend:
    """Read all purchases before a day of the shop's time zone."""
    rows = shop.log.query(_BY_DAY, {"before": before})
    customers = rows["customer_id"].combine_chunks().dictionary_encode()
    days = rows["day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    return DailySpend(
        places={each: place for place, each in enumerate(customers.dictionary.to_pylist())},
        place=customers.indices.to_numpy().astype(np.int64),
        day=days + date(1970, 1, 1).toordinal(),
        spend=rows["spend"].to_numpy(),
    )
