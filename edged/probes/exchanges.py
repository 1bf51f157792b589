"""What is said over a fresh connection once TLS stands: the light and the full exchange.

Owns bytes only: no socket, no clock. An exchange is given what arrives and says what to send, and
whether it has its answer.
"""

from typing import Final, Protocol

import h11

from edged import __version__
from edged.probes.faults import clean
from edged.probes.frames import FrameError, NotHttp2, Pinging

MAX_HEAD: Final = 16_384
"""Longest head of a response; Envoy's own limit for requests is 60 KiB, its answers have 200 B."""
MAX_INFORMATIONAL: Final = 3
USER_AGENT: Final = f"edged/{__version__}"
_FIRST_FINAL: Final = 200
_LAST_FINAL: Final = 599


class InvalidAnswer(Exception):
    """The peer answered, but not in HTTP; the text says what was wrong."""


class Http1Only(InvalidAnswer):
    """The peer answered the HTTP/2 preface in HTTP/1."""


class Exchange(Protocol):
    """One question and its answer."""

    answered: bool
    http_status: int | None

    def opening(self) -> bytes:
        """Return what is sent first."""

    def receive(self, data: bytes) -> bytes:
        """Take what arrived; return what must be sent now."""


class LightExchange:
    """HTTP/2 preface, SETTINGS and one PING, answered by Envoy's codec before any route.

    ALPN is not offered: Envoy's codec AUTO knows the preface when it sees it.
    """

    __slots__ = ("answered", "http_status", "pinging")

    def __init__(self) -> None:
        self.pinging = Pinging()
        self.answered = False
        self.http_status: int | None = None

    def opening(self) -> bytes:
        """Return what is sent first."""
        return self.pinging.opening()

    def receive(self, data: bytes) -> bytes:
        """Take what arrived; return what must be sent now.

        Raises:
            Http1Only: the gateway speaks HTTP/1 only.
            InvalidAnswer: anything else that is not HTTP/2.
        """
        try:
            reply = self.pinging.receive(data)
        except NotHttp2 as error:
            raise Http1Only(clean(str(error))) from error
        except FrameError as error:
            raise InvalidAnswer(clean(str(error))) from error
        self.answered = self.pinging.acked > 0
        return reply


class FullExchange:
    """One GET, answered when the complete head of a final response is in."""

    __slots__ = (
        "_connection",
        "_informational",
        "_path",
        "_received",
        "_server_name",
        "answered",
        "headers",
        "http_status",
    )

    def __init__(self, *, server_name: str, path: str) -> None:
        self._server_name = server_name
        self._path = path
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._informational = 0
        self._received = 0
        self.answered = False
        self.http_status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []

    def opening(self) -> bytes:
        """Return the whole request."""
        request = h11.Request(
            method="GET",
            target=self._path,
            headers=[("Host", self._server_name), ("User-Agent", USER_AGENT)],
        )
        head = self._connection.send(request)
        assert head is not None
        return head + (self._connection.send(h11.EndOfMessage()) or b"")

    def receive(self, data: bytes) -> bytes:
        """Take what arrived; nothing is ever answered.

        Raises:
            InvalidAnswer: this is not the head of a response, or too much of one.
        """
        self._received += len(data)
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
            while isinstance(event, h11.InformationalResponse):
                self._count_informational()
                event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            raise InvalidAnswer(clean(str(error))) from error
        self._limit_head()
        if isinstance(event, h11.Response):
            self._take_final(event)
        elif event is not h11.NEED_DATA:
            raise InvalidAnswer(f"an unexpected {type(event).__name__}")
        return b""

    def _count_informational(self) -> None:
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL:
            raise InvalidAnswer("too many informational responses")

    def _limit_head(self) -> None:
        if self._received - len(self._connection.trailing_data[0]) > MAX_HEAD:
            raise InvalidAnswer("a head of more than 16 KiB")

    def _take_final(self, event: h11.Response) -> None:
        if not _FIRST_FINAL <= event.status_code <= _LAST_FINAL:
            raise InvalidAnswer(f"status {event.status_code}")
        self.http_status = event.status_code
        self.headers = list(event.headers)
        self.answered = True
