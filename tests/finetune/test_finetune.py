import hashlib
import json
import re
import shutil
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from scipy.special import expit, logit

from finetune.adapter import (
    HELD_OUT_PRIOR_FILE,
    MANIFEST_FILE,
    PRIOR_FILE,
    WEIGHTS_FILE,
    Manifest,
    current_adapter,
    load_held_out_prior,
    load_prior,
    read_manifest,
)
from finetune.base_model import find_base_model
from finetune.errors import AdapterError, TrainingError
from finetune.finetune import Start, finetune
from finetune.held_out import place_of
from finetune.lora_predictor import LoraPredictor
from finetune.refresh import refresh
from finetune.settling import AdapterRefusedError
from finetune.slots import build_slots
from finetune.training_window import TrainingWindow, training_window
from retrieval.errors import ShopError
from retrieval.events import Event
from retrieval.ingest import append_event
from retrieval.money import format_money
from retrieval.progress import no_progress
from retrieval.shop import SETTINGS_FILE, Shop
from tests.finetune.hand_made import event_table
from tests.finetune.killing import exit_code_of, finetune_and_die, finetune_and_die_at
from tests.tiny_shop import CUSTOMERS, LORA, TRAINING, build_shop, settings

_FILES = {
    "adapter.safetensors",
    "loss.png",
    "manifest.json",
    "model_card.md",
    "prior.json",
    "prior_held_out.json",
}


@pytest.fixture(scope="module")
def _untrained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return build_shop(tmp_path_factory.mktemp("untrained") / "shop", tiny_model).directory


@pytest.fixture
def untrained(_untrained: Path, tmp_path: Path) -> Shop:
    """The tiny shop before anything was learnt."""
    return Shop.open(shutil.copytree(_untrained, tmp_path / "untrained"))


def _trained(shop: Shop, **options: Any) -> Manifest:
    """Fine-tune; what comes out, whatever the gate says of it."""
    try:
        return finetune(shop, **{"lora": LORA, "settings": TRAINING, **options})
    except AdapterRefusedError as refused:
        return refused.manifest


def _content(shop: Shop) -> dict[str, bytes]:
    """All files of the adapters but the record of promotions, which tells the time."""
    return {
        str(file.relative_to(shop.adapters)): file.read_bytes()
        for file in shop.adapters.rglob("*")
        if file.is_file() and file.name != "promotions.jsonl"
    }


def test_an_adapter_comes_with_all_that_explains_it(shop: Shop) -> None:
    folder = current_adapter(shop)
    assert {file.name for file in folder.iterdir()} == _FILES
    assert [file.name for file in shop.adapters.iterdir() if file.name.startswith(".")] == []
    manifest = read_manifest(folder)
    content = (folder / WEIGHTS_FILE).read_bytes() + (folder / PRIOR_FILE).read_bytes()
    weights = hashlib.sha256(content).hexdigest()
    assert manifest.adapter_id == folder.name == f"patron-{weights[:10]}"
    assert manifest.train_customers + manifest.validation_customers == CUSTOMERS
    assert manifest.validation_customers == sum(
        place_of(f"c{number:02d}", TRAINING.seed) < 0.2 for number in range(CUSTOMERS)
    )
    assert (manifest.churn_definition, manifest.horizon_days) == ("inactive", 60)
    assert manifest.train_cutoff == "2024-07-01T00:00:00+00:00"
    assert list(manifest.thresholds) == sorted(manifest.thresholds)
    assert 0 < manifest.base_rate < 1
    prior = load_prior(shop.adapters / manifest.adapter_id, manifest)
    assert prior is not None
    today = expit(logit(manifest.base_rate) + manifest.blend.churn * prior.churn_shift)
    assert manifest.at_risk_above == pytest.approx(min(0.9, 1.5 * today))
    assert manifest.training["epochs"] == TRAINING.epochs
    assert len(manifest.training["validation_losses"]) == TRAINING.epochs
    assert set(manifest.metrics) == {
        *("churn_auc", "pr_auc", "brier", "ece", "tier_f1", "spearman"),
    }


def test_the_loss_curve_is_a_picture(shop: Shop) -> None:
    content = (current_adapter(shop) / "loss.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (960, 540)
    assert content[-8:-4] == b"IEND"
    # An empty frame of that size takes a third of this.
    assert len(content) > 15_000


def test_the_model_card_says_it_in_plain_words(shop: Shop) -> None:
    manifest = read_manifest(current_adapter(shop))
    card = " ".join((current_adapter(shop) / "model_card.md").read_text().split())
    middle, high = (format_money(round(cut), "USD") for cut in manifest.thresholds)
    assert re.fullmatch(r"\$[\d,]+\.\d\d", middle)
    assert f"low: under {middle}; middle: from {middle}; high: from {high}." in card
    assert "**Leaving** means no purchase at all within 60 days." in card
    assert f'{manifest.train_customers} customers of the shop "Tiny shop"' in card
    assert f"on {manifest.validation_customers} other customers" in card
    assert "up to 2024-07-01" in card
    assert f"| churn AUC | {manifest.metrics['churn_auc']:.3f} |" in card
    assert manifest.adapter_id in card


def test_the_same_log_and_settings_give_the_same_adapter(untrained: Shop) -> None:
    first = finetune(untrained, lora=LORA, settings=TRAINING)
    content = _content(untrained)
    assert finetune(untrained, lora=LORA, settings=TRAINING) == first
    assert _content(untrained) == content
    other = _trained(untrained, settings=replace(TRAINING, seed=8))
    assert other.adapter_id != first.adapter_id
    # What was held out stays held out, whatever the seed of the training.
    assert other.training["split_seed"] == first.training["split_seed"] == TRAINING.seed


@pytest.fixture(scope="module")
def whole_run(_untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run leaves."""
    shop = Shop.open(shutil.copytree(_untrained, tmp_path_factory.mktemp("whole") / "shop"))
    finetune(shop, lora=LORA, settings=TRAINING)
    return _content(shop)


@pytest.mark.parametrize(
    ("module", "function", "number"),
    [
        ("finishing", "write_atomically", 1),  # before the adapter is written
        ("finetune", "plot_losses", 1),  # while it is being finished
        ("settling", "make_current", 1),  # between the adapter and the pointer to it
    ],
)
def test_a_finish_killed_at_any_step_ends_in_the_same_adapter(
    untrained: Shop, whole_run: dict[str, bytes], module: str, function: str, number: int
) -> None:
    step = (f"finetune.{module}", function, number)
    options = {"lora": LORA, "settings": TRAINING}
    assert exit_code_of(finetune_and_die, untrained.directory, *step, options) == -9
    finetune(untrained, lora=LORA, settings=TRAINING)
    assert _content(untrained) == whole_run


def test_a_training_killed_midway_ends_in_the_same_adapter(
    untrained: Shop, whole_run: dict[str, bytes]
) -> None:
    assert exit_code_of(finetune_and_die_at, untrained.directory, "Training", 4) == -9
    assert not (untrained.adapters / "current").exists()
    finetune(untrained, lora=LORA, settings=TRAINING)
    assert _content(untrained) == whole_run


def _buy(shop: Shop, customer_id: str, moment: datetime, amount: int = 2000) -> None:
    append_event(
        shop,
        Event(
            customer_id=customer_id,
            timestamp=moment,
            order_id=f"extra-{customer_id}-{moment:%m%d}",
            item_id="cake",
            amount=amount,
        ),
    )


def test_nothing_after_the_training_horizon_is_learnt(
    untrained: Shop, whole_run: dict[str, bytes]
) -> None:
    """The prior that answers is read on the level of the newest day; all else stays the same."""
    end = datetime(2024, 7, 1, tzinfo=UTC) + timedelta(days=60)
    for number in range(0, CUSTOMERS, 7):
        _buy(untrained, f"c{number:02d}", end + timedelta(days=number % 3))
    _buy(untrained, "newcomer", end)
    finetune(untrained, lora=LORA, settings=TRAINING)
    learnt, before = (_learnt(content) for content in (_content(untrained), whole_run))
    assert learnt == before


def _learnt(content: dict[str, bytes]) -> dict[str, Any]:
    """What of an adapter was learnt, by file, without the level of the day it was made."""
    found: dict[str, Any] = {Path(name).name: content[name] for name in content}
    prior = json.loads(found[PRIOR_FILE])
    part = prior["cross_shop"]
    for level in (prior, "churn_shift"), (prior, "neutral"), (part, "scale"), (part, "shift"):
        del level[0][level[1]]
    manifest = json.loads(found[MANIFEST_FILE])
    for name in ("adapter_id", "at_risk_above"):
        del manifest[name]
    del found["current"], found["model_card.md"]
    return found | {PRIOR_FILE: prior, MANIFEST_FILE: manifest}


def test_validation_customers_are_not_trained_on(untrained: Shop) -> None:
    """Another past of a validation customer changes nothing that is judged on them.

    The prior that answers learns from them in the end; another past of others changes all.
    """
    one = replace(TRAINING, epochs=1)
    # With all layers adapted the trunk is the embeddings, which no neighbour in a batch can
    # change by a rounding error.
    lora = replace(LORA, layers=4)
    options = {"lora": lora, "settings": one, "start": Start.SCRATCH}

    def contents() -> tuple[Manifest, tuple[bytes, ...]]:
        manifest = _trained(untrained, **options)
        folder = untrained.adapters / manifest.adapter_id
        names = (WEIGHTS_FILE, HELD_OUT_PRIOR_FILE, PRIOR_FILE)
        return manifest, tuple((folder / name).read_bytes() for name in names)

    before, (weights, held_out, prior) = contents()
    shares = {name: place_of(name, one.seed) for name in (f"c{n:02d}" for n in range(CUSTOMERS))}
    validation = min(shares, key=lambda name: shares[name])
    training = max(shares, key=lambda name: shares[name])
    _buy(untrained, validation, datetime(2024, 6, 30, tzinfo=UTC), 90_000)
    after, (weights_after, held_out_after, prior_after) = contents()
    assert (weights_after, held_out_after) == (weights, held_out)
    assert prior_after != prior
    assert after.training["validation_losses"] != before.training["validation_losses"]
    _buy(untrained, training, datetime(2024, 6, 30, tzinfo=UTC), 90_000)
    _, (weights_after, held_out_after, _) = contents()
    assert weights_after != weights
    assert held_out_after != held_out


def test_earlier_cutoffs_add_training_customers_only(untrained: Shop) -> None:
    files = find_base_model(untrained.settings.models.base)
    slots = build_slots(files, untrained.settings.value.tiers)

    def windows(count: int) -> TrainingWindow:
        return training_window(untrained, files, TRAINING.seed, count, no_progress)

    one, three = windows(1), windows(3)
    cutoff = datetime(2024, 7, 1, tzinfo=UTC)
    assert one.earlier == []
    assert [part[0].past.as_of for part in three.earlier] == [
        cutoff - timedelta(days=20),
        cutoff - timedelta(days=40),
    ]
    held_out = {
        name
        for name in (f"c{number:02d}" for number in range(CUSTOMERS))
        if place_of(name, TRAINING.seed) < 0.2
    }
    seen = {example.past.customer_id for part in three.earlier for example in part}
    assert seen == {f"c{number:02d}" for number in range(CUSTOMERS)} - held_out
    assert three.validation_examples(files, slots) == one.validation_examples(files, slots)
    newest = one.training_examples(files, slots)
    learnt = three.training_examples(files, slots)
    assert learnt[: len(newest)] == newest
    assert len(learnt) == 3 * len(newest)


def test_no_outcome_reaches_the_test_window(untrained: Shop) -> None:
    """Of everything that is learnt, histories and outcomes end with the training horizon."""
    files = find_base_model(untrained.settings.models.base)
    before = training_window(untrained, files, TRAINING.seed, 3, no_progress)
    end = before.split.train_cutoff + before.split.horizon
    for number in range(CUSTOMERS):
        _buy(untrained, f"c{number:02d}", end + timedelta(hours=number))
    after = training_window(untrained, files, TRAINING.seed, 3, no_progress)
    assert after.labelled() == before.labelled()
    assert after.thresholds == before.thresholds


def test_training_continues_from_the_current_adapter_or_not(untrained: Shop) -> None:
    first = finetune(untrained, lora=LORA, settings=TRAINING)
    assert (first.training["start"], first.training["origin"]) == ("scratch", None)
    one = replace(TRAINING, epochs=1)
    best = _trained(untrained, settings=one, cutoffs=1)
    losses = best.training["start_losses"]
    assert set(losses) == {"scratch", first.adapter_id}
    assert best.training["start"] == min(losses, key=lambda name: losses[name])
    assert min(best.training["validation_losses"]) == min(losses.values())
    # Two epochs went before: an epoch that begins from them ends elsewhere.
    assert len(set(losses.values())) == 2


def test_an_adapter_of_another_shape_is_not_continued_from(untrained: Shop) -> None:
    finetune(untrained, lora=LORA, settings=TRAINING, cutoffs=1)
    other = replace(LORA, rank=2)
    assert set(_trained(untrained, lora=other, cutoffs=1).training["start_losses"]) == {"scratch"}
    with pytest.raises(AdapterError, match="another shape"):
        finetune(untrained, lora=replace(LORA, rank=3), settings=TRAINING, start=Start.CURRENT)


def test_without_an_adapter_there_is_nothing_to_continue_from(untrained: Shop) -> None:
    with pytest.raises(AdapterError, match="no trained adapter yet"):
        finetune(untrained, lora=LORA, settings=TRAINING, start=Start.CURRENT)


def _shop_of(directory: Path, tiny_model: Path, rows: list[tuple[str, float, int, str]]) -> Shop:
    shop = Shop.create(directory, settings(tiny_model))
    shop.log.append(event_table(rows), source="by hand")
    return shop


def test_too_few_customers_are_counted(tmp_path: Path, tiny_model: Path) -> None:
    rows = [
        (f"c{number}", when, 1000, "purchase")
        for number in range(10)
        for when in ((10, 100, 190, 300) if number % 2 else (10, 100, 300))
    ]
    shop = _shop_of(tmp_path / "few", tiny_model, rows)
    with pytest.raises(TrainingError) as caught:
        finetune(shop, lora=LORA, settings=TRAINING)
    training = [f"c{n}" for n in range(10) if place_of(f"c{n}", TRAINING.seed) >= 0.2]
    churned = sum(int(name[1:]) % 2 == 0 for name in training)
    assert f"{len(training)} training customers, {churned} of whom churned" in str(caught.value)
    assert "at least 40 customers" in caught.value.hint
    assert not shop.adapters.exists()


@pytest.mark.parametrize(("holdout_day", "share"), [(100, "all"), (190, "none")])
def test_a_window_in_which_all_do_the_same_teaches_nothing(
    tmp_path: Path, tiny_model: Path, holdout_day: int, share: str
) -> None:
    rows = [
        (f"c{number}", when, 1000 + number, "purchase")
        for number in range(80)
        for when in (10 + number % 5, holdout_day + number % 5, 300)
    ]
    shop = _shop_of(tmp_path / "same", tiny_model, rows)
    with pytest.raises(TrainingError) as caught:
        finetune(shop, lora=LORA, settings=TRAINING)
    customers = sum(place_of(f"c{number}", TRAINING.seed) >= 0.2 for number in range(80))
    churned = customers if share == "all" else 0
    assert f"{customers} training customers, {churned} of whom churned" in str(caught.value)
    assert str(shop.directory / SETTINGS_FILE) in caught.value.hint


def test_an_empty_shop_says_to_ingest_first(tmp_path: Path, tiny_model: Path) -> None:
    shop = Shop.create(tmp_path / "empty", settings(tiny_model))
    with pytest.raises(ShopError, match="no purchases yet"):
        finetune(shop, lora=LORA, settings=TRAINING)


def test_one_training_at_a_time(untrained: Shop) -> None:
    with untrained.lock("finetune"), pytest.raises(ShopError, match="Another process"):
        finetune(Shop.open(untrained.directory), lora=LORA, settings=TRAINING)


def test_a_refresh_keeps_the_weights_and_ends_in_the_same_adapter(shop: Shop) -> None:
    folder = current_adapter(shop)
    content = {file.name: file.read_bytes() for file in folder.iterdir()}
    manifest = read_manifest(folder)
    assert refresh(shop) == manifest
    assert current_adapter(shop) == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == content
    assert [file.name for file in shop.adapters.iterdir() if file.name.startswith(".")] == []


def test_a_refresh_learns_the_prior_from_new_events(untrained: Shop) -> None:
    first = finetune(untrained, lora=LORA, settings=TRAINING)
    old = current_adapter(untrained)
    for number in range(1, CUSTOMERS, 3):
        append_event(
            untrained,
            Event(
                customer_id=f"c{number:02d}",
                timestamp=datetime(2024, 7, 20, tzinfo=UTC),
                order_id=f"new-{number}",
                item_id="milk",
                amount=50_000,
            ),
        )
    try:
        second = refresh(untrained)
    except AdapterRefusedError as refused:
        second = refused.manifest
    new = untrained.adapters / second.adapter_id
    assert second.adapter_id != first.adapter_id
    assert (new / WEIGHTS_FILE).read_bytes() == (old / WEIGHTS_FILE).read_bytes()
    assert (new / PRIOR_FILE).read_bytes() != (old / PRIOR_FILE).read_bytes()
    assert second.thresholds != first.thresholds


def test_an_adapter_without_a_prior_answers_by_its_model_alone(shop: Shop) -> None:
    files = find_base_model(shop.settings.models.base)
    folder = current_adapter(shop)
    document = json.loads((folder / MANIFEST_FILE).read_text())
    del document["blend"]
    (folder / MANIFEST_FILE).write_text(json.dumps(document))
    (folder / PRIOR_FILE).unlink()
    assert LoraPredictor.load(folder, files, shop.settings).prior is None


def test_an_adapter_is_judged_by_the_prior_that_never_saw_the_customers_held_out(
    shop: Shop,
) -> None:
    folder = current_adapter(shop)
    manifest = read_manifest(folder)
    judged = load_held_out_prior(folder, manifest)
    assert judged is not None
    assert judged.to_json().encode() == (folder / HELD_OUT_PRIOR_FILE).read_bytes()
    assert judged != load_prior(folder, manifest)
    (folder / HELD_OUT_PRIOR_FILE).write_text("{}")
    with pytest.raises(AdapterError, match=r"prior_held_out\.json cannot be used"):
        load_held_out_prior(folder, manifest)
    # As in adapters made before there were two.
    (folder / HELD_OUT_PRIOR_FILE).unlink()
    assert load_held_out_prior(folder, manifest) == load_prior(folder, manifest)


def test_a_damaged_prior_is_refused(shop: Shop) -> None:
    files = find_base_model(shop.settings.models.base)
    folder = current_adapter(shop)
    (folder / PRIOR_FILE).write_text("{}")
    with pytest.raises(AdapterError, match=r"prior\.json cannot be used"):
        LoraPredictor.load(folder, files, shop.settings)
