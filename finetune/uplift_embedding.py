"""The language model's view of a history as numbers, for learners of effects.

A history's embedding is the mean of the base model's last hidden states over its tokens; no adapter
is loaded, so an embedding depends on the text and the base model alone.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune.base_model import BaseModelFiles, load_base_model, token_ids
from finetune.slots import pad_right
from retrieval.progress import Progress, no_progress
from retrieval.shop import write_atomically

_BATCH = 64


def embed_histories(
    files: BaseModelFiles,
    texts: Sequence[str],
    *,
    cache: Path,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Embeddings of histories `[n, width]`, in the order of the texts.

    Equal texts are run once. All are kept in one file whose name is the hash of the base model and
    the texts, so that the next call with both alike reads them.

    Args:
        files: base model.
        texts: histories.
        cache: folder for the file.
        progress: told of every batch.
    """
    unique, positions = np.unique(np.array(texts, dtype=object), return_inverse=True)
    key = hashlib.sha256("\0".join([files.sha256, *unique]).encode()).hexdigest()[:16]
    file = cache / f"histories-{key}.npy"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        vectors = _embed(files, list(unique), progress)
        write_atomically(file, _as_npy(vectors))
    found: NDArray[np.float32] = np.load(file, allow_pickle=False)
    return found[positions]


def _embed(files: BaseModelFiles, texts: Sequence[str], progress: Progress) -> NDArray[np.float32]:
    model: Any = load_base_model(files)
    prompts = [token_ids(files, text) for text in texts]
    # Texts of one length together: no token is padding twice.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    vectors = np.empty((len(prompts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        batch = [prompts[index] for index in chosen]
        with torch.inference_mode():
            hidden = model.model(pad_right(batch)).last_hidden_state
        for row, (index, prompt) in enumerate(zip(chosen, batch, strict=True)):
            vectors[index] = hidden[row, : len(prompt)].mean(dim=0).numpy()
        progress("Embedding histories", start + len(chosen), len(order))
    return vectors


def _as_npy(vectors: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, vectors)
    return stream.getvalue()
