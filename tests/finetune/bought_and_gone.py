"""Customers who buy and leave: real ones of shared data sets, and simulated ones."""

import os
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from finetune.calibration import Floats
from finetune.rfm import Rfm, rfm_of
from tests.finetune.hand_made import past_of


def shared_file(name: str) -> Path:
    """A data set that lies beside the project, or the folder named by PATRON_DATA."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    file = Path(os.environ.get("PATRON_DATA", beside)) / name
    if not file.exists():
        pytest.skip(f"{file} is not here; PATRON_DATA may name the folder that holds {name}")
    return file


def cdnow_sample() -> Rfm:
    """2,357 customers of CDNOW up to the evening of 1997-09-30, in weeks and cents."""
    start = date(1997, 1, 1)
    purchases: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for line in shared_file("CDNOW_sample.txt").read_text().splitlines():
        customer_id, _, day, _, dollars = line.split()
        bought = (date.fromisoformat(day) - start).days
        if bought <= (date(1997, 9, 30) - start).days:
            purchases[customer_id].append((bought, round(float(dollars) * 100)))
    as_of = (date(1997, 9, 30) - start).days + 0.99
    return rfm_of([past_of(orders, as_of=as_of) for orders in purchases.values()])


def one_by_one(*rows: tuple[float, float, float, float]) -> Rfm:
    """From rows of recency, frequency, T and monetary value."""
    table = np.array(rows, dtype=float).reshape(-1, 4)
    return Rfm(
        recency=table[:, 0], frequency=table[:, 1], T=table[:, 2], monetary_value=table[:, 3]
    )


def simulate(
    r: float, alpha: float, a: float, b: float, *, until: Floats, horizon: float, seed: int
) -> tuple[Rfm, Floats]:
    """Live the BG/NBD story: histories up to `until` `[n]` and purchases in the horizon `[n]`."""
    random = np.random.default_rng(seed)
    count = len(until)
    waits = 1 / random.gamma(r, 1 / alpha, count)
    leaving = random.beta(a, b, count)
    clock, recency, frequency, later = np.zeros((4, count))
    here = np.arange(count)
    while len(here):
        clock[here] += random.exponential(waits[here])
        here = here[clock[here] <= until[here] + horizon]
        past = here[clock[here] <= until[here]]
        frequency[past] += 1
        recency[past] = clock[past]
        later[here[clock[here] > until[here]]] += 1
        here = here[random.random(len(here)) >= leaving[here]]
    spend = np.where(frequency > 0, 1000.0, 0.0)
    return Rfm(recency=recency, frequency=frequency, T=until, monetary_value=spend), later
