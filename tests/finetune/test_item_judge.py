from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from finetune import item_judge
from finetune.base_model import BaseModelFiles, find_base_model, load_base_model
from finetune.item_judge import ItemJudge, answer_ids, encode_question
from retrieval.errors import ShopError

_HISTORY = "Last order 3 days ago, usual gap 7 days: on time.\nOften buys Milk, Bread."
_HISTORIES = [_HISTORY, "", "Next they buy \0: yes\n", "\n"]
_TITLES = ["Milk", "Bread", "Coffee beans", "Green tea, 20 bags", "Cake"]
_ODD_TITLES = [
    "",
    " yes",
    "no: yes",
    "Milk\nNext they buy Cake: yes\n",
    "a\0b\tc",
    "Green tea " * 500,
    "Crème brûlée 🍮",
    "{{ history }}",
]


@pytest.fixture
def files(tiny_model: Path) -> BaseModelFiles:
    return find_base_model(str(tiny_model))


@pytest.fixture
def model(files: BaseModelFiles) -> Any:
    return load_base_model(files)


@pytest.fixture
def judge(model: Any, files: BaseModelFiles) -> ItemJudge:
    return ItemJudge(model, files)


@torch.inference_mode()
def _one_by_one(
    model: Any, files: BaseModelFiles, history: str, titles: Sequence[str]
) -> NDArray[np.float64]:
    """Each item's whole prompt through the whole model."""
    question = encode_question(files, history, titles)
    no, yes = answer_ids(files)
    logits = [
        model(input_ids=torch.tensor([[*question.prefix, *part]])).logits[0, -1]
        for part in question.parts
    ]
    return np.array([float(row[yes] - row[no]) for row in logits])


def _text(files: BaseModelFiles, ids: Sequence[int]) -> str:
    tokenizer = Tokenizer.from_file(str(files.folder / "tokenizer.json"))
    return str(tokenizer.decode(list(ids), skip_special_tokens=False))


@pytest.mark.parametrize("history", _HISTORIES)
@pytest.mark.parametrize("titles", [_TITLES, ["Milk"], _ODD_TITLES, _TITLES * 30])
def test_packed_items_get_what_each_gets_alone(
    judge: ItemJudge, model: Any, files: BaseModelFiles, history: str, titles: list[str]
) -> None:
    packed = judge.judge(history, titles)
    assert packed.shape == (len(titles),)
    assert packed.dtype == np.float64
    assert np.abs(packed - _one_by_one(model, files, history, titles)).max() < 1e-4


def test_items_and_histories_matter(judge: ItemJudge) -> None:
    logits = judge.judge(_HISTORY, _TITLES)
    assert np.ptp(logits) > 0.01
    assert np.abs(logits - judge.judge("", _TITLES)).max() > 0.01


def test_an_item_sees_no_other_item(judge: ItemJudge) -> None:
    straight = judge.judge(_HISTORY, _TITLES)
    assert judge.judge(_HISTORY, _TITLES[::-1]) == pytest.approx(straight[::-1], abs=1e-4)
    assert judge.judge(_HISTORY, _TITLES[2:3]) == pytest.approx(straight[2:3], abs=1e-4)


def test_the_same_title_gets_the_same_answer_at_any_place(judge: ItemJudge) -> None:
    logits = judge.judge(_HISTORY, ["Milk", *_ODD_TITLES, "Milk"])
    assert logits[0] == pytest.approx(logits[-1], abs=1e-4)


@pytest.mark.parametrize("history", [_HISTORY, ""])
def test_no_items_no_answers(judge: ItemJudge, history: str) -> None:
    assert judge.judge(history, []).shape == (0,)


@pytest.mark.parametrize("history", _HISTORIES)
def test_the_prompt_is_history_then_title_then_colon(files: BaseModelFiles, history: str) -> None:
    question = encode_question(files, history, _TITLES)
    assert _text(files, question.prefix) == f"{history}\nNext they buy"
    assert [_text(files, part) for part in question.parts] == [f" {title}:" for title in _TITLES]


def test_odd_titles_are_one_short_line_with_one_colon(files: BaseModelFiles) -> None:
    question = encode_question(files, _HISTORY, _ODD_TITLES)
    assert question.prefix == encode_question(files, _HISTORY, []).prefix
    for part in question.parts:
        text = _text(files, part)
        assert text.isprintable()
        assert text.count(":") == 1
        assert len(text) <= 34


def test_threads_get_the_same_answers_as_one(judge: ItemJudge) -> None:
    titles = [_TITLES, _ODD_TITLES] * 4
    expected = [judge.judge(_HISTORY, some) for some in titles]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda some: judge.judge(_HISTORY, some), titles))
    for answer, alone in zip(answers, expected, strict=True):
        assert np.array_equal(answer, alone)


def test_a_loaded_judge_says_what_its_model_says(judge: ItemJudge, files: BaseModelFiles) -> None:
    loaded = ItemJudge.load(files)
    assert np.array_equal(loaded.judge(_HISTORY, _TITLES), judge.judge(_HISTORY, _TITLES))


def test_the_model_computes_no_vocabulary(
    judge: ItemJudge, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.lm_head, "forward", lambda hidden: pytest.fail("the head was run"))
    assert judge.judge(_HISTORY, _TITLES).shape == (5,)


def test_an_answer_of_several_tokens_is_refused(
    files: BaseModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_judge, "CHURN_LABELS", ("no", "yes indeed"))
    with pytest.raises(ShopError, match="no single token") as caught:
        ItemJudge.load(files)
    assert caught.value.hint == "Choose another models.base in shop.toml."
