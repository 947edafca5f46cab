"""Accepting what an attack names: the rules refuse, the books stay as they were.

One acceptance within the rules comes with them, so that a shop which refuses everything, or books
which never move, are noticed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.agent import Agent
from agent.offer_choice import OfferDecision
from agent.viewer import Viewer
from bench.offer_attack_books import given_out
from bench.offer_attack_checks import leaks_of_text
from bench.offer_attack_prompts import DISGUISES
from bench.offer_attack_siege import Siege
from prompts.errors import PatronError
from retrieval.time_split import present

_MOST_EACH = 5
_REPEATS = 8
_INVENTED = (
    "", "*", "free", "90", "100% off", "' OR 1=1 --", "../offers", "null", "all", "SAVE90",
    '{"offer_id": "mine", "value": 9000}',
)  # fmt: skip


@dataclass(slots=True)
class Accepts:
    """What came of accepting.

    Attributes:
        refused: attempts outside the rules that were refused.
        legitimate: acceptances within the rules that were granted, each with one effect.
        leaks: what a refusal told a shopper that is not for them, in words.
        faults: what else went wrong, in words.
    """

    refused: int = 0
    legitimate: int = 0
    leaks: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    what: str
    agent: Agent
    customer_id: str
    offer_id: str
    key: str


def try_to_accept(siege: Siege) -> Accepts:
    """Accept what attacks name, then one offer as the rules allow, then more than they allow.

    Args:
        siege: its first shopper must have an offer.

    Raises:
        ValueError: none of its shoppers has an offer, so nothing would be shown.
    """
    if not siege.with_offer:
        raise ValueError("no customer of the shop has an offer; nothing can be accepted")
    found = Accepts()
    customer = siege.with_offer[0]
    decision = siege.agent.offer(customer)
    assert isinstance(decision, OfferDecision)
    offer_id = decision.offer.offer_id
    for attempt in _before(siege, customer, offer_id):
        _must_be_refused(siege, attempt, found)
    shopper = siege.agent.for_viewer(Viewer.shopper(customer))
    _must_be_granted(siege, shopper, customer, offer_id, found)
    for attempt in _after(siege, shopper, customer, offer_id):
        _must_be_refused(siege, attempt, found)
    return found


def _before(siege: Siege, customer: str, offer_id: str) -> Iterator[_Try]:
    """Offers that are over, closed to this customer, unknown, or asked for by another."""
    shopper = siege.agent.for_viewer(Viewer.shopper(customer))
    now, book = present(siege.shop), siege.words.book
    considered = siege.agent.offer(customer).considered
    over = [i for i, offer in book.items() if offer.expires <= now]
    closed = [
        i
        for i, lines in considered.items()
        if i not in over and not all(line.passed for line in lines)
    ]
    tries = [("an offer that is over", i) for i in over[:_MOST_EACH]]
    tries += [("an offer closed to them", i) for i in closed[:_MOST_EACH]]
    tries += [("an invented offer", i) for i in _INVENTED]
    tries += [
        ("an offer in disguise", disguised)
        for disguised in (disguise(offer_id) for disguise in DISGUISES.values())
        if disguised not in book
    ]
    for number, (what, named) in enumerate(tries):
        for agent in (shopper, siege.agent):
            login = agent.viewer.role.value
            yield _Try(
                what=what,
                agent=agent,
                customer_id=customer,
                offer_id=named,
                key=f"before-{login}-{number}",
            )
    for other in siege.shoppers[1:]:
        thief = siege.agent.for_viewer(Viewer.shopper(other))
        yield _Try(
            what="another customer's offer",
            agent=thief,
            customer_id=customer,
            offer_id=offer_id,
            key=f"thief-{other}",
        )
    for stranger in ("nobody", "", "*", f"{customer} ", f"{customer}' OR '1'='1"):
        yield _Try(
            what="for somebody unknown",
            agent=siege.agent,
            customer_id=stranger,
            offer_id=offer_id,
            key=f"stranger-{stranger}",
        )


def _after(siege: Siege, shopper: Agent, customer: str, offer_id: str) -> Iterator[_Try]:
    """The same again, one more of its group, and the key that was granted for something else."""
    book = siege.words.book
    for number in range(_REPEATS * book[offer_id].cap_per_customer):
        yield _Try(
            what="over the cap",
            agent=shopper if number % 2 else siege.agent,
            customer_id=customer,
            offer_id=offer_id,
            key=f"again-{number}",
        )
    group = book[offer_id].exclusive_group
    rivals = [i for i, o in book.items() if o.exclusive_group == group and i != offer_id]
    for rival in rivals[:_MOST_EACH]:
        yield _Try(
            what="a second of its group",
            agent=shopper,
            customer_id=customer,
            offer_id=rival,
            key=f"rival-{rival}",
        )
    for other_offer in [i for i in book if i != offer_id][:_MOST_EACH]:
        yield _Try(
            what="the granted key for another offer",
            agent=shopper,
            customer_id=customer,
            offer_id=other_offer,
            key=_GRANTED,
        )
    for other in siege.shoppers[1:]:
        yield _Try(
            what="the granted key for another customer",
            agent=siege.agent.for_viewer(Viewer.shopper(other)),
            customer_id=other,
            offer_id=offer_id,
            key=_GRANTED,
        )


_GRANTED = "the-one-granted"


def _must_be_refused(siege: Siege, attempt: _Try, found: Accepts) -> None:
    before = given_out(siege.shop.ledger_file)
    try:
        attempt.agent.accept_offer(
            attempt.customer_id, attempt.offer_id, idempotency_key=attempt.key
        )
    except PatronError as error:
        found.refused += 1
        viewer = attempt.agent.viewer
        if viewer.customer_id is not None:
            found.leaks += [
                f"refusing {attempt.what} {leak}"
                for leak in leaks_of_text(
                    f"{error.message} {error.hint}", viewer.customer_id, siege.words
                )
            ]
    else:
        found.faults.append(f"granted: {attempt.what} ({attempt.offer_id!r})")
    if given_out(siege.shop.ledger_file) != before:
        found.faults.append(f"the books moved: {attempt.what} ({attempt.offer_id!r})")


def _must_be_granted(
    siege: Siege, shopper: Agent, customer: str, offer_id: str, found: Accepts
) -> None:
    """One acceptance within the rules moves the books; repeating it does not."""
    before = given_out(siege.shop.ledger_file)
    first = shopper.accept_offer(customer, offer_id, idempotency_key=_GRANTED)
    after = given_out(siege.shop.ledger_file)
    claims = [row for row in after["claims"] if row not in before["claims"]]
    if len(claims) != 1 or first.claim_id not in claims[0] or first.repeated:
        found.faults.append(f"an acceptance within the rules made {len(claims)} claims")
    elif first.cost != siege.words.book[offer_id].cost:
        found.faults.append(f"an acceptance within the rules cost {first.cost}")
    else:
        found.legitimate += 1
    again = shopper.accept_offer(customer, offer_id, idempotency_key=_GRANTED)
    if (
        again.claim_id != first.claim_id
        or not again.repeated
        or given_out(siege.shop.ledger_file) != after
    ):
        found.faults.append("the same acceptance again had an effect of its own")
