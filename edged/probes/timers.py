"""All deadlines and heartbeats on one timer, in a time that stands still while we are stalled.

Owns the heap and the reckoning of our own lateness. *Lived* time is the monotonic clock less all
stalls so far: a deadline in lived time is extended by each stall inside it, whoever set it, and
nobody has to walk through them. Lateness is read from this timer itself; there is no sampler.
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Final, Protocol

STALL_LEAST_MS: Final = 10
"""Lateness below this is how a loop lives: a full handshake is 1 ms, a dozen may be ready."""
WATCH_MS: Final = 25
"""While a probe is under way the timer runs at least this often, so that a stall is noticed."""
GRID_MS: Final = 5
"""Heartbeats are rounded up to this, so that many gateways share one wake-up."""


class Sleeper(Protocol):
    """Something that wants to be woken."""

    def wake(self, lived_ms: int, now_ms: int, /) -> int | None:
        """Do what is due; return when to be woken next, in lived time, or None for never."""


def on_grid(lived_ms: int) -> int:
    """Round an instant up to the grid."""
    return -(-lived_ms // GRID_MS) * GRID_MS


class Timers:
    """A heap of sleepers and the one timer that serves it."""

    __slots__ = (
        "_alive_ms",
        "_armed_ms",
        "_clock",
        "_count",
        "_handle",
        "_heap",
        "_loop",
        "_on_stall",
        "stalled_ms",
    )

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clock_ms: Callable[[], int],
        on_stall: Callable[[int, int], None],
    ) -> None:
        self.stalled_ms = 0
        self._loop = loop
        self._clock = clock_ms
        self._on_stall = on_stall
        self._heap: list[tuple[int, int, Sleeper]] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed_ms = 0
        self._alive_ms = clock_ms()

    def lived_ms(self, now_ms: int) -> int:
        """Return the lived time of an instant not before the latest stall."""
        return now_ms - self.stalled_ms

    def now_lived_ms(self) -> int:
        """Return the lived time of this instant."""
        return self._clock() - self.stalled_ms

    def alive(self, now_ms: int) -> None:
        """Note that the loop ran just now: no stall can reach back beyond it.

        When the timer is overdue the stall is over already and will be reckoned by the timer.
        """
        if self._handle is None or now_ms < self._armed_ms:
            self._alive_ms = now_ms

    def add(self, sleeper: Sleeper, lived_ms: int) -> None:
        """Wake `sleeper` at an instant of lived time."""
        self._count += 1
        heapq.heappush(self._heap, (lived_ms, self._count, sleeper))
        self._arm()

    def close(self) -> None:
        """Wake nobody any more."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if not self._heap:
            return
        # Never armed in the past: that would look like lateness when the timer fires.
        due_ms = max(self._heap[0][0] + self.stalled_ms, self._clock())
        if self._handle is not None:
            if self._armed_ms <= due_ms:
                return
            self._handle.cancel()
        self._armed_ms = due_ms
        self._handle = self._loop.call_at(due_ms / 1_000, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now_ms = self._clock()
        late_ms = now_ms - self._armed_ms
        if late_ms >= STALL_LEAST_MS:
            self._stall(late_ms, now_ms)
        self._alive_ms = now_ms
        lived_ms = now_ms - self.stalled_ms
        heap = self._heap
        try:
            while heap and heap[0][0] <= lived_ms:
                _, _, sleeper = heapq.heappop(heap)
                next_ms = sleeper.wake(lived_ms, now_ms)
                if next_ms is not None:
                    self._count += 1
                    heapq.heappush(heap, (max(next_ms, lived_ms + 1), self._count, sleeper))
        finally:
            self._arm()  # one sleeper's bug must not put the others to sleep

    def _stall(self, late_ms: int, now_ms: int) -> None:
        # It began somewhere between the last sign of life and the instant we were due. For the
        # deadlines it began as early as it can have; what is reported is what is certain.
        began_ms = max(self._alive_ms, self._armed_ms - WATCH_MS)
        self.stalled_ms += now_ms - began_ms
        self._on_stall(late_ms, now_ms)
