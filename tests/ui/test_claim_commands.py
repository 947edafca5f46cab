"""`patron offers take | claims | redeem | reverse | plan` as a person types them."""

import json

import pytest

from finetune.batch_scoring import score_shop
from finetune.offer_effects import write_effects
from retrieval.shop import Shop
from tests.agent.hand_made_effects import effects
from tests.ui.test_cli import Run

BUYER = "c04"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def take(run: Run, shop: Shop, key: str = "k1") -> dict[str, object]:
    code, out, err = run(
        *("offers", "take", "--shop", shop.directory, "--customer", BUYER),
        *("--offer", "drinks", "--key", key, "--json"),
    )
    assert (code, err) == (0, "")
    document: dict[str, object] = json.loads(out)
    return document


@pytest.mark.parametrize("command", ["take", "claims", "redeem", "reverse", "plan", "learn"])
def test_every_command_explains_itself(run: Run, command: str) -> None:
    assert command in run("offers", "--help")[1]
    code, out, _ = run("offers", command, "--help")
    assert code == 0
    assert "--shop" in out


def test_an_offer_is_taken_redeemed_and_taken_back(run: Run, shop: Shop) -> None:
    claim = take(run, shop)
    assert (claim["state"], claim["held"], claim["currency"]) == ("claimed", 1.0, "USD")
    assert take(run, shop) == claim | {"repeated": True}
    code, out, _ = run(
        *("offers", "redeem", claim["claim_id"], "--shop", shop.directory, "--order", "o1"),
        *("--total", "5.00", "--covered", "0.60", "--json"),
    )
    assert (code, json.loads(out)["discount"]) == (0, 0.6)
    _, out, _ = run("offers", "claims", "--shop", shop.directory, "--customer", BUYER, "--json")
    assert [each["state"] for each in json.loads(out)["claims"]] == ["redeemed"]
    code, out, _ = run(
        *("offers", "reverse", claim["claim_id"], "--shop", shop.directory),
        *("--reason", "returned", "--json"),
    )
    assert (code, json.loads(out)["state"]) == (0, "reversed")


def test_people_see_a_table(run: Run, shop: Shop) -> None:
    said = run("offers", "claims", "--shop", shop.directory, "--customer", BUYER)[1]
    assert said.strip() == "Customer c04 has taken no offer."
    take(run, shop)
    said = run("offers", "claims", "--shop", shop.directory, "--customer", BUYER)[1]
    for word in ("drinks", "claimed", "$1.00"):
        assert word in said


@pytest.mark.parametrize("total", ["much", "-1", "1.005", "nan", "Infinity", "1e30"])
def test_a_total_that_is_no_amount_is_named(run: Run, shop: Shop, total: str) -> None:
    claim = take(run, shop)
    code, _, err = run(
        *("offers", "redeem", claim["claim_id"], "--shop", shop.directory, "--order", "o1"),
        f"--total={total}",
    )
    assert code != 0
    assert "--total: " in err
    assert "Give it such as 23.40." in err


def test_a_plan_says_what_it_gains(run: Run, shop: Shop) -> None:
    write_effects(shop, effects(spend=4_000.0))
    score_shop(shop)
    arguments = ("offers", "plan", "--shop", shop.directory, "--budget", "1.00")
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert 0 < document["expected_cost"] <= 1.0
    assert document["expected_gain"] <= document["upper_bound"]
    assert (shop.directory / "offer_plan.csv").exists()
    said = " ".join(run(*arguments)[1].split())
    assert f"{document['offers_made']} of {document['customers']} customers get an offer" in said
    assert "one offer for everybody is as good" in said
