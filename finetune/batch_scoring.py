"""Score every customer into one Parquet file, in chunks that a killed run need not repeat.

Customers are read, rendered and scored a chunk at a time, in the order of their ids, so memory
holds one chunk and the ids. Each finished chunk is a part in a working folder named by a hash of
all that decides the result; the same command continues there. The whole file appears at once or
not at all.
"""

import hashlib
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finetune.adapter import PRIOR_FILE, read_manifest
from finetune.base_model import find_base_model, token_counter
from finetune.base_prior import BASE_ID, base_sha256
from finetune.day_one_predictor import DayOnePredictor
from finetune.predictors import (
    Predictor,
    adapter_id_of,
    answering_adapter,
    basis_of,
    open_predictor,
    spend_totals,
)
from finetune.scoring import Score, score_all
from finetune.value import Stage
from retrieval.catalogue import Catalogue
from retrieval.errors import ShopError, StorageError
from retrieval.event_log import EventLog
from retrieval.events import CUSTOMER_ID, KIND, TIMESTAMP, Kind
from retrieval.history import render_history
from retrieval.money import minor_digits, to_major, to_minor
from retrieval.orders import read_pasts
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop, write_atomically
from retrieval.time_split import present

PREDICTIONS_FILE = "predictions.parquet"
CHUNK_SIZE = 512

# Raise it when the columns, or what is in them, change.
_FORMAT = 2
_WORK = ".scoring-"
# Parts of 512 rows would be slow to read as row groups of their own.
_PARTS_A_ROW_GROUP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringReport:
    """What `score_shop` wrote.

    Attributes:
        customers: rows of the file: one a customer with an order before `as_of`.
        continued: how many of them an earlier, killed run had scored already.
        tiers: customers by likeliest tier, lowest tier first.
        stages: customers by stage, in the order of `Stage`.
        expected_spend: of all customers together over the horizon, minor units.
        expected_spend_low: low end of the interval around it; None where the adapter was made
            without intervals, and then high end and season are too.
        expected_spend_high: high end.
        season: "known: ..." or "unknown: ...", with the reason.
        basis: what the predictions rest on, in words; None for an adapter of the shop's own.
    """

    file: Path
    adapter_id: str
    as_of: datetime
    horizon_days: int
    customers: int
    continued: int
    tiers: dict[str, int]
    stages: dict[str, int]
    expected_spend: int
    expected_spend_low: int | None
    expected_spend_high: int | None
    season: str | None
    currency: str
    basis: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts; money in major units."""
        return {
            "file": str(self.file),
            "adapter_id": self.adapter_id,
            "as_of": self.as_of.isoformat(),
            "horizon_days": self.horizon_days,
            "customers": self.customers,
            "continued": self.continued,
            "tiers": self.tiers,
            "stages": self.stages,
            "expected_spend": float(to_major(self.expected_spend, self.currency)),
            "expected_spend_low": _plain(self.expected_spend_low, self.currency),
            "expected_spend_high": _plain(self.expected_spend_high, self.currency),
            "season": self.season,
            "basis": self.basis,
            "currency": self.currency,
        }


def predictions_schema(tiers: Sequence[str], currency: str) -> pa.Schema:
    """Columns of the file; money is exact, in major units (12.34), over one horizon or as LTV.

    Args:
        tiers: lowest first; each has a column `p_<tier>`.
        currency: decides the digits after the point.
    """
    money = pa.decimal128(18, minor_digits(currency))
    return pa.schema(
        [
            pa.field("customer_id", pa.string(), nullable=False),
            pa.field("as_of", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("adapter_id", pa.string(), nullable=False),
            pa.field("value_tier", pa.string(), nullable=False),
            *(pa.field(f"p_{tier}", pa.float64(), nullable=False) for tier in tiers),
            pa.field("churn_risk", pa.float64(), nullable=False),
            pa.field("expected_spend", money, nullable=False),
            # Null where the adapter was made without intervals.
            pa.field("expected_spend_low", money),
            pa.field("expected_spend_high", money),
            pa.field("season", pa.string()),
            pa.field("ltv", money, nullable=False),
            pa.field("currency", pa.string(), nullable=False),
            pa.field("stage", pa.string(), nullable=False),
        ]
    )


def score_shop(
    shop: Shop,
    out: Path | None = None,
    *,
    chunk_size: int = CHUNK_SIZE,
    progress: Progress = no_progress,
) -> ScoringReport:
    """Write the prediction of every customer with an order, as of now, to one Parquet file.

    A killed run continues where it was when called again while log, catalogue, adapter and
    settings are the same. Events that others append meanwhile are later than `as_of` and change
    nothing; only rows about the past that arrive late may be in some predictions and not in others.

    Args:
        shop: with a log; without an adapter patron-base answers.
        out: the file; `predictions.parquet` in the shop where None.
        chunk_size: customers a part.
        progress: told after each batch.

    Raises:
        AdapterError: the shop's adapter is damaged or does not fit.
        TrainingError: the shop has no adapter, and its log is too short for patron-base.
        ShopError: the log is empty, or another process is scoring.
        StorageError: the disk refuses; finished parts stay for the next run.
    """
    out = out or shop.directory / PREDICTIONS_FILE
    with shop.lock("score"), _storage_errors(out):
        _check_place(out)
        # Named before anything is read: what another process replaces from here on has another
        # name, so no later run takes these parts for its own.
        version, as_of, adapter = shop.log.version(), present(shop), answering_adapter(shop)
        name = _run_name(shop, adapter, version, as_of, chunk_size)
        files = find_base_model(shop.settings.models.base, progress)
        run = _Run(
            shop=shop,
            predictor=open_predictor(shop, adapter, files),
            count_tokens=token_counter(files),
            catalogue=Catalogue.read(shop.items_file),
            as_of=as_of,
            folder=shop.directory / f"{_WORK}{name}",
        )
        _remove_work(shop, keep=run.folder)
        ids = _customer_ids(shop.log, run.as_of)
        continued = 0
        for number, start in enumerate(range(0, len(ids), chunk_size)):
            part, size = run.part(number), min(chunk_size, len(ids) - start)
            if part.is_file():
                continued += size
                progress("Scoring customers", start + size, len(ids))
                continue
            chunk = ids[start : start + size].to_pylist()
            write_atomically(part, run.score(chunk, _from(start, len(ids), progress)))
        report = _join(run, out, len(ids), continued, chunk_size)
        _remove_work(shop)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What all chunks share."""

    shop: Shop
    predictor: Predictor
    count_tokens: Callable[[str], int]
    catalogue: Catalogue
    as_of: datetime
    folder: Path

    @property
    def tiers(self) -> tuple[str, ...]:
        return self.shop.settings.value.tiers

    @property
    def schema(self) -> pa.Schema:
        return predictions_schema(self.tiers, self.shop.settings.currency)

    def part(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.parquet"

    def score(self, customer_ids: Sequence[str], progress: Progress) -> bytes:
        """A Parquet file with the customers' predictions."""
        settings = self.shop.settings
        pasts = list(read_pasts(self.shop.log, self.as_of, customer_ids))
        # patron-base reads no text.
        read = [] if isinstance(self.predictor, DayOnePredictor) else pasts
        histories = [
            render_history(
                past,
                settings=settings,
                catalogue=self.catalogue,
                count_tokens=self.count_tokens,
            )
            for past in read
        ]
        scores = score_all(self.predictor, pasts, histories, settings, progress=progress)
        table = pa.Table.from_pylist([self._row(score) for score in scores], schema=self.schema)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    def _row(self, score: Score) -> dict[str, object]:
        tiers, currency = self.tiers, self.shop.settings.currency
        return {
            "customer_id": score.customer_id,
            "as_of": self.as_of,
            "adapter_id": adapter_id_of(self.predictor),
            "value_tier": tiers[score.tier],
            **{
                f"p_{tier}": share
                for tier, share in zip(tiers, score.tier_probabilities, strict=True)
            },
            "churn_risk": score.churn_risk,
            "expected_spend": to_major(score.expected_spend, currency),
            "expected_spend_low": _major(score.expected_spend_low, currency),
            "expected_spend_high": _major(score.expected_spend_high, currency),
            "season": score.season,
            "ltv": to_major(score.ltv, currency),
            "currency": currency,
            "stage": score.stage.value,
        }


def _join(run: _Run, out: Path, customers: int, continued: int, chunk_size: int) -> ScoringReport:
    """Stream the parts into the whole file, counting, and put it in its place."""
    count = -(-customers // chunk_size)
    tiers: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    rows, spend, currency = 0, 0, run.shop.settings.currency
    totals = spend_totals(run.predictor, run.as_of)
    sums = np.zeros(2)
    # The same name each time, so that what a killed run left here is written over; of this shop
    # only, for another shop may write to the same place now.
    owner = hashlib.sha256(str(run.shop.directory.resolve()).encode()).hexdigest()[:8]
    partial = out.with_name(f".{out.name}.{owner}")
    try:
        with partial.open("wb") as stream:
            with pq.ParquetWriter(stream, run.schema, compression="zstd") as writer:
                for start in range(0, count, _PARTS_A_ROW_GROUP):
                    numbers = range(start, min(count, start + _PARTS_A_ROW_GROUP))
                    table = pa.concat_tables(pq.read_table(run.part(n)) for n in numbers)
                    writer.write_table(table)
                    rows += table.num_rows
                    tiers.update(table["value_tier"].to_pylist())
                    stages.update(table["stage"].to_pylist())
                    amounts = [to_minor(a, currency) for a in table["expected_spend"].to_pylist()]
                    spend += sum(amounts)
                    if totals is not None:
                        sums += totals.sums(np.array(amounts, dtype=np.float64))
            stream.flush()
            os.fsync(stream.fileno())
        if rows != customers:
            shutil.rmtree(run.folder)
            raise ShopError(
                f"{rows} of {customers} customers were scored: the log lost events meanwhile.",
                hint=f"Run it again: patron score --shop {run.shop.directory}",
            )
        partial.replace(out)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    total = None if totals is None else totals.total(sums)
    return ScoringReport(
        file=out,
        adapter_id=adapter_id_of(run.predictor),
        as_of=run.as_of,
        horizon_days=run.shop.settings.churn.horizon_days,
        customers=rows,
        continued=continued,
        tiers={tier: tiers[tier] for tier in run.tiers},
        stages={stage.value: stages[stage.value] for stage in Stage},
        expected_spend=spend,
        expected_spend_low=None if total is None else round(total.low),
        expected_spend_high=None if total is None else round(total.high),
        season=None if totals is None else totals.season,
        currency=currency,
        basis=basis_of(run.predictor, run.as_of),
    )


def _major(minor: int | None, currency: str) -> Decimal | None:
    return None if minor is None else to_major(minor, currency)


def _plain(minor: int | None, currency: str) -> float | None:
    return None if minor is None else float(to_major(minor, currency))


def _customer_ids(log: EventLog, as_of: datetime) -> pa.ChunkedArray:
    """Everybody with an order before a moment, sorted; kept as Arrow keeps it, some bytes each."""
    table = log.query(
        f"SELECT DISTINCT {CUSTOMER_ID} FROM events "
        f"WHERE {KIND} = '{Kind.PURCHASE}' AND {TIMESTAMP} < $as_of ORDER BY {CUSTOMER_ID}",
        {"as_of": as_of},
    )
    return table[CUSTOMER_ID]


def _run_name(
    shop: Shop, adapter: Path | None, log_version: int, as_of: datetime, chunk_size: int
) -> str:
    """A hash of all that decides the result: whatever changes starts a new run."""
    answers = BASE_ID if adapter is None else adapter.name
    digest = hashlib.sha256(f"{_FORMAT} {chunk_size} {answers}".encode())
    if adapter is None:
        digest.update(base_sha256().encode())
    else:
        # Base model, prompts and calibration stand in the manifest, the prior beside it.
        digest.update(read_manifest(adapter).to_json().encode())
        if (adapter / PRIOR_FILE).exists():
            digest.update((adapter / PRIOR_FILE).read_bytes())
    digest.update(shop.settings.model_dump_json().encode())
    digest.update(f"{log_version} {as_of.isoformat()}".encode())
    if shop.items_file.exists():
        digest.update(shop.items_file.read_bytes())
    return digest.hexdigest()[:12]


def _remove_work(shop: Shop, *, keep: Path | None = None) -> None:
    """Remove the working folders of this and other runs; the lock is held, so none is in use."""
    for folder in shop.directory.glob(f"{_WORK}*"):
        if folder != keep:
            shutil.rmtree(folder)


def _from(start: int, total: int, progress: Progress) -> Progress:
    """Reports of one chunk as reports of the whole."""
    return lambda step, done, _: progress(step, start + done, total)


def _check_place(out: Path) -> None:
    """Make the file's folder; better refused now than after an hour of scoring."""
    if out.is_dir():
        raise StorageError(
            f"Cannot write {out}: it is a folder.", hint="Name a file: --out predictions.parquet"
        )
    out.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def _storage_errors(out: Path) -> Iterator[None]:
    """Turn what the disk says into one clear sentence."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write {out}: {error}.",
            hint="Free some space or make the folder writable, then run it again; finished "
            "customers are not scored twice.",
        ) from error
