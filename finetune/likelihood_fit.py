"""Maximum likelihood for a few positive parameters, with an eye on fits that run away."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from finetune.calibration import Floats

Likelihood = Callable[[Floats], tuple[float, Floats]]


# In units in which ordinary data give parameters near one, nothing that can be told apart from
# zero or infinity lies outside.
_SENSIBLE = (1e-4, 1e4)
_BOX = (1e-7, 1e7)
_STEEP = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LikelihoodFit:
    """Where the likelihood is highest.

    Attributes:
        parameters: `[parameters]`, all positive.
        ran_away: no best value was found within a factor of ten thousand of one.
    """

    parameters: Floats
    ran_away: bool


def fit_likelihood(
    likelihood: Likelihood, *, starts: Sequence[Sequence[float]], rows: int, penalty: float = 0.0
) -> LikelihoodFit:
    """Climb from several starts and keep the highest point, moving on logarithms.

    Args:
        likelihood: gives the log-likelihood of all rows and its gradient in the parameters;
            its units of time or money are such that parameters are near one.
        starts: parameters to start from.
        rows: how many rows the likelihood sums over.
        penalty: 1 / s^2 of a normal prior on the logarithm of each parameter, about 0; it is
            worth the same however many rows there are, so that plenty of data outvote it.
    """

    def loss(logs: Floats) -> tuple[float, Floats]:
        parameters = np.exp(logs)
        value, gradient = likelihood(parameters)
        # A mean over rows, so that one tolerance serves few rows and many.
        return (
            (penalty / 2 * float(logs @ logs) - value) / rows,
            (penalty * logs - gradient * parameters) / rows,
        )

    box = [(np.log(_BOX[0]), np.log(_BOX[1]))] * len(starts[0])
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 2000}
    climbs = [
        minimize(loss, np.log(start), jac=True, method="L-BFGS-B", bounds=box, options=options)
        for start in starts
    ]
    best = min(climbs, key=lambda climb: float(climb.fun))
    parameters = np.asarray(np.exp(best.x))
    outside = (parameters < _SENSIBLE[0]) | (parameters > _SENSIBLE[1])
    # The optimiser's own verdict is no help: it calls a rounding error at the summit a failure.
    steep = not np.abs(best.jac).max() < _STEEP
    return LikelihoodFit(parameters=parameters, ran_away=bool(outside.any()) or steep)
