"""Read a file of any usual form into raw columns, and know the line of every row."""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retrieval.errors import IngestError

# Columns that a quarantine file adds to those of its source file.
OWN_PREFIX = "patron_"
READ_AS = "patron_read_as"

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_WHITESPACE = " "
_SNIFFED_LINES = 100
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class MisshapenRow:
    """A row that has no place in the columns.

    Attributes:
        line: physical line at which it starts, 1 is the first.
        cells: what could be read of it, one a column; "" where nothing was.
        value: its text, shortened.
        reason: what is wrong with it.
    """

    line: int
    cells: tuple[str, ...]
    value: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTable:
    """One file as it is, before any check.

    Attributes:
        name: file name without its folders.
        sha256: of the file's bytes as they lie on disk.
        columns: the source's columns; text but for Parquet, which keeps its types.
        lines: int64, one a row: physical line at which the row starts (Parquet: the row number),
            1 is the first.
        misshapen: rows that do not fit the columns; they are not in `columns`.
        read_as: how the source of a quarantine file was read; "" for all other files.
        notes: what was guessed while reading.
    """

    name: str
    sha256: str
    columns: pa.Table
    lines: pa.Array
    misshapen: tuple[MisshapenRow, ...]
    read_as: str
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of rows, misshapen ones included."""
        return int(self.columns.num_rows) + len(self.misshapen)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parsed:
    columns: pa.Table
    lines: pa.Array
    misshapen: tuple[MisshapenRow, ...] = ()
    notes: tuple[str, ...] = ()


def read_raw(file: Path) -> RawTable:
    """Read CSV (any usual separator), Parquet or JSONL, each also gzipped, told by content.

    Raises:
        IngestError: the file is missing, empty, truncated, or of no form that is known.
    """
    packed = _bytes_of(file)
    content = _unpacked(file, packed)
    if content.startswith(b"PAR1") or file.suffix == ".parquet":
        parsed = _parquet(file, content)
    else:
        text, notes = _decoded(file, content)
        parsed = _jsonl(file, text) if _looks_like_json(file, text) else _delimited(file, text)
        parsed = _Parsed(
            columns=parsed.columns,
            lines=parsed.lines,
            misshapen=parsed.misshapen,
            notes=notes + parsed.notes,
        )
    raw = _without_own_columns(file, hashlib.sha256(packed).hexdigest(), parsed)
    if raw.rows == 0:
        raise IngestError(
            f"{file} has a header but no rows.", hint="Give a file with at least one row."
        )
    return raw


def check_paths(files: Iterable[Path]) -> None:
    """See that every file is there, before any of them is taken in.

    Raises:
        IngestError: one is missing or a folder.
    """
    for file in files:
        if not file.is_file():
            _bytes_of(file)


def as_text(column: pa.ChunkedArray) -> pa.Array:
    """Any column as large_string, "" for null; floats shortest-exact and whole ones as integers."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_nested(array.type) or pa.types.is_binary(array.type):
        texts = [None if value is None else str(value) for value in array.to_pylist()]
        array = pa.array(texts, pa.large_string())
    elif pa.types.is_floating(array.type):
        array = _float_text(array)
    return pc.fill_null(array.cast(pa.large_string()), "")


def _float_text(array: pa.Array) -> pa.Array:
    """Shortest text that reads back as the same float; 17850.0, an id beside nulls, as 17850."""
    distinct = array.dictionary_encode()
    values = distinct.dictionary
    single = values.type != pa.float64()
    # Arrow writes a float32 in its own shortest form; through float64 it would show its noise.
    texts = values.cast(pa.large_string()).to_pylist() if single else map(repr, values.to_pylist())
    plain = [text.removesuffix(".0") for text in texts]
    return pa.array(plain, pa.large_string()).take(distinct.indices)


def _bytes_of(file: Path) -> bytes:
    if file.is_dir():
        raise IngestError(f"{file} is a folder.", hint="Name the files in it one by one.")
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise IngestError(f"{file} does not exist.", hint="Check the path.") from error
    except OSError as error:
        raise IngestError(
            f"{file} cannot be read: {error.strerror}.", hint="Check the file's permissions."
        ) from error
    if not content.strip():
        raise IngestError(f"{file} is empty.", hint="Export it again.")
    return content


def _unpacked(file: Path, content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        plain = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise IngestError(
            f"{file} is a damaged or truncated gzip file: {error}.",
            hint="Copy or compress it again.",
        ) from error
    if not plain.strip():
        raise IngestError(f"{file} is empty once unpacked.", hint="Export it again.")
    return plain


def _without_own_columns(file: Path, sha256: str, parsed: _Parsed) -> RawTable:
    """Drop what a quarantine file added, so that it reads like its source."""
    names = parsed.columns.column_names
    kept = [index for index, name in enumerate(names) if not name.startswith(OWN_PREFIX)]
    read_as = as_text(parsed.columns[READ_AS]).to_pylist() if READ_AS in names else []
    return RawTable(
        # A file name need not be Unicode; the log's texts must.
        name=file.name.encode("utf-8", "replace").decode(),
        sha256=sha256,
        columns=parsed.columns.select([names[index] for index in kept]),
        lines=parsed.lines,
        misshapen=tuple(
            MisshapenRow(
                line=row.line,
                cells=tuple(row.cells[index] for index in kept),
                value=row.value,
                reason=row.reason,
            )
            for row in parsed.misshapen
        ),
        read_as=next((value for value in read_as if value), ""),
        notes=parsed.notes,
    )


# Parquet


def _parquet(file: Path, content: bytes) -> _Parsed:
    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise IngestError(
            f"{file} is a damaged or truncated Parquet file: {str(error).splitlines()[0]}",
            hint="Copy or export it again.",
        ) from error
    return _Parsed(
        columns=table.rename_columns(_distinct_names(table.column_names)),
        lines=pa.array(range(1, table.num_rows + 1), pa.int64()),
    )


# Text


def _decoded(file: Path, content: bytes) -> tuple[str, tuple[str, ...]]:
    """The file's text, and a note where its encoding had to be guessed."""
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    if content.startswith(b"PK\x03\x04"):  # a zip, as workbooks are
        raise _not_text(file)
    encoding = _utf16_encoding(content)
    try:
        return content.decode(encoding or "utf-8"), ()
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise IngestError(
                f"{file} is damaged UTF-16: {error.reason}.", hint="Export it again as UTF-8."
            ) from error
    if b"\0" in content:
        raise _not_text(file)
    return _decoded_otherwise(file, content)


def _not_text(file: Path) -> IngestError:
    return IngestError(
        f"{file} is not a text file.", hint="Give CSV, Parquet or JSONL; save a workbook as CSV."
    )


def _decoded_otherwise(file: Path, content: bytes) -> tuple[str, tuple[str, ...]]:
    """Text that is not clean UTF-8: damaged UTF-8, or the older Windows and Latin-1 encoding."""
    repaired = content.decode("utf-8", "replace")
    damaged = repaired.count("\ufffd")
    proper = sum(not character.isascii() for character in repaired) - damaged
    if proper > damaged:
        return repaired, (f"{damaged} damaged UTF-8 characters were read as \ufffd.",)
    try:
        # Windows-1252 is Latin-1 with letters where that has only control characters.
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise IngestError(
            f"{file} is neither UTF-8, UTF-16 nor Windows-1252 text "
            f"(byte {error.start + 1} is 0x{content[error.start]:02x}).",
            hint="Save it as UTF-8.",
        ) from error
    return text, (
        "Not UTF-8, so read as Windows-1252; if names look wrong, save the file as UTF-8.",
    )


def _utf16_encoding(content: bytes) -> str | None:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    head = content[:4096]
    if len(head) >= 4 and head[1::2].count(0) > 0.8 * len(head[1::2]) and 0 not in head[::2]:
        return "utf-16-le"
    if len(head) >= 4 and head[::2].count(0) > 0.8 * len(head[::2]) and 0 not in head[1::2]:
        return "utf-16-be"
    return None


def _looks_like_json(file: Path, text: str) -> bool:
    names = {suffix.lower() for suffix in file.suffixes}
    return bool(names & {".jsonl", ".ndjson", ".json"}) or text.lstrip()[:1] == "{"


def _shown(text: str) -> str:
    return text.rstrip("\r\n")[:_SHOWN_CHARACTERS]


# JSONL


def _jsonl(file: Path, text: str) -> _Parsed:
    objects: list[dict[str, str]] = []
    lines: list[int] = []
    broken: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            objects.append(_json_object(line))
        except (ValueError, RecursionError) as error:
            broken.append((number, _shown(line), f"not a JSON object: {error}"))
        else:
            lines.append(number)
    if not objects:
        raise IngestError(
            f"{file} holds no line that is a JSON object (line {broken[0][0]}: {broken[0][2]}).",
            hint='Write one object a line, such as {"customer_id": "1", ...}, without brackets '
            "around them.",
        )
    names = list(dict.fromkeys(name for row in objects for name in row))
    return _Parsed(
        columns=pa.table(
            {
                name: pa.array([row.get(name) for row in objects], pa.large_string())
                for name in names
            }
        ),
        lines=pa.array(lines, pa.int64()),
        misshapen=tuple(
            MisshapenRow(line=line, cells=("",) * len(names), value=value, reason=reason)
            for line, value, reason in broken
        ),
    )


def _json_object(line: str) -> dict[str, str]:
    # Numbers stay text: as floats they would lose cents.
    row = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
    if not isinstance(row, dict):
        raise ValueError(f"it is a {type(row).__name__}")
    return {_whole(name): _json_text(value) for name, value in row.items()}


def _json_text(value: object) -> str:
    if value is None:
        return ""
    return _whole(value) if isinstance(value, str) else json.dumps(value)


def _whole(text: str) -> str:
    """JSON may escape half a surrogate pair, which no UTF-8 can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# CSV and its kin


def _delimited(file: Path, text: str) -> _Parsed:
    lines = list(io.StringIO(text, newline=""))
    blank = next(number for number, line in enumerate(lines) if line.strip())
    delimiter = _sniffed_delimiter(lines[blank:])
    try:
        header, begin = _header(lines, blank, delimiter)
    except csv.Error as error:
        raise IngestError(
            f"{file}: the header in line {blank + 1} cannot be read: {error}.",
            hint="Name the columns in the first line; close every quote.",
        ) from error
    names = _distinct_names(header)
    good: list[list[str]] = []
    starts: list[int] = []
    misshapen: list[MisshapenRow] = []
    for line, cells, reason in _records(lines, begin, delimiter, len(names)):
        if reason is None:
            good.append(cells)
            starts.append(line)
        else:
            misshapen.append(
                MisshapenRow(
                    line=line,
                    cells=tuple((cells + [""] * len(names))[: len(names)]),
                    value=_shown(lines[line - 1]),
                    reason=reason,
                )
            )
    values = zip(*good, strict=True) if good else ((),) * len(names)
    return _Parsed(
        columns=pa.table(
            {
                name: pa.array(column, pa.large_string())
                for name, column in zip(names, values, strict=True)
            }
        ),
        lines=pa.array(starts, pa.int64()),
        misshapen=tuple(misshapen),
    )


def _header(lines: Sequence[str], start: int, delimiter: str) -> tuple[list[str], int]:
    """The header's cells and the index of the line after it."""
    if delimiter == _WHITESPACE:
        return lines[start].split(), start + 1
    reader = csv.reader(_lines_from(lines, start), _strict(delimiter))
    return next(reader), start + reader.line_num


def _lines_from(lines: Sequence[str], start: int) -> Iterator[str]:
    return map(lines.__getitem__, range(start, len(lines)))


def _strict(delimiter: str) -> type[csv.Dialect]:
    class Strict(csv.excel):
        """CSV whose broken quotes are errors rather than part of a field."""

        strict = True
        skipinitialspace = True

    Strict.delimiter = delimiter
    return Strict


def _records(
    lines: Sequence[str], start: int, delimiter: str, width: int
) -> Iterator[tuple[int, list[str], str | None]]:
    """Every record: its first physical line, its cells and, where it is misshapen, the reason.

    A quote that is opened and never rightly closed would swallow the rows after it; only its own
    line is given up, and reading goes on in the next.
    """
    while start < len(lines):
        if delimiter == _WHITESPACE:
            yield from _spaced_records(lines, start, width)
            return
        reader = csv.reader(_lines_from(lines, start), _strict(delimiter))
        begin = first = start
        start = len(lines)
        try:
            for cells in reader:
                after = begin + reader.line_num
                if len(cells) == width:
                    yield first + 1, cells, None
                elif after - first > 1:
                    raise csv.Error("a quote spans rows")
                elif cells and lines[first].strip():
                    yield first + 1, cells, _wrong_width(len(cells), width)
                first = after
        except csv.Error as error:
            cells = lines[first].rstrip("\r\n").split(delimiter)
            yield first + 1, cells, f"broken quotes: {error}"
            start = first + 1


def _spaced_records(
    lines: Sequence[str], start: int, width: int
) -> Iterator[tuple[int, list[str], str | None]]:
    for index in range(start, len(lines)):
        cells = lines[index].split()
        if cells:
            reason = None if len(cells) == width else _wrong_width(len(cells), width)
            yield index + 1, cells, reason


def _wrong_width(found: int, width: int) -> str:
    return f"{found} fields where the header has {width}"


def _sniffed_delimiter(lines: Sequence[str]) -> str:
    """The separator that gives the header most fields, among those that most rows agree with."""
    sample = lines[:_SNIFFED_LINES]
    best = max(_DELIMITERS, key=lambda delimiter: _fit(sample, delimiter))
    return best if _fit(sample, best)[1] > 1 else _WHITESPACE


def _fit(sample: Sequence[str], delimiter: str) -> tuple[bool, int]:
    try:
        # Not strict: a sample may end inside a quoted field.
        records = [cells for cells in csv.reader(sample, delimiter=delimiter) if cells]
    except csv.Error:
        return False, 0
    width = len(records[0])
    agreeing = sum(len(cells) == width for cells in records[1:])
    return width > 1 and 2 * agreeing >= len(records) - 1, width


def _distinct_names(header: Sequence[str]) -> list[str]:
    """Column names, trimmed; an empty one gets its position, a second one of a name a number."""
    names: list[str] = []
    for position, cell in enumerate(header, 1):
        name = base = cell.strip() or f"column {position}"
        count = 2
        while name in names:
            name = f"{base} ({count})"
            count += 1
        names.append(name)
    return names
