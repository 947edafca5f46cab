"""When nothing fits what is asked: give way where least is lost, and say so."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from retrieval.assortment import Assortment, Mask
from retrieval.filters import Filters
from retrieval.lines import Ints
from retrieval.money import format_money


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """Filters that something fits, and what was given up for it.

    Attributes:
        allowed: `[items]` what may be shown.
        notes: one sentence for each thing given up.
    """

    filters: Filters
    allowed: Mask
    notes: tuple[str, ...]


def relaxed(
    assortment: Assortment,
    filters: Filters,
    own: Ints,
    disliked: Iterable[str],
    *,
    currency: str,
) -> Relaxed:
    """Loosen filters that nothing fits, one at a time, until something does.

    The price is widened first, to the nearest that there is; then words, categories, the wish for
    new items and the choice of items are let go. What was excluded or disliked stays away, and so
    does what the shop never shows.

    Args:
        assortment: what the shop may show.
        filters: what is asked.
        own: rows of what the customer bought.
        disliked: item ids the customer said no to.
        currency: for prices in notes.
    """
    disliked = tuple(disliked)
    unknown = [
        f"There is no item '{item_id}' here; it is left out of the filter."
        for item_id in sorted(filters.only_items | filters.exclude_items)
        if item_id not in assortment.table.row
    ]
    allowed = assortment.allowed(filters, own, disliked)
    looser, given_up = filters, []
    for loosen in _STEPS:
        if allowed.any():
            break
        looser, note = loosen(assortment, looser, own, disliked, currency)
        if note:
            given_up.append(note)
            allowed = assortment.allowed(looser, own, disliked)
    if not allowed.any():
        # Nothing helped, so nothing was given up.
        return Relaxed(filters=filters, allowed=allowed, notes=tuple(unknown))
    return Relaxed(filters=looser, allowed=allowed, notes=(*unknown, *given_up))


_Loosened = tuple[Filters, str]


def _price(
    assortment: Assortment, filters: Filters, own: Ints, disliked: tuple[str, ...], currency: str
) -> _Loosened:
    if filters.min_price is None and filters.max_price is None:
        return filters, ""
    any_price = replace(filters, min_price=0, max_price=None)
    prices = np.sort(assortment.price[assortment.allowed(any_price, own, disliked)])
    if len(prices) == 0:
        # Price is not what stands in the way, or not it alone.
        return filters, ""
    low, high = filters.min_price, filters.max_price
    away = np.full(len(prices), -np.inf)
    if low is not None:
        away = np.maximum(away, low - prices)
    if high is not None:
        away = np.maximum(away, prices - high)
    nearest = int(prices[int(np.argmin(away))])
    if low is None:
        asked = f"{format_money(high or 0, currency)} or less"
    elif high is None:
        asked = f"{format_money(low, currency)} or more"
    else:
        asked = f"{format_money(low, currency)} to {format_money(high, currency)}"
    limits = replace(
        filters,
        min_price=_round_below(nearest) if low is not None and nearest < low else low,
        max_price=_round_above(nearest) if high is not None and nearest > high else high,
    )
    nearest_price = format_money(nearest, currency)
    return limits, f"Nothing that fits costs {asked}; the nearest price is {nearest_price}."


def _round_above(price: int) -> int:
    """A limit that lets a few items in beside the cheapest."""
    return price + price // 2


def _round_below(price: int) -> int:
    """A limit that lets a few items in beside the dearest."""
    return price - price // 3


def _any_price(
    assortment: Assortment, filters: Filters, own: Ints, disliked: tuple[str, ...], currency: str
) -> _Loosened:
    if filters.min_price is None and filters.max_price is None:
        return filters, ""
    return replace(filters, min_price=None, max_price=None), "The price of what fits is not known."


def _words(
    assortment: Assortment, filters: Filters, own: Ints, disliked: tuple[str, ...], currency: str
) -> _Loosened:
    if not filters.words:
        return filters, ""
    words = " ".join(filters.words)
    return replace(filters, words=()), f"Nothing that fits is called '{words}'."


def _categories(
    assortment: Assortment, filters: Filters, own: Ints, disliked: tuple[str, ...], currency: str
) -> _Loosened:
    if not filters.categories:
        return filters, ""
    names = ", ".join(sorted(filters.categories)[:3])
    return (
        replace(filters, categories=frozenset()),
        f"Nothing in {names} fits; these are from other categories.",
    )


def _new_only(
    assortment: Assortment, filters: Filters, own: Ints, disliked: tuple[str, ...], currency: str
) -> _Loosened:
    if not filters.new_only:
        return filters, ""
    return replace(filters, new_only=False), "Nothing that fits is new; these were bought before."


def _only_items(
    assortment: Assortment, filters: Filters, own: Ints, disliked: tuple[str, ...], currency: str
) -> _Loosened:
    if not filters.only_items:
        return filters, ""
    return (
        replace(filters, only_items=frozenset()),
        "None of the named items can be shown; these are others.",
    )


# After each thing that is let go, another price may do.
_STEPS = (
    _price,
    _words,
    _price,
    _categories,
    _price,
    _new_only,
    _price,
    _only_items,
    _price,
    _any_price,
)
