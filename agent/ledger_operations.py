"""How the ledger does a request: once, with a stored reply, audited, refusals too."""

import sqlite3
from collections.abc import Callable
from typing import Any

from agent.errors import LedgerError
from agent.ledger_file import LedgerFile
from agent.ledger_requests import Request, audit_refusal, store_reply, stored_reply

_Act = Callable[[sqlite3.Connection], dict[str, Any]]
_Tidy = Callable[[sqlite3.Connection], object]


def _nothing(_: sqlite3.Connection) -> None:
    pass


class LedgerOperations(LedgerFile):
    """What all requests share."""

    def _perform(
        self, request: Request, act: _Act, *, tidy: _Tidy = _nothing
    ) -> tuple[dict[str, Any], bool]:
        """Do a request in one transaction, unless it was done before.

        Args:
            request: what is asked.
            act: does it and gives the reply as JSON values; a refusal takes back what it wrote.
            tidy: what is done first, and stays done if the request is refused.

        Returns:
            The reply, and whether it is a stored one.

        Raises:
            LedgerError: the request is refused.
        """
        with self._writing() as connection:
            outcome = _outcome(connection, request, act, tidy)
        if isinstance(outcome, LedgerError):
            raise outcome
        return outcome


def _outcome(
    connection: sqlite3.Connection, request: Request, act: _Act, tidy: _Tidy
) -> tuple[dict[str, Any], bool] | LedgerError:
    """A refusal is a value here: raised, it would roll back the audit of itself."""
    try:
        stored = stored_reply(connection, request)
        if stored is not None:
            return stored, True
        tidy(connection)
        reply = _act_whole(connection, act)
    except LedgerError as refusal:
        audit_refusal(connection, request, refusal)
        return refusal
    store_reply(connection, request, reply)
    return reply, False


def _act_whole(connection: sqlite3.Connection, act: _Act) -> dict[str, Any]:
    connection.execute("SAVEPOINT request")
    try:
        return act(connection)
    except LedgerError:
        connection.execute("ROLLBACK TO request")
        raise
