import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.errors import IngestError
from retrieval.readers import as_text, read_raw


def _file(tmp_path: Path, content: bytes, name: str = "log.csv") -> Path:
    file = tmp_path / name
    file.write_bytes(content)
    return file


def _rows(tmp_path: Path, content: bytes, name: str = "log.csv") -> list[dict[str, str]]:
    return read_raw(_file(tmp_path, content, name)).columns.to_pylist()


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('a,b\n"Leeds, UK",2\n', {"a": "Leeds, UK", "b": "2"}),
        ('a,b\n"say ""hi""",2', {"a": 'say "hi"', "b": "2"}),
        ('a,b\n"",2\n', {"a": "", "b": "2"}),
        ('a,b\r\n"one \r\ntwo",2\r\n', {"a": "one \r\ntwo", "b": "2"}),
        ("a;b\n1,5;2\n", {"a": "1,5", "b": "2"}),
        ("a\tb\n1\t2\n", {"a": "1", "b": "2"}),
        ("a|b\n1|2\n", {"a": "1", "b": "2"}),
        ("  a  b\r\n 1   2\r\n", {"a": "1", "b": "2"}),
        ('a,b\n5" pipe,2\n', {"a": '5" pipe', "b": "2"}),
        ("a,b\rx,y\r", {"a": "x", "b": "y"}),
        ("\n\na,b\nx,y\n\n", {"a": "x", "b": "y"}),
        ("a,a,\n1,2,3\n", {"a": "1", "a (2)": "2", "column 3": "3"}),
    ],
)
def test_reads_every_usual_form_of_csv(tmp_path: Path, text: str, row: dict[str, str]) -> None:
    assert _rows(tmp_path, text.encode()) == [row]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"]
)
def test_detects_the_encoding(tmp_path: Path, encoding: str) -> None:
    content = "customer,title,price\n1,Café crème au goût,£2\n".encode(encoding)
    assert _rows(tmp_path, content) == [
        {"customer": "1", "title": "Café crème au goût", "price": "£2"}
    ]


def test_says_that_it_guessed_the_encoding(tmp_path: Path) -> None:
    raw = read_raw(_file(tmp_path, "a,b\né,2\n".encode("cp1252")))
    assert "Windows-1252" in raw.notes[0]


def test_one_damaged_byte_does_not_spoil_the_other_letters(tmp_path: Path) -> None:
    raw = read_raw(_file(tmp_path, "a,b\nné,à\n".encode() + b"\xff,x\n"))
    assert raw.columns["a"].to_pylist() == ["né", "\ufffd"]
    assert "1 damaged" in raw.notes[0]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_are_physical_even_beside_newlines_in_quotes(tmp_path: Path, newline: str) -> None:
    text = newline.join(["a,b", "1,2", '"x', "", 'y",4', "", "5,6", "7,8,9", "1,2"])
    raw = read_raw(_file(tmp_path, text.encode()))
    assert raw.lines.to_pylist() == [2, 3, 7, 9]
    assert [row.line for row in raw.misshapen] == [8]


def test_rows_of_wrong_width_are_kept_aside_with_what_was_read(tmp_path: Path) -> None:
    raw = read_raw(_file(tmp_path, b"a,b,c\n1,2,3\n4,5\n6,7,8,9\n"))
    assert [(row.line, row.cells, row.reason) for row in raw.misshapen] == [
        (3, ("4", "5", ""), "2 fields where the header has 3"),
        (4, ("6", "7", "8"), "4 fields where the header has 3"),
    ]
    assert raw.misshapen[1].value == "6,7,8,9"
    assert raw.rows == 3


@pytest.mark.parametrize("later", ["", 'x,"y"\n', '"p","q"\n'])
def test_a_stray_quote_costs_its_own_line_only(tmp_path: Path, later: str) -> None:
    raw = read_raw(_file(tmp_path, f'a,b\n1,2\n"oops,3\n4,5\n6,7\n{later}'.encode()))
    assert [row.line for row in raw.misshapen] == [3]
    assert raw.columns["a"].to_pylist()[:3] == ["1", "4", "6"]


def test_jsonl_keeps_numbers_as_written_and_bad_lines_aside(tmp_path: Path) -> None:
    text = '{"a": 0.10, "b": "x\\ny"}\n\n{"a": null, "c": true}\nnot json\n[1]\n{"a": "\\ud800"}\n'
    raw = read_raw(_file(tmp_path, text.encode(), "log.jsonl"))
    assert raw.columns.to_pylist()[:2] == [
        {"a": "0.10", "b": "x\ny", "c": None},
        {"a": "", "b": None, "c": "true"},
    ]
    assert raw.lines.to_pylist() == [1, 3, 6]
    assert [row.line for row in raw.misshapen] == [4, 5]


@pytest.mark.parametrize("name", ["log.csv.gz", "log"])
def test_gzip_is_told_by_content(tmp_path: Path, name: str) -> None:
    assert _rows(tmp_path, gzip.compress(b"a,b\n1,2\n", mtime=0), name) == [{"a": "1", "b": "2"}]


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_parquet_rows_are_counted_from_one(tmp_path: Path, pack: object) -> None:
    content = pack(_parquet(pa.table({"a": [1.5, None]})))  # type: ignore[operator]
    raw = read_raw(_file(tmp_path, content, "log.parquet"))
    assert raw.lines.to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (pa.array([17850.0, None, 31198570044.0]), ["17850", "", "31198570044"]),
        (pa.array([2.55, 1e-7, float("nan")]), ["2.55", "1e-07", "nan"]),
        (pa.array([2.55], pa.float32()), ["2.55"]),
        (pa.array(["x", None]).dictionary_encode(), ["x", ""]),
        (pa.array([[1, 2]]), ["[1, 2]"]),
    ],
)
def test_typed_values_become_their_plain_text(array: pa.Array, texts: list[str]) -> None:
    assert as_text(pa.chunked_array([array])).to_pylist() == texts


def test_own_columns_of_a_quarantine_file_are_dropped(tmp_path: Path) -> None:
    raw = read_raw(_file(tmp_path, b"patron_line,patron_read_as,a\n7,day-first,x\n"))
    assert raw.columns.to_pylist() == [{"a": "x"}]
    assert raw.read_as == "day-first"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("log.csv", b"", "is empty"),
        ("log.csv", b"\n \n", "is empty"),
        ("log.csv", b"a,b\n", "no rows"),
        ("log.csv.gz", gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-20], "truncated gzip"),
        ("log.csv.gz", gzip.compress(b"", mtime=0), "empty once unpacked"),
        ("log.parquet", _parquet(pa.table({"a": [1]}))[:-9], "truncated Parquet"),
        ("log.parquet", b"a,b\n1,2\n", "truncated Parquet"),
        ("log.csv", b"PK\x03\x04\x00\x00\x00\x00rest", "not a text file"),
        ("log.csv", b"SQLite format 3\x00\x10\xff\x81", "not a text file"),
        ("log.csv", b"a,b\n\x81\x8d,2\n", "neither UTF-8"),
        ("log.jsonl", b"a,b\n1,2\n", "no line that is a JSON object"),
        ("log.jsonl", b'[{"a": 1}]', "no line that is a JSON object"),
        ("log.csv", b'a,"b\n1,2\n', "header"),
    ],
)
def test_a_file_that_cannot_be_read_says_so(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    with pytest.raises(IngestError, match=says) as caught:
        read_raw(_file(tmp_path, content, name))
    assert name in caught.value.message
    assert caught.value.hint


def test_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="is a folder"):
        read_raw(tmp_path)
    with pytest.raises(IngestError, match="does not exist"):
        read_raw(tmp_path / "none.csv")
