"""Logs over real pipes, a real journal socket and a real terminal."""

import io
import json
import logging
import os
import pty
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
import structlog

from edged.core.events import event
from edged.system.journal import JournalSocket, is_journal, message_id
from edged.system.logging import (
    LINES_QUEUED_MAX,
    LogFormat,
    Logging,
    LogLevel,
    choose_format,
    get_logger,
    log_event,
)
from edged.system.redaction import Redactor
from tests.support.journal import FakeJournal

Start = Callable[..., Logging]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start logging, and leave the process as it was."""
    started: list[Logging] = []
    before = logging.getLogger().handlers[:], logging.getLogger().level

    def begin(**options: object) -> Logging:
        started.append(Logging(**options))  # type: ignore[arg-type] # passed on as they are
        return started[-1]

    yield begin
    for pipeline in started:
        pipeline.close()
    logging.getLogger().handlers[:], level = before
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_of_the_core_is_one_flat_json_line(start: Start) -> None:
    stream = io.StringIO()
    pipeline = start(wanted=LogFormat.JSON, stream=stream)
    log_event(event("route.changed", 5, vip="web", removed=("node1", "node2"), class_="silent"))
    pipeline.close()
    (line,) = lines(stream)
    assert list(line)[:3] == ["time", "level", "event"]
    assert line.pop("time")
    assert line == {
        "level": "info",
        "event": "route.changed",
        "vip": "web",
        "removed": ["node1", "node2"],
        "class": "silent",
    }


def test_no_secret_and_no_webhook_path_reaches_the_log(start: Start) -> None:
    stream = io.StringIO()
    redactor = Redactor()
    redactor.hide("hunter22")
    pipeline = start(wanted=LogFormat.JSON, stream=stream, redactor=redactor)
    get_logger().warning(
        "a.b", url="https://chat.example.test/hooks/T0/B0/abcdef", said=["hunter22"]
    )
    get_logger().error("c.d", exc_info=ValueError("cannot log in with hunter22"))
    logging.getLogger("aiohttp").error("tried %s", "hunter22")
    pipeline.close()
    assert "hunter22" not in stream.getvalue()
    assert "/hooks/" not in stream.getvalue()
    assert len(lines(stream)) == 3


def test_the_level_can_be_changed_while_it_runs(start: Start) -> None:
    stream = io.StringIO()
    pipeline = start(wanted=LogFormat.JSON, stream=stream, level=LogLevel.WARNING)
    logger = get_logger()
    logger.info("not.shown")
    logging.getLogger("asyncio").info("nor this")
    pipeline.set_level(LogLevel.DEBUG)
    logger.debug("is.shown")
    logging.getLogger("kubernetes_asyncio").debug("a body with a token")
    pipeline.close()
    assert [line["event"] for line in lines(stream)] == ["is.shown"]


def test_warnings_of_libraries_and_of_python_are_logged_as_such(start: Start) -> None:
    stream = io.StringIO()
    pipeline = start(wanted=LogFormat.JSON, stream=stream)
    logging.getLogger("asyncio").warning("took %d s", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings undoes the capture; this is what captureWarnings calls.
        logging.getLogger("py.warnings").warning("%s", "old habit")
    pipeline.close()
    shown = [(line["event"], line["logger"], line["text"]) for line in lines(stream)]
    assert shown == [
        ("library.logged", "asyncio", "took 3 s"),
        ("library.logged", "py.warnings", "old habit"),
    ]


def test_a_reader_that_is_stuck_costs_lines_and_no_time(start: Start) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as taken, os.fdopen(writer, "w", encoding="utf-8") as stream:
        pipeline = start(wanted=LogFormat.JSON, stream=stream)
        before = threading.active_count()
        for number in range(LINES_QUEUED_MAX + 2_000):
            get_logger().info("a.line", number=number)
        assert pipeline.dropped > 0
        assert threading.active_count() == before
        seen = []
        for line in taken:
            seen.append(json.loads(line))
            if seen[-1]["event"] == "log.dropped":
                break
        assert seen[-1]["lines"] == pipeline.dropped
        assert len(seen) - 1 + pipeline.dropped == LINES_QUEUED_MAX + 2_000
        pipeline.close()


def test_a_stuck_reader_does_not_hold_up_the_exit(start: Start) -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", encoding="utf-8")
    pipeline = start(wanted=LogFormat.JSON, stream=stream)
    for _ in range(LINES_QUEUED_MAX + 5_000):
        get_logger().info("a.line", filler="x" * 40)
    pipeline.close(deadline_s=0.05)
    os.close(reader)
    # The thread now meets a broken pipe, again and again, and must survive it.
    pipeline.close(deadline_s=5)
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_the_journal_gets_fields_that_can_be_matched(start: Start, short_tmp_path: Path) -> None:
    journal = FakeJournal(short_tmp_path / "journal")
    start(
        wanted=LogFormat.JOURNAL,
        stream=io.StringIO(),
        journal=JournalSocket(journal.path),
    )
    log_event(event("gateway.went_down", 5, gateway="node1", class_="silent", detect_ms=341))
    entry = journal.receive()
    journal.close()
    assert entry == {
        "MESSAGE": "gateway.went_down gateway=node1 class=silent detect_ms=341",
        "MESSAGE_ID": message_id("gateway.went_down"),
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "edged",
        "EDGED_EVENT": "gateway.went_down",
        "EDGED_GATEWAY": "node1",
        "EDGED_CLASS": "silent",
        "EDGED_DETECT_MS": "341",
    }


def test_without_a_journal_the_line_goes_to_stderr_with_its_priority(
    start: Start,
    short_tmp_path: Path,
) -> None:
    stream = io.StringIO()
    pipeline = start(
        wanted=LogFormat.JOURNAL,
        stream=stream,
        journal=JournalSocket(short_tmp_path / "gone"),
    )
    get_logger().warning("router.lost", router="hex")
    pipeline.close()
    assert stream.getvalue() == "<4>router.lost router=hex\n"


def test_a_journal_that_comes_back_is_used_again(short_tmp_path: Path) -> None:
    path = short_tmp_path / "journal"
    way = JournalSocket(path)
    assert not way.send({"MESSAGE": "nobody there"})
    journal = FakeJournal(path)
    assert way.send({"MESSAGE": "one"})
    journal.close()
    assert not way.send({"MESSAGE": "lost"})
    journal = FakeJournal(path)
    assert way.send({"MESSAGE": "two\nlines"})
    assert journal.receive() == {"MESSAGE": "two\nlines"}
    journal.close()
    way.close()


def test_auto_finds_the_journal_the_terminal_and_the_pipe(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(file.fileno(), environ)
        assert choose_format(LogFormat.AUTO, file, environ) is LogFormat.JOURNAL
        assert choose_format(LogFormat.AUTO, file, {}) is LogFormat.JSON
        assert choose_format(LogFormat.CONSOLE, file, environ) is LogFormat.CONSOLE
    assert choose_format(LogFormat.AUTO, io.StringIO(), {}) is LogFormat.JSON
    with terminal() as (_, stream):
        assert choose_format(LogFormat.AUTO, stream, {}) is LogFormat.CONSOLE


def test_a_terminal_shows_colour_and_obeys_no_foreign_escape(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with terminal() as (screen, stream):
        pipeline = start(stream=stream)
        get_logger().critical("route.contested", comment='ECMP "게이트"\x1b[2J', vips=["a", "b"])
        pipeline.close()
        shown = os.read(screen, 4096).decode()
    assert "\x1b[1;31mcritical\x1b[0m route.contested" in shown
    assert r'comment="ECMP \"게이트\"\x1b[2J" vips=a,b' in shown


def test_an_exception_on_the_terminal_is_shown_below_its_line(start: Start) -> None:
    stream = io.StringIO()
    pipeline = start(wanted=LogFormat.CONSOLE, stream=stream)
    try:
        int("odd \x1b]0;title")
    except ValueError as error:
        error.add_note("odd \x1b]0;title\x07")
        get_logger().exception("bug.found")
    pipeline.close()
    first, *rest = stream.getvalue().splitlines()
    assert "error    bug.found" in first
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == r"odd \x1b]0;title\x07"


class terminal:  # noqa: N801 - reads as a context manager
    """A real pseudo-terminal: its screen's descriptor and the stream of the program in it."""

    def __enter__(self) -> tuple[int, IO[str]]:
        self._screen, program = pty.openpty()
        self._stream = os.fdopen(program, "w", encoding="utf-8")
        return self._screen, self._stream

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        os.close(self._screen)


def test_a_comment_in_another_encoding_costs_no_line(start: Start) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    running = start(wanted=LogFormat.JSON, stream=stream)
    comment = b"ECMP \xb0\xa1 edged:web".decode("utf-8", "surrogateescape")
    log_event(event("route.foreign_found", 1, vip="web", router="hex", rows=(comment,)))
    running.close()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    assert json.loads(written.getvalue())["rows"] == [comment]
