"""How much the statistical prior counts beside the language model, chosen on validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.calibration import Floats
from finetune.prior import Answers

_SHARES = tuple(tenths / 10 for tenths in range(11))
_LEAST_CHANCE = 1e-4
_LEAST_SPEND = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """The prior's share in each answer; 0 is the language model alone, 1 the prior alone."""

    churn: float = 0.0
    tier: float = 0.0
    spend: float = 0.0

    @property
    def prior_alone(self) -> bool:
        """Whether the language model need not be asked."""
        return self.churn == self.tier == self.spend == 1

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
    """Choose the shares by their loss on validation customers.

    Log loss for churn and tier, Tweedie deviance (power 1.5) for spend. The prior answers in
    milliseconds and the language model in a tenth of a second, so the model counts for no more
    than it shows: of the shares whose loss is within one standard error of the least (Breiman et
    al., 1984), the one with most of the prior is taken. Neither side may have been trained on
    these customers.
    """
    left, reached = np.asarray(churned, dtype=bool), np.asarray(tiers)
    spent = np.asarray(spends, dtype=np.float64)
    rows = np.arange(len(spent))

    def churn_losses(share: float) -> Floats:
        chance = _mixed_churn(model.churn, prior.churn, share)
        return np.asarray(-np.log(np.where(left, chance, 1 - chance)))

    def tier_losses(share: float) -> Floats:
        return np.asarray(-np.log(_mixed_tiers(model.tiers, prior.tiers, share)[rows, reached]))

    def spend_losses(share: float) -> Floats:
        expected = np.maximum((1 - share) * model.spend + share * prior.spend, _LEAST_SPEND)
        return _tweedie_deviances(spent, expected)

    return Blend(
        churn=_cautious(churn_losses), tier=_cautious(tier_losses), spend=_cautious(spend_losses)
    )


def _cautious(losses: Callable[[float], Floats]) -> float:
    """The share with most of the prior that is not told apart from the best one."""
    by_share = {share: losses(share) for share in _SHARES}
    best = min(by_share.values(), key=np.mean)
    for share in reversed(_SHARES):
        worse = by_share[share] - best
        if worse.mean() <= worse.std() / np.sqrt(len(worse)):
            return float(share)
    raise AssertionError("the best share is as good as itself")


def _tweedie_deviances(spent: Floats, expected: Floats) -> Floats:
    """Deviance of each customer, of power 1.5."""
    return np.asarray(
        2 * (2 * spent / np.sqrt(expected) + 2 * np.sqrt(expected) - 4 * np.sqrt(spent))
    )


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
