"""Many processes at once on one ledger: more demand than budget, codes and caps allow."""

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from agent.errors import LedgerError
from agent.ledger import Ledger
from agent.offers import Offer, OfferKind
from bench.ledger_counts import Acknowledged, Terms
from retrieval.progress import Progress

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
_HOLD = 100
_CAP = 3
_REPORT_EVERY = 50


def make_offer(offer_id: str, *, budget: int, **changes: Any) -> Offer:
    """An offer that runs at `NOW` and holds 100 cents a claim."""
    values: dict[str, Any] = {
        "offer_id": offer_id,
        "title": "$1.00 off",
        "description": "",
        "kind": OfferKind.AMOUNT,
        "value": _HOLD,
        "max_discount": None,
        "cost": 85,
        "budget": budget,
        "cap_per_customer": _CAP,
        "starts": NOW - timedelta(days=14),
        "expires": NOW + timedelta(days=365),
    }
    return Offer(**values | changes)


def terms_of(offer: Offer) -> Terms:
    """What the counts must know of an offer."""
    return Terms(budget=offer.budget, cap=offer.cap_per_customer, has_codes=offer.needs_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What many processes were told.

    Attributes:
        asked: claims asked for.
        refused: those refused, by the first words of why.
        seconds: from the first to the last.
        slowest: the longest answer of each process, seconds.
    """

    offers: tuple[Offer, ...]
    asked: int
    acknowledged: list[Acknowledged]
    refused: int
    seconds: float
    slowest: list[float]


def run_load(path: Path, *, processes: int, claims: int, seed: int, progress: Progress) -> Load:
    """Let each process ask for so many claims, one after another.

    Half of them ask for an offer whose budget pays for half of that, the others for one with codes
    for two fifths. All draw from the same customers, of whom each asks four times and may have
    three: caps race too.

    Args:
        path: where the ledger is made.
        processes: how many.
        claims: of each process.
        seed: of the draw of offers and customers.
        progress: told how many claims were answered.
    """
    asked = processes * claims
    offers = (
        make_offer("one-budget", budget=asked // 4 * _HOLD),
        make_offer("one-code-each", budget=asked * _HOLD, needs_code=True),
    )
    with Ledger(path) as ledger:
        ledger.add_codes("one-code-each", (f"CODE-{number}" for number in range(asked // 5)))
    context = get_context("fork")
    answers = context.SimpleQueue()
    together = context.Barrier(processes + 1)
    workers = [
        context.Process(
            target=_ask, args=(path, offers, worker, claims, asked // 8, seed, together, answers)
        )
        for worker in range(processes)
    ]
    for worker in workers:
        worker.start()
    together.wait()
    began = time.perf_counter()
    found, slowest = _gather(answers, processes, asked, progress)
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.join()
    return Load(
        offers=offers,
        asked=asked,
        acknowledged=found,
        refused=asked - len(found),
        seconds=seconds,
        slowest=slowest,
    )


def _gather(
    answers: "SimpleQueue[Any]", processes: int, asked: int, progress: Progress
) -> tuple[list[Acknowledged], list[float]]:
    acknowledged: list[Acknowledged] = []
    slowest: list[float] = []
    answered = 0
    while len(slowest) < processes:
        message = answers.get()
        if isinstance(message, int):
            answered += message
            progress("claims", answered, asked)
        else:
            acknowledged.extend(message[0])
            slowest.append(message[1])
    return acknowledged, slowest


def _ask(
    path: Path,
    offers: tuple[Offer, ...],
    worker: int,
    claims: int,
    customers: int,
    seed: int,
    together: Barrier,
    answers: "SimpleQueue[Any]",
) -> None:
    draw = random.Random(f"{seed} {worker}")
    ledger = Ledger(path)
    acknowledged: list[Acknowledged] = []
    slowest = 0.0
    together.wait()
    for number in range(claims):
        key = f"{worker}-{number}"
        offer = offers[number % 2]
        customer_id = f"customer-{draw.randrange(max(1, customers))}"
        began = time.perf_counter()
        try:
            made = ledger.claim(
                offer, customer_id, idempotency_key=key, as_of=NOW, decision={"worker": worker}
            )
        except LedgerError:
            pass
        else:
            acknowledged.append(Acknowledged(key=key, claim_id=made.claim_id, code=made.code))
        slowest = max(slowest, time.perf_counter() - began)
        if (number + 1) % _REPORT_EVERY == 0:
            answers.put(_REPORT_EVERY)
    answers.put((acknowledged, slowest))


def ask_with_one_key(path: Path, *, processes: int, times: int) -> tuple[int, int]:
    """Ask for the same claim from many processes at once, with one key.

    Returns:
        How many different claims were answered, and how many answers were not repeats.
    """
    with get_context("fork").Pool(processes) as pool:
        answers = pool.map(_ask_with_the_key, [path] * times, chunksize=1)
    return len({claim_id for claim_id, _ in answers}), sum(not again for _, again in answers)


def _ask_with_the_key(path: Path) -> tuple[str, bool]:
    made = Ledger(path).claim(
        make_offer("one-budget", budget=_HOLD * 1_000),
        "customer",
        idempotency_key="the one key",
        as_of=NOW,
        decision={},
    )
    return made.claim_id, made.repeated
