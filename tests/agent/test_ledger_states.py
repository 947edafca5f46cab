"""From reservation to reversal: each step, its money, and what may not follow what."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import LedgerError
from agent.ledger import Balance, Claim, ClaimState, Ledger
from tests.agent.ledger_hand_made import END, NOW, WHY, claim, offer, redeem, reserve, reverse


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def money(ledger: Ledger) -> list[tuple[str, int]]:
    return [(entry.what, entry.amount) for entry in ledger.entries(offer_id="tea")]


def test_a_reservation_holds_until_its_time_is_over(ledger: Ledger) -> None:
    kept = reserve(ledger, offer(), "7", "k1", minutes=30)
    assert (kept.state, kept.held, kept.expires) == (
        ClaimState.RESERVED,
        100,
        NOW + timedelta(minutes=30),
    )
    assert ledger.expire(NOW + timedelta(minutes=29)) == 0
    assert ledger.expire(NOW + timedelta(minutes=30)) == 1
    assert ledger.expire(NOW + timedelta(minutes=31)) == 0
    assert ledger.balances()["tea"] == Balance(opening=1000, held=0, redeemed=0, left=1000)
    assert money(ledger) == [("hold", 100), ("release", -100)]
    assert [line.what for line in ledger.audit()] == ["budget", "reserve", "expire"]
    assert ledger.check() == ()


def test_a_reservation_does_not_outlive_its_offer(ledger: Ledger) -> None:
    assert reserve(ledger, offer(), "7", "k1", END - timedelta(minutes=1)).expires == END


def test_a_reservation_must_last(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="ttl"):
        reserve(ledger, offer(), "7", "k1", minutes=0)


def test_a_reservation_becomes_a_claim_and_keeps_its_money_and_code(ledger: Ledger) -> None:
    coded = offer(needs_code=True)
    ledger.add_codes("tea", ["A"])
    kept = reserve(ledger, coded, "7", "k1")
    later = NOW + timedelta(minutes=5)
    dearer = offer(needs_code=True, value=900, budget=100)
    made = claim(ledger, dearer, "7", "k2", later, kept.claim_id)
    assert (made.claim_id, made.state, made.code) == (kept.claim_id, ClaimState.CLAIMED, "A")
    assert (made.held, made.claimed_at, made.expires) == (100, NOW, END)
    assert money(ledger) == [("hold", 100)]
    assert ledger.expire(NOW + timedelta(days=1)) == 0


def test_only_the_customer_of_a_reservation_may_claim_it_and_once(ledger: Ledger) -> None:
    kept = reserve(ledger, offer(), "7", "k1").claim_id
    for taken, customer_id in [(offer(), "8"), (offer("soap"), "7")]:
        with pytest.raises(LedgerError, match="is of another offer or customer"):
            claim(ledger, taken, customer_id, "k2", NOW, kept)
    claim(ledger, offer(), "7", "k3", NOW, kept)
    with pytest.raises(LedgerError, match="is claimed, so"):
        claim(ledger, offer(), "7", "k4", NOW, kept)
    with pytest.raises(LedgerError, match="no claim 'nothing'"):
        claim(ledger, offer(), "7", "k5", NOW, "nothing")


def test_a_reservation_whose_time_is_over_cannot_be_claimed(ledger: Ledger) -> None:
    kept = reserve(ledger, offer(), "7", "k1", minutes=30)
    with pytest.raises(LedgerError, match="is expired, so"):
        claim(ledger, offer(), "7", "k2", NOW + timedelta(minutes=30), kept.claim_id)
    assert ledger.balances()["tea"].held == 0
    assert ledger.check() == ()


def test_what_is_over_pays_for_the_next_without_a_sweeper(ledger: Ledger) -> None:
    small = offer(budget=100)
    reserve(ledger, small, "7", "k1", minutes=1)
    with pytest.raises(LedgerError, match="used up"):
        claim(ledger, small, "8", "k2", NOW + timedelta(seconds=59))
    assert claim(ledger, small, "8", "k3", NOW + timedelta(minutes=1)).held == 100
    assert ledger.check() == ()


def test_redeeming_books_the_discount_and_releases_the_rest(ledger: Ledger) -> None:
    made = claim(ledger, offer(), "7", "k1")
    used = redeem(ledger, made.claim_id, "k2", discount=70)
    assert (used.state, used.held, used.discount) == (ClaimState.REDEEMED, 0, 70)
    assert ledger.balances()["tea"] == Balance(opening=1000, held=0, redeemed=70, left=930)
    assert money(ledger) == [("hold", 100), ("release", -100), ("discount", 70)]
    assert ledger.expire(END) == 0
    assert ledger.view("7", NOW).running == ()
    assert ledger.view("7", NOW).claims == {"tea": (NOW,)}


@pytest.mark.parametrize("discount", [0, 100])
def test_any_discount_up_to_the_hold_may_be_redeemed(ledger: Ledger, discount: int) -> None:
    made = claim(ledger, offer(), "7", "k1")
    assert redeem(ledger, made.claim_id, "k2", discount=discount).discount == discount
    assert ledger.check() == ()


@pytest.mark.parametrize("discount", [101, -1])
def test_no_other_discount_is_redeemed(ledger: Ledger, discount: int) -> None:
    made = claim(ledger, offer(), "7", "k1")
    with pytest.raises(LedgerError, match=f"holds 100 and cannot pay a discount of {discount}"):
        redeem(ledger, made.claim_id, "k2", discount=discount)
    assert ledger.balances()["tea"] == Balance(opening=1000, held=100, redeemed=0, left=900)


def test_a_claim_is_redeemed_by_one_order(ledger: Ledger) -> None:
    made = claim(ledger, offer(), "7", "k1")
    redeem(ledger, made.claim_id, "k2", order_id="o1")
    for order_id in ("o1", "o2"):
        with pytest.raises(LedgerError, match="is redeemed, so"):
            redeem(ledger, made.claim_id, "k3", order_id=order_id)


def test_an_order_redeems_only_what_fits_together(ledger: Ledger) -> None:
    first = claim(ledger, offer("a", exclusive_group="g", cap_per_customer=2), "7", "k1")
    redeem(ledger, first.claim_id, "k2")
    refused = [
        claim(ledger, offer("a", exclusive_group="g", cap_per_customer=2), "7", "k3"),
        claim(ledger, offer("c"), "8", "k4"),
    ]
    reverse(ledger, refused[0].claim_id, "k5")
    refused[0] = claim(ledger, offer("a", cap_per_customer=2), "7", "k6")
    fits = claim(ledger, offer("b", exclusive_group="g"), "7", "k7")
    refused.append(fits)
    for number, each in enumerate(refused):
        with pytest.raises(LedgerError, match="may not stand beside"):
            redeem(ledger, each.claim_id, f"r{number}")
    stacks = claim(ledger, offer("d"), "7", "k8")
    redeem(ledger, stacks.claim_id, "k9")
    reverse(ledger, refused[0].claim_id, "k10")
    reverse(ledger, fits.claim_id, "k11")
    alone = claim(ledger, offer("e", stackable=False), "7", "k12")
    with pytest.raises(LedgerError, match="may not stand beside"):
        redeem(ledger, alone.claim_id, "k13")
    redeem(ledger, alone.claim_id, "k13", order_id="o2")


def test_an_order_takes_off_no_more_than_it_costs(ledger: Ledger) -> None:
    first, second = (
        claim(ledger, offer(offer_id), "7", offer_id).claim_id for offer_id in ("tea", "soap")
    )
    redeem(ledger, first, "k1", discount=70, order_total=100)
    with pytest.raises(LedgerError, match="Order 'o1' costs 100, of which 70 is taken off"):
        redeem(ledger, second, "k2", discount=31, order_total=100)
    assert redeem(ledger, second, "k2", discount=30, order_total=100).discount == 30


def test_who_redeemed_and_took_back_is_in_the_audit(ledger: Ledger) -> None:
    made = claim(ledger, offer(), "7", "k1").claim_id
    redeem(ledger, made, "k2")
    reverse(ledger, made, "k3")
    for what in ("redeem", "reverse"):
        (line,) = ledger.audit(what=what)
        assert line.details["decision"] == WHY


def test_a_reservation_must_be_claimed_before_it_is_redeemed(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="is reserved, so"):
        redeem(ledger, reserve(ledger, offer(), "7", "k1").claim_id, "k2")


def test_a_claim_cannot_be_redeemed_after_the_offer(ledger: Ledger) -> None:
    made = claim(ledger, offer(), "7", "k1")
    with pytest.raises(LedgerError, match="is expired, so"):
        redeem(ledger, made.claim_id, "k2", discount=1, now=END)
    assert ledger.balances()["tea"].left == 1000


@pytest.mark.parametrize(
    ("make", "what"), [(claim, "release"), (reserve, "release"), (None, "return")]
)
def test_a_reversal_brings_everything_back(
    ledger: Ledger, make: Callable[..., Claim] | None, what: str
) -> None:
    made = (make or claim)(ledger, offer(), "7", "k1")
    if make is None:
        redeem(ledger, made.claim_id, "k2")
    back = reverse(ledger, made.claim_id, "k3")
    assert (back.state, back.held, back.discount) == (ClaimState.REVERSED, 0, 0)
    assert ledger.balances()["tea"] == Balance(opening=1000, held=0, redeemed=0, left=1000)
    assert money(ledger)[-1] == (what, -70 if make is None else -100)
    assert ledger.audit(what="reverse")[0].details["parameters"]["reason"] == "a return"
    assert ledger.check() == ()


def test_what_is_over_cannot_be_reversed(ledger: Ledger) -> None:
    made = claim(ledger, offer(cap_per_customer=2), "7", "k1").claim_id
    reverse(ledger, made, "k2")
    with pytest.raises(LedgerError, match="is reversed, so"):
        reverse(ledger, made, "k3")
    over = claim(ledger, offer(cap_per_customer=2), "7", "k4").claim_id
    with pytest.raises(LedgerError, match="is expired, so"):
        reverse(ledger, over, "k5", END)
    assert ledger.balances()["tea"].left == 1000
    with pytest.raises(LedgerError, match="no claim 'nothing'"):
        reverse(ledger, "nothing", "k6")


def test_the_order_of_a_reversed_claim_is_free_again(ledger: Ledger) -> None:
    first = claim(ledger, offer(), "7", "k1").claim_id
    redeem(ledger, first, "k2")
    reverse(ledger, first, "k3")
    second = claim(ledger, offer(), "7", "k4").claim_id
    assert redeem(ledger, second, "k5").state is ClaimState.REDEEMED


def test_entries_are_dated_by_the_request(ledger: Ledger) -> None:
    made = claim(ledger, offer(), "7", "k1")
    claim(ledger, offer("soap"), "7", "k2")
    assert [entry.at for entry in ledger.entries()] == [NOW, NOW]
    assert [entry.claim_id for entry in ledger.entries(claim_id=made.claim_id)] == [made.claim_id]
    written = ledger.audit()[0].at
    assert abs(written - datetime.now(UTC)) < timedelta(minutes=5)
