"""Keep the bad rows of a file, each with its reason, so that a person can mend and ingest them."""

import csv
import io
from pathlib import Path

import pyarrow as pa

from retrieval.readers import READ_AS, RawTable, as_text
from retrieval.row_checks import ReadAs
from retrieval.shop import Shop, write_atomically

_OWN_COLUMNS = ("patron_line", "patron_column", "patron_value", "patron_reason", READ_AS)
_STEM_CHARACTERS = 50  # a file name holds 255 bytes, and a character may take four


def quarantine_file(shop: Shop, raw: RawTable, suffix: str = "") -> Path:
    """Where the bad rows of a file are kept: told by its name and content.

    Args:
        shop: whose.
        raw: the file.
        suffix: tells apart what one file is read as: a log, or a catalogue.
    """
    stem = Path(raw.name).stem[:_STEM_CHARACTERS]
    return shop.quarantine / f"{stem}-{raw.sha256[:12]}{suffix}.csv"


def write_quarantine(
    shop: Shop, raw: RawTable, bad: pa.Table, read_as: ReadAs, *, suffix: str = ""
) -> Path:
    """Write every bad row in the order of the source, and return the file.

    Values stand as they were, so that the file reads like its source: correct the cells, then
    give it to the same command with the same `--map`. The `patron_` columns are ignored then, but
    for `patron_read_as`, which keeps the date order and decimal sign that the whole source told.

    Args:
        shop: where to.
        raw: the file; its misshapen rows are written too.
        bad: columns of `row_checks.BAD_SCHEMA`.
        read_as: how the whole file was read.
        suffix: as `quarantine_file` takes it.

    Raises:
        StorageError: the disk refuses.
    """
    file = quarantine_file(shop, raw, suffix)
    text = io.StringIO(newline="")
    # The writer quotes a field that holds a character of the line's end; a bare \r needs it, too.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*_OWN_COLUMNS, *raw.columns.column_names])
    how = read_as.to_text()
    for line, column, value, reason, cells in sorted(_bad_rows(raw, bad) + _misshapen_rows(raw)):
        writer.writerow([line, column, value, reason, how, *cells])
    write_atomically(file, text.getvalue().encode())
    return file


_Row = tuple[int, str, str, str, tuple[str, ...]]


def _bad_rows(raw: RawTable, bad: pa.Table) -> list[_Row]:
    rows = raw.columns.take(bad["row"])
    lines = raw.lines.take(bad["row"].combine_chunks()).to_pylist()
    columns = [as_text(column).to_pylist() for column in rows.columns]
    return list(
        zip(
            lines,
            bad["column"].to_pylist(),
            bad["value"].to_pylist(),
            bad["reason"].to_pylist(),
            zip(*columns, strict=True),
            strict=True,
        )
    )


def _misshapen_rows(raw: RawTable) -> list[_Row]:
    return [(row.line, "", row.value, row.reason, row.cells) for row in raw.misshapen]
