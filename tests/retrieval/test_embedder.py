"""One suite for every embedder."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.embedder import Embedder, HashEmbedder, open_embedder, packaged_is_intact
from retrieval.errors import ModelMissingError

_TEXTS = ["Green tea 20 bags", "green teas, 40 bags", "Motor oil 5W-30", "", "Ünïcode 緑茶"]


@pytest.fixture(scope="module", params=["hash", "minilm"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return open_embedder(request.param)


def test_vectors_have_length_one(embedder: Embedder) -> None:
    vectors = embedder.embed(_TEXTS)
    assert vectors.shape == (len(_TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_vectors_stand_in_the_order_of_the_texts(embedder: Embedder) -> None:
    forward, backward = embedder.embed(_TEXTS), embedder.embed(_TEXTS[::-1])
    np.testing.assert_allclose(forward, backward[::-1], atol=1e-5)
    assert not np.allclose(forward[0], forward[2], atol=0.1)


def test_a_text_has_one_vector_whatever_its_company(embedder: Embedder) -> None:
    together = embedder.embed(_TEXTS)
    for row, text in enumerate(_TEXTS):
        np.testing.assert_allclose(embedder.embed([text])[0], together[row], atol=1e-5)


def test_the_same_texts_give_the_same_vectors(embedder: Embedder) -> None:
    np.testing.assert_array_equal(embedder.embed(_TEXTS), embedder.embed(_TEXTS))


def test_similar_texts_are_nearer(embedder: Embedder) -> None:
    tea, other_tea, oil = embedder.embed(_TEXTS[:3])
    assert tea @ other_tea > tea @ oil + 0.2


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_embedders_have_names_of_their_own() -> None:
    names = {open_embedder("hash").name, open_embedder("minilm").name, HashEmbedder(64).name}
    assert len(names) == 3


def test_two_embedders_of_a_name_agree() -> None:
    np.testing.assert_array_equal(HashEmbedder().embed(_TEXTS), HashEmbedder().embed(_TEXTS))


def test_the_packaged_weights_are_those_that_were_checked() -> None:
    assert packaged_is_intact()


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="is not a model folder") as caught:
        open_embedder(str(tmp_path / "none"))
    assert "models.embedder = 'minilm'" in caught.value.hint
