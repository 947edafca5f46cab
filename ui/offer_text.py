"""Offers, their rules and their codes in the terminal, for people."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.table import Column, Table
from rich.text import Text

from agent.offer_rules import Rule, RuleLine
from agent.offers import LedgerView, Offer, OfferBook, OfferKind, moment_text
from retrieval.money import format_money
from ui.terminal import OUT


def show_checked(checked: Mapping[str, Sequence[RuleLine]]) -> None:
    """Each offer, whether the customer may have it, and the first rule that says no."""
    table = Table(Column("offer", no_wrap=True), "eligible", "why not")
    for offer_id in sorted(checked, key=lambda each: _place(checked[each])):
        stop = first_failed(checked[offer_id])
        table.add_row(
            Text(offer_id),
            Text("yes", style="bold green") if stop is None else Text("no"),
            Text("" if stop is None else f"{_name(stop)}: {stop.text}"),
        )
    OUT.print(table)
    eligible = sum(first_failed(lines) is None for lines in checked.values())
    OUT.print(Text(f"{eligible:,} of {len(checked):,} offers. All rules of one: --offer ID"))


def show_rules(offer: Offer, lines: Sequence[RuleLine], currency: str) -> None:
    """Every rule line of one offer, the first that failed marked."""
    OUT.print(Text(f"{offer.title} ({offer.offer_id}): {terms(offer, currency)}", style="bold"))
    stop = first_failed(lines)
    table = Table("", "rule", "facts")
    for line in lines:
        mark = Text("passed", style="green") if line.passed else Text("failed", style="red")
        if line is stop:
            mark = Text("> failed", style="bold red")
        table.add_row(mark, Text(_name(line)), Text(line.text))
    OUT.print(table)
    OUT.print(
        Text("Eligible.", style="bold green")
        if stop is None
        else Text(f"Not eligible, by the line {_name(stop)}.", style="bold red")
    )


def show_offers(book: OfferBook, view: LedgerView, now: datetime) -> None:
    """Offers with dates, cost and budget, those that run first; narrow enough for 80 columns."""
    table = Table(
        "offer",
        Column("runs", no_wrap=True),
        Column("cost", justify="right", no_wrap=True),
        Column("left of budget", justify="right", no_wrap=True),
    )
    for offer in sorted(book.values(), key=lambda each: not each.runs_at(now)):
        left = format_money(view.budget_left(offer), book.currency)
        table.add_row(
            Text(f"{'*' if offer.runs_at(now) else ' '} {offer.offer_id}\n{offer.title}"),
            Text(f"{moment_text(offer.starts)} until\nbefore {offer.valid_before}"),
            format_money(offer.cost, book.currency),
            f"{left} of {format_money(offer.budget, book.currency)}",
        )
    OUT.print(table)
    running = sum(offer.runs_at(now) for offer in book.values())
    OUT.print(Text(f"* runs at {now:%Y-%m-%d %H:%M %Z}: {running:,} of {len(book):,}", style="dim"))


def show_codes(book: OfferBook, left: Mapping[str, int]) -> None:
    """How many codes are left, by offer."""
    table = Table(Column("offer", no_wrap=True), "title", Column("codes left", justify="right"))
    for offer_id, count in left.items():
        table.add_row(
            Text(offer_id),
            Text(book[offer_id].title),
            Text(f"{count:,}", style="" if count else "bold red"),
        )
    OUT.print(table)


def terms(offer: Offer, currency: str) -> str:
    """What an offer takes off, and of which orders."""
    if offer.kind is OfferKind.AMOUNT:
        text = f"{format_money(offer.value, currency)} off"
    else:
        text = f"{offer.value}% off"
        bounds = (("at least", offer.min_discount), ("at most", offer.max_discount))
        text += "".join(f", {name} {format_money(x, currency)}" for name, x in bounds if x)
    if offer.min_order:
        text += f", on orders of at least {format_money(offer.min_order, currency)}"
    return text


def first_failed(lines: Sequence[RuleLine]) -> RuleLine | None:
    """The rule that stops an offer; None where all pass."""
    return next((line for line in lines if not line.passed), None)


def _place(lines: Sequence[RuleLine]) -> tuple[bool, bool]:
    """Eligible offers first, those that do not run last."""
    stop = first_failed(lines)
    return stop is not None, stop is not None and stop.rule is Rule.DATES


def _name(line: RuleLine) -> str:
    return line.rule.value.replace("_", " ")
