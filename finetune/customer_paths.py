"""Customers over time: what each did and was sent, by period.

Time is cut into periods of equal length. The same shape holds a log and what a simulator wrote.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from finetune.contacts import Contact
from finetune.errors import TrainingError
from retrieval.event_log import EventLog

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_CAMPAIGN = "none"

_BY_DAY = """
SELECT customer_id, (epoch_ms(timestamp) - $start) // 86400000 AS day,
       sum(amount)::BIGINT AS spend
FROM events
WHERE kind = 'purchase' AND epoch_ms(timestamp) >= $start AND epoch_ms(timestamp) < $end
GROUP BY ALL ORDER BY customer_id, day
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CustomerPaths:
    """What customers did and were sent, by period; arrays `[customers, periods]` unless said.

    The action of a period is the kind of campaign that started in it: 0 for none, k for
    `kinds[k - 1]`. `kinds` lists the most sent kind first, and where several start at once the
    first listed stands for all: pairs of kinds are too rare to be actions of their own.

    Attributes:
        customer_ids: one a row.
        kinds: of campaigns.
        period_days: length of a period.
        spend: minor units; returns are not subtracted.
        visited: days with a purchase, `[customers, periods * period_days]`.
        action: see above.
        contacts: campaigns that started.
        discount: what the campaigns that started in the period took off in the end, minor units.
        claims: redemptions, in the end, of the campaigns that started in the period.
        redemptions: of campaigns that ended in the period; before, their number is not known.
    """

    customer_ids: tuple[str, ...]
    kinds: tuple[str, ...]
    period_days: int
    spend: Ints
    visited: Flags
    action: Ints
    contacts: Ints
    discount: Ints
    claims: Ints
    redemptions: Ints

    @property
    def periods(self) -> int:
        """How many periods there are."""
        return int(self.spend.shape[1])

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the actions, by their number."""
        return (NO_CAMPAIGN, *self.kinds)

    @property
    def visits(self) -> Ints:
        """Days with a purchase in each period."""
        by_period = self.visited.reshape(len(self.visited), -1, self.period_days)
        return np.asarray(by_period.sum(axis=2, dtype=np.int64))

    def known_at(self, period: int) -> Flags:
        """Who had bought before the period began `[customers]`."""
        return np.asarray(self.visited[:, : period * self.period_days].any(axis=1))

    def of(self, rows: Ints | Flags) -> Self:
        """These customers only; the arrays are copies."""
        chosen = np.arange(len(self.customer_ids))[rows]
        return type(self)(
            customer_ids=tuple(self.customer_ids[row] for row in chosen),
            kinds=self.kinds,
            period_days=self.period_days,
            spend=self.spend[chosen],
            visited=self.visited[chosen],
            action=self.action[chosen],
            contacts=self.contacts[chosen],
            discount=self.discount[chosen],
            claims=self.claims[chosen],
            redemptions=self.redemptions[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Economics:
    """What a period is worth: margin_share x spend - discount - contact_cost x contacts.

    Attributes:
        margin_share: of spend, before the discount.
        contact_cost: of one customer in one campaign, minor units.
    """

    margin_share: float
    contact_cost: int

    def rewards(self, paths: CustomerPaths) -> Floats:
        """Reward of each customer and period, minor units `[customers, periods]`."""
        cost = paths.discount + self.contact_cost * paths.contacts
        return self.margin_share * paths.spend - cost


def cut_into_periods(
    log: EventLog,
    contacts: Sequence[Contact],
    *,
    start: datetime,
    periods: int,
    period_days: int = 28,
) -> CustomerPaths:
    """Cut a log and its campaigns into periods, for all customers who bought in them.

    Args:
        log: the event log.
        contacts: who was sent what; those kept out count as not sent.
        start: when the first period begins, aware.
        periods: how many.
        period_days: length of one, of 24 hours each.

    Raises:
        TrainingError: nobody bought anything in these periods.
    """
    days = periods * period_days
    bounds = {
        "start": round(start.timestamp() * 1000),
        "end": round((start + timedelta(days=days)).timestamp() * 1000),
    }
    lines = log.query(_BY_DAY, bounds)
    if not lines.num_rows:
        raise TrainingError(
            f"Nobody bought anything in the {days} days from {start:%Y-%m-%d}.",
            hint="Give a start within the log.",
        )
    names = lines["customer_id"].to_pylist()
    ids = tuple(dict.fromkeys(names))
    row_of = {customer_id: row for row, customer_id in enumerate(ids)}
    rows = np.array([row_of[name] for name in names])
    day = lines["day"].to_numpy().astype(np.int64)
    visited = np.zeros((len(ids), days), dtype=np.bool_)
    visited[rows, day] = True
    by_period = {
        name: np.zeros((len(ids), periods), dtype=np.int64)
        for name in ("spend", "action", "contacts", "discount", "claims", "redemptions")
    }
    np.add.at(by_period["spend"], (rows, day // period_days), lines["spend"].to_numpy())
    sent = [each for each in contacts if each.treated and each.customer_id in row_of]
    counts = Counter(each.kind for each in sent)
    kinds = tuple(sorted(counts, key=lambda kind: (-counts[kind], kind)))
    length = timedelta(days=period_days)
    for contact in sent:
        row = row_of[contact.customer_id]
        begun, over = (contact.starts - start) // length, (contact.ends - start) // length
        if 0 <= begun < periods:
            number = kinds.index(contact.kind) + 1
            standing = by_period["action"][row, begun]
            by_period["action"][row, begun] = min(standing, number) if standing else number
            by_period["contacts"][row, begun] += 1
            by_period["discount"][row, begun] += contact.discount
            by_period["claims"][row, begun] += contact.redemptions
        if 0 <= over < periods:
            by_period["redemptions"][row, over] += contact.redemptions
    return CustomerPaths(
        customer_ids=ids, kinds=kinds, period_days=period_days, visited=visited, **by_period
    )
