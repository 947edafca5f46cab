"""The page's cards as HTML: pure functions from values. Whatever comes from data is escaped."""

from collections.abc import Iterable, Sequence
from datetime import date, time, timedelta

from agent.answers import CustomerCard, Prediction, RecentOrder
from agent.ledger import Claim
from agent.offer_choice import NoOffer, OfferDecision
from agent.offers import Offer
from agent.spend_words import HOW_TO_GET_AN_INTERVAL, interval_in_words
from agent.viewer import Viewer
from finetune.drivers import Driver
from retrieval.evidence import Evidence
from retrieval.money import format_money
from retrieval.ranking import Recommendation
from ui.offer_figures import offer_figures
from ui.page_text import escape
from ui.spend_chart import spend_chart

# From here on a churn risk is shown as raised, and as high.
_RAISED_RISK, _HIGH_RISK = 0.25, 0.5
_MOST_TITLES = 3
_LONGEST_TITLE = 80
_MOST_DRIVERS = 4
# A driver of this many points fills its half of the bar, or the largest one where it is larger.
_FULL_BAR_POINTS = 5
_MINUS = "\N{MINUS SIGN}"


def header_html(shop_name: str, viewer: Viewer) -> str:
    """Brand, shop, who is logged in, and the way out."""
    role = "Staff" if viewer.is_desk else "Customer"
    return f"""
<header class="top">
<p class="brand"><span class="mark" aria-hidden="true">P</span>Patron</p>
<p class="shop">{escape(shop_name)}</p>
<p class="who"><span class="role">{role}</span> {escape(viewer.login)}</p>
<form method="post" action="/logout"><button type="submit">Log out</button></form>
</header>"""


def headline_html(card: CustomerCard, viewer: Viewer) -> str:
    """Who the customer is: for the desk with the shop's scores, else a greeting."""
    if not viewer.is_desk:
        return _greeting(
            viewer,
            "Good to see you",
            "Ask about your orders, get recommendations, or see whether there is an offer for you.",
        )
    scores = "" if card.prediction is None else _scores(card.prediction)
    stage = "" if card.prediction is None else _chip(card.prediction.stage.value)
    return f"""
<section class="card" aria-label="Customer">
<div class="title-row"><h1>Customer {escape(card.customer_id)}</h1>{stage}</div>
<p class="quiet">As of {_day(card.as_of.date())}</p>
{scores}
{_drivers(card.prediction)}
{_similar(card.similar_left)}
</section>"""


def welcome_html(viewer: Viewer) -> str:
    """A greeting for a shopper without an order, who has no card yet."""
    return _greeting(
        viewer,
        "Welcome",
        "You have no orders here yet. Below is what others like; ask for what you are looking for.",
    )


def _greeting(viewer: Viewer, heading: str, text: str) -> str:
    return f"""
<section class="card greeting" aria-label="Welcome">
<h1>{heading}</h1>
<p>You are logged in as {escape(viewer.login)}. {text}</p>
</section>"""


def details_html(card: CustomerCard, viewer: Viewer) -> str:
    """Orders and spend, and for the desk the history as the model reads it."""
    whose = "Orders" if viewer.is_desk else "Your orders"
    orders = "".join(_order_row(order, card.currency) for order in card.recent_orders)
    return f"""
<section class="card" aria-label="{whose}">
<h2>{whose}</h2>
<dl class="facts">
<div><dt>Customer since</dt><dd>{_day(card.first_order)}</dd></div>
<div><dt>Last order</dt><dd>{_day(card.last_order)}</dd></div>
<div><dt>Orders</dt><dd>{card.orders:,}</dd></div>
<div><dt>Total spend</dt><dd>{_money(card.spend, card.currency)}</dd></div>
</dl>
<h3>Spend by month</h3>
{spend_chart(card.monthly_spend, card.currency)}
<h3>Recent orders</h3>
<table><thead><tr><th scope="col">Date</th><th scope="col">Items</th>
<th scope="col" class="number">Amount</th></tr></thead><tbody>{orders}</tbody></table>
{_history(card.history) if viewer.is_desk else ""}
</section>"""


def recommendation_html(item: Recommendation, currency: str, viewer: Viewer) -> str:
    """One recommended item, with its reason and the records behind it."""
    price = "" if item.price is None else f'<p class="price">{_money(item.price, currency)}</p>'
    category = f'<p class="quiet">{escape(item.category)}</p>' if item.category else ""
    sources = (
        "".join(_chip(source.value) for source in item.sources[:_MOST_TITLES])
        if viewer.is_desk
        else ""
    )
    return f"""
<article class="item" aria-label="{escape(item.title)}">
<div class="title-row"><h3>{escape(item.title)}</h3>{price}</div>
{category}
<p>{escape(item.reason)}</p>
<div class="chips">{sources}</div>
{_evidence(item.evidence)}
</article>"""


def offer_html(offer: OfferDecision | NoOffer, currency: str, viewer: Viewer) -> str:
    """The chosen offer; cost, reason and rules are for the desk alone."""
    if isinstance(offer, NoOffer):
        reason = offer.reason if viewer.is_desk else "Please look in again soon."
        return f"""
<section class="card offer" aria-label="Offer">
<h2>Offer</h2><p><strong>No offer right now.</strong></p><p class="quiet">{escape(reason)}</p>
</section>"""
    return f"""
<section class="card offer" aria-label="Offer">
<h2>{"Offer" if viewer.is_desk else "An offer for you"}</h2>
{_offer_terms(offer.offer)}
{_offer_grounds(offer, currency) if viewer.is_desk else ""}
</section>"""


def claim_html(claim: Claim, offer: Offer, currency: str, viewer: Viewer) -> str:
    """The receipt of an accepted offer."""
    cost = (
        f'<p class="quiet">{_money(claim.held, currency)} held of the offer\'s budget '
        f"for customer {escape(claim.customer_id)} until it is redeemed.</p>"
        if viewer.is_desk
        else ""
    )
    return f"""
<section class="card offer accepted" aria-label="Offer" role="status">
<h2>Offer accepted</h2>
{_offer_terms(offer)}
{f'<p>Code: <strong class="code">{escape(claim.code)}</strong></p>' if claim.code else ""}
<p class="quiet">Claim {escape(claim.claim_id[:8])}, {claim.claimed_at:%Y-%m-%d %H:%M} UTC.</p>
{cost}
</section>"""


def items_heading_html(customer_id: str | None, count: int, viewer: Viewer) -> str:
    """The heading above the recommended items."""
    if not viewer.is_desk:
        heading = "Picked for you"
    elif customer_id is None:
        heading = "Recommendations"
    else:
        heading = f"Recommendations for {escape(customer_id)}"
    empty = "" if count else '<p class="quiet">Nothing fits right now.</p>'
    return f'<div class="section-head"><h2>{heading}</h2>{empty}</div>'


def writing_html(written: int, replaced: int) -> str:
    """How often the model's sentences had to be replaced by the plain facts."""
    if not written:
        return '<p class="footnote">Answers so far were plain facts; no model has written any.</p>'
    return (
        f'<p class="footnote">{replaced:,} of {written:,} sentences written by the model '
        f"({replaced / written:.0%}) failed the check against the records and were replaced by "
        "plain facts.</p>"
    )


def notice_html(text: str) -> str:
    """A problem, said calmly; nothing where there is none."""
    return f'<p class="notice" role="alert">{escape(text)}</p>' if text else ""


def _scores(prediction: Prediction) -> str:
    risk = prediction.churn_risk
    level, word = _risk_level(risk)
    tiers = "".join(
        _tier_row(tier, share, chosen=tier == prediction.value_tier)
        for tier, share in reversed(prediction.tier_probabilities.items())
    )
    days = prediction.horizon_days
    return f"""
<div class="score">
<div class="score-line"><h2>Churn risk</h2><p><span class="word {level}">{word}</span>
<span class="big">{risk:.0%}</span></p></div>
<div class="meter" role="meter" aria-label="Churn risk" aria-valuemin="0" aria-valuemax="100"
 aria-valuenow="{risk * 100:.0f}">
<span class="{level}" style="width:{risk * 100:.1f}%"></span></div>
<p class="quiet">{escape(_sentence(prediction.churn_definition))}</p>
</div>
<div class="score">
<div class="score-line"><h2>Value tier</h2>
<p class="big">{escape(prediction.value_tier)}</p></div>
<ul class="tiers">{tiers}</ul>
</div>
<dl class="facts">
<div><dt>Expected spend, {days} days</dt>
<dd>{_money(prediction.expected_spend, prediction.currency)}</dd>
{_spend_interval(prediction)}</div>
<div><dt>Lifetime value</dt><dd>{_money(prediction.ltv, prediction.currency)}</dd></div>
</dl>
{_basis(prediction)}"""


def _basis(prediction: Prediction) -> str:
    """What it rests on, where it is not an adapter of the shop's own."""
    if prediction.basis is None:
        return ""
    return f'<p class="quiet">{escape(_sentence(prediction.basis))}</p>'


def _spend_interval(prediction: Prediction) -> str:
    interval = interval_in_words(prediction)
    if interval is None or prediction.season is None:
        return f'<dd class="quiet">{escape(_sentence(HOW_TO_GET_AN_INTERVAL))}</dd>'
    return (
        f'<dd class="quiet">{escape(_sentence(interval))}</dd>'
        f'<dd class="quiet">{escape(_sentence(f"season {prediction.season}"))}</dd>'
    )


def _risk_level(risk: float) -> tuple[str, str]:
    if risk >= _HIGH_RISK:
        return "high", "High"
    return ("raised", "Raised") if risk >= _RAISED_RISK else ("low", "Low")


def _tier_row(tier: str, share: float, *, chosen: bool) -> str:
    mark = ' class="chosen"' if chosen else ""
    return (
        f'<li{mark}><span>{escape(tier)}</span><span class="bar" aria-hidden="true">'
        f'<span style="width:{share * 100:.1f}%"></span></span><span>{share:.0%}</span></li>'
    )


def _drivers(prediction: Prediction | None) -> str:
    """What moves the churn risk: the largest as bars, every line behind a fold."""
    if prediction is None or not prediction.drivers:
        return ""
    drivers = prediction.drivers
    moving = [driver for driver in drivers if driver.points][:_MOST_DRIVERS]
    full = max(_FULL_BAR_POINTS, *(abs(driver.points) for driver in drivers))
    bars = "".join(_driver_bar(driver, full) for driver in moving)
    rows = "".join(_driver_row(driver, prediction.currency) for driver in drivers)
    return f"""
<div class="score">
<div class="score-line"><h2>What moves the risk</h2><p class="quiet">points</p></div>
{f'<ul class="drivers">{bars}</ul>' if bars else "<p>No line of the history does on its own.</p>"}
<details><summary>{_counted_lines(drivers)} of the history</summary>
<table><thead><tr><th scope="col">Line</th><th scope="col" class="number">Risk, points</th>
<th scope="col" class="number">Spend</th></tr></thead><tbody>{rows}</tbody></table>
<p class="quiet">What each line adds: the prediction with it less the prediction without it.</p>
</details>
</div>"""


def _driver_bar(driver: Driver, full: int) -> str:
    width = 50 * abs(driver.points) / full
    side = "raises" if driver.points > 0 else "lowers"
    return (
        f"<li><span>{escape(_capital(driver.line.value))}"
        f'<span class="quiet">{escape(driver.text)}</span></span>'
        f'<span class="pull" aria-hidden="true"><span class="{side}" '
        f'style="width:{width:.1f}%"></span></span>'
        f'<span><span class="sr">{side} the risk, points: </span>{_signed(driver.points)}</span>'
        "</li>"
    )


def _driver_row(driver: Driver, currency: str) -> str:
    spend = round(driver.expected_spend_change)
    amount = f"{_sign(spend)}{_money(abs(spend), currency)}"
    return (
        f"<tr><td>{escape(driver.text)}</td>"
        f'<td class="number">{_signed(driver.points)}</td><td class="number">{amount}</td></tr>'
    )


def _counted_lines(drivers: Sequence[Driver]) -> str:
    return "The one line" if len(drivers) == 1 else f"All {len(drivers)} lines"


def _signed(number: int) -> str:
    return f"{_sign(number)}{abs(number)}"


def _sign(number: int) -> str:
    return "+" if number > 0 else _MINUS if number < 0 else ""


def _similar(similar_left: tuple[int, int] | None) -> str:
    if similar_left is None:
        return ""
    left, of = similar_left
    return f'<p class="similar"><strong>{left} of {of}</strong> similar customers left.</p>'


def _order_row(order: RecentOrder, currency: str) -> str:
    titles = ", ".join(_short(title) for title in order.titles[:_MOST_TITLES])
    more = order.item_count - min(len(order.titles), _MOST_TITLES)
    rest = f" and {more} more" if more > 0 else ""
    return (
        f'<tr><td class="date">{_day(order.day)}</td>'
        f'<td>{escape(titles)}{rest}<span class="quiet">Order {escape(order.order_id)}</span></td>'
        f'<td class="number">{_money(order.amount, currency)}</td></tr>'
    )


def _history(history: str) -> str:
    return (
        "<details><summary>History as the model reads it</summary>"
        f"<pre>{escape(history)}</pre></details>"
    )


def _evidence(evidence: Iterable[Evidence]) -> str:
    lines = "".join(f"<li>{escape(record.text)}</li>" for record in evidence)
    return f"<details><summary>Evidence</summary><ul>{lines}</ul></details>" if lines else ""


def _offer_terms(offer: Offer) -> str:
    description = f"<p>{escape(offer.description)}</p>" if offer.description else ""
    until_midnight = offer.expires.time() == time()
    last_day = offer.expires - timedelta(days=1)
    valid = f"through {_day(last_day)}" if until_midnight else f"before {offer.valid_before}"
    return (
        f'<p class="offer-title">{escape(offer.title)}</p>{description}'
        f'<p class="quiet">Valid {valid}</p>'
    )


def _offer_grounds(offer: OfferDecision, currency: str) -> str:
    rules = "".join(
        f'<li class="{"passed" if line.passed else "failed"}">'
        f'<span class="sr">{"Passed: " if line.passed else "Failed: "}</span>'
        f"{escape(_sentence(line.text))}</li>"
        for line in offer.rules
    )
    figures = [("Cost of one redemption", format_money(offer.cost, currency))]
    figures += offer_figures(offer, currency)
    listed = "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in figures)
    return f"""
<dl class="facts">{listed}</dl>
<p>{escape(offer.reason)}</p>
{f'<p class="quiet">{escape(_sentence(offer.worth.basis))}</p>' if offer.worth else ""}
<details><summary>{len(offer.rules)} rules checked</summary>
<ul class="rules">{rules}</ul></details>"""


def _chip(text: str) -> str:
    return f'<span class="chip">{escape(text)}</span>'


def _money(minor: int, currency: str) -> str:
    return escape(format_money(minor, currency))


def _day(day: date) -> str:
    return f"{day:%Y-%m-%d}"


def _short(title: str) -> str:
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"


def _sentence(text: str) -> str:
    return f"{_capital(text).rstrip('.')}."


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
