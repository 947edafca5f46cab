"""What customers of an experiment did in the horizon after their entry, and in the one before it.

Only customers with an order before the start are counted: whoever comes later may have come for the
offer.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from agent.daily_spend import Values, read_daily_spend
from agent.experiments import Experiment, Group, assign, entry_moment
from retrieval.shop import Shop


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Customers whose horizon is over, in the order in which they entered.

    Attributes:
        day: everything before it is known.
        customer_ids: `[n]`.
        control: `[n]`, whether in the control group.
        over: `[n]`, days from the experiment's start to the end of each one's horizon.
        values: of the experiment's metric.
        entered: customers who have entered, by group, those without an outcome yet among them.
    """

    day: date
    customer_ids: tuple[str, ...]
    control: NDArray[np.bool_]
    over: NDArray[np.int64]
    values: Values
    entered: dict[Group, int]


def read_outcomes(shop: Shop, experiment: Experiment, day: date) -> Outcomes:
    """Read from the log what is known at the beginning of a day.

    A customer counts by the group that it was assigned to, whatever it took (intention to treat),
    and not before its whole horizon is over.

    Args:
        shop: whose log.
        experiment: which; one that was stopped is read up to that day only.
        day: of the shop's time zone; purchases of earlier days are known.
    """
    day = min(day, experiment.stopped or day)
    daily = read_daily_spend(shop, day)
    known = daily.known_before(experiment.starts)
    covered = (each for each in known if experiment.covers_customer(each))
    moments = sorted((entry_moment(experiment, each), each) for each in covered)
    passed = (day - experiment.starts).days
    entered = [assign(experiment, each) for moment, each in moments if int(moment) <= passed]
    complete = [
        (int(moment), each)
        for moment, each in moments
        if int(moment) + experiment.horizon_days <= passed
    ]
    ids = tuple(each for _, each in complete)
    waited = np.array([moment for moment, _ in complete], dtype=np.int64)
    return Outcomes(
        day=day,
        customer_ids=ids,
        # Who has an outcome is among the first who entered, in the same order.
        control=np.array([group is Group.CONTROL for group in entered[: len(ids)]], dtype=np.bool_),
        over=waited + experiment.horizon_days,
        values=daily.values(
            ids,
            experiment.starts.toordinal() + waited,
            experiment.horizon_days,
            experiment.metric,
        ),
        entered={group: entered.count(group) for group in Group},
    )
