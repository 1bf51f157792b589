"""The read-only server over real sockets: who may ask what, how much at once, and its end."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from edged.core.errors import StoreError
from edged.core.events import Severity
from edged.web import page
from edged.web import server as module
from edged.web.server import WebServer, WebServerError, host_names
from tests.support.documents import healthy, node2_refused
from tests.support.pages import ShownApi, picture_of, server_of


@pytest.fixture
async def served() -> AsyncIterator[tuple[ShownApi, WebServer]]:
    """A running server and what it shows."""
    api = ShownApi(node2_refused())
    server = server_of(api)
    await server.start()
    yield api, server
    await server.stop()


class Answer:
    """One answer: status, headers in lower case, body."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body as JSON."""
        return json.loads(self.body)


async def ask(server: WebServer, path: str, *, method: str = "GET", **headers: str) -> Answer:
    """Ask once, on a connection of its own."""
    given = {"Host": f"127.0.0.1:{server.port}", "Connection": "close"} | {
        name.replace("_", "-"): words for name, words in headers.items()
    }
    lines = "".join(f"{name}: {words}\r\n" for name, words in given.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
    async with asyncio.timeout(5):
        raw = await reader.read()
    writer.close()
    return Answer(raw)


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def listen(server: WebServer) -> Stream:
    """Open the event stream and read its head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if b"200 OK" not in head:
        writer.close()
        raise AssertionError(head)
    return reader, writer


async def message(stream: Stream) -> str:
    """Return the next picture of a stream."""
    async with asyncio.timeout(5):
        raw = await stream[0].readuntil(b"</main>\n\n")
    return raw.decode()


# --- what may be asked --------------------------------------------------------------------------

PATHS = [
    ("/", "text/html"),
    ("/api/v1/status", "application/json"),
    ("/api/v1/events", "application/json"),
    ("/healthz", "text/plain"),
    ("/readyz", "text/plain"),
    ("/metrics", "text/plain"),
    ("/favicon.ico", "image/svg+xml"),
]


@pytest.mark.parametrize(("path", "kind"), PATHS, ids=[path for path, _ in PATHS])
async def test_every_path_answers_get_and_head_with_all_headers(
    served: tuple[ShownApi, WebServer], path: str, kind: str
) -> None:
    full = await ask(served[1], path)
    assert full.status == 200
    assert full.headers["content-type"].startswith(kind)
    assert full.body
    head = await ask(served[1], path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    for answer in (full, head):
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/v1/drain", "/api/v1/stream"])
async def test_nothing_but_looking_is_allowed(
    served: tuple[ShownApi, WebServer], method: str, path: str
) -> None:
    answer = await ask(served[1], path, method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/v1/status", "/v1/plan", "/static/../server.py", "/static/x"])
async def test_the_control_sockets_verbs_and_other_files_are_not_here(
    served: tuple[ShownApi, WebServer], path: str
) -> None:
    assert (await ask(served[1], path)).status == 404


HOSTS = [
    ("127.0.0.1:9780", True),
    ("localhost", True),
    ("LOCALHOST:1", True),
    ("[::1]:9780", True),
    ("172.30.1.5", True),
    ("mgmt-1", True),
    ("mgmt-1.", True),
    ("edged.example.test:443", True),
    ("evil.example.test", False),
    ("edged.example.test.evil.example.test", False),
    ("127.0.0.1.evil.example.test", False),
    ("localhost@evil.example.test", False),
    ("", False),
]


@pytest.mark.parametrize(("host", "fine"), HOSTS, ids=[host or "none" for host, _ in HOSTS])
@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/metrics", "/nowhere"])
async def test_a_name_that_is_not_ours_gets_nothing(
    served: tuple[ShownApi, WebServer], host: str, path: str, *, fine: bool
) -> None:
    """A web page elsewhere can have its own name lead here."""
    answer = await ask(served[1], path, Host=host)
    if fine:
        assert answer.status == (404 if path == "/nowhere" else 200)
    else:
        assert answer.status == 421
        assert b"node1" not in answer.body


async def test_the_stream_is_closed_to_other_names_too(
    served: tuple[ShownApi, WebServer],
) -> None:
    answer = await ask(served[1], "/api/v1/stream", Host="evil.example.test")
    assert answer.status == 421


async def test_static_files_change_their_name_with_their_content_and_are_kept(
    served: tuple[ShownApi, WebServer],
) -> None:
    html = (await ask(served[1], "/")).text
    paths = set(re.findall(r'"(/static/[^"]+)"', html))
    assert len(paths) == 3
    for path in paths:
        assert re.search(r"\.[0-9a-f]{12}\.(css|js|svg)$", path)
        answer = await ask(served[1], path)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


# --- the API ------------------------------------------------------------------------------------


async def test_status_is_the_document_of_the_control_socket(
    served: tuple[ShownApi, WebServer],
) -> None:
    api, server = served
    assert (await ask(server, "/api/v1/status")).json == json.loads(json.dumps(api.shown.document))


async def test_events_are_asked_with_every_filter(served: tuple[ShownApi, WebServer]) -> None:
    api, server = served
    query = (
        "?since=2026-05-01T12:00:00Z&after=7&limit=5&names=gateway.kept,route.changed&gateway=node2"
        "&vip=web&incident=7k2&severity=warning"
    )
    answer = await ask(server, f"/api/v1/events{query}")
    assert answer.status == 200
    assert api.asked == {
        "since": datetime(2026, 5, 1, 12, tzinfo=UTC),
        "after_seq": 7,
        "limit": 5,
        "names": ("gateway.kept", "route.changed"),
        "gateway": "node2",
        "vip": "web",
        "incident": "7k2",
        "min_severity": Severity.WARNING,
    }


BAD = [
    ("limit=0x5", "limit"),
    ("limit=-1", "limit"),
    ("limit=1001", "limit"),
    ("after=" + "9" * 40, "after"),
    ("limit=٣", "limit"),
    ("since=yesterday", "since"),
    ("since=2026-05-01T12:00:00", "since"),
    ("severity=loud", "severity"),
    ("lmit=5", "lmit"),
]


@pytest.mark.parametrize(("query", "named"), BAD, ids=[query[:20] for query, _ in BAD])
async def test_a_bad_question_is_answered_with_what_is_wrong(
    served: tuple[ShownApi, WebServer], query: str, named: str
) -> None:
    answer = await ask(served[1], f"/api/v1/events?{quote(query, safe='=:-&')}")
    assert answer.status == 400
    assert named in answer.json["error"]


async def test_a_store_that_fails_is_said_and_ends_nothing(
    served: tuple[ShownApi, WebServer],
) -> None:
    api, server = served
    api.failure = StoreError("the disk is full")
    answer = await ask(server, "/api/v1/status")
    assert (answer.status, answer.json) == (503, {"error": "the disk is full"})
    api.failure = None
    assert (await ask(server, "/api/v1/status")).status == 200


async def test_a_bug_in_drawing_ends_an_answer_and_not_the_server(
    served: tuple[ShownApi, WebServer], caplog: pytest.LogCaptureFixture
) -> None:
    api, server = served
    api.failure = ZeroDivisionError("drawing")
    assert (await ask(server, "/")).status == 500
    stream = await listen(server)
    assert b"page" not in await stream[0].read()
    stream[1].close()
    api.failure = None
    assert (await ask(server, "/")).status == 200
    assert "drawing" in caplog.text


async def test_health_speaks_of_the_loop_and_readiness_of_the_first_read(
    served: tuple[ShownApi, WebServer],
) -> None:
    api, server = served
    api.unread = "not read yet: web on hex"
    assert (await ask(server, "/healthz")).status == 200
    unready = await ask(server, "/readyz")
    assert (unready.status, unready.text) == (503, "not read yet: web on hex\n")
    api.wrong = "no turn of the core for 6000 ms"
    assert (await ask(server, "/healthz")).status == 503


async def test_metrics_come_in_the_format_that_is_asked_for(
    served: tuple[ShownApi, WebServer],
) -> None:
    plain = await ask(served[1], "/metrics")
    assert 'edged_gateway_healthy{gateway="node2",vip="web"} 0.0' in plain.text
    accept = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.5"
    wanted = await ask(served[1], "/metrics", Accept=accept)
    assert wanted.headers["content-type"].startswith("application/openmetrics-text")
    assert wanted.text.endswith("# EOF\n")


async def test_a_reload_changes_language_and_names_without_a_restart(
    served: tuple[ShownApi, WebServer],
) -> None:
    _, server = served
    assert (await ask(server, "/", Host="new.example.test")).status == 421
    server.take(replace(server._settings, language="ko", names=("new.example.test",)))
    answer = await ask(server, "/", Host="new.example.test")
    assert '<html lang="ko">' in answer.text
    assert "node2 경로에서 제외" in answer.text
    assert (await ask(server, "/", Host="mgmt-1")).status == 421


# --- the stream ---------------------------------------------------------------------------------


async def test_a_stream_begins_with_the_picture_and_shows_each_change_at_once(
    served: tuple[ShownApi, WebServer],
) -> None:
    api, server = served
    stream = await listen(server)
    first = await message(stream)
    assert "retry: 2000\n\n" in first
    assert "event: page\n" in first
    assert "node2 out of the route" in first
    api.shown = picture_of(healthy())
    began = time.monotonic()
    server.changed()
    assert "3 of 3 nodes in the route" in await message(stream)
    assert time.monotonic() - began < 1
    stream[1].close()


async def test_ages_are_sent_anew_though_nothing_happens(
    served: tuple[ShownApi, WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.04)
    stream = await listen(served[1])
    seen = [re.search(r"id: (\d+)", await message(stream)) for _ in range(3)]
    idents = [int(match[1]) for match in seen if match]
    assert idents == sorted(set(idents))
    assert len(idents) == 3
    stream[1].close()


async def test_many_streams_share_one_drawing(
    served: tuple[ShownApi, WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = 0
    draw = page.main

    def counted(*args: Any) -> Any:  # noqa: ANN401 - as it was called
        nonlocal drawn
        drawn += 1
        return draw(*args)

    monkeypatch.setattr(page, "main", counted)
    streams = [await listen(served[1]) for _ in range(10)]
    for stream in streams:
        await message(stream)
    assert drawn == 1
    for _, writer in streams:
        writer.close()


async def test_a_picture_with_line_breaks_stays_one_message(
    served: tuple[ShownApi, WebServer],
) -> None:
    stream = await listen(served[1])
    lines = (await message(stream)).split("\n")
    body = lines[lines.index("event: page") + 1 :]
    assert all(line.startswith("data: ") or line in {"", "\r"} for line in body)
    stream[1].close()


async def test_one_stream_too_many_is_refused_and_told_when_to_come_back(
    served: tuple[ShownApi, WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAMS_MAX", 2)
    streams = [await listen(served[1]) for _ in range(2)]
    refused = await ask(served[1], "/api/v1/stream")
    assert refused.status == 503
    assert refused.headers["retry-after"] == "10"
    assert (await ask(served[1], "/")).status == 200
    streams[0][1].close()
    again = None
    for _ in range(40):
        await asyncio.sleep(0.05)
        with contextlib.suppress(AssertionError):
            again = await listen(served[1])
            break
        served[1].changed()
    assert again is not None
    for _, writer in (streams[1], again):
        writer.close()


async def test_a_reader_that_takes_nothing_is_dropped(
    served: tuple[ShownApi, WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW_READER_S", 0.05)
    monkeypatch.setattr(module, "TICK_S", 0.001)
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    _, server = served
    stream = await listen(server)
    stream[1].transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
    async with asyncio.timeout(10):
        while server._streams:
            server.changed()
            await asyncio.sleep(0.01)
    assert (await ask(server, "/healthz")).status == 200
    stream[1].close()


# --- bounds and the end -------------------------------------------------------------------------


async def test_connections_have_a_bound_and_those_beyond_it_are_told(
    served: tuple[ShownApi, WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 3)
    _, server = served
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
    await asyncio.sleep(0.02)
    refused = await ask(server, "/")
    assert refused.status == 503
    assert refused.headers["retry-after"] == "5"
    for _, writer in idle:
        writer.close()
    await asyncio.sleep(0.05)
    assert (await ask(server, "/")).status == 200


@pytest.mark.parametrize("said", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: local"])
async def test_who_says_nothing_or_half_a_request_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(module, "FIRST_REQUEST_S", 0.05)
    server = server_of(ShownApi(healthy()))
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(said)
    async with asyncio.timeout(2):
        assert await reader.read() == b""
    writer.close()
    await server.stop()


async def test_connections_that_come_and_go_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_REQUEST_S", 0.05)
    server = server_of(ShownApi(healthy()))
    await server.start()
    kept_reader, kept = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(3):
        kept.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await kept_reader.readuntil(b"turns\n")
        await ask(server, "/healthz")
        await asyncio.sleep(0.03)
    await asyncio.sleep(0.05)
    assert server._silent == set()
    assert not server._streams
    kept.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in await kept_reader.readuntil(b"turns\n")
    kept.close()
    await server.stop()


@pytest.mark.parametrize("streams", [0, 1, 30])
async def test_open_streams_do_not_delay_the_end(streams: int) -> None:
    """Left to itself aiohttp would wait two minutes."""
    server = server_of(ShownApi(healthy()))
    await server.start()
    opened = [await listen(server) for _ in range(streams)]
    for stream in opened:
        await message(stream)
    began = time.monotonic()
    await server.stop()
    assert time.monotonic() - began < 1
    for reader, writer in opened:
        assert (await reader.read())[-5:] in {b"0\r\n\r\n", b""}
        writer.close()


async def test_an_idle_connection_and_a_stuck_answer_do_not_delay_the_end() -> None:
    api = ShownApi(healthy())
    server = server_of(api)
    await server.start()
    held = asyncio.Event()

    async def never() -> Any:  # noqa: ANN401 - never
        held.set()
        await asyncio.sleep(60)

    api.status = never  # type: ignore[method-assign]
    _, idle = await asyncio.open_connection("127.0.0.1", server.port)
    _, stuck = await asyncio.open_connection("127.0.0.1", server.port)
    stuck.write(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await held.wait()
    began = time.monotonic()
    await server.stop()
    assert time.monotonic() - began < 1
    idle.close()
    stuck.close()


async def test_a_port_that_is_taken_is_a_sentence_that_says_what_to_do(
    served: tuple[ShownApi, WebServer],
) -> None:
    server = server_of(ShownApi(healthy()))
    server._settings = replace(server._settings, port=served[1].port)
    with pytest.raises(WebServerError, match=r"cannot listen on 127\.0\.0\.1:\d+ .*\[web\] listen"):
        await server.start()


def test_names_come_from_urls_and_from_the_machine() -> None:
    urls = ["https://Edged.example.test:8443/x", None]
    assert host_names(urls, ["mgmt-1", ""]) == ("edged.example.test", "mgmt-1")
