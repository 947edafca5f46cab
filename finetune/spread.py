"""The spread of columns: whether they vary, and what to divide them by."""

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats

_SAME = 1e-9


def varies(columns: Floats) -> NDArray[np.bool_]:
    """Whether not all rows say the same, by column `[n]` or `[n, columns]`.

    What does not vary still differs in its last digits, and divided by that would explode.
    """
    size = np.maximum(np.abs(columns).max(axis=0), 1.0)
    return np.asarray(columns.std(axis=0) > _SAME * size)


def spread_of(columns: Floats) -> Floats:
    """Standard deviation of each column `[n, columns]`; 1 where all rows say the same."""
    return np.where(varies(columns), columns.std(axis=0), 1.0)
