"""The only reader of clocks.

Owns the conversion to integers: everything else takes the time as an argument. Must not wait.
The monotonic clock is the one asyncio's timers use, so a deadline and a timer agree.
"""

import time
from datetime import UTC, datetime


def monotonic_ms() -> int:
    """Return milliseconds of a clock that never jumps and stands still while suspended."""
    return time.monotonic_ns() // 1_000_000


def monotonic_us() -> int:
    """Return microseconds of the same clock, for measured latencies."""
    return time.monotonic_ns() // 1_000


def boot_ms() -> int:
    """Return milliseconds of the clock that goes on while the machine is suspended.

    How far it runs ahead of `monotonic_ms` grows by the length of each suspend.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def wall() -> datetime:
    """Return the wall time in UTC; only people read it, nothing decides by it."""
    return datetime.now(UTC)
