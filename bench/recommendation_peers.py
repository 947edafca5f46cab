"""What Patron's recommendations are measured against, each tuned on the validation window.

A peer is a candidate source used alone: the items of its highest scores are its list.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from finetune.gru4rec import Gru4Rec
from finetune.mult_vae import MultVae
from retrieval.counting_sources import OwnRepeats, Popular, RecentOwnRepeats, Trending
from retrieval.embedder import Embedder
from retrieval.item_neighbours import BoughtTogether, Ease
from retrieval.latent_sources import Als, Svd
from retrieval.source_kinds import SourceInput
from retrieval.sources import CandidateSource
from retrieval.text_similarity import Similar
from retrieval.vector_store import CollectionName, VectorStore

Fit = Callable[[SourceInput], CandidateSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A system by name, with the settings that it is tried with on validation.

    Attributes:
        trials: from what the settings are called to how the peer is then learnt.
    """

    name: str
    trials: Mapping[str, Fit]


def peers(chroma: Path, embedder: Embedder) -> Sequence[Peer]:
    """Every peer.

    Args:
        chroma: an empty folder for the index that the last peer asks.
        embedder: of the vectors it holds.
    """
    return (
        Peer(name="popular", trials={"": lambda g: Popular.fit(g.lines, len(g.table))}),
        Peer(
            name="recently popular",
            trials={f"{days} days": partial(_trending, days) for days in (7, 14, 28, 56)},
        ),
        Peer(name="own repeats", trials={"": lambda _: OwnRepeats()}),
        Peer(
            name="recent own repeats",
            trials={f"half-life {days}": partial(_own_recent, days) for days in (15, 30, 60, 120)},
        ),
        Peer(
            name="item-knn",
            trials={
                f"neighbours {k}, power {power}": _fitted(
                    BoughtTogether.fit, neighbours=k, power=power, with_self=True
                )
                for k in (50, 200)
                for power in (0.0, 0.5, 1.0)
            },
        ),
        Peer(
            name="als",
            trials={
                f"dimension {d}, confidence {c}": _fitted(Als.fit, dimension=d, confidence=c)
                for d in (32, 64, 128)
                for c in (1.0, 5.0)
            },
        ),
        Peer(
            name="ease",
            trials={
                f"lambda {r}, power {power}": _fitted(Ease.fit, regularisation=r, power=power)
                for r in (100.0, 300.0, 1000.0)
                for power in (0.0, 0.5)
            },
        ),
        Peer(
            name="svd",
            trials={
                f"dimension {d}": _fitted(Svd.fit, dimension=d) for d in (32, 64, 128, 256, 512)
            },
        ),
        Peer(
            name="mult-vae",
            trials={f"beta {beta}": _fitted(MultVae.fit, beta=beta) for beta in (0.05, 0.2)},
        ),
        Peer(
            name="gru4rec",
            trials={"": _fitted(Gru4Rec.fit)},
        ),
        Peer(
            name="chroma similarity",
            trials={"": partial(_chroma, chroma, embedder)},
        ),
    )


def _fitted(fit: Callable[..., CandidateSource], **settings: Any) -> Fit:
    return lambda given: fit(given.lines, len(given.table), **settings)


def _trending(days: int, given: SourceInput) -> CandidateSource:
    return Trending.fit(given.lines, len(given.table), given.as_of, days=days)


def _own_recent(days: float, _: SourceInput) -> CandidateSource:
    return RecentOwnRepeats(days)


def _chroma(folder: Path, embedder: Embedder, given: SourceInput) -> CandidateSource:
    """Similar items as the real index names them."""
    store = VectorStore(folder, embedder)
    ids = list(given.table.text_ids)
    if store.count(CollectionName.ITEMS) != len(ids):
        kinds = [{"kind": "item"}] * len(ids)
        list(store.upsert(CollectionName.ITEMS, ids, ids, given.vectors, kinds))
    code = {id_: number for number, id_ in enumerate(ids)}
    similar = Similar.fit(given.vectors, given.table.text, np.asarray(given.sales.customers))
    return similar.with_index(
        lambda vector, count: [code[n.id] for n in store.nearest_items(vector, count)],
        with_own=True,
    )
