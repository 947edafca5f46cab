"""An experiment's findings in words and amounts, as page and terminal show them."""

from agent.experiment_report import FEWEST, ExperimentReport, GroupFigures
from agent.experiment_verdict import Measure, Reason
from agent.experiments import Group, Metric, Status
from agent.sample_ratio import MISMATCH_BELOW, SampleRatio
from agent.sequential_intervals import Difference, Interval
from retrieval.money import format_money


def verdict_sentence(report: ExperimentReport, currency: str) -> str:
    """What the verdict follows from, in words."""
    experiment, reason = report.experiment, report.verdict.reason
    if reason is Reason.MISMATCH:
        return (
            "The groups are not the sizes that were planned: do not read the effect. Something "
            "chose who is in them; find out what, and start anew."
        )
    status = experiment.status(report.day)
    over = status in (Status.ENDED, Status.STOPPED)
    if reason is Reason.TOO_FEW:
        fewest = min(figures.complete for figures in report.groups.values())
        wait = (
            "The experiment is over."
            if over
            else f"The first horizons are over {experiment.horizon_days} days after "
            f"{experiment.starts}, the last on {experiment.ends}."
        )
        return f"The smaller group has {fewest} complete customers of at least {FEWEST}. {wait}"
    effect = _spoken(report, report.deciding, currency)
    if reason is Reason.GAIN:
        return f"{effect}: the whole interval is above 0.{_unpriced(report, currency)}"
    if reason is Reason.LOSS:
        return f"{effect}: the whole interval is below 0."
    if reason is Reason.SMALL:
        sought = amount(report.sought or 0.0, experiment.metric, currency)
        return (
            f"{_spoken(report, Measure.ADJUSTED, currency)}. The effect sought "
            f"({experiment.minimum_effect:.1%} of the control group, {sought}) is ruled out."
        )
    return f"{effect}. The interval includes 0, so " + (
        "the experiment is over without an answer: it had too few customers for one."
        if over
        else f"there is no answer yet; the last horizon is over on {experiment.ends}."
    )


def ratio_sentence(ratio: SampleRatio) -> str:
    """Whether the groups have the sizes that were planned, in words."""
    total = ratio.treatment + ratio.control
    found = (
        f"{ratio.control / total:.1%} of {total:,} customers are in the control group; "
        f"{ratio.planned_share:.1%} were planned (chi-square p = {ratio.p_value:.3g}; valid at any "
        f"number of looks: p = {ratio.always_valid_p:.3g})."
    )
    if ratio.mismatch:
        return f"That is not chance (p under {MISMATCH_BELOW}). {found}"
    return (
        f"The groups are the sizes that were planned, within chance (p is not under "
        f"{MISMATCH_BELOW}). {found}"
    )


def money_sentence(report: ExperimentReport, currency: str) -> str:
    """What the offers cost and what they bring, in words."""
    treatment, control = report.groups[Group.TREATMENT], report.groups[Group.CONTROL]
    if treatment.took is None or treatment.cost is None:
        return "No claims were read, so the cost of the offers is in none of these figures."
    said = (
        f"{treatment.took:,} of {treatment.complete:,} customers in the treatment group took an "
        f"offer, for {format_money(treatment.cost, currency)} in all."
    )
    if control.took:
        said += (
            f" So did {control.took:,} of {control.complete:,} in the control group, who should "
            "not have had it; they stay in their group, which makes the effect look smaller."
        )
    net = report.estimates.get(Measure.NET)
    if net is not None:
        said += (
            f" Over all {treatment.complete:,} of the treatment group the net gain is "
            f"{_range(net, treatment.complete, report.experiment.metric, currency)}, counting "
            f"{report.experiment.margin:.0%} of spend as the shop's."
        )
    returned = report.estimates.get(Measure.ADJUSTED)
    if report.experiment.metric is Metric.RETURNED and returned is not None:
        said += _cost_of_one(treatment, returned, currency)
    return said


def measure_name(measure: Measure, metric: Metric) -> str:
    """What an estimate is of, in words."""
    what = "spend" if metric is Metric.SPEND else "share that returned"
    return {
        Measure.PLAIN: what,
        Measure.ADJUSTED: f"{what}, adjusted for the time before",
        Measure.NET: "net gain, adjusted for the time before",
    }[measure]


def amount(value: float, metric: Metric, currency: str) -> str:
    """A mean or a difference of a metric as people read it: $1.50, or 3.1 points."""
    if metric is Metric.RETURNED:
        return f"{100 * value:+.1f} points"
    return format_money(round(value), currency)


def interval(found: Interval, metric: Metric, currency: str) -> str:
    """An interval as people read it."""
    if metric is Metric.RETURNED:
        return f"{100 * found.low:+.1f} to {100 * found.high:+.1f} points"
    return f"{amount(found.low, metric, currency)} to {amount(found.high, metric, currency)}"


def _spoken(report: ExperimentReport, measure: Measure, currency: str) -> str:
    metric, found = report.experiment.metric, report.estimates[measure]
    subject = measure_name(measure, metric)
    where = f"per customer in {subject}" if metric is Metric.SPEND else f"in the {subject}"
    effect = amount(found.effect, metric, currency)
    return f"The effect is {effect} ({interval(found.sequential, metric, currency)}) {where}"


def _unpriced(report: ExperimentReport, currency: str) -> str:
    """Up to which cost a gain in spend is one, where the cost is not known."""
    if report.deciding is not Measure.ADJUSTED or report.experiment.metric is not Metric.SPEND:
        return ""
    least = report.estimates[Measure.ADJUSTED].sequential.low * report.experiment.margin
    return (
        " The cost of the offers is not in it: it ships only if they cost under "
        f"{format_money(int(least), currency)} a customer in the treatment group."
    )


def _range(found: Difference, times: int, metric: Metric, currency: str) -> str:
    low, high = found.sequential.low * times, found.sequential.high * times
    return (
        f"{amount(found.effect * times, metric, currency)} "
        f"({amount(low, metric, currency)} to {amount(high, metric, currency)})"
    )


def _cost_of_one(treatment: GroupFigures, found: Difference, currency: str) -> str:
    more = found.effect * treatment.complete
    if found.sequential.low <= 0 or treatment.cost is None:
        return " What one more returning customer costs is not known, as the interval includes 0."
    each = format_money(round(treatment.cost / more), currency)
    return f" That is {each} for each customer who returned and would not have."
