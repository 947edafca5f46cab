"""One shop's day one at one moment: its level from its own log, corrected by what is known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from finetune.calibration import Floats
from finetune.cross_shop import CrossShopPrior
from finetune.day_one import DayOne, fit_day_one
from finetune.errors import TrainingError
from finetune.few_labels import FewLabels, fit_few_labels
from finetune.prior import Answers
from finetune.scale_free_features import ShopScale
from finetune.season import UNKNOWN_SPREAD
from finetune.shop_windows import MOST_CUSTOMERS, Described, describe, draw, label
from finetune.spend_interval import COVERAGE, ForeseenSpend, Total
from retrieval.event_log import EventLog
from retrieval.events import CUSTOMER_ID, KIND, TIMESTAMP, Kind
from retrieval.orders import CustomerPast, read_pasts
from retrieval.outcomes import spend_between
from retrieval.shop import Shop

SEASON = "unknown: patron-base does not look at seasons"

_DRAWS = 4_000
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOneFit:
    """What is fitted to a shop.

    Attributes:
        day_one: on the shop's level; learnt without an outcome.
        few: its correction; None where no customer's whole horizon is over yet.
        customers: the level was measured on.
        average_churn: mean risk of those customers.
        spend_variance: variance of their spends, summed, over their expected spends squared,
            summed.
    """

    day_one: DayOne
    few: FewLabels | None
    customers: int
    average_churn: float
    spend_variance: float

    @property
    def labelled(self) -> int:
        """Customers whose outcome is known."""
        return 0 if self.few is None else self.few.labelled

    def answers(self, pasts: Sequence[CustomerPast]) -> tuple[Answers, list[ForeseenSpend]]:
        """Answers for customers of the shop and their spends as they are told."""
        described = describe(pasts, self.day_one.horizon_days, self.day_one.scale)
        answers = _corrected(self.day_one, self.few, described)
        low, high = self.day_one.spend_interval(
            described, coverage=COVERAGE, labelled=self.labelled, movement=UNKNOWN_SPREAD
        )
        factor = 1.0 if self.few is None else self.few.spend_factor
        ends = (np.floor(factor * low), np.ceil(factor * high))
        spends = [
            ForeseenSpend(
                expected=round(float(expected)),
                low=int(least),
                high=int(most),
                coverage=COVERAGE,
                season=SEASON,
            )
            for expected, least, most in zip(answers.spend, *ends, strict=True)
        ]
        return answers, spends

    def sums(self, expected: Floats) -> Floats:
        """What `total` needs of customers: sum of expected spend and its variance `[2]`."""
        return np.array([expected.sum(), self.spend_variance * np.square(expected).sum()])

    def total(self, sums: Floats) -> Total:
        """The interval of a total.

        It adds up what each customer does, how well the level is known, and the season.
        """
        expected, variance = (float(value) for value in sums)
        random = np.random.default_rng(_SEED)
        error = np.hypot(self.day_one.prior.level_error_after(self.labelled), UNKNOWN_SPREAD)
        level = np.exp(error * random.standard_normal(_DRAWS))
        own = np.sqrt(variance) * random.standard_normal(_DRAWS)
        drawn = np.maximum(expected * level + own, 0.0)
        low, high = np.quantile(drawn, ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
        return Total(expected=expected, low=float(low), high=float(high))

    def to_json(self) -> dict[str, Any]:
        """All but the prior."""
        day_one = self.day_one
        return {
            "scale": day_one.scale.to_json(),
            "silent_shift": day_one.silent_shift,
            "churn_shift": day_one.churn_shift,
            "thresholds": list(day_one.thresholds),
            "few": None if self.few is None else asdict(self.few),
            "customers": self.customers,
            "average_churn": self.average_churn,
            "spend_variance": self.spend_variance,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any], prior: CrossShopPrior, shop: Shop) -> "DayOneFit":
        """Read what `to_json` made for this shop and prior.

        Raises:
            KeyError: something is missing.
            TypeError: something is not what it should be.
        """
        churn, few = shop.settings.churn, document["few"]
        return cls(
            day_one=DayOne(
                prior=prior,
                scale=ShopScale.from_json(document["scale"]),
                definition=churn.definition,
                horizon_days=churn.horizon_days,
                silent_shift=document["silent_shift"],
                churn_shift=document["churn_shift"],
                thresholds=tuple(document["thresholds"]),
            ),
            few=None if few is None else FewLabels(**{**few, "weights": tuple(few["weights"])}),
            customers=document["customers"],
            average_churn=document["average_churn"],
            spend_variance=document["spend_variance"],
        )


def fit_shop(shop: Shop, prior: CrossShopPrior, moment: datetime) -> DayOneFit:
    """Fit to a shop's log before a moment; no outcome after it is read.

    Of many customers, some thousands are drawn.

    Raises:
        TrainingError: nobody had an order before the moment, or only just.
    """
    pasts = _drawn_pasts(shop.log, moment)
    day_one = _day_one(shop, prior, pasts)
    few = _few_labels(shop, prior, moment)
    described = describe(pasts, day_one.horizon_days, day_one.scale)
    spend = prior.spend(described)
    return DayOneFit(
        day_one=day_one,
        few=few,
        customers=len(pasts),
        average_churn=float(_corrected(day_one, few, described).churn.mean()),
        spend_variance=float(
            day_one.spend_variance(described).sum() / max(float(np.square(spend).sum()), 1.0)
        ),
    )


def _corrected(day_one: DayOne, few: FewLabels | None, described: Described) -> Answers:
    if few is None:
        return day_one.answers_about(described)
    return few.answers_about(day_one, described)


def _few_labels(shop: Shop, prior: CrossShopPrior, moment: datetime) -> FewLabels | None:
    """Learnt from the newest horizon that is over; None where there was no customer before it."""
    churn = shop.settings.churn
    horizon = timedelta(days=churn.horizon_days)
    cutoff = moment - horizon
    pasts = _drawn_pasts(shop.log, cutoff)
    try:
        then = _day_one(shop, prior, pasts)
    except TrainingError:
        # Nobody yet, or for less than a day: there is nothing to foresee an outcome from.
        return None
    after = spend_between(shop.log, cutoff, moment)
    window = label(pasts, after, churn.horizon_days, then.scale, shop.settings.name)
    return fit_few_labels(then, window)


def _day_one(shop: Shop, prior: CrossShopPrior, pasts: Sequence[CustomerPast]) -> DayOne:
    settings = shop.settings
    return fit_day_one(
        prior,
        pasts,
        definition=settings.churn.definition,
        horizon_days=settings.churn.horizon_days,
        quantiles=settings.value.quantiles,
    )


def _drawn_pasts(log: EventLog, moment: datetime) -> list[CustomerPast]:
    ids: list[str] = log.query(
        f"SELECT DISTINCT {CUSTOMER_ID} FROM events "
        f"WHERE {KIND} = '{Kind.PURCHASE}' AND {TIMESTAMP} < $moment ORDER BY {CUSTOMER_ID}",
        {"moment": moment},
    )[CUSTOMER_ID].to_pylist()
    kept = draw(len(ids), MOST_CUSTOMERS)
    if len(kept) == len(ids):
        return list(read_pasts(log, moment))
    return list(read_pasts(log, moment, [ids[index] for index in kept]))
