"""Builders for values of the core, and `Bench`: an engine driven by hand in virtual time.

Gateways are `node1`, `node2` ... at `10.0.0.1`, `10.0.0.2` ...; the VIP is `web`, its router `hex`.
Strips: a probe passes `P`, fails `F`, is inconclusive `?`; a gateway is up `U`, down `D`.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from edged.core.bgp import BgpSessions
from edged.core.engine import Engine, GatewaySnapshot
from edged.core.events import Event
from edged.core.types import (
    CheckConfig,
    Command,
    CoreConfig,
    CreateRow,
    Decision,
    GatewayConfig,
    HoldDown,
    Opinion,
    OpinionResult,
    PlannedStep,
    ProbeDepth,
    ProbeOutcome,
    ProbeReason,
    ProbeRequest,
    ProbeResult,
    ProbeTiming,
    Refusal,
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
    VipConfig,
)

VIP: Final = "web"
ROUTER: Final = "hex"
DESTINATION: Final = "192.0.2.80/32"
MARK: Final = f"edged:{VIP}"
WORDS: Final = "ECMP to the Gateway VIP"

DEFAULT: Final = ProbeTiming()
FAST: Final = ProbeTiming(
    burst_ms=(0, 20, 40, 100),
    deadline_ms=200,
    silent_after_ms=60,
    heartbeat_interval_ms=25,
    heartbeat_deadline_ms=40,
)
CALM: Final = ProbeTiming(
    burst_ms=(0, 100, 200, 400),
    deadline_ms=500,
    silent_after_ms=400,
    heartbeat_interval_ms=250,
    heartbeat_deadline_ms=250,
)
PROFILES: Final = {"default": DEFAULT, "fast": FAST, "calm": CALM}


def names(count: int) -> tuple[str, ...]:
    """Return `node1` ... in configured order."""
    return tuple(f"node{number}" for number in range(1, count + 1))


def hop(name: str) -> str:
    """Return a gateway's next hop."""
    return f"10.0.0.{name.removeprefix('node')}"


def a_gateway(name: str = "node1", *, own_host: bool = False) -> GatewayConfig:
    """Build a gateway."""
    return GatewayConfig(name=name, address=hop(name), next_hop=hop(name), own_host=own_host)


def gateway_map(count: int = 3) -> dict[str, GatewayConfig]:
    """Return next hop -> gateway, as `plan` takes it."""
    return {hop(name): a_gateway(name) for name in names(count)}


def a_vip(count: int = 3, **values: object) -> VipConfig:
    """Build a VIP over `count` gateways."""
    vip = VipConfig(
        name=VIP, destination=DESTINATION, routers=(ROUTER,), checks=names(count), distance=1
    )
    return replace(vip, **values)  # type: ignore[arg-type]


def a_config(
    count: int = 3,
    *,
    timing: ProbeTiming = DEFAULT,
    own_host: Iterable[str] = (),
    enforce: bool = True,
    hold_down: HoldDown | None = None,
    vips: tuple[VipConfig, ...] | None = None,
    **vip: object,
) -> CoreConfig:
    """Build a configuration of `count` gateways, one check each, and one VIP on one router."""
    local = frozenset(own_host)
    return CoreConfig(
        enforce=enforce,
        gateways=tuple(a_gateway(name, own_host=name in local) for name in names(count)),
        checks=tuple(CheckConfig(key=name, gateway=name, timing=timing) for name in names(count)),
        vips=(a_vip(count, **vip),) if vips is None else vips,
        routers=(ROUTER,),
        hold_down=hold_down or HoldDown(),
    )


def a_row(
    name: str,
    *,
    disabled: bool = False,
    comment: str = f"{WORDS} {MARK}",
    row_id: str = "",
    **values: object,
) -> RouteRow:
    """Build a row of ours (v7: one next hop) for a gateway, named or numbered like it."""
    row = RouteRow(
        row_id=row_id or f"*{name.removeprefix('node')}",
        next_hops=(hop(name),),
        disabled=disabled,
        comment=comment,
    )
    return replace(row, **values)  # type: ignore[arg-type]


def a_list(
    members: Iterable[str], *, disabled: bool = False, comment: str = f"{WORDS} {MARK}"
) -> RouteRow:
    """Build the one row of a v6 router."""
    hops = tuple(hop(name) for name in members)
    return RouteRow(row_id="*1", next_hops=hops, disabled=disabled, comment=comment)


def rows_of(
    members: Iterable[str], count: int = 3, shape: RouteShape = RouteShape.ROWS
) -> list[RouteRow]:
    """Return the rows of an adopted route: v7 has one for every gateway, members enabled."""
    inside = tuple(members)
    if shape is RouteShape.LIST:
        return [a_list(inside)]
    return [a_row(name, disabled=name not in inside) for name in names(count)]


def a_read(
    rows: Iterable[RouteRow],
    now_ms: int = 0,
    *,
    shape: RouteShape = RouteShape.ROWS,
    sent_ms: int | None = None,
) -> RouteRead:
    """Build a read that was sent and answered at `now_ms`."""
    return RouteRead(
        router=ROUTER,
        vip=VIP,
        shape=shape,
        rows=tuple(rows),
        sent_ms=now_ms if sent_ms is None else sent_ms,
        answered_ms=now_ms,
    )


def a_result(
    probe_id: int = 1,
    *,
    check: str = "node1",
    reason: ProbeReason | None = None,
    started_ms: int = 0,
    finished_ms: int = 1,
    **values: object,
) -> ProbeResult:
    """Build a probe's result; its outcome follows from the reason (none: passed)."""
    if reason is None:
        outcome = ProbeOutcome.PASSED
    elif reason in {ProbeReason.LOCAL_ERROR, ProbeReason.STALLED, ProbeReason.CANCELLED}:
        outcome = ProbeOutcome.INCONCLUSIVE
    else:
        outcome = ProbeOutcome.FAILED
    result = ProbeResult(
        probe_id=probe_id,
        check=check,
        depth=ProbeDepth.FULL,
        outcome=outcome,
        reason=reason,
        started_ms=started_ms,
        finished_ms=finished_ms,
    )
    return replace(result, **values)  # type: ignore[arg-type]


def some_facts(uptime_ms: int = 3_600_000, *, major: int = 7, version: str = "") -> RouterFacts:
    """Build what a router says of itself."""
    return RouterFacts(
        router=ROUTER, version=version or f"{major}.18", major=major, uptime_ms=uptime_ms
    )


def a_step_result(
    planned: PlannedStep,
    outcome: StepOutcome = StepOutcome.DONE,
    *,
    now_ms: int = 0,
    refusal: Refusal | None = None,
) -> StepResult:
    """Build what became of a step that was sent and answered at `now_ms`."""
    return StepResult(
        planned=planned, outcome=outcome, refusal=refusal, sent_ms=now_ms, finished_ms=now_ms
    )


def apply_step(rows: Iterable[RouteRow], step: Step) -> list[RouteRow]:
    """Do to rows what a router would do; a row that is not there is an error of the caller."""
    after = list(rows)
    by_id = {row.row_id: index for index, row in enumerate(after)}
    match step:
        case SetNextHops(row_id=row_id, after=hops):
            assert hops, "a router refuses an empty list"
            after[by_id[row_id]] = replace(after[by_id[row_id]], next_hops=hops)
        case SetDisabled(row_ids=row_ids, disabled=disabled):
            for row_id in row_ids:
                after[by_id[row_id]] = replace(after[by_id[row_id]], disabled=disabled)
        case SetComment(row_id=row_id, after=comment):
            after[by_id[row_id]] = replace(after[by_id[row_id]], comment=comment)
        case CreateRow(next_hops=hops, comment=comment, disabled=disabled):
            row_id = f"*A{len(after)}"
            assert row_id not in by_id
            after.append(
                RouteRow(row_id=row_id, next_hops=hops, comment=comment, disabled=disabled)
            )
    return after


class Manner(StrEnum):
    """What a gateway does with a connection."""

    ANSWER = "answer"
    REFUSE = "refuse"
    SILENT = "silent"
    HANG = "hang"
    GARBAGE = "garbage"
    UNREACHABLE = "unreachable"
    LOCAL_ERROR = "local_error"
    NOTHING = "nothing"


@dataclass(slots=True)
class BenchGateway:
    """How one gateway of a bench behaves, until told otherwise."""

    manner: Manner = Manner.ANSWER
    after_ms: int = 1
    heartbeat: bool = True
    held: bool = False
    http_status: int = 404


@dataclass(order=True, slots=True)
class _Due:
    at_ms: int
    order: int
    what: Callable[[], None] = field(compare=False)


class Bench:
    """An engine, gateways that do as they are told, and a router that obeys.

    `advance` starts the probes the engine wants, reports what the gateways do with them, and, as
    long as `writes` is set, carries out each step and reads the rows back, all in virtual time.
    """

    def __init__(
        self,
        count: int = 3,
        *,
        config: CoreConfig | None = None,
        shape: RouteShape = RouteShape.ROWS,
        members: Iterable[str] | None = None,
        rows: Iterable[RouteRow] | None = None,
        heartbeat: bool = True,
        connect: bool = True,
        settled: bool = True,
    ) -> None:
        self.config = config or a_config(count)
        self.shape = shape
        self.now_ms = 0
        self.engine = Engine(self.config, 0)
        self.events: list[Event] = []
        self.writes = True
        self.opinion: Opinion | None = None
        self.steps: list[PlannedStep] = []
        self.gateways = {
            gateway.name: BenchGateway(heartbeat=heartbeat) for gateway in self.config.gateways
        }
        everybody = tuple(self.gateways)
        inside = everybody if members is None else tuple(members)
        self.rows = rows_of(inside, len(everybody), shape) if rows is None else list(rows)
        self._begun: set[int] = set()
        self._asked: set[tuple[str, str]] = set()
        self._due: list[_Due] = []
        self._order = 0
        if connect:
            self.connect()
        if settled:
            self.advance(5_000)

    # --- what gateways do

    def _behave(self, name: str, manner: Manner, after_ms: int) -> None:
        gateway = self.gateways[name]
        gateway.manner = manner
        gateway.after_ms = after_ms

    def answer(self, *gateways: str, after_ms: int = 1) -> None:
        """Let gateways serve again."""
        for name in gateways:
            self._behave(name, Manner.ANSWER, after_ms)

    def refuse(self, *gateways: str) -> None:
        """Nobody listens any more; the held connection stays as it is (see `kill`)."""
        for name in gateways:
            self._behave(name, Manner.REFUSE, 0)

    def kill(self, *gateways: str) -> None:
        """The process dies: connections are refused, the held one is reset."""
        self.refuse(*gateways)
        for name in gateways:
            self.lose_held(name)

    def silence(self, *gateways: str) -> None:
        """No packet comes back; a missed heartbeat is reported by `miss`."""
        for name in gateways:
            self._behave(name, Manner.SILENT, 0)

    def cut(self, *gateways: str) -> None:
        """The cable is pulled and the next heartbeat is missed at once."""
        self.silence(*gateways)
        for name in gateways:
            self.miss(name)

    def hang(self, *gateways: str) -> None:
        """Connections are accepted and never served."""
        for name in gateways:
            self._behave(name, Manner.HANG, 1)

    def behave(self, name: str, manner: Manner, after_ms: int = 0) -> None:
        """Let a gateway do anything else."""
        self._behave(name, manner, after_ms)

    # --- sensors

    def _take(self, events: tuple[Event, ...]) -> None:
        self.events.extend(events)

    def miss(self, name: str) -> None:
        """Report an unanswered heartbeat."""
        self._take(self.engine.observe_heartbeat_missed(name, self.now_ms - 100, self.now_ms))

    def hear(self, name: str) -> None:
        """Report the first heartbeat answered after a miss."""
        self._take(self.engine.observe_heartbeat_heard(name, self.now_ms))

    def lose_held(self, name: str) -> None:
        """Report a reset of the held connection."""
        self.gateways[name].held = False
        self._take(self.engine.observe_held_lost(name, "reset", self.now_ms))

    # --- the router

    def connect(self, uptime_ms: int | None = None, *, major: int | None = None) -> None:
        """Open a session and read."""
        usual = 7 if self.shape is RouteShape.ROWS else 6
        self._take(
            self.engine.observe_router_up(
                some_facts(
                    3_600_000 + self.now_ms if uptime_ms is None else uptime_ms,
                    major=usual if major is None else major,
                ),
                self.now_ms,
            )
        )
        self.read()

    def disconnect(self) -> None:
        """Lose the session."""
        self._take(self.engine.observe_router_lost(ROUTER, "connection reset", self.now_ms))

    def read(self) -> None:
        """Read the rows as they are now."""
        read = a_read(self.rows, self.now_ms, shape=self.shape)
        self._take(self.engine.observe_route(read, self.now_ms))

    def step(
        self,
        planned: PlannedStep,
        outcome: StepOutcome = StepOutcome.DONE,
        *,
        applied: bool | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        """Carry out a step, or let it fail; `applied` says what an uncertain one did."""
        self.steps.append(planned)
        if applied if applied is not None else outcome is StepOutcome.DONE:
            self.rows = apply_step(self.rows, planned.step)
        result = a_step_result(planned, outcome, now_ms=self.now_ms, refusal=refusal)
        self._take(self.engine.observe_step(result, self.now_ms))

    def wanted(self) -> PlannedStep | None:
        """Return the step that may be written now."""
        self._take(self.engine.observe_time(self.now_ms))
        return self.engine.next_step(ROUTER, self.now_ms)

    def give_opinion(self, name: str, opinion: Opinion, asked_ms: int | None = None) -> None:
        """Report the router's opinion about a gateway."""
        result = OpinionResult(
            router=ROUTER,
            gateway=name,
            opinion=opinion,
            asked_ms=self.now_ms if asked_ms is None else asked_ms,
            answered_ms=self.now_ms,
        )
        self._take(self.engine.observe_opinion(result, self.now_ms))

    def sessions(self, **established: bool) -> None:
        """Report one poll of the router's BGP sessions."""
        polled = BgpSessions(router=ROUTER, established=established)
        self._take(self.engine.observe_bgp(ROUTER, polled, self.now_ms))

    def edit(self, change: Callable[[list[RouteRow]], Iterable[RouteRow]]) -> None:
        """Let a person change the rows, and read."""
        self.rows = list(change(self.rows))
        self.read()

    # --- time

    def advance(self, by_ms: int) -> None:
        """Let `by_ms` pass; everything due at the new instant has happened afterwards."""
        until_ms = self.now_ms + by_ms
        while True:
            decision = self.turn()
            next_ms = self._due[0].at_ms if self._due else until_ms
            if decision.next_deadline_ms is not None:
                assert decision.next_deadline_ms > self.now_ms, "woken for nothing"
                next_ms = min(next_ms, decision.next_deadline_ms)
            if next_ms > until_ms:
                self.now_ms = until_ms
                self.turn()
                return
            if next_ms == until_ms and self.now_ms == until_ms:
                return
            self.now_ms = next_ms

    def turn(self) -> Decision:
        """Do everything due at this instant and ask the engine."""
        for _ in range(200):
            while self._due and self._due[0].at_ms <= self.now_ms:
                heapq.heappop(self._due).what()
            self._take(self.engine.observe_time(self.now_ms))
            decision = self.engine.decide(self.now_ms)
            if not self._act(decision):
                return decision
        raise AssertionError(f"at {self.now_ms} ms the engine never comes to rest")

    def _act(self, decision: Decision) -> bool:
        busy = False
        for request in decision.probes:
            if request.probe_id not in self._begun and request.start_ms <= self.now_ms:
                self._begun.add(request.probe_id)
                self._begin(request)
                busy = True
        for asked in decision.opinions:
            if self.opinion is not None and (asked.router, asked.gateway) not in self._asked:
                self._asked.add((asked.router, asked.gateway))
                self._later(250, self._opine(asked.gateway, self.now_ms))
                busy = True
        if self.writes:
            planned = self.engine.next_step(ROUTER, self.now_ms)
            if planned is not None:
                self.step(planned)
                busy = True
                if self.engine.router_connected(ROUTER):
                    self.read()
        return busy

    def _opine(self, name: str, asked_ms: int) -> Callable[[], None]:
        def opine() -> None:
            self._asked.discard((ROUTER, name))
            assert self.opinion is not None
            self.give_opinion(name, self.opinion, asked_ms)

        return opine

    def _later(self, by_ms: int, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._due, _Due(self.now_ms + by_ms, self._order, what))

    def _begin(self, request: ProbeRequest) -> None:
        gateway = self.gateways[request.gateway]
        started_ms = self.now_ms
        allowed_ms = request.deadline_ms - request.start_ms
        self._take(self.engine.observe_probe_started(request.probe_id, started_ms))

        def connected() -> None:
            self._take(
                self.engine.observe_probe_connected(request.check, request.probe_id, self.now_ms)
            )

        def finished(reason: ProbeReason | None, *, had_connected: bool) -> Callable[[], None]:
            def finish() -> None:
                self._finish(request, reason, started_ms, had_connected=had_connected)

            return finish

        match gateway.manner:
            case Manner.ANSWER:
                if request.depth is not ProbeDepth.PING:
                    self._later(min(1, gateway.after_ms), connected)
                self._later(gateway.after_ms, finished(None, had_connected=True))
            case Manner.REFUSE:
                self._later(0, finished(ProbeReason.REFUSED, had_connected=False))
            case Manner.SILENT:
                self._later(allowed_ms, finished(ProbeReason.CONNECT_TIMEOUT, had_connected=False))
            case Manner.HANG:
                self._later(gateway.after_ms, connected)
                self._later(allowed_ms, finished(ProbeReason.HTTP_TIMEOUT, had_connected=True))
            case Manner.GARBAGE:
                self._later(1, connected)
                self._later(1, finished(ProbeReason.HTTP_INVALID, had_connected=True))
            case Manner.UNREACHABLE:
                self._later(
                    gateway.after_ms, finished(ProbeReason.UNREACHABLE, had_connected=False)
                )
            case Manner.LOCAL_ERROR:
                self._later(0, finished(ProbeReason.LOCAL_ERROR, had_connected=False))
            case Manner.NOTHING:
                pass

    def _finish(
        self,
        request: ProbeRequest,
        reason: ProbeReason | None,
        started_ms: int,
        *,
        had_connected: bool,
    ) -> None:
        gateway = self.gateways[request.gateway]
        result = a_result(
            request.probe_id,
            check=request.check,
            reason=reason,
            depth=request.depth,
            started_ms=started_ms,
            connected_ms=started_ms + min(1, gateway.after_ms) if had_connected else None,
            finished_ms=self.now_ms,
            latency_us=(self.now_ms - started_ms) * 1_000 if reason is None else 0,
            http_status=(
                gateway.http_status if reason is None and request.depth is ProbeDepth.FULL else None
            ),
        )
        self._take(self.engine.observe_probe_finished(result, self.now_ms))
        if reason is None and request.depth is ProbeDepth.LIGHT and gateway.heartbeat:
            gateway.held = True
            self._take(self.engine.observe_held_opened(request.check, self.now_ms))

    # --- what a test looks at

    def command(self, command: Command) -> None:
        """Give a person's command."""
        self._take(self.engine.command(command, self.now_ms))

    @property
    def route(self) -> RouteDecision:
        """The decision for the one route."""
        return self.engine.decide(self.now_ms).routes[0]

    @property
    def members(self) -> tuple[str, ...]:
        """The gateways that the rows hold, in order."""
        inside = {h for row in self.rows if not row.disabled for h in row.next_hops}
        return tuple(name for name in self.gateways if hop(name) in inside)

    def gateway(self, name: str) -> GatewaySnapshot:
        """Return one gateway as people see it."""
        return next(g for g in self.engine.gateways(self.now_ms) if g.name == name)

    def state(self, name: str) -> str:
        """Return a gateway's state as one word."""
        return self.gateway(name).state.value

    def kept(self, name: str) -> str | None:
        """Return why a gateway is kept."""
        return next((k.reason.value for k in self.route.kept if k.gateway == name), None)

    def waits(self, name: str) -> str | None:
        """Return what a gateway waits for."""
        return next((w.reason.value for w in self.route.waiting if w.gateway == name), None)

    def frozen(self) -> list[str]:
        """Return why nothing is written."""
        return [frozen.reason.value for frozen in self.route.frozen]

    def in_flight(self, name: str) -> int:
        """Return how many probes of a gateway have left and not ended."""
        flights = self.engine._checks[name].evidence.flights.values()
        return sum(flight.started_ms is not None for flight in flights)

    def told(self, name: str) -> list[Event]:
        """Return all events of a name."""
        return [made for made in self.events if made.name == name]
