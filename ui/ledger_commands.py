"""`patron offers ledger check|expire|audit`: do the books agree, and what was asked of them."""

import json
from typing import Annotated

import typer

from ui.command_options import HERE, JsonOption, ShopOption, print_json

ledger_app = typer.Typer(
    help="The ledger of offers: whether its books agree, and what was asked of it.",
    no_args_is_help=True,
)


@ledger_app.command("check")
def check_command(shop: ShopOption = HERE, as_json: JsonOption = False) -> None:
    """Count every budget, claim and code in two ways; exits with 1 where they disagree."""
    from agent.ledger import Ledger
    from retrieval.money import format_money, to_major
    from retrieval.shop import Shop
    from ui.terminal import OUT

    opened = Shop.open(shop)
    currency = opened.settings.currency
    ledger = Ledger(opened.ledger_file)
    balances, faults = ledger.balances(), ledger.check()
    if as_json:
        print_json(
            {
                "agrees": not faults,
                "currency": currency,
                "balances": {
                    offer_id: {
                        name: float(to_major(getattr(each, name), currency))
                        for name in ("opening", "held", "redeemed", "left")
                    }
                    for offer_id, each in balances.items()
                },
                "discrepancies": [
                    # Codes are counted, all else is money; so both stay in the ledger's own units.
                    {
                        "what": each.what,
                        "subject": each.subject,
                        "counted": each.counted,
                        "expected": each.expected,
                    }
                    for each in faults
                ],
            }
        )
    else:
        _show(
            ("offer", "budget", "held", "redeemed", "left"),
            [
                (
                    offer_id,
                    *(
                        format_money(amount, currency)
                        for amount in (each.opening, each.held, each.redeemed, each.left)
                    ),
                )
                for offer_id, each in balances.items()
            ],
        )
        for each in faults:
            OUT.print(
                f"{each.subject}: {each.what} disagree: {each.counted} and {each.expected} "
                "(money in minor units).",
                style="red",
                markup=False,
                soft_wrap=True,
            )
        typer.echo(
            f"The books disagree ({len(faults):,} found); somebody changed the file by other "
            "means. Restore it from a backup."
            if faults
            else f"The books agree: {len(balances):,} offers, counted by counter, entry and claim."
        )
    if faults:
        raise typer.Exit(1)


@ledger_app.command("expire")
def expire_command(shop: ShopOption = HERE, as_json: JsonOption = False) -> None:
    """End every reservation and claim whose time is over; its money and code come back.

    Each request does so for its own offer, so this only tidies up.
    """
    from agent.ledger import Ledger
    from retrieval.shop import Shop
    from retrieval.time_split import present

    opened = Shop.open(shop)
    now = present(opened)
    ended = Ledger(opened.ledger_file).expire(now)
    if as_json:
        print_json({"as_of": now.isoformat(), "expired": ended})
        return
    typer.echo(
        f"{ended:,} claims and reservations were over by "
        f"{now.astimezone(opened.zone):%Y-%m-%d %H:%M %Z} and were ended."
    )


@ledger_app.command("audit")
def audit_command(
    shop: ShopOption = HERE,
    what: Annotated[
        str | None,
        typer.Option(help='Only lines of one kind, such as "claim" or "refused claim".'),
    ] = None,
    last: Annotated[
        int, typer.Option(help="How many, counted from the newest; 0 for all.", min=0)
    ] = 20,
    as_json: JsonOption = False,
) -> None:
    """What was asked of the ledger and what came of it, oldest first, with the reasons given."""
    from agent.ledger import Ledger
    from retrieval.shop import Shop

    opened = Shop.open(shop)
    found = Ledger(opened.ledger_file).audit(what=what)
    shown = found[-last:] if last else found
    if as_json:
        print_json(
            {
                "lines": len(found),
                "audit": [
                    {
                        "audit_id": line.audit_id,
                        "at": line.at.isoformat(),
                        "what": line.what,
                        "details": dict(line.details),
                    }
                    for line in shown
                ],
            }
        )
        return
    _show(
        ("line", "at", "what", "details"),
        [
            (
                str(line.audit_id),
                f"{line.at:%Y-%m-%d %H:%M:%S} UTC",
                line.what,
                json.dumps(dict(line.details), ensure_ascii=False, sort_keys=True),
            )
            for line in shown
        ],
    )
    of_kind = "" if what is None else f' of the kind "{what}"'
    typer.echo(f"{len(shown):,} of {len(found):,} lines{of_kind}.")


def _show(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from ui.terminal import OUT

    if not rows:
        return
    table = Table(*head)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    OUT.print(table)
