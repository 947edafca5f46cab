"""An agent without models: the real values, answered from a few made-up customers."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from agent.answers import (
    Answer,
    CustomerCard,
    Intent,
    Prediction,
    RecentOrder,
    Recommendations,
)
from agent.errors import LedgerError
from agent.ledger import Claim, ClaimState, Turn
from agent.offer_choice import NoOffer, OfferDecision
from agent.offer_rules import Rule, RuleLine
from agent.offers import Offer, OfferKind
from agent.stream import Finished, Offered, Predicted, Recommended, Said, StreamEvent, Understood
from agent.viewer import Viewer
from finetune.drivers import Driver, LineKind
from finetune.value import Stage
from retrieval.errors import ShopError, UnknownCustomerError
from retrieval.evidence import Evidence
from retrieval.filters import Filters
from retrieval.ranking import Recommendation
from retrieval.shop import Shop, ShopSettings
from retrieval.source_names import SourceName

NOW = datetime(2018, 1, 1, 12, tzinfo=UTC)
CUSTOMERS = ("1229", "718", "40")
NEWCOMER = "77"  # has not ordered yet
HOSTILE_TITLE = "<img src=x onerror=\"document.title='owned'\"> **SOUP** {{value}} ${1+1}\u202e"
SENTENCES = (
    "Customer {id} placed 96 orders since 2017-01-02.",
    "Their churn risk is 34% over the next 90 days.",
    "Their last order was on 2017-12-28 (order 41656790294).",
)


@dataclass
class Memory:
    """What all viewers' agents share."""

    turns: dict[tuple[str, str], list[Turn]] = field(default_factory=dict)
    feedback: list[tuple[str, str, str, bool]] = field(default_factory=list)
    claims: dict[str, Claim] = field(default_factory=dict)
    asked: list[tuple[str, str | None, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class FakeAgent:
    """Stands in for `agent.agent.Agent`."""

    def __init__(
        self, shop: Shop, viewer: Viewer | None = None, memory: Memory | None = None
    ) -> None:
        self.shop = shop
        self.viewer = viewer or Viewer.desk()
        self.memory = memory or Memory()

    def for_viewer(self, viewer: Viewer) -> "FakeAgent":
        return FakeAgent(self.shop, viewer, self.memory)

    def customers(self, contains: str = "", limit: int = 50) -> list[str]:
        self.viewer.check_desk("The list of customers")
        return [customer_id for customer_id in CUSTOMERS if contains in customer_id][:limit]

    def card(self, customer_id: str, *, explained: bool = False) -> CustomerCard:
        self.viewer.check_may_see(customer_id)
        if customer_id == NEWCOMER:
            raise UnknownCustomerError(
                f"There is no customer '{customer_id}' with an order before 2018-01-01.",
                hint="Check the id; ingest the customer's events if they are new.",
            )
        if customer_id not in CUSTOMERS:
            raise ShopError(
                f"There is no customer '{customer_id}'.", hint="Choose one from the list."
            )
        desk = self.viewer.is_desk
        return CustomerCard(
            customer_id=customer_id,
            as_of=NOW,
            currency="USD",
            first_order=date(2017, 1, 2),
            last_order=date(2017, 12, 28),
            orders=96,
            spend=482_610,
            recent_orders=tuple(
                RecentOrder(
                    order_id=f"4165679029{day % 10}",
                    day=date(2017, 12, day),
                    amount=1_234 + 517 * day,
                    item_count=14,
                    titles=(
                        "SOFT DRINKS 12/18&15PK CAN CAR",
                        "FLUID MILK WHITE ONLY",
                        HOSTILE_TITLE,
                    )
                    if day == 28
                    else ("YOGURT NOT MULTI-PACKS", "SHREDDED CHEESE"),
                )
                for day in (28, 21, 17, 9, 3)
            ),
            monthly_spend=tuple(
                (date(2017, month, 1), amount)
                for month, amount in enumerate(
                    (
                        41000,
                        38250,
                        52010,
                        47790,
                        0,
                        43900,
                        51420,
                        44030,
                        38990,
                        46020,
                        33100,
                        46100,
                    ),
                    start=1,
                )
            ),
            history=f"Customer {customer_id}. Usual gap 4 days.\nLast order: {HOSTILE_TITLE}",
            prediction=replace(_prediction(customer_id), drivers=_DRIVERS if explained else None)
            if desk
            else None,
            similar_left=(6, 10) if desk else None,
        )

    def chat(
        self, text: str, *, customer_id: str | None = None, conversation_id: str
    ) -> Iterator[StreamEvent]:
        about = customer_id or self.viewer.customer_id
        assert about is not None
        self.viewer.check_may_see(about)
        if "broken" in text:
            raise RuntimeError("secret detail of the server")
        self.memory.asked.append((text, about, conversation_id))
        yield Understood(intent=Intent.WHO, customer_id=about)
        yield Predicted(prediction=_prediction(about))
        items, offer = _items(), self.offer(about)
        yield Recommended(items=items)
        yield Offered(offer=offer)
        said = [sentence.format(id=about) for sentence in SENTENCES]
        for sentence in said:
            time.sleep(0.2)
            yield Said(sentence=sentence, written=True, replaced=False)
        answer = " ".join(said)
        kept = self.memory.turns.setdefault((self.viewer.login, conversation_id), [])
        kept.append(self._turn("user", text, about, conversation_id))
        kept.append(self._turn("assistant", answer, about, conversation_id))
        yield Finished(
            answer=Answer(
                text=answer,
                intent=Intent.WHO,
                customer_id=about,
                items=items,
                offer=offer,
                prediction=_prediction(about),
                evidence=(),
                replaced_sentences=0,
                written_sentences=3,
                currency="USD",
            )
        )

    def recommend(
        self,
        customer_id: str | None,
        *,
        count: int = 5,
        filters: Filters | None = None,
        conversation_id: str | None = None,
        with_offer: bool = True,
    ) -> Recommendations:
        if customer_id is None:
            self.viewer.check_desk("A recommendation for somebody new")
        else:
            self.viewer.check_may_see(customer_id)
        offer = NoOffer(reason="No offer fits.", rule=None, considered={})
        known = customer_id in CUSTOMERS
        return Recommendations(
            customer_id=customer_id,
            items=_items()[:count],
            offer=(self.offer(str(customer_id)) if known else offer) if with_offer else None,
            currency="USD",
        )

    def offer(self, customer_id: str) -> OfferDecision | NoOffer:
        self.viewer.check_may_see(customer_id)
        if customer_id == "40":
            return NoOffer(
                reason="No offer fits: it costs more than is at stake.",
                rule=Rule.WORTH,
                considered={},
            )
        return OfferDecision(
            offer=_OFFER,
            reason="'$1.00 off yogurt' costs the shop $0.85, and $41.20 is at stake "
            "(34.0% churn risk of $121.18 expected spend); this customer bought YOGURT in 12 "
            "orders.",
            rules=(
                RuleLine(rule=Rule.DATES, passed=True, text="runs from 2017-12-01 to 2018-01-31"),
                RuleLine(rule=Rule.WORTH, passed=True, text="costs $0.85; $41.20 is at stake"),
                RuleLine(
                    rule=Rule.CAP,
                    passed=True,
                    text="at most 1 a customer; this customer has claimed 0",
                ),
                RuleLine(
                    rule=Rule.BUDGET, passed=True, text="$84.15 of its budget of $85.00 is left"
                ),
            ),
            cost=85,
            runner_up=None,
            considered={},
        )

    def accept_offer(self, customer_id: str, offer_id: str, *, idempotency_key: str) -> Claim:
        self.viewer.check_may_see(customer_id)
        with self.memory.lock:
            if idempotency_key in self.memory.claims:
                return self.memory.claims[idempotency_key]
            if any(claim.customer_id == customer_id for claim in self.memory.claims.values()):
                raise LedgerError(
                    f"Customer {customer_id} has claimed this offer as often as one may.",
                    hint="Look at the next offer.",
                )
            claim = Claim(
                claim_id="c1a1b2c3d4e5f6",
                offer_id=offer_id,
                customer_id=customer_id,
                state=ClaimState.CLAIMED,
                cost=_OFFER.cost,
                held=_OFFER.hold,
                discount=0,
                code=None,
                claimed_at=NOW,
                expires=_OFFER.expires,
                repeated=False,
            )
            self.memory.claims[idempotency_key] = claim
        return claim

    def feedback(self, customer_id: str, item_id: str, *, liked: bool) -> None:
        self.viewer.check_may_see(customer_id)
        self.memory.feedback.append((self.viewer.login, customer_id, item_id, liked))

    def turns(self, conversation_id: str, limit: int = 50) -> list[Turn]:
        return self.memory.turns.get((self.viewer.login, conversation_id), [])[-limit:]

    def writing_counts(self) -> tuple[int, int]:
        return 240, 19

    def _turn(self, role: str, text: str, customer_id: str, conversation_id: str) -> Turn:
        return Turn(
            conversation_id=conversation_id,
            login=self.viewer.login,
            customer_id=customer_id,
            role="user" if role == "user" else "assistant",
            text=text,
            at=NOW,
        )


def make_shop(directory: Path) -> Shop:
    """A shop with settings and nothing else."""
    return Shop.create(directory, ShopSettings(name="Corner & Sons"))


def _prediction(customer_id: str) -> Prediction:
    return Prediction(
        customer_id=customer_id,
        as_of=NOW,
        value_tier="high",
        tier_probabilities={"low": 0.07, "middle": 0.21, "high": 0.72},
        churn_risk=0.34,
        churn_definition="spend under half of the usual in the next 90 days",
        horizon_days=90,
        expected_spend=121_18,
        expected_spend_low=60_10,
        expected_spend_high=1_175_00,
        expected_spend_coverage=0.8,
        season="unknown: the log holds only 364 days before the cut-off (544 are needed)",
        ltv=418_40,
        currency="USD",
        stage=Stage.LOYAL,
        adapter_id="shipped",
        evidence=(),
    )


_DRIVERS = tuple(
    Driver(
        line=line,
        text=text,
        churn_risk_change=risk,
        expected_spend_change=spend,
        tier_chance_change=0.0,
    )
    for line, text, risk, spend in (
        (
            LineKind.RHYTHM,
            "Last order 40 days ago, usual gap 4 days: very late.",
            0.061,
            -1_230.0,
        ),
        (LineKind.TOTALS, "In all 96 orders in 12 months, average 50.", -0.032, 410.0),
        (LineKind.BASKET, f"Last order 18: {HOSTILE_TITLE}.", 0.012, 0.0),
        (LineKind.FAVOURITES, "Often buys FLUID MILK WHITE ONLY.", -0.002, 30.0),
    )
)

_OFFER = Offer(
    offer_id="yogurt",
    title="$1.00 off yogurt",
    description="On any yogurt, once.",
    kind=OfferKind.AMOUNT,
    value=100,
    max_discount=None,
    cost=85,
    budget=8500,
    starts=datetime(2017, 12, 1, tzinfo=UTC),
    expires=datetime(2018, 2, 1, tzinfo=UTC),
)


def _items() -> tuple[Recommendation, ...]:
    rows = (
        ("995242", "FLUID MILK WHITE ONLY", "FLUID MILK PRODUCTS", 100, SourceName.OWN),
        ("1029743", "YOGURT NOT MULTI-PACKS", "YOGURT", 69, SourceName.OWN),
        ("880888", HOSTILE_TITLE, "SOUP", 129, SourceName.TOGETHER),
        ("916122", "CHICKEN BREAST BONELESS", "CHICKEN", None, SourceName.SIMILAR),
    )
    return tuple(
        Recommendation(
            item_id=item_id,
            title=title,
            category=category,
            price=price,
            score=0.05,
            sources=(source, SourceName.POPULAR) if item_id == "995242" else (source,),
            reason="Bought in 31 orders, last on 2017-12-28 (order 41656790298).",
            evidence=(
                Evidence(id=f"item:{item_id}", text=f"{title} ({category})"),
                Evidence(id="order:41656790298", text=f"order 41656790298 on 2017-12-28: {title}"),
            ),
        )
        for item_id, title, category, price, source in rows
    )
