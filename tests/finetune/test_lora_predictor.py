from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from finetune.adapter import current_adapter
from finetune.base_model import find_base_model, token_counter
from finetune.lora_predictor import Logits, LoraPredictor
from finetune.scoring import score_all
from retrieval.catalogue import Catalogue
from retrieval.history import History, render_history
from retrieval.orders import CustomerPast, read_pasts
from retrieval.shop import Shop
from retrieval.time_split import present


@pytest.fixture
def predictor(shop: Shop) -> LoraPredictor:
    files = find_base_model(shop.settings.models.base)
    return LoraPredictor.load(current_adapter(shop), files, shop.settings)


@pytest.fixture
def pasts(shop: Shop) -> list[CustomerPast]:
    return list(read_pasts(shop.log, present(shop)))


@pytest.fixture
def histories(shop: Shop, pasts: list[CustomerPast]) -> list[History]:
    files = find_base_model(shop.settings.models.base)
    return [
        render_history(
            past,
            settings=shop.settings,
            catalogue=Catalogue.read(shop.items_file),
            count_tokens=token_counter(files),
        )
        for past in pasts
    ]


def _close(logits: Logits, other: Logits, tolerance: float) -> bool:
    return bool(
        np.abs(logits.tier - other.tier).max() < tolerance
        and np.abs(logits.churn - other.churn).max() < tolerance
    )


def test_a_batch_says_what_single_predictions_say(
    predictor: LoraPredictor, histories: list[History]
) -> None:
    together = predictor.logits(histories)
    for index, history in enumerate(histories):
        alone = predictor.logits([history])
        part = Logits(tier=together.tier[[index]], churn=together.churn[[index]])
        assert _close(alone, part, 1e-4)
    assert np.ptp(together.churn, axis=0).min() > 0.01


def test_answers_keep_the_order_of_the_questions(
    predictor: LoraPredictor, histories: list[History]
) -> None:
    order = np.random.default_rng(0).permutation(len(histories))
    straight = predictor.logits(histories, pass_tokens=500)
    shuffled = predictor.logits([histories[index] for index in order], pass_tokens=300)
    expected = Logits(tier=straight.tier[order], churn=straight.churn[order])
    assert _close(shuffled, expected, 1e-4)


def test_progress_ends_at_the_number_of_customers(
    predictor: LoraPredictor, histories: list[History]
) -> None:
    seen: list[tuple[int, int]] = []
    predictor.logits(
        histories, pass_tokens=2000, progress=lambda step, done, total: seen.append((done, total))
    )
    done = [count for count, _ in seen]
    assert len(done) > 2
    assert done == sorted(set(done))
    assert {total for _, total in seen} == {60}
    assert done[-1] == 60


def test_threads_get_the_same_answers_as_one(
    predictor: LoraPredictor, histories: list[History]
) -> None:
    halves = [histories[:30], histories[30:]] * 4
    expected = [predictor.logits(half) for half in halves]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(predictor.logits, halves))
    for answer, alone in zip(answers, expected, strict=True):
        assert np.array_equal(answer.tier, alone.tier)
        assert np.array_equal(answer.churn, alone.churn)


def test_scores_belong_to_their_customers(
    shop: Shop, predictor: LoraPredictor, pasts: list[CustomerPast], histories: list[History]
) -> None:
    scores = score_all(predictor, pasts, histories, shop.settings)
    assert [score.customer_id for score in scores] == [past.customer_id for past in pasts]
    for score in scores:
        assert sum(score.tier_probabilities) == pytest.approx(1)
        assert score.tier == score.tier_probabilities.index(max(score.tier_probabilities))
        assert 0 <= score.churn_risk <= 1
        assert score.expected_spend >= 0
    assert score_all(predictor, [], [], shop.settings) == []
