"""What own decisions teach, where campaigns mislead and a comparison without chances would too."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from finetune.campaign_panels import Records
from finetune.contacts import read_contacts
from finetune.decision_effects import LoggedChoice, OwnDecisions, learn_from_decisions
from finetune.effect_learning import learn_effects
from finetune.offer_effects import OfferEffects, read_effects, write_effects
from finetune.studied_effects import Pooled
from retrieval.orders import read_pasts
from retrieval.shop import Shop
from retrieval.time_split import present
from tests.finetune.planted_decisions import (
    MISLEADING,
    WEEKS_OF_EFFECT,
    WINDOW,
    planted_decisions,
)

WEEKLY = 100
TRUE = WEEKLY * WEEKS_OF_EFFECT

Planted = tuple[Shop, list[LoggedChoice], Records]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    shop, choices = planted_decisions(tmp_path_factory.mktemp("shop"), effect=WEEKLY)
    return shop, choices, Records(shop, read_contacts(shop), WINDOW)


@pytest.fixture(scope="module")
def effects(planted: Planted) -> OfferEffects:
    shop, choices, _ = planted
    return learn_effects(shop, choices=choices)


def learnt(planted: Planted, choices: list[LoggedChoice]) -> OwnDecisions:
    return learn_from_decisions(choices, planted[2])


def test_the_planted_effect_is_found_where_a_plain_comparison_is_confounded(
    planted: Planted,
) -> None:
    _, choices, records = planted
    found = learnt(planted, choices).kinds["mail"]
    assert found.effect is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < TRUE < found.high
    assert found.effect == pytest.approx(TRUE, abs=120)
    offered = np.array([choice.kind == "mail" for choice in choices])
    assert (found.offered, found.without) == (offered.sum(), (~offered).sum())
    assert found.explored == sum(choice.explored for choice in choices)
    _, spend = records.at_moments([(each.customer_id, each.at) for each in choices], "mail")
    plain = spend[offered].mean() - spend[~offered].mean()
    assert plain > TRUE + 800  # keen customers are made the offer more often


def test_without_an_effect_the_interval_holds_none(tmp_path: Path) -> None:
    shop, choices = planted_decisions(tmp_path, effect=0, seed=4)
    effects = learn_effects(shop, choices=choices)
    past = next(iter(read_pasts(shop.log, present(shop), ["c001"])))
    estimate = effects.estimate("mail", past)
    assert effects.kinds["mail"].spend.measured  # what campaigns alone would have had it spend by
    assert estimate.spend_low < 0 < estimate.spend_high
    assert (estimate.measured, estimate.spend_effect) == (False, 0)
    assert "show no effect on spend" in estimate.basis


def test_drawn_decisions_stand_alone_where_campaigns_contradict_them(
    planted: Planted, effects: OfferEffects
) -> None:
    shop, choices, _ = planted
    past = next(iter(read_pasts(shop.log, present(shop), ["c001"])))
    alone = learn_effects(shop)
    misled = alone.estimate("mail", past)
    assert misled.spend_effect > TRUE + MISLEADING * WEEKS_OF_EFFECT / 2
    assert misled.spend_low > TRUE
    estimate = effects.estimate("mail", past)
    assert estimate.measured
    assert estimate.spend_effect == pytest.approx(TRUE, abs=120)
    assert estimate.spend_low < TRUE < estimate.spend_high
    assert "campaigns say otherwise and do not count" in estimate.basis
    assert effects.rests_on["mail"] == (
        f"own explored decisions (randomised, n = {len(choices)}) alone; campaigns (observational) "
        "contradict them and do not count"
    )
    assert "2 campaigns (observational)" in alone.rests_on["mail"]


def test_evidence_that_agrees_is_joined_by_precision(effects: OfferEffects) -> None:
    def pooled_of(effect: float, error: float) -> Pooled:
        margin = 1.959964 * error
        return Pooled(
            effect=effect, low=effect - margin, high=effect + margin, campaigns=2, contacted=9
        )

    agreeing = pooled_of(300.0, 40.0)
    mail = effects.kinds["mail"]
    sound = replace(mail.spend, effect=agreeing)
    assert effects.decisions is not None
    drawn = replace(effects.decisions.kinds["mail"], effect=400.0, low=243.2, high=556.8)
    joined = replace(effects, kinds={"mail": replace(mail, spend=sound)}).with_decisions(
        replace(effects.decisions, kinds={"mail": drawn})
    )
    evidence = joined.evidence("mail")
    # 1 / 40^2 against 1 / 80^2: four parts to one.
    assert evidence.effect is not None
    assert evidence.effect.effect == pytest.approx(320.0, abs=0.5)
    assert evidence.effect.error == pytest.approx(1 / np.sqrt(1 / 1600 + 1 / 6400), rel=0.01)
    assert evidence.campaigns == "own"
    assert "and 2 campaigns (observational), by precision" in joined.rests_on["mail"]


def test_too_few_decisions_say_so_and_change_nothing(planted: Planted) -> None:
    shop, choices, _ = planted
    few = [c for c in choices if c.kind == "mail"][:19] + [c for c in choices if c.kind is None][:9]
    effects, without = learn_effects(shop, choices=few), learn_effects(shop)
    past = next(iter(read_pasts(shop.log, present(shop), ["c001"])))
    assert effects.estimate("mail", past) == without.estimate("mail", past)
    assert "too few to tell (randomised, 19 with it and 9 without" in effects.rests_on["mail"]
    assert "change nothing" in effects.rests_on["mail"]


def test_a_kind_without_campaigns_is_learnt_from_decisions(planted: Planted) -> None:
    shop, choices, _ = planted
    tea = [
        replace(
            each,
            kind="tea" if each.kind else None,
            chances={None if kind is None else "tea": p for kind, p in each.chances.items()},
        )
        for each in choices
    ]
    effects = learn_effects(shop, choices=tea)
    past = next(iter(read_pasts(shop.log, present(shop), ["c001"])))
    assert effects.estimate("tea", past).spend_effect == pytest.approx(TRUE, abs=120)
    assert effects.estimate("mail", past) == learn_effects(shop).estimate("mail", past)


def test_only_first_random_and_finished_decisions_of_the_known_count(planted: Planted) -> None:
    _, choices, _ = planted
    first = choices[0]
    later = replace(first, at=first.at + timedelta(days=1), kind=None)
    certain = replace(choices[1], chances={choices[1].kind: 1.0})
    unlogged = replace(choices[2], chances={})
    unfinished = replace(choices[3], at=choices[3].at + timedelta(days=WINDOW))
    stranger = replace(choices[4], customer_id="nobody")
    found = learnt(planted, [first, later, certain, unlogged, unfinished, stranger])
    assert (found.read, found.repeated, found.certain) == (6, 1, 2)
    assert (found.unfinished, found.strangers) == (1, 1)
    assert found.kinds["mail"].decisions == 1
    assert found.kinds["mail"].effect is None


def test_an_offer_that_was_not_open_is_not_compared(planted: Planted) -> None:
    _, choices, _ = planted
    # No offer could not have been the outcome of these: they say nothing of the offer's effect.
    changed = [replace(c, chances={"mail": 0.5, "tea": 0.5}) if c.kind else c for c in choices]
    found = learnt(planted, changed).kinds["mail"]
    assert (found.offered, found.effect) == (0, None)


def test_decisions_are_kept_with_the_file(planted: Planted, effects: OfferEffects) -> None:
    shop, _, _ = planted
    write_effects(shop, effects)
    assert read_effects(shop) == effects
