"""What a decision could have come to: written into the ledger's log, and read to learn from."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from agent.ledger import LoggedDecision
from agent.offer_choice import NoOffer, OfferDecision
from finetune.decision_effects import LoggedChoice


def open_actions(decision: OfferDecision | NoOffer, period: str) -> dict[str, Any]:
    """The part of a logged decision's inputs that later learning reads, as JSON values.

    Args:
        decision: made to a customer.
        period: in which the customer's draw is one.
    """
    return {"period": period, "actions": [asdict(each) for each in decision.actions]}


def logged_choices(decisions: Iterable[LoggedDecision]) -> tuple[LoggedChoice, ...]:
    """What was decided, among what, and with which chances, in the order given.

    A decision of an earlier version, which logged only the chance of what it came to, has none.
    """
    return tuple(_choice(each) for each in decisions)


def _choice(decision: LoggedDecision) -> LoggedChoice:
    actions = decision.inputs.get("actions", ())
    chances: defaultdict[str | None, float] = defaultdict(float)
    for action in actions:
        chances[action["kind"]] += action["chance"]
    return LoggedChoice(
        customer_id=decision.customer_id,
        at=decision.at,
        # Without a period, each decision counts as one of its own.
        period=str(decision.inputs.get("period", f"decision {decision.decision_id}")),
        kind=next(
            (each["kind"] for each in actions if each["offer_id"] == decision.offer_id), None
        ),
        explored=decision.explored,
        chances=dict(chances),
    )
