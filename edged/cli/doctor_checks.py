"""What one check of `edged doctor` is: what was found, how bad it is, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """How a check ended; `warn` is also what could not be looked at."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


SIGNS: Final = {Level.OK: "✓", Level.WARN: "!", Level.FAIL: "✗"}
PLAIN_SIGNS: Final = {Level.OK: "ok", Level.WARN: "!", Level.FAIL: "x"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One assumption: what was found, and what to do about it."""

    area: str
    level: Level
    text: str
    fix: str = ""


def ok(area: str, text: str) -> Check:
    """Return a check that found what it should."""
    return Check(area=area, level=Level.OK, text=text)


def warn(area: str, text: str, fix: str = "") -> Check:
    """Return a check that found something to know, or could not look."""
    return Check(area=area, level=Level.WARN, text=text, fix=fix)


def fail(area: str, text: str, fix: str) -> Check:
    """Return a check that found what keeps edged from its work."""
    return Check(area=area, level=Level.FAIL, text=text, fix=fix)
