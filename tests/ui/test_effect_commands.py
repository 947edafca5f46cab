from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from agent.ledger import Ledger
from finetune.offer_effects import read_effects
from retrieval.shop import Shop
from tests.finetune.planted_campaigns import planted_shop
from tests.finetune.planted_decisions import planted_decisions
from ui.effect_commands import learn_command


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("learn")(learn_command)
    return app


def test_what_is_learnt_is_shown_with_its_limits_and_kept(tmp_path: Path, app: typer.Typer) -> None:
    planted_shop(tmp_path, effect=300, bias=True, redeeming=0.6)
    shown = CliRunner().invoke(app, ["--shop", str(tmp_path)], catch_exceptions=False)
    assert shown.exit_code == 0
    words = " ".join(shown.output.split())
    assert "mail: an effect that can be told from none (kinds looked at: 1); it is used" in words
    assert "Placebos of later campaigns" in words
    assert "nobody was kept out at random" in words
    effects = read_effects(Shop.open(tmp_path))
    assert effects is not None
    assert list(effects.kinds) == ["mail"]


def test_own_decisions_are_learnt_from_and_said(tmp_path: Path, app: typer.Typer) -> None:
    shop, choices = planted_decisions(tmp_path, effect=100)
    with Ledger(shop.ledger_file) as ledger:
        for choice in choices:
            offer_id = None if choice.kind is None else "tea"
            ledger.log_decision(
                choice.customer_id,
                offer_id,
                idempotency_key=choice.customer_id,
                propensity=choice.chances[choice.kind],
                explored=choice.explored,
                expected_gain=0,
                as_of=choice.at,
                inputs={
                    "period": choice.period,
                    "actions": [
                        {
                            "offer_id": None if kind is None else "tea",
                            "kind": kind,
                            "chance": chance,
                        }
                        for kind, chance in choice.chances.items()
                    ],
                },
            )
    shown = CliRunner().invoke(app, ["--shop", str(tmp_path)], catch_exceptions=False)
    words = " ".join(shown.output.split())
    assert "Own decisions: 400 in the ledger, 400 to learn from." in words
    assert "mail rests on own explored decisions (randomised, n = 400) alone" in words
    assert "campaigns (observational) contradict them" in words
    effects = read_effects(shop)
    assert effects is not None
    assert effects.decisions is not None
    assert effects.decisions.kinds["mail"].effect == pytest.approx(400, abs=120)


def test_without_decisions_the_way_to_them_is_said(tmp_path: Path, app: typer.Typer) -> None:
    planted_shop(tmp_path, effect=300, bias=True)
    shown = CliRunner().invoke(app, ["--shop", str(tmp_path)], catch_exceptions=False)
    words = " ".join(shown.output.split())
    assert "Own decisions: none in the ledger. Set explore_share" in words
    assert "mail rests on 4 campaigns (observational)." in words
