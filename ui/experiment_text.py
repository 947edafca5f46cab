"""Experiments in the terminal, for people."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text

from agent.experiment_plan import Plan
from agent.experiment_report import ExperimentReport
from agent.experiment_verdict import Answer
from agent.experiment_words import (
    amount,
    interval,
    measure_name,
    ratio_sentence,
    verdict_sentence,
)
from agent.experiments import Experiment, Metric
from agent.sample_size import GroupSizes
from retrieval.money import format_money
from ui.terminal import OUT

_LOOKS = {
    Answer.SHIPS: "bold green",
    Answer.DOES_NOT_SHIP: "bold red",
    Answer.NOT_YET_KNOWN: "bold yellow",
    Answer.DO_NOT_READ: "bold red",
}


def show_plan(plan: Plan, currency: str) -> None:
    """What an experiment needs, then what the shop's customers could show by horizon."""
    past, design = plan.past, plan.design
    OUT.print(
        Text(
            f"Over {past.days} days a customer's {_mean_name(plan.metric)} "
            f"{_mean(past.mean, plan.metric, currency)}"
            + (
                f" with a standard deviation of {format_money(round(past.deviation), currency)}"
                if plan.metric is Metric.SPEND
                else ""
            )
            + f" ({past.windows} past horizons); its correlation with the {past.days} days before "
            f"is {past.correlation:.2f}."
        ),
        soft_wrap=True,
    )
    title = (
        f"Customers needed to find {plan.effect:+.1%} ({design.power:.0%} power, alpha "
        f"{design.alpha:g}, {design.holdout_share:.0%} control)"
    )
    needed = Table(
        "looked at",
        *(Column(name, justify="right") for name in ("treatment", "control", "together")),
        title=title,
        title_justify="left",
    )
    for name, sizes in (
        ("once, at the end", plan.once),
        ("at any time", plan.always),
        ("at any time, adjusted (what a report does)", plan.always_adjusted),
    ):
        needed.add_row(name, *_sizes(sizes))
    OUT.print(needed)
    reach = Table(
        *(Column(name, justify="right") for name in ("days", "mean", "once", "any time")),
        Column("any time, adjusted", justify="right"),
        title=f"Smallest effect that {plan.customers:,} customers can show",
        title_justify="left",
    )
    for each in plan.reaches:
        reach.add_row(
            f"{each.past.days}",
            _mean(each.past.mean, plan.metric, currency),
            *(_percent(share) for share in (each.once, each.always, each.always_adjusted)),
        )
    OUT.print(reach)
    OUT.print(Text(_days_needed(plan)), soft_wrap=True)


def show_started(experiment: Experiment, file: Path, shop: Path) -> None:
    """What was written, and what comes of it when."""
    OUT.print(
        Text(
            f"{experiment.experiment_id}: {', '.join(experiment.offers)} for "
            f"{experiment.planned_customers:,} customers, {experiment.holdout_share:.0%} of them "
            f"without. They enter from {experiment.starts} to {experiment.last_entry}; the last "
            f"horizon is over on {experiment.ends}."
        ),
        soft_wrap=True,
    )
    if experiment.starts < experiment.written:
        OUT.print(
            Text(
                "It starts in the past, when nothing was withheld: until today it compares two "
                "groups treated alike.",
                style="yellow",
            ),
            soft_wrap=True,
        )
    OUT.print(Text(f"Written to {file}."), soft_wrap=True)
    OUT.print(
        Text(f"Next: patron experiment report {experiment.experiment_id} --shop {shop}"),
        soft_wrap=True,
    )


def show_experiments(experiments: Sequence[Experiment], today: date) -> None:
    """Experiments beside one another."""
    table = Table(
        Column("experiment", overflow="fold"),
        "status",
        Column("offers", overflow="fold"),
        *("control", Column("starts", no_wrap=True), Column("ends", no_wrap=True), "metric"),
    )
    for each in experiments:
        table.add_row(
            Text(each.experiment_id),
            each.status(today).value,
            Text(", ".join(each.offers)),
            f"{each.holdout_share:.0%}",
            f"{each.starts}",
            f"{each.stopped or each.ends}",
            each.metric.value,
        )
    OUT.print(table)


def show_report(report: ExperimentReport, currency: str, page: Path) -> None:
    """The verdict, the effects and where the page lies."""
    answer = report.verdict.answer
    OUT.print(
        Text.assemble(
            (f"{answer.value.capitalize()}. ", _LOOKS[answer]), verdict_sentence(report, currency)
        ),
        soft_wrap=True,
    )
    if report.ratio is not None and not report.ratio.mismatch:
        OUT.print(Text(ratio_sentence(report.ratio)), soft_wrap=True)
    if report.estimates:
        OUT.print(_effects(report, currency))
    OUT.print(Text(f"The page: {page}"), soft_wrap=True)


def _effects(report: ExperimentReport, currency: str) -> Table:
    metric, level = report.experiment.metric, f"{1 - report.experiment.alpha:.0%}"
    table = Table(
        "per customer",
        *(
            Column(name, justify="right")
            for name in ("effect", f"{level}, any time", f"{level}, one look")
        ),
        title=f"Treatment less control, {report.complete:,} customers whose horizon is over",
        title_justify="left",
    )
    for measure, found in report.estimates.items():
        table.add_row(
            Text(measure_name(measure, metric), style="bold" if measure is report.deciding else ""),
            amount(found.effect, metric, currency),
            interval(found.sequential, metric, currency),
            interval(found.fixed, metric, currency),
        )
    return table


def _mean_name(metric: Metric) -> str:
    return "spend is" if metric is Metric.SPEND else "chance of buying at all is"


def _mean(mean: float, metric: Metric, currency: str) -> str:
    return format_money(round(mean), currency) if metric is Metric.SPEND else f"{mean:.1%}"


def _sizes(sizes: GroupSizes | None) -> tuple[str, str, str]:
    if sizes is None:
        return ("-", "-", "impossible")
    return (f"{sizes.treatment:,}", f"{sizes.control:,}", f"{sizes.total:,}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _days_needed(plan: Plan) -> str:
    if plan.days_needed is not None:
        return (
            f"Horizons of {plan.days_needed} days are enough to find {plan.effect:+.1%} with the "
            "customers there are."
        )
    longest = plan.reaches[-1].past.days
    return (
        f"No horizon up to {longest} days, the longest that the log lets us judge, finds "
        f"{plan.effect:+.1%} with the customers there are: look for a larger effect, hold out "
        "nearer to half, or count who returned instead of spend."
        if plan.metric is Metric.SPEND
        else f"No horizon up to {longest} days finds {plan.effect:+.1%} with the customers there "
        "are: look for a larger effect, or hold out nearer to half."
    )
