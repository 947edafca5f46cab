"""What the rules may know of the ledger, for one customer at one moment."""

import sqlite3
from collections import Counter, defaultdict
from datetime import datetime

from agent.ledger_schema import as_text
from agent.offers import LedgerView, RunningClaim

_OVER = "state IN ('reserved', 'claimed') AND expires <= :as_of"


def read_view(connection: sqlite3.Connection, customer_id: str, as_of: datetime) -> LedgerView:
    """The view of one state of the file.

    Claims whose time is over do not count, although nobody has booked their end yet: the next
    reservation or claim of their offer does.
    """
    wanted = {"as_of": as_text(as_of), "customer_id": customer_id}

    def by_offer(select: str) -> Counter[str]:
        return Counter(dict(connection.execute(select, wanted)))

    spent = by_offer("SELECT offer_id, spent FROM budgets")
    spent.subtract(
        by_offer(f"SELECT offer_id, sum(held) FROM claims WHERE {_OVER} GROUP BY offer_id")
    )
    period_spent = by_offer(
        "SELECT offer_id, spent FROM periods WHERE starts <= :as_of AND ends > :as_of"
    )
    period_spent.subtract(
        by_offer(
            "SELECT offer_id, sum(held) FROM claims JOIN periods USING (offer_id) "
            f"WHERE {_OVER} AND starts <= :as_of AND ends > :as_of "
            "AND claimed_at >= starts AND claimed_at < ends GROUP BY offer_id"
        )
    )
    codes_left = by_offer(
        "SELECT offer_id, count(*) FROM codes WHERE claim_id IS NULL GROUP BY offer_id"
    )
    codes_left.update(
        by_offer(
            "SELECT codes.offer_id, count(*) FROM claims JOIN codes USING (claim_id) "
            f"WHERE {_OVER} GROUP BY codes.offer_id"
        )
    )
    return LedgerView(
        claims=_claims(connection, wanted),
        running=_running(connection, wanted),
        spent=dict(spent),
        period_spent=dict(period_spent),
        codes_left=dict(codes_left),
    )


def _claims(
    connection: sqlite3.Connection, wanted: dict[str, str]
) -> dict[str, tuple[datetime, ...]]:
    moments: defaultdict[str, list[datetime]] = defaultdict(list)
    for offer_id, claimed_at in connection.execute(
        "SELECT offer_id, claimed_at FROM claims WHERE customer_id = :customer_id "
        f"AND state NOT IN ('expired', 'reversed') AND NOT ({_OVER}) ORDER BY claimed_at",
        wanted,
    ):
        moments[offer_id].append(datetime.fromisoformat(claimed_at))
    return {offer_id: tuple(each) for offer_id, each in moments.items()}


def _running(connection: sqlite3.Connection, wanted: dict[str, str]) -> tuple[RunningClaim, ...]:
    rows = connection.execute(
        "SELECT offer_id, exclusive_group, stackable, expires FROM claims "
        "WHERE customer_id = :customer_id AND state IN ('reserved', 'claimed') "
        "AND expires > :as_of ORDER BY claimed_at, claim_id",
        wanted,
    )
    return tuple(
        RunningClaim(
            offer_id=offer_id,
            exclusive_group=exclusive_group,
            stackable=bool(stackable),
            until=datetime.fromisoformat(expires),
        )
        for offer_id, exclusive_group, stackable, expires in rows
    )
