"""The check that every written sentence passes before it is shown.

The model may choose small words; names, figures, dates and statements are the facts' own. A
sentence is grounded in a fact when, small words left out, both say the same words and figures in
the same order. So nothing can be added, dropped, swapped or negated.
"""

import re
from collections import Counter
from collections.abc import Iterable

from prompts.library import load_prompt

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|[$£€¥]?\d+(?:[.,:/-]\d+)*%?", re.UNICODE)
# Marks that shape a sentence without changing what it claims; every other one must be the fact's.
_PUNCTUATION = frozenset(" .,;:'\"()!?\u2019")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")


def numbers(text: str) -> list[str]:
    """Numbers, dates and times of a text, as written, thousands separators kept."""
    return _NUMBER.findall(text)


def is_grounded(sentence: str, fact: str) -> bool:
    """Whether a sentence says exactly what a fact says."""
    return (
        _statement(sentence) == _statement(fact)
        and _marks(sentence) == _marks(fact)
        and sentence.rstrip().endswith((".", "!"))
    )


def may_become_grounded(beginning: str, fact: str) -> bool:
    """Whether the beginning of a sentence can still end up saying what a fact says.

    Its last word may be unfinished and is not judged.
    """
    words = _statement(beginning)[:-1]
    return _statement(fact)[: len(words)] == words


def ungrounded_numbers(text: str, evidence: Iterable[str]) -> list[str]:
    """Numbers of a text that stand in none of the evidence texts."""
    known = {number for record in evidence for number in numbers(record)}
    return [number for number in numbers(text) if number not in known]


def _statement(text: str) -> list[str]:
    small = _small_words()
    return [word for word in (w.casefold() for w in _WORD.findall(text)) if word not in small]


def _marks(text: str) -> Counter[str]:
    """Signs that could change a claim: <, ~, +, %, currencies, and anything invisible."""
    return Counter(c for c in text if not c.isalnum() and c not in _PUNCTUATION)


def _small_words() -> frozenset[str]:
    """Words that carry no claim. No negation, comparison or amount is among them."""
    return frozenset(load_prompt("small_words").template.split())
