"""One-time codes of offers; all of it runs inside the caller's writing transaction."""

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime

from agent.errors import LedgerError
from agent.ledger_requests import append_audit


def append_codes(connection: sqlite3.Connection, offer_id: str, codes: Iterable[str]) -> int:
    """Add codes to an offer, and pass over those that it has; how many were new.

    Raises:
        LedgerError: a code is blank or another offer's.
    """
    added = 0
    for code in codes:
        if not code.strip():
            raise LedgerError(
                f"A code of offer '{offer_id}' is blank.", hint="Leave blank lines out."
            )
        added += connection.execute(
            "INSERT INTO codes (offer_id, code) VALUES (?, ?) ON CONFLICT (code) DO NOTHING",
            (offer_id, code),
        ).rowcount
        owner = connection.execute("SELECT offer_id FROM codes WHERE code = ?", (code,)).fetchone()
        if owner != (offer_id,):
            raise LedgerError(
                f"Code '{code}' belongs to offer '{owner[0]}', not to '{offer_id}'.",
                hint="Give each offer codes of its own.",
            )
    append_audit(connection, "codes", {"offer_id": offer_id, "added": added}, datetime.now(UTC))
    return added


def take_code(connection: sqlite3.Connection, offer_id: str, claim_id: str) -> str:
    """Give the first free code of an offer to a claim.

    Raises:
        LedgerError: there is none.
    """
    row = connection.execute(
        "UPDATE codes SET claim_id = ?1 WHERE claim_id IS NULL AND code_id = "
        "(SELECT code_id FROM codes WHERE offer_id = ?2 AND claim_id IS NULL "
        "ORDER BY code_id LIMIT 1) RETURNING code",
        (claim_id, offer_id),
    ).fetchone()
    if row is None:
        raise LedgerError(
            f"Offer '{offer_id}' has no code left.",
            hint="Choose another offer, or add codes to it.",
        )
    code: str = row[0]
    return code


def give_code_back(connection: sqlite3.Connection, claim_id: str) -> None:
    """Free the code of a claim, if it has one."""
    connection.execute("UPDATE codes SET claim_id = NULL WHERE claim_id = ?", (claim_id,))
