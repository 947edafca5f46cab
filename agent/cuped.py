"""CUPED: take out of an outcome what the time before already told of it.

Source: Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by
utilizing pre-experiment data" (2013).
"""

import numpy as np

from agent.sequential_intervals import Floats


def adjusted(outcome: Floats, before: Floats) -> Floats:
    """The outcome less what its value before foretells: `y - theta (x - mean x)`.

    Theta is the covariance over the variance of `before`, over both groups together. The mean stays
    the same, and so does the expected effect, for no offer can have changed what came before it.

    Args:
        outcome: `[n]`, customers of both groups.
        before: `[n]`, the same customers' values of the time before their entry.
    """
    centred = before - before.mean()
    variance = float(centred @ centred)
    if variance == 0:
        return outcome
    theta = float(centred @ outcome) / variance
    return np.asarray(outcome - theta * centred, dtype=np.float64)
