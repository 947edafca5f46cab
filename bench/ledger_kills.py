"""Processes that die at every point of a claim, and what the ledger's file has afterwards.

A point is each statement that a claim sends to SQLite, found by tracing one, and besides the
middle of the commit's and of the checkpoint's write, and before and after each. The process dies
by SIGKILL; in the middle of a write by the kernel's limit on the size of a file, which lets only a
part of the write through and kills with SIGXFSZ.
"""

import os
import random
import resource
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from agent.ledger import Claim, Ledger
from agent.offers import Offer
from bench.ledger_counts import Acknowledged, is_balanced
from bench.ledger_load import NOW, make_offer
from bench.ledger_points import (
    AFTER_CHECKPOINT,
    AFTER_COMMIT,
    ANSWERED,
    BEFORE_CHECKPOINT,
    IN_CHECKPOINT,
    IN_COMMIT,
    name_statements,
    points_of,
    states_after,
)
from retrieval.progress import Progress

# So long that a claim makes the file grow, which a checkpoint can then be stopped at.
_DECISION = {"padding": "x" * 20_000}
_PAGE_BYTES = 4_096
_CODES_A_KILL = 3


@dataclass(slots=True)
class Kills:
    """What came of the kills.

    Attributes:
        points: kills by point.
        acknowledged: every claim that a process was told it has.
        survived: processes that did not die where they should.
        half_done: kills that left neither the old nor the new state, or the wrong one of the two.
        repaired: requests that had exactly one effect when they were asked again.
    """

    points: Counter[str] = field(default_factory=Counter)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    survived: int = 0
    half_done: int = 0
    repaired: int = 0


def run_kills(path: Path, *, kills: int, seed: int, progress: Progress) -> Kills:
    """Kill a claiming process so many times, at all points in turn, on one ledger.

    Args:
        path: where the ledger is made.
        kills: how many.
        seed: of the places within a write.
        progress: told how many there were.
    """
    draw = random.Random(seed)
    found = Kills()
    points = _points(path)
    for number in range(kills):
        point = points[number % len(points)]
        acknowledged, died = _claim_and_die(path, number, point, draw.randrange(1, 2 * _PAGE_BYTES))
        found.points[point] += 1
        found.survived += not died
        found.acknowledged += acknowledged
        is_new = _is_new(path, number)
        found.half_done += is_new is None or is_new not in states_after(point)
        found.repaired += _ask_again(path, number, found) == is_new
        progress("kills", number + 1, kills)
    return found


def _points(path: Path) -> list[str]:
    """Every statement of one claim in order, then what comes after."""
    statements: list[str] = []
    with Ledger(path) as ledger:
        _prepare(ledger, -1)
        ledger._connected().set_trace_callback(statements.append)
        _last_claim(ledger, -1)
        ledger._connected().set_trace_callback(None)
    return points_of(statements)


def _moment(number: int) -> datetime:
    return NOW + timedelta(minutes=number + 2)


def _key(number: int) -> str:
    return f"kill {number}"


def _prepare(ledger: Ledger, number: int) -> list[Claim]:
    """Give the last claim something to end, and codes to take."""
    ledger.add_codes("tea", (f"{number}-{each}" for each in range(_CODES_A_KILL)))
    offer = _offer(number)
    return [
        ledger.reserve(
            offer,
            f"early {number}",
            idempotency_key=f"{_key(number)} early",
            as_of=_moment(number) - timedelta(minutes=1),
            ttl=timedelta(seconds=30),
            decision={},
        ),
        ledger.claim(
            offer,
            f"other {number}",
            idempotency_key=f"{_key(number)} other",
            as_of=_moment(number) - timedelta(seconds=45),
            decision={},
        ),
    ]


def _last_claim(ledger: Ledger, number: int) -> Claim:
    """The claim to die in: it follows a changed budget, ends a reservation and takes a code."""
    return ledger.claim(
        _offer(number, more_budget=1),
        f"last {number}",
        idempotency_key=_key(number),
        as_of=_moment(number),
        decision=_DECISION,
    )


def _offer(number: int, more_budget: int = 0) -> Offer:
    return make_offer(
        "tea",
        budget=10**9 + 2 * number + more_budget,
        needs_code=True,
        period_budget=10**9,
        period_days=7,
        exclusive_group="drinks",
    )


def _claim_and_die(
    path: Path, number: int, point: str, written: int
) -> tuple[list[Acknowledged], bool]:
    """Run a process to its death; what it was told until then, and whether it died of the kill."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(path, number, point, written, sender))
    process.start()
    sender.close()
    told: list[Acknowledged] = []
    with receiver:
        while True:
            try:
                told.append(receiver.recv())
            except EOFError:
                break
    process.join()
    return told, process.exitcode in (-signal.SIGKILL, -signal.SIGXFSZ)


def _child(path: Path, number: int, point: str, written: int, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ledger = Ledger(path)
    for made in _prepare(ledger, number):
        sender.send(_told(made, f"{_key(number)} {made.customer_id.split()[0]}"))
    connection = ledger._connected()
    connection.set_trace_callback(_trap(path, point, written))
    made = _last_claim(ledger, number)
    connection.set_trace_callback(None)
    if point == AFTER_COMMIT:
        _die()
    sender.send(_told(made, _key(number)))
    if point in (ANSWERED, BEFORE_CHECKPOINT):
        _die()
    if point == IN_CHECKPOINT:
        _let_files_grow_to(path.stat().st_size + written)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if point == AFTER_CHECKPOINT:
        _die()


def _trap(path: Path, point: str, written: int) -> Callable[[str], None]:
    """Dies when the point's statement is about to run."""
    seen: list[str] = []

    def look(statement: str) -> None:
        seen.append(statement)
        if point == IN_COMMIT and statement == "COMMIT":
            log = path.with_name(f"{path.name}-wal")
            _let_files_grow_to(log.stat().st_size + written)
        elif list(name_statements(seen))[-1] == point:
            _die()

    return look


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _let_files_grow_to(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _told(made: Claim, key: str) -> Acknowledged:
    return Acknowledged(key=key, claim_id=made.claim_id, code=made.code)


# What a claim writes; all of it, or nothing.
_TRACES = (
    "SELECT count(*) FROM replies WHERE idempotency_key = :key",
    "SELECT count(*) FROM claims WHERE customer_id = :customer_id",
    "SELECT count(*) FROM entries JOIN claims USING (claim_id) WHERE customer_id = :customer_id",
    "SELECT count(*) FROM codes JOIN claims USING (claim_id) WHERE customer_id = :customer_id",
    "SELECT count(*) FROM audit WHERE details ->> 'idempotency_key' = :key",
    "SELECT count(*) FROM claims WHERE customer_id = :early AND state = 'expired'",
    "SELECT count(*) FROM budgets WHERE opening = :opening",
)


def _is_new(path: Path, number: int) -> bool | None:
    """Whether the file has the state after the last claim; None where it is between the two."""
    wanted = {
        "key": _key(number),
        "customer_id": f"last {number}",
        "early": f"early {number}",
        "opening": _offer(number, more_budget=1).budget,
    }
    with closing(sqlite3.connect(path)) as connection:
        traces = {connection.execute(select, wanted).fetchone()[0] for select in _TRACES}
        whole = is_balanced(connection)
    return traces == {1} if whole and len(traces) == 1 else None


def _ask_again(path: Path, number: int, found: Kills) -> bool:
    """Ask for the last claim again; whether it had been made already. It is one claim now."""
    with Ledger(path) as ledger:
        made = _last_claim(ledger, number)
        found.acknowledged.append(_told(made, _key(number)))
    return made.repeated
