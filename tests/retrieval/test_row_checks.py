import contextlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.readers import RawTable
from retrieval.row_checks import BadValueError, CheckedRows, ReadAs, check_rows, read_number

_NOW = datetime(2024, 6, 1, tzinfo=UTC)


def _check(
    columns: dict[str, list[Any]],
    *,
    zone: str = "UTC",
    currency: str = "USD",
    read_as: str = "",
) -> CheckedRows:
    rows = len(next(iter(columns.values())))
    full = {
        "customer_id": ["1"] * rows,
        "timestamp": ["2024-01-01"] * rows,
        "amount": ["1"] * rows,
    }
    if "unit_price" in columns:
        del full["amount"]
    table = pa.table(full | columns)
    raw = RawTable(
        name="log.csv",
        sha256="0" * 64,
        columns=table,
        lines=pa.array(range(2, rows + 2), pa.int64()),
        misshapen=(),
        read_as=read_as,
        notes=(),
    )
    names = {name: name for name in table.column_names}
    return check_rows(raw, names, zone=zone, currency=currency, now=_NOW)


def _reason(**values: Any) -> tuple[str, str, str]:
    bad = _check({name: [value] for name, value in values.items()}).bad.to_pylist()
    assert len(bad) == 1
    return bad[0]["column"], bad[0]["value"], bad[0]["reason"]


@pytest.mark.parametrize("text", ["", "  ", "NaN", "null", None])
def test_a_customer_must_be_named(text: str | None) -> None:
    column, _, reason = _reason(customer_id=text)
    assert (column, reason) == ("customer_id", "empty")


@pytest.mark.parametrize("column", ["customer_id", "order_id", "item_id"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * 201, "longer than 200 characters"),
        ("a\x00b", "holds a control character"),
        ("a\x1fb", "holds a control character"),
        ("a\u202eb", "holds a control character"),
        ("a\ufffdb", "holds a damaged character"),
    ],
)
def test_ids_are_short_and_clean(column: str, text: str, reason: str) -> None:
    assert _reason(**{column: text}) == (column, text, reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("yesterday", "not a date and time"),
        ("2024-02-30", "not a date and time: day is out of range for month"),
        ("2024-01-01 25:00", "not a date and time: hour must be in 0..23"),
        ("1969-12-31", "before 1970"),
        ("2024-06-03", "in the future"),
        ("20241", "not a date and time"),
    ],
)
def test_unreadable_and_impossible_moments(text: str, reason: str) -> None:
    assert _reason(timestamp=text) == ("timestamp", text, reason)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-02", datetime(2024, 1, 2, 5)),
        ("20240102", datetime(2024, 1, 2, 5)),
        ("2024-01-02T03:04:05.678901", datetime(2024, 1, 2, 8, 4, 5, 678901)),
        ("2024-01-02 03:04:05.123456789", datetime(2024, 1, 2, 8, 4, 5, 123456)),
        ("2024-01-02T03:04Z", datetime(2024, 1, 2, 3, 4)),
        ("2024-01-02T03:04:00+05:30", datetime(2024, 1, 1, 21, 34)),
        ("12/31/2023 08:26", datetime(2023, 12, 31, 13, 26)),
        ("31/12/2023 08:26", datetime(2023, 12, 31, 13, 26)),
        ("12/31/23 1:05 pm", datetime(2023, 12, 31, 18, 5)),
        ("01.02.2024", datetime(2024, 2, 1, 5)),
        ("2024-06-01T12:00Z", datetime(2024, 6, 1, 12)),  # within the day that clocks may differ
        (datetime(2024, 1, 2, 3), datetime(2024, 1, 2, 8)),
        (datetime(2024, 1, 2, 3, tzinfo=UTC), datetime(2024, 1, 2, 3)),
    ],
)
def test_moments_are_read_in_the_shop_zone(text: Any, moment: datetime) -> None:
    checked = _check({"timestamp": [text]}, zone="America/New_York")
    assert checked.good["timestamp"].to_pylist() == [moment.replace(tzinfo=UTC)]


def test_changes_of_the_clocks_are_decided_and_told() -> None:
    times = ["2024-03-10 02:30", "2023-11-05 01:30", "2024-01-01 00:00"]
    checked = _check({"timestamp": times}, zone="America/New_York")
    assert checked.good["timestamp"].to_pylist()[:2] == [
        datetime(2024, 3, 10, 7, 0, tzinfo=UTC),  # never was: the change itself, 03:00 EDT
        datetime(2023, 11, 5, 5, 30, tzinfo=UTC),  # was twice: the first, EDT
    ]
    assert checked.notes[0].startswith("2 local times")


def test_one_date_decides_the_order_of_all() -> None:
    checked = _check({"timestamp": ["03/04/2023", "13/04/2023"]})
    assert [m.month for m in checked.good["timestamp"].to_pylist()] == [4, 4]
    assert "day first" in checked.notes[0]


def test_dates_that_do_not_tell_are_read_month_first_and_it_is_said() -> None:
    checked = _check({"timestamp": ["03/04/2023"]})
    assert checked.good["timestamp"][0].as_py().month == 3
    assert "do not tell day from month" in checked.notes[0]


def test_dates_that_contradict_each_other_are_bad_where_they_differ() -> None:
    checked = _check({"timestamp": ["13/04/2023", "14/04/2023", "04/13/2023"]})
    assert checked.bad["row"].to_pylist() == [2]
    assert "contradict" in checked.notes[0]


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("£1,234.50", 123450),
        ("$ 5", 500),
        ("5 €", 500),
        ("(2.50)", -250),
        ("2.50-", -250),
        ("\u22122.50", -250),
        ("1 234 567.5", 123456750),
        ("1,23,456.00", 12345600),
        (".5", 50),
        ("2.", 200),
        ("2.55e0", 255),
        (2.5499999, 255),
        (2.55, 255),
        ("0.125", 12),  # halves to the even neighbour
        ("0.135", 14),
    ],
)
def test_amounts_as_people_write_them(text: Any, minor: int) -> None:
    assert _check({"amount": [text]}).good["amount"].to_pylist() == [minor]


@pytest.mark.parametrize(
    "text", ["abc", "inf", "NaN", "-", "1.2.3", "0x10", "1_000", "12,34.5", "--1", "9" * 41, "١"]
)
def test_what_is_no_number(text: str) -> None:
    assert _reason(amount=text) == ("amount", text, "not a number")


@pytest.mark.parametrize("text", ["1e99", "100000000000.01", "-1e300"])
def test_amounts_too_large_to_store(text: str) -> None:
    assert _reason(amount=text)[2] == "too large an amount"


def test_decimal_commas_are_told_by_the_whole_file() -> None:
    checked = _check({"amount": ["1.234", "1.234,50", "12,5"]})
    assert checked.good["amount"].to_pylist() == [123400, 123450, 1250]
    assert "decimal comma" in checked.notes[0]
    assert _check({"amount": ["1,234", "12.5"]}).good["amount"].to_pylist() == [123400, 1250]


@pytest.mark.parametrize(("currency", "minor"), [("JPY", 5), ("USD", 500), ("KWD", 5000)])
def test_minor_units_are_those_of_the_currency(currency: str, minor: int) -> None:
    assert _check({"amount": ["5"]}, currency=currency).good["amount"].to_pylist() == [minor]


def test_a_foreign_currency_sign_is_told() -> None:
    assert "£" in _check({"amount": ["£5"]}).notes[0]
    assert not _check({"amount": ["$5"]}).notes


@given(
    quantity=st.integers(0, 10_000),
    price=st.decimals(0, 10_000, places=2, allow_nan=False, allow_infinity=False),
)
def test_line_amounts_are_exact(quantity: int, price: Decimal) -> None:
    checked = _check({"quantity": [str(quantity)], "unit_price": [str(price)]})
    assert checked.good["amount"].to_pylist() == [int(quantity * price * 100)]


@given(st.decimals(-(10**9), 10**9, places=2, allow_nan=False, allow_infinity=False))
def test_numbers_read_back_from_every_notation(amount: Decimal) -> None:
    for text in (f"{amount}", f"{amount:,}", f"£{amount:,}"):
        assert read_number(text) == amount
    german = f"{amount:,}".translate(str.maketrans(",.", ".,"))
    assert read_number(german, decimal_comma=True) == amount


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_reason(text: str) -> None:
    with contextlib.suppress(BadValueError):
        assert read_number(text).is_finite()


def test_the_first_bad_column_wins() -> None:
    assert _reason(customer_id="", timestamp="x", amount="y")[0] == "customer_id"
    assert _reason(timestamp="x", amount="y")[0] == "timestamp"
    assert _reason(quantity="x", unit_price="y")[:2] == ("quantity", "x")
    assert _reason(quantity="2", unit_price="y")[:2] == ("unit_price", "y")


def test_what_is_absent_is_filled() -> None:
    row = _check(
        {"timestamp": ["2024-01-01 02:00Z"], "customer_id": ["7"]}, zone="America/New_York"
    ).good.to_pylist()[0]
    assert (row["order_id"], row["item_id"], row["quantity"], row["kind"]) == (
        "7-20231231",
        "unknown",
        1.0,
        "purchase",
    )


def test_empty_cells_of_orders_and_items_are_filled_and_told() -> None:
    checked = _check({"order_id": ["", "9"], "item_id": ["a", ""]})
    assert checked.good["order_id"].to_pylist() == ["1-20240101", "9"]
    assert checked.good["item_id"].to_pylist() == ["a", "unknown"]
    assert len(checked.notes) == 2


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"quantity": "-2", "unit_price": "3"}, ("return", -2.0, -600)),
        ({"quantity": "1", "amount": "-3"}, ("return", -1.0, -300)),
        ({"quantity": "1", "amount": "3", "kind": "Refund"}, ("return", -1.0, -300)),
        ({"quantity": "-1", "amount": "3", "kind": "sale"}, ("return", -1.0, -300)),
        ({"quantity": "0", "amount": "0", "kind": "return"}, ("return", 0.0, 0)),
        ({"quantity": "2", "amount": "3", "kind": ""}, ("purchase", 2.0, 300)),
        ({"quantity": "", "amount": "", "kind": "view"}, ("view", 1.0, 0)),
    ],
)
def test_returns_are_never_spend(row: dict[str, str], expected: tuple[str, float, int]) -> None:
    good = _check({name: [value] for name, value in row.items()}).good.to_pylist()[0]
    assert (good["kind"], good["quantity"], good["amount"]) == expected


def test_a_c_before_the_number_marks_a_return_only_beside_plain_numbers() -> None:
    marked = _check({"order_id": ["C536379", "536380", "A1"]}).good
    assert marked["kind"].to_pylist() == ["return", "purchase", "purchase"]
    assert marked["amount"].to_pylist() == [-100, 100, 100]
    assert _check({"order_id": ["C1", "C2"]}).good["kind"].to_pylist() == ["purchase"] * 2


def test_kinds_are_known_and_views_have_no_amount() -> None:
    assert _reason(kind="barter")[2] == "none of purchase, return, view, message"
    assert _reason(kind="view", amount="5")[2] == "a view or message has no amount"
    assert _reason(kind="sale", amount="")[2] == "empty"


def test_titles_are_cleaned_and_kept_short() -> None:
    good = _check({"title": [" red\n\x07 mug\u202e ", "x" * 999]}).good
    assert good["title"].to_pylist() == ["red mug", "x" * 200]


@given(st.booleans(), st.booleans(), st.booleans())
def test_decisions_survive_a_quarantine_file(day: bool, comma: bool, c_returns: bool) -> None:
    decided = ReadAs(day_first=day, decimal_comma=comma, c_returns=c_returns)
    checked = _check({"timestamp": ["03/04/2023"]}, read_as=decided.to_text())
    assert checked.read_as == decided
    assert checked.good["timestamp"][0].as_py().day == (3 if day else 4)
