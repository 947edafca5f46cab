"""Which customer is to get which offer, under a budget, over the whole shop."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from agent.allocation import Allocation, allocate
from agent.errors import OfferError
from agent.experiments import withheld
from agent.offer_customers import KnownOfferCustomer, known_customers, scored_customers
from agent.offer_rules import apply_rules
from agent.offer_worth import OfferWorth, gain_terms, offer_worths
from agent.offers import LedgerView, Offer, OfferCustomer
from agent.resources import Resources, Snapshot
from finetune.calibration import Floats
from finetune.offer_effects import OfferEffects
from retrieval.money import to_major
from retrieval.progress import Progress, no_progress
from retrieval.shop import write_atomically
from retrieval.time_split import present

PLAN_FILE = "offer_plan.csv"
_SHOWN_EVERY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOffer:
    """One customer's offer."""

    customer_id: str
    offer: Offer
    worth: OfferWorth


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferPlan:
    """Who is to get what.

    Attributes:
        planned: one a customer who gets one, in the order of customers.
        customers: how many were looked at.
        eligible: how many of them some offer was open to and worth its cost.
        budget: what all offers together may cost in expectation, minor units; None for no limit.
        allocation: its gain, cost, proven bound and gap.
        best_single: offer that would gain most if it alone were made, within the same budget; None
            where none gains anything.
        best_single_gain: what that would gain, minor units.
    """

    planned: tuple[PlannedOffer, ...]
    customers: int
    eligible: int
    budget: int | None
    allocation: Allocation
    best_single: Offer | None
    best_single_gain: int
    currency: str

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts; money in major units."""

        def money(minor: float) -> float:
            return float(to_major(round(minor), self.currency))

        single = self.best_single
        return {
            "customers": self.customers,
            "eligible": self.eligible,
            "offers_made": len(self.planned),
            "budget": None if self.budget is None else money(self.budget),
            "expected_gain": money(self.allocation.gain),
            "expected_cost": money(self.allocation.cost),
            "upper_bound": money(self.allocation.upper_bound),
            "gap": self.allocation.gap,
            "best_single_offer": None if single is None else single.offer_id,
            "best_single_gain": money(self.best_single_gain),
            "currency": self.currency,
        }


def plan_offers(
    resources: Resources, *, budget: int | None = None, progress: Progress = no_progress
) -> OfferPlan:
    """Choose at most one offer for every customer so that the whole gain is highest.

    Every rule is asked for every customer; expected gains come from the learned effects and the
    shop's own predictions. Nothing is made or claimed: the plan says what would be.

    Args:
        resources: the shop's.
        budget: what all offers together may cost in expectation, minor units; None for no limit
            but the offers' own budgets.
        progress: told after each chunk of customers.

    Raises:
        OfferError: no effects were learned, or customers were not scored, or since changed.
    """
    snapshot = resources.snapshot()
    effects = snapshot.effects
    if effects is None:
        raise OfferError(
            "The shop has learned no effects of offers, so none can be worth its cost.",
            hint=f"Learn them first: patron offers learn --shop {resources.shop.directory}",
        )
    now = present(resources.shop)
    offers = [offer for offer in snapshot.offers.values() if offer.runs_at(now)]
    scored = scored_customers(resources.shop, now)
    ids = list(scored)
    gain = np.zeros((len(ids), len(offers)))
    cost = np.zeros((len(ids), len(offers)), dtype=np.int64)
    eligible = np.zeros((len(ids), len(offers)), dtype=bool)
    worths: list[Mapping[str, OfferWorth]] = []
    known = known_customers(resources.shop, snapshot.catalogue, scored, now)
    for row, each in enumerate(known):
        worths.append(_worths_of(resources, snapshot, effects, each, offers))
        for column, offer in enumerate(offers):
            worth = worths[row][offer.offer_id]
            gain[row, column], cost[row, column] = worth.gain, worth.cost
        eligible[row] = _eligible(resources, snapshot, each.customer, offers, worths[row], now)
        if row % _SHOWN_EVERY == 0 or row + 1 == len(ids):
            progress("Weighing offers", row + 1, len(ids))
    view = resources.ledger.view("", now)
    own = [_money_left(offer, view) for offer in offers]
    for column, offer in enumerate(offers):
        if offer.needs_code:
            left = view.codes_left.get(offer.offer_id, 0)
            _keep_the_best(gain[:, column], eligible[:, column], left)
    allocation = allocate(gain, cost, budget=budget, offer_budgets=own, eligible=eligible)
    single, single_gain = _best_single(gain, cost, eligible, own, budget)
    return OfferPlan(
        planned=tuple(
            PlannedOffer(
                customer_id=customer_id,
                offer=offers[choice],
                worth=worths[row][offers[choice].offer_id],
            )
            for row, (customer_id, choice) in enumerate(zip(ids, allocation.choice, strict=True))
            if choice >= 0
        ),
        customers=len(ids),
        eligible=int(eligible.any(axis=1).sum()),
        budget=budget,
        allocation=allocation,
        best_single=None if single is None else offers[single],
        best_single_gain=round(single_gain),
        currency=snapshot.offers.currency,
    )


def write_plan(file: Path, plan: OfferPlan) -> None:
    """Write a plan as CSV, one customer a row, money in major units; atomically.

    Raises:
        StorageError: the disk refuses.
    """

    def money(minor: int) -> str:
        return str(to_major(minor, plan.currency))

    table = pa.Table.from_pylist(
        [
            {
                "customer_id": each.customer_id,
                "offer_id": each.offer.offer_id,
                "title": each.offer.title,
                "expected_gain": money(each.worth.gain),
                "low": money(each.worth.low),
                "high": money(each.worth.high),
                "expected_cost": money(each.worth.cost),
                "redemption_chance": round(each.worth.redemption_chance, 4),
                "currency": plan.currency,
            }
            for each in plan.planned
        ],
        schema=_PLAN_SCHEMA,
    )
    buffer = io.BytesIO()
    pa.csv.write_csv(table, buffer)
    write_atomically(file, buffer.getvalue())


_PLAN_SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("offer_id", pa.string()),
        ("title", pa.string()),
        ("expected_gain", pa.string()),
        ("low", pa.string()),
        ("high", pa.string()),
        ("expected_cost", pa.string()),
        ("redemption_chance", pa.float64()),
        ("currency", pa.string()),
    ]
)


def _money_left(offer: Offer, view: LedgerView) -> int:
    """What its budgets still pay for, minor units."""
    left = view.budget_left(offer)
    if offer.period_budget is not None:
        left = min(left, offer.period_budget - view.period_spent.get(offer.offer_id, 0))
    return max(0, left)


def _keep_the_best(gain: Floats, eligible: NDArray[np.bool_], count: int) -> None:
    """Leave an offer with few codes open to those only who gain most by it."""
    ranked = np.flatnonzero(eligible)
    ranked = ranked[np.argsort(-gain[ranked], kind="stable")]
    eligible[ranked[count:]] = False


def _eligible(
    resources: Resources,
    snapshot: Snapshot,
    customer: OfferCustomer,
    offers: Sequence[Offer],
    worths: Mapping[str, OfferWorth],
    now: datetime,
) -> list[bool]:
    """Whether every rule of each offer lets the customer have it."""
    day = now.astimezone(resources.shop.zone).date()
    out = withheld(
        snapshot.experiments, customer.customer_id, [offer.offer_id for offer in offers], day
    )
    view = resources.ledger.view(customer.customer_id, now)
    return [
        all(
            line.passed
            for line in apply_rules(
                offer,
                customer,
                view,
                now,
                snapshot.offers.currency,
                gain=worths[offer.offer_id],
                experiment=out.get(offer.offer_id),
            )
        )
        for offer in offers
    ]


def _worths_of(
    resources: Resources,
    snapshot: Snapshot,
    effects: OfferEffects,
    known: KnownOfferCustomer,
    offers: Sequence[Offer],
) -> Mapping[str, OfferWorth]:
    customer = known.customer
    return offer_worths(
        offers,
        effects,
        known.past,
        snapshot.contacts.get(customer.customer_id, ()),
        expected_spend=customer.expected_spend or 0,
        churn_risk=customer.churn_risk or 0.0,
        terms=gain_terms(resources.shop.settings),
    )


def _best_single(
    gain: Floats,
    cost: NDArray[np.int64],
    eligible: NDArray[np.bool_],
    own: list[int],
    budget: int | None,
) -> tuple[int | None, float]:
    """The offer that alone would gain most within the same budgets."""
    best, best_gain = None, 0.0
    for column, its_own in enumerate(own):
        alone = slice(column, column + 1)
        found = allocate(
            gain[:, alone],
            cost[:, alone],
            budget=budget,
            offer_budgets=[its_own],
            eligible=eligible[:, alone],
        )
        if found.gain > best_gain:
            best, best_gain = column, found.gain
    return best, best_gain
