"""One attempt to reach a gateway: TCP, then TLS, then one exchange, by phase.

Owns one non-blocking socket and its watchers on the event loop: no task, no stream, no buffer of
its own. Says how far it came and how it ended; must not know deadlines, probes or checks.

Its end is always an abort: SO_LINGER with no time turns close(2) into a reset, so that nothing
waits for Envoy's delayed FIN and no port stays in TIME_WAIT (peers ran out of them).
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from edged.core.types import ProbeReason
from edged.probes.exchanges import Exchange, Http1Only, InvalidAnswer
from edged.probes.faults import Phase, clean, closed_reason, describe, reason_for

ABORT_ON_CLOSE: Final = struct.pack("ii", 1, 0)
READ_SIZE: Final = 16_384
"""One TLS record at a time (RFC 8446, 5.1)."""

_buffer = memoryview(bytearray(READ_SIZE))
"""Shared by all connections: what is kept of it is copied before anybody else reads."""


class Progress(Enum):
    """What one step has brought."""

    CONNECTED = auto()
    SECURED = auto()
    ANSWERED = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why an attempt failed; `error` is what the socket or OpenSSL said, if they did."""

    reason: ProbeReason
    detail: str = ""
    error: OSError | None = None
    http1_only: bool = False


class Owner(Protocol):
    """Who started an attempt."""

    def on_connected(self, connection: "Connection", /) -> None:
        """The SYN-ACK is in; `start_tls` is to be called, now or later."""

    def on_secured(self, connection: "Connection") -> None:
        """The TLS handshake is done."""

    def on_ended(self, connection: "Connection", fault: Fault | None) -> None:
        """The answer is in (no fault; the connection still stands) or never will be (closed)."""


def open_socket(address: str, port: int) -> socket.socket:
    """Send a SYN to an address literal and return the connecting socket.

    Raises:
        OSError: nothing was sent, or the kernel knows already that it is of no use.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT_ON_CLOSE)
        connect(sock, address, port)
    except OSError:
        sock.close()
        raise
    return sock


def connect(sock: socket.socket, address: str, port: int) -> bool:
    """Connect, or ask how the connecting fares; whether it is done.

    Raises:
        OSError: it has failed.
    """
    code = sock.connect_ex(socket_address(address, port))
    if code in {0, errno.EISCONN}:
        return True
    if code in {errno.EINPROGRESS, errno.EALREADY}:
        return False
    raise OSError(code, os.strerror(code))


def socket_address(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return what connect(2) wants; a link-local address carries its interface after a %."""
    literal, percent, scope = address.partition("%")
    if not percent:
        return address, port
    return literal, port, 0, int(scope) if scope.isdigit() else socket.if_nametoindex(scope)


def read_some(sock: ssl.SSLSocket) -> bytes:
    """Read what one TLS record brought; empty at the end of the stream.

    No record is longer, and OpenSSL does not read ahead: what is left is in the kernel, where the
    selector sees it.

    Raises:
        ssl.SSLWantReadError: nothing is there.
        OSError: the connection is broken.
    """
    count = sock.recv_into(_buffer)
    return bytes(_buffer[:count])


class Connection:
    """The state machine of one attempt; its owner calls `start_tls`, and may queue before."""

    __slots__ = (
        "_address",
        "_advancing",
        "_context",
        "_fd",
        "_loop",
        "_outgoing",
        "_owner",
        "_server_name",
        "_socket",
        "_tls",
        "_tls_wanted",
        "_writing",
        "ended",
        "exchange",
        "phase",
    )

    def __init__(
        self,
        owner: Owner,
        *,
        loop: asyncio.AbstractEventLoop,
        address: str,
        port: int,
        server_name: str,
        context: ssl.SSLContext,
        exchange: Exchange | None,
    ) -> None:
        self.phase = Phase.TCP
        self.exchange = exchange
        self.ended = False
        self._owner = owner
        self._loop = loop
        self._address = (address, port)
        self._server_name = server_name
        self._context = context
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLSocket | None = None
        self._fd = -1
        self._outgoing = b""
        self._writing = False
        self._advancing = False
        self._tls_wanted = False

    @property
    def tls(self) -> ssl.SSLSocket:
        """The secured socket, for what it knows about the peer."""
        assert self._tls is not None
        return self._tls

    def open(self) -> None:
        """Send the SYN.

        Raises:
            OSError: nothing was sent, or it is known already to be of no use.
        """
        self._socket = open_socket(*self._address)
        self._fd = self._socket.fileno()
        self._watch_writing(watch=True)

    def start_tls(self) -> None:
        """Send the ClientHello."""
        self._tls_wanted = True
        if not self._advancing:
            self.advance()

    def advance(self) -> None:
        """Go as far as what has arrived allows.

        The owner is told outside of the `try`: its own errors are no gateway's fault.
        """
        self._advancing = True
        try:
            self._advance()
        finally:
            self._advancing = False

    def _advance(self) -> None:
        while not self.ended:
            try:
                progress = self._step()
            except ssl.SSLWantReadError:
                self._watch_writing(watch=bool(self._outgoing))
                return
            except ssl.SSLWantWriteError:
                self._watch_writing(watch=True)
                return
            except Http1Only as error:
                self._fail(ProbeReason.HTTP_INVALID, str(error), http1_only=True)
                return
            except InvalidAnswer as error:
                self._fail(ProbeReason.HTTP_INVALID, str(error))
                return
            except OSError as error:
                self._fail(reason_for(error, self.phase), describe(error), error=error)
                return
            match progress:
                case None:
                    return
                case Progress.CONNECTED:
                    self._owner.on_connected(self)
                case Progress.SECURED:
                    self._owner.on_secured(self)
                case Progress.ANSWERED:
                    self.ended = True
                    self._owner.on_ended(self, None)
                case Progress.CLOSED:
                    self._fail(closed_reason(self.phase), "closed by the gateway")

    def close(self) -> None:
        """Abort; the owner is not called again."""
        self.ended = True
        self._forget_watchers()
        for sock in (self._socket, self._tls):
            if sock is not None:
                sock.close()
        self._socket = self._tls = None

    def release(self) -> ssl.SSLSocket:
        """Hand the answered connection over to somebody else."""
        tls, self._tls = self.tls, None
        self._forget_watchers()
        return tls

    # --- the three phases

    def _step(self) -> Progress | None:
        """Take one step; None if the next one is not ours to take."""
        match self.phase:
            case Phase.TCP:
                return self._finish_connecting() if self._writing else self._greet()
            case Phase.TLS:
                return self._shake_hands()
            case Phase.HTTP:
                return self._talk()

    def _finish_connecting(self) -> Progress | None:
        assert self._socket is not None
        if not connect(self._socket, *self._address):
            return None
        self._watch_writing(watch=False)
        return Progress.CONNECTED

    def _greet(self) -> Progress | None:
        """Send the ClientHello; a reset that is here before it belongs to the connecting phase."""
        if not self._tls_wanted:
            return None
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        self._tls = self._context.wrap_socket(
            self._socket,
            do_handshake_on_connect=False,
            server_hostname=self._server_name,
        )
        self._socket = None
        self._loop.add_reader(self._fd, self.advance)
        self.phase = Phase.TLS
        return self._shake_hands()

    def _shake_hands(self) -> Progress:
        self.tls.do_handshake()
        self.phase = Phase.HTTP
        self._outgoing = b"" if self.exchange is None else self.exchange.opening()
        return Progress.SECURED

    def _talk(self) -> Progress | None:
        if self.exchange is None:
            return Progress.ANSWERED
        if self._outgoing:
            # Written first and read on the next wake-up: no answer can be here yet.
            self._flush()
            return None
        data = read_some(self.tls)
        if not data:
            return Progress.CLOSED
        self._outgoing = self.exchange.receive(data)
        if not self.exchange.answered:
            self._flush()
            return None
        with contextlib.suppress(OSError):
            self._flush()  # the answer counts, whatever becomes of our acknowledgement
        return Progress.ANSWERED

    def _flush(self) -> None:
        while self._outgoing:
            self._outgoing = self._outgoing[self.tls.send(self._outgoing) :]
        self._watch_writing(watch=False)

    # --- the end

    def _fail(
        self,
        reason: ProbeReason,
        detail: str,
        *,
        error: OSError | None = None,
        http1_only: bool = False,
    ) -> None:
        self.close()
        fault = Fault(reason=reason, detail=detail, error=error, http1_only=http1_only)
        self._owner.on_ended(self, fault)

    def _watch_writing(self, *, watch: bool) -> None:
        if watch and not self._writing:
            self._loop.add_writer(self._fd, self.advance)
        elif self._writing and not watch:
            self._loop.remove_writer(self._fd)
        self._writing = watch

    def _forget_watchers(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd = -1
        self._writing = False


def own_fault(error: OSError) -> Fault:
    """Say how an attempt ended that could not even begin."""
    return Fault(reason=reason_for(error, Phase.TCP), detail=clean(describe(error)), error=error)
