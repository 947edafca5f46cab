"""The ledger: claims, budgets, feedback and conversations of a shop, in one SQLite file."""

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from agent.errors import AccessError, LedgerError
from agent.offers import LedgerView, Offer, local_day
from retrieval.errors import StorageError

_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_SECONDS = 30

# Days and moments are ISO 8601 text, whose order is the order of time; amounts are minor units.
_SCHEMA = """
CREATE TABLE budgets (
    offer_id TEXT PRIMARY KEY,
    opening INTEGER NOT NULL CHECK (opening >= 0),
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0)
) STRICT;

CREATE TABLE claims (
    claim_id TEXT PRIMARY KEY,
    offer_id TEXT NOT NULL REFERENCES budgets (offer_id),
    customer_id TEXT NOT NULL,
    cost INTEGER NOT NULL CHECK (cost >= 0),
    exclusive_group TEXT NOT NULL,
    expires TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    request_hash TEXT NOT NULL,
    claimed_at TEXT NOT NULL
) STRICT;
CREATE INDEX claims_of_customer ON claims (customer_id, offer_id);

CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    what TEXT NOT NULL,
    details TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE audit_id = NEW.audit_id)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An offer taken by a customer.

    Attributes:
        cost: expected cost at the time of the claim, minor units.
        claimed_at: aware.
        repeated: whether this is the stored answer to a request that was made before.
    """

    claim_id: str
    offer_id: str
    customer_id: str
    cost: int
    claimed_at: datetime
    repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One offer's budget, minor units.

    Attributes:
        opening: the whole budget.
        claimed: sum of the costs of its claims, counted from the claims themselves.
        left: what the ledger will still give out; below 0 where the budget was lowered since.
    """

    opening: int
    claimed: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation.

    Attributes:
        login: who is logged in; the conversation is theirs alone.
        customer_id: the customer talked about.
        at: aware.
    """

    conversation_id: str
    login: str
    customer_id: str
    role: Literal["user", "assistant"]
    text: str
    at: datetime


class Ledger:
    """The ledger of one shop, safe over threads and processes.

    Every call opens its own connection: SQLite connections may cross neither threads nor forks,
    and opening one takes well under a millisecond. Writers queue on the database's lock.

    Args:
        path: the database file; made where there is none.

    Raises:
        LedgerError: the file is no ledger, or one of another version.
        StorageError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._make()

    def claim(
        self,
        offer: Offer,
        customer_id: str,
        *,
        idempotency_key: str,
        as_of: datetime,
        decision: Mapping[str, Any],
    ) -> Claim:
        """Give an offer to a customer: whole, once, and only within its limits.

        One transaction checks dates, cap, exclusive group and budget, and books the cost. The
        budget is opened by an offer's first claim, and follows `offer.budget` from then on.
        A refusal is audited too.

        Args:
            offer: the offer as the shop has it now.
            customer_id: who takes it; the caller has made sure that they may.
            idempotency_key: the request's own name; the same key with the same offer and customer
                returns the first claim again.
            as_of: now, aware and in the shop's time zone.
            decision: why, as JSON values; kept in the audit.

        Raises:
            LedgerError: the key was used for another request, or a limit forbids the claim.
            StorageError: the disk refuses; nothing was claimed.
            ValueError: `as_of` has no time zone.
        """
        day = local_day(as_of)
        request_hash = _request_hash(offer.offer_id, customer_id)
        with self._transaction() as connection:
            stored = _stored_claim(connection, idempotency_key, request_hash)
            if stored is not None:
                return stored
            _apply_budget(connection, offer)
            refusal = _refusal(connection, offer, customer_id, day) or _spend(connection, offer)
            claim = Claim(
                claim_id=uuid.uuid4().hex,
                offer_id=offer.offer_id,
                customer_id=customer_id,
                cost=offer.cost,
                claimed_at=as_of.astimezone(UTC),
                repeated=False,
            )
            if refusal is None:
                _store_claim(connection, claim, offer, idempotency_key, request_hash)
            _audit(
                connection,
                "claim" if refusal is None else "refused claim",
                {
                    "claim_id": claim.claim_id if refusal is None else None,
                    "offer_id": offer.offer_id,
                    "customer_id": customer_id,
                    "cost": offer.cost,
                    "as_of": as_of.isoformat(),
                    "refusal": None if refusal is None else refusal.message,
                    "decision": dict(decision),
                },
            )
        if refusal is not None:
            raise refusal
        return claim

    def has_claim(self, idempotency_key: str) -> bool:
        """Whether a request of this name was granted before."""
        with self._transaction("DEFERRED") as connection:
            row = connection.execute(
                "SELECT 1 FROM claims WHERE idempotency_key = ?", (idempotency_key,)
            ).fetchone()
        return row is not None

    def view(self, customer_id: str) -> LedgerView:
        """What `choose_offer` needs to know, as of one moment.

        Raises:
            StorageError: the disk refuses.
        """
        with self._transaction("DEFERRED") as connection:
            claims = connection.execute(
                "SELECT offer_id, count(*) FROM claims WHERE customer_id = ? GROUP BY offer_id",
                (customer_id,),
            ).fetchall()
            groups = connection.execute(
                "SELECT exclusive_group, max(expires) FROM claims "
                "WHERE customer_id = ? AND exclusive_group <> '' GROUP BY exclusive_group",
                (customer_id,),
            ).fetchall()
            spent = connection.execute("SELECT offer_id, spent FROM budgets").fetchall()
        return LedgerView(
            claims=dict(claims),
            groups={group: date.fromisoformat(expires) for group, expires in groups},
            spent=dict(spent),
        )

    def balances(self) -> dict[str, Balance]:
        """Every opened budget by offer; `left` is `opening - claimed`, else the books are wrong."""
        with self._transaction("DEFERRED") as connection:
            rows = connection.execute(
                "SELECT offer_id, opening, opening - spent, coalesce(sum(cost), 0) "
                "FROM budgets LEFT JOIN claims USING (offer_id) GROUP BY offer_id"
            ).fetchall()
        return {
            offer_id: Balance(opening=opening, claimed=claimed, left=left)
            for offer_id, opening, left, claimed in rows
        }

    def add_feedback(self, customer_id: str, item_id: str, *, liked: bool, at: datetime) -> None:
        """Keep what a customer thinks of an item; the newest opinion stands.

        Raises:
            StorageError: the disk refuses.
        """
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO feedback (customer_id, item_id, liked, at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET liked = excluded.liked, at = excluded.at",
                (customer_id, item_id, int(liked), _moment(at)),
            )

    def feedback(self, customer_id: str) -> dict[str, bool]:
        """Whether the customer liked an item, by item id."""
        with self._transaction("DEFERRED") as connection:
            rows = connection.execute(
                "SELECT item_id, liked FROM feedback WHERE customer_id = ? ORDER BY item_id",
                (customer_id,),
            ).fetchall()
        return {item_id: bool(liked) for item_id, liked in rows}

    def add_turn(self, turn: Turn) -> None:
        """Append a message to a conversation.

        Raises:
            AccessError: the conversation is another login's.
            StorageError: the disk refuses.
        """
        with self._transaction() as connection:
            _check_owner(connection, turn.conversation_id, turn.login)
            connection.execute(
                "INSERT INTO conversations (conversation_id, login, customer_id, role, text, at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    turn.conversation_id,
                    turn.login,
                    turn.customer_id,
                    turn.role,
                    turn.text,
                    _moment(turn.at),
                ),
            )

    def turns(self, conversation_id: str, limit: int, *, login: str) -> list[Turn]:
        """The last `limit` messages of a conversation, oldest first.

        Raises:
            AccessError: the conversation is another login's.
        """
        with self._transaction("DEFERRED") as connection:
            _check_owner(connection, conversation_id, login)
            rows = connection.execute(
                "SELECT customer_id, role, text, at FROM conversations "
                "WHERE conversation_id = ? ORDER BY turn_id DESC LIMIT ?",
                (conversation_id, limit),
            ).fetchall()
        return [
            Turn(
                conversation_id=conversation_id,
                login=login,
                customer_id=customer_id,
                role=role,
                text=text,
                at=datetime.fromisoformat(at),
            )
            for customer_id, role, text, at in reversed(rows)
        ]

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter, such as the sentences that were replaced.

        Raises:
            StorageError: the disk refuses.
        """
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO counters (name, value) VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET value = value + excluded.value",
                (name, by),
            )

    def counts(self) -> dict[str, int]:
        """Every counter by name."""
        with self._transaction("DEFERRED") as connection:
            return dict(connection.execute("SELECT name, value FROM counters ORDER BY name"))

    def _make(self) -> None:
        with _clear_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._version() != 0:
                return
            # SQLite changes to WAL only while nobody else looks, and does not wait for that.
            with (
                FileLock(self.path.with_name(f".{self.path.name}.lock")),
                closing(self._connect()) as connection,
            ):
                if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.executescript(
                        f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;"
                    )

    def _version(self) -> int:
        with closing(self._connect()) as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _SCHEMA_VERSION):
            raise LedgerError(
                f"{self.path} has ledger version {version}; this Patron knows {_SCHEMA_VERSION}.",
                hint="Use the Patron that wrote it, or a newer one.",
            )
        return version

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def _transaction(
        self, mode: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE"
    ) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end, or rolled back by whatever is raised inside."""
        with _clear_errors(self.path), closing(self._connect()) as connection:
            connection.execute(f"BEGIN {mode}")
            with connection:
                yield connection


def _request_hash(offer_id: str, customer_id: str) -> str:
    return hashlib.sha256(json.dumps([offer_id, customer_id]).encode()).hexdigest()


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _stored_claim(
    connection: sqlite3.Connection, idempotency_key: str, request_hash: str
) -> Claim | None:
    row = connection.execute(
        "SELECT claim_id, offer_id, customer_id, cost, claimed_at, request_hash "
        "FROM claims WHERE idempotency_key = ?",
        (idempotency_key,),
    ).fetchone()
    if row is None:
        return None
    claim_id, offer_id, customer_id, cost, claimed_at, stored_hash = row
    if stored_hash != request_hash:
        raise LedgerError(
            f"The key '{idempotency_key}' was used for another claim.",
            hint="Give each request a key of its own.",
        )
    return Claim(
        claim_id=claim_id,
        offer_id=offer_id,
        customer_id=customer_id,
        cost=cost,
        claimed_at=datetime.fromisoformat(claimed_at),
        repeated=True,
    )


def _apply_budget(connection: sqlite3.Connection, offer: Offer) -> None:
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
    _audit(
        connection,
        "budget",
        {"offer_id": offer.offer_id, "before": before, "opening": offer.budget},
    )


def _refusal(
    connection: sqlite3.Connection, offer: Offer, customer_id: str, day: date
) -> LedgerError | None:
    """Why dates, cap or group forbid the claim; None where they do not."""
    if not offer.runs_on(day):
        return LedgerError(
            f"Offer '{offer.offer_id}' does not run on {day}.",
            hint=f"It runs from {offer.starts} until before {offer.expires}.",
        )
    claims = connection.execute(
        "SELECT count(*) FROM claims WHERE customer_id = ? AND offer_id = ?",
        (customer_id, offer.offer_id),
    ).fetchone()[0]
    if claims >= offer.cap_per_customer:
        return LedgerError(
            f"Customer '{customer_id}' has claimed offer '{offer.offer_id}' {claims} times, "
            "as often as one customer may.",
            hint="Choose another offer, or raise its cap_per_customer in offers.toml.",
        )
    held = connection.execute(
        "SELECT offer_id FROM claims WHERE customer_id = ? AND exclusive_group = ? "
        "AND exclusive_group <> '' AND expires > ?",
        (customer_id, offer.exclusive_group, day.isoformat()),
    ).fetchone()
    if held is not None:
        return LedgerError(
            f"Customer '{customer_id}' holds offer '{held[0]}' of the group "
            f"'{offer.exclusive_group}' already, which excludes '{offer.offer_id}'.",
            hint="Choose an offer of another group.",
        )
    return None


def _spend(connection: sqlite3.Connection, offer: Offer) -> LedgerError | None:
    """Book the cost if the budget has it; else say so and change nothing."""
    spent = connection.execute(
        "UPDATE budgets SET spent = spent + ?1 WHERE offer_id = ?2 AND spent + ?1 <= opening",
        (offer.cost, offer.offer_id),
    )
    if spent.rowcount == 1:
        return None
    return LedgerError(
        f"The budget of offer '{offer.offer_id}' is used up.",
        hint="Choose another offer, or raise its budget in offers.toml.",
    )


def _store_claim(
    connection: sqlite3.Connection,
    claim: Claim,
    offer: Offer,
    idempotency_key: str,
    request_hash: str,
) -> None:
    connection.execute(
        "INSERT INTO claims (claim_id, offer_id, customer_id, cost, exclusive_group, expires, "
        "idempotency_key, request_hash, claimed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            claim.claim_id,
            claim.offer_id,
            claim.customer_id,
            claim.cost,
            offer.exclusive_group,
            offer.expires.isoformat(),
            idempotency_key,
            request_hash,
            _moment(claim.claimed_at),
        ),
    )


def _audit(connection: sqlite3.Connection, what: str, details: Mapping[str, Any]) -> None:
    connection.execute(
        "INSERT INTO audit (at, what, details) VALUES (?, ?, ?)",
        (_moment(datetime.now(UTC)), what, json.dumps(details, sort_keys=True)),
    )


def _check_owner(connection: sqlite3.Connection, conversation_id: str, login: str) -> None:
    other = connection.execute(
        "SELECT 1 FROM conversations WHERE conversation_id = ? AND login <> ? LIMIT 1",
        (conversation_id, login),
    ).fetchone()
    if other is not None:
        raise AccessError(
            f"The conversation '{conversation_id}' is not {login}'s.",
            hint="Begin a new conversation.",
        )


_DISK_REFUSES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into one clear sentence; a mistake of ours stays as is."""
    try:
        yield
    except OSError as error:
        raise _refused_by_disk(path, error) from error
    except sqlite3.Error as error:
        primary_code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary_code in _DISK_REFUSES:
            raise _refused_by_disk(path, error) from error
        if primary_code in _DAMAGED:
            raise LedgerError(
                f"{path} is damaged or no ledger: {error}.",
                hint="Restore it from a backup, or move it away to begin an empty ledger.",
            ) from error
        if primary_code == sqlite3.SQLITE_BUSY:
            raise LedgerError(
                f"{path} was kept busy by another process for {_BUSY_TIMEOUT_SECONDS} seconds.",
                hint="Try again, or end the process that holds it.",
            ) from error
        raise


def _refused_by_disk(path: Path, error: Exception) -> StorageError:
    return StorageError(
        f"Cannot use {path}: {error}.",
        hint="Free some space or make the shop directory writable, then try again.",
    )
