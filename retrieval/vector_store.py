"""Chroma, the only file that knows it: three collections in one generation's folder.

Chroma is an index, never the record. A generation is written by one process, closed, and from
then on only read; readers open a new client for a new generation, so nothing stale is served.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from chromadb.errors import ChromaError

from retrieval.embedder import Embedder, Vectors
from retrieval.errors import IndexMissingError, StorageError

_BATCH = 2_000  # Chroma refuses more than 5,461


class CollectionName(StrEnum):
    """What a generation holds."""

    HISTORIES = "histories"  # each customer's history now; ids are customer ids
    OUTCOMES = "outcomes"  # histories at an earlier cut-off, with what came after
    ITEMS = "items"  # distinct item texts; ids are text ids


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredText:
    """One entry of a collection."""

    id: str
    text: str
    metadata: Mapping[str, Any]
    vector: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An entry near a query; `similarity` is the cosine."""

    id: str
    text: str
    metadata: Mapping[str, Any]
    similarity: float


class VectorStore:
    """The collections of one generation's folder.

    Args:
        folder: holds the Chroma files; made if absent.
        embedder: whose vectors are stored; its name and dimension are kept and checked.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self._embedder = embedder
        self._folder = folder
        with _storage_errors(folder):
            self._client: Any = chromadb.PersistentClient(
                str(folder), settings=Settings(anonymized_telemetry=False)
            )
            self._collections = {name: self._open(name) for name in CollectionName}
        self._counts: dict[CollectionName, int] = {}

    def _open(self, name: CollectionName) -> Any:
        collection = self._client.get_or_create_collection(
            name.value,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine"}},
            metadata={"embedder": self._embedder.name, "dimension": self._embedder.dimension},
        )
        stored = collection.metadata or {}
        if stored.get("embedder") != self._embedder.name:
            raise IndexMissingError(
                f"The index was built with the embedder '{stored.get('embedder')}', the shop "
                f"names '{self._embedder.name}'.",
                hint="Build it again: patron index --shop DIR",
            )
        return collection

    def upsert(
        self,
        name: CollectionName,
        ids: Sequence[str],
        texts: Sequence[str],
        vectors: Vectors,
        metadatas: Sequence[Mapping[str, str | int | float | bool]],
    ) -> Iterator[int]:
        """Write entries in batches, yielding how many are written after each.

        Metadata of an id that is there already is replaced, not merged as Chroma does: every
        entry of a collection has the same keys.
        """
        collection = self._collections[name]
        self._counts.clear()
        for start in range(0, len(ids), _BATCH):
            end = min(start + _BATCH, len(ids))
            with _storage_errors(self._folder):
                collection.upsert(
                    ids=list(ids[start:end]),
                    embeddings=vectors[start:end],
                    documents=list(texts[start:end]),
                    metadatas=[dict(metadata) for metadata in metadatas[start:end]],
                )
            yield end

    def delete(self, name: CollectionName, ids: Sequence[str]) -> None:
        """Remove entries."""
        self._counts.clear()
        for start in range(0, len(ids), _BATCH):
            with _storage_errors(self._folder):
                self._collections[name].delete(ids=list(ids[start : start + _BATCH]))

    def get(self, name: CollectionName, ids: Sequence[str]) -> dict[str, StoredText]:
        """Entries by id; those that are not there are left out."""
        found: dict[str, StoredText] = {}
        for start in range(0, len(ids), _BATCH):
            rows = self._collections[name].get(
                ids=list(ids[start : start + _BATCH]),
                include=["documents", "metadatas", "embeddings"],
            )
            for id_, text, metadata, vector in zip(
                rows["ids"], rows["documents"], rows["metadatas"], rows["embeddings"], strict=True
            ):
                found[id_] = StoredText(
                    id=id_, text=text, metadata=metadata, vector=np.asarray(vector, np.float32)
                )
        return found

    def metadata(self, name: CollectionName) -> dict[str, Mapping[str, Any]]:
        """Metadata of every entry, read in pages."""
        collection = self._collections[name]
        everything: dict[str, Mapping[str, Any]] = {}
        for offset in range(0, collection.count(), _BATCH):
            page = collection.get(limit=_BATCH, offset=offset, include=["metadatas"])
            everything.update(zip(page["ids"], page["metadatas"], strict=True))
        return everything

    def nearest(self, name: CollectionName, vector: Vectors, count: int) -> list[Neighbour]:
        """The entries nearest to a vector, nearest first."""
        collection = self._collections[name]
        if name not in self._counts:
            # Counting takes as long as asking; what is only read does not change.
            self._counts[name] = self.count(name)
        count = min(count, self._counts[name])
        if count == 0:
            return []
        rows = collection.query(
            query_embeddings=vector.reshape(1, -1),
            n_results=count,
            include=["documents", "metadatas", "distances"],
        )
        return [
            Neighbour(id=id_, text=text, metadata=metadata, similarity=1.0 - float(distance))
            for id_, text, metadata, distance in zip(
                rows["ids"][0],
                rows["documents"][0],
                rows["metadatas"][0],
                rows["distances"][0],
                strict=True,
            )
        ]

    def nearest_items(self, vector: Vectors, count: int) -> list[Neighbour]:
        """The item texts nearest to a vector, nearest first."""
        return self.nearest(CollectionName.ITEMS, vector, count)

    def count(self, name: CollectionName) -> int:
        """Number of entries."""
        return int(self._collections[name].count())

    def is_healthy(self) -> bool:
        """Whether a stored vector of each collection finds itself."""
        for name in CollectionName:
            sample = self._collections[name].get(limit=1, include=["embeddings"])
            if not sample["ids"]:
                continue
            vector = np.asarray(sample["embeddings"][0], np.float32)
            try:
                nearest = self.nearest(name, vector, 3)
            except ChromaError:
                return False
            if not nearest or nearest[0].similarity < 0.999:
                return False
        return True

    def close(self) -> None:
        """Release the files."""
        self._client.close()


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """Turn Chroma's refusals into one clear sentence."""
    try:
        yield
    except ChromaError as error:
        raise StorageError(
            f"Cannot use the index {folder}: {error}.",
            hint="Free some space or make the directory writable, then run it again.",
        ) from error
