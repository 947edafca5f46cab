"""How each candidate source is learnt and read again, by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from retrieval.counting_sources import OwnRepeats, Popular, RecentOwnRepeats, Trending
from retrieval.embedder import Vectors
from retrieval.item_neighbours import BoughtTogether, Ease
from retrieval.item_sales import ItemSales
from retrieval.item_table import ItemTable
from retrieval.latent_sources import Als, Svd
from retrieval.lines import Lines
from retrieval.source_names import SourceName
from retrieval.sources import CandidateSource
from retrieval.text_similarity import Similar


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInput:
    """What a source may learn from.

    Attributes:
        lines: all before `as_of`.
        vectors: `[texts, dimension]` of the item texts, by text code.
    """

    lines: Lines
    table: ItemTable
    sales: ItemSales
    vectors: Vectors
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One kind of source: `fit` learns it, `load` reads what its `save` wrote."""

    fit: Callable[[SourceInput], CandidateSource]
    load: Callable[[Path], CandidateSource]


SOURCE_KINDS: Mapping[SourceName, SourceKind] = {
    SourceName.OWN: SourceKind(fit=lambda _: OwnRepeats(), load=OwnRepeats.load),
    SourceName.OWN_RECENT: SourceKind(fit=lambda _: RecentOwnRepeats(), load=RecentOwnRepeats.load),
    SourceName.TOGETHER: SourceKind(
        fit=lambda given: BoughtTogether.fit(given.lines, len(given.table)),
        load=BoughtTogether.load,
    ),
    SourceName.EASE: SourceKind(
        fit=lambda given: Ease.fit(given.lines, len(given.table)), load=Ease.load
    ),
    SourceName.SIMILAR: SourceKind(
        fit=lambda given: Similar.fit(given.vectors, given.table.text, given.sales.customers),
        load=Similar.load,
    ),
    SourceName.POPULAR: SourceKind(
        fit=lambda given: Popular.fit(given.lines, len(given.table)), load=Popular.load
    ),
    SourceName.TRENDING: SourceKind(
        fit=lambda given: Trending.fit(given.lines, len(given.table), given.as_of),
        load=Trending.load,
    ),
    SourceName.ALS: SourceKind(
        fit=lambda given: Als.fit(given.lines, len(given.table)), load=Als.load
    ),
    SourceName.SVD: SourceKind(
        fit=lambda given: Svd.fit(given.lines, len(given.table)), load=Svd.load
    ),
}
