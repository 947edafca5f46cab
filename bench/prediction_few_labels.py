"""Few labels: 64, 256 or 1,024 customers of a shop whose outcome is known, five draws of each.

Patron starts from what the other shops teach and corrects it by these customers; LightGBM and
logistic regression learn from the same customers alone, with settings chosen on them by five-fold
log loss. BG/NBD needs no label. All answer about the shop's test customers.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.prediction_day_one import BG_NBD_TODAY, IN_SHOP, LeftOut, day_one_of
from bench.prediction_day_one import OURS as DAY_ONE
from bench.prediction_measures import gain, interval
from bench.report import Report
from finetune.baselines import rfm_features
from finetune.calibration import Floats
from finetune.few_labels import fit_few_labels
from finetune.metrics import auc_of_ranks
from finetune.shop_windows import label
from retrieval.outcomes import spend_between
from retrieval.progress import Progress

OURS = "patron_few_labels"
COUNTS = (64, 256, 1024)
_LABEL_DRAWS = 5
_CUSTOMER_DRAWS = 300
_FOLDS = 5
_STRENGTHS = (0.01, 0.1, 1.0, 10.0)
_TREES, _LEAVES, _LEAST = (25, 75, 150), (3, 7), (5, 20)
_WITHOUT_LABELS = ("bg_nbd", BG_NBD_TODAY, DAY_ONE)
_METRICS = ("churn_auc", "brier")

Curves = dict[str, list[float]]
"""Mean churn AUC by number of labels, by system."""


def compare_few_labels(left_out: LeftOut, report: Report, progress: Progress) -> Curves:
    """Add the figures of every number of labels, and print them."""
    bench, task, truth = left_out.judged.bench, left_out.judged.task, left_out.judged.truth
    horizon = task.churn.horizon_days
    learnable = [example.past for example in task.train]
    day_one = day_one_of(left_out.prior, bench, learnable)
    after = spend_between(
        bench.shop.log, bench.train_cutoff, bench.train_cutoff + timedelta(days=horizon)
    )
    asked = rfm_features(task.pasts, horizon)
    # One draw serves, for no label is drawn.
    unlabelled = {name: np.array([left_out.systems[name].scores.churn]) for name in _WITHOUT_LABELS}
    curves: Curves = {}
    random = np.random.default_rng(report.seed)
    draws = [random.permutation(len(learnable)) for _ in range(_LABEL_DRAWS)]
    for number, count in enumerate(COUNTS):
        progress(f"Few labels of {bench.name}", number, len(COUNTS))
        answers: dict[str, list[Floats]] = {OURS: [], "lightgbm_rfm": [], "logistic_rfm": []}
        for order in draws:
            pasts = [learnable[index] for index in order[:count]]
            window = label(pasts, after, horizon, day_one.scale, bench.name)
            churned = window.churned(task.churn.definition)
            few = fit_few_labels(day_one, window)
            answers[OURS].append(expit(few.churn_log_odds(left_out.day_one, left_out.described)))
            features = rfm_features(pasts, horizon)
            for name, grid in (("lightgbm_rfm", _boosted()), ("logistic_rfm", _logistic())):
                answers[name].append(_tuned(grid, features, churned, asked, report.seed))
        chances = {name: np.array(drawn) for name, drawn in answers.items()}
        found = _add(f"{bench.name}, {count} labels", truth.churned, chances, unlabelled, report)
        for name, value in found.items():
            curves.setdefault(name, []).append(value)
    progress(f"Few labels of {bench.name}", len(COUNTS), len(COUNTS))
    theirs = left_out.systems[IN_SHOP].scores.churn
    assert theirs is not None
    curves[f"{IN_SHOP}, all {len(learnable)} labels"] = [
        auc_of_ranks(truth.churned, rankdata(theirs))
    ] * len(COUNTS)
    return curves


def plot_few_labels(curves: Mapping[str, Curves], file: Path) -> None:
    """Draw churn AUC against the number of labels, a panel a set, as a PNG."""
    figure = Figure(figsize=(6 * len(curves), 5), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (set_, systems) in zip(panels, curves.items(), strict=True):
        for name, values in systems.items():
            learns = name in (OURS, "lightgbm_rfm", "logistic_rfm")
            axes.plot(
                COUNTS,
                values,
                "o-" if learns else "--",
                linewidth=2.2 if name.startswith("patron") else 1.1,
                markersize=4 if learns else 0,
                label=name,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes.set(title=set_, xlabel="labelled customers of the shop", ylabel="churn AUC, test")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def _add(
    set_: str,
    churned: NDArray[np.bool_],
    chances: Mapping[str, Floats],
    ranks: Mapping[str, Floats],
    report: Report,
) -> dict[str, float]:
    """Add rows and differences.

    Args:
        set_: their name.
        churned: the truth `[n]`.
        chances: of leaving, by system `[label draws, n]`.
        ranks: scores that need no label, likewise.
        report: where to.

    Returns:
        Churn AUC by system.
    """
    systems = {**chances, **ranks}
    everyone = np.arange(len(churned))
    random = np.random.default_rng(report.seed)
    samples = [random.integers(len(churned), size=len(churned)) for _ in range(_CUSTOMER_DRAWS)]

    def over_samples(metric: str, scores: Floats) -> tuple[float, Floats]:
        values = [_figure(metric, churned, scores, rows) for rows in (everyone, *samples)]
        return values[0], np.array(values[1:])

    shown = {}
    for metric in _METRICS:
        known = systems if metric == "churn_auc" else chances
        found = {name: over_samples(metric, scores) for name, scores in known.items()}
        for name, (value, drawn) in found.items():
            head = {"set": set_, "system": name, "metric": metric}
            report.rows.append(head | _rounded("value", value, drawn))
            shown.setdefault(name, dict.fromkeys(_METRICS))[metric] = value
        ours, ours_drawn = found[OURS]
        for name, (value, drawn) in found.items():
            if name != OURS:
                head = {"set": set_, "metric": metric, "system": OURS, "peer": name}
                figures = _rounded(
                    "gain", gain(metric, ours, value), gain(metric, ours_drawn, drawn)
                )
                report.differences.append(head | figures)
                shown[name][f"{metric}_gain_low"] = figures["low"]
    for values in shown.values():
        for metric in _METRICS:
            values.setdefault(f"{metric}_gain_low", None)
    report.table(f"{set_}, test; lower ends of {OURS}'s gains", shown)
    return {name: values["churn_auc"] for name, values in shown.items()}


def _figure(
    metric: str, churned: NDArray[np.bool_], scores: Floats, rows: NDArray[np.intp]
) -> float:
    """Mean over label draws."""
    truth = churned[rows]
    if metric == "brier":
        return float(np.mean((scores[:, rows] - truth) ** 2))
    return float(np.mean([auc_of_ranks(truth, rankdata(drawn[rows])) for drawn in scores]))


def _rounded(name: str, value: Any, drawn: Any) -> dict[str, float]:
    low, high = interval(drawn)
    return {
        key: round(float(figure), 5)
        for key, figure in ((name, value), ("low", low), ("high", high))
    }


def _tuned(
    grid: Sequence[Any],
    features: Floats,
    churned: NDArray[np.bool_],
    asked: Floats,
    seed: int,
) -> Floats:
    """Chances by the model of lowest five-fold log loss; by the share of leavers where few left."""
    rarer = int(min(churned.sum(), (~churned).sum()))
    if rarer == 0:
        return np.full(len(asked), (churned.sum() + 1) / (len(churned) + 2))
    folds = min(_FOLDS, rarer)
    chosen = grid[len(grid) // 2]
    if folds > 1:
        split = StratifiedKFold(folds, shuffle=True, random_state=seed)

        def loss(model: Any) -> float:
            chances = cross_val_predict(model, features, churned, cv=split, method="predict_proba")[
                :, 1
            ]
            return float(log_loss(churned, chances, labels=[False, True]))

        chosen = min(grid, key=loss)
    return np.asarray(chosen.fit(features, churned).predict_proba(asked)[:, 1])


def _logistic() -> list[Any]:
    return [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        for strength in _STRENGTHS
    ]


def _boosted() -> list[Any]:
    return [
        lightgbm.LGBMClassifier(
            n_estimators=trees,
            num_leaves=leaves,
            min_child_samples=least,
            learning_rate=0.05,
            random_state=0,
            deterministic=True,
            force_row_wise=True,
            n_jobs=1,
            verbose=-1,
        )
        for trees, leaves, least in product(_TREES, _LEAVES, _LEAST)
    ]
