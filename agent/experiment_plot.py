"""The picture of an experiment: the effect as it came in, and the groups before and after."""

import io
from datetime import date
from typing import TYPE_CHECKING

from agent.experiment_report import ExperimentReport
from agent.experiment_words import measure_name
from agent.experiments import Group, Metric
from agent.sequential_intervals import fixed_factor
from retrieval.money import format_money

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _RED, _GREY, _INK = "#1f6f8b", "#d1495b", "#9aa5ad", "#2b3a42"
_COLOURS = {Group.TREATMENT: _BLUE, Group.CONTROL: _RED}


def plot_experiment(report: ExperimentReport, currency: str) -> bytes:
    """Draw a report as a PNG.

    Args:
        report: with at least one look.
        currency: ISO 4217 code of all amounts.
    """
    # matplotlib takes most of a second to import; only this needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), layout="constrained", facecolor="white")
    effect, means = figure.subplots(1, 2, width_ratios=[1.9, 1])
    _draw_effect(effect, report, currency)
    _draw_means(means, report, currency)
    figure.suptitle(
        f"Experiment {report.experiment.experiment_id}: {report.verdict.answer}",
        fontsize=14,
        fontweight="bold",
        color=_INK,
        x=0.01,
        ha="left",
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    return stream.getvalue()


def _draw_effect(axes: "Axes", report: ExperimentReport, currency: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    experiment, looks = report.experiment, report.looks
    level = f"{1 - experiment.alpha:.0%}"
    days = [look.day.toordinal() for look in looks]
    found = [look.difference for look in looks]
    # One look is a point with bars; a band through it would be invisible.
    if len(looks) == 1:
        _draw_single_look(axes, report, level)
    else:
        axes.fill_between(
            days,
            [each.sequential.low for each in found],
            [each.sequential.high for each in found],
            color=_BLUE,
            alpha=0.18,
            linewidth=0,
            label=f"{level} interval, right at every look",
        )
        for side in ("low", "high"):
            axes.plot(
                days,
                [getattr(each.fixed, side) for each in found],
                color=_BLUE,
                linewidth=1,
                linestyle=(0, (4, 3)),
                label=f"{level} interval, right for one look" if side == "low" else None,
            )
        axes.plot(days, [each.effect for each in found], color=_BLUE, linewidth=2.2, label="effect")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.axhline(0, color=_INK, linewidth=1, zorder=1)
    name = measure_name(report.deciding, experiment.metric)
    _style(axes, f"Treatment less control: {name}")
    spend = experiment.metric is Metric.SPEND
    axes.set_ylabel(f"{currency} per customer" if spend else "percentage points", color=_INK)
    axes.set_xlabel("customers whose horizon was over by this day", color=_INK)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda day, _: f"{date.fromordinal(int(day))}"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: _tick(value, experiment.metric, currency))
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, frameon=False, fontsize=9)


def _draw_single_look(axes: "Axes", report: ExperimentReport, level: str) -> None:
    day, found = report.looks[0].day.toordinal(), report.looks[0].difference
    for bounds, width, label in (
        (found.sequential, 6, f"{level} interval, right at every look"),
        (found.fixed, 2, f"{level} interval, right for one look"),
    ):
        axes.plot(
            [day, day],
            [bounds.low, bounds.high],
            color=_BLUE,
            alpha=0.3 if width > 2 else 1,
            linewidth=width,
            label=label,
        )
    axes.plot([day], [found.effect], "o", color=_BLUE, markersize=8, label="effect")
    axes.set_xlim(day - 1, day + 1)
    axes.set_xticks([day])


def _draw_means(axes: "Axes", report: ExperimentReport, currency: str) -> None:
    from matplotlib.ticker import FuncFormatter

    experiment = report.experiment
    reach = fixed_factor(experiment.alpha)
    for offset, (group, figures) in zip((-0.18, 0.18), report.groups.items(), strict=True):
        pairs = [pair for pair in (figures.before, figures.after) if pair is not None]
        places = [place + offset for place in range(len(pairs))]
        axes.errorbar(
            places,
            [mean for mean, _ in pairs],
            yerr=[reach * error for _, error in pairs],
            fmt="o",
            color=_COLOURS[group],
            markersize=8,
            capsize=5,
            linewidth=2,
            label=f"{group} ({figures.complete:,})",
        )
        for place, (mean, error) in zip(places, pairs, strict=True):
            axes.annotate(
                _tick(mean, experiment.metric, currency, share=True),
                (place, mean + reach * error),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=_COLOURS[group],
            )
    what = "Mean spend per customer" if experiment.metric is Metric.SPEND else "Share that bought"
    _style(axes, f"{what}, {1 - experiment.alpha:.0%} intervals")
    days = experiment.horizon_days
    axes.set_xticks([0, 1], [f"{days} days\nbefore entry", f"{days} days\nfrom entry"])
    axes.set_xlim(-0.6, 1.6)
    axes.margins(y=0.1)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: _tick(value, experiment.metric, currency, share=True))
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize=9)


def _style(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=11, loc="left", color=_INK)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(colors=_INK, labelsize=9)


def _tick(value: float, metric: Metric, currency: str, *, share: bool = False) -> str:
    if metric is Metric.SPEND:
        return format_money(round(value), currency)
    return f"{value:.1%}" if share else f"{100 * value:.1f}"
