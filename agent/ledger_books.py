"""How money moves in the ledger: every change of a claim, its budget, its code and the log of it.

All of it runs inside the caller's writing transaction.
"""

import sqlite3
import uuid
from datetime import datetime, timedelta

from agent.errors import LedgerError
from agent.ledger_claims import Claim, ClaimState, due_claims
from agent.ledger_codes import give_code_back, take_code
from agent.ledger_requests import append_audit
from agent.ledger_schema import as_text
from agent.offers import Offer


def follow_budget(connection: sqlite3.Connection, offer: Offer, as_of: datetime) -> None:
    """Open the offer's budget, or follow a changed one."""
    row = connection.execute(
        "SELECT opening FROM budgets WHERE offer_id = ?", (offer.offer_id,)
    ).fetchone()
    before = None if row is None else row[0]
    if before == offer.budget:
        return
    connection.execute(
        "INSERT INTO budgets (offer_id, opening) VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET opening = excluded.opening",
        (offer.offer_id, offer.budget),
    )
    append_audit(
        connection,
        "budget",
        {"offer_id": offer.offer_id, "before": before, "opening": offer.budget},
        as_of,
    )


def hold(
    connection: sqlite3.Connection,
    offer: Offer,
    customer_id: str,
    *,
    state: ClaimState,
    until: datetime,
    as_of: datetime,
) -> Claim:
    """Take a new claim's hold from the budgets, and one code where the offer has codes.

    Raises:
        LedgerError: a budget or the codes do not have it; the caller takes back what was written.
    """
    _spend(connection, offer)
    if offer.period_budget is not None:
        _spend_of_period(connection, offer, offer.period_budget, as_of)
    claim_id = uuid.uuid4().hex
    connection.execute(
        "INSERT INTO claims (claim_id, offer_id, customer_id, state, cost, held, exclusive_group, "
        "stackable, claimed_at, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            claim_id,
            offer.offer_id,
            customer_id,
            state.value,
            offer.cost,
            offer.hold,
            offer.exclusive_group,
            int(offer.stackable),
            as_text(as_of),
            as_text(until),
        ),
    )
    claim = Claim(
        claim_id=claim_id,
        offer_id=offer.offer_id,
        customer_id=customer_id,
        state=state,
        cost=offer.cost,
        held=offer.hold,
        discount=0,
        code=take_code(connection, offer.offer_id, claim_id) if offer.needs_code else None,
        claimed_at=as_of,
        expires=until,
        repeated=False,
    )
    _enter(connection, claim, "hold", offer.hold, as_of)
    return claim


def confirm(connection: sqlite3.Connection, claim: Claim, until: datetime) -> None:
    """Turn a reservation into a claim; no money moves."""
    changed = connection.execute(
        "UPDATE claims SET state = 'claimed', expires = ? "
        "WHERE claim_id = ? AND state = 'reserved'",
        (as_text(until), claim.claim_id),
    )
    _check_changed(changed, claim)


def redeem(
    connection: sqlite3.Connection, claim: Claim, discount: int, order_id: str, as_of: datetime
) -> None:
    """Book what a claim took off an order, and give the rest of its hold back."""
    changed = connection.execute(
        "UPDATE claims SET state = 'redeemed', held = 0, discount = ?, order_id = ? "
        "WHERE claim_id = ? AND state = 'claimed' AND held >= ?",
        (discount, order_id, claim.claim_id, discount),
    )
    _check_changed(changed, claim)
    _enter(connection, claim, "release", -claim.held, as_of)
    _enter(connection, claim, "discount", discount, as_of)
    _change_spent(connection, claim, discount - claim.held)


def give_back(
    connection: sqlite3.Connection, claim: Claim, state: ClaimState, as_of: datetime
) -> None:
    """End a claim as expired or reversed: its money comes back, and its code if never used."""
    changed = connection.execute(
        "UPDATE claims SET state = ?, held = 0, discount = 0, order_id = NULL "
        "WHERE claim_id = ? AND state = ?",
        (state.value, claim.claim_id, claim.state.value),
    )
    _check_changed(changed, claim)
    if claim.is_open:
        give_code_back(connection, claim.claim_id)
        _enter(connection, claim, "release", -claim.held, as_of)
    else:
        _enter(connection, claim, "return", -claim.discount, as_of)
    _change_spent(connection, claim, -claim.held - claim.discount)


def expire_due(connection: sqlite3.Connection, as_of: datetime, offer_id: str | None) -> int:
    """End every open claim whose time is over, of one offer or of all; how many there were."""
    due = due_claims(connection, as_of, offer_id)
    for claim in due:
        give_back(connection, claim, ClaimState.EXPIRED, as_of)
        append_audit(connection, "expire", {"claim": claim.record()}, as_of)
    return len(due)


def _spend(connection: sqlite3.Connection, offer: Offer) -> None:
    spent = connection.execute(
        "UPDATE budgets SET spent = spent + ?1 WHERE offer_id = ?2 AND spent + ?1 <= opening",
        (offer.hold, offer.offer_id),
    )
    if spent.rowcount != 1:
        raise LedgerError(
            f"The budget of offer '{offer.offer_id}' is used up.",
            hint="Choose another offer, or raise its budget in offers.toml.",
        )


def _spend_of_period(
    connection: sqlite3.Connection, offer: Offer, period_budget: int, as_of: datetime
) -> None:
    starts = offer.period_start(as_of)
    if starts is None or offer.period_days is None:
        raise ValueError(f"offer '{offer.offer_id}' has a period budget and no periods")
    period = (offer.offer_id, as_text(starts), as_text(starts + timedelta(days=offer.period_days)))
    _open_period(connection, *period)
    spent = connection.execute(
        "UPDATE periods SET spent = spent + ?1 "
        "WHERE offer_id = ?2 AND starts = ?3 AND spent + ?1 <= ?4",
        (offer.hold, offer.offer_id, as_text(starts), period_budget),
    )
    if spent.rowcount != 1:
        raise LedgerError(
            f"The budget of offer '{offer.offer_id}' for the period from {starts:%Y-%m-%d} "
            "is used up.",
            hint="Wait for the next period, or raise its period_budget in offers.toml.",
        )


def _open_period(connection: sqlite3.Connection, offer_id: str, starts: str, ends: str) -> None:
    """Make the period's sum from its claims where there is none, as after the shop changed it."""
    known = connection.execute(
        "SELECT 1 FROM periods WHERE offer_id = ? AND starts = ? AND ends = ?",
        (offer_id, starts, ends),
    ).fetchone()
    if known is not None:
        return
    connection.execute(
        "DELETE FROM periods WHERE offer_id = ? AND starts < ? AND ends > ?",
        (offer_id, ends, starts),
    )
    connection.execute(
        "INSERT INTO periods (offer_id, starts, ends, spent) "
        "SELECT ?1, ?2, ?3, coalesce(sum(held + discount), 0) FROM claims "
        "WHERE offer_id = ?1 AND claimed_at >= ?2 AND claimed_at < ?3",
        (offer_id, starts, ends),
    )


def _enter(
    connection: sqlite3.Connection, claim: Claim, what: str, amount: int, as_of: datetime
) -> None:
    connection.execute(
        "INSERT INTO entries (at, offer_id, claim_id, what, amount) VALUES (?, ?, ?, ?, ?)",
        (as_text(as_of), claim.offer_id, claim.claim_id, what, amount),
    )


def _change_spent(connection: sqlite3.Connection, claim: Claim, change: int) -> None:
    connection.execute(
        "UPDATE budgets SET spent = spent + ? WHERE offer_id = ?", (change, claim.offer_id)
    )
    connection.execute(
        "UPDATE periods SET spent = spent + ?1 WHERE offer_id = ?2 AND starts <= ?3 AND ends > ?3",
        (change, claim.offer_id, as_text(claim.claimed_at)),
    )


def _check_changed(changed: sqlite3.Cursor, claim: Claim) -> None:
    if changed.rowcount != 1:
        raise LedgerError(
            f"Claim '{claim.claim_id}' was changed meanwhile; nothing was done.",
            hint="Look at the claim, then try again.",
        )
