"""What the ledger's books say: balances, the logs of money and of requests, and their agreement."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.ledger_claims import Claim, read_claim, select_claims
from agent.ledger_file import LedgerFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One offer's budget, minor units.

    Attributes:
        opening: the whole budget.
        held: what its open claims hold, counted from the claims themselves.
        redeemed: what its redeemed claims took off orders, likewise.
        left: what the ledger will still give out; below 0 where the budget was lowered since.
    """

    opening: int
    held: int
    redeemed: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One movement of an offer's money.

    Attributes:
        at: the moment the request was made for, aware.
        what: "hold" or "discount" (taken from the budget), "release" or "return" (given back).
        amount: minor units; below 0 where given back.
    """

    entry_id: int
    at: datetime
    offer_id: str
    claim_id: str
    what: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """One thing that was asked of the ledger and what came of it.

    Attributes:
        at: by the clock, aware.
        what: the operation, "refused" and the operation, or "expire", "budget", "codes", "migrate".
        details: JSON values: key, parameters, the decision's inputs, and the reply or refusal.
    """

    audit_id: int
    at: datetime
    what: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """Two ways of counting that should agree and do not, minor units.

    Attributes:
        what: which two.
        subject: id of the offer or claim.
        counted: what the ledger goes by.
        expected: what the other way gives.
    """

    what: str
    subject: str
    counted: int
    expected: int


# Each pair is counted apart: from the running counter, from the log of money, from the claims.
_CHECKS = {
    "an offer's counter and its entries": """
        SELECT offer_id, spent, coalesce((SELECT sum(amount) FROM entries
        WHERE entries.offer_id = budgets.offer_id), 0) FROM budgets""",
    "an offer's counter and its claims": """
        SELECT offer_id, spent, coalesce((SELECT sum(held + discount) FROM claims
        WHERE claims.offer_id = budgets.offer_id), 0) FROM budgets""",
    "a claim and its entries": """
        SELECT claim_id, held + discount, coalesce((SELECT sum(amount) FROM entries
        WHERE entries.claim_id = claims.claim_id), 0) FROM claims""",
    "a period's counter and its claims": """
        SELECT offer_id, spent, coalesce((SELECT sum(held + discount) FROM claims
        WHERE claims.offer_id = periods.offer_id
        AND claimed_at >= starts AND claimed_at < ends), 0) FROM periods""",
    "codes that expired claims still have": """
        SELECT claim_id, count(code_id), 0 FROM claims JOIN codes USING (claim_id)
        WHERE state = 'expired' GROUP BY claim_id""",
}


class LedgerReports(LedgerFile):
    """Reads the books; every answer is of one moment."""

    def balances(self) -> dict[str, Balance]:
        """Every opened budget by offer; `left` is what the rest leaves, or `check` says so."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT offer_id, opening, coalesce(sum(held), 0), coalesce(sum(discount), 0), "
                "opening - spent FROM budgets LEFT JOIN claims USING (offer_id) GROUP BY offer_id"
            ).fetchall()
        return {
            offer_id: Balance(opening=opening, held=held, redeemed=redeemed, left=left)
            for offer_id, opening, held, redeemed, left in rows
        }

    def check(self) -> tuple[Discrepancy, ...]:
        """Where the books disagree; empty always, unless the file was changed by other hands."""
        with self._reading() as connection:
            return tuple(
                Discrepancy(what=what, subject=subject, counted=counted, expected=expected)
                for what, select in _CHECKS.items()
                for subject, counted, expected in connection.execute(select)
                if counted != expected
            )

    def entries(
        self, *, offer_id: str | None = None, claim_id: str | None = None
    ) -> tuple[Entry, ...]:
        """The log of money, oldest first; of one offer or claim where given."""
        wanted = {"offer_id": offer_id, "claim_id": claim_id}
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT entry_id, at, offer_id, claim_id, what, amount FROM entries"
                f"{_where(wanted)} ORDER BY entry_id",
                wanted,
            ).fetchall()
        return tuple(
            Entry(
                entry_id=entry_id,
                at=datetime.fromisoformat(at),
                offer_id=offer,
                claim_id=claim,
                what=what,
                amount=amount,
            )
            for entry_id, at, offer, claim, what, amount in rows
        )

    def audit(self, *, what: str | None = None) -> tuple[AuditLine, ...]:
        """The audit, oldest first; of one kind where given, such as "refused claim"."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT audit_id, at, what, details FROM audit{_where({'what': what})} "
                "ORDER BY audit_id",
                {"what": what},
            ).fetchall()
        return tuple(
            AuditLine(
                audit_id=audit_id,
                at=datetime.fromisoformat(at),
                what=kind,
                details=json.loads(details),
            )
            for audit_id, at, kind, details in rows
        )

    def codes_left(self, offer_id: str) -> int:
        """One-time codes of an offer that nobody has."""
        with self._reading() as connection:
            left: int = connection.execute(
                "SELECT count(*) FROM codes WHERE offer_id = ? AND claim_id IS NULL", (offer_id,)
            ).fetchone()[0]
        return left

    def read(self, claim_id: str) -> Claim:
        """A claim as it stands.

        Raises:
            LedgerError: there is no such claim.
        """
        with self._reading() as connection:
            return read_claim(connection, claim_id)

    def claims(self, customer_id: str) -> tuple[Claim, ...]:
        """Every claim of a customer, oldest first, whatever became of it."""
        with self._reading() as connection:
            return select_claims(connection, "customer_id", [customer_id])

    def claims_of_offers(self, offer_ids: Iterable[str]) -> tuple[Claim, ...]:
        """Every claim of some offers, oldest first, whatever became of it."""
        with self._reading() as connection:
            return select_claims(connection, "claims.offer_id", list(offer_ids))

    def has_claim(self, idempotency_key: str) -> bool:
        """Whether a claim of this key was granted before."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM replies WHERE idempotency_key = ? AND operation = 'claim'",
                (idempotency_key,),
            ).fetchone()
        return row is not None


def _where(wanted: Mapping[str, str | None]) -> str:
    """The SQL condition that the given columns have the given values."""
    conditions = [f"{column} = :{column}" for column, value in wanted.items() if value is not None]
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
