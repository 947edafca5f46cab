"""Lists of items by system: Patron's, and each peer's with the settings that validate best."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.recommendation_data import LENGTH, TASKS, Window
from bench.recommendation_peers import Fit, Peer
from bench.report import Report
from finetune.indexing import SOURCES
from retrieval.arranging import arrange
from retrieval.assortment import Assortment
from retrieval.learning import fit_recommender
from retrieval.lines import Ints
from retrieval.progress import Progress
from retrieval.ranking_metrics import ndcg
from retrieval.recommender import Ranked, Recommender
from retrieval.sources import CandidateSource, strongest

Lists = Mapping[str, Ints]
"""Item rows by task: `[customers, 20]`, best first, -1 where a list is shorter."""

_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Candidates of all customers, scored, for one task."""

    ranked: Ranked
    starts: Ints

    def of(self, customer: int) -> Ranked:
        """One customer's candidates."""
        part = slice(self.starts[customer], self.starts[customer + 1])
        return Ranked(
            customer=self.ranked.customer[part],
            item=self.ranked.item[part],
            score=self.ranked.score[part],
            found_by=self.ranked.found_by[:, part],
        )

    def best(self, customers: int, length: int = LENGTH) -> Ints:
        """The highest scores of each customer, without the shop's rules."""
        lists = np.full((customers, length), -1, dtype=np.int64)
        for customer in range(customers):
            own = self.of(customer)
            items = own.item[np.lexsort((own.item, -own.score))][:length]
            lists[customer, : len(items)] = items
        return lists


def learn(window: Window, seed: int, progress: Progress) -> Recommender:
    """Patron's default recommender, as of the window's moment."""
    data = window.data
    return fit_recommender(
        window.past,
        data.table,
        data.vectors,
        window.cutoff,
        data.assortment.rules.sources,
        SOURCES,
        seed=seed,
        progress=progress,
    )


def ranked(recommender: Recommender, window: Window) -> dict[str, Found]:
    """Scored candidates of the window's customers by task."""
    found = {}
    for task in TASKS:
        scored = recommender.rank(window.baskets, new_only=task == "discovery")
        starts = np.searchsorted(scored.customer, np.arange(len(window.customers) + 1))
        found[task] = Found(ranked=scored, starts=starts)
    return found


def arranged(
    recommender: Recommender,
    window: Window,
    found: Mapping[str, Found],
    *,
    dial: float | None = None,
) -> Lists:
    """What customers would be shown, by the shop's rules; reasons are left out.

    Args:
        recommender: that ranked.
        window: whose customers.
        found: their candidates.
        dial: diversity; the shop's where None.
    """
    assortment = window.data.assortment
    if dial is not None:
        rules = assortment.rules.model_copy(update={"diversity": dial})
        assortment = Assortment(window.data.table, window.data.catalogue, rules)
    lists = {}
    for task, candidates in found.items():
        rows = np.full((len(window.customers), LENGTH), -1, dtype=np.int64)
        for customer in range(len(window.customers)):
            chosen = arrange(
                recommender,
                assortment,
                window.baskets.rows(customer, customer + 1),
                candidates.of(customer),
                assortment.sellable,
                LENGTH,
                new_only=task == "discovery",
            )
            rows[customer, : len(chosen)] = [candidate.item for candidate in chosen]
        lists[task] = rows
    return lists


def peer_lists(peer: Peer, validation: Window, test: Window, report: Report) -> Lists:
    """A peer's lists on the test window, for each task with the settings that validate best."""
    trials = {
        settings: source_lists(fit(validation.given), validation)
        for settings, fit in peer.trials.items()
        if len(peer.trials) > 1
    }
    chosen: dict[str, Fit] = {}
    for task in TASKS:
        quality = {
            settings: float(ndcg(lists[task], validation.truths(task), 10).mean())
            for settings, lists in trials.items()
        }
        best = max(quality, key=lambda settings: quality[settings]) if quality else ""
        chosen[task] = peer.trials[best]
        if quality:
            report.say(f"  {peer.name}, {task}: {best} (validation NDCG@10 {quality[best]:.4f})")
    fitted = {fit: source_lists(fit(test.given), test) for fit in set(chosen.values())}
    return {task: fitted[fit][task] for task, fit in chosen.items()}


def source_lists(source: CandidateSource, window: Window) -> Lists:
    """The items of a source's highest scores, by task."""
    parts: dict[str, list[Ints]] = {task: [] for task in TASKS}
    for start in range(0, len(window.customers), _CHUNK):
        chunk = window.baskets.rows(start, min(len(window.customers), start + _CHUNK))
        scores = source.scores(chunk)
        for task in TASKS:
            without = chunk if task == "discovery" else None
            parts[task].append(strongest(scores, LENGTH, without=without)[0])
    return {task: np.concatenate(rows) for task, rows in parts.items()}
