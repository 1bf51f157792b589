"""What outlives the process: one SQLite file, one thread that alone touches it.

Owns the asynchronous face of the store. A corrupt or foreign file is set aside and a fresh one
begun; where nothing can be written (full disk, no directory, a newer schema), edged goes on in
memory and tries the file again now and then. Must not be waited for by anything that keeps the
route: `append_event` and `count_write` only enqueue, and everything else has a deadline. Only
transitions are kept, never single probes.
"""

import asyncio
import contextlib
import functools
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Self, TypeVar

from edged.core.errors import StoreError
from edged.core.events import Event, Severity
from edged.store.rows import (
    Retention,
    Statement,
    alert_statements,
    clean,
    read_events,
    read_incidents,
    to_ms,
    to_ms_or_none,
)
from edged.store.values import (
    AlertBatch,
    Notice,
    Persisted,
    Saved,
    SavedAdoption,
    SavedDrain,
    SavedGateway,
    SavedIncident,
    SavedPause,
    SavedSilence,
    StoredEvent,
)
from edged.store.worker import Job, Worker
from edged.system import clock

OPEN_DEADLINE_MS: Final = 5_000
"""A disk that takes longer hangs; the start goes on without it."""

JOB_DEADLINE_MS: Final = 2_000
"""What a command waits for its write before it says that it is still pending."""

_FULL: Final = "the disk does not keep up, so the store takes nothing more at present"

T = TypeVar("T")


class Store:
    """The asynchronous face. Made by `open`, ended by `close`."""

    __slots__ = ("_closed", "_loop", "_next_seq", "_on_notice", "_worker")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._on_notice: Callable[[Notice], None] | None = None
        self._next_seq = worker.last_seq + 1
        self._closed = False
        worker.on_notice = self._pass_on

    @classmethod
    async def open(
        cls,
        path: Path | None,
        *,
        retention: Retention | None = None,
        deadline_ms: int = OPEN_DEADLINE_MS,
        wall: Callable[[], datetime] = clock.wall,
    ) -> Self:
        """Open the file at `path`, or keep everything in memory (None); never fails.

        What went wrong is in `load().notices`.
        """
        retention = retention or Retention()
        worker = Worker(path, retention, wall)
        worker.start()
        try:
            async with asyncio.timeout(deadline_ms / 1_000):
                await asyncio.wrap_future(worker.opened)
        except TimeoutError:
            # Its thread hangs in the kernel and dies with the process; another goes on in memory.
            worker = Worker(None, retention, wall, hung=path)
            worker.start()
            await asyncio.wrap_future(worker.opened)
        return cls(worker)

    @property
    def degraded(self) -> str | None:
        """Why nothing reaches the disk at present; None when it does, or when none was wanted."""
        return self._worker.degraded

    @property
    def dropped(self) -> int:
        """Events and counts lost since the start because the disk did not keep up."""
        return self._worker.dropped

    def on_notice(self, tell: Callable[[Notice], None]) -> None:
        """Have later changes (memory mode and its end) told on the event loop."""
        self._on_notice = tell

    async def load(self) -> Persisted:
        """Return what was found at the start."""
        return self._worker.found

    # --- state -----------------------------------------------------------------------------------

    async def save_drain(self, drain: SavedDrain) -> Saved:
        """Keep a drain; one a gateway."""
        row = (
            clean(drain.gateway),
            clean(drain.owner),
            clean(drain.reason),
            to_ms(drain.since),
            to_ms_or_none(drain.until),
            int(drain.force),
        )
        return await self._write("INSERT OR REPLACE INTO drain VALUES (?, ?, ?, ?, ?, ?)", row)

    async def clear_drain(self, gateway: str) -> Saved:
        """Forget a drain; nothing happens where there is none."""
        return await self._write("DELETE FROM drain WHERE gateway = ?", (gateway,))

    async def save_pause(self, pause: SavedPause) -> Saved:
        """Keep the pause; there is only one."""
        row = (clean(pause.owner), to_ms(pause.since), to_ms_or_none(pause.until))
        return await self._write("INSERT OR REPLACE INTO pause VALUES (1, ?, ?, ?)", row)

    async def clear_pause(self) -> Saved:
        """Forget the pause."""
        return await self._write("DELETE FROM pause", ())

    async def save_adoption(self, adoption: SavedAdoption) -> Saved:
        """Keep the rows as they were."""
        rows = json.dumps([dict(row) for row in adoption.rows])
        return await self._write(
            "INSERT OR REPLACE INTO adoption VALUES (?, ?, ?, ?)",
            (adoption.router, adoption.vip, rows, to_ms(adoption.at)),
        )

    async def clear_adoption(self, router: str, vip: str) -> Saved:
        """Forget the rows of one VIP on one router."""
        return await self._write("DELETE FROM adoption WHERE router = ? AND vip = ?", (router, vip))

    async def save_gateway(self, gateway: SavedGateway) -> Saved:
        """Keep a discovered gateway."""
        return await self._write(
            "INSERT OR REPLACE INTO gateway VALUES (?, ?, ?, ?)",
            (gateway.name, gateway.address, gateway.node, to_ms(gateway.at)),
        )

    async def clear_gateway(self, name: str) -> Saved:
        """Forget a discovered gateway."""
        return await self._write("DELETE FROM gateway WHERE name = ?", (name,))

    async def save_alerts(self, batch: AlertBatch) -> Saved:
        """Keep incidents, messages and whose events they are: all of it or nothing."""
        return await self._write_all(alert_statements(batch))

    @property
    def last_incident(self) -> int:
        """The number of the newest incident at the start."""
        return self._worker.last_incident

    async def incidents(
        self,
        *,
        since: datetime | None = None,
        incident: str | None = None,
        limit: int = 200,
    ) -> tuple[SavedIncident, ...]:
        """Return the newest incidents, oldest first.

        Raises:
            StoreError: the disk does not keep up.
            TimeoutError: the disk did not answer in time.
        """
        read = functools.partial(read_incidents, since=since, incident=incident, limit=limit)
        return await self._ask(read)

    async def save_silence(self, silence: SavedSilence) -> Saved:
        """Keep a silence."""
        row = (
            silence.number,
            clean(silence.owner),
            clean(silence.reason),
            silence.gateway,
            silence.vip,
            to_ms(silence.since),
            to_ms(silence.until),
        )
        return await self._write("INSERT OR REPLACE INTO silence VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    async def clear_silence(self, number: int) -> Saved:
        """Forget a silence."""
        return await self._write("DELETE FROM silence WHERE number = ?", (number,))

    def count_write(self, router: str, writes: int = 1) -> None:
        """Count writes to a router under today's date (UTC); does not wait."""
        day = self._worker.wall().date().isoformat()
        self._worker.note_writes(router, day, writes)

    async def writes(self, *, since_day: str = "") -> Mapping[str, int]:
        """Return the writes of each router since a day (ISO date, UTC; default: ever).

        Raises:
            StoreError: the disk does not keep up.
            TimeoutError: the disk did not answer in time.
        """

        def read(connection: sqlite3.Connection) -> Mapping[str, int]:
            return {
                str(row["router"]): int(row["total"])
                for row in connection.execute(
                    "SELECT router, sum(writes) AS total FROM route_writes WHERE day >= ? "
                    "GROUP BY router",
                    (since_day,),
                )
            }

        return await self._ask(read)

    # --- history ---------------------------------------------------------------------------------

    def append_event(self, event: Event, at: datetime) -> StoredEvent:
        """Give an event its number and keep it; does not wait."""
        stored = StoredEvent(
            seq=self._next_seq,
            at=at,
            name=event.name,
            severity=event.severity,
            fields=event.fields,
        )
        self._next_seq += 1
        self._worker.note_event(stored)
        return stored

    def append_events(self, events: Iterable[Event], at: datetime) -> tuple[StoredEvent, ...]:
        """Keep several events of one moment; does not wait."""
        return tuple(self.append_event(event, at) for event in events)

    async def events(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after_seq: int = 0,
        limit: int = 200,
        names: Sequence[str] = (),
        gateway: str | None = None,
        vip: str | None = None,
        incident: str | None = None,
        min_severity: Severity = Severity.DEBUG,
    ) -> tuple[StoredEvent, ...]:
        """Return the newest `limit` events that match, oldest first.

        Raises:
            StoreError: the disk does not keep up.
            TimeoutError: the disk did not answer in time.
        """
        read = functools.partial(
            read_events,
            since=since,
            until=until,
            after_seq=after_seq,
            limit=limit,
            names=tuple(names),
            gateway=gateway,
            vip=vip,
            incident=incident,
            min_severity=min_severity,
        )
        return await self._ask(read)

    # --- the end ---------------------------------------------------------------------------------

    async def flush(self, deadline_ms: int = JOB_DEADLINE_MS) -> bool:
        """Wait until everything enqueued so far is written; False after the deadline."""
        try:
            await self._ask(lambda _: None, deadline_ms)
        except TimeoutError:
            return False
        return True

    async def close(self, deadline_ms: int = JOB_DEADLINE_MS) -> bool:
        """Write what is pending and close the file; False if that did not end in time."""
        if self._closed:
            return True
        self._closed = True
        ended: asyncio.Future[None] = self._loop.create_future()
        self._worker.stop(functools.partial(self._settle, ended))
        try:
            async with asyncio.timeout(deadline_ms / 1_000):
                await ended
        except TimeoutError:
            return False
        return True

    # --- inside ----------------------------------------------------------------------------------

    async def _write(self, statement: str, values: tuple[object, ...]) -> Saved:
        return await self._write_all(((statement, values),))

    async def _write_all(self, statements: tuple[Statement, ...]) -> Saved:
        answer: asyncio.Future[bool] = self._loop.create_future()
        settle = functools.partial(self._settle, answer)
        if not self._worker.submit_writes(statements, settle):
            raise StoreError(_FULL)
        try:
            async with asyncio.timeout(JOB_DEADLINE_MS / 1_000):
                on_disk = await answer
        except TimeoutError:
            return Saved.PENDING
        return Saved.ON_DISK if on_disk else Saved.IN_MEMORY

    async def _ask(self, job: Job[T], deadline_ms: int | None = None) -> T:
        """Have the worker do `job`. It is done even if this waits no longer."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if not self._worker.submit(job, functools.partial(self._settle, answer)):
            raise StoreError(_FULL)
        async with asyncio.timeout((deadline_ms or JOB_DEADLINE_MS) / 1_000):
            return await answer

    def _settle(self, answer: "asyncio.Future[T]", outcome: "T | BaseException") -> None:
        """Hand a result over to the loop; called on the worker's thread."""

        def settle() -> None:
            if answer.done():
                return
            if isinstance(outcome, BaseException):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

        # A loop that has ended waits for nothing.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle)

    def _pass_on(self, notice: Notice) -> None:
        """Hand a notice over to the loop; called on the worker's thread."""

        def tell() -> None:
            if self._on_notice is not None:
                self._on_notice(notice)

        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(tell)
