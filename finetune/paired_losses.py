"""Two adapters on the same customers: measures side by side, with a paired bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from finetune.calibration import Floats
from finetune.gate_verdict import GateRow
from finetune.labels import Example, tier_of
from finetune.metrics import auc_of_ranks
from finetune.prior import Answers

_DRAWS = 1000
# 98%, for eight measures are looked at: by chance alone one in a hundred each falls on the worse
# side, so that noise refuses less than one equal adapter in ten.
_INTERVAL = (0.01, 0.99)
_LEAST_CHANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswers:
    """An adapter's answers with the spends at which its own tiers begin (minor units)."""

    answers: Answers
    thresholds: tuple[float, ...]


def compare_paired(
    current: JudgedAnswers, new: JudgedAnswers, examples: Sequence[Example], tolerance: float
) -> tuple[GateRow, ...]:
    """Judge two adapters on what the same customers did.

    Log loss of churn; its AUC; log loss of the tier less that of guessing by the window's tier
    shares, since each adapter draws its tiers at its own spends; Tweedie deviance (power 1.5) of
    spend in units of the mean spend.

    Args:
        current: of the adapter in use.
        new: of the one to be judged.
        examples: the customers, in the order of the answers, some of whom left and some stayed.
        tolerance: share of a measure by which the new one may be worse and still count as good.
    """
    churned = np.array([example.churned for example in examples])
    spends = np.array([example.spend for example in examples], dtype=np.float64)
    draws = np.random.default_rng(0).integers(0, len(examples), (_DRAWS, len(examples)))
    sides = (current, new)
    churn = [_log_losses(side.answers.churn, churned) for side in sides]
    tier = [_tier_losses(side, spends) for side in sides]
    guessing = max(_entropy(current, spends), 1e-9)
    spend = [_deviances(side.answers.spend, spends) for side in sides]
    losses = (
        ("churn log loss", churn, float(churn[0].mean())),
        ("tier log loss", tier, guessing),
        ("spend deviance", spend, float(spend[0].mean())),
    )
    rows = [_row(name, pair, draws, tolerance * scale) for name, pair, scale in losses]
    auc = _auc_row([side.answers.churn for side in sides], churned, draws, tolerance)
    return (rows[0], auc, *rows[1:])


def _row(name: str, pair: list[Floats], draws: NDArray[np.int_], allowed: float) -> GateRow:
    difference = pair[1] - pair[0]
    low, high = np.quantile(difference[draws].mean(axis=1), _INTERVAL)
    return GateRow(
        measure=name,
        current=float(pair[0].mean()),
        new=float(pair[1].mean()),
        low=float(low),
        high=float(high),
        allowed=allowed,
    )


def _auc_row(
    chances: list[Floats], churned: NDArray[np.bool_], draws: NDArray[np.int_], tolerance: float
) -> GateRow:
    current, new = (auc_of_ranks(churned, rankdata(side)) for side in chances)
    drops = [
        auc_of_ranks(churned[rows], rankdata(chances[0][rows]))
        - auc_of_ranks(churned[rows], rankdata(chances[1][rows]))
        for rows in draws
        if 0 < churned[rows].mean() < 1
    ]
    low, high = np.quantile(drops, _INTERVAL)
    return GateRow(
        measure="churn AUC",
        current=current,
        new=new,
        low=float(low),
        high=float(high),
        allowed=tolerance * current,
    )


def _log_losses(chances: Floats, churned: NDArray[np.bool_]) -> Floats:
    right = np.where(churned, chances, 1 - chances)
    return np.asarray(-np.log(np.clip(right, _LEAST_CHANCE, 1.0)))


def _tiers(side: JudgedAnswers, spends: Floats) -> NDArray[np.int_]:
    return np.array([tier_of(spend, side.thresholds) for spend in spends])


def _tier_losses(side: JudgedAnswers, spends: Floats) -> Floats:
    tiers = _tiers(side, spends)
    shares = np.bincount(tiers, minlength=side.answers.tiers.shape[1]) / len(tiers)
    right = side.answers.tiers[np.arange(len(tiers)), tiers]
    return np.asarray(np.log(shares[tiers]) - np.log(np.clip(right, _LEAST_CHANCE, 1.0)))


def _entropy(side: JudgedAnswers, spends: Floats) -> float:
    tiers = _tiers(side, spends)
    shares = np.bincount(tiers, minlength=side.answers.tiers.shape[1]) / len(tiers)
    return float(-np.log(shares[tiers]).mean())


def _deviances(expected: Floats, spends: Floats) -> Floats:
    mean = max(float(spends.mean()), 1.0)
    root = np.sqrt(np.maximum(expected / mean, 1e-6))
    return np.asarray(4 * (np.sqrt(spends / mean) - root) ** 2 / root)
