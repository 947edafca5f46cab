"""What campaigns change in a period's spend, as far as a log that nobody randomised can say."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import PoissonRegressor

from finetune.calibration import Floats
from finetune.customer_paths import Ints
from finetune.customer_states import state_columns

AGAIN = "any, again"
"""Name of what changes where another campaign came within the recent periods: fatigue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignEffect:
    """What a campaign changes in the logarithm of a period's spend.

    Attributes:
        name: of the campaign, and when.
        estimate: as found.
        error: its standard error, clustered by customer.
        shrunk: what the simulator uses.
    """

    name: str
    estimate: float
    error: float
    shrunk: float


def campaign_effects(
    state: Floats,
    action: Ints,
    spend: Ints,
    where: tuple[Ints, Ints],
    kinds: tuple[str, ...],
) -> tuple[CampaignEffect, ...]:
    """Poisson regression of spend on campaigns, beside the state and the period.

    The level of each period is taken out, so that a campaign's season is not its effect. Errors are
    clustered by customer. An estimate b of error e is kept at b (1 - (e / b)^2), or at 0.

    Args:
        state: before each customer's period `[m, features]`.
        action: in it `[m]`.
        spend: in it, minor units `[m]`.
        where: customer and period, as numbers `[m]`.
        kinds: of campaigns, by action from 1.
    """
    customer, period = where
    last = state_columns(kinds, tuple(f"last sent: {kind}" for kind in kinds))
    others = np.delete(state, last, axis=1)
    others = (others - others.mean(axis=0)) / np.maximum(others.std(axis=0), 1e-9)
    offers = _offer_columns(state, action, kinds)
    levels = np.equal.outer(period, np.unique(period))
    design = np.column_stack([offers, others, levels]).astype(np.float64)
    unit = max(float(spend.mean()), 1.0)
    model = PoissonRegressor(alpha=1e-6, fit_intercept=False, max_iter=2_000, tol=1e-8)
    mean = model.fit(design, spend / unit).predict(design)
    bread = np.linalg.pinv(design.T @ (design * mean[:, None]))
    scores = np.zeros((int(customer.max()) + 1, design.shape[1]))
    np.add.at(scores, customer, design * (spend / unit - mean)[:, None])
    names = (*kinds, AGAIN, *(f"{kind}, the period after" for kind in kinds))
    # Only these: the stages add up to the levels, so their own errors mean nothing.
    sandwich = (bread @ (scores.T @ scores) @ bread)[: len(names), : len(names)]
    found = []
    for name, column, estimate, error in zip(
        names, offers.T, model.coef_[: len(names)], np.sqrt(np.diag(sandwich)), strict=True
    ):
        kept = 1 - (error / estimate) ** 2 if column.any() and abs(estimate) > error else 0.0
        found.append(
            CampaignEffect(
                name=name,
                estimate=float(estimate),
                error=float(error),
                shrunk=float(estimate * kept),
            )
        )
    return tuple(found)


def spend_change(
    effects: tuple[CampaignEffect, ...], state: Floats, action: Ints, kinds: tuple[str, ...]
) -> Floats:
    """By what campaigns multiply the spend of a period `[n]`."""
    shrunk = np.array([effect.shrunk for effect in effects])
    return np.asarray(np.exp(_offer_columns(state, action, kinds) @ shrunk))


def _offer_columns(state: Floats, action: Ints, kinds: tuple[str, ...]) -> Floats:
    """Each kind now, any kind again within the recent periods, each kind in the last period."""
    last = state[:, state_columns(kinds, tuple(f"last sent: {kind}" for kind in kinds))]
    recent = state[:, state_columns(kinds, ("periods with an offer, recent",))[0]]
    now = [action == number + 1 for number in range(len(kinds))]
    return np.column_stack([*now, (action > 0) & (recent > 0), last]).astype(np.float64)
