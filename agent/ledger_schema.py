"""The tables of the ledger, version 2.

Moments are ISO 8601 text in UTC, whose order is the order of time; amounts are minor units.
"""

from datetime import UTC, datetime

VERSION = 2


def as_text(moment: datetime) -> str:
    """A moment as the ledger keeps it.

    Raises:
        ValueError: it has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment in the ledger must be aware")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _append_only(table: str, key: str) -> str:
    refuse = f"BEGIN SELECT RAISE(ABORT, 'the table {table} is append-only'); END;"
    return f"""
CREATE TRIGGER {table}_is_never_updated BEFORE UPDATE ON {table} {refuse}
CREATE TRIGGER {table}_is_never_deleted BEFORE DELETE ON {table} {refuse}
CREATE TRIGGER {table}_is_never_replaced BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key}) {refuse}
"""


# What version 1 had too. `spent` is what open claims hold and redeemed ones took.
KEPT_TABLES = f"""
CREATE TABLE budgets (
    offer_id TEXT PRIMARY KEY,
    opening INTEGER NOT NULL CHECK (opening >= 0),
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0)
) STRICT;

CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    what TEXT NOT NULL,
    details TEXT NOT NULL
) STRICT;
{_append_only("audit", "audit_id")}

CREATE TABLE feedback (
    customer_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    liked INTEGER NOT NULL CHECK (liked IN (0, 1)),
    at TEXT NOT NULL,
    PRIMARY KEY (customer_id, item_id)
) STRICT;

CREATE TABLE conversations (
    turn_id INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    login TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    text TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX turns_of_conversation ON conversations (conversation_id, turn_id);

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
"""

# `claimed_at` is when the money was first held: caps and budget periods go by it.
MONEY_TABLES = f"""
CREATE TABLE claims (
    claim_id TEXT PRIMARY KEY,
    offer_id TEXT NOT NULL REFERENCES budgets (offer_id),
    customer_id TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('reserved', 'claimed', 'redeemed', 'expired', 'reversed')),
    cost INTEGER NOT NULL CHECK (cost >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    discount INTEGER NOT NULL DEFAULT 0 CHECK (discount >= 0),
    exclusive_group TEXT NOT NULL,
    stackable INTEGER NOT NULL CHECK (stackable IN (0, 1)),
    claimed_at TEXT NOT NULL,
    expires TEXT NOT NULL,
    order_id TEXT,
    CHECK (held = 0 OR state IN ('reserved', 'claimed')),
    CHECK (discount = 0 OR state = 'redeemed'),
    CHECK ((order_id IS NOT NULL) = (state = 'redeemed'))
) STRICT;
CREATE INDEX claims_of_customer ON claims (customer_id, offer_id);
CREATE INDEX claims_of_order ON claims (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX open_claims ON claims (offer_id, expires) WHERE state IN ('reserved', 'claimed');

CREATE TABLE periods (
    offer_id TEXT NOT NULL REFERENCES budgets (offer_id),
    starts TEXT NOT NULL,
    ends TEXT NOT NULL,
    spent INTEGER NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (offer_id, starts)
) STRICT, WITHOUT ROWID;

CREATE TABLE codes (
    code_id INTEGER PRIMARY KEY,
    offer_id TEXT NOT NULL,
    code TEXT NOT NULL UNIQUE CHECK (code <> ''),
    claim_id TEXT UNIQUE REFERENCES claims (claim_id)
) STRICT;
CREATE INDEX free_codes ON codes (offer_id, code_id) WHERE claim_id IS NULL;

CREATE TABLE entries (
    entry_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    offer_id TEXT NOT NULL REFERENCES budgets (offer_id),
    claim_id TEXT NOT NULL REFERENCES claims (claim_id),
    what TEXT NOT NULL CHECK (what IN ('hold', 'release', 'discount', 'return')),
    amount INTEGER NOT NULL CHECK (
        CASE WHEN what IN ('hold', 'discount') THEN amount >= 0 ELSE amount <= 0 END
    )
) STRICT;
CREATE INDEX entries_of_claim ON entries (claim_id);
{_append_only("entries", "entry_id")}

CREATE TABLE replies (
    idempotency_key TEXT PRIMARY KEY,
    operation TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    reply TEXT NOT NULL
) STRICT;
{_append_only("replies", "idempotency_key")}

CREATE TABLE decisions (
    decision_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    offer_id TEXT,
    propensity REAL NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    explored INTEGER NOT NULL CHECK (explored IN (0, 1)),
    expected_gain REAL NOT NULL,
    inputs TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_of_customer ON decisions (customer_id, decision_id);
{_append_only("decisions", "decision_id")}
"""
