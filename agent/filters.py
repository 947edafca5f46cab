"""Filters given by name, checked against the catalogue."""

import difflib
from collections.abc import Sequence

from prompts.errors import PatronError
from retrieval.ranking import Filters


class FilterError(PatronError):
    """A filter names something that is not there, or cannot be met."""

    code = "filter_error"


def checked_filters(
    known_categories: Sequence[str],
    *,
    categories: Sequence[str] = (),
    min_price: int | None = None,
    max_price: int | None = None,
    exclude_words: Sequence[str] = (),
    new_only: bool = False,
) -> Filters:
    """Filters whose categories exist, upper and lower case apart.

    Args:
        known_categories: the catalogue's.
        categories: wanted ones.
        min_price: minor units.
        max_price: minor units.
        exclude_words: words no shown item may hold.
        new_only: only items never bought.

    Raises:
        FilterError: an unknown category (the nearest are named), or limits that exclude all.
    """
    by_fold = {name.casefold(): name for name in known_categories}
    exact = []
    for category in categories:
        name = by_fold.get(category.casefold())
        if name is None:
            near = difflib.get_close_matches(category.casefold(), by_fold, n=3, cutoff=0.4)
            nearest = ", ".join(by_fold[match] for match in near)
            raise FilterError(
                f"There is no category '{category}'.",
                hint=f"Nearest: {nearest}." if nearest else "Leave --category out.",
            )
        exact.append(name)
    if min_price is not None and max_price is not None and min_price > max_price:
        raise FilterError(
            "The lowest price is above the highest.", hint="Swap --min-price and --max-price."
        )
    return Filters(
        categories=frozenset(exact),
        min_price=min_price,
        max_price=max_price,
        exclude_words=tuple(exclude_words),
        new_only=new_only,
    )
