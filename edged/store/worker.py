"""The thread that alone touches the file, and what it does when the file is bad.

Owns the connection and a copy of the small tables that survives a bad file. Must not be waited
for without a deadline: the disk under it may hang for ever.
"""

import collections
import concurrent.futures
import contextlib
import functools
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from edged.store import schema
from edged.store.file import is_corrupt, may_exist, open_file, open_memory, salvage, set_aside
from edged.store.rows import (
    EVENTS_READ_MAX,
    Retention,
    SmallTables,
    Statement,
    insert_events,
    last_incident,
    last_seq,
    paused,
    persisted,
    read_events,
    read_small,
    retain,
    to_ms,
    transaction,
    write_small,
)
from edged.store.values import Notice, NoticeKind, Persisted, StoredEvent
from edged.system import clock

JOBS_QUEUED_MAX: Final = 1_000
"""Commands and questions; people and pages ask, so hundreds at once mean that the disk hangs."""

EVENTS_PENDING_MAX: Final = 10_000
"""A minute of the worst storm; more than that is counted as dropped."""

EVENTS_CARRIED: Final = 1_000
"""History that memory mode starts with, so that `edged events` goes on answering."""

RETRY_MS: Final = 60_000
"""How often memory mode tries the file again."""

NEVER_MS: Final = 10**12
"""About thirty years."""

RETENTION_INTERVAL_MS: Final = 3_600_000

OUR_FAULT: Final = (
    sqlite3.ProgrammingError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
)

MAY_HOLD_MORE: Final = (
    "drain",
    "adoption",
    "gateway",
    "route_writes",
    "incident",
    "outbox",
    "silence",
)
"""Tables of a file that could not be read at the start: what they hold stays beside the new."""

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
Settle = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class _Order:
    job: Job[Any]
    settle: Settle


class Worker:
    """The thread, the connection, and a copy of the small tables that survives a bad file."""

    def __init__(
        self,
        path: Path | None,
        retention: Retention,
        wall: Callable[[], datetime],
        *,
        hung: Path | None = None,
    ) -> None:
        self.opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.found = Persisted()
        self.degraded: str | None = None
        self.dropped = 0
        self.last_seq = 0
        self.last_incident = 0
        self.wall = wall
        self.on_notice: Callable[[Notice], None] = lambda _: None
        self._path = path
        self._retention = retention
        self._hung = hung
        self._state_unknown = False
        self._small: SmallTables = {}
        self._orders: queue.Queue[_Order | None] = queue.Queue(JOBS_QUEUED_MAX)
        self._pending: collections.deque[StoredEvent] = collections.deque()
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._lock = threading.Lock()
        self._woken = False
        self._settle_stop: Settle | None = None
        self._retry_at_ms = 0
        self._retain_at_ms = 0
        self._connection: sqlite3.Connection
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    # --- called on the loop's thread -------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; `opened` tells when it can be asked."""
        self._thread.start()

    def submit(self, job: Job[Any], settle: Settle) -> bool:
        """Enqueue a question; False where the queue is full."""
        try:
            self._orders.put_nowait(_Order(job, settle))
        except queue.Full:
            return False
        return True

    def submit_writes(self, statements: tuple[Statement, ...], settle: Settle) -> bool:
        """Enqueue writes that belong together; `settle` gets True if they reached the disk."""
        return self.submit(functools.partial(self._write_rows, statements=statements), settle)

    def note_event(self, event: StoredEvent) -> None:
        """Enqueue an event, or count it as dropped."""
        with self._lock:
            if len(self._pending) >= EVENTS_PENDING_MAX:
                self.dropped += 1
                return
            self._pending.append(event)
        self._wake()

    def note_writes(self, router: str, day: str, writes: int) -> None:
        """Add to the count of a router and day."""
        with self._lock:
            self._counts[router, day] += writes
        self._wake()

    def stop(self, settle: Settle) -> None:
        """Have the thread write what is pending, close the file and end."""
        self._settle_stop = settle
        with contextlib.suppress(queue.Full):
            self._orders.put_nowait(None)

    def _wake(self) -> None:
        # What is pending is written before any order, so one wake-up in the queue is enough, and
        # a full queue is wake-up enough.
        if not self._woken:
            self._woken = True
            with contextlib.suppress(queue.Full):
                self._orders.put_nowait(None)

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._open()
        except BaseException as error:
            self.opened.set_exception(error)
            raise
        self.opened.set_result(None)
        try:
            self._serve()
        except BaseException as error:
            self.degraded = f"the store's thread ended by a bug: {error!r}"
            raise

    def _serve(self) -> None:
        while True:
            order = self._next_order()
            self._woken = False
            if self.degraded is not None and clock.monotonic_ms() >= self._retry_at_ms:
                self._try_again()
            self._attempt(self._write_pending)
            if order is not None:
                try:
                    order.settle(self._attempt(order.job))
                except BaseException as error:  # noqa: BLE001 - handed to whoever asked
                    order.settle(error)
            if self._settle_stop is not None and self._orders.empty():
                self._connection.close()
                self._settle_stop(None)
                return

    def _next_order(self) -> _Order | None:
        if self.degraded is None:
            return self._orders.get()
        wait_ms = max(self._retry_at_ms - clock.monotonic_ms(), 0)
        try:
            return self._orders.get(timeout=wait_ms / 1_000)
        except queue.Empty:
            return None

    def _attempt(self, job: Job[T]) -> T:
        """Do `job`; where the file is at fault, do it again on what replaces the file."""
        try:
            return job(self._connection)
        except OUR_FAULT:
            raise
        except sqlite3.Error as error:
            if self.degraded is not None or self._path is None:
                raise
            if is_corrupt(error):
                self._replace_file(self._path, f"it is damaged ({error})")
            else:
                self._go_to_memory(f"{self._path} cannot be written: {error}")
            return job(self._connection)

    def _write_rows(
        self,
        connection: sqlite3.Connection,
        *,
        statements: tuple[Statement, ...],
    ) -> bool:
        """Write rows of the small tables; True if they are on the disk now."""
        with transaction(connection):
            for statement, values in statements:
                connection.execute(statement, values)
        self._small = read_small(connection)
        return self._path is not None and self.degraded is None

    def _write_pending(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            events, counts = list(self._pending), dict(self._counts)
        if events or counts:
            with transaction(connection):
                insert_events(connection, events)
                connection.executemany(
                    "INSERT INTO route_writes VALUES (?, ?, ?) ON CONFLICT (router, day) "
                    "DO UPDATE SET writes = writes + excluded.writes",
                    [(router, day, writes) for (router, day), writes in counts.items()],
                )
            with self._lock:
                for _ in events:
                    self._pending.popleft()
                self._counts.subtract(counts)
                self._counts += collections.Counter()
            if counts:
                self._small = read_small(connection)
        if clock.monotonic_ms() >= self._retain_at_ms:
            self._retain_at_ms = clock.monotonic_ms() + RETENTION_INTERVAL_MS
            retain(connection, self._retention, to_ms(self.wall()))

    # --- opening, and what to do with a bad file -------------------------------------------------

    def _open(self) -> None:
        notices: list[Notice] = []
        self.on_notice = notices.append
        if self._hung is not None:
            self._state_unknown = True
            self._pause_in_memory(f"{self._hung} did not answer in time", retry=False)
        elif self._path is None:
            self._connection = open_memory({}, [])
        else:
            self._open_at_start(self._path)
        self._small = read_small(self._connection)
        self.last_seq = last_seq(self._connection)
        self.last_incident = last_incident(self._connection)
        self.found = persisted(self._small, must_pause=self._state_unknown, notices=tuple(notices))
        self.on_notice = lambda _: None
        if self.degraded is None:
            self._state_unknown = False

    def _open_at_start(self, path: Path) -> None:
        try:
            self._connection = open_file(path)
        except schema.ForeignFileError:
            self._lose_state(path, "it is not a file of edged's")
        except schema.NewerSchemaError as error:
            self._state_unknown = True
            self._pause_in_memory(f"{path} was written by a newer edged ({error})")
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and is_corrupt(error):
                self._lose_state(path, f"it is damaged ({error})")
                return
            try:
                self._small = salvage(path) if may_exist(path) else {}
            except (OSError, sqlite3.Error, schema.ForeignFileError, schema.NewerSchemaError):
                self._state_unknown = True
            self._pause_in_memory(f"{path} cannot be opened: {error}")

    def _lose_state(self, path: Path, why: str) -> None:
        self._state_unknown = True
        self._small = paused(self.wall())
        self._replace_file(path, why)

    def _pause_in_memory(self, why: str, *, retry: bool = True) -> None:
        if self._state_unknown:
            self._small = paused(self.wall())
        self._go_to_memory(why, retry=retry)

    def _replace_file(self, path: Path, why: str) -> None:
        """Set a bad file aside and begin a fresh one with the state that is known."""
        if hasattr(self, "_connection"):
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        try:
            aside = set_aside(path, self._small, self.wall())
            self._connection = open_file(path)
        except (OSError, sqlite3.Error) as error:
            self._go_to_memory(f"{path} cannot be used: {why}, and not be replaced: {error}")
            return
        self.on_notice(
            Notice(
                NoticeKind.SET_ASIDE,
                f"{path} was set aside as {aside.name}, because {why}; a fresh one was begun",
            ),
        )

    def _go_to_memory(self, why: str, *, retry: bool = True) -> None:
        history: list[StoredEvent] = []
        if hasattr(self, "_connection"):
            with contextlib.suppress(sqlite3.Error):
                history = list(read_events(self._connection, limit=EVENTS_CARRIED))
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = open_memory(self._small, history)
        self.degraded = why
        self._retry_at_ms = clock.monotonic_ms() + (RETRY_MS if retry else NEVER_MS)
        self.on_notice(
            Notice(NoticeKind.MEMORY, f"{why}; edged goes on and keeps its state in memory only"),
        )

    def _try_again(self) -> None:
        """Go back to the file if it takes everything that memory holds."""
        self._retry_at_ms = clock.monotonic_ms() + RETRY_MS
        assert self._path is not None, "without a file there is nothing to go back to"
        try:
            file = open_file(self._path)
        except (OSError, sqlite3.Error, schema.ForeignFileError, schema.NewerSchemaError):
            return
        try:
            with transaction(file):
                write_small(file, self._small, keep=MAY_HOLD_MORE if self._state_unknown else ())
                newer = read_events(
                    self._connection, after_seq=last_seq(file), limit=EVENTS_READ_MAX
                )
                insert_events(file, newer)
        except sqlite3.Error:
            file.close()
            return
        self._connection.close()
        self._connection, self.degraded = file, None
        self._small = read_small(file)
        sentence = f"{self._path} is in use again"
        if self._state_unknown:
            self._state_unknown = False
            sentence += "; drains that were in it before count again after the next start"
        self.on_notice(Notice(NoticeKind.RECOVERED, sentence))
