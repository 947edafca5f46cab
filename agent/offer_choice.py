"""The one offer to make to a customer, by rules alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from agent.exploration import Choice, Exploration, choose
from agent.offer_rules import Rule, RuleLine, apply_rules
from agent.offer_rules_customer import bought_text
from agent.offer_worth import OfferWorth, kind_of
from agent.offers import LedgerView, Offer, OfferBook, OfferCustomer
from retrieval.money import format_money


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAction:
    """One thing that a decision could have come to, for later learning.

    Attributes:
        offer_id: None for no offer.
        kind: as which its effect is learned; None for no offer.
        chance: with which the decision would have come to it.
    """

    offer_id: str | None
    kind: str | None
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferDecision:
    """The offer that the rules chose.

    Attributes:
        reason: one sentence for the shop, of facts only.
        rules: the chosen offer's rule lines, all passed.
        cost: expected cost of a claim, minor units.
        runner_up: the next best offer; None where only one fits.
        considered: rule lines of every offer by id.
        worth: what it is expected to gain; None where the shop has learned no effects.
        runner_up_worth: likewise of the next best offer.
        propensity: chance with which this customer got this offer, for later learning.
        explored: whether it was drawn by chance, within the share that the shop declares.
        actions: all that could have been chosen, the chosen one among them.
    """

    offer: Offer
    reason: str
    rules: tuple[RuleLine, ...]
    cost: int
    runner_up: Offer | None
    considered: Mapping[str, tuple[RuleLine, ...]]
    worth: OfferWorth | None = None
    runner_up_worth: OfferWorth | None = None
    propensity: float = 1.0
    explored: bool = False
    actions: tuple[OpenAction, ...] = ()

    def record(self) -> dict[str, Any]:
        """The decision as JSON values, for the ledger's audit."""
        return {
            "offer_id": self.offer.offer_id,
            "reason": self.reason,
            "cost": self.cost,
            "runner_up": None if self.runner_up is None else self.runner_up.offer_id,
            "worth": None if self.worth is None else asdict(self.worth),
            "propensity": self.propensity,
            "explored": self.explored,
            "rules": [{"rule": line.rule.value, "text": line.text} for line in self.rules],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOffer:
    """No offer fits.

    Attributes:
        reason: one sentence that says why.
        rule: the rule that stopped most of the running offers; None where no rule did.
        considered: rule lines of every offer by id.
        propensity: chance with which this customer got no offer, for later learning.
        explored: whether that was drawn by chance, within the share that the shop declares.
        actions: all that could have been chosen, no offer among them.
    """

    reason: str
    rule: Rule | None
    considered: Mapping[str, tuple[RuleLine, ...]]
    propensity: float = 1.0
    explored: bool = False
    actions: tuple[OpenAction, ...] = ()


def choose_offer(
    book: OfferBook,
    customer: OfferCustomer,
    ledger_view: LedgerView,
    as_of: datetime,
    *,
    worths: Mapping[str, OfferWorth] | None = None,
    withheld: Mapping[str, str] | None = None,
    exploration: Exploration | None = None,
) -> OfferDecision | NoOffer:
    """Choose the one offer to make to a customer, by rules alone.

    An offer must pass every rule, among them that its cost is at most the spend at stake (churn
    risk times expected spend) and, once effects were learned, that it is expected to gain more
    than it costs. Of those that do, the one with the largest expected gain goes first, then the
    most relevant (most orders by this customer in what it covers), then the cheapest, then the
    first by id. For the declared share of customers chance picks instead, among no offer and all
    that pass every rule but the expected gain.

    Args:
        book: every offer of the shop.
        customer: facts of the customer.
        ledger_view: what this customer has claimed and what the budgets have left.
        as_of: now, aware and in the shop's time zone; it decides which offers run.
        worths: what offers are worth for this customer, by id; None where nothing was learned.
        withheld: offers that an experiment withholds from this customer: its name, by offer id.
        exploration: how much is left to chance; None for nothing.

    Raises:
        ValueError: `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be aware, in the shop's time zone")
    gains = worths or {}
    considered = {
        offer.offer_id: apply_rules(
            offer,
            customer,
            ledger_view,
            as_of,
            book.currency,
            gain=gains.get(offer.offer_id),
            experiment=(withheld or {}).get(offer.offer_id),
        )
        for offer in book.values()
    }

    def rank(offer: Offer) -> tuple[int, int, int, str]:
        worth = gains.get(offer.offer_id)
        gain = 0 if worth is None else worth.gain
        return -gain, -_relevance(offer, customer), offer.cost, offer.offer_id

    allowed = sorted((book[i] for i, x in considered.items() if _may_be_tried(x)), key=rank)
    fitting = [x for x in allowed if all(line.passed for line in considered[x.offer_id])]
    best = fitting[0] if fitting else None
    choice = _draw(customer.customer_id, best, allowed, exploration)
    actions = tuple(
        OpenAction(offer_id=each, kind=None if each is None else kind_of(book[each]), chance=chance)
        for each, chance in choice.chances.items()
    )
    if choice.offer_id is None:
        none = (
            NoOffer(reason=_BY_CHANCE, rule=None, considered=considered)
            if fitting
            else _no_offer(considered, as_of)
        )
        return replace(
            none, propensity=choice.propensity, explored=choice.explored, actions=actions
        )
    chosen = book[choice.offer_id]
    second = next((offer for offer in fitting if offer is not chosen), None)
    return OfferDecision(
        offer=chosen,
        reason=_reason(chosen, customer, gains.get(chosen.offer_id), book.currency),
        rules=considered[chosen.offer_id],
        cost=chosen.cost,
        runner_up=second,
        considered=considered,
        worth=gains.get(chosen.offer_id),
        runner_up_worth=None if second is None else gains.get(second.offer_id),
        propensity=choice.propensity,
        explored=choice.explored,
        actions=actions,
    )


def _may_be_tried(lines: tuple[RuleLine, ...]) -> bool:
    """Whether chance may pick it: only trying shows whether what seems not to pay does pay."""
    return all(line.passed for line in lines if line.rule is not Rule.GAIN)


def _draw(
    customer_id: str, best: Offer | None, allowed: Sequence[Offer], exploration: Exploration | None
) -> Choice:
    """The best offer (None for no offer), or what chance picks for the declared share."""
    best_id = None if best is None else best.offer_id
    if exploration is None:
        return Choice(offer_id=best_id, propensity=1.0, explored=False, chances={best_id: 1.0})
    actions = [None, *(offer.offer_id for offer in allowed)]
    return choose(customer_id, {each: float(each == best_id) for each in actions}, exploration)


_BY_CHANCE = (
    "No offer this time: chance chose so for this customer, within the share of customers by whom "
    "the shop learns what offers change."
)
_WHY_NOT = {
    Rule.TIER: "it is for other value tiers",
    Rule.STAGE: "it is for other lifecycle stages",
    Rule.CHURN_RISK: "it is for another churn risk",
    Rule.BOUGHT: "it needs an earlier purchase from what it covers",
    Rule.FIRST_ORDER: "it is for a first order",
    Rule.EXPECTED_SPEND: "it needs a higher expected spend",
    Rule.HOLDOUT: "this customer is kept out so that its effect can be measured",
    Rule.EXPERIMENT: "an experiment withholds it from this customer",
    Rule.WORTH: "it costs more than is at stake",
    Rule.GAIN: "it is not expected to gain more than it costs",
    Rule.CAP: "it was claimed as often as one customer may",
    Rule.GROUP: "another offer of its group is held already",
    Rule.STACKING: "it may not stand beside an offer held already",
    Rule.CODES: "its codes are used up",
    Rule.BUDGET: "its budget is used up",
    Rule.PERIOD: "its budget for the present period is used up",
}


def _relevance(offer: Offer, customer: OfferCustomer) -> int:
    """Orders in what the offer covers; an offer on everything says nothing of this customer."""
    if offer.covers.categories:
        return sum(customer.bought_categories.get(name, 0) for name in offer.covers.categories)
    return len(customer.bought_items.intersection(offer.covers.item_ids))


def _reason(offer: Offer, customer: OfferCustomer, worth: OfferWorth | None, currency: str) -> str:
    cost = f"'{offer.title}' costs the shop {format_money(offer.cost, currency)}"
    risk, spend, at_stake = customer.churn_risk, customer.expected_spend, customer.at_stake
    if risk is None or spend is None or at_stake is None:
        return f"{cost}, and is for a first order, which this customer has not placed yet."
    bought = bought_text(offer, customer)
    return (
        f"{cost}, and {format_money(at_stake, currency)} is at stake ({risk:.1%} churn risk of "
        f"{format_money(spend, currency)} expected spend)"
        + (f"; this customer {bought}" if bought else "")
        + (
            f"; it is expected to gain {format_money(worth.gain, currency)}."
            if worth is not None
            else "."
        )
    )


def _no_offer(considered: Mapping[str, tuple[RuleLine, ...]], as_of: datetime) -> NoOffer:
    if not considered:
        return NoOffer(reason="The shop has no offers.", rule=None, considered=considered)
    failed = [next(line.rule for line in x if not line.passed) for x in considered.values()]
    # Offers long over would drown the reason that a running one is refused.
    running: list[Rule] = [rule for rule in failed if rule is not Rule.DATES]
    if not running:
        reason = f"None of the shop's offers runs on {as_of:%Y-%m-%d}."
        return NoOffer(reason=reason, rule=Rule.DATES, considered=considered)
    counts = Counter(running)
    rule = max(Rule, key=lambda each: counts[each])
    reason = (
        f"No offer fits: the commonest reason, for {counts[rule]} of {len(running)} running on "
        f"{as_of:%Y-%m-%d}, is that {_WHY_NOT[rule]}."
    )
    return NoOffer(reason=reason, rule=rule, considered=considered)
