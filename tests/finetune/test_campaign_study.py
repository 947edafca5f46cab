from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finetune.campaign_panels import Records
from finetune.campaign_study import (
    Study,
    chances_of,
    outcome_of,
    panel_before,
    study_campaigns,
    weighted_effect,
)
from finetune.campaigns import Campaign, campaigns_of
from finetune.contacts import Contact, read_contacts
from finetune.effect_features import EFFECT_FEATURES, effect_features
from finetune.errors import TrainingError
from finetune.overlap import overlap_of, overlap_weights
from finetune.studied_effects import (
    PLACEBOS,
    Measure,
    Method,
    Pooled,
    StudiedEffect,
    choose_method,
    pooled,
)
from retrieval.shop import Shop
from tests.finetune.hand_made import day, past_of
from tests.finetune.planted_campaigns import CUSTOMERS, LENGTH, STARTS, planted_shop

WEEKLY = 300
WINDOW = 28


def study_of(shop: Shop) -> tuple[Study, Records, list[Campaign]]:
    contacts = read_contacts(shop)
    records = Records(shop, contacts, WINDOW)
    campaigns = campaigns_of(contacts)
    return study_campaigns(records, campaigns), records, campaigns


def spend_effect(study: Study, method: Method, windows_early: int = 0) -> Pooled:
    found = pooled(
        each
        for each in study.effects
        if each.method is method
        and each.measure is Measure.SPEND
        and each.windows_early == windows_early
    )
    assert found is not None
    return found


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Records, list[Campaign]]:
    return study_of(planted_shop(tmp_path_factory.mktemp("biased"), effect=WEEKLY, bias=True))


@pytest.fixture(scope="module")
def without_effect(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study_of(planted_shop(tmp_path_factory.mktemp("none"), effect=0, bias=True))[0]


def test_the_planted_effect_is_found_where_the_naive_difference_is_wrong(
    biased: tuple[Study, Records, list[Campaign]],
) -> None:
    study, records, campaigns = biased
    panel = panel_before(records, campaigns[0], 0)
    assert panel is not None
    spend = outcome_of(panel, Method.ADJUSTMENT, Measure.SPEND)
    naive = spend[panel.treated].mean() - spend[~panel.treated].mean()
    true = WEEKLY * LENGTH / 7
    assert naive > 2 * true
    for method in Method:
        found = spend_effect(study, method)
        assert found.low < true < found.high
        assert found.high - found.low < true
        assert found.campaigns == len(STARTS)


def test_without_an_effect_none_is_found(without_effect: Study) -> None:
    for method in Method:
        assert spend_effect(without_effect, method).contains_zero


def test_placebos_hold_zero_where_comparisons_are_fair(without_effect: Study) -> None:
    for early in PLACEBOS:
        assert spend_effect(without_effect, Method.DIFFERENCES, early).contains_zero
    assert choose_method(without_effect.effects, until=day(1000)) is Method.ADJUSTMENT


def test_a_method_that_fails_its_placebos_is_not_chosen(without_effect: Study) -> None:
    """An effect before the campaign began is no effect of it."""
    unfair = [
        _moved(each, 1000.0) if each.windows_early and each.method is Method.ADJUSTMENT else each
        for each in without_effect.effects
    ]
    assert choose_method(unfair, until=day(1000)) is Method.DIFFERENCES
    # Campaigns that began later have no say.
    assert choose_method(unfair, until=day(0)) is Method.DIFFERENCES
    late = [_moved(e, 1000.0) if e.starts >= day(150) else e for e in without_effect.effects]
    assert choose_method(late, until=day(150)) is Method.ADJUSTMENT


def _moved(effect: StudiedEffect, by: float) -> StudiedEffect:
    return replace(effect, effect=effect.effect + by)


def test_those_kept_out_at_random_are_the_ones_to_compare_with(tmp_path: Path) -> None:
    shop = planted_shop(tmp_path, effect=WEEKLY, bias=True, randomised=True)
    contacts = read_contacts(shop)
    records, campaigns = Records(shop, contacts, WINDOW), campaigns_of(contacts)
    study = study_campaigns(records, campaigns[:1])
    panel = panel_before(records, campaigns[0], 0)
    assert panel is not None
    assert set(np.round(chances_of(panel), 2)) == {0.25, 0.75}
    found = spend_effect(study, Method.ADJUSTMENT)
    assert found.low < WEEKLY * LENGTH / 7 < found.high


def test_a_panel_knows_nothing_of_later_and_counts_every_order_of_its_windows(
    biased: tuple[Study, Records, list[Campaign]],
) -> None:
    _, records, campaigns = biased
    panel = panel_before(records, campaigns[1], 1)
    assert panel is not None
    assert panel.as_of == day(STARTS[0])
    assert len(panel.customer_ids) == CUSTOMERS
    # The campaign that begins at this very moment has not begun before it.
    assert not panel.features[:, EFFECT_FEATURES.index("contacts_of_kind")].any()
    # Four orders a window: $40 or $80, and what the campaign added.
    assert panel.spend.shape == (CUSTOMERS, 2)
    assert 3000 < panel.spend.min() < 5000
    assert panel.spend.max() < 4 * (2000 + WEEKLY + 400)


def test_windows_that_the_log_does_not_hold_are_not_studied(
    biased: tuple[Study, Records, list[Campaign]],
) -> None:
    _, records, campaigns = biased
    first = campaigns[0]
    late = Campaign(
        campaign_id="late",
        kind=first.kind,
        starts=records.ends - records.window / 2,
        ends=records.ends,
        contacts=first.contacts,
    )
    study = study_campaigns(records, [late])
    assert study.effects
    assert all(each.windows_early > 0 for each in study.effects)
    early = Campaign(
        campaign_id="early",
        kind=first.kind,
        starts=records.begins + records.window / 2,
        ends=records.ends,
        contacts=first.contacts,
    )
    assert not study_campaigns(records, [early]).effects


def test_the_same_question_gets_the_same_answer(
    biased: tuple[Study, Records, list[Campaign]],
) -> None:
    _, records, campaigns = biased
    first, second = (study_campaigns(records, campaigns[:1]).effects for _ in range(2))
    assert [each.effect for each in first] == [each.effect for each in second]
    assert first


def test_the_interval_minds_that_a_customer_was_in_two_campaigns(without_effect: Study) -> None:
    one = next(e for e in without_effect.effects if e.measure is Measure.SPEND)
    alone, twice = pooled([one]), pooled([one, one])
    assert alone is not None
    assert twice is not None
    # The same customers with the same errors: twice the campaign is no more evidence.
    assert twice.high - twice.low == pytest.approx(alone.high - alone.low)
    assert pooled([]) is None


def test_an_effect_is_shrunk_the_more_the_less_it_stands_out() -> None:
    def shrunk(effect: float) -> float:
        margin = 1.959964
        return Pooled(
            effect=effect, low=effect - margin, high=effect + margin, campaigns=1, contacted=1
        ).shrunk

    assert shrunk(0.9) == 0.0
    assert shrunk(2.0) == pytest.approx(1.5)
    assert shrunk(-2.0) == pytest.approx(-1.5)
    assert shrunk(10.0) == pytest.approx(9.9)


def test_the_weighted_effect_is_exact_where_all_is_known() -> None:
    generator = np.random.default_rng(0)
    feature = generator.integers(0, 2, size=4000).astype(float)
    chance = np.where(feature > 0, 0.8, 0.2)
    treated = generator.random(4000) < chance
    outcome = 50.0 * feature + 7.0 * treated
    effect, influence = weighted_effect(feature[:, None], treated, outcome, chance)
    assert effect == pytest.approx(7.0, abs=0.2)
    assert influence.mean() == pytest.approx(0.0, abs=1e-9)


def test_overlap_weights_balance_what_decided_the_contact() -> None:
    generator = np.random.default_rng(1)
    feature = generator.normal(size=3000)
    chance = 1 / (1 + np.exp(-2 * feature))
    treated = generator.random(3000) < chance
    overlap = overlap_of(feature[:, None], treated, chance)
    assert overlap.apart_before > 1.0
    assert overlap.apart_after < 0.1
    assert overlap.effective_contacted < treated.sum()
    assert overlap_weights(np.array([True, False]), np.array([0.9, 0.9])) == pytest.approx(
        [0.1, 0.9]
    )


def test_features_read_earlier_contacts_only() -> None:
    def contact(number: int, starts: float, kind: str = "mail") -> Contact:
        return Contact(
            customer_id="c1",
            campaign_id=str(number),
            kind=kind,
            starts=day(starts),
            ends=day(starts + 28),
            redemptions=3,
        )

    past = past_of([(0, 1000), (50, 3000)], as_of=60)
    read = dict(
        zip(
            EFFECT_FEATURES,
            effect_features(
                [past],
                [[contact(1, 10), contact(2, 40, "text"), contact(3, 60), contact(4, 90)]],
                "mail",
                28,
            )[0],
            strict=True,
        )
    )
    assert read["contacts_of_kind"] == 1
    assert read["contacts_of_others"] == 1
    assert read["contact_running"] == 1
    assert read["since_contact"] == pytest.approx(np.log1p(20))
    # What the running campaign brought is not known yet.
    assert read["redemptions"] == pytest.approx(np.log1p(3))
    assert read["spend_half"] == 3000
    assert read["spend_two_windows"] == 3000
    assert read["spend_usual"] == pytest.approx(4000 * 28 / 60)


@pytest.mark.parametrize(
    ("second", "fault"),
    [({"kind": "text"}, "another kind"), ({}, "twice")],
)
def test_contacts_of_one_campaign_must_agree(second: dict[str, str], fault: str) -> None:
    first = {
        "customer_id": "c1",
        "campaign_id": "1",
        "kind": "mail",
        "starts": day(0),
        "ends": day(1),
    }
    with pytest.raises(TrainingError, match=fault):
        campaigns_of([Contact(**first), Contact(**(first | second))])  # type: ignore[arg-type]
