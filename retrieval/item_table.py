"""The shop's items as rows of arrays, so that a million of them can be scored at once."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retrieval.catalogue import Catalogue
from retrieval.embedding_cache import text_id


class ItemTable:
    """One row for each item of the catalogue, in the order of item ids.

    Attributes:
        ids: item ids, sorted.
        category: `[items]` code of the category, 0 for the unknown one.
        text: `[items]` code of the text that is embedded; items that share a text share a code.
        text_ids: by text code, the ids under which the index knows the texts.
    """

    def __init__(
        self,
        ids: pa.StringArray,
        category: NDArray[np.int32],
        text: NDArray[np.int32],
        text_ids: Sequence[str],
    ) -> None:
        self.ids = ids
        self.category = category
        self.text = text
        self.text_ids = text_ids

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row(self) -> dict[str, int]:
        """Row of each item id."""
        return {item_id: row for row, item_id in enumerate(self.ids.to_pylist())}

    def rows_of(self, item_ids: Any) -> NDArray[np.int64]:
        """Rows of item ids, -1 for those the table lacks."""
        found = pc.index_in(pa.array(item_ids, pa.string()), value_set=self.ids)
        return np.asarray(found.fill_null(-1), dtype=np.int64)

    def save(self, folder: Path) -> None:
        """Write the rows."""
        folder.mkdir(parents=True, exist_ok=True)
        columns = {
            "item_id": self.ids,
            "category": self.category,
            "text": self.text,
        }
        pq.write_table(pa.table(columns), folder / "rows.parquet")
        pq.write_table(pa.table({"text_id": self.text_ids}), folder / "texts.parquet")

    @classmethod
    def load(cls, folder: Path) -> "ItemTable":
        """Read the rows."""
        rows = pq.read_table(folder / "rows.parquet")
        return cls(
            rows["item_id"].combine_chunks(),
            rows["category"].to_numpy(),
            rows["text"].to_numpy(),
            pq.read_table(folder / "texts.parquet")["text_id"].to_pylist(),
        )


def item_table(catalogue: Catalogue) -> ItemTable:
    """Rows of a catalogue's items."""
    items = [catalogue.items[item_id] for item_id in sorted(catalogue.items)]
    texts, text_codes = _codes([item.text for item in items])
    return ItemTable(
        ids=pa.array([item.item_id for item in items], pa.string()),
        category=_category_codes([item.category for item in items]),
        text=text_codes,
        text_ids=[text_id(text) for text in texts],
    )


def _category_codes(names: Sequence[str]) -> NDArray[np.int32]:
    known = {name: code for code, name in enumerate(sorted({"", *names}))}
    return np.array([known[name] for name in names], dtype=np.int32)


def _codes(values: Sequence[str]) -> tuple[list[str], NDArray[np.int32]]:
    encoded = pa.array(values, pa.string()).dictionary_encode()
    return encoded.dictionary.to_pylist(), np.asarray(encoded.indices, dtype=np.int32)
