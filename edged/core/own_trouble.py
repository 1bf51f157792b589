"""Our own trouble: stalls, suspends and starts, after which what we knew is worth nothing.

Owns the warm-up clock and the counts of stalls. Must not judge gateways.
"""

from collections import deque
from typing import Final

STALL_WARM_UP_MS: Final = 1_000
"""A stall longer than this means warm-up again (design 4.5)."""
WARM_UPS_ALARMING: Final = 3
WARM_UPS_WINDOW_MS: Final = 300_000
MINUTE_MS: Final = 60_000
MAX_STALLS_KEPT: Final = 1_024


class OwnTrouble:
    """When warm-up ends, and how often we were late."""

    __slots__ = ("_alarmed", "_stalls", "_warm_ups", "cause", "started_ms", "warm_up_until_ms")

    def __init__(self) -> None:
        self.started_ms: int | None = None
        self.warm_up_until_ms = 0
        self.cause = ""
        self._alarmed = False
        self._warm_ups: deque[int] = deque(maxlen=WARM_UPS_ALARMING)
        self._stalls: deque[tuple[int, int]] = deque(maxlen=MAX_STALLS_KEPT)

    def begin_warm_up(self, now_ms: int, length_ms: int, cause: str) -> bool:
        """Start over; True if this has happened too often lately and nobody was told yet."""
        self.started_ms = now_ms if self.started_ms is None else self.started_ms
        self.warm_up_until_ms = now_ms + length_ms
        self.cause = cause
        self._warm_ups.append(now_ms)
        often = (
            len(self._warm_ups) == WARM_UPS_ALARMING
            and now_ms - self._warm_ups[0] <= WARM_UPS_WINDOW_MS
        )
        if not often:
            self._alarmed = False
            return False
        first = not self._alarmed
        self._alarmed = True
        return first

    def warming_up(self, now_ms: int) -> bool:
        """Whether what we see is too fresh to act on."""
        return now_ms < self.warm_up_until_ms

    def on_stall(self, stall_ms: int, now_ms: int) -> bool:
        """Count a stall; True if it was long enough for a warm-up."""
        self._stalls.append((now_ms, stall_ms))
        return stall_ms > STALL_WARM_UP_MS

    def stalls_per_minute(self, now_ms: int) -> int:
        """Return how many stalls the last minute had."""
        return sum(at_ms > now_ms - MINUTE_MS for at_ms, _ in self._stalls)
