"""Order a list so that it is good and not all of one kind."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def diversified(
    relevance: NDArray[np.float64],
    similarity: NDArray[np.float32],
    *,
    dial: float,
    count: int,
    groups: Sequence[int] = (),
    most_per_group: int = 0,
) -> list[int]:
    """Choose by maximal marginal relevance (Carbonell & Goldstein, 1998).

    Each next item maximises `(1 - dial) * relevance - dial * nearness`, where nearness is the mean
    similarity to what is chosen already and relevance is a share of the best.

    Args:
        relevance: `[candidates]`, not negative.
        similarity: `[candidates, candidates]`, 1 for the same.
        dial: 0 keeps the order of relevance, 1 looks at differences alone.
        count: how many to choose.
        groups: `[candidates]` such as categories.
        most_per_group: how many of one group; 0 sets no limit.

    Returns:
        Positions of the chosen, in the order they are shown.
    """
    best = float(relevance.max(initial=0.0))
    share = relevance / best if best > 0 else relevance
    nearness = np.zeros(len(relevance))
    left = np.ones(len(relevance), dtype=bool)
    chosen: list[int] = []
    while left.any() and len(chosen) < count:
        gain = (1.0 - dial) * share - dial * nearness / max(1, len(chosen))
        pick = int(np.argmax(np.where(left, gain, -np.inf)))
        chosen.append(pick)
        left[pick] = False
        nearness += similarity[pick]
        if most_per_group and groups:
            full = sum(groups[i] == groups[pick] for i in chosen) >= most_per_group
            if full:
                left &= np.asarray(groups) != groups[pick]
    return chosen
