"""What came after a cut-off: the labels that a predictor learns and is judged by."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from retrieval.event_log import EventLog
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast, read_pasts
from retrieval.outcomes import has_churned, spend_between
from retrieval.shop import ShopSettings


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
    after = spend_between(log, cutoff, cutoff + timedelta(days=horizon))
    examples = []
    for past in read_pasts(log, cutoff):
        spend = after.get(past.customer_id)
        usual = usual_spend(past, horizon)
        examples.append(
            Example(
                past=past,
                spend=spend or 0,
                churned=has_churned(settings.churn.definition, spend, usual),
            )
        )
    return examples


def tier_thresholds(spends: list[int], settings: ShopSettings) -> tuple[float, ...]:
    """Holdout spend (minor units) at which each tier above the lowest begins.

    Call it with the training window's spends only; the test window must not move the cuts.
    """
    return tuple(float(cut) for cut in np.quantile(spends, settings.value.quantiles))


def tier_of(spend: float, thresholds: tuple[float, ...]) -> int:
    """Index of the tier of a holdout spend, 0 for the lowest."""
    return int(np.searchsorted(thresholds, spend, side="right"))
