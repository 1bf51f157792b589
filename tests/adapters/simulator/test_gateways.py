"""Stand-in gateways: TLS by name, HTTP/1.1, HTTP/2 with and without ALPN, and ways to fail."""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events
import pytest

from edged.simulator.gateways import Mode, StandInGateway, server_name_of

NAME = "edged-probe.example.test"
SHORT_S = 0.03
GET = f"GET /.well-known/edged HTTP/1.1\r\nhost: {NAME}\r\n\r\n".encode()


def client_context(alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def dial(
    port: int, name: str | None = NAME, alpn: tuple[str, ...] = ()
) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_context(alpn), server_hostname=name or ""
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask(streams: Streams, request: bytes = GET) -> bytes:
    reader, writer = streams
    writer.write(request)
    async with asyncio.timeout(2):
        return await reader.readuntil(b"\r\n\r\n")


async def test_a_request_is_answered_with_envoys_404_and_the_connection_kept() -> None:
    async with StandInGateway() as gateway, dial(gateway.port) as streams:
        for _ in range(2):
            head = await ask(streams)
            assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
            assert b"server: envoy\r\n" in head
        assert gateway.counters.requests == 2
        head = await ask(streams, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert b"connection: close" in head
        assert await streams[0].read() == b""


@pytest.mark.parametrize(
    ("request_head", "status"), [(b"GET / HTTP/1.0\r\n\r\n", 426), (b"hello\r\n\r\n", 400)]
)
async def test_other_requests_are_refused_as_envoy_does(request_head: bytes, status: int) -> None:
    async with StandInGateway() as gateway, dial(gateway.port) as streams:
        head = await ask(streams, request_head)
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert await streams[0].read() == b""


@pytest.mark.parametrize(
    ("rule", "name", "admitted"),
    [
        ((), "anything.at.all", True),
        ((), None, True),
        (("*.example.test",), NAME, True),
        (("*.example.test",), NAME.upper(), True),
        (("*.example.test",), "example.test", False),
        (("*.example.test",), "example.org", False),
        (("*.example.test",), None, False),
        ((NAME,), NAME, True),
        ((NAME,), "other.example.test", False),
    ],
)
async def test_a_wrong_name_is_reset_after_its_hello(
    *, rule: tuple[str, ...], name: str | None, admitted: bool
) -> None:
    async with StandInGateway(server_names=rule) as gateway:
        if admitted:
            async with dial(gateway.port, name) as streams:
                assert (await ask(streams)).startswith(b"HTTP/1.1 404")
        else:
            with pytest.raises(ConnectionResetError):
                async with dial(gateway.port, name):
                    pass
        assert gateway.counters.refused_names == (0 if admitted else 1)


async def test_a_hello_in_pieces_is_read_whole() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = client_context().wrap_bio(incoming, outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        side.do_handshake()
    hello = outgoing.read()
    assert server_name_of(hello) == NAME
    assert server_name_of(hello[:40]) is None
    async with StandInGateway(server_names=[NAME]) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        for piece in (hello[:3], hello[3:100], hello[100:]):
            writer.write(piece)
            await asyncio.sleep(0.005)
        async with asyncio.timeout(2):
            assert (await reader.read(1)) == b"\x16"
        writer.transport.abort()


async def pump(
    streams: Streams, side: h2.connection.H2Connection, wanted: type[h2.events.Event]
) -> h2.events.Event:
    """Exchange frames until an event of this kind has come."""
    reader, writer = streams
    async with asyncio.timeout(2):
        while True:
            writer.write(side.data_to_send())
            for event in side.receive_data(await reader.read(65_536)):
                if isinstance(event, wanted):
                    writer.write(side.data_to_send())
                    return event


@pytest.mark.parametrize("alpn", [(), ("h2",)], ids=["no ALPN", "ALPN"])
async def test_the_h2_library_finds_an_http2_server(alpn: tuple[str, ...]) -> None:
    async with (
        StandInGateway(alpn=alpn) as gateway,
        dial(gateway.port, alpn=alpn) as streams,
    ):
        chosen = streams[1].get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen == (alpn[0] if alpn else None)
        side = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        side.initiate_connection()
        await pump(streams, side, h2.events.SettingsAcknowledged)
        side.ping(b"01234567")
        answer = await pump(streams, side, h2.events.PingAckReceived)
        assert isinstance(answer, h2.events.PingAckReceived)
        assert answer.ping_data == b"01234567"
        side.send_headers(
            1,
            [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", NAME)],
            end_stream=True,
        )
        response = await pump(streams, side, h2.events.ResponseReceived)
        assert isinstance(response, h2.events.ResponseReceived)
        assert [tuple(map(str, one)) for one in response.headers] == [
            (":status", "404"),
            ("server", "envoy"),
        ]
        gateway.go_away()
        farewell = await pump(streams, side, h2.events.ConnectionTerminated)
        assert isinstance(farewell, h2.events.ConnectionTerminated)
        assert farewell.last_stream_id == 1
        assert (gateway.counters.pings, gateway.counters.requests) == (1, 1)


async def test_a_hanging_gateway_accepts_and_says_nothing() -> None:
    async with StandInGateway() as gateway:
        gateway.mode = Mode.HANG
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_S), dial(gateway.port):
                pass
        gateway.mode = Mode.HANG_HTTP
        async with dial(gateway.port) as streams:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SHORT_S):
                    await ask(streams)
        gateway.mode = Mode.RESET
        with pytest.raises(ConnectionResetError):
            async with dial(gateway.port):
                pass


async def test_a_killed_gateway_ends_its_connections_and_refuses_new_ones() -> None:
    async with StandInGateway() as gateway, dial(gateway.port) as streams:
        await ask(streams)
        gateway.kill()
        with contextlib.suppress(ConnectionError):
            assert await streams[0].read() == b""
        with pytest.raises(ConnectionRefusedError):
            async with dial(gateway.port):
                pass
        gateway.open()
        async with dial(gateway.port) as again:
            assert (await ask(again)).startswith(b"HTTP/1.1 404")


async def test_what_is_no_tls_does_not_harm_it() -> None:
    async with StandInGateway(server_names=[NAME]) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(GET)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.transport.abort()
        async with dial(gateway.port) as streams:
            assert (await ask(streams)).startswith(b"HTTP/1.1 404")


async def until_hanging(host: str, port: int) -> None:
    """Dial until a handshake is not answered: a signal takes its time to arrive."""
    while True:
        try:
            async with asyncio.timeout(SHORT_S):
                _, writer = await asyncio.open_connection(
                    host, port, ssl=client_context(), server_hostname=NAME
                )
        except TimeoutError:
            return
        writer.transport.abort()


async def test_as_a_process_it_can_be_hung_and_killed() -> None:
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edged.simulator.gateways",
        "--listen",
        "127.0.20.1:0",
        "--server-name",
        "*.example.test",
        "--status",
        "200",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            assert running.stdout is not None
            line = (await running.stdout.readline()).decode().strip()
            port = int(line.removeprefix("listening on 127.0.20.1:"))
            reader, writer = await asyncio.open_connection(
                "127.0.20.1", port, ssl=client_context(), server_hostname=NAME
            )
            assert (await ask((reader, writer))).startswith(b"HTTP/1.1 200 OK")
            os.kill(running.pid, signal.SIGUSR1)
            await until_hanging("127.0.20.1", port)
            assert (await ask((reader, writer))).startswith(b"HTTP/1.1 200 OK")
            os.kill(running.pid, signal.SIGKILL)
            assert await reader.read() == b""
            writer.transport.abort()
            await running.wait()  # its connections end a little before its port does
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.20.1", port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()
