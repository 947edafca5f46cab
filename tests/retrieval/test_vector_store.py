from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedder import HashEmbedder, Vectors
from retrieval.errors import IndexMissingError
from retrieval.vector_store import CollectionName, VectorStore

_ITEMS, _HISTORIES = CollectionName.ITEMS, CollectionName.HISTORIES
_EMBEDDER = HashEmbedder(4)
_X, _Y, _Z = np.eye(4, dtype=np.float32)[:3]
_XY = ((_X * 3 + _Y) / np.sqrt(10)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    store = VectorStore(tmp_path / "chroma", _EMBEDDER)
    yield store
    store.close()


def _put(
    store: VectorStore,
    ids: Sequence[str],
    vectors: Sequence[Vectors],
    metadata: Mapping[str, str | int | float | bool] | None = None,
    name: CollectionName = _ITEMS,
) -> list[int]:
    return list(
        store.upsert(
            name,
            ids,
            [f"text of {id_}" for id_ in ids],
            np.stack(vectors),
            [metadata or {"n": number} for number in range(len(ids))],
        )
    )


def test_what_is_put_is_got(store: VectorStore) -> None:
    assert _put(store, ["x", "y"], [_X, _Y], {"s": "a", "i": 1, "f": 0.5, "b": True}) == [2]
    found = store.get(_ITEMS, ["y", "x"])
    assert {id_: entry.text for id_, entry in found.items()} == {
        "x": "text of x",
        "y": "text of y",
    }
    assert found["x"].metadata == {"s": "a", "i": 1, "f": 0.5, "b": True}
    np.testing.assert_array_equal(found["y"].vector, _Y)
    assert store.count(_ITEMS) == 2


def test_missing_ids_are_left_out(store: VectorStore) -> None:
    _put(store, ["x"], [_X])
    assert set(store.get(_ITEMS, ["nothing", "x", "none"])) == {"x"}
    assert store.get(_ITEMS, ["nothing"]) == {}
    assert store.get(_ITEMS, []) == {}


def test_putting_again_replaces(store: VectorStore) -> None:
    _put(store, ["x", "y"], [_X, _Y], {"colour": "red", "size": 1})
    _put(store, ["x"], [_Z], {"colour": "blue", "size": 2})
    found = store.get(_ITEMS, ["x", "y"])
    assert store.count(_ITEMS) == 2
    assert found["x"].metadata == {"colour": "blue", "size": 2}
    np.testing.assert_array_equal(found["x"].vector, _Z)
    assert found["y"].metadata == {"colour": "red", "size": 1}
    assert [near.id for near in store.nearest(_ITEMS, _Z, 1)] == ["x"]


def test_deleted_entries_are_gone(store: VectorStore) -> None:
    _put(store, ["x", "y"], [_X, _Y])
    store.delete(_ITEMS, ["x", "nothing"])
    store.delete(_ITEMS, [])
    assert set(store.get(_ITEMS, ["x", "y"])) == {"y"}
    assert [near.id for near in store.nearest(_ITEMS, _X, 5)] == ["y"]


def test_collections_are_apart(store: VectorStore) -> None:
    _put(store, ["x"], [_X], name=_ITEMS)
    _put(store, ["x"], [_Y], name=_HISTORIES)
    np.testing.assert_array_equal(store.get(_ITEMS, ["x"])["x"].vector, _X)
    np.testing.assert_array_equal(store.get(_HISTORIES, ["x"])["x"].vector, _Y)
    assert store.count(CollectionName.OUTCOMES) == 0


def test_nearest_is_by_cosine_nearest_first(store: VectorStore) -> None:
    _put(store, ["z", "y", "xy", "x"], [_Z, _Y, _XY, _X])
    near = store.nearest(_ITEMS, _X, 3)
    assert [entry.id for entry in near][:2] == ["x", "xy"]
    assert near[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert near[1].similarity == pytest.approx(3 / np.sqrt(10), abs=1e-5)
    assert near[2].similarity == pytest.approx(0.0, abs=1e-5)
    assert near[0].text == "text of x"
    assert [n.id for n in store.nearest_items(_X, 3)] == [n.id for n in near]


def test_nearest_gives_no_more_than_there_are(store: VectorStore) -> None:
    assert store.nearest(_ITEMS, _X, 5) == []
    _put(store, ["x"], [_X])
    assert len(store.nearest(_ITEMS, _X, 5)) == 1


def test_a_store_comes_back_from_its_folder(tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "chroma", _EMBEDDER)
    _put(store, ["x", "y"], [_X, _Y])
    store.close()
    (tmp_path / "chroma").rename(tmp_path / "moved")
    again = VectorStore(tmp_path / "moved", _EMBEDDER)
    assert set(again.metadata(_ITEMS)) == {"x", "y"}
    assert [near.id for near in again.nearest(_ITEMS, _Y, 1)] == ["y"]
    assert again.is_healthy()
    again.close()


def test_another_embedder_is_refused(tmp_path: Path) -> None:
    VectorStore(tmp_path / "chroma", _EMBEDDER).close()
    with pytest.raises(IndexMissingError, match="'hash-4', the shop names 'hash-8'") as caught:
        VectorStore(tmp_path / "chroma", HashEmbedder(8))
    assert "patron index" in caught.value.hint


def test_more_entries_than_chroma_takes_at_once(store: VectorStore) -> None:
    count = 5_500
    angles = np.linspace(0, np.pi, count, dtype=np.float32)
    vectors = np.zeros((count, 4), dtype=np.float32)
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    ids = [f"i{number:04d}" for number in range(count)]
    assert _put(store, ids, list(vectors)) == [2_000, 4_000, 5_500]
    assert store.count(_ITEMS) == count
    assert {id_: m["n"] for id_, m in store.metadata(_ITEMS).items()} == {
        id_: number for number, id_ in enumerate(ids)
    }
    assert set(store.get(_ITEMS, ids)) == set(ids)
    assert store.nearest(_ITEMS, vectors[2_750], 1)[0].similarity > 0.9999
    assert store.is_healthy()
    store.delete(_ITEMS, ids[:5_499])
    assert set(store.metadata(_ITEMS)) == {ids[-1]}
