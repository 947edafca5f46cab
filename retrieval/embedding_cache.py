"""Vectors of texts already embedded: what makes an interrupted index build resumable.

SQLite, keyed by embedder and text hash. It can be deleted at any time; only time is lost.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from retrieval.embedder import Embedder, Vectors
from retrieval.errors import StorageError

_BATCH = 256


def text_id(text: str) -> str:
    """Identity of a text: the first 24 hex digits of its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class EmbeddingCache:
    """Embeds each distinct text once, committing after every batch."""

    def __init__(self, file: Path, embedder: Embedder) -> None:
        self._file = file
        self._embedder = embedder

    def embed(self, texts: Sequence[str], on_batch: Callable[[int, int], None]) -> Vectors:
        """Vectors of texts, `[n, dimension]`, from the cache where they are known.

        Args:
            texts: may repeat.
            on_batch: told how many of the distinct unknown texts are embedded, and of how many.

        Raises:
            StorageError: the disk refuses the cache.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (embedder TEXT, text_id TEXT, "
                    "vector BLOB NOT NULL, PRIMARY KEY (embedder, text_id)) WITHOUT ROWID"
                )
                return self._embed(connection, texts, on_batch)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"Cannot write the embedding cache {self._file}: {error}.",
                hint="Free some space or make the index folder writable; the cache itself may be "
                "deleted.",
            ) from error

    def _embed(
        self,
        connection: sqlite3.Connection,
        texts: Sequence[str],
        on_batch: Callable[[int, int], None],
    ) -> Vectors:
        name = self._embedder.name
        ids = [text_id(text) for text in texts]
        distinct = dict(zip(ids, texts, strict=True))
        known: dict[str, bytes] = {
            row[0]: row[1]
            for row in connection.execute(
                "SELECT text_id, vector FROM vectors WHERE embedder = ?", (name,)
            )
            if row[0] in distinct
        }
        # Similar lengths together: less padding, faster batches.
        unknown = sorted(
            (id_ for id_ in distinct if id_ not in known), key=lambda i: len(distinct[i])
        )
        for start in range(0, len(unknown), _BATCH):
            batch = unknown[start : start + _BATCH]
            vectors = self._embedder.embed([distinct[id_] for id_ in batch])
            rows = [
                (name, id_, vector.astype("<f4").tobytes())
                for id_, vector in zip(batch, vectors, strict=True)
            ]
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            connection.commit()
            known.update((row[1], row[2]) for row in rows)
            on_batch(start + len(batch), len(unknown))
        matrix = np.zeros((len(texts), self._embedder.dimension), dtype=np.float32)
        for row_number, id_ in enumerate(ids):
            matrix[row_number] = np.frombuffer(known[id_], dtype="<f4")
        return matrix
