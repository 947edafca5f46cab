from pathlib import Path

import pytest

from agent.errors import OfferError
from agent.offer_codes import read_codes


def write(tmp_path: Path, content: bytes) -> Path:
    file = tmp_path / "codes.txt"
    file.write_bytes(content)
    return file


def test_codes_are_read_once_each_in_their_order(tmp_path: Path) -> None:
    file = write(tmp_path, b"\xef\xbb\xbfTEA-2\r\n\r\n  TEA-1 \nTEA-2\ntea-2")
    read = read_codes(file)
    assert read.codes == ("TEA-2", "TEA-1", "tea-2")
    assert read.repeated == 1


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_a_code_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(OfferError, match="holds no code"):
        read_codes(write(tmp_path, content))


@pytest.mark.parametrize(
    "line", ["TEA 1", "TEA\u202e1", "TEA\x071", "T" * 65, "TEA\u00a01"], ids=ascii
)
def test_a_line_that_is_no_code_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(OfferError, match="line 2 is no code"):
        read_codes(write(tmp_path, f"TEA-1\n{line}\n".encode()))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OfferError, match="cannot be read"):
        read_codes(write(tmp_path, b"\xff\xfe\x00"))
    with pytest.raises(OfferError, match="cannot be read"):
        read_codes(tmp_path / "absent.txt")
