import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.experiment_plan import plan_experiment
from agent.experiments import ExperimentError, Metric
from agent.sample_size import (
    Design,
    GroupSizes,
    Looks,
    customers_for_means,
    customers_for_shares,
    effect_for_means,
    effect_for_shares,
)
from retrieval.errors import ShopError
from tests.agent.experiment_shop import buy, days_after, new_shop, noon

HALVES = Design(holdout_share=0.5)
Z_975, Z_80, Z_90 = 1.959964, 0.841621, 1.281552


def test_means_known_answers() -> None:
    # Cohen's d of 0.5 at 80% power: 62.8 a group; of 1 at 90%: 21.01.
    assert customers_for_means(1, 0.5, HALVES) == GroupSizes(treatment=63, control=63)
    ninety = Design(holdout_share=0.5, power=0.9)
    assert customers_for_means(1, 1, ninety) == GroupSizes(treatment=22, control=22)


def test_unequal_groups_by_hand() -> None:
    # Control n, treatment 9n: n = (z + z)^2 (1 + 1/9) (sd / effect)^2.
    control = (Z_975 + Z_80) ** 2 * (1 + 1 / 9) * (20 / 3) ** 2
    found = customers_for_means(20, 3, Design(holdout_share=0.1))
    assert found == GroupSizes(treatment=math.ceil(9 * control), control=math.ceil(control))
    assert found.total == found.treatment + found.control


def test_shares_known_answers() -> None:
    # R's power.prop.test(p1 = .50, p2 = .75, power = .90) gives 76.7 a group.
    ninety = Design(holdout_share=0.5, power=0.9)
    assert customers_for_shares(0.5, 0.75, ninety) == GroupSizes(treatment=77, control=77)
    # By hand, control a quarter: pooled share 0.25 * 0.2 + 0.75 * 0.3 = 0.275.
    null = math.sqrt(0.275 * 0.725 * (1 / 0.25 + 1 / 0.75))
    effect = math.sqrt(0.2 * 0.8 / 0.25 + 0.3 * 0.7 / 0.75)
    total = ((Z_975 * null + Z_90 * effect) / 0.1) ** 2
    found = customers_for_shares(0.2, 0.3, Design(holdout_share=0.25, power=0.9))
    assert found.control == math.ceil(total / 4)
    assert found.treatment == math.ceil(total * 3 / 4)


def test_looking_at_any_time_costs_customers() -> None:
    always = Design(holdout_share=0.5, looks=Looks.ALWAYS)
    # x = log((x + 1) / alpha^2) has the solution 8.2120, and the boundary is sqrt(x + 1).
    assert always.critical == pytest.approx(math.sqrt(9.2120), abs=1e-4)
    ratio = customers_for_means(100, 1, always).total / customers_for_means(100, 1, HALVES).total
    assert ratio == pytest.approx(((3.0351 + Z_80) / (Z_975 + Z_80)) ** 2, rel=1e-3)


@given(
    st.floats(0.05, 0.95), st.floats(0.5, 0.99), st.floats(1, 1e4), st.integers(10, 10**6),
    st.floats(0.1, 1), st.sampled_from(Looks),
)  # fmt: skip
def test_effect_and_size_are_inverse(
    share: float, power: float, deviation: float, customers: int, left: float, looks: Looks
) -> None:
    design = Design(holdout_share=share, power=power, looks=looks, variance_left=left)
    effect = effect_for_means(deviation, customers, design)
    assert 0 <= customers_for_means(deviation, effect, design).total - customers <= 3
    narrower = Design(holdout_share=share, power=power, looks=looks, variance_left=left / 2)
    assert effect_for_means(deviation, customers, narrower) < effect


@given(st.floats(0.05, 0.9), st.floats(0.01, 0.9), st.integers(200, 10**6))
def test_share_effect_and_size_are_inverse(holdout: float, share: float, customers: int) -> None:
    design = Design(holdout_share=holdout)
    effect = effect_for_shares(share, customers, design)
    if effect is not None:
        found = customers_for_shares(share, share + effect, design)
        assert 0 <= found.total - customers <= 3


def test_a_share_cannot_rise_above_one() -> None:
    assert effect_for_shares(0.99, 100, HALVES) is None


# --- from a log ----------------------------------------------------------------------------------


def test_a_plan_reads_mean_spread_and_habit_from_the_log(tmp_path: Path) -> None:
    shop = new_shop(tmp_path / "shop")
    # Every seven days, half of the customers spend $10 and half $30: each always the same.
    buy(
        shop,
        [
            (f"c{number}", noon(days_after(-7 * week)), 1_000 if number % 2 else 3_000)
            for week in range(1, 9)
            for number in range(40)
        ]
        + [("late", noon(days_after(-1)), 5)],
    )
    found = plan_experiment(
        shop,
        customer_ids=[f"c{number}" for number in range(40)],
        metric=Metric.SPEND,
        effect=0.1,
        horizon_days=7,
        design=HALVES,
    )
    assert found.customers == 40
    assert (found.past.days, found.past.windows, found.past.mean) == (7, 3, 2_000)
    assert found.past.deviation == pytest.approx(1_000 * math.sqrt(40 / 39))
    assert found.past.correlation == pytest.approx(1)
    by_hand = customers_for_means(found.past.deviation, 200, HALVES)
    assert found.once == by_hand
    assert found.always is not None
    assert found.always.total > by_hand.total
    # The time before foretells everything, so nothing is left to chance.
    assert found.always_adjusted == GroupSizes(treatment=2, control=2)
    assert found.days_needed == 7
    assert [each.past.days for each in found.reaches] == [7, 14]
    assert found.reaches[0].once == pytest.approx(
        effect_for_means(found.past.deviation, 40, HALVES) / 2_000
    )


def test_a_plan_for_returning(tmp_path: Path) -> None:
    shop = new_shop(tmp_path / "shop")
    # Of 40, those of one residue buy in each week: a quarter, and never the same.
    buy(
        shop,
        [
            (f"c{number}", noon(days_after(-7 * week)), 500)
            for week in range(1, 9)
            for number in range(40)
            if number % 4 == week % 4 or week == 8
        ]
        + [("late", noon(days_after(-1)), 5)],
    )
    ids = [f"c{number}" for number in range(40)]
    found = plan_experiment(
        shop, customer_ids=ids, metric=Metric.RETURNED, effect=0.2, horizon_days=7, design=HALVES
    )
    assert found.past.mean == pytest.approx(0.25)
    assert found.once == customers_for_shares(0.25, 0.3, HALVES)
    # Who buys in one fortnight does not in the next, so the time before foretells everything.
    assert found.days_needed == 14
    impossible = plan_experiment(
        shop, customer_ids=ids, metric=Metric.RETURNED, effect=4, horizon_days=7, design=HALVES
    )
    assert impossible.once is impossible.always is impossible.always_adjusted is None


def test_a_log_too_short_says_so(tmp_path: Path) -> None:
    shop = new_shop(tmp_path / "shop")

    def plan(horizon_days: int) -> None:
        plan_experiment(
            shop,
            customer_ids=None,
            metric=Metric.SPEND,
            effect=0.1,
            horizon_days=horizon_days,
            design=HALVES,
        )

    with pytest.raises(ShopError, match="no purchases yet"):
        plan(7)
    buy(shop, [(f"c{n}", noon(days_after(-day)), 100) for n in range(5) for day in range(20)])
    plan(7)
    with pytest.raises(ExperimentError, match="horizons of 14 days"):
        plan(14)
