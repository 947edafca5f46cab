"""The chance that a contacted customer redeems at least one coupon of a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from finetune.calibration import Floats
from finetune.campaign_panels import Panel
from finetune.effect_features import EFFECT_FEATURES, RELATIVE_COLUMNS
from finetune.errors import TrainingError
from finetune.spread import spread_of

_LOGISTIC_C = 0.05
_FEWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionModel:
    """A logistic regression, whose chances are calibrated by its own loss.

    Attributes:
        features: names of the columns it reads, so that another set is refused.
        lowest: of each feature in what was learnt from; nothing is foreseen beyond it.
        highest: likewise.
        kinds: of campaign; each adds its own part.
        kind_shares: of the contacts learnt from; an unknown kind counts as their mix.
        weights: of the features, unscaled, then of the kinds.
    """

    features: tuple[str, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    kinds: tuple[str, ...]
    kind_shares: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def chances(self, features: Floats, kind: str) -> Floats:
        """Chance of at least one redemption `[n]` from `effect_features` `[n, k]`."""
        within = np.clip(features[:, RELATIVE_COLUMNS], self.lowest, self.highest)
        of_kind = (
            _of_kind(len(features), kind, self.kinds)
            if kind in self.kinds
            else np.tile(self.kind_shares, (len(features), 1))
        )
        read = np.column_stack([within, of_kind])
        return np.asarray(1 / (1 + np.exp(-(read @ np.array(self.weights) + self.intercept))))


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionQuality:
    """How a model did on contacts that it had not seen.

    Attributes:
        auc: None where all did the same.
        brier: mean squared error of the chances.
        base_rate: share of the earlier contacts that redeemed.
        base_brier: of saying that share to everybody.
        expected: share that the model expected to redeem.
        redeemed: share that did.
    """

    contacts: int
    auc: float | None
    brier: float
    base_rate: float
    base_brier: float
    expected: float
    redeemed: float


def fit_redemption(panels: Sequence[Panel]) -> RedemptionModel:
    """Fit on the contacted customers of campaigns, as they were known at the start.

    Where too few redeemed, or nearly all, to tell them apart, everybody has the share that did, by
    the rule of succession.

    Args:
        panels: of campaigns that are over, at their starts.

    Raises:
        TrainingError: there are no panels.
    """
    if not panels:
        raise TrainingError(
            "No campaign that could be studied is over yet.",
            hint="Learn again when one is, and its redemptions are in contacts.parquet.",
        )
    kinds = tuple(sorted({panel.kind for panel in panels}))
    seen = np.vstack([p.features[p.treated][:, RELATIVE_COLUMNS] for p in panels])
    of_kind = np.vstack([_of_kind(int(p.treated.sum()), p.kind, kinds) for p in panels])
    redeemed = contacted_redeemed(panels)
    weights, intercept = _fit(np.column_stack([seen, of_kind]), redeemed)
    return RedemptionModel(
        features=tuple(EFFECT_FEATURES[column] for column in RELATIVE_COLUMNS),
        lowest=tuple(float(value) for value in seen.min(axis=0)),
        highest=tuple(float(value) for value in seen.max(axis=0)),
        kinds=kinds,
        kind_shares=tuple(float(share) for share in of_kind.mean(axis=0)),
        weights=tuple(float(weight) for weight in weights),
        intercept=intercept,
    )


def judge_redemption(
    model: RedemptionModel, earlier: Sequence[Panel], later: Sequence[Panel]
) -> RedemptionQuality:
    """Judge a model of the earlier campaigns on the later ones."""
    chances = np.concatenate([model.chances(p.features[p.treated], p.kind) for p in later])
    redeemed = contacted_redeemed(later)
    base = float(contacted_redeemed(earlier).mean())
    both = 0 < redeemed.mean() < 1
    return RedemptionQuality(
        contacts=len(redeemed),
        auc=float(roc_auc_score(redeemed, chances)) if both else None,
        brier=float(((chances - redeemed) ** 2).mean()),
        base_rate=base,
        base_brier=float(((base - redeemed) ** 2).mean()),
        expected=float(chances.mean()),
        redeemed=float(redeemed.mean()),
    )


def contacted_redeemed(panels: Sequence[Panel]) -> Floats:
    """1 for each contacted customer who redeemed, else 0, panel after panel."""
    return np.concatenate([(p.redemptions[p.treated] > 0).astype(float) for p in panels])


def _fit(read: Floats, redeemed: Floats) -> tuple[Floats, float]:
    """Weights of unscaled columns, and the intercept."""
    yes, no = float(redeemed.sum()), float((1 - redeemed).sum())
    if min(yes, no) < _FEWEST:
        return np.zeros(read.shape[1]), float(np.log((yes + 1) / (no + 1)))
    centre, spread = read.mean(axis=0), spread_of(read)
    model = LogisticRegression(C=_LOGISTIC_C, max_iter=3000).fit((read - centre) / spread, redeemed)
    weights = model.coef_[0] / spread
    return weights, float(model.intercept_[0] - weights @ centre)


def _of_kind(rows: int, kind: str, kinds: tuple[str, ...]) -> Floats:
    return np.tile([float(kind == known) for known in kinds], (rows, 1))
