"""Facts: what there is to say, as plain true sentences, each with the records it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent.answers import Prediction
from agent.offer_choice import NoOffer, OfferDecision
from agent.spend_words import HOW_TO_GET_AN_INTERVAL, interval_in_words, spend_in_words
from finetune.base_prior import BASE_ID
from finetune.drivers import Driver
from finetune.foresight import AverageRisk
from retrieval.catalogue import Catalogue
from retrieval.evidence import Evidence, order_evidence
from retrieval.history import quoted, usual_gap, usual_spend
from retrieval.money import format_money
from retrieval.orders import CustomerPast
from retrieval.purchases import Purchase
from retrieval.ranking import Recommendation

_TITLE = 60
_REASON = 240
_DRIVERS_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing to say.

    Attributes:
        text: a plain sentence that is true by construction; shown as it is where the model's own
            wording fails the check.
        evidence: records in whose texts every number and name of the sentence stands.
        written: whether the model words it; set phrases are said as they are.
        drivers: those that the sentence names; it is said only if they move the risk as it says.
    """

    text: str
    evidence: tuple[Evidence, ...] = ()
    written: bool = True
    drivers: tuple[Driver, ...] = ()


def log_fact(key: str, text: str, record: str) -> Fact:
    """A fact counted over the log.

    Args:
        key: what was counted.
        text: the sentence.
        record: what was counted, from where to where, and the result.
    """
    return Fact(text=text, evidence=(Evidence(id=f"log:{key}", text=record),))


def out_of_range(count: int) -> Fact:
    """The answer to "the fifth one" where there are fewer."""
    shown = "1 item" if count == 1 else f"{count} items"
    return Fact(
        text=f"I have shown {shown} only.",
        evidence=(Evidence(id="conversation:items", text=f"{count} items shown"),),
        written=False,
    )


def set_phrase(text: str) -> Fact:
    """Something said without a model and without a claim about anybody."""
    return Fact(text=text, written=False)


def thanks() -> Fact:
    """The answer to thanks."""
    return set_phrase("You're welcome. Ask me again any time.")


def help_text(*, to_customer: bool) -> Fact:
    """What can be asked."""
    if to_customer:
        return set_phrase(
            "I can tell you about your orders, recommend something within a category or price, "
            "say why I recommend it, and tell you which offer you have."
        )
    return set_phrase(
        "I can tell you who a customer is, whether they are leaving and why, what they are worth, "
        "what to recommend (within a category, a price or without something), why, what to offer, "
        "and how two customers compare."
    )


def feedback_fact(item: Recommendation, *, liked: bool) -> Fact:
    """What was taken note of."""
    title = quoted(item.title, _TITLE)
    text = f"Noted: {title} is liked." if liked else f"Noted: {title} will not be shown again."
    return Fact(text=text, evidence=item.evidence, written=False)


def nearest_categories_fact(categories: Sequence[str]) -> Fact:
    """Which categories stand in for one that the catalogue does not have.

    What was asked for is not repeated: it may be a promise that somebody wants to see written.
    """
    if not categories:
        return set_phrase("The catalogue has no category of that name.")
    names = _listed([quoted(category) for category in categories])
    return set_phrase(f"The catalogue has no category of that name; the nearest are {names}.")


def given_up_fact(note: str) -> Fact:
    """What had to be given up of what was asked for."""
    return log_fact("relaxed", note, note)


def who_facts(past: CustomerPast, currency: str, *, to_customer: bool) -> list[Fact]:
    """Since when, how many orders, how much, and the last order."""
    spend = format_money(past.spend, currency)
    orders = f"{len(past.orders)} {'order' if len(past.orders) == 1 else 'orders'}"
    subject = "You have" if to_customer else f"Customer {past.customer_id} has"
    return [
        log_fact(
            f"{past.customer_id}:orders",
            f"{subject} bought since {past.first:%Y-%m-%d}, in {orders}, for {spend} in all.",
            f"customer {past.customer_id}: {len(past.orders)} orders from {past.first:%Y-%m-%d} "
            f"(order {past.orders[0].order_id}) to {past.last:%Y-%m-%d} "
            f"(order {past.orders[-1].order_id}), purchases {spend}",
        ),
        _last_order_fact(past, currency),
    ]


def favourite_fact(past: CustomerPast, catalogue: Catalogue, *, to_customer: bool) -> list[Fact]:
    """What is bought most often; nothing where no item was bought twice."""
    if not past.favourites:
        return []
    item_id, orders = past.favourites[0]
    title = quoted(catalogue.title(item_id), _TITLE)
    subject = "You buy" if to_customer else "The customer buys"
    return [
        log_fact(
            f"{past.customer_id}:favourite",
            f"{subject} {title} most often, in {orders} orders.",
            f"orders with {title} (item {item_id}): {orders} of {len(past.orders)}",
        )
    ]


def churn_facts(
    past: CustomerPast,
    prediction: Prediction,
    average: AverageRisk,
    similar_left: tuple[int, int] | None,
) -> list[Fact]:
    """The risk against the average, and what the record shows."""
    risk, base = percent(prediction.churn_risk), percent(average.share)
    verdict = (
        "likely leaving"
        if prediction.churn_risk >= 0.5
        else "at risk of leaving"
        if prediction.churn_risk >= average.at_risk_above
        else "not likely to leave"
    )
    facts = [
        _predicted(
            prediction,
            f"Customer {past.customer_id} is {verdict}: the churn risk is {risk}, against {base} "
            "for the average customer.",
            Evidence(
                id=f"adapter:{average.adapter_id}",
                text=average.record.format(share=base),
            ),
        ),
        _predicted(
            prediction,
            f"Churn here means {prediction.churn_definition}.",
        ),
        _spend_trend_fact(past, prediction),
        _rhythm_fact(past),
    ]
    if similar_left and similar_left[1]:
        left, of = similar_left
        facts.append(
            Fact(
                text=f"Of the {of} most similar past customers, {left} left.",
                evidence=(
                    Evidence(
                        id=f"outcomes:{past.customer_id}",
                        text=f"{left} of the {of} most similar past customers left",
                    ),
                ),
            )
        )
    return facts


def driver_facts(prediction: Prediction) -> list[Fact]:
    """What moves the churn risk most, computed by leaving lines of the history out.

    A line is quoted as the predictor reads it, so no model words these sentences.
    """
    if prediction.adapter_id == BASE_ID:
        return [
            set_phrase(
                f"What moves the risk is not computed for {BASE_ID}; an adapter made by patron "
                "finetune tells it."
            )
        ]
    if prediction.drivers is None:
        return [
            set_phrase(
                "This adapter cannot tell what moves the risk; one made by patron finetune "
                "--keep-weights can."
            )
        ]
    told = [driver for driver in prediction.drivers if driver.points][:_DRIVERS_TOLD]
    if not told:
        return [
            Fact(
                text="No line of the history moves the churn risk by a point on its own.",
                evidence=tuple(_driver_record(prediction, d) for d in prediction.drivers),
                written=False,
            )
        ]
    return [
        Fact(
            text=f"This {'raises' if driver.points > 0 else 'lowers'} the churn risk by "
            f"{driver.size}: {_as_clause(driver.text)}",
            evidence=(_driver_record(prediction, driver),),
            written=False,
            drivers=(driver,),
        )
        for driver in told
    ]


def value_facts(prediction: Prediction, ltv_days: int, discount_rate: float) -> list[Fact]:
    """Tier with its probability, expected spend and lifetime value."""
    tier = percent(prediction.tier_probabilities[prediction.value_tier])
    spend = format_money(prediction.expected_spend, prediction.currency)
    ltv = format_money(prediction.ltv, prediction.currency)
    return [
        _predicted(
            prediction,
            f"Customer {prediction.customer_id} is in the {prediction.value_tier} value tier "
            f"with a probability of {tier}.",
        ),
        _predicted(
            prediction,
            f"Expected spend is {spend} over the next {prediction.horizon_days} days.",
        ),
        _spend_interval_fact(prediction),
        _predicted(
            prediction,
            f"The lifetime value over {ltv_days} days is {ltv}, discounted at "
            f"{discount_rate:.0%} a year.",
            Evidence(
                id="shop.toml:value",
                text=f"ltv_days {ltv_days}, discount_rate {discount_rate:.0%}",
            ),
        ),
    ]


def _spend_interval_fact(prediction: Prediction) -> Fact:
    """How sure the expected spend is, and whether its season is known."""
    interval = interval_in_words(prediction, "spend")
    if interval is None or prediction.season is None:
        return set_phrase(f"The expected spend comes with {HOW_TO_GET_AN_INTERVAL}.")
    return Fact(
        text=f"Of such customers {interval}; the season is {prediction.season}.",
        evidence=prediction_evidence(prediction),
        written=False,
    )


def stage_fact(prediction: Prediction) -> Fact:
    """Lifecycle stage, tier and risk in one line."""
    return _predicted(
        prediction,
        f"The lifecycle stage is {prediction.stage.value}, the value tier is "
        f"{prediction.value_tier}, and the churn risk is {percent(prediction.churn_risk)} over "
        f"{prediction.horizon_days} days.",
    )


def basis_facts(prediction: Prediction) -> list[Fact]:
    """What the prediction rests on, where it is not an adapter of the shop's own."""
    if prediction.basis is None:
        return []
    return [
        Fact(
            text=f"Mind that this prediction is {prediction.basis}.",
            evidence=prediction_evidence(prediction),
            written=False,
        )
    ]


def offer_basis_facts(basis: str | None) -> list[Fact]:
    """What the risk and the tier that an offer was chosen by rest on, likewise."""
    if basis is None:
        return []
    return [
        Fact(
            text=f"Mind that the risk and the value tier behind this are {basis}.",
            evidence=(Evidence(id=f"adapter:{BASE_ID}", text=basis),),
            written=False,
        )
    ]


def recommendation_facts(
    items: Sequence[Recommendation], *, to_customer: bool, customer_id: str
) -> list[Fact]:
    """The items by name, then why the first is there."""
    if not items:
        return [set_phrase("I found nothing that fits; try a wider price or another category.")]
    named = items[:3]
    titles = _listed([quoted(item.title, _TITLE) for item in named])
    subject = "For you I suggest" if to_customer else f"For customer {customer_id} I suggest"
    evidence = tuple(record for item in named for record in item.evidence)
    about = Evidence(id=f"customer:{customer_id}", text=f"customer {customer_id}")
    return [
        Fact(text=f"{subject}: {titles}.", evidence=(*evidence, about)),
        why_fact(items[0]),
    ]


def why_fact(item: Recommendation) -> Fact:
    """Why an item is shown."""
    reason = item.reason[0].lower() + item.reason[1:] if item.reason[0].isalpha() else item.reason
    return Fact(
        text=f"{quoted(item.title, _TITLE)}: {quoted(reason, _REASON)}", evidence=item.evidence
    )


def offer_facts(offer: OfferDecision | NoOffer, currency: str, *, to_customer: bool) -> list[Fact]:
    """What can be offered, until when, what it costs and why; costs are not for the shopper."""
    if isinstance(offer, NoOffer):
        if to_customer:
            return [set_phrase("There is no offer for you right now.")]
        return [
            Fact(
                text=f"No offer fits: {_as_clause(offer.reason)}",
                evidence=(Evidence(id="rules:none", text=offer.reason),),
                written=False,
            )
        ]
    title, expires = quoted(offer.offer.title, 90), offer.offer.valid_before
    record = Evidence(
        id=f"offer:{offer.offer.offer_id}",
        text=f"{offer.offer.title}; {offer.offer.description} Expires {expires}.",
    )
    if to_customer:
        return [Fact(text=f"Your offer is {title}, valid before {expires}.", evidence=(record,))]
    cost = Evidence(
        id=f"rules:{offer.offer.offer_id}",
        text=" ".join([offer.reason, *(line.text for line in offer.rules)])
        + f" Cost {format_money(offer.cost, currency)}.",
    )
    return [
        Fact(
            text=f"The offer is {title}, valid before {expires}, at a cost of "
            f"{format_money(offer.cost, currency)} when redeemed.",
            evidence=(record, cost),
        ),
        Fact(text=offer.reason, evidence=(record, cost), written=False),
        *_worth_facts(offer, currency),
    ]


def _worth_facts(offer: OfferDecision, currency: str) -> list[Fact]:
    """What the offer is expected to gain, and which came second."""
    name = offer.offer.offer_id
    if offer.worth is None:
        text = "What it gains is not known: the shop has learned no effects of offers yet."
        said = [Fact(text=text, evidence=(Evidence(id=f"worth:{name}", text=text),), written=False)]
    else:
        worth = offer.worth
        gain, low, high, cost = (
            format_money(amount, currency)
            for amount in (worth.gain, worth.low, worth.high, worth.cost)
        )
        chance = percent(worth.redemption_chance)
        record = Evidence(
            id=f"worth:{name}",
            text=f"expected gain {gain} (95% interval of the average {low} to {high}); expected "
            f"cost {cost}; chance of being redeemed {chance}; {worth.basis}",
        )
        said = [
            Fact(
                text=f"The chance of being redeemed is {chance}, so its expected cost is {cost}; "
                f"that is out of the gain, whose average lies between {low} and {high} (95% "
                "interval).",
                evidence=(record,),
                written=False,
            )
        ]
    if offer.explored:
        text = "Chance chose it, within the share by which the shop learns what offers change."
        said.append(
            Fact(text=text, evidence=(Evidence(id=f"explored:{name}", text=text),), written=False)
        )
    if offer.runner_up is not None:
        place = "Otherwise it had been" if offer.explored else "Second came"
        second = f"{place} {quoted(offer.runner_up.title, 90)}"
        if offer.runner_up_worth is not None:
            second += f", expected to gain {format_money(offer.runner_up_worth.gain, currency)}"
        record = Evidence(id=f"offer:{offer.runner_up.offer_id}", text=second)
        said.append(Fact(text=f"{second}.", evidence=(record,), written=False))
    return said


def compare_facts(first: Prediction, second: Prediction) -> list[Fact]:
    """Risk, spend and lifetime value side by side, then who matters more."""
    a, b = first.customer_id, second.customer_id
    evidence = (*prediction_evidence(first), *prediction_evidence(second))
    money = [
        format_money(value, first.currency)
        for value in (first.expected_spend, second.expected_spend, first.ltv, second.ltv)
    ]
    more = first if first.ltv >= second.ltv else second
    riskier = first if first.churn_risk >= second.churn_risk else second
    return [
        Fact(
            text=f"The churn risk of customer {a} is {percent(first.churn_risk)}, and of customer "
            f"{b} {percent(second.churn_risk)}.",
            evidence=evidence,
        ),
        Fact(
            text=f"Expected spend of customer {a} is {money[0]}, and of customer {b} {money[1]}.",
            evidence=evidence,
        ),
        Fact(
            text=f"The lifetime value of customer {a} is {money[2]}, and of customer {b} "
            f"{money[3]}.",
            evidence=evidence,
        ),
        Fact(
            text=f"Customer {more.customer_id} is both worth more and more likely to leave."
            if more is riskier
            else f"Customer {more.customer_id} is worth more, and customer {riskier.customer_id} "
            "is more likely to leave.",
            evidence=evidence,
        ),
    ]


def prediction_evidence(prediction: Prediction) -> tuple[Evidence, ...]:
    """The prediction itself as a record, then what it was read from."""
    tiers = ", ".join(f"{t} {percent(p)}" for t, p in prediction.tier_probabilities.items())
    currency = prediction.currency
    return (
        Evidence(
            id=f"prediction:{prediction.customer_id}@{prediction.as_of:%Y-%m-%d}",
            text=f"customer {prediction.customer_id}, adapter {prediction.adapter_id}: value tier "
            f"{prediction.value_tier} ({tiers}); churn risk {percent(prediction.churn_risk)} "
            f"({prediction.churn_definition}); expected spend over {prediction.horizon_days} days "
            f"{spend_in_words(prediction)}; lifetime value "
            f"{format_money(prediction.ltv, currency)}; stage {prediction.stage.value}"
            f"{'' if prediction.basis is None else f'; {prediction.basis}'}",
        ),
        *prediction.evidence,
    )


def order_records(
    purchases: Sequence[Purchase], catalogue: Catalogue, count: int
) -> tuple[Evidence, ...]:
    """The newest orders, each by its dearest line."""
    dearest: dict[str, Purchase] = {}
    for purchase in purchases:
        known = dearest.get(purchase.order_id)
        if known is None or purchase.amount > known.amount:
            dearest[purchase.order_id] = purchase
    newest = sorted(dearest.values(), key=lambda p: (p.timestamp, p.order_id), reverse=True)
    return tuple(order_evidence(p, catalogue.title(p.item_id)) for p in newest[:count])


def percent(share: float) -> str:
    """A probability as people read it; never 0% or 100%, because nothing here is certain."""
    if share < 0.01:
        return "under 1%"
    if share > 0.99:
        return "over 99%"
    return f"{share:.0%}"


def _predicted(prediction: Prediction, text: str, *more: Evidence) -> Fact:
    return Fact(text=text, evidence=(*prediction_evidence(prediction), *more))


def _driver_record(prediction: Prediction, driver: Driver) -> Evidence:
    without = prediction.churn_risk - driver.churn_risk_change
    return Evidence(
        id=f"driver:{prediction.customer_id}:{driver.line.name.lower()}",
        text=f"churn risk {prediction.churn_risk:.1%} with the line '{driver.text}', "
        f"{without:.1%} without it: {driver.size}",
    )


def _last_order_fact(past: CustomerPast, currency: str) -> Fact:
    last = past.orders[-1]
    return Fact(
        text=f"The last order was on {last.timestamp:%Y-%m-%d} (order {last.order_id}), for "
        f"{format_money(last.amount, currency)}.",
        evidence=(
            Evidence(
                id=f"order:{last.order_id}",
                text=f"order {last.order_id} on {last.timestamp:%Y-%m-%d}: "
                f"{format_money(last.amount, currency)}",
            ),
        ),
    )


def _spend_trend_fact(past: CustomerPast, prediction: Prediction) -> Fact:
    days = prediction.horizon_days
    start = past.as_of - timedelta(days=days)
    recent = sum(order.amount for order in past.orders if order.timestamp >= start)
    usual = round(usual_spend(past, days))
    spent = format_money(recent, prediction.currency)
    habit = format_money(usual, prediction.currency)
    return log_fact(
        f"{past.customer_id}:spend-{days}",
        f"Spend in the last {days} days was {spent}, and the usual is {habit}.",
        f"purchases from {start:%Y-%m-%d} to {past.as_of:%Y-%m-%d} ({days} days): {spent}; usual "
        f"per {days} days since {past.first:%Y-%m-%d}: {habit}",
    )


def _rhythm_fact(past: CustomerPast) -> Fact:
    days = (past.as_of - past.last).days
    gap = usual_gap(past)
    ago = f"{days} {'day' if days == 1 else 'days'} ago"
    if gap is None:
        text = f"The only order day was {ago}."
    else:
        unit = "day" if gap == 1 else "days"
        text = f"The last order was {ago}, and the usual gap is {gap:g} {unit}."
    known = "unknown" if gap is None else f"{gap:g} days"
    return log_fact(
        f"{past.customer_id}:rhythm",
        text,
        f"last order {past.last:%Y-%m-%d}, {days} days before {past.as_of:%Y-%m-%d}; median days "
        f"between order days: {known}",
    )


def _listed(names: Sequence[str]) -> str:
    """Names in a row, set apart by semicolons because titles hold commas."""
    if len(names) <= 2:
        return " and ".join(names)
    return f"{'; '.join(names[:-1])}; and {names[-1]}"


def _as_clause(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:] if sentence[:1].isalpha() else sentence
