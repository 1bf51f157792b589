"""Logs as events with fields: JSON, the journal's native fields, or colour on a terminal.

Owns the pipeline and its writer thread. Must not block: whoever logs only renders and enqueues;
when the reader of the log does not keep up, lines are dropped, counted, and the count is logged.
"""

import contextlib
import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from enum import StrEnum
from typing import IO, Any, Final

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from edged.core.events import Event
from edged.system import clock
from edged.system.journal import JournalSocket, field_name, is_journal, message_id
from edged.system.redaction import Redactor

LINES_QUEUED_MAX: Final = 10_000
"""A mass event at 1,024 gateways is a few thousand lines; beyond that the reader is stuck."""

CLOSE_DEADLINE_S: Final = 0.5
"""What an exit may spend on a log that nobody reads."""

PRIORITIES: Final[Mapping[str, int]] = {
    "debug": 7,
    "info": 6,
    "warning": 4,
    "error": 3,
    "critical": 2,
}
"""Levels as syslog priorities (sd-daemon(3))."""

_COLOURS: Final[Mapping[str, str]] = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_PLAIN: Final = "\x1b[0m"


class LogFormat(StrEnum):
    """How a log entry is written."""

    AUTO = "auto"
    JSON = "json"
    JOURNAL = "journal"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severity that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


def choose_format(
    wanted: LogFormat,
    stream: IO[str],
    environ: Mapping[str, str] = os.environ,
) -> LogFormat:
    """Resolve `auto`: journal if `stream` leads there, colour on a terminal, else JSON."""
    if wanted is not LogFormat.AUTO:
        return wanted
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return LogFormat.JSON
    if is_journal(descriptor, environ):
        return LogFormat.JOURNAL
    return LogFormat.CONSOLE if stream.isatty() else LogFormat.JSON


def log_event(event: Event) -> None:
    """Log a fact of the core under its own name and severity."""
    level = logging.getLevelNamesMapping()[event.severity.upper()]
    get_logger().log(level, event.name, **event.fields)


def get_logger() -> FilteringBoundLogger:
    """Return the logger: `get_logger().info("gateway.came_up", gateway="node1")`."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


class Logging:
    """The running pipeline: level, dropped lines, and the end of it."""

    __slots__ = ("_format", "_library", "_redactor", "_sink")

    def __init__(
        self,
        *,
        wanted: LogFormat = LogFormat.AUTO,
        level: LogLevel = LogLevel.INFO,
        redactor: Redactor | None = None,
        stream: IO[str] | None = None,
        journal: JournalSocket | None = None,
    ) -> None:
        """Install the pipeline for the whole process, including the libraries' own loggers."""
        stream = sys.stderr if stream is None else stream
        self._format = choose_format(wanted, stream)
        self._redactor = redactor or Redactor()
        self._sink = _Sink(stream, journal or JournalSocket())
        self._library = _LibraryHandler()
        logging.basicConfig(handlers=[self._library], force=True)
        logging.captureWarnings(capture=True)
        self.set_level(level)

    @property
    def format(self) -> LogFormat:
        """The format in force."""
        return self._format

    @property
    def dropped(self) -> int:
        """Lines that were lost since the start, because nobody took them."""
        return self._sink.dropped

    def set_level(self, level: LogLevel) -> None:
        """Change the level; takes effect with the next entry."""
        structlog.configure(
            processors=[
                structlog.stdlib.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.StackInfoRenderer(),
                _stamp,
                self._redact,
                _RENDERERS[self._format](self._sink.is_terminal),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(str(level)),
            logger_factory=lambda *_: self._sink,
            cache_logger_on_first_use=False,
        )
        # Libraries speak from their "info" at most: their debug lines quote passwords and bodies.
        quiet = logging.INFO if level is LogLevel.DEBUG else logging.WARNING
        logging.getLogger().setLevel(max(quiet, logging.getLevelNamesMapping()[level.upper()]))

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Write what is queued, for at most `deadline_s`, and give the streams back."""
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(self._library)
        self._sink.close(deadline_s)

    def _redact(self, _: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
        for key, value in event_dict.items():
            event_dict[key] = self._redactor.value(value)
        return event_dict


class _Sink:
    """The bounded queue and the thread that empties it; structlog's innermost logger."""

    def __init__(self, stream: IO[str], journal: JournalSocket) -> None:
        self._stream = stream
        self._journal = journal
        self._queue: queue.Queue[str | dict[str, str] | None] = queue.Queue(LINES_QUEUED_MAX)
        self._told = 0
        self.dropped = 0
        self.is_terminal = stream.isatty() and not os.environ.get("NO_COLOR")
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def msg(self, entry: str | dict[str, str]) -> None:
        """Enqueue one rendered entry, or count it as dropped."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self.dropped += 1

    debug = info = warning = error = critical = msg

    def close(self, deadline_s: float) -> None:
        deadline_ms = clock.monotonic_ms() + int(deadline_s * 1_000)
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=deadline_s)
            self._thread.join(max(0, deadline_ms - clock.monotonic_ms()) / 1_000)

    def _write(self) -> None:
        while (entry := self._queue.get()) is not None:
            self._write_one(entry)
            self._tell_dropped(entry)
        self._journal.close()

    def _write_one(self, entry: str | dict[str, str]) -> None:
        if isinstance(entry, dict):
            if self._journal.send(entry):
                return
            entry = f"<{entry['PRIORITY']}>{entry['MESSAGE']}"
        # RouterOS comments may hold bytes of any encoding, which come as lone surrogates.
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        line = entry.encode(encoding, "backslashreplace").decode(encoding)
        # A closed pipe or a full disk behind stderr leaves nobody to tell.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    def _tell_dropped(self, like: str | dict[str, str]) -> None:
        lost = self.dropped - self._told
        if lost == 0 or not self._queue.empty():
            return
        self._told += lost
        event: EventDict = {"event": "log.dropped", "level": "warning", "lines": lost}
        _stamp(None, "", event)
        if isinstance(like, dict):
            self._write_one(journal_fields(event))
        elif like.startswith("{"):
            self._write_one(_json_line(event))
        else:
            self._write_one(_console_line(event, colours=self.is_terminal))


class _LibraryHandler(logging.Handler):
    """Brings what asyncio, aiohttp and others log into the same pipeline."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on; text of third parties is cut and never parsed."""
        level = record.levelname.lower()
        get_logger().log(
            logging.getLevelNamesMapping().get(record.levelname, logging.WARNING)
            if level in PRIORITIES
            else logging.WARNING,
            "library.logged",
            logger=record.name,
            text=record.getMessage()[:2_000],
            exc_info=record.exc_info,
        )


def _stamp(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    event_dict["time"] = clock.wall().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event_dict


def _json_line(event_dict: Mapping[str, Any]) -> str:
    first = {key: event_dict[key] for key in ("time", "level", "event")}
    return json.dumps({**first, **event_dict}, ensure_ascii=False, default=str)


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case list() if all(isinstance(inner, str) for inner in value):
            return ",".join(value)
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)


def _visible(text: str, *, keep: str = "") -> str:
    """Return `text` with everything escaped that could move a terminal's cursor or colour."""
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode()
        for sign in text
    )


def _pairs(event_dict: Mapping[str, Any]) -> str:
    """Return `key=value` pairs, quoted so that no text can pass for another field or a colour."""
    shown = []
    for key, value in event_dict.items():
        if key in ("time", "level", "event", "exception", "stack"):
            continue
        text = _text(value)
        if text == "" or not text.isprintable() or any(sign in text for sign in ' "='):
            text = '"' + _visible(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
        shown.append(f"{key}={text}")
    return " ".join(shown)


def _console_line(event_dict: Mapping[str, Any], *, colours: bool) -> str:
    level = event_dict["level"]
    on, off = (_COLOURS.get(level, ""), _PLAIN) if colours else ("", "")
    time = str(event_dict["time"])[11:-1]
    line = f"{time} {on}{level:8}{off} {event_dict['event']:24} {_pairs(event_dict)}".rstrip()
    for key in ("exception", "stack"):
        if key in event_dict:
            line += "\n" + _visible(str(event_dict[key]), keep="\n\t")
    return line


def journal_fields(event_dict: Mapping[str, Any]) -> dict[str, str]:
    """Return a log entry as the journal's fields."""
    event = str(event_dict["event"])
    message = f"{event} {_pairs(event_dict)}".rstrip()
    if "exception" in event_dict:
        message += f"\n{event_dict['exception']}"
    fields = {
        "MESSAGE": message,
        "MESSAGE_ID": message_id(event),
        "PRIORITY": str(PRIORITIES.get(event_dict["level"], PRIORITIES["warning"])),
        "SYSLOG_IDENTIFIER": "edged",
    }
    for key, value in event_dict.items():
        if key in ("time", "level", "exception", "stack"):
            continue
        fields[field_name(key)] = _text(value)
    return fields


Renderer = Callable[
    [WrappedLogger, str, MutableMapping[str, Any]],
    str | tuple[tuple[Any, ...], dict[str, Any]],
]


def _render_json(_: bool) -> Renderer:  # noqa: FBT001 - all renderers are made alike
    return lambda _, __, event_dict: _json_line(event_dict)


def _render_console(colours: bool) -> Renderer:  # noqa: FBT001 - all renderers are made alike
    return lambda _, __, event_dict: _console_line(event_dict, colours=colours)


def _render_journal(_: bool) -> Renderer:  # noqa: FBT001 - all renderers are made alike
    return lambda _, __, event_dict: ((journal_fields(event_dict),), {})


_RENDERERS: Final[Mapping[LogFormat, Callable[[bool], Renderer]]] = {
    LogFormat.JSON: _render_json,
    LogFormat.CONSOLE: _render_console,
    LogFormat.JOURNAL: _render_journal,
}
