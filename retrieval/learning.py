"""Learn a recommender from a log: its sources, and its ranker from months that are over."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np

from retrieval.baskets import Baskets, baskets_of
from retrieval.embedder import Vectors
from retrieval.features import feature_names
from retrieval.item_sales import item_sales
from retrieval.item_table import ItemTable
from retrieval.lines import Ints, Lines
from retrieval.progress import Progress, no_progress
from retrieval.ranker import Examples, Ranker
from retrieval.recommender import HORIZON, OWN_SOURCES, Recommender, found_by_sources, merged
from retrieval.source_kinds import SourceInput, SourceKind
from retrieval.source_names import SourceName

_WINDOWS = 2  # past months that the ranker learns from
_MOST_CUSTOMERS = 2_000  # a window
_FEWEST_CUSTOMERS = 100  # a window
_FEWEST_PURCHASES = 1_000  # foreseen by candidates, over all windows
_NEWCOMERS = 0.15  # share of customers who stand in once more with one order, and with none
_NEW_ITEMS = 0.10  # share of items whose past sales are hidden
_CHUNK = 256


def fit_recommender(
    lines: Lines,
    table: ItemTable,
    vectors: Vectors,
    as_of: datetime,
    names: Sequence[SourceName],
    kinds: Mapping[SourceName, SourceKind],
    *,
    seed: int = 7,
    progress: Progress = no_progress,
) -> Recommender:
    """Learn the sources, and the ranker from the last months before the moment.

    For each of the last months, sources are learnt from what came before it, and the ranker from
    what was then bought in it; so no example has seen its own outcome. Some items' past is hidden,
    and some customers stand in once more without theirs, so that the ranker knows what is new.

    Args:
        lines: bought lines; those from `as_of` on are not read.
        table: the items.
        vectors: `[texts, dimension]` of the item texts, by text code.
        as_of: the moment.
        names: the shop's sources.
        kinds: how each is learnt.
        seed: of the choice of customers and items, and of the trees.
        progress: told of every step.
    """
    names = list(dict.fromkeys(names))
    past = lines.between(None, as_of)
    cuts = _cuts(past, as_of)
    steps = len(cuts) + 2
    examples = []
    for number, cut in enumerate(cuts):
        progress("Learning to recommend", number, steps)
        examples.append(_window(past, table, vectors, cut, names, kinds, seed + number))
    progress("Learning to recommend", len(cuts), steps)
    ranker = None
    if sum(int(part.bought.sum()) for part in examples) >= _FEWEST_PURCHASES:
        scored = tuple(name for name in names if name not in OWN_SOURCES)
        ranker = Ranker.fit(_joined(examples), feature_names(scored), seed=seed)
    progress("Learning to recommend", len(cuts) + 1, steps)
    recommender = _with_sources(past, table, vectors, as_of, names, kinds)
    recommender.ranker = ranker
    progress("Learning to recommend", steps, steps)
    return recommender


def _cuts(past: Lines, as_of: datetime) -> list[datetime]:
    """Starts of the last months that have a month of past and enough customers."""
    cuts = []
    for back in range(_WINDOWS, 0, -1):
        cut = as_of - back * HORIZON
        before, during = past.between(None, cut - HORIZON), past.between(cut, cut + HORIZON)
        if len(before.item) and len(np.unique(during.customer)) >= _FEWEST_CUSTOMERS:
            cuts.append(cut)
    return cuts


def _with_sources(
    past: Lines,
    table: ItemTable,
    vectors: Vectors,
    as_of: datetime,
    names: Sequence[SourceName],
    kinds: Mapping[SourceName, SourceKind],
) -> Recommender:
    sales = item_sales(past, len(table), as_of)
    given = SourceInput(lines=past, table=table, sales=sales, vectors=vectors, as_of=as_of)
    return Recommender(table, sales, {name: kinds[name].fit(given) for name in names}, None, as_of)


def _window(
    past: Lines,
    table: ItemTable,
    vectors: Vectors,
    cut: datetime,
    names: Sequence[SourceName],
    kinds: Mapping[SourceName, SourceKind],
    seed: int,
) -> Examples:
    """Candidates as they were at a moment, with what was bought in the month after."""
    random = np.random.default_rng(seed)
    hidden = random.choice(len(table), int(len(table) * _NEW_ITEMS), replace=False)
    before = past.between(None, cut)
    # Who had bought a hidden item says nothing of what is new.
    told = np.unique((before.customer * len(table) + before.item)[np.isin(before.item, hidden)])
    before = before.without_items(hidden)
    during = past.between(cut, cut + HORIZON)
    recommender = _with_sources(before, table, vectors, cut, names, kinds)
    customers = np.unique(during.customer)
    if len(customers) > _MOST_CUSTOMERS:
        customers = np.sort(random.choice(customers, _MOST_CUSTOMERS, replace=False))
    bought = np.unique(during.customer * len(table) + during.item)
    return _joined(
        [
            _examples(recommender, baskets, who, bought, told)
            for who, baskets in _stand_ins(before, cut, len(table), customers, random)
        ]
    )


def _stand_ins(
    before: Lines, cut: datetime, items: int, customers: Ints, random: np.random.Generator
) -> Iterator[tuple[Ints, Baskets]]:
    """Customers with their past, and some once more with one order of it, and with none."""
    yield customers, baskets_of(before, cut, items, customers)
    count = int(len(customers) * _NEWCOMERS)
    some = np.sort(random.choice(customers, count, replace=False))
    yield some, baskets_of(before.of_last_orders(), cut, items, some)
    others = np.sort(random.choice(customers, count, replace=False))
    yield others, baskets_of(before.without_orders(before.order), cut, items, others)


def _examples(
    recommender: Recommender, baskets: Baskets, customers: Ints, bought: Ints, told: Ints
) -> Examples:
    """Candidates of customers with whether they are among those bought, without those told."""
    items = len(recommender.table)
    parts = []
    for start in range(0, len(customers), _CHUNK):
        chunk = baskets.rows(start, min(len(customers), start + _CHUNK))
        matrices = {name: source.scores(chunk) for name, source in recommender.sources.items()}
        customer, item = merged(found_by_sources(chunk, matrices, False, None), items)
        keys = customers[start + customer] * items + item
        usable = ~np.isin(keys, told, assume_unique=True)
        customer, item, keys = customer[usable], item[usable], keys[usable]
        own = chunk.customer * items + chunk.item
        parts.append(
            Examples(
                features=recommender.describe(chunk, matrices, customer, item),
                bought=np.isin(keys, bought, assume_unique=True),
                own=np.isin(customer * items + item, own, assume_unique=True),
            )
        )
    return _joined(parts)


def _joined(parts: Sequence[Examples]) -> Examples:
    return Examples(
        features=np.concatenate([part.features for part in parts]),
        bought=np.concatenate([part.bought for part in parts]),
        own=np.concatenate([part.own for part in parts]),
    )
