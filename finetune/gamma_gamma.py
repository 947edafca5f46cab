"""What customers spend when they buy: the gamma-gamma model.

Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value: a customer's purchases are
gamma(p, rate) with a rate of their own, gamma(q, v) over customers, and how much is spent says
nothing of how often.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, digamma

from finetune.bg_nbd import BgNbd
from finetune.calibration import Floats
from finetune.errors import TrainingError
from finetune.likelihood_fit import fit_likelihood
from finetune.rfm import Rfm

# Parameters here are p, q - 1 and v in mean spends.
_STARTS = ((1.0, 1.0, 1.0), (5.0, 3.0, 1.0), (20.0, 1.0, 0.2), (0.5, 10.0, 10.0))
# Nearer to 1, the mean of all customers hangs on big spenders that nobody has seen.
_LEAST_Q = 1.1
_WEAK_PENALTY = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaGamma:
    """A fitted gamma-gamma model.

    Attributes:
        p: shape of one customer's purchases.
        q: shape of the rates over customers; above 1, so that mean spend exists.
        v: inverse scale of the rates, minor units.
        log_likelihood: of the data fitted to, without any penalty.
        fallback: what was done, in plain words, where maximum likelihood had no answer.
    """

    p: float
    q: float
    v: float
    log_likelihood: float
    fallback: str | None = None

    @property
    def mean(self) -> float:
        """Expected spend of a purchase over all customers, minor units."""
        return self.p * self.v / (self.q - 1)

    def expected_average(self, rfm: Rfm) -> Floats:
        """Expected spend of a customer's future purchases given the past ones `[n]`, minor units.

        Equation 5 of the paper: the mean of all customers, moved towards the customer's own mean
        by the number of repeat purchases; the mean of all for one-time buyers.
        """
        seen = self.p * rfm.frequency
        own = seen / (seen + self.q - 1)
        return np.asarray(own * rfm.monetary_value + (1 - own) * self.mean)


def fit_gamma_gamma(rfm: Rfm) -> GammaGamma:
    """Fit by maximum likelihood to customers who bought again for more than nothing.

    Where the fit runs away, or where q does not stay above 1 so that mean spend does not exist,
    it is made again with the mean held at the one observed, and `fallback` says so.

    Raises:
        TrainingError: nobody has bought again.
    """
    used = (rfm.frequency > 0) & (rfm.monetary_value > 0)
    if not used.any():
        raise TrainingError(
            "No customer has spent anything after a first purchase day, so there is no repeat "
            "spend to learn from.",
            hint="Give a later cut-off, or a log of more days.",
        )
    x, spend = rfm.frequency[used], rfm.monetary_value[used]
    scale = float(spend.mean())
    scaled = spend / scale

    def likelihood(parameters: Floats) -> tuple[float, Floats]:
        p, above, v = (float(value) for value in parameters)
        return _likelihood(x, scaled, p, 1 + above, v)

    def with_mean_held(parameters: Floats) -> tuple[float, Floats]:
        p, above = (float(value) for value in parameters)
        v = above / p
        value, (by_p, by_q, by_v) = _likelihood(x, scaled, p, 1 + above, v)
        return value, np.array([by_p - by_v * v / p, by_q + by_v / p])

    def model(p: float, q: float, v: float, fallback: str | None = None) -> GammaGamma:
        value, _ = _likelihood(x, spend, p, q, v * scale)
        return GammaGamma(p=p, q=q, v=v * scale, log_likelihood=value, fallback=fallback)

    free = fit_likelihood(likelihood, starts=_STARTS, rows=len(x))
    p, above, v = (float(value) for value in free.parameters)
    if not free.ran_away and 1 + above >= _LEAST_Q:
        return model(p, 1 + above, v)
    held = fit_likelihood(
        with_mean_held,
        starts=[start[:2] for start in _STARTS],
        rows=len(x),
        penalty=_WEAK_PENALTY,
    )
    held_p, held_above = (float(value) for value in held.parameters)
    trouble = (
        f"gave q {1 + above:.3g}, too near 1 for mean spend to exist"
        if 1 + above < _LEAST_Q
        else f"ran away without finding best values (p {p:.3g}, q {1 + above:.3g})"
    )
    return model(
        held_p,
        1 + held_above,
        held_above / held_p,
        f"The gamma-gamma fit {trouble}. It was made again with mean spend held at the observed "
        f"{scale:.6g} minor units of {len(x)} customers and a weak pull towards moderate values.",
    )


def expected_spend(purchases: BgNbd, amounts: GammaGamma, rfm: Rfm, horizon: float) -> Floats:
    """Expected spend in (T, T + horizon] `[n]`, minor units.

    Expected purchases times expected spend of each, since the models take the two as independent.
    """
    return purchases.expected_purchases(rfm, horizon) * amounts.expected_average(rfm)


def _likelihood(x: Floats, spend: Floats, p: float, q: float, v: float) -> tuple[float, Floats]:
    """Log-likelihood of all customers (equation 1a of the paper), and its gradient `[3]`.

    Written as what it is, x * spend / v being beta-prime(p x, q), to keep its digits when the
    parameters are large.
    """
    total = x * spend
    over, under = np.log1p(total / v), np.log1p(v / total)
    value = -betaln(p * x, q) - np.log(spend) - q * over - p * x * under
    both = digamma(p * x + q)
    by_p = x * (both - digamma(p * x) - under)
    by_q = both - digamma(q) - over
    by_v = (q * total / v - p * x) / (total + v)
    return float(value.sum()), np.array([by_p.sum(), by_q.sum(), by_v.sum()])
