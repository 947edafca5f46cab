"""What one rule says of one offer and one customer."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent.offer_worth import OfferWorth
from agent.offers import LedgerView, Offer, OfferCustomer
from retrieval.money import format_money


class Rule(StrEnum):
    """What an offer must pass, in the order in which it is asked."""

    DATES = "dates"
    TIER = "tier"
    STAGE = "stage"
    CHURN_RISK = "churn_risk"
    BOUGHT = "bought"
    FIRST_ORDER = "first_order"
    EXPECTED_SPEND = "expected_spend"
    HOLDOUT = "holdout"
    EXPERIMENT = "experiment"
    WORTH = "worth"
    GAIN = "gain"
    CAP = "cap"
    GROUP = "group"
    STACKING = "stacking"
    CODES = "codes"
    BUDGET = "budget"
    PERIOD = "period"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLine:
    """One rule, whether it passed, and the facts in words."""

    rule: Rule
    passed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCase:
    """All that a rule may look at.

    Attributes:
        moment: now, in UTC, so that no comparison trips over a clock that goes back.
        currency: ISO 4217 code of all amounts.
        gain: what the offer is worth to the shop; None where no effects were learned yet.
        experiment: name of the experiment that withholds the offer; None where none does.
    """

    offer: Offer
    customer: OfferCustomer
    view: LedgerView
    moment: datetime
    currency: str
    gain: OfferWorth | None = None
    experiment: str | None = None

    def money(self, minor: int) -> str:
        """An amount as people read it."""
        return format_money(minor, self.currency)

    def local(self, moment: datetime) -> datetime:
        """A moment on the shop's clock, which is the offer's."""
        return moment.astimezone(self.offer.starts.tzinfo)
