"""What the ledger refuses, whoever asks: dates, caps, groups, stacking and misuse of a claim."""

import sqlite3
from datetime import datetime

from agent.errors import LedgerError
from agent.ledger_claims import Claim, ClaimState
from agent.ledger_schema import as_text
from agent.offers import Offer


def check_offer(
    connection: sqlite3.Connection, offer: Offer, customer_id: str, as_of: datetime
) -> None:
    """All that forbids a new claim, but for money and codes: those are taken, not asked for.

    Raises:
        LedgerError: a limit forbids it.
    """
    _check_dates(offer, as_of)
    _check_cap(connection, offer, customer_id, as_of)
    _check_beside(connection, offer, customer_id, as_of)


def check_reservation(reservation: Claim, offer: Offer, customer_id: str, as_of: datetime) -> None:
    """Whether a reservation may become a claim of this customer on this offer now.

    Raises:
        LedgerError: it may not.
    """
    _check_dates(offer, as_of)
    if (reservation.offer_id, reservation.customer_id) != (offer.offer_id, customer_id):
        raise LedgerError(
            f"Reservation '{reservation.claim_id}' is of another offer or customer.",
            hint="Claim with the reservation that was made for this offer and customer.",
        )
    _check_state(reservation, ClaimState.RESERVED)


def check_redemption(
    connection: sqlite3.Connection, claim: Claim, order_id: str, order_total: int, discount: int
) -> None:
    """Whether a claim may take a discount off an order.

    What one order redeems must fit together: it is one customer's, of different offers, not of
    one exclusive group, and where one does not stack it is alone. All of it together takes off no
    more than the order costs.

    Raises:
        LedgerError: it may not.
    """
    _check_state(claim, ClaimState.CLAIMED)
    if not 0 <= discount <= claim.held:
        raise LedgerError(
            f"Claim '{claim.claim_id}' holds {claim.held} and cannot pay a discount of {discount}.",
            hint="Redeem with a discount from 0 to what it holds, in minor units.",
        )
    other = connection.execute(
        "SELECT other.claim_id FROM claims AS mine JOIN claims AS other ON other.order_id = ?1 "
        "WHERE mine.claim_id = ?2 AND (other.customer_id <> mine.customer_id "
        "OR other.offer_id = mine.offer_id OR NOT (mine.stackable AND other.stackable) "
        "OR (mine.exclusive_group <> '' AND mine.exclusive_group = other.exclusive_group)) LIMIT 1",
        (order_id, claim.claim_id),
    ).fetchone()
    if other is not None:
        raise LedgerError(
            f"Order '{order_id}' has redeemed claim '{other[0]}', which claim "
            f"'{claim.claim_id}' may not stand beside.",
            hint="Redeem it with another order.",
        )
    taken_off: int = connection.execute(
        "SELECT coalesce(sum(discount), 0) FROM claims WHERE order_id = ?", (order_id,)
    ).fetchone()[0]
    if taken_off + discount > order_total:
        raise LedgerError(
            f"Order '{order_id}' costs {order_total}, of which {taken_off} is taken off already; "
            f"{discount} more would be too much.",
            hint="Redeem it with another order.",
        )


def check_reversal(claim: Claim) -> None:
    """Whether a claim still has something to give back.

    Raises:
        LedgerError: it is over.
    """
    if claim.state in (ClaimState.EXPIRED, ClaimState.REVERSED):
        raise _wrong_state(claim)


def _check_dates(offer: Offer, as_of: datetime) -> None:
    if not offer.runs_at(as_of):
        raise LedgerError(
            f"Offer '{offer.offer_id}' does not run on {as_of:%Y-%m-%d}.",
            hint=f"It runs from {offer.starts:%Y-%m-%d} until before {offer.valid_before}.",
        )


def _check_cap(
    connection: sqlite3.Connection, offer: Offer, customer_id: str, as_of: datetime
) -> None:
    since = offer.cap_since(as_of)
    claims = connection.execute(
        "SELECT count(*) FROM claims WHERE customer_id = ? AND offer_id = ? "
        "AND state NOT IN ('expired', 'reversed') AND claimed_at > ?",
        (customer_id, offer.offer_id, "" if since is None else as_text(since)),
    ).fetchone()[0]
    if claims >= offer.cap_per_customer:
        raise LedgerError(
            f"Customer '{customer_id}' has claimed offer '{offer.offer_id}' {claims} times, "
            "as often as one customer may.",
            hint="Choose another offer, or raise its cap_per_customer in offers.toml.",
        )


def _check_beside(
    connection: sqlite3.Connection, offer: Offer, customer_id: str, as_of: datetime
) -> None:
    """Whether the offer may stand beside what the customer holds."""
    running = connection.execute(
        "SELECT offer_id, exclusive_group, stackable FROM claims WHERE customer_id = ? "
        "AND state IN ('reserved', 'claimed') AND expires > ?",
        (customer_id, as_text(as_of)),
    ).fetchall()
    for offer_id, exclusive_group, stackable in running:
        if exclusive_group and exclusive_group == offer.exclusive_group:
            raise LedgerError(
                f"Customer '{customer_id}' holds offer '{offer_id}' of the group "
                f"'{exclusive_group}' already, which excludes '{offer.offer_id}'.",
                hint="Choose an offer of another group.",
            )
        if offer_id != offer.offer_id and not (stackable and offer.stackable):
            alone = offer_id if not stackable else offer.offer_id
            raise LedgerError(
                f"Customer '{customer_id}' holds offer '{offer_id}'; '{alone}' does not stack "
                "with other offers.",
                hint="Wait until it is redeemed or over, or choose stackable offers.",
            )


def _check_state(claim: Claim, expected: ClaimState) -> None:
    if claim.state is not expected:
        raise _wrong_state(claim)


def _wrong_state(claim: Claim) -> LedgerError:
    return LedgerError(
        f"Claim '{claim.claim_id}' is {claim.state.value}, so this cannot be done with it.",
        hint="Claim what is reserved, redeem what is claimed, reverse what is not over.",
    )
