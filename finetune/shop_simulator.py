"""A shop's customers, simulated period by period so that policies can be tried on them.

Each simulated customer repeats the next period of a real customer who was in a state much like
theirs (a bootstrap of nearest neighbours: Lall and Sharma, 1996), so zeros, heavy tails and gaps
are the log's own. What campaigns change is taken out of the real period and put into the simulated
one, as large as a Poisson regression finds it, less what its error explains (positive-part
shrinkage; James and Stein, 1961). Campaigns change how much is spent, not on which days.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from finetune.calibration import Floats
from finetune.campaign_effects import CampaignEffect, campaign_effects, spend_change
from finetune.customer_paths import CustomerPaths, Flags, Ints
from finetune.customer_states import HORIZON_PERIODS, Policy, state_columns, states_at
from finetune.errors import TrainingError

Choice = Callable[[Floats, int, Floats], Ints]
"""From states `[n, features]`, the period and a draw from 0 to 1 for each, to actions `[n]`."""

_ALIKE_BY = (
    "log usual spend",
    "log spend, last period",
    "log spend, recent",
    "log visits, last period",
    "visits, recent",
    "recency",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShopSimulator:
    """Real periods to draw from, and what campaigns change.

    Attributes:
        kinds: of campaigns.
        cuts: tiers' cuts, for states.
        neighbours: how many real periods stand for one state.
        centre: of the columns by which states are alike.
        scale: of the same.
        tree: over those columns of the real periods.
        spend: of the real periods, without what campaigns changed `[m]`.
        visited: their days with a purchase `[m, period_days]`.
        effects: of campaigns.
        taken: claims and discounts `[k, 2]` of those sent an action (from 1) who had redeemed
            before, or had not.
    """

    kinds: tuple[str, ...]
    cuts: tuple[float, float]
    neighbours: int
    centre: Floats
    scale: Floats
    tree: cKDTree
    spend: Floats
    visited: Flags
    effects: tuple[CampaignEffect, ...]
    taken: dict[tuple[int, bool], Ints]


def fit_simulator(
    paths: CustomerPaths,
    cuts: tuple[float, float],
    *,
    until: int,
    first: int = HORIZON_PERIODS,
    neighbours: int = 10,
) -> ShopSimulator:
    """Fit to the periods `first` to `until - 1` of these customers.

    Args:
        paths: what customers did.
        cuts: of `tier_cuts`.
        until: nothing from this period on is read.
        first: the first period that is drawn from.
        neighbours: how many real periods stand for one state.

    Raises:
        TrainingError: there are fewer real periods than neighbours.
    """
    rows = [
        (row, period)
        for period in range(first, until)
        for row in np.flatnonzero(paths.known_at(period))
    ]
    if len(rows) < neighbours:
        raise TrainingError(
            f"A simulator needs at least {neighbours} periods of customers, not {len(rows)}.",
            hint="Give more customers or more periods.",
        )
    customer, period = np.array(rows).T
    state = np.concatenate(
        [states_at(paths, each, cuts)[paths.known_at(each)] for each in range(first, until)]
    )
    action, spend = paths.action[customer, period], paths.spend[customer, period]
    effects = campaign_effects(state, action, spend, (customer, period), paths.kinds)
    alike = state[:, state_columns(paths.kinds, _ALIKE_BY)]
    scale = np.maximum(alike.std(axis=0), 1e-9)
    days = paths.visited.reshape(len(paths.visited), -1, paths.period_days)
    return ShopSimulator(
        kinds=paths.kinds,
        cuts=cuts,
        neighbours=neighbours,
        centre=alike.mean(axis=0),
        scale=scale,
        tree=cKDTree((alike - alike.mean(axis=0)) / scale),
        spend=spend / spend_change(effects, state, action, paths.kinds),
        visited=days[customer, period],
        effects=effects,
        taken=_taken(paths, state, action, customer, period),
    )


def simulate(
    simulator: ShopSimulator, paths: CustomerPaths, choose: Choice, *, first: int, seed: int
) -> CustomerPaths:
    """Write the periods from `first` on anew; what was before stays.

    The same seed gives every policy the same luck, so returns can be compared in pairs.

    Args:
        simulator: fitted.
        paths: of customers known at `first`; what they did from then on is not read.
        choose: which campaign each is sent.
        first: the first simulated period.
        seed: of all draws.
    """
    generator = np.random.default_rng(seed)
    made = replace(
        paths,
        **{
            name: getattr(paths, name).copy()
            for name in ("spend", "visited", "action", "contacts", "discount", "claims")
        },
        redemptions=_known_redemptions(paths, first),
    )
    alike = state_columns(simulator.kinds, _ALIKE_BY)
    redeemed = state_columns(simulator.kinds, ("log redemptions",))[0]
    for period in range(first, paths.periods):
        draws = generator.random((4, len(paths.customer_ids)))
        state = states_at(made, period, simulator.cuts)
        action = choose(state, period, draws[0])
        point = (state[:, alike] - simulator.centre) / simulator.scale
        _, near = simulator.tree.query(point, k=simulator.neighbours)
        rank = (draws[1] * simulator.neighbours).astype(np.intp)
        donor = np.reshape(near, (len(rank), -1))[np.arange(len(rank)), rank]
        change = spend_change(simulator.effects, state, action, simulator.kinds)
        begin = period * paths.period_days
        made.spend[:, period] = np.rint(simulator.spend[donor] * change)
        made.visited[:, begin : begin + paths.period_days] = simulator.visited[donor]
        made.action[:, period] = action
        made.contacts[:, period] = action > 0
        taken = _draw_taken(simulator, action, state[:, redeemed] > 0, draws[2])
        made.claims[:, period], made.discount[:, period] = taken.T
        # Campaigns last from four to eight weeks: their redemptions are known a period later.
        if period + 1 < paths.periods:
            made.redemptions[:, period + 1] += taken[:, 0]
    return made


def following(policy: Policy) -> Choice:
    """Choose by a policy's chances."""

    def choose(states: Floats, period: int, draws: Floats) -> Ints:
        chances = policy(states).cumsum(axis=1)
        return np.asarray((chances < draws[:, None] * chances[:, -1:]).sum(axis=1))

    return choose


def repeating(paths: CustomerPaths) -> Choice:
    """Choose what the log chose."""

    def choose(states: Floats, period: int, draws: Floats) -> Ints:
        return paths.action[:, period]

    return choose


def _known_redemptions(paths: CustomerPaths, first: int) -> Ints:
    known = paths.redemptions.copy()
    known[:, first:] = 0
    return known


def _taken(
    paths: CustomerPaths, state: Floats, action: Ints, customer: Ints, period: Ints
) -> dict[tuple[int, bool], Ints]:
    before = state[:, state_columns(paths.kinds, ("log redemptions",))[0]] > 0
    pairs = np.column_stack([paths.claims[customer, period], paths.discount[customer, period]])
    return {
        (number, flag): pairs[(action == number) & (before == flag)]
        for number in range(1, len(paths.actions))
        for flag in (False, True)
    }


def _draw_taken(simulator: ShopSimulator, action: Ints, before: Flags, draws: Floats) -> Ints:
    taken = np.zeros((len(action), 2), dtype=np.int64)
    for (number, flag), pairs in simulator.taken.items():
        rows = np.flatnonzero((action == number) & (before == flag))
        # Nobody of this kind in the log: they are taken to redeem like the others sent the same.
        pool = pairs if len(pairs) else simulator.taken[number, not flag]
        if len(rows) and len(pool):
            taken[rows] = pool[(draws[rows] * len(pool)).astype(np.intp)]
    return taken
