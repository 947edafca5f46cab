"""Rules about time and customer: when an offer runs, and who may have it."""

from agent.experiments import draw
from agent.offer_rule_line import Rule, RuleCase, RuleLine
from agent.offers import Offer, OfferCustomer, moment_text

_UNKNOWN = "not known before a first order"


def dates(case: RuleCase) -> RuleLine:
    """The offer runs now."""
    offer = case.offer
    now = case.local(case.moment)
    days_alone = moment_text(offer.starts) + moment_text(offer.expires)
    today = (
        f"today is {now:%Y-%m-%d}" if ":" not in days_alone else f"it is {now:%Y-%m-%d %H:%M %Z}"
    )
    return RuleLine(
        rule=Rule.DATES,
        passed=offer.runs_at(case.moment),
        text=f"runs from {moment_text(offer.starts)} until before {offer.valid_before}; {today}",
    )


def tier(case: RuleCase) -> RuleLine | None:
    """The customer is of one of its value tiers."""
    tiers = case.offer.eligibility.tiers
    if not tiers:
        return None
    own = case.customer.value_tier
    return RuleLine(
        rule=Rule.TIER,
        passed=own in tiers,
        text=f"for value tiers {', '.join(tiers)}; this customer's is {own or _UNKNOWN}",
    )


def stage(case: RuleCase) -> RuleLine | None:
    """The customer is in one of its lifecycle stages."""
    stages = case.offer.eligibility.stages
    if not stages:
        return None
    own = case.customer.stage
    return RuleLine(
        rule=Rule.STAGE,
        passed=own in stages,
        text=f"for lifecycle stages {', '.join(stages)}; this customer's is {own or _UNKNOWN}",
    )


def churn_risk(case: RuleCase) -> RuleLine | None:
    """The customer's churn risk is in its band."""
    low = case.offer.eligibility.min_churn_risk
    high = case.offer.eligibility.max_churn_risk
    if low is None and high is None:
        return None
    risk = case.customer.churn_risk
    bounds = [f"at least {low:.1%}"] if low is not None else []
    bounds += [f"at most {high:.1%}"] if high is not None else []
    return RuleLine(
        rule=Rule.CHURN_RISK,
        passed=risk is not None and (low is None or risk >= low) and (high is None or risk <= high),
        text=f"for a churn risk of {' and '.join(bounds)}; this customer's is "
        + (_UNKNOWN if risk is None else f"{risk:.1%}"),
    )


def bought(case: RuleCase) -> RuleLine | None:
    """The customer bought from what it covers."""
    if not case.offer.eligibility.bought_category:
        return None
    history = bought_text(case.offer, case.customer)
    return RuleLine(
        rule=Rule.BOUGHT,
        passed=bool(history),
        text="for those who bought from what it covers; this customer " + (history or "never did"),
    )


def first_order(case: RuleCase) -> RuleLine | None:
    """The customer has no order yet."""
    if not case.offer.eligibility.first_order:
        return None
    ordered = case.customer.has_ordered
    return RuleLine(
        rule=Rule.FIRST_ORDER,
        passed=not ordered,
        text="for a first order; this customer has "
        + ("ordered before" if ordered else "no order yet"),
    )


def expected_spend(case: RuleCase) -> RuleLine | None:
    """The customer is expected to spend enough."""
    least = case.offer.eligibility.min_expected_spend
    if least is None:
        return None
    spend = case.customer.expected_spend
    return RuleLine(
        rule=Rule.EXPECTED_SPEND,
        passed=spend is not None and spend >= least,
        text=f"for an expected spend of at least {case.money(least)}; this customer's is "
        + (_UNKNOWN if spend is None else case.money(spend)),
    )


def holdout(case: RuleCase) -> RuleLine | None:
    """The customer is not among those who never get it."""
    if not case.offer.holdout_share:
        return None
    out = in_holdout(case.offer, case.customer.customer_id)
    return RuleLine(
        rule=Rule.HOLDOUT,
        passed=not out,
        text=f"{case.offer.holdout_share:.1%} of customers are kept out, so that its effect can be "
        f"measured; this customer is {'one of them' if out else 'not one of them'}",
    )


def experiment(case: RuleCase) -> RuleLine | None:
    """No experiment withholds it from this customer."""
    if case.experiment is None:
        return None
    return RuleLine(
        rule=Rule.EXPERIMENT,
        passed=False,
        text=f"withheld from this customer by the experiment {case.experiment}",
    )


def worth(case: RuleCase) -> RuleLine:
    """It costs no more than is at stake; of a first order nothing is known to be."""
    at_stake = case.customer.at_stake
    if at_stake is not None:
        passed, stake = case.offer.cost <= at_stake, f"{case.money(at_stake)} is at stake"
    elif case.offer.eligibility.first_order:
        passed, stake = True, "nothing is known to be at stake yet, as for every first order"
    else:
        passed, stake = False, f"what is at stake is {_UNKNOWN}"
    return RuleLine(
        rule=Rule.WORTH, passed=passed, text=f"costs {case.money(case.offer.cost)}; {stake}"
    )


def gain(case: RuleCase) -> RuleLine | None:
    """It is expected to bring the shop more than it costs."""
    worth = case.gain
    if worth is None or case.offer.eligibility.first_order:
        return None
    return RuleLine(
        rule=Rule.GAIN,
        passed=worth.gain > 0,
        text=f"expected to gain {case.money(worth.gain)} after an expected cost of "
        f"{case.money(worth.cost)} ({worth.basis})",
    )


def in_holdout(offer: Offer, customer_id: str) -> bool:
    """Whether a customer never gets an offer, so that what it changes can be measured.

    It hangs on the two ids alone, so it is the same at any time and on any machine, and a larger
    share keeps those in whom a smaller one kept out.
    """
    return draw("holdout", offer.offer_id, customer_id) < offer.holdout_share


def bought_text(offer: Offer, customer: OfferCustomer) -> str:
    """What this customer bought of what the offer covers; "" for nothing."""
    orders = {
        name: customer.bought_categories[name]
        for name in offer.covers.categories
        if customer.bought_categories.get(name)
    }
    if orders:
        listed = " and ".join(f"{name} in {_orders(count)}" for name, count in orders.items())
        return f"bought {listed}"
    items = len(customer.bought_items.intersection(offer.covers.item_ids))
    return f"bought {items} of the items it covers" if items else ""


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count} orders"
