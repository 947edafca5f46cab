"""`patron offers ledger check | expire | audit` as a person types them."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from agent.ledger import Ledger
from agent.offer_file import shop_offers
from retrieval.shop import Shop
from retrieval.time_split import present
from tests.ui.test_claim_commands import BUYER, take
from tests.ui.test_cli import Run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def ledger(run: Run, shop: Shop, *command: str) -> tuple[int, str]:
    code, out, err = run("offers", "ledger", *command, "--shop", shop.directory)
    assert err == ""
    return code, out


def test_books_that_agree_are_shown_with_their_balances(run: Run, shop: Shop) -> None:
    take(run, shop)
    code, out = ledger(run, shop, "check")
    assert code == 0
    assert "The books agree" in out
    code, out = ledger(run, shop, "check", "--json")
    document = json.loads(out)
    assert (code, document["agrees"], document["discrepancies"]) == (0, True, [])
    assert document["balances"]["drinks"]["held"] == 1.0
    assert document["balances"]["drinks"]["left"] == document["balances"]["drinks"]["opening"] - 1


def test_a_ledger_changed_by_other_hands_is_told_by_the_exit_code(run: Run, shop: Shop) -> None:
    take(run, shop)
    with closing(sqlite3.connect(shop.ledger_file)) as connection:
        connection.execute("UPDATE budgets SET spent = spent + 5")
        connection.commit()
    code, out = ledger(run, shop, "check")
    assert code == 1
    assert "drinks: an offer's counter and its entries disagree: 105 and 100" in " ".join(
        out.split()
    )
    code, out = ledger(run, shop, "check", "--json")
    found = json.loads(out)
    assert (code, found["agrees"]) == (1, False)
    assert {"what", "subject", "counted", "expected"} == set(found["discrepancies"][0])


def test_what_is_over_is_ended_once(run: Run, shop: Shop) -> None:
    now = present(shop)
    with Ledger(shop.ledger_file) as opened:
        opened.reserve(
            shop_offers(shop)["drinks"],
            BUYER,
            idempotency_key="k",
            as_of=now - timedelta(hours=2),
            ttl=timedelta(hours=1),
            decision={},
        )
    _, out = ledger(run, shop, "expire", "--json")
    assert json.loads(out) == {"as_of": now.isoformat(), "expired": 1}
    code, out = ledger(run, shop, "expire")
    assert code == 0
    assert out.startswith("0 claims and reservations were over by ")


def test_the_audit_has_every_request_and_its_reasons(run: Run, shop: Shop) -> None:
    claim = take(run, shop)
    _, out = ledger(run, shop, "audit", "--what", "claim", "--json")
    found = json.loads(out)
    assert found["lines"] == 1
    assert found["audit"][0]["details"]["reply"]["claim_id"] == claim["claim_id"]
    everything = json.loads(ledger(run, shop, "audit", "--last", "0", "--json")[1])
    assert len(everything["audit"]) == everything["lines"] > 1
    (newest,) = json.loads(ledger(run, shop, "audit", "--last", "1", "--json")[1])["audit"]
    assert newest == everything["audit"][-1]
    shown = ledger(run, shop, "audit", "--what", "claim")[1]
    assert '1 of 1 lines of the kind "claim".' in shown
