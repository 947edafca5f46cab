"""The logged chance of an action is the chance it had."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.exploration import Exploration, choose, propensities

GAINS: dict[str | None, float] = {None: 0.0, "a": 50.0, "b": 80.0, "c": -20.0}
NOVEMBER = Exploration(share=0.2, seed="shop", period="2026-11")

gains = st.dictionaries(
    st.one_of(st.none(), st.text(min_size=1, max_size=3)), st.floats(-100, 100), max_size=6
).map(lambda actions: {None: 0.0, **actions})
explorations = st.builds(
    Exploration, share=st.floats(0, 1), seed=st.text(max_size=5), period=st.text(max_size=5)
)


@given(gains=gains, exploration=explorations, customer_id=st.text(max_size=8))
def test_propensities_sum_to_one_and_the_choice_logs_its_own(
    gains: dict[str | None, float], exploration: Exploration, customer_id: str
) -> None:
    chances = propensities(gains, exploration)
    assert chances.keys() == gains.keys()
    assert math.fsum(chances.values()) == pytest.approx(1)
    assert min(chances.values()) >= exploration.share / len(gains)
    choice = choose(customer_id, gains, exploration)
    assert choice.propensity == chances[choice.offer_id] > 0
    assert choice == choose(customer_id, dict(reversed(gains.items())), exploration)


@given(gains=gains, customer_id=st.text(max_size=8))
def test_without_exploration_the_best_is_certain(
    gains: dict[str | None, float], customer_id: str
) -> None:
    choice = choose(customer_id, gains, replace(NOVEMBER, share=0.0))
    assert gains[choice.offer_id] == max(gains.values())
    assert (choice.propensity, choice.explored) == (1.0, False)


def test_frequencies_over_customers_are_the_propensities() -> None:
    customers = 8_000
    choices = [choose(str(number), GAINS, NOVEMBER) for number in range(customers)]
    taken = Counter(choice.offer_id for choice in choices)
    for action, chance in propensities(GAINS, NOVEMBER).items():
        spread = math.sqrt(chance * (1 - chance) / customers)
        assert taken[action] / customers == pytest.approx(chance, abs=4 * spread)
    explored = [choice for choice in choices if choice.explored]
    assert len(explored) / customers == pytest.approx(0.2, abs=0.02)
    assert {choice.offer_id for choice in choices if not choice.explored} == {"b"}
    assert {choice.propensity for choice in choices if choice.offer_id == "b"} == {0.8 + 0.05}


def test_another_period_or_seed_draws_other_customers() -> None:
    def explored(exploration: Exploration) -> set[int]:
        return {n for n in range(2_000) if choose(str(n), GAINS, exploration).explored}

    first = explored(NOVEMBER)
    for other in (replace(NOVEMBER, period="2026-12"), replace(NOVEMBER, seed="other")):
        # 0.2 of 0.2 of 2,000 are 80 in both by chance; the same draw would give 400.
        assert 40 < len(first & explored(other)) < 120


def test_parts_of_the_question_cannot_run_together() -> None:
    def offers(seed: str, period: str, customers: str) -> list[str | None]:
        everything = Exploration(share=1.0, seed=seed, period=period)
        return [choose(f"{customers}{n}", GAINS, everything).offer_id for n in range(40)]

    assert offers("a", "bc", "") != offers("a", "b", "c")
    assert offers("a", "bc", "") != offers("ab", "c", "")


def test_ties_go_to_no_offer_then_by_id() -> None:
    greedy = replace(NOVEMBER, share=0.0)
    assert choose("1", {"b": 5.0, "a": 5.0, None: 0.0}, greedy).offer_id == "a"
    assert choose("1", {"b": 0.0, "a": 0.0, None: 0.0}, greedy).offer_id is None


def test_only_no_offer_is_certain() -> None:
    choice = choose("1", {None: 0.0}, NOVEMBER)
    assert choice.offer_id is None
    assert choice.propensity == pytest.approx(1)


def test_what_cannot_be_chosen_from_is_refused() -> None:
    with pytest.raises(ValueError, match="None"):
        choose("1", {"a": 5.0}, NOVEMBER)
    with pytest.raises(ValueError, match="'a' is not a number"):
        choose("1", {None: 0.0, "a": math.nan}, NOVEMBER)
    with pytest.raises(ValueError, match="share"):
        Exploration(share=1.5, seed="", period="")
