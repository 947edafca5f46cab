"""The event log: a Delta Lake table, the truth from which all else can be rebuilt.

Each append is one atomic commit. Readers in other processes see a commit whole or not at all.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from retrieval.errors import StorageError
from retrieval.events import (
    AMOUNT,
    CUSTOMER_ID,
    EVENT_ID,
    EVENT_SCHEMA,
    ITEM_ID,
    KIND,
    ORDER_ID,
    TIMESTAMP,
    Kind,
)

# Small row groups, sorted by customer, let a reader of one customer skip nearly all of a file.
_WRITER = WriterProperties(compression="ZSTD", max_row_group_size=32_768)
_COMPACT_ABOVE_FILES = 32


class EventLog:
    """Append events and query them.

    Args:
        path: the table's directory; made by the first append.
        timezone: moments are stored in UTC and read in this zone, so that a date taken from one
            is the shop's own.
        at: read the log as it was at this version, whatever was appended since; None reads the
            newest.
    """

    def __init__(self, path: Path, timezone: str = "UTC", *, at: int | None = None) -> None:
        self.path = path
        self._timezone = timezone
        self._at = at
        self._table: DeltaTable | None = None
        # With the version it was read at; it costs a scan and is asked for with every answer.
        self._span: tuple[int, tuple[datetime, datetime] | None] | None = None

    def version(self) -> int:
        """Number of the newest commit; -1 where nothing was ever appended."""
        table = self._open()
        return -1 if table is None else int(table.version())

    def as_it_was(self, version: int) -> "EventLog":
        """The log at an earlier version, for reading only.

        Raises:
            StorageError: (at the first read) that version is not kept any more.
        """
        return EventLog(self.path, self._timezone, at=version)

    def append(self, events: pa.Table, *, source: str) -> int:
        """Append events in one atomic commit and return the new version.

        Args:
            events: columns of `EVENT_SCHEMA`.
            source: what the rows came from, kept in the commit's metadata.

        Raises:
            StorageError: the disk refuses the write; the log is unchanged.
        """
        rows = events.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)
        rows = rows.sort_by([(CUSTOMER_ID, "ascending"), (TIMESTAMP, "ascending")])
        with _storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            write_deltalake(
                self.path,
                rows,
                mode="append",
                writer_properties=_WRITER,
                commit_properties=CommitProperties(custom_metadata={"patron.source": source}),
            )
        return self.version()

    def compact(self) -> bool:
        """Merge small files once there are many; the events stay the same.

        Returns:
            Whether anything was merged.
        """
        table = self._open()
        if table is None or len(self.file_names()) <= _COMPACT_ABOVE_FILES:
            return False
        with _storage_errors(self.path):
            table.optimize.compact(writer_properties=_WRITER)
        return True

    def query(
        self,
        sql: str,
        parameters: dict[str, Any] | None = None,
        *,
        customer_ids: Sequence[str] | None = None,
    ) -> pa.Table:
        """Run SQL in which `events` is the log.

        Args:
            sql: DuckDB SQL.
            parameters: values of `$name` in it.
            customer_ids: read these customers' events only; files and row groups without them are
                skipped.
        """
        source = self._dataset()
        if customer_ids is not None:
            source = source.filter(ds.field(CUSTOMER_ID).isin(pa.array(customer_ids, pa.string())))
        with duckdb.connect() as connection:
            connection.execute(f"SET TimeZone = '{self._timezone}'")
            connection.register("events", source)
            return connection.sql(sql, params=parameters or {}).to_arrow_table()

    def customer_events(
        self,
        customer_id: str,
        *,
        until: datetime | None = None,
        columns: Sequence[str] = EVENT_SCHEMA.names,
    ) -> pa.Table:
        """All events of one customer before `until`, oldest first.

        Args:
            customer_id: whose.
            until: exclusive; all events where None.
            columns: which are read, the moment among them; fewer are read faster.
        """
        wanted = ds.field(CUSTOMER_ID) == customer_id
        if until is not None:
            wanted &= ds.field(TIMESTAMP) < pa.scalar(until, pa.timestamp("us", tz="UTC"))
        events = self._dataset().to_table(filter=wanted, columns=list(columns))
        local = events[TIMESTAMP].cast(pa.timestamp("us", tz=self._timezone))
        column = events.schema.get_field_index(TIMESTAMP)
        by = [name for name in (TIMESTAMP, ORDER_ID, ITEM_ID, EVENT_ID) if name in columns]
        return events.set_column(column, TIMESTAMP, local).sort_by(
            [(name, "ascending") for name in by]
        )

    def event_ids(self) -> pa.Table:
        """The identity of every stored event, one column `event_id`."""
        return self._dataset().to_table(columns=[EVENT_ID])

    def has_customer(self, customer_id: str) -> bool:
        """Whether the log holds any event of the customer."""
        dataset = self._dataset()
        return bool(dataset.head(1, filter=ds.field(CUSTOMER_ID) == customer_id).num_rows)

    def span(self) -> tuple[datetime, datetime] | None:
        """First and last moment of a purchase; None where there is none."""
        version = self.version()
        if self._span is None or self._span[0] != version:
            self._span = (version, self._read_span())
        return self._span[1]

    def _read_span(self) -> tuple[datetime, datetime] | None:
        row = self.query(
            f"SELECT min({TIMESTAMP}) AS first, max({TIMESTAMP}) AS last "
            f"FROM events WHERE {KIND} = '{Kind.PURCHASE}'"
        ).to_pylist()[0]
        return None if row["first"] is None else (row["first"], row["last"])

    def file_names(self) -> list[str]:
        """The data files that hold the events now, without those merged away."""
        table = self._open()
        return [] if table is None else [Path(uri).name for uri in table.file_uris()]

    def totals(self) -> dict[str, int]:
        """Number of events and customers, and spend in minor units."""
        row: dict[str, int] = self.query(
            f"SELECT count(*) AS events, count(DISTINCT {CUSTOMER_ID}) AS customers, "
            f"coalesce(sum({AMOUNT}) FILTER ({KIND} = '{Kind.PURCHASE}'), 0)::BIGINT AS spend "
            "FROM events"
        ).to_pylist()[0]
        return row

    def _open(self) -> DeltaTable | None:
        try:
            if self._table is None:
                if not DeltaTable.is_deltatable(str(self.path)):
                    return None
                self._table = DeltaTable(self.path, version=self._at)
            if self._at is None:
                self._table.update_incremental()
        except (OSError, DeltaError) as error:
            raise StorageError(
                f"The event log {self.path} cannot be read: {error}.",
                hint="Restore it from a copy of the shop directory.",
            ) from error
        return self._table

    def _dataset(self) -> ds.Dataset:
        table = self._open()
        if table is None:
            return ds.dataset(EVENT_SCHEMA.empty_table())
        return table.to_pyarrow_dataset()


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Turn what the disk says into one clear sentence."""
    try:
        yield
    except (OSError, DeltaError) as error:  # a full disk reaches us as the latter
        raise StorageError(
            f"Cannot write to {path}: {error}.",
            hint="Free some space or make the shop directory writable, then run it again.",
        ) from error
