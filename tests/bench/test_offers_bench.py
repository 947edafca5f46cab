"""What the offers benchmark's figures rest on: the choice, the policies, the words, the JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import offers
from bench.offers_hillstrom import in_words, policy_verdict
from bench.offers_hillstrom_choice import (
    OURS,
    TrainingHalf,
    choose_learner,
    cross_fit,
    folds_of,
    guess,
)
from bench.offers_hillstrom_data import history_text, read_trial
from bench.offers_hillstrom_policy import (
    Log,
    Price,
    choose_policy,
    everybody,
    follow,
    judge,
    parts_of,
    simple_policies,
)
from bench.offers_hillstrom_systems import INCUMBENT, Views, candidates
from bench.offers_over_splits import gain_over_splits, over_splits
from bench.offers_report import OfferOptions, OfferReport
from finetune.off_policy import LoggedActions, certain, difference, ips

_PRICE = Price(margin=0.5, message_cents=10)


def _log(count: int = 3000) -> Log:
    """A coin sends; men's e-mails bring 4 dollars from men's buyers, women's 4 from women's."""
    generator = np.random.default_rng(3)
    men = generator.random(count) < 0.5
    actions = generator.integers(0, 3, count)
    moved = np.where(men, actions == 1, actions == 2)
    bought = np.column_stack([men, ~men]).astype(float)
    views = Views(
        rfm=np.column_stack([bought, generator.normal(size=(count, 2))]),
        lm=generator.normal(size=(count, 2)),
        bought=bought,
        spent=generator.random(count),
    )
    spend = 4.0 * moved + generator.normal(scale=0.1, size=count)
    return Log(
        views=views,
        actions=actions,
        visits=(generator.random(count) < 0.3).astype(float),
        spend=spend,
    )


def test_the_training_half_alone_is_fitted_and_the_right_order_found() -> None:
    log = _log(1200)
    half = TrainingHalf(
        views=log.views,
        actions=log.actions,
        arm=2,
        outcome=log.spend,
        binary=False,
        fold=folds_of(len(log.actions), 0),
    )
    guesses = guess(half, log.views, 0)
    assert guesses.chosen in set(guesses.effects) - {OURS}
    women = log.views.bought[:, 1] == 1
    assert guesses.effects[OURS][women].mean() == pytest.approx(4.0, abs=0.2)
    assert guesses.cross_fitted[OURS][~women].mean() == pytest.approx(0.0, abs=0.2)


def test_no_customer_teaches_the_guess_of_their_own_effect() -> None:
    log = _log(600)
    fold = folds_of(600, 0)
    spend = log.spend.copy()

    def cross_fitted() -> np.ndarray:
        half = TrainingHalf(
            views=log.views, actions=log.actions, arm=2, outcome=spend, binary=False, fold=fold
        )
        return cross_fit(candidates(binary=False)["t_ridge"], half)

    before = cross_fitted()
    spend[fold == 0] += 1000.0
    after = cross_fitted()
    assert np.array_equal(before[fold == 0], after[fold == 0])
    assert not np.array_equal(before[fold == 1], after[fold == 1])


def test_the_incumbent_stands_until_another_is_surely_better() -> None:
    generator = np.random.default_rng(1)
    treated, moved = generator.random(2000) < 0.5, generator.random(2000) < 0.5
    outcome = (generator.random(2000) < 0.1 + 0.5 * (treated & moved)).astype(float)
    right, noise = moved.astype(float), generator.random(2000)
    nearly = right + 1e-6 * generator.random(2000)
    assert choose_learner({INCUMBENT: noise, "right": right}, outcome, treated, 0) == "right"
    assert choose_learner({INCUMBENT: nearly, "right": right}, outcome, treated, 0) == INCUMBENT
    assert choose_learner({INCUMBENT: right, "noise": noise}, outcome, treated, 0) == INCUMBENT


def test_a_policy_sends_only_what_pays() -> None:
    effects = {"men": np.array([1.0, 0.1, -1.0]), "women": np.array([0.5, 0.15, -2.0])}
    assert follow(effects, _PRICE).tolist() == [1, 0, 0]
    assert follow(effects, Price(margin=1.0, message_cents=10)).tolist() == [1, 2, 0]


def test_policies_are_worth_what_was_built_in() -> None:
    log = _log()
    expected = np.zeros((len(log.actions), 3))
    simple = simple_policies(log, log.views, _PRICE)
    worth = {
        name: judge(log, expected, certain(actions, 3), _PRICE) for name, actions in simple.items()
    }
    assert worth["never"].profit.value == pytest.approx(0.0, abs=0.05)
    assert worth["always_men"].spend["snips"].value == pytest.approx(2.0, abs=0.2)
    assert worth["by_category"].spend["ips"].value == pytest.approx(4.0, abs=0.3)
    assert worth["by_category"].profit.value == pytest.approx(1.9, abs=0.15)
    assert worth["by_category"].messages == 1.0
    assert worth["by_value"].messages == 0.5


def test_choosing_by_customer_is_taken_only_where_it_surely_pays() -> None:
    log = _log()
    men = log.views.bought[:, 0] == 1
    expected = np.zeros((len(log.actions), 3))
    right = {"men": np.where(men, 4.0, 0.0), "women": np.where(men, 0.0, 4.0)}
    useless = {"men": np.full(len(men), 2.0), "women": np.full(len(men), 1.9)}
    choice = choose_policy(log, expected, {"right": right, "useless": useless}, _PRICE, 0)
    assert (choice.personal, choice.pays) == ("right", True)
    assert not choose_policy(log, expected, {"useless": useless}, _PRICE, 0).pays


def test_a_learner_lucky_where_it_was_picked_is_judged_where_it_was_not() -> None:
    """Spend is noise; one learner happens to send what went with high spend on the first part."""
    generator = np.random.default_rng(5)
    log = replace(_log(1000), spend=generator.normal(scale=10.0, size=1000))
    picking, judging = parts_of(1000, 0)
    effects = {arm: generator.normal(size=1000) for arm in ("men", "women")}
    for number, arm in enumerate(("men", "women"), start=1):
        hit = log.spend[picking] * np.where(log.actions[picking] == number, 1.0, -1.0)
        effects[arm][picking] = hit
    lucky = follow(effects, _PRICE)
    expected = np.zeros((1000, 3))

    def gains(among: np.ndarray) -> float:
        """Lower end of what the lucky learner earns over sending nothing."""
        policies = [certain(each[among], 3) for each in (lucky, everybody("none", 1000))]
        found = [judge(log.of(among), expected[among], each, _PRICE).profit for each in policies]
        return difference(*found)[1]

    assert gains(np.arange(1000)) > 0
    assert gains(judging) < 0
    assert not choose_policy(log, expected, {"lucky": effects}, _PRICE, 0).pays


def test_a_customer_tested_twice_counts_once() -> None:
    log = _log(200)
    logged = LoggedActions(
        actions=log.actions, rewards=log.spend, propensities=np.full((200, 3), 1 / 3)
    )
    value = ips(logged, certain(everybody("men", 200), 3))
    other = ips(logged, certain(everybody("women", 200), 3))
    everyone = np.arange(200)
    once = over_splits([value], [everyone], 200)
    twice = over_splits([value, value], [everyone, everyone], 200)
    assert twice == pytest.approx(once)
    assert once[1] == pytest.approx(value.low, abs=0.01)
    gain, low, high = gain_over_splits([value], [other], [everyone], 200)
    assert gain == pytest.approx(value.value - other.value)
    assert low < gain < high
    assert gain_over_splits([value], [value], [everyone], 200) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((0.1, 0.05, 0.15), "earns more than the women's e-mail to all"),
        ((-0.01, -0.05, 0.03), "A single offer for everyone is as good: the women's e-mail to all"),
        ((-0.1, -0.15, -0.05), "A single offer for everyone is better: the women's e-mail to all"),
    ],
)
def test_the_verdict_follows_the_interval(figures: tuple[float, float, float], words: str) -> None:
    single = in_words(["women", "men", "women"])
    assert words in policy_verdict(*figures, single)
    assert "(best in 2 of 3 training halves)" in single


def test_sending_nothing_to_anybody_may_be_the_best_single_action() -> None:
    assert in_words(["none", "none"]).startswith("no e-mail to all (best in 2 of 2")


def test_a_history_is_said_in_words() -> None:
    row = {
        "recency": "10",
        "history_segment": "7) $1,000 +",
        "mens": "1",
        "womens": "0",
        "zip_code": "Surburban",
        "newbie": "0",
        "channel": "Phone",
        "visit": "1",
    }
    assert history_text(row) == "men by phone 10 months ago, $1000, suburban, known"


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hillstrom.csv"
    with pytest.raises(SystemExit, match="absent"):
        read_trial(file)
    file.write_text("recency,history\n")
    with pytest.raises(SystemExit, match="0 rows"):
        read_trial(file)


def test_the_last_line_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    report = OfferReport(seed=7)
    report.row("set its task", "system", "qini", 0.5, 0.4, float("nan"))
    report.difference("set its task", "qini", "system", "peer", 0.1, -0.1, 0.3)
    report.verdict("set its task", "as good")
    report.claim("water is wet", True)
    report.finish()
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    keys = {"commit", "seed", "hardware", "rows", "differences", "claims", "verdicts"}
    assert set(document) == keys
    assert document["rows"] == [
        {
            "set": "set",
            "task": "its task",
            "system": "system",
            "metric": "qini",
            "value": 0.5,
            "low": 0.4,
            "high": None,
        }
    ]
    assert document["differences"][0]["gain"] == 0.1
    assert document["verdicts"] == [{"set": "set", "task": "its task", "text": "as good"}]
    assert document["claims"] == [{"claim": "water is wet", "holds": True}]


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_a_claim_that_fails_ends_the_bench_with_an_error(
    holds: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def section(report: OfferReport, options: OfferOptions) -> None:
        report.claim("water is wet", holds)

    monkeypatch.setattr("bench.offers_journey.measure", section)
    monkeypatch.setattr("sys.argv", ["offers", "--only", "journey"])
    with pytest.raises(SystemExit) as ended:
        offers.main()
    assert ended.value.code == code
