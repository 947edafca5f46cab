"""Rules about what the ledger says: claims, what is held, codes and budgets."""

from agent.offer_rule_line import Rule, RuleCase, RuleLine
from agent.offers import RunningClaim, moment_text


def cap(case: RuleCase) -> RuleLine:
    """The customer has claimed it less often than one customer may."""
    offer = case.offer
    since = offer.cap_since(case.moment)
    moments = case.view.claims.get(offer.offer_id, ())
    claims = sum(since is None or claimed > since for claimed in moments)
    within = "" if offer.cap_days is None else f" in {_days(offer.cap_days)}"
    return RuleLine(
        rule=Rule.CAP,
        passed=claims < offer.cap_per_customer,
        text=f"at most {offer.cap_per_customer} a customer{within}; this customer has claimed "
        f"{claims}",
    )


def group(case: RuleCase) -> RuleLine | None:
    """The customer holds no offer of its exclusive group."""
    name = case.offer.exclusive_group
    if not name:
        return None
    same = [claim for claim in _held(case) if claim.exclusive_group == name]
    return RuleLine(
        rule=Rule.GROUP,
        passed=not same,
        text=f"one at a time of the group {name}; this customer holds {_listed(case, same)}",
    )


def stacking(case: RuleCase) -> RuleLine | None:
    """It stands beside what the customer holds of other offers: all of them must allow that."""
    others = [claim for claim in _held(case) if claim.offer_id != case.offer.offer_id]
    if not case.offer.stackable:
        return RuleLine(
            rule=Rule.STACKING,
            passed=not others,
            text=f"not beside another offer; this customer holds {_listed(case, others)}",
        )
    alone = [claim for claim in others if not claim.stackable]
    if not alone:
        return None
    return RuleLine(
        rule=Rule.STACKING,
        passed=False,
        text=f"this customer holds {_listed(case, alone)}, which no other offer may stand beside",
    )


def codes(case: RuleCase) -> RuleLine | None:
    """A one-time code is left for it."""
    if not case.offer.needs_code:
        return None
    left = case.view.codes_left.get(case.offer.offer_id, 0)
    return RuleLine(
        rule=Rule.CODES,
        passed=left > 0,
        text=f"takes one of its codes; {left:,} left" if left else "its codes are used up",
    )


def budget(case: RuleCase) -> RuleLine:
    """Its budget pays for the most that a claim may cost."""
    left = case.view.budget_left(case.offer)
    return RuleLine(
        rule=Rule.BUDGET,
        passed=case.offer.hold <= left,
        text=f"{case.money(left)} of its budget of {case.money(case.offer.budget)} is left; "
        f"a claim holds {case.money(case.offer.hold)}",
    )


def period(case: RuleCase) -> RuleLine | None:
    """What is left for the present period pays for the most that a claim may cost."""
    offer = case.offer
    if offer.period_budget is None or offer.period_days is None:
        return None
    left = offer.period_budget - case.view.period_spent.get(offer.offer_id, 0)
    return RuleLine(
        rule=Rule.PERIOD,
        passed=offer.hold <= left,
        text=f"{case.money(left)} of {case.money(offer.period_budget)} for the present "
        f"{_days(offer.period_days)} is left; a claim holds {case.money(offer.hold)}",
    )


def _held(case: RuleCase) -> list[RunningClaim]:
    return [claim for claim in case.view.running if claim.until > case.moment]


def _listed(case: RuleCase, claims: list[RunningClaim]) -> str:
    each = (f"{x.offer_id} until before {moment_text(case.local(x.until))}" for x in claims)
    return " and ".join(each) or "none"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
