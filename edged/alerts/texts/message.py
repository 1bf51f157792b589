"""A message in words, independent of the service that carries it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from edged.core.events import Severity


class Tone(StrEnum):
    """What a reader sees first; colour never stands alone, a sign and a word go with it."""

    CRITICAL = "critical"
    DOWN = "down"
    WARNING = "warning"
    INFO = "info"
    GOOD = "good"


SIGNS = {
    Tone.CRITICAL: "🚨",
    Tone.DOWN: "🔴",
    Tone.WARNING: "🟡",
    Tone.INFO: "🔵",
    Tone.GOOD: "🟢",
}
COLOURS = {
    Tone.CRITICAL: "#B00020",
    Tone.DOWN: "#D93025",
    Tone.WARNING: "#E8A200",
    Tone.INFO: "#1A73E8",
    Tone.GOOD: "#1E8E3E",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: a label such as "Why", or none, and its text."""

    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.label}: {self.text}" if self.label else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What every channel renders."""

    message_id: str
    incident: str
    kind: str
    step: str
    over: bool
    severity: Severity
    tone: Tone
    title: str
    lines: tuple[Line, ...]
    footer: str
    link: str | None
    link_text: str
    at: datetime
    opened: datetime
    subject: str
    """What it is about, in a few machine-readable words: web/node2."""

    @property
    def colour(self) -> str:
        """Return the colour as #RRGGBB."""
        return COLOURS[self.tone]

    @property
    def body(self) -> str:
        """Return all but the title."""
        return "\n".join([*(str(line) for line in self.lines), self.footer])

    @property
    def text(self) -> str:
        """Return everything."""
        return f"{self.title}\n{self.body}"
