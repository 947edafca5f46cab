"""What an offer takes off one order, in exact whole minor units."""

from agent.offers import Offer, OfferKind
from retrieval.money import format_money


def discount_on(offer: Offer, order_total: int, covered_total: int) -> int:
    """The discount of an offer on an order.

    A percentage is of the covered part, rounded to whole minor units, halves to the even
    neighbour; then `min_discount` and `max_discount` bound it. Nothing takes off more than the
    covered part costs, and an order below `min_order` gets nothing.

    Args:
        offer: which.
        order_total: the whole order before the discount, minor units.
        covered_total: the part of it that the offer covers, minor units.

    Returns:
        From 0 to `covered_total`, and at most `offer.hold`; minor units.

    Raises:
        ValueError: the totals are negative, or the part is more than the whole.
    """
    if not 0 <= covered_total <= order_total:
        raise ValueError(
            f"covered_total must be from 0 to order_total: {covered_total}, {order_total}"
        )
    if order_total < offer.min_order:
        return 0
    return min(_uncapped(offer, covered_total), covered_total)


def why_no_discount(
    offer: Offer, order_total: int, covered_total: int, currency: str
) -> str | None:
    """Why an order gets no discount, as a clause; None where it gets one.

    Args:
        offer: which.
        order_total: the whole order before the discount, minor units.
        covered_total: the part of it that the offer covers, minor units.
        currency: ISO 4217 code of the amounts.

    Raises:
        ValueError: as `discount_on`.
    """
    if discount_on(offer, order_total, covered_total) > 0:
        return None
    if order_total < offer.min_order:
        return (
            f"it is for orders of at least {format_money(offer.min_order, currency)}; this one is "
            f"of {format_money(order_total, currency)}"
        )
    if covered_total == 0:
        return "nothing in the order that costs anything is covered by it"
    return (
        f"{offer.value}% of {format_money(covered_total, currency)} is less than the smallest coin"
    )


def _uncapped(offer: Offer, covered_total: int) -> int:
    """The discount as if the covered part cost enough."""
    if offer.kind is OfferKind.AMOUNT:
        return offer.value
    discount = max(_share(covered_total, offer.value), offer.min_discount or 0)
    return discount if offer.max_discount is None else min(discount, offer.max_discount)


def _share(amount: int, percent: int) -> int:
    """A whole percentage of an amount, halves to the even neighbour, without a float."""
    whole, hundredths = divmod(amount * percent, 100)
    return whole + (hundredths > 50 or (hundredths == 50 and whole % 2 == 1))
