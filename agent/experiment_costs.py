"""What the offers under test cost, from the ledger."""

from collections import Counter
from datetime import timedelta, tzinfo

from agent.experiments import Experiment, entry_day
from agent.ledger import ClaimState, Ledger

_COUNTED = (ClaimState.CLAIMED, ClaimState.REDEEMED)


def claim_costs(ledger: Ledger, experiment: Experiment, zone: tzinfo) -> dict[str, int]:
    """Cost of what each customer took of the offers under test within their own horizon.

    A redeemed claim costs what it took off; one that may still be redeemed costs nothing yet, but
    its customer is among those who took.

    Args:
        ledger: the shop's.
        experiment: which.
        zone: the shop's time zone.

    Returns:
        Minor units by customer; who took nothing is absent.
    """
    costs: Counter[str] = Counter()
    for claim in ledger.claims_of_offers(experiment.offers):
        first = entry_day(experiment, claim.customer_id)
        day = claim.claimed_at.astimezone(zone).date()
        within = first <= day < first + timedelta(days=experiment.horizon_days)
        if within and claim.state in _COUNTED:
            costs[claim.customer_id] += claim.discount
    return dict(costs)
