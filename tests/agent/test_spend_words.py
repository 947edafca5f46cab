from dataclasses import replace
from datetime import UTC, datetime

from agent.answers import Prediction
from agent.facts import prediction_evidence, value_facts
from agent.spend_words import interval_in_words, spend_in_words
from finetune.value import Stage

UNKNOWN = "unknown: the log holds only 281 days before the cut-off (546 are needed)"
WITH = Prediction(
    customer_id="7",
    as_of=datetime(2024, 1, 1, tzinfo=UTC),
    value_tier="high",
    tier_probabilities={"low": 0.2, "high": 0.8},
    churn_risk=0.3,
    churn_definition="no purchase in the next 90 days",
    horizon_days=90,
    expected_spend=73_500,
    ltv=250_000,
    currency="USD",
    stage=Stage.LOYAL,
    adapter_id="a",
    evidence=(),
    expected_spend_low=41_000,
    expected_spend_high=112_000,
    expected_spend_coverage=0.8,
    season=UNKNOWN,
)
WITHOUT = replace(
    WITH,
    expected_spend_low=None,
    expected_spend_high=None,
    expected_spend_coverage=None,
    season=None,
)


def _texts(prediction: Prediction) -> list[str]:
    return [fact.text for fact in value_facts(prediction, 365, 0.1)]


def test_spend_is_told_with_its_interval_and_its_season() -> None:
    assert spend_in_words(WITH) == f"$735.00 (80% between $410.00 and $1,120.00); season {UNKNOWN}"
    assert interval_in_words(WITH, "spend") == "80% spend between $410.00 and $1,120.00"


def test_the_desk_is_told_it_in_chat_and_the_evidence_holds_every_figure() -> None:
    said = f"Of such customers 80% spend between $410.00 and $1,120.00; the season is {UNKNOWN}."
    assert said in _texts(WITH)
    record = prediction_evidence(WITH)[0].text
    for figure in ("80%", "$410.00", "$1,120.00", "$735.00", "281 days"):
        assert figure in record


def test_without_an_interval_it_is_said_how_to_get_one() -> None:
    assert interval_in_words(WITHOUT) is None
    for text in (spend_in_words(WITHOUT), " ".join(_texts(WITHOUT))):
        assert "patron finetune --keep-weights" in text
        assert "between" not in text
