"""What other shops teach of churn and spend, for a shop that has no labels of its own.

The other shops' outcomes are labelled by either definition of churn, and described in numbers that
mean the same everywhere. `finetune.day_one` puts these models on the level of one shop.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import lightgbm
import numpy as np
from scipy.stats import norm

from finetune.calibration import Floats
from finetune.chance_model import TREE_SETTINGS, ChanceModel, fit_chance_model, grown
from finetune.errors import TrainingError
from finetune.scale_free_features import SCALE_FREE_FEATURES
from finetune.shop_windows import Described, ShopWindow
from retrieval.shop import ChurnDefinition

LM_FEATURE = "lm_log_odds"
"""Read where windows carry a language model's log odds of leaving."""

_TWEEDIE_POWER = 1.3
_MOST_TIMES_FORESEEN = 20.0  # spend beyond is cut, lest one customer in a shop decide its trees
# What is assumed before shops are seen: four of five spend within a factor of 1.5 of what others
# foretell of them; it counts as much as two shops seen.
_ASSUMED_LEVEL = float(np.log(1.5) / norm.ppf(0.9))
_ASSUMED_SHOPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossShopPrior:
    """Models learnt in several shops.

    Attributes:
        shops: learnt from.
        features: names of the columns they read, so that another set is refused.
        feature_spreads: standard deviation of each column within a window, the mean over windows;
            one where it is 0.
        inactive: chance of no purchase in the horizon.
        decline: chance of spending under half of one's usual.
        spend_trees: LightGBM's text for spend over what BG/NBD and gamma-gamma foresee.
        spend_scale: of what the trees say.
        spread: of the logarithm of a buyer's spend around its expectation.
        level_error: standard deviation of the logarithm of a new shop's total spend over what is
            foretold, from shops that were left out in turn.
    """

    shops: tuple[str, ...]
    features: tuple[str, ...]
    feature_spreads: tuple[float, ...]
    inactive: ChanceModel
    decline: ChanceModel
    spend_trees: str
    spend_scale: float
    spread: float
    level_error: float

    def churn(self, described: Described, definition: ChurnDefinition) -> Floats:
        """Chance of leaving `[n]`, on the level of the shops learnt from."""
        self._check(described)
        model = self.inactive if definition is ChurnDefinition.INACTIVE else self.decline
        return model.chances(described.features)

    def spend(self, described: Described) -> Floats:
        """Expected spend over the horizon `[n]`, minor units."""
        self._check(described)
        ratio = grown(self.spend_trees, described.features) * self.spend_scale
        return np.asarray(ratio * np.maximum(described.foreseen.spend, 1.0))

    def widening(self, labelled: int, movement: float = 0.0) -> float:
        """By how much an interval of log spend is wider than where the shop's level is known.

        The level of a new shop is off by `level_error`; each customer whose outcome is known tells
        of it as much as one draw with `spread` can.

        Args:
            labelled: customers whose outcome is known.
            movement: standard deviation by which the log of all spends may move besides, as with
                the season; no label tells of it.
        """
        left = np.hypot(self.level_error_after(labelled), movement)
        return float(np.sqrt(1 + (left / self.spread) ** 2))

    def level_error_after(self, labelled: int) -> float:
        """What is left of `level_error`, of the log of a total, after so many labels."""
        return float((self.level_error**-2 + labelled / self.spread**2) ** -0.5)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "CrossShopPrior":
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is damaged, or reads other features than this version makes.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            prior = cls(
                shops=tuple(document["shops"]),
                features=tuple(document["features"]),
                feature_spreads=tuple(document["feature_spreads"]),
                inactive=ChanceModel.from_json(document["inactive"]),
                decline=ChanceModel.from_json(document["decline"]),
                spend_trees=document["spend_trees"],
                spend_scale=document["spend_scale"],
                spread=document["spread"],
                level_error=document["level_error"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no {error}") from error
        if prior.features not in (SCALE_FREE_FEATURES, (*SCALE_FREE_FEATURES, LM_FEATURE)):
            raise ValueError("it reads other features than this version makes")
        return prior

    def _check(self, described: Described) -> None:
        given = described.features.shape[1]
        if given != len(self.features):
            raise ValueError(
                f"customers are described by {given} numbers, and {len(self.features)} are read"
            )


def fit_cross_shop(windows: Sequence[ShopWindow]) -> CrossShopPrior:
    """Fit on labelled windows of several shops; each shop counts the same.

    How far off a new shop may be is learnt by leaving each shop out in turn.

    Raises:
        TrainingError: there is no window, or one without customers.
    """
    if not windows or not all(len(window) for window in windows):
        raise TrainingError(
            "There are no customers of another shop to learn from.",
            hint="Give labelled windows of at least one shop, each with customers.",
        )
    prior = _fit(windows)
    shops = prior.shops
    if len(shops) < 2:
        return prior
    levels = []
    for shop in shops:
        others = _fit([window for window in windows if window.shop != shop])
        levels.append(
            float(np.mean([_level(others, window) for window in windows if window.shop == shop]))
        )
    squares = _ASSUMED_SHOPS * _ASSUMED_LEVEL**2 + float(np.square(levels).sum())
    return replace(prior, level_error=float(np.sqrt(squares / (_ASSUMED_SHOPS + len(levels)))))


def _fit(windows: Sequence[ShopWindow]) -> CrossShopPrior:
    """All but the level error, which is the assumed one."""
    features = np.concatenate([window.described.features for window in windows])
    spreads = np.mean([window.described.features.std(axis=0) for window in windows], axis=0)
    trust = _trust(windows)
    names = SCALE_FREE_FEATURES
    if features.shape[1] == len(names) + 1:
        names = (*names, LM_FEATURE)
    # Within a shop a customer counts by the money foreseen, so that totals come out right.
    money = [np.maximum(window.described.foreseen.spend, 1.0) for window in windows]
    ratio = np.concatenate(
        [window.spend / foreseen for window, foreseen in zip(windows, money, strict=True)]
    )
    ratio = np.minimum(ratio, _MOST_TIMES_FORESEEN)
    by_money = trust * np.concatenate([foreseen / foreseen.mean() for foreseen in money])
    scale = max(float(np.average(ratio, weights=by_money)), 1e-6)
    trees = lightgbm.LGBMRegressor(
        **TREE_SETTINGS, objective="tweedie", tweedie_variance_power=_TWEEDIE_POWER
    ).fit(features, ratio / scale, sample_weight=by_money)

    def learnt(definition: ChurnDefinition) -> ChanceModel:
        churned = np.concatenate([window.churned(definition) for window in windows])
        return fit_chance_model(features, churned, trust)

    draft = CrossShopPrior(
        shops=tuple(sorted({window.shop for window in windows})),
        features=names,
        feature_spreads=tuple(float(spread) for spread in np.where(spreads > 0, spreads, 1.0)),
        inactive=learnt(ChurnDefinition.INACTIVE),
        decline=learnt(ChurnDefinition.DECLINE),
        spend_trees=trees.booster_.model_to_string(),
        spend_scale=scale,
        spread=1.0,
        level_error=_ASSUMED_LEVEL,
    )
    return replace(draft, spread=float(np.mean([_spread(draft, window) for window in windows])))


def _trust(windows: Sequence[ShopWindow]) -> Floats:
    """Weight of each customer: one on average, the same in total for each shop and its windows."""
    shops = [window.shop for window in windows]
    weights = np.concatenate(
        [np.full(len(window), 1 / (len(window) * shops.count(window.shop))) for window in windows]
    )
    return np.asarray(weights * len(weights) / weights.sum())


def _spread(prior: CrossShopPrior, window: ShopWindow) -> float:
    """Spread of a buyer's log spend around what is expected of a buyer."""
    bought = window.spend > 0
    if bought.sum() < 2:
        return 1.0
    buys = 1 - window.described.foreseen.no_purchase
    expected = np.maximum(prior.spend(window.described) / np.maximum(buys, 1e-3), 1e-6)
    return max(float(np.std(np.log(window.spend[bought] / expected[bought]))), 0.1)


def _level(prior: CrossShopPrior, window: ShopWindow) -> float:
    """Log of the total spent over the total foretold."""
    foretold = float(prior.spend(window.described).sum())
    return float(np.log(max(float(window.spend.sum()), 1.0) / max(foretold, 1.0)))
