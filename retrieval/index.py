"""Build and open index generations: texts, vectors and the recommender, rebuilt at will.

`index/current` names the generation that readers use. A build works in a hidden folder, is renamed
when whole, and only then does the pointer move; a reader sees the old generation or the new.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from prompts.library import load_prompt
from retrieval.catalogue import Catalogue
from retrieval.embedder import Embedder, Vectors
from retrieval.embedding_cache import EmbeddingCache, text_id
from retrieval.errors import IndexMissingError, ShopError, StorageError
from retrieval.history import render_history, usual_spend
from retrieval.item_table import ItemTable, item_table
from retrieval.learning import fit_recommender
from retrieval.lines import read_lines
from retrieval.orders import CustomerPast, read_pasts
from retrieval.outcomes import has_churned, spend_between
from retrieval.progress import Progress, no_progress
from retrieval.recommender import Recommender
from retrieval.shop import Shop, write_atomically
from retrieval.source_kinds import SOURCE_KINDS, SourceKind
from retrieval.source_names import SourceName
from retrieval.text_similarity import Similar
from retrieval.time_split import present
from retrieval.vector_store import CollectionName, VectorStore

# Raise it when what a generation stores, or how its texts are made, changes.
_FORMAT = 2
_CURRENT = "current"
_RECOMMENDER = "recommender"
_MANIFEST = "generation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationManifest:
    """What a generation was built from.

    Attributes:
        log_version: the event log's version.
        as_of: ISO moment up to which histories and sales are told.
        outcome_cutoff: ISO moment of the past outcomes' histories.
        inputs: hash of everything else that shapes texts and candidates.
        ranking_learnt: whether the log was large enough to learn a ranking.
    """

    log_version: int
    as_of: str
    outcome_cutoff: str
    embedder: str
    inputs: str
    histories: int
    outcomes: int
    item_texts: int
    ranking_learnt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What `build_index` did; `embedded` counts texts that were not known before."""

    generation: str
    manifest: GenerationManifest
    rebuilt: bool
    embedded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    id: str
    text: str
    metadata: Mapping[str, str | int | float | bool]


class Generation:
    """An open generation."""

    def __init__(
        self, folder: Path, embedder: Embedder, kinds: Mapping[SourceName, SourceKind]
    ) -> None:
        self.name = folder.name
        self.manifest = _read_manifest(folder)
        self.vectors = VectorStore(folder / "chroma", embedder)
        self.recommender = Recommender.load(folder / _RECOMMENDER, kinds)
        similar = self.recommender.sources.get(SourceName.SIMILAR)
        if isinstance(similar, Similar):
            self.recommender.sources[SourceName.SIMILAR] = similar.with_index(self._nearest_texts)
        self._text_codes = {id_: code for code, id_ in enumerate(self.recommender.table.text_ids)}

    def _nearest_texts(self, vector: Vectors, count: int) -> list[int]:
        near = self.vectors.nearest_items(vector, count)
        return [self._text_codes[n.id] for n in near if n.id in self._text_codes]


def build_index(
    shop: Shop,
    embedder: Embedder,
    count_tokens: Callable[[str], int],
    *,
    kinds: Mapping[SourceName, SourceKind] = SOURCE_KINDS,
    progress: Progress = no_progress,
) -> IndexReport:
    """Bring the shop's index up to date with its log and catalogue.

    Starts from the current generation where its embedder is the same, writes only what differs,
    and embeds only texts never seen; a killed build loses at most one batch of embeddings.

    Args:
        shop: with a log.
        embedder: the shop's.
        count_tokens: the base model's token count, for the histories' budget.
        kinds: how each candidate source is learnt.
        progress: told of every step.

    Raises:
        ShopError: the log is empty.
        StorageError: the disk refuses; the current generation stays.
    """
    with shop.lock("index"), _storage_errors(shop.index):
        as_of = present(shop)
        log_version = shop.log.version()
        catalogue = Catalogue.read(shop.items_file)
        inputs = inputs_hash(shop, catalogue)
        current = _current_folder(shop)
        if current is not None:
            manifest = _read_manifest(current)
            if (manifest.log_version, manifest.inputs, manifest.embedder) == (
                log_version,
                inputs,
                embedder.name,
            ):
                return IndexReport(
                    generation=current.name, manifest=manifest, rebuilt=False, embedded=0
                )
        building = shop.index / ".building"
        shutil.rmtree(building, ignore_errors=True)
        if current is not None and _read_manifest(current).embedder == embedder.name:
            shutil.copytree(current / "chroma", building / "chroma")
        cutoff = as_of - timedelta(days=shop.settings.churn.horizon_days)
        progress("Rendering histories", 0, 2)
        entries = {CollectionName.HISTORIES: _histories(shop, catalogue, as_of, count_tokens)}
        progress("Rendering histories", 1, 2)
        entries[CollectionName.OUTCOMES] = _outcomes(shop, catalogue, cutoff, count_tokens)
        progress("Rendering histories", 2, 2)
        entries[CollectionName.ITEMS] = _item_texts(catalogue)
        embedded = _write_vectors(shop, building, embedder, entries, progress)
        recommender = _recommender(shop, catalogue, embedder, as_of, kinds, progress)
        recommender.save(building / _RECOMMENDER)
        manifest = GenerationManifest(
            log_version=log_version,
            as_of=as_of.isoformat(),
            outcome_cutoff=cutoff.isoformat(),
            embedder=embedder.name,
            inputs=inputs,
            histories=len(entries[CollectionName.HISTORIES]),
            outcomes=len(entries[CollectionName.OUTCOMES]),
            item_texts=len(entries[CollectionName.ITEMS]),
            ranking_learnt=recommender.learnt,
        )
        write_atomically(building / _MANIFEST, json.dumps(asdict(manifest), indent=2).encode())
        generation = _publish(shop, building, manifest)
        return IndexReport(
            generation=generation, manifest=manifest, rebuilt=True, embedded=embedded
        )


def _recommender(
    shop: Shop,
    catalogue: Catalogue,
    embedder: Embedder,
    as_of: datetime,
    kinds: Mapping[SourceName, SourceKind],
    progress: Progress,
) -> Recommender:
    names = shop.settings.recommend.sources
    unknown = [name.value for name in names if name not in kinds]
    if unknown:
        raise ShopError(
            f"recommend.sources names '{unknown[0]}', which cannot be learnt here.",
            hint=f"Choose among: {', '.join(kind.value for kind in kinds)}.",
        )
    table = item_table(catalogue)
    vectors = text_vectors(shop, catalogue, table, embedder)
    lines = read_lines(shop.log, table, as_of)
    return fit_recommender(lines, table, vectors, as_of, names, kinds, progress=progress)


def text_vectors(shop: Shop, catalogue: Catalogue, table: ItemTable, embedder: Embedder) -> Vectors:
    """Vectors of the catalogue's texts by the table's text codes: `[texts, dimension]`."""
    texts = {text_id(item.text): item.text for item in catalogue.items.values()}
    cache = EmbeddingCache(shop.index / "embeddings.db", embedder)
    return cache.embed([texts[id_] for id_ in table.text_ids], lambda _done, _total: None)


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk says into one clear sentence."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write the index {folder}: {error}.",
            hint="Free some space or make the directory writable, then run it again.",
        ) from error


def current_generation(shop: Shop) -> str | None:
    """Name of the generation readers should use; None where there is none."""
    folder = _current_folder(shop)
    return folder.name if folder else None


def open_generation(
    shop: Shop, embedder: Embedder, kinds: Mapping[SourceName, SourceKind] = SOURCE_KINDS
) -> Generation:
    """Open the current generation.

    Raises:
        IndexMissingError: there is none, or it was built with another embedder.
    """
    folder = _current_folder(shop)
    if folder is None:
        raise IndexMissingError(
            f"{shop.directory} has no index.",
            hint=f"Build it: patron index --shop {shop.directory}",
        )
    return Generation(folder, embedder, kinds)


def _current_folder(shop: Shop) -> Path | None:
    pointer = shop.index / _CURRENT
    if not pointer.is_file():
        return None
    folder = shop.index / pointer.read_text(encoding="utf-8").strip()
    if not (folder / _MANIFEST).is_file():
        return None
    try:
        _read_manifest(folder)
    except TypeError:  # of an older Patron, whose generations hold something else
        return None
    return folder


def _read_manifest(folder: Path) -> GenerationManifest:
    return GenerationManifest(**json.loads((folder / _MANIFEST).read_text(encoding="utf-8")))


def inputs_hash(shop: Shop, catalogue: Catalogue) -> str:
    """Hash of all but the log that shapes a generation: format, prompt, settings, catalogue."""
    digest = hashlib.sha256(f"{_FORMAT}:{load_prompt('history').sha256}".encode())
    settings = shop.settings
    for part in (settings.churn, settings.limits, settings.currency, settings.timezone):
        digest.update(str(part).encode())
    digest.update(settings.models.base.encode())
    digest.update(str(settings.recommend.sources).encode())
    # Prices, costs and stock change by the hour and shape no text.
    for item_id in sorted(catalogue.items):
        item = catalogue.items[item_id]
        digest.update(f"{item_id}\0{item.title}\0{item.category}\0".encode())
    return digest.hexdigest()


def _histories(
    shop: Shop, catalogue: Catalogue, as_of: datetime, count_tokens: Callable[[str], int]
) -> list[_Entry]:
    entries = []
    for past in read_pasts(shop.log, as_of):
        history = render_history(
            past, settings=shop.settings, catalogue=catalogue, count_tokens=count_tokens
        )
        entries.append(
            _Entry(id=past.customer_id, text=history.text, metadata=_rendered_from(past))
        )
    return entries


def is_current(metadata: Mapping[str, object], past: CustomerPast) -> bool:
    """Whether a stored history was rendered from exactly this past."""
    return all(metadata.get(key) == value for key, value in _rendered_from(past).items())


def _rendered_from(past: CustomerPast) -> dict[str, str | int | float | bool]:
    return {
        "as_of": past.as_of.isoformat(),
        "event_count": past.event_count,
        "last_event": past.last_event.isoformat(),
    }


def _outcomes(
    shop: Shop, catalogue: Catalogue, cutoff: datetime, count_tokens: Callable[[str], int]
) -> list[_Entry]:
    """Histories at the newest cut-off whose horizon has passed, with what came of them."""
    horizon = shop.settings.churn.horizon_days
    after = spend_between(shop.log, cutoff, cutoff + timedelta(days=horizon))
    entries = []
    for past in read_pasts(shop.log, cutoff):
        history = render_history(
            past, settings=shop.settings, catalogue=catalogue, count_tokens=count_tokens
        )
        spend = after.get(past.customer_id)
        usual = usual_spend(past, horizon)
        entries.append(
            _Entry(
                id=past.customer_id,
                text=history.text,
                metadata={
                    "spend": spend or 0,
                    "churned": has_churned(shop.settings.churn.definition, spend, usual),
                    "cutoff": cutoff.isoformat(),
                },
            )
        )
    return entries


def _item_texts(catalogue: Catalogue) -> list[_Entry]:
    texts = sorted({item.text for item in catalogue.items.values()})
    return [_Entry(id=text_id(text), text=text, metadata={"kind": "item"}) for text in texts]


def _write_vectors(
    shop: Shop,
    building: Path,
    embedder: Embedder,
    entries: Mapping[CollectionName, Sequence[_Entry]],
    progress: Progress,
) -> int:
    cache = EmbeddingCache(shop.index / "embeddings.db", embedder)
    store = VectorStore(building / "chroma", embedder)
    embedded = 0
    try:
        known = {name: store.metadata(name) for name in entries}
        if _lost_customers(known, entries):
            # Chroma's files keep what is deleted; of one who was erased nothing may stay.
            store.close()
            shutil.rmtree(building / "chroma")
            store = VectorStore(building / "chroma", embedder)
            known = {name: {} for name in entries}
        for name, wanted in entries.items():
            counts = [0, 0]

            def on_batch(
                done: int, total: int, name: CollectionName = name, counts: list[int] = counts
            ) -> None:
                counts[:] = [done, total]
                progress(f"Embedding {name}", done, total)

            stored = known[name]
            changed = [entry for entry in wanted if stored.get(entry.id) != _fingerprinted(entry)]
            vectors = cache.embed([entry.text for entry in changed], on_batch)
            embedded += counts[1]
            for done in store.upsert(
                name,
                [entry.id for entry in changed],
                [entry.text for entry in changed],
                vectors,
                [_fingerprinted(entry) for entry in changed],
            ):
                progress(f"Indexing {name}", done, len(changed))
            kept = {entry.id for entry in wanted}
            store.delete(name, [id_ for id_ in stored if id_ not in kept])
    finally:
        store.close()
    return embedded


def _lost_customers(
    known: Mapping[CollectionName, Mapping[str, object]],
    entries: Mapping[CollectionName, Sequence[_Entry]],
) -> bool:
    return any(
        known[name].keys() - {entry.id for entry in entries[name]}
        for name in (CollectionName.HISTORIES, CollectionName.OUTCOMES)
    )


def _fingerprinted(entry: _Entry) -> dict[str, str | int | float | bool]:
    return {**entry.metadata, "text_id": text_id(entry.text)}


def _publish(shop: Shop, building: Path, manifest: GenerationManifest) -> str:
    """Rename the finished build, move the pointer, and drop all but the previous generation."""
    previous = current_generation(shop)
    # Never a name that was used before: a reader would take it for what it has open.
    name = f"{manifest.log_version:06d}-{uuid.uuid4().hex[:8]}"
    folder = shop.index / name
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    write_atomically(shop.index / _CURRENT, f"{name}\n".encode())
    for old in shop.index.iterdir():
        # The previous one stays: a reader may be in the middle of an answer.
        if old.is_dir() and old.name not in (name, previous):
            shutil.rmtree(old)
    return name
