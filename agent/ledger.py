"""The ledger: what a shop's offers may cost, who took them, and what came of each.

reserve -> claim -> redeem, or expire; and reverse. Every request names itself by an idempotency
key and has one effect, however often it is made.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from agent import ledger_books as books
from agent.ledger_claims import Claim, ClaimState, read_claim
from agent.ledger_codes import append_codes
from agent.ledger_decisions import DecisionLog, LoggedDecision
from agent.ledger_limits import check_offer, check_redemption, check_reservation, check_reversal
from agent.ledger_reports import AuditLine, Balance, Discrepancy, Entry, LedgerReports
from agent.ledger_requests import Request
from agent.ledger_view import read_view
from agent.memory import Memory, Turn
from agent.offers import LedgerView, Offer

__all__ = [
    "AuditLine",
    "Balance",
    "Claim",
    "ClaimState",
    "Discrepancy",
    "Entry",
    "Ledger",
    "LoggedDecision",
    "Turn",
]


class Ledger(DecisionLog, LedgerReports, Memory):
    """The ledger of one shop; see `LedgerFile` for what it survives.

    Requests raise `LedgerError` where a limit forbids them or their key named another request
    (nothing was changed then, and the audit has the refusal), `StorageError` where the disk
    refuses, and `ValueError` for a moment without a time zone. The same key with the same
    parameters gives the first reply again, with `repeated`. A refusal is no reply: the same
    request may succeed once what forbade it was mended.
    """

    def reserve(
        self,
        offer: Offer,
        customer_id: str,
        *,
        idempotency_key: str,
        as_of: datetime,
        ttl: timedelta,
        decision: Mapping[str, Any],
    ) -> Claim:
        """Keep an offer for a customer for a while: its hold of the budget and its code.

        Args:
            offer: the offer as the shop has it now; its budget is followed.
            customer_id: for whom; the caller has made sure that they may.
            idempotency_key: the request's own name.
            as_of: now, aware.
            ttl: how long, above 0; never beyond the offer's end.
            decision: why, as JSON values; kept in the audit.
        """
        if ttl <= timedelta(0):
            raise ValueError("ttl must be above 0")
        request = Request(
            operation="reserve",
            idempotency_key=idempotency_key,
            parameters={
                "offer_id": offer.offer_id,
                "customer_id": customer_id,
                "ttl_seconds": ttl.total_seconds(),
            },
            as_of=as_of,
            decision=decision,
        )
        until = min(as_of + ttl, offer.expires)
        return self._take(request, offer, customer_id, ClaimState.RESERVED, until)

    def claim(
        self,
        offer: Offer,
        customer_id: str,
        *,
        idempotency_key: str,
        as_of: datetime,
        decision: Mapping[str, Any],
        reservation: str | None = None,
    ) -> Claim:
        """Give an offer to a customer: whole, once, and only within its limits.

        One transaction ends what is over, checks dates, cap, groups and stacking, holds the money
        of both budgets and takes a code.

        Args:
            offer: the offer as the shop has it now; its budget is followed.
            customer_id: who takes it; the caller has made sure that they may.
            idempotency_key: the request's own name.
            as_of: now, aware.
            decision: why, as JSON values; kept in the audit.
            reservation: claim id of a reservation to be taken up: it keeps its hold and its code.
        """
        request = Request(
            operation="claim",
            idempotency_key=idempotency_key,
            parameters={
                "offer_id": offer.offer_id,
                "customer_id": customer_id,
                "reservation": reservation,
            },
            as_of=as_of,
            decision=decision,
        )
        if reservation is None:
            return self._take(request, offer, customer_id, ClaimState.CLAIMED, offer.expires)

        def confirm(connection: sqlite3.Connection, claim: Claim) -> None:
            check_reservation(claim, offer, customer_id, as_of)
            books.confirm(connection, claim, offer.expires)

        return self._change(request, reservation, confirm)

    def redeem(
        self,
        claim_id: str,
        *,
        order_id: str,
        order_total: int,
        discount: int,
        idempotency_key: str,
        as_of: datetime,
        decision: Mapping[str, Any],
    ) -> Claim:
        """Book what a claim took off an order, and give the rest of its hold back.

        Args:
            claim_id: a claimed one.
            order_id: the order; what else it redeemed must stack with this claim.
            order_total: the whole order before any discount, minor units; all that is redeemed on
                the order together takes off no more.
            discount: minor units, at most what the claim holds.
            idempotency_key: the request's own name.
            as_of: now, aware.
            decision: why, as JSON values; kept in the audit.
        """
        request = Request(
            operation="redeem",
            idempotency_key=idempotency_key,
            parameters={
                "claim_id": claim_id,
                "order_id": order_id,
                "order_total": order_total,
                "discount": discount,
            },
            as_of=as_of,
            decision=decision,
        )

        def redeem(connection: sqlite3.Connection, claim: Claim) -> None:
            check_redemption(connection, claim, order_id, order_total, discount)
            books.redeem(connection, claim, discount, order_id, as_of)

        return self._change(request, claim_id, redeem)

    def reverse(
        self,
        claim_id: str,
        *,
        reason: str,
        idempotency_key: str,
        as_of: datetime,
        decision: Mapping[str, Any],
    ) -> Claim:
        """Take a claim back: what it holds, or the discount that it gave, returns to the budget.

        Its code returns too unless it was redeemed. It no longer counts towards the cap.

        Args:
            claim_id: a reserved, claimed or redeemed one.
            reason: why; kept in the audit.
            idempotency_key: the request's own name.
            as_of: now, aware.
            decision: by whom and from what, as JSON values; kept in the audit.
        """
        request = Request(
            operation="reverse",
            idempotency_key=idempotency_key,
            parameters={"claim_id": claim_id, "reason": reason},
            as_of=as_of,
            decision=decision,
        )

        def reverse(connection: sqlite3.Connection, claim: Claim) -> None:
            check_reversal(claim)
            books.give_back(connection, claim, ClaimState.REVERSED, as_of)

        return self._change(request, claim_id, reverse)

    def expire(self, as_of: datetime) -> int:
        """End every reservation and claim whose time is over; how many there were.

        Only tidiness needs it: each request ends what is over of its offer before it looks at
        the budget.
        """
        with self._writing() as connection:
            return books.expire_due(connection, as_of, None)

    def add_codes(self, offer_id: str, codes: Iterable[str]) -> int:
        """Add one-time codes to an offer; how many were new to it.

        Raises:
            LedgerError: a code is blank or another offer's; none was added.
            StorageError: the disk refuses.
        """
        with self._writing() as connection:
            return append_codes(connection, offer_id, codes)

    def view(self, customer_id: str, as_of: datetime) -> LedgerView:
        """What the rules need to know of one customer and of all budgets.

        Args:
            customer_id: whose claims.
            as_of: now, aware; what is over by then does not count.
        """
        with self._reading() as connection:
            return read_view(connection, customer_id, as_of)

    def _take(
        self, request: Request, offer: Offer, customer_id: str, state: ClaimState, until: datetime
    ) -> Claim:
        """Make a new claim."""

        def tidy(connection: sqlite3.Connection) -> None:
            books.follow_budget(connection, offer, request.as_of)
            books.expire_due(connection, request.as_of, offer.offer_id)

        def take(connection: sqlite3.Connection) -> dict[str, Any]:
            check_offer(connection, offer, customer_id, request.as_of)
            claim = books.hold(
                connection, offer, customer_id, state=state, until=until, as_of=request.as_of
            )
            return claim.record()

        reply, repeated = self._perform(request, take, tidy=tidy)
        return Claim.from_record(reply, repeated=repeated)

    def _change(
        self,
        request: Request,
        claim_id: str,
        change: Callable[[sqlite3.Connection, Claim], None],
    ) -> Claim:
        """Change a claim that there is."""

        def tidy(connection: sqlite3.Connection) -> None:
            offer_id = read_claim(connection, claim_id).offer_id
            books.expire_due(connection, request.as_of, offer_id)

        def act(connection: sqlite3.Connection) -> dict[str, Any]:
            change(connection, read_claim(connection, claim_id))
            return read_claim(connection, claim_id).record()

        reply, repeated = self._perform(request, act, tidy=tidy)
        return Claim.from_record(reply, repeated=repeated)
