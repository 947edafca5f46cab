"""What a predictor gives, whichever kind it is: answers, spends with intervals, and their basis."""

from dataclasses import dataclass

from finetune.prior import Answers
from finetune.spend_interval import ForeseenSpend


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """Answers about customers at one moment.

    Attributes:
        answers: calibrated; spend is without the season.
        spends: as they are told, one a customer.
        at_risk_above: churn risk from which a customer counts as at risk.
        basis: what the answers rest on, in words; None for an adapter of the shop's own.
    """

    answers: Answers
    spends: list[ForeseenSpend]
    at_risk_above: float
    basis: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageRisk:
    """The churn risk that one customer's is compared with.

    Attributes:
        adapter_id: whose answer it is compared with.
        share: of customers.
        at_risk_above: churn risk from which a customer counts as at risk.
        record: what the share was counted over, in words; `{share}` stands for it.
    """

    adapter_id: str
    share: float
    at_risk_above: float
    record: str


def at_risk_above(average: float) -> float:
    """Churn risk from which a customer counts as at risk.

    Half as likely again as the average customer to leave.
    """
    return min(0.9, 1.5 * average)
