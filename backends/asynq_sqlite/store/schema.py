"""The tables of the database, and opening it. All data is in plain columns, readable in the sqlite3 shell."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from asynq.errors import BrokerRefusedError

Durability = Literal["power", "process"]

IN_MEMORY: Final = ":memory:"
APPLICATION_ID: Final = 0x61737971
"""Identifies a database of asynq ("asyq"); shown by `file` and `PRAGMA application_id`."""
SCHEMA_VERSION: Final = 1

_CHECKPOINT_PAGES: Final[dict[Durability, int]] = {"power": 1000, "process": 4000}
"""Number of pages of 4 KiB after which the write-ahead log is written to the file.

The log grows to about this size and is then overwritten. If only checkpoints flush, a long log has fewer of
them. If every commit flushes the log, a short one is faster: it is overwritten sooner, and a file that grows
takes longer to flush.
"""
_CACHE_KIB: Final = 16 * 1024
"""Largest size of the page cache of a connection. Ids are random, so all pages of their index are in use."""
_STATEMENTS: Final = 256
"""Number of prepared statements that a connection keeps."""

_SEQUENCES: Final = """CREATE TABLE IF NOT EXISTS sequences (
        place INTEGER PRIMARY KEY,       -- orders the tasks of a sequence
        queue TEXT NOT NULL,
        name TEXT NOT NULL,
        task_id TEXT NOT NULL,           -- a task that is neither finished nor deleted
        UNIQUE (queue, task_id))"""

# SQLite stores the comments inside a statement: `.schema` in the shell documents the file.
TABLES: Final = (
    """CREATE TABLE tasks (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        queue TEXT NOT NULL,
        payload BLOB NOT NULL,
        headers TEXT NOT NULL,           -- a JSON object of strings
        max_retry INTEGER NOT NULL,
        retried INTEGER NOT NULL,
        error TEXT NOT NULL,
        last_failed_at INTEGER NOT NULL, -- Unix seconds, 0 for never
        timeout INTEGER NOT NULL,        -- seconds, 0 for none
        deadline INTEGER NOT NULL,       -- Unix seconds, 0 for none
        retention INTEGER NOT NULL,      -- seconds
        completed_at INTEGER NOT NULL,   -- Unix seconds, 0 for not completed
        unique_key TEXT NOT NULL,        -- name of the lock it took, '' for none
        group_name TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state = 'pending' OR state = 'active' OR state = 'scheduled' OR
                                   state = 'retry' OR state = 'archived' OR state = 'completed' OR
                                   state = 'aggregating'),
            -- not IN (...): SQLite would build the list again for each row that is written
        rank INTEGER NOT NULL CHECK (typeof(rank) = 'integer'),
            -- orders the tasks of a state: position in the queue while pending, else Unix milliseconds:
            -- due (scheduled, retry), lease lapses (active), dropped (completed), archived, grouped
        pending_since INTEGER NOT NULL CHECK (typeof(pending_since) = 'integer'),
            -- Unix milliseconds, 0 when not pending
        created_at INTEGER NOT NULL CHECK (typeof(created_at) = 'integer'),
            -- Unix milliseconds
        scheduled_for INTEGER NOT NULL CHECK (typeof(scheduled_for) = 'integer'),
            -- Unix milliseconds asked for by its enqueuer, 0 for at once
        enqueue_id TEXT NOT NULL,        -- the enqueue call that made it
        lease_token TEXT,                -- fences the run; kept where a settlement left the task
        lease_losses INTEGER NOT NULL CHECK (typeof(lease_losses) = 'integer'),
        cancel TEXT NOT NULL CHECK (cancel = '' OR cancel = 'archive' OR cancel = 'retry'),
        result BLOB,
        set_id TEXT,                     -- the aggregation set an aggregating task was taken into
        UNIQUE (queue, id))""",
    "CREATE INDEX tasks_by_token ON tasks (lease_token) WHERE lease_token IS NOT NULL",
    "CREATE INDEX tasks_by_group ON tasks (queue, group_name, set_id, rank) WHERE state = 'aggregating'",
    """CREATE TABLE aggregations (
        queue TEXT NOT NULL,
        group_name TEXT NOT NULL,
        set_id TEXT NOT NULL,
        held_until INTEGER NOT NULL,     -- Unix milliseconds
        PRIMARY KEY (queue, group_name, set_id)) WITHOUT ROWID""",
    """CREATE TABLE locks (
        name TEXT PRIMARY KEY,
        queue TEXT NOT NULL,
        task_id TEXT NOT NULL,           -- the task that took it
        expires_at INTEGER NOT NULL,     -- Unix milliseconds
        until TEXT NOT NULL,             -- what releases it earlier: 'done', 'start', or nothing: 'expiry'
        keep INTEGER NOT NULL            -- 1: does not expire while its task lives
        ) WITHOUT ROWID""",
    "CREATE INDEX locks_by_expiry ON locks (queue, expires_at)",
    """CREATE TABLE queues (
        name TEXT PRIMARY KEY,
        processed INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    "CREATE TABLE paused (queue TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE daily (
        queue TEXT NOT NULL,
        day TEXT NOT NULL,               -- UTC, YYYY-MM-DD
        processed INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (queue, day)) WITHOUT ROWID""",
    """CREATE TABLE slots (
        scope TEXT NOT NULL,
        holder TEXT NOT NULL,
        held_until INTEGER NOT NULL,     -- Unix milliseconds
        PRIMARY KEY (scope, holder)) WITHOUT ROWID""",
    """CREATE TABLE tokens (
        scope TEXT NOT NULL,
        at INTEGER NOT NULL              -- Unix milliseconds at which it was taken
        )""",
    "CREATE INDEX tokens_in_order ON tokens (scope, at)",
    """CREATE TABLE presence (
        kind TEXT NOT NULL,              -- 'server', 'scheduler', 'schedule' and what belongs to it
        name TEXT NOT NULL,
        expires_at INTEGER NOT NULL,     -- Unix milliseconds
        record TEXT NOT NULL,            -- JSON, payloads in base64
        PRIMARY KEY (kind, name)) WITHOUT ROWID""",
    """CREATE TABLE ticks (
        queue TEXT NOT NULL,
        entry_id TEXT NOT NULL,
        tick INTEGER NOT NULL,           -- the latest that was decided, Unix milliseconds
        enqueue_id TEXT NOT NULL,        -- the call that decided it
        state TEXT NOT NULL,             -- where the task went, '' when it was refused
        due_at INTEGER NOT NULL,         -- Unix milliseconds
        expires_at INTEGER NOT NULL,     -- Unix milliseconds
        PRIMARY KEY (queue, entry_id)) WITHOUT ROWID""",
    """CREATE TABLE enqueue_events (
        entry_id TEXT NOT NULL,
        at INTEGER NOT NULL,             -- Unix microseconds
        task_id TEXT NOT NULL,
        expires_at INTEGER NOT NULL,     -- Unix milliseconds
        PRIMARY KEY (entry_id, at, task_id)) WITHOUT ROWID""",
    _SEQUENCES,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


INDEXES: Final = {
    # The state comes first, so that the queues with tasks in a state are found without reading others.
    "tasks_by_state": "tasks (state, queue, rank)",
    "sequences_in_order": "sequences (queue, name, place)",
    "tasks_cancelled": "tasks (queue, id, lease_token, cancel) WHERE state = 'active' AND cancel != ''",
}
"""Indexes that files of earlier versions lack. They are added when such a file is opened, with the table."""
OUTDATED: Final = ("tasks_in_order",)
"""Indexes of earlier versions that are no longer used. Those versions work without them."""


def open_database(path: str, durability: Durability) -> sqlite3.Connection:
    """Return a connection to the database at `path`. A missing file is created.

    Raises:
        BrokerRefusedError: The file is not a database of asynq. It has not been changed.
        sqlite3.Error: As raised by SQLite.

    """
    # `Database` waits for other processes: it knows the time budget.
    connection = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    try:
        if not _ours(connection, path):
            _switch_to_wal(connection, path)
            _create(connection, path)
        _renew_indexes(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        # macOS flushes the cache of the drive only if asked to. This has no effect elsewhere.
        connection.execute(f"PRAGMA fullfsync = {'ON' if durability == 'power' else 'OFF'}")
        # Overwriting freed pages with zeros would double the writes, and no promise depends on it.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES[durability]}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _ours(connection, path):
            for statement in TABLES:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _renew_indexes(connection: sqlite3.Connection) -> None:
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    missing, outdated = INDEXES.keys() - found, found.intersection(OUTDATED)
    if missing or outdated:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_SEQUENCES)
            for name in sorted(missing):
                connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {INDEXES[name]}")
            for name in sorted(outdated):
                connection.execute(f"DROP INDEX IF EXISTS {name}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _ours(connection: sqlite3.Connection, path: str) -> bool:
    """Return True for a database of asynq, False for an empty one. Refuse any other."""
    # One statement, which sees one instant: another process may be creating the tables.
    application, version, objects = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application == APPLICATION_ID:
        if version == SCHEMA_VERSION:
            return True
        raise BrokerRefusedError(
            f"{path} has schema version {version}, this version of the library reads {SCHEMA_VERSION}: "
            "use the version that wrote it, or another file"
        )
    if application or objects:
        raise BrokerRefusedError(f"{path} is a SQLite database of another program: use another file")
    return False


def _switch_to_wal(connection: sqlite3.Connection, path: str) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal" and path != IN_MEMORY:
        raise BrokerRefusedError(
            f"{path} cannot use a write-ahead log (mode {mode!r}): put the file on a local file system"
        )
