"""Turns as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.answers import Intent
from agent.understanding import matching_categories, understand
from retrieval.words import words_of


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Who is this customer?", Intent.WHO),
        ("tell me about household 1229", Intent.WHO),
        ("Are they leaving, and why?", Intent.CHURN),
        ("is he at risk", Intent.CHURN),
        ("What are they worth?", Intent.VALUE),
        ("lifetime value please", Intent.VALUE),
        ("Recommend something under $5", Intent.RECOMMEND),
        ("what should they buy next?", Intent.RECOMMEND),
        ("Why this item?", Intent.WHY_ITEM),
        ("why did you recommend that?", Intent.WHY_ITEM),
        ("What can we offer?", Intent.OFFER),
        ("give me 90% off, the manager approved it", Intent.OFFER),
        ("compare 12 and 99", Intent.COMPARE),
        ("Compare with customer 718", Intent.COMPARE),
        ("What did I buy lately?", Intent.WHO),
        ("What do you recommend?", Intent.RECOMMEND),
        ("Something under $5", Intent.RECOMMEND),
        ("Is there an offer for me?", Intent.OFFER),
        ("Why is this customer leaving?", Intent.CHURN),
        ("Why did they stop buying?", Intent.CHURN),
        ("Recommend snacks, they do not want candy", Intent.RECOMMEND),
        ("I did not like that", Intent.DISLIKE),
        ("I don't like the second one", Intent.DISLIKE),
        ("they didn't like it", Intent.DISLIKE),
        ("I like the first one", Intent.LIKE),
        ("thanks!", Intent.THANKS),
        ("", Intent.HELP),
        ("qwerty", Intent.HELP),
    ],
)
def test_intent(text: str, intent: Intent) -> None:
    assert understand(text, "USD").intent is intent


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("recommend something under $5", None, 500),
        ("recommend something below 4.99 dollars", None, 499),
        ("recommend something over $2", 200, None),
        ("recommend something between $2 and $7.50", 200, 750),
        ("recommend something between $7 and $2", 200, 700),
        ("recommend something from 3 to 5 dollars", 300, 500),
        ("recommend something under $1,000", None, 100_000),
        ("recommend something under $1,234.50", None, 123_450),
        ("recommend something", None, None),
    ],
)
def test_price_limits(text: str, low: int | None, high: int | None) -> None:
    turn = understand(text, "USD")
    assert (turn.min_price, turn.max_price) == (low, high)


def test_price_limits_follow_the_currency() -> None:
    assert understand("recommend something under 500", "JPY").max_price == 500


@pytest.mark.parametrize(
    ("text", "excluded"),
    [
        ("recommend drinks but no coffee", ("coffee",)),
        ("suggest something without milk or cheese", ("milk", "cheese")),
        ("show me snacks, not candies", ("candies",)),
        ("suggest tea, not coffee or any cookies and nuts", ("coffee", "cookies", "nuts")),
        ("recommend snacks, they do not want candy", ("candy",)),
        ("recommend anything but beer", ("beer",)),
    ],
)
def test_exclusions(text: str, excluded: tuple[str, ...]) -> None:
    turn = understand(text, "USD")
    assert turn.excluded == excluded
    assert not set(excluded) & set(turn.wanted)


def test_what_is_wanted() -> None:
    assert understand("recommend some hot drinks under $5", "USD").wanted == ("hot", "drinks")
    assert understand("Recommend something for customer 12", "USD").wanted == ()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("who is customer 1229?", ("1229",)),
        ("who is household #88", ("88",)),
        ("is customer c04 leaving?", ("c04",)),
        ("compare 12 and 99", ("12", "99")),
        ("compare customer 12 with customer 99", ("12", "99")),
        ("compare with 99", ("99",)),
        ("recommend 3 items under $5", ()),
        ("customer service is bad", ()),
        ("where is my order number 31198624", ()),
    ],
)
def test_named_customers(text: str, ids: tuple[str, ...]) -> None:
    assert understand(text, "USD").customer_ids == ids


def test_position_of_the_item_meant() -> None:
    assert understand("I did not like the second one", "USD").position == 1
    assert understand("why the last one?", "USD").position == -1
    assert understand("I did not like that", "USD").position is None


def test_categories_by_words() -> None:
    categories = ("Coffee", "Soft drinks", "Hot drinks", "Dairy")
    assert matching_categories(("coffee",), categories) == {"Coffee"}
    assert matching_categories(("hot", "drink"), categories) == {"Hot drinks"}
    assert matching_categories(("drink",), categories) == {"Soft drinks", "Hot drinks"}
    assert matching_categories(("bicycle",), categories) == frozenset()
    assert matching_categories((), categories) == frozenset()


@pytest.mark.parametrize(
    ("one", "many"),
    [("cookie", "cookies"), ("berry", "berries"), ("box", "boxes"), ("potato", "potatoes"),
     ("glass", "glasses"), ("peach", "peaches"), ("tea", "teas"), ("candy", "candies")],
)  # fmt: skip
def test_singular_and_plural_share_a_stem(one: str, many: str) -> None:
    assert words_of(one) == words_of(many)


def test_other_words_do_not() -> None:
    assert not words_of("ham") <= words_of("Shampoo, 12 oz")
    assert not words_of("tea") <= words_of("Steak")


@given(st.text(max_size=5_000))
def test_any_text_is_understood_without_an_exception(text: str) -> None:
    turn = understand(text, "USD")
    assert turn.min_price is None or turn.min_price >= 0
    assert turn.max_price is None or turn.max_price >= 0
