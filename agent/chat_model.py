"""A chat model words one note as one sentence. It decides nothing."""

from typing import Any, Protocol

import httpx

from agent.errors import ModelServerError
from prompts.library import load_prompt

_LONGEST_NOTE = 400
_MOST_TOKENS = 90


class ChatModel(Protocol):
    """Words notes."""

    def write(self, note: str) -> str:
        """One sentence that says the note; unchecked."""
        ...


def note_prompt(note: str) -> str:
    """The prompt that asks for one note to be said; the note is data, on one line."""
    line = " ".join(note.split())[:_LONGEST_NOTE]
    return load_prompt("write").render(note=line).rstrip("\n")


class ServerChatModel:
    """An OpenAI-compatible completion server (vLLM, llama.cpp, ...).

    Args:
        address: such as `http://127.0.0.1:8000/v1`.
        model: the name the server knows it by.
        transport: for tests.
    """

    def __init__(
        self, address: str, model: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._address = address.rstrip("/")
        self._model = model
        self._client = httpx.Client(timeout=30.0, transport=transport)

    def write(self, note: str) -> str:
        """One sentence that says the note; unchecked.

        Raises:
            ModelServerError: the server does not answer as it should.
        """
        body = {
            "model": self._model,
            "prompt": note_prompt(note),
            "max_tokens": _MOST_TOKENS,
            "temperature": 0,
            "stop": ["\n"],
        }
        try:
            response = self._client.post(f"{self._address}/completions", json=body)
            response.raise_for_status()
            document: dict[str, Any] = response.json()
            return first_line(str(document["choices"][0]["text"]))
        except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
            raise ModelServerError(
                f"The model server {self._address} does not answer: {error}.",
                hint="Start it, or set models.writer = 'local' in shop.toml.",
            ) from error


def first_line(text: str) -> str:
    """The first line of what a model wrote, without control characters."""
    line = text.strip().split("\n", 1)[0]
    return " ".join(line.split())
