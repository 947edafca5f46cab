"""The ledger's benchmark: small and whole, and that its counts can find what they look for."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agent.ledger import Ledger
from bench import ledger as bench
from bench.ledger_counts import Acknowledged, Counts, Terms, count_breaches
from bench.ledger_kills import run_kills
from bench.ledger_load import NOW, make_offer, run_load
from retrieval.progress import no_progress

_SOUND = Counts(overspend=0, cap_breaches=0, double_codes=0, balanced=True, lost=0)
_TERMS = {"tea": Terms(budget=200, cap=1, has_codes=True)}


def test_a_small_run_holds_and_ends_in_one_json_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--processes", "6", "--claims", "20", "--kills", "3", "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["ledger", *options])
    with pytest.raises(SystemExit) as left:
        bench.main()
    assert left.value.code == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.pop("claims_per_second") > 0
    assert figures.pop("hardware")
    assert "commit" in figures
    figures.pop("commit")
    assert figures == {
        "claims": 120,
        "overspend": 0,
        "cap_breaches": 0,
        "double_codes": 0,
        "balanced": True,
        "kills": 3,
        "lost": 0,
    }
    assert list(tmp_path.iterdir()) == []


def test_the_load_meets_every_limit(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    run_load(path, processes=4, claims=40, seed=0, progress=no_progress)
    refusals = {
        line.details["refusal"].partition("'")[0]
        for line in Ledger(path).audit()
        if "refused" in line.what
    }
    assert refusals == {"Customer ", "The budget of offer ", "Offer "}


def test_kills_reach_every_point_of_a_claim(tmp_path: Path) -> None:
    killed = run_kills(tmp_path / "ledger.db", kills=36, seed=0, progress=no_progress)
    assert killed.survived == killed.half_done == 0
    assert killed.repaired == 36
    assert {
        "before BEGIN IMMEDIATE",
        "before UPDATE claims",
        "before INSERT claims",
        "before INSERT replies",
        "inside INSERT audit",
        "before COMMIT",
        "in the middle of COMMIT",
        "after COMMIT, before the answer",
        "in the middle of the checkpoint",
        "after the checkpoint",
    } <= set(killed.points)


def _sound_ledger(path: Path) -> list[Acknowledged]:
    acknowledged = []
    with Ledger(path) as ledger:
        ledger.add_codes("tea", ["A", "B", "C"])
        for customer_id in ("1", "2"):
            made = ledger.claim(
                make_offer("tea", budget=200, needs_code=True),
                customer_id,
                idempotency_key=customer_id,
                as_of=NOW,
                decision={},
            )
            acknowledged.append(
                Acknowledged(key=customer_id, claim_id=made.claim_id, code=made.code)
            )
    return acknowledged


@pytest.mark.parametrize(
    ("sql", "wrong"),
    [
        ("UPDATE claims SET held = 150", {"overspend", "balanced"}),
        ("UPDATE claims SET customer_id = '1'", {"cap_breaches"}),
        ("UPDATE codes SET claim_id = NULL WHERE code = 'A'", {"double_codes"}),
        ("UPDATE budgets SET spent = spent - 1", {"balanced"}),
        (
            "INSERT INTO entries VALUES (9, '', 'tea', (SELECT claim_id FROM claims), 'hold', 1)",
            {"balanced"},
        ),
        ("INSERT INTO replies VALUES ('k', 'claim', '', '{}')", {"balanced"}),
        ("DELETE FROM claims WHERE customer_id = '1'", {"balanced", "lost"}),
    ],
)
def test_a_wrong_ledger_is_found_out(tmp_path: Path, sql: str, wrong: set[str]) -> None:
    path = tmp_path / "ledger.db"
    acknowledged = _sound_ledger(path)
    assert count_breaches(path, _TERMS, acknowledged) == _SOUND
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)
    found = count_breaches(path, _TERMS, acknowledged)
    assert {
        name for name in Counts.__slots__ if getattr(found, name) != getattr(_SOUND, name)
    } == wrong


def test_a_code_told_to_two_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    first, second = _sound_ledger(path)
    told = [first, Acknowledged(key=second.key, claim_id=second.claim_id, code=first.code)]
    assert count_breaches(path, _TERMS, told).double_codes == 1
