import hashlib
from pathlib import Path

import pytest

import prompts
from prompts.errors import PromptError
from prompts.library import Prompt, load_prompt

_FOLDER = Path(prompts.__file__).parent


def _prompt(template: str, *variables: str) -> Prompt:
    return Prompt(name="test", template=template, variables=frozenset(variables), sha256="")


def test_a_prompt_is_its_file() -> None:
    prompt = load_prompt("predict")
    content = (_FOLDER / "predict.txt").read_bytes()
    assert prompt.template == content.decode()
    assert prompt.sha256 == hashlib.sha256(content).hexdigest()
    assert prompt.variables == {"history"}


def test_rendering_fills_in_every_variable() -> None:
    assert load_prompt("predict").render(history="Bought tea.") == (
        "Bought tea.\nValue tier:\nLeaving:"
    )


def test_every_prompt_file_loads() -> None:
    names = [file.stem for file in _FOLDER.glob("*.txt")]
    assert {"history", "predict", "write"} <= set(names)
    for name in names:
        assert load_prompt(name).name == name


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(PromptError, match="missing: history; extra: none") as caught:
        load_prompt("predict").render()
    assert caught.value.hint == "Give exactly: history."
    assert caught.value.code == "prompt_error"


def test_an_extra_variable_is_named() -> None:
    with pytest.raises(PromptError, match="missing: none; extra: note"):
        load_prompt("predict").render(history="x", note="y")


def test_a_variable_that_only_a_branch_uses_is_wanted_too() -> None:
    with pytest.raises(PromptError, match="missing: returns;"):
        load_prompt("history").render(
            **dict.fromkeys(load_prompt("history").variables - {"returns"}, "1")
        )


def test_values_are_data_not_templates() -> None:
    assert _prompt("{{ a }}", "a").render(a="{{ 7 * 6 }} <b> {% raw %}") == (
        "{{ 7 * 6 }} <b> {% raw %}"
    )


@pytest.mark.parametrize("name", ["nothing", "", "../pyproject", "predict.txt"])
def test_an_unknown_prompt_is_refused(name: str) -> None:
    with pytest.raises(PromptError, match="There is no prompt"):
        load_prompt(name)


def test_the_hash_tells_contents_apart() -> None:
    names = [file.stem for file in _FOLDER.glob("*.txt")]
    assert len({load_prompt(name).sha256 for name in names}) == len(names)


def test_a_changed_file_has_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prompts.library.resources.files", lambda package: tmp_path)
    load_prompt.cache_clear()
    try:
        (tmp_path / "ask.txt").write_text("Who is {{ who }}?\n", encoding="utf-8")
        before = load_prompt("ask")
        load_prompt.cache_clear()
        (tmp_path / "ask.txt").write_text("Who is {{ who }}!\n", encoding="utf-8")
        after = load_prompt("ask")
    finally:
        load_prompt.cache_clear()
    assert before.variables == after.variables == {"who"}
    assert before.sha256 != after.sha256
