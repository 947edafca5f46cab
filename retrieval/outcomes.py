"""What came after a moment: spend, and whether the customer left."""

from datetime import datetime

from retrieval.event_log import EventLog
from retrieval.shop import ChurnDefinition

_SPEND_AFTER = """
SELECT customer_id, sum(amount)::BIGINT AS spend FROM events
WHERE kind = 'purchase' AND timestamp >= $start AND timestamp < $end GROUP BY ALL
"""


def spend_between(log: EventLog, start: datetime, end: datetime) -> dict[str, int]:
    """Purchases of each customer in `[start, end)`, minor units; buyers only."""
    rows = log.query(_SPEND_AFTER, {"start": start, "end": end}).to_pylist()
    return {row["customer_id"]: row["spend"] for row in rows}


def has_churned(definition: ChurnDefinition, spend: int | None, usual: float) -> bool:
    """Whether a customer left, by the shop's definition.

    Args:
        definition: the shop's.
        spend: purchases within the horizon, minor units; None where there was none.
        usual: the customer's own usual spend per horizon, minor units.
    """
    if definition is ChurnDefinition.INACTIVE:
        return spend is None
    return (spend or 0) < usual / 2
