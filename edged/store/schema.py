"""The tables, and how an older file becomes a newer one. Forward only; the file never goes back."""

import sqlite3
from typing import Final

APPLICATION_ID: Final = 0x65646764
"""Marks a file as ours ("edgd"), so that another program's database is never taken for it."""

# RHEL 9 has SQLite 3.34, which does not know the word; the tables work without it.
_STRICT: Final = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""
_STRICT_KEYED: Final = f"WITHOUT ROWID{', STRICT' if _STRICT else ''}"

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        f"""CREATE TABLE event (
            seq INTEGER PRIMARY KEY,
            at_ms INTEGER NOT NULL,
            name TEXT NOT NULL,
            severity INTEGER NOT NULL,
            gateway TEXT,
            vip TEXT,
            router TEXT,
            incident TEXT,
            fields TEXT NOT NULL
        ) {_STRICT}""",
        "CREATE INDEX event_at ON event (at_ms)",
        "CREATE INDEX event_incident ON event (incident) WHERE incident IS NOT NULL",
        f"""CREATE TABLE drain (
            gateway TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            reason TEXT NOT NULL,
            since_ms INTEGER NOT NULL,
            until_ms INTEGER,
            force INTEGER NOT NULL
        ) {_STRICT_KEYED}""",
        f"""CREATE TABLE pause (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            owner TEXT NOT NULL,
            since_ms INTEGER NOT NULL,
            until_ms INTEGER
        ) {_STRICT}""",
        f"""CREATE TABLE adoption (
            router TEXT NOT NULL,
            vip TEXT NOT NULL,
            rows TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            PRIMARY KEY (router, vip)
        ) {_STRICT_KEYED}""",
        f"""CREATE TABLE gateway (
            name TEXT PRIMARY KEY,
            address TEXT NOT NULL,
            node TEXT NOT NULL,
            at_ms INTEGER NOT NULL
        ) {_STRICT_KEYED}""",
        f"""CREATE TABLE route_writes (
            router TEXT NOT NULL,
            day TEXT NOT NULL,
            writes INTEGER NOT NULL,
            PRIMARY KEY (router, day)
        ) {_STRICT_KEYED}""",
    ),
    (
        f"""CREATE TABLE incident (
            incident TEXT PRIMARY KEY,
            number INTEGER NOT NULL,
            kind TEXT NOT NULL,
            severity INTEGER NOT NULL,
            opened_ms INTEGER NOT NULL,
            closed_ms INTEGER,
            title TEXT NOT NULL,
            document TEXT NOT NULL
        ) {_STRICT_KEYED}""",
        "CREATE INDEX incident_opened ON incident (opened_ms)",
        f"""CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY,
            message TEXT NOT NULL,
            channel TEXT NOT NULL,
            incident TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            tries INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            error TEXT NOT NULL,
            document TEXT NOT NULL
        ) {_STRICT}""",
        f"""CREATE TABLE silence (
            number INTEGER PRIMARY KEY,
            owner TEXT NOT NULL,
            reason TEXT NOT NULL,
            gateway TEXT,
            vip TEXT,
            since_ms INTEGER NOT NULL,
            until_ms INTEGER NOT NULL
        ) {_STRICT}""",
    ),
)
"""One entry a version; `PRAGMA user_version` counts how many of them a file has seen."""

SMALL_TABLES: Final = (
    "drain",
    "pause",
    "adoption",
    "gateway",
    "route_writes",
    "incident",
    "outbox",
    "silence",
)
"""State, as opposed to history: held whole, and carried over when the file has to change."""

STATE_ROWS: Final = {"incident": "closed_ms IS NULL"}
"""Of these tables only such rows are state; the others are history."""


class ForeignFileError(Exception):
    """The file is a database of another program."""


class NewerSchemaError(Exception):
    """The file was written by a newer edged."""


def connect(target: str, *, read_only: bool = False, immutable: bool = False) -> sqlite3.Connection:
    """Open a database with every setting that matters spelled out."""
    connection = sqlite3.connect(
        f"{target}?mode=ro&immutable={int(immutable)}" if read_only else target,
        timeout=5.0,
        isolation_level=None,
        check_same_thread=True,
        uri=read_only,
        cached_statements=64,
    )
    connection.row_factory = sqlite3.Row
    return connection


def create(connection: sqlite3.Connection) -> None:
    """Make an empty database ours."""
    # Before the first table: afterwards only a full VACUUM could change it.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate(connection)


def prepare(connection: sqlite3.Connection) -> None:
    """Set what SQLite does not remember in the file."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute(f"PRAGMA journal_size_limit = {8 * 1024 * 1024}")
    connection.execute("PRAGMA cache_size = -1024")
    connection.execute("PRAGMA trusted_schema = OFF")


def check_version(connection: sqlite3.Connection) -> int:
    """Return the file's version.

    Raises:
        ForeignFileError: it is not ours.
        NewerSchemaError: it is of a later edged.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ForeignFileError
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise NewerSchemaError(f"version {version}; this edged knows up to {len(MIGRATIONS)}")
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file of ours to the newest version, each step in a transaction of its own."""
    for version in range(check_version(connection), len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
