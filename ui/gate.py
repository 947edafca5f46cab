"""The gate before every route: who is logged in, what they may reach, and safe headers."""

import re
import secrets
import threading
import time
from collections import OrderedDict
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.viewer import Role, Viewer
from ui.logins import Logins

LOGIN_PATH = "/login"
HOME = {Role.DESK: "/desk", Role.SHOPPER: "/my"}
SESSION_SECONDS = 12 * 3600

_MOST_BROWSERS = 50_000
_LARGEST_BODY = 64 * 1024
_SAFE_METHODS = frozenset({"GET", "HEAD"})
# All of Gradio's API that the page needs; the rest (uploads, proxies, direct runs, files of the
# server, editing) is closed.
_GRADIO_API = re.compile(
    r"^/gradio_api/(queue/(join|data)|heartbeat/[a-z0-9]+|startup-events|info|cancel|reset"
    r"|theme\.css)/?$"
)
_GRADIO_PAGES = re.compile(
    r"^/$|^/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json)/?$"
    r"|^/(static|assets|svelte)/"
)
# Gradio's front end starts from inline scripts and compiles its templates.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' "
    "'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' "
    "data:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Sessions:
    """Who a request comes from, as its signed session cookie says.

    Args:
        logins: a login that is no longer among them is logged out.
    """

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, request: Request, viewer: Viewer) -> None:
        """Log a browser in, under a session name that it did not have before."""
        request.session.clear()
        request.session.update(login=viewer.login, session_id=secrets.token_urlsafe(16))

    def end(self, request: Request) -> None:
        """Log a browser out; a copy of its cookie is worth nothing afterwards."""
        session_id = request.session.get("session_id")
        if session_id is not None:
            with self._lock:
                self._ended[session_id] = time.monotonic()
                self._forget_expired()
        request.session.clear()

    def viewer(self, connection: HTTPConnection) -> Viewer | None:
        """Who is logged in."""
        login = self._logins.get(connection.session.get("login", ""))
        ended = connection.session.get("session_id") in self._ended
        return None if login is None or ended else login.viewer

    def viewer_named(self, login: str | None) -> Viewer | None:
        """Who a login stands for."""
        known = self._logins.get(login or "")
        return None if known is None else known.viewer

    def _forget_expired(self) -> None:
        oldest = time.monotonic() - SESSION_SECONDS
        while self._ended and next(iter(self._ended.values())) < oldest:
            self._ended.popitem(last=False)


class BrowserOwners:
    """Which login each of Gradio's browser sessions belongs to: the first that came with it.

    Gradio's own queue hands a session's answers to whoever names the session.
    """

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def owns(self, login: str, session_hash: str) -> bool:
        """Whether a browser session is this login's, claiming it where it is nobody's."""
        with self._lock:
            owner = self._owners.setdefault(session_hash, login)
            self._owners.move_to_end(session_hash)
            if len(self._owners) > _MOST_BROWSERS:
                self._owners.popitem(last=False)
        return owner == login


class Gate:
    """ASGI middleware that lets nothing but the login page through without a login."""

    def __init__(self, app: ASGIApp, sessions: Sessions, owners: BrowserOwners) -> None:
        self._app = app
        self._sessions = sessions
        self._owners = owners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that may not pass; pass on the others."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refusal = self._refusal(Request(scope))
            await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if request.method not in _SAFE_METHODS:
            if not _same_origin(request):
                return _refused(403, "This request came from another site.")
            if not _small_body(request):
                return _refused(413, "This request is too large.")
        path = request.url.path
        if path == LOGIN_PATH:
            return None
        viewer = self._sessions.viewer(request)
        if viewer is None:
            return _to_login(request)
        for role, home in HOME.items():
            if path == home or path.startswith(f"{home}/"):
                return self._page_refusal(request, viewer, role, path.removeprefix(home))
        return None

    def _page_refusal(
        self, request: Request, viewer: Viewer, role: Role, path: str
    ) -> Response | None:
        if viewer.role is not role:
            return _refused(403, "This page is not yours.")
        if not (_GRADIO_API.match(path) or _GRADIO_PAGES.match(path) or not path):
            return _refused(404, "There is nothing here.")
        session_hash = request.query_params.get("session_hash")
        if session_hash and not self._owners.owns(viewer.login, session_hash):
            return _refused(403, "This session is not yours.")
        return None


class SafeHeaders:
    """ASGI middleware that adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and mark its answer."""

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # Pages hold customers' records; only Gradio's own named files may be kept.
                if "/assets/" not in scope["path"] and "/static/" not in scope["path"]:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_marked)


def _same_origin(request: Request) -> bool:
    """Browsers name the origin with every unsafe request; scripts without one hold no cookies."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _small_body(request: Request) -> bool:
    """A body of unknown length would be read whole before anyone could stop it."""
    if "transfer-encoding" in request.headers:
        return False
    length = request.headers.get("content-length", "0")
    return length.isdecimal() and int(length) <= _LARGEST_BODY


def _to_login(request: Request) -> Response:
    wants_page = "text/html" in request.headers.get("accept", "")
    if request.method in _SAFE_METHODS and wants_page:
        return RedirectResponse(LOGIN_PATH, status_code=303)
    return _refused(401, "Please log in.")


def _refused(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status)
