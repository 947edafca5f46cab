"""Recency, frequency, T and monetary value, exactly as the customer-value literature has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from retrieval.orders import CustomerPast


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rfm:
    """What purchase models read of each customer (Fader, Hardie & Lee, 2005); arrays `[n]`.

    One unit of time is `unit_days` of `rfm_of`, a week unless told otherwise.

    Attributes:
        recency: from the first purchase day to the last, units of time; 0 after one purchase day.
        frequency: purchase days after the first, whole numbers.
        T: from the first purchase day to the day of `as_of`, units of time.
        monetary_value: mean spend of a purchase day after the first, minor units; 0 where
            `frequency` is 0.

    Raises:
        ValueError: the arrays do not fit each other, or a row cannot be true.
    """

    recency: Floats
    frequency: Floats
    T: Floats
    monetary_value: Floats

    def __post_init__(self) -> None:
        columns = {
            "recency": self.recency,
            "frequency": self.frequency,
            "T": self.T,
            "monetary_value": self.monetary_value,
        }
        if any(column.shape != (len(self.T),) for column in columns.values()):
            shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
            raise ValueError(f"recency, frequency, T and monetary value differ in shape: {shapes}")
        for name, column in columns.items():
            _refuse(~(np.isfinite(column) & (column >= 0)), f"{name} is negative or no number")
        _refuse(self.frequency != np.floor(self.frequency), "frequency is not a whole number")
        _refuse(self.recency > self.T, "the last purchase lies after the end (recency > T)")
        once = self.frequency == 0
        _refuse(once & (self.recency > 0), "recency is above 0 though frequency is 0")
        _refuse(~once & (self.recency == 0), "recency is 0 though frequency is above 0")
        _refuse(once & (self.monetary_value > 0), "monetary value is above 0 though frequency is 0")

    def __len__(self) -> int:
        return len(self.T)


def rfm_of(pasts: Sequence[CustomerPast], *, unit_days: float = 7.0) -> Rfm:
    """Recency, frequency, T and monetary value of each past, in the order given.

    Days are calendar days in UTC, and several orders of one day are one purchase. The day of
    `as_of` ends the time observed, so an `as_of` at midnight counts its eve in full.

    Args:
        pasts: one a customer.
        unit_days: days in a unit of time.

    Raises:
        ValueError: `unit_days` is not above 0.
    """
    if not unit_days > 0:
        raise ValueError(f"a unit of time must be longer than {unit_days} days")
    rows = np.array([_row(past) for past in pasts], dtype=np.float64).reshape(-1, 4)
    return Rfm(
        recency=rows[:, 0] / unit_days,
        frequency=rows[:, 1],
        T=rows[:, 2] / unit_days,
        monetary_value=rows[:, 3],
    )


def _row(past: CustomerPast) -> tuple[int, int, int, float]:
    """Recency and T in days, between them the frequency; last the monetary value."""
    spends: dict[date, int] = {}
    for order in past.orders:
        day = _day(order.timestamp)
        spends[day] = spends.get(day, 0) + order.amount
    first, last, repeats = min(spends), max(spends), len(spends) - 1
    later = sum(spends.values()) - spends[first]
    return (
        (last - first).days,
        repeats,
        (_day(past.as_of) - first).days,
        later / repeats if repeats else 0.0,
    )


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _refuse(wrong: NDArray[np.bool_], reason: str) -> None:
    if wrong.any():
        raise ValueError(
            f"{reason} in {wrong.sum()} of {len(wrong)} rows, first in row {int(wrong.argmax())}"
        )
