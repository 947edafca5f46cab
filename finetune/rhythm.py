"""What a customer's rhythm alone foresees: BG/NBD and gamma-gamma, from features or RFM.

They need no label and know how silence grows with age, which trees learnt at one age do not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.bg_nbd import BgNbd, fit_bg_nbd
from finetune.calibration import Floats
from finetune.customer_features import FEATURES
from finetune.errors import TrainingError
from finetune.gamma_gamma import GammaGamma, fit_gamma_gamma
from finetune.rfm import Rfm

_DAYS_A_WEEK = 7
# Little beside a hundred customers; it keeps the fit to five from running away.
_PULL = 0.25
_RECENCY, _FREQUENCY, _T, _AVERAGE = (
    FEATURES.index(name) for name in ("recency", "frequency", "T", "monetary_value")
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foreseen:
    """What BG/NBD and gamma-gamma foresee over a horizon; arrays `[n]`.

    Attributes:
        no_purchase: chance of none.
        purchases: expected number of purchase days.
        spend: expected, minor units.
    """

    no_purchase: Floats
    purchases: Floats
    spend: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """A shop's BG/NBD and gamma-gamma models.

    Attributes:
        purchases: in weeks.
        amounts: None where nobody has bought again.
        average_order: mean over customers of their mean order, minor units.
    """

    purchases: BgNbd
    amounts: GammaGamma | None
    average_order: float

    def silence(self, features: Floats, horizon_days: int) -> Floats:
        """Chance of no purchase `[n]`.

        Args:
            features: `[n, features]`, the first columns as `customer_features` makes them.
            horizon_days: without a purchase.
        """
        return self.purchases.probability_of_no_purchase(
            _rfm(features), horizon_days / _DAYS_A_WEEK
        )

    def spend(self, features: Floats, horizon_days: int) -> Floats:
        """Expected spend `[n]`, minor units."""
        return self.foreseen(_rfm(features), horizon_days).spend

    def foreseen(self, rfm: Rfm, horizon_days: int) -> Foreseen:
        """What is foreseen of customers."""
        horizon = horizon_days / _DAYS_A_WEEK
        purchases = self.purchases.expected_purchases(rfm, horizon)
        amount = (
            np.full(len(rfm), self.average_order)
            if self.amounts is None
            else self.amounts.expected_average(rfm)
        )
        return Foreseen(
            no_purchase=self.purchases.probability_of_no_purchase(rfm, horizon),
            purchases=purchases,
            spend=purchases * amount,
        )

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Rhythm":
        """Read what `dataclasses.asdict` made of one."""
        amounts = document["amounts"]
        return cls(
            purchases=BgNbd(**document["purchases"]),
            amounts=None if amounts is None else GammaGamma(**amounts),
            average_order=document["average_order"],
        )


def fit_rhythm(features: Floats) -> Rhythm:
    """Fit to customers at one moment.

    Args:
        features: `[n, features]`, the first columns as `customer_features` makes them.

    Raises:
        TrainingError: there are no customers, or none was observed for any time.
    """
    return rhythm_of(_rfm(features), float(np.expm1(features[:, _AVERAGE]).mean()))


def rhythm_of(rfm: Rfm, average_order: float) -> Rhythm:
    """Fit to customers at one moment.

    Args:
        rfm: all customers, in weeks.
        average_order: mean over customers of their mean order, minor units.

    Raises:
        TrainingError: there are no customers, or none was observed for any time.
    """
    try:
        amounts = fit_gamma_gamma(rfm)
    except TrainingError:
        amounts = None
    return Rhythm(
        purchases=fit_bg_nbd(rfm, penalty=_PULL), amounts=amounts, average_order=average_order
    )


def _rfm(features: Floats) -> Rfm:
    """Whole counts again, and times in weeks that agree with them, also in made-up rows."""
    frequency = np.maximum(np.rint(np.expm1(features[:, _FREQUENCY])), 0.0)
    again = frequency > 0
    days = np.where(again, np.maximum(np.expm1(features[:, _RECENCY]), 1.0), 0.0)
    return Rfm(
        recency=days / _DAYS_A_WEEK,
        frequency=frequency,
        T=np.maximum(np.expm1(features[:, _T]), days) / _DAYS_A_WEEK,
        monetary_value=np.where(again, np.expm1(features[:, _AVERAGE]), 0.0),
    )
