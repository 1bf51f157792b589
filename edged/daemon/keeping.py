"""Keeping: what of the core's events goes to the log, the store and those who listen.

Routing never waits for any of it: the store has its own thread and bound, a slow listener loses
the oldest events and is told how many.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from edged.core.events import Event, Severity
from edged.store.sqlite import Store
from edged.store.values import StoredEvent
from edged.system import clock
from edged.system.logging import log_event

LISTENER_QUEUE: Final = 1_000
MAX_LISTENERS: Final = 32
RECENT: Final = 200
"""Events kept in memory, so that the last change is known without the store."""

CHANGES: Final = frozenset({"route.changed", "route.human_edited", "route.handed_over"})


class Listener:
    """One open event stream: a bounded queue that drops its oldest."""

    __slots__ = ("dropped", "queue", "ready")

    def __init__(self) -> None:
        self.queue: deque[StoredEvent] = deque(maxlen=LISTENER_QUEUE)
        self.ready = asyncio.Event()
        self.dropped = 0

    def put(self, event: StoredEvent) -> None:
        """Take an event; the oldest goes if the listener does not keep up."""
        self.dropped += len(self.queue) == LISTENER_QUEUE
        self.queue.append(event)
        self.ready.set()


class Keeper:
    """Takes each event once, with its wall time, and passes it on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: list[Listener] = []
        self._told: list[Callable[[StoredEvent], None]] = []
        self._closed = asyncio.Event()
        self.recent: deque[StoredEvent] = deque(maxlen=RECENT)
        self.last_change: StoredEvent | None = None

    def on_kept(self, tell: Callable[[StoredEvent], None]) -> None:
        """Tell somebody of each event that is kept, at once; it has to be quick."""
        self._told.append(tell)

    def publish(self, event: Event, at: datetime) -> StoredEvent | None:
        """Log, keep and hand on one event; debug events are only logged."""
        log_event(event)
        if event.severity is Severity.DEBUG:
            return None
        stored = self._store.append_event(event, at)
        self.recent.append(stored)
        if event.name in CHANGES:
            self.last_change = stored
        for tell in self._told:
            tell(stored)
        for listener in self._listeners:
            listener.put(stored)
        return stored

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Take part from this moment on: what happens while history is read is not lost."""
        listener = Listener()
        room = len(self._listeners) < MAX_LISTENERS
        if room:
            self._listeners.append(listener)
        try:
            yield listener
        finally:
            if room:
                self._listeners.remove(listener)

    async def follow(self, listener: Listener) -> AsyncIterator[StoredEvent]:
        """Yield what a listener has taken and takes, until closed."""
        while listener in self._listeners:
            while listener.queue:
                yield listener.queue.popleft()
            if self._closed.is_set():
                return
            listener.ready.clear()
            await listener.ready.wait()

    def close(self) -> None:
        """End every stream."""
        self._closed.set()
        for listener in self._listeners:
            listener.ready.set()


def wall_at(at_ms: int) -> datetime:
    """Return the wall time of a monotonic instant, as far as the wall clock can be trusted."""
    return clock.wall() + timedelta(milliseconds=at_ms - clock.monotonic_ms())


def monotonic_at(at: datetime) -> int:
    """Return the monotonic instant of a wall time: the end of a drain set before a restart."""
    return clock.monotonic_ms() + round((at - clock.wall()).total_seconds() * 1_000)
