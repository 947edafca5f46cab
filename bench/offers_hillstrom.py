"""Hillstrom's e-mails: whom does each move, whom to send which, and is one for all as good.

A coin decided who was sent a men's, a women's or no e-mail, so effects are known without
assumptions. Random halves are learnt from, the others judged on; within a split Patron chooses in
the training half alone. But which learner stands first (`INCUMBENT`), the candidates and the rule
of choice were settled on other splits of the same customers, test halves looked at, so its Qini is
flattered by an unknown amount; see EXPERIMENTS.md.

Qini and AUUC are those of `finetune.uplift_measures`. Intervals are of 95 % over customers, with
what was learnt taken as given; a customer who is tested in several splits counts as one. Profit is
margin * spend - cost of the message, both assumed (`--margin`, `--message-cents`).
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import numpy as np

from bench.offers_hillstrom_choice import MEAN, OURS
from bench.offers_hillstrom_data import ARMS, OUTCOMES, Trial, read_trial
from bench.offers_hillstrom_plots import plot_qini_curves
from bench.offers_hillstrom_policy import Price
from bench.offers_hillstrom_split import PERSONAL, SINGLE, Split, measure_split
from bench.offers_hillstrom_systems import candidates
from bench.offers_over_splits import gain_over_splits, over_splits
from bench.offers_report import OfferOptions, OfferReport
from finetune.base_model import PACKAGED, find_base_model
from finetune.sampling_error import TWO_SIDED_95
from finetune.uplift_embedding import embed_histories
from finetune.uplift_learners import ConstantEffect
from ui.terminal import progress_bars

_WORKERS = 2
_POLICY_SET = "hillstrom policy"
_CLAIMED = ("women", "visit")
# A thousand for all would take an hour; what is claimed has them.
_DRAWS = {(arm, outcome): 100 for arm in ARMS[1:] for outcome in OUTCOMES} | {_CLAIMED: 1_000}


def measure(report: OfferReport, options: OfferOptions) -> None:
    """Measure, and add to the report."""
    price = Price(margin=options.margin, message_cents=options.message_cents)
    trial = read_trial(options.data / "hillstrom.csv")
    report.say(
        f"Hillstrom: {len(trial.actions):,} customers, {options.seeds} random halves; profit = "
        f"{price.margin:g} * spend - {price.message_cents} cents a message, both assumed"
    )
    splits = _splits(trial, options, price)
    _average_effects(trial, report)
    curves, peers = {}, {}
    for arm in ARMS[1:]:
        for outcome in OUTCOMES:
            set_ = f"hillstrom {arm}/{outcome}"
            peers[set_] = _ranking(set_, (arm, outcome), splits, report)
            curves[set_] = {
                name: np.mean([split.ranked[arm, outcome][name].curve for split in splits], axis=0)
                for name in splits[0].ranked[arm, outcome]
            }
    visits = [set_ for set_ in curves if set_.endswith("/visit")]
    plot_qini_curves(
        {set_: curves[set_] for set_ in visits}, peers, options.plots / "offers-hillstrom-qini.png"
    )
    _policies(splits, len(trial.actions), report)


def _splits(trial: Trial, options: OfferOptions, price: Price) -> list[Split]:
    """Every split, in the order of its seed."""
    seeds = range(options.seed, options.seed + options.seeds)
    with progress_bars() as progress:
        embeddings = embed_histories(
            find_base_model(PACKAGED, progress),
            trial.histories,
            cache=options.work / "embeddings",
            progress=progress,
        )
        step = "Hillstrom's random halves"
        progress(step, 0, len(seeds))
        # Spawned: a forked child would inherit torch's threads and hang.
        with ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn")) as pool:
            running = {
                pool.submit(measure_split, trial, embeddings, seed, _DRAWS, price): seed
                for seed in seeds
            }
            found = {}
            for done in as_completed(running):
                found[running[done]] = done.result()
                progress(step, len(found), len(seeds))
    return [found[seed] for seed in seeds]


def _average_effects(trial: Trial, report: OfferReport) -> None:
    """What each e-mail changes on average, over all customers."""
    for arm in ARMS[1:]:
        inside = np.isin(trial.actions, (0, ARMS.index(arm)))
        for outcome in OUTCOMES:
            learner = ConstantEffect().fit(
                trial.features[inside],
                trial.actions[inside] > 0,
                trial.outcomes[outcome][inside],
                None,
            )
            margin = TWO_SIDED_95 * learner.standard_error
            low, high = learner.average - margin, learner.average + margin
            set_ = f"hillstrom {arm}/{outcome}"
            report.row(set_, "one_for_all", "average_effect", learner.average, low, high)
            report.say(f"  {set_}: average effect {learner.average:.4f} [{low:.4f}, {high:.4f}]")


def _ranking(
    set_: str, key: tuple[str, str], splits: Sequence[Split], report: OfferReport
) -> list[str]:
    """Figures, differences and verdict of one e-mail and outcome; peers, the best first."""
    by_split = [split.ranked[key] for split in splits]
    names = list(by_split[0])
    qini = {name: float(np.mean([found[name].qini for found in by_split])) for name in names}
    draws = {
        name: np.mean([found[name].qini_draws for found in by_split], axis=0) for name in names
    }
    figures: dict[str, dict[str, float | None]] = {}
    order = sorted(names, key=lambda name: qini[name], reverse=True)
    for name in order:
        area = float(np.mean([found[name].auuc for found in by_split]))
        areas = np.mean([found[name].auuc_draws for found in by_split], axis=0)
        low, high = _middle(draws[name])
        report.row(set_, name, "qini", qini[name], low, high)
        report.row(set_, name, "auuc", area, *_middle(areas))
        figures[name] = {"qini": qini[name], "low": low, "high": high, "auuc": area}
    report.table(f"{set_}, mean over splits, the best first", figures)
    ours = {*candidates(binary=key[1] != "spend"), MEAN, OURS}
    peers = [name for name in order if name not in ours]
    for peer in peers:
        gain = qini[OURS] - qini[peer]
        report.difference(set_, "qini", OURS, peer, gain, *_middle(draws[OURS] - draws[peer]))
    report.say(f"  chosen: {', '.join(split.chosen[key] for split in splits)}")
    best = peers[0]
    low, high = _middle(draws[OURS] - draws[best])
    report.verdict(set_, _ranking_verdict(qini[OURS], best, qini[best], low, high))
    if key == _CLAIMED:
        report.claim(
            f"{set_}: patron's Qini {qini[OURS]:.4f} is at or above the best peer's "
            f"({best}, {qini[best]:.4f})",
            qini[OURS] >= qini[best],
        )
    return peers


def _ranking_verdict(ours: float, peer: str, theirs: float, low: float, high: float) -> str:
    where = "at or above" if ours >= theirs else "below"
    sure = "no difference is shown" if low <= 0 <= high else "the difference is beyond chance"
    return (
        f"patron's Qini {ours:.4f} is {where} the best peer's ({peer}, {theirs:.4f}): "
        f"{ours - theirs:+.4f} [{low:+.4f}, {high:+.4f}], {sure}."
    )


def _policies(splits: Sequence[Split], count: int, report: OfferReport) -> None:
    """What every policy earns on the halves it was not learnt from."""
    tested = [split.tested for split in splits]
    figures: dict[str, dict[str, float | None]] = {}
    for name in splits[0].judged:
        judged = [split.judged[name] for split in splits]
        messages = float(np.mean([found.messages for found in judged]))
        size = float(np.mean([found.profit.effective_sample_size for found in judged]))
        report.row(_POLICY_SET, name, "messages_per_customer", messages)
        report.row(_POLICY_SET, name, "effective_sample_size", size)
        figures[name] = {}
        for metric in ("spend_ips", "spend_snips", "spend_dr"):
            estimator = metric.removeprefix("spend_")
            spends = [found.spend[estimator] for found in judged]
            value, low, high = over_splits(spends, tested, count)
            report.row(_POLICY_SET, name, metric, value, low, high)
            figures[name][metric] = value
        value, low, high = over_splits([found.profit for found in judged], tested, count)
        report.row(_POLICY_SET, name, "profit_dr", value, low, high)
        figures[name] |= {"profit_dr": value, "low": low, "high": high}
        figures[name] |= {"messages": messages, "ESS": size}
    best_first = sorted(figures, key=lambda name: figures[name]["profit_dr"] or 0.0, reverse=True)
    report.table(
        f"{_POLICY_SET}, dollars per customer, mean over splits; the interval is of profit_dr",
        {name: figures[name] for name in best_first},
    )
    _compare_policies(splits, count, report)


def _compare_policies(splits: Sequence[Split], count: int, report: OfferReport) -> None:
    """Patron, and the best choice by customer, beside every other policy; and the verdict."""
    tested = [split.tested for split in splits]
    for system in (OURS, PERSONAL):
        ours = [split.judged[system] for split in splits]
        for peer in splits[0].judged:
            if peer in (OURS, PERSONAL):
                continue
            theirs = [split.judged[peer] for split in splits]
            pairs = {
                f"spend_{name}": (
                    [found.spend[name] for found in ours],
                    [found.spend[name] for found in theirs],
                )
                for name in ours[0].spend
            }
            pairs["profit_dr"] = (
                [found.profit for found in ours],
                [found.profit for found in theirs],
            )
            for metric, (first, second) in pairs.items():
                gains = gain_over_splits(first, second, tested, count)
                report.difference(_POLICY_SET, metric, system, peer, *gains)
    adopted = sum(split.choice.pays for split in splits)
    report.say(
        f"  the training halves chose, for everybody: "
        f"{', '.join(split.choice.single for split in splits)}; by customer: "
        f"{', '.join(split.choice.personal for split in splits)}; by customer was surely better, "
        f"on the part that did not choose the learner, in {adopted} of {len(splits)}"
    )
    gain, low, high = gain_over_splits(
        [split.judged[PERSONAL].profit for split in splits],
        [split.judged[SINGLE].profit for split in splits],
        tested,
        count,
    )
    single = in_words([split.choice.single for split in splits])
    report.verdict(_POLICY_SET, policy_verdict(gain, low, high, single))


def in_words(singles: Sequence[str]) -> str:
    """The one action that most training halves found best for all, and how many did."""
    found = Counter(singles).most_common(1)[0]
    name = "no e-mail" if found[0] == "none" else f"the {found[0]}'s e-mail"
    return f"{name} to all (best in {found[1]} of {len(singles)} training halves)"


def policy_verdict(gain: float, low: float, high: float, single: str) -> str:
    """In words, whether choosing by customer pays over one for all; dollars per customer."""
    figures = f"{gain:+.3f} dollars of profit per customer [{low:+.3f}, {high:+.3f}]"
    if low > 0:
        return f"Choosing by customer earns more than {single}: {figures}."
    if high < 0:
        return f"A single offer for everyone is better: {single}. Choosing by customer: {figures}."
    return (
        f"A single offer for everyone is as good: {single}. Choosing by customer: {figures}, which "
        "includes 0."
    )


def _middle(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)
