"""What the language model's own judgement adds to the ranking, in quality and in milliseconds.

Judged on baskets, where most is bought. Both sides are the same lists, the ranker's twenty best
items a customer; one is reordered by the ranker's log-odds plus the model's logit. The weight is
chosen on the validation window. Logits are kept by history and title, so that a stopped run goes
on.
"""

import argparse
import hashlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.recommendation_compare import metrics_of
from bench.recommendation_data import Window
from bench.recommendation_lists import Found, Lists, arranged, ranked
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
_VALIDATION_CUSTOMERS = 300
_TASKS = ("basket",)


def judge_lists(
    tuned: Recommender,
    validation: Window,
    recommender: Recommender,
    test: Window,
    arguments: argparse.Namespace,
    report: Report,
    progress: Progress,
) -> dict[str, Lists]:
    """Lists of the ranker alone and of the ranker with the language model, on the test window."""
    judge = _KeptJudge(arguments.work / "judge.db", test, progress)
    weights = _chosen_weights(tuned, validation, judge, report)
    base, scores = _plain(recommender, test)
    started, before = time.perf_counter(), judge.asked
    logits = judge.of_window(test, base)
    asked = judge.asked - before
    if asked:
        report.speed[f"lm_ms_{test.data.name}"] = round(
            1000 * (time.perf_counter() - started) / asked, 1
        )
    with_lm = {
        task: _reordered(base[task], scores[task], logits[task], weights[task]) for task in _TASKS
    }
    alone = {task: _reordered(base[task], scores[task], logits[task], np.inf) for task in _TASKS}
    return {
        "patron, dial 0": base,
        "patron, dial 0, with lm": with_lm,
        "patron, dial 0, lm alone": alone,
    }


def _chosen_weights(
    tuned: Recommender, validation: Window, judge: "_KeptJudge", report: Report
) -> dict[str, float]:
    """The weight of the model's logit that validates best, by task."""
    few = validation.first(_VALIDATION_CUSTOMERS)
    base, scores = _plain(tuned, few)
    logits = judge.of_window(few, base)
    chosen = {}
    for task in _TASKS:
        quality = {}
        for weight in _WEIGHTS:
            lists = _reordered(base[task], scores[task], logits[task], weight)
            quality[weight] = float(metrics_of(few, task, lists)["ndcg@10"].mean())
        chosen[task] = max(_WEIGHTS, key=lambda weight: (quality[weight], -weight))
        figures = ", ".join(f"{weight}: {value:.4f}" for weight, value in quality.items())
        report.say(f"  lm weight, {task}, validation NDCG@10: {figures}; {chosen[task]} is chosen")
    return chosen


def _plain(
    recommender: Recommender, window: Window
) -> tuple[dict[str, Ints], dict[str, NDArray[np.float64]]]:
    """The ranker's lists without the diversity dial, and their scores."""
    found = {task: ranked(recommender, window)[task] for task in _TASKS}
    lists = dict(arranged(recommender, window, found, dial=0.0))
    return lists, {task: _scores_of(found[task], lists[task]) for task in _TASKS}


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

    def __init__(self, file: Path, window: Window, progress: Progress) -> None:
        self._settings = window.data.shop.settings
        files = find_base_model(self._settings.models.base, progress)
        self._count_tokens = token_counter(files)
        self._judge = ItemJudge.load(files)
        self._salt = f"{files.sha256}:{load_prompt('judge').sha256}"
        self._progress = progress
        self._store = sqlite3.connect(file)
        self._store.execute("CREATE TABLE IF NOT EXISTS logits (key TEXT PRIMARY KEY, logit REAL)")
        self.asked = 0

    def of_window(
        self, window: Window, lists: Mapping[str, Ints]
    ) -> dict[str, NDArray[np.float64]]:
        """Logits of every list's items: `[customers, 20]` by task."""
        data = window.data
        logits = {task: np.zeros(rows.shape) for task, rows in lists.items()}
        histories = self._histories(window)
        for customer, number in enumerate(window.customers):
            rows = np.unique(np.concatenate([lists[task][customer] for task in lists]))
            rows = rows[rows >= 0]
            titles = [data.assortment.item(row).title for row in rows]
            found = self._logits(histories[data.lines.customer_ids[number]], titles)
            for task, by_customer in lists.items():
                place = np.searchsorted(rows, np.maximum(by_customer[customer], 0))
                logits[task][customer] = found[np.minimum(place, len(rows) - 1)]
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
            self.asked += 1
            fresh = self._judge.judge(history, [titles[index] for index in missing])
            pairs = [(keys[i], float(logit)) for i, logit in zip(missing, fresh, strict=True)]
            self._store.executemany("INSERT OR REPLACE INTO logits VALUES (?, ?)", pairs)
            self._store.commit()
            known |= dict(pairs)
        return np.array([known[key] for key in keys])
