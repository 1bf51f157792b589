"""One session over a real socket: what each kind of trouble is called, and what it leaves."""

import asyncio
import hashlib
import ssl
import time
from pathlib import Path

import pytest
import trustme

from edged.core.errors import (
    ConfigError,
    RouterError,
    RouterLoginRefused,
    RouterProtocolError,
    RouterUncertain,
    RouterUnreachable,
)
from edged.core.types import Refusal
from edged.router.sentences import request
from edged.router.session import (
    REPLY_ROWS_MAX,
    CommandDeadline,
    Session,
    TlsMode,
    TrapRefused,
    make_tls_context,
    open_session,
)
from edged.simulator import server as simulator
from tests.support.scripted_router import Connection, Script, encode, hang, scripted_router
from tests.support.sessions import now_us, opened, target
from tests.support.tls import issued_by_a_test_ca, with_fingerprint

RESOURCE = request("resource")
SET = request("v6_ip_set_gateway", {".id": "*1", "gateway": "172.30.1.20"})


async def ask_against(script: Script, *, deadline_ms: int = 1_000) -> RouterError:
    """Ask once and return the error; the connection must be gone, and nothing hangs."""
    async with (
        scripted_router(script) as router,
        opened(target(router.port), deadline_ms=deadline_ms) as session,
    ):
        with pytest.raises(RouterUncertain) as caught:
            await session.ask(SET)
        assert not session.usable
        assert len(router.connections[0].heard) <= 2
        return caught.value


def after_login(*raw: bytes, stay: bool = True) -> Script:
    """Answer the first command with raw bytes."""

    async def script(connection: Connection) -> None:
        await connection.hear_login()
        await connection.hear()
        for part in raw:
            connection.say_raw(part)
        if stay:
            await hang(connection)
        await connection.writer.drain()
        connection.writer.close()
        await hang(connection)

    return script


# --- answers ---


async def test_rows_ret_and_times_come_back() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        words = await connection.hear()
        connection.say("!re", "=.id=*1", to=words)
        connection.say("!re", to=words)
        connection.say("!done", "=ret=*3", to=words)
        await hang(connection)

    async with scripted_router(script) as router, opened(target(router.port)) as session:
        before = now_us()
        reply = await session.ask(RESOURCE)
    assert reply.rows == ({".id": "*1"}, {})
    assert reply.ret == "*3"
    assert before <= reply.sent_us <= reply.answered_us <= now_us()


async def test_an_empty_reply_has_no_rows_with_or_without_the_word_for_it() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        for reply in (("!done",), ("!empty", "!done")):
            words = await connection.hear()
            for word in reply:
                connection.say(word, to=words)
        await hang(connection)

    async with scripted_router(script) as router, opened(target(router.port)) as session:
        assert (await session.ask(RESOURCE)).rows == ()
        assert (await session.ask(RESOURCE)).rows == ()


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        (["not enough permissions (9)"], Refusal.PERMISSION),
        (["unknown parameter routing-table"], Refusal.UNKNOWN_PARAMETER),
        (["no such command prefix"], Refusal.UNKNOWN_PARAMETER),
        (["no such item"], Refusal.NO_SUCH_ITEM),
        (["input does not match any value of interface"], Refusal.OTHER),
        (["failure: already have such entry"], Refusal.OTHER),
        (["something", "no such item"], Refusal.NO_SUCH_ITEM),
    ],
)
async def test_a_trap_is_a_refusal_and_the_session_stays(
    messages: list[str], refusal: Refusal
) -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        words = await connection.hear()
        for message in messages:
            connection.say("!trap", "=category=1", f"=message={message}", to=words)
        connection.say("!done", to=words)
        words = await connection.hear()
        connection.say("!done", to=words)
        await hang(connection)

    async with scripted_router(script) as router, opened(target(router.port)) as session:
        with pytest.raises(TrapRefused) as caught:
            await session.ask(SET)
        assert caught.value.refusal is refusal
        assert caught.value.message == "; ".join(messages)
        assert (await session.ask(RESOURCE)).rows == ()
        assert len(router.connections) == 1


async def test_what_a_router_says_is_cleaned_before_it_is_shown() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        words = await connection.hear()
        connection.say("!trap", "=message=no\r\n\x1b[2J" + "x" * 9_000, to=words)
        connection.say("!done", to=words)
        await hang(connection)

    async with scripted_router(script) as router, opened(target(router.port)) as session:
        with pytest.raises(TrapRefused) as caught:
            await session.ask(SET)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 200


async def test_two_askers_take_turns() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        while True:
            words = await connection.hear()
            await asyncio.sleep(0.01)
            connection.say("!re", f"=tag={words[-1]}", to=words)
            connection.say("!done", to=words)

    async with (
        scripted_router(script) as router,
        opened(target(router.port)) as session,
        asyncio.TaskGroup() as group,
    ):
        asked = [group.create_task(session.ask(RESOURCE)) for _ in range(5)]
    assert [task.result().rows[0]["tag"] for task in asked] == [f".tag={n}" for n in range(1, 6)]


# --- trouble in mid-command: uncertain, and the connection is gone ---


async def test_a_hanging_router_is_uncertain_at_the_deadline() -> None:
    error = await ask_against(after_login(), deadline_ms=20)
    assert not isinstance(error, RouterProtocolError)
    assert "no answer in time" in str(error)


async def test_a_deadline_is_doubled_for_the_next_connection() -> None:
    deadline = CommandDeadline(20)
    async with (
        scripted_router(after_login()) as router,
        opened(target(router.port), deadline=deadline) as session,
    ):
        with pytest.raises(RouterUncertain):
            await session.ask(RESOURCE)
    assert deadline.ms == 40


@pytest.mark.parametrize("raw", [b"", b"\x03!r", encode("!re", "=a=b", ".tag=1")])
async def test_a_connection_that_ends_before_the_done_is_uncertain(raw: bytes) -> None:
    error = await ask_against(after_login(raw, stay=False))
    assert "closed the connection" in str(error)


async def test_a_reset_is_uncertain() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        await connection.hear()
        connection.cut()

    await ask_against(script)


@pytest.mark.parametrize(
    "raw",
    [
        bytes([0xFF, 0xFE, 0xFD]) + b"HTTP/1.1 400 Bad Request\r\n\r\n",
        encode("!what", ".tag=1"),
        encode("!re", "no equals sign", ".tag=1"),
        encode("!re", *[f"=w{n}=" for n in range(300)], ".tag=1"),
        encode("!done"),
        encode("!done", ".tag=7"),
        encode("!re", "=a=b") + encode("!done", ".tag=1"),
        encode("!trap", "=message=x", ".tag=7") + encode("!done", ".tag=1"),
        b"\x03!re\xf0\x00\x00\x00\x01",
    ],
    ids=["garbage", "unknown-reply", "bad-word", "many-words", "no-tag", "other-tag",
         "untagged-row", "other-trap", "control-byte"],
)  # fmt: skip
async def test_a_reply_that_makes_no_sense_is_uncertain(raw: bytes) -> None:
    error = await ask_against(after_login(raw))
    assert isinstance(error, RouterProtocolError)


async def test_a_trap_without_our_tag_is_believed() -> None:
    raw = encode("!trap", "=message=no such command prefix") + encode("!done", ".tag=1")
    async with scripted_router(after_login(raw)) as router, opened(target(router.port)) as session:
        with pytest.raises(TrapRefused):
            await session.ask(SET)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (encode("!re", "=a=b", ".tag=1") * 1_000, "rows"),
        (encode("!re", "=comment=" + "x" * 10_000, ".tag=1") * 20, "longer than"),
        (encode("!trap", "=message=x", ".tag=1") * 300, "traps"),
        (b"\x00" * 100_000, "longer than"),
    ],
    ids=["rows", "bytes", "traps", "nothing"],
)
async def test_a_flood_is_bounded_and_stalls_nobody(part: bytes, says: str) -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        await connection.hear()
        while True:
            connection.say_raw(part)
            await connection.writer.drain()

    gaps: list[int] = []

    async def tick() -> None:
        last = time.process_time_ns()  # our own work: a busy machine is nobody's fault
        while True:
            await asyncio.sleep(0)
            gaps.append((time.process_time_ns() - last) // 1_000)
            last = time.process_time_ns()

    async with asyncio.TaskGroup() as group:
        ticker = group.create_task(tick())
        error = await ask_against(script, deadline_ms=10_000)
        ticker.cancel()
    assert says in str(error)
    assert sorted(gaps)[-5] < 20_000, "others ran all the time"


async def test_a_full_buffer_is_parsed_in_slices() -> None:
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with scripted_router(after_login()) as router, opened(target(router.port)) as session:
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(tick())
            asked = group.create_task(session.ask(RESOURCE))
            await asyncio.sleep(0.01)
            before = turns
            reader = session._protocol.transport.reader
            reader.feed_data(b"\x00" * 60_000 + encode("!done", ".tag=1"))
            await asked
            ticker.cancel()
        assert turns - before > 100


async def test_a_reply_of_a_thousand_gateways_is_within_the_bounds() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        words = await connection.hear()
        for number in range(1_024):
            connection.say("!re", f"=.id=*{number:X}", *[f"=w{n}=v" for n in range(14)], to=words)
        connection.say("!done", to=words)
        await hang(connection)

    async with scripted_router(script) as router, opened(target(router.port)) as session:
        assert len((await session.ask(RESOURCE)).rows) == 1_024
    assert REPLY_ROWS_MAX > 1_024


async def test_a_cancelled_command_takes_the_connection_with_it() -> None:
    async with scripted_router(after_login()) as router, opened(target(router.port)) as session:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(session.ask(SET))
            await asyncio.sleep(0.01)
            task.cancel()
        assert task.cancelled()
        assert not session.usable
        with pytest.raises(RouterUnreachable):
            await session.ask(SET)
        assert len(router.heard) == 2, "login and the cancelled one"


async def test_on_a_connection_closed_while_idle_surely_nothing_is_sent() -> None:
    ended = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.hear_login()
        connection.writer.close()
        await hang(connection)

    async with (
        scripted_router(script) as router,
        opened(target(router.port), on_end=ended.set) as session,
    ):
        async with asyncio.timeout(0.5):
            await ended.wait()
        assert not session.usable
        with pytest.raises(RouterUnreachable):
            await session.ask(SET)
        assert len(router.heard) == 1


async def test_a_reset_while_idle_is_noticed_at_once() -> None:
    ended = asyncio.Event()
    cut = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.hear_login()
        await cut.wait()
        connection.cut()

    async with (
        scripted_router(script) as router,
        opened(target(router.port), on_end=ended.set) as session,
    ):
        assert session.usable
        cut.set()
        async with asyncio.timeout(0.5):
            await ended.wait()
        assert not session.usable


# --- opening ---


async def open_against(script: Script, *, open_deadline_ms: int = 1_000) -> RouterUnreachable:
    async with scripted_router(script) as router:
        with pytest.raises(RouterUnreachable) as caught:
            async with opened(target(router.port), open_deadline_ms=open_deadline_ms):
                pass
        return caught.value


@pytest.mark.parametrize("message", ["invalid user name or password (6)", "cannot log in"])
async def test_a_refused_login_says_so_without_the_password(message: str) -> None:
    async def script(connection: Connection) -> None:
        await connection.hear()
        connection.say("!trap", f"=message={message}")
        connection.say("!done")
        await hang(connection)

    error = await open_against(script)
    assert isinstance(error, RouterLoginRefused)
    assert message in str(error)
    assert "secret" not in str(error)


async def test_a_challenge_of_an_old_router_is_answered() -> None:
    challenge = bytes(range(16))
    secret = "비밀번호"

    async def script(connection: Connection) -> None:
        await connection.hear()
        connection.say("!done", f"=ret={challenge.hex()}")
        words = await connection.hear()
        digest = hashlib.md5(b"\x00" + secret.encode() + challenge).hexdigest()  # noqa: S324 - theirs
        if f"=response=00{digest}" in words and "=name=edged" in words:
            connection.say("!done")
        await hang(connection)

    async with scripted_router(script) as router, opened(target(router.port), password=secret):
        pass


@pytest.mark.parametrize(
    "raw",
    [b"", b"SSH-2.0-OpenSSH\r\n", encode("!done", "=ret=not hexadecimal"), encode("!fatal", "x")],
    ids=["silent", "ssh", "bad-challenge", "fatal"],
)
async def test_a_login_that_fails_otherwise_is_unreachable(raw: bytes) -> None:
    async def script(connection: Connection) -> None:
        await connection.hear()
        connection.say_raw(raw)
        await hang(connection)

    error = await open_against(script, open_deadline_ms=30)
    assert not isinstance(error, RouterLoginRefused)


async def test_a_closed_port_is_unreachable() -> None:
    async with scripted_router(hang) as router:
        port = router.port
    with pytest.raises(RouterUnreachable):
        async with opened(target(port)):
            pass


async def test_a_password_that_cannot_be_read_sends_nothing() -> None:
    def unreadable() -> str:
        raise PermissionError(13, "Permission denied")

    async with scripted_router(hang) as router:
        with pytest.raises(RouterLoginRefused, match="cannot be read"):
            await open_session(
                target(router.port),
                context=None,
                password=unreadable,
                deadline=CommandDeadline(),
                now_us=now_us,
            )
        assert router.connections == []


async def test_an_open_that_is_cancelled_leaves_nothing_open() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear()
        await connection.reader.read()  # the end, once the client is gone
        gone.set()

    gone = asyncio.Event()
    async with scripted_router(script) as router:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_open(router.port))
            await asyncio.sleep(0.02)
            task.cancel()
        async with asyncio.timeout(0.5):
            await gone.wait()


async def _open(port: int) -> Session:
    async with opened(target(port)) as session:
        return session


# --- TLS ---


async def accepting(connection: Connection) -> None:
    await connection.hear_login()
    words = await connection.hear()
    connection.say("!done", to=words)
    await hang(connection)


async def test_a_pinned_certificate_is_accepted_in_any_spelling() -> None:
    server, pin = with_fingerprint("some.other.name")
    bare = pin.removeprefix("sha256:")
    colons = ":".join(bare[n : n + 2] for n in range(0, 64, 2)).upper()
    async with scripted_router(accepting, context=server) as router:
        for fingerprint in (pin, bare, colons, f"SHA256:{bare}"):
            pinned = target(router.port, tls=TlsMode.PIN, fingerprint=fingerprint)
            async with opened(pinned) as session:
                await session.ask(RESOURCE)


@pytest.mark.parametrize("fingerprint", ["sha256:" + "0" * 64, "", "sha256:"])
async def test_no_password_leaves_for_another_certificate(fingerprint: str) -> None:
    server, _ = with_fingerprint("127.0.0.1")
    async with scripted_router(accepting, context=server) as router:
        with pytest.raises(RouterLoginRefused, match="not the pinned one"):
            async with opened(target(router.port, tls=TlsMode.PIN, fingerprint=fingerprint)):
                pass
        await asyncio.sleep(0.01)
        assert router.heard == []


async def test_a_verified_certificate_needs_the_right_authority_and_name(tmp_path: Path) -> None:
    server, _, authority = issued_by_a_test_ca("127.0.0.1")
    misnamed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("router.example.test").configure_cert(misnamed)
    ours, theirs = tmp_path / "ca.pem", tmp_path / "other.pem"
    authority.cert_pem.write_to_path(str(ours))
    trustme.CA().cert_pem.write_to_path(str(theirs))
    async with scripted_router(accepting, context=server) as router:
        async with opened(target(router.port, tls=TlsMode.VERIFY, ca_file=str(ours))) as session:
            await session.ask(RESOURCE)
        with pytest.raises(RouterLoginRefused, match="not valid"):
            async with opened(target(router.port, tls=TlsMode.VERIFY, ca_file=str(theirs))):
                pass
        heard = len(router.heard)
    async with scripted_router(accepting, context=misnamed) as router:
        with pytest.raises(RouterLoginRefused, match="not valid"):
            async with opened(target(router.port, tls=TlsMode.VERIFY, ca_file=str(ours))):
                pass
        assert router.heard == []
    assert heard == 2


def test_strict_checks_that_home_made_authorities_fail_are_off() -> None:
    context = make_tls_context(target(1, tls=TlsMode.VERIFY))
    assert context is not None
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_an_unusable_ca_file_is_a_configuration_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="ca_file"):
        make_tls_context(target(1, tls=TlsMode.VERIFY, ca_file=str(path)))


async def test_a_router_without_a_certificate_is_spoken_to_anonymously() -> None:
    server = simulator.make_tls_context(simulator.TlsMode.ANONYMOUS)
    async with scripted_router(accepting, context=server) as router:
        async with opened(target(router.port, tls=TlsMode.ANONYMOUS)) as session:
            await session.ask(RESOURCE)
        for mode in (TlsMode.VERIFY, TlsMode.PIN):
            with pytest.raises(RouterUnreachable):
                async with opened(target(router.port, tls=mode, fingerprint="0" * 64)):
                    pass
        assert len(router.heard) == 2


async def test_a_plain_port_spoken_to_in_tls_is_unreachable() -> None:
    async def script(connection: Connection) -> None:
        await connection.reader.read(1)
        connection.say("!fatal", "not logged in")
        await hang(connection)

    async with scripted_router(script) as router:
        with pytest.raises(RouterUnreachable) as caught:
            async with opened(target(router.port, tls=TlsMode.PIN), open_deadline_ms=200):
                pass
        assert not isinstance(caught.value, RouterLoginRefused)


@pytest.mark.parametrize(
    ("mode", "port"), [(TlsMode.OFF, 8728), (TlsMode.PIN, 8729), (TlsMode.ANONYMOUS, 8729)]
)
def test_the_usual_port_goes_with_the_mode(mode: TlsMode, port: int) -> None:
    usual = target(1, tls=mode)
    assert usual.endpoint_port == 1
    assert type(usual)(name="x", address="x", username="x", tls=mode).endpoint_port == port
