"""A tiny model and a tiny shop, made on the spot, real in every part."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from retrieval.shop import Shop
from tests.tiny_model import build_tiny_model
from tests.tiny_shop import build_trained_shop, copy_shop

# A busy machine is no fault of the code.
settings.register_profile("patron", deadline=None)
# For tests that name it: thousands of runs instead of a hundred.
settings.register_profile("deep", deadline=None, max_examples=2_000)
settings.load_profile("patron")

# Threads that wait for one another cost more than a tiny model's whole pass.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a base model of a few thousand weights."""
    return build_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def _trained_shop(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return build_trained_shop(tmp_path_factory.mktemp("shops") / "trained", tiny_model)


@pytest.fixture
def shop(_trained_shop: Path, tmp_path: Path) -> Shop:
    """A shop of its own for each test: ingested, indexed, fine-tuned, with offers."""
    return copy_shop(_trained_shop, tmp_path / "shop")
