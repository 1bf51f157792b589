"""The read-only server on TCP: page, API, event stream, health and metrics.

Owns what may reach edged from a browser or a scraper: GET and HEAD only, only under names that
are ours, a bounded number of connections and streams, and no wait at the exit. Must not decide
or change anything.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from edged.core.errors import EdgedError
from edged.core.events import Severity
from edged.web import page as pages
from edged.web.metrics import Metrics, Snapshot
from edged.web.page import Assets
from edged.web.page_words import Say
from edged.web.views import Document
from edged.web.watch import Picture

CONNECTIONS_MAX: Final = 64
"""At once, streams included; a few people and scrapers look."""

STREAMS_MAX: Final = 32
FIRST_REQUEST_S: Final = 5.0
"""How long a connection may say nothing, or half a request."""

KEEPALIVE_S: Final = 10.0
REQUEST_DEADLINE_S: Final = 10.0
SLOW_READER_S: Final = 5.0
"""How long a stream's reader may take nothing before it is dropped."""

SHUTDOWN_S: Final = 0.2
TICK_S: Final = 2.0
"""How often ages are sent anew while somebody listens."""

TICK_S_MAX: Final = 5.0
"""Of a large page: the script calls its page old after 12 s of silence."""

SETTLE_S: Final = 0.05
"""Events of one instant are shown together."""

RETRY_MS: Final = 2_000
EVENTS_LIMIT: Final = 200
EVENTS_LIMIT_MAX: Final = 1_000
LARGE: Final = 50
"""Gateways from which on the page is sent less often."""

STATIC: Final = Path(__file__).parent / "static"
LEVEL_ICONS: Final = ("fine", "degraded", "critical")
STATIC_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServerError(EdgedError):
    """The read-only server cannot listen; the text says why and what to do."""


class WebApi(Protocol):
    """What the daemon can be asked over TCP: to look, never to act."""

    async def status(self) -> Document:
        """Return `edged.status/v1`."""
        ...

    async def events(
        self,
        *,
        since: datetime | None,
        after_seq: int,
        limit: int,
        names: tuple[str, ...],
        gateway: str | None,
        vip: str | None,
        incident: str | None,
        min_severity: Severity,
    ) -> Document:
        """Return the newest events that match, oldest first."""
        ...

    async def picture(self) -> Picture:
        """Return what the page is made of."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return what a scrape shows of the present."""
        ...

    def alive(self) -> str:
        """Say what is wrong with the loop; nothing if it turns."""
        ...

    def ready(self) -> str:
        """Say what has not been read yet; nothing once every route was read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """How the read-only server is reached, and how it speaks."""

    host: str
    port: int
    names: tuple[str, ...] = ()
    """Names, beside those of this machine, under which it may be asked."""
    language: str = "en"
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str


class WebServer:
    """The server; `changed` tells it that there is something new to show.

    It needs no task of its own: each stream asks for the picture, which is made once for all of
    them, so that a fault in drawing ends an answer and never the daemon.
    """

    def __init__(self, api: WebApi, metrics: Metrics, settings: WebSettings) -> None:
        self._api = api
        self._metrics = metrics
        self._settings = settings
        self._files, self._assets = _static_files()
        self.take(settings)
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._silent: set[object] = set()
        """Connections that have not asked anything yet; a timer empties it."""
        self._news = asyncio.Event()
        self._making = asyncio.Lock()
        self._made: _Made | None = None
        self._count = 0
        self._streams: set[asyncio.Timeout] = set()
        self._stopping = False

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen.

        Raises:
            WebServerError: the address cannot be had.
        """
        application = web.Application(client_max_size=1, middlewares=[self._guard])
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/static/{name}", self._static),
                web.get("/favicon.ico", self._favicon),
                web.get("/api/v1/status", self._status),
                web.get("/api/v1/events", self._events),
                web.get("/api/v1/stream", self._stream, allow_head=False),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics_page),
            ]
        )
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=1.0,
            shutdown_timeout=SHUTDOWN_S,
        )
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        host, port = self._settings.host, self._settings.port
        try:
            self._server = await loop.create_server(
                self._connection, host, port, backlog=CONNECTIONS_MAX, reuse_address=True
            )
        except OSError as error:
            await self._runner.cleanup()
            self._runner = None
            raise WebServerError(
                f"the status page cannot listen on {host}:{port} ({error.strerror or error}): "
                'choose another [web] listen, or listen = "" for none'
            ) from error

    async def stop(self) -> None:
        """Wake every stream and end: an open page must not delay the exit."""
        self._stopping = True
        for limit in list(self._streams):
            _end_now(limit)
        if self._server is not None:
            self._server.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await asyncio.sleep(0)  # the streams take their end
            await runner.cleanup()

    def take(self, settings: WebSettings) -> None:
        """Speak another language or be known by other names from now on; the address stays."""
        self._say = Say(settings.language, settings.zone)
        self._names = {name.lower() for name in (*settings.names, settings.host, "localhost")}

    def changed(self) -> None:
        """Show what there is soon, not only at the next tick."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    # --- connections

    def _connection(self) -> asyncio.Protocol:
        """Return what speaks on a new connection: the server, or a refusal when it is full."""
        assert self._runner is not None
        server = self._runner.server
        assert server is not None
        if len(server.connections) >= CONNECTIONS_MAX or self._stopping:
            return _Full()
        protocol = server()
        self._silent.add(protocol)
        loop = asyncio.get_running_loop()
        loop.call_later(FIRST_REQUEST_S, self._end_if_silent, protocol)
        return protocol

    def _end_if_silent(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            protocol.force_close()

    # --- requests

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in what may be asked, bound how long it takes, and put the headers on all of it."""
        self._silent.discard(request.protocol)
        try:
            if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
                answer: web.StreamResponse = _words(405, "this server only shows: GET or HEAD")
                answer.headers["Allow"] = "GET, HEAD"
            elif not self._is_ours(request.headers.get(hdrs.HOST, "")):
                answer = _words(
                    421, "this name is not known here: set [web] public_url to the one you use"
                )
            elif request.path == "/api/v1/stream":
                return await handler(request)
            else:
                async with asyncio.timeout(REQUEST_DEADLINE_S):
                    answer = await handler(request)
        except web.HTTPException as error:
            answer = _words(error.status, error.reason)
            answer.headers.update({k: v for k, v in error.headers.items() if k == "Allow"})
        except _BadQuestion as bad:
            answer = _json(400, {"error": str(bad)})
        except EdgedError as error:
            answer = _json(503, {"error": str(error)})
        except TimeoutError:
            answer = _words(504, f"it took longer than {REQUEST_DEADLINE_S:.0f} s")
        answer.headers.update(SECURITY)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    def _is_ours(self, host: str) -> bool:
        """Tell whether a Host header is a name of ours or an address.

        A page elsewhere can point its own name at us, and then read what we answer; it cannot do
        so with an address.
        """
        name = host.lower()
        bracketed = name.startswith("[")
        name = name[1:].partition("]")[0] if bracketed else name.partition(":")[0]
        if name.rstrip(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _page(self, _: web.Request) -> web.Response:
        picture = await self._api.picture()
        # Off the loop: a large page is many milliseconds, and the route must not wait for it.
        text = await asyncio.to_thread(pages.page, picture, self._say, self._assets)
        return web.Response(text=text, content_type="text/html")

    async def _static(self, request: web.Request) -> web.Response:
        file = self._files.get(request.path)
        if file is None:
            raise web.HTTPNotFound
        return web.Response(
            body=file.body,
            content_type=file.content_type,
            charset="utf-8",
            headers={"Cache-Control": "public, max-age=31536000, immutable"},
        )

    async def _favicon(self, _: web.Request) -> web.Response:
        """Answer what asks for an icon without reading the page."""
        file = self._files[self._assets.icons["fine"]]
        return web.Response(body=file.body, content_type=file.content_type)

    async def _status(self, _: web.Request) -> web.Response:
        return _json(200, await self._api.status())

    async def _events(self, request: web.Request) -> web.Response:
        asked = _Question(request.query)
        found = self._api.events(
            since=asked.time("since"),
            after_seq=asked.whole("after", 0, 2**62),
            limit=asked.whole("limit", EVENTS_LIMIT, EVENTS_LIMIT_MAX),
            names=tuple(one for one in asked.text("names").split(",") if one),
            gateway=asked.text("gateway") or None,
            vip=asked.text("vip") or None,
            incident=asked.text("incident") or None,
            min_severity=asked.severity("severity"),
        )
        return _json(200, await found)

    async def _healthz(self, _: web.Request) -> web.Response:
        wrong = self._api.alive()
        return _words(503 if wrong else 200, wrong or "the loop turns")

    async def _readyz(self, _: web.Request) -> web.Response:
        wrong = self._api.ready()
        return _words(503 if wrong else 200, wrong or "every route has been read")

    async def _metrics_page(self, request: web.Request) -> web.Response:
        snapshot = await self._api.snapshot()
        accept = request.headers.get(hdrs.ACCEPT, "")
        body, content_type = await asyncio.to_thread(self._metrics.text, snapshot, accept)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    # --- the stream

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send the page's changing part now, on each change, and every few seconds.

        Every message is the whole picture, so a reader that comes back needs nothing of the past.
        """
        if len(self._streams) >= STREAMS_MAX or self._stopping:
            answer = _words(503, f"{STREAMS_MAX} pages are open already")
            answer.headers.update({**SECURITY, "Retry-After": "10", "Cache-Control": "no-store"})
            return answer
        response = web.StreamResponse(
            headers={
                **SECURITY,
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(None) as limit:
                self._streams.add(limit)
                try:
                    await response.prepare(request)
                    await self._send_frames(response)
                finally:
                    self._streams.discard(limit)
        if request.transport is not None and not self._stopping:
            request.transport.abort()  # a slow reader's buffer is not waited for
        return response

    async def _send_frames(self, response: web.StreamResponse) -> None:
        await self._write(response, f"retry: {RETRY_MS}\n\n".encode())
        while not self._stopping:
            news = self._news
            frame, tick_s = await self._frame()
            await self._write(response, frame)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick_s):
                    await news.wait()
                    await asyncio.sleep(SETTLE_S)

    @staticmethod
    async def _write(response: web.StreamResponse, body: bytes) -> None:
        async with asyncio.timeout(SLOW_READER_S):
            await response.write(body)

    async def _frame(self) -> tuple[bytes, float]:
        """Return the present picture as one message, made once for all who listen."""
        loop = asyncio.get_running_loop()
        async with self._making:
            made = self._made
            if made is not None and (made.news is self._news and loop.time() < made.until):
                return made.frame, made.tick_s
            news = self._news
            picture = await self._api.picture()
            text = await asyncio.to_thread(pages.main, picture, self._say, self._assets)
            lines = "".join(f"data: {line}\n" for line in text.splitlines())
            self._count += 1
            frame = f"id: {self._count}\nevent: page\n{lines}\n".encode()
            tick_s = TICK_S if len(picture.lanes) <= LARGE else TICK_S_MAX
            self._made = _Made(news, frame, tick_s, loop.time() + tick_s / 2)
            return frame, tick_s


@dataclass(frozen=True, slots=True)
class _Made:
    """A message, and how long it is news."""

    news: asyncio.Event
    frame: bytes
    tick_s: float
    until: float


class _Full(asyncio.Protocol):
    """Says that there is no room, and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer without reading."""
        assert isinstance(transport, asyncio.WriteTransport)
        body = b"edged answers as many as it can already\n"
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        transport.close()


class _BadQuestion(Exception):
    """A sentence for whoever sent the request."""


class _Question:
    """The words after the question mark: each known, once, and of its type."""

    KNOWN: Final = frozenset(
        {"since", "after", "limit", "names", "gateway", "vip", "incident", "severity"}
    )

    def __init__(self, query: Mapping[str, str]) -> None:
        unknown = sorted(set(query) - self.KNOWN)
        if unknown:
            raise _BadQuestion(f"not known here: {', '.join(unknown)}")
        self._query = query

    def text(self, key: str) -> str:
        return self._query.get(key, "")

    def whole(self, key: str, default: int, most: int) -> int:
        value = self._query.get(key)
        if value is None:
            return default
        if not (value.isascii() and value.isdecimal()) or not 0 <= int(value[:20]) <= most:
            raise _BadQuestion(f'"{key}" has to be a whole number up to {most}')
        return int(value)

    def time(self, key: str) -> datetime | None:
        value = self._query.get(key)
        if value is None:
            return None
        with contextlib.suppress(ValueError):
            time = datetime.fromisoformat(value)
            if time.tzinfo is not None:
                return time
        raise _BadQuestion(f'"{key}" has to be a time with its zone, such as 2026-05-01T12:00:00Z')

    def severity(self, key: str) -> Severity:
        value = self._query.get(key, Severity.DEBUG.value)
        if value not in list(Severity):
            raise _BadQuestion(f'"{key}" has to be one of {", ".join(Severity)}')
        return Severity(value)


def _static_files() -> tuple[dict[str, _File], Assets]:
    """Read the static files once, each under a name that changes with its content."""
    files: dict[str, _File] = {}

    def add(name: str) -> str:
        body = (STATIC / name).read_bytes()
        stem, dot, ending = name.rpartition(".")
        path = f"/static/{stem}.{hashlib.sha256(body).hexdigest()[:12]}{dot}{ending}"
        files[path] = _File(body, STATIC_TYPES[dot + ending])
        return path

    icons = {level: add(f"icon-{level}.svg") for level in LEVEL_ICONS}
    assets = Assets(style=add("page.css"), script=add("page.js"), icons=icons)
    return files, assets


def _words(status: int, sentence: str) -> web.Response:
    return web.Response(status=status, text=sentence + "\n")


def _json(status: int, document: Mapping[str, object]) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(status=status, body=body, content_type="application/json")


def _end_now(limit: asyncio.Timeout) -> None:
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time())


def host_names(urls: Iterable[str | None], hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the names under which a page is reached: those of URLs, and this machine's."""
    found = [urlsplit(url).hostname or "" for url in urls if url]
    return tuple(name for name in (*found, *hosts) if name)
