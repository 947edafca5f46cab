"""Made logs with campaigns whose true effect is known.

Customers buy once a week. Steady ones spend $10, keen ones $20 plus what grows by week; a shop
that contacts the keen will see contacted customers spend more, whatever its campaigns do.
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from finetune.contacts import Contact, write_contacts
from retrieval.shop import Shop, ShopSettings
from tests.finetune.hand_made import day, event_table

WEEKS = 40
CUSTOMERS = 240
STARTS = (98, 126, 182, 210)  # two campaigns in either half of the log
LENGTH = 28


def planted_shop(
    directory: Path,
    *,
    effect: int,
    bias: bool,
    randomised: bool = False,
    redeeming: float = 0.0,
    seed: int = 0,
) -> Shop:
    """A shop whose campaigns add `effect` minor units a week to each contacted customer's spend.

    Args:
        directory: the shop's.
        effect: of a contact, for four weeks.
        bias: whether keen customers are contacted far more often than steady ones.
        randomised: whether the contacts name those kept out too, and everybody's chance.
        redeeming: chance that a keen contacted customer redeems a coupon; steady ones never do.
        seed: settles who is keen, who is contacted and what each order costs.
    """
    generator = np.random.default_rng(seed)
    keen = generator.random(CUSTOMERS) < 0.5
    chance = np.where(keen, 0.75, 0.25) if bias else np.full(CUSTOMERS, 0.5)
    contacted = generator.random((len(STARTS), CUSTOMERS)) < chance
    redeemed = generator.random((len(STARTS), CUSTOMERS)) < redeeming * keen
    rows = []
    for customer in range(CUSTOMERS):
        for week in range(WEEKS):
            when = 7 * week + 3.0
            running = [n for n, start in enumerate(STARTS) if start <= when < start + LENGTH]
            amount = (2000 if keen[customer] else 1000) + generator.normal(0, 150)
            amount += effect * sum(contacted[number, customer] for number in running)
            rows.append((f"c{customer:03d}", when, round(amount), "purchase"))
    shop = Shop.create(directory, ShopSettings.model_validate({"churn": {"definition": "decline"}}))
    shop.log.append(event_table(rows), source="planted")
    write_contacts(
        shop,
        [
            Contact(
                customer_id=f"c{customer:03d}",
                campaign_id=str(number),
                kind="mail",
                starts=_moment(start),
                ends=_moment(start + LENGTH),
                treated=bool(contacted[number, customer]),
                propensity=float(chance[customer]) if randomised else None,
                redemptions=int(contacted[number, customer] and redeemed[number, customer]),
                discount=100 * int(contacted[number, customer] and redeemed[number, customer]),
            )
            for number, start in enumerate(STARTS)
            for customer in range(CUSTOMERS)
            if randomised or contacted[number, customer]
        ],
    )
    return shop


def _moment(number: float) -> datetime:
    return day(0) + timedelta(days=number)
