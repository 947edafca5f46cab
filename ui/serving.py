"""Open a shop's page: load what answers need, say where it is, serve."""

from pathlib import Path

from agent.agent import Agent
from retrieval.shop import Shop
from ui.logins import LoginError, logins_file, read_logins
from ui.server import listen, serve
from ui.terminal import OUT, progress_bars


def check_port(host: str, port: int) -> None:
    """Find out before long work whether the page can be served there.

    Raises:
        PortTakenError: another program listens there.
        AddressError: the address is not this machine's.
    """
    listen(host, port).close()


def serve_shop(directory: Path, host: str, port: int) -> None:
    """Serve a shop until interrupted.

    Raises:
        PortTakenError: the port is in use; found out before the models are loaded.
        LoginError: the shop has no logins.
    """
    Shop.open(directory)
    logins = read_logins(logins_file(directory))
    if not logins:
        raise LoginError(
            f"Nobody can log in to {directory} yet.",
            hint=f"Add a login: patron login NAME --shop {directory}",
        )
    check_port(host, port)
    with progress_bars() as progress:
        agent = Agent.open(directory, progress=progress)
        progress("Loading index and models", 0, 1)
        agent.warm_up()
        progress("Loading index and models", 1, 1)
    shown = f"[{host}]" if ":" in host else host
    OUT.print(f"Open http://{shown}:{port} (Ctrl-C stops it)", style="bold", highlight=False)
    serve(agent, logins, host=host, port=port)
