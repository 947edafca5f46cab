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
from agent.offer_rules import Rule, RuleLine
from agent.offer_worth import OfferWorth, gain_terms, offer_worths
from agent.offers import Offer, OfferCustomer
from agent.resources import Resources, Snapshot
from agent.viewer import Viewer
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
        key = json.dumps([period, customer_id, offer_id, round(decision.propensity, 6), gain])
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
        refusal = _refusal(offer, decision, lines)
        if refusal is not None and not self._resources.ledger.has_claim(idempotency_key):
            # The rule's text holds scores and costs, which are not for the shopper.
            why = f" for this customer: {refusal.text}" if viewer.is_desk else " open to you now."
            raise AccessError(f"The offer '{offer_id}' is not{why}", hint=_ASK_AGAIN)
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
        snapshot: Snapshot,
        claim_id: str,
        *,
        order_id: str,
        order_total: int,
        covered_total: int,
        idempotency_key: str,
    ) -> Claim:
        """Book what a claim takes off an order, by the offer's own terms.

        Args:
            snapshot: the offers.
            claim_id: a claimed one.
            order_id: the order.
            order_total: the whole order before the discount, minor units.
            covered_total: the part of it that the offer covers, minor units.
            idempotency_key: names the request.

        Raises:
            OfferError: the offer takes nothing off this order, or is no longer in the file.
            LedgerError: there is no such claim, or it is not open.
        """
        claim = self._resources.ledger.read(claim_id)
        offer = snapshot.offers.get(claim.offer_id)
        if offer is None:
            raise OfferError(
                f"The offer '{claim.offer_id}' of this claim is no longer in the file.",
                hint=f"Put it back into {self._shop.offers_file}, or reverse the claim.",
            )
        why_not = why_no_discount(offer, order_total, covered_total, snapshot.offers.currency)
        if why_not is not None:
            raise OfferError(
                f"The offer '{offer.offer_id}' takes nothing off order '{order_id}': {why_not}.",
                hint="Use it on another order before it expires.",
            )
        return self._resources.ledger.redeem(
            claim_id,
            order_id=order_id,
            discount=discount_on(offer, order_total, covered_total),
            idempotency_key=idempotency_key,
            as_of=present(self._shop),
        )

    def reverse(self, claim_id: str, *, reason: str, idempotency_key: str) -> Claim:
        """Take a claim back, with what it holds or gave.

        Raises:
            LedgerError: there is no such claim, or it was given back already.
        """
        return self._resources.ledger.reverse(
            claim_id, reason=reason, idempotency_key=idempotency_key, as_of=present(self._shop)
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


def _refusal(
    offer: Offer, decision: OfferDecision | NoOffer, lines: Sequence[RuleLine]
) -> RuleLine | None:
    """The rule that forbids taking the offer; what was chosen by chance need not seem to pay."""
    chosen = isinstance(decision, OfferDecision) and decision.offer is offer
    failed = [line for line in lines if not line.passed]
    return next((x for x in failed if not (chosen and x.rule is Rule.GAIN)), None)
