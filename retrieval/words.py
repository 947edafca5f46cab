"""Words of titles and questions, brought to one form so that "cookies" finds "Cookie"."""

import re
from functools import lru_cache

_WORD = re.compile(r"[^\W\d_][\w\-]+")


@lru_cache(maxsize=200_000)
def words_of(text: str) -> frozenset[str]:
    """The stems of a text's words."""
    return frozenset(singular(word) for word in _WORD.findall(text.casefold()))


def mentions(text: str, word: str) -> bool:
    """Whether a text holds a word (or all words of a phrase), in singular or plural."""
    stems = words_of(word)
    return bool(stems) and stems <= words_of(text)


def singular(word: str) -> str:
    """A stem that singular and plural of a regular word share; not always a word itself."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-2]  # cookies -> cooki, as below
    if word.endswith("y") and len(word) > 3:
        return word[:-1] + "i"
    if word.endswith("ie") and len(word) > 4:
        return word[:-1]  # cookie -> cooki
    for ending in ("ches", "shes", "sses", "xes", "oes"):
        if word.endswith(ending):
            return word[:-2]
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        return word[:-1]
    return word
