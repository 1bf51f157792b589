"""Stand-in gateways on loopback: real sockets and real TLS, served by threads.

A gateway is a function that is given each accepted connection. Those that speak TLS are built by
`over_tls` from a script, which is given the secured connection. A script may raise what sockets
raise, since probes end by abort; anything else it raises fails the test when the gateway closes.
"""

import contextlib
import select
import socket
import ssl
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self
from weakref import WeakKeyDictionary

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.support.certificates import SERVER_NAME, Pair, pair

Serve = Callable[[socket.socket], None]
Script = Callable[[ssl.SSLSocket], None]

JOIN_WITHIN_S: Final = 5.0
FILL_WITHIN_S: Final = 0.04
MAX_FILLERS: Final = 8
PREFACE: Final = b"PRI * HTTP/2.0"


_secured: WeakKeyDictionary[socket.socket, ssl.SSLSocket] = WeakKeyDictionary()
"""Accepted socket -> what TLS has made of it."""


def break_off(sock: socket.socket) -> None:
    """End a connection that another thread may be reading."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class StandIn:
    """A listening socket, and a thread for each connection; use it as a context manager."""

    def __init__(self, serve: Serve, *, address: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=512)
        self.address = address
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._serve = serve
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._faults: list[BaseException] = []
        self._acceptor = threading.Thread(target=self._accept, name="stand-in", daemon=True)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(JOIN_WITHIN_S)
            with self._lock:
                self.accepted += 1
                self._open.add(sock)
            thread = threading.Thread(target=self._handle, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _handle(self, sock: socket.socket) -> None:
        try:
            with sock:
                self._serve(sock)
        except OSError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where the test can see it
            self._faults.append(error)
        finally:
            with self._lock:
                self._open.discard(sock)

    def close_listener(self) -> None:
        """Stop listening; what is accepted stays."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        """Stop listening, break all connections and wait for the threads."""
        self.close_listener()
        self._acceptor.join(JOIN_WITHIN_S)
        with self._lock:
            for sock in self._open:
                break_off(_secured.get(sock, sock))
        for thread in self._threads:
            thread.join(JOIN_WITHIN_S)
        assert not self._faults, self._faults

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# --- below TLS ----------------------------------------------------------------------------------


def hang(sock: socket.socket) -> None:
    """Accept and never answer, until the other side goes."""
    while sock.recv(4_096):
        pass


def reset(sock: socket.socket) -> None:
    """Break the connection by a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def reset_after_hello(sock: socket.socket) -> None:
    """Answer the ClientHello by a reset, as Envoy does to a server name it does not know."""
    sock.recv(4_096)
    reset(sock)


def close_after_hello(sock: socket.socket) -> None:
    """Answer the ClientHello by an orderly end."""
    sock.recv(4_096)


def alert_after_hello(sock: socket.socket) -> None:
    """Answer the ClientHello by `unrecognized_name` (RFC 8446, 6.2)."""
    sock.recv(4_096)
    sock.sendall(b"\x15\x03\x03\x00\x02\x02\x70")
    hang(sock)


def plain_text(sock: socket.socket) -> None:
    """Speak HTTP where TLS belongs."""
    sock.recv(4_096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    hang(sock)


# --- over TLS -----------------------------------------------------------------------------------


def server_context(certificate: Pair) -> ssl.SSLContext:
    """Return a server's settings for one leaf."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*certificate.write_to(Path(folder)))
    return context


def secure(context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
    """Wrap an accepted socket, the handshake to come.

    Where the socket is broken already, CPython 3.11 leaves a half-made object behind, unclosed.
    """
    try:
        return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    except OSError as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            half_made = frame.f_locals.get("self")
            if isinstance(half_made, ssl.SSLSocket):
                half_made.close()
        raise


def over_tls(script: Script, *, certificate: Pair | None = None) -> Serve:
    """Build a gateway that shakes hands and runs `script`."""
    context = server_context(certificate or pair())

    def serve(sock: socket.socket) -> None:
        with secure(context, sock) as tls:
            _secured[sock] = tls
            tls.do_handshake()
            script(tls)

    return serve


def http1(answer: bytes, *more: bytes, pause: threading.Event | None = None) -> Script:
    """Answer any request by `answer`, then by each of `more`, `pause` permitting."""

    def script(tls: ssl.SSLSocket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += _receive(tls)
        for part in (answer, *more):
            tls.sendall(part)
            if pause is not None:
                pause.wait(0.01)
        hang(tls)

    return script


def _receive(tls: socket.socket) -> bytes:
    data = tls.recv(4_096)
    if not data:
        raise ConnectionResetError
    return data


def http2(tls: ssl.SSLSocket, first: bytes = b"") -> None:
    """Answer PINGs by the `h2` library, until the other side goes."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    data = first or _receive(tls)
    while data:
        connection.receive_data(data)
        tls.sendall(connection.data_to_send())
        data = tls.recv(65_536)


def auto(answer: bytes = b"HTTP/1.1 404 Not Found\r\nserver: envoy\r\n\r\n") -> Script:
    """Speak HTTP/2 to whoever sends its preface, HTTP/1 to others: a healthy gateway."""

    def script(tls: ssl.SSLSocket) -> None:
        first = _receive(tls)
        while len(first) < len(PREFACE):
            first += _receive(tls)
        if first.startswith(PREFACE):
            http2(tls, first)
            return
        tls.sendall(answer)
        hang(tls)

    return script


def raw(*parts: bytes) -> Script:
    """Send `parts` once the other side has spoken, whatever it said, and hang."""

    def script(tls: ssl.SSLSocket) -> None:
        _receive(tls)
        for part in parts:
            tls.sendall(part)
        hang(tls)

    return script


def close_when_spoken_to(tls: ssl.SSLSocket) -> None:
    """End the connection in good order instead of an answer."""
    _receive(tls)


class Conductor:
    """An HTTP/2 gateway that a test can silence, and make say goodbye, while it runs."""

    def __init__(self) -> None:
        self.speaking = threading.Event()
        self.speaking.set()
        self.pings = 0
        self.acknowledged = 0
        self._said_goaway = False
        self._resetting = False
        self._sockets: list[ssl.SSLSocket] = []
        self._connections: list[h2.connection.H2Connection] = []

    def __call__(self, tls: ssl.SSLSocket) -> None:
        """Serve one connection."""
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        self._said_goaway = False
        self._sockets.append(tls)
        self._connections.append(connection)
        while data := tls.recv(65_536):
            if self._said_goaway:
                continue
            if self._resetting:
                reset(tls)
                return
            events = connection.receive_data(data)
            self.acknowledged += sum(
                isinstance(event, h2.events.SettingsAcknowledged) for event in events
            )
            self.pings += sum(isinstance(event, h2.events.PingReceived) for event in events)
            assert self.speaking.wait(JOIN_WITHIN_S)
            tls.sendall(connection.data_to_send())

    def say_goaway(self) -> None:
        """Send GOAWAY on the newest connection."""
        self._said_goaway = True
        self._connections[-1].close_connection(h2.errors.ErrorCodes.NO_ERROR)
        self._sockets[-1].sendall(self._connections[-1].data_to_send())

    def say(self, data: bytes) -> None:
        """Send any bytes on the newest connection."""
        self._sockets[-1].sendall(data)

    def break_off(self) -> None:
        """End the newest connection without a word."""
        break_off(self._sockets[-1])

    def reset(self) -> None:
        """Break the connection by a reset, as soon as it brings a PING."""
        self._resetting = True

    @property
    def connections(self) -> int:
        """How many connections it has served."""
        return len(self._sockets)


# --- no gateway at all --------------------------------------------------------------------------


def refused_port(address: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def unanswering_port() -> Iterator[int]:
    """Listen with a full accept queue: the kernel drops each further SYN."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(MAX_FILLERS):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
            _, connected, _ = select.select([], [filler], [], FILL_WITHIN_S)
            if not connected:
                break
        yield listener.getsockname()[1]


def client_context() -> ssl.SSLContext:
    """Return a client's settings that trust anybody, for tests of the stand-ins themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def talk_to(gateway: StandIn) -> ssl.SSLSocket:
    """Connect to a stand-in and shake hands."""
    sock = socket.create_connection((gateway.address, gateway.port), timeout=JOIN_WITHIN_S)
    return client_context().wrap_socket(sock, server_hostname=SERVER_NAME)
