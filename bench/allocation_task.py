"""The problem of the allocation benchmark: real predictions, offers from a seeded generator."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agent.allocation import Allocation, allocate
from agent.offer_gain import GainTerms, expected_gains
from finetune.batch_scoring import PREDICTIONS_FILE
from retrieval.money import to_minor
from retrieval.progress import Progress
from retrieval.shop import Shop

_CHUNK = 10_000
_MARGIN_SHARE = 0.25
_ELIGIBLE_SHARE = 0.7
# Budgets of the whole and of an average offer, as shares of what choosing freely would cost.
_BUDGET_SHARE = 0.3
_OFFER_BUDGET_SHARE = 0.5
_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """Predictions to draw customers from: churn risk and expected spend in minor units, (k,)."""

    churn_risk: _Floats
    expected_spend: _Floats
    terms: GainTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Gains, costs and eligibility, (n, m), and the budgets, all in minor units."""

    gain: _Floats
    cost: NDArray[np.int32]
    eligible: NDArray[np.bool_]
    budget: int
    offer_budgets: NDArray[np.int64]

    def solve(self, *, exact_cells: int) -> Allocation:
        """Allocate under the budgets."""
        return allocate(
            self.gain,
            self.cost,
            budget=self.budget,
            offer_budgets=self.offer_budgets,
            eligible=self.eligible,
            exact_cells=exact_cells,
        )


def read_customers(folder: Path) -> Customers:
    """The predictions that `patron score` left in a shop."""
    shop = Shop.open(folder)
    table = pq.read_table(
        folder / PREDICTIONS_FILE, columns=["churn_risk", "expected_spend", "currency"]
    )
    spend = [
        to_minor(amount, currency)
        for amount, currency in zip(
            table["expected_spend"].to_pylist(), table["currency"].to_pylist(), strict=True
        )
    ]
    return Customers(
        churn_risk=table["churn_risk"].to_numpy().astype(np.float32),
        expected_spend=np.array(spend, dtype=np.float32),
        terms=GainTerms(
            margin_share=_MARGIN_SHARE,
            horizon_days=shop.settings.churn.horizon_days,
            discount_rate=shop.settings.value.discount_rate,
            ltv_days=shop.settings.value.ltv_days,
        ),
    )


def draw_gains(
    known: Customers, customers: int, offers: int, seed: int, progress: Progress
) -> tuple[_Floats, NDArray[np.int32], NDArray[np.bool_]]:
    """Gains, expected costs and eligibility, shape (n, m), the same for a seed on any machine.

    Offers differ in cost (0.50 to 10.00, log-uniform), chance of redemption (5 to 40%), mean effect
    on churn risk (0 to -0.4 points) and on spend (0 to 0.6%); customers differ around these.
    """
    of_offers = np.random.default_rng(seed)
    redemption, kept, spend, log_cost = (
        of_offers.uniform(low, high, offers).astype(np.float32)
        for low, high in ((0.05, 0.4), (0, 0.004), (0, 0.006), (np.log(50), np.log(1000)))
    )
    gain = np.empty((customers, offers), dtype=np.float32)
    cost = np.empty((customers, offers), dtype=np.int32)
    eligible = np.empty((customers, offers), dtype=np.bool_)

    def fill(start: int) -> None:
        rows = slice(start, min(start + _CHUNK, customers))
        random = np.random.default_rng([seed, start])
        shape = (rows.stop - start, offers)
        who = random.integers(0, len(known.churn_risk), shape[0])
        expected = known.expected_spend[who]
        vary = random.random(shape, dtype=np.float32) + np.float32(0.5)
        expected_cost = redemption * np.exp(log_cost) * vary
        gain[rows] = expected_gains(
            expected,
            known.churn_risk[who],
            churn_effect=-kept * 2 * random.random(shape, dtype=np.float32),
            spend_effect=expected[:, None] * spend * 2 * random.random(shape, dtype=np.float32),
            expected_cost=expected_cost,
            terms=known.terms,
        )
        cost[rows] = np.maximum(1, np.rint(expected_cost))
        eligible[rows] = random.random(shape, dtype=np.float32) < _ELIGIBLE_SHARE

    starts = range(0, customers, _CHUNK)
    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(fill, starts), start=1):
            progress("Gains", done, len(starts))
    return gain, cost, eligible


def with_budgets(gain: _Floats, cost: NDArray[np.int32], eligible: NDArray[np.bool_]) -> Task:
    """Budgets that bind: shares of what everybody's best offer would cost."""
    free = allocate(gain, cost, eligible=eligible)
    return Task(
        gain=gain,
        cost=cost,
        eligible=eligible,
        budget=int(_BUDGET_SHARE * free.cost),
        offer_budgets=np.full(gain.shape[1], int(_OFFER_BUDGET_SHARE * free.cost / gain.shape[1])),
    )
