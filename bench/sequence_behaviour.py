"""What customers did over some periods, in figures and distributions, real or simulated."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from finetune.calibration import Floats
from finetune.customer_paths import CustomerPaths
from finetune.customer_states import HORIZON_PERIODS, stages_at, tiers_at
from finetune.value import Stage

_LAPSED = tuple(Stage).index(Stage.LAPSED)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Behaviour:
    """What customers did from a period on.

    Attributes:
        spend: of each customer and period, minor units `[n]`.
        total: of each customer over all the periods `[n]`.
        visits: days with a purchase, of each customer and period `[n]`.
        gaps: days between days with a purchase `[n]`.
        figures: of these, and of how they follow each other.
        moves: share of customers by tier at first (row) and at the end (column) `[3, 3]`.
    """

    spend: Floats
    total: Floats
    visits: Floats
    gaps: Floats
    figures: dict[str, float]
    moves: Floats


def behaviour_of(paths: CustomerPaths, first: int, cuts: tuple[float, float]) -> Behaviour:
    """Describe what customers did from the period `first` on."""
    spend = paths.spend[:, first:].astype(np.float64)
    visits = paths.visits[:, first:].astype(np.float64)
    row, day = np.nonzero(paths.visited[:, first * paths.period_days :])
    gaps = np.diff(day)[row[1:] == row[:-1]].astype(np.float64)
    log_spend = np.log1p(spend)
    early, late = (tiers_at(paths, period, cuts) for period in (first, paths.periods))
    moves = np.zeros((3, 3))
    np.add.at(moves, (early, late), 1 / len(spend))
    usual = paths.spend[:, :first].mean(axis=1)
    stages = stages_at(paths, paths.periods, top_tier=late == 2)
    figures = {
        "spend: mean": spend.mean() / 100,
        "spend: median": np.median(spend) / 100,
        "spend: 90 %": np.quantile(spend, 0.9) / 100,
        "spend: 99 %": np.quantile(spend, 0.99) / 100,
        "periods without spend": (spend == 0).mean(),
        "visits a period": visits.mean(),
        "gap: mean days": gaps.mean(),
        "gap: median days": np.median(gaps),
        "gap: 90 % days": np.quantile(gaps, 0.9),
        "autocorrelation, 1 period": _correlation(log_spend[:, :-1], log_spend[:, 1:]),
        "autocorrelation, 3 periods": _correlation(log_spend[:, :-3], log_spend[:, 3:]),
        "same tier at the end": np.trace(moves),
        "declined at the end": (spend[:, -HORIZON_PERIODS:].mean(axis=1) < usual / 2).mean(),
        "lapsed at the end": (stages == _LAPSED).mean(),
    }
    return Behaviour(
        spend=spend.ravel(),
        total=spend.sum(axis=1),
        visits=visits.ravel(),
        gaps=gaps,
        figures={name: float(figure) for name, figure in figures.items()},
        moves=moves,
    )


def distances(real: Behaviour, simulated: Behaviour) -> dict[str, float]:
    """Kolmogorov-Smirnov distances, and the largest difference of a share of tier moves."""
    pairs = {
        "KS: spend a period": (real.spend, simulated.spend),
        "KS: spend in all": (real.total, simulated.total),
        "KS: visits a period": (real.visits, simulated.visits),
        "KS: gaps": (real.gaps, simulated.gaps),
    }
    found = {name: float(ks_2samp(*pair).statistic) for name, pair in pairs.items()}
    return found | {"tier moves: largest": float(np.abs(real.moves - simulated.moves).max())}


def _correlation(earlier: Floats, later: Floats) -> float:
    return float(np.corrcoef(earlier.ravel(), later.ravel())[0, 1])
