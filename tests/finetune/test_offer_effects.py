import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finetune.campaign_panels import Panel
from finetune.contacts import read_contacts
from finetune.effect_features import EFFECT_FEATURES, RELATIVE_COLUMNS
from finetune.effect_learning import learn_effects
from finetune.effect_slopes import Residuals, choose_penalty, fit_slopes, judge_slopes
from finetune.errors import TrainingError
from finetune.offer_effects import (
    EFFECTS_FILE,
    MeasuredEffect,
    OfferEffects,
    decided,
    read_effects,
    write_effects,
)
from finetune.redemption import fit_redemption, judge_redemption
from finetune.studied_effects import Pooled
from retrieval.orders import read_pasts
from retrieval.shop import Shop, ShopSettings
from retrieval.time_split import present
from tests.finetune.hand_made import day
from tests.finetune.planted_campaigns import LENGTH, planted_shop

WEEKLY = 300


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return planted_shop(tmp_path_factory.mktemp("shop"), effect=WEEKLY, bias=True, redeeming=0.6)


@pytest.fixture(scope="module")
def effects(shop: Shop) -> OfferEffects:
    return learn_effects(shop)


def pooled_of(effect: float, margin: float) -> Pooled:
    return Pooled(
        effect=effect, low=effect - margin, high=effect + margin, campaigns=1, contacted=1
    )


def test_a_planted_effect_is_what_an_offer_is_expected_to_change(
    shop: Shop, effects: OfferEffects
) -> None:
    past = next(iter(read_pasts(shop.log, present(shop), ["c001"])))
    estimate = effects.estimate("mail", past, read_contacts(shop))
    assert estimate.measured
    assert estimate.spend_effect == pytest.approx(WEEKLY * LENGTH / 7, rel=0.15)
    assert estimate.spend_low < estimate.spend_effect < estimate.spend_high
    assert "nobody was kept out at random" in estimate.basis
    assert estimate.window_days == 28


def test_a_kind_never_tried_counts_as_all_together(shop: Shop, effects: OfferEffects) -> None:
    past = next(iter(read_pasts(shop.log, present(shop), ["c001"])))
    estimate = effects.estimate("never tried", past)
    assert estimate.measured
    assert "all kinds together" in estimate.basis
    assert 0 < estimate.redemption_chance < 1


def test_without_an_effect_nothing_is_counted(tmp_path: Path) -> None:
    shop = planted_shop(tmp_path, effect=0, bias=True, seed=3)
    effects = learn_effects(shop)
    past = next(iter(read_pasts(shop.log, present(shop), ["c001"])))
    estimate = effects.estimate("mail", past)
    assert not estimate.measured
    assert estimate.spend_effect == 0
    assert estimate.spend_low < 0 < estimate.spend_high
    assert "no effect on spend was measured" in estimate.basis
    assert effects.slopes is None


def test_those_who_redeem_are_told_from_those_who_do_not(shop: Shop, effects: OfferEffects) -> None:
    contacts = read_contacts(shop)
    redeemers = {each.customer_id for each in contacts if each.redemptions}
    pasts = list(read_pasts(shop.log, present(shop)))
    chances = {
        past.customer_id: effects.estimate(
            "mail", past, [c for c in contacts if c.customer_id == past.customer_id]
        ).redemption_chance
        for past in pasts[:60]
    }
    mean_of = [
        np.mean([chance for customer, chance in chances.items() if (customer in redeemers) is yes])
        for yes in (True, False)
    ]
    assert mean_of[0] > mean_of[1] + 0.2
    assert effects.redemption_quality is not None
    assert effects.redemption_quality.auc is not None
    assert effects.redemption_quality.auc > 0.7
    assert effects.redemption_quality.brier < effects.redemption_quality.base_brier


def test_what_is_written_is_read(shop: Shop, effects: OfferEffects) -> None:
    assert read_effects(shop) is None
    write_effects(shop, effects)
    assert read_effects(shop) == effects


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda document: document.pop("kinds"), "kinds"),
        (lambda document: document.update(colour="red"), "colour"),
        (lambda document: document["origin"].update(window_days="long"), "origin.window_days"),
        (lambda document: document["redemption"]["features"].append("mood"), "other features"),
    ],
)
def test_a_damaged_file_is_refused_by_field(
    tmp_path: Path, effects: OfferEffects, damage: object, fault: str
) -> None:
    shop = Shop.create(tmp_path, ShopSettings())
    write_effects(shop, effects)
    file = tmp_path / EFFECTS_FILE
    document = json.loads(file.read_text())
    damage(document)  # type: ignore[operator]
    file.write_text(json.dumps(document))
    with pytest.raises(TrainingError, match=fault):
        read_effects(shop)


def test_a_shop_without_contacts_cannot_learn(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no past contacts"):
        learn_effects(Shop.create(tmp_path, ShopSettings()))


def test_an_effect_counts_only_where_its_placebos_show_none() -> None:
    fair, unfair = pooled_of(0.1, 1.0), pooled_of(3.0, 1.0)
    clear, unclear = pooled_of(5.0, 1.0), pooled_of(0.5, 1.0)
    assert MeasuredEffect(effect=clear, placebos=(fair, None)).measured
    assert not MeasuredEffect(effect=clear, placebos=(fair, unfair)).measured
    assert not MeasuredEffect(effect=clear, placebos=(None, None)).measured
    assert not MeasuredEffect(effect=unclear, placebos=(fair,)).measured
    own, together = (MeasuredEffect(effect=e, placebos=(fair,)) for e in (unclear, clear))
    assert decided(own, together) == (clear, "together")
    assert decided(together, own) == (clear, "own")
    assert decided(own, own) == (None, "")


# --- slopes ------------------------------------------------------------------------------------


def campaign(seed: int, slope: float) -> Residuals:
    """Randomised contacts whose effect is 10 plus a slope times the first relative feature."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(800, len(EFFECT_FEATURES)))
    contact = generator.integers(0, 2, size=800) - 0.5
    effect = 10.0 + slope * features[:, RELATIVE_COLUMNS[0]]
    return Residuals(
        kind="mail",
        customer_ids=tuple(f"{seed}-{number}" for number in range(800)),
        features=features,
        outcome=contact * effect + generator.normal(0, 5, size=800),
        contact=contact,
    )


def test_planted_differences_between_customers_are_found_and_believed() -> None:
    earlier, later = [campaign(1, 8.0), campaign(2, 8.0)], [campaign(3, 8.0)]
    assert judge_slopes(earlier, later).better
    slopes = fit_slopes(earlier, choose_penalty(earlier))
    assert slopes.constants["mail"] == pytest.approx(10.0, abs=1.0)
    assert slopes.slopes[0] == pytest.approx(8.0, rel=0.3)


def test_where_there_are_none_constants_are_kept() -> None:
    earlier, later = [campaign(1, 0.0), campaign(2, 0.0)], [campaign(3, 0.0)]
    assert not judge_slopes(earlier, later).better
    assert not any(fit_slopes(earlier, np.inf).slopes)


# --- redemptions -------------------------------------------------------------------------------


def panel(redeemed: np.ndarray, seed: int = 0) -> Panel:
    count = len(redeemed)
    features = np.random.default_rng(seed).normal(size=(count, len(EFFECT_FEATURES)))
    nothing = np.zeros(count)
    return Panel(
        campaign_id="1",
        kind="mail",
        as_of=day(0),
        customer_ids=tuple(str(number) for number in range(count)),
        features=features,
        treated=np.ones(count, dtype=bool),
        propensity=None,
        spend=np.zeros((count, 2)),
        churned=np.zeros((count, 2)),
        redemptions=redeemed.astype(float),
        discount=nothing,
    )


def test_too_few_redemptions_give_everybody_their_share() -> None:
    few = panel(np.arange(98) < 4)
    model = fit_redemption([few])
    assert model.chances(few.features, "mail") == pytest.approx(np.full(98, 5 / 100))
    quality = judge_redemption(model, [few], [replace(few, redemptions=np.zeros(98))])
    assert quality.auc is None
    assert quality.redeemed == 0.0


def test_an_unknown_kind_counts_as_the_mix_of_the_known() -> None:
    often, seldom = panel(np.arange(400) % 2 == 0, 1), panel(np.arange(400) % 20 == 0, 2)
    model = fit_redemption([often, replace(seldom, kind="text")])
    mail, text, unknown = (
        float(model.chances(often.features, kind).mean()) for kind in ("mail", "text", "flag")
    )
    assert text < unknown < mail


def test_chances_of_redemption_are_calibrated() -> None:
    generator = np.random.default_rng(5)
    made = panel(np.zeros(4000))
    true = 1 / (1 + np.exp(-(made.features[:, RELATIVE_COLUMNS[2]] - 1)))
    made = replace(made, redemptions=(generator.random(4000) < true).astype(float))
    chances = fit_redemption([made]).chances(made.features, "mail")
    assert chances.mean() == pytest.approx(true.mean(), abs=0.02)
    assert np.corrcoef(chances, true)[0, 1] > 0.95
