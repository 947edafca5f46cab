import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.offer_choice import OfferDecision
from agent.viewer import Viewer
from tests.ui.fake_agent import HOSTILE_TITLE, FakeAgent, make_shop
from ui import page_cards as cards
from ui.page_text import escape, plain_text
from ui.spend_chart import spend_chart

DESK = Viewer.desk()
SHOPPER = Viewer.shopper("1229", "anna")


@pytest.fixture
def agent(tmp_path: Path) -> FakeAgent:
    return FakeAgent(make_shop(tmp_path / "shop"))


def test_escaped_text_holds_no_markup_templates_or_hidden_characters() -> None:
    escaped = escape(HOSTILE_TITLE + "\x00`")
    assert not any(mark in escaped for mark in ("<", ">", '"', "{", "$", "`", "\u202e", "\x00"))
    assert plain_text("a\nb") == "a\nb"


def test_the_desk_sees_scores_and_a_shopper_does_not(agent: FakeAgent) -> None:
    card = agent.card("1229")
    assert "34%" in cards.headline_html(card, DESK)
    assert "6 of 10" in cards.headline_html(card, DESK)
    assert "34%" not in cards.headline_html(card, SHOPPER)
    assert "History as the model reads it" not in cards.details_html(card, SHOPPER)


def test_drivers_stand_on_their_side_with_every_line_behind(agent: FakeAgent) -> None:
    card = agent.card("1229")
    assert "What moves the risk" not in cards.headline_html(card, DESK)
    explained = agent.card("1229", explained=True)
    shown = cards.headline_html(explained, DESK)
    bars, table = shown.split("<details>")
    assert re.findall(r'class="(raises|lowers)" style="width:([\d.]+)%', bars) == [
        ("raises", "50.0"), ("lowers", "25.0"), ("raises", "8.3"),
    ]  # fmt: skip
    assert "+6" in bars
    assert "\u22123" in bars
    assert "Often buys" not in bars  # it moves the risk by less than a point
    assert "All 4 lines" in table
    assert "Often buys" in table
    assert "\u2212&#36;12.30" in table
    assert "<img" not in shown
    for internal in ("moves the risk", "Last order 40"):
        assert internal not in cards.headline_html(explained, SHOPPER)


def test_a_history_that_moves_nothing_says_so(agent: FakeAgent) -> None:
    card = agent.card("1229", explained=True)
    assert card.prediction is not None
    assert card.prediction.drivers
    still = tuple(replace(driver, churn_risk_change=0.001) for driver in card.prediction.drivers)
    shown = cards.headline_html(
        replace(card, prediction=replace(card.prediction, drivers=still)), DESK
    )
    assert "No line of the history does on its own." in shown
    assert 'class="drivers"' not in shown


def test_the_desk_sees_the_interval_and_the_season_and_the_shopper_neither(
    agent: FakeAgent,
) -> None:
    card = agent.card("1229")
    shown = cards.headline_html(card, DESK)
    assert "80% between &#36;60.10 and &#36;1,175.00." in shown
    assert "Season unknown: the log holds only 364 days" in shown
    for internal in ("80% between", "Season"):
        assert internal not in cards.headline_html(card, SHOPPER)


def test_a_card_without_an_interval_says_how_to_get_one(agent: FakeAgent) -> None:
    card = agent.card("1229")
    assert card.prediction is not None
    bare = replace(card.prediction, expected_spend_low=None, expected_spend_high=None, season=None)
    shown = cards.headline_html(replace(card, prediction=bare), DESK)
    assert "patron finetune --keep-weights" in shown
    assert "between" not in shown


def test_a_shopper_without_an_order_is_welcomed() -> None:
    welcome = cards.welcome_html(Viewer.shopper("77", "new<b>"))
    assert "no orders here yet" in welcome
    assert "<b>" not in welcome


def test_offers_show_cost_and_rules_to_the_desk_alone(agent: FakeAgent) -> None:
    offer, none = agent.offer("1229"), agent.offer("40")
    assert "4 rules checked" in cards.offer_html(offer, "USD", DESK)
    for internal in ("$0.85", "&#36;0.85", "at stake", "rules"):
        assert internal not in cards.offer_html(offer, "USD", SHOPPER)
    assert "at stake" in cards.offer_html(none, "USD", DESK)
    assert "at stake" not in cards.offer_html(none, "USD", SHOPPER)


def test_an_offer_is_valid_through_its_last_day(agent: FakeAgent) -> None:
    assert "Valid through 2018-01-31" in cards.offer_html(agent.offer("1229"), "USD", SHOPPER)


def test_an_offer_that_ends_within_a_day_says_when(agent: FakeAgent) -> None:
    decision = agent.offer("1229")
    assert isinstance(decision, OfferDecision)
    at_six = replace(decision.offer, expires=datetime(2018, 2, 1, 18, tzinfo=UTC))
    shown = cards.offer_html(replace(decision, offer=at_six), "USD", SHOPPER)
    assert "Valid before 2018-02-01 18:00 UTC" in shown


def test_items_of_hostile_titles_stay_text(agent: FakeAgent) -> None:
    shown = cards.recommendation_html(agent.recommend("1229").items[2], "USD", DESK)
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_the_chart_has_one_bar_a_month(agent: FakeAgent) -> None:
    chart = spend_chart(agent.card("1229").monthly_spend, "USD")
    assert chart.count("<rect") == 12
    assert "May 2017: &#36;0.00" in chart
    assert spend_chart((), "USD") == ""


@pytest.mark.parametrize(("written", "said"), [(0, "plain facts"), (240, "19 of 240")])
def test_replaced_sentences_are_owned_up_to(written: int, said: str) -> None:
    assert said in cards.writing_html(written, 19 if written else 0)
