"""The README's Python example, run as it stands."""

import re
from pathlib import Path

import pytest

from retrieval.shop import Shop
from tests.tiny_shop import events, settings
from tests.ui.test_cli import write_csv

README = Path(__file__).parent.parent / "README.md"


def test_the_python_example(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    Shop.create("shop", settings(tiny_model))
    write_csv(Path("orders.csv"), events())
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    out = capsys.readouterr().out
    assert f"{len(events())} of {len(events())} rows accepted" in out
    assert "Bought in" in out
    assert "the churn risk is" in out


def test_the_commands_named_exist() -> None:
    from ui.cli import app

    known = {
        command.name or command.callback.__name__  # type: ignore[union-attr]
        for command in app.registered_commands
    } | {group.name for group in app.registered_groups}
    named = set(re.findall(r"^patron ([a-z]+)", README.read_text(), re.M))
    assert named <= known
