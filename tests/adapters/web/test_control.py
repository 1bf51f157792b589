"""The control socket and the command line's client, over a real Unix socket."""

import asyncio
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edged.cli.client import Client, NoDaemon, Refused
from edged.core.errors import CommandRefused
from edged.core.events import Severity
from edged.web import control
from edged.web.control import COMMANDS, QUESTIONS, ControlApi, ControlServer, ControlSocketError
from tests.support.control import NotingApi


@pytest.fixture
async def served(short_tmp_path: Path) -> AsyncIterator[tuple[NotingApi, Path]]:
    """A running control server, its API and its path."""
    api = NotingApi()
    path = short_tmp_path / "run" / "control.sock"
    server = ControlServer(api, path)
    await server.start()
    yield api, path
    api.go_on.set()
    await server.stop()


async def ask(path: Path, verb: str, **words: str | int | bool | None) -> dict[str, Any]:
    """Ask with the real client, which blocks, in a thread."""
    client = Client(path, deadline_ms=5_000)
    asked: Callable[..., dict[str, Any]] = client.get if verb in QUESTIONS else client.post
    return await asyncio.to_thread(asked, verb, words)


async def raw(path: Path, request: bytes) -> tuple[int, Any]:
    """Send bytes as they are; return the status and the JSON that comes back."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    await writer.drain()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


ALERT_COMMANDS = [
    ({"do": "test"}, ("alerts_test", {"channel": None})),
    ({"do": "test", "channel": "team"}, ("alerts_test", {"channel": "team"})),
    (
        {"do": "retry", "number": 7},
        ("alerts_change", {"what": "retry", "channel": None, "number": 7}),
    ),
    (
        {"do": "drop", "channel": "team"},
        ("alerts_change", {"what": "drop", "channel": "team", "number": None}),
    ),
]


@pytest.mark.parametrize(("words", "heard"), ALERT_COMMANDS)
async def test_one_path_takes_questions_and_commands_about_alerts(
    served: tuple[NotingApi, Path],
    words: dict[str, str | int],
    heard: tuple[str, dict[str, object]],
) -> None:
    api, path = served
    await asyncio.to_thread(Client(path, deadline_ms=5_000).post, "alerts", words)
    assert api.calls == [heard]


async def test_an_unknown_alert_command_is_refused(served: tuple[NotingApi, Path]) -> None:
    api, path = served
    with pytest.raises(Refused, match='"do" has to be'):
        await asyncio.to_thread(Client(path, deadline_ms=5_000).post, "alerts", {"do": "shout"})
    assert api.calls == []


# --- verbs ------------------------------------------------------------------------------------

VERBS = [
    ("status", {}, {}),
    ("why", {}, {"name": None}),
    ("why", {"name": "node1"}, {"name": "node1"}),
    ("plan", {}, {}),
    ("probe", {"gateway": "node1"}, {"gateway": "node1", "trace": False}),
    ("probe", {"gateway": "node1", "trace": True}, {"gateway": "node1", "trace": True}),
    ("recheck", {"gateway": "node1", "owner": "kim"}, {"gateway": "node1", "owner": "kim"}),
    (
        "drain",
        {"gateway": "node1", "owner": "kim", "reason": "디스크 교체", "for_ms": 7_200_000},
        {
            "gateway": "node1",
            "owner": "kim",
            "reason": "디스크 교체",
            "for_ms": 7_200_000,
            "force": False,
        },
    ),
    (
        "drain",
        {"gateway": "node1", "force": True},
        {"gateway": "node1", "owner": "", "reason": "", "for_ms": None, "force": True},
    ),
    ("undrain", {"gateway": "node1"}, {"gateway": "node1", "owner": ""}),
    ("pause", {"for_ms": 60_000}, {"owner": "", "for_ms": 60_000, "restore": False}),
    ("pause", {"restore": True}, {"owner": "", "for_ms": None, "restore": True}),
    ("resume", {"owner": "kim"}, {"owner": "kim"}),
    (
        "adopt",
        {"vip": "web", "create": True},
        {
            "owner": "",
            "vip": "web",
            "router": None,
            "create": True,
            "drop": None,
            "confirmed": False,
        },
    ),
    (
        "release",
        {"router": "hex", "confirmed": True},
        {"owner": "", "vip": None, "router": "hex", "confirmed": True},
    ),
    ("handover", {"to": "bgp"}, {"owner": "", "vip": None, "to_bgp": True}),
    ("handover", {"to": "back", "vip": "web"}, {"owner": "", "vip": "web", "to_bgp": False}),
    ("reload", {}, {"owner": ""}),
    ("alerts", {}, {}),
    (
        "silence",
        {"for_ms": 3_600_000, "gateway": "node1", "owner": "kim", "reason": "디스크"},
        {
            "owner": "kim",
            "reason": "디스크",
            "for_ms": 3_600_000,
            "gateway": "node1",
            "vip": None,
        },
    ),
    (
        "silence",
        {},
        {"owner": "", "reason": "", "for_ms": None, "gateway": None, "vip": None},
    ),
    (
        "events",
        {},
        {
            "since": None,
            "after_seq": 0,
            "limit": 200,
            "names": (),
            "gateway": None,
            "vip": None,
            "incident": None,
            "min_severity": Severity.DEBUG,
        },
    ),
    (
        "events",
        {
            "since": "2026-05-01T21:00:00+09:00",
            "after": 7,
            "limit": 5,
            "names": "route.changed,gateway.came_up",
            "gateway": "node1",
            "vip": "web & co",
            "incident": "i7",
            "severity": "warning",
        },
        {
            "since": datetime(2026, 5, 1, 12, tzinfo=UTC),
            "after_seq": 7,
            "limit": 5,
            "names": ("route.changed", "gateway.came_up"),
            "gateway": "node1",
            "vip": "web & co",
            "incident": "i7",
            "min_severity": Severity.WARNING,
        },
    ),
]


@pytest.mark.parametrize(("verb", "words", "heard"), VERBS)
async def test_each_word_arrives_as_what_it_means(
    served: tuple[NotingApi, Path],
    verb: str,
    words: dict[str, str | int | bool],
    heard: dict[str, object],
) -> None:
    api, path = served
    assert await ask(path, verb, **words) == {"schema": f"edged.{verb}/v1"}
    assert api.calls == [(verb, heard)]


def test_the_table_above_forgets_no_verb() -> None:
    assert {verb for verb, _, _ in VERBS} == QUESTIONS.keys() | COMMANDS.keys()
    asked = {name for name in vars(ControlApi) if not name.startswith("_")}
    of_alerts = {name for _, (name, _) in ALERT_COMMANDS}
    assert asked == QUESTIONS.keys() | COMMANDS.keys() | of_alerts | {"stream"}


@pytest.mark.parametrize(
    ("verb", "words", "sentence"),
    [
        ("drain", {}, '"gateway" has to be a text'),
        ("drain", {"gateway": ""}, '"gateway" has to be a text'),
        ("drain", {"gateway": 7}, '"gateway" has to be a text'),
        ("drain", {"gateway": "n", "for_ms": -1}, '"for_ms" has to be a whole number from 1'),
        ("drain", {"gateway": "n", "for_ms": True}, '"for_ms" has to be a whole number from 1'),
        ("drain", {"gateway": "n", "force": "perhaps"}, '"force" has to be true or false'),
        ("drain", {"gateway": "n", "reason": "x" * 1_001}, '"reason" has more than 1000'),
        ("drain", {"gateway": "n", "forse": True}, "not known here: forse"),
        ("status", {"check": True}, "not known here: check"),
        ("handover", {"to": "ospf"}, '"to" has to be "bgp" or "back"'),
        ("events", {"since": "yesterday"}, '"since" has to be a time with its zone'),
        ("events", {"since": "2026-05-01T12:00:00"}, '"since" has to be a time with its zone'),
        ("events", {"limit": "9" * 4_000}, '"limit" has to be a whole number from 1 to 10000'),
        ("events", {"severity": "loud"}, '"severity" has to be one of debug, info'),
    ],
)
async def test_a_word_that_makes_no_sense_is_answered_with_what_would(
    served: tuple[NotingApi, Path],
    verb: str,
    words: dict[str, str | int | bool],
    sentence: str,
) -> None:
    api, path = served
    with pytest.raises(Refused, match=sentence) as refused:
        await ask(path, verb, **words)
    assert refused.value.exit_code == 2
    assert api.calls == []


async def test_a_refusal_comes_back_as_its_sentence(served: tuple[NotingApi, Path]) -> None:
    api, path = served
    api.answers["drain"] = CommandRefused("node1 is the last one that answers; use --force")
    with pytest.raises(Refused, match="the last one that answers") as refused:
        await ask(path, "drain", gateway="node1")
    assert refused.value.exit_code == 1


async def test_a_bug_in_a_verb_is_told_as_one_and_logged(
    served: tuple[NotingApi, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    api, path = served
    api.answers["status"] = AssertionError("this cannot be")
    with caplog.at_level(logging.ERROR, "aiohttp.server"), pytest.raises(Refused) as refused:
        await ask(path, "status")
    assert refused.value.exit_code == 70
    assert "this cannot be" in caplog.text


async def test_a_verb_that_takes_too_long_is_given_up(
    served: tuple[NotingApi, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, path = served
    api.busy = asyncio.Event()
    monkeypatch.setattr(control, "REQUEST_DEADLINE_S", 0.02)
    with pytest.raises(Refused, match="took longer than"):
        await ask(path, "plan")


# --- bounds and rubbish -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status", "sentence"),
    [
        (b"GET /v1/nonsense HTTP/1.0\r\n\r\n", 404, "knows no /v1/nonsense"),
        (b"GET /v1/drain HTTP/1.0\r\n\r\n", 405, "/v1/drain is asked with POST"),
        (b"POST /v1/status HTTP/1.0\r\n\r\n", 405, "/v1/status is asked with GET"),
        (b"POST /v1/drain HTTP/1.0\r\nContent-Length: 5\r\n\r\n{nope", 400, "has to be JSON"),
        (b"POST /v1/drain HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]", 400, "JSON object"),
        (
            b"POST /v1/drain HTTP/1.0\r\nContent-Length: 50000\r\n\r\n" + b"[" * 50_000,
            400,
            "has to be JSON",
        ),
        (
            b"POST /v1/drain HTTP/1.0\r\nContent-Length: 70000\r\n\r\n" + b" " * 70_000,
            413,
            "at most 65536 bytes",
        ),
    ],
    ids=["unknown", "get for post", "post for get", "no JSON", "a list", "deep", "too long"],
)
async def test_rubbish_is_answered_with_a_sentence(
    served: tuple[NotingApi, Path],
    request_bytes: bytes,
    status: int,
    sentence: str,
) -> None:
    api, path = served
    answered, document = await raw(path, request_bytes)
    assert answered == status
    assert sentence in document["error"]
    assert document["exit"] == 2
    assert api.calls == []


async def test_more_requests_than_there_is_room_for_are_refused_at_once(
    served: tuple[NotingApi, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, path = served
    api.busy = asyncio.Event()
    monkeypatch.setattr(control, "REQUESTS_MAX", 1)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(ask(path, "status"))
        await api.busy.wait()
        with pytest.raises(Refused, match="1 requests at once already"):
            await ask(path, "plan")
        api.go_on.set()
    assert first.result() == {"schema": "edged.status/v1"}


# --- streams ----------------------------------------------------------------------------------


class Reader(threading.Thread):
    """Reads a stream with the real client, in a thread of its own."""

    def __init__(self, path: Path, **words: int) -> None:
        super().__init__(daemon=True)
        self._stream = Client(path).stream(words)
        self.seen: list[dict[str, Any]] = []
        self.start()

    def run(self) -> None:
        self.seen.extend(self._stream)

    async def ended(self) -> None:
        await asyncio.to_thread(self.join, 5)
        assert not self.is_alive()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is in a thread
            await asyncio.sleep(0.002)


async def test_events_are_streamed_as_they_happen(served: tuple[NotingApi, Path]) -> None:
    api, path = served
    reader = Reader(path, after=7)
    for number in range(3):
        api.news.put_nowait({"seq": number, "name": "gateway.came_up"})
        await until(lambda: len(reader.seen) == number + 1)  # noqa: B023 - awaited right here
    assert api.calls == [("stream", {"after_seq": 7})]
    assert [event["seq"] for event in reader.seen] == [0, 1, 2]


async def test_open_streams_do_not_delay_the_exit(short_tmp_path: Path) -> None:
    """Left alone, aiohttp waits 60 s for each of two rounds."""
    api = NotingApi()
    path = short_tmp_path / "control.sock"
    server = ControlServer(api, path)
    await server.start()
    readers = [Reader(path) for _ in range(3)]
    silent, writer = await asyncio.open_unix_connection(path)
    await until(lambda: api.readers == 3)
    api.news.put_nowait({"seq": 1})
    await until(lambda: any(reader.seen for reader in readers))

    before = time.monotonic()
    await server.stop()
    took_s = time.monotonic() - before

    assert took_s < 1.0
    assert api.readers == 0
    assert await silent.read() == b""
    writer.close()
    for reader in readers:
        await reader.ended()
    assert not path.exists()


async def test_a_reader_that_does_not_read_does_not_delay_the_exit_either(
    short_tmp_path: Path,
) -> None:
    api = NotingApi()
    path = short_tmp_path / "control.sock"
    server = ControlServer(api, path)
    await server.start()
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(str(path))
        stuck.sendall(b"GET /v1/events/stream HTTP/1.0\r\n\r\n")
        for _ in range(200):
            api.news.put_nowait({"filler": "x" * 10_000})
        await until(lambda: api.readers == 1)
        await asyncio.sleep(0.02)
        assert api.news.qsize() > 0
        before = time.monotonic()
        await server.stop()
        assert time.monotonic() - before < 1.0
    assert api.readers == 0


async def test_a_verb_in_flight_at_the_end_is_given_up_soon(short_tmp_path: Path) -> None:
    api = NotingApi()
    api.busy = asyncio.Event()
    path = short_tmp_path / "control.sock"
    server = ControlServer(api, path)
    await server.start()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_no_daemon(path))
        await api.busy.wait()
        before = time.monotonic()
        await server.stop()
        assert time.monotonic() - before < 1.5
    assert "ended before it answered" in asked.result()


async def _no_daemon(path: Path) -> str:
    with pytest.raises(NoDaemon) as none:
        await ask(path, "plan")
    return str(none.value)


async def test_a_reader_that_goes_away_is_forgotten_soon(
    served: tuple[NotingApi, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, path = served
    monkeypatch.setattr(control, "STREAM_LOOK_S", 0.01)
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /v1/events/stream HTTP/1.0\r\n\r\n")
    await until(lambda: api.readers == 1)
    writer.close()
    await until(lambda: api.readers == 0)


async def test_a_stream_with_a_wrong_word_is_refused(served: tuple[NotingApi, Path]) -> None:
    _, path = served
    with pytest.raises(Refused, match="not known here: before"):
        await asyncio.to_thread(lambda: list(Client(path).stream({"before": 3})))


# --- the socket file --------------------------------------------------------------------------


async def test_only_owner_and_group_may_use_the_socket(served: tuple[NotingApi, Path]) -> None:
    _, path = served
    status = path.stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


async def test_a_second_edged_is_refused_and_the_first_goes_on(
    served: tuple[NotingApi, Path],
) -> None:
    _, path = served
    second = ControlServer(NotingApi(), path)
    with pytest.raises(ControlSocketError, match=r"another edged answers on .*control\.sock"):
        await second.start()
    await second.stop()
    assert await ask(path, "status") == {"schema": "edged.status/v1"}


async def test_a_listener_without_our_lock_is_refused_as_well(short_tmp_path: Path) -> None:
    path = short_tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        with pytest.raises(ControlSocketError, match="another edged answers"):
            await ControlServer(NotingApi(), path).start()


async def test_a_socket_left_behind_by_a_crash_is_replaced(short_tmp_path: Path) -> None:
    path = short_tmp_path / "control.sock"
    program = """
        import asyncio, os, sys
        from pathlib import Path
        from edged.web.control import ControlServer
        from tests.support.control import NotingApi

        async def main():
            await ControlServer(NotingApi(), Path(sys.argv[1])).start()
            os.kill(os.getpid(), 9)

        asyncio.run(main())
    """
    crashed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), path],
        check=False,
        cwd=Path(__file__).parents[3],
        timeout=30,
    )
    assert crashed.returncode == -9
    assert path.exists()
    server = ControlServer(NotingApi(), path)
    await server.start()
    assert await ask(path, "status") == {"schema": "edged.status/v1"}
    await server.stop()
    await server.stop()
    assert not path.exists()


async def test_stopping_leaves_a_successor_s_socket_alone(short_tmp_path: Path) -> None:
    path = short_tmp_path / "control.sock"
    server = ControlServer(NotingApi(), path)
    await server.start()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        await server.stop()
        assert path.exists()


async def test_what_is_no_socket_is_not_removed(short_tmp_path: Path) -> None:
    path = short_tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(ControlSocketError, match="exists and is not a socket"):
        await ControlServer(NotingApi(), path).start()
    assert path.read_text() == "precious"


@pytest.mark.parametrize("where", ["x" * 120, "file/control.sock"])
async def test_a_path_that_cannot_be_is_refused_with_the_key_to_change(
    short_tmp_path: Path,
    where: str,
) -> None:
    (short_tmp_path / "file").touch()
    with pytest.raises(ControlSocketError, match="choose another place with control_socket"):
        await ControlServer(NotingApi(), short_tmp_path / where).start()


# --- the client -------------------------------------------------------------------------------


def test_without_a_daemon_the_client_says_so(short_tmp_path: Path) -> None:
    client = Client(short_tmp_path / "control.sock")
    with pytest.raises(NoDaemon, match="no edged runs with the control socket") as none:
        client.get("status")
    assert none.value.exit_code == 5
    with pytest.raises(NoDaemon, match="no edged runs"):
        list(client.stream())


def test_a_socket_that_a_crash_left_behind_is_no_daemon(short_tmp_path: Path) -> None:
    path = short_tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NoDaemon, match="no edged runs"):
        Client(path).get("status")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "did not answer within 0.05 s"),
        (b"", "ended before it answered"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "met a bug"),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", "met a bug"),
        (b"HTTP/1.1 500 Oh\r\n\r\n500: server got itself in trouble", "met a bug"),
        (b"HTTP/1.1 409 No\r\n\r\n{}", "edged answered 409"),
    ],
    ids=["silence", "nothing", "another protocol", "HTML", "a list", "500", "no sentence"],
)
def test_whatever_answers_the_client_ends_with_a_sentence(
    short_tmp_path: Path,
    answer: bytes | None,
    sentence: str,
) -> None:
    path = short_tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)
        asked = threading.Event()

        def play() -> None:
            caller, _ = listening.accept()
            with caller:
                caller.recv(4096)
                if answer is None:
                    asked.wait(5)
                else:
                    caller.sendall(answer)

        player = threading.Thread(target=play)
        player.start()
        with pytest.raises((NoDaemon, Refused), match=sentence):
            Client(path, deadline_ms=50 if answer is None else 5_000).get("status")
        asked.set()
        player.join(5)


def test_the_client_is_quick_to_import() -> None:
    """`edged status` has 150 ms in all, on a small machine, too."""
    program = "import sys; import edged.cli.client; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-S", "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": ""},
        timeout=30,
    ).stdout.split()
    heavy = {
        "aiohttp",
        "asyncio",
        "http.client",
        "email",
        "logging",
        "ssl",
        "structlog",
        "pydantic",
    }
    assert heavy.isdisjoint(imported)
