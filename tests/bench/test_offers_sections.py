"""The sections of the offers benchmark on tiny made data: whole halves, policies and paths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.offers_hillstrom_choice import OURS
from bench.offers_hillstrom_data import ARMS, OUTCOMES, Trial
from bench.offers_hillstrom_policy import Price
from bench.offers_hillstrom_split import PERSONAL, SHARES, SINGLE, measure_split
from bench.offers_journey_policies import (
    BY_RISK,
    BY_VALUE,
    Loss,
    judge_policies,
    losses_of,
)
from bench.offers_journey_policies import OURS as LEARNT
from bench.offers_journey_values import Draws, LaterCampaign, Terms, best_within_budget
from bench.sequence_behaviour import behaviour_of, distances
from bench.sequence_fidelity import drawn_independently, side_by_side
from bench.sequence_plots import plot_fidelity, plot_returns
from bench.sequence_policies import (
    AS_LOGGED,
    NEVER,
    ONE_STEP,
    SEQUENTIAL,
    Protocol,
    judge,
    path_weights,
    step_weights,
    together,
)
from finetune.campaign_panels import Records
from finetune.campaign_study import study_campaigns
from finetune.campaigns import campaigns_of
from finetune.contacts import read_contacts
from finetune.customer_paths import CustomerPaths, Economics
from finetune.customer_states import Transitions, tier_cuts
from finetune.effect_features import EFFECT_FEATURES, RELATIVE_COLUMNS
from finetune.effect_slopes import Residuals
from finetune.sampling_error import effective_sample_size
from finetune.sequence_policy import SequenceEvaluation, deployable
from finetune.studied_effects import Method
from tests.finetune.planted_campaigns import planted_shop
from tests.finetune.test_shop_simulator import shop_of

# --- Hillstrom ---------------------------------------------------------------------------------


def trial(count: int = 1500) -> Trial:
    """Men's e-mails move men's buyers by $6, women's the others; a coin sends."""
    generator = np.random.default_rng(2)
    men = generator.random(count) < 0.5
    actions = generator.integers(0, 3, count)
    moved = np.where(men, actions == 1, actions == 2)
    visit = generator.random(count) < 0.2 + 0.6 * moved
    bought = np.column_stack([men, ~men]).astype(float)
    return Trial(
        features=np.column_stack([bought, generator.normal(size=(count, 3))]),
        histories=["" for _ in range(count)],
        spent=generator.random(count),
        bought=bought,
        actions=actions,
        outcomes={
            "visit": visit.astype(float),
            "conversion": (visit & (generator.random(count) < 0.5)).astype(float),
            "spend": 6.0 * moved + generator.normal(scale=0.5, size=count),
        },
    )


def test_a_split_learns_on_one_half_and_judges_on_the_other() -> None:
    made = trial()
    embeddings = np.random.default_rng(3).normal(size=(1500, 30)).astype(np.float32)
    draws = {(arm, outcome): 10 for arm in ARMS[1:] for outcome in OUTCOMES}
    draws["women", "visit"] = 50
    split = measure_split(
        made, embeddings, seed=1, draws=draws, price=Price(margin=0.5, message_cents=10)
    )
    assert len(split.tested) == 750
    assert len(np.unique(split.tested)) == 750
    ranked = split.ranked["women", "visit"]
    assert ranked[OURS].qini > ranked["random"].qini + 0.1
    assert ranked[OURS].qini_draws.shape == (50,)
    assert split.ranked["men", "spend"][OURS].auuc_draws.shape == (10,)
    low, high = np.percentile(ranked[OURS].qini_draws, [2.5, 97.5])
    assert low < ranked[OURS].qini < high
    assert ranked[OURS].curve.shape == SHARES.shape
    assert split.choice.pays
    assert split.judged[OURS].profit.value == split.judged[PERSONAL].profit.value
    gain = split.judged[PERSONAL].profit.value - split.judged[SINGLE].profit.value
    # Half of the margin of $6 for those whom the one e-mail for all does not move.
    assert gain == pytest.approx(1.5, abs=0.4)


# --- Complete Journey --------------------------------------------------------------------------


def test_policies_are_learnt_on_earlier_campaigns_and_judged_on_later_ones(tmp_path: Path) -> None:
    shop = planted_shop(tmp_path, effect=300, bias=True, redeeming=0.6)
    contacts = read_contacts(shop)
    records = Records(shop, contacts, 28)
    study = study_campaigns(records, campaigns_of(contacts))
    result = judge_policies(
        study, records, contacts, Method.DIFFERENCES, Terms(margin=0.5, contact_cost=10), seed=0
    )
    assert result.campaigns == 2
    assert result.values["never"].profit.mean == 0.0
    assert result.values[LEARNT].contacts == result.budget
    # $12 of spend at half margin, less a dime and at most a dollar of coupons for the keen.
    assert result.values[LEARNT].profit.mean == pytest.approx(5.5, abs=1.0)
    assert result.values[LEARNT].profit.low > 0
    assert {BY_RISK, BY_VALUE} <= set(result.gains)
    assert result.gains["random"].low < 1.0
    assert "one effect a kind" in result.learnt


def residuals(slope: float, seed: int) -> Residuals:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(400, len(EFFECT_FEATURES)))
    contact = generator.integers(0, 2, size=400) - 0.5
    effect = 10.0 + slope * features[:, RELATIVE_COLUMNS[0]]
    return Residuals(
        kind="mail",
        customer_ids=tuple(str(number) for number in range(400)),
        features=features,
        outcome=contact * effect + generator.normal(0, 5, size=400),
        contact=contact,
    )


@pytest.mark.parametrize(("slope", "adopted"), [(12.0, True), (0.0, False)])
def test_the_lowest_loss_is_adopted_only_where_its_interval_says_better(
    slope: float, adopted: bool
) -> None:
    losses = losses_of([residuals(slope, seed) for seed in range(3)])
    best = min(losses.values(), key=lambda loss: loss.relative)
    assert best.low < best.relative < best.high
    assert best.surely_better is adopted
    assert not Loss(relative=-0.01, low=-0.03, high=0.01).surely_better


def test_a_budget_goes_to_the_highest_scores_and_draws_hold_the_mean() -> None:
    later = LaterCampaign(
        kind="mail",
        customer_ids=("a", "b", "c", "d"),
        features=np.array([[3.0], [-1.0], [2.0], [1.0]]),
        treated=np.array([True, False, True, False]),
        chances=np.full(4, 0.5),
        profits=np.array([4.0, -2.0, 2.0, 0.0]),
        budget=2,
    )
    plan = best_within_budget(later, lambda _, features: features[:, 0])
    assert plan.tolist() == [1, 0, 1, 0]
    none = best_within_budget(later, lambda _, features: -features[:, 0], only_gains=True)
    assert none.tolist() == [0, 1, 0, 0]
    value = Draws([later], seed=0).value([plan])
    assert (value.contacts, value.profit.mean, value.effective) == (2.0, 3.0, 2.0)
    assert value.profit.low < 3.0 < value.profit.high


# --- offers over time --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halves() -> tuple[CustomerPaths, CustomerPaths]:
    """Two tiny shops of one kind of campaign, which the benchmark calls Type A."""
    first, second = (
        replace(shop_of(effect=0.4, customers=150, seed=seed), kinds=("Type A",)) for seed in (0, 1)
    )
    return first, second


def test_policies_are_judged_on_the_other_half(
    halves: tuple[CustomerPaths, CustomerPaths],
) -> None:
    protocol = Protocol(
        first=3,
        ahead=3,
        discount=0.99,
        quantiles=(0.5, 0.8),
        economics=Economics(margin_share=0.5, contact_cost=1),
        seeds=(0,),
    )
    judged = [judge(*pair, protocol) for pair in (halves, halves[::-1])]
    found = together(judged)
    assert len(found[SEQUENTIAL].simulated) == sum(len(each.observed) for each in judged)
    for each in found.values():
        low, high = each.linear.interval
        assert low < each.linear.value < high
    assert found[NEVER].offered == 0.0
    assert found[AS_LOGGED].effective_paths == pytest.approx(300, rel=0.1)
    # Offers pay here, a lot is drawn for them, and each lasts one period.
    assert found[ONE_STEP].linear.gain_over(found[NEVER].linear)[1] > 0
    assert found[NEVER].effective_paths < found[AS_LOGGED].effective_paths


def test_a_policy_that_hardly_anybody_followed_is_refused_however_good_it_looks() -> None:
    generator = np.random.default_rng(0)
    customers, periods = 400, 4
    action = (generator.random(customers * periods) < 0.1).astype(np.int64)
    steps = Transitions(
        customer=np.tile(np.arange(customers), periods),
        state=np.zeros((len(action), 1)),
        action=action,
        reward=np.zeros(len(action)),
        next_state=np.zeros((len(action), 1)),
    )
    logged = np.tile([0.9, 0.1], (len(action), 1))
    paths = {}
    # Both take only actions that the log took often enough to be counted on.
    for name, chances in (("always", [0.0, 1.0]), ("usual", [0.95, 0.05])):
        weight = step_weights(np.tile(chances, (len(action), 1)), logged, steps)
        paths[name] = effective_sample_size(path_weights(weight, steps, customers, periods))

    def evaluation(effective_paths: float) -> SequenceEvaluation:
        return SequenceEvaluation(
            policy=SEQUENTIAL,
            peer=ONE_STEP,
            customers=customers,
            periods=periods,
            gain=500.0,
            low=400.0,
            high=600.0,
            effective_paths=effective_paths,
        )

    assert paths["always"] < 5
    assert not deployable(evaluation(paths["always"]))
    assert paths["usual"] > 300
    assert deployable(evaluation(paths["usual"]))


def test_independent_draws_lose_what_follows_what(
    halves: tuple[CustomerPaths, CustomerPaths], tmp_path: Path
) -> None:
    paths = halves[0]
    cuts = tier_cuts(paths, 5, (0.5, 0.8))
    naive = drawn_independently(paths, halves[1], 5, seed=0)
    np.testing.assert_array_equal(naive.spend[:, :5], paths.spend[:, :5])
    real, drawn = (behaviour_of(each, 5, cuts) for each in (paths, naive))
    assert real.figures["autocorrelation, 1 period"] > 0.2
    assert abs(drawn.figures["autocorrelation, 1 period"]) < 0.15
    assert max(distances(real, real).values()) == 0.0
    assert distances(real, drawn)["KS: spend in all"] > 0.1
    table = side_by_side(real, {"naive": drawn})
    assert table["visits a period"]["real"] == pytest.approx(paths.visits[:, 5:].mean())
    assert table["KS: gaps"]["real"] is None
    plot_fidelity({"real": real, "naive": drawn}, tmp_path / "fidelity.png")
    plot_returns({"FQE": {"never": (1.0, -1.0, 2.0)}}, "USD", tmp_path / "returns.png")
    for name in ("fidelity.png", "returns.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
