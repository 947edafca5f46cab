"""Money: integer minor units inside, a currency's own form outside."""

from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache

from babel.numbers import format_currency, get_currency_precision


@cache
def minor_digits(currency: str) -> int:
    """Digits after the point of a currency: 2 for USD, 0 for JPY, 3 for KWD."""
    return int(get_currency_precision(currency))


def to_minor(amount: Decimal, currency: str) -> int:
    """Major units (12.34) to minor units (1234), halves to the even neighbour."""
    scaled = amount.scaleb(minor_digits(currency))
    return int(scaled.to_integral_value(rounding=ROUND_HALF_EVEN))


def to_major(minor: int, currency: str) -> Decimal:
    """Minor units (1234) to major units (12.34)."""
    return Decimal(minor).scaleb(-minor_digits(currency))


def format_money(minor: int, currency: str) -> str:
    """Write an amount as people read it: $1,234.50."""
    return str(format_currency(to_major(minor, currency), currency, locale="en_US"))
