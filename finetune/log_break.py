"""Whether new rows of a log break with the rows before them.

A log's level may drift; how what customers did bears on what they do next hardly moves from one
window to the next. Chances learnt by counting from the window that is trusted must therefore
foresee a later window nearly as well. Where they do not, the later rows do not describe the same
customers any more: labels turned round, ids mixed up, weeks missing. The test leans on the trusted
window alone, so new rows cannot make it agree with themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from finetune.calibration import Floats
from finetune.chance_model import ChanceModel, fit_chance_model
from finetune.customer_features import customer_features
from finetune.held_out import is_held_out
from finetune.labels import Example
from finetune.metrics import auc_of_ranks
from retrieval.history import usual_spend

_FOLD_SEED = 1
_DRAWS = 500
# Of how far chances rank leavers above stayers (AUC less one half), what a later window must keep;
# between windows of real shops 0.89 to 1.1 were seen, and 0.4 with three labels in ten turned.
_LEAST_KEPT = 0.75
# Of customers, by which the share that left may differ from what was foreseen of the same
# customers: a Christmas season moved it by 0.09.
_GREATEST_SHIFT = 0.15
_LEAST_SIGNAL = 0.05  # of AUC above one half, below which there is nothing to lose
_FEWEST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakTest:
    """How one later window fits what the trusted one taught.

    Attributes:
        cutoff: ISO moment of the later window.
        horizon_days: over which both windows tell what customers did.
        customers: in it.
        auc_before: of chances of leaving in the trusted window, each customer's from the others.
        auc_after: of the same models in the later window.
        foreseen: share of its customers who were to leave.
        left: share who left.
        spend_before: rank correlation of usual spend with spend in the trusted window.
        spend_after: the same in the later window.
        reasons: why it counts as a break; none where it does not.
    """

    cutoff: str
    horizon_days: int
    customers: int
    auc_before: float
    auc_after: float
    foreseen: float
    left: float
    spend_before: float
    spend_after: float
    reasons: tuple[str, ...]


def compare_windows(
    before: Sequence[Example], after: Sequence[Example], horizon_days: int
) -> BreakTest | None:
    """Learn from the trusted window and foresee the later one.

    Args:
        before: the trusted window's customers with what they did.
        after: the later window's.
        horizon_days: of both.

    Returns:
        None where a window is too small, or all of its customers did the same.
    """
    if not (_can_be_judged(before) and _can_be_judged(after)):
        return None
    models, bounds = _models_by_fold(before, horizon_days)
    old = _Window(before, models, bounds, horizon_days)
    new = _Window(after, models, bounds, horizon_days)
    draws = np.random.default_rng(0)
    old_draws = [old.resampled(draws) for _ in range(_DRAWS)]
    new_draws = [new.resampled(draws) for _ in range(_DRAWS)]
    reasons = []
    for what, index in (("who leaves", 0), ("who spends most", 1)):
        kept = _kept(old.signals()[index], new.signals()[index])
        best = _kept_at_best([d[index] for d in old_draws], [d[index] for d in new_draws])
        if old.signals()[index] >= _LEAST_SIGNAL and max(kept, best) < _LEAST_KEPT:
            reasons.append(
                f"from what customers did before, {what} can be told only {max(kept, 0.0):.0%} as "
                "well as in the rows before it"
            )
    shift = new.left - new.foreseen
    spread = float(np.std([draw[2] for draw in new_draws]))
    if abs(shift) - 1.645 * spread > _GREATEST_SHIFT:
        reasons.append(
            f"{new.left:.0%} of its customers left where {new.foreseen:.0%} were to be expected"
        )
    return BreakTest(
        cutoff=after[0].past.as_of.isoformat(),
        horizon_days=horizon_days,
        customers=len(after),
        auc_before=0.5 + old.signals()[0],
        auc_after=0.5 + new.signals()[0],
        foreseen=new.foreseen,
        left=new.left,
        spend_before=old.signals()[1],
        spend_after=new.signals()[1],
        reasons=tuple(reasons),
    )


class _Window:
    """A window's outcomes beside what was foreseen of them."""

    def __init__(
        self,
        examples: Sequence[Example],
        models: Sequence[ChanceModel],
        bounds: tuple[Floats, Floats],
        horizon_days: int,
    ) -> None:
        pasts = [example.past for example in examples]
        # Within what the trusted window saw: beyond it the models would only extrapolate.
        features = np.clip(customer_features(pasts, horizon_days), *bounds)
        folds = _folds(examples)
        chances = np.column_stack([model.chances(features) for model in models])
        # Each customer's chance comes from the model that has not learnt from them.
        self._chances = chances[np.arange(len(examples)), folds]
        self._churned = np.array([example.churned for example in examples])
        self._usual = rankdata([usual_spend(past, horizon_days) for past in pasts])
        self._spends = rankdata([example.spend for example in examples])
        self.foreseen = float(self._chances.mean())
        self.left = float(self._churned.mean())

    def signals(self, rows: Any = slice(None)) -> tuple[float, float, float]:
        """AUC above one half, rank correlation of spend, share that left less the foreseen."""
        churned, chances = self._churned[rows], self._chances[rows]
        varied = 0 < churned.mean() < 1
        signal = auc_of_ranks(churned, rankdata(chances)) - 0.5 if varied else 0.0
        spends, usual = self._spends[rows], self._usual[rows]
        # On ranks of the whole window; a resample's own ranks would cost more and say the same.
        spread = spends.std() > 0 and usual.std() > 0
        correlation = float(np.corrcoef(spends, usual)[0, 1]) if spread else 0.0
        return signal, correlation, float(churned.mean() - chances.mean())

    def resampled(self, draws: np.random.Generator) -> tuple[float, float, float]:
        """The same of as many customers, drawn with replacement."""
        return self.signals(draws.integers(0, len(self._churned), len(self._churned)))


def _models_by_fold(
    examples: Sequence[Example], horizon_days: int
) -> tuple[list[ChanceModel], tuple[Floats, Floats]]:
    """A model from each half of the customers, for the other; least and greatest features seen."""
    features = customer_features([example.past for example in examples], horizon_days)
    churned = np.array([example.churned for example in examples])
    folds = _folds(examples)
    models = [
        fit_chance_model(features[chosen], churned[chosen], np.ones(int(chosen.sum())))
        for chosen in (folds != 0, folds != 1)
    ]
    return models, tuple(np.quantile(features, (0.01, 0.99), axis=0))


def _folds(examples: Sequence[Example]) -> Any:
    """Half of the customers each, the same in every window."""
    return np.array(
        [int(is_held_out(example.past.customer_id, _FOLD_SEED, 0.5)) for example in examples]
    )


def _can_be_judged(examples: Sequence[Example]) -> bool:
    churned = sum(example.churned for example in examples)
    return len(examples) >= _FEWEST and 0 < churned < len(examples)


def _kept(before: float, after: float) -> float:
    return after / before if before > 0 else 1.0


def _kept_at_best(before: Sequence[float], after: Sequence[float]) -> float:
    """Upper end of the 90% interval of what is kept."""
    ratios = [_kept(old, new) for old, new in zip(before, after, strict=True)]
    return float(np.quantile(ratios, 0.95))
