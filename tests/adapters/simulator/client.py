"""A bare client for the simulator's tests: sentences in, sentences out, nothing clever."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from edged.simulator import ApiServer, SimulatedRouter, User
from edged.simulator.wire import Sentence, SentenceDecoder, encode_sentence

PASSWORD = "correct horse"
USER = User(name="edged", password=PASSWORD)
ADMIN = User(
    name="root", password=PASSWORD, policies=frozenset({"read", "write", "test", "api", "policy"})
)
PATIENCE_S = 5.0
"""How long a test waits for an answer before it has failed."""

DATA = Path(__file__).parents[2] / "data" / "routeros"


def recorded() -> list[dict[str, Any]]:
    """All recorded replies."""
    document = json.loads((DATA / "replies.json").read_text(encoding="utf-8"))
    return cast("list[dict[str, Any]]", document["replies"])


def schema() -> dict[str, Any]:
    """The console grammar per version, as crawled."""
    document = json.loads((DATA / "schema.json").read_text(encoding="utf-8"))
    return cast("dict[str, Any]", document)


def row_of(sentence: Sentence) -> dict[str, str]:
    """The attribute words of a reply."""
    words = [word[1:].partition("=") for word in sentence if word.startswith("=")]
    return {name: value for name, _, value in words}


def rows_of(sentences: Sequence[Sentence]) -> list[dict[str, str]]:
    """The rows among replies."""
    return [row_of(one) for one in sentences if one[0] == "!re"]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._decoder = SentenceDecoder()
        self._waiting: list[Sentence] = []

    async def send(self, *words: str) -> None:
        self.writer.write(encode_sentence(words))
        await self.writer.drain()

    async def read(self) -> Sentence:
        """The next sentence; EOFError when the connection ends before it."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._waiting:
                data = await self.reader.read(65_536)
                if not data:
                    raise EOFError
                self._waiting += self._decoder.feed(data)
        return self._waiting.pop(0)

    async def talk(self, *words: str) -> list[Sentence]:
        """Send a sentence and return its replies up to the end."""
        await self.send(*words)
        replies = [await self.read()]
        while replies[-1][0] not in {"!done", "!fatal"}:
            replies.append(await self.read())
        return replies

    async def rows(self, *words: str) -> list[dict[str, str]]:
        return rows_of(await self.talk(*words))

    async def login(self, name: str = USER.name, password: str = PASSWORD) -> list[Sentence]:
        return await self.talk("/login", f"=name={name}", f"=password={password}")

    async def ended(self) -> bool:
        """Whether the server ends the connection without another word."""
        try:
            await self.read()
        except (EOFError, ConnectionError):
            return True
        return False


@asynccontextmanager
async def connect(port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    """Connect without logging in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def serving(
    version: str = "6.49.10", router: SimulatedRouter | None = None
) -> AsyncIterator[ApiServer]:
    """A server on a free port."""
    router = router or SimulatedRouter(version=version)
    async with ApiServer(router, users=[USER, ADMIN]) as server:
        yield server


@asynccontextmanager
async def session(
    version: str = "6.49.10", router: SimulatedRouter | None = None, user: str = USER.name
) -> AsyncIterator[tuple[Client, ApiServer]]:
    """A server and a client that is logged in."""
    async with serving(version, router) as server, connect(server.port) as client:
        assert await client.login(user) == [("!done",)]
        yield client, server
