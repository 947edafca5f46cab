"""The file: threads, processes, forks, kills, old versions, damage and full disks."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from agent import ledger_file
from agent.errors import LedgerError
from agent.ledger import Balance, Ledger
from retrieval.errors import StorageError
from tests.agent.ledger_hand_made import NOW, claim, offer, redeem


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


@pytest.fixture(autouse=True)
def _no_ledger_is_left_locked(tmp_path: Path) -> Iterator[None]:
    yield
    path = tmp_path / "ledger.db"
    if path.exists() and path.read_bytes()[:6] == b"SQLite":
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        connection.close()


def _claim_many(path: Path, worker: int) -> int:
    ledger = Ledger(path)
    made = 0
    for number in range(5):
        with contextlib.suppress(LedgerError):
            claim(ledger, offer(budget=2000), f"c{worker}-{number}", f"k{worker}-{number}")
            made += 1
    return made


def test_sixteen_processes_never_overspend_one_budget(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with get_context("fork").Pool(16) as pool:
        made = pool.starmap(_claim_many, [(path, worker) for worker in range(16)], chunksize=1)
    assert sum(made) == 20
    assert Ledger(path).balances()["tea"] == Balance(opening=2000, held=2000, redeemed=0, left=0)
    assert Ledger(path).check() == ()


def test_sixteen_threads_get_one_claim_of_a_cap_of_one(ledger: Ledger) -> None:
    def attempt(number: int) -> bool:
        try:
            claim(ledger, offer(), "7", f"k{number}")
        except LedgerError:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(attempt, range(32))) == 1
    assert ledger.balances()["tea"].held == 100


def _claim_and_exit(ledger: Ledger, number: int) -> None:
    claim(ledger, offer(budget=10_000), f"{number}", f"k{number}")
    os._exit(0)


def test_forks_use_the_ledger_of_their_parent_safely(ledger: Ledger) -> None:
    """The ledger is open, and in use by another thread, whenever the process forks."""
    done = threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set():
            ledger.balances()
            reads += 1
        return reads

    with ThreadPoolExecutor(1) as threads:
        reads = threads.submit(read)
        children = []
        for number in range(8):
            claim(ledger, offer(budget=10_000), f"parent {number}", f"parent {number}")
            child = os.fork()
            if child == 0:
                _claim_and_exit(ledger, number)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        done.set()
    assert codes == [0] * 8
    assert reads.result() > 8
    ledger.close()
    assert Ledger(ledger.path).balances()["tea"].held == 1600
    assert Ledger(ledger.path).check() == ()


_HANG_BEFORE_COMMIT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import agent.ledger_operations as operations
from agent.ledger import Ledger
from tests.agent.ledger_hand_made import claim, offer

def hang(*_):
    print("booked", flush=True)
    time.sleep(60)

ledger = Ledger(Path(sys.argv[1]))
claim(ledger, offer(), "1", "k1")
operations.store_reply = hang
claim(ledger, offer(), "2", "k2")
"""

_CLAIM_WITHOUT_END = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from agent.ledger import Ledger
from tests.agent.ledger_hand_made import claim, offer

ledger = Ledger(Path(sys.argv[1]))
for number in itertools.count():
    claim(ledger, offer(budget=10**9), f"{number}", f"k{number}")
    print(number, flush=True)
"""


def _start(script: str, path: Path) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(root)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )


def test_a_kill_before_the_commit_leaves_the_old_state(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    process = _start(_HANG_BEFORE_COMMIT, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "booked\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    ledger = Ledger(path)
    assert ledger.balances()["tea"] == Balance(opening=1000, held=100, redeemed=0, left=900)
    assert ledger.view("2", NOW).claims == {}
    assert not claim(ledger, offer(), "2", "k2").repeated


def test_a_kill_at_any_moment_loses_no_answered_claim(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    process = _start(_CLAIM_WITHOUT_END, path)
    assert process.stdout is not None
    answered = int(process.stdout.readline())
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    answered = max([answered, *(int(line) for line in process.stdout.read().split())])
    process.wait()
    ledger = Ledger(path)
    made = ledger.balances()["tea"].held // 100
    assert made in (answered + 1, answered + 2)
    assert ledger.check() == ()
    assert len(ledger.audit(what="claim")) == made


def test_everything_is_there_after_reopening(ledger: Ledger) -> None:
    claim(ledger, offer(), "7", "k1")
    ledger.count("written")
    with Ledger(ledger.path) as again:
        assert again.view("7", NOW).claims == {"tea": (NOW,)}
        assert again.counts() == {"written": 1}


def test_a_closed_ledger_opens_again(ledger: Ledger) -> None:
    claim(ledger, offer(), "7", "k1")
    ledger.close()
    ledger.close()
    assert not ledger.path.with_name("ledger.db-wal").exists()
    assert ledger.view("7", NOW).claims == {"tea": (NOW,)}


def test_a_file_put_in_its_place_is_noticed(ledger: Ledger, tmp_path: Path) -> None:
    claim(ledger, offer(), "7", "k1")
    with Ledger(tmp_path / "backup.db") as backup:
        claim(backup, offer(), "8", "k8")
    ledger.close()
    shutil.copy(ledger.path, tmp_path / "old.db")
    claim(ledger, offer(), "9", "k9")
    (tmp_path / "backup.db").replace(ledger.path)
    ledger.path.with_name("ledger.db-wal").unlink()
    assert ledger.view("8", NOW).claims == {"tea": (NOW,)}
    assert ledger.view("7", NOW).claims == {}


def test_a_file_that_vanished_is_not_begun_anew(ledger: Ledger) -> None:
    claim(ledger, offer(), "7", "k1")
    ledger.path.unlink()
    with pytest.raises(StorageError, match="Cannot use"):
        claim(ledger, offer(), "8", "k2")
    assert not ledger.path.exists()


def test_a_ledger_that_another_holds_is_waited_for_and_then_named(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.close()
    monkeypatch.setattr(ledger_file, "_BUSY_TIMEOUT_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(LedgerError, match="kept busy by another process"):
        claim(ledger, offer(), "7", "k1")
    assert 0.2 <= time.monotonic() - began < 5
    assert ledger.view("7", NOW).claims == {}  # reading goes on
    other.rollback()
    other.close()
    assert not claim(ledger, offer(), "7", "k1").repeated


def _version_1(path: Path) -> None:
    script = Path(__file__).with_name("ledger_version_1.sql").read_text(encoding="utf-8")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(script)
    connection.close()


def test_a_version_1_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    """The file is what version 1 wrote: claims k1 and k2 of tea, k3 of soap, k4 refused."""
    path = tmp_path / "ledger.db"
    _version_1(path)
    ledger = Ledger(path)
    assert ledger.balances() == {
        "tea": Balance(opening=850, held=170, redeemed=0, left=680),
        "soap": Balance(opening=100, held=40, redeemed=0, left=60),
    }
    assert ledger.check() == ()
    assert [(entry.offer_id, entry.what, entry.amount) for entry in ledger.entries()] == [
        ("tea", "hold", 85),
        ("soap", "hold", 40),
        ("tea", "hold", 85),
    ]
    assert ledger.view("7", NOW).claims == {"tea": (NOW,), "soap": (NOW,)}
    kinds = [line.what for line in ledger.audit()]
    assert kinds == ["budget", "claim", "claim", "budget", "claim", "refused claim", "migrate"]
    assert (ledger.feedback("7"), ledger.counts()) == ({"tea-1": True}, {"written": 3})
    assert [turn.text for turn in ledger.turns("c", 9, login="ada")] == ["What's on?"]
    assert Ledger(path).check() == ()


def test_claims_of_version_1_go_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    _version_1(path)
    ledger = Ledger(path)
    tea = offer("tea", budget=850, exclusive_group="drinks")
    old = claim(ledger, tea, "8", "k2")
    assert old.repeated
    assert old.claimed_at == datetime(2018, 1, 1, 13, 0, 0, 5, tzinfo=UTC)
    assert ledger.has_claim("k1")
    assert not ledger.has_claim("k4")
    with pytest.raises(LedgerError, match="was used for another request"):
        claim(ledger, tea, "7", "k2")
    with pytest.raises(LedgerError, match="of the group 'drinks'"):
        claim(ledger, offer("coffee", exclusive_group="drinks"), "8", "k5")
    used = redeem(ledger, old.claim_id, "k6", order_id="o", discount=85)
    assert used.discount == 85
    assert ledger.expire(datetime(2018, 1, 15, 12, tzinfo=UTC) - timedelta(microseconds=1)) == 0
    assert ledger.expire(datetime(2018, 2, 1, 12, tzinfo=UTC)) == 2
    assert ledger.check() == ()


def test_an_interrupted_migration_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    _version_1(path)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("agent.ledger_migration._keep_claim", fail)
        with pytest.raises(KeyboardInterrupt):
            Ledger(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM claims").fetchone() == (3,)
    assert (
        connection.execute("SELECT name FROM sqlite_schema WHERE name = 'replies'").fetchall() == []
    )
    connection.close()
    assert Ledger(path).balances()["tea"].held == 170


def test_sixteen_threads_open_and_migrate_one_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    _version_1(path)
    with ThreadPoolExecutor(16) as threads:
        ledgers = list(threads.map(Ledger, [path] * 16))
    assert len(ledgers[0].audit(what="migrate")) == 1
    assert all(ledger.check() == () for ledger in ledgers)


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(LedgerError, match=r"ledger\.db is damaged") as raised:
        Ledger(path)
    assert "backup" in raised.value.hint


def test_a_damaged_ledger_is_named(ledger: Ledger) -> None:
    claim(ledger, offer(), "7", "k1")
    ledger.close()
    content = ledger.path.read_bytes()
    ledger.path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(LedgerError, match="is damaged"):
        claim(ledger, offer(), "8", "k2")


def test_a_ledger_of_another_version_is_refused(ledger: Ledger) -> None:
    connection = sqlite3.connect(ledger.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match=r"ledger\.db has ledger version 99"):
        Ledger(ledger.path)


def test_a_path_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file, not a directory")
    with pytest.raises(StorageError, match="Cannot use") as raised:
        Ledger(tmp_path / "shop" / "ledger.db")
    assert raised.value.hint


def _pragma(ledger: Ledger, pragma: str) -> object:
    with ledger._reading() as connection:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def test_a_full_disk_is_a_storage_error_and_claims_nothing(ledger: Ledger) -> None:
    claim(ledger, offer(), "1", "k1")
    _pragma(ledger, f"max_page_count = {_pragma(ledger, 'page_count')}")
    with pytest.raises(StorageError, match="full"):
        ledger.claim(
            offer(), "2", idempotency_key="k2", as_of=NOW, decision={"reason": "x" * 90_000}
        )
    assert ledger.balances()["tea"].held == 100
    assert not claim(ledger, offer(), "2", "k2").repeated


def test_a_read_only_ledger_is_a_storage_error_and_can_be_read(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(ledger, offer(), "1", "k1")
    connect = Ledger._connect

    def read_only(self: Ledger) -> sqlite3.Connection:
        connection = connect(self)
        connection.execute("PRAGMA query_only = ON")
        return connection

    ledger.close()
    monkeypatch.setattr(Ledger, "_connect", read_only)
    with pytest.raises(StorageError, match="Cannot use"):
        claim(ledger, offer(), "2", "k2")
    assert ledger.view("1", NOW).claims == {"tea": (NOW,)}


def test_what_is_committed_is_on_the_disk(ledger: Ledger) -> None:
    assert _pragma(ledger, "synchronous") == 2  # FULL
    assert _pragma(ledger, "journal_mode") == "wal"
    assert _pragma(ledger, "foreign_keys") == 1
