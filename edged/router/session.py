"""One connection to a RouterOS API. Everything that librouteros knows or does ends here.

A session is opened with TLS and login under one deadline, carries one command at a time, each whole
exchange under one deadline, and is thrown away after any doubt: a time-out, a cancelled command, a
reply that cannot be decoded. It never repeats a command and never decides anything.

What is used of librouteros 4.2 is its word coding, its transport and its exceptions. What is not,
and why (each has a test): `connect` and `close` await an unbounded `wait_closed()`; `wait_for`
inside its reads may swallow a cancellation on Python 3.11 and bounds each sentence, not the
exchange; replies with a `.tag`, traps with unknown words and `!fatal` without a word raise from
inside it; values are cast (`yes` to True, `10` to 10); text is ASCII, with bytes dropped; words
have no size limit; and at level debug it logs the password.

Source: MikroTik manual, "API" (sentences, tags, login, reply words; RouterOS 6.43 and 7.24).
"""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from librouteros.connections import AsyncSocketTransport
from librouteros.exceptions import ConnectionClosed, FatalError, LibRouterosError, ProtocolError
from librouteros.protocol import (
    AsyncApiProtocol,
    decode_length,
    determine_length,
    encode_length,
)

from edged.core.errors import (
    ConfigError,
    RouterError,
    RouterLoginRefused,
    RouterProtocolError,
    RouterRefused,
    RouterUncertain,
    RouterUnreachable,
)
from edged.core.types import Refusal
from edged.router.sentences import Request
from edged.router.text import Row, clean

PORT_PLAIN: Final = 8728
PORT_TLS: Final = 8729

OPEN_DEADLINE_MS: Final = 5_000
"""Connect + TLS + login: small routers need more than a second for a TLS handshake."""
COMMAND_DEADLINE_MS: Final = 1_000
COMMAND_DEADLINE_MS_MAX: Final = 5_000

# A reply is bounded, so that no router can fill our memory or hold our loop. 1,024 gateways on
# RouterOS 7 are 1,024 rows of about 250 bytes.
REPLY_BYTES_MAX: Final = 1_048_576
WORD_COST_BYTES: Final = 8
"""What a word counts for beside its bytes, so that a flood of empty words is bounded as well."""
REPLY_ROWS_MAX: Final = 4_096
SENTENCE_WORDS_MAX: Final = 256
WORDS_BEFORE_YIELD: Final = 128
"""A full read buffer is parsed in slices of well under a millisecond; probes run in between."""

_STREAM_LIMIT: Final = 65_536
_TLS_SHUTDOWN_S: Final = 1.0


class TlsMode(StrEnum):
    """How the router proves who it is; `anonymous` and `off` prove nothing."""

    VERIFY = "verify"
    PIN = "pin"
    ANONYMOUS = "anonymous"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterTarget:
    """Where a router's API is and how to log in there; the password is asked for separately."""

    name: str
    address: str
    username: str
    tls: TlsMode
    port: int | None = None
    fingerprint: str = ""
    ca_file: str | None = None

    @property
    def endpoint_port(self) -> int:
        """Return the port: the configured one, or the usual one."""
        if self.port is not None:
            return self.port
        return PORT_PLAIN if self.tls is TlsMode.OFF else PORT_TLS


class TrapRefused(RouterRefused):
    """A `!trap` with what kind it is; the session stays."""

    def __init__(self, text: str, *, refusal: Refusal, message: str) -> None:
        super().__init__(text)
        self.refusal = refusal
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole reply as text; `ret` is what `add` and the old login return with `!done`."""

    rows: tuple[Row, ...]
    ret: str
    sent_us: int
    answered_us: int


class CommandDeadline:
    """The deadline of one command: doubled after each time-out, back once answers are quick."""

    __slots__ = ("_base_ms", "_ms")

    def __init__(self, base_ms: int = COMMAND_DEADLINE_MS) -> None:
        self._base_ms = base_ms
        self._ms = base_ms

    @property
    def ms(self) -> int:
        """Return the deadline in force; more than the base says that the router is slow."""
        return self._ms

    def observe_timeout(self) -> None:
        """Allow the next command twice the time."""
        self._ms = max(self._base_ms, min(2 * self._ms, COMMAND_DEADLINE_MS_MAX))

    def observe_answer(self, took_us: int) -> None:
        """Return to the base after an answer that would have met it with ease."""
        if took_us <= self._base_ms * 500:
            self._ms = self._base_ms


def make_tls_context(target: RouterTarget) -> ssl.SSLContext | None:
    """Build the TLS context of a mode; reads CA files, so build it once, outside the loop.

    Raises:
        ConfigError: The CA file cannot be used.
    """
    match target.tls:
        case TlsMode.OFF:
            return None
        case TlsMode.VERIFY:
            return _verifying_context(target)
        case TlsMode.PIN:
            return _unverified_context()
        case TlsMode.ANONYMOUS:
            # RouterOS without a certificate offers anonymous Diffie-Hellman only, which TLS 1.3
            # does not have and OpenSSL 3 allows at security level 0 only.
            context = _unverified_context()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("ADH:@SECLEVEL=0")
            return context
        case _:
            assert_never(target.tls)


def _verifying_context(target: RouterTarget) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=target.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"router {target.name}: ca_file {target.ca_file} cannot be used: {error}",
        ) from error
    # On from Python 3.13 on, it refuses the CAs that RouterOS and home scripts make (no key usage).
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _unverified_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def certificate_fingerprint(der: bytes) -> str:
    """Return the pin of a certificate as the configuration spells it."""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


async def fetch_fingerprint(address: str, port: int) -> str:
    """Return the pin of the certificate that a router shows now; nothing is logged in.

    Whoever uses it must compare it with the router's own word: this trusts the network once.

    Raises:
        RouterUnreachable: There is no TLS there, or no certificate.
    """
    what = f"{address}:{port}"
    try:
        async with asyncio.timeout(OPEN_DEADLINE_MS / 1_000):
            _, writer = await asyncio.open_connection(address, port, ssl=_unverified_context())
    except (OSError, ssl.SSLError, TimeoutError) as error:
        reason = str(error) or "no answer in time"
        raise RouterUnreachable(f"{what}: no TLS with a certificate there: {reason}") from error
    try:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return certificate_fingerprint(tls.getpeercert(binary_form=True) or b"")
    finally:
        writer.transport.abort()


def _bare_fingerprint(text: str) -> str:
    return text.lower().removeprefix("sha256:").replace(":", "").strip()


# --- the wire: librouteros, bounded and lossless ------------------------------------------------


class _Reader(asyncio.StreamReader):
    """A stream reader that tells at once when the other side has ended the connection."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        super().__init__(limit=_STREAM_LIMIT)
        self._on_end = on_end

    def feed_eof(self) -> None:
        """Take note of the end; an idle owner wakes and sees that the session is not usable."""
        super().feed_eof()
        self._on_end()

    def set_exception(self, exc: Exception) -> None:
        """Take note of a reset; asyncio calls this instead of `feed_eof`."""
        super().set_exception(exc)
        self._on_end()


class _Transport(AsyncSocketTransport):
    """librouteros' transport with an end that cannot hang and a budget for each reply."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.budget = 0

    @property
    def closed(self) -> bool:
        """Whether either side has ended the connection, as far as we can see."""
        ended = self.reader.at_eof() or self.reader.exception() is not None
        return ended or self.writer.transport.is_closing()

    async def read(self, length: int) -> bytes:
        """Read exactly `length` bytes within the reply's budget, or say why not."""
        self.budget -= length
        if self.budget < 0:
            raise ProtocolError(f"the reply is longer than {REPLY_BYTES_MAX} bytes")
        try:
            return await self.reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise ConnectionClosed("the router closed the connection") from error

    def abort(self) -> None:
        """End the connection now; nothing to wait for."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """Never wait for the other side to close: librouteros would."""
        self.abort()


class _Protocol(AsyncApiProtocol):
    """librouteros' sentences with size limits and every byte kept."""

    transport: _Transport

    def __init__(self, transport: _Transport) -> None:
        # No time-out inside: one deadline stands round the whole exchange.
        super().__init__(transport=transport, encoding="utf-8", timeout=None)
        self._words = 0

    async def writeSentence(self, cmd: str, *words: str) -> None:  # noqa: N802 - librouteros' name
        """Send one sentence; text that came from bytes goes back as the same bytes."""
        raw = [_encode(word) for word in (cmd, *words)]
        frame = b"".join(encode_length(len(word)) + word for word in raw) + b"\x00"
        await self.transport.write(frame)

    async def readSentence(self) -> tuple[str, tuple[str, ...]]:  # noqa: N802 - librouteros' name
        """Read one sentence, skipping empty ones as the API manual says."""
        sentence: list[str] = []
        while True:
            word = await self.readWord()
            if word:
                sentence.append(word)
            elif sentence:
                break
            if len(sentence) > SENTENCE_WORDS_MAX:
                raise ProtocolError(f"a sentence has more than {SENTENCE_WORDS_MAX} words")
        return sentence[0], tuple(sentence[1:])

    async def readWord(self) -> str:  # noqa: N802 - librouteros' name
        """Read one word; give way to the loop now and then, also while the buffer is full."""
        self._words += 1
        self.transport.budget -= WORD_COST_BYTES
        if self._words % WORDS_BEFORE_YIELD == 0:
            await asyncio.sleep(0)
        head = await self.transport.read(1)
        if head == b"\x00":
            return ""
        head += await self.transport.read(determine_length(head))
        return _decode(await self.transport.read(decode_length(head)))


def _encode(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _split(words: tuple[str, ...]) -> tuple[dict[str, str], str | None]:
    """Take the words of a reply apart: attributes as text, and the tag."""
    attributes: dict[str, str] = {}
    tag: str | None = None
    for word in words:
        if word.startswith("="):
            key, _, value = word[1:].partition("=")
            attributes[key] = value
        elif word.startswith(".tag="):
            tag = word.removeprefix(".tag=")
        else:
            raise ProtocolError(f"unexpected word {clean(word)!r} in a reply")
    return attributes, tag


async def _read_reply(protocol: _Protocol, tag: str | None) -> tuple[list[Row], str]:
    """Read up to `!done`; a `!trap` is raised after it, so that the stream stays in step."""
    rows: list[Row] = []
    traps: list[Row] = []
    protocol.transport.budget = REPLY_BYTES_MAX
    while True:
        word, rest = await protocol.readSentence()
        if word == "!fatal":
            raise FatalError(clean(" ".join(rest)) or "without a reason")
        attributes, answered_tag = _split(rest)
        # A trap may come from before the router has looked at the tag; anything else without our
        # tag is the answer to something else.
        if answered_tag != tag and not (word == "!trap" and answered_tag is None):
            raise ProtocolError(f"{clean(word)} answers tag {answered_tag!r}, not {tag!r}")
        match word:
            case "!re":
                rows.append(attributes)
                if len(rows) > REPLY_ROWS_MAX:
                    raise ProtocolError(f"the reply has more than {REPLY_ROWS_MAX} rows")
            case "!trap":
                traps.append(attributes)
                if len(traps) > SENTENCE_WORDS_MAX:
                    raise ProtocolError("the reply has too many traps")
            case "!empty":
                pass
            case "!done":
                if traps:
                    raise _trap_refused(traps)
                return rows, attributes.get("ret", "")
            case _:
                raise ProtocolError(f"unknown reply word {clean(word)!r}")


# --- what a trap means --------------------------------------------------------------------------

_TRAPS: Final = (
    ("not enough permissions", Refusal.PERMISSION),
    ("unknown parameter", Refusal.UNKNOWN_PARAMETER),
    ("no such command", Refusal.UNKNOWN_PARAMETER),
    ("no such item", Refusal.NO_SUCH_ITEM),
)


def refusal_kind(message: str) -> Refusal:
    """Tell the kinds of traps apart by their recorded texts (RouterOS 6 and 7 alike)."""
    for text, refusal in _TRAPS:
        if text in message:
            return refusal
    return Refusal.OTHER


def _trap_refused(traps: list[Row]) -> TrapRefused:
    """One sentence may draw two traps; the kind is that of the first one we know."""
    messages = [clean(trap.get("message", "")) or "without a message" for trap in traps]
    kinds = [refusal_kind(message) for message in messages]
    refusal = next((kind for kind in kinds if kind is not Refusal.OTHER), Refusal.OTHER)
    message = "; ".join(messages[:2])
    return TrapRefused(f"the router refused: {message}", refusal=refusal, message=message)


# --- what an exception means --------------------------------------------------------------------


def _router_error(error: Exception, what: str, *, sent: bool) -> RouterError:
    """Map what librouteros, asyncio and the kernel raise: one table for the whole adapter."""
    lost = RouterUncertain if sent else RouterUnreachable
    match error:
        case RouterError():
            return error
        case ssl.SSLCertVerificationError():  # a ValueError, too
            return RouterLoginRefused(
                f"{what}: the router's certificate is not valid: {error.verify_message}",
            )
        case ConnectionRefusedError():
            return lost(
                f"{what}: nothing listens there, or the service refuses this host; look at "
                "/ip service print on the router: api-ssl is 8729, api 8728"
            )
        case TimeoutError():
            return lost(f"{what}: no answer in time")
        case FatalError():
            return lost(f"{what}: the router ended the session: {error}")
        case ConnectionClosed():
            return lost(f"{what}: {error}")
        case LibRouterosError() | ValueError() | LookupError():
            return (RouterProtocolError if sent else RouterUnreachable)(
                f"{what}: the answer cannot be decoded: {clean(str(error))}",
            )
        case OSError():
            return lost(f"{what}: {clean(error.strerror or str(error))}")
        case _:
            raise error


_EXPECTED: Final = (RouterError, LibRouterosError, OSError, ValueError, LookupError)
"""What an exchange may raise for a router's fault; TimeoutError is an OSError."""


# --- the session --------------------------------------------------------------------------------


class Session:
    """A logged-in connection; made by `open_session`."""

    __slots__ = ("_deadline", "_lock", "_name", "_now_us", "_protocol", "_tag", "end_detail")

    def __init__(
        self,
        name: str,
        protocol: _Protocol,
        *,
        deadline: CommandDeadline,
        now_us: Callable[[], int],
    ) -> None:
        self._name = name
        self._protocol = protocol
        self._deadline = deadline
        self._now_us = now_us
        self._lock = asyncio.Lock()
        self._tag = 0
        self.end_detail = ""

    @property
    def usable(self) -> bool:
        """Whether a command may still be sent."""
        return not self._protocol.transport.closed

    def abort(self) -> None:
        """End the connection at once."""
        self._protocol.transport.abort()

    async def ask(self, request: Request, *, deadline_ms: int | None = None) -> Reply:
        """Send one sentence and read its whole reply.

        Args:
            request: A row of the table with its values.
            deadline_ms: For commands that take their time (ping); else the usual one.

        Raises:
            TrapRefused: The router answered `!trap`; the session stays.
            RouterUncertain: Sent, and not answered as it should be; the connection is gone.
            RouterUnreachable: Nothing was sent; the connection is gone.
        """
        async with self._lock:
            if not self.usable:
                self.abort()
                raise RouterUnreachable(f"{self._name}: the connection is closed")
            try:
                async with asyncio.timeout((deadline_ms or self._deadline.ms) / 1_000):
                    reply = await self._exchange(request)
            except TrapRefused:
                raise
            except _EXPECTED as error:
                self.abort()
                if isinstance(error, TimeoutError):
                    self._deadline.observe_timeout()
                ours = _router_error(error, self._what(request), sent=True)
                self.end_detail = str(ours)
                raise ours from error
            except BaseException:
                self.abort()  # cancelled in mid-command: the answer would reach the next one
                raise
        if deadline_ms is None:
            self._deadline.observe_answer(reply.answered_us - reply.sent_us)
        return reply

    async def _exchange(self, request: Request) -> Reply:
        self._tag += 1
        tag = str(self._tag)
        sent_us = self._now_us()
        await self._protocol.writeSentence(request.sentence.path, *request.words(), f".tag={tag}")
        rows, ret = await _read_reply(self._protocol, tag)
        return Reply(rows=tuple(rows), ret=ret, sent_us=sent_us, answered_us=self._now_us())

    def _what(self, request: Request) -> str:
        return f"{self._name}: {request.sentence.path}"


async def open_session(
    target: RouterTarget,
    *,
    context: ssl.SSLContext | None,
    password: Callable[[], str],
    deadline: CommandDeadline,
    now_us: Callable[[], int],
    on_end: Callable[[], None] = lambda: None,
    open_deadline_ms: int = OPEN_DEADLINE_MS,
) -> Session:
    """Connect, check the pin, log in.

    Args:
        target: Where and how.
        context: What `make_tls_context` made of it.
        password: Reads the secret, each time anew; runs in a thread, for it may read a file.
        deadline: Shared by all sessions of a router, so that it outlives a connection.
        now_us: A monotonic clock in microseconds.
        on_end: Called when the router ends the connection, also while it is idle.
        open_deadline_ms: For connect, TLS and login together.

    Raises:
        RouterLoginRefused: Wrong credentials, pin or certificate.
        RouterUnreachable: Anything else; nothing was sent but, perhaps, the login.
    """
    what = f"{target.name} ({target.address}:{target.endpoint_port})"
    transport: _Transport | None = None
    try:
        async with asyncio.timeout(open_deadline_ms / 1_000):
            secret = await asyncio.to_thread(_read_secret, password, what)
            transport = await _connect(target, context, on_end)
            protocol = _Protocol(transport)
            await _log_in(protocol, target, secret)
    except _EXPECTED as error:
        if transport is not None:
            transport.abort()
        raise _router_error(error, what, sent=False) from error
    except BaseException:
        if transport is not None:
            transport.abort()
        raise
    return Session(target.name, protocol, deadline=deadline, now_us=now_us)


def _read_secret(password: Callable[[], str], what: str) -> str:
    try:
        return password()
    except (OSError, ConfigError) as error:
        raise RouterLoginRefused(f"{what}: the password cannot be read: {error}") from error


async def _connect(
    target: RouterTarget,
    context: ssl.SSLContext | None,
    on_end: Callable[[], None],
) -> _Transport:
    loop = asyncio.get_running_loop()
    reader = _Reader(on_end)
    tls = context is not None
    transport, protocol = await loop.create_connection(
        lambda: asyncio.StreamReaderProtocol(reader),
        target.address,
        target.endpoint_port,
        ssl=context,
        server_hostname=target.address if tls else None,
        ssl_handshake_timeout=OPEN_DEADLINE_MS / 1_000 if tls else None,
        ssl_shutdown_timeout=_TLS_SHUTDOWN_S if tls else None,
    )
    return _Transport(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


async def _log_in(protocol: _Protocol, target: RouterTarget, secret: str) -> None:
    """Check the pin, then log in as 6.43 and later want it, or answer the older challenge."""
    if target.tls is TlsMode.PIN:
        _check_pin(protocol.transport, target)
    name = f"=name={target.username}"
    try:
        await protocol.writeSentence("/login", name, f"=password={secret}")
        _, challenge = await _read_reply(protocol, None)
        if challenge:
            await protocol.writeSentence(
                "/login", name, f"=response={_response(secret, challenge)}"
            )
            await _read_reply(protocol, None)
    except TrapRefused as error:
        raise RouterLoginRefused(
            f"{target.name}: the router refused the login of {target.username!r}: {error.message}",
        ) from error


def _check_pin(transport: _Transport, target: RouterTarget) -> None:
    tls: ssl.SSLObject | None = transport.writer.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    found = certificate_fingerprint(der) if der else "no certificate"
    if _bare_fingerprint(found) != _bare_fingerprint(target.fingerprint):
        raise RouterLoginRefused(
            f"{target.name}: the certificate is not the pinned one: found {found}, "
            f"configured {target.fingerprint}; the password was not sent",
        )


def _response(secret: str, challenge: str) -> str:
    """Answer the login challenge of RouterOS before 6.43."""
    digest = hashlib.md5(
        b"\x00" + _encode(secret) + bytes.fromhex(challenge),
        usedforsecurity=False,
    )
    return f"00{digest.hexdigest()}"
