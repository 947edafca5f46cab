"""A customer's history as text: the one function that training and serving share."""

import re
import statistics
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from prompts.library import load_prompt
from retrieval.catalogue import Catalogue
from retrieval.money import to_major
from retrieval.orders import CustomerPast
from retrieval.shop import ShopSettings

_PERIODS = 6
_TITLE_CHARACTERS = 32
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was known of one customer at `as_of`, and its text.

    Attributes:
        lines: the text's lines, the most useful first.
        event_count: events the text was rendered from.
        last_event: moment of the newest of them.
    """

    customer_id: str
    as_of: datetime
    lines: tuple[str, ...]
    event_count: int
    last_event: datetime

    @property
    def text(self) -> str:
        """The lines, one below the other."""
        return "\n".join(self.lines)


def render_history(
    past: CustomerPast,
    *,
    settings: ShopSettings,
    catalogue: Catalogue,
    count_tokens: Callable[[str], int],
) -> History:
    """Write what is known of a customer in short plain English.

    Habits come first and are put relatively ("late", "lower than usual"); numbers keep two
    figures, because the base model's tokenizer spends a token a digit. The same past gives the
    same text, and nothing from `past.as_of` on can enter it.

    Args:
        past: the customer's orders before the moment.
        settings: the shop's horizon, currency and token budget.
        catalogue: for titles and categories.
        count_tokens: the base model's token count of a text.
    """
    horizon = settings.churn.horizon_days
    lines = _render_lines(past, horizon, settings.currency, catalogue)
    budget = settings.limits.history_tokens
    while len(lines) > 1 and count_tokens("\n".join(lines)) > budget:
        lines = lines[:-1]
    return History(
        customer_id=past.customer_id,
        as_of=past.as_of,
        lines=tuple(lines),
        event_count=past.event_count,
        last_event=past.last_event,
    )


def history_from_text(past: CustomerPast, text: str) -> History:
    """A history whose text was rendered from this past before, and stored."""
    return History(
        customer_id=past.customer_id,
        as_of=past.as_of,
        lines=tuple(text.splitlines()),
        event_count=past.event_count,
        last_event=past.last_event,
    )


def usual_spend(past: CustomerPast, horizon_days: int) -> float:
    """The customer's own usual spend per horizon, in minor units.

    Spend so far, spread over the days since the first order (at least one horizon, so that a
    first order of yesterday is not taken for a daily habit).
    """
    days = max((past.as_of - past.first) / _DAY, float(horizon_days))
    return past.spend * horizon_days / days


def usual_gap(past: CustomerPast) -> float | None:
    """Median days between days with an order; None with fewer than two such days."""
    days = sorted({order.timestamp.date() for order in past.orders})
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    return statistics.median(gaps) if gaps else None


def quoted(text: str, limit: int = _TITLE_CHARACTERS) -> str:
    """Text from a log or catalogue made safe to put into a prompt: data, one line, short.

    Control and bidirectional characters are dropped, white space is folded, and marks that
    could be taken for the prompt's own structure are removed.
    """
    plain = "".join(
        " " if character.isspace() else character
        for character in unicodedata.normalize("NFKC", text)
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    plain = re.sub(r"<\|.*?\|>|[<>|{}:\[\]]", " ", plain)
    plain = " ".join(plain.split())
    if len(plain) <= limit:
        return plain
    return plain[:limit].rsplit(" ", 1)[0].rstrip(" ,;-&/")


def _render_lines(
    past: CustomerPast, horizon: int, currency: str, catalogue: Catalogue
) -> list[str]:
    third = max(1, horizon // 3)
    recency = (past.as_of - past.last) / _DAY
    gap = usual_gap(past)
    usual = usual_spend(past, horizon)
    recent = _spend_within(past, horizon)
    latest = _spend_within(past, third)

    def money(minor: float) -> str:
        return _two_figures(float(to_major(round(minor), currency)))

    spends, counts = _by_period(past, third)
    text = load_prompt("history").render(
        recency=_days(recency),
        usual_gap=_days(gap) if gap is not None else "unknown",
        lateness=_lateness(recency, gap),
        horizon=f"{horizon} days",
        third=f"{third} days",
        recent_level=_level(recent, usual),
        latest_level=_level(latest, usual * third / horizon),
        usual_spend=money(usual),
        period_spend=" ".join(money(spend) for spend in spends),
        period_orders=" ".join(str(count) for count in counts),
        age=_days((past.as_of - past.first) / _DAY),
        orders="1 order" if len(past.orders) == 1 else f"{len(past.orders)} orders",
        average_order=money(past.spend / len(past.orders)),
        favourites=", ".join(_names(past.favourites, catalogue)),
        last_amount=money(past.orders[-1].amount),
        last_items=", ".join(
            dict.fromkeys(quoted(catalogue.title(item)) for item in past.orders[-1].top_items)
        ),
        returns=money(past.returned) if past.returned else "",
    )
    return [line for line in text.splitlines() if line]


def _names(favourites: tuple[tuple[str, int], ...], catalogue: Catalogue) -> list[str]:
    """Titles of favourites, each once: many items may share one title."""
    return list(dict.fromkeys(quoted(catalogue.title(item)) for item, _ in favourites))


def _spend_within(past: CustomerPast, days: int) -> int:
    start = past.as_of - timedelta(days=days)
    return sum(order.amount for order in past.orders if order.timestamp >= start)


def _by_period(past: CustomerPast, days: int) -> tuple[list[int], list[int]]:
    """Spend (minor units) and orders of each of the last periods, newest first."""
    known = int((past.as_of - past.first) / _DAY) // days + 1
    periods = min(_PERIODS, known)
    spends, counts = [0] * periods, [0] * periods
    for order in past.orders:
        period = int((past.as_of - order.timestamp) / _DAY) // days
        if period < periods:
            spends[period] += order.amount
            counts[period] += 1
    return spends, counts


def _level(value: float, usual: float) -> str:
    ratio = value / usual if usual > 0 else 0.0
    for bound, words in (
        (0.05, "almost nothing"),
        (0.35, "far lower than usual"),
        (0.60, "much lower than usual"),
        (0.85, "lower than usual"),
        (1.15, "as usual"),
        (1.50, "higher than usual"),
    ):
        if ratio < bound:
            return words
    return "far higher than usual"


def _lateness(recency: float, gap: float | None) -> str:
    if gap is None:
        return "one order day only"
    ratio = recency / max(gap, 1.0)
    for bound, words in ((1.0, "on time"), (2.0, "a little late"), (4.0, "late")):
        if ratio <= bound:
            return words
    return "very late"


def _days(days: float) -> str:
    """A span in the unit people would use."""
    if days < 1:
        return "under a day"
    if days < 60:
        count, unit = round(days), "day"
    elif days < 730:
        count, unit = round(days / 30.4), "month"
    else:
        count, unit = round(days / 365.25), "year"
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _two_figures(value: float) -> str:
    if value <= 0:
        return "0"
    if value < 10:
        return f"{value:.1f}".removesuffix(".0")
    digits = len(str(int(value)))
    return str(round(value, 2 - digits)).removesuffix(".0")
