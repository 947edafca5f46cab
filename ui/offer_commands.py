"""`patron offers`: which there are, who may have them and by which rule, and their codes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.claim_commands import claims_command, redeem_command, reverse_command, take_command
from ui.command_options import HERE, JsonOption, ShopOption, print_json
from ui.effect_commands import learn_command
from ui.ledger_commands import ledger_app
from ui.plan_command import plan_command

if TYPE_CHECKING:
    from agent.offer_rules import RuleLine
    from agent.offers import Offer, OfferBook
    from retrieval.shop import Shop

offers_app = typer.Typer(
    help="The shop's offers: which run, and who may have them by which rule.",
    no_args_is_help=True,
)
codes_app = typer.Typer(help="One-time codes of the offers that need them.", no_args_is_help=True)
offers_app.add_typer(codes_app, name="codes")
offers_app.add_typer(ledger_app, name="ledger")
offers_app.command("learn")(learn_command)
offers_app.command("plan")(plan_command)
offers_app.command("take")(take_command)
offers_app.command("claims")(claims_command)
offers_app.command("redeem")(redeem_command)
offers_app.command("reverse")(reverse_command)


@offers_app.command()
def check(
    customer: Annotated[str, typer.Option(help="The customer's id, as in the log.")],
    shop: ShopOption = HERE,
    offer: Annotated[
        str | None, typer.Option(help="Only this offer, with every rule line.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain every rule of every offer for one customer: eligible or not, and by which line."""
    from agent.agent import Agent
    from agent.offer_file import shop_offers
    from retrieval.purchases import purchases_of
    from retrieval.time_split import present
    from ui.offer_text import show_checked, show_rules
    from ui.terminal import OUT, progress_bars

    with progress_bars(shown=not as_json) as progress:
        agent = Agent.open(shop, progress=progress)
        book = shop_offers(agent.shop)
        chosen = None if offer is None else _named(book, offer, agent.shop)
        progress("Checking", 0, 1)
        checked = agent.check_offers(customer)
        has_ordered = bool(purchases_of(agent.shop.log, customer, present(agent.shop)))
        progress("Checking", 1, 1)
    if chosen is not None:
        checked = {chosen.offer_id: checked[chosen.offer_id]}
    if as_json:
        print_json(
            {
                "customer_id": customer,
                "has_ordered": has_ordered,
                "as_of": present(agent.shop).isoformat(),
                "offers": [_verdict(book[each], lines) for each, lines in checked.items()],
            }
        )
        return
    if not has_ordered:
        OUT.print(
            f"Customer {customer} has no order in the log; checked as somebody before the first.",
            style="yellow",
            markup=False,
        )
    if chosen is not None:
        show_rules(chosen, checked[chosen.offer_id], book.currency)
    elif checked:
        show_checked(checked)
    else:
        typer.echo(f"The shop has no offers: {agent.shop.offers_file}")


@offers_app.command("list")
def list_command(shop: ShopOption = HERE, as_json: JsonOption = False) -> None:
    """Every offer with its dates, cost and budget, those that run first."""
    from agent.ledger import Ledger
    from agent.offer_file import shop_offers
    from retrieval.money import to_major
    from retrieval.shop import Shop
    from retrieval.time_split import present
    from ui.offer_text import show_offers

    opened = Shop.open(shop)
    book, now = shop_offers(opened), present(opened)
    view = Ledger(opened.ledger_file).view("", now)
    if not as_json:
        show_offers(book, view, now.astimezone(opened.zone))
        return
    print_json(
        {
            "as_of": now.isoformat(),
            "currency": book.currency,
            "offers": [
                {
                    "offer_id": offer.offer_id,
                    "title": offer.title,
                    "starts": offer.starts.isoformat(),
                    "expires": offer.expires.isoformat(),
                    "runs": offer.runs_at(now),
                    "cost": float(to_major(offer.cost, book.currency)),
                    "budget": float(to_major(offer.budget, book.currency)),
                    "budget_left": float(to_major(view.budget_left(offer), book.currency)),
                }
                for offer in book.values()
            ],
        }
    )


@codes_app.command("add")
def add_codes_command(
    file: Annotated[Path, typer.Argument(help="One code a line.", metavar="FILE")],
    offer: Annotated[str, typer.Option(help="The offer whose codes they are.")],
    shop: ShopOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Give an offer codes from a file, one a line; each goes to one claim."""
    from agent.errors import OfferError
    from agent.ledger import Ledger
    from agent.offer_codes import read_codes
    from agent.offer_file import shop_offers
    from retrieval.shop import Shop

    opened = Shop.open(shop)
    named = _named(shop_offers(opened), offer, opened)
    if not named.needs_code:
        raise OfferError(
            f"{opened.offers_file}: offer '{offer}' takes no codes.",
            hint="Set needs_code = true at that offer.",
        )
    read = read_codes(file)
    added = Ledger(opened.ledger_file).add_codes(offer, read.codes)
    known = len(read.codes) - added
    if as_json:
        print_json({"added": added, "known": known, "repeated": read.repeated})
        return
    typer.echo(f"Added {added:,} codes to {offer}.")
    if known:
        typer.echo(f"{known:,} it had already; they were left as they are.")
    if read.repeated:
        typer.echo(f"{read.repeated:,} lines repeat an earlier one; each code counts once.")


@codes_app.command("list")
def list_codes_command(shop: ShopOption = HERE, as_json: JsonOption = False) -> None:
    """How many codes are left of each offer that needs them."""
    from agent.ledger import Ledger
    from agent.offer_file import shop_offers
    from retrieval.shop import Shop
    from retrieval.time_split import present
    from ui.offer_text import show_codes

    opened = Shop.open(shop)
    book = shop_offers(opened)
    needing = [each for each in book.values() if each.needs_code]
    view = Ledger(opened.ledger_file).view("", present(opened))
    left = {each.offer_id: view.codes_left.get(each.offer_id, 0) for each in needing}
    if as_json:
        print_json({"codes_left": left})
    elif left:
        show_codes(book, left)
    else:
        typer.echo("No offer needs codes; set needs_code = true at one that does.")


def _named(book: "OfferBook", offer_id: str, shop: "Shop") -> "Offer":
    from agent.errors import OfferError

    if offer_id not in book:
        raise OfferError(
            f"There is no offer '{offer_id}' in {shop.offers_file}.",
            hint=f"See them with: patron offers list --shop {shop.directory}",
        )
    return book[offer_id]


def _verdict(offer: "Offer", lines: "tuple[RuleLine, ...]") -> dict[str, Any]:
    from ui.offer_text import first_failed

    stop = first_failed(lines)
    return {
        "offer_id": offer.offer_id,
        "title": offer.title,
        "eligible": stop is None,
        "stopped_by": None if stop is None else stop.rule.value,
        "rules": [
            {"rule": line.rule.value, "passed": line.passed, "text": line.text} for line in lines
        ],
    }
