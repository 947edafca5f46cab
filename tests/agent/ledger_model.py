"""The ledger's rules once more, in plain Python over a plain list, for the real one to agree with.

Nothing here is stored, counted or ended ahead of its use: each question is answered from the list
of all claims and the present moment.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent.ledger import ClaimState
from agent.offers import Offer


@dataclass
class ModelClaim:
    claim_id: str
    offer: Offer
    customer_id: str
    state: ClaimState
    taken_at: datetime
    until: datetime
    hold: int
    code: str | None
    discount: int = 0
    order_id: str | None = None

    def is_open(self, now: datetime) -> bool:
        return self.state in (ClaimState.RESERVED, ClaimState.CLAIMED) and now < self.until

    def is_over(self, now: datetime) -> bool:
        return not self.is_open(now) and self.state is not ClaimState.REDEEMED

    def spends(self, now: datetime) -> int:
        return self.hold if self.is_open(now) else self.discount


@dataclass
class Model:
    now: datetime
    claims: dict[str, ModelClaim] = field(default_factory=dict)
    codes: dict[str, list[str]] = field(default_factory=dict)
    used_codes: set[str] = field(default_factory=set)

    def spent(self, offer_id: str) -> int:
        return sum(x.spends(self.now) for x in self.claims.values() if x.offer.offer_id == offer_id)

    def spent_in_period(self, offer: Offer) -> int:
        assert offer.period_days is not None
        length = timedelta(days=offer.period_days)
        number = (self.now - offer.starts) // length
        return sum(
            claim.spends(self.now)
            for claim in self.claims.values()
            if claim.offer.offer_id == offer.offer_id
            and (claim.taken_at - offer.starts) // length == number
        )

    def free_codes(self, offer_id: str) -> list[str]:
        taken = {x.code for x in self.claims.values() if x.is_open(self.now)} | self.used_codes
        return [code for code in self.codes.get(offer_id, []) if code not in taken]

    def of_customer(self, customer_id: str) -> list[ModelClaim]:
        return [
            claim
            for claim in self.claims.values()
            if claim.customer_id == customer_id and not claim.is_over(self.now)
        ]

    def may_take(self, offer: Offer, customer_id: str) -> bool:
        mine = self.of_customer(customer_id)
        same = [x for x in mine if x.offer.offer_id == offer.offer_id]
        if offer.cap_days is not None:
            same = [x for x in same if self.now - x.taken_at < timedelta(days=offer.cap_days)]
        running = [x.offer for x in mine if x.is_open(self.now)]
        others = [x for x in running if x.offer_id != offer.offer_id]
        return (
            offer.starts <= self.now < offer.expires
            and len(same) < offer.cap_per_customer
            and not (
                offer.exclusive_group
                and offer.exclusive_group in [x.exclusive_group for x in running]
            )
            and (not others or (offer.stackable and all(x.stackable for x in others)))
            and self.spent(offer.offer_id) + offer.hold <= offer.budget
            and (
                offer.period_budget is None
                or self.spent_in_period(offer) + offer.hold <= offer.period_budget
            )
            and (not offer.needs_code or bool(self.free_codes(offer.offer_id)))
        )

    def may_redeem(self, claim: ModelClaim, order_id: str, order_total: int, discount: int) -> bool:
        with_it = [x for x in self.claims.values() if x.order_id == order_id]
        return (
            claim.is_open(self.now)
            and claim.state is ClaimState.CLAIMED
            and 0 <= discount <= claim.hold
            and sum(x.discount for x in with_it) + discount <= order_total
            and all(
                x.customer_id == claim.customer_id
                and x.offer.offer_id != claim.offer.offer_id
                and x.offer.stackable
                and claim.offer.stackable
                and not (
                    x.offer.exclusive_group
                    and x.offer.exclusive_group == claim.offer.exclusive_group
                )
                for x in with_it
            )
        )
