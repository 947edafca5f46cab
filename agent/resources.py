"""What answers are made from: log, catalogue, offers, index, models. Kept fresh between answers.

One process holds one `Resources`; every viewer's agent shares it. Before each answer it looks for
a new index generation, adapter, catalogue or offers file, so that what another process wrote is in
the next answer; one answer uses one snapshot throughout.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from agent.chat_model import ChatModel, ServerChatModel
from agent.experiment_files import experiments_stamp, running_experiments
from agent.experiments import Experiment
from agent.ledger import Ledger
from agent.offer_file import shop_offers
from agent.offers import OfferBook
from finetune.base_model import BaseModelFiles, find_base_model, token_counter
from finetune.contacts import CONTACTS_FILE, Contact, contacts_by_customer
from finetune.drivers import Driver, explain
from finetune.indexing import SOURCES
from finetune.item_judge import ItemJudge
from finetune.lora_predictor import LoraPredictor
from finetune.offer_effects import EFFECTS_FILE, OfferEffects, read_effects
from finetune.predictors import Predictor, answering_adapter, open_predictor
from retrieval.assortment import Assortment
from retrieval.catalogue import Catalogue
from retrieval.embedder import Embedder, Vectors, open_embedder
from retrieval.errors import UnknownCustomerError
from retrieval.history import History, history_from_text, render_history
from retrieval.index import (
    Generation,
    current_generation,
    inputs_hash,
    is_current,
    open_generation,
)
from retrieval.orders import CustomerPast, read_pasts
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop
from retrieval.time_split import present
from retrieval.vector_store import CollectionName

_DRIVERS_KEPT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One consistent set of what is read from files.

    Attributes:
        assortment: what the shop may show now.
        effects: what past campaigns changed; None where none were learned yet.
        contacts: past contacts by customer, oldest first.
        experiments: those that withhold offers now.
        index_fits: whether settings, prompts and catalogue are still those of the index.
    """

    generation: Generation
    catalogue: Catalogue
    assortment: Assortment
    offers: OfferBook
    effects: OfferEffects | None
    contacts: Mapping[str, Sequence[Contact]]
    experiments: tuple[Experiment, ...]
    index_fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCustomer:
    """What is known of one customer now.

    Attributes:
        history: from the index where it is still current, else rendered afresh from the log.
        vector: the history's.
    """

    past: CustomerPast
    history: History
    vector: Vectors


class Resources:
    """Opens what a shop's answers need, each part when first needed."""

    def __init__(self, shop: Shop, progress: Progress = no_progress) -> None:
        self.shop = shop
        self.ledger = Ledger(shop.ledger_file)
        self._progress = progress
        self._lock = threading.RLock()
        self._snapshot: tuple[tuple[object, ...], Snapshot] | None = None
        self._retired: Generation | None = None
        # With the adapter's folder; None for patron-base.
        self._predictor: tuple[Path | None, Predictor] | None = None
        # By adapter and history, the oldest first; a history tells every event it was made from.
        self._drivers: dict[tuple[str, History], tuple[Driver, ...]] = {}

    @cached_property
    def base_model(self) -> BaseModelFiles:
        """The base model's files."""
        return find_base_model(self.shop.settings.models.base, self._progress)

    @cached_property
    def count_tokens(self) -> Callable[[str], int]:
        """The base model's token count."""
        return token_counter(self.base_model)

    @cached_property
    def embedder(self) -> Embedder:
        """The shop's embedder."""
        return open_embedder(self.shop.settings.models.embedder)

    @cached_property
    def chat_model(self) -> ChatModel | None:
        """What words the sentences; None where `models.writer` is off."""
        models = self.shop.settings.models
        if models.writer == "off":
            return None
        if models.writer.startswith(("http://", "https://")):
            return ServerChatModel(models.writer, models.writer_model)
        # Imported here: with a server or plain facts, the local model is not loaded.
        from agent.local_chat_model import LocalChatModel

        return LocalChatModel(self.base_model)

    @cached_property
    def item_judge(self) -> ItemJudge:
        """The base model's own judgement of items, for shops that switch it on."""
        return ItemJudge.load(self.base_model)

    def snapshot(self) -> Snapshot:
        """The newest consistent set of files.

        Raises:
            IndexMissingError: the shop has no index.
        """
        with self._lock:
            stamp = (
                current_generation(self.shop),
                _stamp(self.shop.items_file),
                _stamp(self.shop.offers_file),
                _stamp(self.shop.directory / EFFECTS_FILE),
                _stamp(self.shop.directory / CONTACTS_FILE),
                experiments_stamp(self.shop),
                # Experiments begin and end with days; all else has a stamp of its own.
                present(self.shop).astimezone(self.shop.zone).date(),
            )
            if self._snapshot is None or self._snapshot[0] != stamp:
                catalogue = Catalogue.read(self.shop.items_file)
                generation = self._newest_generation()
                self._snapshot = (
                    stamp,
                    Snapshot(
                        generation=generation,
                        index_fits=generation.manifest.inputs == inputs_hash(self.shop, catalogue),
                        catalogue=catalogue,
                        assortment=Assortment(
                            generation.recommender.table, catalogue, self.shop.settings.recommend
                        ),
                        offers=shop_offers(self.shop),
                        effects=read_effects(self.shop),
                        contacts=contacts_by_customer(self.shop),
                        experiments=running_experiments(self.shop, present(self.shop)),
                    ),
                )
            return self._snapshot[1]

    def _newest_generation(self) -> Generation:
        """The open generation while it is the newest, else that one, newly opened.

        The one in use before stays open, for an answer may still read it; the one before that is
        closed.
        """
        in_use = None if self._snapshot is None else self._snapshot[1].generation
        if in_use is not None and in_use.name == current_generation(self.shop):
            return in_use
        newest = open_generation(self.shop, self.embedder, SOURCES)
        if self._retired is not None:
            self._retired.vectors.close()
        self._retired = in_use
        return newest

    def predictor(self) -> Predictor:
        """The current adapter on its base model; patron-base where the shop has no adapter.

        Raises:
            AdapterError: the adapter is damaged, gone, or does not fit the shop.
        """
        with self._lock:
            folder = answering_adapter(self.shop)
            if self._predictor is None or self._predictor[0] != folder:
                self._predictor = (folder, open_predictor(self.shop, folder, self.base_model))
            return self._predictor[1]

    def drivers(self, predictor: LoraPredictor, known: KnownCustomer) -> tuple[Driver, ...]:
        """What each line of a customer's history adds; computed once while the history stands.

        Raises:
            AdapterError: the adapter was made before drivers.
        """
        key = (predictor.manifest.adapter_id, known.history)
        with self._lock:
            kept = self._drivers.get(key)
        if kept is not None:
            return kept
        drivers = explain(predictor, known.past, known.history, self.shop.settings).lines
        with self._lock:
            while len(self._drivers) >= _DRIVERS_KEPT:
                del self._drivers[next(iter(self._drivers))]
            self._drivers[key] = drivers
        return drivers

    def customer(
        self, snapshot: Snapshot, customer_id: str, as_of: datetime | None = None
    ) -> KnownCustomer:
        """What is known of one customer, from the log, with the text from the index if current.

        Raises:
            UnknownCustomerError: the customer has no order before the moment.
        """
        moment = as_of or present(self.shop)
        pasts = list(read_pasts(self.shop.log, moment, [customer_id]))
        if not pasts:
            raise UnknownCustomerError(
                f"There is no customer '{customer_id}' with an order before {moment:%Y-%m-%d}.",
                hint="Check the id; ingest the customer's events if they are new.",
            )
        past = pasts[0]
        stored = None
        if snapshot.index_fits:
            entries = snapshot.generation.vectors.get(CollectionName.HISTORIES, [customer_id])
            stored = entries.get(customer_id)
        if stored is not None and is_current(stored.metadata, past):
            return KnownCustomer(
                past=past, history=history_from_text(past, stored.text), vector=stored.vector
            )
        fresh = render_history(
            past,
            settings=self.shop.settings,
            catalogue=snapshot.catalogue,
            count_tokens=self.count_tokens,
        )
        return KnownCustomer(past=past, history=fresh, vector=self.embedder.embed([fresh.text])[0])

    def similar_left(
        self, snapshot: Snapshot, known: KnownCustomer, count: int = 10
    ) -> tuple[int, int] | None:
        """How many of the most similar past customers left: (left, of); None without outcomes.

        The customer's own past is never among them.
        """
        near = snapshot.generation.vectors.nearest(CollectionName.OUTCOMES, known.vector, count + 1)
        others = [n for n in near if n.id != known.past.customer_id][:count]
        if not others:
            return None
        return sum(bool(n.metadata["churned"]) for n in others), len(others)


def _stamp(file: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced."""
    if not file.exists():
        return None
    status = file.stat()
    return (status.st_mtime_ns, status.st_ino)
