"""Day one and few labels, on three made-up shops whose story is the same."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from bench import prediction_few_labels
from bench.prediction_day_one import (
    BG_NBD_TODAY,
    OURS,
    PEERS,
    Judged,
    add_share_of_in_shop,
    learn_cross_shop,
    leave_one_out,
)
from bench.prediction_few_labels import compare_few_labels, plot_few_labels
from bench.prediction_measures import System, Truth
from bench.prediction_peers import Task
from bench.report import Report
from bench.shops import BenchShop
from finetune.baselines import BaselineScores
from finetune.labels import build_labels, tier_of, tier_thresholds
from retrieval.progress import no_progress
from retrieval.shop import Shop, ShopSettings
from tests.finetune.hand_made import day, event_table

_TRAIN, _TEST, _HORIZON = 90, 150, 60


def _shop(folder: Path, name: str, seed: int, money: int) -> BenchShop:
    """Some buy until the end; some fall silent before one of the cut-offs and stay away."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(150):
        stops = random.choice([50, 110, 230], p=[0.25, 0.25, 0.5])
        gap = random.integers(5, 15)
        for when in range(int(random.integers(0, 20)), int(stops), int(gap)):
            if when == 0 or random.random() < 0.8:
                amount = int(random.integers(500, 1500)) * money
                rows.append((f"c{number}", float(when), amount, "purchase"))
    settings = ShopSettings.model_validate({"name": name, "churn": {"horizon_days": _HORIZON}})
    shop = Shop.create(folder / name, settings)
    shop.log.append(event_table(rows), source="by hand")
    return BenchShop(name=name, shop=shop, train_cutoff=day(_TRAIN), test_cutoff=day(_TEST))


def _judged(bench: BenchShop) -> Judged:
    """With in-shop peers who know nothing."""
    settings = bench.shop.settings

    def labelled(cutoff: datetime) -> list:
        return build_labels(bench.shop.log, cutoff, settings)

    train, test = labelled(bench.train_cutoff), labelled(bench.test_cutoff)
    thresholds = tier_thresholds([example.spend for example in train], settings)
    guess = BaselineScores(
        churn=np.random.default_rng(0).uniform(0.3, 0.7, len(test)),
        churn_is_probability=True,
        tiers=[0] * len(test),
        spend=np.linspace(0, 1, len(test)),
    )
    return Judged(
        bench=bench,
        truth=Truth(
            churned=np.array([example.churned for example in test]),
            spend=np.array([example.spend for example in test], dtype=np.float64),
            tiers=[tier_of(example.spend, thresholds) for example in test],
        ),
        task=Task(
            train=train,
            pasts=[example.past for example in test],
            thresholds=thresholds,
            churn=settings.churn,
            seed=7,
        ),
        systems=dict.fromkeys(PEERS, System(scores=guess, money=True)),
    )


def test_each_shop_is_foreseen_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shops = [
        _judged(_shop(tmp_path, name, seed, money))
        for seed, (name, money) in enumerate({"pence": 1, "cents": 3, "yen": 90}.items())
    ]
    monkeypatch.setattr(prediction_few_labels, "COUNTS", (16, 64))
    report = Report(seed=7)
    cross_shop = learn_cross_shop([judged.bench for judged in shops], no_progress)
    found = list(leave_one_out(shops, cross_shop, report))
    assert [left_out.judged.bench.name for left_out in found] == ["pence", "cents", "yen"]
    assert found[0].prior.shops == ("cents", "yen")
    assert set(found[0].systems) == {OURS, BG_NBD_TODAY, *PEERS}

    add_share_of_in_shop(found[0], report)
    assert report.rows[-1]["metric"] == "share_of_in_shop_auc"
    assert report.rows[-1]["value"] > 1.2

    curves = compare_few_labels(found[0], report, no_progress)
    rows = {(row["set"], row["system"], row["metric"]): row for row in report.rows}
    ours = rows["pence, 64 labels", "patron_few_labels", "churn_auc"]
    assert ours["low"] <= ours["value"] <= ours["high"]
    assert ours["value"] > 0.75
    assert curves["patron_few_labels"][1] == pytest.approx(ours["value"], abs=1e-5)
    assert len(curves["lightgbm_rfm"]) == 2
    gains = {(row["set"], row["peer"], row["metric"]): row for row in report.differences}
    few = gains["pence, 16 labels", "lightgbm_rfm", "churn_auc"]
    theirs = rows["pence, 16 labels", "lightgbm_rfm", "churn_auc"]["value"]
    mine = rows["pence, 16 labels", "patron_few_labels", "churn_auc"]["value"]
    assert few["gain"] == pytest.approx(mine - theirs, abs=2e-5)
    assert few["low"] <= few["gain"] <= few["high"]
    assert ("pence, 16 labels", "bg_nbd", "brier") not in gains

    file = tmp_path / "plots" / "few.png"
    plot_few_labels({"pence": curves}, file)
    assert file.read_bytes().startswith(b"\x89PNG")
