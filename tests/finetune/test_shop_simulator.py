from dataclasses import replace

import numpy as np
import pytest

from finetune.calibration import Floats
from finetune.campaign_effects import AGAIN, CampaignEffect, spend_change
from finetune.customer_paths import CustomerPaths, Ints
from finetune.customer_states import Policy, state_columns, state_names
from finetune.errors import TrainingError
from finetune.shop_simulator import (
    ShopSimulator,
    fit_simulator,
    following,
    repeating,
    simulate,
)

PERIODS, DAYS = 9, 28
CUTS = (2_000.0, 8_000.0)
START = 6


def shop_of(effect: float = 0.0, *, customers: int = 300, seed: int = 0) -> CustomerPaths:
    """Customers with habits of their own; a campaign, sent by lot, changes log spend."""
    generator = np.random.default_rng(seed)
    rate = generator.gamma(2.0, 2.0, (customers, 1)) / DAYS
    visited = generator.random((customers, PERIODS * DAYS)) < np.minimum(rate, 0.9)
    visited[:, 0] = True
    visits = visited.reshape(customers, PERIODS, DAYS).sum(axis=2)
    action = (generator.random((customers, PERIODS)) < 0.3).astype(np.int64)
    basket = generator.lognormal(7, 0.3, (customers, PERIODS))
    claims = action * (generator.random((customers, PERIODS)) < 0.5)
    return CustomerPaths(
        customer_ids=tuple(str(number) for number in range(customers)),
        kinds=("A",),
        period_days=DAYS,
        spend=np.rint(visits * basket * np.exp(effect * action)).astype(np.int64),
        visited=visited,
        action=action,
        contacts=action,
        discount=claims * 100,
        claims=claims,
        redemptions=np.zeros((customers, PERIODS), dtype=np.int64),
    )


@pytest.fixture(scope="module")
def paths() -> CustomerPaths:
    return shop_of()


@pytest.fixture(scope="module")
def simulator(paths: CustomerPaths) -> ShopSimulator:
    return fit_simulator(paths, CUTS, until=START)


def always(action: int) -> Policy:
    return lambda states: np.tile(np.eye(2)[action], (len(states), 1))


def test_the_past_stays_and_the_rest_is_written_anew(
    paths: CustomerPaths, simulator: ShopSimulator
) -> None:
    before = paths.spend.copy()
    made = simulate(simulator, paths, repeating(paths), first=START, seed=1)
    np.testing.assert_array_equal(made.spend[:, :START], paths.spend[:, :START])
    assert not np.array_equal(made.spend[:, START:], paths.spend[:, START:])
    np.testing.assert_array_equal(made.action, paths.action)
    np.testing.assert_array_equal(paths.spend, before)


def test_what_really_came_later_is_not_read(paths: CustomerPaths) -> None:
    blind = replace(
        paths,
        spend=np.where(np.arange(PERIODS) < START, paths.spend, 0),
        visited=np.where(np.arange(PERIODS * DAYS) < START * DAYS, paths.visited, False),
        claims=np.where(np.arange(PERIODS) < START, paths.claims, 0),
    )
    found = [
        simulate(
            fit_simulator(each, CUTS, until=START), each, following(always(1)), first=START, seed=1
        )
        for each in (paths, blind)
    ]
    for name in ("spend", "visited", "discount", "redemptions"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


def test_simulated_customers_are_like_the_real_ones(
    paths: CustomerPaths, simulator: ShopSimulator
) -> None:
    made = simulate(simulator, paths, repeating(paths), first=START, seed=1)
    real, simulated = paths.spend[:, START:], made.spend[:, START:]
    assert simulated.mean() == pytest.approx(real.mean(), rel=0.1)
    assert (simulated == 0).mean() == pytest.approx((real == 0).mean(), abs=0.05)
    # A habit lasts: who spent much before spends much again.
    early = paths.spend[:, :START].mean(axis=1)
    assert np.corrcoef(early, simulated.mean(axis=1))[0, 1] > 0.6
    spent = simulated > 0
    np.testing.assert_array_equal(spent, made.visits[:, START:] > 0)


def test_the_same_luck_for_every_policy(paths: CustomerPaths, simulator: ShopSimulator) -> None:
    plain = replace(simulator, effects=tuple(replace(e, shrunk=0.0) for e in simulator.effects))
    never, ever = (
        simulate(plain, paths, following(always(action)), first=START, seed=4) for action in (0, 1)
    )
    np.testing.assert_array_equal(never.spend, ever.spend)
    other = simulate(plain, paths, following(always(0)), first=START, seed=5)
    assert not np.array_equal(never.spend, other.spend)


def test_an_effect_is_found_and_played_back() -> None:
    paths = shop_of(0.4, customers=600)
    simulator = fit_simulator(paths, CUTS, until=PERIODS)
    found = next(effect for effect in simulator.effects if effect.name == "A")
    again = next(effect for effect in simulator.effects if effect.name == AGAIN)
    assert found.estimate + 0.7 * again.estimate == pytest.approx(0.4, abs=0.08)
    never, ever = (
        simulate(simulator, paths, following(always(action)), first=START, seed=4).spend[:, START]
        for action in (0, 1)
    )
    lift = found.shrunk + again.shrunk * (paths.action[:, 3:START] > 0).any(axis=1)
    bought = never > 0
    np.testing.assert_allclose(ever[bought], never[bought] * np.exp(lift[bought]), atol=2)


def test_an_effect_is_shrunk_by_its_error_and_never_grown(simulator: ShopSimulator) -> None:
    for effect in simulator.effects:
        assert abs(effect.shrunk) <= abs(effect.estimate)
        if abs(effect.estimate) <= effect.error:
            assert effect.shrunk == 0


def test_change_is_the_sum_of_what_applies() -> None:
    effects = tuple(
        CampaignEffect(name=name, estimate=0.0, error=0.0, shrunk=shrunk)
        for name, shrunk in (("A", 0.2), (AGAIN, -0.1), ("A, the period after", 0.05))
    )
    state = np.zeros((3, len(state_names(("A",)))))
    last, recent = state_columns(("A",), ("last sent: A", "periods with an offer, recent"))
    state[1:, [last, recent]] = 1
    change = spend_change(effects, state, np.array([1, 1, 0]), ("A",))
    np.testing.assert_allclose(np.log(change), [0.2, 0.15, 0.05])


def test_redemptions_are_drawn_and_known_a_period_later(
    paths: CustomerPaths, simulator: ShopSimulator
) -> None:
    made = simulate(simulator, paths, following(always(1)), first=START, seed=1)
    assert made.claims[:, START:].mean() == pytest.approx(0.5, abs=0.08)
    np.testing.assert_array_equal(made.discount[:, START:], 100 * made.claims[:, START:])
    np.testing.assert_array_equal(made.redemptions[:, START + 1 :], made.claims[:, START:-1])
    never = simulate(simulator, paths, following(always(0)), first=START, seed=1)
    assert not never.claims[:, START:].any()


def test_following_draws_by_the_policys_chances() -> None:
    def mostly_second(states: Floats) -> Floats:
        return np.tile([0.2, 0.7, 0.1], (len(states), 1))

    draws = (np.arange(1_000) + 0.5) / 1_000
    chosen: Ints = following(mostly_second)(np.zeros((1_000, 1)), 0, draws)
    assert np.bincount(chosen).tolist() == [200, 700, 100]


def test_too_few_periods_are_refused(paths: CustomerPaths) -> None:
    with pytest.raises(TrainingError, match="at least 10 periods"):
        fit_simulator(paths.of(np.arange(2)), CUTS, until=START)
