"""What one request to the ledger is, its stored reply, and the audit of what came of it."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent.errors import LedgerError
from agent.ledger_schema import as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, whose repetition has no second effect.

    Attributes:
        operation: such as "claim".
        idempotency_key: the request's own name.
        parameters: all that makes it this request and no other, as JSON values. The moment and
            the decision's inputs are circumstances: a retry has later ones.
        as_of: the caller's now, aware.
        decision: why it was made, as JSON values; kept in the audit.
    """

    operation: str
    idempotency_key: str
    parameters: Mapping[str, Any]
    as_of: datetime
    decision: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.as_of.tzinfo is None:
            raise ValueError("as_of must be aware")

    @property
    def hash(self) -> str:
        """A hash of the operation and of all parameters."""
        return request_hash(self.operation, self.parameters)


def request_hash(operation: str, parameters: Mapping[str, Any]) -> str:
    """SHA-256 of an operation and its parameters."""
    content = json.dumps([operation, dict(parameters)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def stored_reply(connection: sqlite3.Connection, request: Request) -> dict[str, Any] | None:
    """What the same request was answered with before; None where it was not.

    Raises:
        LedgerError: the key named another request.
    """
    row = connection.execute(
        "SELECT request_hash, operation, reply FROM replies WHERE idempotency_key = ?",
        (request.idempotency_key,),
    ).fetchone()
    if row is None:
        return None
    stored_hash, operation, reply = row
    if stored_hash != request.hash:
        raise LedgerError(
            f"The key '{request.idempotency_key}' was used for another request "
            f"(operation '{operation}').",
            hint="Give each request a key of its own.",
        )
    record: dict[str, Any] = json.loads(reply)
    return record


def store_reply(connection: sqlite3.Connection, request: Request, reply: Mapping[str, Any]) -> None:
    """Keep the reply for whoever asks again, and audit the request."""
    _audit_request(connection, request, request.operation, {"reply": dict(reply)})
    connection.execute(
        "INSERT INTO replies (idempotency_key, operation, request_hash, reply) VALUES (?, ?, ?, ?)",
        (request.idempotency_key, request.operation, request.hash, json.dumps(reply)),
    )


def audit_refusal(connection: sqlite3.Connection, request: Request, refusal: LedgerError) -> None:
    """Audit a refused request. It has no stored reply: what forbids it may be mended."""
    _audit_request(
        connection, request, f"refused {request.operation}", {"refusal": refusal.message}
    )


def append_audit(
    connection: sqlite3.Connection, what: str, details: Mapping[str, Any], as_of: datetime
) -> None:
    """Add a line to the audit, with the caller's moment beside the clock's."""
    connection.execute(
        "INSERT INTO audit (at, what, details) VALUES (?, ?, ?)",
        (
            as_text(datetime.now(UTC)),
            what,
            json.dumps({"as_of": as_text(as_of), **details}, sort_keys=True),
        ),
    )


def _audit_request(
    connection: sqlite3.Connection, request: Request, what: str, outcome: Mapping[str, Any]
) -> None:
    append_audit(
        connection,
        what,
        {
            "idempotency_key": request.idempotency_key,
            "parameters": dict(request.parameters),
            "decision": dict(request.decision),
            **outcome,
        },
        request.as_of,
    )
