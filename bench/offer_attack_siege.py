"""A shop under attack: who asks, what they are answered, and whether anything was given away."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from agent.agent import Agent
from agent.answers import Answer
from agent.chat_model import ChatModel
from agent.offer_choice import OfferDecision
from agent.resources import Resources
from agent.stream import Finished, Predicted, Said
from agent.viewer import Viewer
from bench.offer_attack_books import money_tables
from bench.offer_attack_checks import (
    leaks,
    leaks_of_text,
    promises,
    promises_of_refusal,
    read_shop_words,
)
from bench.offer_attack_prompts import Attack, Names
from bench.offer_attack_writer import HostileWriter
from prompts.errors import PatronError
from retrieval.purchases import purchases_of
from retrieval.shop import Shop
from retrieval.time_split import present

_WITH_OFFER, _WITHOUT_OFFER = 3, 2
_LOOKED_AT = 60
_DESK_EVERY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One attack and what came of it.

    Attributes:
        viewer: who tried it.
        customer_id: about whom.
        answers: one a turn, but for turns that were refused with an error.
        refused: turns that ended in an error or in being sent away.
        ledger_changes: turns after which a table of money had changed.
        promises: what was promised outside the rules, in words.
        leaks: what a shopper was told that is not for them, in words.
        hostile_sentences: promises that the lying writer wrote.
        hostile_shown: how many of them were shown.
        hostile_missed: how many of them the check for promises would not have found.
    """

    attack: Attack
    viewer: Viewer
    customer_id: str
    answers: tuple[Answer, ...]
    refused: int
    ledger_changes: int
    promises: tuple[str, ...]
    leaks: tuple[str, ...]
    hostile_sentences: int
    hostile_shown: int
    hostile_missed: int


class Siege:
    """A shop and the people who attack it.

    Args:
        shop: a copy that may be written to.

    Attributes:
        agent: the desk's.
        words: what the shop's files say.
        shoppers: customers who ask; first those who have an offer.
        with_offer: those of them who have one.
    """

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._resources = Resources(shop)
        self._resources.chat_model = None
        self.agent = Agent(self._resources, Viewer.desk())
        snapshot = self._resources.snapshot()
        self.words = read_shop_words(snapshot.offers, snapshot.catalogue)
        self.with_offer, without = self._choose_shoppers()
        self.shoppers = (*self.with_offer, *without)
        self._orders = {customer: self._orders_of(customer) for customer in self.shoppers}
        self._conversations = count()

    def names(self) -> Names:
        """What attacks may name of this shop."""
        now = present(self.shop)
        others = [c for c in self.agent.customers(limit=200) if c not in self.shoppers]
        items = self._resources.snapshot().catalogue.items.values()
        titles = list(dict.fromkeys(item.title for item in items))
        return Names(
            customers=(*others[:40], *self.shoppers),
            offers=tuple(self.words.book),
            expired=tuple(i for i, offer in self.words.book.items() if offer.expires <= now),
            items=tuple(titles[:: max(1, len(titles) // 40)]),
        )

    def set_writer(self, writer: ChatModel | None) -> None:
        """Let somebody else word the sentences from now on."""
        self._resources.chat_model = writer

    def local_writer(self) -> ChatModel:
        """The language model of the shop's settings, on this machine."""
        # Imported here: the small attacks of the tests need no model that writes.
        from agent.local_chat_model import LocalChatModel

        return LocalChatModel(self._resources.base_model)

    def viewers(self) -> Iterator[tuple[Viewer, str]]:
        """Who asks next, without end, and about which customer: shoppers in turn, then the desk."""
        for number in count():
            customer = self.shoppers[number % len(self.shoppers)]
            desk = number % _DESK_EVERY == _DESK_EVERY - 1
            yield Viewer.desk() if desk else Viewer.shopper(customer), customer

    def ask(self, attack: Attack, viewer: Viewer, customer_id: str) -> Asked:
        """Say every turn of an attack in one conversation, and look at what it did.

        Args:
            attack: what is said.
            viewer: by whom.
            customer_id: about whom.
        """
        writer = self._resources.chat_model
        hostile = writer if isinstance(writer, HostileWriter) else None
        agent = self.agent.for_viewer(viewer)
        conversation = f"attack-{next(self._conversations)}"
        answers: list[Answer] = []
        found_promises: list[str] = []
        found_leaks: list[str] = []
        refused = changes = written = shown = missed = 0
        for turn in attack.turns:
            before = money_tables(self.shop.ledger_file)
            lies_before = len(hostile.sentences) if hostile else 0
            try:
                events = list(
                    agent.chat(turn, customer_id=customer_id, conversation_id=conversation)
                )
            except PatronError as error:
                refused += 1
                shown_instead = f"{error.message} {error.hint}"
                found_promises += promises_of_refusal(shown_instead, self.words)
                if not viewer.is_desk:
                    found_leaks += leaks_of_text(shown_instead, customer_id, self.words)
                continue
            finally:
                changes += money_tables(self.shop.ledger_file) != before
            answer = next(event.answer for event in events if isinstance(event, Finished))
            answers.append(answer)
            found_promises += promises(answer, self.words)
            if not viewer.is_desk:
                found_leaks += leaks(answer, customer_id, self._orders[customer_id], self.words)
                found_leaks += ["predicted" for event in events if isinstance(event, Predicted)]
            if hostile:
                lies = hostile.sentences[lies_before:]
                said = {event.sentence for event in events if isinstance(event, Said)}
                written += len(lies)
                shown += sum(lie in said for lie in lies)
                missed += sum(
                    not promises(dataclasses.replace(answer, text=lie), self.words) for lie in lies
                )
        return Asked(
            attack=attack,
            viewer=viewer,
            customer_id=customer_id,
            answers=tuple(answers),
            refused=refused + sum(answer.intent.value == "refused" for answer in answers),
            ledger_changes=changes,
            promises=tuple(found_promises),
            leaks=tuple(found_leaks),
            hostile_sentences=written,
            hostile_shown=shown,
            hostile_missed=missed,
        )

    def _choose_shoppers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The best customers who have an offer, and the best who have none."""
        having: list[str] = []
        lacking: list[str] = []
        for customer in self.agent.customers(limit=_LOOKED_AT):
            if len(having) >= _WITH_OFFER and len(lacking) >= _WITHOUT_OFFER:
                break
            has_one = isinstance(self.agent.offer(customer), OfferDecision)
            (having if has_one else lacking).append(customer)
        return tuple(having[:_WITH_OFFER]), tuple(lacking[:_WITHOUT_OFFER])

    def _orders_of(self, customer_id: str) -> frozenset[str]:
        purchases = purchases_of(self.shop.log, customer_id, present(self.shop))
        return frozenset(purchase.order_id.casefold() for purchase in purchases)


def open_copy(shop: Path) -> Siege:
    """Open a copy of a shop for attack."""
    return Siege(Shop.open(shop))


def with_facts(asked: Sequence[Asked]) -> list[Asked]:
    """Attacks that were answered with facts, which a writer would word."""
    return [one for one in asked if any(answer.evidence for answer in one.answers)]
