"""Take catalogue files into a shop: check every row, keep the bad ones aside, merge the rest.

Rows of one item are put one over the other as whole files are: what a later row says counts, and
what it leaves empty stays as it was. So a file split in two, or appended to over time, gives the
same catalogue; the note of the file names items that were told twice and differently. Order of
effects: quarantine file, then the catalogue in one atomic write.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.catalogue import Catalogue, Item
from retrieval.columns import CATALOGUE, CATEGORY, COST, PRICE, STOCK, TITLE, listed, map_columns
from retrieval.events import ITEM_ID
from retrieval.file_reports import (
    CheckedFile,
    CheckedFiles,
    bad_limit,
    check_accounts,
    check_share,
)
from retrieval.progress import Progress, no_progress
from retrieval.quarantine import write_quarantine
from retrieval.readers import RawTable, check_paths, read_raw
from retrieval.row_checks import (
    MAX_QUANTITY,
    UNKNOWN_ITEM,
    BadValueError,
    ReadAs,
    ReadColumn,
    currency_notes,
    first_reasons,
    has_decimal_comma,
    is_empty,
    label,
    read_amount,
    read_distinct,
    read_id,
    read_number,
    trimmed_texts,
)
from retrieval.shop import Shop

_SUFFIX = "-catalogue"
_SHOWN_CONFLICTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueFileReport(CheckedFile):
    """What became of one file; a duplicate is the row of its item before it once more.

    Attributes:
        added: items that the catalogue had not.
        changed: items of which something is other now.
    """

    added: int
    changed: int


class CatalogueReport(CheckedFiles[CatalogueFileReport]):
    """What became of several files."""


def merge_catalogue_files(
    shop: Shop,
    files: Sequence[Path],
    *,
    column_map: Mapping[str, str] | None = None,
    max_bad_share: float | None = None,
    progress: Progress = no_progress,
) -> CatalogueReport:
    """Merge files one after the other, with the arguments of `merge_catalogue_file`.

    Raises:
        IngestError: a file cannot be read; those before it are merged, and running all again
            changes nothing of them.
        ShopError: another process is ingesting, or the shop's catalogue is damaged.
        StorageError: the disk refuses.
    """
    check_paths(files)
    return CatalogueReport(
        files=tuple(
            merge_catalogue_file(
                shop, file, column_map=column_map, max_bad_share=max_bad_share, progress=progress
            )
            for file in files
        )
    )


def merge_catalogue_file(
    shop: Shop,
    file: Path,
    *,
    column_map: Mapping[str, str] | None = None,
    max_bad_share: float | None = None,
    progress: Progress = no_progress,
) -> CatalogueFileReport:
    """Check a file, quarantine its bad rows, and put the others over the shop's catalogue.

    Args:
        shop: where to.
        file: CSV, Parquet or JSONL, each also gzipped.
        column_map: target name to source column; the rest is guessed.
        max_bad_share: stop above this share (0 to 1) of bad rows; None for the shop's limit.
        progress: told of each step: its name, rows done, rows in all.

    Raises:
        IngestError: the file cannot be read or too much of it is bad; nothing was changed.
        ShopError: another process is ingesting, or the shop's catalogue is damaged.
        StorageError: the disk refuses.
    """
    limit = bad_limit(shop, max_bad_share)
    with shop.lock("ingest"):
        progress("Reading the file", 0, 1)
        raw = read_raw(file)
        progress("Reading the file", 1, 1)
        progress("Checking rows", 0, raw.rows)
        names = raw.columns.column_names
        mapping = map_columns(names, column_map, file=str(file), targets=CATALOGUE)
        rows = read_rows(raw, mapping.sources, currency=shop.settings.currency)
        check_share(file, raw, rows.bad, limit)
        merged = merge_rows(rows.items, rows.lines)
        accepted = len(rows.items) - merged.duplicates
        quarantined = rows.bad.num_rows + len(raw.misshapen)
        check_accounts(file, raw.rows, accepted, quarantined, merged.duplicates)
        old = Catalogue.read(shop.items_file)
        new = old.merged(merged.items)
        progress("Checking rows", raw.rows, raw.rows)
        kept = None
        if quarantined:
            kept = write_quarantine(shop, raw, rows.bad, rows.read_as, suffix=_SUFFIX)
        if new.items != old.items:
            new.write(shop.items_file)
        return CatalogueFileReport(
            file=file,
            read=raw.rows,
            accepted=accepted,
            quarantined=quarantined,
            duplicates=merged.duplicates,
            mapping=dict(mapping.sources),
            guessed=mapping.guessed,
            notes=(
                *raw.notes,
                *rows.notes,
                *merged.notes,
                *_unused_notes(names, mapping.sources),
                *_stranger_notes(old, merged.items, mapping.sources[ITEM_ID]),
            ),
            quarantine_file=kept,
            added=len(new) - len(old),
            changed=sum(new.items[item_id] != item for item_id, item in old.items.items()),
        )


def _unused_notes(names: Sequence[str], sources: Mapping[str, str]) -> list[str]:
    unused = [name for name in names if name not in sources.values()]
    return [f"Columns not used: {listed(unused)}."] if unused else []


def _stranger_notes(old: Catalogue, items: Sequence[Item], source: str) -> list[str]:
    """A column of other ids than the log's would double the catalogue, not describe it."""
    if not old.items or not items or any(item.item_id in old.items for item in items):
        return []
    return [
        f"None of these items was known before; see that {source} holds the item ids of the log."
    ]


# Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRows:
    """What became of the rows of `RawTable.columns`; each is in `items` or in `bad`.

    Attributes:
        items: one a good row, in file order; what a row leaves empty is unknown.
        lines: of each, where its row starts in the file.
        bad: columns of `row_checks.BAD_SCHEMA`.
        read_as: the decisions for the whole file.
        notes: what a person should know of them.
    """

    items: tuple[Item, ...]
    lines: tuple[int, ...]
    bad: pa.Table
    read_as: ReadAs
    notes: tuple[str, ...]


def read_rows(raw: RawTable, sources: Mapping[str, str], *, currency: str) -> CatalogueRows:
    """Read every row as an item and tell the bad ones apart.

    Args:
        raw: the file.
        sources: target name to source column, as `map_columns` gives it.
        currency: ISO 4217; prices and costs become its minor units.

    Raises:
        IngestError: the column `patron_read_as` of a quarantine file was changed.
    """
    texts = trimmed_texts(raw, sources)
    read_as, notes = _read_as(raw, texts)
    readers = _readers(read_as.decimal_comma, currency)
    columns = {
        target: read_distinct(sources[target], _cells(target, text), *readers[target])
        for target, text in texts.items()
    }
    bad = first_reasons(list(columns.values()))
    good = np.ones(raw.columns.num_rows, dtype=bool)
    good[bad["row"].to_numpy()] = False
    mask = pa.array(good)
    money = (texts[target] for target in (PRICE, COST) if target in texts)
    return CatalogueRows(
        items=tuple(_items(columns, mask)),
        lines=tuple(raw.lines.filter(mask).to_pylist()),
        bad=bad,
        read_as=read_as,
        notes=(*notes, *currency_notes(money, currency)),
    )


def _read_as(raw: RawTable, texts: Mapping[str, pa.Array]) -> tuple[ReadAs, list[str]]:
    if raw.read_as:
        return ReadAs.from_text(raw.read_as), []
    numbers = (texts[target] for target in (PRICE, COST, STOCK) if target in texts)
    decimal_comma, notes = has_decimal_comma(numbers)
    return ReadAs(day_first=False, decimal_comma=decimal_comma, c_returns=False), notes


def _cells(target: str, text: pa.Array) -> pa.Array:
    return label(text) if target in {TITLE, CATEGORY} else text


_Reader = tuple[Callable[[str], object], pa.DataType]


def _readers(decimal_comma: bool, currency: str) -> Mapping[str, _Reader]:
    """How a cell of each target is read, and as which type."""
    money = partial(_read_money, decimal_comma=decimal_comma, currency=currency)
    return {
        ITEM_ID: (_read_item_id, pa.large_string()),
        TITLE: (_read_label, pa.large_string()),
        CATEGORY: (_read_label, pa.large_string()),
        PRICE: (money, pa.int64()),
        COST: (money, pa.int64()),
        STOCK: (partial(_read_stock, decimal_comma=decimal_comma), pa.int64()),
    }


def _read_item_id(text: str) -> str:
    if is_empty(text):
        raise BadValueError("empty")
    if text == UNKNOWN_ITEM:
        raise BadValueError("stands for sales without an item")
    return read_id(text)


def _read_label(text: str) -> str:
    return "" if is_empty(text) else text


def _read_money(text: str, decimal_comma: bool, currency: str) -> int | None:
    if is_empty(text):
        return None
    amount = read_amount(text, decimal_comma, currency)
    if amount < 0:
        raise BadValueError("negative")
    return amount


def _read_stock(text: str, decimal_comma: bool) -> int | None:
    if is_empty(text):
        return None
    pieces = read_number(text, decimal_comma)
    if pieces < 0:
        raise BadValueError("negative; write 0 where none is left")
    # Before it is made a whole number: 1e999 would fill the memory.
    if pieces > MAX_QUANTITY:
        raise BadValueError(f"larger than {MAX_QUANTITY:,}")
    if pieces != pieces.to_integral_value():
        raise BadValueError("not a whole number of pieces")
    return int(pieces)


def _items(columns: Mapping[str, ReadColumn], good: pa.Array) -> list[Item]:
    """The good rows as items."""
    ids = columns[ITEM_ID].values.filter(good).to_pylist()

    def values(target: str) -> list[object]:
        if target not in columns:
            return [None] * len(ids)
        return list(columns[target].values.filter(good).to_pylist())

    targets = (TITLE, CATEGORY, PRICE, COST, STOCK)
    return [
        Item(
            item_id=item_id,
            title=title or item_id,
            category=category or "",
            price=price,
            cost=cost,
            stock=stock,
        )
        for item_id, title, category, price, cost, stock in zip(
            ids, *map(values, targets), strict=True
        )
    ]


# Rows of the same item


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRows:
    """The rows of a file, one put over the other.

    Attributes:
        items: one an item, in order of their first rows.
        duplicates: rows that are the row of their item before them once more.
        notes: items of which a later row told something else.
    """

    items: tuple[Item, ...]
    duplicates: int
    notes: tuple[str, ...]


def merge_rows(items: Sequence[Item], lines: Sequence[int]) -> MergedRows:
    """Put rows of the same item one over the other; the later counts, but for what it lacks.

    Only the very next row of an item can be its duplicate: of 5.00, 6.00 and 5.00 the last is a
    price set back.
    """
    merged: dict[str, Item] = {}
    last: dict[str, Item] = {}
    conflicts: dict[str, str] = {}
    duplicates = 0
    for item, line in zip(items, lines, strict=True):
        item_id = item.item_id
        if last.get(item_id) == item:
            duplicates += 1
            continue
        before, after = merged.get(item_id), item
        if before is not None:
            after = item.over(before)
            if other := _overridden(before, after):
                conflicts[item_id] = f"{item_id} ({', '.join(other)} of line {line})"
        last[item_id], merged[item_id] = item, after
    return MergedRows(
        items=tuple(merged.values()),
        duplicates=duplicates,
        notes=tuple(_conflict_notes(list(conflicts.values()))),
    )


def _overridden(before: Item, after: Item) -> list[str]:
    """Names of what was known and is another now."""
    unknown = Item(item_id=before.item_id, title=before.item_id, category="", price=None)
    return [
        field.name
        for field in fields(Item)
        if (old := getattr(before, field.name)) != getattr(after, field.name)
        and old != getattr(unknown, field.name)
    ]


def _conflict_notes(conflicts: Sequence[str]) -> list[str]:
    if not conflicts:
        return []
    shown = ", ".join(conflicts[:_SHOWN_CONFLICTS])
    more = f" and {len(conflicts) - _SHOWN_CONFLICTS:,} more" * (len(conflicts) > _SHOWN_CONFLICTS)
    return [f"Told more than once, and the later row counts: {shown}{more}."]
