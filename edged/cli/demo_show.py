"""What the demo shows: its words, edged's events, and on a terminal edged's status below them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, TextIO

from edged.cli.client import NoDaemon
from edged.cli.demo_lab import Daemon
from edged.cli.live import LiveView
from edged.cli.render import Colour, Terminal, cut, read_time, wrap
from edged.cli.screens import event_line, status_screen
from edged.system import clock

EVENTS_EVERY_MS = 100
STATUS_EVERY_MS = 250
HIDDEN = frozenset({"daemon.started", "daemon.warming_up", "route.frozen", "route.thawed"})
"""Events that only tell what the demo has just said itself."""


class Show:
    """Prints the story; `tick` shows what happened since, and is called while the demo waits."""

    def __init__(self, stream: TextIO, terminal: Terminal, view: LiveView) -> None:
        self._stream = stream
        self._terminal = terminal
        self._view = view
        self._daemon: Daemon | None = None
        self._seq = 0
        self._events_due_ms = 0
        self._status_due_ms = 0
        self._footer: list[str] = []
        self.events: list[dict[str, Any]] = []
        """Every event since the daemon was started, oldest first."""

    def watch(self, daemon: Daemon) -> None:
        """Show this daemon's events from now on."""
        self._daemon = daemon

    def unwatch(self) -> None:
        """Show no more of the daemon, which is about to end."""
        self._daemon = None

    # --- words

    def say(self, text: str = "") -> None:
        """Print a sentence of the demo."""
        if not text:
            self.lines([""])
            return
        self.lines(wrap(self._terminal.sign(text), self._terminal.width))

    def heading(self, text: str) -> None:
        """Print the headline of a step."""
        self.lines(["", self._terminal.paint(self._terminal.sign(text), Colour.STRONG)])

    def result(self, text: str) -> None:
        """Print what a step has shown."""
        lines = wrap(self._terminal.sign(f"→ {text}"), self._terminal.width - 2)
        self.lines(self._terminal.paint(f"  {line}", Colour.GOOD) for line in lines)

    def command(self, text: str) -> None:
        """Print a command as a person would type it."""
        self.lines([self._terminal.paint(f"  $ {text}", Colour.FAINT)])

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines as they are."""
        self._view.say(lines)
        if self._footer:
            self._view.update("\n".join(self._footer))

    # --- the daemon

    def tick(self) -> None:
        """Show new events, and on a terminal the status."""
        now_ms = clock.monotonic_ms()
        if self._daemon is None:
            return
        try:
            if now_ms >= self._events_due_ms:
                self._events_due_ms = now_ms + EVENTS_EVERY_MS
                self.catch_up()
            if self._terminal.live and now_ms >= self._status_due_ms:
                self._status_due_ms = now_ms + STATUS_EVERY_MS
                self._draw(self._daemon.status())
        except NoDaemon:
            return

    def catch_up(self) -> None:
        """Show the events that happened since the last look."""
        assert self._daemon is not None
        fresh = self._daemon.events(self._seq)
        for event in fresh:
            self._seq = max(self._seq, int(event["seq"]))
            self.events.append(event)
            if event["name"] not in HIDDEN:
                self.lines(self._event_lines(event))

    def _event_lines(self, event: dict[str, Any]) -> list[str]:
        now: datetime = read_time(event["time"])
        return [f"  {line}" for line in event_line(event, now, self._narrow())]

    def _narrow(self) -> Terminal:
        return replace(self._terminal, width=self._terminal.width - 2)

    def _draw(self, status: dict[str, Any]) -> None:
        width = self._terminal.width
        rule = self._terminal.sign("─" if self._terminal.unicode else "-") * width
        kept = [line for line in status_screen(status, self._terminal) if line.strip()]
        self._footer = [self._terminal.paint(cut(rule, width), Colour.FAINT), *kept]
        self._view.update("\n".join(self._footer))

    def end_status(self) -> None:
        """Draw no more status."""
        if self._footer:
            self._view.update("")
        self._footer = []


def first_event(
    events: Iterable[dict[str, Any]], name: str, **fields: object
) -> dict[str, Any] | None:
    """Return the first event with this name whose fields hold these values (lists: contain)."""
    for event in events:
        if event["name"] == name and all(
            _holds(event["fields"].get(key), value) for key, value in fields.items()
        ):
            return event
    return None


def _holds(found: object, wanted: object) -> bool:
    return wanted in found if isinstance(found, list) else found == wanted
