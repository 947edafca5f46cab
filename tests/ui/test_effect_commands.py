from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from finetune.offer_effects import read_effects
from retrieval.shop import Shop
from tests.finetune.planted_campaigns import planted_shop
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
