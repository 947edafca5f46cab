"""The real server in a thread, with the fake agent behind it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.agent import Agent
from agent.viewer import Viewer
from tests.ui.fake_agent import NEWCOMER, FakeAgent, make_shop
from ui.logins import Login, hash_password
from ui.server import build_app, listen, make_server

PASSWORDS = {
    "desk": "desk-password",
    "anna": "anna-password",
    "ben": "ben-password",
    "new": "new-password",
}
VIEWERS = {
    "desk": Viewer.desk(),
    "anna": Viewer.shopper("1229", "anna"),
    "ben": Viewer.shopper("718", "ben"),
    "new": Viewer.shopper(NEWCOMER, "new"),
}


def make_logins() -> dict[str, Login]:
    return {
        name: Login(viewer=viewer, password_hash=hash_password(PASSWORDS[name]))
        for name, viewer in VIEWERS.items()
    }


@dataclass
class RunningPage:
    address: str
    agent: FakeAgent


@contextmanager
def running_page(directory: Path) -> Iterator[RunningPage]:
    agent = FakeAgent(make_shop(directory / "shop"))
    with served(agent, make_logins()) as address:
        yield RunningPage(address, agent)


@contextmanager
def served(agent: Agent | FakeAgent, logins: dict[str, Login]) -> Iterator[str]:
    """The address of the real server, in a thread, with an agent behind it."""
    listening = listen("127.0.0.1", 0)
    server = make_server(build_app(agent, logins))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=15)
        listening.close()
