"""The cross-shop part of a shop's prior: what other shops teach of who leaves.

A shop's few thousand customers tell its own ways, and what holds in every shop they tell no better
than thousands elsewhere do. Only the order of customers is borrowed; how many leave stays what the
shop's own outcomes say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finetune.calibration import Floats
from finetune.chance_model import ChanceModel
from finetune.cross_shop import CrossShopPrior
from finetune.odds import log_odds
from finetune.scale_free_features import (
    SCALE_FREE_FEATURES,
    ShopScale,
    measure_shop,
    scale_free_features,
)
from retrieval.orders import CustomerPast
from retrieval.shop import ChurnDefinition

_LEAST_CHANCE = 1e-4


def cross_shop_names(*names: str) -> tuple[str, ...]:
    """Names of scale-free features among the prior's, which has some of the same names."""
    return tuple(f"cross_shop_{name}" for name in names)


CROSS_SHOP_FEATURES = cross_shop_names(*SCALE_FREE_FEATURES)
"""Columns of `CrossShopChurn.features`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossShopChurn:
    """A cross-shop prior's chance of leaving, at one moment of one shop.

    Attributes:
        shops: learnt from.
        chance: of leaving as this shop defines it.
        scale: what is usual in the shop at that moment.
        shift: added to the log odds, so that their mean is that of the shop's own models.
    """

    shops: tuple[str, ...]
    chance: ChanceModel
    scale: ShopScale
    shift: float

    @classmethod
    def of(
        cls,
        prior: CrossShopPrior,
        definition: ChurnDefinition,
        pasts: Sequence[CustomerPast],
        horizon_days: int,
    ) -> "CrossShopChurn":
        """Take it from a cross-shop prior.

        Args:
            prior: learnt in other shops.
            definition: of churn.
            pasts: customers of this shop, all at the same moment.
            horizon_days: over which is foreseen.

        Raises:
            TrainingError: there are no customers, or none was observed for any time.
            ValueError: the prior reads more than scale-free features.
        """
        if prior.features != SCALE_FREE_FEATURES:
            raise ValueError(f"it reads {set(prior.features) - set(SCALE_FREE_FEATURES)}, too")
        return cls(
            shops=prior.shops,
            chance=prior.inactive if definition is ChurnDefinition.INACTIVE else prior.decline,
            scale=measure_shop(pasts, horizon_days),
            shift=0.0,
        )

    def at(self, pasts: Sequence[CustomerPast], horizon_days: int) -> "CrossShopChurn":
        """The same at another moment.

        Args:
            pasts: all customers at that moment, or many drawn from them.
            horizon_days: over which is foreseen.

        Raises:
            TrainingError: there are no customers, or none was observed for any time.
        """
        return replace(self, scale=measure_shop(pasts, horizon_days))

    def features(self, pasts: Sequence[CustomerPast], horizon_days: int) -> Floats:
        """What it reads `[n, 28]`, in the order of `CROSS_SHOP_FEATURES`."""
        return scale_free_features(pasts, horizon_days, self.scale)

    def log_odds(self, features: Floats) -> Floats:
        """Of leaving `[n]`; features as `features` makes them."""
        return log_odds(self.chance.chances(features), _LEAST_CHANCE) + self.shift

    def levelled(self, features: Floats, own: Floats) -> "CrossShopChurn":
        """The same with its mean log odds at those of the shop's own models.

        Args:
            features: of customers `[n, 28]`.
            own: log odds of leaving of the same customers, by the shop's models `[n]`.
        """
        return replace(self, shift=self.shift + float(np.mean(own - self.log_odds(features))))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "CrossShopChurn":
        """Read what `dataclasses.asdict` made of one."""
        return cls(
            shops=tuple(document["shops"]),
            chance=ChanceModel.from_json(document["chance"]),
            scale=ShopScale.from_json(document["scale"]),
            shift=document["shift"],
        )
