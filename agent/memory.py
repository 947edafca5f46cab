"""What a shop remembers beside money, in the ledger's file: opinions, conversations, counters."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.errors import AccessError
from agent.ledger_file import LedgerFile
from agent.ledger_schema import as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation.

    Attributes:
        login: who is logged in; the conversation is theirs alone.
        customer_id: the customer talked about.
        at: aware.
    """

    conversation_id: str
    login: str
    customer_id: str
    role: Literal["user", "assistant"]
    text: str
    at: datetime


class Memory(LedgerFile):
    """Feedback, conversations and counters of one shop."""

    def add_feedback(self, customer_id: str, item_id: str, *, liked: bool, at: datetime) -> None:
        """Keep what a customer thinks of an item; the newest opinion stands.

        Raises:
            StorageError: the disk refuses.
        """
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO feedback (customer_id, item_id, liked, at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET liked = excluded.liked, at = excluded.at",
                (customer_id, item_id, int(liked), as_text(at)),
            )

    def feedback(self, customer_id: str) -> dict[str, bool]:
        """Whether the customer liked an item, by item id."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT item_id, liked FROM feedback WHERE customer_id = ? ORDER BY item_id",
                (customer_id,),
            ).fetchall()
        return {item_id: bool(liked) for item_id, liked in rows}

    def add_turn(self, turn: Turn) -> None:
        """Append a message to a conversation.

        Raises:
            AccessError: the conversation is another login's.
            StorageError: the disk refuses.
        """
        with self._writing() as connection:
            _check_owner(connection, turn.conversation_id, turn.login)
            connection.execute(
                "INSERT INTO conversations (conversation_id, login, customer_id, role, text, at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    turn.conversation_id,
                    turn.login,
                    turn.customer_id,
                    turn.role,
                    turn.text,
                    as_text(turn.at),
                ),
            )

    def turns(self, conversation_id: str, limit: int, *, login: str) -> list[Turn]:
        """The last `limit` messages of a conversation, oldest first.

        Raises:
            AccessError: the conversation is another login's.
        """
        with self._reading() as connection:
            _check_owner(connection, conversation_id, login)
            rows = connection.execute(
                "SELECT customer_id, role, text, at FROM conversations "
                "WHERE conversation_id = ? ORDER BY turn_id DESC LIMIT ?",
                (conversation_id, limit),
            ).fetchall()
        return [
            Turn(
                conversation_id=conversation_id,
                login=login,
                customer_id=customer_id,
                role=role,
                text=text,
                at=datetime.fromisoformat(at),
            )
            for customer_id, role, text, at in reversed(rows)
        ]

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter, such as the sentences that were replaced.

        Raises:
            StorageError: the disk refuses.
        """
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO counters (name, value) VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET value = value + excluded.value",
                (name, by),
            )

    def counts(self) -> dict[str, int]:
        """Every counter by name."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT name, value FROM counters ORDER BY name"))


def _check_owner(connection: sqlite3.Connection, conversation_id: str, login: str) -> None:
    other = connection.execute(
        "SELECT 1 FROM conversations WHERE conversation_id = ? AND login <> ? LIMIT 1",
        (conversation_id, login),
    ).fetchone()
    if other is not None:
        raise AccessError(
            f"The conversation '{conversation_id}' is not {login}'s.",
            hint="Begin a new conversation.",
        )
