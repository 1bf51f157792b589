"""A sink that writes down what it is told, and a bench that runs probes against one gateway."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from edged.core.types import ProbeDepth, ProbeKind, ProbeRequest, ProbeResult, ProbeTiming
from edged.probes.runner import ProbeRunner
from edged.probes.target import Target
from edged.system import clock
from tests.support.certificates import SERVER_NAME

WAIT_S: Final = 5.0
CHECK: Final = "node1"
QUICK: Final = ProbeTiming(heartbeat_interval_ms=20, heartbeat_deadline_ms=40)
"""Heartbeats so frequent that no test waits long."""


@dataclass(frozen=True, slots=True)
class Told:
    """One call of the sink: its name and what it was given, without the time."""

    name: str
    args: tuple[object, ...]


@dataclass
class RecordingSink:
    """Implements `ProbeSink`; `hook`, if set, runs inside of each call."""

    told: list[Told] = field(default_factory=list)
    results: list[ProbeResult] = field(default_factory=list)
    hook: Callable[[Told], None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def _note(self, name: str, *args: object) -> None:
        told = Told(name, args)
        self.told.append(told)
        self._changed.set()
        if self.hook is not None:
            self.hook(told)

    def names(self) -> list[str]:
        """Return the names of all calls in order."""
        return [told.name for told in self.told]

    async def until(self, fulfilled: Callable[[], bool]) -> None:
        """Wait until what was told fulfils a condition."""
        async with asyncio.timeout(WAIT_S):
            while not fulfilled():
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, name: str, *, times: int = 1) -> None:
        """Wait until `name` was called so often."""
        await self.until(lambda: self.names().count(name) >= times)

    def probe_started(self, probe_id: int, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms > 0
        self._note("probe_started", probe_id)

    def probe_connected(self, probe_id: int, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms > 0
        self._note("probe_connected", probe_id)

    def probe_finished(self, result: ProbeResult, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms == result.finished_ms
        self.results.append(result)
        self._note("probe_finished", result.probe_id)

    def held_opened(self, check: str, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms > 0
        self._note("held_opened", check)

    def held_lost(self, check: str, reason: str, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms > 0
        self._note("held_lost", check, reason)

    def held_goaway(self, check: str, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms > 0
        self._note("held_goaway", check)

    def heartbeat_missed(self, check: str, sent_ms: int, now_ms: int) -> None:
        """See `ProbeSink`."""
        self._note("heartbeat_missed", check, now_ms - sent_ms)

    def heartbeat_heard(self, check: str, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms > 0
        self._note("heartbeat_heard", check)

    def heartbeat_unavailable(self, check: str, detail: str, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms > 0
        self._note("heartbeat_unavailable", check, detail)

    def stalled(self, stall_ms: int, now_ms: int) -> None:
        """See `ProbeSink`."""
        assert now_ms > 0
        self._note("stalled", stall_ms)

    def certificate_seen(self, check: str, digest: str, der: bytes) -> None:
        """See `ProbeSink`."""
        self._note("certificate_seen", check, digest, der)


class Bench:
    """A runner with a recording sink."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self.sink = RecordingSink()
        self.runner = ProbeRunner(targets, self.sink)
        self._ids = itertools.count(1)

    def request(
        self,
        depth: ProbeDepth = ProbeDepth.FULL,
        *,
        check: str = CHECK,
        length_ms: int = 250,
    ) -> ProbeRequest:
        """Build a request that starts now."""
        now_ms = clock.monotonic_ms()
        return ProbeRequest(
            probe_id=next(self._ids),
            check=check,
            gateway=check,
            depth=depth,
            kind=ProbeKind.ROUTINE,
            start_ms=now_ms,
            deadline_ms=now_ms + length_ms,
        )

    def start(
        self,
        depth: ProbeDepth = ProbeDepth.FULL,
        *,
        check: str = CHECK,
        length_ms: int = 250,
    ) -> int:
        """Start a probe; return its id."""
        request = self.request(depth, check=check, length_ms=length_ms)
        self.runner.start(request)
        return request.probe_id

    async def result(self, probe_id: int) -> ProbeResult:
        """Wait for a probe's result."""

        def found() -> list[ProbeResult]:
            return [result for result in self.sink.results if result.probe_id == probe_id]

        await self.sink.until(lambda: bool(found()))
        (result,) = found()
        return result

    async def probe(
        self,
        depth: ProbeDepth = ProbeDepth.FULL,
        *,
        check: str = CHECK,
        length_ms: int = 250,
    ) -> ProbeResult:
        """Run one probe to its end."""
        return await self.result(self.start(depth, check=check, length_ms=length_ms))


async def eventually(fulfilled: Callable[[], bool]) -> None:
    """Wait for what another thread or process does."""
    async with asyncio.timeout(WAIT_S):
        while not fulfilled():  # noqa: ASYNC110 - no event reaches this loop
            await asyncio.sleep(0.005)


def target_at(
    port: int,
    *,
    address: str = "127.0.0.1",
    timing: ProbeTiming = QUICK,
    server_name: str = SERVER_NAME,
    path: str = "/.well-known/edged",
) -> Target:
    """Build a target on loopback."""
    return Target(
        address=address,
        port=port,
        server_name=server_name,
        path=path,
        timing=timing,
    )


@asynccontextmanager
async def bench(*targets: Target, **named: Target) -> AsyncIterator[Bench]:
    """Run probes against the given targets; the first one's check is `CHECK`."""
    numbered = {f"node{number}": target for number, target in enumerate(targets, 1)}
    it = Bench(numbered | named)
    try:
        yield it
    finally:
        it.runner.close()
