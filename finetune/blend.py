"""How much the statistical prior counts beside the language model, chosen on validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import log_loss, mean_tweedie_deviance

from finetune.calibration import Floats
from finetune.prior import Answers

_SHARES = tuple(round(share, 1) for share in np.arange(0, 1.01, 0.1))
_LEAST_CHANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """The prior's share in each answer; 0 is the language model alone, 1 the prior alone."""

    churn: float = 0.0
    tier: float = 0.0
    spend: float = 0.0

    def mix(self, model: Answers, prior: Answers) -> Answers:
        """Mix the answers of both about the same customers: chances as log odds, spend as money."""
        return Answers(
            churn=_mixed_churn(model.churn, prior.churn, self.churn),
            tiers=_mixed_tiers(model.tiers, prior.tiers, self.tier),
            spend=(1 - self.spend) * model.spend + self.spend * prior.spend,
        )


def fit_blend(
    model: Answers,
    prior: Answers,
    *,
    tiers: Sequence[int],
    churned: Sequence[bool],
    spends: Sequence[float],
) -> Blend:
    """Choose the shares with the lowest loss on validation customers.

    Log loss for churn and tier, Tweedie deviance (power 1.5) for spend. Neither side may have been
    trained on these customers.
    """
    labels = list(range(model.tiers.shape[1]))
    return Blend(
        churn=_best(
            lambda share: log_loss(
                churned, _mixed_churn(model.churn, prior.churn, share), labels=[False, True]
            )
        ),
        tier=_best(
            lambda share: log_loss(
                tiers, _mixed_tiers(model.tiers, prior.tiers, share), labels=labels
            )
        ),
        spend=_best(
            lambda share: mean_tweedie_deviance(
                spends,
                np.maximum((1 - share) * model.spend + share * prior.spend, 1e-6),
                power=1.5,
            )
        ),
    )


def _best(loss: Callable[[float], float]) -> float:
    return min(_SHARES, key=loss)


def _mixed_churn(model: Floats, prior: Floats, share: float) -> Floats:
    log_odds = [
        np.log(chance) - np.log1p(-chance)
        for chance in (np.clip(side, _LEAST_CHANCE, 1 - _LEAST_CHANCE) for side in (model, prior))
    ]
    return np.asarray(1 / (1 + np.exp(-((1 - share) * log_odds[0] + share * log_odds[1]))))


def _mixed_tiers(model: Floats, prior: Floats, share: float) -> Floats:
    raw = np.exp(
        (1 - share) * np.log(np.maximum(model, _LEAST_CHANCE))
        + share * np.log(np.maximum(prior, _LEAST_CHANCE))
    )
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))
