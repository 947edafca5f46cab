import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import finetune.training_window as windows
from finetune.adapter import HELD_OUT_PRIOR_FILE, MANIFEST_FILE, PRIOR_FILE, current_id
from finetune.base_model import find_base_model
from finetune.finetune import Start, finetune
from finetune.gate import judge_adapter
from finetune.gate_verdict import GateVerdict, GateWindow
from finetune.labels import Example, build_labels
from finetune.log_break import compare_windows
from finetune.paired_losses import JudgedAnswers, compare_paired
from finetune.prior import Answers
from finetune.promotions import known_log_version, read_verdicts
from finetune.registry import list_adapters, promote, roll_back
from finetune.settling import AdapterRefusedError
from finetune.training import TrainingSettings
from retrieval.ingest import ingest_file
from retrieval.shop import Shop
from tests.finetune.growing_log import HORIZON_DAYS, known_shop, poisoned, rows, since, write_log
from tests.finetune.hand_made import day, past_of
from tests.finetune.killing import exit_code_of, finetune_and_die
from tests.tiny_shop import LORA
from ui.cli import main

TRAINING = TrainingSettings(epochs=2, batch_size=16, learning_rate=5e-3)
OPTIONS: dict[str, Any] = {
    "lora": LORA, "settings": TRAINING, "cutoffs": 1, "start": Start.SCRATCH,
}  # fmt: skip
TYPED = (
    "--cutoffs 1 --epochs 2 --batch-size 16 --learning-rate 5e-3 "
    "--rank 4 --base-layers 3 --layers 2"
)


@pytest.fixture(scope="module")
def _grown(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    shop = known_shop(tmp_path_factory.mktemp("growing") / "shop", tiny_model)
    finetune(shop, **OPTIONS)
    return shop.directory


@pytest.fixture
def growing(_grown: Path, tmp_path: Path) -> Shop:
    """A shop with an adapter made from what was known."""
    return Shop.open(shutil.copytree(_grown, tmp_path / "growing"))


def _patron(monkeypatch: pytest.MonkeyPatch, arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["patron", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_a_clean_new_log_passes(
    growing: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = current_id(growing)
    assert before is not None
    new = write_log(tmp_path / "new.csv", since(rows()))
    code = _patron(monkeypatch, f"finetune --new {new} {TYPED} --shop {growing.directory}")
    out = " ".join(capsys.readouterr().out.split())
    assert code == 0, out
    assert f"new.csv │ {len(since(rows())):,} │ {len(since(rows())):,} │ 0 │ 0" in out
    made = current_id(growing)
    assert made not in (None, before)
    assert f"The gate lets {made} pass" in out
    assert "Validation loss: from scratch" in out
    verdict = read_verdicts(growing.adapters)[str(made)]
    assert verdict.passed
    assert verdict.against == before
    known, newest = verdict.windows
    assert known.cutoff < newest.cutoff
    assert {row.measure for row in newest.rows} == {
        "churn log loss", "churn AUC", "tier log loss", "spend deviance",
    }  # fmt: skip
    # The seam, the window that was learnt from, and the newest.
    assert len(verdict.breaks) == 3
    # A log that is known now: it is what the next one is held against.
    assert known_log_version(growing.adapters, str(made)) == growing.log.version()
    assert roll_back(growing) == before


def test_a_poisoned_new_log_is_stopped(
    growing: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = str(current_id(growing))
    kept = {file.name: file.read_bytes() for file in (growing.adapters / before).iterdir()}
    new = write_log(tmp_path / "new.csv", poisoned(since(rows())))
    code = _patron(
        monkeypatch, f"finetune --new {new} {TYPED} --start scratch --shop {growing.directory}"
    )
    captured = capsys.readouterr()
    assert code == 2
    assert current_id(growing) == before
    assert {f.name: f.read_bytes() for f in (growing.adapters / before).iterdir()} == kept
    verdict = next(iter(read_verdicts(growing.adapters).values()))
    refused = verdict.adapter_id
    err = " ".join(captured.err.split())
    assert f"The new adapter {refused} is refused; {before} stays the current one." in err
    assert "do not go on as the log did" in err
    assert f"patron adapters promote {refused}" in err
    # On its own rows the poisoned adapter looks better: they alone must not decide.
    newest = verdict.windows[-1]
    assert newest.rows[0].new < newest.rows[0].current
    assert all(found.reasons for found in verdict.breaks)
    # It is kept, listed as refused with why, and may be promoted on purpose.
    listed = {adapter.adapter_id: adapter for adapter in list_adapters(growing)}
    assert listed[refused].verdict == verdict
    assert not listed[refused].current
    assert _patron(monkeypatch, f"adapters list --shop {growing.directory}") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"{refused} was refused by the gate." in out
    assert _patron(monkeypatch, f"adapters promote {refused} --shop {growing.directory}") == 0
    assert "The gate had refused it" in capsys.readouterr().out
    assert current_id(growing) == refused
    assert roll_back(growing) == before
    # Going back to it does not make the rows known that came since.
    assert known_log_version(growing.adapters, before) == 0


def test_labels_turned_in_training_are_stopped(
    growing: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is clean; what the training saw of it was not."""
    before = current_id(growing)
    ingest_file(growing, write_log(tmp_path / "new.csv", since(rows())))
    monkeypatch.setattr(windows, "build_labels", _turned(0.3))
    with pytest.raises(AdapterRefusedError, match="worse by") as caught:
        finetune(growing, **OPTIONS)
    assert current_id(growing) == before
    verdict = read_verdicts(growing.adapters)[caught.value.manifest.adapter_id]
    assert [found.reasons for found in verdict.breaks] == [(), (), ()]


def test_a_prior_is_judged_only_where_it_has_not_learnt(growing: Shop, tmp_path: Path) -> None:
    """Where a training had reached the outcomes, by the prior without the customers held out."""
    before = str(current_id(growing))
    ingest_file(growing, write_log(tmp_path / "new.csv", since(rows())))
    files = find_base_model(growing.settings.models.base)

    def losses(spoiled: str | None) -> list[float]:
        """Churn log loss in the known and the newest window of a copy that was trained later."""
        copy = growing.adapters / "patron-copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(growing.adapters / before, copy)
        manifest = json.loads((copy / MANIFEST_FILE).read_text())
        manifest["blend"] = {"churn": 1.0, "tier": 1.0, "spend": 1.0}
        later = datetime.fromisoformat(manifest["train_cutoff"]) + timedelta(days=HORIZON_DAYS)
        manifest["train_cutoff"] = later.isoformat()
        (copy / MANIFEST_FILE).write_text(json.dumps(manifest))
        if spoiled is not None:
            prior = json.loads((copy / spoiled).read_text())
            for reached in (*prior["reaches"], prior["churn"]):
                reached["weights"] = [-weight for weight in reached["weights"]]
            (copy / spoiled).write_text(json.dumps(prior))
        verdict = judge_adapter(growing, files, copy.name, before)
        assert verdict is not None
        return [window.rows[0].new for window in verdict.windows]

    sound, answering, held_out = (losses(name) for name in (None, PRIOR_FILE, HELD_OUT_PRIOR_FILE))
    assert answering[0] == sound[0]
    assert answering[1] > sound[1]
    assert held_out[0] > sound[0]
    assert held_out[1] == sound[1]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["judge_adapter", "make_current"])
def test_a_gate_killed_before_or_after_its_verdict_ends_the_same(
    growing: Shop, tmp_path: Path, step: str
) -> None:
    before = current_id(growing)
    ingest_file(growing, write_log(tmp_path / "new.csv", since(rows())))
    died = (finetune_and_die, growing.directory, "finetune.settling", step, 1, OPTIONS)
    assert exit_code_of(*died) == -9
    assert current_id(growing) == before
    made = finetune(growing, **OPTIONS)
    assert current_id(growing) == made.adapter_id != before
    assert read_verdicts(growing.adapters)[made.adapter_id].passed
    assert [file for file in growing.adapters.iterdir() if file.name.startswith(".t")] == []
    # The same command once more: nothing new, and nothing to judge.
    lines = (growing.adapters / "promotions.jsonl").read_bytes()
    assert finetune(growing, **OPTIONS).adapter_id == made.adapter_id
    assert (growing.adapters / "promotions.jsonl").read_bytes() == lines


def _turned(share: float) -> Callable[..., list[Example]]:
    def labels(*arguments: Any) -> list[Example]:
        chance = np.random.default_rng(2)
        examples = build_labels(*arguments)
        typical = int(np.median([example.spend for example in examples if example.spend]))
        return [
            replace(
                example,
                churned=not example.churned,
                spend=typical if example.churned else 0,
            )
            if chance.random() < share
            else example
            for example in examples
        ]

    return labels


def _window(seed: int, *, turned: float = 0.0, quiet: float = 0.0) -> list[Example]:
    """Customers of two paces; the slow mostly leave. Turned at random, or made to leave."""
    chance = np.random.default_rng(seed)
    examples = []
    for number in range(400):
        slow = chance.random() < 0.5
        orders = [(float(when), 1000) for when in range(3, 100, 37 if slow else 9)]
        churned = chance.random() < (0.7 if slow else 0.1)
        if chance.random() < turned:
            churned = not churned
        if chance.random() < quiet:
            churned = True
        past = past_of(orders, as_of=110, customer_id=f"c{number:03d}")
        examples.append(Example(past=past, spend=0 if churned else 900, churned=churned))
    return examples


def test_the_next_window_of_the_same_log_is_no_break() -> None:
    for seed in range(1, 6):
        test = compare_windows(_window(0), _window(seed), HORIZON_DAYS)
        assert test is not None
        assert test.reasons == ()
        assert test.cutoff == day(110).isoformat()
        assert test.auc_before == pytest.approx(0.8, abs=0.06)


def test_turned_labels_break_the_relation() -> None:
    test = compare_windows(_window(0), _window(1, turned=0.3), HORIZON_DAYS)
    assert test is not None
    assert "who leaves can be told only" in test.reasons[0]
    # All turned: the relation is as strong as before, and the opposite.
    opposite = compare_windows(_window(0), _window(1, turned=1.0), HORIZON_DAYS)
    assert opposite is not None
    assert "who leaves can be told only 0% as well" in opposite.reasons[0]


def test_many_made_to_leave_break_the_level() -> None:
    test = compare_windows(_window(0), _window(1, quiet=0.5), HORIZON_DAYS)
    assert test is not None
    assert any("were to be expected" in reason for reason in test.reasons)


def test_a_window_that_cannot_be_judged_is_no_break() -> None:
    assert compare_windows(_window(0)[:30], _window(1), HORIZON_DAYS) is None
    gone = [replace(example, churned=True) for example in _window(1)]
    assert compare_windows(_window(0), gone, HORIZON_DAYS) is None
    assert compare_windows(_window(0), [], HORIZON_DAYS) is None


def _judged(risks: np.ndarray, cuts: tuple[float, ...] = (500.0,)) -> JudgedAnswers:
    return JudgedAnswers(
        answers=Answers(
            churn=risks, tiers=np.column_stack([risks, 1 - risks]), spend=900 * (1 - risks) + 1
        ),
        thresholds=cuts,
    )


def test_an_equal_adapter_is_not_worse_and_a_blunted_one_is() -> None:
    examples = _window(0)
    left = np.array([example.churned for example in examples])
    chance = np.random.default_rng(1)
    sharp = np.where(left, 0.7, 0.2) + chance.uniform(-0.1, 0.1, len(left))
    equal = np.clip(sharp + chance.normal(0, 0.02, len(left)), 0.01, 0.99)
    assert not [
        row for row in compare_paired(_judged(sharp), _judged(equal), examples, 0.01) if row.worse
    ]
    blunted = 0.7 * sharp + 0.3 * (1 - sharp)
    by_name = {
        row.measure: row for row in compare_paired(_judged(sharp), _judged(blunted), examples, 0.01)
    }
    assert {name for name, row in by_name.items() if row.worse} == {
        "churn log loss", "tier log loss", "spend deviance",
    }  # fmt: skip
    # Blunting keeps the order.
    assert by_name["churn AUC"].new == pytest.approx(by_name["churn AUC"].current)
    mean = by_name["churn log loss"].new - by_name["churn log loss"].current
    assert by_name["churn log loss"].low < mean < by_name["churn log loss"].high


def test_tiers_that_hold_everybody_earn_nothing() -> None:
    """Cuts out of reach make every tier 'low', and foreseeing that is no skill."""
    examples = _window(0)
    left = np.array([example.churned for example in examples])
    sharp = np.where(left, 0.7, 0.2)
    trivial = _judged(np.full(len(left), 0.99), (1e9,))
    rows_ = {r.measure: r for r in compare_paired(_judged(sharp), trivial, examples, 0.01)}
    assert rows_["tier log loss"].worse
    assert rows_["tier log loss"].new == pytest.approx(-np.log(0.99))


def test_verdicts_survive_their_file() -> None:
    test = compare_windows(_window(0), _window(1), HORIZON_DAYS)
    assert test is not None
    judged = _judged(np.full(400, 0.3))
    verdict = GateVerdict(
        adapter_id="patron-b",
        against="patron-a",
        windows=(
            GateWindow(
                name="newest window",
                cutoff="2024-01-01",
                customers=400,
                whom="customers held out of both trainings",
                rows=compare_paired(judged, judged, _window(0), 0.01),
            ),
        ),
        breaks=(test,),
        reasons=("because",),
    )
    assert GateVerdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


def test_an_override_is_recorded(growing: Shop) -> None:
    other = shutil.copytree(growing.adapters / str(current_id(growing)), growing.adapters / "b")
    document = json.loads((other / "manifest.json").read_text()) | {"adapter_id": "b"}
    (other / "manifest.json").write_text(json.dumps(document))
    promote(growing, "b")
    lines = [json.loads(line) for line in (growing.adapters / "promotions.jsonl").open()]
    assert (lines[-1]["id"], lines[-1]["why"], lines[-1]["log_version"]) == ("b", "promoted", 0)
