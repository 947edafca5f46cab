"""The statistical prior: what counting alone foresees of a customer, learnt at several cut-offs.

It answers the predictor's three questions (churn, value tier, spend) from `prior_features`, and the
calibrated answers blend it with the language model's; see `finetune.blend`. In who leaves, what
other shops teach has a say.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.special import expit, logit

from finetune.calibration import Floats
from finetune.chance_model import ChanceModel, fit_chance_model
from finetune.cross_shop import CrossShopPrior
from finetune.cross_shop_churn import CROSS_SHOP_FEATURES, CrossShopChurn
from finetune.labels import Example
from finetune.odds import log_odds, shift_to
from finetune.prior_features import FADING_SPEND, PRIOR_FEATURES, prior_features
from finetune.prior_network import fit_prior_network
from finetune.rhythm import fit_rhythm
from finetune.spend_model import SpendModel, fit_spend_model
from retrieval.orders import CustomerPast
from retrieval.shop import ChurnDefinition

# An older window counts less, for habits and seasons move.
_TRUST_A_CUTOFF = 0.8
# All customers of a young shop are young: what is learnt of their age does not hold a year later.
_AGE_BOUND = ("recency", "T")


def _columns_without(unread: Sequence[str]) -> list[int]:
    return [column for column, name in enumerate(PRIOR_FEATURES) if name not in unread]


# Churn and tiers read fading spend by the customer's own usual, not in money, too.
_READ = _columns_without([*_AGE_BOUND, *FADING_SPEND])
_READ_BY_NETWORK = _columns_without(_AGE_BOUND)
# Of the shop's own log odds of leaving; the rest is the chance model's.
_NETWORK_SHARE = 0.3
# Of all log odds of leaving.
_CROSS_SHOP_SHARE = 0.2
_LEAST_CHANCE = 1e-4
_MOST_ODDS = float(-logit(_LEAST_CHANCE))
# Of the log odds: rhythm corrects what age does, and must not overrule who left before.
_MOST_SHIFT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers about the same customers: `churn [n]`, `tiers [n, tiers]`, `spend [n]` (minor)."""

    churn: Floats
    tiers: Floats
    spend: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Fitted models.

    Attributes:
        horizon_days: over which they foresee.
        features: names of the columns they are given, so that another set is refused.
        churn: chance of leaving; the network that comes with `spend` has its share in it.
        cross_shop: who leaves other shops, with its share in who leaves; None without.
        churn_level: added to the log odds of leaving, so that their mean chance at the newest
            cut-off is the share who left there: earlier ones teach who leaves, not how many now.
        churn_shift: added besides; see `levelled`.
        silence_gap: where churn is buying nothing, by how much the share who left exceeded the one
            that the shop's rhythm foresaw, older windows counting less; otherwise None.
        reaches: chance of reaching each tier above the lowest.
        spend: expected spend.
        neutral: mean of each feature over the examples, older windows counting less; of those that
            the cross-shop part reads, over the customers it was levelled on. It stands in for a
            feature that is taken away.
    """

    horizon_days: int
    features: tuple[str, ...]
    churn: ChanceModel
    cross_shop: CrossShopChurn | None
    churn_level: float
    churn_shift: float
    silence_gap: float | None
    reaches: tuple[ChanceModel, ...]
    spend: SpendModel
    neutral: tuple[float, ...]

    def answers(self, pasts: Sequence[CustomerPast]) -> Answers:
        """Answers for customers, in their order."""
        return self.answers_of(self.rows(pasts))

    def rows(self, pasts: Sequence[CustomerPast]) -> Floats:
        """What it reads of customers `[n, features]`, in the order of `features`."""
        own = prior_features(pasts, self.horizon_days)
        if self.cross_shop is None:
            return own
        return np.column_stack([own, self.cross_shop.features(pasts, self.horizon_days)])

    def levelled(self, pasts: Sequence[CustomerPast]) -> "Prior":
        """The prior on the level of a moment, which needs no label.

        A shop's customers grow older, and more of them fall silent. How many buy nothing, the
        shop's rhythm (BG/NBD) foresees of any age; who, the models know better. So their mean is
        moved to what rhythm says, corrected by how far that was off where outcomes are known.
        Where churn is a decline, rhythm has nothing to say and nothing is moved. What is usual in
        the shop, by which other shops' lessons are read, is measured anew. Tiers and spend stay as
        they are. What is stored with an adapter is the level of the day it was made.

        Args:
            pasts: all customers of the shop at that moment, or many drawn from them.

        Raises:
            TrainingError: with a cross-shop part: none of them was observed for any time.
        """
        if not pasts:
            return self
        here, rows = self, prior_features(pasts, self.horizon_days)
        if self.cross_shop is not None:
            moved = self.cross_shop.at(pasts, self.horizon_days)
            here, rows = _with_cross_shop(self, moved, rows, pasts)
        if self.silence_gap is None:
            return here
        rhythm = float(self.spend.rhythm.silence(_own(rows), self.horizon_days).mean())
        shift = shift_to(rhythm + self.silence_gap, here._churn_odds(rows), _LEAST_CHANCE)
        return replace(here, churn_shift=float(np.clip(shift, -_MOST_SHIFT, _MOST_SHIFT)))

    def answers_of(self, rows: Floats) -> Answers:
        """Answers from what `rows` makes `[n, features]`."""
        features = _own(rows)
        read = features[:, _READ]
        reached = np.column_stack([model.chances(read) for model in self.reaches])
        # A higher tier cannot be likelier to be reached than a lower one.
        reached = np.minimum.accumulate(reached, axis=1)
        edges = np.column_stack([np.ones(len(rows)), reached, np.zeros(len(rows))])
        return Answers(
            churn=np.asarray(expit(self._churn_odds(rows) + self.churn_shift)),
            tiers=-np.diff(edges, axis=1),
            spend=self.spend.expected(features),
        )

    def _churn_odds(self, rows: Floats) -> Floats:
        """Log odds of leaving, before the shift."""
        odds = self._own_churn_odds(_own(rows))
        if self.cross_shop is not None:
            others = self.cross_shop.log_odds(_cross_shop(rows))
            odds = (1 - _CROSS_SHOP_SHARE) * odds + _CROSS_SHOP_SHARE * others
        return np.asarray(odds + self.churn_level)

    def _own_churn_odds(self, features: Floats) -> Floats:
        """What the shop's own outcomes taught of them."""
        counted = log_odds(self.churn.chances(features[:, _READ]), _LEAST_CHANCE)
        network = np.clip(self.spend.network.churn_odds(features), -_MOST_ODDS, _MOST_ODDS)
        return np.asarray((1 - _NETWORK_SHARE) * counted + _NETWORK_SHARE * network)

    def to_json(self) -> str:
        """The prior file's text."""
        return json.dumps(asdict(self), sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Prior":
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is damaged, or reads other features than this version makes.
        """
        try:
            document = json.loads(text)
            others = document["cross_shop"]
            known = PRIOR_FEATURES if others is None else (*PRIOR_FEATURES, *CROSS_SHOP_FEATURES)
            if tuple(document["features"]) != known:
                raise ValueError("it reads other features than this version makes")
            return cls(
                horizon_days=document["horizon_days"],
                features=tuple(document["features"]),
                churn=ChanceModel.from_json(document["churn"]),
                cross_shop=None if others is None else CrossShopChurn.from_json(others),
                churn_level=document["churn_level"],
                churn_shift=document["churn_shift"],
                silence_gap=document["silence_gap"],
                reaches=tuple(ChanceModel.from_json(model) for model in document["reaches"]),
                spend=SpendModel.from_json(document["spend"]),
                neutral=tuple(document["neutral"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no {error}") from error


def fit_prior(
    windows: Sequence[Sequence[Example]],
    thresholds: Sequence[float],
    horizon_days: int,
    definition: ChurnDefinition = ChurnDefinition.DECLINE,
    *,
    cross_shop: CrossShopPrior | None = None,
) -> Prior:
    """Fit on labelled windows.

    Args:
        windows: examples at each cut-off, the newest first.
        thresholds: spend (minor units) at which each tier above the lowest begins.
        horizon_days: of the labels.
        definition: of churn in the labels.
        cross_shop: has a share in who leaves.

    Raises:
        TrainingError: there are no customers at the newest cut-off, or none was observed for any
            time.
    """
    rows = [
        prior_features([example.past for example in window], horizon_days) for window in windows
    ]
    features, read = np.concatenate(rows), np.concatenate(rows)[:, _READ]
    examples = [example for window in windows for example in window]
    trust = np.concatenate(
        [np.full(len(window), _TRUST_A_CUTOFF**age) for age, window in enumerate(windows)]
    )
    churned = np.array([example.churned for example in examples])
    spends = np.array([example.spend for example in examples], dtype=np.float64)
    rhythm = fit_rhythm(rows[0])
    network = fit_prior_network(
        features,
        churned,
        spends,
        trust,
        [example.past.customer_id for example in examples],
        _READ_BY_NETWORK,
    )
    silence_gap = None
    if definition is ChurnDefinition.INACTIVE:
        foreseen = rhythm.silence(features, horizon_days)
        silence_gap = float(np.average(churned - foreseen, weights=trust))
    prior = Prior(
        horizon_days=horizon_days,
        features=PRIOR_FEATURES,
        churn=fit_chance_model(read, churned, trust),
        cross_shop=None,
        churn_level=0.0,
        churn_shift=0.0,
        silence_gap=silence_gap,
        reaches=tuple(fit_chance_model(read, spends >= cut, trust) for cut in thresholds),
        spend=fit_spend_model(features, spends, trust, rhythm, network, horizon_days),
        neutral=tuple(float(mean) for mean in np.average(features, axis=0, weights=trust)),
    )
    newest = rows[0]
    if cross_shop is not None:
        pasts = [example.past for example in windows[0]]
        part = CrossShopChurn.of(cross_shop, definition, pasts, horizon_days)
        prior, newest = _with_cross_shop(prior, part, newest, pasts)
    left = float(np.mean([example.churned for example in windows[0]]))
    return replace(prior, churn_level=shift_to(left, prior._churn_odds(newest), _LEAST_CHANCE))


def _with_cross_shop(
    prior: Prior, part: CrossShopChurn, features: Floats, pasts: Sequence[CustomerPast]
) -> tuple[Prior, Floats]:
    """The prior with a cross-shop part on the level of its own models, and its rows.

    Args:
        prior: with or without such a part.
        part: at the moment of these customers.
        features: their `prior_features`.
        pasts: the customers.
    """
    read = part.features(pasts, prior.horizon_days)
    neutral = prior.neutral[: len(PRIOR_FEATURES)]
    joined = replace(
        prior,
        features=(*PRIOR_FEATURES, *CROSS_SHOP_FEATURES),
        cross_shop=part.levelled(read, prior._own_churn_odds(features)),
        neutral=(*neutral, *(float(mean) for mean in read.mean(axis=0))),
    )
    return joined, np.column_stack([features, read])


def _own(rows: Floats) -> Floats:
    """Of rows, the columns of `prior_features`."""
    return rows[:, : len(PRIOR_FEATURES)]


def _cross_shop(rows: Floats) -> Floats:
    """Of rows, the columns that follow."""
    return rows[:, len(PRIOR_FEATURES) :]
