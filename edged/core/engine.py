"""The engine: the only stateful object of the core; facts go in, events and decisions come out.

Theory of operation. The shell reports facts through `observe_*`, each a synchronous call that
returns the events it caused. Once per turn of its loop it calls `observe_time`, so that deadlines
take effect, and then `decide`, which has no side effect: asking twice gives the same answer. A
decision says which probes to start, what each route should be and the steps to it, whom to ask
for an opinion, and when to ask again even if nothing happens.

Two rules hold everywhere. A verdict comes from fresh probes only; every other fact may start a
burst and nothing more. And what a router shows is the truth about membership: a step's outcome is
believed when a read confirms it.

The engine is one object told in chapters, each a module and each building on the one before:
`ledger` (state), `judging` (a route's decision), `watching` (probes, bursts, verdicts), `senses`
(BGP, opinions, cluster, own trouble), `routing` (rows and steps), `commands`; here stand time,
`decide` and what people look at.

Invariant. Nothing here awaits, logs, reads a clock or throws dice. `now_ms` never goes back.
"""

import heapq
from dataclasses import dataclass

from edged.core.bgp import SessionView
from edged.core.checks import Check
from edged.core.cluster import NodeView
from edged.core.commands import Commands
from edged.core.events import Event, Severity
from edged.core.health import Verdict
from edged.core.plan import OwnRows
from edged.core.routes import Route
from edged.core.selection import (
    OpinionView,
    Selection,
)
from edged.core.types import (
    CoreConfig,
    Decision,
    Drain,
    FrozenReason,
    GatewayState,
    KeptReason,
    Opinion,
    OpinionRequest,
    Pause,
    PlannedStep,
    RouteDecision,
    RouterFacts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySnapshot:
    """One gateway as people should see it."""

    name: str
    address: str
    check: str
    state: GatewayState
    reason: str
    since_ms: int
    progress: str
    passing: bool
    latency_us: int
    last_probe_ms: int | None
    last_outcome: str
    hold_until_ms: int | None
    removals: int
    drains: tuple[Drain, ...]
    verdict: Verdict | None
    causes: tuple[str, ...]
    held: bool
    heartbeat: bool
    lossy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpinionKnown:
    """What one router last said of a gateway that it was asked about."""

    router: str
    opinion: Opinion
    answered_ms: int


class Engine(Commands):
    """Judges gateways and says what each route should be; see the module's theory."""

    __slots__ = ()

    def __init__(self, config: CoreConfig, now_ms: int) -> None:
        super().__init__(config, now_ms)
        self._configure(config, now_ms)
        self._begin_warm_up(now_ms, "start")

    def observe_time(self, now_ms: int) -> tuple[Event, ...]:
        """Let every deadline up to `now_ms` take effect; the shell calls it once per loop turn."""
        self._clock(now_ms)
        self._end_timed_commands(now_ms)
        self._judge_cluster(now_ms)
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, key = heapq.heappop(self._heap)
            check = self._checks.get(key)
            if check is not None and check.deadline_ms == at_ms:
                check.deadline_ms = None
                self._advance(check, now_ms)
                self._touch(check, now_ms)
        if any(router.bgp.any_down for router in self._routers.values()):
            self._judge_bgp(now_ms)
        for vip in self._vips.values():
            self._refresh_blindness(vip, now_ms)
        self._settle_routes(now_ms)
        self._prune()
        return self._flush()

    def _prune(self) -> None:
        """Drop what no longer holds: probes nobody wants, deadlines nobody should be woken for."""
        over = [i for i, r in self._due.items() if i not in self._checks[r.check].evidence.flights]
        for probe_id in over:
            del self._due[probe_id]
        while self._heap:
            at_ms, key = self._heap[0]
            check = self._checks.get(key)
            if check is not None and check.deadline_ms == at_ms:
                return
            heapq.heappop(self._heap)

    def decide(self, now_ms: int) -> Decision:
        """Say what should happen now; no side effect."""
        routes = tuple(self._decision(route, now_ms) for route in self._routes.values())
        probes = tuple(
            request
            for probe_id, request in self._due.items()
            if probe_id in self._checks[request.check].evidence.flights
        )
        opinions = tuple(
            OpinionRequest(
                router=decision.router,
                gateway=name,
                address=self._gateway(decision.vip, name).address,
            )
            for decision in routes
            for name in decision.opinions_wanted
            if self._routers[decision.router].up
        )
        return Decision(
            now_ms=now_ms,
            probes=probes,
            routes=routes,
            opinions=tuple(dict.fromkeys((*opinions, *self._bgp_questions(now_ms)))),
            witness_reads=tuple(self._wanted_reads()),
            next_deadline_ms=self._next_deadline_ms(now_ms, routes),
        )

    def next_step(
        self,
        router: str,
        now_ms: int,
        *,
        ready: frozenset[str] | None = None,
    ) -> PlannedStep | None:
        """Return the first step that may be written to a router now, over its `ready` VIPs."""
        for route in self._routes.values():
            if route.router == router and (ready is None or route.vip in ready):
                if self._must_read_first(route, now_ms):
                    continue
                plan = self._decision(route, now_ms).plan
                if plan:
                    return plan[0]
        return None

    def read_wanted(self, router: str, now_ms: int) -> bool:
        """Whether a step waits for nothing but a fresh read."""
        return any(
            self._must_read_first(route, now_ms) and self._decision(route, now_ms).plan
            for route in self._routes.values()
            if route.router == router
        )

    def write_wanted(self, router: str, now_ms: int) -> bool:
        """Whether only the way to the router keeps a step from being written."""
        way = {FrozenReason.ROUTER_LOST, FrozenReason.UNCERTAIN, FrozenReason.UNKNOWN_NEXT_HOP}
        return any(
            decision.would and all(frozen.reason in way for frozen in decision.frozen)
            for decision in (
                self._decision(route, now_ms)
                for route in self._routes.values()
                if route.router == router
            )
        )

    @property
    def settled(self) -> bool:
        """Whether nothing is under way: no burst, no plan, no streak, no wait that will end."""
        checks = all(
            check.evidence.burst is None
            and check.health.verdict is None
            and check.health.risen
            and check.health.hold_until_ms is None
            and not check.health.degraded
            for check in self._checks.values()
        )
        return checks and all(
            not decision.plan and not decision.would for decision in self._decisions.values()
        )

    def _next_deadline_ms(
        self,
        now_ms: int,
        routes: tuple[RouteDecision, ...],
    ) -> int | None:
        due = [d.next_deadline_ms for d in routes if d.next_deadline_ms is not None]
        if self._heap:
            due.append(self._heap[0][0])
        if self._paused is not None and self._paused.until_ms is not None:
            due.append(self._paused.until_ms)
        due.extend(
            drain.until_ms
            for drains in self._drains.values()
            for drain in drains.values()
            if drain.until_ms is not None
        )
        if self._trouble.warming_up(now_ms):
            due.append(self._trouble.warm_up_until_ms)
        cluster_ms = self._cluster.next_deadline_ms()
        if cluster_ms is not None:
            due.append(cluster_ms)
        due.extend(v.blind_ends_ms for v in self._vips.values() if v.blind_ends_ms > now_ms)
        due.extend(
            route.human_until_ms
            for route in self._routes.values()
            if route.human_until_ms is not None and route.human_until_ms > now_ms
        )
        due.extend(at_ms for at_ms in self._bgp_deadlines() if at_ms > now_ms)
        return min(due, default=None)

    def _settle_routes(self, now_ms: int) -> None:
        """Decide every route that something has changed for, and act on what that needs."""
        for _ in range(2):
            due = [route for route in self._routes.values() if self._changed(route, now_ms)]
            if not due:
                break
            for route in due:
                before = self._decisions.get(route.key)
                decision, selection = self._judge_route(route, now_ms)
                self._dirty.discard(route.key)
                self._moved.discard(route.key)
                self._decisions[route.key] = decision
                self._tell_held_back(before, decision)
                self._burst_where_held(decision, now_ms)
                self._refresh_stale(route, selection, now_ms)
                self._hurry(route, decision, now_ms)

    def _refresh_stale(self, route: Route, selection: Selection, now_ms: int) -> None:
        """The obstacle is gone, but the verdict is old: ask again before acting on it."""
        for name in selection.stale:
            for check in self._checks_in(route, name):
                verdict = check.health.verdict
                assert verdict is not None
                if not verdict.stale:
                    check.health.mark_stale()
                if check.evidence.burst is None:
                    self._start_burst(check, "stale", now_ms)
                self._collect(check, now_ms)
                self._touch(check, now_ms)

    def _hurry(self, route: Route, decision: RouteDecision, now_ms: int) -> None:
        """Probe DOWN gateways faster while fewer than the floor pass."""
        vip = self._vips[route.vip]
        members = set(decision.observed)
        checks = [self._checks[key] for key in vip.checks]
        passing = sum(check.passing(now_ms) for check in checks if check.name in members)
        hurry = passing < decision.min_healthy
        for check in checks:
            if hurry and check.health.rising:
                check.hurried_by.add(route.key)
            else:
                check.hurried_by.discard(route.key)
            wanted = bool(check.hurried_by)
            evidence = check.evidence
            if wanted != evidence.hurry:
                evidence.hurry = wanted
                soon_ms = now_ms + evidence.timing.below_floor_interval_ms
                if (
                    wanted
                    and evidence.next_routine_ms is not None
                    and evidence.next_routine_ms > soon_ms
                ):
                    evidence.next_routine_ms = soon_ms
                self._touch(check, now_ms)

    def _tell_held_back(self, before: RouteDecision | None, now: RouteDecision) -> None:
        old = {(kept.gateway, kept.reason) for kept in before.kept} if before else set()
        new = {(kept.gateway, kept.reason) for kept in now.kept}
        for gateway, reason in sorted(new - old):
            self._emit(
                "gateway.kept",
                Severity.DEBUG if reason is KeptReason.STALE else None,  # a burst is on its way
                gateway=gateway,
                vip=now.vip,
                router=now.router,
                reason=reason.value,
            )
        for gateway, reason in sorted(old - new):
            self._emit(
                "gateway.released",
                gateway=gateway,
                vip=now.vip,
                router=now.router,
                reason=reason.value,
            )
        was = {frozen.reason for frozen in before.frozen} if before else set()
        for frozen in now.frozen:
            if frozen.reason not in was:
                quiet = {FrozenReason.WARM_UP, FrozenReason.UNCERTAIN, FrozenReason.ROUTER_LOST}
                self._emit(
                    "route.frozen",
                    Severity.DEBUG if frozen.reason in quiet else None,
                    vip=now.vip,
                    router=now.router,
                    reason=frozen.reason.value,
                    until_ms=frozen.until_ms,
                    detail=frozen.detail or None,
                )
        for thawed in sorted(was - {frozen.reason for frozen in now.frozen}):
            self._emit(
                "route.thawed", Severity.DEBUG, vip=now.vip, router=now.router, reason=thawed.value
            )

    def gateways(self, now_ms: int) -> tuple[GatewaySnapshot, ...]:
        """Return every check as people should see it, in configured order."""
        return tuple(self._snapshot(check, now_ms) for check in self._checks.values())

    def _snapshot(self, check: Check, now_ms: int) -> GatewaySnapshot:
        drains = self._drains.get(check.name, {})
        health, evidence = check.health, check.evidence
        state = health.state(drained=bool(drains))
        last = evidence.last_result
        return GatewaySnapshot(
            name=check.name,
            address=check.gateway.address,
            check=check.key,
            state=state,
            reason=check.reason(state),
            since_ms=health.since_ms,
            progress=check.progress(),
            passing=check.passing(now_ms),
            latency_us=last.latency_us if last is not None else 0,
            last_probe_ms=last.finished_ms if last is not None else None,
            last_outcome=last.outcome.value if last is not None else "",
            hold_until_ms=health.hold_until_ms,
            removals=health.removals,
            drains=tuple(drains.values()),
            verdict=health.verdict,
            causes=tuple(sorted(health.causes)),
            held=evidence.held,
            heartbeat=evidence.has_heartbeat,
            lossy=evidence.losses.lossy(now_ms),
        )

    def trail(self, gateway: str) -> tuple[Event, ...]:
        """Return the last events about a gateway, oldest first."""
        return tuple(self._trails.get(gateway, ()))

    def own_rows(self, router: str, vip: str) -> OwnRows | None:
        """Return the rows of a route as last read."""
        return self._routes[router, vip].own

    def read_ms(self, router: str, vip: str) -> int | None:
        """Return when a route's rows were last read."""
        read = self._routes[router, vip].read
        return read.answered_ms if read is not None else None

    def opinions(self, gateway: str) -> tuple[OpinionKnown, ...]:
        """Return the newest opinion that each router gave of a gateway."""
        newest: dict[str, OpinionKnown] = {}
        for route in self._routes.values():
            found = route.opinions.get(gateway)
            if isinstance(found, OpinionView):
                known = OpinionKnown(
                    router=route.router, opinion=found.opinion, answered_ms=found.answered_ms
                )
                before = newest.get(route.router)
                if before is None or before.answered_ms < known.answered_ms:
                    newest[route.router] = known
        return tuple(newest.values())

    def router_facts(self, router: str) -> RouterFacts | None:
        """Return what a router last said of itself."""
        return self._routers[router].facts

    def bgp_sessions(self) -> tuple[SessionView, ...]:
        """Return every BGP session seen, of all routers."""
        return tuple(view for router in self._routers.values() for view in router.bgp.views())

    def bgp_read_ms(self, router: str) -> int | None:
        """Return when a router's sessions were last read; None: never, or not readable now."""
        watch = self._routers[router].bgp
        return watch.seen_ms if watch.readable else None

    def router_connected(self, router: str) -> bool:
        """Whether a session to the router is open."""
        return self._routers[router].up

    @property
    def paused(self) -> Pause | None:
        """The pause in force."""
        return self._paused

    @property
    def writer(self) -> bool:
        """Whether this instance may write."""
        return not self._not_writer

    @property
    def nodes_not_ready(self) -> tuple[NodeView, ...]:
        """Nodes that the cluster calls not ready."""
        return self._cluster.nodes()

    @property
    def drains(self) -> tuple[Drain, ...]:
        """Every drain in force."""
        return tuple(d for drains in self._drains.values() for d in drains.values())
