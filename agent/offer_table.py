"""One `[[offers]]` table of `offers.toml`: its fields, and what must hold between them."""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agent.offer_notation import read_amount, read_moment, write_moment
from agent.offers import Covers, Eligibility, Offer, OfferKind
from retrieval.money import to_major


def _amount(raw: object, info: ValidationInfo) -> int:
    return read_amount(raw, info.context["currency"] if info.context else "")


def _moment(raw: object, info: ValidationInfo) -> datetime:
    return read_moment(raw, info.context["zone"] if info.context else UTC)


_Minor = Annotated[int, BeforeValidator(_amount)]
_Moment = Annotated[datetime, BeforeValidator(_moment)]
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
_Days = Annotated[int, Field(strict=True, ge=1, le=3660)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CoversTable(_Table):
    """`[offers.covers]`."""

    categories: tuple[_Name, ...] = ()
    item_ids: tuple[_Name, ...] = ()


class EligibilityTable(_Table):
    """`[offers.eligibility]`."""

    tiers: tuple[_Name, ...] = ()
    stages: tuple[_Name, ...] = ()
    min_churn_risk: _Share | None = None
    max_churn_risk: _Share | None = None
    bought_category: StrictBool = False
    first_order: StrictBool = False
    min_expected_spend: _Minor | None = None

    @field_validator("max_churn_risk")
    @classmethod
    def _above_the_lowest(cls, high: float | None, info: ValidationInfo) -> float | None:
        low = info.data.get("min_churn_risk")
        if high is not None and low is not None and high < low:
            raise ValueError("must not be below min_churn_risk")
        return high


class OfferTable(_Table):
    """`[[offers]]`: the fields of `Offer`, amounts in major units."""

    offer_id: _Name
    title: _Name
    description: _Text = ""
    kind: OfferKind
    value: int
    min_discount: _Minor | None = None
    max_discount: _Minor | None = None
    min_order: _Minor = 0
    cost: _Minor
    covers: CoversTable = CoversTable()
    eligibility: EligibilityTable = EligibilityTable()
    cap_per_customer: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    cap_days: _Days | None = None
    budget: _Minor
    period_budget: _Minor | None = None
    period_days: _Days | None = None
    starts: _Moment
    expires: _Moment
    exclusive_group: _Text = ""
    stackable: StrictBool = True
    needs_code: StrictBool = False
    holdout_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    effect_group: _Text = ""
    source: _Text = ""

    @field_validator("value", mode="before")
    @classmethod
    def _percent_or_amount(cls, raw: object, info: ValidationInfo) -> int:
        if info.data.get("kind") is OfferKind.AMOUNT:
            amount = _amount(raw, info)
            if amount == 0:
                raise ValueError("must be above 0")
            return amount
        if isinstance(raw, bool) or not isinstance(raw, int) or not 1 <= raw <= 100:
            raise ValueError("must be a whole percentage from 1 to 100")
        return raw

    @field_validator("expires")
    @classmethod
    def _after_the_start(cls, expires: datetime, info: ValidationInfo) -> datetime:
        starts = info.data.get("starts")
        if starts is not None and expires.astimezone(UTC) <= starts.astimezone(UTC):
            raise ValueError("must be after starts; it is the day after the offer's last")
        return expires

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        for wrong in (*self._discount_faults(), *self._who_faults(), *self._budget_faults()):
            raise ValueError(wrong)
        return self

    def offer(self) -> Offer:
        """The offer that the table describes."""
        return Offer(
            **{name: getattr(self, name) for name in type(self).model_fields}
            | {
                "covers": Covers(**self.covers.model_dump()),
                "eligibility": Eligibility(**self.eligibility.model_dump()),
            }
        )

    def _discount_faults(self) -> Iterator[str]:
        if self.kind is OfferKind.AMOUNT:
            for name in ("min_discount", "max_discount"):
                if getattr(self, name) is not None:
                    yield f"{name}: only a percent offer has one; leave it out"
        elif not self.max_discount:
            yield "max_discount: a percent offer needs one, above 0; add the most it may take off"
        elif self.min_discount is not None and self.min_discount > self.max_discount:
            yield "min_discount: must not be above max_discount; lower it"

    def _who_faults(self) -> Iterator[str]:
        who = self.eligibility
        if who.bought_category and not (self.covers.categories or self.covers.item_ids):
            yield "eligibility.bought_category: needs categories or item_ids in covers; add them"
        if who.first_order:
            unset = EligibilityTable()
            for name in EligibilityTable.model_fields:
                if name != "first_order" and getattr(who, name) != getattr(unset, name):
                    yield (
                        f"eligibility.first_order: nobody without an order can meet {name}; leave "
                        "one of the two out"
                    )

    def _budget_faults(self) -> Iterator[str]:
        hold = self.offer().hold
        if self.budget < hold:
            yield (
                "budget: must pay for at least one claim; raise it to the larger of cost and the "
                "most that the offer takes off"
            )
        if self.period_days is None and self.period_budget is not None:
            yield "period_days: period_budget needs it; add how many days it is for"
        if self.period_days is not None and self.period_budget is None:
            yield "period_budget: period_days needs it; add what such a period may cost"
        if self.period_budget is not None:
            if self.period_budget < hold:
                yield (
                    "period_budget: must pay for at least one claim; raise it to the larger of "
                    "cost and the most that the offer takes off"
                )
            if self.period_budget > self.budget:
                yield "period_budget: must not be above budget; lower it"


def to_table(offer: Offer, currency: str, zone: tzinfo) -> dict[str, Any]:
    """The offer as its table; what is as by default is left out."""

    def money(minor: int | None) -> str | None:
        return None if minor is None else str(to_major(minor, currency))

    who = offer.eligibility
    table = {
        "offer_id": offer.offer_id,
        "title": offer.title,
        "description": offer.description,
        "kind": offer.kind.value,
        "value": offer.value if offer.kind is OfferKind.PERCENT else money(offer.value),
        "min_discount": money(offer.min_discount),
        "max_discount": money(offer.max_discount),
        "min_order": money(offer.min_order or None),
        "cost": money(offer.cost),
        "cap_per_customer": offer.cap_per_customer,
        "cap_days": offer.cap_days,
        "budget": money(offer.budget),
        "period_budget": money(offer.period_budget),
        "period_days": offer.period_days,
        "starts": write_moment(offer.starts, zone),
        "expires": write_moment(offer.expires, zone),
        "exclusive_group": offer.exclusive_group,
        "stackable": None if offer.stackable else False,
        "needs_code": offer.needs_code or None,
        "holdout_share": offer.holdout_share or None,
        "effect_group": offer.effect_group,
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
                "first_order": who.first_order or None,
                "min_expected_spend": money(who.min_expected_spend),
            }
        ),
    }
    return _without_empty(table)


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value not in (None, "", [], {})}
