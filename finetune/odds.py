"""Chances as log odds, in which they are mixed and moved."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from finetune.calibration import Floats

_FAR = 30.0


def log_odds(chances: Floats, least: float) -> Floats:
    """Log odds of chances `[n]`, never infinite.

    Args:
        chances: `[n]`.
        least: chance below which none is told apart; likewise from 1.
    """
    return np.asarray(logit(np.clip(chances, least, 1 - least)))


def shift_to(mean: float, odds: Floats, least: float) -> float:
    """What must be added to log odds `[n]`, so that the mean chance is the one given.

    Args:
        mean: the mean chance wanted.
        odds: log odds before.
        least: mean chance below which none is asked for; likewise from 1.
    """
    target = float(np.clip(mean, least, 1 - least))
    return float(brentq(lambda move: expit(odds + move).mean() - target, -_FAR, _FAR))
