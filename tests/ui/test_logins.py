import stat
from pathlib import Path

import pytest

from agent.viewer import Viewer
from ui.logins import (
    DEMO_LOGINS,
    LoginError,
    add_login,
    check_password,
    logins_file,
    read_logins,
    write_demo_logins,
    write_logins,
)

ANNA = Viewer.shopper("1229", "anna")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "logins.toml"


def test_a_password_opens_its_own_login_only(file: Path) -> None:
    add_login(file, Viewer.desk(), "desk-password")
    add_login(file, ANNA, "anna-password")
    logins = read_logins(file)
    assert check_password(logins, "anna", "anna-password") == ANNA
    assert check_password(logins, "desk", "desk-password") == Viewer.desk()
    assert check_password(logins, "desk", "anna-password") is None
    assert check_password(logins, "anna", "") is None
    assert check_password(logins, "nobody", "anna-password") is None


def test_the_file_holds_no_password_and_is_its_owners_alone(file: Path) -> None:
    add_login(file, ANNA, "anna-password")
    assert "anna-password" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_equal_passwords_have_different_hashes(file: Path) -> None:
    first = add_login(file, ANNA, "same-password")
    second = add_login(file, Viewer.desk(), "same-password")
    assert first.password_hash != second.password_hash


def test_writing_and_reading_gives_equal_logins(file: Path) -> None:
    add_login(file, ANNA, "anna-password")
    logins = read_logins(file)
    write_logins(file, logins)
    assert read_logins(file) == logins


def test_an_absent_file_has_no_logins(file: Path) -> None:
    assert read_logins(file) == {}


def test_a_login_is_added_once(file: Path) -> None:
    add_login(file, ANNA, "anna-password")
    with pytest.raises(LoginError, match="a login 'anna' already"):
        add_login(file, ANNA, "other-password")


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "a" * 65, "a\n"])
def test_a_name_that_will_not_do_is_refused(file: Path, name: str) -> None:
    with pytest.raises(LoginError, match="cannot be a login"):
        add_login(file, Viewer.desk(name), "long-enough")


@pytest.mark.parametrize("password", ["", "short", "x" * 201])
def test_a_password_of_the_wrong_length_is_refused(file: Path, password: str) -> None:
    with pytest.raises(LoginError, match=f"has {len(password)} characters"):
        add_login(file, ANNA, password)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("logins = [", "cannot be read"),
        ("other = 1", "is no list of logins"),
        ("[[logins]]\nlogin = 'anna'", "login 'anna': 'role'"),
        (
            f"[[logins]]\nlogin='anna'\nrole='shopper'\npassword='scrypt:{'0' * 32}:{'0' * 64}'",
            "a shopper needs a customer_id",
        ),
        (
            "[[logins]]\nlogin='anna'\nrole='desk'\npassword='plain'",
            "login 'anna': 'password'",
        ),
    ],
)
def test_a_wrong_file_is_named_with_its_login(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(LoginError, match=said) as caught:
        read_logins(file)
    assert str(file) in caught.value.message
    assert caught.value.hint


def test_the_demonstration_logins_open(tmp_path: Path) -> None:
    write_demo_logins(tmp_path)
    logins = read_logins(logins_file(tmp_path))
    for demo in DEMO_LOGINS:
        assert check_password(logins, demo.login, demo.password) == demo.viewer
