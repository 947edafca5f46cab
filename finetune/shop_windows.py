"""Labelled customers of a shop in numbers that mean the same in every shop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from finetune.rhythm import Foreseen
from finetune.scale_free_features import ShopScale, measure_shop, scale_free_features
from retrieval.event_log import EventLog
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast, read_pasts
from retrieval.outcomes import has_churned, spend_between
from retrieval.shop import ChurnDefinition

MOST_CUSTOMERS = 4_000
"""Drawn from a larger shop, so that it does not drown the others or take minutes."""

_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Described:
    """Customers of one shop at one moment, as a model learnt in other shops reads them.

    Attributes:
        features: `scale_free_features`; a language model's log odds may follow `[n, features]`.
        foreseen: what the shop's own BG/NBD and gamma-gamma say.
        usual: usual spend per horizon, minor units `[n]`.
    """

    features: Floats
    foreseen: Foreseen
    usual: Floats

    def __len__(self) -> int:
        return len(self.features)

    def part(self, rows: NDArray[np.intp]) -> "Described":
        """Some of the customers."""
        foreseen = self.foreseen
        return Described(
            features=self.features[rows],
            foreseen=Foreseen(
                no_purchase=foreseen.no_purchase[rows],
                purchases=foreseen.purchases[rows],
                spend=foreseen.spend[rows],
            ),
            usual=self.usual[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShopWindow:
    """Customers of one shop at one cut-off with what came after; arrays `[n]`.

    Attributes:
        shop: its name; windows of one shop share their weight.
        described: the customers.
        spend: within the horizon, minor units.
        bought: whether there was a purchase at all.
    """

    shop: str
    described: Described
    spend: Floats
    bought: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.spend)

    def churned(self, definition: ChurnDefinition) -> NDArray[np.bool_]:
        """Who left, by any definition: a shop's outcomes can teach another that defines it so."""
        return np.array(
            [
                has_churned(definition, int(spend) if bought else None, usual)
                for spend, bought, usual in zip(
                    self.spend, self.bought, self.described.usual, strict=True
                )
            ],
            dtype=np.bool_,
        )

    def part(self, rows: NDArray[np.intp]) -> "ShopWindow":
        """Some of the customers."""
        return ShopWindow(
            shop=self.shop,
            described=self.described.part(rows),
            spend=self.spend[rows],
            bought=self.bought[rows],
        )


def describe(
    pasts: Sequence[CustomerPast],
    horizon_days: int,
    scale: ShopScale,
    lm_log_odds: Floats | None = None,
) -> Described:
    """Describe customers.

    Args:
        pasts: who.
        horizon_days: over which churn and spend are foreseen.
        scale: of their shop at the same moment.
        lm_log_odds: of leaving, by a language model that has not learnt from this shop `[n]`.
    """
    foreseen = scale.foreseen(pasts, horizon_days)
    features = scale_free_features(pasts, horizon_days, scale, foreseen)
    if lm_log_odds is not None:
        features = np.column_stack([features, lm_log_odds])
    return Described(
        features=features,
        foreseen=foreseen,
        usual=np.array([usual_spend(past, horizon_days) for past in pasts]),
    )


def read_shop_window(
    log: EventLog, cutoff: datetime, horizon_days: int, shop: str, *, most: int = MOST_CUSTOMERS
) -> ShopWindow:
    """Describe a shop's customers at a cut-off, and say what came after.

    What is usual in the shop is measured on all its customers; of many, `most` drawn at random are
    kept.

    Raises:
        TrainingError: nobody had an order before the cut-off, or only just.
    """
    pasts = list(read_pasts(log, cutoff))
    scale = measure_shop(pasts, horizon_days)
    kept = draw(len(pasts), most)
    after = spend_between(log, cutoff, cutoff + timedelta(days=horizon_days))
    return label([pasts[index] for index in kept], after, horizon_days, scale, shop)


def label(
    pasts: Sequence[CustomerPast],
    after: dict[str, int],
    horizon_days: int,
    scale: ShopScale,
    shop: str,
) -> ShopWindow:
    """Pair customers with what they spent after their cut-off.

    Args:
        pasts: the customers, at the cut-off.
        after: purchases within the horizon, minor units; buyers only.
        horizon_days: its length.
        scale: of the shop at the cut-off.
        shop: its name.
    """
    return ShopWindow(
        shop=shop,
        described=describe(pasts, horizon_days, scale),
        spend=np.array([after.get(past.customer_id, 0) for past in pasts], dtype=np.float64),
        bought=np.array([past.customer_id in after for past in pasts], dtype=np.bool_),
    )


def draw(count: int, most: int) -> NDArray[np.intp]:
    """Indices of at most so many, in order, the same every time."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(_SEED).permutation(count)[:most])
