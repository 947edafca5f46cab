"""Offers to one customer: what the rules choose, and what is taken, redeemed and taken back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from agent.discount import discount_on, why_no_discount
from agent.errors import AccessError, OfferError
from agent.experiments import withheld
from agent.exploration import Exploration
from agent.ledger import Claim
from agent.offer_choice import NoOffer, OfferDecision, choose_offer
from agent.offer_decisions import open_actions
from agent.offer_rules import Rule, RuleLine
from agent.offer_worth import OfferWorth, gain_terms, offer_worths
from agent.offers import Offer, OfferBook, OfferCustomer
from agent.resources import Resources, Snapshot
from agent.viewer import Viewer
from retrieval.money import format_money
from retrieval.orders import CustomerPast
from retrieval.time_split import present

_ASK_AGAIN = "Ask for the offer that fits now."


class Offering:
    """Decides offers of a shop and writes its ledger.

    Args:
        resources: the shop's.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._shop = resources.shop

    def decide(
        self, snapshot: Snapshot, customer: OfferCustomer, past: CustomerPast | None
    ) -> OfferDecision | NoOffer:
        """The offer that the rules choose for a customer now, or why there is none.

        Args:
            snapshot: offers, effects and experiments.
            customer: what the rules may know.
            past: the customer's; None for somebody without an order.
        """
        now = present(self._shop)
        return choose_offer(
            snapshot.offers,
            customer,
            self._resources.ledger.view(customer.customer_id, now),
            now,
            worths=self._worths(snapshot, customer, past),
            withheld=withheld(
                snapshot.experiments,
                customer.customer_id,
                snapshot.offers,
                now.astimezone(self._shop.zone).date(),
            ),
            exploration=self._exploration(now),
        )

    def made(self, customer_id: str, decision: OfferDecision | NoOffer, viewer: Viewer) -> None:
        """Log a decision that is shown, once a period, with the chance that it had."""
        now = present(self._shop)
        offer_id = decision.offer.offer_id if isinstance(decision, OfferDecision) else None
        worth = decision.worth if isinstance(decision, OfferDecision) else None
        gain = 0 if worth is None else worth.gain
        period = self._exploration(now).period
        # What is looked at again in a period was made once.
        key = json.dumps(
            [period, customer_id, offer_id, decision.propensity, decision.explored, gain]
        )
        self._resources.ledger.log_decision(
            customer_id,
            offer_id,
            idempotency_key=f"decision:{key}",
            propensity=decision.propensity,
            explored=decision.explored,
            expected_gain=gain,
            as_of=now,
            inputs={
                "shown_to": viewer.role.value,
                "reason": decision.reason,
                "worth": None if worth is None else asdict(worth),
                **open_actions(decision, period),
            },
        )

    def accept(
        self,
        snapshot: Snapshot,
        decision: OfferDecision | NoOffer,
        customer_id: str,
        offer_id: str,
        *,
        idempotency_key: str,
        viewer: Viewer,
    ) -> Claim:
        """Take an offer that passes every rule now; the ledger is written.

        The desk may take any such offer for a customer, a shopper only the one that was chosen.

        Raises:
            AccessError: there is no such offer, or a rule forbids it.
            LedgerError: a limit forbids it, or the key was used for another request.
        """
        offer = snapshot.offers.get(offer_id)
        if offer is None:
            # Where the shop keeps its offers is not for the shopper.
            where = f"See {self._shop.offers_file}." if viewer.is_desk else _ASK_AGAIN
            raise AccessError(f"There is no offer '{offer_id}'.", hint=where)
        lines = decision.considered[offer_id]
        why_not = _why_not(offer, decision, lines, viewer)
        if why_not is not None and not self._resources.ledger.has_claim(idempotency_key):
            raise AccessError(f"The offer '{offer_id}' is not {why_not}", hint=_ASK_AGAIN)
        return self._resources.ledger.claim(
            offer,
            customer_id,
            idempotency_key=idempotency_key,
            as_of=present(self._shop),
            decision={
                "accepted_by": viewer.login,
                "rules": [{"rule": line.rule.value, "text": line.text} for line in lines],
                "chosen": decision.record() if isinstance(decision, OfferDecision) else None,
            },
        )

    def redeem(
        self,
        book: OfferBook,
        claim_id: str,
        *,
        order_id: str,
        order_total: int,
        covered_total: int,
        idempotency_key: str,
        viewer: Viewer,
    ) -> Claim:
        """Book what a claim takes off an order, by the offer's own terms.

        Args:
            book: the shop's offers.
            claim_id: a claimed one.
            order_id: the order.
            order_total: the whole order before the discount, minor units.
            covered_total: the part of it that the offer covers, minor units.
            idempotency_key: names the request.
            viewer: who redeems it; kept in the audit.

        Raises:
            OfferError: the offer takes nothing off this order or is no longer in the file, or the
                part is more than the whole.
            LedgerError: there is no such claim, it is not open, or the order's discounts together
                would be more than it costs.
        """
        claim = self._resources.ledger.read(claim_id)
        offer = book.get(claim.offer_id)
        if offer is None:
            raise OfferError(
                f"The offer '{claim.offer_id}' of this claim is no longer in the file.",
                hint=f"Put it back into {self._shop.offers_file}, or reverse the claim.",
            )
        if not 0 <= covered_total <= order_total:
            raise OfferError(
                f"Order '{order_id}' costs {format_money(order_total, book.currency)}, so "
                f"{format_money(covered_total, book.currency)} of it cannot be covered.",
                hint="Give the whole order and the part of it that the offer covers.",
            )
        why_not = why_no_discount(offer, order_total, covered_total, book.currency)
        if why_not is not None:
            raise OfferError(
                f"The offer '{offer.offer_id}' takes nothing off order '{order_id}': {why_not}.",
                hint="Use it on another order before it expires.",
            )
        return self._resources.ledger.redeem(
            claim_id,
            order_id=order_id,
            order_total=order_total,
            discount=discount_on(offer, order_total, covered_total),
            idempotency_key=idempotency_key,
            as_of=present(self._shop),
            decision={
                "redeemed_by": viewer.login,
                "covered_total": covered_total,
                "terms": {
                    "kind": offer.kind.value,
                    "value": offer.value,
                    "min_discount": offer.min_discount,
                    "max_discount": offer.max_discount,
                    "min_order": offer.min_order,
                },
            },
        )

    def reverse(self, claim_id: str, *, reason: str, idempotency_key: str, viewer: Viewer) -> Claim:
        """Take a claim back, with what it holds or gave.

        Raises:
            LedgerError: there is no such claim, or it was given back already.
        """
        return self._resources.ledger.reverse(
            claim_id,
            reason=reason,
            idempotency_key=idempotency_key,
            as_of=present(self._shop),
            decision={"reversed_by": viewer.login},
        )

    def _worths(
        self, snapshot: Snapshot, customer: OfferCustomer, past: CustomerPast | None
    ) -> Mapping[str, OfferWorth] | None:
        risk, spend = customer.churn_risk, customer.expected_spend
        if snapshot.effects is None or past is None or risk is None or spend is None:
            return None
        return offer_worths(
            snapshot.offers.values(),
            snapshot.effects,
            past,
            snapshot.contacts.get(customer.customer_id, ()),
            expected_spend=spend,
            churn_risk=risk,
            terms=gain_terms(self._shop.settings),
        )

    def _exploration(self, now: datetime) -> Exploration:
        settings = self._shop.settings
        period = now.date().toordinal() // settings.offers.explore_days
        return Exploration(
            share=settings.offers.explore_share, seed=settings.name, period=str(period)
        )


def _why_not(
    offer: Offer, decision: OfferDecision | NoOffer, lines: Sequence[RuleLine], viewer: Viewer
) -> str | None:
    """Why the viewer may not take the offer, as the end of a sentence; None where they may.

    What was chosen by chance need not seem to pay. A shopper takes only what was chosen: else the
    logged chance of the choice would not be that of the claim.
    """
    chosen = isinstance(decision, OfferDecision) and decision.offer is offer
    if not viewer.is_desk:
        # Which rule it was holds scores and costs, which are not for the shopper.
        return None if chosen else "open to you now."
    failed = (line for line in lines if not line.passed)
    refusal = next((x for x in failed if not (chosen and x.rule is Rule.GAIN)), None)
    return None if refusal is None else f"for this customer: {refusal.text}"
