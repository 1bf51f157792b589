"""The simulator's two clocks; a test passes its own instead."""

import time
from datetime import UTC, datetime


def monotonic_s() -> float:
    """Return seconds that never go backwards."""
    return time.monotonic()  # noqa: TID251 - edged.system is out of reach here, on purpose


def wall() -> datetime:
    """Return the time for people, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the router's own log needs a wall clock
