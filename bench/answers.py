"""Ask Patron many questions about real customers and check every answer against the records.

    make answers        (200 answers over 50 households of the demonstration shop)

Counts items outside the catalogue, offers outside offers.toml and numbers that stand in no cited
evidence; each must be 0. Exits with 1 where one is not. The last line printed is one JSON document.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

from agent.agent import Agent
from agent.answers import Answer
from agent.grounding import ungrounded_numbers
from agent.offer_choice import OfferDecision
from agent.offer_file import read_offers
from retrieval.catalogue import Catalogue
from retrieval.shop import Shop
from ui.terminal import progress_bars

QUESTIONS = (
    "Who is this customer?",
    "Are they leaving, and why?",
    "What are they worth?",
    "Recommend something under $5",
    "Recommend something new, but no candy",
    "Why this item?",
    "What can we offer?",
    "Recommend coffee",
)
PER_CUSTOMER = 4


def main() -> None:
    """Ask, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shop", type=Path, default=Path("demo-shop"))
    parser.add_argument("--customers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    agent = Agent.open(arguments.shop)
    everyone = agent.customers(limit=1_000_000)
    chosen = random.Random(arguments.seed).sample(everyone, min(arguments.customers, len(everyone)))
    answers: list[Answer] = []
    started = time.perf_counter()
    with progress_bars() as progress:
        total = len(chosen) * PER_CUSTOMER
        for number, customer_id in enumerate(chosen):
            for turn in range(PER_CUSTOMER):
                question = QUESTIONS[(number + turn) % len(QUESTIONS)]
                answers.append(
                    agent.ask(question, customer_id=customer_id, conversation_id=customer_id)
                )
                progress("Asking", len(answers), total)
    seconds = time.perf_counter() - started
    result = check(answers, agent.shop)
    result["customers"] = len(chosen)
    result["seconds_per_answer"] = round(seconds / len(answers), 2)
    print(json.dumps(result))
    faults = ("items_outside_catalogue", "offers_outside_book", "numbers_not_in_evidence")
    sys.exit(any(result[fault] for fault in faults))


def check(answers: list[Answer], shop: Shop) -> dict[str, int | float]:
    """Count what no answer may hold."""
    catalogue = Catalogue.read(shop.items_file)
    book = read_offers(shop.offers_file, shop.settings.currency, shop.zone)
    items = [item for answer in answers for item in answer.items]
    offers = [a.offer.offer for a in answers if isinstance(a.offer, OfferDecision)]
    written = sum(answer.written_sentences for answer in answers)
    replaced = sum(answer.replaced_sentences for answer in answers)
    return {
        "answers": len(answers),
        "items": len(items),
        "items_outside_catalogue": sum(
            item.item_id not in catalogue.items or catalogue.items[item.item_id].title != item.title
            for item in items
        ),
        "offers": len(offers),
        "offers_outside_book": sum(
            offer.offer_id not in book or book[offer.offer_id] != offer for offer in offers
        ),
        "numbers_not_in_evidence": sum(
            len(ungrounded_numbers(answer.text, [record.text for record in answer.evidence]))
            for answer in answers
        )
        + sum(
            len(ungrounded_numbers(item.reason, [record.text for record in item.evidence]))
            for item in items
        ),
        "sentences_written": written,
        "sentences_replaced": replaced,
        "replaced_share": round(replaced / written, 3) if written else 0.0,
    }


if __name__ == "__main__":
    main()
