"""What a line adds is what changes when it is taken away, for the model and for the prior."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune.adapter import current_adapter
from finetune.base_model import find_base_model, token_counter
from finetune.blend import Blend
from finetune.cross_shop_churn import CROSS_SHOP_FEATURES
from finetune.drivers import LINES, Drivers, LineKind, can_explain, explain, line_kind
from finetune.errors import AdapterError
from finetune.lora_predictor import Logits, LoraPredictor
from finetune.prior import Prior
from finetune.prior_features import PRIOR_FEATURES
from finetune.scoring import score_all, season_factor
from prompts.library import load_prompt
from retrieval.catalogue import Catalogue, Item
from retrieval.history import History, render_history
from retrieval.orders import CustomerPast, read_pasts
from retrieval.shop import Shop
from retrieval.time_split import present
from tests.finetune.hand_made import past_of


class OnlyWords:
    """Answers that hang on single words, so that what a line does to them is known."""

    def __init__(self, predictor: LoraPredictor, words: Sequence[str]) -> None:
        self.manifest, self.prior, self._words = predictor.manifest, predictor.prior, words

    def logits(self, histories: Sequence[History]) -> Logits:
        found = np.array([[word in history.text for word in self._words] for history in histories])
        yes = found.sum(axis=1).astype(float)
        tiers = len(self.manifest.tiers)
        return Logits(
            tier=np.column_stack([yes * at for at in range(tiers)]),
            churn=np.column_stack([np.zeros(len(yes)), yes]),
        )


class OneByOne:
    """The same predictor, asked about one text at a time."""

    def __init__(self, predictor: LoraPredictor) -> None:
        self.manifest, self.prior, self._predictor = predictor.manifest, predictor.prior, predictor

    def logits(self, histories: Sequence[History]) -> Logits:
        single = [self._predictor.logits([history]) for history in histories]
        return Logits(
            tier=np.vstack([one.tier for one in single]),
            churn=np.vstack([one.churn for one in single]),
        )


@pytest.fixture
def predictor(shop: Shop) -> LoraPredictor:
    files = find_base_model(shop.settings.models.base)
    return LoraPredictor.load(current_adapter(shop), files, shop.settings)


@pytest.fixture
def known(shop: Shop) -> list[tuple[CustomerPast, History]]:
    files = find_base_model(shop.settings.models.base)
    return [
        (past, _history(past, shop, token_counter(files)))
        for past in read_pasts(shop.log, present(shop), ["c04", "c05", "c12", "c33"])
    ]


def _history(past: CustomerPast, shop: Shop, count_tokens: object = len) -> History:
    return render_history(
        past,
        settings=shop.settings,
        catalogue=Catalogue.read(shop.items_file),
        count_tokens=count_tokens,  # type: ignore[arg-type]
    )


def _share(predictor: LoraPredictor, share: float) -> None:
    predictor.manifest = replace(
        predictor.manifest, blend=Blend(churn=share, tier=share, spend=share)
    )


def _by_line(drivers: Drivers) -> dict[LineKind, tuple[float, float, float]]:
    return {
        driver.line: (
            driver.churn_risk_change,
            driver.expected_spend_change,
            driver.tier_chance_change,
        )
        for driver in drivers.lines
    }


def _whole_past() -> CustomerPast:
    """A past of which every line of the template has something to tell."""
    past = past_of([(0, 1000), (30, 1500), (170, 900)], as_of=180)
    return replace(past, favourites=(("milk", 2),), returned=300)


def test_every_feature_belongs_to_one_line() -> None:
    said = [feature for line in LINES.values() for feature in line.features]
    assert sorted(said) == sorted((*PRIOR_FEATURES, *CROSS_SHOP_FEATURES))
    assert set(LINES) == set(LineKind)


def test_every_line_of_the_template_has_a_kind_of_its_own(shop: Shop) -> None:
    template = load_prompt("history").template.splitlines()
    lines = [line for line in template if line.strip() and not line.startswith(("{%", "{#"))]
    rendered = _history(_whole_past(), shop).lines
    assert len(rendered) == len(lines), "the past below must make the template tell every line"
    kinds = [line_kind(line) for line in rendered]
    assert sorted(kinds) == sorted(LineKind)
    for line in rendered:
        assert sum(bool(known.beginning.match(line)) for known in LINES.values()) == 1


def test_a_line_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'Most like them left\.'.*finetune/drivers\.py"):
        line_kind("Most like them left.")


@pytest.mark.parametrize(
    "title", ["3 days ago, usual gap 2", "Usual 3 per", "Spend last", "Last order 3: Milk"]
)
def test_titles_do_not_change_what_a_line_is(title: str, shop: Shop) -> None:
    catalogue = Catalogue([Item(item_id="milk", title=title, category="Dairy", price=100)])
    history = render_history(
        _whole_past(), settings=shop.settings, catalogue=catalogue, count_tokens=len
    )
    assert sorted(map(line_kind, history.lines)) == sorted(LineKind)


def test_with_every_line_it_answers_as_the_prediction(
    shop: Shop, predictor: LoraPredictor, known: list[tuple[CustomerPast, History]]
) -> None:
    for past, history in known:
        score = score_all(predictor, [past], [history], shop.settings)[0]
        drivers = explain(predictor, past, history, shop.settings)
        assert drivers.churn_risk == pytest.approx(score.churn_risk, abs=1e-6)
        assert sorted(driver.text for driver in drivers.lines) == sorted(history.lines)
        sizes = [abs(driver.churn_risk_change) for driver in drivers.lines]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] > 0


def test_one_by_one_is_the_batch(
    shop: Shop, predictor: LoraPredictor, known: list[tuple[CustomerPast, History]]
) -> None:
    for past, history in known:
        together = _by_line(explain(predictor, past, history, shop.settings))
        alone = _by_line(explain(OneByOne(predictor), past, history, shop.settings))  # type: ignore[arg-type]
        for kind, changes in together.items():
            assert changes == pytest.approx(alone[kind], rel=1e-3, abs=1e-5)


def test_the_models_side_is_the_score_of_the_text_without_the_line(
    shop: Shop, predictor: LoraPredictor, known: list[tuple[CustomerPast, History]]
) -> None:
    _share(predictor, 0.0)
    past, history = known[0]
    drivers = _by_line(explain(predictor, past, history, shop.settings))
    whole = score_all(predictor, [past], [history], shop.settings)[0]
    for at, text in enumerate(history.lines):
        less = replace(history, lines=history.lines[:at] + history.lines[at + 1 :])
        without = score_all(predictor, [past], [less], shop.settings)[0]
        risk, _, tier = drivers[line_kind(text)]
        assert risk == pytest.approx(whole.churn_risk - without.churn_risk, abs=1e-5)
        chances = (s.tier_probabilities[whole.tier] for s in (whole, without))
        assert tier == pytest.approx(np.subtract(*chances), abs=1e-5)


def test_a_line_that_the_model_ignores_moves_nothing(
    shop: Shop, predictor: LoraPredictor, known: list[tuple[CustomerPast, History]]
) -> None:
    _share(predictor, 0.0)
    past, history = known[0]
    plain = replace(predictor.manifest.calibration, churn=(1.0, -0.5))
    predictor.manifest = replace(predictor.manifest, calibration=plain)
    reader = OnlyWords(predictor, ["usual gap"])
    drivers = explain(reader, past, history, shop.settings)  # type: ignore[arg-type]
    for driver in drivers.lines:
        if driver.line is LineKind.RHYTHM:
            with_it, without = 1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(0.5))
            assert driver.churn_risk_change == pytest.approx(with_it - without)
        else:
            assert driver.churn_risk_change == driver.tier_chance_change == 0
            if driver.line is not LineKind.USUAL:  # which the calibration of spend reads itself
                assert driver.expected_spend_change == 0
    assert drivers.lines[0].line is LineKind.RHYTHM


def test_the_priors_side_is_its_answer_without_what_the_line_says(
    shop: Shop, predictor: LoraPredictor, known: list[tuple[CustomerPast, History]]
) -> None:
    _share(predictor, 1.0)
    prior = predictor.prior
    assert prior is not None
    past, history = known[0]
    row = prior.rows([past])
    for kind, (risk, spend, _) in _by_line(
        explain(predictor, past, history, shop.settings)
    ).items():
        without = row.copy()
        for feature in LINES[kind].features:
            column = prior.features.index(feature)
            without[0, column] = prior.neutral[column]
        before, after = prior.answers_of(row), prior.answers_of(without)
        assert risk == pytest.approx(before.churn[0] - after.churn[0], abs=1e-6)
        season = season_factor(predictor.manifest, past.as_of)
        assert spend == pytest.approx(season * (before.spend[0] - after.spend[0]), abs=1e-3)


def test_a_line_as_in_the_mean_example_moves_nothing(
    shop: Shop, predictor: LoraPredictor, known: list[tuple[CustomerPast, History]]
) -> None:
    past, history = known[0]
    assert predictor.prior is not None
    row = predictor.prior.rows([past])[0]
    predictor.prior = replace(predictor.prior, neutral=tuple(row.tolist()))
    for share in (1.0, 0.5):
        _share(predictor, share)
        reader = OnlyWords(predictor, [])
        for changes in _by_line(explain(reader, past, history, shop.settings)).values():  # type: ignore[arg-type]
            assert changes == pytest.approx((0, 0, 0), abs=1e-9)


def test_a_customer_gone_silent_is_driven_by_the_silence(
    shop: Shop, predictor: LoraPredictor, known: list[tuple[CustomerPast, History]]
) -> None:
    """c33 stopped in August; what says so must raise the risk."""
    gone = next(pair for pair in known if pair[0].customer_id == "c33")
    _share(predictor, 1.0)
    changes = _by_line(explain(predictor, *gone, shop.settings))
    silence = [changes[kind][0] for kind in (LineKind.RHYTHM, LineKind.RECENT, LineKind.ORDER_DAYS)]
    assert sum(silence) > 0.05


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1), kept=st.integers(1, 8))
def test_changes_stay_within_what_can_change(
    shop: Shop,
    predictor: LoraPredictor,
    known: list[tuple[CustomerPast, History]],
    share: float,
    kept: int,
) -> None:
    """Whatever the blend and however few lines the token budget left."""
    _share(predictor, share)
    past, history = known[1]
    short = replace(history, lines=history.lines[:kept])
    drivers = explain(predictor, past, short, shop.settings)
    assert len(drivers.lines) == len(short.lines)
    for driver in drivers.lines:
        assert 0 <= drivers.churn_risk - driver.churn_risk_change <= 1
        assert -1 <= driver.tier_chance_change <= 1
        assert np.isfinite(driver.expected_spend_change)


@pytest.mark.parametrize("older", ["no mean example", "no prior"])
def test_an_adapter_from_before_drivers_says_how_to_mend_it(
    shop: Shop,
    predictor: LoraPredictor,
    known: list[tuple[CustomerPast, History]],
    older: str,
) -> None:
    assert can_explain(predictor)
    prior: Prior | None = predictor.prior
    assert prior is not None
    predictor.prior = None if older == "no prior" else replace(prior, neutral=())
    assert not can_explain(predictor)
    with pytest.raises(AdapterError, match="made before") as caught:
        explain(predictor, *known[0], shop.settings)
    assert "--keep-weights" in caught.value.hint
