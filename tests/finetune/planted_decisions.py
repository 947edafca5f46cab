"""A made shop whose campaigns mislead and whose own decisions were drawn by known chances.

Customers buy once a week: keen ones for $20, steady ones for $10. Campaigns are sent to those about
to spend $3 a week more whatever they are sent, which nothing in the log shows beforehand. Late in
the log the shop decides for everybody: keen ones are made the offer nine times in ten, steady ones
every second time. The offer adds `effect` a week for four weeks, and so do the campaigns.
"""

from datetime import timedelta
from pathlib import Path

import numpy as np

from finetune.contacts import Contact, write_contacts
from finetune.decision_effects import LoggedChoice
from retrieval.shop import Shop, ShopSettings
from tests.finetune.hand_made import day, event_table

WEEKS, WEEKS_OF_EFFECT = 42, 4
CAMPAIGN_STARTS = (98, 182)  # one in either half of the log
DECIDED = 252
WINDOW = 7 * WEEKS_OF_EFFECT
MISLEADING = 300


def planted_decisions(
    directory: Path, *, effect: int, customers: int = 400, seed: int = 0
) -> tuple[Shop, list[LoggedChoice]]:
    """The shop, and what it decided on day `DECIDED`."""
    generator = np.random.default_rng(seed)
    keen = generator.random(customers) < 0.5
    about_to = generator.random((len(CAMPAIGN_STARTS), customers)) < 0.4
    offered = generator.random(customers) < np.where(keen, 0.9, 0.5)
    rows = []
    for customer in range(customers):
        for week in range(WEEKS):
            when = 7 * week + 3.0
            amount = (2000 if keen[customer] else 1000) + generator.normal(0, 100)
            for number, start in enumerate(CAMPAIGN_STARTS):
                if start <= when < start + WINDOW:
                    amount += (effect + MISLEADING) * about_to[number, customer]
            if DECIDED <= when < DECIDED + WINDOW:
                amount += effect * offered[customer]
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
                starts=day(0) + timedelta(days=start),
                ends=day(0) + timedelta(days=start + WINDOW),
            )
            for number, start in enumerate(CAMPAIGN_STARTS)
            for customer in np.flatnonzero(about_to[number])
        ],
    )
    return shop, [
        LoggedChoice(
            customer_id=f"c{customer:03d}",
            at=day(0) + timedelta(days=DECIDED),
            period="9",
            kind="mail" if offered[customer] else None,
            explored=bool(not keen[customer]),
            chances={None: 0.1, "mail": 0.9} if keen[customer] else {None: 0.5, "mail": 0.5},
        )
        for customer in range(customers)
    ]
