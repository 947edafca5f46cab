"""Spend over time as a small SVG bar chart."""

from collections.abc import Sequence
from datetime import date

from retrieval.money import format_money
from ui.page_text import escape

_WIDTH, _HEIGHT = 320, 116
_TOP, _BOTTOM = 18, 18
_MOST_MONTHS = 24


def spend_chart(monthly_spend: Sequence[tuple[date, int]], currency: str) -> str:
    """Bars of the last two years' months, each with its amount as a tooltip."""
    months = monthly_spend[-_MOST_MONTHS:]
    if not months:
        return ""
    # A month of returns only may be below zero, and is drawn as none.
    highest = max(1, max(amount for _, amount in months))
    step = _WIDTH / len(months)
    bars = "".join(
        _bar(
            index * step, step, amount / highest, f"{month:%B %Y}: {format_money(amount, currency)}"
        )
        for index, (month, amount) in enumerate(months)
    )
    best_month, best = max(months, key=lambda entry: entry[1])
    summary = (
        f"Spend by month from {months[0][0]:%B %Y} to {months[-1][0]:%B %Y}; the most was "
        f"{format_money(best, currency)} in {best_month:%B %Y}."
    )
    base = _HEIGHT - _BOTTOM
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(summary)}">'
        f'<line x1="0" y1="{_TOP}" x2="{_WIDTH}" y2="{_TOP}" class="grid"/>'
        f'<text x="0" y="{_TOP - 6}">{escape(format_money(highest, currency))}</text>'
        f"{bars}"
        f'<line x1="0" y1="{base}" x2="{_WIDTH}" y2="{base}" class="axis"/>'
        f'<text x="0" y="{_HEIGHT - 4}">{months[0][0]:%b %Y}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">{months[-1][0]:%b %Y}</text>'
        "</svg>"
    )


def _bar(left: float, step: float, share: float, label: str) -> str:
    height = max(0.0, share) * (_HEIGHT - _TOP - _BOTTOM)
    top = _HEIGHT - _BOTTOM - height
    gap = min(4.0, step / 4)
    return (
        f'<rect x="{left + gap / 2:.1f}" y="{top:.1f}" width="{step - gap:.1f}" '
        f'height="{height:.1f}" rx="1.5"><title>{escape(label)}</title></rect>'
    )
