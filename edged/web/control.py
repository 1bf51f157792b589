"""The control socket: HTTP over a Unix socket, for the command line and all that changes state.

Owns the socket file, the form of requests and answers, and the bounds on both. Must not decide
anything: each verb is handed to the `ControlApi` that the daemon implements. Who may speak here
is decided by the file's mode and group alone.

Answers are JSON. A refusal is `{"error": "one sentence", "exit": N}`, with the exit code that the
command line ends with.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp import web

from edged.core.errors import CommandRefused, EdgedError
from edged.core.events import Severity

Document = Mapping[str, object]
"""A JSON object."""

BODY_BYTES_MAX: Final = 64 * 1024
"""A command is a few words."""

TEXT_CHARACTERS_MAX: Final = 1_000
"""A reason is a sentence, not a file."""

DURATION_MS_MAX: Final = 10 * 365 * 86_400_000
EVENTS_LIMIT: Final = 200
EVENTS_LIMIT_MAX: Final = 10_000

REQUESTS_MAX: Final = 32
"""At once, streams included; people and a few scripts ask."""

REQUEST_DEADLINE_S: Final = 30.0
"""Longer than the longest verb: adopting on a small router after a reconnect."""

SHUTDOWN_S: Final = 0.25
"""What an exit may spend on answers in flight, waited for twice; aiohttp's own would be 60 s."""

STREAM_LOOK_S: Final = 1.0
"""How soon it is seen that the reader of a stream has gone while nothing happened."""

SOCKET_MODE: Final = 0o660
FOLDER_MODE: Final = 0o750

EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2


class ControlSocketError(EdgedError):
    """The control socket cannot be opened; the text says why and what to do."""


class ControlApi(Protocol):
    """What the daemon can be asked. Documents only ever grow.

    A verb that cannot be carried out raises `CommandRefused` (or another `EdgedError`) with a
    sentence; any other exception is a bug.
    """

    async def status(self) -> Document:
        """Return `edged.status/v1`."""
        ...

    async def why(self, name: str | None) -> Document:
        """Explain a gateway, or without a name the VIPs."""
        ...

    async def plan(self) -> Document:
        """Return what would be written now, and why."""
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

    def stream(self, *, after_seq: int | None) -> AsyncIterator[Document]:
        """Yield the events after `after_seq` (None: none of the past), then new ones for ever."""
        ...

    async def probe(self, gateway: str, *, trace: bool) -> Document:
        """Measure once; changes nothing."""
        ...

    async def recheck(self, gateway: str, *, owner: str) -> Document:
        """Start a burst now."""
        ...

    async def drain(
        self,
        gateway: str,
        *,
        owner: str,
        reason: str,
        for_ms: int | None,
        force: bool,
    ) -> Document:
        """Ask a gateway out; `for_ms` None means until undrained."""
        ...

    async def undrain(self, gateway: str, *, owner: str) -> Document:
        """Let a gateway back."""
        ...

    async def pause(self, *, owner: str, for_ms: int | None, restore: bool) -> Document:
        """Write nothing for a time (None: until resumed); `restore`: old rows first."""
        ...

    async def resume(self, *, owner: str) -> Document:
        """End a pause and every hold that waits for a person."""
        ...

    async def adopt(
        self,
        *,
        owner: str,
        vip: str | None,
        router: str | None,
        create: bool,
        drop: str | None,
        confirmed: bool,
    ) -> Document:
        """Show what adoption would do; with `confirmed`, do it."""
        ...

    async def release(
        self,
        *,
        owner: str,
        vip: str | None,
        router: str | None,
        confirmed: bool,
    ) -> Document:
        """Show what giving the rows back would do; with `confirmed`, do it."""
        ...

    async def handover(self, *, owner: str, vip: str | None, to_bgp: bool) -> Document:
        """Leave a VIP to BGP, or take it back."""
        ...

    async def reload(self, *, owner: str) -> Document:
        """Read the configuration again."""
        ...

    async def alerts(self) -> Document:
        """Return open alerts, channels, what waits for them, and silences."""
        ...

    async def alerts_test(self, channel: str | None) -> Document:
        """Send a test message and return what each service answered."""
        ...

    async def alerts_change(
        self, what: str, *, channel: str | None, number: int | None
    ) -> Document:
        """Have messages that wait tried again ("retry") or forgotten ("drop")."""
        ...

    async def silence(
        self,
        *,
        owner: str,
        reason: str,
        for_ms: int | None,
        gateway: str | None,
        vip: str | None,
    ) -> Document:
        """Send no alerts for a time (None: end every silence)."""
        ...


class _Bad(Exception):
    """A sentence for whoever sent the request."""


class _Given:
    """The words of one request: each is asked for by name and type, and none may be left over."""

    def __init__(self, words: Mapping[str, object]) -> None:
        self._words = words
        self._used: set[str] = set()

    def text(self, key: str, default: str | None = None) -> str:
        value = self._take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (default is None and not value):
            raise _Bad(f'"{key}" has to be a text')
        if len(value) > TEXT_CHARACTERS_MAX:
            raise _Bad(f'"{key}" has more than {TEXT_CHARACTERS_MAX} characters')
        return value

    def maybe(self, key: str) -> str | None:
        return self.text(key, "") or None

    def flag(self, key: str) -> bool:
        value = self._take(key)
        if value in (None, False, "false"):
            return False
        if value in (True, "true"):
            return True
        raise _Bad(f'"{key}" has to be true or false')

    def whole(self, key: str, default: int | None, *, least: int, most: int) -> int | None:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, str) and value.isdecimal() and len(value) < 20:  # noqa: PLR2004
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _Bad(f'"{key}" has to be a whole number from {least} to {most}')
        return value

    def time(self, key: str) -> datetime | None:
        value = self.maybe(key)
        if value is None:
            return None
        with contextlib.suppress(ValueError):
            time = datetime.fromisoformat(value)
            if time.tzinfo is not None:
                return time
        raise _Bad(f'"{key}" has to be a time with its zone, such as 2026-05-01T12:00:00Z')

    def severity(self, key: str) -> Severity:
        value = self.text(key, Severity.DEBUG)
        if value not in list(Severity):
            raise _Bad(f'"{key}" has to be one of {", ".join(Severity)}')
        return Severity(value)

    def duration(self, key: str) -> int | None:
        return self.whole(key, None, least=1, most=DURATION_MS_MAX)

    def left_over(self) -> list[str]:
        return sorted(self._words.keys() - self._used)

    def _take(self, key: str) -> object:
        self._used.add(key)
        return self._words.get(key)


Call = Coroutine[Any, Any, Document]


def _events(api: ControlApi, given: _Given) -> Call:
    limit = given.whole("limit", EVENTS_LIMIT, least=1, most=EVENTS_LIMIT_MAX)
    after = given.whole("after", 0, least=0, most=2**62)
    assert limit is not None
    assert after is not None
    names = given.text("names", "")
    return api.events(
        since=given.time("since"),
        after_seq=after,
        limit=limit,
        names=tuple(names.split(",")) if names else (),
        gateway=given.maybe("gateway"),
        vip=given.maybe("vip"),
        incident=given.maybe("incident"),
        min_severity=given.severity("severity"),
    )


def _handover(api: ControlApi, given: _Given) -> Call:
    to = given.text("to")
    if to not in ("bgp", "back"):
        raise _Bad('"to" has to be "bgp" or "back"')
    return api.handover(owner=given.text("owner", ""), vip=given.maybe("vip"), to_bgp=to == "bgp")


def _alerts_change(api: ControlApi, given: _Given) -> Call:
    what = given.text("do")
    if what == "test":
        return api.alerts_test(given.maybe("channel"))
    if what not in ("retry", "drop"):
        raise _Bad('"do" has to be "test", "retry" or "drop"')
    return api.alerts_change(
        what,
        channel=given.maybe("channel"),
        number=given.whole("number", None, least=1, most=2**62),
    )


QUESTIONS: Final[Mapping[str, Callable[[ControlApi, _Given], Call]]] = {
    "status": lambda api, _: api.status(),
    "why": lambda api, given: api.why(given.maybe("name")),
    "plan": lambda api, _: api.plan(),
    "events": _events,
    "alerts": lambda api, _: api.alerts(),
}
"""What GET /v1/… answers."""

COMMANDS: Final[Mapping[str, Callable[[ControlApi, _Given], Call]]] = {
    "probe": lambda api, given: api.probe(given.text("gateway"), trace=given.flag("trace")),
    "recheck": lambda api, given: api.recheck(
        given.text("gateway"),
        owner=given.text("owner", ""),
    ),
    "drain": lambda api, given: api.drain(
        given.text("gateway"),
        owner=given.text("owner", ""),
        reason=given.text("reason", ""),
        for_ms=given.duration("for_ms"),
        force=given.flag("force"),
    ),
    "undrain": lambda api, given: api.undrain(
        given.text("gateway"),
        owner=given.text("owner", ""),
    ),
    "pause": lambda api, given: api.pause(
        owner=given.text("owner", ""),
        for_ms=given.duration("for_ms"),
        restore=given.flag("restore"),
    ),
    "resume": lambda api, given: api.resume(owner=given.text("owner", "")),
    "adopt": lambda api, given: api.adopt(
        owner=given.text("owner", ""),
        vip=given.maybe("vip"),
        router=given.maybe("router"),
        create=given.flag("create"),
        drop=given.maybe("drop"),
        confirmed=given.flag("confirmed"),
    ),
    "release": lambda api, given: api.release(
        owner=given.text("owner", ""),
        vip=given.maybe("vip"),
        router=given.maybe("router"),
        confirmed=given.flag("confirmed"),
    ),
    "handover": _handover,
    "reload": lambda api, given: api.reload(owner=given.text("owner", "")),
    "alerts": _alerts_change,
    "silence": lambda api, given: api.silence(
        owner=given.text("owner", ""),
        reason=given.text("reason", ""),
        for_ms=given.duration("for_ms"),
        gateway=given.maybe("gateway"),
        vip=given.maybe("vip"),
    ),
}
"""What POST /v1/… does."""


class ControlServer:
    """The server on the control socket."""

    def __init__(self, api: ControlApi, path: Path) -> None:
        self._api = api
        self._path = path
        self._runner: web.AppRunner | None = None
        self._lock: int | None = None
        self._inode: int | None = None
        self._busy = 0
        self._streams: set[asyncio.Timeout] = set()
        self._stopping = False

    async def start(self) -> None:
        """Open the socket; one that a crash left behind is replaced.

        Raises:
            ControlSocketError: another edged answers there, or the socket cannot be made.
        """
        try:
            listening = self._listen()
        except OSError as error:
            self._unlock()
            raise ControlSocketError(
                f"the control socket {self._path} cannot be opened ({error.strerror or error}): "
                "choose another place with control_socket",
            ) from error
        except ControlSocketError:
            self._unlock()
            raise
        application = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._answer])
        application.add_routes(
            [
                web.get("/v1/events/stream", self._stream),
                *(web.get(f"/v1/{verb}", self._question) for verb in QUESTIONS),
                *(web.post(f"/v1/{verb}", self._command) for verb in COMMANDS),
            ],
        )
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=5.0,
            shutdown_timeout=SHUTDOWN_S,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def stop(self) -> None:
        """End every stream, finish what is being answered, and remove the socket."""
        self._stopping = True
        for limit in self._streams:
            _end_now(limit)
        runner, self._runner = self._runner, None
        if runner is not None:
            self._remove()
            await runner.cleanup()
            self._unlock()

    # --- the file --------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        """Return a listening socket under our path, without a moment of a wrong mode."""
        self._path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        lock = os.open(
            self._path.with_name(self._path.name + ".lock"),
            os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        self._lock = lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ControlSocketError(_taken(self._path)) from None
        self._refuse_the_living()
        new = self._path.with_name(self._path.name + ".new")
        new.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listening.bind(str(new))
            new.chmod(SOCKET_MODE)
            listening.listen(REQUESTS_MAX)
            self._inode = new.stat().st_ino
            new.rename(self._path)
        except BaseException:
            listening.close()
            raise
        return listening

    def _refuse_the_living(self) -> None:
        try:
            kind = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(kind):
            raise ControlSocketError(
                f"{self._path} exists and is not a socket: remove it, or choose another place "
                "with control_socket",
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(1.0)
            try:
                caller.connect(str(self._path))
            except ConnectionRefusedError:
                return
            except (BlockingIOError, TimeoutError):
                # Somebody listens and is only too busy to take us.
                pass
        raise ControlSocketError(_taken(self._path))

    def _remove(self) -> None:
        """Remove the socket file, unless somebody else's stands there by now."""
        with contextlib.suppress(OSError):
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- requests --------------------------------------------------------------------------------

    @web.middleware
    async def _answer(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Turn every way a request can fail into a JSON sentence."""
        try:
            with self._room():
                return await handler(request)
        except _Bad as bad:
            return _refusal(400, str(bad), EXIT_USAGE)
        except EdgedError as error:
            return _refusal(409, str(error), EXIT_ERROR)
        except TimeoutError:
            seconds = f"{REQUEST_DEADLINE_S:.0f}"
            return _refusal(504, f"it took longer than {seconds} s and was given up", EXIT_ERROR)
        except web.HTTPRequestEntityTooLarge:
            return _refusal(413, f"a request has at most {BODY_BYTES_MAX} bytes", EXIT_USAGE)
        except web.HTTPMethodNotAllowed as error:
            allowed = " or ".join(sorted(error.allowed_methods - {"HEAD"}))
            return _refusal(405, f"{request.path} is asked with {allowed}", EXIT_USAGE)
        except web.HTTPNotFound:
            return _refusal(404, f"this edged knows no {request.path}", EXIT_USAGE)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        if self._busy >= REQUESTS_MAX:
            raise CommandRefused(f"edged answers {REQUESTS_MAX} requests at once already")
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    async def _question(self, request: web.Request) -> web.Response:
        words = dict(request.query)
        return await self._carry_out(QUESTIONS[_verb(request)], words)

    async def _command(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(REQUEST_DEADLINE_S):
            body = await request.read()
        try:
            words = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise _Bad("the body has to be JSON") from None
        if not isinstance(words, dict):
            raise _Bad("the body has to be a JSON object")
        return await self._carry_out(COMMANDS[_verb(request)], words)

    async def _carry_out(
        self,
        verb: Callable[[ControlApi, _Given], Call],
        words: Mapping[str, object],
    ) -> web.Response:
        given = _Given(words)
        call = verb(self._api, given)
        if unknown := given.left_over():
            call.close()
            raise _Bad(f"not known here: {', '.join(unknown)}")
        async with asyncio.timeout(REQUEST_DEADLINE_S):
            return _json(200, await call)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send events as JSON lines until the reader goes or edged ends."""
        given = _Given(dict(request.query))
        after = given.whole("after", None, least=0, most=2**62)
        if unknown := given.left_over():
            raise _Bad(f"not known here: {', '.join(unknown)}")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        events = self._api.stream(after_seq=after)
        with contextlib.suppress(TimeoutError, ConnectionError):
            # No deadline of its own: it is brought forward when there is no reason to go on.
            async with asyncio.timeout(None) as limit:
                with self._watched(limit, request):
                    async for event in events:
                        await response.write(json.dumps(event).encode() + b"\n")
        return response

    @contextlib.contextmanager
    def _watched(self, limit: asyncio.Timeout, request: web.Request) -> Iterator[None]:
        """End a stream when edged ends, and soon after its reader has gone."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal timer
            if request.transport is None or request.transport.is_closing():
                _end_now(limit)
            timer = loop.call_later(STREAM_LOOK_S, look)

        look()
        self._streams.add(limit)
        if self._stopping:
            _end_now(limit)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._streams.discard(limit)


def _verb(request: web.Request) -> str:
    return request.path.rpartition("/")[2]


def _end_now(limit: asyncio.Timeout) -> None:
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time())


def _json(status: int, document: Document) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(document).encode(),
        content_type="application/json",
    )


def _refusal(status: int, sentence: str, exit_code: int) -> web.Response:
    return _json(status, {"error": sentence, "exit": exit_code})


def _taken(path: Path) -> str:
    return (
        f"another edged answers on {path}: stop it first, or give this one a control_socket of "
        "its own"
    )
