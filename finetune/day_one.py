"""Day one: churn, spend and value tier of a shop before any outcome of its own is known.

What other shops teach tells which customer is likelier to leave than which; how many will is told
by the shop's own log, through the BG/NBD and gamma-gamma models fitted to it without labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from finetune.calibration import Floats
from finetune.cross_shop import CrossShopPrior
from finetune.odds import log_odds, shift_to
from finetune.prior import Answers
from finetune.scale_free_features import ShopScale, measure_shop
from finetune.shop_windows import Described, describe
from retrieval.orders import CustomerPast
from retrieval.shop import ChurnDefinition

_LEAST_CHANCE = 1e-6
_LEAST_MEAN = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOne:
    """A cross-shop prior on the level of one shop, at one moment.

    Attributes:
        prior: learnt in other shops.
        scale: what is usual in this one.
        definition: of churn.
        horizon_days: over which is foreseen.
        silent_shift: of the log odds of buying nothing, so that their mean is BG/NBD's.
        churn_shift: of the log odds of leaving; the same for inactivity, and for a decline such
            that their mean is the share whose spend is foreseen under half of the usual.
        thresholds: foreseen spend (minor units) at which each tier above the lowest begins.
    """

    prior: CrossShopPrior
    scale: ShopScale
    definition: ChurnDefinition
    horizon_days: int
    silent_shift: float
    churn_shift: float
    thresholds: tuple[float, ...]

    def answers(self, pasts: Sequence[CustomerPast], lm_log_odds: Floats | None = None) -> Answers:
        """Answers for customers of the shop, in their order.

        Args:
            pasts: who.
            lm_log_odds: of leaving, by a language model; where the prior was learnt with it.
        """
        return self.answers_about(describe(pasts, self.horizon_days, self.scale, lm_log_odds))

    def answers_about(self, described: Described) -> Answers:
        """Answers for customers who are described already."""
        spends = self._spends(described)
        reached = [spends.reaching(cut) for cut in self.thresholds]
        edges = np.column_stack([np.ones(len(described)), *reached, np.zeros(len(described))])
        return Answers(
            churn=np.asarray(expit(self.churn_log_odds(described))),
            tiers=-np.diff(edges, axis=1),
            spend=self.prior.spend(described),
        )

    def churn_log_odds(self, described: Described) -> Floats:
        """Log odds of leaving `[n]`."""
        chances = self.prior.churn(described, self.definition)
        return log_odds(chances, _LEAST_CHANCE) + self.churn_shift

    def spend_interval(
        self,
        described: Described,
        *,
        coverage: float = 0.8,
        labelled: int = 0,
        movement: float = 0.0,
    ) -> tuple[Floats, Floats]:
        """Low and high ends of each customer's spend `[n]`, minor units.

        Args:
            described: who.
            coverage: share of customers whose spend shall lie inside.
            labelled: customers of the shop whose outcome is known; the fewer, the wider.
            movement: see `CrossShopPrior.widening`.
        """
        expected, tail = self.prior.spend(described), (1 - coverage) / 2
        low, high = expected, expected
        # Wider in both directions, also where a buyer's quantile lies on the wrong side of the
        # middle; and the expected lies inside, though most may spend nothing.
        usual = self._spends(described)
        for widening in (1.0, self.prior.widening(labelled, movement)):
            spends = replace(usual, spread=usual.spread * widening)
            least = spends.quantile(tail)
            # Where nobody can lie below, the whole share outside goes above.
            most = np.where(least > 0, spends.quantile(1 - tail), spends.quantile(coverage))
            low, high = np.minimum(low, least), np.maximum(high, most)
        return low, high

    def spend_variance(self, described: Described) -> Floats:
        """Variance of each customer's spend around its expectation `[n]`, minor units squared."""
        buys = 1 - self._spends(described).silent
        squared = np.square(self.prior.spend(described))
        return np.asarray(squared * (np.exp(self.prior.spread**2) / buys - 1))

    def _spends(self, described: Described) -> "_Spends":
        return _spends(self.prior, described, self.silent_shift)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spends:
    """How each customer's spend may turn out: nothing, or else lognormal.

    Attributes:
        silent: chance of nothing `[n]`.
        middle: mean of the log of a buyer's spend, minor units `[n]`.
        spread: its standard deviation.
    """

    silent: Floats
    middle: Floats
    spread: float

    def reaching(self, spend: float) -> Floats:
        """Chance of spending at least so much `[n]`."""
        return 1 - self.below(np.array(spend))

    def below(self, spend: Floats) -> Floats:
        """Chance of spending less `[n]`; 0 where everybody reaches it."""
        logs = np.log(np.maximum(spend, _LEAST_CHANCE))
        below = self.silent + (1 - self.silent) * norm.cdf((logs - self.middle) / self.spread)
        return np.where(spend > 0, below, 0.0)

    def quantile(self, share: float) -> Floats:
        """Spend that is not exceeded with this chance `[n]`, minor units."""
        among_buyers = np.clip((share - self.silent) / (1 - self.silent), 0, 1 - _LEAST_CHANCE)
        return np.asarray(np.exp(self.middle + self.spread * norm.ppf(among_buyers)))

    def quantile_of_all(self, share: float) -> float:
        """The same over all customers together."""
        if float(self.silent.mean()) >= share:
            return 0.0
        low, high = self.middle.min() - 9 * self.spread, self.middle.max() + 9 * self.spread
        return float(
            np.exp(brentq(lambda logs: self.below(np.exp(logs)).mean() - share, low, high))
        )


def fit_day_one(
    prior: CrossShopPrior,
    pasts: Sequence[CustomerPast],
    *,
    definition: ChurnDefinition,
    horizon_days: int,
    quantiles: Sequence[float],
    lm_log_odds: Floats | None = None,
) -> DayOne:
    """Put what other shops teach on the level of one shop; no label is needed.

    Tiers cannot be cut at quantiles of spends that nobody has seen; they are cut at quantiles of
    what is foreseen of all customers together, in which whoever buys nothing counts as 0.

    Args:
        prior: learnt in other shops.
        pasts: all customers of this one, at the same moment.
        definition: of churn.
        horizon_days: over which to foresee.
        quantiles: of the tiers, from the lowest; as in `shop.toml`.
        lm_log_odds: of leaving, by a language model; where the prior was learnt with it.

    Raises:
        TrainingError: there are no customers, or none was observed for any time.
    """
    scale = measure_shop(pasts, horizon_days)
    described = describe(pasts, horizon_days, scale, lm_log_odds)
    silent_shift = shift_to(
        float(described.foreseen.no_purchase.mean()),
        log_odds(prior.churn(described, ChurnDefinition.INACTIVE), _LEAST_CHANCE),
        _LEAST_MEAN,
    )
    spends = _spends(prior, described, silent_shift)
    churn_shift = silent_shift
    if definition is ChurnDefinition.DECLINE:
        declines = float(spends.below(np.maximum(described.usual, 1.0) / 2).mean())
        odds = log_odds(prior.churn(described, definition), _LEAST_CHANCE)
        churn_shift = shift_to(declines, odds, _LEAST_MEAN)
    return DayOne(
        prior=prior,
        scale=scale,
        definition=definition,
        horizon_days=horizon_days,
        silent_shift=silent_shift,
        churn_shift=churn_shift,
        thresholds=tuple(spends.quantile_of_all(quantile) for quantile in quantiles),
    )


def _spends(prior: CrossShopPrior, described: Described, silent_shift: float) -> _Spends:
    silent_odds = log_odds(prior.churn(described, ChurnDefinition.INACTIVE), _LEAST_CHANCE)
    silent = np.clip(expit(silent_odds + silent_shift), _LEAST_CHANCE, 1 - _LEAST_CHANCE)
    buying = np.maximum(prior.spend(described), _LEAST_CHANCE) / (1 - silent)
    return _Spends(
        silent=silent,
        middle=np.log(buying) - prior.spread**2 / 2,
        spread=prior.spread,
    )
