"""A shop of twelve customers and no adapter, as a person asks about it."""

import json
from pathlib import Path

import pytest

from agent.agent import Agent
from agent.viewer import Viewer
from finetune.adapter import WEIGHTS_FILE, current_adapter
from finetune.base_prior import BASE_ID
from retrieval.shop import Shop
from tests.day_one_shop import build_untrained_shop
from tests.tiny_shop import copy_shop
from tests.ui.test_cli import Run
from ui import page_cards

KNOWN = "12 customers with known outcomes; at least 40 are needed to fine-tune"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


@pytest.fixture(scope="module")
def _untrained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return build_untrained_shop(tmp_path_factory.mktemp("day-one") / "shop", tiny_model).directory


@pytest.fixture
def small(_untrained: Path, tmp_path: Path) -> Shop:
    return copy_shop(_untrained, tmp_path / "small")


def _said(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_predict_says_who_answers_and_on_what_basis(run: Run, small: Shop) -> None:
    code, out, _ = run("predict", "c04", "--shop", small.directory, "--json")
    document = json.loads(out)
    assert (code, document["adapter_id"]) == (0, BASE_ID)
    assert KNOWN in document["basis"]
    assert document["drivers"] is None
    assert document["expected_spend_low"] < document["expected_spend"]
    assert document["expected_spend"] < document["expected_spend_high"]
    code, out, _ = run("predict", "c04", "--shop", small.directory)
    assert code == 0
    assert "basis" in out
    assert "not computed for patron-base" in _said(out).lower()


def test_score_says_it_too(run: Run, small: Shop) -> None:
    code, out, _ = run("score", "--shop", small.directory)
    assert code == 0
    assert KNOWN in _said(out)
    assert "12 customers with an order" in _said(out)


def test_recommend_makes_an_offer(run: Run, small: Shop) -> None:
    code, out, _ = run("recommend", "c04", "--shop", small.directory, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["offer"]["offer_id"] == "drinks"


def test_finetune_says_how_many_are_missing_and_what_answers(run: Run, small: Shop) -> None:
    code, _, err = run("finetune", "--shop", small.directory)
    said = _said(err)
    assert code == 2
    assert "12 customers in all" in said
    assert "at least 40 customers" in said
    assert "predictions come from patron-base" in said
    assert not small.adapters.exists()


def test_a_log_too_short_to_finetune_is_said_likewise(run: Run, small: Shop) -> None:
    file = small.directory / "shop.toml"
    file.write_text(file.read_text().replace("2024-07-01", "2023-07-01"))
    code, _, err = run("finetune", "--shop", small.directory)
    assert code == 2
    assert "predictions come from patron-base" in _said(err)


def test_doctor_and_the_list_of_adapters_name_it(run: Run, small: Shop) -> None:
    code, out, _ = run("doctor", "--shop", small.directory)
    assert "patron-base answers" in _said(out)
    code, out, _ = run("adapters", "list", "--shop", small.directory)
    assert code == 0
    assert "patron-base" in out
    code, out, _ = run("adapters", "list", "--shop", small.directory, "--json")
    assert json.loads(out) == {"adapters": [], "answers": BASE_ID}


@pytest.mark.parametrize(
    ("question", "also"),
    [
        ("Who is this customer?", "lifecycle stage"),
        ("Are they leaving, and why?", "What moves the risk is not computed for patron-base"),
        ("What are they worth?", "80% spend between"),
        ("Compare c04 and c03", "worth more"),
        ("What can we offer?", "hot drinks"),
    ],
)
def test_the_desk_is_told_the_basis_in_every_answer(small: Shop, question: str, also: str) -> None:
    answer = Agent.open(small.directory).ask(question, customer_id="c04")
    assert KNOWN in answer.text
    assert also in answer.text
    assert any(KNOWN in record.text for record in answer.evidence)


def test_a_shopper_is_not_told(small: Shop) -> None:
    agent = Agent.open(small.directory, viewer=Viewer.shopper("c04"))
    for question in ("Who am I?", "What can you offer me?"):
        answer = agent.ask(question)
        assert answer.text
        assert "other shops" not in answer.text


def test_the_card_says_the_basis(small: Shop) -> None:
    agent = Agent.open(small.directory)
    agent.warm_up()
    shown = page_cards.headline_html(agent.card("c04", explained=True), Viewer.desk())
    assert KNOWN in shown
    assert "80% between" in shown
    assert "What moves the risk" not in shown


def test_with_an_adapter_no_basis_is_shown(run: Run, shop: Shop) -> None:
    code, out, _ = run("predict", "c04", "--shop", shop.directory, "--json")
    document = json.loads(out)
    assert (code, document["basis"]) == (0, None)
    assert document["adapter_id"] == current_adapter(shop).name
    assert document["drivers"]
    answer = Agent.open(shop.directory).ask("Are they leaving?", customer_id="c04")
    assert "other shops" not in answer.text


def test_a_damaged_adapter_is_not_answered_for(run: Run, shop: Shop) -> None:
    (current_adapter(shop) / WEIGHTS_FILE).write_bytes(b"damaged")
    for command in (("predict", "c04"), ("score",), ("recommend", "c04")):
        code, out, err = run(*command, "--shop", shop.directory, "--json")
        assert (code, out) == (2, "")
        assert json.loads(err)["error"]["code"] == "adapter_error"
