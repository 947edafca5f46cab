"""How sure an estimate is: the normal law's 95 %, and what a weighted sample is worth."""

from scipy.stats import norm

from finetune.calibration import Floats

TWO_SIDED_95 = float(norm.ppf(0.975))
"""Standard errors on either side of a 95% interval."""


def effective_sample_size(weights: Floats) -> float:
    """Customers of equal weight that say as much: (sum w)^2 / sum w^2 (Kong, 1992).

    Args:
        weights: none below 0; where all are 0, nothing is said.
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
