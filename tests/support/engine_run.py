"""An engine with three gateways and a router, driven through virtual time by what a test wishes.

Each gateway behaves as its entry in `behaviour` says: `pass`, `refused` or `silent`; the router
shows `rows`, carries out the steps of the engine and answers reads at once.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from edged.core.engine import Engine
from edged.core.events import Event
from edged.core.types import (
    CheckConfig,
    CoreConfig,
    CreateRow,
    GatewayConfig,
    PlannedStep,
    ProbeDepth,
    ProbeOutcome,
    ProbeReason,
    ProbeRequest,
    ProbeResult,
    RouteRead,
    RouterFacts,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    StepOutcome,
    StepResult,
    VipConfig,
)

START_MS = 1_000_000
WALL = datetime(2026, 10, 12, 18, 12, 0, tzinfo=UTC)
"""Tuesday, 03:12:00 KST."""
ADDRESSES = {"node1": "172.30.1.20", "node2": "172.30.1.70", "node3": "172.30.1.82"}
DESTINATION = "172.30.1.7/32"
LATENCIES_US = {"node1": 1_100, "node2": 1_000, "node3": 900}


def core_config(
    *,
    enforce: bool = True,
    names: dict[str, str] | None = None,
    min_healthy: int | None = None,
    vip: str = "web",
) -> CoreConfig:
    """Return one VIP over three gateways on one router."""
    addresses = ADDRESSES if names is None else names
    return CoreConfig(
        enforce=enforce,
        gateways=tuple(
            GatewayConfig(name=name, address=address, next_hop=address)
            for name, address in addresses.items()
        ),
        checks=tuple(CheckConfig(key=name, gateway=name) for name in addresses),
        vips=(
            VipConfig(
                name=vip,
                destination=DESTINATION,
                routers=("hex",),
                checks=tuple(addresses),
                min_healthy=min_healthy,
            ),
        ),
        routers=("hex",),
    )


def list_row(
    next_hops: tuple[str, ...] = tuple(ADDRESSES.values()),
    comment: str = "ECMP to Gateway VIP edged:web",
    row_id: str = "*1",
) -> RouteRow:
    """Return a row as RouterOS 6 keeps an ECMP set."""
    return RouteRow(row_id=row_id, next_hops=next_hops, distance=10, comment=comment)


def bgp_row() -> RouteRow:
    """Return the BGP route that stands below ours."""
    return RouteRow(
        row_id="*9",
        next_hops=("172.30.1.20",),
        static=False,
        dynamic=True,
        bgp=True,
        active=False,
        distance=20,
    )


@dataclass
class EngineRun:
    """The engine, its world and the time."""

    config: CoreConfig = field(default_factory=core_config)
    rows: tuple[RouteRow, ...] = (list_row(), bgp_row())
    shape: RouteShape = RouteShape.LIST
    now_ms: int = START_MS
    behaviour: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    router_up: bool = False

    def __post_init__(self) -> None:
        self.engine = Engine(self.config, self.now_ms)
        self._running: dict[int, tuple[int, ProbeRequest]] = {}

    @property
    def wall(self) -> datetime:
        """Return the wall time now."""
        return WALL + timedelta(milliseconds=self.now_ms - START_MS)

    def connect(self, version: str = "6.49.10") -> None:
        """Open the router's session and read its rows."""
        self.router_up = True
        facts = RouterFacts(
            router="hex",
            version=version,
            major=int(version.partition(".")[0]),
            uptime_ms=86_400_000,
            cpu_load_percent=4,
            rtt_us=1_400,
            board="hEX",
        )
        self._keep(self.engine.observe_router_up(facts, self.now_ms))
        self.read()

    def read(self) -> None:
        """Show the rows to the engine."""
        read = RouteRead(
            router="hex",
            vip=self.config.vips[0].name,
            shape=self.shape,
            rows=self.rows,
            sent_ms=self.now_ms,
            answered_ms=self.now_ms,
        )
        self._keep(self.engine.observe_route(read, self.now_ms))

    def run(self, for_ms: int) -> None:
        """Let time pass, millisecond by millisecond only where something is due."""
        until_ms = self.now_ms + for_ms
        while self.now_ms < until_ms:
            self._turn()
            due = [at_ms for at_ms, _ in self._running.values()]
            deadline_ms = self.engine.decide(self.now_ms).next_deadline_ms
            if deadline_ms is not None:
                due.append(deadline_ms)
            soonest = min([until_ms, *(at_ms for at_ms in due if at_ms > self.now_ms)])
            self.now_ms = max(self.now_ms + 1, min(soonest, until_ms))
        self._turn()

    def lose_held(self, gateway: str) -> None:
        """Reset a gateway's held connection."""
        self._keep(self.engine.observe_held_lost(gateway, "reset by peer", self.now_ms))

    def _turn(self) -> None:
        self._finish_due()
        self._keep(self.engine.observe_time(self.now_ms))
        for request in self.engine.decide(self.now_ms).probes:
            self._start(request)
        while self.router_up:
            planned = self.engine.next_step("hex", self.now_ms)
            if planned is None:
                break
            self._write(planned)

    def _start(self, request: ProbeRequest) -> None:
        if request.probe_id in self._running or request.start_ms > self.now_ms:
            return
        self._keep(self.engine.observe_probe_started(request.probe_id, self.now_ms))
        after_ms = 250 if self.behaviour.get(request.gateway) == "silent" else 1
        self._running[request.probe_id] = (self.now_ms + after_ms, request)

    def _finish_due(self) -> None:
        for probe_id, (at_ms, request) in list(self._running.items()):
            if at_ms <= self.now_ms:
                del self._running[probe_id]
                self._finish(request, at_ms)

    def _finish(self, request: ProbeRequest, at_ms: int) -> None:
        behaviour = self.behaviour.get(request.gateway, "pass")
        reason = {
            "pass": None,
            "refused": ProbeReason.REFUSED,
            "silent": ProbeReason.CONNECT_TIMEOUT,
        }[behaviour]
        if behaviour == "pass" and request.depth is not ProbeDepth.PING:
            self._keep(
                self.engine.observe_probe_connected(request.check, request.probe_id, self.now_ms)
            )
        result = ProbeResult(
            probe_id=request.probe_id,
            check=request.check,
            depth=request.depth,
            outcome=ProbeOutcome.PASSED if reason is None else ProbeOutcome.FAILED,
            reason=reason,
            started_ms=at_ms - 1,
            finished_ms=self.now_ms,
            latency_us=LATENCIES_US.get(request.gateway, 1_000) if reason is None else 0,
            http_status=404 if reason is None and request.depth is ProbeDepth.FULL else None,
        )
        self._keep(self.engine.observe_probe_finished(result, self.now_ms))
        if reason is None and request.depth is ProbeDepth.LIGHT:
            self._keep(self.engine.observe_held_opened(request.check, self.now_ms))

    def _write(self, planned: PlannedStep) -> None:
        sent_ms = self.now_ms
        self.now_ms += 3
        self.rows = tuple(_applied(row, planned) for row in self.rows)
        if isinstance(planned.step, CreateRow):
            step = planned.step
            row = RouteRow(
                row_id=f"*{len(self.rows) + 1}",
                next_hops=step.next_hops,
                disabled=step.disabled,
                distance=10,
                comment=step.comment,
            )
            self.rows = (*self.rows, row)
        result = StepResult(
            planned=planned,
            outcome=StepOutcome.DONE,
            sent_ms=sent_ms,
            finished_ms=self.now_ms,
        )
        self._keep(self.engine.observe_step(result, self.now_ms))
        self.now_ms += 5
        self.read()

    def _keep(self, events: tuple[Event, ...]) -> None:
        self.events.extend(events)


def _applied(row: RouteRow, planned: PlannedStep) -> RouteRow:
    match planned.step:
        case SetNextHops(row_id=row_id, after=after) if row_id == row.row_id:
            return replace(row, next_hops=after)
        case SetDisabled(row_ids=row_ids, disabled=disabled) if row.row_id in row_ids:
            return replace(row, disabled=disabled)
        case SetComment(row_id=row_id, after=after) if row_id == row.row_id:
            return replace(row, comment=after)
        case _:
            return row
