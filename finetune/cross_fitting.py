"""Parts of cross-fitting: who is foreseen by a model that has not seen them."""

import numpy as np
from numpy.typing import NDArray

from finetune.uplift import Flags

FOLDS = 5
"""Parts where nothing else is asked."""


def folds_of(treated: Flags, seed: int, folds: int = FOLDS) -> NDArray[np.intp]:
    """A fold for each customer `[n]`, dealt out among treated and others alike.

    Args:
        treated: `[n]`.
        seed: settles the order in which customers are dealt out.
        folds: how many.
    """
    generator = np.random.default_rng(seed)
    fold = np.empty(len(treated), dtype=np.intp)
    for group in (treated, ~treated):
        members = generator.permutation(np.flatnonzero(group))
        fold[members] = np.arange(len(members)) % folds
    return fold
