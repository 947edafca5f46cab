"""What the ledger holds, read from its tables without the agent."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

Rows = dict[str, list[tuple[Any, ...]]]

# A question may be remembered and counted, an opinion of an item kept, and what was shown logged.
TABLES_OF_TALK = frozenset({"conversations", "counters", "feedback", "decisions"})
_UNTOUCHED = {
    "replies": "SELECT * FROM replies WHERE operation <> 'log_decision'",
    "audit": "SELECT * FROM audit WHERE what <> 'log_decision'",
}
# What was given out. A refusal may be audited, and may open a budget of which nothing goes.
_GIVEN_OUT = {
    "claims": "SELECT * FROM claims",
    "entries": "SELECT * FROM entries",
    "budgets": "SELECT offer_id, opening, spent FROM budgets WHERE spent > 0",
    "periods": "SELECT * FROM periods WHERE spent > 0",
    "codes": "SELECT * FROM codes WHERE claim_id IS NOT NULL",
}


def money_tables(ledger: Path) -> Rows:
    """Every table of the ledger that asking may not touch, row by row."""
    with closing(sqlite3.connect(ledger)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            name: _rows(connection, _UNTOUCHED.get(name, f'SELECT * FROM "{name}"'))
            for (name,) in names
            if name not in TABLES_OF_TALK
        }


def given_out(ledger: Path) -> Rows:
    """Claims, movements of money, and codes that somebody has."""
    with closing(sqlite3.connect(ledger)) as connection:
        return {name: _rows(connection, query) for name, query in _GIVEN_OUT.items()}


def _rows(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(query).fetchall(), key=repr)
