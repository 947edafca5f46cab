import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from agent.answers import CustomerCard
from tests.ui.fake_agent import SENTENCES, FakeAgent
from tests.ui.running_page import PASSWORDS, RunningPage, running_page


@pytest.fixture
def shop_page(tmp_path: Path) -> Iterator[RunningPage]:
    with running_page(tmp_path) as running:
        yield running


def log_in(browser: Browser, running: RunningPage, login: str, *, width: int = 1440) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(15_000)
    page.goto(running.address)
    page.fill("#login", login)
    page.fill("#password", PASSWORDS[login])
    page.click("button")
    expect(page.locator("#item-0 .item")).to_be_visible(timeout=15_000)
    return page


def test_the_desk_picks_asks_likes_and_accepts(
    browser: Browser, shop_page: RunningPage, tmp_path: Path
) -> None:
    page = log_in(browser, shop_page, "desk")
    expect(page.locator("#headline")).to_contain_text("Customer 1229")
    expect(page.locator("#headline")).to_contain_text("34%")

    picker = page.get_by_label("Customer", exact=True).and_(page.locator("input"))
    picker.fill("718")
    picker.press("Enter")
    expect(page.locator("#headline")).to_contain_text("Customer 718")
    expect(page.locator("#items-heading")).to_contain_text("718")
    expect(page.locator("#headline")).to_contain_text("What moves the risk")
    expect(page.locator("#headline")).to_contain_text("Customer 718")

    page.fill("#question textarea", "Who is this customer? <b>bold</b>")
    page.keyboard.press("Enter")
    chat = page.locator("#chat")
    expect(chat).to_contain_text(SENTENCES[0].format(id="718"))
    expect(chat).to_contain_text(SENTENCES[2])
    expect(chat).to_contain_text("<b>bold</b>")
    assert shop_page.agent.memory.asked[0][1] == "718"

    page.click("#like-1")
    expect(page.locator("#like-1")).to_contain_text("Liked")
    assert shop_page.agent.memory.feedback == [("desk", "718", "1029743", True)]

    page.dblclick("#accept")
    expect(page.locator("#offer")).to_contain_text("Offer accepted")
    assert len(shop_page.agent.memory.claims) == 1

    screenshot = tmp_path / "desk.png"
    page.screenshot(path=screenshot)
    assert screenshot.stat().st_size > 20_000
    page.close()


def test_late_drivers_do_not_overwrite_the_next_customer(
    browser: Browser, shop_page: RunningPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = FakeAgent.card

    def slow_card(agent: FakeAgent, customer_id: str, *, explained: bool = False) -> CustomerCard:
        if explained and customer_id == "1229":
            time.sleep(4)
        return card(agent, customer_id, explained=explained)

    monkeypatch.setattr(FakeAgent, "card", slow_card)
    page = log_in(browser, shop_page, "desk")
    expect(page.locator("#items-heading")).to_contain_text("1229")
    picker = page.get_by_label("Customer", exact=True).and_(page.locator("input"))
    picker.fill("718")
    picker.press("Enter")
    expect(page.locator("#headline")).to_contain_text("Customer 718")
    expect(page.locator("#headline")).to_contain_text("What moves the risk")
    time.sleep(5)
    expect(page.locator("#headline")).to_contain_text("Customer 718")
    page.close()


def test_a_shopper_sees_their_own_and_no_scores(
    browser: Browser, shop_page: RunningPage, tmp_path: Path
) -> None:
    page = log_in(browser, shop_page, "ben", width=390)
    expect(page.locator("#details")).to_contain_text("Your orders")
    expect(page.locator("#customer-picker")).to_have_count(0)
    shown = page.locator("body").inner_text()
    for internal in (
        "Churn risk",
        "moves the risk",
        "Value tier",
        "Cost to the shop",
        "at stake",
        "History as",
    ):
        assert internal not in shown
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    page.get_by_role("button", name="What do you recommend?").click()
    expect(page.locator("#chat")).to_contain_text(SENTENCES[2])
    page.reload()
    expect(page.locator("#chat")).to_contain_text(SENTENCES[2])
    page.screenshot(path=tmp_path / "shopper.png", full_page=True)
    page.close()


def test_a_shopper_without_an_order_is_welcomed_with_recommendations(
    browser: Browser, shop_page: RunningPage
) -> None:
    page = log_in(browser, shop_page, "new")
    expect(page.locator("#headline")).to_contain_text("Welcome")
    expect(page.locator("#headline")).to_contain_text("no orders here yet")
    expect(page.locator("#items-heading")).to_contain_text("Picked for you")
    expect(page.locator("#offer")).to_contain_text("No offer right now")
    assert "There is no customer" not in page.locator("body").inner_text()
    page.close()


def test_hostile_titles_stay_text(browser: Browser, shop_page: RunningPage) -> None:
    page = log_in(browser, shop_page, "desk")
    title = page.locator("#item-2 h3")
    expect(title).to_contain_text("<img src=x onerror=")
    expect(title).to_contain_text("**SOUP** {{value}} ${1+1}")
    assert page.locator("#item-2 img").count() == 0
    assert page.title() == "Corner & Sons - Patron"
    page.close()


def test_logging_out_ends_the_session(browser: Browser, shop_page: RunningPage) -> None:
    page = log_in(browser, shop_page, "ben")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto(f"{shop_page.address}/my/")
    expect(page.get_by_label("Password")).to_be_visible()
    page.close()
