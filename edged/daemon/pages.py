"""The wiring of the read-only server: what it shows, and where that comes from.

Carries events, probes and reads to the page's memory and to the metrics. Decides nothing, and
nothing waits for it: with the port taken edged goes on, says so, and tries again.
"""

import asyncio
import contextlib
import platform
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edged.core.errors import StoreError
from edged.core.events import Event, Severity
from edged.core.types import ProbeResult, RouteRead
from edged.store.sqlite import Store
from edged.store.values import StoredEvent
from edged.system import clock
from edged.system.logging import get_logger
from edged.web.documents import Document
from edged.web.metrics import Metrics, Snapshot
from edged.web.server import WebServer, WebServerError, WebSettings, host_names
from edged.web.watch import DAY_MS, Picture, Watch

if TYPE_CHECKING:
    from edged.config.types import ListenAddress
    from edged.daemon.process import Process

AGAIN_S: Final = 10.0
"""How soon a port that was taken is tried again."""

LAG_S: Final = 0.5
LAGS: Final = 120
"""One minute of looks at how late the loop is."""

DEAD_MS: Final = 5_000
"""A turn happens at least once a second."""

PAST_MAX: Final = 2_000
"""Eight milliseconds of the loop, while edged still only looks."""


class Pages:
    """The read-only server of one daemon; also its `WebApi`."""

    def __init__(self, process: "Process", store: Store) -> None:
        self._process = process
        self._store = store
        self._watch = Watch()
        self._metrics = Metrics(started_s=process.started.timestamp())
        self._server: WebServer | None = None
        self._gateways: dict[str, str] = {}
        self._reads: dict[tuple[str, str], int] = {}
        self._changes: dict[str, int] = {}
        self._lags: deque[int] = deque(maxlen=LAGS)
        self._turns, self._turned_ms = -1, clock.monotonic_ms()
        self.configured()

    # --- what happens

    def configured(self) -> None:
        """Take the configuration as it is now."""
        wanted = self._process.wanted
        self._gateways = {check.key: check.gateway for check in wanted.checks}
        self._metrics.begin(
            [(vip.name, vip.routers) for vip in wanted.vips], self._gateways.values()
        )

    def noticed(self, happened: Event, at: datetime) -> None:
        """Count one event, kept or not."""
        self._metrics.event(happened, at.timestamp())

    def kept(self, stored: StoredEvent) -> None:
        """Take one event that people are shown."""
        self._watch.event(stored.document())
        if stored.name == "route.changed":
            self._changes[str(stored.fields.get("vip"))] = _wall_ms(stored.at)
        if stored.name == "config.reloaded":
            self.configured()
            self._speak()
        if self._server is not None:
            self._server.changed()

    def probe_finished(self, result: ProbeResult) -> None:
        """Take one probe."""
        gateway = self._gateways.get(result.check, result.check)
        self._watch.probe(gateway, result, _wall_ms(clock.wall()))
        self._metrics.probe(gateway, result)

    def route_read(self, read: RouteRead) -> None:
        """Take one look at a route."""
        at_ms = _wall_ms(clock.wall())
        self._watch.read(read, at_ms)
        self._reads[read.router, read.vip] = at_ms

    # --- life

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start in `group` what serves until the daemon ends."""
        group.create_task(self._look(), name="loop lag")
        group.create_task(self._serve(), name="pages")

    async def _serve(self) -> None:
        """Listen, again and again if need be, until the daemon ends."""
        await self._remember()
        listen, told = self._process.config.web.listen, False
        while listen is not None and not self._process.stop.is_set():
            server = WebServer(self, self._metrics, self._settings(listen))
            try:
                await server.start()
            except WebServerError as error:
                if not told:
                    told = True
                    get_logger().warning("web.unavailable", detail=str(error))
                await self._stopped_within(AGAIN_S)
                continue
            get_logger().info("web.listening", host=listen.host, port=server.port)
            self._server = server
            try:
                await self._process.stop.wait()
            finally:
                self._server = None
                await server.stop()

    async def _stopped_within(self, limit_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._process.stop.wait()

    def _speak(self) -> None:
        """Take what of the page's settings needs no restart."""
        listen = self._process.config.web.listen
        if self._server is not None and listen is not None:
            self._server.take(self._settings(listen))

    def _settings(self, listen: "ListenAddress") -> WebSettings:
        config = self._process.config
        host = self._process.host
        return WebSettings(
            host=listen.host,
            port=listen.port,
            names=host_names([config.web.public_url], [host, host.partition(".")[0]]),
            language=config.language.value,
            zone=zone_of(config.timezone),
        )

    async def _remember(self) -> None:
        """Take what the store kept of the last day."""
        since = clock.wall() - timedelta(milliseconds=DAY_MS)
        with contextlib.suppress(StoreError, TimeoutError):
            found = await self._store.events(since=since, limit=PAST_MAX)
            self._watch.past([stored.document() for stored in found])

    async def _look(self) -> None:
        """Measure how late the loop is, and whether the core takes turns."""
        while not self._process.stop.is_set():
            due_ms = clock.monotonic_ms() + round(LAG_S * 1_000)
            await self._stopped_within(LAG_S)
            now_ms = clock.monotonic_ms()
            self._lags.append(max(0, now_ms - due_ms))
            if self._turns != self._process.agent.turns:
                self._turns, self._turned_ms = self._process.agent.turns, now_ms

    # --- what the server asks

    async def status(self) -> Document:
        """Return `edged.status/v1`."""
        assert self._process.verbs is not None
        return await self._process.verbs.status()

    async def events(
        self,
        *,
        since: datetime | None,
        after_seq: int,
        limit: int,
        names: tuple[str, ...],
        gateway: str | None,
        vip: str | None,
        incident: str | None,
        min_severity: Severity,
    ) -> Document:
        """Return the newest events that match, oldest first."""
        assert self._process.verbs is not None
        return await self._process.verbs.events(
            since=since,
            after_seq=after_seq,
            limit=limit,
            names=names,
            gateway=gateway,
            vip=vip,
            incident=incident,
            min_severity=min_severity,
        )

    async def picture(self) -> Picture:
        """Return what the page is made of."""
        return self._watch.picture(await self.status(), _wall_ms(clock.wall()))

    async def snapshot(self) -> Snapshot:
        """Return what a scrape shows of the present."""
        return Snapshot(
            document=await self.status(),
            python=platform.python_version(),
            reads=dict(self._reads),
            changes=dict(self._changes),
            certificates=dict(self._certificates()),
            bgp=tuple(self._bgp()),
            watches=tuple(self._watches()),
            channels=tuple(self._channels()),
            loop_lag_ms=max(self._lags, default=0),
        )

    def _certificates(self) -> Iterator[tuple[str, float]]:
        """Yield when each gateway's certificate runs out; of several checks the first to."""
        soonest: dict[str, float] = {}
        for check, facts in self._process.agent.certificates.known.items():
            gateway = self._gateways.get(check)
            if gateway is not None:
                expiry_s = facts.not_after.timestamp()
                soonest[gateway] = min(expiry_s, soonest.get(gateway, expiry_s))
        yield from soonest.items()

    def _bgp(self) -> Iterator[tuple[str, str, bool]]:
        engine = self._process.agent.engine
        for session in engine.bgp_sessions():
            if engine.bgp_read_ms(session.router) is not None:
                yield session.router, session.gateway, session.established

    def _watches(self) -> Iterator[tuple[str, bool]]:
        cluster = self._process.cluster
        if cluster is not None:
            for kind, watcher in cluster.monitor.watchers():
                yield kind, watcher.synced

    def _channels(self) -> Iterator[tuple[str, int, int]]:
        desk = self._process.desk
        if desk is not None:
            for name, _ in desk.states():
                yield name, desk.pending_for(name), desk.oldest_ms(name)

    def alive(self) -> str:
        """Say what is wrong with the loop; nothing if it turns."""
        silent_ms = clock.monotonic_ms() - self._turned_ms
        return "" if silent_ms < DEAD_MS else f"no turn of the core for {silent_ms} ms"

    def ready(self) -> str:
        """Say what has not been read yet; nothing once a route was read."""
        engine = self._process.agent.engine
        routes = [(d.router, d.vip) for d in engine.decide(clock.monotonic_ms()).routes]
        if any(engine.own_rows(*route) is not None for route in routes):
            return ""
        return f"not read yet: {', '.join(f'{vip} on {router}' for router, vip in routes)}"


def zone_of(name: str | None) -> tzinfo:
    """Return a configured time zone; without one, the system's as it is now."""
    if name is not None:
        with contextlib.suppress(ZoneInfoNotFoundError, ValueError):
            return ZoneInfo(name)
    return clock.wall().astimezone().tzinfo or UTC


def _wall_ms(at: datetime) -> int:
    return round(at.timestamp() * 1_000)
