"""How often customers will buy, and who has left: the BG/NBD model.

Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2):
while alive, a customer buys at a rate of their own, gamma(r, alpha) over customers, and leaves
after any purchase with a probability of their own, beta(a, b) over customers.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.special import expit

from finetune.calibration import Floats
from finetune.errors import TrainingError
from finetune.likelihood_fit import fit_likelihood
from finetune.rfm import Rfm

_STARTS = (
    (1.0, 1.0, 1.0, 1.0),
    (0.3, 0.2, 0.8, 2.5),
    (2.0, 0.5, 0.3, 10.0),
    (0.5, 0.05, 5.0, 5.0),
)
# Of the prior that a runaway fit gets: nine parameters in ten within a factor of 27 of one.
_WEAK_PENALTY = 0.25
_MOST_NODES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class BgNbd:
    """A fitted BG/NBD model; time is in the units of the `Rfm` that it was fitted to.

    Attributes:
        r: shape of the purchase rates over customers.
        alpha: their inverse scale, units of time; the mean rate is r / alpha.
        a: with b, the chance of leaving after a purchase: its mean is a / (a + b).
        b: see a.
        log_likelihood: of the data fitted to, without any penalty.
        fallback: what was done, in plain words, where maximum likelihood had no answer.
    """

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    fallback: str | None = None

    def probability_alive(self, rfm: Rfm) -> Floats:
        """Chance of not having left by T `[n]`.

        It is 1 for whoever bought once: the model lets customers leave after repeat purchases
        only, so it cannot see a one-time buyer go. Judge those by `probability_of_no_purchase`.
        """
        return np.asarray(expit(-_log_odds_gone(rfm, self.r, self.alpha, self.a, self.b)))

    def probability_of_no_purchase(self, rfm: Rfm, horizon: float) -> Floats:
        """Chance that nothing is bought in (T, T + horizon] `[n]`.

        Whoever is alive at T buys at a rate that is gamma(r + x, alpha + T) by now, so no
        purchase comes with chance ((alpha + T) / (alpha + T + horizon))^(r + x); whoever has
        left never buys. What happens after the next purchase does not matter here.
        """
        _check_horizon(horizon)
        quiet = np.expm1(-(self.r + rfm.frequency) * np.log1p(horizon / (self.alpha + rfm.T)))
        return np.asarray(1 + self.probability_alive(rfm) * quiet)

    def expected_purchases(self, rfm: Rfm, horizon: float) -> Floats:
        """Expected number of purchases in (T, T + horizon] given the history `[n]`.

        The quantity of equation 10 of Fader, Hardie & Lee (2005), by another road: its
        hypergeometric function overflows for frequent buyers and its difference of nearly equal
        numbers loses all digits when b is large or a is near 1. For whoever is alive at T, the
        rate is gamma(r + x, alpha + T) and the chance of leaving p is beta(a, b + x). Over the
        rate, the expectation is (1 - (1 + p t / (alpha + T))^-(r + x)) / p, positive and smooth
        in p; over p, it is a sum by Gauss's quadrature for that beta distribution.
        """
        _check_horizon(horizon)
        if horizon == 0 or len(rfm) == 0:
            return np.zeros(len(rfm))
        # Recency only decides who is alive, so few pairs are left of many customers.
        pairs, customers = np.unique(
            np.column_stack([rfm.frequency, rfm.T]), axis=0, return_inverse=True
        )
        alive = np.empty(len(pairs))
        for frequency in np.unique(pairs[:, 0]):
            here = pairs[:, 0] == frequency
            shape = self.r + frequency
            reach = horizon / (self.alpha + pairs[here, 1])
            leaving, weights = _beta_quadrature(
                self.a, self.b + frequency, _nodes(shape, float(reach.max()))
            )
            terms = -np.expm1(-shape * np.log1p(np.outer(reach, leaving))) / leaving
            alive[here] = terms @ weights
        return np.asarray(alive[customers.reshape(-1)] * self.probability_alive(rfm))


def fit_bg_nbd(rfm: Rfm, *, penalty: float = 0.0) -> BgNbd:
    """Fit by maximum likelihood, from several starts.

    Some data have no best parameters: where customers barely differ in their chance of leaving,
    or nobody seems to leave, a and b grow without end. Such a fit is caught and made again with
    a weak penalty, and `fallback` says so.

    Args:
        rfm: customers to learn from; one-time buyers belong in.
        penalty: see `fit_likelihood`; parameters count in mean T for time.

    Raises:
        TrainingError: there are no customers, or none was observed for any time.
        ValueError: the penalty is negative.
    """
    if not penalty >= 0:
        raise ValueError(f"the penalty must not be negative, and it is {penalty}")
    if len(rfm) == 0:
        raise TrainingError(
            "There are no customers to learn purchase rates from.",
            hint="Give a cut-off after the first purchases in the log.",
        )
    scale = float(rfm.T.mean())
    if scale == 0:
        raise TrainingError(
            "Every customer bought for the first time on the last day, so none has had time to buy "
            "again.",
            hint="Give a later cut-off, or a log of more days.",
        )
    scaled = Rfm(
        recency=rfm.recency / scale,
        frequency=rfm.frequency,
        T=rfm.T / scale,
        monetary_value=rfm.monetary_value,
    )

    def likelihood(parameters: Floats) -> tuple[float, Floats]:
        return _likelihood(scaled, parameters)

    def model(parameters: Floats, fallback: str | None = None) -> BgNbd:
        r, alpha, a, b = (float(value) for value in parameters * (1.0, scale, 1.0, 1.0))
        value, _ = _likelihood(rfm, np.array([r, alpha, a, b]))
        return BgNbd(r=r, alpha=alpha, a=a, b=b, log_likelihood=value, fallback=fallback)

    free = fit_likelihood(likelihood, starts=_STARTS, rows=len(rfm), penalty=penalty)
    if not free.ran_away:
        return model(free.parameters)
    lost = model(free.parameters)
    held = fit_likelihood(
        likelihood, starts=_STARTS, rows=len(rfm), penalty=max(penalty, _WEAK_PENALTY)
    )
    cost = lost.log_likelihood - model(held.parameters).log_likelihood
    return model(
        held.parameters,
        "The BG/NBD fit ran away without finding best values "
        f"(r {lost.r:.3g}, alpha {lost.alpha:.3g}, a {lost.a:.3g}, b {lost.b:.3g}). It was made "
        "again with a weak pull of every parameter towards moderate values, "
        f"which costs {cost:.2g} of log-likelihood over {len(rfm)} customers.",
    )


def _log_odds_gone(rfm: Rfm, r: float, alpha: float, a: float, b: float) -> Floats:
    """Log-odds of having left by T `[n]`; minus infinity for one-time buyers."""
    repeats = np.maximum(rfm.frequency, 1)
    silent = np.log1p((rfm.T - rfm.recency) / (alpha + rfm.recency))
    odds = np.log(a) - np.log(b + repeats - 1) + (r + rfm.frequency) * silent
    return np.where(rfm.frequency > 0, odds, -np.inf)


def _likelihood(rfm: Rfm, parameters: Floats) -> tuple[float, Floats]:
    """Log-likelihood of all customers (equation 6 of the paper), and its gradient `[4]`.

    Ratios of gamma functions are written as sums over the purchases made, which stay exact where
    differences of log-gammas cancel.
    """
    r, alpha, a, b = (float(value) for value in parameters)
    x, end, last = rfm.frequency, alpha + rfm.T, alpha + rfm.recency
    made = x.astype(np.intp)
    earlier = np.arange(made.max(), dtype=np.float64)
    staying = -np.log1p(a / (b + earlier))
    odds = _log_odds_gone(rfm, r, alpha, a, b)
    gone = expit(odds)
    value = (
        _sums(np.log(r + earlier))[made]
        + r * np.log(alpha)
        - (r + x) * np.log(end)
        + _sums(staying)[made]
        + np.logaddexp(0.0, odds)
    )
    by_r = _sums(1 / (r + earlier))[made] + np.log(alpha / end) + gone * np.log(end / last)
    by_alpha = r / alpha - (r + x) / end + gone * (r + x) * (1 / end - 1 / last)
    by_a = -_sums(1 / (a + b + earlier))[made] + gone / a
    by_b = _sums(a / ((b + earlier) * (a + b + earlier)))[made] - gone / (b + np.maximum(x, 1) - 1)
    gradient = np.array([by_r.sum(), by_alpha.sum(), by_a.sum(), by_b.sum()])
    return float(value.sum()), gradient


def _sums(terms: Floats) -> Floats:
    """Sums of the first 0, 1, 2, ... terms `[len(terms) + 1]`."""
    return np.concatenate([[0.0], np.cumsum(terms)])


def _nodes(shape: float, reach: float) -> int:
    """How many nodes give `expected_purchases` ten digits in all but absurd cases.

    The term has a singularity at p = -1 / reach and falls off within 1 / (shape * reach); nodes
    near 0 lie as the square of their number.
    """
    return min(_MOST_NODES, int(32 + 8 * np.sqrt(reach) + 3 * np.sqrt(shape * reach)))


def _beta_quadrature(a: float, b: float, count: int) -> tuple[Floats, Floats]:
    """Nodes in (0, 1) and weights that sum to 1 for means over a beta(a, b) variable.

    Golub & Welsch (1969): eigenvalues of the matrix of the recurrence of the Jacobi polynomials,
    in the form of Koekoek, Lesky & Swarttouw (2010), section 9.8, for the variable (1 - x) / 2,
    whose terms are all positive.
    """
    n = np.arange(count, dtype=np.float64)
    total = a + b - 1
    up = (n + a) / (2 * n + total + 1)
    up[1:] *= (n[1:] + total) / (2 * n[1:] + total)
    down = np.zeros(count)
    down[1:] = n[1:] * (n[1:] + b - 1) / ((2 * n[1:] + total - 1) * (2 * n[1:] + total))
    nodes, vectors = eigh_tridiagonal(up + down, np.sqrt(up[:-1] * down[1:]))
    # Rounding can put the lowest node at or under 0, where the mean has its limit anyway.
    return np.maximum(nodes, np.finfo(np.float64).tiny), np.asarray(vectors[0] ** 2)


def _check_horizon(horizon: float) -> None:
    if not 0 <= horizon < np.inf:
        raise ValueError(f"a horizon must be a length of time, and it is {horizon}")
