"""Brings a ledger's file to the present version: a new one, or one that version 1 wrote."""

import json
import sqlite3
from datetime import UTC, date, datetime, time
from pathlib import Path

from agent.errors import LedgerError
from agent.ledger_claims import Claim, ClaimState
from agent.ledger_requests import append_audit, request_hash
from agent.ledger_schema import KEPT_TABLES, MONEY_TABLES, VERSION


def version_of(connection: sqlite3.Connection) -> int:
    """The version that the file was written in; 0 for an empty file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in an empty file, or move a version-1 file's claims to the present ones.

    Either happens whole or not at all. The caller keeps other writers out.

    Raises:
        LedgerError: the file has a version that this Patron does not know.
    """
    version = version_of(connection)
    if version == VERSION:
        return
    if version not in (0, 1):
        raise LedgerError(
            f"{path} has ledger version {version}; this Patron knows {VERSION}.",
            hint="Use the Patron that wrote it, or a newer one.",
        )
    connection.execute("PRAGMA journal_mode = WAL")
    with connection:
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE;{KEPT_TABLES}{MONEY_TABLES}")
        else:
            _migrate_from_1(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _migrate_from_1(connection: sqlite3.Connection) -> None:
    """Old claims become claimed, hold their cost and keep their keys."""
    connection.executescript(
        "BEGIN IMMEDIATE;"
        "ALTER TABLE claims RENAME TO old_claims;"
        f"DROP INDEX claims_of_customer;{MONEY_TABLES}"
    )
    old = connection.execute(
        "SELECT idempotency_key, exclusive_group, claim_id, offer_id, customer_id, cost, "
        "claimed_at, expires FROM old_claims ORDER BY claimed_at, claim_id"
    ).fetchall()
    for key, exclusive_group, *fields in old:
        _keep_claim(connection, _old_claim(*fields), exclusive_group, key)
    connection.execute("DROP TABLE old_claims")
    append_audit(
        connection, "migrate", {"from": 1, "to": VERSION, "claims": len(old)}, datetime.now(UTC)
    )


def _old_claim(
    claim_id: str, offer_id: str, customer_id: str, cost: int, claimed_at: str, expires: str
) -> Claim:
    return Claim(
        claim_id=claim_id,
        offer_id=offer_id,
        customer_id=customer_id,
        state=ClaimState.CLAIMED,
        cost=cost,
        held=cost,
        discount=0,
        code=None,
        claimed_at=datetime.fromisoformat(claimed_at),
        # Version 1 kept the day alone, by the shop's clock; at noon UTC it has begun everywhere.
        expires=datetime.combine(date.fromisoformat(expires), time(12), UTC),
        repeated=False,
    )


def _keep_claim(
    connection: sqlite3.Connection, claim: Claim, exclusive_group: str, key: str
) -> None:
    record = claim.record()
    connection.execute(
        "INSERT INTO claims (claim_id, offer_id, customer_id, state, cost, held, exclusive_group, "
        "stackable, claimed_at, expires) VALUES (:claim_id, :offer_id, :customer_id, :state, "
        ":cost, :held, :exclusive_group, 1, :claimed_at, :expires)",
        record | {"exclusive_group": exclusive_group},
    )
    connection.execute(
        "INSERT INTO entries (at, offer_id, claim_id, what, amount) "
        "VALUES (:claimed_at, :offer_id, :claim_id, 'hold', :held)",
        record,
    )
    request = {"offer_id": claim.offer_id, "customer_id": claim.customer_id, "reservation": None}
    connection.execute(
        "INSERT INTO replies (idempotency_key, operation, request_hash, reply) "
        "VALUES (?, 'claim', ?, ?)",
        (key, request_hash("claim", request), json.dumps(record)),
    )
