"""A simulated world in virtual time around the real engine: gateways, a network, routers.

The world plays the shell's part and nothing of the core's: it starts the probes that the engine
wants, reports what comes back, executes router steps as the router loop does, and wakes the engine
at its deadlines. Its clock is an integer of milliseconds, its dice are seeded, nothing sleeps.

While it runs it watches the promises that hold at every instant (`Violation`): no foreign row is
touched, the route never empties, after a change a passing member remains, and nobody who serves
leaves without a rule for it.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from edged.core.bgp import BgpSessions
from edged.core.engine import Engine
from edged.core.errors import CommandRefused
from edged.core.events import Event, Scalar
from edged.core.types import (
    CheckConfig,
    Command,
    CoreConfig,
    CreateRow,
    Decision,
    Drain,
    GatewayConfig,
    GatewayState,
    HoldDown,
    Opinion,
    OpinionRequest,
    OpinionResult,
    Pause,
    PlannedStep,
    ProbeDepth,
    ProbeOutcome,
    ProbeReason,
    ProbeRequest,
    ProbeResult,
    ProbeTiming,
    Refusal,
    Resume,
    RouteDecision,
    RouteRead,
    RouterFacts,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
    StepOutcome,
    StepResult,
    Undrain,
    VipConfig,
)

VIP: Final = "web"
DESTINATION: Final = "192.0.2.10/32"
MARK: Final = f"edged:{VIP}"
SYN_RETRY_MS: Final = 1_000
DATA_RETRY_MS: Final = 200
ARP_FAILS_MS: Final = 3_000
"""After this long without an ARP answer the kernel says that the host is unreachable."""
BGP_POLL_MS: Final = 5_000
BGP_HOLD_MS: Final = 9_000
KILL_NOTICED_MS: Final = 7
"""From the kill to the reset of the held connection (measured on Linux)."""
COMMAND_MS: Final = 1_000
RECONCILE_MS: Final = 10_000
PING_ALIVE_MS: Final = 220
PING_DEAD_MS: Final = 320
SPINS: Final = 64
"""Turns at one instant without a fact: more means that the engine asks to be woken for nothing."""
DOUBT_EVERY: Final = 16
"""Turns between two checks that a question has no side effect."""
GRACE_MS: Final = 3_000
"""A gateway that was in trouble so lately may still leave for it."""


class Violation(AssertionError):
    """A promise was broken; the text says which, when and in which world."""


class Mode(StrEnum):
    """What a gateway does with a connection."""

    SERVING = "serving"
    KILLED = "killed"
    SILENT = "silent"
    HUNG = "hung"
    TLS_BROKEN = "tls_broken"
    HTTP1 = "http1"
    SERVER_ERROR = "server_error"


ANSWERING: Final = frozenset({Mode.SERVING, Mode.HTTP1, Mode.SERVER_ERROR})


class OpinionPolicy(StrEnum):
    """How a router answers when it is asked to ping a suspect."""

    HONEST = "honest"
    DEAD = "dead"
    ALIVE = "alive"
    UNKNOWN = "unknown"
    SLOW = "slow"


class Cut(StrEnum):
    """Where the session breaks during the next write."""

    NONE = "none"
    BEFORE = "before"
    AFTER = "after"


@dataclass(slots=True)
class SimGateway:
    """One node: its Envoy, its host, and our path to it."""

    name: str
    address: str
    mode: Mode = Mode.SERVING
    slow_ms: int = 0
    cut: bool = False
    loss: float = 0.0
    rtt_ms: int = 1
    own_host: bool = False
    agent: bool = True
    bgp_up: bool = True
    bgp_plans: int = 0
    arp_back_ms: int = 0
    served_since_ms: int = 0
    changed_ms: int = 0
    held_since_ms: int | None = None
    owed: bool = False
    beats: int = 0
    session: int = 0

    @property
    def serves(self) -> bool:
        """Whether a client would be served, and our own path to it is not the trouble."""
        return self.mode in ANSWERING and not self.cut and self.slow_ms < 100


@dataclass(slots=True)
class SimProbe:
    """A probe under way."""

    request: ProbeRequest
    started_ms: int
    deadline_ms: int
    phase: str = "connect"
    connected_ms: int | None = None
    done: bool = False


@dataclass(slots=True)
class SimRouter:
    """A router: its table, its moods, and the shell's loop for it."""

    name: str
    shape: RouteShape
    rows: list[RouteRow] = field(default_factory=list)
    reachable: bool = True
    latency_ms: int = 2
    opinion: OpinionPolicy = OpinionPolicy.HONEST
    refuses: Refusal | None = None
    refuses_kind: type[object] = object
    cut: Cut = Cut.NONE
    booted_ms: int = -3_600_000
    major: int = 7
    connected: bool = False
    ready: bool = False
    busy: bool = False
    generation: int = 0
    retry_ms: int = 0
    backoff_ms: int = 1_000
    reconcile_due_ms: int = 0
    next_id: int = 1
    edited: bool = False
    pinging: list[OpinionRequest] = field(default_factory=list)
    writes: list[tuple[int, PlannedStep]] = field(default_factory=list)

    def new_id(self) -> str:
        """Return a row id that was never used before."""
        self.next_id += 1
        return f"*{self.next_id:X}"

    def members(self) -> tuple[str, ...]:
        """Return the next hops through which the router sends VIP traffic, of our rows."""
        return tuple(
            hop
            for row in self.rows
            if MARK in row.comment.split() and not row.disabled
            for hop in row.next_hops
        )


def make_config(
    count: int,
    *,
    timing: ProbeTiming | None = None,
    routers: tuple[str, ...] = ("hex",),
    min_healthy: int | None = None,
    restore: bool = False,
    hold_down: HoldDown | None = None,
    own_host: frozenset[str] = frozenset(),
    jitter: tuple[int, ...] = (-40, 10, 30, -15, 50, -25, 5),
    bgp_down_for_ms: int = 300_000,
) -> CoreConfig:
    """Build a configuration with `count` gateways n1, n2 ... of one VIP."""
    names = tuple(f"n{index + 1}" for index in range(count))
    gateways = tuple(
        GatewayConfig(
            name=name,
            address=f"10.0.0.{index + 1}",
            next_hop=f"10.0.0.{index + 1}",
            own_host=name in own_host,
        )
        for index, name in enumerate(names)
    )
    checks = tuple(
        CheckConfig(key=f"{name}/443", gateway=name, timing=timing or ProbeTiming())
        for name in names
    )
    vip = VipConfig(
        name=VIP,
        destination=DESTINATION,
        routers=routers,
        checks=tuple(check.key for check in checks),
        min_healthy=min_healthy,
        restore_human_edits=restore,
    )
    return CoreConfig(
        enforce=True,
        gateways=gateways,
        checks=checks,
        vips=(vip,),
        routers=routers,
        hold_down=hold_down or HoldDown(),
        jitter_permille=jitter,
        bgp_down_for_ms=bgp_down_for_ms,
    )


class World:
    """Everything outside the core, and the promises it must keep; see the module's text."""

    def __init__(
        self,
        config: CoreConfig,
        *,
        seed: int = 0,
        shape: RouteShape = RouteShape.LIST,
        members: tuple[str, ...] | None = None,
        opinion: OpinionPolicy = OpinionPolicy.HONEST,
        loss: float = 0.0,
        bgp: bool = True,
    ) -> None:
        self.config = config
        self.seed = seed
        self.dice = random.Random(seed)
        self.now_ms = 1_000
        self.cable_out = False
        self.link_error = False
        self.local_errors = False
        self.strict = True
        self.own_trouble_ms = 0
        self.probes_started = 0
        self.events: list[Event] = []
        self.turns = 0
        self.removed: list[tuple[int, str]] = []
        self.added: list[tuple[int, str]] = []
        self.gateways = {
            gateway.name: SimGateway(
                name=gateway.name,
                address=gateway.address,
                loss=loss,
                rtt_ms=self.dice.randint(0, 1),
                own_host=gateway.own_host,
            )
            for gateway in config.gateways
        }
        self.hops = {gateway.next_hop: gateway.name for gateway in config.gateways}
        self.routers = {
            name: SimRouter(
                name=name,
                shape=shape,
                major=6 if shape is RouteShape.LIST else 7,
                opinion=opinion,
            )
            for name in config.routers
        }
        inside = tuple(self.gateways) if members is None else members
        for router in self.routers.values():
            self._lay_out(router, inside)
        self._sequence = itertools.count()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._probes: dict[int, SimProbe] = {}
        self._facts: list[Callable[[], tuple[Event, ...]]] = []
        self._stalled_until_ms = 0
        self._stall_ms = 0
        self._spins = 0
        self._drains: dict[tuple[str, str], Drain] = {}
        self._paused: Pause | None = None
        self._forgiven: dict[str, int] = {}
        self.started_ms = self.now_ms
        self.engine = Engine(config, self.now_ms)
        self.decision: Decision = self.engine.decide(self.now_ms)
        self._turn()
        for router in self.routers.values():
            self.at(self.dice.randint(5, 40), self._connector(router))
            if bgp:
                self.at(self.dice.randint(50, BGP_POLL_MS), self._bgp_poller(router))

    def _lay_out(self, router: SimRouter, inside: tuple[str, ...]) -> None:
        hops = [gateway.next_hop for gateway in self.config.gateways]
        comment = f"ECMP to VIP {MARK}"
        router.rows.append(
            RouteRow(
                row_id="*F0",
                next_hops=(hops[0],),
                static=False,
                bgp=True,
                distance=20,
                active=False,
            ),
        )
        if router.shape is RouteShape.LIST:
            members = tuple(hop for hop in hops if self.hops[hop] in inside)
            router.rows.append(
                RouteRow(row_id="*1", next_hops=members, distance=10, comment=comment),
            )
            return
        for hop in hops:
            router.rows.append(
                RouteRow(
                    row_id=router.new_id(),
                    next_hops=(hop,),
                    distance=10,
                    comment=comment,
                    disabled=self.hops[hop] not in inside,
                ),
            )

    # --- the clock ------------------------------------------------------------------------------

    def at(self, delay_ms: int, what: Callable[[], None]) -> None:
        """Let something happen `delay_ms` from now."""
        heapq.heappush(self._events, (self.now_ms + delay_ms, next(self._sequence), what))

    def run_for(self, duration_ms: int) -> None:
        """Let time pass."""
        self.run_to(self.now_ms + duration_ms)

    def run_to(self, end_ms: int) -> None:
        """Let time pass up to and including an instant."""
        while True:
            wake_ms = self.decision.next_deadline_ms
            if wake_ms is not None:
                wake_ms = max(wake_ms, self.now_ms, self._stalled_until_ms)
            event_ms = self._events[0][0] if self._events else None
            if event_ms is not None and (wake_ms is None or event_ms <= wake_ms):
                if event_ms > end_ms:
                    break
                self.now_ms = max(self.now_ms, event_ms)
                heapq.heappop(self._events)[2]()
                if self._facts and self.now_ms >= self._stalled_until_ms:
                    self._turn()
            elif wake_ms is not None and wake_ms <= end_ms:
                if wake_ms == self.now_ms:
                    self._spins += 1
                    if self._spins > SPINS:
                        self.fail("the engine asks to be woken for nothing, again and again")
                else:
                    self._spins = 0
                self.now_ms = wake_ms
                self._turn()
            else:
                break
        self.now_ms = max(self.now_ms, end_ms)

    def run_until(self, true: Callable[[], bool], within_ms: int) -> int:
        """Let time pass until something is true; return how long it took, or fail."""
        begin_ms = self.now_ms
        while not true():
            if self.now_ms - begin_ms >= within_ms:
                self.fail(f"did not come true within {within_ms} ms")
            self.run_for(1)
        return self.now_ms - begin_ms

    def fail(self, text: str) -> None:
        """Raise with the story so far."""
        tail = "\n".join(
            f"  {e.at_ms:>8} {e.name} {dict(e.fields)}"
            for e in self.events[-40:]
            if e.name != "probe.finished"
        )
        message = f"at {self.now_ms} ms: {text}\n{self.describe()}\nlately:\n{tail}"
        raise Violation(message)

    def describe(self) -> str:
        """Say in a few lines how the world stands."""
        lines = [f"seed {self.seed}, {len(self.gateways)} gateways"]
        for gateway in self.gateways.values():
            extras = " cut" if gateway.cut else ""
            extras += f" slow {gateway.slow_ms}" if gateway.slow_ms else ""
            lines.append(f"  {gateway.name} {gateway.mode.value}{extras}")
        lines.extend(
            f"  {snapshot.name}: {snapshot.state.value} {snapshot.reason} "
            f"passing={snapshot.passing} verdict={snapshot.verdict}"
            for snapshot in self.engine.gateways(self.now_ms)
        )
        lines.extend(
            f"  {router.name} {router.shape.value} shows {self.members(router.name)}"
            for router in self.routers.values()
        )
        lines.extend(
            f"  {route.router} wants {route.desired} kept={route.kept} frozen={route.frozen} "
            f"waiting={route.waiting}"
            for route in self.decision.routes
        )
        return "\n".join(lines)

    # --- the shell ------------------------------------------------------------------------------

    def _fact(self, what: Callable[[], tuple[Event, ...]]) -> None:
        self._facts.append(what)

    def _turn(self) -> None:
        """Do one turn of the shell's loop: facts, time, decision, and what it asks for."""
        self.turns += 1
        while True:
            facts, self._facts = self._facts, []
            for fact in facts:
                self._spins = 0
                self.events.extend(fact())
                if len(facts) > 1 and not self._stall_ms:
                    self.events.extend(self.engine.observe_time(self.now_ms))
            self._stall_ms = 0
            self.events.extend(self.engine.observe_time(self.now_ms))
            self.decision = self.engine.decide(self.now_ms)
            for request in self.decision.probes:
                if request.probe_id not in self._probes:
                    self._start(request)
            self._ask_opinions()
            self._ask_witness_reads()
            for router in self.routers.values():
                self._router_turn(router)
            if self.turns % DOUBT_EVERY == 0 and self.engine.decide(self.now_ms) != self.decision:
                self.fail("asking twice gives two answers")
            if not self._facts:
                break

    def restart(self, *, away_ms: int = 0) -> None:
        """Kill edged and start it again: a new engine that remembers only what disk remembers."""
        for probe in self._probes.values():
            probe.done = True
        self._probes.clear()
        self._facts.clear()
        for gateway in self.gateways.values():
            gateway.held_since_ms = None
            gateway.owed = False
            gateway.beats += 1
        for router in self.routers.values():
            self._drop_session(router)
            router.pinging.clear()
        if away_ms:
            dead, self.decision = self.decision, Decision(now_ms=self.now_ms, probes=(), routes=())
            assert dead is not None
            self._stalled_until_ms = self.now_ms + away_ms
            self.run_for(away_ms)
            self._facts.clear()
            self._stall_ms = 0
        self.started_ms = self.own_trouble_ms = self.now_ms
        self.engine = Engine(self.config, self.now_ms)
        for drain in self._drains.values():
            self._fact(lambda drain=drain: self.engine.command(drain, self.now_ms))  # type: ignore[misc]
        if self._paused is not None:
            paused = self._paused
            self._fact(lambda: self.engine.command(paused, self.now_ms))
        self._turn()
        for router in self.routers.values():
            self.at(self.dice.randint(5, 40), self._connector(router))

    def command(self, command: Command) -> None:
        """Let a person say something; what disk would remember is remembered."""
        self.events.extend(self.engine.command(command, self.now_ms))
        match command:
            case Drain():
                self._drains[command.gateway, command.source] = command
            case Undrain():
                self._drains.pop((command.gateway, command.source), None)
            case Pause():
                self._paused = command
            case Resume():
                self._paused = None
            case _:
                pass
        self._turn()

    def try_command(self, command: Command) -> bool:
        """Let a person say something that may be refused."""
        try:
            self.command(command)
        except CommandRefused:
            return False
        return True

    def stall(self, length_ms: int) -> None:
        """Let edged itself be late: packets arrive, but nobody looks."""
        begin_ms = self.now_ms
        self._stalled_until_ms = self.own_trouble_ms = begin_ms + length_ms
        for probe in self._probes.values():
            probe.deadline_ms += length_ms

        def over() -> None:
            self._stall_ms = length_ms
            late = [p for p in self._probes.values() if not p.done]
            self._facts.insert(0, lambda: self.engine.observe_stall(length_ms, self.now_ms))
            for probe in late:
                timing = self._timing(probe.request.check)
                if length_ms > max(20, timing.deadline_ms):
                    self._finish(probe, ProbeOutcome.INCONCLUSIVE, ProbeReason.STALLED)

        self.at(length_ms, over)

    def suspend(self, gap_ms: int) -> None:
        """Let the machine sleep: its clock stands still, the world's does not."""
        self.own_trouble_ms = self.now_ms
        for probe in list(self._probes.values()):
            self._finish(probe, ProbeOutcome.INCONCLUSIVE, ProbeReason.STALLED)
        self._facts.insert(0, lambda: self.engine.observe_suspend(gap_ms, self.now_ms))
        self._turn()

    def _timing(self, check: str) -> ProbeTiming:
        return next(c.timing for c in self.config.checks if c.key == check)

    # --- gateways and the network ---------------------------------------------------------------

    def set_mode(self, name: str, mode: Mode, *, goaway: bool = False) -> None:
        """Change what a gateway does."""
        gateway = self.gateways[name]
        before = gateway.mode
        if before is mode:
            return
        served = gateway.serves
        gateway.mode = mode
        gateway.changed_ms = self.now_ms
        if gateway.serves and not served:
            gateway.served_since_ms = self.now_ms
        session = gateway.session
        check = self._check_of(name)
        if mode is Mode.HTTP1:
            self._lose_held(gateway)
            self._fact(lambda: self.engine.observe_held_closed(check, self.now_ms))
        if mode is Mode.KILLED:

            def noticed() -> None:
                if gateway.held_since_ms is None or gateway.session != session:
                    return
                if not self._reaches(gateway):
                    return
                self._lose_held(gateway)
                self._fact(lambda: self.engine.observe_held_lost(check, "reset", self.now_ms))

            if goaway and gateway.held_since_ms is not None and self._reaches(gateway):
                self._lose_held(gateway)
                self._fact(lambda: self.engine.observe_held_closed(check, self.now_ms))
                if not self._stalled:
                    self._turn()
            else:
                self.at(KILL_NOTICED_MS, noticed)
        elif before in {Mode.SILENT, Mode.KILLED} and gateway.held_since_ms is not None:
            # The host has started anew: it knows nothing of the old connection.
            def reset() -> None:
                if gateway.held_since_ms is None or gateway.session != session:
                    return
                self._lose_held(gateway)
                self._fact(lambda: self.engine.observe_held_lost(check, "reset", self.now_ms))

            self.at(self.dice.randint(1, 500), reset)
        self._plan_beats(gateway)
        self._plan_session(gateway)

    def set_slow(self, name: str, slow_ms: int) -> None:
        """Let a gateway take `slow_ms` longer for each answer."""
        gateway = self.gateways[name]
        served = gateway.serves
        gateway.slow_ms = slow_ms
        gateway.changed_ms = self.now_ms
        if gateway.serves and not served:
            gateway.served_since_ms = self.now_ms
        self._plan_beats(gateway)

    def cut_path(self, name: str, *, cut: bool) -> None:
        """Cut (or mend) the path between edged and one gateway; the router still reaches it."""
        gateway = self.gateways[name]
        served = gateway.serves
        gateway.cut = cut
        gateway.changed_ms = self.now_ms
        if gateway.serves and not served:
            gateway.served_since_ms = self.now_ms
        self._plan_beats(gateway)

    def pull_cable(self, *, with_router: bool = False, link_error: bool = False) -> None:
        """Cut edged off from every gateway, and from the routers if they share the cable."""
        self.cable_out = True
        self.link_error = link_error
        for gateway in self.gateways.values():
            self._plan_beats(gateway)
        if with_router:
            for router in self.routers.values():
                router.reachable = False

    def plug_cable(self, *, arp_spread_ms: int = 0) -> None:
        """End our own outage; ARP may come back later for some gateways than for others."""
        self.cable_out = False
        self.link_error = False
        self.own_trouble_ms = self.now_ms
        for router in self.routers.values():
            router.reachable = True
        for gateway in self.gateways.values():
            delay_ms = self.dice.randint(0, arp_spread_ms)
            gateway.arp_back_ms = self.now_ms + delay_ms
            self.at(delay_ms, self._beat_planner(gateway))

    def _beat_planner(self, gateway: SimGateway) -> Callable[[], None]:
        return lambda: self._plan_beats(gateway)

    def _reaches(self, gateway: SimGateway) -> bool:
        if gateway.cut or gateway.mode is Mode.SILENT:
            return False
        if gateway.own_host:
            return True
        return not self.cable_out and self.now_ms >= gateway.arp_back_ms

    def _lost(self, gateway: SimGateway, packets: int) -> bool:
        if gateway.loss == 0.0:
            return False
        return any(self.dice.random() < gateway.loss for _ in range(packets))

    def _check_of(self, name: str) -> str:
        return next(c.key for c in self.config.checks if c.gateway == name)

    @property
    def _stalled(self) -> bool:
        return self.now_ms < self._stalled_until_ms

    # heartbeats: only what the core would be told, the quiet stretches are skipped

    def _lose_held(self, gateway: SimGateway) -> None:
        gateway.held_since_ms = None
        gateway.owed = False
        gateway.beats += 1

    def _open_held(self, gateway: SimGateway) -> None:
        gateway.held_since_ms = self.now_ms
        gateway.owed = False
        gateway.session += 1
        self._plan_beats(gateway)

    def _plan_beats(self, gateway: SimGateway) -> None:
        timing = self._timing(self._check_of(gateway.name))
        gateway.beats += 1
        held_ms = gateway.held_since_ms
        if held_ms is None or not timing.heartbeat:
            return
        interval_ms = timing.heartbeat_interval_ms
        wait_ms = interval_ms - (self.now_ms - held_ms) % interval_ms
        stamp = gateway.beats
        fine = (
            self._reaches(gateway)
            and gateway.mode in ANSWERING
            and gateway.slow_ms < timing.heartbeat_deadline_ms
        )
        if not fine:
            self.at(wait_ms, lambda: self._beat(gateway, stamp))
            return
        if gateway.owed:
            late_ms = 1 if gateway.mode is Mode.HUNG else self.dice.randint(1, 400)
            self.at(late_ms, lambda: self._heard(gateway, stamp))
        if gateway.loss > 0.0:
            lost = 1 - (1 - gateway.loss) ** 2
            skipped = 0
            while self.dice.random() >= lost and skipped < 10_000:
                skipped += 1
            self.at(wait_ms + skipped * interval_ms, lambda: self._lost_beat(gateway, stamp))

    def _beat(self, gateway: SimGateway, stamp: int) -> None:
        """Send a heartbeat that will not be answered in time."""
        if gateway.beats != stamp:
            return
        timing = self._timing(self._check_of(gateway.name))
        sent_ms = self.now_ms
        slow_ms = gateway.slow_ms
        answers = self._reaches(gateway) and gateway.mode in ANSWERING
        self.at(timing.heartbeat_deadline_ms, lambda: self._missed(gateway, stamp, sent_ms))
        self.at(timing.heartbeat_interval_ms, lambda: self._beat(gateway, stamp))
        if answers:
            self.at(slow_ms, lambda: self._heard(gateway, stamp))

    def _lost_beat(self, gateway: SimGateway, stamp: int) -> None:
        """Lose one heartbeat on the way: TCP repeats it after 200 ms."""
        if gateway.beats != stamp:
            return
        timing = self._timing(self._check_of(gateway.name))
        sent_ms = self.now_ms
        for late_ms in range(
            timing.heartbeat_deadline_ms, DATA_RETRY_MS + 1, timing.heartbeat_interval_ms
        ):
            self.at(late_ms, lambda: self._missed(gateway, stamp, sent_ms))

        def repeated() -> None:
            if gateway.beats == stamp:
                self._heard(gateway, stamp)
                self._plan_beats(gateway)

        self.at(DATA_RETRY_MS + 1, repeated)

    def _missed(self, gateway: SimGateway, stamp: int, sent_ms: int) -> None:
        if gateway.beats != stamp or self._stalled:
            return
        gateway.owed = True
        check = self._check_of(gateway.name)
        self._fact(lambda: self.engine.observe_heartbeat_missed(check, sent_ms, self.now_ms))

    def _heard(self, gateway: SimGateway, stamp: int) -> None:
        if gateway.beats != stamp or not gateway.owed:
            return
        gateway.owed = False
        check = self._check_of(gateway.name)
        self._fact(lambda: self.engine.observe_heartbeat_heard(check, self.now_ms))

    # fresh probes, phase by phase

    def _start(self, request: ProbeRequest) -> None:
        probe = SimProbe(
            request=request,
            started_ms=self.now_ms,
            deadline_ms=self.now_ms + request.deadline_ms - request.start_ms,
        )
        self._probes[request.probe_id] = probe
        self.probes_started += 1
        self._fact(lambda: self.engine.observe_probe_started(request.probe_id, self.now_ms))
        gateway = self.gateways[request.gateway]
        if self.local_errors or (self.cable_out and self.link_error and not gateway.own_host):
            self._finish(probe, ProbeOutcome.INCONCLUSIVE, ProbeReason.LOCAL_ERROR)
            return
        self._expire_at(probe)
        if request.depth is ProbeDepth.PING:
            probe.phase = "http"
            if gateway.held_since_ms is None:
                self._finish(probe, ProbeOutcome.INCONCLUSIVE, ProbeReason.CANCELLED)
                return
        self._attempt(probe)

    def _expire_at(self, probe: SimProbe) -> None:
        def expire() -> None:
            if probe.done:
                return
            if self.now_ms < probe.deadline_ms:
                self._expire_at(probe)
                return
            reasons = {
                "connect": ProbeReason.CONNECT_TIMEOUT,
                "tls": ProbeReason.TLS_TIMEOUT,
                "http": ProbeReason.HTTP_TIMEOUT,
            }
            self._finish(probe, ProbeOutcome.FAILED, reasons[probe.phase])

        self.at(max(probe.deadline_ms - self.now_ms, 0), expire)

    def _attempt(self, probe: SimProbe) -> None:
        """Send the packets of one phase; what is lost is sent again as TCP would."""
        if probe.done:
            return
        gateway = self.gateways[probe.request.gateway]
        packets = {"connect": 2, "tls": 4, "http": 2}[probe.phase]
        if not self._reaches(gateway) or self._lost(gateway, packets):
            unreachable = (
                probe.phase == "connect"
                and gateway.mode is Mode.SILENT
                and self.now_ms - gateway.changed_ms > ARP_FAILS_MS
                and self.dice.random() < 0.2
            )
            if unreachable:
                self.at(
                    self.dice.randint(1, 200),
                    lambda: self._finish(probe, ProbeOutcome.FAILED, ProbeReason.UNREACHABLE),
                )
            retry_ms = SYN_RETRY_MS if probe.phase == "connect" else DATA_RETRY_MS
            self.at(retry_ms, lambda: self._attempt(probe))
            return
        slow_ms = 0 if probe.phase == "connect" else gateway.slow_ms
        if probe.request.depth is ProbeDepth.PING:
            slow_ms = gateway.slow_ms
        extra_ms = {"connect": 0, "tls": 2, "http": 1}[probe.phase]
        self.at(gateway.rtt_ms + extra_ms + slow_ms, lambda: self._answer(probe))

    def _answer(self, probe: SimProbe) -> None:
        if probe.done:
            return
        gateway = self.gateways[probe.request.gateway]
        if not self._reaches(gateway):
            self.at(DATA_RETRY_MS, lambda: self._attempt(probe))
            return
        mode = gateway.mode
        failed = ProbeOutcome.FAILED
        if probe.phase == "connect":
            if mode is Mode.KILLED:
                self._finish(probe, failed, ProbeReason.REFUSED)
                return
            probe.connected_ms = self.now_ms
            request = probe.request
            self._fact(
                lambda: self.engine.observe_probe_connected(
                    request.check, request.probe_id, self.now_ms
                ),
            )
            probe.phase = "tls"
            self._attempt(probe)
        elif mode is Mode.HUNG:
            self.at(50, lambda: self._answer(probe))
        elif probe.phase == "tls":
            if mode is Mode.KILLED:
                self._finish(probe, failed, ProbeReason.TLS_RESET)
            elif mode is Mode.TLS_BROKEN:
                self._finish(probe, failed, ProbeReason.TLS_ALERT)
            else:
                probe.phase = "http"
                self._attempt(probe)
        elif mode is Mode.KILLED:
            self._finish(probe, failed, ProbeReason.HTTP_CLOSED)
        elif mode is Mode.HTTP1 and probe.request.depth is ProbeDepth.LIGHT:
            check = probe.request.check
            self._fact(
                lambda: self.engine.observe_heartbeat_unavailable(check, "http/1.1", self.now_ms),
            )
            # The shell asks again by HTTP/1.1 within the same probe, and gets its answer.
            self._finish(probe, ProbeOutcome.PASSED, None)
        else:
            self._finish(probe, ProbeOutcome.PASSED, None)

    def _finish(
        self,
        probe: SimProbe,
        outcome: ProbeOutcome,
        reason: ProbeReason | None,
    ) -> None:
        if probe.done:
            return
        probe.done = True
        self._probes.pop(probe.request.probe_id, None)
        request = probe.request
        gateway = self.gateways[request.gateway]
        passed = outcome is ProbeOutcome.PASSED
        status = None
        if passed and request.depth is ProbeDepth.FULL:
            status = 503 if gateway.mode is Mode.SERVER_ERROR else 404

        def report() -> tuple[Event, ...]:
            result = ProbeResult(
                probe_id=request.probe_id,
                check=request.check,
                depth=request.depth,
                outcome=outcome,
                reason=reason,
                started_ms=probe.started_ms,
                connected_ms=probe.connected_ms,
                finished_ms=self.now_ms,
                latency_us=(self.now_ms - probe.started_ms) * 1_000 + 200 if passed else 0,
                http_status=status,
            )
            return self.engine.observe_probe_finished(result, self.now_ms)

        self._fact(report)
        if passed and request.depth is ProbeDepth.LIGHT and gateway.mode is not Mode.HTTP1:
            self._open_held(gateway)
            self._fact(lambda: self.engine.observe_held_opened(request.check, self.now_ms))

    # --- routers --------------------------------------------------------------------------------

    def members(self, router: str = "hex") -> tuple[str, ...]:
        """Return who gets VIP traffic from a router, in configured order."""
        shown = self.routers[router].members()
        return tuple(name for hop, name in self.hops.items() if hop in shown)

    def route(self, router: str = "hex") -> RouteDecision:
        """Return the latest decision for a router."""
        return next(r for r in self.decision.routes if r.router == router)

    def _connector(self, router: SimRouter) -> Callable[[], None]:
        generation = router.generation

        def connect() -> None:
            if router.generation == generation and not router.connected:
                self._connect(router)

        return connect

    def _connect(self, router: SimRouter) -> None:
        if not router.reachable:
            wanted = any(r.router == router.name and r.would for r in self.decision.routes)
            router.backoff_ms = min(2 * router.backoff_ms, 2_000 if wanted else 30_000)
            self._fact(
                lambda: self.engine.observe_router_lost(router.name, "no answer", self.now_ms),
            )
            self.at(router.backoff_ms, self._connector(router))
            return
        router.connected = True
        router.backoff_ms = 1_000
        router.ready = False
        router.reconcile_due_ms = self.now_ms + RECONCILE_MS
        facts = self._router_facts(router)
        self._fact(lambda: self.engine.observe_router_up(facts, self.now_ms))

    def _router_facts(self, router: SimRouter) -> RouterFacts:
        return RouterFacts(
            router=router.name,
            version="6.49.10" if router.major == 6 else "7.19.4",
            major=router.major,
            uptime_ms=self.now_ms - router.booted_ms,
        )

    def _drop_session(self, router: SimRouter) -> None:
        router.connected = False
        router.ready = False
        router.busy = False
        router.generation += 1

    def _lose_router(self, router: SimRouter, detail: str) -> None:
        self._drop_session(router)
        self._fact(lambda: self.engine.observe_router_lost(router.name, detail, self.now_ms))
        self.at(router.backoff_ms, self._connector(router))

    def _router_turn(self, router: SimRouter) -> None:
        """Take one turn of the router loop: write before read, read before anything else."""
        if not router.connected or router.busy:
            return
        planned = self.engine.next_step(router.name, self.now_ms) if router.ready else None
        if planned is not None:
            self._write(router, planned)
        elif not router.ready:
            self._read(router)
        elif self.now_ms >= router.reconcile_due_ms:
            router.reconcile_due_ms = self.now_ms + RECONCILE_MS
            facts = self._router_facts(router)
            if router.reachable:
                self._fact(lambda: self.engine.observe_router_up(facts, self.now_ms))
            self._read(router)
        else:
            generation, due_ms = router.generation, router.reconcile_due_ms

            def wake() -> None:
                if router.generation == generation and router.reconcile_due_ms == due_ms:
                    self._router_turn(router)

            if router.retry_ms != due_ms:
                router.retry_ms = due_ms
                self.at(due_ms - self.now_ms, wake)

    def _exchange(
        self,
        router: SimRouter,
        arrive: Callable[[], object],
        answer: Callable[[object, int], None],
        broken: Callable[[int], None] | None = None,
    ) -> None:
        """Send one command and let `answer` have what it found, or break the session."""
        router.busy = True
        generation, sent_ms = router.generation, self.now_ms
        found: list[object] = []

        def reach() -> None:
            if router.reachable and router.generation == generation:
                found.append(arrive())

        def back() -> None:
            if router.generation != generation:
                return
            if found and router.reachable:
                router.busy = False
                answer(found[0], sent_ms)
            else:
                self.at(COMMAND_MS, late)

        def late() -> None:
            if router.generation != generation:
                return
            if broken is not None:
                broken(sent_ms)
            self._lose_router(router, "no answer in time")

        half_ms = router.latency_ms // 2
        self.at(half_ms, reach)
        self.at(router.latency_ms, back)

    def _read(self, router: SimRouter) -> None:
        def answer(found: object, sent_ms: int) -> None:
            assert isinstance(found, tuple)
            router.ready = True
            answered_ms = self.now_ms

            def report() -> tuple[Event, ...]:
                read = RouteRead(
                    router=router.name,
                    vip=VIP,
                    shape=router.shape,
                    rows=found,
                    sent_ms=sent_ms,
                    answered_ms=answered_ms,
                )
                events = self.engine.observe_route(read, self.now_ms)
                return events + self.engine.observe_router_answered(
                    router.name, sent_ms, answered_ms, self.now_ms
                )

            self._fact(report)

        def arrive() -> object:
            router.edited = False
            return tuple(router.rows)

        self._exchange(router, arrive, answer)

    def _write(self, router: SimRouter, planned: PlannedStep) -> None:
        self._judge_step(router, planned)
        router.ready = False
        sent_ms = self.now_ms
        cut, router.cut = router.cut, Cut.NONE

        def arrive() -> object:
            if cut is Cut.BEFORE:
                return Cut.BEFORE
            if router.refuses is not None and isinstance(planned.step, router.refuses_kind):
                return router.refuses
            refusal = self._apply(router, planned)
            return cut if cut is Cut.AFTER else refusal

        def report(outcome: StepOutcome, refusal: Refusal | None) -> None:
            def fact() -> tuple[Event, ...]:
                result = StepResult(
                    planned=planned,
                    outcome=outcome,
                    refusal=refusal,
                    message="" if outcome is StepOutcome.DONE else "failure",
                    sent_ms=sent_ms,
                    finished_ms=self.now_ms,
                )
                return self.engine.observe_step(result, self.now_ms)

            self._fact(fact)

        def answer(found: object, _sent_ms: int) -> None:
            if isinstance(found, Cut):
                report(StepOutcome.UNCERTAIN, None)
                self._lose_router(router, "closed")
            elif isinstance(found, Refusal):
                report(StepOutcome.REFUSED, found)
            else:
                report(StepOutcome.DONE, None)

        self._exchange(router, arrive, answer, lambda _sent_ms: report(StepOutcome.UNCERTAIN, None))

    def _apply(self, router: SimRouter, planned: PlannedStep) -> Refusal | None:
        """Carry a step out on the router's table, as the router would."""
        before = self.members(router.name)
        strangers = self._strangers(router)
        rows = {row.row_id: index for index, row in enumerate(router.rows)}
        step: Step = planned.step
        match step:
            case SetNextHops(row_id=row_id, after=after):
                if row_id not in rows:
                    return Refusal.NO_SUCH_ITEM
                if not after:
                    self.fail("an empty list was written")
                index = rows[row_id]
                router.rows[index] = replace(router.rows[index], next_hops=after)
            case SetDisabled(row_ids=row_ids, disabled=disabled):
                if any(row_id not in rows for row_id in row_ids):
                    return Refusal.NO_SUCH_ITEM
                for row_id in row_ids:
                    index = rows[row_id]
                    router.rows[index] = replace(router.rows[index], disabled=disabled)
            case CreateRow(next_hops=hops, comment=comment, disabled=disabled):
                router.rows.append(
                    RouteRow(
                        row_id=router.new_id(),
                        next_hops=hops,
                        comment=comment,
                        disabled=disabled,
                        distance=10,
                    ),
                )
            case SetComment(row_id=row_id, after=comment):
                index = rows[row_id]
                router.rows[index] = replace(router.rows[index], comment=comment)
        if self._strangers(router) != strangers and not isinstance(step, SetComment):
            self.fail(f"a row that is not ours was changed by {step}")
        after_names = self.members(router.name)
        if before and not after_names and planned.reason != "handover" and not router.edited:
            self.fail(f"the route was emptied by {step}")
        self.removed.extend((self.now_ms, n) for n in before if n not in after_names)
        self.added.extend((self.now_ms, n) for n in after_names if n not in before)
        return None

    def _strangers(self, router: SimRouter) -> tuple[RouteRow, ...]:
        return tuple(row for row in router.rows if MARK not in row.comment.split())

    # --- promises at every instant --------------------------------------------------------------

    def _judge_step(self, router: SimRouter, planned: PlannedStep) -> None:
        router.writes.append((self.now_ms, planned))
        if planned.reason == "handover" or not self.strict:
            return
        passing = {s.name for s in self.engine.gateways(self.now_ms) if s.passing}
        members = set(self.members(router.name))
        if not members or router.edited:
            # Handed over or deleted until now, or changed by a person since the last read, which
            # the design accepts: no extra read precedes a removal.
            return
        after = (members | set(planned.added)) - set(planned.removed)
        if planned.removed and not passing & after:
            self.fail(f"S1: nobody who passes remains after {planned}")
        degraded = {
            s.name
            for s in self.engine.gateways(self.now_ms)
            if s.causes or s.state is GatewayState.DEGRADED
        }
        drained = {name for name, _source in self._drains}
        for name in planned.removed:
            gateway = self.gateways.get(name)
            if gateway is None or name in degraded or name in drained or not gateway.serves:
                continue
            if self.now_ms - gateway.served_since_ms > GRACE_MS:
                self.fail(f"S2: {name} serves, and leaves by {planned}")

    # --- the second opinion ---------------------------------------------------------------------

    def _ask_opinions(self) -> None:
        for request in self.decision.opinions:
            router = self.routers[request.router]
            if any(waiting.gateway == request.gateway for waiting in router.pinging):
                continue
            router.pinging.append(request)
            if len(router.pinging) == 1:
                self._ping(router)

    def _ping(self, router: SimRouter) -> None:
        request = router.pinging[0]
        asked_ms = self.now_ms
        gateway = self.gateways[request.gateway]
        policy = router.opinion
        engine = self.engine
        dead = gateway.mode is Mode.SILENT
        opinion = {
            OpinionPolicy.DEAD: Opinion.DEAD,
            OpinionPolicy.ALIVE: Opinion.ALIVE,
            OpinionPolicy.UNKNOWN: Opinion.UNKNOWN,
        }.get(policy, Opinion.DEAD if dead else Opinion.ALIVE)
        took_ms = PING_ALIVE_MS if opinion is Opinion.ALIVE else PING_DEAD_MS
        if policy is OpinionPolicy.SLOW:
            took_ms = self.dice.randint(1_600, 4_000)
        if not router.reachable:
            opinion, took_ms = Opinion.UNKNOWN, 1_300

        def answered() -> None:
            if self.engine is not engine or not router.pinging or router.pinging[0] is not request:
                return
            router.pinging.pop(0)
            result = OpinionResult(
                router=router.name,
                gateway=request.gateway,
                opinion=opinion,
                asked_ms=asked_ms,
                answered_ms=self.now_ms,
            )
            self._fact(lambda: self.engine.observe_opinion(result, self.now_ms))
            if router.pinging:
                self._ping(router)

        self.at(took_ms, answered)

    def _ask_witness_reads(self) -> None:
        for name in self.decision.witness_reads:
            router = self.routers[name]
            if router.connected and not router.busy:
                self._read(router)

    # --- BGP ------------------------------------------------------------------------------------

    def _bgp_poller(self, router: SimRouter) -> Callable[[], None]:
        def poll() -> None:
            self.at(BGP_POLL_MS, poll)
            if not router.connected or not router.reachable or self._stalled:
                return
            up = {gateway.name: gateway.bgp_up for gateway in self.gateways.values()}
            sessions = BgpSessions(router=router.name, established=up)
            self._fact(lambda: self.engine.observe_bgp(router.name, sessions, self.now_ms))

        return poll

    def set_agent(self, name: str, *, runs: bool) -> None:
        """Stop or start a node's BGP speaker; its Envoy goes on."""
        self.gateways[name].agent = runs
        self._plan_session(self.gateways[name])

    def _plan_session(self, gateway: SimGateway) -> None:
        """Let a session follow its speaker: lost after the hold time, back some seconds later."""
        gateway.bgp_plans += 1
        plan = gateway.bgp_plans
        up = gateway.agent and gateway.mode is not Mode.SILENT
        if up == gateway.bgp_up:
            return

        def settle() -> None:
            if gateway.bgp_plans == plan:
                gateway.bgp_up = up

        self.at(self.dice.randint(2_000, 12_000) if up else BGP_HOLD_MS, settle)

    # --- what people do at the router -----------------------------------------------------------

    def edit(self, router: str, change: Callable[[list[RouteRow]], list[RouteRow]]) -> None:
        """Let a person change a router's table by hand."""
        box = self.routers[router]
        box.rows = change(list(box.rows))
        box.edited = True

    def break_session(self, router: str) -> None:
        """Close the session to a router; edged connects again in a second."""
        box = self.routers[router]
        box.backoff_ms = 1_000
        if box.connected:
            self._lose_router(box, "closed")
        else:
            box.generation += 1
            self.at(box.backoff_ms, self._connector(box))
        self._turn()

    def reboot(self, router: str, *, away_ms: int = 30_000) -> None:
        """Restart a router: its rows survive, their ids do not."""
        box = self.routers[router]
        box.reachable = False
        if box.connected:
            self._lose_router(box, "closed")

        def back() -> None:
            box.reachable = True
            box.booted_ms = self.now_ms
            box.rows = [
                replace(row, row_id=box.new_id()) if row.static else row for row in box.rows
            ]

        self.at(away_ms, back)

    # --- looking back ---------------------------------------------------------------------------

    def told(self, name: str, **fields: Scalar) -> Iterator[Event]:
        """Yield the events of a name whose fields have these values."""
        for event in self.events:
            if event.name == name and all(event.get(k) == v for k, v in fields.items()):
                yield event

    def writes(self, router: str = "hex") -> int:
        """Return how many steps were sent to a router."""
        return len(self.routers[router].writes)

    def kept(self, router: str = "hex") -> dict[str, str]:
        """Return who is kept in the route, and why."""
        return {kept.gateway: kept.reason.value for kept in self.route(router).kept}

    def frozen(self, router: str = "hex") -> set[str]:
        """Return why a route is frozen."""
        return {frozen.reason.value for frozen in self.route(router).frozen}

    def waiting(self, router: str = "hex") -> dict[str, str]:
        """Return who waits outside, and for what."""
        return {waiting.gateway: waiting.reason.value for waiting in self.route(router).waiting}
