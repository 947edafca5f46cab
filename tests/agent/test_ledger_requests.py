"""One effect a key, for every operation; the audit and the logs that nobody can change."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from agent.errors import LedgerError
from agent.ledger import Claim, ClaimState, Ledger, LoggedDecision
from tests.agent.ledger_hand_made import END, NOW, claim, offer, redeem, reserve, reverse


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def decide(ledger: Ledger, key: str, **changes: object) -> LoggedDecision:
    values: dict[str, object] = {
        "propensity": 0.05,
        "explored": True,
        "expected_gain": 12.5,
        "as_of": NOW,
        "inputs": {"risk": 0.4},
    }
    return ledger.log_decision("7", "tea", idempotency_key=key, **values | changes)  # type: ignore[arg-type]


_OPERATIONS: dict[str, Callable[[Ledger, str], Claim]] = {
    "reserve": lambda ledger, _: reserve(ledger, offer(cap_per_customer=9), "7", "key"),
    "claim": lambda ledger, _: claim(ledger, offer(cap_per_customer=9), "7", "key"),
    "redeem": lambda ledger, claim_id: redeem(ledger, claim_id, "key"),
    "reverse": lambda ledger, claim_id: reverse(ledger, claim_id, "key"),
}


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_a_repeated_request_has_the_first_reply_and_no_effect(
    ledger: Ledger, operation: str
) -> None:
    made = claim(ledger, offer(cap_per_customer=9), "7", "before").claim_id
    first = _OPERATIONS[operation](ledger, made)
    entries, audit, balances = ledger.entries(), ledger.audit(), ledger.balances()
    again = _OPERATIONS[operation](ledger, made)
    assert (first.repeated, again.repeated) == (False, True)
    assert again.record() == first.record()
    assert (ledger.entries(), ledger.audit(), ledger.balances()) == (entries, audit, balances)


def test_the_first_reply_is_given_whatever_happened_since(ledger: Ledger) -> None:
    made = claim(ledger, offer(), "7", "k1")
    redeem(ledger, made.claim_id, "k2")
    later = claim(ledger, offer(cost=99, value=999), "7", "k1", END + timedelta(days=300))
    assert later.repeated
    assert later.record() == made.record()
    assert later.state is ClaimState.CLAIMED


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_the_same_key_for_another_operation_is_an_error(ledger: Ledger, operation: str) -> None:
    made = claim(ledger, offer(cap_per_customer=9), "7", "before").claim_id
    _OPERATIONS[operation](ledger, made)
    balances = ledger.balances()
    with pytest.raises(LedgerError, match=rf"'key' .*operation '{operation}'"):
        decide(ledger, "key")
    assert ledger.balances() == balances
    assert ledger.audit()[-1].what == "refused log_decision"
    assert ledger.decisions() == ()


_OTHERS: dict[str, Callable[[Ledger, str], object]] = {
    "claim for another customer": lambda ledger, _: claim(ledger, offer(), "8", "claim"),
    "claim of another offer": lambda ledger, _: claim(ledger, offer("soap"), "7", "claim"),
    "claim of a reservation": lambda ledger, x: claim(ledger, offer(), "7", "claim", NOW, x),
    "longer reservation": lambda ledger, _: reserve(ledger, offer("b"), "7", "reserve", minutes=31),
    "higher discount": lambda ledger, x: redeem(ledger, x, "redeem", discount=71),
    "other order": lambda ledger, x: redeem(ledger, x, "redeem", order_id="o2"),
    "other reason": lambda ledger, x: ledger.reverse(
        x, reason="b", idempotency_key="reverse", as_of=NOW, decision={}
    ),
    "other order's total": lambda ledger, x: redeem(ledger, x, "redeem", order_total=999),
    "other propensity": lambda ledger, _: decide(ledger, "decide", propensity=0.1),
}


@pytest.mark.parametrize("other", _OTHERS)
def test_the_same_key_with_other_parameters_is_an_error(ledger: Ledger, other: str) -> None:
    made = claim(ledger, offer(), "7", "claim").claim_id
    reserve(ledger, offer("b"), "7", "reserve")
    redeem(ledger, made, "redeem")
    reverse(ledger, made, "reverse")
    decide(ledger, "decide")
    before = ledger.balances(), ledger.entries(), ledger.decisions()
    with pytest.raises(LedgerError, match="was used for another request"):
        _OTHERS[other](ledger, made)
    assert (ledger.balances(), ledger.entries(), ledger.decisions()) == before
    assert ledger.audit()[-1].what.startswith("refused ")


def test_the_same_key_fifty_times_at_once_has_one_effect(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda _: claim(ledger, offer(), "7", "k1"), range(50)))
    assert len({made.claim_id for made in claims}) == 1
    assert sum(not made.repeated for made in claims) == 1
    assert ledger.balances()["tea"].held == 100
    assert [line.what for line in ledger.audit()] == ["budget", "claim"]


def test_a_refused_request_may_be_tried_again_with_its_key(ledger: Ledger) -> None:
    claim(ledger, offer(budget=100), "1", "k1")
    with pytest.raises(LedgerError):
        claim(ledger, offer(budget=100), "2", "k2")
    assert not ledger.has_claim("k2")
    assert not claim(ledger, offer(budget=200), "2", "k2").repeated
    assert ledger.has_claim("k2")


def test_only_a_claim_counts_as_one(ledger: Ledger) -> None:
    reserve(ledger, offer(), "7", "k1")
    assert not ledger.has_claim("k1")


def test_the_audit_has_the_inputs_of_a_refusal(ledger: Ledger) -> None:
    with pytest.raises(LedgerError) as raised:
        claim(ledger, offer(budget=0), "7", "k1")
    (line,) = ledger.audit(what="refused claim")
    assert line.details == {
        "as_of": "2018-01-01T12:00:00.000000+00:00",
        "idempotency_key": "k1",
        "parameters": {"offer_id": "tea", "customer_id": "7", "reservation": None},
        "decision": {"reason": "because"},
        "refusal": raised.value.message,
    }


def test_a_refusal_leaves_nothing_but_its_audit(ledger: Ledger) -> None:
    period_is_spent = offer(period_budget=0, period_days=7, needs_code=True)
    ledger.add_codes("tea", ["A"])
    with pytest.raises(LedgerError, match="for the period"):
        claim(ledger, period_is_spent, "7", "k1")
    assert ledger.balances()["tea"].left == 1000
    assert (ledger.entries(), ledger.codes_left("tea")) == ((), 1)
    no_code = offer("soap", period_budget=100, period_days=7, needs_code=True)
    with pytest.raises(LedgerError, match="no code left"):
        claim(ledger, no_code, "7", "k2")
    assert ledger.view("7", NOW).period_spent == {}
    assert ledger.check() == ()


def test_decisions_are_logged_once_and_read_in_order(ledger: Ledger) -> None:
    first = decide(ledger, "k1")
    assert decide(ledger, "k1").repeated
    none = ledger.log_decision(
        "8",
        None,
        idempotency_key="k2",
        propensity=1.0,
        explored=False,
        expected_gain=-0.25,
        as_of=NOW + timedelta(days=1),
        inputs={},
    )
    assert ledger.decisions() == (first, none)
    assert (first.at, first.offer_id, first.propensity, first.explored) == (NOW, "tea", 0.05, True)
    assert (first.expected_gain, first.inputs, first.repeated) == (12.5, {"risk": 0.4}, False)
    assert ledger.decisions(customer_id="7") == (first,)
    assert ledger.decisions(since=NOW + timedelta(seconds=1)) == (none,)
    assert none.offer_id is None


@pytest.mark.parametrize(
    "wrong", [{"propensity": 0.0}, {"propensity": 1.1}, {"expected_gain": float("nan")}]
)
def test_a_decision_needs_a_chance_and_a_gain(ledger: Ledger, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        decide(ledger, "k1", **wrong)
    assert ledger.decisions() == ()


_KEYS = {
    "audit": "audit_id",
    "entries": "entry_id",
    "replies": "idempotency_key",
    "decisions": "decision_id",
}


@pytest.mark.parametrize("table", _KEYS)
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {table} SET {key} = {key}",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    ],
)
def test_a_log_cannot_be_changed(ledger: Ledger, table: str, sql: str) -> None:
    claim(ledger, offer(), "7", "k1")
    decide(ledger, "k2")
    connection = sqlite3.connect(ledger.path)
    before = connection.execute(f"SELECT * FROM {table}").fetchall()
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
        connection.execute(sql.format(table=table, key=_KEYS[table]))
    connection.rollback()
    assert connection.execute(f"SELECT * FROM {table}").fetchall() == before
    connection.close()


_BY_OTHER_HANDS = {
    "an offer's counter and its entries": "UPDATE budgets SET spent = 150",
    "an offer's counter and its claims": "UPDATE claims SET held = 50",
    "a claim and its entries": "UPDATE claims SET held = 50",
    "a period's counter and its claims": "UPDATE periods SET spent = 0",
    "codes that expired claims still have": "UPDATE claims SET state = 'expired', held = 0",
}


@pytest.mark.parametrize("what", _BY_OTHER_HANDS)
def test_books_changed_by_other_hands_do_not_agree(ledger: Ledger, what: str) -> None:
    ledger.add_codes("tea", ["A"])
    claim(ledger, offer(needs_code=True, period_budget=500, period_days=7), "7", "k1")
    assert ledger.check() == ()
    connection = sqlite3.connect(ledger.path)
    with connection:
        connection.execute(_BY_OTHER_HANDS[what])
    connection.close()
    assert what in {found.what for found in ledger.check()}
