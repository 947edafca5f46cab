"""Check every row of a file and read it as an event, or say what is wrong with it.

Each distinct value of a column is read once, in plain Python and exact decimals; rows then take
their reading from it. So half a million rows cost about as much as their few thousand values.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from babel.numbers import get_currency_symbol

from retrieval.columns import CATEGORY, TITLE, UNIT_PRICE
from retrieval.errors import IngestError
from retrieval.events import (
    AMOUNT,
    CUSTOMER_ID,
    ITEM_ID,
    KIND,
    LINE,
    ORDER_ID,
    QUANTITY,
    TIMESTAMP,
    Kind,
)
from retrieval.money import to_minor
from retrieval.readers import RawTable, as_text

UNKNOWN_ITEM = "unknown"
MAX_ID_CHARACTERS = 200
MAX_AMOUNT = 10**13  # minor units; sums of a million such still fit int64
MAX_QUANTITY = 10**9

_MAX_NUMBER_CHARACTERS = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=1)  # clocks and time zones may differ by that much
# What programs write for "nothing"; as a customer it would join strangers into one.
_EMPTY = frozenset({"", "nan", "null", "none", "n/a", "na", "#n/a", "<na>", "nat"})
_KINDS: Mapping[str, Kind] = {
    "": Kind.PURCHASE,
    **dict.fromkeys(("purchase", "sale", "buy", "bought", "order", "sold"), Kind.PURCHASE),
    **dict.fromkeys(
        ("return", "returned", "refund", "refunded", "cancellation", "cancelled", "canceled"),
        Kind.RETURN,
    ),
    "view": Kind.VIEW,
    "message": Kind.MESSAGE,
}
# Enough digits for the exact product of any two numbers that are let in.
_EXACT = Context(prec=2 * _MAX_NUMBER_CHARACTERS)

GOOD_SCHEMA = pa.schema(
    [
        pa.field(CUSTOMER_ID, pa.large_string(), nullable=False),
        pa.field(TIMESTAMP, pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field(ORDER_ID, pa.large_string(), nullable=False),
        pa.field(ITEM_ID, pa.large_string(), nullable=False),
        pa.field(QUANTITY, pa.float64(), nullable=False),
        pa.field(AMOUNT, pa.int64(), nullable=False),
        pa.field(KIND, pa.large_string(), nullable=False),
        pa.field(LINE, pa.int64(), nullable=False),
        pa.field(TITLE, pa.large_string(), nullable=False),  # "" where unknown
        pa.field(CATEGORY, pa.large_string(), nullable=False),  # "" where unknown
        pa.field(UNIT_PRICE, pa.int64()),  # minor units; null where unknown
    ]
)
BAD_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # index in `RawTable.columns`
        pa.field("column", pa.large_string(), nullable=False),  # the source's name of it
        pa.field("value", pa.large_string(), nullable=False),
        pa.field("reason", pa.large_string(), nullable=False),
    ]
)


class BadValueError(ValueError):
    """A value cannot be read; its text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAs:
    """What had to be decided for a whole file, because single values do not tell.

    Attributes:
        day_first: 03/04/2011 is the third of April.
        decimal_comma: 1.234,50 rather than 1,234.50.
        c_returns: an order id of C and digits marks a return (UCI Online Retail).
    """

    day_first: bool
    decimal_comma: bool
    c_returns: bool

    def to_text(self) -> str:
        """One word a decision, for the quarantine file; `from_text` reads it back."""
        return " ".join(
            (
                "day-first" if self.day_first else "month-first",
                "decimal-comma" if self.decimal_comma else "decimal-point",
                "c-returns" if self.c_returns else "c-plain",
            )
        )

    @classmethod
    def from_text(cls, text: str) -> "ReadAs":
        """Read what `to_text` wrote.

        Raises:
            IngestError: the text is another.
        """
        for number in range(8):
            candidate = cls(
                day_first=bool(number & 1),
                decimal_comma=bool(number & 2),
                c_returns=bool(number & 4),
            )
            if candidate.to_text() == text:
                return candidate
        raise IngestError(
            f"The column patron_read_as says '{text[:80]}', which Patron never wrote.",
            hint="Restore that column of the quarantine file, or delete it.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRows:
    """What became of the rows of `RawTable.columns`; each is in `good` or in `bad`.

    Attributes:
        good: columns of `GOOD_SCHEMA`, in file order.
        bad: columns of `BAD_SCHEMA`, in file order; the first bad column of each row.
        read_as: the decisions for the whole file.
        notes: what a person should know of them.
    """

    good: pa.Table
    bad: pa.Table
    read_as: ReadAs
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadColumn:
    """One column as read: a value or a reason for every row.

    Attributes:
        source: the source's name of it.
        text: as it stood in the file, trimmed.
        values: what it means; null beside a reason.
        reasons: what is wrong with it; null beside a value.
    """

    source: str
    text: pa.Array
    values: pa.Array
    reasons: pa.Array


def check_rows(
    raw: RawTable, sources: Mapping[str, str], *, zone: str, currency: str, now: datetime
) -> CheckedRows:
    """Read every row as an event and tell the bad ones apart.

    Args:
        raw: the file.
        sources: target name to source column, as `map_columns` gives it.
        zone: IANA time zone of timestamps without an offset, and of derived order ids.
        currency: ISO 4217; amounts become its minor units.
        now: aware; later than a day after it is "in the future".

    Raises:
        IngestError: the column `patron_read_as` of a quarantine file was changed.
    """
    texts = trimmed_texts(raw, sources)
    read_as, notes = _read_as(raw, texts)
    columns = _columns(texts, sources, read_as, zone=zone, currency=currency, now=now)
    bad = first_reasons([columns[name] for name in _JUDGED if name in columns])
    rows = _settled(raw, texts, columns, read_as, zone)
    kept = np.ones(raw.columns.num_rows, dtype=bool)
    kept[bad["row"].to_numpy()] = False
    return CheckedRows(
        good=rows.filter(pa.array(kept)).cast(GOOD_SCHEMA),
        bad=bad,
        read_as=read_as,
        notes=(
            *notes,
            *_clock_notes(texts[TIMESTAMP], read_as, zone),
            *currency_notes((texts[one] for one in (AMOUNT, UNIT_PRICE) if one in texts), currency),
            *_filled_notes(texts, sources),
        ),
    )


def trimmed_texts(raw: RawTable, sources: Mapping[str, str]) -> dict[str, pa.Array]:
    """The mapped columns by target, as text without spaces around it."""
    return {
        target: pc.utf8_trim_whitespace(as_text(raw.columns[source]))
        for target, source in sources.items()
    }


# The readers of single values


def is_empty(text: str) -> bool:
    """Whether a text is empty, or what programs write for "nothing"."""
    return text.casefold() in _EMPTY


def read_id(text: str) -> str:
    """An id as it is stored.

    Raises:
        BadValueError: it is over-long or holds control or damaged characters.
    """
    if len(text) > MAX_ID_CHARACTERS:
        raise BadValueError(f"longer than {MAX_ID_CHARACTERS} characters")
    if "\ufffd" in text:
        raise BadValueError("holds a damaged character")
    if not text.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text
    ):
        raise BadValueError("holds a control character")
    return text


def read_customer(text: str) -> str:
    """A customer's id.

    Raises:
        BadValueError: it is empty, or no id.
    """
    if is_empty(text):
        raise BadValueError("empty")
    return read_id(text)


_DIGITS = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?|\.\d+(?:[eE][+-]?\d{1,3})?", re.ASCII)
_POINT = re.compile(
    r"\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d*)?|\d{1,3}(?:[ '’]\d{3})+(?:\.\d*)?", re.ASCII
)
_COMMA = re.compile(r"\d{1,3}(?:[. '’]\d{3})+(?:,\d*)?|\d+(?:,\d*)?|,\d+", re.ASCII)
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-"})


def read_number(text: str, decimal_comma: bool = False) -> Decimal:
    """A number with or without currency, thousands separators and sign: £1,234.50, (12.00), 5-.

    Raises:
        BadValueError: it is empty, no number, or not finite.
    """
    if text.casefold() in _EMPTY - {"nan"}:
        raise BadValueError("empty")
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise BadValueError("not a number")
    negative, digits = _unsigned(text)
    if decimal_comma:
        if not _COMMA.fullmatch(digits):
            raise BadValueError("not a number")
        digits = re.sub(r"[. '’]", "", digits).replace(",", ".")
    elif _POINT.fullmatch(digits):
        digits = re.sub(r"[, '’]", "", digits)
    elif not _DIGITS.fullmatch(digits):
        raise BadValueError("not a number")
    return Decimal(f"-{digits}" if negative else digits)


def _unsigned(text: str) -> tuple[bool, str]:
    """Whether a number is negative, and its digits without sign and currency."""
    bare = "".join(c for c in text.translate(_SPACES) if unicodedata.category(c) != "Sc").strip()
    if bare.startswith("(") and bare.endswith(")"):
        return True, bare[1:-1].strip()
    if bare.endswith("-"):
        return True, bare[:-1].strip()
    return bare.startswith("-"), bare[1:].strip() if bare[:1] in {"-", "+"} else bare


def read_quantity(text: str, decimal_comma: bool = False) -> float:
    """A quantity; negative for what was returned.

    Raises:
        BadValueError: no number, or too large to be true.
    """
    number = read_number(text, decimal_comma)
    if abs(number) > MAX_QUANTITY:
        raise BadValueError(f"larger than {MAX_QUANTITY:,}")
    return float(number)


def checked_amount(amount: Decimal, currency: str) -> int:
    """Major to minor units.

    Raises:
        BadValueError: too large to be stored.
    """
    # Looked at before it is scaled: 1e999 would fill the memory.
    return check_minor(to_minor(amount, currency) if abs(amount) <= MAX_AMOUNT else MAX_AMOUNT + 1)


def check_minor(amount: int) -> int:
    """An amount in minor units, as it is.

    Raises:
        BadValueError: too large to be stored.
    """
    if abs(amount) > MAX_AMOUNT:
        raise BadValueError("too large an amount")
    return amount


def read_amount(text: str, decimal_comma: bool, currency: str) -> int:
    """An amount in major units, such as $4.99, as minor units.

    Raises:
        BadValueError: it is empty, no number, or too large to be stored.
    """
    return checked_amount(read_number(text, decimal_comma), currency)


def _read_line_amount(text: str, decimal_comma: bool, currency: str) -> int:
    quantity, price = text.split(_PAIR)
    product = _EXACT.multiply(
        read_number(quantity, decimal_comma), read_number(price, decimal_comma)
    )
    return checked_amount(product, currency)


def _read_kind(text: str) -> str:
    try:
        return _KINDS[text.casefold()]
    except KeyError as error:
        raise BadValueError(f"none of {', '.join(Kind)}") from error


_CLOCK = (
    r"(?:[T ]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"(?: ?(?P<offset>Z|z|UTC|[+-]\d{2}:?(?:\d{2})?))?)?"
)
_YEAR_FIRST = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{1,2})-(?P<day>\d{1,2})|/(?P<month2>\d{1,2})/(?P<day2>\d{1,2})"
    r"|(?P<month3>\d{2})(?P<day3>\d{2}))" + _CLOCK,
    re.ASCII,
)
_YEAR_LAST = re.compile(
    r"(?P<first>\d{1,2})(?P<separator>[/.-])(?P<second_>\d{1,2})(?P=separator)"
    r"(?P<year>\d{4}|\d{2})" + _CLOCK,
    re.ASCII,
)


def read_moment(text: str, day_first: bool = False) -> datetime:
    """A moment: aware where the text has an offset, else naive.

    Reads ISO 8601, YYYYMMDD, and MM/DD/YYYY or DD/MM/YYYY, each with or without a time of day.

    Raises:
        BadValueError: it is none of these, or no day of the calendar.
    """
    if is_empty(text):
        raise BadValueError("empty")
    if match := _YEAR_FIRST.fullmatch(text):
        year = int(match["year"])
        month = int(match["month"] or match["month2"] or match["month3"])
        day = int(match["day"] or match["day2"] or match["day3"])
    elif match := _YEAR_LAST.fullmatch(text):
        year = _full_year(match["year"])
        first, second = int(match["first"]), int(match["second_"])
        day, month = (first, second) if day_first else (second, first)
    else:
        raise BadValueError("not a date and time")
    try:
        return _on_clock(datetime(year, month, day), match)
    except (ValueError, OverflowError) as error:
        raise BadValueError(f"not a date and time: {error}") from error


def _full_year(digits: str) -> int:
    if len(digits) == 4:
        return int(digits)
    short = int(digits)
    return short + (2000 if short < 69 else 1900)  # the pivot of POSIX


def _on_clock(day: datetime, match: re.Match[str]) -> datetime:
    if match["hour"] is None:
        return day
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("hour must be in 1..12")
        hour = hour % 12 + (12 if match["half"] in "pP" else 0)
    moment = day.replace(
        hour=hour,
        minute=int(match["minute"]),
        second=int(match["second"] or 0),
        microsecond=int((match["part"] or "").ljust(6, "0")[:6]),
    )
    return moment if match["offset"] is None else moment.replace(tzinfo=_offset(match["offset"]))


def _offset(text: str) -> timezone:
    if text in {"Z", "z", "UTC"}:
        return UTC
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))


def check_moment(moment: datetime, now: datetime) -> None:
    """See that an aware moment lies in the time of records.

    Raises:
        BadValueError: before 1970, or more than a day after `now`.
    """
    if moment < _EPOCH:
        raise BadValueError("before 1970")
    if moment > now + _AHEAD:
        raise BadValueError("in the future")


# Decisions for the whole file


def _read_as(raw: RawTable, texts: Mapping[str, pa.Array]) -> tuple[ReadAs, list[str]]:
    if raw.read_as:
        return ReadAs.from_text(raw.read_as), []
    day_first, date_notes = _day_first(texts[TIMESTAMP].unique().to_pylist())
    decimal_comma, number_notes = has_decimal_comma(
        texts[name] for name in (QUANTITY, AMOUNT, UNIT_PRICE) if name in texts
    )
    decided = ReadAs(
        day_first=day_first, decimal_comma=decimal_comma, c_returns=_has_plain_orders(texts)
    )
    return decided, date_notes + number_notes


def _day_first(texts: Iterable[str]) -> tuple[bool, list[str]]:
    matches = [match for text in texts if (match := _YEAR_LAST.fullmatch(text))]
    # Only countries that put the day first write dates with points.
    day = sum(int(match["first"]) > 12 or match["separator"] == "." for match in matches)
    month = sum(int(match["second_"]) > 12 for match in matches)
    if not matches:
        return False, []
    if day and month:
        return day > month, [
            f"Dates contradict each other: {day} need the day first, {month} the month first; "
            f"read as {'day' if day > month else 'month'} first."
        ]
    if not day and not month:
        return False, [
            f"Dates such as {matches[0].group()} do not tell day from month; read as month first."
        ]
    return bool(day), [f"Dates such as {matches[0].group()} were read as day first."] * bool(day)


def has_decimal_comma(columns: Iterable[pa.Array]) -> tuple[bool, list[str]]:
    """Whether the numbers of a file are written 1.234,50, and what a person should know of it."""
    point_only, comma_only, either = 0, 0, ""
    for text in _distinct(columns):
        if "," not in text and "." not in text:
            continue
        with_point, with_comma = _is_number(text, False), _is_number(text, True)
        point_only += with_point and not with_comma
        comma_only += with_comma and not with_point
        if with_point and with_comma and "," in text:
            either = text
    if comma_only and not point_only:
        return True, ["Numbers were read with a decimal comma (1.234,50)."]
    if either and not point_only:
        return False, [f"{either} was read as thousands, with a decimal point."]
    return False, []


def _distinct(columns: Iterable[pa.Array]) -> set[str]:
    return {text for column in columns for text in column.unique().to_pylist()}


def _is_number(text: str, decimal_comma: bool) -> bool:
    try:
        read_number(text, decimal_comma)
    except BadValueError:
        return False
    return True


def _has_plain_orders(texts: Mapping[str, pa.Array]) -> bool:
    """Beside plain numbers a C marks cancellations; where all ids have letters it marks nothing."""
    if ORDER_ID not in texts:
        return False
    return bool(pc.any(pc.match_substring_regex(texts[ORDER_ID], r"^\d+$")).as_py())


# Columns

_PAIR = "\x1f"
_JUDGED = (CUSTOMER_ID, TIMESTAMP, ORDER_ID, ITEM_ID, QUANTITY, AMOUNT, KIND)


def _columns(
    texts: Mapping[str, pa.Array],
    sources: Mapping[str, str],
    read_as: ReadAs,
    *,
    zone: str,
    currency: str,
    now: datetime,
) -> dict[str, ReadColumn]:
    """Every column that the file has, read; the amount always."""
    rows = len(texts[CUSTOMER_ID])
    comma = read_as.decimal_comma

    def read(target: str, reader: Callable[[str], object], type_: pa.DataType) -> ReadColumn:
        return read_distinct(sources[target], texts[target], reader, type_)

    columns = {CUSTOMER_ID: read(CUSTOMER_ID, read_customer, pa.large_string())}
    columns[TIMESTAMP] = _read_moments(
        sources[TIMESTAMP], texts[TIMESTAMP], read_as.day_first, zone, now
    )
    for target in (ORDER_ID, ITEM_ID):
        if target in texts:
            columns[target] = read(target, read_id, pa.large_string())
    if KIND in texts:
        columns[KIND] = read(KIND, _read_kind, pa.large_string())
    talk = _is_talk(columns.get(KIND), rows)
    if QUANTITY in texts:
        quantity = read(QUANTITY, partial(read_quantity, decimal_comma=comma), pa.float64())
        columns[QUANTITY] = _optional_where(talk, quantity, default=1.0)
    amount = _optional_where(talk, _amounts(texts, sources, comma, currency), default=0)
    columns[AMOUNT] = _zero_where(talk, amount)
    if UNIT_PRICE in texts:
        price_reader = partial(read_amount, decimal_comma=comma, currency=currency)
        columns[UNIT_PRICE] = read(UNIT_PRICE, price_reader, pa.int64())
    return columns


def read_distinct(
    source: str, text: pa.Array, read: Callable[[str], object], type_: pa.DataType
) -> ReadColumn:
    """Read each distinct text once; null beside a reason, or a value beside null."""
    distinct = text.dictionary_encode()
    values: list[object] = []
    reasons: list[str | None] = []
    for one in distinct.dictionary.to_pylist():
        try:
            values.append(read(one))
            reasons.append(None)
        except BadValueError as error:
            values.append(None)
            reasons.append(str(error))
    return ReadColumn(
        source=source,
        text=text,
        values=pa.array(values, type_).take(distinct.indices),
        reasons=pa.array(reasons, pa.large_string()).take(distinct.indices),
    )


def _all(value: object, type_: pa.DataType, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, type_), rows)


def _read_moments(
    source: str, text: pa.Array, day_first: bool, zone: str, now: datetime
) -> ReadColumn:
    distinct = text.dictionary_encode()
    texts = distinct.dictionary
    moments: list[datetime | None] = []
    reasons: list[str | None] = []
    for one in texts.to_pylist():
        try:
            moments.append(read_moment(one, day_first))
            reasons.append(None)
        except BadValueError as error:
            moments.append(None)
            reasons.append(str(error))
    utc = _in_utc(moments, zone)
    for index, moment in enumerate(utc.to_pylist()):
        if moment is not None:
            try:
                check_moment(moment, now)
            except BadValueError as error:
                reasons[index] = str(error)
    return ReadColumn(
        source=source,
        text=text,
        values=utc.take(distinct.indices),
        reasons=pa.array(reasons, pa.large_string()).take(distinct.indices),
    )


def _in_utc(moments: Sequence[datetime | None], zone: str) -> pa.Array:
    """Moments as UTC; local time that was twice is its first, that never was is the next after."""
    aware = pa.array(
        [m if m is not None and m.tzinfo is not None else None for m in moments],
        pa.timestamp("us", tz="UTC"),
    )
    naive = pa.array(
        [m if m is not None and m.tzinfo is None else None for m in moments], pa.timestamp("us")
    )
    local = pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="latest")
    return pc.coalesce(aware, local.cast(pa.timestamp("us", tz="UTC")))


def _amounts(
    texts: Mapping[str, pa.Array], sources: Mapping[str, str], comma: bool, currency: str
) -> ReadColumn:
    """The line's amount: its own column, or exactly quantity times unit price."""
    if AMOUNT in texts:
        reader = partial(read_amount, decimal_comma=comma, currency=currency)
        return read_distinct(sources[AMOUNT], texts[AMOUNT], reader, pa.int64())
    price = texts[UNIT_PRICE]
    if QUANTITY not in texts:
        reader = partial(read_amount, decimal_comma=comma, currency=currency)
        return read_distinct(sources[UNIT_PRICE], price, reader, pa.int64())
    pairs = pc.binary_join_element_wise(texts[QUANTITY], price, pa.scalar(_PAIR, pa.large_string()))
    reader = partial(_read_line_amount, decimal_comma=comma, currency=currency)
    product = read_distinct(sources[UNIT_PRICE], pairs, reader, pa.int64())
    return replace(product, text=price)


def _is_talk(kind: ReadColumn | None, rows: int) -> pa.Array:
    if kind is None:
        return _all(False, pa.bool_(), rows)
    talk = pa.array([Kind.VIEW, Kind.MESSAGE], pa.large_string())
    return pc.is_in(kind.values, value_set=talk)


def _optional_where(talk: pa.Array, column: ReadColumn, default: float) -> ReadColumn:
    """A view or message needs no quantity and no amount."""
    excused = pc.and_(talk, pc.equal(column.text, ""))
    return replace(
        column,
        values=pc.if_else(excused, pa.scalar(default, column.values.type), column.values),
        reasons=pc.if_else(excused, pa.scalar(None, pa.large_string()), column.reasons),
    )


def _zero_where(talk: pa.Array, amount: ReadColumn) -> ReadColumn:
    wrong = pc.and_(talk, pc.fill_null(pc.not_equal(amount.values, 0), False))
    reason = pa.scalar("a view or message has no amount", pa.large_string())
    return replace(amount, reasons=pc.if_else(wrong, reason, amount.reasons))


def first_reasons(columns: Sequence[ReadColumn]) -> pa.Table:
    """The bad rows, each with its first bad column: columns of `BAD_SCHEMA`."""
    rows = len(columns[0].text)
    first = np.full(rows, -1)
    for index, column in enumerate(columns):
        bad = column.reasons.is_valid().to_numpy(zero_copy_only=False)
        first[bad & (first < 0)] = index
    bad_rows = np.flatnonzero(first >= 0)
    of_each = [
        _bad_rows_of(column, bad_rows[first[bad_rows] == index])
        for index, column in enumerate(columns)
    ]
    return pa.concat_tables(of_each).sort_by("row")


def _bad_rows_of(column: ReadColumn, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    taken = pa.array(rows, pa.int64())
    return pa.table(
        {
            "row": taken,
            "column": pa.array([column.source] * len(rows), pa.large_string()),
            "value": column.text.take(taken),
            "reason": column.reasons.take(taken),
        },
        schema=BAD_SCHEMA,
    )


# Rows


def _settled(
    raw: RawTable,
    texts: Mapping[str, pa.Array],
    columns: Mapping[str, ReadColumn],
    read_as: ReadAs,
    zone: str,
) -> pa.Table:
    """All rows as events, good and bad alike; the bad ones hold nulls."""
    rows = raw.columns.num_rows
    empty = _all("", pa.large_string(), rows)

    def values(target: str, absent: object, type_: pa.DataType) -> pa.Array:
        return columns[target].values if target in columns else _all(absent, type_, rows)

    customers, moments = columns[CUSTOMER_ID].values, columns[TIMESTAMP].values
    orders = values(ORDER_ID, "", pa.large_string())
    items = values(ITEM_ID, "", pa.large_string())
    marked = pc.match_substring_regex(orders, r"^[Cc]\d+$") if read_as.c_returns else None
    kinds, quantities, amounts = settle_signs(
        values(KIND, Kind.PURCHASE, pa.large_string()),
        values(QUANTITY, 1.0, pa.float64()),
        columns[AMOUNT].values,
        marked,
    )
    return pa.table(
        {
            CUSTOMER_ID: customers,
            TIMESTAMP: moments,
            ORDER_ID: pc.if_else(
                pc.equal(orders, ""), _derived_orders(customers, moments, zone), orders
            ),
            ITEM_ID: pc.if_else(pc.equal(items, ""), UNKNOWN_ITEM, items),
            QUANTITY: quantities,
            AMOUNT: amounts,
            KIND: kinds,
            LINE: raw.lines,
            TITLE: label(texts[TITLE]) if TITLE in texts else empty,
            CATEGORY: label(texts[CATEGORY]) if CATEGORY in texts else empty,
            UNIT_PRICE: values(UNIT_PRICE, None, pa.int64()),
        }
    )


def settle_signs(
    kinds: pa.Array, quantities: pa.Array, amounts: pa.Array, marked: pa.Array | None = None
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Tell returns from purchases, and give returns a quantity and amount of zero or less.

    Purchases plus returns then sum to the net, and purchases alone to the spend.

    Args:
        kinds: strings of `Kind`.
        quantities: float64.
        amounts: int64, minor units.
        marked: rows that their order id marks as returns; None where none does.

    Returns:
        Kinds, quantities and amounts.
    """
    sale = pc.or_(pc.equal(kinds, Kind.PURCHASE), pc.equal(kinds, Kind.RETURN))
    backward = pc.or_(
        pc.equal(kinds, Kind.RETURN), pc.or_(pc.less(quantities, 0), pc.less(amounts, 0))
    )
    if marked is not None:
        backward = pc.or_(backward, marked)
    returned = pc.and_(sale, backward)
    return (
        pc.if_else(returned, Kind.RETURN, kinds),
        # Adding zero turns -0.0 into 0.0, which would else be another event.
        pc.add(pc.if_else(returned, pc.negate(pc.abs(quantities)), quantities), 0.0),
        pc.if_else(returned, pc.negate(pc.abs(amounts)), amounts),
    )


def _derived_orders(customers: pa.Array, moments: pa.Array, zone: str) -> pa.Array:
    """One order a customer and day of the shop's calendar."""
    local = moments.cast(pa.timestamp("us", tz=zone))
    days = pc.strftime(local, format="%Y%m%d").cast(pa.large_string())
    return pc.binary_join_element_wise(customers, days, pa.scalar("-", pa.large_string()))


def label(text: pa.Array) -> pa.Array:
    """Titles or categories as they are shown: without control characters and not endless."""
    plain = pc.replace_substring_regex(text, r"[\pC\p{Zl}\p{Zp}\s]+", " ")
    return pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(plain), 0, MAX_ID_CHARACTERS)


# Notes


def _clock_notes(text: pa.Array, read_as: ReadAs, zone: str) -> list[str]:
    naive: list[datetime] = []
    for one in text.unique().to_pylist():
        try:
            moment = read_moment(one, read_as.day_first)
        except BadValueError:
            continue
        if moment.tzinfo is None:
            naive.append(moment)
    times = pa.array(naive, pa.timestamp("us"))
    early = pc.assume_timezone(times, zone, ambiguous="earliest", nonexistent="earliest")
    late = pc.assume_timezone(times, zone, ambiguous="latest", nonexistent="latest")
    count = pc.sum(pc.not_equal(early, late)).as_py() or 0
    if not count:
        return []
    return [
        f"{count} local times fall into a change of the clocks in {zone}: one that was twice was "
        "taken as the first, one that never was as the moment of the change."
    ]


def currency_notes(amounts: Iterable[pa.Array], currency: str) -> list[str]:
    """One note for each currency sign beside the amounts that is not the shop's."""
    own = get_currency_symbol(currency, locale="en_US")
    symbols = {
        character
        for text in _distinct(amounts)
        for character in text
        if not character.isascii() or character == "$"
        if unicodedata.category(character) == "Sc"
    }
    return [
        f"Amounts are written with {symbol} and were taken as {currency}."
        for symbol in sorted(symbols)
        if symbol not in own
    ]


def _filled_notes(texts: Mapping[str, pa.Array], sources: Mapping[str, str]) -> list[str]:
    filled = {ORDER_ID: "the customer and day", ITEM_ID: f"'{UNKNOWN_ITEM}'"}
    return [
        f"{count} rows without {sources[target]} were given {instead} as {target}."
        for target, instead in filled.items()
        if target in texts and (count := pc.sum(pc.equal(texts[target], "")).as_py())
    ]
