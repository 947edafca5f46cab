"""Offers: what they are, and what the rules may know of a customer. No model has a say here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum


class OfferKind(StrEnum):
    """How an offer lowers the price: by a share of it or by a fixed amount."""

    PERCENT = "percent"
    AMOUNT = "amount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Covers:
    """What an offer is valid on; both empty is everything.

    Attributes:
        categories: the categories it belongs to.
        item_ids: where given, only these items, whatever their category.
    """

    categories: tuple[str, ...] = ()
    item_ids: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether the offer is valid on all that the shop sells."""
        return not self.categories and not self.item_ids

    def includes(self, item_id: str, category: str) -> bool:
        """Whether the offer is valid on an item."""
        if self.item_ids:
            return item_id in self.item_ids
        return self.everything or category in self.categories


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """Who may have an offer; what is left empty restricts nobody.

    Attributes:
        tiers: value tiers.
        stages: lifecycle stages.
        min_churn_risk: lowest churn risk, 0 to 1.
        max_churn_risk: highest churn risk, 0 to 1.
        bought_category: must have bought from the categories or items that the offer covers.
        first_order: only customers without an order yet, of whom no rule above can be asked.
        min_expected_spend: lowest expected spend in the horizon, minor units.
    """

    tiers: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    min_churn_risk: float | None = None
    max_churn_risk: float | None = None
    bought_category: bool = False
    first_order: bool = False
    min_expected_spend: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One benefit with a cost and rules. All money is in minor units.

    Attributes:
        value: whole percent, or an amount.
        min_discount: the least that a percent offer takes off; None for none, and for an amount.
        max_discount: the most that a percent offer takes off; None for an amount.
        min_order: smallest order that it is valid on; 0 for any.
        cost: expected cost of one redemption to the shop.
        cap_per_customer: claims one customer may make, ever or within `cap_days`.
        cap_days: length of the window that the cap looks back on; None for ever.
        budget: what all claims together may cost.
        period_budget: what the claims of one period may cost; None for no such limit.
        period_days: length of a budget period; periods follow one another from `starts`.
        starts: first moment, aware, in the shop's time zone.
        expires: the moment after the last, aware, in the shop's time zone.
        exclusive_group: a customer holds at most one running claim in it; "" for none.
        stackable: whether a customer may hold it beside running claims of other offers.
        needs_code: whether each claim takes one of the offer's one-time codes.
        holdout_share: share of customers, 0 to below 1, who never get it, so that what it changes
            can be measured.
        effect_group: kind of past campaign whose measured effect it is taken to have; "" for none.
        source: where the offer comes from, such as a campaign; "" for unknown.
    """

    offer_id: str
    title: str
    description: str
    kind: OfferKind
    value: int
    min_discount: int | None = None
    max_discount: int | None
    min_order: int = 0
    cost: int
    covers: Covers = field(default_factory=Covers)
    eligibility: Eligibility = field(default_factory=Eligibility)
    cap_per_customer: int = 1
    cap_days: int | None = None
    budget: int
    period_budget: int | None = None
    period_days: int | None = None
    starts: datetime
    expires: datetime
    exclusive_group: str = ""
    stackable: bool = True
    needs_code: bool = False
    holdout_share: float = 0.0
    effect_group: str = ""
    source: str = ""

    def runs_at(self, moment: datetime) -> bool:
        """Whether the offer is valid at an aware moment."""
        # Times of one zone would compare by what the clock shows, which goes back in autumn.
        at = moment.astimezone(UTC)
        return self.starts <= at < self.expires

    def period_start(self, moment: datetime) -> datetime | None:
        """When the budget period of a moment began; None where the offer has no periods.

        A period is so many times 24 hours from `starts`.
        """
        if self.period_days is None:
            return None
        period = timedelta(days=self.period_days)
        # Between times of one zone Python counts days of the clock, of 23 to 25 hours.
        first = self.starts.astimezone(UTC)
        return first + (moment - first) // period * period

    def cap_since(self, moment: datetime) -> datetime | None:
        """Claims after it count towards the cap at a moment, in UTC; None where all do.

        A day of the cap is 24 hours.
        """
        if self.cap_days is None:
            return None
        return moment.astimezone(UTC) - timedelta(days=self.cap_days)

    @property
    def hold(self) -> int:
        """What a claim holds of the budget until it is redeemed: the most it is known to cost."""
        largest = self.value if self.kind is OfferKind.AMOUNT else self.max_discount or 0
        return max(self.cost, largest)

    @property
    def valid_before(self) -> str:
        """The moment it expires as people read it: the day alone where that begins then."""
        return moment_text(self.expires)


class OfferBook(Mapping[str, Offer]):
    """Offers by id, in the order of ids.

    Args:
        currency: ISO 4217 code that all amounts are in.
    """

    def __init__(self, offers: Iterable[Offer], *, currency: str) -> None:
        self.currency = currency
        self._offers = {offer.offer_id: offer for offer in sorted(offers, key=_offer_id)}

    def __getitem__(self, offer_id: str) -> Offer:
        return self._offers[offer_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._offers)

    def __len__(self) -> int:
        return len(self._offers)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferCustomer:
    """What the rules may know of a customer; by default, somebody without an order.

    Tier, churn risk, stage and expected spend are known from the first order on, all or none.

    Attributes:
        churn_risk: calibrated probability of churn, 0 to 1.
        stage: lifecycle stage.
        expected_spend: in the horizon, minor units.
        bought_categories: number of orders by category.
        bought_items: ids of every item ever bought.
    """

    customer_id: str
    value_tier: str | None = None
    churn_risk: float | None = None
    stage: str | None = None
    expected_spend: int | None = None
    bought_categories: Mapping[str, int] = field(default_factory=dict)
    bought_items: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        known = [
            fact is not None
            for fact in (self.value_tier, self.churn_risk, self.stage, self.expected_spend)
        ]
        if any(known) != all(known):
            raise ValueError("tier, churn risk, stage and expected spend are known together")
        if self.churn_risk is not None and not 0 <= self.churn_risk <= 1:
            raise ValueError(f"churn_risk must be from 0 to 1, not {self.churn_risk}")

    @property
    def has_ordered(self) -> bool:
        """Whether the customer has an order."""
        return self.stage is not None

    @property
    def at_stake(self) -> int | None:
        """Spend that leaving would cost the shop, in expectation, minor units; None if unknown."""
        if self.churn_risk is None or self.expected_spend is None:
            return None
        return round(self.churn_risk * self.expected_spend)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningClaim:
    """A claim or reservation that a customer holds: neither redeemed, nor given back, nor over.

    Attributes:
        until: the moment it ends, aware.
    """

    offer_id: str
    exclusive_group: str
    stackable: bool
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """What the ledger says of one customer and of all budgets, at one moment.

    Attributes:
        claims: moments of this customer's claims by offer; what was given back does not count.
        running: what this customer holds.
        spent: held and spent for all customers by offer, minor units.
        period_spent: likewise, within each offer's present budget period.
        codes_left: one-time codes that nobody has, by offer.
    """

    claims: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    running: tuple[RunningClaim, ...] = ()
    spent: Mapping[str, int] = field(default_factory=dict)
    period_spent: Mapping[str, int] = field(default_factory=dict)
    codes_left: Mapping[str, int] = field(default_factory=dict)

    def budget_left(self, offer: Offer) -> int:
        """What is left of an offer's budget, minor units."""
        return offer.budget - self.spent.get(offer.offer_id, 0)


def moment_text(moment: datetime) -> str:
    """An aware moment as people read it: the day alone at midnight, else with time and zone."""
    return f"{moment:%Y-%m-%d}" if moment.time() == time() else f"{moment:%Y-%m-%d %H:%M %Z}"


def _offer_id(offer: Offer) -> str:
    return offer.offer_id
