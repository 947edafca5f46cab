"""`patron experiment`: size an experiment, start it, watch it, read it and stop it."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.experiments import Metric
from ui.command_options import HERE, JsonOption, ShopOption
from ui.experiment_options import (
    AlphaOption,
    CustomersOption,
    EffectOption,
    HoldoutOption,
    HorizonOption,
    IdArgument,
    MetricOption,
    PowerOption,
    TierOption,
)

if TYPE_CHECKING:
    from retrieval.shop import Shop

experiment_app = typer.Typer(
    help="Experiments: withhold offers from some customers by chance, to learn what they change.",
    no_args_is_help=True,
)


@experiment_app.command()
def plan(
    shop: ShopOption = HERE,
    metric: MetricOption = Metric.SPEND,
    effect: EffectOption = 0.05,
    holdout: HoldoutOption = 0.2,
    power: PowerOption = 0.8,
    alpha: AlphaOption = 0.05,
    horizon_days: HorizonOption = None,
    tier: TierOption = None,
    customers: CustomersOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many customers an experiment needs, and what the shop's own could show."""
    from agent.experiment_plan import plan_experiment
    from agent.sample_size import Design
    from retrieval.shop import Shop
    from ui.experiment_text import show_plan

    opened = Shop.open(shop)
    _, customer_ids = _covered(opened, tier, customers, _log_day(opened))
    planned = plan_experiment(
        opened,
        customer_ids=customer_ids,
        metric=metric,
        effect=effect,
        horizon_days=horizon_days or opened.settings.churn.horizon_days,
        design=Design(holdout_share=holdout, power=power, alpha=alpha),
    )
    if as_json:
        _print_json(planned.to_json())
    else:
        show_plan(planned, opened.settings.currency)


@experiment_app.command()
def start(
    experiment_id: IdArgument,
    offers: Annotated[
        list[str], typer.Option("--offer", help="Id of an offer under test; may be repeated.")
    ],
    shop: ShopOption = HERE,
    metric: MetricOption = Metric.SPEND,
    effect: EffectOption = 0.05,
    holdout: HoldoutOption = 0.2,
    power: PowerOption = 0.8,
    alpha: AlphaOption = 0.05,
    starts: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="The first day on which customers enter; today by default."
        ),
    ] = None,
    enrol_days: Annotated[
        int,
        typer.Option(help="Days over which customers enter; 1: all at once.", min=1, max=730),
    ] = 28,
    horizon_days: HorizonOption = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Share of spend that the shop keeps before the cost of offers; offers.margin of "
            "shop.toml by default.",
            min=0.001,
            max=1.0,
        ),
    ] = None,
    tier: TierOption = None,
    customers: CustomersOption = None,
    salt: Annotated[
        str | None,
        typer.Option(help="What the groups are drawn with; the name by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write an experiment down; from its first day on its offers are withheld from the control."""
    from agent.daily_spend import read_daily_spend
    from agent.experiment_files import experiment_values, make_experiment, start_experiment
    from agent.offer_file import shop_offers
    from retrieval.shop import Shop
    from ui.experiment_text import show_started

    opened = Shop.open(shop)
    settings = opened.settings
    today = datetime.now(opened.zone).date()
    first_day = today if starts is None else starts.date()
    words, customer_ids = _covered(opened, tier, customers, first_day)
    known = read_daily_spend(opened, first_day).known_before(first_day)
    experiment = make_experiment(
        {
            "experiment_id": experiment_id,
            "offers": offers,
            "holdout_share": holdout,
            "metric": metric,
            "written": today,
            "starts": first_day,
            "enrolment_days": enrol_days,
            "horizon_days": horizon_days or settings.churn.horizon_days,
            "minimum_effect": effect,
            "power": power,
            "alpha": alpha,
            "margin": settings.offers.margin if margin is None else margin,
            "salt": experiment_id if salt is None else salt,
            "covers": words,
            "customer_ids": customer_ids,
            "planned_customers": len(known if customer_ids is None else known & customer_ids),
        }
    )
    file = start_experiment(opened, experiment, shop_offers(opened))
    if as_json:
        _print_json(experiment_values(experiment) | {"file": str(file)})
    else:
        show_started(experiment, file, shop)


@experiment_app.command("list")
def list_command(shop: ShopOption = HERE, as_json: JsonOption = False) -> None:
    """Every experiment of the shop, and where it stands today."""
    from agent.experiment_files import experiment_values, list_experiments
    from retrieval.shop import Shop
    from ui.experiment_text import show_experiments

    opened = Shop.open(shop)
    today = datetime.now(opened.zone).date()
    found = list_experiments(opened)
    if as_json:
        shown = [
            experiment_values(each) | {"status": each.status(today).value, "ends": str(each.ends)}
            for each in found
        ]
        _print_json({"experiments": shown})
    elif found:
        show_experiments(found, today)
    else:
        typer.echo(f"No experiment yet. Size one: patron experiment plan --shop {shop}")


@experiment_app.command()
def report(
    experiment_id: IdArgument,
    shop: ShopOption = HERE,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Read only what happened before this day; the log's last by default.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write what an experiment shows so far beside it (.md and .png), and print the verdict."""
    from agent.experiment_costs import claim_costs
    from agent.experiment_files import experiment_file, read_experiment
    from agent.experiment_outcomes import read_outcomes
    from agent.experiment_page import experiment_page
    from agent.experiment_plot import plot_experiment
    from agent.experiment_report import report_experiment
    from agent.ledger import Ledger
    from retrieval.shop import Shop, write_atomically
    from ui.experiment_text import show_report

    opened = Shop.open(shop)
    currency = opened.settings.currency
    experiment = read_experiment(opened, experiment_id)
    last = _log_day(opened)
    day = last if as_of is None else min(as_of.date(), last)
    costs = claim_costs(Ledger(opened.ledger_file), experiment, opened.zone)
    found = report_experiment(experiment, read_outcomes(opened, experiment, day), costs)
    page = experiment_file(opened, experiment_id).with_suffix(".md")
    write_atomically(page, experiment_page(found, currency).encode())
    if found.looks:
        write_atomically(page.with_suffix(".png"), plot_experiment(found, currency))
    if as_json:
        _print_json(found.to_json() | {"page": str(page)})
    else:
        show_report(found, currency, page)


@experiment_app.command()
def stop(experiment_id: IdArgument, shop: ShopOption = HERE) -> None:
    """End an experiment today; its offers are withheld from nobody any more."""
    from agent.experiment_files import stop_experiment
    from retrieval.shop import Shop

    opened = Shop.open(shop)
    today = datetime.now(opened.zone).date()
    stop_experiment(opened, experiment_id, today)
    typer.echo(
        f"{experiment_id} is stopped from {today} on; horizons over by then still count. "
        f"Read it: patron experiment report {experiment_id} --shop {shop}"
    )


def _covered(
    shop: "Shop", tier: str | None, file: Path | None, before: date
) -> tuple[str, frozenset[str] | None]:
    """Whom an experiment is about: in words, and as ids where not everybody."""
    from agent.daily_spend import read_daily_spend
    from agent.experiment_population import customers_of_file, customers_of_tier
    from agent.experiments import ExperimentError

    if tier is not None and file is not None:
        raise ExperimentError(
            "--tier and --customers cannot both be given.", hint="Give one of them."
        )
    if tier is not None:
        return f"customers of value tier {tier}", customers_of_tier(shop, tier, before)
    if file is not None:
        known = read_daily_spend(shop, before).known_before(before)
        return f"customers of {file.name}", customers_of_file(file, known)
    return "all customers with an order before the start", None


def _log_day(shop: "Shop") -> date:
    """The day of the newest purchase, in the shop's time zone."""
    from retrieval.time_split import present

    return present(shop).astimezone(shop.zone).date()


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False))
