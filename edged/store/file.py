"""The file: opened, made, checked, set aside, read when it cannot be written.

Owns names and modes on disk. Must not decide what happens next: it raises, the worker decides.
"""

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from edged.core.errors import StoreError
from edged.core.events import Severity
from edged.store import schema
from edged.store.rows import (
    SmallTables,
    insert_events,
    read_events,
    read_small,
    transaction,
    write_small,
)
from edged.store.values import StoredEvent

FILE_NAME: Final = "edged.sqlite3"

SIDE_FILES: Final = ("-wal", "-shm", "-journal")

QUICK_CHECK_BYTES_MAX: Final = 16 * 1024 * 1024
"""A larger file is not read whole at start; damage in its history shows when it is met."""

_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def open_file(path: Path) -> sqlite3.Connection:
    """Open our file, or make it; every small table has been read when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _begin_file(path, {}).rename(path)
    connection = schema.connect(str(path))
    try:
        # Nothing is written before it is known that the file is ours.
        schema.check_version(connection)
        schema.prepare(connection)
        schema.migrate(connection)
        if path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
            _quick_check(connection)
        read_small(connection)
        with transaction(connection):
            # Proves that the file can be written; a read-only one is found now, not at the drain.
            connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")
    except BaseException:
        connection.close()
        raise
    return connection


def _quick_check(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def is_corrupt(error: sqlite3.Error) -> bool:
    """Tell damage of the file from other trouble with it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def may_exist(path: Path) -> bool:
    """Tell whether a file may be there; where that cannot be known, it may."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _begin_file(path: Path, small: SmallTables) -> Path:
    """Make a whole new file beside `path`: a file of ours is never seen half made."""
    new = path.with_name(f"{path.name}.new")
    for leftover in (new, *_side_files(new)):
        leftover.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = schema.connect(str(new))
    try:
        schema.create(connection)
        with transaction(connection):
            write_small(connection, small)
    finally:
        connection.close()
    return new


def set_aside(path: Path, small: SmallTables, now: datetime) -> Path:
    """Give a bad file another name and put a fresh one in its place; return the other name."""
    new = _begin_file(path, small)
    aside = _free_name(path, now)
    # The side files go first: a stale log must never be replayed into the fresh file.
    for suffix in SIDE_FILES:
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(aside.with_name(aside.name + suffix))
    try:
        # A second name first, so that the old file is there until the new one replaces it.
        os.link(path, aside)
    except OSError:
        path.rename(aside)
    new.rename(path)
    return aside


def _free_name(path: Path, now: datetime) -> Path:
    stem = f"{path.name}.set-aside-{now:%Y%m%dT%H%M%SZ}"
    names = (stem if number == 0 else f"{stem}.{number}" for number in itertools.count())
    return next(name for name in map(path.with_name, names) if not name.exists())


def _side_files(path: Path) -> tuple[Path, ...]:
    return tuple(path.with_name(path.name + suffix) for suffix in SIDE_FILES)


def salvage(path: Path) -> SmallTables:
    """Read the state of a file that cannot be opened for writing.

    A log beside it may hold newer state than the file; then only SQLite's own way of reading
    counts, and where that fails nothing is known.
    """
    log = path.with_name(path.name + "-wal")
    has_log = log.exists() and log.stat().st_size > 0
    with contextlib.closing(
        schema.connect(path.absolute().as_uri(), read_only=True, immutable=not has_log),
    ) as connection:
        if schema.check_version(connection) != len(schema.MIGRATIONS):
            raise schema.NewerSchemaError("an older version that cannot be brought forward")
        return read_small(connection)


def open_memory(small: SmallTables, history: Iterable[StoredEvent]) -> sqlite3.Connection:
    """Make a database in memory from what is known."""
    connection = schema.connect(":memory:")
    schema.create(connection)
    with transaction(connection):
        write_small(connection, small)
        insert_events(connection, history)
    return connection


def read_history(
    path: Path,
    *,
    limit: int,
    since: datetime | None = None,
    names: tuple[str, ...] = (),
    gateway: str | None = None,
    vip: str | None = None,
    incident: str | None = None,
    min_severity: Severity = Severity.DEBUG,
) -> tuple[StoredEvent, ...]:
    """Read events from the file of an edged that does not run; changes nothing.

    Raises:
        StoreError: there is no file, or none that this edged can read.
    """
    try:
        with contextlib.closing(
            schema.connect(path.absolute().as_uri(), read_only=True),
        ) as connection:
            schema.check_version(connection)
            return read_events(
                connection,
                limit=limit,
                since=since,
                names=names,
                gateway=gateway,
                vip=vip,
                incident=incident,
                min_severity=min_severity,
            )
    except (schema.ForeignFileError, schema.NewerSchemaError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
