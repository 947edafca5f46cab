import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.errors import AccessError, LedgerError
from agent.ledger import Balance, Claim, Ledger, Turn
from agent.offers import Offer, OfferKind
from prompts.errors import PatronError
from retrieval.errors import StorageError

NOW = datetime(2018, 1, 1, 12, tzinfo=UTC)
WHY = {"reason": "because"}


def offer(offer_id: str = "tea", **changes: object) -> Offer:
    values: dict[str, object] = {
        "offer_id": offer_id,
        "title": "$1.00 off tea",
        "description": "",
        "kind": OfferKind.AMOUNT,
        "value": 100,
        "max_discount": None,
        "cost": 85,
        "budget": 850,
        "starts": date(2017, 12, 1),
        "expires": date(2018, 2, 1),
    }
    return Offer(**values | changes)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def claim(ledger: Ledger, taken: Offer, customer_id: str, key: str, now: datetime = NOW) -> Claim:
    return ledger.claim(taken, customer_id, idempotency_key=key, as_of=now, decision=WHY)


def audit(ledger: Ledger) -> list[tuple[str, dict[str, object]]]:
    connection = sqlite3.connect(ledger.path)
    rows = connection.execute("SELECT what, details FROM audit ORDER BY audit_id").fetchall()
    connection.close()
    return [(what, json.loads(details)) for what, details in rows]


def assert_books_agree(ledger: Ledger) -> None:
    for balance in ledger.balances().values():
        assert balance.left == balance.opening - balance.claimed


def test_a_claim_is_booked_and_seen(ledger: Ledger) -> None:
    taken = offer(exclusive_group="g")
    made = claim(ledger, taken, "7", "k1")
    assert (made.offer_id, made.customer_id, made.cost, made.repeated) == ("tea", "7", 85, False)
    assert made.claimed_at == NOW
    view = ledger.view("7")
    assert view.claims == {"tea": 1}
    assert view.groups == {"g": date(2018, 2, 1)}
    assert view.budget_left(taken) == 765
    assert view.budget_left(offer("other")) == 850
    assert ledger.view("8").claims == {}
    assert ledger.balances() == {"tea": Balance(opening=850, claimed=85, left=765)}
    assert [what for what, _ in audit(ledger)] == ["budget", "claim"]
    assert audit(ledger)[1][1]["decision"] == WHY


def test_the_same_key_fifty_times_has_one_effect(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda _: claim(ledger, offer(), "7", "k1"), range(50)))
    assert len({made.claim_id for made in claims}) == 1
    assert sum(not made.repeated for made in claims) == 1
    assert ledger.balances()["tea"].claimed == 85
    assert [what for what, _ in audit(ledger)] == ["budget", "claim"]


def test_a_repeat_is_answered_after_the_offer_is_over(ledger: Ledger) -> None:
    made = claim(ledger, offer(), "7", "k1")
    later = claim(ledger, offer(cost=99), "7", "k1", datetime(2019, 1, 1, tzinfo=UTC))
    assert later.repeated
    assert (later.claim_id, later.cost, later.claimed_at) == (made.claim_id, 85, NOW)


@pytest.mark.parametrize(("other", "customer_id"), [("coffee", "7"), ("tea", "8")])
def test_the_same_key_for_another_request_is_an_error(
    ledger: Ledger, other: str, customer_id: str
) -> None:
    claim(ledger, offer(), "7", "k1")
    with pytest.raises(LedgerError, match="'k1'"):
        claim(ledger, offer(other), customer_id, "k1")
    assert ledger.balances()["tea"].claimed == 85
    assert len(audit(ledger)) == 2


@pytest.mark.parametrize(
    "now", [datetime(2017, 11, 30, 23, 59, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC)]
)
def test_dates_are_checked(ledger: Ledger, now: datetime) -> None:
    with pytest.raises(LedgerError, match="'tea' does not run"):
        claim(ledger, offer(), "7", "k1", now)
    assert ledger.balances()["tea"].claimed == 0


def test_the_cap_is_checked(ledger: Ledger) -> None:
    twice = offer(cap_per_customer=2)
    claim(ledger, twice, "7", "k1")
    claim(ledger, twice, "7", "k2")
    with pytest.raises(LedgerError, match="Customer '7' has claimed"):
        claim(ledger, twice, "7", "k3")
    claim(ledger, twice, "8", "k4")
    assert ledger.balances()["tea"].claimed == 3 * 85
    assert audit(ledger)[3][0] == "refused claim"


def test_one_running_claim_in_an_exclusive_group(ledger: Ledger) -> None:
    claim(ledger, offer("january", exclusive_group="g"), "7", "k1")
    long = offer("long", exclusive_group="g", expires=date(2018, 6, 1))
    with pytest.raises(LedgerError, match="'january'"):
        claim(ledger, long, "7", "k2")
    claim(ledger, offer("ungrouped"), "7", "k3")
    claim(ledger, long, "7", "k4", datetime(2018, 2, 1, tzinfo=UTC))
    assert ledger.view("7").groups == {"g": date(2018, 6, 1)}


def test_the_budget_is_never_overspent(ledger: Ledger) -> None:
    small = offer(budget=200)
    claim(ledger, small, "1", "k1")
    claim(ledger, small, "2", "k2")
    with pytest.raises(LedgerError, match="budget of offer 'tea' is used up"):
        claim(ledger, small, "3", "k3")
    assert ledger.balances()["tea"] == Balance(opening=200, claimed=170, left=30)


def test_a_changed_budget_is_followed_and_audited(ledger: Ledger) -> None:
    claim(ledger, offer(budget=85), "1", "k1")
    claim(ledger, offer(budget=170), "2", "k2")
    with pytest.raises(LedgerError, match="used up"):
        claim(ledger, offer(budget=100), "3", "k3")
    assert ledger.balances()["tea"] == Balance(opening=100, claimed=170, left=-70)
    changes = [details for what, details in audit(ledger) if what == "budget"]
    assert [(change["before"], change["opening"]) for change in changes] == [
        (None, 85),
        (85, 170),
        (170, 100),
    ]


def test_a_refused_claim_may_be_tried_again_with_its_key(ledger: Ledger) -> None:
    claim(ledger, offer(budget=85), "1", "k1")
    with pytest.raises(LedgerError):
        claim(ledger, offer(budget=85), "2", "k2")
    assert not claim(ledger, offer(budget=170), "2", "k2").repeated


def _claim_many(path: Path, worker: int) -> int:
    ledger = Ledger(path)
    made = 0
    for number in range(5):
        try:
            claim(ledger, offer(budget=85 * 20), f"c{worker}-{number}", f"k{worker}-{number}")
            made += 1
        except LedgerError:
            continue
    return made


def test_sixteen_processes_never_overspend_one_budget(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with get_context("fork").Pool(16) as pool:
        made = pool.starmap(_claim_many, [(path, worker) for worker in range(16)], chunksize=1)
    assert sum(made) == 20
    assert Ledger(path).balances()["tea"] == Balance(opening=1700, claimed=1700, left=0)


def test_sixteen_threads_get_one_claim_of_a_cap_of_one(ledger: Ledger) -> None:
    def attempt(number: int) -> bool:
        try:
            claim(ledger, offer(), "7", f"k{number}")
        except LedgerError:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(attempt, range(32))) == 1
    assert ledger.balances()["tea"].claimed == 85


_HANG_BEFORE_COMMIT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import agent.ledger
from tests.agent.test_ledger import claim, offer

def hang(*_):
    print("booked", flush=True)
    time.sleep(60)

ledger = agent.ledger.Ledger(Path(sys.argv[1]))
claim(ledger, offer(), "1", "k1")
agent.ledger._audit = hang
claim(ledger, offer(), "2", "k2")
"""

_CLAIM_WITHOUT_END = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from agent.ledger import Ledger
from tests.agent.test_ledger import claim, offer

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
    assert ledger.balances()["tea"] == Balance(opening=850, claimed=85, left=765)
    assert ledger.view("2").claims == {}
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
    made = ledger.balances()["tea"].claimed // 85
    assert made in (answered + 1, answered + 2)
    assert_books_agree(ledger)
    assert sum(what == "claim" for what, _ in audit(ledger)) == made


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET what = 'nothing'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit (audit_id, at, what, details) VALUES (1, '', '', '')",
    ],
)
def test_the_audit_cannot_be_changed(ledger: Ledger, sql: str) -> None:
    claim(ledger, offer(), "7", "k1")
    before = audit(ledger)
    connection = sqlite3.connect(ledger.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(sql)
    connection.close()
    assert audit(ledger) == before


def test_the_newest_feedback_stands(ledger: Ledger) -> None:
    ledger.add_feedback("7", "tea", liked=True, at=NOW)
    ledger.add_feedback("7", "soap", liked=False, at=NOW)
    ledger.add_feedback("7", "tea", liked=False, at=NOW)
    ledger.add_feedback("8", "tea", liked=True, at=NOW)
    assert ledger.feedback("7") == {"soap": False, "tea": False}
    assert ledger.feedback("9") == {}


def test_turns_come_back_oldest_first_to_their_owner_only(ledger: Ledger) -> None:
    turns = [
        Turn(
            conversation_id="c",
            login="ada",
            customer_id="7",
            role="user" if number % 2 == 0 else "assistant",
            text=f"line {number} 'quoted'; \u2603",
            at=NOW,
        )
        for number in range(5)
    ]
    for turn in turns:
        ledger.add_turn(turn)
    assert ledger.turns("c", 3, login="ada") == turns[-3:]
    assert ledger.turns("other", 3, login="ada") == []
    with pytest.raises(AccessError, match="not eve's"):
        ledger.turns("c", 3, login="eve")
    with pytest.raises(AccessError):
        ledger.add_turn(
            Turn(conversation_id="c", login="eve", customer_id="7", role="user", text="x", at=NOW)
        )
    assert len(ledger.turns("c", 99, login="ada")) == 5


def test_counters_add_up_over_threads(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: ledger.count("written"), range(40)))
    ledger.count("replaced", by=3)
    assert ledger.counts() == {"replaced": 3, "written": 40}


def test_everything_is_there_after_reopening(ledger: Ledger) -> None:
    claim(ledger, offer(), "7", "k1")
    ledger.count("written")
    again = Ledger(ledger.path)
    assert again.view("7").claims == {"tea": 1}
    assert again.counts() == {"written": 1}


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(LedgerError, match=r"ledger\.db is damaged") as raised:
        Ledger(path)
    assert "backup" in raised.value.hint


def test_a_damaged_ledger_is_named(ledger: Ledger) -> None:
    claim(ledger, offer(), "7", "k1")
    content = ledger.path.read_bytes()
    ledger.path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(LedgerError, match="is damaged"):
        claim(ledger, offer(), "8", "k2")


def test_a_ledger_of_another_version_is_refused(ledger: Ledger) -> None:
    connection = sqlite3.connect(ledger.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match="version 99"):
        Ledger(ledger.path)


def test_a_path_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file, not a directory")
    with pytest.raises(StorageError, match="Cannot use") as raised:
        Ledger(tmp_path / "shop" / "ledger.db")
    assert raised.value.hint


def test_a_full_disk_is_a_storage_error_and_claims_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(ledger, offer(), "1", "k1")
    connect = Ledger._connect

    def no_more_pages(self: Ledger) -> sqlite3.Connection:
        connection = connect(self)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_connect", no_more_pages)
        with pytest.raises(StorageError, match="full"):
            ledger.claim(
                offer(), "2", idempotency_key="k2", as_of=NOW, decision={"reason": "x" * 90_000}
            )
    assert ledger.balances()["tea"].claimed == 85
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

    monkeypatch.setattr(Ledger, "_connect", read_only)
    with pytest.raises(StorageError, match="Cannot use"):
        claim(ledger, offer(), "2", "k2")
    assert ledger.view("1").claims == {"tea": 1}


class Books(RuleBasedStateMachine):
    """Random claims against a model in plain Python."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.directory.name) / "ledger.db")
        self.budgets = {"a": 300, "b": 500}
        self.claims: dict[str, tuple[str, str, int]] = {}

    def teardown(self) -> None:
        self.directory.cleanup()

    @rule(name=st.sampled_from("ab"), budget=st.integers(100, 600))
    def change_the_budget(self, name: str, budget: int) -> None:
        self.budgets[name] = budget

    @rule(
        name=st.sampled_from("ab"),
        customer_id=st.sampled_from("123"),
        key=st.integers(0, 12).map(str),
        cost=st.integers(0, 100),
    )
    def claim(self, name: str, customer_id: str, key: str, cost: int) -> None:
        taken = offer(name, cost=cost, budget=self.budgets[name], cap_per_customer=2)
        mine = [x for x in self.claims.values() if x[:2] == (name, customer_id)]
        spent = sum(x[2] for x in self.claims.values() if x[0] == name)
        stored = self.claims.get(key)
        if stored is not None:
            expected = stored[:2] == (name, customer_id)
        else:
            expected = len(mine) < 2 and spent + cost <= self.budgets[name]
        try:
            made = claim(self.ledger, taken, customer_id, key)
        except PatronError:
            assert not expected
        else:
            assert expected
            assert made.repeated == (stored is not None)
            self.claims.setdefault(key, (name, customer_id, cost))

    @invariant()
    def the_books_agree(self) -> None:
        assert_books_agree(self.ledger)
        for name, balance in self.ledger.balances().items():
            assert balance.claimed == sum(x[2] for x in self.claims.values() if x[0] == name)


Books.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestBooks = Books.TestCase


@pytest.fixture(autouse=True)
def _no_ledger_is_left_locked(tmp_path: Path) -> Iterator[None]:
    yield
    path = tmp_path / "ledger.db"
    if path.exists() and path.read_bytes()[:6] == b"SQLite":
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        connection.close()
