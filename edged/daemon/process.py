"""The process: from a configuration file to a running agent, and orderly back.

Start: configuration, store, routers, probes, READY. SIGHUP reloads, SIGTERM ends within three
seconds and leaves every route as the last complete step left it. A bug ends the process with
exit code 70 and leaves the route, too.
"""

import asyncio
import gc
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import edged
from edged.config.apart import Loading, load_apart
from edged.config.errors import ConfigErrors
from edged.config.loaded import Loaded
from edged.config.types import Config
from edged.core.errors import CommandRefused
from edged.core.events import Event, event
from edged.core.types import Drain, FrozenReason, Pause
from edged.daemon.agent import Agent
from edged.daemon.alerting import AlertDesk, desk_of
from edged.daemon.conversion import core_config
from edged.daemon.keeping import Keeper, monotonic_at
from edged.daemon.pages import Pages
from edged.daemon.verbs import Verbs
from edged.store.sqlite import Store
from edged.store.values import Notice, NoticeKind, Persisted, SavedDrain, SavedPause
from edged.system import clock
from edged.system.locks import held
from edged.system.logging import LogFormat, Logging, LogLevel
from edged.system.redaction import Redactor
from edged.system.sdnotify import Notifier, Watchdog, watchdog_ms
from edged.web.control import ControlServer

if TYPE_CHECKING:
    from edged.daemon.cluster import ClusterLink

EXIT_FINE: Final = 0
LEVEL_EXITS: Final = {"fine": EXIT_FINE, "degraded": 3, "critical": 4}
"""What `run --once` and `status --check` end with (design 11)."""
ONCE_VERDICTS_MS: Final = 5_000
ONCE_RECONCILE_MS: Final = 5_000
LAST_STEP_S: Final = 1.5
"""How long a command in flight may take at the end; the whole exit stays under three seconds."""
STATE_FILE: Final = "edged.sqlite3"
WATCHDOG_MS: Final = 10_000
"""Without a service manager the watchdog still ends a wedged process; its interval."""
FEED_S: Final = 0.5


class Process:
    """One run of the daemon."""

    def __init__(
        self,
        loaded: Loaded,
        environ: Mapping[str, str],
        config_path: Path | None,
    ) -> None:
        self.loaded = loaded
        self.config_path = config_path
        self.base: Config = loaded.config
        self.started_with: Config = loaded.config
        """What is chosen once at the start is as it stands here, until a restart."""
        self.config: Config = loaded.config
        """The base with the gateways that the cluster told of."""
        self.cluster: ClusterLink | None = None
        self.environ = environ
        self.redactor = Redactor()
        self.logging = Logging(
            wanted=LogFormat(self.config.log.format.value),
            level=LogLevel(self.config.log.level.value),
            redactor=self.redactor,
        )
        self.notifier = Notifier(environ)
        self.rng = random.Random()  # noqa: S311 - jitter, not secrets
        self.stop = asyncio.Event()
        self.verbs: Verbs | None = None
        self.pages: Pages | None = None
        self.desk: AlertDesk | None = None
        self.reason = "asked"
        self._bug: Exception | None = None
        self.started = self.config_read = clock.wall()
        self.started_ms = clock.monotonic_ms()

    async def run(self, *, once: bool) -> int:
        """Take the state directory, open the store, start everything, wait for the end."""
        with held(self.config.state_dir):
            return await self._run(once=once)

    async def _run(self, *, once: bool) -> int:
        path = self.config.state_dir / STATE_FILE if self.config.state_dir is not None else None
        store = await Store.open(path)
        persisted = await store.load()
        self.keeper = Keeper(store)
        self._link_cluster(store, persisted)
        self._configure()
        self.agent = Agent(
            self.config,
            self.wanted,
            publish=self._publish,
            rng=self.rng,
            redact=self.redactor.hide,
        )
        self.verbs = verbs = Verbs(self, store, persisted)
        self.desk = desk_of(self, store, persisted)
        self.pages = pages = Pages(self, store)
        self.agent.watcher = pages
        self.keeper.on_kept(pages.kept)
        store.on_notice(self._store_notice)
        try:
            self._started_event(once=once)
            self._take_over(persisted)
            return await self._run_once(verbs) if once else await self._run_until_stopped(verbs)
        finally:
            self.keeper.close()
            await store.close()
            self.logging.close()

    def _started_event(self, *, once: bool) -> None:
        mode = f"{self.config.mode.value}{', once' if once else ''}"
        self._tell(
            event(
                "daemon.started",
                clock.monotonic_ms(),
                version=edged.__version__,
                mode=mode,
                config=self.loaded.source,
                pid=os.getpid(),
            )
        )

    def _publish(self, happened: Event, at: datetime) -> None:
        kept = self.keeper.publish(happened, at)
        if self.desk is not None:
            self.desk.noticed(happened, kept.seq if kept is not None else None)
        if self.verbs is not None:
            self.verbs.noticed(happened)
        if self.pages is not None:
            self.pages.noticed(happened, at)
        if self.cluster is not None:
            self.cluster.noticed(happened)

    # --- the cluster

    def _link_cluster(self, store: Store, persisted: Persisted) -> None:
        if self.base.kubernetes.enabled:
            # Time and memory only for those who asked for it.
            from edged.daemon.cluster import ClusterLink  # noqa: PLC0415

            self.cluster = ClusterLink(self, store, persisted.gateways)

    def _configure(self) -> None:
        """Make what the agent takes of the base and of what the cluster told."""
        cluster = self.cluster
        if cluster is None:
            self.config = self.base
            self.wanted = core_config(self.config, self.rng)
            return
        self.config = cluster.with_discovered(self.base)
        self.wanted = core_config(self.config, self.rng, uncounted=cluster.uncounted)

    def apply_discovery(self) -> None:
        """Take the gateways that the cluster shows now; streaks are kept."""
        self._configure()
        self.agent.reconfigure(self.config, self.wanted)
        self._reconfigure_desk()

    def _reconfigure_desk(self) -> None:
        if self.desk is not None:
            self.desk.reconfigure(self.config, self.wanted)

    def later(self, work: Callable[[], Awaitable[object]]) -> None:
        """Have something kept on disk without waiting for it."""
        assert self.verbs is not None
        self.verbs.later(work)

    def _tell(self, *events: Event) -> None:
        self.agent.emit(events)

    def _take_over(self, persisted: Persisted) -> None:
        """Apply what people asked for before this start."""
        for notice in persisted.notices:
            self._store_notice(notice)
        if persisted.must_pause:
            self.agent.command(Pause(owner="edged: drains and pause could not be read"))
        elif persisted.pause is not None:
            self._restore_pause(persisted.pause)
        known = {gateway.name for gateway in self.config.gateways}
        for drain in persisted.drains:
            if drain.gateway in known:
                self._restore_drain(drain)

    def _restore_pause(self, pause: SavedPause) -> None:
        until_ms = monotonic_at(pause.until) if pause.until is not None else None
        if until_ms is None or until_ms > clock.monotonic_ms():
            self.agent.command(Pause(owner=pause.owner, until_ms=until_ms))

    def _restore_drain(self, drain: SavedDrain) -> None:
        until_ms = monotonic_at(drain.until) if drain.until is not None else None
        if until_ms is None or until_ms > clock.monotonic_ms():
            self.agent.command(
                Drain(
                    gateway=drain.gateway,
                    owner=drain.owner,
                    reason=drain.reason,
                    until_ms=until_ms,
                    force=drain.force,
                )
            )

    def _store_notice(self, notice: Notice) -> None:
        name = "store.recovered" if notice.kind is NoticeKind.RECOVERED else "store.degraded"
        self._tell(event(name, clock.monotonic_ms(), detail=notice.detail))

    # --- the long run

    async def _run_until_stopped(self, verbs: Verbs) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._broke)
        loop.add_signal_handler(signal.SIGTERM, self._end, "SIGTERM")
        loop.add_signal_handler(signal.SIGINT, self._end, "SIGINT")
        control = ControlServer(verbs, self.config.control_socket)
        await control.start()
        watchdog = Watchdog(self.notifier, interval_ms=watchdog_ms(self.environ) or WATCHDOG_MS)
        watchdog.start()
        try:
            async with asyncio.TaskGroup() as group:
                loop.add_signal_handler(
                    signal.SIGHUP, lambda: group.create_task(self._hung_up(), name="reload")
                )
                self.agent.start(group)
                self._start_cluster(group)
                group.create_task(self._feed(watchdog), name="watchdog")
                group.create_task(self._announce_ready(), name="ready")
                group.create_task(verbs.keep_forever(), name="keeping")
                if self.desk is not None:
                    group.create_task(self.desk.run(group), name="alerts")
                self._start_pages(group)
                await self.stop.wait()
                self.notifier.stopping("finishing the step in flight")
                self._tell_stopped()
                if self.desk is not None:
                    self.desk.close()
                verbs.close()
                self.keeper.close()
                self.agent.close()
                await self.agent.ended(LAST_STEP_S)
                await self._close_cluster()
        finally:
            watchdog.close()
            await control.stop()
        if self._bug is not None:
            raise self._bug
        return EXIT_FINE

    def _start_pages(self, group: asyncio.TaskGroup) -> None:
        if self.pages is not None:
            self.pages.start(group)

    def _start_cluster(self, group: asyncio.TaskGroup) -> None:
        if self.cluster is not None:
            self.cluster.start(group)

    async def _close_cluster(self) -> None:
        """After the last step: who takes the lease must not meet a writer."""
        if self.cluster is not None:
            await self.cluster.close()

    def _broke(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A callback raised: a bug of ours ends the process, and the route stays as it is."""
        loop.default_exception_handler(context)
        found = context.get("exception")
        if isinstance(found, Exception) and not isinstance(found, OSError):
            self._bug = found
            self._end("a bug")

    def _end(self, reason: str) -> None:
        self.reason = reason
        self.stop.set()

    async def _hung_up(self) -> None:
        """Reload; a refused file is said, and edged goes on with what it has."""
        self.notifier.reloading()
        try:
            await self.reload()
        except CommandRefused as refused:
            self.notifier.ready(f"reload refused: {refused}")
        else:
            self.notifier.ready(self.status_line())

    def _tell_stopped(self) -> None:
        decision = self.agent.decide()
        left = [f"{d.vip} on {d.router}" for d in decision.routes if d.plan]
        self._tell(
            event(
                "daemon.stopped",
                clock.monotonic_ms(),
                reason=self.reason,
                uptime_ms=clock.monotonic_ms() - self.started_ms,
                left=", ".join(left) or "nothing",
            )
        )

    async def _feed(self, watchdog: Watchdog) -> None:
        """Vouch for the loop as long as turns are taken: a turn happens at least once a second."""
        turns, line = -1, ""
        while not self.stop.is_set():
            if self.agent.turns != turns:
                turns = self.agent.turns
                watchdog.feed()
            if self.status_line() != line:
                line = self.status_line()
                self.notifier.status(line)
            try:
                async with asyncio.timeout(FEED_S):
                    await self.stop.wait()
            except TimeoutError:
                continue

    async def _announce_ready(self) -> None:
        """Say READY after the first route read; then freeze what lives for ever."""
        while not self.stop.is_set():
            await self.agent.next_turn()
            routes = [(d.router, d.vip) for d in self.agent.decide().routes]
            if any(self.agent.engine.own_rows(*route) is not None for route in routes):
                break
        gc.collect()
        gc.freeze()
        self.notifier.ready(self.status_line())

    def status_line(self) -> str:
        """Return the one line a service manager shows."""
        parts = []
        for decision in self.agent.engine.decide(clock.monotonic_ms()).routes:
            frozen = f", frozen: {decision.frozen[0].reason}" if decision.frozen else ""
            count = f"{len(decision.observed)} in route"
            parts.append(f"{decision.vip} on {decision.router}: {count}{frozen}")
        return "; ".join(parts)

    # --- one run

    async def _run_once(self, verbs: Verbs) -> int:
        """Probe until every gateway has a verdict, reconcile once, say how things are."""
        async with asyncio.TaskGroup() as group:
            self.agent.start(group)
            self._start_cluster(group)
            await self._within(ONCE_VERDICTS_MS, self._judged)
            await self._within(ONCE_RECONCILE_MS, self._reconciled)
            self.agent.close()
            await self.agent.ended(LAST_STEP_S)
            await self._close_cluster()
        return LEVEL_EXITS[str((await verbs.status())["level"])]

    async def _within(self, limit_ms: int, done: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(limit_ms / 1_000):
                while not done():
                    await self.agent.next_turn()
        except TimeoutError:
            return

    def _judged(self) -> bool:
        gateways = self.agent.engine.gateways(clock.monotonic_ms())
        decision = self.agent.decide()
        warm = all(
            frozen.reason is not FrozenReason.WARM_UP
            for route in decision.routes
            for frozen in route.frozen
        )
        return warm and all(
            g.verdict is not None or (g.passing and not g.progress) for g in gateways
        )

    def _reconciled(self) -> bool:
        decision = self.agent.decide()
        return not any(route.plan for route in decision.routes) and all(
            self.agent.engine.own_rows(route.router, route.vip) is not None
            for route in decision.routes
        )

    # --- reload

    async def reload(self) -> tuple[list[str], list[str]]:
        """Take a new configuration file; an invalid one changes nothing.

        Returns:
            The keys that changed and are in force, and those that need a restart.

        Raises:
            CommandRefused: the file is invalid; the text is every error.
        """
        from edged.config.diff import diff  # noqa: PLC0415 - needed only here

        try:
            fresh = await asyncio.to_thread(load_apart, self.config_path, self.environ)
        except ConfigErrors as errors:
            self._tell(
                event("config.rejected", clock.monotonic_ms(), errors=errors.render()),
            )
            raise CommandRefused(errors.render()) from errors
        live = [change.key for change in diff(self.base, fresh.config) if change.live]
        later = [change.key for change in diff(self.started_with, fresh.config) if not change.live]
        self.loaded, self.base, self.config_read = fresh, fresh.config, clock.wall()
        if self.cluster is not None:
            self.cluster.reconfigure(self.base)
        self.logging.set_level(LogLevel(fresh.config.log.level.value))
        self._configure()
        self.agent.reconfigure(self.config, self.wanted)
        self._reconfigure_desk()
        self._tell(
            event(
                "config.reloaded",
                clock.monotonic_ms(),
                changed=tuple(live),
                needs_restart=tuple(later),
            )
        )
        return live, later

    @property
    def host(self) -> str:
        """Return this machine's name."""
        return socket.gethostname()


def run_daemon(
    *,
    config_path: Path | None,
    once: bool,
    environ: Mapping[str, str],
    loading: Loading | None = None,
) -> int:
    """Load the configuration and run; see `edged.daemon.run`.

    `loading` is one of this configuration that has begun before.
    """
    loaded = (loading or Loading(config_path, environ)).result()

    async def main() -> int:
        return await Process(loaded, environ, config_path).run(once=once)

    with asyncio.Runner() as runner:
        return runner.run(main())
