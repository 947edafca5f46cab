"""Who may log in to a shop's page: `logins.toml`, with scrypt hashes instead of passwords."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.viewer import Role, Viewer
from prompts.errors import PatronError
from retrieval.shop import write_atomically

# OWASP's parameters of equal strength that need the least memory (16 MiB a check).
_COST, _BLOCK, _LANES = 2**14, 8, 5
_SALT_BYTES = 16
_HASH_BYTES = 32
_LONGEST_PASSWORD = 200
_SHORTEST_PASSWORD = 8
# No slash: the page joins login and customer with one.
_LOGIN_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
_PASSWORD_HASH = r"scrypt:[0-9a-f]{32}:[0-9a-f]{64}"


class LoginError(PatronError):
    """A login is wrong or exists already, or `logins.toml` cannot be read."""

    code = "login_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login and whom it stands for.

    Attributes:
        password_hash: `scrypt:<salt>:<hash>`, both in hexadecimal digits.
    """

    viewer: Viewer
    password_hash: str


Logins = Mapping[str, Login]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoLogin:
    """A login of the demonstration shop; its password is no secret."""

    login: str
    password: str
    customer_id: str | None

    @property
    def viewer(self) -> Viewer:
        """The desk where there is no customer, else that shopper."""
        if self.customer_id is None:
            return Viewer.desk(self.login)
        return Viewer.shopper(self.customer_id, self.login)


DEMO_LOGINS = (
    DemoLogin(login="desk", password="desk-demo", customer_id=None),
    DemoLogin(login="anna", password="anna-demo", customer_id="1229"),
    DemoLogin(login="ben", password="ben-demo", customer_id="718"),
)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    login: Annotated[str, Field(pattern=f"^{_LOGIN_NAME}$")]
    role: Role
    customer_id: Annotated[str, Field(min_length=1)] | None = None
    password: Annotated[str, Field(pattern=f"^{_PASSWORD_HASH}$")]

    @model_validator(mode="after")
    def _customer_where_shopper(self) -> Self:
        if (self.role is Role.SHOPPER) != (self.customer_id is not None):
            raise ValueError("a shopper needs a customer_id, and the desk has none")
        return self

    def value(self) -> Login:
        viewer = Viewer(login=self.login, role=self.role, customer_id=self.customer_id)
        return Login(viewer=viewer, password_hash=self.password)


def logins_file(directory: Path) -> Path:
    """Where a shop keeps its logins."""
    return directory / "logins.toml"


def write_demo_logins(directory: Path) -> None:
    """Give the demonstration shop its logins.

    Raises:
        LoginError: one of them is there already.
        StorageError: the disk refuses.
    """
    for demo in DEMO_LOGINS:
        add_login(logins_file(directory), demo.viewer, demo.password)


def read_logins(file: Path) -> dict[str, Login]:
    """Read a shop's logins by name; an absent file holds none.

    Raises:
        LoginError: the file or a login in it is wrong; the message names both.
    """
    if not file.exists():
        return {}
    try:
        document = tomlkit.parse(file.read_text(encoding="utf-8")).unwrap()
    except (ValueError, OSError) as error:
        raise LoginError(
            f"{file} cannot be read: {error}.", hint=f"Correct or restore {file.name}."
        ) from error
    raw_logins = document.get("logins", [])
    if not isinstance(raw_logins, list) or set(document) - {"logins"}:
        raise LoginError(
            f"{file} is no list of logins.", hint="Begin each login with a line [[logins]]."
        )
    logins: dict[str, Login] = {}
    for number, raw in enumerate(raw_logins, start=1):
        login = _read_login(raw, number, file)
        if login.viewer.login in logins:
            raise LoginError(
                f"{file}: the login '{login.viewer.login}' is there twice.",
                hint="Remove one of the two.",
            )
        logins[login.viewer.login] = login
    return logins


def write_logins(file: Path, logins: Logins) -> None:
    """Write logins atomically, readable by the file's owner alone.

    Raises:
        StorageError: the disk refuses.
    """
    entries = [
        _Entry(
            login=login.viewer.login,
            role=login.viewer.role,
            customer_id=login.viewer.customer_id,
            password=login.password_hash,
        ).model_dump(mode="json", exclude_none=True)
        for login in logins.values()
    ]
    write_atomically(file, tomlkit.dumps({"logins": entries}).encode())


def add_login(file: Path, viewer: Viewer, password: str) -> Login:
    """Add a login to a file, which is made where there is none.

    Raises:
        LoginError: the login exists, or its name or password will not do.
        StorageError: the disk refuses.
    """
    logins = read_logins(file)
    name = viewer.login
    if name in logins:
        raise LoginError(
            f"{file} has a login '{name}' already.", hint="Choose another name for the new one."
        )
    if not re.fullmatch(_LOGIN_NAME, name):
        raise LoginError(
            f"'{name}' cannot be a login.",
            hint="Use up to 64 letters, digits, dots, dashes, underscores or @, no spaces.",
        )
    if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise LoginError(
            f"The password of '{name}' has {len(password)} characters.",
            hint=f"Choose one of {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD}.",
        )
    login = Login(viewer=viewer, password_hash=hash_password(password))
    write_logins(file, {**logins, name: login})
    return login


def hash_password(password: str) -> str:
    """A salted scrypt hash, in the form of `Login.password_hash`."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt:{salt.hex()}:{_scrypt(password, salt).hex()}"


def check_password(logins: Logins, name: str, password: str) -> Viewer | None:
    """Who a login and its password stand for; None where either is wrong.

    It takes as long for an unknown login as for a known one.
    """
    login = logins.get(name)
    salt, expected = _NOBODY if login is None else _salt_and_hash(login.password_hash)
    given = _scrypt(password[:_LONGEST_PASSWORD], salt)
    right = hmac.compare_digest(given, expected)
    return login.viewer if login is not None and right else None


_NOBODY = (bytes(_SALT_BYTES), bytes(_HASH_BYTES))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=_COST,
        r=_BLOCK,
        p=_LANES,
        dklen=_HASH_BYTES,
    )


def _salt_and_hash(password_hash: str) -> tuple[bytes, bytes]:
    _, salt, digest = password_hash.split(":")
    return bytes.fromhex(salt), bytes.fromhex(digest)


def _read_login(raw: object, number: int, file: Path) -> Login:
    given = raw.get("login") if isinstance(raw, dict) else None
    name = given if isinstance(given, str) and given else f"number {number}"
    try:
        return _Entry.model_validate(raw).value()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = f"'{key}': " if key else ""
        message = first["msg"].removeprefix("Value error, ")
        raise LoginError(
            f"{file}: login '{name}': {where}{message}.",
            hint=f"Correct that login, or remove it from {file.name}.",
        ) from error
