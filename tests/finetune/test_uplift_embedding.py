"""Histories as the language model sees them: padding, repeats and the kept file."""

from pathlib import Path

import numpy as np
import pytest

from finetune import uplift_embedding
from finetune.base_model import find_base_model, load_base_model, token_ids
from finetune.slots import pad_right
from finetune.uplift_embedding import embed_histories

TEXTS = ["Usual gap 7 days", "late", "Usual gap 7 days", "Spend last 60 days as usual, far lower"]


def test_a_text_has_its_own_embedding_whatever_stands_beside_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    files = find_base_model(str(tiny_model))
    vectors = embed_histories(files, TEXTS, cache=tmp_path)
    assert vectors.shape == (4, 32)
    assert np.array_equal(vectors[0], vectors[2])
    model = load_base_model(files)
    for text, vector in zip(TEXTS, vectors, strict=True):
        hidden = model.model(pad_right([token_ids(files, text)])).last_hidden_state
        alone = hidden[0].mean(dim=0).detach().numpy()
        assert np.allclose(vector, alone, atol=1e-5)


def test_the_same_texts_are_read_and_not_run_again(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_base_model(str(tiny_model))
    first = embed_histories(files, TEXTS, cache=tmp_path)
    reports: list[int] = []
    monkeypatch.setattr(uplift_embedding, "load_base_model", None)
    again = embed_histories(
        files, TEXTS[::-1], cache=tmp_path, progress=lambda step, done, total: reports.append(done)
    )
    assert np.array_equal(again, first[::-1])
    assert reports == []
    monkeypatch.undo()
    embed_histories(
        files,
        ["late", "new"],
        cache=tmp_path,
        progress=lambda step, done, total: reports.append(done),
    )
    assert reports == [2]
