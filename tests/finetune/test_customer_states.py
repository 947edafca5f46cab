from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.contacts import Contact
from finetune.customer_paths import CustomerPaths, Economics, cut_into_periods
from finetune.customer_states import (
    HORIZON_PERIODS,
    stages_at,
    state_columns,
    state_names,
    states_at,
    tier_cuts,
    tiers_at,
    transitions_of,
)
from finetune.errors import TrainingError
from finetune.value import Stage, lifecycle_stage
from retrieval.orders import CustomerPast
from retrieval.shop import Shop, ShopSettings
from tests.finetune.hand_made import DAY_ZERO, day, event_table, past_of

PERIOD = 28
CUTS = (1_000.0, 5_000.0)
ECONOMICS = Economics(margin_share=0.25, contact_cost=50)


def sent(kind: str, starts: float, ends: float, **changes: object) -> Contact:
    contact = Contact(
        customer_id="a",
        campaign_id=f"{kind} {starts}",
        kind=kind,
        starts=day(starts),
        ends=day(ends),
    )
    return replace(contact, **changes)


def random_paths(seed: int, *, customers: int = 6, periods: int = 6) -> CustomerPaths:
    """Purchases on random days, so that some customers are new, lapsed or unknown."""
    generator = np.random.default_rng(seed)
    rate = generator.choice([0.005, 0.02, 0.2, 0.6], (customers, 1))
    visited = generator.random((customers, periods * PERIOD)) < rate
    shape = (customers, periods)
    visits = visited.reshape(customers, periods, PERIOD).sum(axis=2)
    return CustomerPaths(
        customer_ids=tuple(str(number) for number in range(customers)),
        kinds=("A", "B"),
        period_days=PERIOD,
        spend=visits * 700,
        visited=visited,
        action=generator.integers(0, 3, shape),
        contacts=generator.integers(0, 3, shape),
        discount=generator.integers(0, 300, shape),
        claims=generator.integers(0, 3, shape),
        redemptions=generator.integers(0, 3, shape),
    )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop.create(tmp_path, ShopSettings())
    rows = [
        ("a", 0, 500, "purchase"),
        ("a", 27.9, 300, "purchase"),
        ("a", 28, 200, "purchase"),
        ("a", 30, -200, "return"),
        ("b", 60, 900, "purchase"),
        ("b", 84, 900, "purchase"),
    ]
    shop.log.append(event_table(rows), source="hand")
    return shop


def cut(shop: Shop, *contacts: Contact) -> CustomerPaths:
    return cut_into_periods(shop.log, contacts, start=DAY_ZERO, periods=3)


def test_purchases_fall_into_their_periods(shop: Shop) -> None:
    paths = cut(shop)
    assert paths.customer_ids == ("a", "b")
    assert paths.spend.tolist() == [[800, 200, 0], [0, 0, 900]]
    assert paths.visits.tolist() == [[2, 1, 0], [0, 0, 1]]
    assert paths.known_at(1).tolist() == [True, False]


def test_a_campaign_acts_when_it_starts_and_its_redemptions_are_known_when_it_ends(
    shop: Shop,
) -> None:
    paths = cut(shop, sent("A", 10, 60, redemptions=2, discount=150))
    assert paths.actions == ("none", "A")
    assert paths.action.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert paths.contacts[0].tolist() == [1, 0, 0]
    assert paths.discount[0].tolist() == [150, 0, 0]
    assert paths.claims[0].tolist() == [2, 0, 0]
    assert paths.redemptions[0].tolist() == [0, 0, 2]


def test_of_several_the_most_sent_kind_stands_for_all(shop: Shop) -> None:
    both = [sent("B", 1, 40), sent("A", 5, 40), sent("B", 29, 60, customer_id="b")]
    paths = cut(shop, *both)
    assert paths.kinds == ("B", "A")
    assert paths.action[0].tolist() == [1, 0, 0]
    assert paths.contacts[0].tolist() == [2, 0, 0]


def test_who_was_kept_out_was_not_sent(shop: Shop) -> None:
    paths = cut(shop, sent("A", 1, 40, treated=False))
    assert paths.kinds == ()
    assert not paths.action.any()


def test_periods_outside_the_log_are_refused(shop: Shop) -> None:
    with pytest.raises(TrainingError, match="Nobody bought anything"):
        cut_into_periods(shop.log, [], start=DAY_ZERO - timedelta(days=900), periods=3)


def test_reward_is_margin_less_discount_and_contacts(shop: Shop) -> None:
    paths = cut(shop, sent("A", 10, 60, discount=150))
    assert ECONOMICS.rewards(paths)[0].tolist() == [0.25 * 800 - 150 - 50, 50.0, 0.0]


@given(seed=st.integers(0, 10_000), period=st.integers(HORIZON_PERIODS, 6))
@settings(max_examples=40, deadline=None)
def test_a_state_reads_nothing_from_its_period_on(seed: int, period: int) -> None:
    paths, other = random_paths(seed), random_paths(seed + 1)
    first_day = period * PERIOD
    mixed = {
        name: np.concatenate(
            [getattr(paths, name)[:, :period], getattr(other, name)[:, period:]], axis=1
        )
        for name in ("spend", "action", "contacts", "discount", "claims", "redemptions")
    }
    visited = np.concatenate([paths.visited[:, :first_day], other.visited[:, first_day:]], axis=1)
    changed = replace(paths, visited=visited, **mixed)
    np.testing.assert_array_equal(states_at(paths, period, CUTS), states_at(changed, period, CUTS))


@given(seed=st.integers(0, 10_000), period=st.integers(HORIZON_PERIODS, 6))
@settings(max_examples=40, deadline=None)
def test_stages_follow_the_rules_of_lifecycle_stage(seed: int, period: int) -> None:
    paths = random_paths(seed)
    top_tier = np.arange(len(paths.customer_ids)) % 2 == 0
    stages = stages_at(paths, period, top_tier=top_tier)
    for row in np.flatnonzero(paths.known_at(period)):
        past = as_past(paths, int(row), period)
        recent = paths.spend[row, period - HORIZON_PERIODS : period].mean()
        known = paths.spend[row, int(np.argmax(paths.spend[row] > 0)) : period]
        stage = lifecycle_stage(
            past,
            horizon_days=HORIZON_PERIODS * PERIOD,
            churn_risk=float(recent < known.mean() / 2),
            at_risk_above=0.5,
            top_tier=bool(top_tier[row]),
        )
        assert tuple(Stage)[stages[row]] == stage


def as_past(paths: CustomerPaths, row: int, period: int) -> CustomerPast:
    days = np.flatnonzero(paths.visited[row, : period * PERIOD])
    return past_of([(int(number), 700) for number in days], as_of=period * PERIOD)


def test_tiers_come_from_the_training_customers_recent_spend() -> None:
    paths = random_paths(3, customers=50)
    cuts = tier_cuts(paths, 4, (0.5, 0.8))
    recent = paths.spend[:, 1:4].mean(axis=1)
    known = paths.known_at(4)
    assert cuts == pytest.approx(tuple(np.quantile(recent[known], [0.5, 0.8])))
    expected = (recent >= cuts[0]).astype(int) + (recent >= cuts[1])
    assert tiers_at(paths, 4, cuts).tolist() == expected.tolist()


def test_offers_and_redemptions_of_the_past_are_in_the_state() -> None:
    paths = random_paths(5)
    states = states_at(paths, 5, CUTS)
    assert states.shape == (6, len(state_names(paths.kinds)))
    last, recent, redeemed = state_columns(
        paths.kinds, ("last sent: B", "periods with an offer, recent", "log redemptions")
    )
    assert states[:, last].tolist() == (paths.action[:, 4] == 2).tolist()
    assert states[:, recent].tolist() == (paths.action[:, 2:5] > 0).sum(axis=1).tolist()
    np.testing.assert_allclose(states[:, redeemed], np.log1p(paths.redemptions[:, :5].sum(axis=1)))


def test_steps_join_each_state_with_the_next() -> None:
    paths = random_paths(8)
    steps = transitions_of(paths, CUTS, ECONOMICS)
    known = [np.flatnonzero(paths.known_at(period)) for period in range(HORIZON_PERIODS, 6)]
    assert steps.customer.tolist() == np.concatenate(known).tolist()
    last = slice(len(steps.customer) - len(known[-1]), None)
    np.testing.assert_array_equal(steps.state[last], states_at(paths, 5, CUTS)[known[-1]])
    np.testing.assert_array_equal(steps.next_state[last], states_at(paths, 6, CUTS)[known[-1]])
    assert steps.action[last].tolist() == paths.action[known[-1], 5].tolist()
    np.testing.assert_array_equal(steps.reward[last], ECONOMICS.rewards(paths)[known[-1], 5])
