"""The terminal: progress bars, tables and answers, for people."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from agent.answers import Answer, Prediction, Recommendations
from agent.facts import percent
from agent.offer_choice import NoOffer, OfferDecision
from agent.spend_words import HOW_TO_GET_AN_INTERVAL, spend_in_words
from finetune.base_prior import BASE_ID
from finetune.batch_scoring import ScoringReport
from finetune.drivers import Driver
from finetune.evaluation import METRICS, Evaluation
from finetune.spend_interval import COVERAGE
from retrieval.catalogue_files import CatalogueReport
from retrieval.file_reports import CheckedFile
from retrieval.ingest import IngestReport
from retrieval.money import format_money
from retrieval.progress import Progress
from retrieval.ranking import Recommendation
from ui.offer_figures import offer_figures

OUT = Console()
ERR = Console(stderr=True)

_COUNTS = ("read", "accepted", "quarantined", "duplicates")
METRIC_NAMES = {
    "churn_auc": "churn AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
    "ece": "ECE",
    "tier_f1": "tier F1",
    "spearman": "Spearman",
}


@contextmanager
def progress_bars(*, shown: bool = True) -> Iterator[Progress]:
    """Bars on standard error, one a step; what is in brackets may change within a step.

    Args:
        shown: false where standard error is read by a program.
    """
    with Bars(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=ERR,
        disable=not shown,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def report(step: str, done: int, total: int) -> None:
            key = step.split(" (")[0]
            if key not in tasks:
                tasks[key] = bars.add_task(step, total=total)
            # A step that has only begun has no share to show: the bar pulses.
            bars.update(tasks[key], description=step, completed=done, total=total if done else None)

        yield report


def show_error(message: str, hint: str) -> None:
    """One sentence and how to mend it, on standard error."""
    ERR.print(Text(message, style="bold red"), soft_wrap=True)
    ERR.print(Text(hint), soft_wrap=True)


def show_ingest(report: IngestReport) -> None:
    """What was read and what became of it."""
    table = Table("file", *_COUNTS)
    for file in report.files:
        table.add_row(*_counted(file))
    OUT.print(table)
    _show_files(report.files, "ingest that file")


def show_catalogue(report: CatalogueReport) -> None:
    """What was read, what became of it, and what it did to the catalogue."""
    table = Table("file", *_COUNTS, "new", "changed")
    for file in report.files:
        table.add_row(*_counted(file), f"{file.added:,}", f"{file.changed:,}")
    OUT.print(table)
    _show_files(report.files, "run patron catalogue on that file")


def _counted(file: CheckedFile) -> list[Text]:
    # As Text: what is in brackets would be read as a style.
    counts = (file.read, file.accepted, file.quarantined, file.duplicates)
    return [Text(file.file.name), *(Text(f"{count:,}") for count in counts)]


def _show_files(files: Sequence[CheckedFile], mend: str) -> None:
    """The columns, notes and rejected rows of each file."""
    for file in files:
        columns = ", ".join(f"{target} = {source}" for target, source in file.mapping.items())
        guessed = f" (guessed: {', '.join(file.guessed)})" if file.guessed else ""
        OUT.print(Text(f"{file.file.name}: {columns}{guessed}"))
        for note in file.notes:
            OUT.print(Text(f"  {note}"))
        if file.quarantine_file is not None:
            OUT.print(
                Text(
                    f"  Rejected rows with reasons: {file.quarantine_file}\n"
                    f"  Correct them there and {mend}."
                )
            )


def show_evaluation(evaluation: Evaluation) -> None:
    """Systems beside one another."""
    OUT.print(
        Text(
            f"{evaluation.shop}: {evaluation.customers:,} customers at "
            f"{evaluation.test_cutoff[:10]}, {evaluation.horizon_days} days, churn = "
            f"{evaluation.churn_definition}, {evaluation.base_rate:.1%} churned"
        )
    )
    table = Table("system", *(METRIC_NAMES[name] for name in METRICS))
    for system, measures in evaluation.systems.items():
        values = [measures[name] for name in METRICS]
        table.add_row(system, *("-" if value is None else f"{value:.3f}" for value in values))
    OUT.print(table)
    OUT.print(Text("Brier and ECE: lower is better; the others: higher.", style="dim"))


def show_scoring(report: ScoringReport) -> None:
    """How many customers were scored, where they stand, and what they are expected to spend."""
    OUT.print(
        Text(
            f"{report.customers:,} customers with an order, {report.customers:,} rows in "
            f"{report.file} (as of {report.as_of:%Y-%m-%d}, adapter {report.adapter_id})"
        ),
        soft_wrap=True,
    )
    if report.continued:
        OUT.print(Text(f"{report.continued:,} of them were scored by the run before."))
    table = Table("", "customers", "share")
    for kind, counts in (("value tier", report.tiers), ("stage", report.stages)):
        table.add_row(Text(kind, style="bold"))
        for name, count in counts.items():
            table.add_row(Text(f"  {name}"), f"{count:,}", f"{count / report.customers:.1%}")
    OUT.print(table)
    OUT.print(
        Text(
            f"Expected spend of all: {format_money(report.expected_spend, report.currency)} over "
            f"{report.horizon_days} days{_total_interval(report)}"
        ),
        soft_wrap=True,
    )
    if report.basis is not None:
        OUT.print(Text(f"{report.adapter_id}: {report.basis}.", style="yellow"), soft_wrap=True)


def _total_interval(report: ScoringReport) -> str:
    """The interval around the total and its season; how to get one where there is none."""
    if report.expected_spend_low is None or report.expected_spend_high is None:
        return f" ({HOW_TO_GET_AN_INTERVAL})"
    low, high = (
        format_money(end, report.currency)
        for end in (report.expected_spend_low, report.expected_spend_high)
    )
    return f" ({COVERAGE:.0%} between {low} and {high}); season {report.season}"


def show_prediction(prediction: Prediction) -> None:
    """A prediction as an analyst reads it."""
    tiers = ", ".join(f"{tier} {percent(p)}" for tier, p in prediction.tier_probabilities.items())
    table = Table(title=f"Customer {prediction.customer_id}", show_header=False)
    rows = {
        "value tier": f"{prediction.value_tier} ({tiers})",
        "churn risk": f"{percent(prediction.churn_risk)} ({prediction.churn_definition})",
        f"expected spend, {prediction.horizon_days} days": spend_in_words(prediction),
        "lifetime value": format_money(prediction.ltv, prediction.currency),
        "lifecycle stage": prediction.stage.value,
        "as of": f"{prediction.as_of:%Y-%m-%d %H:%M %Z}",
        "adapter": prediction.adapter_id,
    }
    if prediction.basis is not None:
        rows["basis"] = prediction.basis
    for name, value in rows.items():
        table.add_row(name, Text(value))
    if prediction.adapter_id == BASE_ID:
        table.add_row("what moves it", Text(f"Not computed for {BASE_ID}."))
    elif prediction.drivers is None:
        table.add_row(
            "what moves it",
            Text("This adapter cannot tell; one of --keep-weights can."),
        )
    for number, driver in enumerate(prediction.drivers or ()):
        table.add_row("" if number else "what moves it", Text(_moves(driver, prediction)))
    for record in prediction.evidence:
        table.add_row(record.id, Text(record.text, style="dim"))
    OUT.print(table)


def _moves(driver: Driver, prediction: Prediction) -> str:
    """What one line of the history adds to risk and spend."""
    spend = round(driver.expected_spend_change)
    amount = format_money(abs(spend), prediction.currency)
    return (
        f"risk {'-' if driver.points < 0 else '+'}{driver.size}, spend "
        f"{'-' if spend < 0 else '+'}{amount}: {driver.text}"
    )


def show_items(items: tuple[Recommendation, ...], currency: str) -> None:
    """Recommended items, each with its reason."""
    for number, item in enumerate(items, 1):
        price = "" if item.price is None else f", {format_money(item.price, currency)}"
        about = f" ({item.category}{price})" if item.category else price
        OUT.print(Text(f"{number}. {item.title}{about}", style="bold"))
        OUT.print(Text(f"   {item.reason}"))


def show_offer(offer: OfferDecision | NoOffer, currency: str) -> None:
    """The offer, what it costs and why."""
    if isinstance(offer, NoOffer):
        OUT.print(Text(f"No offer: {offer.reason}"))
        return
    OUT.print(
        Text(
            f"Offer: {offer.offer.title} ({offer.offer.offer_id}), valid before "
            f"{offer.offer.valid_before}, cost {format_money(offer.cost, currency)}",
            style="bold",
        )
    )
    OUT.print(Text(f"   {offer.reason}"))
    for name, value in offer_figures(offer, currency):
        OUT.print(Text(f"   {name}: {value}"))
    if offer.worth is not None:
        OUT.print(Text(f"   How it was estimated: {offer.worth.basis}"))


def show_recommendations(recommendations: Recommendations) -> None:
    """Items, then the offer."""
    whom = recommendations.customer_id
    OUT.print(Text(f"For customer {whom}" if whom is not None else "For somebody new"))
    for note in recommendations.notes:
        OUT.print(Text(note, style="yellow"))
    show_items(recommendations.items, recommendations.currency)
    if recommendations.offer is not None:
        show_offer(recommendations.offer, recommendations.currency)


def show_answer(answer: Answer) -> None:
    """Sentences, then items and offer."""
    OUT.print(Text(answer.text), soft_wrap=True)
    show_items(answer.items, answer.currency)
    if answer.offer is not None:
        show_offer(answer.offer, answer.currency)
