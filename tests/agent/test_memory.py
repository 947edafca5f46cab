"""Opinions, conversations and counters."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.errors import AccessError
from agent.ledger import Ledger
from agent.memory import Memory, Turn
from tests.agent.ledger_hand_made import NOW


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "ledger.db")


def test_the_newest_feedback_stands(memory: Memory) -> None:
    memory.add_feedback("7", "tea", liked=True, at=NOW)
    memory.add_feedback("7", "soap", liked=False, at=NOW)
    memory.add_feedback("7", "tea", liked=False, at=NOW)
    memory.add_feedback("8", "tea", liked=True, at=NOW)
    assert memory.feedback("7") == {"soap": False, "tea": False}
    assert memory.feedback("9") == {}


def test_turns_come_back_oldest_first_to_their_owner_only(memory: Memory) -> None:
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
        memory.add_turn(turn)
    assert memory.turns("c", 3, login="ada") == turns[-3:]
    assert memory.turns("other", 3, login="ada") == []
    with pytest.raises(AccessError, match="not eve's"):
        memory.turns("c", 3, login="eve")
    with pytest.raises(AccessError):
        memory.add_turn(
            Turn(conversation_id="c", login="eve", customer_id="7", role="user", text="x", at=NOW)
        )
    assert len(memory.turns("c", 99, login="ada")) == 5


def test_counters_add_up_over_threads(memory: Memory) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: memory.count("written"), range(40)))
    memory.count("replaced", by=3)
    assert memory.counts() == {"replaced": 3, "written": 40}


def test_it_is_in_the_ledgers_file(memory: Memory) -> None:
    memory.count("written")
    assert Ledger(memory.path).counts() == {"written": 1}
