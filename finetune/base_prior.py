"""patron-base: the prior that comes with Patron, learnt in other shops.

It answers for a shop that has no adapter of its own yet, and has a say in the prior of one that
has (`finetune.cross_shop_churn`). `python -m bench.base_prior` makes it.
"""

import hashlib
from importlib import resources
from pathlib import Path

from finetune.cross_shop import CrossShopPrior
from finetune.errors import AdapterError

BASE_ID = "patron-base"
BASE_FILE = "cross_shop.json"


def base_folder() -> Path:
    """Where it lies, beside the shipped adapters; it has no manifest, for it is none of them."""
    return Path(str(resources.files("finetune"))) / "shipped" / BASE_ID


def base_sha256() -> str:
    """Hash of the file.

    Raises:
        AdapterError: it is missing.
    """
    return hashlib.sha256(_content()).hexdigest()


def load_base_prior() -> CrossShopPrior:
    """Read it.

    Raises:
        AdapterError: it is missing or damaged.
    """
    try:
        return CrossShopPrior.from_json(_content().decode())
    except ValueError as error:
        raise _unusable(str(error)) from error


def _content() -> bytes:
    try:
        return (base_folder() / BASE_FILE).read_bytes()
    except OSError as error:
        raise _unusable(str(error)) from error


def _unusable(why: str) -> AdapterError:
    return AdapterError(
        f"The {base_folder() / BASE_FILE} that comes with Patron cannot be used: {why}.",
        hint="Install Patron again.",
    )
