"""What an offer is expected to bring, in the words that page and command line share."""

from agent.facts import percent
from agent.offer_choice import OfferDecision
from retrieval.money import format_money


def offer_figures(offer: OfferDecision, currency: str) -> list[tuple[str, str]]:
    """What an offer is expected to bring, and which came second, as name and value."""
    worth, second = offer.worth, offer.runner_up
    if worth is None:
        figures = [("Expected gain", "not known: no effects of offers were learned yet")]
    else:
        gain, low, high, cost = (
            format_money(amount, currency)
            for amount in (worth.gain, worth.low, worth.high, worth.cost)
        )
        figures = [
            ("Expected gain", f"{gain} (average {low} to {high})"),
            ("Expected cost", cost),
            ("Chance of being redeemed", percent(worth.redemption_chance)),
        ]
    if offer.explored:
        figures.append(("Chosen", f"by chance, which had {offer.propensity:.1%} for it"))
    if second is not None:
        gains = offer.runner_up_worth
        more = "" if gains is None else f", expected gain {format_money(gains.gain, currency)}"
        figures.append(("Otherwise" if offer.explored else "Second", f"{second.title}{more}"))
    return figures
