"""How fast recommendations are: on the demonstration shop, and on a million of each.

The million customers and items are synthetic and serve the timing alone: no quality is measured
on them.
"""

import argparse
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from agent.agent import Agent
from bench.judge_speed import measure as measure_judge
from bench.report import Report
from finetune.indexing import SOURCES
from retrieval.assortment import Assortment
from retrieval.catalogue import Catalogue, Item
from retrieval.event_log import EventLog
from retrieval.events import EVENT_SCHEMA, Event
from retrieval.filters import Filters
from retrieval.item_table import item_table
from retrieval.learning import fit_recommender
from retrieval.lines import read_lines
from retrieval.progress import Progress
from retrieval.purchases import purchases_of
from retrieval.ranking import RecommendContext, recommend
from retrieval.recommender import Recommender
from retrieval.shop import RecommendSettings

TIMED = ("demo", "lm", "million")
_MILLION = 1_000_000
_TITLES = 20_000
_LINES_EACH = 10
_COMMITS = 10
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_ASKED = 200
_DEMO_MS, _MILLION_MS, _JUDGE_RATIO = 100.0, 250.0, 5.0


def measure_speed(arguments: argparse.Namespace, report: Report, progress: Progress) -> None:
    """Time what is asked for; the demonstration shop must have been built."""
    if "demo" in arguments.speed:
        _demo(arguments.shop, arguments.work / "demo-copy", report, progress)
    if "lm" in arguments.speed:
        _judge(arguments.shop, report, progress)
    if "million" in arguments.speed:
        _million(arguments.work / "million", report, progress)


def _judge(shop: Path, report: Report, progress: Progress) -> None:
    """Twenty candidates judged in one packed pass, and each by its full prompt."""
    judged = measure_judge(shop, progress=progress)
    report.speed["lm_rerank"] = judged
    report.claim(
        f"reordering 20 candidates by the language model is {judged['speedup']:.1f} times as fast "
        "as full prompts, in the same order",
        judged["speedup"] >= _JUDGE_RATIO and judged["same_order_share"] == 1.0,
    )


def _demo(shop: Path, copy: Path, report: Report, progress: Progress) -> None:
    """Latency on the demonstration shop, and how soon an observed event counts."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(shop, copy)
    agent = Agent.open(copy)
    customers = agent.customers(limit=_MILLION)
    drawn = np.random.default_rng(7).permutation(customers)[:_ASKED].tolist()
    agent.recommend(drawn[0], with_offer=False)
    timed = _timed(drawn, lambda who: agent.recommend(who, with_offer=False), "demo", progress)
    report.speed["recommend_demo"] = timed
    report.claim(
        f"demonstration shop: p95 of recommend is {timed['p95_ms']:.0f} ms, under {_DEMO_MS:.0f}",
        timed["p95_ms"] < _DEMO_MS,
    )
    _real_time(agent, drawn[:20], report)
    shutil.rmtree(copy)


def _real_time(agent: Agent, customers: Sequence[str], report: Report) -> None:
    """Observe a purchase of the best new item; the next new ones must be without it.

    How many plain lists change is told too: one more order need not change the first five.
    """
    span = agent.shop.log.span()
    assert span is not None
    never = Filters(new_only=True)
    latencies, seen, changed = [], 0, 0
    for number, customer_id in enumerate(customers):
        new = agent.recommend(customer_id, filters=never, with_offer=False).items[0]
        event = Event(
            customer_id=customer_id,
            timestamp=span[1] + timedelta(seconds=number + 1),
            order_id=f"bench-{number}",
            item_id=new.item_id,
            amount=new.price or 100,
        )
        before = agent.recommend(customer_id, with_offer=False)
        started = time.perf_counter()
        agent.observe(event)
        again = agent.recommend(customer_id, filters=never, with_offer=False)
        latencies.append(1000 * (time.perf_counter() - started))
        seen += new.item_id not in {item.item_id for item in again.items}
        changed += before.items != agent.recommend(customer_id, with_offer=False).items
    report.speed["observe_to_recommendation"] = {
        "median_ms": round(float(np.median(latencies)), 1),
        "reflected": seen,
        "plain_lists_changed": changed,
        "of": len(customers),
    }
    report.claim(
        f"an observed purchase counts in the next recommendation in {seen} of {len(customers)} "
        f"cases, {np.median(latencies):.0f} ms with the observing; {changed} plain lists change",
        seen == len(customers),
    )


def _million(folder: Path, report: Report, progress: Progress) -> None:
    """A million customers and a million items, ten lines a customer."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    started = time.perf_counter()
    catalogue = _catalogue(random)
    table = item_table(catalogue)
    log = EventLog(folder / "log")
    for part in range(_COMMITS):
        progress("Writing a million customers", part, _COMMITS)
        log.append(_events(random, part), source=f"part {part}")
    progress("Writing a million customers", _COMMITS, _COMMITS)
    written = time.perf_counter()
    rules = RecommendSettings()
    lines = read_lines(log, table, _NOW)
    vectors = random.normal(size=(len(table.text_ids), 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fit_recommender(lines, table, vectors, _NOW, rules.sources, SOURCES, progress=progress).save(
        folder / "recommender"
    )
    built = time.perf_counter()
    opened = _Opened.read(folder, log, catalogue, rules)
    loaded = time.perf_counter()
    drawn = [_customer_id(number) for number in random.integers(0, _MILLION, _ASKED).tolist()]
    opened.ask(drawn[0])
    timed = _timed(drawn, opened.ask, "a million", progress)
    report.speed["recommend_million"] = {
        **timed,
        "write_log_s": round(written - started, 1),
        "build_s": round(built - written, 1),
        "load_s": round(loaded - built, 1),
        "process_peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
        "lines": len(lines.item),
    }
    report.claim(
        f"1M items and 1M customers: p95 of recommend is {timed['p95_ms']:.0f} ms, under "
        f"{_MILLION_MS:.0f}",
        timed["p95_ms"] < _MILLION_MS,
    )
    shutil.rmtree(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The million's recommender, read back from its files as a server would."""

    log: EventLog
    catalogue: Catalogue
    recommender: Recommender
    assortment: Assortment

    @classmethod
    def read(
        cls, folder: Path, log: EventLog, catalogue: Catalogue, rules: RecommendSettings
    ) -> "_Opened":
        """Open the files."""
        recommender = Recommender.load(folder / "recommender", SOURCES)
        assortment = Assortment(recommender.table, catalogue, rules)
        return cls(log=log, catalogue=catalogue, recommender=recommender, assortment=assortment)

    def ask(self, customer_id: str) -> None:
        """Recommend five items, from reading the log to the reasons."""
        context = RecommendContext(
            recommender=self.recommender,
            assortment=self.assortment,
            catalogue=self.catalogue,
            purchases=purchases_of(self.log, customer_id, _NOW),
            as_of=_NOW,
            currency="USD",
        )
        assert len(recommend(context, count=5, filters=Filters()).items) == 5


def _catalogue(random: np.random.Generator) -> Catalogue:
    prices = random.integers(50, 5_000, _MILLION)
    return Catalogue(
        Item(
            item_id=f"i{number:07d}",
            title=f"Thing {number % _TITLES}",
            category=f"Kind {number % _TITLES % 200}",
            price=int(prices[number]),
        )
        for number in range(_MILLION)
    )


def _events(random: np.random.Generator, part: int) -> pa.Table:
    """A tenth of the customers, each with ten lines in about three orders over a year.

    Items are drawn around the customer's own taste, popular ones more often.
    """
    customers = np.repeat(np.arange(part, _MILLION, _COMMITS), _LINES_EACH)
    taste = (customers * 2_654_435_761) % _MILLION
    spread = (random.pareto(1.0, len(customers)) * 50).astype(np.int64)
    items = (taste // 1_000 * 1_000 + spread) % _MILLION
    order = random.integers(0, 3, len(customers))
    days = (customers * 7 + order * 97) % 365
    moments = np.datetime64(_NOW.replace(tzinfo=None), "us") - (
        days * 86_400 + 3_600 * order + 60
    ).astype("timedelta64[s]")
    numbers = np.arange(len(customers)) + part * len(customers)
    columns = {
        "customer_id": [_customer_id(number) for number in customers.tolist()],
        "timestamp": pa.array(moments, pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
        "order_id": [f"o{c}-{o}" for c, o in zip(customers, order, strict=True)],
        "item_id": [f"i{item:07d}" for item in items],
        "quantity": np.ones(len(customers)),
        "amount": random.integers(50, 5_000, len(customers)),
        "kind": ["purchase"] * len(customers),
        "event_id": [str(number) for number in numbers],
        "source": ["synthetic"] * len(customers),
        "line": numbers,
    }
    return pa.table(columns).select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)


def _customer_id(number: int) -> str:
    return f"c{number:07d}"


def _timed(
    customers: Sequence[str], ask: Callable[[str], object], label: str, progress: Progress
) -> dict[str, float]:
    """Milliseconds of a question, one after the other."""
    taken = []
    for number, customer_id in enumerate(customers):
        started = time.perf_counter()
        ask(customer_id)
        taken.append(1000 * (time.perf_counter() - started))
        progress(f"Timing {label}", number + 1, len(customers))
    return {
        "p50_ms": round(float(np.percentile(taken, 50)), 1),
        "p95_ms": round(float(np.percentile(taken, 95)), 1),
        "asked": len(taken),
    }
