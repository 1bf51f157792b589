"""The canary: asks the VIP as a client would, and only tells.

It sees what no probe of a node can: a healthy node that hands requests to a dead one. Each request
has a connection of its own, so that the router's hash spreads them over the nodes. The URL's name
is not looked up: the request goes to the VIP.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from edged.core.events import Event, event
from edged.system import clock

WINDOW: Final = 20
"""Requests that are judged together."""
FAIL_LEAST: Final = 3
FAIL_PERCENT: Final = 15
GOOD_IN_A_ROW: Final = 10
"""So many good ones end it: with one of three nodes dead, ten in a row are hardly luck."""
DEADLINE_S: Final = 4.0
SERVERS_FAULT: Final = 500


@dataclass(slots=True)
class CanaryWatch:
    """What the last requests say; pure."""

    vip: str
    failing_since_ms: int | None = None
    good_in_a_row: int = 0
    results: deque[bool] | None = None

    def observe(self, fault: str, now_ms: int) -> tuple[Event, ...]:
        """Take one result, a fault or nothing; returns what people should hear."""
        results = self.results = self.results or deque(maxlen=WINDOW)
        results.append(not fault)
        self.good_in_a_row = 0 if fault else self.good_in_a_row + 1
        failed = results.count(False)
        percent = failed * 100 // len(results)
        if self.failing_since_ms is None:
            if failed < FAIL_LEAST or percent < FAIL_PERCENT:
                return ()
            self.failing_since_ms = now_ms
            return (
                event(
                    "vip.failing",
                    now_ms,
                    vip=self.vip,
                    failed_percent=percent,
                    probes=len(results),
                    detail=fault or None,
                ),
            )
        if self.good_in_a_row < GOOD_IN_A_ROW:
            return ()
        failed_ms = now_ms - self.failing_since_ms
        self.failing_since_ms = None
        results.clear()
        return (event("vip.recovered", now_ms, vip=self.vip, failed_ms=failed_ms),)


class _Straight(AbstractResolver):
    """Every name is the VIP."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        """Return the VIP."""
        del family
        kind = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        return [
            ResolveResult(
                hostname=host,
                host=self._address,
                port=port,
                family=kind,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is held open."""


class Canary:
    """Asks one VIP at an interval."""

    def __init__(
        self,
        *,
        vip: str,
        address: str,
        url: str,
        interval_ms: int,
        publish: Callable[[Event], None],
    ) -> None:
        self._watch = CanaryWatch(vip=vip)
        self._address = address
        self._url = url
        self._interval_s = interval_ms / 1_000
        self._publish = publish

    async def run(self) -> None:
        """Ask until cancelled."""
        connector = aiohttp.TCPConnector(
            force_close=True, use_dns_cache=False, resolver=_Straight(self._address), limit=1
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        ) as session:
            while True:
                fault = await self._ask(session)
                for one in self._watch.observe(fault, clock.monotonic_ms()):
                    self._publish(one)
                await asyncio.sleep(self._interval_s)

    async def _ask(self, session: aiohttp.ClientSession) -> str:
        """Return what is wrong with one request, or nothing."""
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                session.get(self._url, allow_redirects=False) as response,
            ):
                await response.content.read(1)
                return f"HTTP {response.status}" if response.status >= SERVERS_FAULT else ""
        except TimeoutError:
            return f"no answer within {DEADLINE_S:g} s"
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError):
            return "TLS failed"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__
