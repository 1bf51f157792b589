"""Rows to values and back, and the questions asked of them.

Owns every statement that reads or writes a row. Must not open, close or choose a file.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from edged.core.events import Scalar, Severity
from edged.store import schema
from edged.store.values import (
    AlertBatch,
    Notice,
    Persisted,
    SavedAdoption,
    SavedDrain,
    SavedGateway,
    SavedIncident,
    SavedMessage,
    SavedPause,
    SavedSilence,
    StoredEvent,
)

EVENTS_READ_MAX: Final = 10_000
"""Most events one question returns."""

RETENTION_ROWS_A_STEP: Final = 500
RETENTION_STEPS_MAX: Final = 40
"""Deletes stay small, so that a question never waits long behind them."""

Statement = tuple[str, tuple[object, ...]]

SmallTables = Mapping[str, Sequence[tuple[Any, ...]]]
"""State as opposed to history: each small table whole."""

_SEVERITIES: Final = (Severity.DEBUG, Severity.INFO, Severity.WARNING, Severity.CRITICAL)
_COLUMNS: Final = ("gateway", "vip", "router", "incident")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much history is kept."""

    keep: timedelta = timedelta(days=90)
    rows_max: int = 100_000


def to_ms(at: datetime) -> int:
    """Return a wall time as milliseconds since 1970."""
    assert at.tzinfo is not None, "wall times carry their zone"
    return round(at.timestamp() * 1_000)


def to_wall(at_ms: int) -> datetime:
    """Return the wall time of milliseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def to_wall_or_none(at_ms: int | None) -> datetime | None:
    """Return the wall time, or None where there is none."""
    return None if at_ms is None else to_wall(at_ms)


def to_ms_or_none(at: datetime | None) -> int | None:
    """Return the milliseconds, or None where there is none."""
    return None if at is None else to_ms(at)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep all of the block or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself already.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def read_small(connection: sqlite3.Connection) -> SmallTables:
    """Return the state whole."""
    return {
        table: [tuple(row) for row in connection.execute(f"SELECT * FROM {table}{_state(table)}")]  # noqa: S608 - our own names
        for table in schema.SMALL_TABLES
    }


def _state(table: str) -> str:
    condition = schema.STATE_ROWS.get(table)
    return f" WHERE {condition}" if condition else ""


def write_small(
    connection: sqlite3.Connection,
    small: SmallTables,
    *,
    keep: Sequence[str] = (),
) -> None:
    """Write state in place of what is there; in the tables `keep`, on top of it."""
    for table, rows in small.items():
        if table not in keep:
            connection.execute(f"DELETE FROM {table}{_state(table)}")  # noqa: S608 - our own names
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608 - our own names


def paused(now: datetime) -> SmallTables:
    """Return the state of an edged that does not know whether it was paused."""
    return {"pause": [(1, "edged", to_ms(now), None)]}


def persisted(small: SmallTables, *, must_pause: bool, notices: tuple[Notice, ...]) -> Persisted:
    """Return the state as the rest of edged sees it."""
    return Persisted(
        drains=tuple(
            SavedDrain(
                gateway=gateway,
                owner=owner,
                reason=reason,
                since=to_wall(since_ms),
                until=to_wall_or_none(until_ms),
                force=bool(force),
            )
            for gateway, owner, reason, since_ms, until_ms, force in small["drain"]
        ),
        pause=next(
            (
                SavedPause(owner=owner, since=to_wall(since_ms), until=to_wall_or_none(until_ms))
                for _, owner, since_ms, until_ms in small["pause"]
            ),
            None,
        ),
        adoptions=tuple(
            SavedAdoption(router=router, vip=vip, rows=tuple(json.loads(rows)), at=to_wall(at_ms))
            for router, vip, rows, at_ms in small["adoption"]
        ),
        gateways=tuple(
            SavedGateway(name=name, address=address, node=node, at=to_wall(at_ms))
            for name, address, node, at_ms in small["gateway"]
        ),
        incidents=tuple(_incident(row) for row in small["incident"]),
        outbox=tuple(_message(row) for row in small["outbox"]),
        silences=tuple(_silence(row) for row in small["silence"]),
        must_pause=must_pause,
        notices=notices,
    )


def _incident(row: tuple[Any, ...]) -> SavedIncident:
    incident, number, kind, severity, opened_ms, closed_ms, title, document = row
    return SavedIncident(
        incident=incident,
        number=number,
        kind=kind,
        severity=_SEVERITIES[severity],
        opened=to_wall(opened_ms),
        closed=to_wall_or_none(closed_ms),
        title=title,
        document=json.loads(document),
    )


def _message(row: tuple[Any, ...]) -> SavedMessage:
    seq, message, channel, incident, created_ms, tries, failed, error, document = row
    return SavedMessage(
        seq=seq,
        message=message,
        channel=channel,
        incident=incident,
        created=to_wall(created_ms),
        tries=tries,
        failed=bool(failed),
        error=error,
        document=json.loads(document),
    )


def _silence(row: tuple[Any, ...]) -> SavedSilence:
    number, owner, reason, gateway, vip, since_ms, until_ms = row
    return SavedSilence(
        number=number,
        owner=owner,
        reason=reason,
        gateway=gateway,
        vip=vip,
        since=to_wall(since_ms),
        until=to_wall(until_ms),
    )


def alert_statements(batch: AlertBatch) -> tuple[Statement, ...]:
    """Return what keeps a batch: incidents, messages and whose events they are, all or nothing."""
    statements: list[Statement] = [
        (
            "INSERT OR REPLACE INTO incident VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                one.incident,
                one.number,
                clean(one.kind),
                _SEVERITIES.index(one.severity),
                to_ms(one.opened),
                to_ms_or_none(one.closed),
                clean(one.title),
                json.dumps(one.document),
            ),
        )
        for one in batch.incidents
    ]
    statements += [("DELETE FROM outbox WHERE seq = ?", (seq,)) for seq in batch.removed]
    statements += [
        (
            "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                one.seq,
                one.message,
                clean(one.channel),
                one.incident,
                to_ms(one.created),
                one.tries,
                int(one.failed),
                clean(one.error),
                json.dumps(one.document),
            ),
        )
        for one in batch.messages
    ]
    statements += [
        ("UPDATE event SET incident = ? WHERE seq = ?", (incident, seq))
        for incident, seqs in batch.events.items()
        for seq in seqs
    ]
    return tuple(statements)


def read_incidents(
    connection: sqlite3.Connection,
    *,
    limit: int,
    since: datetime | None = None,
    incident: str | None = None,
) -> tuple[SavedIncident, ...]:
    """Return the newest incidents, oldest first."""
    rows = connection.execute(
        "SELECT * FROM incident WHERE (opened_ms >= ? OR closed_ms IS NULL) "
        "AND (? IS NULL OR incident = ?) ORDER BY number DESC LIMIT ?",
        (to_ms(since) if since is not None else 0, incident, incident, limit),
    ).fetchall()
    return tuple(_incident(tuple(row)) for row in reversed(rows))


def last_incident(connection: sqlite3.Connection) -> int:
    """Return the number of the newest incident, 0 where there is none."""
    (last,) = connection.execute("SELECT max(number) FROM incident").fetchone()
    return last or 0


def insert_events(connection: sqlite3.Connection, events: Iterable[StoredEvent]) -> None:
    """Add events; one that is there already stays as it is."""
    connection.executemany(
        "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                event.seq,
                to_ms(event.at),
                event.name,
                _SEVERITIES.index(event.severity),
                *(_text_or_none(event.fields.get(key)) for key in _COLUMNS),
                json.dumps(dict(event.fields)),
            )
            for event in events
        ],
    )


def clean(text: str) -> str:
    """Return `text` as SQLite takes it: bytes that were no UTF-8 stand as backslash escapes."""
    return text.encode(errors="backslashreplace").decode()


def _text_or_none(value: Scalar) -> str | None:
    return None if value is None else clean(str(value))


def last_seq(connection: sqlite3.Connection) -> int:
    """Return the number of the newest event, 0 where there is none."""
    (last,) = connection.execute("SELECT max(seq) FROM event").fetchone()
    return last or 0


def read_events(
    connection: sqlite3.Connection,
    *,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
    after_seq: int = 0,
    names: tuple[str, ...] = (),
    gateway: str | None = None,
    vip: str | None = None,
    incident: str | None = None,
    min_severity: Severity = Severity.DEBUG,
) -> tuple[StoredEvent, ...]:
    """Return the newest `limit` events that match, oldest first."""
    wanted: list[tuple[str, object]] = [
        ("seq > ?", after_seq),
        ("severity >= ?", _SEVERITIES.index(min_severity)),
    ]
    if since is not None:
        wanted.append(("at_ms >= ?", to_ms(since)))
    if until is not None:
        wanted.append(("at_ms <= ?", to_ms(until)))
    for column, value in (("gateway", gateway), ("vip", vip), ("incident", incident)):
        if value is not None:
            wanted.append((f"{column} = ?", value))
    if names:
        wanted.append((f"name IN ({', '.join('?' * len(names))})", None))
    values = [value for _, value in wanted if value is not None]
    rows = connection.execute(
        "SELECT seq, at_ms, name, severity, fields, incident FROM event WHERE "  # noqa: S608 - values are bound
        + " AND ".join(condition for condition, _ in wanted)
        + " ORDER BY seq DESC LIMIT ?",
        (*values, *names, min(limit, EVENTS_READ_MAX)),
    ).fetchall()
    return tuple(_event(row) for row in reversed(rows))


def _event(row: sqlite3.Row) -> StoredEvent:
    fields = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in json.loads(row["fields"]).items()
    }
    if row["incident"] is not None:
        fields["incident"] = row["incident"]
    return StoredEvent(
        seq=row["seq"],
        at=to_wall(row["at_ms"]),
        name=row["name"],
        severity=_SEVERITIES[row["severity"]],
        fields=MappingProxyType(fields),
    )


def retain(connection: sqlite3.Connection, retention: Retention, now_ms: int) -> None:
    """Delete what is too old or too much, in steps of which none takes long."""
    oldest_ms = now_ms - round(retention.keep.total_seconds() * 1_000)
    (rows,) = connection.execute("SELECT count(*) FROM event").fetchone()
    surplus = max(rows - retention.rows_max, 0)
    for _ in range(RETENTION_STEPS_MAX):
        step = min(surplus, RETENTION_ROWS_A_STEP)
        with transaction(connection):
            by_number = connection.execute(
                "DELETE FROM event WHERE seq IN (SELECT seq FROM event ORDER BY seq LIMIT ?)",
                (step,),
            ).rowcount
            by_age = connection.execute(
                "DELETE FROM event WHERE seq IN "
                "(SELECT seq FROM event WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
                (oldest_ms, RETENTION_ROWS_A_STEP),
            ).rowcount
        surplus = max(surplus - by_number - by_age, 0)
        if surplus == 0 and by_age < RETENTION_ROWS_A_STEP:
            break
    with transaction(connection):
        connection.execute(
            "DELETE FROM incident WHERE incident IN (SELECT incident FROM incident "
            "WHERE closed_ms < ? ORDER BY closed_ms LIMIT ?)",
            (oldest_ms, RETENTION_ROWS_A_STEP),
        )
    connection.execute("PRAGMA incremental_vacuum(50)").fetchall()
