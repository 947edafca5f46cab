"""Offers: their file, and the rules that choose one. No model has a say here."""

import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import tomlkit
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agent.errors import OfferError
from retrieval.money import format_money, to_major, to_minor
from retrieval.shop import write_atomically

# Sums of many such amounts still fit the ledger's 64-bit integers.
_LARGEST_AMOUNT = 10**12


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
        min_expected_spend: lowest expected spend in the horizon, minor units.
    """

    tiers: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    min_churn_risk: float | None = None
    max_churn_risk: float | None = None
    bought_category: bool = False
    min_expected_spend: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One benefit with a cost and rules. All money is in minor units.

    Attributes:
        value: whole percent, or an amount.
        max_discount: the most that a percent offer takes off; None for an amount.
        cost: expected cost of one claim to the shop.
        cap_per_customer: claims one customer may make.
        budget: total cost of all claims that the shop allows.
        starts: first day, in the shop's time zone.
        expires: the day after the last, in the shop's time zone.
        exclusive_group: a customer holds at most one running claim in it; "" for none.
        source: where the offer comes from, such as a campaign; "" for unknown.
    """

    offer_id: str
    title: str
    description: str
    kind: OfferKind
    value: int
    max_discount: int | None
    cost: int
    covers: Covers = field(default_factory=Covers)
    eligibility: Eligibility = field(default_factory=Eligibility)
    cap_per_customer: int = 1
    budget: int
    starts: date
    expires: date
    exclusive_group: str = ""
    source: str = ""

    def runs_on(self, day: date) -> bool:
        """Whether the offer is valid on a day of the shop's time zone."""
        return self.starts <= day < self.expires


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
    """What the rules may know of a customer.

    Attributes:
        churn_risk: calibrated probability of churn, 0 to 1.
        stage: lifecycle stage.
        expected_spend: in the horizon, minor units.
        bought_categories: number of orders by category.
        bought_items: ids of every item ever bought.
    """

    customer_id: str
    value_tier: str
    churn_risk: float
    stage: str
    expected_spend: int
    bought_categories: Mapping[str, int]
    bought_items: frozenset[str]

    def __post_init__(self) -> None:
        if not 0 <= self.churn_risk <= 1:
            raise ValueError(f"churn_risk must be from 0 to 1, not {self.churn_risk}")

    @property
    def at_stake(self) -> int:
        """Spend that leaving would cost the shop, in expectation, minor units."""
        return round(self.churn_risk * self.expected_spend)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """What the ledger says of one customer and of all budgets, at one moment.

    Attributes:
        claims: this customer's number of claims by offer.
        groups: exclusive groups this customer has claimed in, each with the day on which the
            last of those claims ends.
        spent: cost of all customers' claims by offer, minor units.
    """

    claims: Mapping[str, int]
    groups: Mapping[str, date]
    spent: Mapping[str, int]

    def budget_left(self, offer: Offer) -> int:
        """What is left of an offer's budget, minor units."""
        return offer.budget - self.spent.get(offer.offer_id, 0)


class Rule(StrEnum):
    """What an offer must pass, in the order in which it is asked."""

    DATES = "dates"
    TIER = "tier"
    STAGE = "stage"
    CHURN_RISK = "churn_risk"
    BOUGHT = "bought"
    EXPECTED_SPEND = "expected_spend"
    WORTH = "worth"
    CAP = "cap"
    GROUP = "group"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLine:
    """One rule, whether it passed, and the facts in words."""

    rule: Rule
    passed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferDecision:
    """The offer that the rules chose.

    Attributes:
        reason: one sentence for the shop, of facts only.
        rules: the chosen offer's rule lines, all passed.
        cost: expected cost of a claim, minor units.
        runner_up: id of the next best offer; None where only one fits.
        considered: rule lines of every offer by id.
    """

    offer: Offer
    reason: str
    rules: tuple[RuleLine, ...]
    cost: int
    runner_up: str | None
    considered: Mapping[str, tuple[RuleLine, ...]]

    def record(self) -> dict[str, Any]:
        """The decision as JSON values, for the ledger's audit."""
        return {
            "offer_id": self.offer.offer_id,
            "reason": self.reason,
            "cost": self.cost,
            "runner_up": self.runner_up,
            "rules": [{"rule": line.rule.value, "text": line.text} for line in self.rules],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOffer:
    """No offer fits.

    Attributes:
        reason: one sentence that says why.
        rule: the rule that stopped most of the running offers; None where there are no offers.
        considered: rule lines of every offer by id.
    """

    reason: str
    rule: Rule | None
    considered: Mapping[str, tuple[RuleLine, ...]]


def read_offers(
    file: Path,
    currency: str,
    *,
    known_tiers: Collection[str] | None = None,
    known_stages: Collection[str] | None = None,
) -> OfferBook:
    """Read `offers.toml`; an absent file is an empty book.

    Args:
        file: TOML whose `[[offers]]` hold amounts in major units (1.50).
        currency: ISO 4217 code of all amounts.
        known_tiers: where given, an offer for any other value tier is an error.
        known_stages: where given, an offer for any other lifecycle stage is an error.

    Raises:
        OfferError: the file or an offer is wrong; the message names the offer and the field.
    """
    if not file.exists():
        return OfferBook([], currency=currency)
    offers: dict[str, Offer] = {}
    for number, raw in enumerate(_raw_offers(file), start=1):
        offer = _read_offer(raw, number, file, currency)
        if offer.offer_id in offers:
            raise _wrong(file, offer.offer_id, "offer_id", "another offer has the same id")
        _check_known(offer.eligibility.tiers, known_tiers, file, offer, "eligibility.tiers")
        _check_known(offer.eligibility.stages, known_stages, file, offer, "eligibility.stages")
        offers[offer.offer_id] = offer
    return OfferBook(offers.values(), currency=currency)


def write_offers(file: Path, book: OfferBook) -> None:
    """Write a book as `offers.toml`, atomically; `read_offers` gives back an equal book.

    Raises:
        StorageError: the disk refuses.
    """
    entries = [_to_toml(offer, book.currency) for offer in book.values()]
    write_atomically(file, tomlkit.dumps({"offers": entries}).encode())


def choose_offer(
    book: OfferBook, customer: OfferCustomer, ledger_view: LedgerView, as_of: datetime
) -> OfferDecision | NoOffer:
    """Choose the one offer to make to a customer, by rules alone.

    An offer must pass every rule, among them that its cost is at most the spend at stake (churn
    risk times expected spend). Of those that do, the most relevant goes first (most orders by this
    customer in what it covers), then the cheapest, then the first by id.

    Args:
        book: every offer of the shop.
        customer: facts of the customer.
        ledger_view: what this customer has claimed and what the budgets have left.
        as_of: now, aware and in the shop's time zone; its date decides which offers run.

    Raises:
        ValueError: `as_of` has no time zone.
    """
    day = local_day(as_of)
    considered = {
        offer.offer_id: _apply_rules(_Case(offer, customer, ledger_view, day, book.currency))
        for offer in book.values()
    }
    fitting = sorted(
        (book[offer_id] for offer_id, lines in considered.items() if all(x.passed for x in lines)),
        key=lambda offer: (-_relevance(offer, customer), offer.cost, offer.offer_id),
    )
    if not fitting:
        return _no_offer(considered, day)
    best = fitting[0]
    return OfferDecision(
        offer=best,
        reason=_reason(best, customer, book.currency),
        rules=considered[best.offer_id],
        cost=best.cost,
        runner_up=fitting[1].offer_id if len(fitting) > 1 else None,
        considered=considered,
    )


def local_day(as_of: datetime) -> date:
    """The date of an aware moment, as its own time zone has it.

    Raises:
        ValueError: the moment has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be aware, in the shop's time zone")
    return as_of.date()


def _offer_id(offer: Offer) -> str:
    return offer.offer_id


# --- the rules ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Case:
    offer: Offer
    customer: OfferCustomer
    view: LedgerView
    day: date
    currency: str

    def money(self, minor: int) -> str:
        return format_money(minor, self.currency)


def _apply_rules(case: _Case) -> tuple[RuleLine, ...]:
    lines = (rule(case) for rule in _RULES)
    return tuple(line for line in lines if line is not None)


def _dates(case: _Case) -> RuleLine:
    offer = case.offer
    return RuleLine(
        rule=Rule.DATES,
        passed=offer.runs_on(case.day),
        text=f"runs from {offer.starts} until before {offer.expires}; today is {case.day}",
    )


def _tier(case: _Case) -> RuleLine | None:
    tiers = case.offer.eligibility.tiers
    if not tiers:
        return None
    tier = case.customer.value_tier
    return RuleLine(
        rule=Rule.TIER,
        passed=tier in tiers,
        text=f"for value tiers {', '.join(tiers)}; this customer's is {tier}",
    )


def _stage(case: _Case) -> RuleLine | None:
    stages = case.offer.eligibility.stages
    if not stages:
        return None
    stage = case.customer.stage
    return RuleLine(
        rule=Rule.STAGE,
        passed=stage in stages,
        text=f"for lifecycle stages {', '.join(stages)}; this customer's is {stage}",
    )


def _churn_risk(case: _Case) -> RuleLine | None:
    low = case.offer.eligibility.min_churn_risk
    high = case.offer.eligibility.max_churn_risk
    if low is None and high is None:
        return None
    risk = case.customer.churn_risk
    bounds = [f"at least {low:.1%}"] if low is not None else []
    bounds += [f"at most {high:.1%}"] if high is not None else []
    return RuleLine(
        rule=Rule.CHURN_RISK,
        passed=(low is None or risk >= low) and (high is None or risk <= high),
        text=f"for a churn risk of {' and '.join(bounds)}; this customer's is {risk:.1%}",
    )


def _bought(case: _Case) -> RuleLine | None:
    if not case.offer.eligibility.bought_category:
        return None
    history = _bought_text(case.offer, case.customer)
    return RuleLine(
        rule=Rule.BOUGHT,
        passed=bool(history),
        text="for those who bought from what it covers; this customer " + (history or "never did"),
    )


def _expected_spend(case: _Case) -> RuleLine | None:
    least = case.offer.eligibility.min_expected_spend
    if least is None:
        return None
    spend = case.customer.expected_spend
    return RuleLine(
        rule=Rule.EXPECTED_SPEND,
        passed=spend >= least,
        text=f"for an expected spend of at least {case.money(least)}; "
        f"this customer's is {case.money(spend)}",
    )


def _worth(case: _Case) -> RuleLine:
    at_stake = case.customer.at_stake
    return RuleLine(
        rule=Rule.WORTH,
        passed=case.offer.cost <= at_stake,
        text=f"costs {case.money(case.offer.cost)}; {case.money(at_stake)} is at stake",
    )


def _cap(case: _Case) -> RuleLine:
    claims = case.view.claims.get(case.offer.offer_id, 0)
    cap = case.offer.cap_per_customer
    return RuleLine(
        rule=Rule.CAP,
        passed=claims < cap,
        text=f"at most {cap} a customer; this customer has claimed {claims}",
    )


def _group(case: _Case) -> RuleLine | None:
    group = case.offer.exclusive_group
    if not group:
        return None
    held_until = case.view.groups.get(group)
    free = held_until is None or held_until <= case.day
    return RuleLine(
        rule=Rule.GROUP,
        passed=free,
        text=f"one at a time of the group {group}; this customer holds "
        + ("none" if free else f"one until {held_until}"),
    )


def _budget(case: _Case) -> RuleLine:
    left = case.view.budget_left(case.offer)
    return RuleLine(
        rule=Rule.BUDGET,
        passed=case.offer.cost <= left,
        text=f"{case.money(left)} of its budget of {case.money(case.offer.budget)} is left",
    )


_RULES: tuple[Callable[[_Case], RuleLine | None], ...] = (
    _dates,
    _tier,
    _stage,
    _churn_risk,
    _bought,
    _expected_spend,
    _worth,
    _cap,
    _group,
    _budget,
)

_WHY_NOT = {
    Rule.TIER: "it is for other value tiers",
    Rule.STAGE: "it is for other lifecycle stages",
    Rule.CHURN_RISK: "it is for another churn risk",
    Rule.BOUGHT: "it needs an earlier purchase from what it covers",
    Rule.EXPECTED_SPEND: "it needs a higher expected spend",
    Rule.WORTH: "it costs more than is at stake",
    Rule.CAP: "it was claimed as often as one customer may",
    Rule.GROUP: "another offer of its group is held already",
    Rule.BUDGET: "its budget is used up",
}


def _relevance(offer: Offer, customer: OfferCustomer) -> int:
    """Orders in what the offer covers; an offer on everything says nothing of this customer."""
    if offer.covers.categories:
        return sum(customer.bought_categories.get(name, 0) for name in offer.covers.categories)
    return len(customer.bought_items.intersection(offer.covers.item_ids))


def _bought_text(offer: Offer, customer: OfferCustomer) -> str:
    """What this customer bought of what the offer covers; "" for nothing."""
    orders = {
        name: customer.bought_categories[name]
        for name in offer.covers.categories
        if customer.bought_categories.get(name)
    }
    if orders:
        listed = " and ".join(f"{name} in {_orders(count)}" for name, count in orders.items())
        return f"bought {listed}"
    items = len(customer.bought_items.intersection(offer.covers.item_ids))
    return f"bought {items} of the items it covers" if items else ""


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count} orders"


def _reason(offer: Offer, customer: OfferCustomer, currency: str) -> str:
    bought = _bought_text(offer, customer)
    return (
        f"'{offer.title}' costs the shop {format_money(offer.cost, currency)}, and "
        f"{format_money(customer.at_stake, currency)} is at stake "
        f"({customer.churn_risk:.1%} churn risk of "
        f"{format_money(customer.expected_spend, currency)} expected spend)"
        + (f"; this customer {bought}." if bought else ".")
    )


def _no_offer(considered: Mapping[str, tuple[RuleLine, ...]], day: date) -> NoOffer:
    if not considered:
        return NoOffer(reason="The shop has no offers.", rule=None, considered=considered)
    failed = [next(line.rule for line in x if not line.passed) for x in considered.values()]
    # Offers long over would drown the reason that a running one is refused.
    running: list[Rule] = [rule for rule in failed if rule is not Rule.DATES]
    if not running:
        reason = f"None of the shop's offers runs on {day}."
        return NoOffer(reason=reason, rule=Rule.DATES, considered=considered)
    counts = Counter(running)
    rule = max(Rule, key=lambda each: counts[each])
    reason = (
        f"No offer fits: the commonest reason, for {counts[rule]} of {len(running)} running on "
        f"{day}, is that {_WHY_NOT[rule]}."
    )
    return NoOffer(reason=reason, rule=rule, considered=considered)


# --- the file ----------------------------------------------------------------------------------


def _minor(raw: object, info: ValidationInfo) -> int:
    """An amount of the file, in major units, as minor units; nothing is rounded away."""
    if isinstance(raw, bool) or not isinstance(raw, int | str | Decimal):
        raise ValueError("must be an amount such as 1.50")
    try:
        amount = Decimal(raw)
    except InvalidOperation:
        raise ValueError(f"'{raw}' is no amount such as 1.50") from None
    if not amount.is_finite() or not 0 <= amount < _LARGEST_AMOUNT:
        raise ValueError(f"must be from 0 to below {_LARGEST_AMOUNT}")
    currency = info.context["currency"] if info.context else ""
    minor = to_minor(amount, currency)
    if to_major(minor, currency) != amount:
        raise ValueError(f"{raw} has more decimals than {currency} has")
    return minor


_Minor = Annotated[int, BeforeValidator(_minor)]
_Text = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
]
_Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _CoversTable(_Table):
    categories: tuple[_Name, ...] = ()
    item_ids: tuple[_Name, ...] = ()


class _EligibilityTable(_Table):
    tiers: tuple[_Name, ...] = ()
    stages: tuple[_Name, ...] = ()
    min_churn_risk: _Share | None = None
    max_churn_risk: _Share | None = None
    bought_category: bool = False
    min_expected_spend: _Minor | None = None

    @field_validator("max_churn_risk")
    @classmethod
    def _above_the_lowest(cls, high: float | None, info: ValidationInfo) -> float | None:
        low = info.data.get("min_churn_risk")
        if high is not None and low is not None and high < low:
            raise ValueError("must not be below min_churn_risk")
        return high


class _OfferTable(_Table):
    offer_id: _Name
    title: _Name
    description: _Text = ""
    kind: OfferKind
    value: int
    max_discount: _Minor | None = None
    cost: _Minor
    covers: _CoversTable = _CoversTable()
    eligibility: _EligibilityTable = _EligibilityTable()
    cap_per_customer: Annotated[int, Field(ge=1, le=1000)] = 1
    budget: _Minor
    starts: date
    expires: date
    exclusive_group: _Text = ""
    source: _Text = ""

    @field_validator("value", mode="before")
    @classmethod
    def _percent_or_amount(cls, raw: object, info: ValidationInfo) -> int:
        if info.data.get("kind") is OfferKind.AMOUNT:
            amount = _minor(raw, info)
            if amount == 0:
                raise ValueError("must be above 0")
            return amount
        if isinstance(raw, bool) or not isinstance(raw, int) or not 1 <= raw <= 100:
            raise ValueError("must be a whole percentage from 1 to 100")
        return raw

    @field_validator("expires")
    @classmethod
    def _after_the_start(cls, expires: date, info: ValidationInfo) -> date:
        starts = info.data.get("starts")
        if starts is not None and expires <= starts:
            raise ValueError("must be after starts; it is the day after the offer's last")
        return expires

    @field_validator("budget")
    @classmethod
    def _pays_one_claim(cls, budget: int, info: ValidationInfo) -> int:
        if budget < info.data.get("cost", 0):
            raise ValueError("must pay for at least one claim, so be no less than cost")
        return budget

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.kind is OfferKind.PERCENT and not self.max_discount:
            raise ValueError("max_discount: a percent offer needs one, above 0")
        if self.kind is OfferKind.AMOUNT and self.max_discount is not None:
            raise ValueError("max_discount: only a percent offer has one")
        if self.eligibility.bought_category and not (
            self.covers.categories or self.covers.item_ids
        ):
            raise ValueError("eligibility.bought_category: needs categories or item_ids in covers")
        return self

    def offer(self) -> Offer:
        return Offer(
            **{name: getattr(self, name) for name in type(self).model_fields}
            | {
                "covers": Covers(**self.covers.model_dump()),
                "eligibility": Eligibility(**self.eligibility.model_dump()),
            }
        )


def _raw_offers(file: Path) -> list[Any]:
    try:
        # The standard reader keeps 1.10 exact as a Decimal and is far faster than tomlkit.
        document = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (ValueError, OSError) as error:
        raise OfferError(
            f"{file} cannot be read: {error}.", hint="Correct or restore offers.toml."
        ) from error
    unknown = sorted(set(document) - {"offers"})
    offers = document.get("offers", [])
    if unknown or not isinstance(offers, list):
        raise OfferError(
            f"{file}: '{unknown[0] if unknown else 'offers'}' is no list of offers.",
            hint="Begin each offer with a line [[offers]], and put nothing before the first.",
        )
    return offers


def _read_offer(raw: object, number: int, file: Path, currency: str) -> Offer:
    given = raw.get("offer_id") if isinstance(raw, dict) else None
    name = given if isinstance(given, str) and given else f"number {number}"
    try:
        return _OfferTable.model_validate(raw, context={"currency": currency}).offer()
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        key = ".".join(str(part) for part in first["loc"])
        if not key:
            key, _, message = message.partition(": ")
        raise _wrong(file, name, key, message) from error


def _wrong(file: Path, offer: str, key: str, message: str) -> OfferError:
    return OfferError(
        f"{file}: offer '{offer}': '{key}': {message}.", hint=f"Correct {key} of that offer."
    )


def _check_known(
    names: Iterable[str], known: Collection[str] | None, file: Path, offer: Offer, key: str
) -> None:
    for name in names:
        if known is not None and name not in known:
            raise _wrong(
                file, offer.offer_id, key, f"'{name}' is none of {', '.join(sorted(known))}"
            )


def _to_toml(offer: Offer, currency: str) -> dict[str, Any]:
    def money(minor: int | None) -> str | None:
        return None if minor is None else str(to_major(minor, currency))

    who = offer.eligibility
    return _without_empty(
        {
            "offer_id": offer.offer_id,
            "title": offer.title,
            "description": offer.description,
            "kind": offer.kind.value,
            "value": offer.value if offer.kind is OfferKind.PERCENT else money(offer.value),
            "max_discount": money(offer.max_discount),
            "cost": money(offer.cost),
            "cap_per_customer": offer.cap_per_customer,
            "budget": money(offer.budget),
            "starts": offer.starts,
            "expires": offer.expires,
            "exclusive_group": offer.exclusive_group,
            "source": offer.source,
            "covers": _without_empty(
                {
                    "categories": list(offer.covers.categories),
                    "item_ids": list(offer.covers.item_ids),
                }
            ),
            "eligibility": _without_empty(
                {
                    "tiers": list(who.tiers),
                    "stages": list(who.stages),
                    "min_churn_risk": who.min_churn_risk,
                    "max_churn_risk": who.max_churn_risk,
                    "bought_category": who.bought_category or None,
                    "min_expected_spend": money(who.min_expected_spend),
                }
            ),
        }
    )


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value not in (None, "", [], {})}
