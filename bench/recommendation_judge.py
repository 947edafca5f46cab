"""What the language model's own judgement adds to the ranking, in quality and in milliseconds.

Judged on baskets, where most is bought. Both sides are the same lists, the ranker's twenty best
items a customer; one is reordered by the ranker's log-odds plus the model's logit. The weight is
chosen on the validation window. Logits are kept by history and title, so that a stopped run goes
on.
"""

import argparse
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.recommendation_compare import metrics_of
from bench.recommendation_data import ShopData, Window, window
from bench.recommendation_lists import Found, arranged, ranked
from bench.report import Report
from finetune.base_model import find_base_model, token_counter
from finetune.item_judge import ItemJudge
from prompts.library import load_prompt
from retrieval.arranging import combine_judgement
from retrieval.history import render_history
from retrieval.lines import Ints
from retrieval.orders import read_pasts
from retrieval.progress import Progress
from retrieval.recommender import Recommender

_WEIGHTS = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
_TASK = "basket"
_METRICS = ("ndcg@10", "mrr@10")


def compare_judge(
    tuned: Recommender,
    recommender: Recommender,
    data: ShopData,
    arguments: argparse.Namespace,
    report: Report,
    progress: Progress,
) -> None:
    """The ranker alone, with the language model, and the language model alone.

    Args:
        tuned: learnt as of the validation window, where the weight is chosen.
        recommender: learnt as of the test window.
        data: the shop.
        arguments: of the command line; `lm_customers` drawn at random are asked about.
        report: takes the figures.
        progress: told of every customer.
    """
    most, seed = arguments.lm_customers, arguments.seed
    validation = window(data, data.validation_cutoff, most // 2, seed)
    test = window(data, data.test_cutoff, most, seed)
    judge = _KeptJudge(arguments.work / "judge.db", data, progress)
    weight = _chosen_weight(tuned, validation, judge, report)
    base, scores = _plain(recommender, test)
    logits = judge.of_window(test, base)
    lists = {
        "ranker": base,
        "ranker with lm": _reordered(base, scores, logits, weight),
        "lm alone": _reordered(base, scores, logits, np.inf),
    }
    found = {system: metrics_of(test, _TASK, rows) for system, rows in lists.items()}
    figures = {}
    for system, metrics in found.items():
        for metric in _METRICS:
            report.add_row(data.name, "basket, lm", system, metric, metrics[metric])
        figures[system] = {metric: float(metrics[metric].mean()) for metric in _METRICS}
    for metric in _METRICS:
        gains = found["ranker with lm"][metric] - found["ranker"][metric]
        report.add_difference(data.name, "basket, lm", metric, "ranker with lm", "ranker", gains)
    report.table(f"{data.name}, basket, test, {len(test.customers)} customers: the lm", figures)


def _chosen_weight(
    tuned: Recommender, validation: Window, judge: "_KeptJudge", report: Report
) -> float:
    """The weight of the model's logit that validates best; of equals the smallest."""
    base, scores = _plain(tuned, validation)
    logits = judge.of_window(validation, base)
    quality = {}
    for weight in _WEIGHTS:
        lists = _reordered(base, scores, logits, weight)
        quality[weight] = float(metrics_of(validation, _TASK, lists)["ndcg@10"].mean())
    chosen = max(_WEIGHTS, key=lambda weight: (quality[weight], -weight))
    figures = ", ".join(f"{weight}: {value:.4f}" for weight, value in quality.items())
    report.say(f"  lm weight, validation NDCG@10: {figures}; {chosen} is chosen")
    return chosen


def _plain(recommender: Recommender, window: Window) -> tuple[Ints, NDArray[np.float64]]:
    """The ranker's lists without the diversity dial, and their scores."""
    found = ranked(recommender, window)[_TASK]
    lists = arranged(recommender, window, {_TASK: found}, dial=0.0)[_TASK]
    return lists, _scores_of(found, lists)


def _scores_of(found: Found, lists: Ints) -> NDArray[np.float64]:
    scores = np.zeros(lists.shape)
    for customer, items in enumerate(lists):
        own = found.of(customer)
        place = np.searchsorted(own.item, np.maximum(items, 0))
        place = np.minimum(place, max(0, len(own.item) - 1))
        scores[customer] = np.where(own.item[place] == items, own.score[place], 0.0)
    return scores


def _reordered(
    lists: Ints, scores: NDArray[np.float64], logits: NDArray[np.float64], weight: float
) -> Ints:
    again = lists.copy()
    for customer, items in enumerate(lists):
        count = int((items >= 0).sum())
        judged = logits[customer, :count]
        combined = (
            judged
            if np.isinf(weight)
            else combine_judgement(scores[customer, :count], judged, weight)
        )
        again[customer, :count] = items[:count][np.argsort(-combined, kind="stable")]
    return again


class _KeptJudge:
    """The judge of the shop's base model, remembering what it was asked."""

    def __init__(self, file: Path, data: ShopData, progress: Progress) -> None:
        self._settings = data.shop.settings
        files = find_base_model(self._settings.models.base, progress)
        self._count_tokens = token_counter(files)
        self._judge = ItemJudge.load(files)
        self._salt = f"{files.sha256}:{load_prompt('judge').sha256}"
        self._progress = progress
        self._store = sqlite3.connect(file)
        self._store.execute("CREATE TABLE IF NOT EXISTS logits (key TEXT PRIMARY KEY, logit REAL)")

    def of_window(self, window: Window, lists: Ints) -> NDArray[np.float64]:
        """Logits of every list's items: `[customers, 20]`."""
        data = window.data
        logits = np.zeros(lists.shape)
        histories = self._histories(window)
        for customer, number in enumerate(window.customers):
            rows = lists[customer][lists[customer] >= 0]
            titles = [data.assortment.item(row).title for row in rows]
            history = histories[data.lines.customer_ids[number]]
            logits[customer, : len(rows)] = self._logits(history, titles)
            self._progress(f"Judging {data.name}", customer + 1, len(window.customers))
        return logits

    def _histories(self, window: Window) -> dict[str, str]:
        data = window.data
        ids = [data.lines.customer_ids[number] for number in window.customers]
        return {
            past.customer_id: render_history(
                past,
                settings=self._settings,
                catalogue=data.catalogue,
                count_tokens=self._count_tokens,
            ).text
            for past in read_pasts(data.shop.log, window.cutoff, ids)
        }

    def _logits(self, history: str, titles: Sequence[str]) -> NDArray[np.float64]:
        keys = [
            hashlib.sha256(f"{self._salt}\0{history}\0{title}".encode()).hexdigest()
            for title in titles
        ]
        marks = ",".join("?" * len(keys))
        known = dict(
            self._store.execute(f"SELECT key, logit FROM logits WHERE key IN ({marks})", keys)
        )
        missing = [index for index, key in enumerate(keys) if key not in known]
        if missing:
            fresh = self._judge.judge(history, [titles[index] for index in missing])
            pairs = [(keys[i], float(logit)) for i, logit in zip(missing, fresh, strict=True)]
            self._store.executemany("INSERT OR REPLACE INTO logits VALUES (?, ?)", pairs)
            self._store.commit()
            known |= dict(pairs)
        return np.array([known[key] for key in keys])
