import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from agent.daily_spend import Values
from agent.experiment_outcomes import Outcomes
from agent.experiment_page import experiment_page
from agent.experiment_plot import plot_experiment
from agent.experiment_report import FEWEST, ExperimentReport, report_experiment
from agent.experiment_verdict import Answer, Measure, Reason, reach_verdict
from agent.experiments import Experiment, Group, Metric, assign, entry_moment
from agent.sample_ratio import check_sample_ratio
from agent.sequential_intervals import Difference, Interval
from tests.agent.experiment_shop import days_after, experiment


def outcomes(
    tested: Experiment,
    effect: float,
    *,
    customers: int = 400,
    noise: float = 100.0,
    entered: dict[Group, int] | None = None,
) -> Outcomes:
    """Customers who spend about $100, those in the treatment group `effect` cents more."""
    ids = sorted((f"c{n}" for n in range(customers)), key=lambda each: entry_moment(tested, each))
    control = np.array([assign(tested, each) is Group.CONTROL for each in ids])
    draws = np.random.default_rng(11)
    before = draws.normal(10_000, 3_000, customers)
    after = before + draws.normal(0, noise, customers) + np.where(control, 0.0, effect)
    if tested.metric is Metric.RETURNED:
        before = (draws.random(customers) < 0.5).astype(float)
        after = (draws.random(customers) < np.where(control, 0.5, 0.5 + effect)).astype(float)
    return Outcomes(
        day=tested.ends,
        customer_ids=tuple(ids),
        control=control,
        over=np.array([int(entry_moment(tested, each)) + tested.horizon_days for each in ids]),
        values=Values(after=after, before=before),
        entered=entered
        or {Group.TREATMENT: int((~control).sum()), Group.CONTROL: int(control.sum())},
    )


def page(report: ExperimentReport) -> str:
    return experiment_page(report, "USD")


def test_a_gain_ships_and_says_what_the_offers_may_cost() -> None:
    tested = experiment()
    report = report_experiment(tested, outcomes(tested, 500))
    assert (report.verdict.answer, report.verdict.reason) == (Answer.SHIPS, Reason.GAIN)
    assert report.deciding is Measure.ADJUSTED
    found = report.estimates[Measure.ADJUSTED]
    assert found.sequential.holds(500)
    assert found.standard_error < report.estimates[Measure.PLAIN].standard_error / 10
    text = page(report)
    assert "**Verdict: ships.** The effect is $5." in text
    assert "it ships only if they cost under $2." in text  # half of spend is margin
    assert "No claims were read" in text


def test_an_offer_that_costs_more_than_it_brings_does_not_ship() -> None:
    tested = experiment()
    read = outcomes(tested, 500)
    treated = [each for each in read.customer_ids if assign(tested, each) is Group.TREATMENT]
    costs = dict.fromkeys(treated, 400)  # half of $5 is the shop's; every claim costs $4
    report = report_experiment(tested, read, costs)
    net = report.estimates[Measure.NET]
    assert net.effect == pytest.approx(0.5 * report.estimates[Measure.ADJUSTED].effect - 400, abs=1)
    assert (report.verdict.answer, report.verdict.reason) == (Answer.DOES_NOT_SHIP, Reason.LOSS)
    text = page(report)
    assert f"{len(treated)} of {len(treated)} customers in the treatment group took" in text
    assert "counting 50% of spend" in text
    cheap = report_experiment(tested, read, dict.fromkeys(treated, 100))
    assert cheap.verdict.answer is Answer.SHIPS


def test_customers_count_by_assignment_not_by_what_they_took() -> None:
    tested = experiment()
    read = outcomes(tested, 500)
    control = [each for each in read.customer_ids if assign(tested, each) is Group.CONTROL]
    report = report_experiment(tested, read, dict.fromkeys(control[:10], 100))
    same = report_experiment(tested, read)
    assert report.groups[Group.CONTROL].complete == len(control)
    assert report.groups[Group.CONTROL].took == 10
    assert report.estimates[Measure.PLAIN] == same.estimates[Measure.PLAIN]
    assert f"So did 10 of {len(control)} in the control group" in page(report)


def test_no_effect_is_never_called_one() -> None:
    tested = experiment(minimum_effect=0.001)
    report = report_experiment(tested, outcomes(tested, 0, noise=2_000))
    assert report.estimates[Measure.ADJUSTED].sequential.holds(0)
    assert (report.verdict.answer, report.verdict.reason) == (Answer.NOT_YET_KNOWN, Reason.OPEN)
    text = page(report)
    assert "over without an answer" in text
    assert "ships" not in text
    assert "significant" not in text
    running = page(replace(report, day=days_after(25)))
    assert f"no answer yet; the last horizon is over on {tested.ends}" in running


def difference(fixed: tuple[float, float], sequential: tuple[float, float]) -> Difference:
    return Difference(
        treatment=500,
        control=500,
        treatment_mean=100.0,
        control_mean=100.0,
        effect=sum(fixed) / 2,
        standard_error=1.0,
        fixed=Interval(low=fixed[0], high=fixed[1]),
        sequential=Interval(low=sequential[0], high=sequential[1]),
    )


@pytest.mark.parametrize(
    ("fixed", "sequential", "sought", "answer"),
    [
        ((1, 5), (0.5, 5.5), 2, Answer.SHIPS),
        ((1, 5), (-0.5, 6.5), 2, Answer.NOT_YET_KNOWN),  # only for one look is it above 0
        ((-5, -1), (-6.5, 0.5), 2, Answer.DOES_NOT_SHIP),  # 2 is ruled out
        ((-5, -1), (-6.5, 0.5), 0.4, Answer.NOT_YET_KNOWN),
        ((-5, -1), (-5.5, -0.5), 2, Answer.DOES_NOT_SHIP),
    ],
)
def test_the_verdict_reads_the_interval_for_any_time(
    fixed: tuple[float, float], sequential: tuple[float, float], sought: float, answer: Answer
) -> None:
    found = difference(fixed, sequential)
    estimates = {Measure.PLAIN: found, Measure.ADJUSTED: found}
    ratio = check_sample_ratio(500, 500, 0.5)
    assert reach_verdict(ratio, estimates, sought).answer is answer
    wrong = check_sample_ratio(600, 400, 0.5)
    assert reach_verdict(wrong, estimates, sought).answer is Answer.DO_NOT_READ


def test_an_effect_of_the_size_sought_can_be_ruled_out() -> None:
    tested = experiment(minimum_effect=0.1)  # $10 of $100
    report = report_experiment(tested, outcomes(tested, 0))
    assert report.sought == pytest.approx(0.1 * report.estimates[Measure.PLAIN].control_mean)
    assert (report.verdict.answer, report.verdict.reason) == (Answer.DOES_NOT_SHIP, Reason.SMALL)
    assert "is ruled out" in page(report)


def test_groups_of_the_wrong_sizes_are_not_read() -> None:
    tested = experiment()
    wrong = {Group.TREATMENT: 250, Group.CONTROL: 150}
    report = report_experiment(tested, outcomes(tested, 5_000, entered=wrong))
    assert report.verdict.answer is Answer.DO_NOT_READ
    assert (report.estimates, report.looks, report.sought) == ({}, (), None)
    text = page(report)
    assert "The groups are not the sizes that were planned: do not read the effect." in text
    assert "## Effect" not in text
    assert "spring.png" not in text
    assert report.to_json()["ratio"]["mismatch"] is True


def test_too_few_customers_give_no_effect() -> None:
    tested = experiment()
    report = report_experiment(tested, outcomes(tested, 5_000, customers=80))
    fewest = min(each.complete for each in report.groups.values())
    assert fewest < FEWEST
    assert (report.verdict.answer, report.verdict.reason) == (
        Answer.NOT_YET_KNOWN,
        Reason.TOO_FEW,
    )
    assert f"The smaller group has {fewest} complete customers of at least {FEWEST}" in page(report)


def test_returning_is_read_in_points() -> None:
    tested = experiment(metric="returned")
    read = outcomes(tested, 0.3)
    report = report_experiment(tested, read, dict.fromkeys(read.customer_ids[:40], 100))
    assert report.verdict.answer is Answer.SHIPS
    assert report.deciding is Measure.ADJUSTED
    assert report.estimates[Measure.PLAIN].sequential.holds(0.3)
    text = page(report)
    assert "points" in text
    assert "for each customer who returned and would not have" in text


def test_looks_end_with_what_the_verdict_reads() -> None:
    tested = experiment()
    report = report_experiment(tested, outcomes(tested, 500))
    assert report.looks[-1].day == tested.ends
    assert report.looks[-1].difference == report.estimates[Measure.ADJUSTED]
    seen = [look.difference.treatment + look.difference.control for look in report.looks]
    assert seen == sorted(set(seen))
    assert all(min(x.difference.treatment, x.difference.control) >= FEWEST for x in report.looks)


def test_an_experiment_written_after_its_start_says_so() -> None:
    tested = experiment(written="2024-07-30", starts="2024-06-01")
    text = page(report_experiment(tested, outcomes(tested, 0)))
    assert "It was written after its start." in text
    assert "A/A" in text


@pytest.mark.parametrize("enrolment_days", [1, 10])
@pytest.mark.parametrize("metric", list(Metric))
def test_the_picture_is_a_png_with_ink(enrolment_days: int, metric: Metric) -> None:
    tested = experiment(enrolment_days=enrolment_days, metric=metric)
    report = report_experiment(tested, outcomes(tested, 0.3))
    picture = imread(io.BytesIO(plot_experiment(report, "USD")), format="png")
    assert picture.shape[0] > 500
    assert picture.shape[1] > 1_200
    assert picture[..., :3].std() > 0.05
