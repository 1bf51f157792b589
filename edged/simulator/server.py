"""The simulated router's ports: who may connect, and what a reboot does to connections."""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edged.simulator.faults import Faults
from edged.simulator.router import SimulatedRouter
from edged.simulator.session import Session
from edged.simulator.tls import TlsMode, data_path, make_tls_context
from edged.simulator.users import User

__all__ = ["ApiServer", "TlsMode", "data_path", "make_tls_context"]

STOP_S = 2.0
"""How long stopping waits for sessions that were aborted."""


@dataclass(slots=True, kw_only=True)
class _Listener:
    host: str
    port: int
    tls: ssl.SSLContext | None
    server: asyncio.Server


class ApiServer:
    """Serves one simulated router to any number of sessions.

    `start` may be called more than once, for a plain and a TLS port beside each other.
    """

    def __init__(self, router: SimulatedRouter, users: Iterable[User] = ()) -> None:
        self.router = router
        self.router.users.replace(users)
        self.faults = Faults()
        self.accept_silently = False
        """Whether new connections are taken and then never read."""
        self._listeners: list[_Listener] = []
        self._sessions: set[Session] = set()
        self._all_ended = asyncio.Event()
        self._all_ended.set()
        self._numbers = iter(range(1 << 62))

    async def __aenter__(self) -> Self:
        """Start on a free port of 127.0.0.1, unless started already."""
        if not self._listeners:
            await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def host(self) -> str:
        """Address of the first listener."""
        return self._listeners[0].host

    @property
    def port(self) -> int:
        """Port of the first listener."""
        return self._listeners[0].port

    @property
    def ports(self) -> list[int]:
        """Ports of all listeners, in the order they were started."""
        return [one.port for one in self._listeners]

    @property
    def session_count(self) -> int:
        """Open connections, logged in or not."""
        return len(self._sessions)

    async def no_sessions(self) -> None:
        """Wait until every connection has ended."""
        await self._all_ended.wait()

    async def start(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen; port 0 takes a free one, which a reboot keeps."""
        server = await asyncio.start_server(self._serve, host, port, ssl=tls)
        taken: int = server.sockets[0].getsockname()[1]
        self._listeners.append(_Listener(host=host, port=taken, tls=tls, server=server))

    async def stop(self) -> None:
        """Close the listeners and abort every connection."""
        self._close_listeners()
        self._listeners.clear()
        await self._abort_sessions()

    def drop_connections(self) -> None:
        """Abort every open connection, as a pulled cable with a reset at its end."""
        for session in list(self._sessions):
            session.abort()

    async def reboot(
        self, *, down_s: float = 0.0, version: str | None = None, uptime_s: float = 0.0
    ) -> None:
        """Cut all connections, refuse new ones for a while, and come back with a new uptime.

        Args:
            down_s: Seconds until the ports are open again.
            version: The version that comes back, if another one.
            uptime_s: Uptime at the moment the ports open.
        """
        self._close_listeners()
        await self._abort_sessions()
        await asyncio.sleep(down_s)
        self.router.reboot(version=version, uptime_s=uptime_s)
        for one in self._listeners:
            one.server = await asyncio.start_server(self._serve, one.host, one.port, ssl=one.tls)

    def _close_listeners(self) -> None:
        for one in self._listeners:
            one.server.close()

    async def _abort_sessions(self) -> None:
        self.drop_connections()
        async with asyncio.timeout(STOP_S):
            await self.no_sessions()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = f"session-{next(self._numbers)}"
        session = Session(self.router, self.faults, reader, writer, key=key)
        too_many = len(self._sessions) >= self.router.max_sessions
        self._sessions.add(session)
        self._all_ended.clear()
        try:
            if too_many:
                return
            if self.accept_silently:
                await session.ignore()
            else:
                await session.run()
        finally:
            session.abort()
            self._sessions.discard(session)
            if not self._sessions:
                self._all_ended.set()
