"""One-time codes of an offer, read from a file with one a line."""

from dataclasses import dataclass
from pathlib import Path

from agent.errors import OfferError

_LONGEST_CODE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFile:
    """What a file of codes holds.

    Attributes:
        codes: each code once, in the order of the file.
        repeated: lines that repeat an earlier one.
    """

    codes: tuple[str, ...]
    repeated: int


def read_codes(file: Path) -> CodeFile:
    """Read codes, one a line; space around them and empty lines do not count.

    Raises:
        OfferError: the file cannot be read or has no code, or a line is none; the message names it.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise OfferError(
            f"{file} cannot be read: {error}.", hint="Give a text file with one code a line."
        ) from error
    written = [_code(line.strip(), number, file) for number, line in enumerate(lines, start=1)]
    codes = [code for code in written if code]
    if not codes:
        raise OfferError(f"{file} holds no code.", hint="Give a text file with one code a line.")
    once = tuple(dict.fromkeys(codes))
    return CodeFile(codes=once, repeated=len(codes) - len(once))


def _code(code: str, number: int, file: Path) -> str:
    if len(code) > _LONGEST_CODE or any(not x.isprintable() or x.isspace() for x in code):
        raise OfferError(
            f"{file}: line {number} is no code: '{code[:_LONGEST_CODE]}'.",
            hint=f"A code has up to {_LONGEST_CODE} characters and no space inside.",
        )
    return code
