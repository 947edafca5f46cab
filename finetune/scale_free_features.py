"""What a model learnt in other shops reads of a customer: numbers that mean the same everywhere.

Times are relative to the horizon, to the customer's own gaps and to the shop's usual gap; money is
relative to the customer's own usual. Where a customer stands among the shop's customers at the
cut-off is a share between 0 and 1. The shop's BG/NBD model, fitted to its own log, says what a
customer's rhythm alone foresees. None of this needs to know what came after.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from finetune.calibration import Floats
from finetune.odds import log_odds
from finetune.rfm import rfm_of
from finetune.rhythm import Foreseen, Rhythm, rhythm_of
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast

_DAY = timedelta(days=1)
_LEAST_CHANCE = 1e-3  # of no purchase, below which none is told apart; likewise from 1
_STEPS = 101  # a hundredth of the customers apart

_RANKED = ("since_last", "age", "order_days", "average_order", "usual_spend", "items_an_order")
_FORESEEN = ("bg_nbd_no_purchase", "bg_nbd_purchases", "bg_nbd_spend_by_usual")
_OWN = (
    "since_last_by_horizon",
    "since_last_by_gap",
    "since_last_by_longest_gap",
    "since_last_by_shop_gap",
    "age_by_horizon",
    "order_days",
    "order_days_a_horizon",
    "gap_spread",
    "spend_last_horizon_by_usual",
    "spend_last_third_by_usual",
    "spend_last_sixth_by_usual",
    "spend_before_by_usual",
    "days_last_horizon_by_usual",
    "days_last_third_by_usual",
    "last_order_by_average",
    "amount_spread",
    "returned_share",
    "repeat_share",
    "busy_share",
)
SCALE_FREE_FEATURES = (
    *_FORESEEN,
    *_OWN,
    *(f"rank_of_{name}" for name in _RANKED),
)
"""Columns of `scale_free_features`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopScale:
    """What is usual among a shop's customers at one moment; no label is needed for it.

    Attributes:
        gap: median over customers of their median gap between order days, days.
        quantiles: of each ranked number over customers, from the least to the greatest.
        rhythm: the shop's BG/NBD and gamma-gamma models.
    """

    gap: float
    quantiles: tuple[tuple[float, ...], ...]
    rhythm: Rhythm

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "ShopScale":
        """Read what `to_json` made."""
        return cls(
            gap=document["gap"],
            quantiles=tuple(tuple(row) for row in document["quantiles"]),
            rhythm=Rhythm.from_json(document["rhythm"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return asdict(self)

    def foreseen(self, pasts: Sequence[CustomerPast], horizon_days: int) -> Foreseen:
        """What rhythm and amounts alone foresee of customers."""
        return self.rhythm.foreseen(rfm_of(pasts), horizon_days)


def measure_shop(pasts: Sequence[CustomerPast], horizon_days: int) -> ShopScale:
    """Learn what is usual in a shop from all its customers at one moment.

    Args:
        pasts: all customers, at the same moment.
        horizon_days: over which churn and spend are foreseen.

    Raises:
        TrainingError: there are no customers, or none was observed for any time.
    """
    habits = [_Habits(past, horizon_days) for past in pasts]
    gaps = [float(np.median(own.gaps)) for own in habits if len(own.gaps)]
    ranked = np.array([own.ranked() for own in habits])
    shares = np.linspace(0, 1, _STEPS)
    return ShopScale(
        gap=max(float(np.median(gaps)), 1.0) if gaps else float(horizon_days),
        quantiles=tuple(tuple(np.quantile(column, shares).tolist()) for column in ranked.T),
        rhythm=rhythm_of(rfm_of(pasts), float(np.mean([own.average for own in habits]))),
    )


def scale_free_features(
    pasts: Sequence[CustomerPast],
    horizon_days: int,
    scale: ShopScale,
    foreseen: Foreseen | None = None,
) -> Floats:
    """Features `[n, 28]`, in the order of `SCALE_FREE_FEATURES`.

    Args:
        pasts: what each customer did.
        horizon_days: over which churn and spend are foreseen.
        scale: what is usual in the shop of these customers.
        foreseen: what its rhythm foresees of them, where that is known already.
    """
    if not pasts:
        return np.zeros((0, len(SCALE_FREE_FEATURES)))
    foreseen = foreseen or scale.foreseen(pasts, horizon_days)
    habits = [_Habits(past, horizon_days) for past in pasts]
    usual = np.array([own.usual for own in habits])
    ranked = np.array([own.ranked() for own in habits])
    return np.column_stack(
        [
            log_odds(foreseen.no_purchase, _LEAST_CHANCE),
            np.log1p(foreseen.purchases),
            np.log1p(foreseen.spend / usual),
            np.array([own.relative(scale.gap) for own in habits]),
            *(
                share_below(np.array(marks), column)
                for marks, column in zip(scale.quantiles, ranked.T, strict=True)
            ),
        ]
    )


def share_below(marks: Floats, values: Floats) -> Floats:
    """Where values stand among a shop's customers, 0 to 1; equals share their places.

    Args:
        marks: quantiles at equal steps, from the least to the greatest.
        values: `[n]`.
    """
    below = np.searchsorted(marks, values, side="left")
    upto = np.searchsorted(marks, values, side="right")
    return np.asarray((below + upto) / (2 * len(marks)))


class _Habits:
    """One customer's times and amounts, in days and minor units."""

    def __init__(self, past: CustomerPast, horizon: int) -> None:
        self.past, self.horizon = past, horizon
        self.ages = np.array([(past.as_of - order.timestamp) / _DAY for order in past.orders])
        self.amounts = np.array([order.amount for order in past.orders], dtype=np.float64)
        self.days = np.unique(np.floor(self.ages))[::-1]  # with an order, the oldest first
        self.gaps = -np.diff(self.days)
        self.average = max(float(self.amounts.mean()), 1.0)
        self.usual = max(usual_spend(past, horizon), 1.0)

    def ranked(self) -> list[float]:
        """In the order of `_RANKED`."""
        return [
            float(self.ages[-1]),
            float(self.ages[0]),
            float(len(self.days)),
            self.average,
            self.usual,
            float(np.mean([order.item_count for order in self.past.orders])),
        ]

    def relative(self, shop_gap: float) -> list[float]:
        """In the order of `_OWN`."""
        first, last = float(self.ages[0]), float(self.ages[-1])
        usual_days = len(self.days) * self.horizon / max(first, float(self.horizon))
        # Where there is no gap yet, the shop's stands in.
        gap = float(np.median(self.gaps)) if len(self.gaps) else shop_gap
        longest = float(self.gaps.max()) if len(self.gaps) else shop_gap
        irregular = self.gaps.std() / max(self.gaps.mean(), 1.0) if len(self.gaps) > 1 else 0.0
        favourites = self.past.favourites
        return [
            last / self.horizon,
            np.log1p(last / max(gap, 1.0)),
            np.log1p(last / max(longest, 1.0)),
            np.log1p(last / shop_gap),
            np.log1p(first / self.horizon),
            np.log1p(len(self.days) - 1),
            np.log1p(usual_days),
            float(irregular),
            self._spend_by_usual(0, 1),
            self._spend_by_usual(0, 1 / 3),
            self._spend_by_usual(0, 1 / 6),
            self._spend_by_usual(1, 2),
            self._days_by_usual(1, usual_days),
            self._days_by_usual(1 / 3, usual_days),
            np.log1p(float(self.amounts[-1]) / self.average),
            float(self.amounts.std() / self.average),
            min(self.past.returned / max(float(self.amounts.sum()), 1.0), 1.0),
            favourites[0][1] / len(self.amounts) if favourites else 0.0,
            self._busy_share(first),
        ]

    def _spend_by_usual(self, start: float, end: float) -> float:
        """Spend at ages from `start` to `end`, in horizons, against the usual of that span."""
        within = self.ages <= end * self.horizon
        if start > 0:
            within &= self.ages > start * self.horizon
        return float(np.log1p(self.amounts[within].sum() / (self.usual * (end - start))))

    def _days_by_usual(self, share: float, usual_days: float) -> float:
        """Order days of the latest share of a horizon, against the usual of that span."""
        return float(np.log1p((self.days <= share * self.horizon).sum() / (usual_days * share)))

    def _busy_share(self, first: float) -> float:
        """Share of the customer's thirds of a horizon, so far, that hold an order."""
        third = self.horizon / 3
        return len(np.unique(np.floor(self.ages / third))) / (int(first / third) + 1)
