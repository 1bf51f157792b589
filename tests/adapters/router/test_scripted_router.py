"""The scripted router itself: what a test tells it to do is what happens on the wire."""

import asyncio

from tests.support.scripted_router import Connection, encode, scripted_router


async def test_it_hears_and_says_sentences_and_copies_the_tag() -> None:
    long = "x" * 200

    async def script(connection: Connection) -> None:
        words = await connection.hear()
        connection.say("!re", f"={long}=", b"\xff", to=words)
        connection.say("!done", to=words)
        await connection.hear()

    async with scripted_router(script) as router:
        reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
        writer.write(encode("/login", f"=name={long}", ".tag=7"))
        expected = b"\x03!re" + b"\x80\xca=" + long.encode() + b"=" + b"\x01\xff\x06.tag=7\x00"
        assert await reader.readexactly(len(expected)) == expected
        assert await reader.readexactly(14) == b"\x05!done\x06.tag=7\x00"
        writer.transport.abort()
        await asyncio.sleep(0)
    assert router.heard[0] == ("/login", f"=name={long}", ".tag=7")


async def test_a_cut_is_a_reset_and_an_ended_script_a_closed_connection() -> None:
    async def script(connection: Connection) -> None:
        await connection.hear_login()
        connection.cut()

    async with scripted_router(script) as router:
        reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
        writer.write(encode("/login"))
        assert await reader.read() in {b"", encode("!done")}
        writer.transport.abort()
        await asyncio.sleep(0)
        assert len(router.connections) == 1
