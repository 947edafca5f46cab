"""What went wrong in a ledger, counted from its file by SQL of its own, without asking Patron."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an offer allows.

    Attributes:
        budget: minor units.
        cap: claims of one customer.
        has_codes: whether each claim takes a code.
    """

    budget: int
    cap: int
    has_codes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A claim that a process was told it has."""

    key: str
    claim_id: str
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What must be 0 or true.

    Attributes:
        overspend: minor units above the budgets.
        cap_breaches: claims above the caps.
        double_codes: codes given more than once, and claims without the code they need.
        balanced: whether counters, log of money, claims, audit and replies agree.
        lost: acknowledged claims that the file does not have.
    """

    overspend: int
    cap_breaches: int
    double_codes: int
    balanced: bool
    lost: int


def count_breaches(
    path: Path, terms: Mapping[str, Terms], acknowledged: Collection[Acknowledged]
) -> Counts:
    """Read a ledger's file beside what its callers were told.

    Args:
        path: the file; no process may be writing it.
        terms: every offer of it.
        acknowledged: every claim that was answered.
    """
    with closing(sqlite3.connect(path)) as connection:
        return Counts(
            overspend=sum(_overspend(connection, name, each) for name, each in terms.items()),
            cap_breaches=sum(_cap_breaches(connection, name, each) for name, each in terms.items()),
            double_codes=_double_codes(connection, terms, acknowledged),
            balanced=is_balanced(connection),
            lost=_lost(connection, acknowledged),
        )


_LIVE = "state IN ('reserved', 'claimed', 'redeemed')"

# Each must give no row.
_IMBALANCES = (
    """SELECT offer_id FROM budgets WHERE spent <>
    (SELECT total(amount) FROM entries WHERE entries.offer_id = budgets.offer_id)""",
    """SELECT offer_id FROM budgets WHERE spent <>
    (SELECT total(held + discount) FROM claims WHERE claims.offer_id = budgets.offer_id)""",
    """SELECT offer_id FROM periods WHERE spent <>
    (SELECT total(held + discount) FROM claims WHERE claims.offer_id = periods.offer_id
    AND claimed_at >= starts AND claimed_at < ends)""",
    """SELECT claim_id FROM claims WHERE held + discount <>
    (SELECT total(amount) FROM entries WHERE entries.claim_id = claims.claim_id)""",
    """SELECT claim_id FROM claims WHERE 1 <>
    (SELECT count(*) FROM entries WHERE entries.claim_id = claims.claim_id AND what = 'hold')""",
    """SELECT claim_id FROM claims EXCEPT SELECT reply ->> 'claim_id' FROM replies""",
    """SELECT reply ->> 'claim_id' FROM replies EXCEPT SELECT claim_id FROM claims""",
    """SELECT idempotency_key FROM replies EXCEPT
    SELECT details ->> 'idempotency_key' FROM audit WHERE what NOT LIKE 'refused %'""",
    """SELECT details ->> 'idempotency_key' FROM audit WHERE details ->> 'reply' IS NOT NULL
    EXCEPT SELECT idempotency_key FROM replies""",
    "SELECT 1 FROM pragma_foreign_key_check",
    "SELECT 1 FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
)


def is_balanced(connection: sqlite3.Connection) -> bool:
    """Whether everything that the file says twice agrees, and the file itself is whole."""
    return all(connection.execute(select).fetchone() is None for select in _IMBALANCES)


def _overspend(connection: sqlite3.Connection, offer_id: str, terms: Terms) -> int:
    spent: int = connection.execute(
        f"SELECT coalesce(sum(held + discount), 0) FROM claims WHERE offer_id = ? AND {_LIVE}",
        (offer_id,),
    ).fetchone()[0]
    return max(0, spent - terms.budget)


def _cap_breaches(connection: sqlite3.Connection, offer_id: str, terms: Terms) -> int:
    above: int = connection.execute(
        "SELECT coalesce(sum(claims - ?2), 0) FROM (SELECT count(*) AS claims FROM claims "
        f"WHERE offer_id = ?1 AND {_LIVE} GROUP BY customer_id) WHERE claims > ?2",
        (offer_id, terms.cap),
    ).fetchone()[0]
    return above


def _double_codes(
    connection: sqlite3.Connection,
    terms: Mapping[str, Terms],
    acknowledged: Collection[Acknowledged],
) -> int:
    live = {row[0] for row in connection.execute(f"SELECT claim_id FROM claims WHERE {_LIVE}")}
    # A code that was given back may be given again; the same claim may be told of it twice.
    told = {(x.claim_id, x.code) for x in acknowledged if x.code is not None and x.claim_id in live}
    times = Counter(code for _, code in told)
    without = 0
    for offer_id in (name for name, each in terms.items() if each.has_codes):
        without += connection.execute(
            f"SELECT count(*) FROM claims WHERE offer_id = ? AND {_LIVE} "
            "AND claim_id NOT IN (SELECT claim_id FROM codes WHERE claim_id IS NOT NULL)",
            (offer_id,),
        ).fetchone()[0]
    return times.total() - len(times) + without


def _lost(connection: sqlite3.Connection, acknowledged: Collection[Acknowledged]) -> int:
    kept = set(
        connection.execute(
            "SELECT idempotency_key, claim_id FROM replies "
            "JOIN claims ON claims.claim_id = reply ->> 'claim_id'"
        )
    )
    return sum((each.key, each.claim_id) not in kept for each in acknowledged)
