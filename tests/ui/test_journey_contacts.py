from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetune.contacts import Contact, read_contacts, write_contacts
from retrieval.shop import Shop, ShopSettings
from ui.journey_contacts import contacts


@pytest.fixture(scope="module")
def journey() -> list[Contact]:
    return contacts()


def test_every_household_of_every_campaign_is_there_once(journey: list[Contact]) -> None:
    assert len(journey) == 6589
    assert max(Counter((each.campaign_id, each.customer_id) for each in journey).values()) == 1
    kinds = {each.campaign_id: each.kind for each in journey}
    assert Counter(kinds.values()) == {"Type A": 4, "Type B": 17, "Type C": 6}


def test_days_are_the_stores_own(journey: list[Contact]) -> None:
    summer = next(each for each in journey if each.campaign_id == "13")
    assert summer.starts == datetime(2017, 8, 8, 4, tzinfo=UTC)
    assert summer.ends == datetime(2017, 9, 25, 4, tzinfo=UTC)
    winter = next(each for each in journey if each.campaign_id == "27")
    assert winter.starts == datetime(2017, 2, 8, 5, tzinfo=UTC)


def test_every_redemption_is_counted_and_costs_something(journey: list[Contact]) -> None:
    assert sum(each.redemptions for each in journey) == 2102
    redeemers = [each for each in journey if each.redemptions]
    assert all(each.discount > 0 for each in redeemers)
    # Receipts show 104.99 cents on average of 1,055 redemptions.
    mean = sum(each.discount for each in redeemers) / 2102
    assert mean == pytest.approx(104, abs=4)


def test_nobody_was_kept_out_and_no_chance_is_known(journey: list[Contact]) -> None:
    assert all(each.treated and each.propensity is None for each in journey)


def test_they_are_contacts_that_a_shop_can_keep(journey: list[Contact], tmp_path: Path) -> None:
    shop = Shop.create(tmp_path, ShopSettings())
    write_contacts(shop, journey)
    assert len(read_contacts(shop)) == len(journey)
