"""The rules an offer must pass for one customer, each a line in words."""

from collections.abc import Callable
from datetime import UTC, datetime

from agent import offer_rules_customer as customer_rules
from agent import offer_rules_ledger as ledger_rules
from agent.offer_rule_line import Rule, RuleCase, RuleLine
from agent.offer_worth import OfferWorth
from agent.offers import LedgerView, Offer, OfferCustomer

__all__ = ["Rule", "RuleLine", "apply_rules"]


def apply_rules(
    offer: Offer,
    customer: OfferCustomer,
    view: LedgerView,
    moment: datetime,
    currency: str,
    *,
    gain: OfferWorth | None = None,
    experiment: str | None = None,
) -> tuple[RuleLine, ...]:
    """Every rule that the offer has, in the order in which they are asked.

    Args:
        offer: which.
        customer: for whom; perhaps somebody without an order.
        view: what the ledger says at that moment.
        moment: now, aware.
        currency: ISO 4217 code of all amounts.
        gain: what the offer is worth to the shop; None where no effects were learned yet.
        experiment: name of the experiment that withholds the offer; None where none does.
    """
    case = RuleCase(
        offer=offer,
        customer=customer,
        view=view,
        moment=moment.astimezone(UTC),
        currency=currency,
        gain=gain,
        experiment=experiment,
    )
    lines = (rule(case) for rule in _RULES)
    return tuple(line for line in lines if line is not None)


# Each gives None for an offer that does not have the rule.
_RULES: tuple[Callable[[RuleCase], RuleLine | None], ...] = (
    customer_rules.dates,
    customer_rules.tier,
    customer_rules.stage,
    customer_rules.churn_risk,
    customer_rules.bought,
    customer_rules.first_order,
    customer_rules.expected_spend,
    customer_rules.holdout,
    customer_rules.experiment,
    customer_rules.worth,
    customer_rules.gain,
    ledger_rules.cap,
    ledger_rules.group,
    ledger_rules.stacking,
    ledger_rules.codes,
    ledger_rules.budget,
    ledger_rules.period,
)
