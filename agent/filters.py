"""Filters given by name, matched with the catalogue; what does not match is said, not refused."""

import difflib
from collections.abc import Sequence

from prompts.errors import PatronError
from retrieval.filters import Filters


class FilterError(PatronError):
    """A filter is not written as it should be."""

    code = "filter_error"


def named_filters(
    known_categories: Sequence[str],
    *,
    categories: Sequence[str] = (),
    min_price: int | None = None,
    max_price: int | None = None,
    exclude_items: Sequence[str] = (),
    exclude_words: Sequence[str] = (),
    new_only: bool = False,
) -> tuple[Filters, tuple[str, ...]]:
    """Filters with the catalogue's own category names, upper and lower case apart.

    A category that does not exist is replaced by the nearest ones, or left out where none is near.

    Args:
        known_categories: the catalogue's.
        categories: wanted ones.
        min_price: minor units.
        max_price: minor units.
        exclude_items: item ids.
        exclude_words: words no shown item may hold.
        new_only: only items never bought.

    Returns:
        The filters, and one sentence for each thing that was changed.
    """
    by_fold = {name.casefold(): name for name in known_categories}
    exact: set[str] = set()
    notes = []
    for category in categories:
        name = by_fold.get(category.casefold())
        if name is not None:
            exact.add(name)
            continue
        near = difflib.get_close_matches(category.casefold(), by_fold, n=3, cutoff=0.4)
        exact.update(by_fold[match] for match in near)
        nearest = ", ".join(by_fold[match] for match in near)
        rest = f"the nearest are {nearest}." if near else "it is left out."
        notes.append(f"There is no category '{category[:60]}'; {rest}")
    if min_price is not None and max_price is not None and min_price > max_price:
        min_price, max_price = max_price, min_price
        notes.append("The lowest price was above the highest; they are swapped.")
    filters = Filters(
        categories=frozenset(exact),
        min_price=min_price,
        max_price=max_price,
        exclude_items=frozenset(exclude_items),
        exclude_words=tuple(exclude_words),
        new_only=new_only,
    )
    return filters, tuple(notes)
