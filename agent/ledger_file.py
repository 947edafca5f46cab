"""The ledger's file: one SQLite database, safe over threads, processes, forks and kills."""

import fcntl
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

from agent.errors import LedgerError
from agent.ledger_migration import bring_up_to_date, version_of
from agent.ledger_schema import VERSION
from retrieval.errors import StorageError

_BUSY_TIMEOUT_SECONDS = 30


class LedgerFile:
    """The file and this process's one connection to it.

    The connection stays open between calls, because opening it anew for each would take most of
    the time of a claim. Threads take turns on it. Before a fork it is closed, and each process
    opens its own: SQLite's locks do not survive a fork. What is committed is on the disk (WAL with
    synchronous = FULL).

    Writers of all processes stand in one queue: a lock on which the kernel lets them sleep, and
    which it takes back from who dies. SQLite alone lets writers try again at times of their own:
    among 64 of them some starve, and the rest spend the processor on trying. A writer that
    something stops inside a transaction keeps other writers waiting until it goes on or ends, but
    no process's readers except its own.

    Args:
        path: the database file; made where there is none, brought to the present version where
            an older Patron wrote it.

    Raises:
        LedgerError: the file is no ledger, or one of a newer version.
        StorageError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        with _FILES_LOCK:
            _FILES.add(self)
        with _clear_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # An empty file is opened in the queue only: the change to WAL bears no onlooker.
            if not path.exists() or path.stat().st_size == 0 or self._version() != VERSION:
                with self._queue(), self._lock:
                    path.touch()
                    bring_up_to_date(self._connected(), path)

    def close(self) -> None:
        """Close this process's connection; the next call opens it again."""
        with self._lock:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads one state of the file."""
        with _clear_errors(self.path), self._lock, self._transaction("DEFERRED") as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that alone may write: committed at the end, rolled back by an error."""
        with (
            _clear_errors(self.path),
            self._queue(),
            self._lock,
            self._transaction("IMMEDIATE") as connection,
        ):
            yield connection

    @contextmanager
    def _queue(self) -> Iterator[None]:
        """The right to write; SQLite's own lock still guards against programs that do not ask."""
        with self._turn, self.path.with_name(f".{self.path.name}.queue").open("ab") as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _transaction(self, mode: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[sqlite3.Connection]:
        connection = self._connected()
        try:
            connection.execute(f"BEGIN {mode}")
            with connection:
                yield connection
        except sqlite3.Error:
            self._disconnect()
            raise

    def _version(self) -> int:
        with self._lock:
            return version_of(self._connected())

    def _connected(self) -> sqlite3.Connection:
        """The open connection; opened anew where the file was replaced behind it."""
        inode = self.path.stat().st_ino
        if self._connection is None or inode != self._inode:
            self._disconnect()
            self._connection, self._inode = self._connect(), inode
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_FILES: "weakref.WeakSet[LedgerFile]" = weakref.WeakSet()
_FILES_LOCK = threading.Lock()
_closed_for_fork: list[LedgerFile] = []


def _close_before_fork() -> None:
    """Wait until no thread uses a ledger, so that the child inherits neither file nor lock."""
    _FILES_LOCK.acquire()
    _closed_for_fork.extend(_FILES)
    for file in _closed_for_fork:
        file._turn.acquire()
        file._lock.acquire()
        file._disconnect()


def _go_on_after_fork() -> None:
    for file in _closed_for_fork:
        file._lock.release()
        file._turn.release()
    _closed_for_fork.clear()
    _FILES_LOCK.release()


os.register_at_fork(
    before=_close_before_fork,
    after_in_parent=_go_on_after_fork,
    after_in_child=_go_on_after_fork,
)


_DISK_REFUSES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into one clear sentence; a mistake of ours stays as is."""
    try:
        yield
    except OSError as error:
        raise _refused_by_disk(path, error) from error
    except sqlite3.Error as error:
        if _primary_code(error) in _DISK_REFUSES:
            raise _refused_by_disk(path, error) from error
        if _primary_code(error) in _DAMAGED:
            raise LedgerError(
                f"{path} is damaged or no ledger: {error}.",
                hint="Restore it from a backup, or move it away to begin an empty ledger.",
            ) from error
        if _primary_code(error) == sqlite3.SQLITE_BUSY:
            raise LedgerError(
                f"{path} was kept busy by another process for {_BUSY_TIMEOUT_SECONDS} seconds.",
                hint="Try again, or end the process that holds it.",
            ) from error
        raise


def _refused_by_disk(path: Path, error: Exception) -> StorageError:
    return StorageError(
        f"Cannot use {path}: {error}.",
        hint="Free some space or make the shop directory writable, then try again.",
    )
