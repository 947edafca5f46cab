"""The one page of an experiment, in Markdown: question, groups, effect, money and verdict."""

from agent.experiment_report import ExperimentReport
from agent.experiment_words import (
    amount,
    interval,
    measure_name,
    money_sentence,
    ratio_sentence,
    verdict_sentence,
)
from agent.experiments import Experiment, Metric


def experiment_page(report: ExperimentReport, currency: str) -> str:
    """Write a report as Markdown beside its picture `<id>.png`.

    Args:
        report: as `report_experiment` gives it.
        currency: ISO 4217 code of all amounts.
    """
    experiment = report.experiment
    parts = [
        f"# Experiment {experiment.experiment_id}",
        f"**Verdict: {report.verdict.answer}.** {verdict_sentence(report, currency)}",
    ]
    if report.looks:
        parts.append(f"![The effect day by day, and the groups]({experiment.experiment_id}.png)")
    parts += ["## Question", _question(experiment), "## Groups", _groups(report, currency)]
    if report.ratio is not None:
        parts.append(ratio_sentence(report.ratio))
    if report.estimates:
        parts += ["## Effect", _effects(report, currency), _how_to_read(report)]
    parts += ["## Money", money_sentence(report, currency)]
    return "\n\n".join(parts) + "\n"


def _question(experiment: Experiment) -> str:
    what = (
        "raise what customers spend"
        if experiment.metric is Metric.SPEND
        else "make more customers buy at least once"
    )
    offers = ", ".join(f"`{offer}`" for offer in experiment.offers)
    said = (
        f"Does {offers} {what} over the {experiment.horizon_days} days from the day on which they "
        f"enter? About {experiment.covers}: {experiment.planned_customers:,} when it was written "
        f"on {experiment.written}. They enter from {experiment.starts} to {experiment.last_entry}, "
        f"{experiment.holdout_share:.0%} of them as the control group; the last horizon is over on "
        f"{experiment.ends}. The smallest effect worth finding was set at "
        f"{experiment.minimum_effect:.1%} of the control group's mean (power "
        f"{experiment.power:.0%}, alpha {experiment.alpha:g})."
    )
    if experiment.stopped is not None:
        said += f" It was stopped on {experiment.stopped}; only horizons over by then count."
    if experiment.starts < experiment.written:
        said += (
            f"\n\n**It was written after its start.** Nothing was withheld before "
            f"{experiment.written}, so horizons over by then compare two groups treated alike "
            "(A/A): an effect in them would be chance."
        )
    return said


def _groups(report: ExperimentReport, currency: str) -> str:
    metric, days = report.experiment.metric, report.experiment.horizon_days
    mean = "mean spend" if metric is Metric.SPEND else "share that bought"
    rows = [
        ("customers entered", [f"{each.entered:,}" for each in report.groups.values()]),
        ("with their horizon over", [f"{each.complete:,}" for each in report.groups.values()]),
        (
            f"{mean}, {days} days before entry",
            [_mean(each.before, metric, currency) for each in report.groups.values()],
        ),
        (
            f"{mean}, {days} days from entry",
            [_mean(each.after, metric, currency) for each in report.groups.values()],
        ),
    ]
    head = ["| | " + " | ".join(group.value for group in report.groups) + " |", "|---|---:|---:|"]
    return "\n".join(head + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows])


def _effects(report: ExperimentReport, currency: str) -> str:
    metric, level = report.experiment.metric, f"{1 - report.experiment.alpha:.0%}"
    lines = [
        f"| per customer, treatment less control | effect | {level}, at any time | "
        f"{level}, for one look |",
        "|---|---:|---:|---:|",
    ]
    for measure, found in report.estimates.items():
        name = measure_name(measure, metric)
        bold = "**" if measure is report.deciding else ""
        lines.append(
            f"| {bold}{name}{bold} | {amount(found.effect, metric, currency)} | "
            f"{interval(found.sequential, metric, currency)} | "
            f"{interval(found.fixed, metric, currency)} |"
        )
    return "\n".join(lines)


def _how_to_read(report: ExperimentReport) -> str:
    name = measure_name(report.deciding, report.experiment.metric)
    return (
        f"The verdict reads the line in bold ({name}) by its interval at any time, which stays "
        "right however often this page is made. The interval for one look is right only for "
        "somebody who looked once, on a day chosen before. Customers count by the group they were "
        "assigned to, whether or not they took an offer. Adjusting takes out of each customer's "
        "figure what the same customer's figure before the entry foretold."
    )


def _mean(found: tuple[float, float] | None, metric: Metric, currency: str) -> str:
    if found is None:
        return "-"
    return f"{found[0]:.1%}" if metric is Metric.RETURNED else amount(found[0], metric, currency)
