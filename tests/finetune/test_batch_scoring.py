import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agent.agent import Agent
from finetune.adapter import current_adapter
from finetune.base_model import find_base_model, token_counter
from finetune.batch_scoring import PREDICTIONS_FILE, predictions_schema, score_shop
from finetune.errors import AdapterError
from finetune.lora_predictor import LoraPredictor
from finetune.scoring import score_all
from finetune.value import Stage
from retrieval.catalogue import Catalogue, Item
from retrieval.errors import ShopError, StorageError
from retrieval.events import Event, Kind
from retrieval.history import render_history
from retrieval.ingest import append_event
from retrieval.money import to_minor
from retrieval.orders import read_pasts
from retrieval.shop import Shop
from retrieval.time_split import present
from tests.finetune.killing import exit_code_of, score_and_die, score_and_die_at
from tests.tiny_shop import CUSTOMERS, settings

CHUNK = 16
CHUNKS = 4


def _rows(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


def _work(shop: Shop) -> list[Path]:
    return sorted(shop.directory.glob(".scoring-*"))


def test_every_customer_with_an_order_has_one_row(shop: Shop) -> None:
    for customer, kind, amount in (("only-returned", Kind.RETURN, -500), ("zed", "purchase", 500)):
        append_event(
            shop,
            Event(
                customer_id=customer,
                timestamp=datetime(2024, 12, 1, tzinfo=UTC),
                order_id=f"extra-{customer}",
                item_id="cake",
                amount=amount,
                kind=Kind(kind),
            ),
        )
    report = score_shop(shop, chunk_size=CHUNK)
    assert report.file == shop.directory / PREDICTIONS_FILE
    rows = _rows(report.file)
    ids = [row["customer_id"] for row in rows]
    assert ids == [*(f"c{number:02d}" for number in range(CUSTOMERS)), "zed"]
    assert (report.customers, report.continued) == (CUSTOMERS + 1, 0)
    manifest_id = current_adapter(shop).name
    for row in rows:
        shares = {tier: row[f"p_{tier}"] for tier in shop.settings.value.tiers}
        assert sum(shares.values()) == pytest.approx(1)
        assert row["value_tier"] == max(shares, key=lambda tier: shares[tier])
        assert 0 <= row["churn_risk"] <= 1
        assert (row["as_of"], row["adapter_id"]) == (present(shop), manifest_id)
        assert row["currency"] == "USD"
        assert row["stage"] in {stage.value for stage in Stage}


def test_the_report_counts_what_the_file_holds(shop: Shop) -> None:
    report = score_shop(shop, chunk_size=CHUNK)
    rows = _rows(report.file)
    for column, counts in (("value_tier", report.tiers), ("stage", report.stages)):
        assert sum(counts.values()) == len(rows) == CUSTOMERS
        for name, count in counts.items():
            assert sum(row[column] == name for row in rows) == count
    assert tuple(report.tiers) == shop.settings.value.tiers
    total = sum((row["expected_spend"] for row in rows), Decimal(0))
    assert report.expected_spend == to_minor(total, "USD") > 0
    assert report.expected_spend_low is not None
    assert report.expected_spend_high is not None
    assert 0 <= report.expected_spend_low < report.expected_spend < report.expected_spend_high
    assert {row["season"] for row in rows} == {report.season}
    document = report.to_json()
    assert document["expected_spend"] == float(total)
    assert document["expected_spend_high"] == report.expected_spend_high / 100
    assert document["season"].startswith("unknown: the log holds only 3")
    assert document["as_of"] == present(shop).isoformat()


@pytest.mark.parametrize(("currency", "digits"), [("USD", 2), ("JPY", 0), ("KWD", 3)])
def test_money_is_exact_with_the_digits_of_its_currency(currency: str, digits: int) -> None:
    schema = predictions_schema(("low", "high"), currency)
    for name in ("expected_spend", "expected_spend_low", "expected_spend_high", "ltv"):
        assert str(schema.field(name).type) == f"decimal128(18, {digits})"
    assert schema.names == [
        *("customer_id", "as_of", "adapter_id", "value_tier", "p_low", "p_high"),
        *("churn_risk", "expected_spend", "expected_spend_low", "expected_spend_high", "season"),
        *("ltv", "currency", "stage"),
    ]


def test_a_batch_says_what_the_agent_says_of_one(shop: Shop) -> None:
    agent = Agent.open(shop.directory)
    for row in _rows(score_shop(shop, chunk_size=CHUNK).file)[::5]:
        alone = agent.predict(str(row["customer_id"]))
        assert row["value_tier"] == alone.value_tier
        for tier, share in alone.tier_probabilities.items():
            assert row[f"p_{tier}"] == pytest.approx(share, abs=1e-4)
        assert row["churn_risk"] == pytest.approx(alone.churn_risk, abs=1e-4)
        for column in ("expected_spend", "expected_spend_low", "expected_spend_high", "ltv"):
            minor = to_minor(row[column], "USD")
            assert minor == pytest.approx(getattr(alone, column), rel=1e-4, abs=1)
        assert row["season"] == alone.season
        assert row["stage"] == alone.stage.value
        assert (row["as_of"], row["adapter_id"]) == (alone.as_of, alone.adapter_id)


def test_each_row_is_what_one_customer_scored_alone_gives(shop: Shop) -> None:
    files = find_base_model(shop.settings.models.base)
    predictor = LoraPredictor.load(current_adapter(shop), files, shop.settings)
    rows = {row["customer_id"]: row for row in _rows(score_shop(shop, chunk_size=7).file)}
    for past in read_pasts(shop.log, present(shop)):
        history = render_history(
            past,
            settings=shop.settings,
            catalogue=Catalogue.read(shop.items_file),
            count_tokens=token_counter(files),
        )
        (alone,) = score_all(predictor, [past], [history], shop.settings)
        row = rows.pop(past.customer_id)
        assert row["churn_risk"] == pytest.approx(alone.churn_risk, abs=1e-4)
        shares = [row[f"p_{tier}"] for tier in shop.settings.value.tiers]
        assert shares == pytest.approx(alone.tier_probabilities, abs=1e-4)
    assert rows == {}


def test_the_file_is_the_same_whatever_the_chunks(shop: Shop, tmp_path: Path) -> None:
    """But for the last digits, which depend on a customer's neighbours in a pass."""
    small, large = (
        _rows(score_shop(shop, tmp_path / f"{size}.parquet", chunk_size=size).file)
        for size in (1, 512)
    )
    assert [row["customer_id"] for row in small] == [row["customer_id"] for row in large]
    for one, other in zip(small, large, strict=True):
        assert one["churn_risk"] == pytest.approx(other["churn_risk"], abs=1e-4)


def test_a_finished_run_leaves_only_its_file(shop: Shop, tmp_path: Path) -> None:
    before = {file.name for file in shop.directory.iterdir()}
    out = tmp_path / "new folder" / "all.parquet"
    score_shop(shop, out, chunk_size=CHUNK)
    assert {file.name for file in shop.directory.iterdir()} - before <= {".score.lock"}
    assert [file.name for file in out.parent.iterdir()] == ["all.parquet"]


@pytest.fixture
def whole(shop: Shop, tmp_path: Path) -> bytes:
    """The file of an uninterrupted run in a copy of the shop."""
    copy = Shop.open(shutil.copytree(shop.directory, tmp_path / "copy"))
    return score_shop(copy, chunk_size=CHUNK).file.read_bytes()


def test_a_run_killed_between_chunks_continues(shop: Shop, whole: bytes) -> None:
    # The third chunk has begun: its first pass was reported.
    ended = exit_code_of(score_and_die_at, shop.directory, CHUNK, "Scoring customers", 3 * CHUNK)
    assert ended == -9
    assert not (shop.directory / PREDICTIONS_FILE).exists()
    (work,) = _work(shop)
    finished = {file.name: file.stat().st_mtime_ns for file in work.glob("part-*")}
    assert sorted(finished) == ["part-000000.parquet", "part-000001.parquet"]
    seen: list[int] = []
    report = score_shop(
        shop, chunk_size=CHUNK, progress=lambda step, done, total: seen.append(done)
    )
    assert report.continued == 2 * CHUNK
    # Two chunks that were there, then each pass of the others.
    assert seen[:2] == [16, 32]
    assert seen == sorted(seen)
    assert {48, 60} <= set(seen)
    assert seen[-1] == 60
    assert report.file.read_bytes() == whole
    assert _work(shop) == []


@pytest.mark.parametrize(
    ("function", "number"),
    [("write_atomically", 1), ("write_atomically", CHUNKS), ("_join", 1), ("_remove_work", 2)],
)
def test_a_run_killed_at_any_step_ends_in_the_same_file(
    shop: Shop, whole: bytes, function: str, number: int
) -> None:
    assert exit_code_of(score_and_die, shop.directory, CHUNK, function, number) == -9
    assert score_shop(shop, chunk_size=CHUNK).file.read_bytes() == whole
    assert _work(shop) == []


def _new_event(shop: Shop) -> None:
    event = Event(
        customer_id="c04",
        timestamp=present(shop) + timedelta(days=1),
        order_id="new",
        item_id="cake",
        amount=500,
    )
    append_event(shop, event)


def _new_title(shop: Shop) -> None:
    catalogue = Catalogue.read(shop.items_file)
    milk = Item(item_id="milk", title="Whole milk", category="Dairy", price=129)
    catalogue.merged([milk]).write(shop.items_file)


def _new_settings(shop: Shop) -> None:
    file = shop.directory / "shop.toml"
    file.write_text(file.read_text().replace("ltv_days = 360", "ltv_days = 720"))


def _new_calibration(shop: Shop) -> None:
    file = current_adapter(shop) / "manifest.json"
    file.write_text(file.read_text().replace('"at_risk_above": 0.', '"at_risk_above": 0.0'))


def _new_prior(shop: Shop) -> None:
    file = current_adapter(shop) / "prior.json"
    file.write_text(file.read_text() + "\n")


@pytest.mark.parametrize(
    "change", [_new_event, _new_title, _new_settings, _new_calibration, _new_prior]
)
def test_what_changes_the_result_starts_anew_and_removes_the_old_parts(
    shop: Shop, change: Callable[[Shop], None]
) -> None:
    exit_code_of(score_and_die_at, shop.directory, CHUNK, "Scoring customers", 3 * CHUNK)
    assert len(_work(shop)) == 1
    change(shop)
    report = score_shop(Shop.open(shop.directory), chunk_size=CHUNK)
    assert (report.customers, report.continued) == (CUSTOMERS, 0)
    assert _work(shop) == []


def test_a_file_from_before_stays_until_the_new_one_is_whole(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score_shop(shop, chunk_size=CHUNK).file
    content = first.read_bytes()
    _new_event(shop)
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", _no_space)
        with pytest.raises(StorageError, match="No space left") as caught:
            score_shop(shop, chunk_size=CHUNK)
    assert "run it again" in caught.value.hint
    assert first.read_bytes() == content
    assert list(shop.directory.glob(f".{first.name}*")) == []
    assert score_shop(shop, chunk_size=CHUNK).file.read_bytes() != content


def _no_space(*_: object) -> None:
    raise OSError("No space left on device")


def test_a_folder_is_no_file(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it is a folder"):
        score_shop(shop, tmp_path)


def test_one_scoring_at_a_time(shop: Shop) -> None:
    with shop.lock("score"), pytest.raises(ShopError, match="Another process is running score"):
        score_shop(Shop.open(shop.directory))


def test_a_shop_whose_adapter_is_gone_or_without_a_log_says_what_to_do(
    shop: Shop, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ShopError, match="no purchases yet"):
        score_shop(Shop.create(tmp_path / "empty", settings(tiny_model)))
    shutil.rmtree(current_adapter(shop))
    with pytest.raises(AdapterError, match="is gone"):
        score_shop(shop)
