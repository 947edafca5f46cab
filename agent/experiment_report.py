"""What an experiment has shown so far: groups, effect, money and verdict."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from agent.cuped import adjusted
from agent.daily_spend import Values
from agent.experiment_outcomes import Outcomes
from agent.experiment_verdict import Measure, Verdict, reach_verdict
from agent.experiments import Experiment, Group, Metric
from agent.sample_ratio import SampleRatio, check_sample_ratio
from agent.sequential_intervals import Difference, Floats, difference_of_means

# Of each group; under so few, intervals that rest on the central limit theorem are no guide.
FEWEST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The deciding difference as it stood at the beginning of a day."""

    day: date
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """One group's customers whose horizon is over.

    Attributes:
        entered: customers who have entered, those without an outcome yet among them.
        complete: customers whose horizon is over.
        before: the metric's mean over the horizon before entry, with its standard error; None where
            there are fewer than two customers.
        after: over the horizon after it, likewise.
        took: customers who took an offer under test; None where that is not known.
        cost: of what they took, minor units; None likewise.
    """

    entered: int
    complete: int
    before: tuple[float, float] | None
    after: tuple[float, float] | None
    took: int | None
    cost: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReport:
    """An experiment at the beginning of a day. Money is in minor units.

    Attributes:
        ratio: whether the groups have the sizes that were planned; None before anybody entered.
        groups: figures by group.
        estimates: differences by measure, the deciding one last; empty while too few are complete
            and where the groups are not the sizes that were planned.
        looks: the deciding difference day by day; empty likewise.
        sought: the smallest effect worth finding, in the metric's unit; None while unknown.
    """

    experiment: Experiment
    day: date
    ratio: SampleRatio | None
    groups: Mapping[Group, GroupFigures]
    estimates: Mapping[Measure, Difference]
    looks: tuple[Look, ...]
    sought: float | None
    verdict: Verdict

    @property
    def deciding(self) -> Measure:
        """The measure that the verdict reads."""
        return list(self.estimates)[-1]

    @property
    def complete(self) -> int:
        """Customers of both groups whose horizon is over."""
        return sum(figures.complete for figures in self.groups.values())

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts."""
        experiment = self.experiment
        return {
            "experiment_id": experiment.experiment_id,
            "metric": experiment.metric.value,
            "day": self.day.isoformat(),
            "ends": experiment.ends.isoformat(),
            "verdict": self.verdict.answer.value,
            "reason": self.verdict.reason.value,
            "deciding": self.deciding.value if self.estimates else None,
            "sought": self.sought,
            "ratio": None
            if self.ratio is None
            else asdict(self.ratio) | {"mismatch": self.ratio.mismatch},
            "groups": {group.value: asdict(figures) for group, figures in self.groups.items()},
            "estimates": {
                measure.value: asdict(difference) for measure, difference in self.estimates.items()
            },
        }


def report_experiment(
    experiment: Experiment,
    outcomes: Outcomes,
    claim_costs: Mapping[str, int] | None = None,
) -> ExperimentReport:
    """Compare the groups as they were assigned.

    Args:
        experiment: which.
        outcomes: as `read_outcomes` gives them.
        claim_costs: cost of the claims of offers under test within the customer's horizon, by
            customer, minor units; a customer who took none is absent. None where it is not known.
    """
    entered = outcomes.entered
    ratio = (
        check_sample_ratio(
            entered[Group.TREATMENT], entered[Group.CONTROL], experiment.holdout_share
        )
        if sum(entered.values())
        else None
    )
    # Groups of the wrong sizes differ by more than the offers; their difference is never shown.
    readable = ratio is not None and not ratio.mismatch
    estimates = _estimates(experiment, outcomes, claim_costs) if readable else {}
    plain = estimates.get(Measure.PLAIN)
    sought = None if plain is None else experiment.minimum_effect * plain.control_mean
    return ExperimentReport(
        experiment=experiment,
        day=outcomes.day,
        ratio=ratio,
        groups={group: _figures(group, outcomes, claim_costs) for group in Group},
        estimates=estimates,
        looks=_looks(experiment, outcomes, claim_costs) if estimates else (),
        sought=sought,
        verdict=reach_verdict(ratio, estimates, sought),
    )


def _estimates(
    experiment: Experiment, outcomes: Outcomes, claim_costs: Mapping[str, int] | None
) -> dict[Measure, Difference]:
    values = _by_measure(experiment, outcomes, claim_costs)
    return {
        measure: difference
        for measure, each in values.items()
        if (difference := _compare(experiment, outcomes, each)) is not None
    }


def _by_measure(
    experiment: Experiment, outcomes: Outcomes, claim_costs: Mapping[str, int] | None
) -> dict[Measure, Floats]:
    """A value of each customer by measure, the deciding measure last."""
    after, before = outcomes.values.after, outcomes.values.before
    if not len(after):
        return {}
    values = {Measure.PLAIN: after, Measure.ADJUSTED: adjusted(after, before)}
    if experiment.metric is Metric.SPEND and claim_costs is not None:
        costs = np.array([claim_costs.get(each, 0) for each in outcomes.customer_ids], np.float64)
        values[Measure.NET] = adjusted(experiment.margin * after - costs, before)
    return values


def _compare(experiment: Experiment, outcomes: Outcomes, values: Floats) -> Difference | None:
    """The difference of the groups; None while either has too few customers."""
    treatment, control = values[~outcomes.control], values[outcomes.control]
    if min(len(treatment), len(control)) < FEWEST:
        return None
    return difference_of_means(
        treatment, control, alpha=experiment.alpha, planned=experiment.planned_customers
    )


def _looks(
    experiment: Experiment, outcomes: Outcomes, claim_costs: Mapping[str, int] | None
) -> tuple[Look, ...]:
    found = []
    for passed in np.unique(outcomes.over):
        so_far = _up_to(outcomes, int(np.searchsorted(outcomes.over, passed, side="right")))
        estimates = _estimates(experiment, so_far, claim_costs)
        if estimates:
            day = experiment.starts + timedelta(days=int(passed))
            found.append(Look(day=day, difference=list(estimates.values())[-1]))
    return tuple(found)


def _up_to(outcomes: Outcomes, count: int) -> Outcomes:
    """The outcomes of the first customers alone."""
    return Outcomes(
        day=outcomes.day,
        customer_ids=outcomes.customer_ids[:count],
        control=outcomes.control[:count],
        over=outcomes.over[:count],
        values=Values(after=outcomes.values.after[:count], before=outcomes.values.before[:count]),
        entered=outcomes.entered,
    )


def _figures(
    group: Group, outcomes: Outcomes, claim_costs: Mapping[str, int] | None
) -> GroupFigures:
    members = outcomes.control if group is Group.CONTROL else ~outcomes.control
    ids = [each for each, within in zip(outcomes.customer_ids, members, strict=True) if within]
    taken = (
        None if claim_costs is None else [claim_costs[each] for each in ids if each in claim_costs]
    )
    return GroupFigures(
        entered=outcomes.entered[group],
        complete=len(ids),
        before=_mean(outcomes.values.before[members]),
        after=_mean(outcomes.values.after[members]),
        took=None if taken is None else len(taken),
        cost=None if taken is None else sum(taken),
    )


def _mean(values: Floats) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
