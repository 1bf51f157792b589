"""The agent: carries facts from the sockets to the core, and the core's wishes back.

It decides nothing. Each callback hands a fact to the engine, publishes the events that come back
and asks for a *turn*; a turn, at most one per pass of the event loop, lets time take effect, asks
the engine what it wants and hands that out. State changes never span an await.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Protocol

from edged.config.types import BgpPolicy, Config
from edged.core.bgp import BgpSessions
from edged.core.engine import Engine
from edged.core.errors import RouterError
from edged.core.events import Event
from edged.core.types import (
    Command,
    CoreConfig,
    Decision,
    OpinionRequest,
    OpinionResult,
    PlannedStep,
    ProbeResult,
    RouteRead,
    RouterFacts,
    StepResult,
)
from edged.daemon.certificates import Certificates
from edged.daemon.conversion import (
    probe_targets,
    router_target,
    router_timing,
    watched_checks,
)
from edged.probes.certificate import CertificateFacts, CertificateWatch
from edged.probes.runner import ProbeRunner
from edged.router.bgp import BgpRead
from edged.router.reconcile import RouterClient
from edged.system import clock

LATE_MS: Final = 5
"""A timer this late gives the sockets one more turn before any deadline is believed."""
SUSPEND_MS: Final = 1_000
"""The boot clock this far ahead of the monotonic one: the machine slept."""
WITNESS_DEADLINE_MS: Final = 200
MAX_TIMER_MS: Final = 1_000
"""The longest rest: suspends and a fed watchdog are noticed at least this often."""

Publish = Callable[[Event, datetime], None]


class Watcher(Protocol):
    """Who wants to know of what the core makes no event of; it has to be quick."""

    def probe_finished(self, result: ProbeResult) -> None:
        """A probe has an outcome."""
        ...

    def route_read(self, read: RouteRead) -> None:
        """A router has shown a VIP's rows."""
        ...


class Agent:
    """The engine, the prober and the router clients, wired together."""

    def __init__(
        self,
        config: Config,
        wanted: CoreConfig,
        *,
        publish: Publish,
        rng: random.Random,
        redact: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._publish = publish
        self._rng = rng
        self._redact = redact
        self._timer: asyncio.TimerHandle | None = None
        self._turn_due = False
        self._handed: dict[int, str] = {}
        self._asking: set[tuple[str, str]] = set()
        self._reading: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        self._loops: set[asyncio.Task[None]] = set()
        self._turned = asyncio.Event()
        self._closed = False
        self._slept_ms = clock.boot_ms() - clock.monotonic_ms()
        self.turns = 0
        self.watcher: Watcher | None = None
        self.read_ms: dict[tuple[str, str], int] = {}
        """(router, VIP) to when its rows were read last."""
        self.engine = Engine(wanted, clock.monotonic_ms())
        self.runner = ProbeRunner(
            probe_targets(config, wanted), self, loop=self._loop, clock_us=clock.monotonic_us
        )
        self.clients = {
            router.name: RouterClient(
                router_target(router),
                [vip for vip in wanted.vips if router.name in vip.routers],
                self,
                password=self._password_reader(config, router.name),
                now_us=clock.monotonic_us,
                rng=rng,
                timing=router_timing(router, config.bgp),
                poll_bgp=config.bgp.policy is not BgpPolicy.OFF,
            )
            for router in config.routers
        }
        self.certificates = Certificates()
        self._wanted = wanted
        self._watched = watched_checks(config, wanted)
        self._leaves = CertificateWatch(probe_targets(config, wanted), self._certificate)
        self._learn(wanted)

    def _password_reader(self, config: Config, name: str) -> Callable[[], str]:
        source = next(router.password for router in config.routers if router.name == name)

        def read() -> str:
            secret = source.read().reveal()
            self._redact(secret)
            return secret

        return read

    def _learn(self, wanted: CoreConfig) -> None:
        """Tell each router which addresses may become suspects (design 6.6)."""
        addresses = [gateway.address for gateway in wanted.gateways]
        for client in self.clients.values():
            client.companion.learn(addresses)

    # --- life

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start the router loops in `group` and take the first turn."""
        self._group = group
        self._loops.add(group.create_task(self._leaves.run(), name="certificates"))
        for client in self.clients.values():
            self._loops.add(group.create_task(client.run(), name=f"router {client.name}"))
            second = client.companion.run()
            self._loops.add(group.create_task(second, name=f"router {client.name}, second"))
        self._ask_for_turn()

    def close(self) -> None:
        """End probes and timers at once, and router loops after the command in flight."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for client in self.clients.values():
            client.stop()
            client.companion.stop()
        self._leaves.stop()
        self.runner.close()

    async def ended(self, limit_s: float) -> None:
        """Wait for the router loops to end; a step that takes too long is left uncertain."""
        if self._loops:
            _, late = await asyncio.wait(self._loops, timeout=limit_s)
            for task in late:
                task.cancel()

    def reconfigure(self, config: Config, wanted: CoreConfig) -> None:
        """Take a new configuration of gateways and VIPs; streaks are kept."""
        self.emit(self.engine.configure(wanted, clock.monotonic_ms()))
        self.runner.reconfigure(probe_targets(config, wanted))
        self._leaves.reconfigure(probe_targets(config, wanted))
        self._watched = watched_checks(config, wanted)
        self._wanted = wanted
        for name, client in self.clients.items():
            client.reconfigure([vip for vip in wanted.vips if name in vip.routers])
        self._learn(wanted)
        self._ask_for_turn()

    # --- turns

    def emit(self, events: Iterable[Event]) -> None:
        """Publish events with the wall time at which they happened."""
        for event in events:
            self._publish(event, clock.wall())

    def command(self, command: Command) -> None:
        """Carry out a person's command; raises `CommandRefused`."""
        self.emit(self.engine.command(command, clock.monotonic_ms()))
        self._ask_for_turn()

    def decide(self) -> Decision:
        """Return what the core wants now, with every deadline passed taken into account."""
        now_ms = clock.monotonic_ms()
        self.emit(self.engine.observe_time(now_ms))
        return self.engine.decide(now_ms)

    async def next_turn(self) -> None:
        """Wait until the core has been asked once more: at the next fact, or within a second."""
        self._turned.clear()
        await self._turned.wait()

    def _ask_for_turn(self) -> None:
        if not self._turn_due and not self._closed:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self._closed:
            return
        self.turns += 1
        decision = self.decide()
        for request in decision.probes:
            if request.probe_id not in self._handed:
                self._handed[request.probe_id] = request.check
                self.runner.start(request)
        for opinion in decision.opinions:
            self._ask_opinion(opinion)
        for router in decision.witness_reads:
            self._read_as_witness(router)
        for route in decision.routes:
            if route.plan:
                self.clients[route.router].wake()
        self._arm(decision)
        self._turned.set()

    def _arm(self, decision: Decision) -> None:
        if self._timer is not None:
            self._timer.cancel()
        latest_ms = decision.now_ms + MAX_TIMER_MS
        due_ms = decision.next_deadline_ms
        at_ms = latest_ms if due_ms is None else min(max(due_ms, decision.now_ms + 1), latest_ms)
        self._timer = self._loop.call_at(at_ms / 1_000, self._on_timer, at_ms)

    def _on_timer(self, due_ms: int) -> None:
        self._timer = None
        now_ms = clock.monotonic_ms()
        if now_ms < due_ms:
            self._timer = self._loop.call_at(due_ms / 1_000 + 0.000_5, self._on_timer, due_ms)
            return
        self._notice_suspend(now_ms)
        if now_ms - due_ms > LATE_MS:
            self._loop.call_soon(self._ask_for_turn)
            return
        self._turn_due = True
        self._turn()

    def _notice_suspend(self, now_ms: int) -> None:
        slept_ms = clock.boot_ms() - now_ms
        gap_ms = slept_ms - self._slept_ms
        self._slept_ms = slept_ms
        if gap_ms > SUSPEND_MS:
            self.emit(self.engine.observe_suspend(gap_ms, now_ms))

    # --- what the prober reports

    def writer_changed(self, *, writer: bool, sure: bool) -> None:
        """The Lease says whether this instance writes."""
        self.took(self.engine.observe_writer(clock.monotonic_ms(), writer=writer, sure=sure))

    def took(self, events: tuple[Event, ...]) -> None:
        """Publish what a fact from beside the prober and the routers has caused."""
        self._took(events)

    def _took(self, events: tuple[Event, ...]) -> None:
        self.emit(events)
        self._ask_for_turn()

    def probe_started(self, probe_id: int, now_ms: int) -> None:
        """A SYN or PING has left."""
        self._took(self.engine.observe_probe_started(probe_id, now_ms))

    def probe_connected(self, probe_id: int, now_ms: int) -> None:
        """A SYN-ACK has come."""
        check = self._handed.get(probe_id, "")
        self._took(self.engine.observe_probe_connected(check, probe_id, now_ms))

    def probe_finished(self, result: ProbeResult, now_ms: int) -> None:
        """A probe has an outcome."""
        self._handed.pop(result.probe_id, None)
        self._took(self.engine.observe_probe_finished(result, now_ms))
        if self.watcher is not None:
            self.watcher.probe_finished(result)

    def held_opened(self, check: str, now_ms: int) -> None:
        """A light probe's connection is held."""
        self._took(self.engine.observe_held_opened(check, now_ms))

    def held_goaway(self, check: str, now_ms: int) -> None:
        """The held connection ended in order, or was given up by us."""
        self._took(self.engine.observe_held_closed(check, now_ms))

    def held_lost(self, check: str, detail: str, now_ms: int) -> None:
        """The held connection was lost."""
        self._took(self.engine.observe_held_lost(check, detail, now_ms))

    def heartbeat_missed(self, check: str, sent_ms: int, now_ms: int) -> None:
        """A heartbeat is unanswered."""
        self._took(self.engine.observe_heartbeat_missed(check, sent_ms, now_ms))

    def heartbeat_heard(self, check: str, now_ms: int) -> None:
        """The first answer after a miss."""
        self._took(self.engine.observe_heartbeat_heard(check, now_ms))

    def heartbeat_unavailable(self, check: str, detail: str, now_ms: int) -> None:
        """The gateway refuses HTTP/2."""
        self._took(self.engine.observe_heartbeat_unavailable(check, detail, now_ms))

    def certificate_seen(self, check: str, digest: str, der: bytes) -> None:
        """A leaf that this check has not served last; it is looked at off the hot path."""
        del digest
        if check in self._watched:
            self._leaves.seen(check, der)

    def _certificate(self, check: str, facts: CertificateFacts) -> None:
        self.emit(
            self.certificates.observe(
                check, facts, self._wanted, wall=clock.wall(), now_ms=clock.monotonic_ms()
            )
        )

    def stalled(self, stall_ms: int, now_ms: int) -> None:
        """We were late."""
        self._took(self.engine.observe_stall(stall_ms, now_ms))

    # --- what the router clients report and ask

    def router_up(self, facts: RouterFacts, now_ms: int, /) -> None:
        """A session is open."""
        self._took(self.engine.observe_router_up(facts, now_ms))

    def router_facts(self, facts: RouterFacts, now_ms: int, /) -> None:
        """A later look at uptime and load."""
        self._took(self.engine.observe_router_up(facts, now_ms))

    def router_lost(self, router: str, detail: str, now_ms: int, /, *, login_refused: bool) -> None:
        """The session is gone or refused."""
        events = self.engine.observe_router_lost(
            router, detail, now_ms, login_refused=login_refused
        )
        self._took(events)

    def route_read(self, read: RouteRead, now_ms: int, /) -> None:
        """One VIP's rows."""
        self._took(self.engine.observe_route(read, now_ms))
        self.read_ms[read.router, read.vip] = read.answered_ms
        if self.watcher is not None:
            self.watcher.route_read(read)

    def read_refused(self, router: str, vip: str, detail: str, now_ms: int, /) -> None:
        """One VIP's rows cannot be read."""
        self._took(self.engine.observe_read_refused(router, vip, detail, now_ms))

    def next_step(self, router: str, ready: frozenset[str], now_ms: int, /) -> PlannedStep | None:
        """Return the step to write now, by everything known at this instant."""
        self.emit(self.engine.observe_time(now_ms))
        step = self.engine.next_step(router, now_ms, ready=ready)
        if step is None and self.engine.read_wanted(router, now_ms):
            self.clients[router].wake(read=True)
        return step

    def write_wanted(self, router: str, /) -> bool:
        """Whether only the way to the router holds back a write."""
        return self.engine.write_wanted(router, clock.monotonic_ms())

    def step_finished(self, result: StepResult, now_ms: int, /) -> None:
        """What became of a step."""
        self._took(self.engine.observe_step(result, now_ms))

    def opinion_given(self, result: OpinionResult, now_ms: int, /) -> None:
        """A router's opinion of a suspect."""
        self._asking.discard((result.router, result.gateway))
        self._took(self.engine.observe_opinion(result, now_ms))

    def bgp_read(self, read: BgpRead, now_ms: int, /) -> None:
        """One poll of a router's BGP peers, joined to the gateways by address."""
        names = {g.address: g.name for g in self._wanted.gateways}
        names |= {g.next_hop: g.name for g in self._wanted.gateways}
        sessions = None
        if read.peers is not None:
            established: dict[str, bool] = {}
            for peer in read.peers:
                name = names.get(peer.address)
                if name is not None and not peer.disabled:
                    established[name] = established.get(name, False) or peer.established
            sessions = BgpSessions(router=read.router, established=established)
        self._took(self.engine.observe_bgp(read.router, sessions, now_ms))

    # --- opinions and witnesses

    def _ask_opinion(self, request: OpinionRequest) -> None:
        key = (request.router, request.gateway)
        if key not in self._asking:
            self._asking.add(key)
            self.clients[request.router].companion.want_opinion(request)

    def _read_as_witness(self, router: str) -> None:
        if router in self._reading or self._group is None:
            return
        self._reading.add(router)
        self._group.create_task(self._witness(router), name=f"witness {router}")

    async def _witness(self, router: str) -> None:
        try:
            sent_ms, answered_ms = await self.clients[router].answer_once(
                deadline_ms=WITNESS_DEADLINE_MS
            )
        except RouterError:
            return
        finally:
            self._reading.discard(router)
        now_ms = clock.monotonic_ms()
        self._took(self.engine.observe_router_answered(router, sent_ms, answered_ms, now_ms))
