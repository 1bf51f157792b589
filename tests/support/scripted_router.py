"""A RouterOS API server that says exactly what a test tells it to, right or wrong.

It knows the wire and nothing else. The simulator behaves like a router; this one misbehaves like
none. `tests/adapters/router/test_scripted_router.py` holds it to what it promises.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

RESOURCE_V6 = ("=version=6.49.10 (long-term)", "=uptime=1w4d23h26m9s", "=cpu-load=3")
RESOURCE_V7 = ("=version=7.16 (stable)", "=uptime=3d14h20m55s", "=cpu-load=3")


def encode(*words: str | bytes) -> bytes:
    """Encode one sentence; bytes words go out as they are."""
    frame = b""
    for word in words:
        raw = word if isinstance(word, bytes) else word.encode()
        if len(raw) < 0x80:
            frame += bytes([len(raw)]) + raw
        else:
            frame += (len(raw) | 0x8000).to_bytes(2, "big") + raw
    return frame + b"\x00"


@dataclass
class Connection:
    """One accepted connection, as the script sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[tuple[str, ...]] = field(default_factory=list)

    async def hear(self) -> tuple[str, ...]:
        """Read one sentence."""
        words: list[str] = []
        while True:
            first = (await self.reader.readexactly(1))[0]
            if first == 0:
                self.heard.append(tuple(words))
                return tuple(words)
            length = first
            if first >= 0x80:
                length = (first & 0x3F) << 8 | (await self.reader.readexactly(1))[0]
            raw = await self.reader.readexactly(length)
            words.append(raw.decode("utf-8", "surrogateescape"))

    def say(self, *words: str | bytes, to: Iterable[str] = ()) -> None:
        """Write one sentence, with the tag of the sentence it answers."""
        tags = [word for word in to if word.startswith(".tag=")]
        self.writer.write(encode(*words, *tags))

    def say_raw(self, raw: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(raw)

    def cut(self) -> None:
        """End the connection at once."""
        self.writer.transport.abort()

    async def hear_login(self) -> tuple[str, ...]:
        """Accept whoever comes."""
        words = await self.hear()
        self.say("!done")
        return words


Script = Callable[[Connection], Awaitable[None]]


@dataclass
class ScriptedRouter:
    """A listening script; `connections` are all that were ever accepted."""

    port: int
    connections: list[Connection] = field(default_factory=list)

    @property
    def heard(self) -> list[tuple[str, ...]]:
        """All sentences of all connections."""
        return [words for connection in self.connections for words in connection.heard]


@asynccontextmanager
async def scripted_router(
    script: Script, *, context: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedRouter]:
    """Serve the script on loopback; each connection runs it from the start."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        connection = Connection(reader, writer)
        router.connections.append(connection)
        try:
            await script(connection)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    router = ScriptedRouter(port=server.sockets[0].getsockname()[1])
    try:
        yield router
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # aborted transports close in the next turn


async def hang(_connection: Connection) -> None:
    """Never say anything again."""
    await asyncio.Event().wait()
