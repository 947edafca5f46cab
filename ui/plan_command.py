"""`patron offers plan`: which customer is to get which offer, under a budget."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.command_options import HERE, JsonOption, ShopOption

if TYPE_CHECKING:
    from agent.offer_plan import OfferPlan


def plan_command(
    shop: ShopOption = HERE,
    budget: Annotated[
        str | None,
        typer.Option(
            help="What all offers together may cost in expectation, such as 500; by default only "
            "the offers' own budgets limit it."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; offer_plan.csv of the shop by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan at most one offer a customer so that the expected gain of all is highest.

    Asks every rule for every customer and writes a CSV; nothing is offered or claimed by it.
    """
    from agent.offer_plan import PLAN_FILE, plan_offers, write_plan
    from agent.resources import Resources
    from retrieval.shop import Shop
    from ui.claim_commands import minor_amount
    from ui.terminal import progress_bars

    opened = Shop.open(shop)
    limit = None if budget is None else minor_amount(budget, opened.settings.currency, "--budget")
    with progress_bars(shown=not as_json) as progress:
        plan = plan_offers(Resources(opened, progress), budget=limit, progress=progress)
    file = out or opened.directory / PLAN_FILE
    write_plan(file, plan)
    if as_json:
        print(json.dumps(plan.to_json() | {"file": str(file)}))
    else:
        _show(plan, file)


def _show(plan: "OfferPlan", file: Path) -> None:
    from collections import Counter

    from rich.table import Table
    from rich.text import Text

    from retrieval.money import format_money
    from ui.terminal import OUT

    def money(minor: float) -> str:
        return format_money(round(minor), plan.currency)

    made = Counter(each.offer.offer_id for each in plan.planned)
    titles = {each.offer.offer_id: each.offer.title for each in plan.planned}
    gains: Counter[str] = Counter()
    costs: Counter[str] = Counter()
    for each in plan.planned:
        gains[each.offer.offer_id] += each.worth.gain
        costs[each.offer.offer_id] += each.worth.cost
    table = Table("offer", "title", "customers", "expected gain", "expected cost")
    for offer_id, count in made.most_common():
        cells = (offer_id, titles[offer_id], f"{count:,}", money(gains[offer_id]))
        table.add_row(*(Text(cell) for cell in cells), Text(money(costs[offer_id])))
    OUT.print(table)
    within = "no budget but the offers' own" if plan.budget is None else money(plan.budget)
    lines = [
        f"{len(plan.planned):,} of {plan.customers:,} customers get an offer ({plan.eligible:,} "
        f"could); budget: {within}.",
        f"Expected gain {money(plan.allocation.gain)} after an expected cost of "
        f"{money(plan.allocation.cost)}; no plan could gain more than "
        f"{money(plan.allocation.upper_bound)} (gap {plan.allocation.gap:.3%}).",
    ]
    if plan.best_single is None:
        lines.append("No offer is expected to gain more than it costs, so none is planned.")
    else:
        verdict = (
            "one offer for everybody is as good"
            if plan.best_single_gain >= round(plan.allocation.gain)
            else "less than the plan"
        )
        lines.append(
            f"'{plan.best_single.title}' alone, for all who may have it, would gain "
            f"{money(plan.best_single_gain)}: {verdict}."
        )
    lines.append(f"Written to {file}.")
    for line in lines:
        OUT.print(Text(line), soft_wrap=True)
