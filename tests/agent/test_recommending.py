"""Recommendations through the agent: whatever is asked, by whomever, there is an answer."""

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.agent import Agent
from agent.answers import Intent, Recommendations
from agent.errors import AccessError
from agent.grounding import ungrounded_numbers
from agent.offer_choice import NoOffer
from agent.offer_file import read_offers, write_offers
from agent.offers import Covers, Eligibility, OfferBook
from agent.stream import Offered, Recommended
from agent.viewer import Viewer
from finetune.adapter import current_adapter
from finetune.errors import AdapterError
from retrieval.catalogue import Catalogue, Item
from retrieval.errors import UnknownCustomerError
from retrieval.events import Event, Kind
from retrieval.filters import Filters
from retrieval.shop import Shop
from retrieval.time_split import present
from tests.tiny_shop import ITEMS


@pytest.fixture
def agent(shop: Shop) -> Agent:
    return Agent.open(shop.directory)


def _event(shop: Shop, customer_id: str, item_id: str, order_id: str, **more: Kind) -> Event:
    return Event(
        customer_id=customer_id,
        timestamp=present(shop) + timedelta(hours=1),
        order_id=order_id,
        item_id=item_id,
        amount=0 if more else 500,
        **more,
    )


def _ids(found: Recommendations) -> list[str]:
    return [item.item_id for item in found.items]


# Limits that nothing fits


def test_under_ten_cents_gives_the_cheapest_and_says_so(agent: Agent) -> None:
    answer = agent.ask("Recommend something under $0.10", customer_id="c04")
    assert "Nothing that fits costs $0.10 or less; the nearest price is $1.29." in answer.text
    assert [item.item_id for item in answer.items] == ["milk"]
    assert ungrounded_numbers(answer.text, [record.text for record in answer.evidence]) == []
    found = agent.recommend("c04", filters=Filters(max_price=10))
    assert found.notes == ("Nothing that fits costs $0.10 or less; the nearest price is $1.29.",)
    assert found.to_json()["notes"] == list(found.notes)


def test_over_a_thousand_dollars_gives_the_dearest_and_says_so(agent: Agent) -> None:
    answer = agent.ask("Recommend something over $1,000", customer_id="c04")
    assert "the nearest price is $12.99." in answer.text
    assert "cake" in {item.item_id for item in answer.items}
    assert ungrounded_numbers(answer.text, [record.text for record in answer.evidence]) == []


def test_unknown_categories_in_the_chat_are_answered_with_the_nearest(agent: Agent) -> None:
    for question in ("Recommend bicycles", "Recommend hovercraft under $0.01"):
        answer = agent.ask(question, customer_id="c04")
        assert answer.intent is Intent.RECOMMEND
        assert "The catalogue has no category" in answer.text
        assert answer.items


def test_an_unknown_category_is_answered_after_the_nearest_item_left_the_catalogue(
    agent: Agent, shop: Shop
) -> None:
    """The index still knows the text of an item that the catalogue no longer has."""
    Catalogue(item for item in ITEMS if item.item_id == "milk").write(shop.items_file)
    answer = agent.ask("Recommend bicycles", customer_id="c04")
    assert [item.item_id for item in answer.items] == ["milk"]


def test_everything_excluded_is_an_empty_list_and_a_friendly_sentence(agent: Agent) -> None:
    for item in ITEMS:
        agent.feedback("c04", item.item_id, liked=False)
    assert agent.recommend("c04").items == ()
    answer = agent.ask("Recommend something", customer_id="c04")
    assert answer.items == ()
    assert "I found nothing that fits" in answer.text


def test_ten_thousand_characters_are_answered(agent: Agent) -> None:
    for text in (
        "x" * 10_000,
        "Recommend " + "bicycle " * 1_250,
        "Recommend something under $" + "9" * 10_000,
        "Recommend tea, no " + "milk, " * 1_660,
        "🦄" * 10_000,
    ):
        answer = agent.ask(text, customer_id="c04")
        assert answer.text
        assert len(answer.text) < 2_000


_WORDS = st.sampled_from(
    [
        "recommend",
        "something",
        "tea",
        "milk",
        "bakery",
        "bicycles",
        "under",
        "over",
        "$0.01",
        "$4",
        "between",
        "no",
        "without",
        "new",
        "cheap",
        "and",
        "the",
        "1",
        "c04",
        "Dairy",
        ";",
        "--",
        "'",
        "%",
        "\u202e",
    ]
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(words=st.lists(_WORDS, max_size=12))
def test_whatever_is_asked_for_is_answered_with_grounded_figures(
    agent: Agent, words: list[str]
) -> None:
    answer = agent.ask(" ".join(["Recommend", *words]), customer_id="c04")
    assert answer.text
    assert ungrounded_numbers(answer.text, [record.text for record in answer.evidence]) == []
    known = {item.item_id for item in ITEMS}
    assert {item.item_id for item in answer.items} <= known


# People without orders


def test_somebody_new_gets_what_sells_and_no_offer(agent: Agent) -> None:
    found = agent.recommend(None)
    assert found.customer_id is None
    assert _ids(found)[0] == "milk"
    assert len(found.items) == 5
    assert isinstance(found.offer, NoOffer)
    assert found.to_json()["customer_id"] is None
    cheap = agent.recommend(None, filters=Filters(categories=frozenset({"Bakery"})))
    assert set(_ids(cheap)) == {"bread", "cake"}


def test_the_desk_naming_an_unknown_id_is_told_so(agent: Agent) -> None:
    with pytest.raises(UnknownCustomerError, match="no customer 'nobody' in the log") as caught:
        agent.recommend("nobody")
    assert "--new-customer" in caught.value.hint
    with pytest.raises(UnknownCustomerError, match="no customer 'nobody1'"):
        agent.ask("recommend something for customer nobody1")


def test_a_new_shopper_gets_recommendations_in_the_chat(agent: Agent) -> None:
    shopper = agent.for_viewer(Viewer.shopper("new-1", "nora"))
    assert _ids(shopper.recommend("new-1")) == _ids(agent.recommend(None))
    events = list(shopper.chat("Recommend something", conversation_id="first"))
    assert any(isinstance(event, Recommended) for event in events)
    assert not any(isinstance(event, Offered) for event in events)
    answer = shopper.ask("Recommend hot drinks", conversation_id="first")
    assert {item.item_id for item in answer.items} == {"coffee", "tea"}
    why = shopper.ask("Why the first one?", conversation_id="first")
    assert why.items == answer.items[:1]
    assert "customers bought it in the last 28 days" in why.text


@pytest.mark.parametrize(
    "question",
    ["Who am I?", "What did I buy lately?", "Am I leaving?"],
)
def test_a_new_shopper_is_told_that_there_are_no_orders(agent: Agent, question: str) -> None:
    shopper = agent.for_viewer(Viewer.shopper("new-1", "nora"))
    assert "no orders here yet" in shopper.ask(question).text


def test_a_new_shopper_may_have_the_offer_for_a_first_order(agent: Agent, shop: Shop) -> None:
    shopper = agent.for_viewer(Viewer.shopper("new-1", "nora"))
    assert shopper.ask("Is there an offer for me?").text == "There is no offer for you right now."
    book = read_offers(shop.offers_file, "USD", shop.zone)
    first = replace(
        book["drinks"],
        offer_id="first",
        title="$1.00 off your first order",
        covers=Covers(),
        eligibility=Eligibility(first_order=True),
    )
    write_offers(shop.offers_file, OfferBook([*book.values(), first], currency="USD"), shop.zone)
    assert "$1.00 off your first order" in shopper.ask("Is there an offer for me?").text
    assert shopper.accept_offer("new-1", "first").offer_id == "first"
    with pytest.raises(AccessError):
        shopper.accept_offer("new-1", "drinks")


def test_why_before_anything_was_shown_is_answered_for_a_new_shopper(agent: Agent) -> None:
    shopper = agent.for_viewer(Viewer.shopper("new-1", "nora"))
    assert "bought it in the last 28 days" in shopper.ask("Why this item?").text


def test_a_new_shoppers_dislike_is_remembered(agent: Agent) -> None:
    shopper = agent.for_viewer(Viewer.shopper("new-1", "nora"))
    first = shopper.ask("Recommend something", conversation_id="c").items[0]
    shopper.ask("I did not like that", conversation_id="c")
    assert first.item_id not in _ids(shopper.recommend("new-1"))
    assert first.item_id in _ids(agent.recommend(None))


def test_only_the_desk_recommends_to_somebody_unnamed(agent: Agent) -> None:
    with pytest.raises(AccessError):
        agent.for_viewer(Viewer.shopper("c04")).recommend(None)


def test_a_customer_who_only_looked_gets_recommendations(agent: Agent, shop: Shop) -> None:
    agent.observe(_event(shop, "looker", "tea", "", kind=Kind.VIEW))
    found = agent.recommend("looker")
    assert found.items
    assert isinstance(found.offer, NoOffer)


# What happens counts at once


def test_an_observed_order_is_in_the_very_next_recommendation(agent: Agent, shop: Shop) -> None:
    shopper = agent.for_viewer(Viewer.shopper("new-1", "nora"))
    before = shopper.recommend("new-1").items
    assert all(item.cites == () for item in before)
    assert agent.observe(_event(shop, "new-1", "tea", "first-order"))
    first = shopper.recommend("new-1").items[0]
    assert first.item_id == "tea"
    assert "order first-order" in first.reason
    assert first.cites == ("first-order",)
    answer = shopper.ask("Recommend something")
    assert answer.items[0].item_id == "tea"


def test_an_observed_order_leaves_the_item_out_of_what_is_new(agent: Agent, shop: Shop) -> None:
    new_only = Filters(new_only=True)
    assert "cheese" in _ids(agent.recommend("c04", filters=new_only))
    agent.observe(_event(shop, "c04", "cheese", "with-cheese"))
    assert "cheese" not in _ids(agent.recommend("c04", filters=new_only))
    shown = {item.item_id: item for item in agent.recommend("c04").items}
    assert "order with-cheese" in shown["cheese"].reason


def test_what_sold_out_meanwhile_is_not_in_the_next_recommendation(
    agent: Agent, shop: Shop
) -> None:
    assert "coffee" in _ids(agent.recommend("c04"))
    coffee = Item(item_id="coffee", title="Coffee beans", category="Hot drinks", price=899, stock=0)
    Catalogue.read(shop.items_file).merged([coffee]).write(shop.items_file)
    assert "coffee" not in _ids(agent.recommend("c04"))


# The offer


def test_without_the_offer_nothing_is_predicted(shop: Shop) -> None:
    """There is not even the adapter to predict with."""
    shutil.rmtree(current_adapter(shop))
    agent = Agent.open(shop.directory)
    found = agent.recommend("c04", with_offer=False)
    assert found.items
    assert found.offer is None
    assert found.to_json()["offer"] is None
    assert agent._resources._predictor is None
    assert "base_model" not in agent._resources.__dict__
    with pytest.raises(AdapterError):
        agent.recommend("c04")


def test_with_and_without_the_offer_the_items_are_the_same(agent: Agent) -> None:
    assert agent.recommend("c04").items == agent.recommend("c04", with_offer=False).items


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_more_than_asked_for(agent: Agent, count: int) -> None:
    assert len(agent.recommend("c04", count=count, with_offer=False).items) == count


def test_a_reload_for_new_prices_keeps_the_open_index(agent: Agent) -> None:
    resources = agent._resources
    before = resources.snapshot()
    file = agent.shop.items_file
    catalogue = Catalogue.read(file)
    catalogue.merged([replace(catalogue.items["tea"], stock=0)]).write(file)
    after = resources.snapshot()
    assert after is not before
    assert after.generation is before.generation
    assert "tea" not in {item.item_id for item in agent.recommend("c04", count=20).items}
