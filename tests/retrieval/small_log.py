"""A log of a few events written by hand, and child processes to write and die in."""

import multiprocessing
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from retrieval.event_log import EventLog
from retrieval.events import EVENT_SCHEMA, Event, Kind

_CHILDREN = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload(["retrieval.index"])
_CHILD_SECONDS = 120


def moment(text: str) -> datetime:
    """`2024-01-01` or `2024-01-01T09:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def bought(
    customer_id: str,
    when: str | datetime,
    order_id: str,
    item_id: str,
    amount: int,
    kind: Kind = Kind.PURCHASE,
) -> Event:
    """One line; amounts of returns are negative."""
    return Event(
        customer_id=customer_id,
        timestamp=moment(when) if isinstance(when, str) else when,
        order_id=order_id,
        item_id=item_id,
        quantity=-1.0 if kind is Kind.RETURN else 1.0,
        amount=amount,
        kind=kind,
    )


def as_table(events: Iterable[Event], source: str) -> pa.Table:
    """Events as the log stores them."""
    rows = [
        {
            "customer_id": event.customer_id,
            "timestamp": event.timestamp.astimezone(UTC),
            "order_id": event.order_id,
            "item_id": event.item_id,
            "quantity": event.quantity,
            "amount": event.amount,
            "kind": event.kind.value,
            "event_id": f"{source}:{line}",
            "source": source,
            "line": line,
        }
        for line, event in enumerate(events, 1)
    ]
    return pa.Table.from_pylist(rows, schema=EVENT_SCHEMA)


def append(log: EventLog, events: Iterable[Event]) -> int:
    """One commit."""
    source = f"commit{log.version() + 1}"
    return log.append(as_table(events, source), source=source)


def log_of(folder: Path, events: Iterable[Event], timezone: str = "UTC") -> EventLog:
    """A new log in a folder."""
    log = EventLog(folder / "log", timezone)
    append(log, events)
    return log


def count_words(text: str) -> int:
    """A tokenizer of words."""
    return len(text.split())


def start_child(target: Callable[..., None], *arguments: Any) -> Any:
    """Run a function of a module in a process of its own; the caller joins it."""
    process = _CHILDREN.Process(target=target, args=arguments)
    process.start()
    return process


def run_child(target: Callable[..., None], *arguments: Any) -> int:
    """The same, to its end; returns the exit code, negative where a signal ended it."""
    process = start_child(target, *arguments)
    process.join(_CHILD_SECONDS)
    code = process.exitcode
    assert code is not None, "the child hangs"
    return int(code)
