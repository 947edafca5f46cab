"""Take files into a shop: check every row, keep the bad ones aside, append the new ones.

Order of effects: quarantine file, catalogue, then one atomic commit to the log. Each is whole or
not at all and comes out the same when it is done again, so that after a crash at any moment a
second run ends where an undisturbed one would have.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo, available_timezones

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.catalogue import Catalogue, Item
from retrieval.columns import CATEGORY, TITLE, UNIT_PRICE, map_columns
from retrieval.errors import IngestError
from retrieval.events import (
    AMOUNT,
    CUSTOMER_ID,
    EVENT_ID,
    EVENT_SCHEMA,
    ITEM_ID,
    KIND,
    LINE,
    ORDER_ID,
    QUANTITY,
    SOURCE,
    TIMESTAMP,
    Event,
    Kind,
)
from retrieval.file_reports import (
    CheckedFile,
    CheckedFiles,
    bad_limit,
    check_accounts,
    check_share,
)
from retrieval.progress import Progress, no_progress
from retrieval.quarantine import write_quarantine
from retrieval.readers import check_paths, read_raw
from retrieval.row_checks import (
    GOOD_SCHEMA,
    UNKNOWN_ITEM,
    BadValueError,
    check_minor,
    check_moment,
    check_rows,
    read_customer,
    read_id,
    read_quantity,
    settle_signs,
)
from retrieval.shop import Shop

_T = TypeVar("_T")
_OBSERVED = "observe"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport(CheckedFile):
    """What became of one log; duplicates are good rows that the log held already.

    Attributes:
        log_version: of the event log afterwards; -1 where it has none.
    """

    log_version: int


class IngestReport(CheckedFiles[FileReport]):
    """What became of several logs."""


def ingest_files(
    shop: Shop,
    files: Sequence[Path],
    *,
    column_map: Mapping[str, str] | None = None,
    timezone: str | None = None,
    max_bad_share: float | None = None,
    progress: Progress = no_progress,
) -> IngestReport:
    """Ingest files one after the other, with the arguments of `ingest_file`.

    Raises:
        IngestError: a file cannot be ingested; those before it are, and running all again adds
            nothing twice.
        ShopError: another process is ingesting.
        StorageError: the disk refuses.
    """
    check_paths(files)
    return IngestReport(
        files=tuple(
            ingest_file(
                shop,
                file,
                column_map=column_map,
                timezone=timezone,
                max_bad_share=max_bad_share,
                progress=progress,
            )
            for file in files
        )
    )


def ingest_file(
    shop: Shop,
    file: Path,
    *,
    column_map: Mapping[str, str] | None = None,
    timezone: str | None = None,
    max_bad_share: float | None = None,
    progress: Progress = no_progress,
) -> FileReport:
    """Check a file, quarantine its bad rows, and append those that the log does not hold yet.

    Args:
        shop: where to.
        file: CSV, Parquet or JSONL, each also gzipped.
        column_map: target name to source column; the rest is guessed.
        timezone: IANA zone of timestamps without an offset; None for the shop's.
        max_bad_share: stop above this share (0 to 1) of bad rows; None for the shop's limit.
        progress: told of each step: its name, rows done, rows in all.

    Raises:
        IngestError: the file cannot be read or too much of it is bad; nothing was changed.
        ShopError: another process is ingesting.
        StorageError: the disk refuses.
    """
    zone = _checked_zone(timezone or shop.settings.timezone)
    limit = bad_limit(shop, max_bad_share)
    with shop.lock("ingest"):
        progress("Reading the file", 0, 1)
        raw = read_raw(file)
        progress("Reading the file", 1, 1)
        progress("Checking rows", 0, raw.rows)
        mapping = map_columns(raw.columns.column_names, column_map, file=str(file))
        checked = check_rows(
            raw,
            mapping.sources,
            zone=zone,
            currency=shop.settings.currency,
            now=datetime.now(UTC),
        )
        quarantined = checked.bad.num_rows + len(raw.misshapen)
        check_share(file, raw, checked.bad, limit)
        events = _with_identity(checked.good, source=raw.name)
        new = _not_stored(events, shop.log.event_ids())
        duplicates = events.num_rows - new.num_rows
        check_accounts(file, raw.rows, new.num_rows, quarantined, duplicates)
        progress("Checking rows", raw.rows, raw.rows)
        progress("Storing events", 0, raw.rows)
        kept = write_quarantine(shop, raw, checked.bad, checked.read_as) if quarantined else None
        merge_items(shop, checked.good, known=frozenset(mapping.sources))
        if new.num_rows:
            shop.log.append(new, source=raw.name)
        progress("Storing events", raw.rows, raw.rows)
        return FileReport(
            file=file,
            read=raw.rows,
            accepted=new.num_rows,
            quarantined=quarantined,
            duplicates=duplicates,
            mapping=dict(mapping.sources),
            guessed=mapping.guessed,
            notes=raw.notes + checked.notes,
            quarantine_file=kept,
            log_version=shop.log.version(),
        )


def append_event(shop: Shop, event: Event) -> bool:
    """Append one event, with the checks and the identity of an ingested row.

    Returns:
        False where the log holds the very event already.

    Raises:
        IngestError: a field of the event is wrong; the message names it.
        ShopError: another process is ingesting.
        StorageError: the disk refuses.
    """
    checked = _checked_event(event, shop.settings.timezone, datetime.now(UTC))
    row = _with_identity(checked, source=_OBSERVED)
    with shop.lock("ingest"):
        # The log is sorted by customer, so that this reads a small part of it.
        new = _not_stored(row, shop.log.customer_events(row[CUSTOMER_ID][0].as_py()))
        if not new.num_rows:
            return False
        shop.log.append(new, source=_OBSERVED)
        shop.log.compact()
    return True


def _checked_zone(name: str) -> str:
    zones = available_timezones()
    if name not in zones:
        near = difflib.get_close_matches(name, zones, n=1)
        raise IngestError(
            f"--timezone '{name}' is no IANA time zone.",
            hint=f"Give one such as {near[0] if near else 'Europe/London'}.",
        )
    return name


# Identity

# The unit separator cannot occur in an id: the checks reject control characters.
_IDENTITY_SQL = """
WITH keyed AS (
    SELECT *, concat_ws(
        chr(31), customer_id, epoch_us(timestamp)::VARCHAR, order_id, item_id, quantity_text,
        amount::VARCHAR, kind
    ) AS key
    FROM rows
)
SELECT * EXCLUDE (key, quantity_text),
    md5(concat_ws(chr(31), key, (row_number() OVER (PARTITION BY key ORDER BY line) - 1)::VARCHAR))
        AS event_id
FROM keyed ORDER BY line
"""


def _with_identity(good: pa.Table, *, source: str) -> pa.Table:
    """Rows of `EVENT_SCHEMA`.

    Alike rows of one file are numbered, so that a receipt may hold two of a kind, while the same
    rows in a second export have the same ids again.
    """
    distinct = good[QUANTITY].combine_chunks().dictionary_encode()
    # Python's shortest form of a float is the same on every machine.
    texts = pa.array([repr(value) for value in distinct.dictionary.to_pylist()], pa.large_string())
    rows = good.append_column("quantity_text", texts.take(distinct.indices))
    identified = _select(_IDENTITY_SQL, rows=rows)
    named = identified.append_column(
        SOURCE, pa.repeat(pa.scalar(source, pa.string()), identified.num_rows)
    )
    return named.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)


def _not_stored(events: pa.Table, stored: pa.Table) -> pa.Table:
    return events.filter(pc.invert(pc.is_in(events[EVENT_ID], value_set=stored[EVENT_ID])))


def _select(sql: str, **tables: pa.Table) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table()


# Catalogue

_ITEMS_SQL = f"""
WITH sold AS (
    SELECT item_id, timestamp, line, coalesce(
        unit_price, CASE WHEN quantity > 0 THEN round(amount / quantity)::BIGINT END
    ) AS price
    FROM rows WHERE kind = 'purchase'
), newest AS (
    SELECT item_id, max(timestamp) AS priced_at, arg_max(price, (timestamp, line)) AS price
    FROM sold WHERE price > 0 GROUP BY item_id
), counted AS (
    SELECT item_id, title, category, count(*) AS lines FROM rows GROUP BY ALL
), titles AS (
    SELECT item_id, arg_max(title, (lines, title)) AS title FROM (
        SELECT item_id, title, sum(lines) AS lines FROM counted WHERE title <> '' GROUP BY ALL
    ) GROUP BY item_id
), categories AS (
    SELECT item_id, arg_max(category, (lines, category)) AS category FROM (
        SELECT item_id, category, sum(lines) AS lines FROM counted WHERE category <> '' GROUP BY ALL
    ) GROUP BY item_id
)
SELECT item_id, coalesce(title, item_id) AS title, coalesce(category, '') AS category, price,
    priced_at
FROM (SELECT DISTINCT item_id FROM rows)
LEFT JOIN titles USING (item_id)
LEFT JOIN categories USING (item_id)
LEFT JOIN newest USING (item_id)
WHERE item_id <> '{UNKNOWN_ITEM}'
"""
_LAST_SALES_SQL = """
SELECT item_id, max(timestamp) AS sold_at FROM events WHERE kind = 'purchase' GROUP BY item_id
"""


def merge_items(shop: Shop, good: pa.Table, *, known: Set[str]) -> None:
    """Put the items of a file into the catalogue.

    Title and category are the most frequent of an item, the price its newest, in minor units. A
    file that describes no item (no title, category or price) adds only those that are new, priced
    at what was paid for one; an older file never turns a price back.

    Args:
        shop: whose catalogue.
        good: columns of `row_checks.GOOD_SCHEMA`.
        known: the targets that the file has a column for.

    Raises:
        StorageError: the disk refuses.
    """
    old = Catalogue.read(shop.items_file)
    described = bool({TITLE, CATEGORY, UNIT_PRICE} & known)
    last_sales = shop.log.query(_LAST_SALES_SQL).to_pydict()
    last_sale = dict(zip(last_sales["item_id"], last_sales["sold_at"], strict=True))
    newer = []
    for row in _select(_ITEMS_SQL, rows=good).to_pylist():
        item_id, priced_at = row["item_id"], row.pop("priced_at")
        before = old.items.get(item_id)
        if before is not None and not described:
            continue
        if before is not None and before.price is not None:
            outdated = priced_at is not None and priced_at < last_sale.get(item_id, priced_at)
            row["price"] = row["price"] if UNIT_PRICE in known and not outdated else None
        newer.append(Item(**row))
    merged = old.merged(newer)
    if merged.items != old.items:
        merged.write(shop.items_file)


# One event


def _checked_event(event: Event, zone: str, now: datetime) -> pa.Table:
    """The event as one row of `GOOD_SCHEMA`."""
    if event.timestamp.tzinfo is None:
        raise IngestError("The event's timestamp has no time zone.", hint="Give an aware datetime.")
    moment = event.timestamp.astimezone(UTC)
    customer = _field(CUSTOMER_ID, event.customer_id.strip(), read_customer)
    _field(TIMESTAMP, moment, partial(check_moment, now=now))
    order = _field(ORDER_ID, event.order_id.strip(), read_id)
    item = _field(ITEM_ID, event.item_id.strip(), read_id)
    _field(QUANTITY, str(event.quantity), read_quantity)
    _field(AMOUNT, event.amount, check_minor)
    if event.kind in {Kind.VIEW, Kind.MESSAGE} and event.amount:
        raise IngestError(
            f"The event's amount {event.amount} is bad: a view or message has no amount.",
            hint="Leave the amount at 0.",
        )
    kinds, quantities, amounts = settle_signs(
        pa.array([event.kind.value], pa.large_string()),
        pa.array([event.quantity], pa.float64()),
        pa.array([event.amount], pa.int64()),
    )
    day = f"{moment.astimezone(ZoneInfo(zone)):%Y%m%d}"
    return pa.table(
        {
            CUSTOMER_ID: [customer],
            TIMESTAMP: [moment],
            ORDER_ID: [order or f"{customer}-{day}"],
            ITEM_ID: [item or UNKNOWN_ITEM],
            QUANTITY: quantities,
            AMOUNT: amounts,
            KIND: kinds,
            LINE: [1],
            TITLE: [""],
            CATEGORY: [""],
            UNIT_PRICE: [None],
        }
    ).cast(GOOD_SCHEMA)


def _field(name: str, value: _T, check: Callable[[_T], object]) -> _T:
    try:
        check(value)
    except BadValueError as error:
        raise IngestError(
            f"The event's {name} {str(value)[:80]!r} is bad: {error}.", hint=f"Correct its {name}."
        ) from error
    return value
