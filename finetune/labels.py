"""What came after a cut-off: the labels that a predictor learns and is judged by."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from retrieval.event_log import EventLog
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast, read_pasts
from retrieval.shop import ChurnDefinition, ShopSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One customer at one cut-off.

    Attributes:
        past: what was known before the cut-off.
        spend: purchases within the horizon after it, minor units.
        churned: by the shop's definition.
    """

    past: CustomerPast
    spend: int
    churned: bool


_HOLDOUT = """
SELECT customer_id, sum(amount)::BIGINT AS spend, count(*) AS purchases
FROM events
WHERE kind = 'purchase' AND timestamp >= $start AND timestamp < $end
GROUP BY ALL
"""


def build_labels(log: EventLog, cutoff: datetime, settings: ShopSettings) -> list[Example]:
    """Pair every customer with an order before the cut-off with what came after it.

    Args:
        log: the event log.
        cutoff: histories end and the holdout begins here.
        settings: horizon and churn definition.

    Returns:
        Examples in the order of customer ids.
    """
    horizon = settings.churn.horizon_days
    holdout = log.query(_HOLDOUT, {"start": cutoff, "end": cutoff + timedelta(days=horizon)})
    after = {row["customer_id"]: row for row in holdout.to_pylist()}
    examples = []
    for past in read_pasts(log, cutoff):
        row = after.get(past.customer_id)
        spend = row["spend"] if row else 0
        churned = (
            row is None
            if settings.churn.definition is ChurnDefinition.INACTIVE
            else spend < usual_spend(past, horizon) / 2
        )
        examples.append(Example(past=past, spend=spend, churned=churned))
    return examples


def tier_thresholds(spends: list[int], settings: ShopSettings) -> tuple[float, ...]:
    """Holdout spend (minor units) at which each tier above the lowest begins.

    Call it with the training window's spends only; the test window must not move the cuts.
    """
    return tuple(float(cut) for cut in np.quantile(spends, settings.value.quantiles))


def tier_of(spend: float, thresholds: tuple[float, ...]) -> int:
    """Index of the tier of a holdout spend, 0 for the lowest."""
    return int(np.searchsorted(thresholds, spend, side="right"))
