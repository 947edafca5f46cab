"""Random requests against a model in plain Python.

2,000 runs: python -m pytest tests/agent/test_ledger_machine.py --hypothesis-profile=deep
"""

import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.errors import LedgerError
from agent.ledger import Claim, ClaimState, Ledger
from agent.offers import Offer
from tests.agent.ledger_hand_made import NOW, claim, offer, reserve
from tests.agent.ledger_model import Model, ModelClaim

# Two thousand runs take longer than a test may otherwise.
pytestmark = pytest.mark.timeout(3_600)

_TERMS: dict[str, dict[str, object]] = {
    "a": {
        "cap_per_customer": 1,
        "cap_days": 1,
        "period_budget": 150,
        "period_days": 1,
        "exclusive_group": "g",
    },
    "b": {"cap_per_customer": 2, "needs_code": True, "exclusive_group": "g"},
    "c": {"value": 60, "cost": 70, "stackable": False},
    "d": {"cap_per_customer": 3, "needs_code": True, "period_budget": 250, "period_days": 2},
}
# Few values that add up to one another: what begins or ends at the same moment is met often.
_OFFERS = st.sampled_from("abcd")
_CUSTOMERS = st.sampled_from("12")
_KEYS = st.integers(0, 60).map(str)
_WHICH = st.integers(0, 6)


class Books(RuleBasedStateMachine):
    """Every reply, refusal and sum of the ledger is as the model has it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.directory.name) / "ledger.db")
        with self.ledger._lock:
            # What the disk keeps is for other tests; waiting for it would be most of the time.
            self.ledger._connected().execute("PRAGMA synchronous = OFF")
        self.model = Model(now=NOW)
        self.budgets = dict.fromkeys(_TERMS, 300)
        self.replies: dict[str, tuple[tuple[object, ...], Mapping[str, object]]] = {}

    def teardown(self) -> None:
        self.ledger.close()
        self.directory.cleanup()

    @initialize()
    def begin_with_codes_and_a_claim(self) -> None:
        self.add_codes("b", [1, 2])
        self.add_codes("d", [1, 2])
        self.claim("a", "1", "first")

    @rule(name=_OFFERS, budget=st.integers(0, 600))
    def change_the_budget(self, name: str, budget: int) -> None:
        self.budgets[name] = budget

    @rule(hours=st.sampled_from([1, 6, 24]))
    def advance(self, hours: int) -> None:
        self.model.now += timedelta(hours=hours)

    @rule(name=_OFFERS, numbers=st.lists(st.integers(0, 9), max_size=4))
    def add_codes(self, name: str, numbers: list[int]) -> None:
        codes = [f"{name}{number}" for number in numbers]
        known = self.model.codes.setdefault(name, [])
        new = [code for code in dict.fromkeys(codes) if code not in known]
        assert self.ledger.add_codes(name, codes) == len(new)
        known.extend(new)

    @rule(
        name=_OFFERS,
        customer_id=_CUSTOMERS,
        key=_KEYS,
        minutes=st.sampled_from([60, 360, 1_440]),
    )
    def reserve(self, name: str, customer_id: str, key: str, minutes: int) -> None:
        now, taken = self.model.now, self._offer(name)
        until = min(now + timedelta(minutes=minutes), taken.expires)
        self._ask(
            key,
            ("reserve", name, customer_id, minutes),
            self.model.may_take(taken, customer_id),
            lambda: reserve(self.ledger, taken, customer_id, key, now, minutes),
            lambda made: self._taken(made, taken, ClaimState.RESERVED, until),
        )

    @rule(name=_OFFERS, customer_id=_CUSTOMERS, key=_KEYS)
    def claim(self, name: str, customer_id: str, key: str) -> None:
        now, taken = self.model.now, self._offer(name)
        self._ask(
            key,
            ("claim", name, customer_id, None),
            self.model.may_take(taken, customer_id),
            lambda: claim(self.ledger, taken, customer_id, key, now),
            lambda made: self._taken(made, taken, ClaimState.CLAIMED, taken.expires),
        )

    @rule(which=_WHICH, customer_id=_CUSTOMERS, key=_KEYS)
    def take_up_a_reservation(self, which: int, customer_id: str, key: str) -> None:
        kept = self._known(which)
        taken = self._offer(kept.offer.offer_id)
        now = self.model.now
        expected = (
            kept.is_open(now)
            and kept.state is ClaimState.RESERVED
            and kept.customer_id == customer_id
        )

        def change(_: Claim) -> None:
            kept.state, kept.until = ClaimState.CLAIMED, taken.expires

        self._ask(
            key,
            ("claim", taken.offer_id, customer_id, kept.claim_id),
            expected,
            lambda: claim(self.ledger, taken, customer_id, key, now, kept.claim_id),
            change,
        )

    @rule(
        which=_WHICH,
        order_id=st.sampled_from("xy"),
        order_total=st.sampled_from([60, 120, 1_000]),
        discount=st.integers(0, 110),
        key=_KEYS,
    )
    def redeem(self, which: int, order_id: str, order_total: int, discount: int, key: str) -> None:
        known = self._known(which)

        def change(_: Claim) -> None:
            known.state, known.discount, known.order_id = ClaimState.REDEEMED, discount, order_id
            if known.code is not None:
                self.model.used_codes.add(known.code)

        self._ask(
            key,
            ("redeem", known.claim_id, order_id, order_total, discount),
            self.model.may_redeem(known, order_id, order_total, discount),
            lambda: self.ledger.redeem(
                known.claim_id,
                order_id=order_id,
                order_total=order_total,
                discount=discount,
                idempotency_key=key,
                as_of=self.model.now,
                decision={},
            ),
            change,
        )

    @rule(which=_WHICH, reason=st.sampled_from(["return", "mistake"]), key=_KEYS)
    def reverse(self, which: int, reason: str, key: str) -> None:
        known = self._known(which)

        def change(_: Claim) -> None:
            known.state, known.discount, known.order_id = ClaimState.REVERSED, 0, None

        self._ask(
            key,
            ("reverse", known.claim_id, reason),
            not known.is_over(self.model.now),
            lambda: self.ledger.reverse(
                known.claim_id,
                reason=reason,
                idempotency_key=key,
                as_of=self.model.now,
                decision={},
            ),
            change,
        )

    @rule()
    def expire(self) -> None:
        self.ledger.expire(self.model.now)
        for name, balance in self.ledger.balances().items():
            assert balance.held + balance.redeemed == self.model.spent(name)
        assert self.ledger.expire(self.model.now) == 0

    @invariant()
    def the_books_agree(self) -> None:
        assert self.ledger.check() == ()
        for name, balance in self.ledger.balances().items():
            entries = sum(entry.amount for entry in self.ledger.entries(offer_id=name))
            assert balance.left == balance.opening - entries
            assert balance.left == balance.opening - balance.held - balance.redeemed

    @invariant()
    def the_view_is_the_models(self) -> None:
        now = self.model.now
        for customer_id in "12":
            view = self.ledger.view(customer_id, now)
            mine = self.model.of_customer(customer_id)
            for name in _TERMS:
                moments = sorted(x.taken_at for x in mine if x.offer.offer_id == name)
                assert list(view.claims.get(name, ())) == moments
                assert view.spent.get(name, 0) == self.model.spent(name)
                assert view.codes_left.get(name, 0) == len(self.model.free_codes(name))
                taken = self._offer(name)
                if taken.period_days is not None:
                    in_period = self.model.spent_in_period(taken)
                    assert view.period_spent.get(name, 0) == in_period
            running = sorted((x.offer.offer_id, x.until) for x in mine if x.is_open(now))
            assert sorted((x.offer_id, x.until) for x in view.running) == running

    def _offer(self, name: str) -> Offer:
        return offer(
            name, budget=self.budgets[name], expires=NOW + timedelta(days=5), **_TERMS[name]
        )

    def _known(self, which: int) -> ModelClaim:
        return list(self.model.claims.values())[which % len(self.model.claims)]

    def _taken(self, made: Claim, taken: Offer, state: ClaimState, until: object) -> None:
        free = self.model.free_codes(taken.offer_id)
        assert made.code == (free[0] if taken.needs_code else None)
        assert (made.state, made.held, made.expires) == (state, taken.hold, until)
        self.model.claims[made.claim_id] = ModelClaim(
            claim_id=made.claim_id,
            offer=taken,
            customer_id=made.customer_id,
            state=state,
            taken_at=self.model.now,
            until=made.expires,
            hold=taken.hold,
            code=made.code,
        )

    def _ask(
        self,
        key: str,
        request: tuple[object, ...],
        allowed: bool,
        ask: Callable[[], Claim],
        change: Callable[[Claim], None],
    ) -> None:
        """Ask the ledger, and expect what the stored replies or else the model say."""
        stored = self.replies.get(key)
        try:
            made = ask()
        except LedgerError:
            assert stored[0] != request if stored else not allowed
            return
        if stored is None:
            assert allowed
            assert not made.repeated
            change(made)
            self.replies[key] = (request, made.record())
        else:
            assert made.repeated
            assert (request, made.record()) == stored


Books.TestCase.settings = settings(stateful_step_count=20)
TestBooks = Books.TestCase
