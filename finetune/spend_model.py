"""Expected spend in money, from models that are good at different things.

Trees of mean spend, chance of buying times amount, and a neural network get the big spenders' money
right; a line through log spend and the shop's rhythm get the order of everybody else right. A score
mixes them all, and each customer gets the money that customers of that place in the order are
expected to bring.
"""

from dataclasses import dataclass, replace
from typing import Any

import lightgbm
import numpy as np
from sklearn.linear_model import Ridge

from finetune.calibration import Floats
from finetune.chance_model import TREE_SETTINGS, ChanceModel, fit_chance_model, grown
from finetune.prior_network import PriorNetwork
from finetune.rhythm import Rhythm
from finetune.spread import spread_of

_TWEEDIE_POWER = 1.3
_RIDGE_ALPHA = 30.0
# Of the score: the network, models of the mean, the line through log spend, and the rhythm.
_NETWORK_SHARE, _MEAN_SHARE, _LINE_SHARE, _RHYTHM_SHARE = 0.4, 0.35, 0.15, 0.1
_FEWEST_OF_A_KIND = 20  # buyers and non-buyers, to learn apart who buys and for how much
_STEPS = 201


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendModel:
    """Fitted models; money in minor units.

    Attributes:
        horizon_days: over which spend is foreseen.
        scale: mean spend of the examples, by which trees count.
        mean_trees: LightGBM's text for spend.
        buys: chance of buying anything; None where nearly everybody or nobody does.
        amount_trees: LightGBM's text for a buyer's spend; empty without `buys`.
        log_weights: of the features in a ridge regression of log(1 + spend); then the intercept.
        rhythm: the shop's BG/NBD and gamma-gamma models.
        network: foresees spend; who leaves it foresees for the prior's churn.
        scores: quantiles of the score over the examples, from the least.
        money: log(1 + spend) that customers of these places are expected to bring.
    """

    horizon_days: int
    scale: float
    mean_trees: str
    buys: ChanceModel | None
    amount_trees: str
    log_weights: tuple[float, ...]
    rhythm: Rhythm
    network: PriorNetwork
    scores: tuple[float, ...]
    money: tuple[float, ...]

    def expected(self, features: Floats) -> Floats:
        """Expected spend `[n]`; features as `prior_features` makes them."""
        scores = self._scores(features)
        logs = np.interp(scores, self.scores, self.money)
        # Beyond the ends the score itself goes on, upwards by a factor of three at most: a line
        # knows no bounds, and one odd customer must not outweigh the shop.
        logs += np.clip(scores - self.scores[0], None, 0) + np.clip(scores - self.scores[-1], 0, 1)
        return np.asarray(np.expm1(np.maximum(logs, 0.0)))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "SpendModel":
        """Read what `dataclasses.asdict` made of one."""
        buys = document["buys"]
        return cls(
            **{
                **document,
                "buys": None if buys is None else ChanceModel.from_json(buys),
                "log_weights": tuple(document["log_weights"]),
                "rhythm": Rhythm.from_json(document["rhythm"]),
                "network": PriorNetwork.from_json(document["network"]),
                "scores": tuple(document["scores"]),
                "money": tuple(document["money"]),
            }
        )

    def _scores(self, features: Floats) -> Floats:
        *slopes, intercept = self.log_weights
        line = features @ np.array(slopes) + intercept
        rhythm = np.log1p(self.rhythm.spend(features, self.horizon_days))
        return np.asarray(
            _NETWORK_SHARE * self.network.log_spend(features)
            + _MEAN_SHARE * self._mean(features)
            + _LINE_SHARE * line
            + _RHYTHM_SHARE * rhythm
        )

    def _mean(self, features: Floats) -> Floats:
        """Log(1 + spend) by the models of the mean."""
        by_trees = np.log1p(self.scale * grown(self.mean_trees, features))
        if self.buys is None:
            return np.asarray(by_trees)
        amount = self.scale * grown(self.amount_trees, features)
        return np.asarray((by_trees + np.log1p(self.buys.chances(features) * amount)) / 2)


def fit_spend_model(
    features: Floats,
    spends: Floats,
    trust: Floats,
    rhythm: Rhythm,
    network: PriorNetwork,
    horizon_days: int,
) -> SpendModel:
    """Fit all parts but the rhythm and the network.

    Args:
        features: `[n, features]`, as `prior_features` makes them.
        spends: over the horizon `[n]`, minor units.
        trust: weight of each example `[n]`.
        rhythm: of the shop.
        network: fitted to these examples.
        horizon_days: of the spends.
    """
    scale = max(float(spends.mean()), 1.0)
    bought = spends > 0
    apart = _FEWEST_OF_A_KIND <= bought.sum() <= len(bought) - _FEWEST_OF_A_KIND
    draft = SpendModel(
        horizon_days=horizon_days,
        scale=scale,
        mean_trees=_trees(
            features, spends / scale, trust, "tweedie", tweedie_variance_power=_TWEEDIE_POWER
        ),
        buys=fit_chance_model(features, bought, trust) if apart else None,
        amount_trees=_trees(features[bought], spends[bought] / scale, trust[bought], "gamma")
        if apart
        else "",
        log_weights=_log_weights(features, spends, trust),
        rhythm=rhythm,
        network=network,
        scores=(0.0,),
        money=(0.0,),
    )
    return _with_money(draft, features, spends, trust)


def _trees(features: Floats, answers: Floats, trust: Floats, objective: str, **more: float) -> str:
    settings = {**TREE_SETTINGS, "objective": objective, **more}
    fitted = lightgbm.LGBMRegressor(**settings).fit(features, answers, sample_weight=trust)
    return str(fitted.booster_.model_to_string())


def _log_weights(features: Floats, spends: Floats, trust: Floats) -> tuple[float, ...]:
    centre, spread = features.mean(axis=0), spread_of(features)
    ridge = Ridge(alpha=_RIDGE_ALPHA).fit(
        (features - centre) / spread, np.log1p(spends), sample_weight=trust
    )
    slopes = ridge.coef_ / spread
    return (*(float(slope) for slope in slopes), float(ridge.intercept_ - slopes @ centre))


def _with_money(draft: SpendModel, features: Floats, spends: Floats, trust: Floats) -> SpendModel:
    """Lay the money of the mean models along the score's order, right in total."""
    shares = np.linspace(0, 1, _STEPS)
    scores = draft._scores(features)
    # Strictly rising, so that one place has one amount.
    places, kept = np.unique(np.quantile(scores, shares), return_index=True)
    money = np.quantile(draft._mean(features), shares)[kept]
    fitted = replace(draft, scores=tuple(places.tolist()), money=tuple(money.tolist()))
    total = float(trust @ fitted.expected(features))
    factor = float(trust @ spends) / total if total > 0 else 1.0
    level = np.log1p(factor * np.expm1(money))
    return replace(fitted, money=tuple(level.tolist()))
