import resource
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from retrieval.errors import StorageError
from retrieval.event_log import EventLog
from retrieval.events import Kind
from tests.retrieval.small_log import append, as_table, bought, log_of, moment, run_child

_JUST_BEFORE_MIDNIGHT = "2024-06-30T23:30"  # 00:30 on 1 July in London


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    return log_of(
        tmp_path,
        [
            bought("b", "2024-01-03", "o3", "tea", 300),
            bought("a", "2024-01-02", "o2", "milk", 120),
            bought("a", "2024-01-01", "o1", "milk", 100),
            bought("a", "2024-01-04", "o2", "milk", -120, Kind.RETURN),
            bought("a", "2024-01-05", "", "cake", 0, Kind.VIEW),
        ],
    )


def _rows(log: EventLog) -> list[dict[str, Any]]:
    return log.query("SELECT * FROM events ORDER BY event_id").to_pylist()


def test_a_log_that_was_never_written_is_empty(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    assert log.version() == -1
    assert log.span() is None
    assert log.totals() == {"events": 0, "customers": 0, "spend": 0}
    assert log.customer_events("a").num_rows == 0
    assert not log.has_customer("a")
    assert log.event_ids().num_rows == 0
    assert not log.compact()
    assert not (tmp_path / "log").exists()


def test_each_append_is_a_version(log: EventLog) -> None:
    assert log.version() == 0
    assert append(log, [bought("c", "2024-02-01", "o4", "tea", 300)]) == 1
    assert log.version() == 1
    assert len(_rows(log)) == 6


def test_the_log_as_it_was_does_not_see_what_came_since(log: EventLog) -> None:
    before = _rows(log)
    append(log, [bought("c", "2024-02-01", "o4", "tea", 300)])
    was = log.as_it_was(0)
    assert (was.version(), log.version()) == (0, 1)
    assert _rows(was) == before
    assert was.span() != log.span()
    append(log, [bought("d", "2024-03-01", "o5", "tea", 300)])
    assert _rows(was) == before
    with pytest.raises(StorageError, match="cannot be read"):
        log.as_it_was(7).version()


def test_what_is_appended_is_what_is_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    wanted = as_table([bought("a", "2024-01-01T10:11:12", "o1", "milk", 129)], "till.csv")
    log.append(wanted, source="till.csv")
    assert _rows(log) == wanted.to_pylist()


def test_totals_and_span_count_purchases_only(log: EventLog) -> None:
    assert log.totals() == {"events": 5, "customers": 2, "spend": 520}
    assert log.span() == (moment("2024-01-01"), moment("2024-01-03"))


def test_the_span_follows_new_events(log: EventLog) -> None:
    log.span()
    append(log, [bought("a", "2024-03-01", "o9", "milk", 1)])
    assert log.span() == (moment("2024-01-01"), moment("2024-03-01"))


def test_a_second_reader_sees_the_first_ones_commits(log: EventLog) -> None:
    other = EventLog(log.path)
    assert other.version() == 0
    append(log, [bought("c", "2024-02-01", "o4", "tea", 300)])
    assert other.version() == 1
    assert other.has_customer("c")
    append(other, [bought("d", "2024-02-02", "o5", "tea", 300)])
    assert log.has_customer("d")
    assert log.totals() == other.totals()


def test_a_reader_opened_before_the_first_commit_sees_it(tmp_path: Path) -> None:
    early = EventLog(tmp_path / "log")
    assert early.version() == -1
    log_of(tmp_path, [bought("a", "2024-01-01", "o1", "milk", 1)])
    assert early.version() == 0
    assert early.has_customer("a")


def test_a_customers_events_come_oldest_first(log: EventLog) -> None:
    rows = log.customer_events("a").to_pylist()
    assert [(row["timestamp"].day, row["kind"]) for row in rows] == [
        (1, "purchase"),
        (2, "purchase"),
        (4, "return"),
        (5, "view"),
    ]


@pytest.mark.parametrize(
    ("until", "count"),
    [("2024-01-01", 0), ("2024-01-01T00:01", 1), ("2024-01-02", 1), ("2024-01-06", 4)],
)
def test_until_is_exclusive(log: EventLog, until: str, count: int) -> None:
    assert log.customer_events("a", until=moment(until)).num_rows == count


def test_until_may_be_in_any_time_zone(log: EventLog) -> None:
    until = moment("2024-01-02").astimezone(ZoneInfo("Asia/Tokyo"))
    assert log.customer_events("a", until=until).num_rows == 1


@pytest.mark.parametrize(
    ("timezone", "local"),
    [
        ("UTC", datetime(2024, 6, 30, 23, 30)),
        ("Europe/London", datetime(2024, 7, 1, 0, 30)),
        ("America/New_York", datetime(2024, 6, 30, 19, 30)),
        ("Asia/Kathmandu", datetime(2024, 7, 1, 5, 15)),
    ],
)
def test_moments_are_read_in_the_shops_zone(tmp_path: Path, timezone: str, local: datetime) -> None:
    log = log_of(tmp_path, [bought("a", _JUST_BEFORE_MIDNIGHT, "o1", "milk", 1)], timezone)
    by_customer = log.customer_events("a").to_pylist()[0]["timestamp"]
    by_query = log.query("SELECT timestamp FROM events").to_pylist()[0]["timestamp"]
    span = log.span()
    assert span is not None
    for stored in (by_customer, by_query, *span):
        assert stored == moment(_JUST_BEFORE_MIDNIGHT)
        assert stored.replace(tzinfo=None) == local


def test_one_customer_reads_the_same_as_filtering_all(tmp_path: Path) -> None:
    customers = ["a", "b", "O'Brien", "a' OR '1'='1", "ä"]
    start = moment("2024-01-01")
    log = EventLog(tmp_path / "log")
    for part in range(3):
        append(
            log,
            [
                bought(customers[n % 5], start + timedelta(hours=n * 7), f"o{n}", "x", n)
                for n in range(part * 20, part * 20 + 20)
            ],
        )
    rows = _rows(log)
    assert len(rows) == 60
    for customer in [*customers, "nobody", ""]:
        expected = [row for row in rows if row["customer_id"] == customer]
        by_time = sorted(expected, key=lambda row: row["timestamp"])
        assert log.customer_events(customer).to_pylist() == by_time
        picked = log.query("SELECT * FROM events ORDER BY event_id", customer_ids=[customer])
        assert picked.to_pylist() == expected
        assert log.has_customer(customer) is bool(expected)
    assert log.query("SELECT * FROM events", customer_ids=[]).num_rows == 0


def test_parameters_are_values(log: EventLog) -> None:
    sql = "SELECT count(*) AS n FROM events WHERE customer_id = $who"
    assert log.query(sql, {"who": "a"}).to_pylist() == [{"n": 4}]
    assert log.query(sql, {"who": "a' OR true --"}).to_pylist() == [{"n": 0}]


def test_compaction_merges_files_and_keeps_events(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    for number in range(33):
        append(log, [bought(f"c{number % 3}", "2024-01-01", f"o{number}", "milk", number)])
        if number == 31:
            assert not log.compact(), "32 files are few enough"
    rows, reader = _rows(log), EventLog(log.path)
    assert len(rows) == 33
    assert log.compact()
    assert _rows(log) == rows
    assert _rows(reader) == rows
    assert not log.compact(), "one file is left"
    append(log, [bought("c9", "2024-01-02", "o99", "milk", 1)])
    assert _rows(reader) == _rows(log)
    assert len(_rows(log)) == 34


def test_a_log_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("not a folder")
    events = as_table([bought("a", "2024-01-01", "o1", "milk", 1)], "till.csv")
    with pytest.raises(StorageError, match="Cannot write to") as caught:
        EventLog(tmp_path / "log").append(events, source="till.csv")
    assert "writable" in caught.value.hint


def test_a_full_disk_is_a_storage_error_and_changes_nothing(log: EventLog) -> None:
    rows = _rows(log)
    assert run_child(_append_on_a_full_disk, log.path) == 42
    assert log.version() == 0
    assert _rows(log) == rows


def _append_on_a_full_disk(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        append(EventLog(path), [bought("z", "2024-05-01", "o9", "milk", 1)])
    except StorageError as error:
        sys.exit(42 if "Free some space" in error.hint else 1)
