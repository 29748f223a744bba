"""SQLite's event log with its connections kept, for as long as a run records.

Dagster (1.13.27) opens and closes a connection for every statement: with it go the compiled
statements and SQLite's write-ahead log, which is copied back and made anew each time. Storing one
event took 10 to 18 ms of a core, most of it for that. It also asks twice per event whether a table
is there. `kept_open` exchanges the two methods that do this on one object, and puts them back.

A commit is in the log at once, seen by all, and safe from a crash of this process; only a power cut
may take the last ones, and what is in the store and not in Dagster is recorded by the next run.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

EXCHANGED = ("_connect", "has_table")


@contextlib.contextmanager
def kept_open(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the connections of an instance's event log within a block; of another storage than
    SQLite files, and within a block that keeps them already, nothing changes.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage) or EXCHANGED[0] in vars(storage):
        yield
        return
    connections = _Connections(storage)
    for name, kept in zip(EXCHANGED, (connections.connect, connections.has_table), strict=True):
        setattr(storage, name, kept)
    try:
        yield
    finally:
        for name in EXCHANGED:
            delattr(storage, name)
        connections.close()


class _Connections:
    """One connection per database file, used by one thread at a time."""

    def __init__(self, storage: SqliteEventLogStorage) -> None:
        self._storage = storage
        self._connect_first = storage._connect
        self._look_for_table = storage.has_table
        self._tables: set[str] = set()
        self._engines: dict[str, Engine] = {}

    @contextlib.contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """Yield a connection within a transaction, as the method that this stands for does; that
        one makes the tables, at the first use of a file.
        """
        if shard not in self._storage._initialized_dbs:
            with self._connect_first(shard) as connection:
                yield connection
            return
        with self._storage._db_lock:
            engine = self._engines.get(shard) or self._open(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def has_table(self, name: str) -> bool:
        """Whether the index has a table; one that was there stays."""
        if name not in self._tables and self._look_for_table(name):
            self._tables.add(name)
        return name in self._tables

    def close(self) -> None:
        """Close all connections: SQLite then copies its write-ahead log back."""
        with self._storage._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()

    def _open(self, shard: str) -> Engine:
        engine = create_engine(
            self._storage.conn_string_for_shard(shard),
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        event.listen(engine, "connect", _leave_flushing_to_checkpoints)
        self._engines[shard] = engine
        return engine


def _leave_flushing_to_checkpoints(connection: sqlite3.Connection, record: object) -> None:
    del record
    connection.execute("PRAGMA synchronous=NORMAL")
