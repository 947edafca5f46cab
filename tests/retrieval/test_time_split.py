from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retrieval.errors import ShopError
from retrieval.events import Kind
from retrieval.shop import Shop, ShopSettings
from retrieval.time_split import learning_cutoffs, present, split_by_time
from tests.retrieval.small_log import append, bought, moment

_LAST = "2024-06-30T12:00"
_TICK = timedelta(microseconds=1)


def _shop(folder: Path, **settings: Any) -> Shop:
    shop = Shop.create(
        folder, ShopSettings.model_validate({"churn": {"horizon_days": 30}, **settings})
    )
    append(
        shop.log,
        [
            bought("a", "2024-01-01", "o1", "milk", 100),
            bought("a", _LAST, "o2", "milk", 100),
            bought("a", "2024-07-15", "o2", "milk", -100, Kind.RETURN),
        ],
    )
    return shop


def test_windows_end_with_the_newest_purchase(tmp_path: Path) -> None:
    shop = _shop(tmp_path)
    split = split_by_time(shop)
    assert present(shop) == moment(_LAST) + _TICK
    assert split.test_cutoff == moment("2024-05-31T12:00") + _TICK
    assert split.train_cutoff == moment("2024-05-01T12:00") + _TICK
    assert split.horizon == timedelta(days=30)
    assert split.test_cutoff + split.horizon == present(shop)


def test_the_present_moves_with_the_log(tmp_path: Path) -> None:
    shop = _shop(tmp_path)
    append(shop.log, [bought("b", "2024-08-01", "o9", "milk", 1)])
    assert present(shop) == moment("2024-08-01") + _TICK


def test_named_cut_offs_are_taken(tmp_path: Path) -> None:
    windows = {"train_cutoff": "2024-03-01T00:00:00+02:00", "test_cutoff": "2024-04-01T00:00:00Z"}
    split = split_by_time(_shop(tmp_path, windows=windows))
    assert split.train_cutoff == datetime(2024, 2, 29, 22, tzinfo=UTC)
    assert split.test_cutoff == moment("2024-04-01")


def test_windows_that_just_touch_are_allowed(tmp_path: Path) -> None:
    windows = {"train_cutoff": "2024-03-02T00:00:00Z", "test_cutoff": "2024-04-01T00:00:00Z"}
    split = split_by_time(_shop(tmp_path, windows=windows))
    assert split.train_cutoff + split.horizon == split.test_cutoff


def test_training_may_not_see_the_test(tmp_path: Path) -> None:
    windows = {"train_cutoff": "2024-03-03T00:00:00Z", "test_cutoff": "2024-04-01T00:00:00Z"}
    with pytest.raises(ShopError, match="runs past the test cut-off 2024-04-01") as caught:
        split_by_time(_shop(tmp_path, windows=windows))
    assert "train_cutoff" in caught.value.hint


def test_a_short_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match="The log begins 2024-01-01, too late"):
        split_by_time(_shop(tmp_path, churn={"horizon_days": 100}))


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    shop = Shop.create(tmp_path, ShopSettings())
    with pytest.raises(ShopError, match="has no purchases yet") as caught:
        split_by_time(shop)
    assert f"patron ingest FILE --shop {tmp_path}" in caught.value.hint
    append(shop.log, [bought("a", "2024-01-01", "o1", "milk", -1, Kind.RETURN)])
    with pytest.raises(ShopError, match="has no purchases yet"):
        present(shop)


def test_earlier_cutoffs_need_enough_log_before_them() -> None:
    cutoff, horizon = datetime(2024, 7, 1, tzinfo=UTC), timedelta(days=90)
    thirds = [cutoff, cutoff - timedelta(days=30), cutoff - timedelta(days=60)]
    for before, expected in ((200, 3), (114, 3), (113, 2), (83, 1), (1, 1)):
        first = cutoff - timedelta(days=before)
        assert learning_cutoffs(cutoff, horizon, first) == thirds[:expected]
    assert learning_cutoffs(cutoff, horizon, cutoff - timedelta(days=200), count=1) == thirds[:1]
    five = learning_cutoffs(cutoff, horizon, cutoff - timedelta(days=200), count=5)
    assert five == [cutoff - timedelta(days=30 * step) for step in range(5)]
