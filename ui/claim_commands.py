"""`patron offers take|claims|redeem|reverse`: what customers took, and what came of it."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.command_options import HERE, JsonOption, ShopOption

if TYPE_CHECKING:
    from agent.ledger import Claim

KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", help="Names the request: repeating it has one effect. Drawn anew by default."
    ),
]
ClaimArgument = Annotated[str, typer.Argument(help="The claim's id.", metavar="CLAIM")]


def take_command(
    customer: Annotated[str, typer.Option(help="Who takes it.")],
    offer: Annotated[str, typer.Option(help="The offer's id.")],
    shop: ShopOption = HERE,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an offer for a customer: every rule is asked, then the ledger is written."""
    from agent.agent import Agent
    from ui.terminal import progress_bars

    with progress_bars(shown=not as_json) as progress:
        agent = Agent.open(shop, progress=progress)
        claim = agent.accept_offer(customer, offer, idempotency_key=key)
    _show(agent.shop.settings.currency, as_json, claim)


def claims_command(
    customer: Annotated[str, typer.Option(help="Whose.")],
    shop: ShopOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Every offer that a customer took, oldest first, and where it stands."""
    from agent.agent import Agent

    agent = Agent.open(shop)
    currency, found = agent.shop.settings.currency, agent.claims(customer)
    if as_json:
        print(json.dumps({"claims": [_record(currency, each) for each in found]}))
    elif found:
        _show(currency, False, *found)
    else:
        typer.echo(f"Customer {customer} has taken no offer.")


def redeem_command(
    claim: ClaimArgument,
    order: Annotated[str, typer.Option(help="Id of the order that it is used on.")],
    total: Annotated[str, typer.Option(help="The whole order before the discount, such as 23.40.")],
    covered: Annotated[
        str | None,
        typer.Option(help="The part of it that the offer covers; the whole order by default."),
    ] = None,
    shop: ShopOption = HERE,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Book what a taken offer takes off an order, by the offer's own terms."""
    from agent.agent import Agent

    agent = Agent.open(shop)
    currency = agent.shop.settings.currency
    whole = minor_amount(total, currency, "--total")
    done = agent.redeem_offer(
        claim,
        order_id=order,
        order_total=whole,
        covered_total=whole if covered is None else minor_amount(covered, currency, "--covered"),
        idempotency_key=key,
    )
    _show(currency, as_json, done)


def reverse_command(
    claim: ClaimArgument,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    shop: ShopOption = HERE,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a taken or redeemed offer back, as when the order is returned."""
    from agent.agent import Agent

    agent = Agent.open(shop)
    done = agent.reverse_offer(claim, reason=reason, idempotency_key=key)
    _show(agent.shop.settings.currency, as_json, done)


def minor_amount(text: str, currency: str, option: str) -> int:
    """An amount as typed, in minor units.

    Raises:
        OfferError: it is no amount of the currency.
    """
    from agent.errors import OfferError
    from agent.offer_notation import read_amount

    try:
        return read_amount(text, currency)
    except ValueError as fault:
        raise OfferError(f"{option}: {fault}.", hint="Give it such as 23.40.") from fault


def _show(currency: str, as_json: bool, *claims: "Claim") -> None:
    from rich.table import Table
    from rich.text import Text

    from retrieval.money import format_money
    from ui.terminal import OUT

    if as_json:
        print(json.dumps(_record(currency, claims[0])))
        return
    table = Table("claim", "offer", "state", "holds", "took off", "code", "until before")
    for each in claims:
        table.add_row(
            *(
                Text(cell)
                for cell in (
                    each.claim_id,
                    each.offer_id,
                    each.state.value,
                    format_money(each.held, currency),
                    format_money(each.discount, currency),
                    each.code or "",
                    f"{each.expires:%Y-%m-%d %H:%M} UTC",
                )
            )
        )
    OUT.print(table)


def _record(currency: str, claim: "Claim") -> dict[str, Any]:
    from retrieval.money import to_major

    record = claim.record()
    for name in ("cost", "held", "discount"):
        record[name] = float(to_major(record[name], currency))
    return record | {"currency": currency, "repeated": claim.repeated}
