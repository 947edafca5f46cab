"""The check that every written sentence passes before it is shown.

The model may choose small words; names, figures, dates and statements are the facts' own. A
sentence is grounded in a fact when, small words left out, both say the same words and figures in
the same order. So nothing can be added, dropped, swapped or negated.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from finetune.drivers import Driver
from prompts.library import load_prompt

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|[$£€¥]?\d+(?:[.,:/-]\d+)*%?", re.UNICODE)
# Marks that shape a sentence without changing what it claims; every other one must be the fact's.
_PUNCTUATION = frozenset(" .,;:'\"()!?\u2019")
# Words by which a sentence says which way something moves a risk; any other says nothing of it.
_RAISING = frozenset(
    {"raise", "raises", "raised", "raising", "increase", "increases", "increased", "adds", "higher"}
)
_LOWERING = frozenset({"lower", "lowers", "lowered", "lowering", "reduces", "reduced", "decreases"})
_NEGATING = frozenset({"not", "no", "never", "neither", "nor", "without", "cannot"})
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


def states_drivers_truly(sentence: str, drivers: Sequence[Driver]) -> bool:
    """Whether a sentence names drivers, and each moves the churn risk as the sentence says.

    A driver is named by the words of its line. The words around them must give its direction,
    and no other, and its size in points; a driver of less than a point cannot be named.
    """
    rest, named = _statement(sentence), []
    for driver in drivers:
        line = _statement(driver.text)
        at = _found(line, rest)
        if at is not None:
            named.append(driver)
            rest = rest[:at] + rest[at + len(line) :]
    raises = any(word in _RAISING for word in rest)
    lowers = any(word in _LOWERING for word in rest)
    if not named or raises is lowers or any(_negates(word) for word in rest):
        return False
    sizes = Counter(str(abs(driver.points)) for driver in named)
    return sizes <= Counter(rest) and all(
        driver.points > 0 if raises else driver.points < 0 for driver in named
    )


def ungrounded_numbers(text: str, evidence: Iterable[str]) -> list[str]:
    """Numbers of a text that stand in none of the evidence texts."""
    known = {number for record in evidence for number in numbers(record)}
    return [number for number in numbers(text) if number not in known]


def _statement(text: str) -> list[str]:
    small = _small_words()
    return [word for word in (w.casefold() for w in _WORD.findall(text)) if word not in small]


def _found(words: Sequence[str], within: Sequence[str]) -> int | None:
    """Where words stand in a row within others; None where they do not."""
    starts = range(len(within) - len(words) + 1)
    return next((at for at in starts if within[at : at + len(words)] == words), None)


def _negates(word: str) -> bool:
    return word in _NEGATING or word.endswith("n't")


def _marks(text: str) -> Counter[str]:
    """Signs that could change a claim: <, ~, +, %, currencies, and anything invisible."""
    return Counter(c for c in text if not c.isalnum() and c not in _PUNCTUATION)


def _small_words() -> frozenset[str]:
    """Words that carry no claim. No negation, comparison or amount is among them."""
    return frozenset(load_prompt("small_words").template.split())
