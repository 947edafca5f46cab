from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.money import format_money, minor_digits, to_major, to_minor

_DIGITS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}


@pytest.mark.parametrize(("currency", "digits"), _DIGITS.items())
def test_digits_of_a_currency(currency: str, digits: int) -> None:
    assert minor_digits(currency) == digits


@given(st.integers(-(10**15), 10**15), st.sampled_from(sorted(_DIGITS)))
def test_minor_units_come_back(minor: int, currency: str) -> None:
    assert to_minor(to_major(minor, currency), currency) == minor


@given(st.decimals(-(10**9), 10**9, places=6), st.sampled_from(sorted(_DIGITS)))
def test_rounding_moves_at_most_half_a_unit(amount: Decimal, currency: str) -> None:
    moved = abs(to_major(to_minor(amount, currency), currency) - amount)
    assert moved <= Decimal(5).scaleb(-_DIGITS[currency] - 1)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12.34", "USD", 1234),
        ("12.345", "USD", 1234),
        ("12.355", "USD", 1236),
        ("-0.005", "USD", 0),
        ("-12.34", "USD", -1234),
        ("1234", "JPY", 1234),
        ("0.5", "JPY", 0),
        ("1.5", "JPY", 2),
        ("1.2345", "KWD", 1234),
        ("1.234", "KWD", 1234),
    ],
)
def test_major_to_minor(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (123450, "USD", "$1,234.50"),
        (5, "USD", "$0.05"),
        (-1999, "USD", "-$19.99"),
        (0, "USD", "$0.00"),
        (123450, "JPY", "¥123,450"),
        (123450, "KWD", "KWD123.450"),
        (99, "GBP", "£0.99"),
    ],
)
def test_as_people_read_it(minor: int, currency: str, text: str) -> None:
    assert format_money(minor, currency) == text
