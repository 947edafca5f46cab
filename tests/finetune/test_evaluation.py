import json

import numpy as np
import pytest

from finetune.adapter import current_adapter
from finetune.base_model import find_base_model, token_counter
from finetune.baselines import LogisticRfm, past_spend_scores, recency_scores, rfm_features
from finetune.evaluation import METRICS, evaluate
from finetune.labels import Example, build_labels
from finetune.lora_predictor import LoraPredictor
from finetune.metrics import churn_metrics, spearman
from finetune.scoring import score_all
from retrieval.catalogue import Catalogue
from retrieval.events import Event
from retrieval.history import render_history
from retrieval.ingest import append_event
from retrieval.shop import Shop
from retrieval.time_split import split_by_time
from tests.finetune.hand_made import past_of
from tests.tiny_shop import CUSTOMERS, END


def test_every_system_is_judged_by_every_measure(shop: Shop) -> None:
    document = evaluate(shop).to_json()
    assert set(document["systems"]) == {
        *("patron", "patron_lm", "patron_prior"),
        *("recency", "past_spend", "logistic_rfm"),
    }
    for name, measures in document["systems"].items():
        assert tuple(measures) == METRICS
        given = {measure for measure, value in measures.items() if value is not None}
        if name.startswith("patron") or name == "logistic_rfm":
            assert given == set(METRICS)
        else:
            assert given.isdisjoint({"brier", "ece"})
            assert {"churn_auc", "pr_auc", "spearman"} <= given
        for measure in given - {"spearman"}:
            assert 0 <= measures[measure] <= 1
    assert document["adapter_id"] == current_adapter(shop).name
    assert json.loads(json.dumps(document)) == document


def test_evaluation_is_deterministic(shop: Shop) -> None:
    assert evaluate(shop) == evaluate(shop)


def test_customers_are_those_known_at_the_test_cutoff(shop: Shop) -> None:
    cutoff = split_by_time(shop).test_cutoff
    append_event(
        shop,
        Event(customer_id="late", timestamp=END, order_id="x", item_id="milk", amount=100),
    )
    evaluation = evaluate(shop)
    assert evaluation.customers == CUSTOMERS
    labels = build_labels(shop.log, cutoff, shop.settings)
    assert evaluation.base_rate == pytest.approx(np.mean([label.churned for label in labels]))
    assert evaluation.test_cutoff == "2024-10-01T00:00:00+00:00"


def test_patrons_own_measures_are_those_of_its_scores(shop: Shop) -> None:
    files = find_base_model(shop.settings.models.base)
    labels = build_labels(shop.log, split_by_time(shop).test_cutoff, shop.settings)
    pasts = [label.past for label in labels]
    histories = [
        render_history(
            past,
            settings=shop.settings,
            catalogue=Catalogue.read(shop.items_file),
            count_tokens=token_counter(files),
        )
        for past in pasts
    ]
    predictor = LoraPredictor.load(current_adapter(shop), files, shop.settings)
    assert predictor.prior is not None
    # The level stored with an adapter is today's; customers are judged on that of their moment.
    predictor.prior = predictor.prior.levelled(pasts)
    scores = score_all(predictor, pasts, histories, shop.settings)
    measures = evaluate(shop).systems["patron"]
    expected = churn_metrics(
        [label.churned for label in labels],
        np.array([score.churn_risk for score in scores]),
        probabilities=True,
    )
    assert {name: measures[name] for name in expected} == expected
    assert measures["spearman"] == spearman(
        [label.spend for label in labels], np.array([float(s.expected_spend) for s in scores])
    )


def test_recency_fears_for_whoever_bought_longest_ago() -> None:
    pasts = [past_of([(0, 100), (last, 100)], as_of=100) for last in (95, 40, 70)]
    scores = recency_scores(pasts)
    assert scores.churn is not None
    assert scores.churn.tolist() == [5, 60, 30]
    assert not scores.churn_is_probability


def test_past_spend_carries_the_usual_spend_forward() -> None:
    # Over ninety days 300, 900 and 6000: in thirty days 100, 300 and 2000.
    pasts = [past_of([(0, amount)], as_of=90) for amount in (300, 900, 6000)]
    scores = past_spend_scores(pasts, 30, (200.0, 1000.0))
    assert scores.spend is not None
    assert scores.churn is not None
    assert scores.spend.tolist() == [100, 300, 2000]
    assert scores.tiers == [0, 1, 2]
    assert scores.churn.argsort().tolist() == [2, 1, 0]


def test_rfm_features_of_a_past_by_hand() -> None:
    past = past_of([(0, 1000), (60, 2000), (80, 3000)], as_of=100)
    (features,) = rfm_features([past], 50)
    # Usual: 6000 in 100 days, 3000 in fifty. Gaps of 60 and 20 days: 40. Since day 50: 5000.
    # Since day 83.3 (the last third): nothing.
    raw = [80, 2, 100, 2000, 20 / 40, 5000 / 3000, 0]
    assert features == pytest.approx(np.log1p(raw))


def test_logistic_rfm_learns_who_leaves() -> None:
    examples = [
        Example(
            past=past_of([(0, 100 + n), (10, 100 + n), (90 if n % 2 else 20, 100 + n)], as_of=100),
            spend=(100 + n) * (n % 2),
            churned=n % 2 == 0,
        )
        for n in range(40)
    ]
    pasts = [example.past for example in examples]
    scores = LogisticRfm(30).fit(examples, (50.0,)).scores(pasts)
    assert scores.churn is not None
    assert scores.spend is not None
    assert [bool(risk > 0.5) for risk in scores.churn] == [e.churned for e in examples]
    assert scores.tiers == [n % 2 for n in range(40)]
    assert scores.spend[1::2].min() > scores.spend[::2].max()
