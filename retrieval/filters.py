"""What is asked of a recommendation, beside being a good one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a recommendation must respect.

    Attributes:
        categories: allowed categories, exact; empty allows all.
        exclude_categories: categories left out, exact.
        min_price: minor units.
        max_price: minor units; items without a price do not pass a price limit.
        only_items: item ids to choose from; empty allows all.
        exclude_items: item ids.
        words: items whose title or category holds all of these are kept.
        exclude_words: items whose title or category holds one of these are left out.
        new_only: leave out what the customer bought before.
    """

    categories: frozenset[str] = frozenset()
    exclude_categories: frozenset[str] = frozenset()
    min_price: int | None = None
    max_price: int | None = None
    only_items: frozenset[str] = frozenset()
    exclude_items: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    exclude_words: tuple[str, ...] = ()
    new_only: bool = False
