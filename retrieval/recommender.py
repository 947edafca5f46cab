"""The recommender: candidate sources and the ranker over them.

Sources -> candidates -> features -> the ranker's chance of purchase. Where a log is too short or
small to learn a ranking, the sources are fused by rank instead, and `Recommender.learnt` says so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.baskets import Baskets
from retrieval.features import features
from retrieval.item_neighbours import ItemNeighbours
from retrieval.item_sales import ItemSales
from retrieval.item_table import ItemTable
from retrieval.lines import Floats, Ints
from retrieval.ranker import Ranker
from retrieval.shop import write_atomically
from retrieval.source_kinds import SourceKind
from retrieval.source_names import SourceName
from retrieval.sources import CandidateSource, scores_at, strongest, values_at
from retrieval.text_similarity import Similar

HORIZON = timedelta(days=28)  # what the ranker foresees
_OWN_CANDIDATES = 200
_NEW_CANDIDATES = 100  # of each source
_FEW_ITEMS = 1_000  # where no more are allowed, all of them are candidates
_CHUNK = 256  # customers at once
_CHUNK_SCORES = 50_000_000  # scores of one dense source at once
_RANK_OFFSET = 20  # reciprocal rank fusion's k
_FUSION_WEIGHT = 0.5  # of all sources but own repeats together, so that what is bought again leads
OWN_SOURCES = (SourceName.OWN, SourceName.OWN_RECENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Candidates of customers with their scores.

    Attributes:
        customer: `[candidates]` rows of the baskets, rising.
        item: `[candidates]` rows of the item table, rising within a customer.
        score: `[candidates]`: chance that the customer, if they buy at all within four weeks,
            buys it; the fused score where nothing is learnt.
        found_by: `[sources, candidates]` whether a source named the item.
    """

    customer: Ints
    item: Ints
    score: NDArray[np.float64]
    found_by: NDArray[np.bool_]


class Recommender:
    """Finds and scores candidates.

    Attributes:
        table: the items that it knows.
        sales: how they sold when it was learnt.
        sources: by name, in the shop's order.
        ranker: None where the log was too small to learn one.
        as_of: the moment it was learnt at.
    """

    def __init__(
        self,
        table: ItemTable,
        sales: ItemSales,
        sources: Mapping[SourceName, CandidateSource],
        ranker: Ranker | None,
        as_of: datetime,
    ) -> None:
        self.table = table
        self.sales = sales
        self.sources = dict(sources)
        self.ranker = ranker
        self.as_of = as_of

    @property
    def learnt(self) -> bool:
        """Whether candidates are ranked by what was learnt, not by fused ranks."""
        return self.ranker is not None

    def rank(
        self,
        baskets: Baskets,
        *,
        new_only: bool = False,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Ranked:
        """Find candidates and score them.

        Args:
            baskets: what the customers bought.
            new_only: only items they never bought.
            allowed: `[items]` which items may be shown; all where None.
        """
        size = max(1, min(_CHUNK, _CHUNK_SCORES // max(1, baskets.items)))
        parts = [
            self._rank_chunk(
                baskets.rows(start, min(len(baskets), start + size)), start, new_only, allowed
            )
            for start in range(0, max(1, len(baskets)), size)
        ]
        return Ranked(
            customer=np.concatenate([part.customer for part in parts]),
            item=np.concatenate([part.item for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            found_by=np.concatenate([part.found_by for part in parts], axis=1),
        )

    def score_pairs(
        self, baskets: Baskets, customer: Ints, item: Ints, *, new_only: bool
    ) -> NDArray[np.float64]:
        """Scores of a few pairs of customer row and item row, as `rank` gives them: `[pairs]`."""
        if self.ranker is not None:
            described = self._describe_few(baskets, customer, item)
            return self.ranker.chances(described, new_only=new_only)
        ranked = self.rank(baskets, new_only=new_only)
        return values_at(
            ranked.customer * baskets.items + ranked.item,
            ranked.score.astype(np.float32),
            customer * baskets.items + item,
        ).astype(np.float64)

    def _rank_chunk(
        self, baskets: Baskets, first: int, new_only: bool, allowed: NDArray[np.bool_] | None
    ) -> Ranked:
        matrices = {name: source.scores(baskets) for name, source in self.sources.items()}
        found = found_by_sources(baskets, matrices, new_only, allowed)
        customer, item = (
            _every(baskets, allowed, new_only)
            if self.ranker is not None and allowed is not None and allowed.sum() <= _FEW_ITEMS
            else merged(found, baskets.items)
        )
        found_by = np.stack(
            [_holds(rows, customer, item, baskets.items) for rows in found.values()]
        )
        if self.ranker is None:
            score = _fused(found, customer, item, baskets.items)
        else:
            described = self.describe(baskets, matrices, customer, item)
            score = self.ranker.chances(described, new_only=new_only)
        return Ranked(customer=customer + first, item=item, score=score, found_by=found_by)

    def describe(
        self, baskets: Baskets, matrices: Mapping[SourceName, Any], customer: Ints, item: Ints
    ) -> NDArray[np.float32]:
        """What the ranker reads of pairs of customer row and item row; see `features`.

        Args:
            baskets: what the customers bought.
            matrices: scores of every source for them.
            customer: `[pairs]`.
            item: `[pairs]`.
        """
        scores: dict[SourceName, Floats] = {}
        for name, source in self._scored():
            # The similar source names few items, but knows the nearness of any.
            scores[name] = (
                source.scores_at(baskets, customer, item)
                if isinstance(source, Similar)
                else scores_at(matrices[name], customer, item)
            )
        return features(self.table, self.sales, baskets, scores, customer, item)

    def _describe_few(self, baskets: Baskets, customer: Ints, item: Ints) -> NDArray[np.float32]:
        scores = {
            name: (
                source.scores_at(baskets, customer, item)
                if isinstance(source, Similar | ItemNeighbours)
                else scores_at(source.scores(baskets), customer, item)
            )
            for name, source in self._scored()
        }
        return features(self.table, self.sales, baskets, scores, customer, item)

    def _scored(self) -> list[tuple[SourceName, CandidateSource]]:
        """Sources whose scores are features; own repeats are described more closely."""
        return [(name, source) for name, source in self.sources.items() if name not in OWN_SOURCES]

    def save(self, folder: Path) -> None:
        """Write everything into an empty folder."""
        self.table.save(folder / "items")
        self.sales.save(folder / "sales")
        for name, source in self.sources.items():
            source.save(folder / "sources" / name.name.lower())
        if self.ranker is not None:
            self.ranker.save(folder / "ranker")
        document = {
            "sources": [name.value for name in self.sources],
            "learnt": self.learnt,
            "as_of": self.as_of.isoformat(),
        }
        write_atomically(folder / "recommender.json", json.dumps(document, indent=2).encode())

    @classmethod
    def load(cls, folder: Path, kinds: Mapping[SourceName, SourceKind]) -> "Recommender":
        """Read what `save` wrote; large arrays stay on disk until they are needed."""
        document = json.loads((folder / "recommender.json").read_text(encoding="utf-8"))
        names = [SourceName(name) for name in document["sources"]]
        return cls(
            ItemTable.load(folder / "items"),
            ItemSales.load(folder / "sales"),
            {name: kinds[name].load(folder / "sources" / name.name.lower()) for name in names},
            Ranker.load(folder / "ranker") if document["learnt"] else None,
            datetime.fromisoformat(document["as_of"]),
        )


def found_by_sources(
    baskets: Baskets,
    matrices: Mapping[SourceName, Any],
    new_only: bool,
    allowed: NDArray[np.bool_] | None,
) -> dict[SourceName, Ints]:
    """Item rows that each source names, best first: `[customers, count]`, -1 where fewer."""
    found = {}
    for name, matrix in matrices.items():
        own = name in OWN_SOURCES
        count = _OWN_CANDIDATES if own else _NEW_CANDIDATES
        # Own items come from the own source alone, all of them.
        without = None if own and not new_only else baskets
        found[name] = strongest(matrix, count, without=without, allowed=allowed)[0]
    return found


def _every(baskets: Baskets, allowed: NDArray[np.bool_], new_only: bool) -> tuple[Ints, Ints]:
    """Each customer with each allowed item, in order."""
    rows = np.flatnonzero(allowed)
    customer = np.repeat(np.arange(len(baskets)), len(rows))
    item = np.tile(rows, len(baskets))
    if new_only:
        keys = customer * baskets.items + item
        new = ~np.isin(keys, baskets.customer * baskets.items + baskets.item)
        customer, item = customer[new], item[new]
    return customer, item


def merged(found: Mapping[SourceName, Ints], items: int) -> tuple[Ints, Ints]:
    """Each pair of customer and item once, in order."""
    rows = np.concatenate(list(found.values()), axis=1)
    customer = np.repeat(np.arange(rows.shape[0]), rows.shape[1])
    named = rows.ravel() >= 0
    keys = np.unique(customer[named] * items + rows.ravel()[named])
    return keys // items, keys % items


def _holds(rows: Ints, customer: Ints, item: Ints, items: int) -> NDArray[np.bool_]:
    named = rows >= 0
    owner = np.repeat(np.arange(rows.shape[0]), rows.shape[1]).reshape(rows.shape)
    return np.isin(customer * items + item, owner[named] * items + rows[named])


def _fused(
    found: Mapping[SourceName, Ints], customer: Ints, item: Ints, items: int
) -> NDArray[np.float64]:
    """Weighted reciprocal rank fusion (Cormack et al., 2009)."""
    score = np.zeros(len(item))
    keys = customer * items + item
    each = _FUSION_WEIGHT / max(1, sum(name not in OWN_SOURCES for name in found))
    for name, rows in found.items():
        who, rank = np.nonzero(rows >= 0)
        weight = (1.0 if name in OWN_SOURCES else each) / (_RANK_OFFSET + rank + 1)
        score[np.searchsorted(keys, who * items + rows[who, rank])] += weight
    return score
