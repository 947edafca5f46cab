"""Offers over time: does looking ahead pay, judged off-policy and in a simulator fitted to the log?

    python -m bench.offers --only sequence

Complete Journey in 13 periods of 28 days. Customers are split in two halves. Policies, tiers, the
log's policy and the simulator come from one half and are judged on the other; then the halves
change places, so that every customer is judged once, by policies that never saw them. Returns are
margin less discounts and contacts over the last six periods, discounted by the shop's yearly rate,
from the states in which customers stood when these began. The simulator's fidelity is shown on the
second half and the last six periods, from a fit to the first half and the periods before.

What this cannot know: nobody drew by lot who was sent a campaign, so what looks like its effect may
be why it was sent; and each kind started in few periods of one year, so a kind cannot be told from
its season. Intervals are of 95 %, over customers; they do not hold these doubts. The simulator's
returns rest on the same effects, and its intervals take them as certain.
"""

from datetime import datetime

import numpy as np
from threadpoolctl import threadpool_limits

from bench.offers_report import OfferOptions, OfferReport
from bench.sequence_fidelity import SET, show_fidelity
from bench.sequence_plots import plot_returns
from bench.sequence_policies import (
    AS_LOGGED,
    NEVER,
    ONE_STEP,
    ONE_STEP_GREEDY,
    SEQUENTIAL,
    SEQUENTIAL_GREEDY,
    Half,
    Judged,
    Protocol,
    judge,
    together,
)
from bench.shops import open_bench_shops
from finetune.campaign_effects import AGAIN
from finetune.customer_paths import CustomerPaths, Economics, cut_into_periods
from finetune.customer_states import tier_cuts
from finetune.sampling_error import TWO_SIDED_95
from finetune.sequence_policy import SequenceEvaluation, deployable, write_evaluation
from retrieval.ranking_metrics import bootstrap
from retrieval.shop import Shop
from ui.journey_contacts import contacts
from ui.terminal import progress_bars

_PERIODS = 13
_FIRST = 3
_AHEAD = 6
_YEAR_DAYS = 365.25
# Complete Journey knows no costs of goods: a usual gross margin of grocers, and a letter.
_ECONOMICS = Economics(margin_share=0.25, contact_cost=50)
_LINEAR = "linear FQE"
_NETWORK = "network FQE"
_SIMULATED = "simulator"
_RETURN = "return, USD"
_MAJOR = 100


def measure(report: OfferReport, options: OfferOptions) -> None:
    """Measure, print, draw, and keep the decision with the benchmark's shop."""
    # Networks and tables are small: a second thread costs more than it does.
    with progress_bars() as progress, threadpool_limits(limits=1):
        bench = next(open_bench_shops(options.work, options.data, {"complete_journey"}, progress))
        shop = bench.shop
        start = datetime(2017, 1, 1, tzinfo=shop.zone)
        paths = cut_into_periods(shop.log, contacts(), start=start, periods=_PERIODS)
        shuffled = np.random.default_rng(options.seed).permutation(len(paths.customer_ids))
        parts = (paths.of(np.sort(shuffled[::2])), paths.of(np.sort(shuffled[1::2])))
        protocol = _protocol(shop, paths, options)
        _describe(report, paths)
        cuts = tier_cuts(parts[0], _FIRST, protocol.quantiles)
        show_fidelity(report, options, *parts, cuts=cuts, first=_PERIODS - _AHEAD)
        halves = []
        for number, (learnt, others) in enumerate((parts, parts[::-1])):
            progress("Offers over time", number, len(parts))
            halves.append(judge(learnt, others, protocol))
        progress("Offers over time", len(parts), len(parts))
    judged = together(halves)
    _show_effects(report, halves)
    _show_returns(report, options, halves, judged)
    observed = float(np.concatenate([half.observed for half in halves]).mean())
    _decide(report, shop, judged, observed)


def _protocol(shop: Shop, paths: CustomerPaths, options: OfferOptions) -> Protocol:
    value = shop.settings.value
    return Protocol(
        first=_FIRST,
        ahead=_AHEAD,
        discount=(1 + value.discount_rate) ** (-paths.period_days / _YEAR_DAYS),
        quantiles=value.quantiles,
        economics=_ECONOMICS,
        seeds=tuple(range(options.seed, options.seed + options.seeds)),
    )


def _describe(report: OfferReport, paths: CustomerPaths) -> None:
    report.say(
        f"{SET}: {len(paths.customer_ids)} customers, {_PERIODS} periods of {paths.period_days} "
        "days; customers sent a campaign, by the period in which it started:"
    )
    for number, kind in enumerate(paths.kinds, start=1):
        sent = (paths.action == number).sum(axis=0)
        report.say(f"  {kind}: {' '.join(str(count) for count in sent)}")
        report.row(SET, kind, "periods in which it started", float((sent > 0).sum()))
        report.row(SET, kind, "customers sent it, periods together", float(sent.sum()))


def _show_effects(report: OfferReport, halves: list[Half]) -> None:
    """What the two simulators take campaigns to change."""
    table: dict[str, dict[str, float | None]] = {}
    for number, half in enumerate(halves, start=1):
        for effect in half.effects:
            table.setdefault(effect.name, {}).update(
                {
                    f"half {number}: found": effect.estimate,
                    f"half {number}: error": effect.error,
                    f"half {number}: simulated": effect.shrunk,
                }
            )
    report.table(f"{SET}: change of the logarithm of a period's spend", table)
    again = [effect for half in halves for effect in half.effects if effect.name == AGAIN]
    told = all(abs(effect.estimate) > TWO_SIDED_95 * effect.error for effect in again)
    report.verdict(
        f"{SET}, campaign effects",
        "Fatigue, the change when another campaign came recently: "
        + " and ".join(f"{effect.estimate:+.3f} (error {effect.error:.3f})" for effect in again)
        + (" in the two halves." if told else " in the two halves: not to be told from none."),
    )
    for name, figures in table.items():
        for metric, figure in figures.items():
            if figure is not None:
                report.row(f"{SET}, campaign effects", name, metric, figure)


def _show_returns(
    report: OfferReport,
    options: OfferOptions,
    halves: list[Half],
    judged: dict[str, Judged],
) -> None:
    observed = bootstrap(
        np.concatenate([half.observed for half in halves]) / _MAJOR, seed=options.seed
    )
    report.say(
        f"  Really observed over these periods: {observed[0]:.2f} USD a customer "
        f"({observed[1]:.2f} to {observed[2]:.2f})"
    )
    report.row(SET, "observed", _RETURN, *observed)
    shown: dict[str, dict[str, float | None]] = {}
    intervals: dict[str, dict[str, tuple[float, float, float]]] = {_LINEAR: {}, _SIMULATED: {}}
    for name, each in judged.items():
        low, high = each.linear.interval
        linear = _in_major((each.linear.value, low, high))
        simulated = bootstrap(each.simulated / _MAJOR, seed=options.seed)
        intervals[_LINEAR][name], intervals[_SIMULATED][name] = linear, simulated
        plain: dict[str, float | None] = {
            _NETWORK: each.network / _MAJOR if each.network is not None else None,
            "offered": each.offered,
            "supported": each.supported,
            "effective steps": each.effective_steps,
            "effective paths": each.effective_paths,
        }
        report.row(SET, name, f"{_RETURN}, {_LINEAR}", *linear)
        report.row(SET, name, f"{_RETURN}, {_SIMULATED}", *simulated)
        for metric, figure in plain.items():
            if figure is not None:
                report.row(SET, name, metric, figure)
        shown[name] = {_LINEAR: linear[0], _SIMULATED: simulated[0], **plain}
    report.table(f"{SET}: a customer's return over {_AHEAD} periods, USD", shown)
    _show_gains(report, options, judged)
    plot_returns(intervals, f"USD a customer over {_AHEAD} periods", options.plots / "sequence.png")


def _show_gains(report: OfferReport, options: OfferOptions, judged: dict[str, Judged]) -> None:
    """Every policy over the one-step policy, greedy over greedy, paired by customer."""
    shown: dict[str, dict[str, float | None]] = {}
    drawn: dict[str, dict[str, tuple[float, float, float]]] = {_LINEAR: {}, _SIMULATED: {}}
    pairs = [(name, ONE_STEP) for name in judged if name != ONE_STEP]
    for name, other in (*pairs, (SEQUENTIAL_GREEDY, ONE_STEP_GREEDY)):
        each, peer = judged[name], judged[other]
        gains = {
            _LINEAR: _in_major(each.linear.gain_over(peer.linear)),
            _SIMULATED: bootstrap((each.simulated - peer.simulated) / _MAJOR, seed=options.seed),
        }
        figures = shown.setdefault(f"{name} over {other}", {})
        for how, (gain, low, high) in gains.items():
            report.difference(SET, f"{_RETURN}, {how}", name, other, gain, low, high)
            figures |= {how: gain, f"{how}, low": low, f"{how}, high": high}
            drawn[how][f"{name} over {other}"] = (gain, low, high)
    report.table(f"{SET}: gain in return, USD a customer", shown)
    unit = f"USD a customer over {_AHEAD} periods, gained"
    plot_returns(drawn, unit, options.plots / "sequence-gains.png")


def _decide(report: OfferReport, shop: Shop, judged: dict[str, Judged], observed: float) -> None:
    """Say in words, from the intervals, whether looking ahead may be deployed."""
    ours, peer, never = judged[SEQUENTIAL], judged[ONE_STEP], judged[NEVER]
    gain, low, high = found = ours.linear.gain_over(peer.linear)
    evaluation = SequenceEvaluation(
        policy=SEQUENTIAL,
        peer=ONE_STEP,
        customers=len(ours.simulated),
        periods=_AHEAD,
        gain=gain,
        low=low,
        high=high,
        effective_paths=min(ours.effective_paths, peer.effective_paths),
    )
    write_evaluation(shop, evaluation)
    decision = (
        "it may be deployed"
        if deployable(evaluation)
        else "that does not say better on enough paths: the one-step policy stays"
    )
    report.verdict(
        SET,
        f"Looking ahead earns {_spelled(_in_major(found))} a customer "
        f"over the one-step policy, {evaluation.effective_paths:.0f} effective paths; "
        f"{decision}.",
    )
    name = max(judged, key=lambda each: judged[each].linear.value)
    above = _in_major(judged[name].linear.gain_over(never.linear))
    apart = bootstrap((judged[name].simulated - never.simulated) / _MAJOR, seed=report.seed)
    report.verdict(
        SET,
        f"The highest estimate, seen after all, is of '{name}': {_spelled(above)} over offering "
        "nothing. In the simulator, where a campaign changes all customers alike, "
        f"{_spelled(apart)}. Whether campaigns pay some customers, or were sent to those about to "
        "spend more, a log without a lot cannot say.",
    )
    logged = judged[AS_LOGGED].linear.value
    estimates = [each.linear.value for each in judged.values()]
    report.verdict(
        SET,
        f"For what the log itself did, evaluation foresees {logged / _MAJOR:.2f} USD where "
        f"{observed / _MAJOR:.2f} were observed, off by {(logged - observed) / _MAJOR:+.2f}; all "
        f"policies lie within {(max(estimates) - min(estimates)) / _MAJOR:.2f} of each other.",
    )
    report.verdict(
        SET,
        f"Of {len(ours.simulated)} paths over {_AHEAD} periods, weights leave "
        f"{ours.effective_paths:.0f} for looking ahead, {never.effective_paths:.0f} for offering "
        f"nothing and {judged[AS_LOGGED].effective_paths:.0f} for the log's own policy: returns "
        "rest on the model of Q, not on paths that were really followed.",
    )


def _in_major(figures: tuple[float, float, float]) -> tuple[float, float, float]:
    value, low, high = figures
    return value / _MAJOR, low / _MAJOR, high / _MAJOR


def _spelled(figures: tuple[float, float, float]) -> str:
    gain, low, high = figures
    return f"{gain:+.2f} USD ({low:+.2f} to {high:+.2f})"
