"""Whether an effect differs from customer to customer, and by how much.

The R-learner (Nie and Wager, 2021): what is left of the outcome after what was to be expected is
explained by what is left of the contact after its chance, times an effect that is linear in the
customer's features. Customers near a chance of one half count most, as in `finetune.overlap`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge

from finetune.calibration import Floats
from finetune.campaign_panels import Panel
from finetune.campaign_study import chances_of, outcome_of
from finetune.cross_fitting import FOLDS, folds_of
from finetune.effect_features import RELATIVE_COLUMNS
from finetune.spread import spread_of
from finetune.studied_effects import Measure, Method
from finetune.uplift import ridge

PENALTIES = (1e2, 1e3, 1e4)
_ROUNDS = 200
_RANK_95 = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """One campaign, ready for learning how its effect differs.

    Attributes:
        features: the panel's `[n, k]`.
        outcome: minus what its features foresaw `[n]`.
        contact: 1 or 0, minus its chance `[n]`.
    """

    kind: str
    customer_ids: tuple[str, ...]
    features: Floats
    outcome: Floats
    contact: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectSlopes:
    """An effect that is a constant of the kind plus a linear part.

    Attributes:
        constants: effect on a customer with average features, by kind.
        centre: averages of the features that are read.
        lowest: of each feature in what was learnt from; nothing is foreseen beyond it.
        highest: likewise.
        slopes: effect of one unit more of each; all 0 for one effect for everybody.
    """

    constants: dict[str, float]
    centre: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    slopes: tuple[float, ...]

    def departures(self, features: Floats) -> Floats:
        """How far each customer's effect is from the constant `[n]`, from `effect_features`."""
        read = np.clip(features[:, RELATIVE_COLUMNS], self.lowest, self.highest)
        return np.asarray((read - np.array(self.centre)) @ np.array(self.slopes))

    def effects(self, kind: str, features: Floats) -> Floats:
        """Effect on each customer `[n]`."""
        return self.constants.get(kind, 0.0) + self.departures(features)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopesVerdict:
    """Whether slopes foresee later campaigns better than constants.

    Attributes:
        penalty: of the ridge, chosen on earlier campaigns.
        gain: fall of the mean squared error on later ones, relative; positive is better.
        low: lower end of its 95% interval over customers.
        high: upper end.
    """

    penalty: float
    gain: float
    low: float
    high: float

    @property
    def better(self) -> bool:
        """Whether the whole interval speaks for slopes."""
        return self.low > 0


def residuals_of(panel: Panel, method: Method, seed: int = 0) -> Residuals:
    """Take off what was to be expected of spend, by ridge regressions of the other folds.

    An effect may depend only on what the panel's features say. What difference in differences
    compares is alike given these; given the spend of the window before the start, which is part of
    its outcome, it is not: those at a low point by chance would rise again with or without a
    contact.
    """
    outcome = outcome_of(panel, method, Measure.SPEND)
    fold = folds_of(panel.treated, seed)
    left = np.empty(len(outcome))
    for part in range(FOLDS):
        held = fold == part
        model = ridge()
        model.fit(panel.features[~held], outcome[~held])
        left[held] = outcome[held] - model.predict(panel.features[held])
    return Residuals(
        kind=panel.kind,
        customer_ids=panel.customer_ids,
        features=panel.features,
        outcome=left,
        contact=panel.treated - chances_of(panel, seed),
    )


def fit_slopes(campaigns: Sequence[Residuals], penalty: float) -> EffectSlopes:
    """Fit constants and slopes; an infinite penalty gives constants alone."""
    kinds = sorted({each.kind for each in campaigns})
    constants = {
        kind: _constant([each for each in campaigns if each.kind == kind]) for kind in kinds
    }
    read = np.vstack([each.features[:, RELATIVE_COLUMNS] for each in campaigns])
    centre, spread = read.mean(axis=0), spread_of(read)
    if np.isinf(penalty):
        slopes = np.zeros(len(centre))
    else:
        left = np.concatenate([e.outcome - e.contact * constants[e.kind] for e in campaigns])
        contact = np.concatenate([each.contact for each in campaigns])
        model = Ridge(alpha=penalty, fit_intercept=False)
        model.fit((read - centre) / spread * contact[:, None], left)
        slopes = model.coef_ / spread
    return EffectSlopes(
        constants=constants,
        centre=tuple(float(value) for value in centre),
        lowest=tuple(float(value) for value in read.min(axis=0)),
        highest=tuple(float(value) for value in read.max(axis=0)),
        slopes=tuple(float(slope) for slope in slopes),
    )


def choose_penalty(campaigns: Sequence[Residuals]) -> float:
    """The best of `PENALTIES` on each campaign in turn, learnt from the others."""
    if len(campaigns) < 2:
        return PENALTIES[-1]
    losses = {
        penalty: sum(
            float(squared_errors(fit_slopes(others, penalty), held).sum())
            for held, others in _each_left_out(campaigns)
        )
        for penalty in PENALTIES
    }
    return min(losses, key=losses.__getitem__)


def judge_slopes(
    earlier: Sequence[Residuals], later: Sequence[Residuals], seed: int = 0
) -> SlopesVerdict:
    """Learn slopes and constants from earlier campaigns and compare them on later ones."""
    penalty = choose_penalty(earlier)
    slopes, constants = fit_slopes(earlier, penalty), fit_slopes(earlier, np.inf)
    by_customer: dict[str, list[float]] = {}
    for campaign in later:
        before, after = squared_errors(constants, campaign), squared_errors(slopes, campaign)
        for customer_id, base, fall in zip(
            campaign.customer_ids, before, before - after, strict=True
        ):
            sums = by_customer.setdefault(customer_id, [0.0, 0.0])
            sums[0] += float(base)
            sums[1] += float(fall)
    base, fall = np.array(list(by_customer.values())).T
    drawn = np.random.default_rng(seed).integers(len(base), size=(_ROUNDS, len(base)))
    gains = fall[drawn].sum(axis=1) / base[drawn].sum(axis=1)
    low, high = np.percentile(gains, _RANK_95)
    return SlopesVerdict(
        penalty=penalty, gain=float(fall.sum() / base.sum()), low=float(low), high=float(high)
    )


def squared_errors(effect: EffectSlopes, campaign: Residuals) -> Floats:
    """The R-learner's loss of each customer `[n]`."""
    foreseen = campaign.contact * effect.effects(campaign.kind, campaign.features)
    return np.asarray((campaign.outcome - foreseen) ** 2)


def _constant(campaigns: Sequence[Residuals]) -> float:
    moved = sum(float((each.contact * each.outcome).sum()) for each in campaigns)
    return moved / sum(float((each.contact**2).sum()) for each in campaigns)


def _each_left_out(
    campaigns: Sequence[Residuals],
) -> list[tuple[Residuals, list[Residuals]]]:
    return [(held, [each for each in campaigns if each is not held]) for held in campaigns]
