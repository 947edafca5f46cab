"""The log of offers made: to whom, with what chance and from what inputs, to learn from later."""

import json
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.ledger_operations import LedgerOperations
from agent.ledger_requests import Request
from agent.ledger_schema import as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """One decision to make an offer, or none.

    Attributes:
        at: the moment it was made for, aware.
        offer_id: None where no offer was made.
        propensity: chance with which this customer got this decision, above 0, at most 1.
        explored: whether it was drawn to learn, not chosen as the best.
        expected_gain: minor units; an estimate, so not whole.
        inputs: what it was made from, as JSON values.
        repeated: whether its key had been logged before.
    """

    decision_id: int
    at: datetime
    customer_id: str
    offer_id: str | None
    propensity: float
    explored: bool
    expected_gain: float
    inputs: Mapping[str, Any]
    repeated: bool


_SELECT = (
    "SELECT decision_id, at, customer_id, offer_id, propensity, explored, expected_gain, inputs "
    "FROM decisions"
)


class DecisionLog(LedgerOperations):
    """Appends decisions and reads them."""

    def log_decision(
        self,
        customer_id: str,
        offer_id: str | None,
        *,
        idempotency_key: str,
        propensity: float,
        explored: bool,
        expected_gain: float,
        as_of: datetime,
        inputs: Mapping[str, Any],
    ) -> LoggedDecision:
        """Log an offer that was made, or that none was, for later learning; it is never changed.

        Args:
            customer_id: to whom.
            offer_id: None for no offer.
            idempotency_key: the request's own name.
            propensity: chance with which this customer got this decision, above 0, at most 1.
            explored: whether it was drawn to learn, not chosen as the best.
            expected_gain: minor units.
            as_of: now, aware.
            inputs: what it was made from, as JSON values.

        Raises:
            LedgerError: the key named another request.
            ValueError: the propensity or the gain is no such number.
        """
        if not 0 < propensity <= 1:
            raise ValueError(f"propensity must be above 0 and at most 1, not {propensity}")
        if not math.isfinite(expected_gain):
            raise ValueError("expected_gain must be finite")
        made = {
            "customer_id": customer_id,
            "offer_id": offer_id,
            "propensity": propensity,
            "explored": explored,
            "expected_gain": expected_gain,
        }
        request = Request(
            operation="log_decision",
            idempotency_key=idempotency_key,
            parameters=made,
            as_of=as_of,
        )

        def append(connection: sqlite3.Connection) -> dict[str, Any]:
            row = {
                **made,
                "at": as_text(as_of),
                "inputs": json.dumps(dict(inputs), sort_keys=True, allow_nan=False),
            }
            return {"decision_id": _append(connection, row)}

        reply, repeated = self._perform(request, append)
        with self._reading() as connection:
            row = connection.execute(
                f"{_SELECT} WHERE decision_id = ?", (reply["decision_id"],)
            ).fetchone()
        return _decision(row, repeated=repeated)

    def decisions(
        self, *, customer_id: str | None = None, since: datetime | None = None
    ) -> tuple[LoggedDecision, ...]:
        """Logged decisions, oldest first; of one customer, or from an aware moment on."""
        of_the_customer = "" if customer_id is None else "AND customer_id = :customer_id "
        with self._reading() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE at >= :since {of_the_customer}ORDER BY decision_id",
                {"customer_id": customer_id, "since": "" if since is None else as_text(since)},
            ).fetchall()
        return tuple(_decision(row, repeated=False) for row in rows)


def _append(connection: sqlite3.Connection, row: Mapping[str, Any]) -> int:
    appended = connection.execute(
        "INSERT INTO decisions (at, customer_id, offer_id, propensity, explored, expected_gain, "
        "inputs) VALUES (:at, :customer_id, :offer_id, :propensity, :explored, :expected_gain, "
        ":inputs) RETURNING decision_id",
        row,
    ).fetchone()
    decision_id: int = appended[0]
    return decision_id


def _decision(row: tuple[Any, ...], *, repeated: bool) -> LoggedDecision:
    decision_id, at, customer_id, offer_id, propensity, explored, expected_gain, inputs = row
    return LoggedDecision(
        decision_id=decision_id,
        at=datetime.fromisoformat(at),
        customer_id=customer_id,
        offer_id=offer_id,
        propensity=propensity,
        explored=bool(explored),
        expected_gain=expected_gain,
        inputs=json.loads(inputs),
        repeated=repeated,
    )
