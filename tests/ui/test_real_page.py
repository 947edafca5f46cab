"""The page with nothing faked behind it: real agent, log, index, adapter and ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from agent.agent import Agent
from agent.ledger import Ledger
from agent.viewer import Viewer
from retrieval.shop import Shop
from tests.ui.running_page import served
from ui.logins import Login, hash_password

PASSWORD = "a long password"
# The first answer loads the index and the models.
expect.set_options(timeout=30_000)


@pytest.fixture
def address(shop: Shop) -> Iterator[str]:
    viewers = (Viewer.desk("staff"), Viewer.shopper("c04", "anna"))
    logins = {
        viewer.login: Login(viewer=viewer, password_hash=hash_password(PASSWORD))
        for viewer in viewers
    }
    with served(Agent.open(shop.directory), logins) as where:
        yield where


def log_in(browser: Browser, address: str, login: str) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(30_000)
    page.goto(address)
    page.fill("#login", login)
    page.fill("#password", PASSWORD)
    page.click("button")
    expect(page.locator("#item-0 .item")).to_be_visible()
    return page


def ask(page: Page, question: str, expected: str) -> None:
    """Ask once the answer before has ended: until then the page does not take a question."""
    box, chat = page.locator("#question textarea"), page.locator("#chat")
    box.fill(question)
    for _ in range(20):
        box.press("Enter")
        try:
            expect(chat).to_contain_text(question, timeout=1_500)
            break
        except AssertionError:
            continue
    expect(chat).to_contain_text(expected)


def test_the_desk_talks_about_a_real_household(
    browser: Browser, address: str, shop: Shop, tmp_path: Path
) -> None:
    page = log_in(browser, address, "staff")
    picker = page.get_by_label("Customer", exact=True).and_(page.locator("input"))
    picker.fill("c04")
    picker.press("Enter")
    expect(page.locator("#headline")).to_contain_text("Customer c04")
    expect(page.locator("#items-heading")).to_contain_text("c04")
    drivers = page.locator("#headline").get_by_text("What moves the risk")
    expect(drivers).to_be_visible()
    ask(page, "Who is this customer?", "in 41 orders, for $919.74 in all.")
    ask(page, "Are they leaving, and why?", "Churn here means no purchase in the next 60 days.")
    ask(page, "Compare with customer c03", "and of customer c03")
    ask(page, "Recommend hot drinks but no tea", "For customer c04 I suggest: Coffee beans.")
    expect(page.locator("#item-0 h3")).to_contain_text("Coffee beans")
    ask(page, "I did not like that", "Coffee beans will not be shown again.")
    assert Ledger(shop.ledger_file).feedback("c04") == {"coffee": False}
    page.screenshot(path=tmp_path / "desk.png")
    assert (tmp_path / "desk.png").stat().st_size > 20_000
    page.close()


def test_the_shopper_is_kept_to_themselves(browser: Browser, address: str) -> None:
    page = log_in(browser, address, "anna")
    ask(page, "What did I buy lately?", "You have bought since 2024-01-05, in 41 orders")
    ask(page, "Who is customer c05?", "only speak with you about your own account")
    assert "o05-" not in page.locator("body").inner_text()
    assert "moves the risk" not in page.locator("body").inner_text()
    page.close()
