"""One claim on an offer: what it is, and how the ledger keeps it."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from agent.errors import LedgerError
from agent.ledger_schema import as_text


class ClaimState(StrEnum):
    """Where a claim stands: reserved -> claimed -> redeemed, or expired, or reversed."""

    RESERVED = "reserved"
    CLAIMED = "claimed"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An offer that a customer took, or that is kept for them. All amounts are minor units.

    Attributes:
        cost: expected cost when it was taken.
        held: what it holds of the budget until it is redeemed or over.
        discount: what it took off an order; 0 unless it is redeemed.
        code: its one-time code; None for an offer without codes, and once the code is given back.
        claimed_at: when it was first held for the customer, aware; caps and periods go by it.
        expires: the moment it ends unless it is redeemed before, aware.
        repeated: whether this is the stored reply to a request that was made before.
    """

    claim_id: str
    offer_id: str
    customer_id: str
    state: ClaimState
    cost: int
    held: int
    discount: int
    code: str | None
    claimed_at: datetime
    expires: datetime
    repeated: bool

    @property
    def is_open(self) -> bool:
        """Whether it may still be redeemed or given back."""
        return self.state in (ClaimState.RESERVED, ClaimState.CLAIMED)

    def record(self) -> dict[str, Any]:
        """The claim as JSON values."""
        return {
            "claim_id": self.claim_id,
            "offer_id": self.offer_id,
            "customer_id": self.customer_id,
            "state": self.state.value,
            "cost": self.cost,
            "held": self.held,
            "discount": self.discount,
            "code": self.code,
            "claimed_at": as_text(self.claimed_at),
            "expires": as_text(self.expires),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, repeated: bool) -> Self:
        """The claim that `record` gave."""
        return cls(
            **{
                **record,
                "state": ClaimState(record["state"]),
                "claimed_at": datetime.fromisoformat(record["claimed_at"]),
                "expires": datetime.fromisoformat(record["expires"]),
                "repeated": repeated,
            }
        )


_COLUMNS = (
    "claim_id",
    "offer_id",
    "customer_id",
    "state",
    "cost",
    "held",
    "discount",
    "code",
    "claimed_at",
    "expires",
)
_SELECT = (
    "SELECT claim_id, claims.offer_id, customer_id, state, cost, held, discount, code, "
    "claimed_at, expires FROM claims LEFT JOIN codes USING (claim_id)"
)


def read_claim(connection: sqlite3.Connection, claim_id: str) -> Claim:
    """A claim as it is now.

    Raises:
        LedgerError: there is no such claim.
    """
    row = connection.execute(f"{_SELECT} WHERE claim_id = ?", (claim_id,)).fetchone()
    if row is None:
        raise LedgerError(
            f"There is no claim '{claim_id}'.", hint="Use the id that the claim was answered with."
        )
    return _claim(row)


def select_claims(
    connection: sqlite3.Connection, column: str, values: Sequence[str]
) -> tuple[Claim, ...]:
    """Claims whose column has one of some values, oldest first."""
    rows = connection.execute(
        f"{_SELECT} WHERE {column} IN (SELECT value FROM json_each(?)) "
        "ORDER BY claimed_at, claim_id",
        (json.dumps(list(values)),),
    )
    return tuple(_claim(row) for row in rows)


def due_claims(
    connection: sqlite3.Connection, as_of: datetime, offer_id: str | None
) -> list[Claim]:
    """Open claims that ended at or before a moment, of one offer or of all, earliest first."""
    of_the_offer = "" if offer_id is None else "AND claims.offer_id = :offer_id "
    rows = connection.execute(
        f"{_SELECT} WHERE state IN ('reserved', 'claimed') AND expires <= :as_of "
        f"{of_the_offer}ORDER BY expires, claim_id",
        {"as_of": as_text(as_of), "offer_id": offer_id},
    )
    return [_claim(row) for row in rows]


def _claim(row: tuple[Any, ...]) -> Claim:
    return Claim.from_record(dict(zip(_COLUMNS, row, strict=True)), repeated=False)
