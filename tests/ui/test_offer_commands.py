"""`patron offers` as a person types it, run in this process."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.agent import Agent
from agent.offer_choice import OfferDecision
from agent.offer_file import read_offers, write_offers
from agent.offers import Eligibility, OfferBook
from retrieval.shop import Shop
from tests.ui.test_cli import Run

ATE_TEA, ATE_CHEESE, NOBODY = "c04", "c01", "nobody"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def change_offers(shop: Shop, **changes: object) -> None:
    """Add to the shop's offers one like `drinks` with changes."""
    book = read_offers(shop.offers_file, "USD", shop.zone)
    other = replace(book["drinks"], **changes)  # type: ignore[arg-type]
    write_offers(shop.offers_file, OfferBook([*book.values(), other], currency="USD"), shop.zone)


def verdicts(run: Run, shop: Shop, *arguments: object) -> dict[str, str | None]:
    code, out, err = run("offers", "check", "--shop", shop.directory, "--json", *arguments)
    assert (code, err) == (0, "")
    document = json.loads(out)
    for offer in document["offers"]:
        failed = [line["rule"] for line in offer["rules"] if not line["passed"]]
        assert offer["eligible"] is not bool(failed)
        assert offer["stopped_by"] == (failed[0] if failed else None)
    return {offer["offer_id"]: offer["stopped_by"] for offer in document["offers"]}


@pytest.mark.parametrize("command", [("check",), ("list",), ("codes", "add"), ("codes", "list")])
def test_the_offer_commands_explain_themselves(run: Run, command: tuple[str, ...]) -> None:
    assert command[0] in run("offers", "--help")[1]
    code, out, _ = run("offers", *command, "--help")
    assert code == 0
    assert "--shop" in out
    assert "--json" in out


def test_check_says_by_which_rule_each_offer_is_refused(run: Run, shop: Shop) -> None:
    assert verdicts(run, shop, "--customer", ATE_TEA) == {"drinks": None, "old": "dates"}
    assert verdicts(run, shop, "--customer", ATE_CHEESE) == {"drinks": "bought", "old": "dates"}


def test_check_agrees_with_the_agent(run: Run, shop: Shop) -> None:
    decision = Agent.open(shop.directory).offer(ATE_TEA)
    assert isinstance(decision, OfferDecision)
    assert decision.offer.offer_id == "drinks"
    _, out, _ = run("offers", "check", "--shop", shop.directory, "--customer", ATE_TEA, "--json")
    rules = json.loads(out)["offers"][0]["rules"]
    assert [line["text"] for line in rules] == [line.text for line in decision.rules]


def test_check_follows_the_ledger(run: Run, shop: Shop) -> None:
    Agent.open(shop.directory).accept_offer(ATE_TEA, "drinks")
    assert verdicts(run, shop, "--customer", ATE_TEA)["drinks"] == "cap"


def test_people_see_the_first_failing_line_of_each_offer(run: Run, shop: Shop) -> None:
    code, out, _ = run("offers", "check", "--shop", shop.directory, "--customer", ATE_CHEESE)
    said = " ".join(out.split())
    assert code == 0
    assert said.index("drinks") < said.index("old")
    assert "bought: for those who bought" in said
    assert "0 of 2 offers" in said


def test_one_offer_is_shown_with_every_line(run: Run, shop: Shop) -> None:
    code, out, _ = run(
        "offers", "check", "--shop", shop.directory, "--customer", ATE_CHEESE, "--offer", "old"
    )
    said = " ".join(out.split())
    assert code == 0
    assert "$1.00 off summer drinks (old): $1.00 off" in said
    assert "> failed │ dates" in said
    assert "failed │ bought" in said
    assert "> failed │ bought" not in said
    assert "passed │ cap" in said
    assert "Not eligible, by the line dates." in said
    assert "(drinks)" not in said
    _, out, _ = run(
        "offers", "check", "--shop", shop.directory, "--customer", ATE_TEA, "--offer", "drinks"
    )
    assert "Eligible." in out


def test_somebody_unknown_is_checked_as_before_a_first_order(run: Run, shop: Shop) -> None:
    change_offers(shop, offer_id="welcome", eligibility=Eligibility(first_order=True))
    found = verdicts(run, shop, "--customer", NOBODY)
    assert found == {"drinks": "bought", "old": "dates", "welcome": None}
    assert verdicts(run, shop, "--customer", ATE_TEA)["welcome"] == "first_order"
    code, out, _ = run("offers", "check", "--shop", shop.directory, "--customer", NOBODY)
    assert code == 0
    assert "Customer nobody has no order in the log" in " ".join(out.split())


def test_offers_are_listed_with_what_is_left(run: Run, shop: Shop) -> None:
    Agent.open(shop.directory).accept_offer(ATE_TEA, "drinks")
    code, out, err = run("offers", "list", "--shop", shop.directory, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    drinks, old = document["offers"]
    assert drinks == {
        "offer_id": "drinks",
        "title": "$1.00 off hot drinks",
        "starts": "2024-12-01T00:00:00+00:00",
        "expires": "2025-02-01T00:00:00+00:00",
        "runs": True,
        "cost": 0.8,
        "budget": 10.0,
        "budget_left": 9.0,
    }
    assert (old["runs"], old["budget_left"]) == (False, 10.0)
    code, out, _ = run("offers", "list", "--shop", shop.directory)
    said = " ".join(out.split())
    assert code == 0
    assert "* drinks │ 2024-12-01 until │ $0.80 │ $9.00 of $10.00 │" in said
    assert "$1.00 off hot drinks │ before 2025-02-01 │" in said
    assert "* old" not in said
    assert "* runs at 2024-12-31 09:00 UTC: 1 of 2" in said


def test_codes_are_added_once_and_counted(run: Run, shop: Shop, tmp_path: Path) -> None:
    change_offers(shop, offer_id="coded", needs_code=True)
    assert verdicts(run, shop, "--customer", ATE_TEA)["coded"] == "codes"
    file = tmp_path / "codes.txt"
    file.write_text("TEA-1\nTEA-2\nTEA-1\n")
    add = ("offers", "codes", "add", file, "--offer", "coded", "--shop", shop.directory)
    code, out, _ = run(*add)
    assert code == 0
    assert out == (
        "Added 2 codes to coded.\n1 lines repeat an earlier one; each code counts once.\n"
    )
    file.write_text("TEA-2\nTEA-3\n")
    code, out, _ = run(*add, "--json")
    assert (code, json.loads(out)) == (0, {"added": 1, "known": 1, "repeated": 0})
    code, out, _ = run("offers", "codes", "list", "--shop", shop.directory, "--json")
    assert (code, json.loads(out)) == (0, {"codes_left": {"coded": 3}})
    assert verdicts(run, shop, "--customer", ATE_TEA)["coded"] is None
    code, out, _ = run("offers", "codes", "list", "--shop", shop.directory)
    assert code == 0
    assert "coded" in out
    assert "3" in out


def test_a_shop_without_codes_says_so(run: Run, shop: Shop) -> None:
    code, out, _ = run("offers", "codes", "list", "--shop", shop.directory)
    assert code == 0
    assert "No offer needs codes" in out


def test_what_is_wrong_is_said(run: Run, shop: Shop, tmp_path: Path) -> None:
    here = ("--shop", shop.directory, "--json")
    file = tmp_path / "codes.txt"
    file.write_text("TEA-1\n")
    for arguments, words in (
        (("check", "--customer", ATE_TEA, "--offer", "none"), "no offer 'none'"),
        (("codes", "add", file, "--offer", "none"), "no offer 'none'"),
        (("codes", "add", file, "--offer", "drinks"), "takes no codes"),
    ):
        code, out, err = run("offers", *arguments, *here)
        error = json.loads(err)["error"]
        assert (code, out, error["code"]) == (2, "", "offer_error")
        assert words in error["message"]
    shop.offers_file.write_text("[[offers]]\n")
    code, _, err = run("offers", "list", *here)
    assert (code, json.loads(err)["error"]["code"]) == (2, "offer_error")
