"""Stand-in gateways: what a node's Envoy shows on :443, without an Envoy.

A stand-in speaks TLS with an SNI rule, answers every HTTP/1.1 request with 404 and every HTTP/2
PING, with or without ALPN (the HTTP/2 preface is recognised, as Envoy does). It runs inside a test
or as a process of its own, which can be killed (SIGKILL) or stopped (SIGSTOP); SIGUSR1 switches
between serving and hanging (connections are accepted and never answered), SIGUSR2 sends GOAWAY on
every HTTP/2 connection::

    python -m edged.simulator.gateways --listen 127.0.20.1:8443 --server-name '*.example.test'

Sources: RFC 9113 (HTTP/2), RFC 8446 section 4.1.2 and RFC 6066 section 3 (ClientHello, SNI);
behaviour as seen with Envoy 1.40.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import ssl
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from edged.simulator.tls import TlsMode, make_tls_context

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""How an HTTP/2 client begins (RFC 9113, section 3.4)."""

MAX_HEAD_BYTES = 16_384
"""Longest request head read."""

MAX_FRAME_BYTES = 16_384
"""Longest frame read: the size every HTTP/2 peer accepts without asking."""

HELLO_BYTES = 16_384
"""Most bytes looked at for a ClientHello."""

RECORD_BYTES = 5
"""Header of a TLS record."""

HELLO_S = 2.0
"""How long a client may take to send its ClientHello."""

HELLO_RETRY_S = 0.002
"""How long to wait for the rest of a ClientHello that came in pieces."""

HANG_S = 30.0
"""How long a hanging stand-in holds a connection: beyond every client's patience, but bounded."""

MAX_CONNECTIONS = 512
"""Connections at once; more are reset."""


class Frame(Enum):
    """The HTTP/2 frame types a stand-in knows."""

    DATA = 0x0
    HEADERS = 0x1
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8


ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
_HEADER = struct.Struct(">HBBBL")

_NOT_FOUND_404 = b"\x8d"
"""`:status: 404`, entry 13 of HPACK's static table (RFC 7541, appendix A)."""

_SERVER_ENVOY = b"\x0f\x27\x05envoy"
"""`server: envoy`: entry 54's name, literal value, not indexed (RFC 7541, section 6.2.2)."""


class Mode(Enum):
    """What a stand-in does with new connections."""

    SERVE = "serve"
    HANG = "hang"
    """Accept, and never say a byte: a hung process behind a live kernel."""
    HANG_HTTP = "hang-http"
    """Finish TLS, and never answer."""
    RESET = "reset"
    """Accept and reset at once."""


@dataclass(slots=True, kw_only=True)
class GatewayCounters:
    """What a stand-in has seen."""

    connections: int = 0
    refused_names: int = 0
    requests: int = 0
    pings: int = 0


class StandInGateway:
    """One stand-in; `async with StandInGateway(...) as gateway: gateway.port`."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        server_names: Sequence[str] = (),
        certificate: Path | None = None,
        key: Path | None = None,
        alpn: Sequence[str] = (),
        status: int = 404,
    ) -> None:
        self.host = host
        self.port = port
        self.server_names = tuple(server_names)
        self.status = status
        self.mode = Mode.SERVE
        self.counters = GatewayCounters()
        context = make_tls_context(TlsMode.CERTIFICATE, certificate=certificate, key=key)
        assert context is not None
        if alpn:
            context.set_alpn_protocols(list(alpn))
        self._tls = context
        self._listener: socket.socket | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Listen and serve until the block is left."""
        await self._group.__aenter__()
        self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        await self._group.__aexit__(kind, error, traceback)

    def open(self) -> None:
        """Open the port, for the first time or again; port 0 takes a free one and keeps it."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family)
        listener.setblocking(False)  # noqa: FBT003 - its only form
        self.port = listener.getsockname()[1]
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def kill(self) -> None:
        """Close the port and every connection, as the end of a process does."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for connection in list(self._connections):
            connection.abort()
        for task in list(self._tasks):
            task.cancel()

    def _accept(self, listener: socket.socket) -> None:
        """Take what waits, without waiting."""
        with contextlib.suppress(BlockingIOError):
            while True:
                raw, _ = listener.accept()
                self.counters.connections += 1
                if len(self._tasks) >= MAX_CONNECTIONS or self.mode is Mode.RESET:
                    _reset(raw)
                    continue
                task = self._group.create_task(self._take(raw))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def go_away(self) -> None:
        """Announce on every HTTP/2 connection that it will be closed."""
        for connection in list(self._connections):
            connection.go_away()

    async def _take(self, raw: socket.socket) -> None:
        raw.setblocking(False)  # noqa: FBT003 - its only form
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
            if await self._admits(raw):
                await self._serve(raw)

    async def _admits(self, raw: socket.socket) -> bool:
        """Apply mode and SNI rule; the socket is closed unless the answer is yes."""
        admitted = False
        try:
            if self.mode is Mode.HANG:
                await asyncio.sleep(HANG_S)
                return False
            async with asyncio.timeout(HELLO_S):
                name = await _peek_server_name(raw)
            admitted = not self.server_names or _fits(name, self.server_names)
            if not admitted:
                self.counters.refused_names += 1
                _reset(raw)
        finally:
            if not admitted:
                raw.close()
        return admitted

    async def _serve(self, raw: socket.socket) -> None:
        reader = asyncio.StreamReader(limit=MAX_HEAD_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, raw, ssl=self._tls, ssl_handshake_timeout=HELLO_S
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            connection.abort()


class _Connection:
    """One connection after its TLS handshake."""

    def __init__(
        self, gateway: StandInGateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._gateway = gateway
        self._reader = reader
        self._writer = writer
        self._is_http2 = False
        self._last_stream = 0

    def abort(self) -> None:
        self._writer.transport.abort()

    def go_away(self) -> None:
        if self._is_http2 and not self._writer.is_closing():
            payload = struct.pack(">LL", self._last_stream, 0)
            self._writer.write(encode_frame(Frame.GOAWAY, payload))

    async def run(self) -> None:
        if self._gateway.mode is Mode.HANG_HTTP:
            await self._reader.read()
            return
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await self._reader.readuntil(b"\r\n\r\n")
            if head + b"SM\r\n\r\n" == PREFACE:
                await self._reader.readexactly(len(PREFACE) - len(head))
                await self._speak_http2()
            else:
                await self._speak_http1(head)

    async def _speak_http1(self, head: bytes) -> None:
        while True:
            self._gateway.counters.requests += 1
            status, keeps = _judge_head(head, self._gateway.status)
            ending = b"" if keeps else b"connection: close\r\n"
            self._writer.write(
                b"HTTP/1.1 %d %s\r\nserver: envoy\r\ncontent-length: 0\r\n%s\r\n"
                % (status, _REASONS.get(status, b"Status"), ending)
            )
            await self._writer.drain()
            if not keeps:
                self._writer.close()
                return
            head = await self._reader.readuntil(b"\r\n\r\n")

    async def _speak_http2(self) -> None:
        self._is_http2 = True
        self._writer.write(encode_frame(Frame.SETTINGS, b""))
        while True:
            header = await self._reader.readexactly(_HEADER.size)
            high, low, kind, flags, stream = _HEADER.unpack(header)
            size = high << 8 | low
            if size > MAX_FRAME_BYTES:
                return
            payload = await self._reader.readexactly(size)
            self._hear_frame(kind, flags, stream & 0x7FFFFFFF, payload)
            await self._writer.drain()

    def _hear_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        match kind:
            case Frame.SETTINGS.value if not flags & ACK:
                self._writer.write(encode_frame(Frame.SETTINGS, b"", flags=ACK))
            case Frame.PING.value if not flags & ACK:
                self._gateway.counters.pings += 1
                self._writer.write(encode_frame(Frame.PING, payload, flags=ACK))
            case Frame.HEADERS.value:
                self._gateway.counters.requests += 1
                self._last_stream = max(self._last_stream, stream)
                self._writer.write(
                    encode_frame(
                        Frame.HEADERS,
                        _NOT_FOUND_404 + _SERVER_ENVOY,
                        flags=END_STREAM | END_HEADERS,
                        stream=stream,
                    )
                )
            case _:
                pass  # the rest needs no answer from a server that never sends a body


def encode_frame(kind: Frame, payload: bytes, *, flags: int = 0, stream: int = 0) -> bytes:
    """Encode one HTTP/2 frame."""
    size = len(payload)
    return _HEADER.pack(size >> 8, size & 0xFF, kind.value, flags, stream) + payload


_REASONS = {200: b"OK", 404: b"Not Found", 426: b"Upgrade Required", 503: b"Service Unavailable"}


def _judge_head(head: bytes, status: int) -> tuple[int, bool]:
    """Return the status for a request, and whether the connection goes on after it."""
    first = head.split(b"\r\n", 1)[0]
    if not first.endswith(b"HTTP/1.1"):
        return (426 if first.endswith(b"HTTP/1.0") else 400), False
    return status, b"connection: close" not in head.lower()


def _reset(raw: socket.socket) -> None:
    """Close with a reset, so that the peer sees what a refusing Envoy or a dead process sends."""
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


async def _peek_server_name(raw: socket.socket) -> str | None:
    """Read the SNI from a ClientHello and leave the bytes for the TLS library."""
    loop = asyncio.get_running_loop()
    while True:
        await _readable(loop, raw)
        data = raw.recv(HELLO_BYTES, socket.MSG_PEEK)
        if not data:
            raise ConnectionError("closed before its ClientHello")
        if _hello_is_complete(data) or len(data) >= HELLO_BYTES:
            return server_name_of(data)
        await asyncio.sleep(HELLO_RETRY_S)


async def _readable(loop: asyncio.AbstractEventLoop, raw: socket.socket) -> None:
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(raw, tell)
    try:
        await ready
    finally:
        loop.remove_reader(raw)


def _hello_is_complete(data: bytes) -> bool:
    """Tell whether the first TLS record is there; what is no TLS is complete as it is."""
    if data[:1] != b"\x16":
        return True
    return len(data) >= RECORD_BYTES + int.from_bytes(data[3:RECORD_BYTES].ljust(2, b"\xff"), "big")


def server_name_of(hello: bytes) -> str | None:
    """Return the server name in a TLS record with a ClientHello, or None without one."""
    try:
        offset = RECORD_BYTES + 4 + 2 + 32
        offset += 1 + hello[offset]
        offset += 2 + int.from_bytes(hello[offset : offset + 2], "big")
        offset += 1 + hello[offset]
        end = offset + 2 + int.from_bytes(hello[offset : offset + 2], "big")
        offset += 2
        while offset + 4 <= min(end, len(hello)):
            kind, size = struct.unpack_from(">HH", hello, offset)
            if kind == 0:
                length = int.from_bytes(hello[offset + 7 : offset + 9], "big")
                return hello[offset + 9 : offset + 9 + length].decode("ascii", "replace")
            offset += 4 + size
    except (IndexError, struct.error):
        return None
    return None


def _fits(name: str | None, allowed: Iterable[str]) -> bool:
    """Match a name as Envoy's filter chains do: exact, or below a leading `*.`."""
    if name is None:
        return False
    lowered = name.lower()
    return any(
        lowered.endswith(one[1:].lower()) if one.startswith("*.") else lowered == one.lower()
        for one in allowed
    )


# As a process.


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stand-in's options to a parser."""
    parser.add_argument("--listen", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--cert", type=Path, help="PEM certificate (default: the demo one)")
    parser.add_argument("--key", type=Path, help="PEM key (default: the demo one)")
    parser.add_argument(
        "--server-name",
        action="append",
        default=[],
        help="name the TLS handshake must ask for; repeat for more; none takes any",
    )
    parser.add_argument("--alpn", action="append", default=[], help="protocol offered by ALPN")
    parser.add_argument("--status", type=int, default=404, help="status of every answer")


async def run_gateway(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM; print one line when the port is open."""
    host, port = arguments.listen
    gateway = StandInGateway(
        host=host,
        port=port,
        server_names=arguments.server_name,
        certificate=arguments.cert,
        key=arguments.key,
        alpn=arguments.alpn,
        status=arguments.status,
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, _switch_hanging, gateway)
    loop.add_signal_handler(signal.SIGUSR2, gateway.go_away)
    async with gateway:
        print(f"listening on {gateway.host}:{gateway.port}", flush=True)  # noqa: T201 - tells its parent
        await ended.wait()


def _switch_hanging(gateway: StandInGateway) -> None:
    gateway.mode = Mode.SERVE if gateway.mode is Mode.HANG else Mode.HANG


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stand-in gateway as a process."""
    parser = argparse.ArgumentParser(prog="edged.simulator.gateways", description=__doc__)
    add_arguments(parser)
    asyncio.run(run_gateway(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
