"""The web server: login, sessions and the page, in one process."""

import errno
import secrets
import socket

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent.agent import Agent
from agent.viewer import Role
from prompts.errors import PatronError
from retrieval.shop import Shop, write_atomically
from ui.gate import HOME, LOGIN_PATH, SESSION_SECONDS, BrowserOwners, Gate, SafeHeaders, Sessions
from ui.login_page import login_html
from ui.logins import Logins, check_password
from ui.page import mount_page
from ui.token_bucket import TokenBuckets

_SECRET_FILE = ".session-secret"
_SECRET_BYTES = 32
_TRIES_PER_LOGIN = 5
_TRIES_PER_ADDRESS = 20
_TURNS_PER_MINUTE = 30
_LONGEST_LOGIN = 64
_WRONG = "That login and password do not match."
_TOO_MANY = "Too many tries. Wait a minute, then try again."


class PortTakenError(PatronError):
    """Another program listens on the port."""

    code = "port_taken"


class AddressError(PatronError):
    """The server cannot listen on the address."""

    code = "address_error"


def serve(agent: Agent, logins: Logins, *, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve a shop's page until the process is stopped.

    Args:
        agent: of the shop; each request acts as whoever is logged in.
        logins: who may log in.
        host: address to listen on; only this machine by default.
        port: where to listen.

    Raises:
        PortTakenError: another program listens there.
        AddressError: the address is not this machine's, or may not be used.
    """
    listening = listen(host, port)
    try:
        make_server(build_app(agent, logins)).run(sockets=[listening])
    finally:
        listening.close()


def build_app(agent: Agent, logins: Logins) -> FastAPI:
    """The whole web application of one shop.

    Raises:
        StorageError: the shop's session secret cannot be kept.
    """
    sessions, owners = Sessions(logins), BrowserOwners()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_login(app, agent.shop.settings.name, logins, sessions)
    turns = TokenBuckets(size=_TURNS_PER_MINUTE, per_minute=_TURNS_PER_MINUTE)
    for role in Role:
        mount_page(app, agent, role, sessions=sessions, owners=owners, turns=turns)
    # The last added is the first asked.
    app.add_middleware(Gate, sessions=sessions, owners=owners)
    app.add_middleware(
        SessionMiddleware,
        secret_key=_session_secret(agent.shop),
        session_cookie="patron-session",
        max_age=SESSION_SECONDS,
        same_site="strict",
    )
    app.add_middleware(SafeHeaders)
    return app


def listen(host: str, port: int) -> socket.socket:
    """Take a port; 0 takes any free one.

    Raises:
        PortTakenError: another program listens there.
        AddressError: the address is not this machine's, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # Listening already, so that a second server cannot take the same port meanwhile.
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"Port {port} is taken by another program.",
                hint=f"Choose another one, such as --port {port + 1}.",
            ) from error
        raise AddressError(
            f"Cannot listen on {host} port {port}: {error}.",
            hint="Choose an address of this machine with --host, and a --port from 1024 to 65535.",
        ) from error
    return listening


def make_server(app: FastAPI) -> uvicorn.Server:
    """A server for an application: one process, because the page keeps its state in it."""
    # Forwarded addresses are not believed: anyone could send them, around the login's rate limit.
    config = uvicorn.Config(
        app,
        workers=1,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)


def _add_login(app: FastAPI, shop_name: str, logins: Logins, sessions: Sessions) -> None:
    by_login = TokenBuckets(size=_TRIES_PER_LOGIN, per_minute=_TRIES_PER_LOGIN)
    by_address = TokenBuckets(size=_TRIES_PER_ADDRESS, per_minute=_TRIES_PER_ADDRESS)

    @app.get("/")
    async def home(request: Request) -> Response:
        viewer = sessions.viewer(request)
        target = LOGIN_PATH if viewer is None else f"{HOME[viewer.role]}/"
        return RedirectResponse(target, status_code=303)

    @app.get(LOGIN_PATH)
    async def show_login(request: Request) -> Response:
        if sessions.viewer(request) is not None:
            return RedirectResponse("/", status_code=303)
        return HTMLResponse(login_html(shop_name))

    @app.post(LOGIN_PATH)
    async def log_in(request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=4, max_part_size=2048)
        name = str(form.get("login", "")).strip()[:_LONGEST_LOGIN]
        address = request.client.host if request.client else ""
        if not (by_address.take(address) and by_login.take(name)):
            return HTMLResponse(login_html(shop_name, login=name, problem=_TOO_MANY), 429)
        password = str(form.get("password", ""))
        # scrypt takes its time; other requests go on meanwhile.
        viewer = await run_in_threadpool(check_password, logins, name, password)
        if viewer is None:
            return HTMLResponse(login_html(shop_name, login=name, problem=_WRONG), 401)
        sessions.begin(request, viewer)
        return RedirectResponse("/", status_code=303)

    @app.post("/logout")
    async def log_out(request: Request) -> Response:
        sessions.end(request)
        return RedirectResponse(LOGIN_PATH, status_code=303)


def _session_secret(shop: Shop) -> str:
    """The key that signs session cookies, made once for each shop, readable by its owner alone."""
    file = shop.directory / _SECRET_FILE
    # A file cut short must not become a key that can be guessed.
    if not file.exists() or file.stat().st_size < 2 * _SECRET_BYTES:
        write_atomically(file, secrets.token_hex(_SECRET_BYTES).encode())
    return file.read_text(encoding="ascii")
