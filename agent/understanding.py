"""Understand a turn by rules: what is asked, about whom, within which limits.

Text from the chat is data. It can choose among intents and narrow what is shown; it cannot set
amounts, identities or access.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from agent.answers import Intent
from retrieval.money import to_minor
from retrieval.words import mentions

_LONGEST_TEXT = 2_000
_AMOUNT = r"[$£€¥]?\s*(\d{1,3}(?:,\d{3})+(?:\.\d{1,2})?|\d{1,9}(?:[.,]\d{1,2})?)"
_BETWEEN = re.compile(rf"\b(?:between|from)\s+{_AMOUNT}\s+(?:and|to|-)\s+{_AMOUNT}", re.I)
_MOST = re.compile(
    r"\b(?:under|below|less than|cheaper than|up to|at most|max(?:imum)?(?: of)?|no more than)"
    rf"\s+{_AMOUNT}",
    re.I,
)
_LEAST = re.compile(rf"\b(?:over|above|more than|at least|from)\s+{_AMOUNT}", re.I)
_ARTICLE = r"(?:(?:any|the|no)\s+)?"
_EXCLUDE = re.compile(
    r"\b(?:no|not|without|except|excluding|exclude|avoid|anything but"
    rf"|(?:do(?:es)? not|do(?:es)?n't) (?:want|like))\s+({_ARTICLE}[a-z][a-z\-]+"
    rf"(?:(?:\s*,\s*|\s+(?:or|and|nor)\s+){_ARTICLE}[a-z][a-z\-]+)*)",
    re.I,
)
_SUBJECT = re.compile(
    r"\b(?:customer|household|client|shopper|account)\s*(?:id\b|no\.|number\b)?\s*[:#]?\s*"
    r"([A-Za-z0-9][\w.@\-]*)",
    re.I,
)
_PAIR = re.compile(
    r"\b([\w.\-]*\d[\w.\-]*)\s+(?:and|with|to|vs\.?|versus|or)\s+(?:\w+\s+)?([\w.\-]*\d[\w.\-]*)"
)
_WITH = re.compile(
    r"\b(?:with|to|against|vs\.?|versus)\s+(?:customer\s+|household\s+)?([\w.\-]*\d[\w.\-]*)", re.I
)
_ORDINALS = {
    "first": 0, "1st": 0, "second": 1, "2nd": 1, "third": 2, "3rd": 2,
    "fourth": 3, "4th": 3, "fifth": 4, "5th": 4, "last": -1,
}  # fmt: skip
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "some",
        "any",
        "something",
        "anything",
        "for",
        "from",
        "in",
        "of",
        "to",
        "me",
        "us",
        "him",
        "her",
        "them",
        "this",
        "that",
        "please",
        "good",
        "nice",
        "new",
        "other",
        "else",
        "more",
        "products",
        "product",
        "items",
        "item",
        "things",
        "thing",
        "goods",
        "recommend",
        "recommendation",
        "recommendations",
        "suggest",
        "suggestion",
        "suggestions",
        "show",
        "give",
        "find",
        "buy",
        "get",
        "want",
        "need",
        "like",
        "would",
        "could",
        "can",
        "you",
        "i",
        "we",
        "they",
        "customer",
        "household",
        "with",
        "and",
        "or",
        "under",
        "over",
        "below",
        "above",
        "between",
        "than",
        "less",
        "cheaper",
        "cheap",
        "dollars",
        "dollar",
        "usd",
        "what",
        "should",
        "next",
        "is",
        "are",
        "do",
        "does",
        "sort",
        "kind",
        "category",
        "aisle",
        "department",
        "my",
        "their",
        "his",
        "offer",
        "price",
        "priced",
        "most",
        "least",
        "up",
        "at",
        "it",
        "he",
        "she",
        "there",
        "have",
        "has",
        "about",
        "ideas",
        "idea",
        "who",
        "be",
        "into",
        "similar",
        "interested",
    ]
)

# Tried in this order; the first with a matching pattern decides.
_PATTERNS: tuple[tuple[Intent, tuple[str, ...]], ...] = (
    (
        Intent.COMPARE,
        (r"\bcompar", r"\bversus\b", r"\bvs\.?\b", r"\bdifference between\b", r"\bthese two\b"),
    ),
    (
        Intent.DISLIKE,
        (
            r"\b(?:did|do|does|would) ?(?:n[o']?t|not)\s+(?:really\s+)?(?:like|want|enjoy)\b",
            r"\bdislike",
            r"\bhate",
            r"\bno thanks\b",
            r"\bnot (?:for me|interested)\b",
            r"\bbad (?:idea|suggestion)",
        ),
    ),
    (
        Intent.OFFER,
        (
            r"\boffers?\b",
            r"\bcoupon",
            r"\bdiscount",
            r"\bdeals?\b",
            r"\bvoucher",
            r"\bpromo",
            r"\bincentive",
            r"\bwin (?:them|her|him) back",
            r"\bkeep (?:them|her|him|this)",
            r"\bret(?:ain|ention)",
            r"\bmoney off|% off",
            r"\brefund|\bprice match",
        ),
    ),
    (
        Intent.CHURN,
        (
            r"\bleav(?:e|ing)\b",
            r"\bchurn",
            r"\brisk\b",
            r"\blos(?:e|ing) (?:them|her|him|this)",
            r"\bgoing away",
            r"\bstay(?:ing)?\b",
            r"\bloyal",
            r"\bstop(?:ped)? (?:buying|coming|ordering)",
        ),
    ),
    (
        Intent.WHY_ITEM,
        (
            r"\bwhy\b.*\b(?:this|that|these|those|it|item|one)\b",
            r"\bwhy\b.*\b(?:recommend|suggest)",
            r"\bwhy the (?:first|second|third|fourth|fifth|last)\b",
            r"\breason for\b",
            r"\bhow come\b",
        ),
    ),
    (
        Intent.VALUE,
        (
            r"\bworth\b",
            r"\bvalu(?:e|able)\b",
            r"\bltv\b|\bclv\b|\blifetime\b",
            r"\bspend(?:ing)?\b",
            r"\btier\b",
        ),
    ),
    (
        Intent.WHO,
        (
            r"\bwhat (?:did|have|has) .*\b(?:buy|bought|order|ordered)\b",
            r"\b(?:buy|bought|order|ordered) (?:lately|recently|last)\b",
        ),
    ),
    (
        Intent.RECOMMEND,
        (
            r"\brecommend",
            r"\bsuggest",
            r"\bshow (?:me|us|them|him|her)\b|\bshow\b.*\b(?:items?|products?|something)\b",
            r"\bwhat (?:should|could|can|else)",
            r"\bwhat .*\b(?:buy|like|enjoy)\b",
            r"\bsomething\b",
            r"\bideas?\b",
            r"\blooking for\b",
            r"\b(?:need|want)\b",
        ),
    ),
    (
        Intent.LIKE,
        (
            r"\b(?:i|they|she|he) (?:really )?(?:like|love|enjoy)",
            r"\bgood (?:idea|choice|suggestion)",
            r"\bperfect\b",
        ),
    ),
    (Intent.THANKS, (r"\bthank|\bthx\b|\bcheers\b", r"\bgreat\b", r"\b(?:good)?bye\b")),
    (
        Intent.WHO,
        (
            r"\bwho\b",
            r"\babout\b",
            r"\bprofile\b",
            r"\bhistory\b",
            r"\bknow of\b",
            r"\btell me\b",
            r"\bsummar",
            r"\border(?:s|ed)?\b",
            r"\bbought\b",
            r"\boverview\b",
        ),
    ),
)
_ASKS_FOR_ITEMS = re.compile(r"\brecommend|\bsuggest|\bshow (?:me|us|them|him|her)\b", re.I)
_COMPILED = tuple((intent, re.compile("|".join(patterns), re.I)) for intent, patterns in _PATTERNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a turn asks for.

    Attributes:
        customer_ids: ids named in the text, in its order; each holds a digit.
        possible_ids: words after "customer" and the like, which may be ids without a digit.
        min_price: minor units.
        max_price: minor units.
        wanted: words that name what is looked for, to be matched with the catalogue.
        excluded: words that no shown item may hold.
        position: which of the items shown before is meant, 0 for the first, -1 for the last.
        new_only: only what was never bought.
    """

    intent: Intent
    customer_ids: tuple[str, ...] = ()
    possible_ids: tuple[str, ...] = ()
    min_price: int | None = None
    max_price: int | None = None
    wanted: tuple[str, ...] = field(default=())
    excluded: tuple[str, ...] = ()
    position: int | None = None
    new_only: bool = False


def understand(text: str, currency: str) -> Turn:
    """Read a turn.

    Args:
        text: what was typed; only its first 2,000 characters are read.
        currency: in which prices are meant.
    """
    text = " ".join(text[:_LONGEST_TEXT].split())
    intent = next((intent for intent, pattern in _COMPILED if pattern.search(text)), Intent.HELP)
    if intent is Intent.DISLIKE and _ASKS_FOR_ITEMS.search(text):
        intent = Intent.RECOMMEND  # "recommend snacks, they do not want candy"
    ids = _customer_ids(text, intent)
    rest, low, high = _prices(text, currency)
    rest, excluded = _exclusions(rest)
    if intent is Intent.HELP and ids:
        intent = Intent.WHO
    return Turn(
        intent=intent,
        customer_ids=ids,
        possible_ids=tuple(match.group(1).rstrip(".-") for match in _SUBJECT.finditer(text)),
        min_price=low,
        max_price=high,
        wanted=_wanted(rest) if intent is Intent.RECOMMEND else (),
        excluded=excluded if intent is Intent.RECOMMEND else (),
        position=_position(text),
        new_only=bool(
            re.search(r"\bnew\b|\bnever (?:bought|tried)|\bnot bought|\bdifferent\b", text, re.I)
        ),
    )


def _customer_ids(text: str, intent: Intent) -> tuple[str, ...]:
    named = [match.group(1).rstrip(".-") for match in _SUBJECT.finditer(text)]
    found = [name for name in named if any(character.isdigit() for character in name)]
    if intent is Intent.COMPARE:
        pair = _PAIR.search(text)
        if pair:
            found = [pair.group(1).rstrip("."), pair.group(2).rstrip(".")]
        else:
            found += [m.group(1).rstrip(".") for m in _WITH.finditer(text)]
    return tuple(dict.fromkeys(found))


def _prices(text: str, currency: str) -> tuple[str, int | None, int | None]:
    """Price limits in minor units, and the text without them."""
    between = _BETWEEN.search(text)
    if between:
        low, high = sorted(_minor(between.group(i), currency) for i in (1, 2))
        return text.replace(between.group(0), " "), low, high
    low_limit = high_limit = None
    most = _MOST.search(text)
    if most:
        high_limit = _minor(most.group(1), currency)
        text = text.replace(most.group(0), " ")
    least = _LEAST.search(text)
    if least:
        low_limit = _minor(least.group(1), currency)
        text = text.replace(least.group(0), " ")
    return text, low_limit, high_limit


def _minor(amount: str, currency: str) -> int:
    thousands = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", amount)
    return to_minor(Decimal(amount.replace(",", "" if thousands else ".")), currency)


def _exclusions(text: str) -> tuple[str, tuple[str, ...]]:
    """Excluded words, and the text without them."""
    words: list[str] = []
    for match in _EXCLUDE.finditer(text):
        parts = re.split(r"\s*,\s*|\s+(?:or|and|nor)\s+", match.group(1).casefold())
        for part in parts:
            name = re.sub(rf"^{_ARTICLE}", "", part).split()[0]
            if name not in _STOP and len(name) > 2:
                words.append(name)
        text = text.replace(match.group(0), " ")
    return text, tuple(dict.fromkeys(words))


def _wanted(text: str) -> tuple[str, ...]:
    without_ids = _SUBJECT.sub(" ", text)
    words = re.findall(r"[a-z][a-z\-]+", without_ids.casefold())
    return tuple(dict.fromkeys(word for word in words if word not in _STOP))


def _position(text: str) -> int | None:
    words = re.findall(r"[a-z0-9]+", text.casefold())
    return next((_ORDINALS[word] for word in words if word in _ORDINALS), None)


def matching_categories(wanted: Sequence[str], categories: Sequence[str]) -> frozenset[str]:
    """Categories whose names hold the wanted words; those that hold most of them."""
    hits = {category: sum(mentions(category, word) for word in wanted) for category in categories}
    best = max(hits.values(), default=0)
    return frozenset(category for category, count in hits.items() if count == best > 0)
