import json
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.sequence_policy import (
    SEQUENCE_POLICY_FILE,
    SequenceEvaluation,
    deployable,
    write_evaluation,
)
from retrieval.shop import Shop, ShopSettings

BETTER = SequenceEvaluation(
    policy="sequential",
    peer="one-step",
    customers=2_000,
    periods=6,
    gain=120.0,
    low=10.0,
    high=230.0,
    effective_paths=600.0,
)


def test_better_by_the_whole_interval_on_paths_that_were_taken_may_be_deployed() -> None:
    assert deployable(BETTER)


@pytest.mark.parametrize(
    "change",
    [{"low": 0.0}, {"low": -1.0}, {"low": -230.0, "gain": -120.0, "high": -10.0}],
    ids=["touches nothing gained", "holds nothing gained", "worse"],
)
def test_an_interval_that_does_not_say_better_may_not(change: dict[str, float]) -> None:
    assert not deployable(replace(BETTER, **change))


def test_better_by_a_guess_outside_the_log_may_not() -> None:
    assert not deployable(replace(BETTER, effective_paths=34.0))


def test_the_decision_is_kept_with_its_figures(tmp_path: Path) -> None:
    shop = Shop.create(tmp_path, ShopSettings())
    write_evaluation(shop, BETTER)
    document = json.loads((tmp_path / SEQUENCE_POLICY_FILE).read_text())
    assert document["deployable"] is True
    assert (document["low"], document["high"]) == (10.0, 230.0)
