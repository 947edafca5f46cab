"""The command line: `patron --help`."""

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from prompts.errors import PatronError
from retrieval.money import to_minor
from ui.command_options import HERE, JsonOption, ShopOption, print_json
from ui.experiment_commands import experiment_app
from ui.finetune_commands import adapters_app, finetune_command
from ui.ingest_options import (
    CurrencyOption,
    MapOption,
    MaxBadOption,
    TimezoneOption,
    column_map,
    read_logs,
)
from ui.offer_commands import offers_app

if TYPE_CHECKING:
    from agent.agent import Agent

app = typer.Typer(
    name="patron",
    help="A conversational recommender that keeps customers.\n\n"
    "A shop is one directory. Make one with init, read its logs with ingest, build its index, "
    "fine-tune its predictor, then ask. Or see it all at once: patron demo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(adapters_app, name="adapters")
app.add_typer(offers_app, name="offers")
app.add_typer(experiment_app, name="experiment")

CustomerArgument = Annotated[str, typer.Argument(help="The customer's id, as in the log.")]


def main() -> None:
    """Run a command; errors that a person can mend end in one sentence and exit code 2."""
    # Deprecations inside libraries are for us, not for whoever runs the command; their progress
    # bars would run into ours.
    warnings.simplefilter("ignore", FutureWarning)
    os.environ.setdefault("TQDM_DISABLE", "1")
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
    except PatronError as error:
        _show_error(error.code, error.message, error.hint, as_json=as_json)
        code = 2
    except TyperException as error:
        message = str(error) or "The command is not written as it should be."
        _show_error("usage_error", message, "See patron COMMAND --help.", as_json=as_json)
        code = 2
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    raise SystemExit(code if isinstance(code, int) else 0)


def _show_error(code: str, message: str, hint: str, *, as_json: bool) -> None:
    if as_json:
        document = {"code": code, "message": message, "hint": hint}
        print(json.dumps({"error": document}), file=sys.stderr)
        return
    from ui.terminal import show_error

    show_error(message, hint)


@app.command()
def init(
    shop: ShopOption = HERE,
    name: Annotated[str, typer.Option(help="What people call the shop.")] = "Shop",
    currency: Annotated[str, typer.Option(help="ISO 4217 code of all amounts.")] = "USD",
    timezone: Annotated[str, typer.Option(help="IANA zone of local times and dates.")] = "UTC",
    churn: Annotated[
        str,
        typer.Option(
            help="What leaving means: inactive (no purchase in the horizon) or decline "
            "(spend under half of the customer's own usual)."
        ),
    ] = "inactive",
    horizon_days: Annotated[int, typer.Option(help="Days over which churn is judged.")] = 90,
) -> None:
    """Make a new, empty shop directory with a shop.toml."""
    from pydantic import ValidationError

    from retrieval.errors import ShopError
    from retrieval.shop import Shop, ShopSettings

    values = {
        "name": name,
        "currency": currency,
        "timezone": timezone,
        "churn": {"definition": churn, "horizon_days": horizon_days},
    }
    try:
        settings = ShopSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][-1]).replace("_", "-").replace("definition", "churn")
        raise ShopError(f"--{option}: {first['msg']}.", hint="See patron init --help.") from error
    Shop.create(shop, settings)
    typer.echo(f"Made {shop}. Next: patron ingest FILE --shop {shop}")


@app.command()
def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(help="CSV, Parquet or JSONL files, also gzip.", metavar="FILE..."),
    ],
    shop: ShopOption = HERE,
    columns: MapOption = None,
    timezone: TimezoneOption = None,
    currency: CurrencyOption = None,
    max_bad: MaxBadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read logs into the shop: check every row, quarantine the bad, append the good."""
    from retrieval.shop import Shop
    from ui.terminal import progress_bars, show_ingest

    with progress_bars(shown=not as_json) as progress:
        report = read_logs(
            Shop.open(shop),
            files,
            columns=columns,
            timezone=timezone,
            currency=currency,
            max_bad=max_bad,
            progress=progress,
        )
    if as_json:
        print_json(report.to_json())
    else:
        show_ingest(report)
        typer.echo(f"Next: patron index --shop {shop}")


@app.command()
def catalogue(
    files: Annotated[
        list[Path],
        typer.Argument(help="CSV, Parquet or JSONL files, also gzip.", metavar="FILE..."),
    ],
    shop: ShopOption = HERE,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="target=source, such as item_id=SKU; may be repeated. Targets: item_id, title, "
            "category, price, cost, stock. Others are guessed from common names.",
        ),
    ] = None,
    max_bad: MaxBadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read what the shop sells: titles, categories, prices, costs and stock.

    Needed are an item id and one column more. Prices and costs are written as 4.99, stock in whole
    pieces. An empty cell leaves what is known; of rows about one item, the later counts.
    """
    from retrieval.catalogue_files import merge_catalogue_files
    from retrieval.shop import Shop
    from ui.terminal import progress_bars, show_catalogue

    with progress_bars(shown=not as_json) as progress:
        report = merge_catalogue_files(
            Shop.open(shop),
            files,
            column_map=column_map(columns or [], example="item_id=SKU"),
            max_bad_share=max_bad,
            progress=progress,
        )
    if as_json:
        print_json(report.to_json())
    else:
        show_catalogue(report)
        typer.echo(
            "Prices, costs and stock count at once; for new items and titles run: "
            f"patron index --shop {shop}"
        )


@app.command()
def index(shop: ShopOption = HERE) -> None:
    """Bring the index (histories, outcomes, items, recommendations) up to date with the log."""
    from finetune.indexing import index_shop
    from retrieval.shop import Shop
    from ui.terminal import progress_bars

    with progress_bars() as progress:
        report = index_shop(Shop.open(shop), progress=progress)
    if not report.rebuilt:
        typer.echo(f"The index is up to date ({report.generation}).")
        return
    counts = report.manifest
    typer.echo(
        f"Generation {report.generation}: {counts.histories:,} histories, {counts.outcomes:,} past "
        f"outcomes, {counts.item_texts:,} item texts; {report.embedded:,} texts newly embedded."
    )
    if not counts.ranking_learnt:
        typer.echo(
            "Too few orders to learn a ranking from: recommendations fuse their sources by rank."
        )


app.command("finetune")(finetune_command)


@app.command("evaluate")
def evaluate_command(shop: ShopOption = HERE, as_json: JsonOption = False) -> None:
    """Judge the current adapter on the test window beside recency, past spend and logistic RFM."""
    from finetune.evaluation import evaluate
    from retrieval.shop import Shop
    from ui.terminal import progress_bars, show_evaluation

    with progress_bars(shown=not as_json) as progress:
        evaluation = evaluate(Shop.open(shop), progress=progress)
    if as_json:
        print_json(evaluation.to_json())
    else:
        show_evaluation(evaluation)


@app.command()
def predict(
    customer: CustomerArgument,
    shop: ShopOption = HERE,
    as_of: Annotated[
        datetime | None,
        typer.Option(help="Read only what happened before; the log's end by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Value tier, churn risk, spend, lifetime value and stage of one customer, and why."""
    from ui.terminal import show_prediction

    with _agent(shop, shown=not as_json) as agent:
        moment = None if as_of is None else as_of.replace(tzinfo=agent.shop.zone)
        prediction = agent.predict(customer, as_of=moment, explained=True)
    if as_json:
        print_json(prediction.to_json())
    else:
        show_prediction(prediction)


@app.command()
def score(
    shop: ShopOption = HERE,
    out: Annotated[
        Path | None,
        typer.Option(help="The Parquet file; predictions.parquet in the shop by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write every customer's prediction to one Parquet file; interrupted, it continues.

    Money is in the shop's currency (12.34), over the churn horizon or, for ltv, over
    value.ltv_days of shop.toml.
    """
    from finetune.batch_scoring import score_shop
    from retrieval.shop import Shop
    from ui.terminal import progress_bars, show_scoring

    with progress_bars(shown=not as_json) as progress:
        report = score_shop(Shop.open(shop), out, progress=progress)
    if as_json:
        print_json(report.to_json())
    else:
        show_scoring(report)


@app.command()
def recommend(
    customer: Annotated[
        str | None, typer.Argument(help="The customer's id.", show_default=False)
    ] = None,
    shop: ShopOption = HERE,
    new_customer: Annotated[
        bool, typer.Option("--new-customer", help="For somebody whom the log does not know.")
    ] = False,
    count: Annotated[int, typer.Option(help="How many items.", min=1, max=100)] = 5,
    category: Annotated[
        list[str] | None, typer.Option(help="Only this category; may be repeated.")
    ] = None,
    max_price: Annotated[str | None, typer.Option(help="Highest price, such as 4.99.")] = None,
    min_price: Annotated[str | None, typer.Option(help="Lowest price.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Leave out items whose title or category holds this word."),
    ] = None,
    exclude_item: Annotated[
        list[str] | None, typer.Option(help="Leave out the item of this id; may be repeated.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Only items never bought before.")] = False,
    offer: Annotated[
        bool, typer.Option("--offer/--no-offer", help="Choose an offer too; takes a prediction.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Items for one customer, each with its reason and evidence, and the offer that fits."""
    from dataclasses import replace

    from agent.filters import FilterError, named_filters
    from ui.terminal import show_recommendations

    if (customer is None) is not new_customer:
        raise FilterError(
            "Name one customer, or say --new-customer.", hint="Such as: patron recommend 1229"
        )
    with _agent(shop, shown=not as_json) as agent:
        currency = agent.shop.settings.currency
        filters, notes = named_filters(
            agent.categories(),
            categories=category or [],
            min_price=_minor("--min-price", min_price, currency),
            max_price=_minor("--max-price", max_price, currency),
            exclude_items=exclude_item or [],
            exclude_words=exclude or [],
            new_only=new,
        )
        found = agent.recommend(customer, count=count, filters=filters, with_offer=offer)
        recommendations = replace(found, notes=(*notes, *found.notes))
    if as_json:
        print_json(recommendations.to_json())
    else:
        show_recommendations(recommendations)


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help='Such as "Is customer 1 leaving, and why?"')],
    shop: ShopOption = HERE,
    customer: Annotated[str | None, typer.Option(help="About whom.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one question about a customer."""
    from ui.terminal import show_answer

    with _agent(shop, shown=not as_json) as agent:
        answer = agent.ask(text, customer_id=customer)
    if as_json:
        print_json(answer.to_json())
    else:
        show_answer(answer)


@app.command()
def chat(
    shop: ShopOption = HERE,
    customer: Annotated[str | None, typer.Option(help="About whom to begin.")] = None,
) -> None:
    """Talk in the terminal; an empty line or Ctrl-D ends it."""
    from ui.terminal_chat import talk

    with _agent(shop, shown=True) as agent:
        agent.warm_up()
    talk(agent, customer)


@app.command()
def serve(
    shop: ShopOption = HERE,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to bind.", min=1, max=65535)] = 7860,
) -> None:
    """Open the shop's page; logins are in its logins.toml."""
    from ui.serving import serve_shop

    serve_shop(shop, host, port)


@app.command()
def login(
    name: Annotated[str, typer.Argument(help="The login's name.")],
    shop: ShopOption = HERE,
    customer: Annotated[
        str | None, typer.Option(help="Makes a shopper's login for this customer, not a desk's.")
    ] = None,
) -> None:
    """Add a login to the shop's page; the password is asked for."""
    from agent.viewer import Viewer
    from retrieval.shop import Shop
    from ui.logins import add_login, logins_file

    Shop.open(shop)
    viewer = Viewer.desk(name) if customer is None else Viewer.shopper(customer, name)
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    add_login(logins_file(shop), viewer, password)
    typer.echo(f"Added. Open the page with: patron serve --shop {shop}")


@app.command()
def demo(
    shop: ShopOption = Path("demo-shop"),
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to bind.", min=1, max=65535)] = 7860,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Build the shop and stop, without the page.")
    ] = False,
) -> None:
    """Build the demonstration shop from The Complete Journey and open its page."""
    from ui.demo import build_demo, print_demo_logins
    from ui.serving import check_port, serve_shop
    from ui.terminal import progress_bars

    if not build_only:
        check_port(host, port)
    with progress_bars() as progress:
        build_demo(shop, progress)
    if build_only:
        typer.echo(f"Built {shop}. Open it with: patron serve --shop {shop}")
        return
    print_demo_logins(shop, host)
    serve_shop(shop, host, port)


@app.command()
def doctor(shop: ShopOption = HERE) -> None:
    """Say what is installed, which models are found, what is wrong and how to mend it."""
    from ui.doctor import examine, show_findings

    findings = examine(shop)
    show_findings(findings)
    if any(not finding.well for finding in findings):
        raise SystemExit(1)


@contextmanager
def _agent(shop: Path, *, shown: bool) -> Iterator["Agent"]:
    """An agent for the desk, with a bar while it works."""
    from agent.agent import Agent
    from ui.terminal import progress_bars

    with progress_bars(shown=shown) as progress:
        agent = Agent.open(shop, progress=progress)
        progress("Thinking", 0, 1)
        yield agent
        progress("Thinking", 1, 1)


def _minor(option: str, amount: str | None, currency: str) -> int | None:
    from decimal import Decimal, InvalidOperation

    from agent.filters import FilterError

    if amount is None:
        return None
    try:
        value = Decimal(amount.lstrip("$£€¥"))
    except InvalidOperation as error:
        raise FilterError(f"{option} {amount}: this is no amount.", hint="Such as 4.99.") from error
    if not value.is_finite() or value < 0:
        raise FilterError(f"{option} {amount}: this is no price.", hint="Such as 4.99.")
    return to_minor(value, currency)


if __name__ == "__main__":
    main()
