"""The chat services in a thread of their own, for tests that wait without a loop."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.chat import Chat, chat_server


@contextmanager
def chat_thread() -> Iterator[Chat]:
    """Run the services until the end of the block; what they took may be read from any thread."""
    ready = threading.Event()
    found: list[tuple[Chat, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with chat_server() as chat:
            end = asyncio.Event()
            found.append((chat, asyncio.get_running_loop(), end))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="chat services")
    thread.start()
    assert ready.wait(5)
    chat, loop, end = found[0]
    try:
        yield chat
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
