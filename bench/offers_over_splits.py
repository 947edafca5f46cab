"""Policy values over several random splits of the same customers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats
from finetune.off_policy import PolicyValue
from finetune.sampling_error import TWO_SIDED_95


def over_splits(
    values: Sequence[PolicyValue], customers: Sequence[NDArray[np.intp]], count: int
) -> tuple[float, float, float]:
    """Mean over splits and its 95% interval; a customer tested in several counts as one.

    Args:
        values: of one policy, split by split.
        customers: which were tested in each split.
        count: of all customers.
    """
    share = _shares(values, customers, count)
    value = float(np.mean([found.value for found in values]))
    margin = TWO_SIDED_95 * float(np.sqrt((share**2).sum()))
    return value, value - margin, value + margin


def gain_over_splits(
    values: Sequence[PolicyValue],
    others: Sequence[PolicyValue],
    customers: Sequence[NDArray[np.intp]],
    count: int,
) -> tuple[float, float, float]:
    """Mean difference of two policies over splits and its paired 95% interval."""
    share = _shares(values, customers, count) - _shares(others, customers, count)
    gain = float(
        np.mean([value.value - other.value for value, other in zip(values, others, strict=True)])
    )
    margin = TWO_SIDED_95 * float(np.sqrt((share**2).sum()))
    return gain, gain - margin, gain + margin


def _shares(
    values: Sequence[PolicyValue], customers: Sequence[NDArray[np.intp]], count: int
) -> Floats:
    """Each customer's part in the error of the mean over splits `[count]`."""
    total = np.zeros(count)
    for value, tested in zip(values, customers, strict=True):
        total[tested] += value.influence / len(tested) / len(values)
    return total
