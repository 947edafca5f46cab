import resource
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.errors import ShopError, StorageError
from retrieval.shop import (
    SETTINGS_FILE,
    ChurnDefinition,
    Shop,
    ShopSettings,
    write_atomically,
)
from retrieval.source_names import SourceName
from tests.retrieval.small_log import run_child

_HOLD = """
import sys
from pathlib import Path
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def _settings_file(folder: Path, text: str) -> Path:
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")
    return folder


def test_a_shop_that_is_made_opens_with_the_same_settings(tmp_path: Path) -> None:
    settings = ShopSettings.model_validate(
        {
            "name": "Zoë's",
            "currency": "KWD",
            "timezone": "Asia/Kuwait",
            "churn": {"definition": "decline", "horizon_days": 30},
            "value": {"tiers": ["low", "high"], "quantiles": [0.9]},
            "windows": {"train_cutoff": "2024-01-01T00:00:00Z"},
            "recommend": {
                "sources": ["own repeats", "als"],
                "never_categories": ["Tobacco"],
                "never_items": ["7"],
                "pin_items": ["8", "9"],
                "most_per_category": 2,
                "diversity": 0.5,
                "value": 1,
            },
        }
    )
    Shop.create(tmp_path / "shop", settings)
    opened = Shop.open(str(tmp_path / "shop"))
    assert opened.settings == settings
    assert opened.settings.churn.definition is ChurnDefinition.DECLINE
    assert opened.zone.key == "Asia/Kuwait"
    assert opened.settings.recommend.sources == (SourceName.OWN, SourceName.ALS)


def test_everything_lies_inside_the_directory(tmp_path: Path) -> None:
    shop = Shop.create(tmp_path / "shop", ShopSettings())
    for path in (
        shop.items_file,
        shop.offers_file,
        shop.quarantine,
        shop.index,
        shop.adapters,
        shop.ledger_file,
        shop.log.path,
    ):
        assert path.parent == shop.directory


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert Shop.open(_settings_file(tmp_path, "")).settings == ShopSettings()


def test_a_directory_without_settings_is_no_shop(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match=r"is not a shop: it has no shop\.toml") as caught:
        Shop.open(tmp_path)
    assert f"patron init --shop {tmp_path}" in caught.value.hint


def test_a_shop_is_not_made_twice(tmp_path: Path) -> None:
    Shop.create(tmp_path, ShopSettings(name="First"))
    with pytest.raises(ShopError, match="is a shop already"):
        Shop.create(tmp_path, ShopSettings(name="Second"))
    assert Shop.open(tmp_path).settings.name == "First"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("curency = 'USD'", "'curency'"),
        ("currency = 'DOLLAR'", "'currency'"),
        ("timezone = 'Mars/Olympus'", "'timezone'"),
        ("churn.horizon_days = 3", r"'churn\.horizon_days'"),
        ("churn.horizon_days = 'many'", r"'churn\.horizon_days'"),
        ("churn.definition = 'bored'", r"'churn\.definition'"),
        ("[value]\ntiers = ['low', 'high']", "'value'"),
        ("[value]\nquantiles = [0.8, 0.5]", "'value'"),
        ("[value]\ndiscount_rate = 1.5", r"'value\.discount_rate'"),
        ("[limits]\nhistory_tokens = 4", r"'limits\.history_tokens'"),
        ("[limits]\nmax_bad_share = 2", r"'limits\.max_bad_share'"),
        ("[models]\nembeder = 'hash'", r"'models\.embeder'"),
        ("[recommend]\nsources = ['horoscope']", r"'recommend\.sources\.0'"),
        ("[recommend]\nsources = []", r"'recommend\.sources'"),
        ("[recommend]\ndiversity = 1.1", r"'recommend\.diversity'"),
        ("[recommend]\nvalue = -0.1", r"'recommend\.value'"),
        ("[recommend]\nmost_per_category = -1", r"'recommend\.most_per_category'"),
        ("[recommend]\nnever_item = ['7']", r"'recommend\.never_item'"),
        ("[windows]\ntest_cutoff = 'soon'", r"'windows\.test_cutoff'"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ShopError, match=key) as caught:
        Shop.open(_settings_file(tmp_path, text))
    assert SETTINGS_FILE in caught.value.message


@pytest.mark.parametrize("content", [b"currency = ", b"\xff\xfe\x00", b"[churn\n"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SETTINGS_FILE).write_bytes(content)
    with pytest.raises(ShopError, match=r"shop\.toml cannot be read"):
        Shop.open(tmp_path)


def test_a_lock_held_by_another_process_is_refused(tmp_path: Path) -> None:
    shop = Shop.create(tmp_path, ShopSettings())
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / ".index.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ShopError, match="Another process is running index"), shop.lock("index"):
        pass
    with shop.lock("ingest"):
        pass
    holder.kill()
    holder.communicate()
    with shop.lock("index"):
        pass


def test_a_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    shop = Shop.create(tmp_path, ShopSettings())
    with pytest.raises(RuntimeError, match="inside"), shop.lock("index"):
        raise RuntimeError("inside")
    with shop.lock("index"):
        pass


def test_a_lock_where_nothing_can_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shop = Shop(tmp_path / "file", ShopSettings())
    with pytest.raises(StorageError, match="Cannot write to"), shop.lock("index"):
        pass


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "a.bin"
    write_atomically(file, b"a long first content")
    write_atomically(file, b"short")
    assert file.read_bytes() == b"short"
    assert [path.name for path in file.parent.iterdir()] == ["a.bin"]


def test_writing_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(StorageError, match="Cannot write") as caught:
        write_atomically(tmp_path / "file" / "a.bin", b"x")
    assert "writable" in caught.value.hint
    assert (tmp_path / "file").read_text() == "old"


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    write_atomically(file, b"old")
    assert run_child(_write_on_a_full_disk, file) == 42
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def _write_on_a_full_disk(file: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
    try:
        write_atomically(file, b"new" * 1_000)
    except StorageError:
        sys.exit(42)
