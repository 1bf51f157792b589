"""Durations as people write them, and the integers they become.

Owns the one form (``"150ms"``, ``"2s"``, ``"5m"``); nothing else in edged parses a duration.
"""

from __future__ import annotations

import re

PATTERN = r"^[0-9]+(ms|s|m|h|d)$"
"""One whole number and one unit: no fractions and no sums, so that each span has few spellings."""

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DIGITS_MAX = 12
"""Far beyond any bound, and short enough that converting it costs nothing."""


def parse_duration(text: str) -> int | None:
    """Return the milliseconds that ``text`` means, or None if it is not a duration."""
    match = re.fullmatch(PATTERN, text)
    if match is None:
        return None
    digits = text.removesuffix(match[1])
    return int(digits) * _UNITS_MS[match[1]] if len(digits) <= _DIGITS_MAX else None


def format_duration(duration_ms: int) -> str:
    """Write a duration in the largest unit that loses nothing; the inverse of `parse_duration`."""
    if duration_ms == 0:
        return "0s"
    for unit, unit_ms in _UNITS_MS.items():
        if duration_ms % unit_ms == 0:
            return f"{duration_ms // unit_ms}{unit}"
    raise AssertionError(f"{duration_ms} is not a whole number")
