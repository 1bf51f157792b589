"""What librouteros 4.2 does on a bad day, and that a session survives it.

Each test shows the library doing it first: where a later release no longer does, the test says so,
and the adapter may become simpler.
"""

import asyncio
import logging

import pytest
from librouteros import async_connect
from librouteros.api import AsyncApi
from librouteros.connections import AsyncSocketTransport

from edged.core.errors import RouterLoginRefused, RouterProtocolError, RouterUncertain
from edged.core.types import Refusal
from edged.router.sentences import request
from edged.router.session import TlsMode, TrapRefused
from tests.support.scripted_router import Connection, Script, encode, hang, scripted_router
from tests.support.sessions import opened, target
from tests.support.tls import issued_by_a_test_ca

RESOURCE = request("resource")
COMMENT_CP949 = b"=comment=" + "서울 게이트웨이".encode("cp949")


async def library(port: int, *, timeout: float = 0.5) -> AsyncApi:  # noqa: ASYNC109 - its word
    return await async_connect("127.0.0.1", "edged", "secret", port=port, timeout=timeout)


async def library_asks(api: AsyncApi, command: str = "/system/resource/print") -> list[object]:
    return [row async for row in api(command)]


async def library_close(api: AsyncApi) -> None:
    api.protocol.transport.writer.transport.abort()
    await asyncio.sleep(0)


def answering(*sentences: tuple[str | bytes, ...]) -> Script:
    """Answer each command with these sentences, without tags to the library, with them to us."""

    async def script(connection: Connection) -> None:
        await connection.hear_login()
        while True:
            words = await connection.hear()
            for sentence in sentences:
                connection.say(*sentence, to=words)

    return script


async def test_a_command_is_sent_only_when_its_reply_is_iterated() -> None:
    async with scripted_router(answering(("!done",))) as router:
        api = await library(router.port)
        api("/system/resource/print")
        await asyncio.sleep(0.01)
        assert len(router.heard) == 1, "only the login"
        await library_close(api)
        async with opened(target(router.port)) as session:
            await session.ask(RESOURCE)
        assert router.heard[-1][0] == "/system/resource/print"


async def test_a_tagged_reply_raises_inside_the_library() -> None:
    async with scripted_router(answering(("!re", "=version=7.16", ".tag=x"), ("!done",))) as router:
        api = await library(router.port)
        with pytest.raises(ValueError, match="unpack"):
            await library_asks(api)
        await library_close(api)
    async with scripted_router(answering(("!re", "=version=7.16"), ("!done",))) as router:
        async with opened(target(router.port)) as session:
            reply = await session.ask(RESOURCE)
        assert reply.rows == ({"version": "7.16"},)
        assert router.heard[-1][-1] == ".tag=1"


async def test_after_a_time_out_the_library_hands_the_old_answer_to_the_next_command() -> None:
    async def late(connection: Connection) -> None:
        await connection.hear_login()
        first = await connection.hear()
        second = await connection.hear()
        connection.say("!re", "=answer=to the first", to=first)
        connection.say("!done", to=first)
        connection.say("!done", to=second)
        await hang(connection)

    async with scripted_router(late) as router:
        api = await library(router.port, timeout=0.03)
        with pytest.raises(TimeoutError):
            await library_asks(api)
        assert await library_asks(api, "/ip/route/print") == [{"answer": "to the first"}]
        await library_close(api)
        async with opened(target(router.port), deadline_ms=30) as session:
            with pytest.raises(RouterUncertain):
                await session.ask(RESOURCE)
            assert not session.usable


async def test_the_librarys_time_out_is_for_each_sentence_and_ours_for_the_whole() -> None:
    async def dripping(connection: Connection) -> None:
        await connection.hear_login()
        words = await connection.hear()
        for number in range(8):
            connection.say("!re", f"=n={number}", to=words)
            await asyncio.sleep(0.01)
        connection.say("!done", to=words)
        await hang(connection)

    async with scripted_router(dripping) as router:
        api = await library(router.port, timeout=0.04)
        assert len(await library_asks(api)) == 8, "80 ms under a time-out of 40"
        await library_close(api)
        async with opened(target(router.port), deadline_ms=40) as session:
            with pytest.raises(RouterUncertain):
                await session.ask(RESOURCE)


async def test_the_librarys_close_waits_for_ever_and_ours_never() -> None:
    async with scripted_router(hang) as router:
        reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
        writer.write(b"x" * 20_000_000)  # more than the other side, which never reads, can take
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await AsyncSocketTransport(reader, writer).close()
        writer.transport.abort()
        await asyncio.sleep(0)
    deaf = answering_nothing
    async with scripted_router(deaf) as router, opened(target(router.port)) as session:
        session._protocol.transport.writer.write(b"x" * 20_000_000)
        session.abort()
        async with asyncio.timeout(0.03):
            await session._protocol.transport.close()
        assert not session.usable


async def test_the_library_casts_values_and_we_keep_text() -> None:
    row = ("!re", "=comment=yes", "=gateway=10", "=x=", "=y=a=b")
    async with scripted_router(answering(row, ("!done",))) as router:
        api = await library(router.port)
        assert await library_asks(api) == [{"comment": True, "gateway": 10, "x": "", "y": "a=b"}]
        await library_close(api)
        async with opened(target(router.port)) as session:
            reply = await session.ask(RESOURCE)
        assert reply.rows == ({"comment": "yes", "gateway": "10", "x": "", "y": "a=b"},)


async def test_the_library_drops_bytes_and_we_return_them_as_they_came() -> None:
    async with scripted_router(answering(("!re", COMMENT_CP949), ("!done",))) as router:
        api = await library(router.port)
        (row,) = await library_asks(api)
        assert isinstance(row, dict)
        assert "서울" not in str(row["comment"])
        await library_close(api)
        async with opened(target(router.port)) as session:
            reply = await session.ask(RESOURCE)
            comment = reply.rows[0]["comment"]
            await session.ask(request("v6_ip_set_comment", {".id": "*1", "comment": comment}))
        sent = next(word for word in router.heard[-1] if word.startswith("=comment="))
        assert sent.encode("utf-8", "surrogateescape") == COMMENT_CP949


async def test_a_trap_with_an_unknown_word_is_a_type_error_there_and_a_refusal_here() -> None:
    trap = ("!trap", "=message=no such item", "=code=77")
    async with scripted_router(answering(trap, ("!done",))) as router:
        api = await library(router.port)
        with pytest.raises(TypeError):
            await library_asks(api)
        await library_close(api)
        async with opened(target(router.port)) as session:
            with pytest.raises(TrapRefused) as caught:
                await session.ask(RESOURCE)
            assert caught.value.refusal is Refusal.NO_SUCH_ITEM
            assert session.usable


async def test_a_trap_without_a_message_is_a_refusal_too() -> None:
    async with scripted_router(answering(("!trap",), ("!done",))) as router:
        api = await library(router.port)
        with pytest.raises(TypeError):
            await library_asks(api)
        await library_close(api)
        async with opened(target(router.port)) as session:
            with pytest.raises(TrapRefused, match="without a message"):
                await session.ask(RESOURCE)


@pytest.mark.parametrize("reason", [(), ("session terminated on request",)])
async def test_a_fatal_is_an_index_error_there_and_uncertain_here(reason: tuple[str, ...]) -> None:
    async with scripted_router(answering(("!fatal", *reason))) as router:
        if not reason:
            api = await library(router.port)
            with pytest.raises(IndexError):
                await library_asks(api)
            await library_close(api)
        async with opened(target(router.port)) as session:
            with pytest.raises(RouterUncertain, match="ended the session"):
                await session.ask(RESOURCE)
            assert not session.usable


async def test_an_empty_sentence_is_an_index_error_there_and_nothing_here() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        words = await connection.hear()
        connection.say_raw(b"\x00\x00")
        connection.say("!done", to=words)
        await hang(connection)

    async with scripted_router(script) as router:
        api = await library(router.port)
        with pytest.raises(IndexError):
            await library_asks(api)
        await library_close(api)
        async with opened(target(router.port)) as session:
            assert (await session.ask(RESOURCE)).rows == ()


async def test_the_library_waits_for_a_word_of_any_size_and_we_do_not() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        await connection.hear()
        connection.say_raw(b"\x03!re" + (0xEFFFFFFF).to_bytes(4, "big"))
        await hang(connection)

    async with scripted_router(script) as router:
        api = await library(router.port, timeout=0.03)
        with pytest.raises(TimeoutError):
            await library_asks(api)
        await library_close(api)
        async with opened(target(router.port)) as session:
            with pytest.raises(RouterProtocolError, match="longer than"):
                await session.ask(RESOURCE)


async def test_the_library_logs_the_password_and_we_do_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted_router(answering(("!done",))) as router:
        api = await library(router.port)
        await library_close(api)
        assert "secret" in caplog.text
        caplog.clear()
        async with opened(target(router.port)) as session:
            await session.ask(RESOURCE)
        assert "secret" not in caplog.text


async def test_the_library_sends_the_password_before_anybody_can_look_at_the_certificate() -> None:
    server, client, _ = issued_by_a_test_ca("127.0.0.1")

    async with scripted_router(answering(("!done",)), context=server) as router:
        api = await async_connect(
            "127.0.0.1", "edged", "secret", port=router.port, ssl_wrapper=client
        )
        assert "=password=secret" in router.heard[0]
        await library_close(api)
        router.connections.clear()
        pinned = target(router.port, tls=TlsMode.PIN, fingerprint="sha256:" + "0" * 64)
        with pytest.raises(RouterLoginRefused, match="pinned"):
            async with opened(pinned):
                pass
        assert router.heard == []


async def test_a_cancellation_in_the_same_turn_as_the_answer_is_not_swallowed() -> None:
    """On Python 3.11 `wait_for`, which the library reads under, returns the answer instead."""
    async with scripted_router(answering_nothing) as router, opened(target(router.port)) as session:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(session.ask(RESOURCE))
            await asyncio.sleep(0.01)
            session._protocol.transport.reader.feed_data(encode("!done", ".tag=1"))
            task.cancel()
        assert task.cancelled()
        assert not session.usable


async def answering_nothing(connection: Connection) -> None:
    await connection.hear_login()
    await hang(connection)
