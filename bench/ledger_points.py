"""The points of a claim at which a process is killed, by name."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

IN_COMMIT = "in the middle of COMMIT"
AFTER_COMMIT = "after COMMIT, before the answer"
ANSWERED = "after the answer"
BEFORE_CHECKPOINT = "before the checkpoint"
IN_CHECKPOINT = "in the middle of the checkpoint"
AFTER_CHECKPOINT = "after the checkpoint"
_WHEN_COMMITTED = (AFTER_COMMIT, ANSWERED, BEFORE_CHECKPOINT, IN_CHECKPOINT, AFTER_CHECKPOINT)

_STATEMENT = re.compile(r"(\w+)(?:.*?(?:FROM|INTO))?(?: (\w+))?", re.DOTALL)


def points_of(statements: Sequence[str]) -> list[str]:
    """Every point of a claim that sent these statements, in order."""
    return [*name_statements(statements), IN_COMMIT, *_WHEN_COMMITTED]


def states_after(point: str) -> tuple[bool, ...]:
    """Which states a kill there may leave: false is the one before the claim, true the one after.

    A commit counts from when its last frame is in the log, so its middle may leave either.
    """
    if point == IN_COMMIT:
        return (False, True)
    return (point in _WHEN_COMMITTED,)


def name_statements(statements: Sequence[str]) -> Iterator[str]:
    """A point's name is what the statement that it comes before does to which table, numbered.

    A statement that is told of twice in a row is about to run a trigger.
    """
    seen: Counter[str] = Counter()
    for number, statement in enumerate(statements):
        where = "inside" if number and statement == statements[number - 1] else "before"
        found = _STATEMENT.match(statement)
        name = " ".join([where, *(word for word in (found.groups() if found else ()) if word)])
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}, time {seen[name]}"
