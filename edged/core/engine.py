"""The engine: the only stateful object of the core; facts go in, events and decisions come out.

Theory of operation. The shell reports facts through `observe_*`, each a synchronous call that
returns the events it caused. Once per turn of its loop it calls `observe_time`, so that deadlines
take effect, and then `decide`, which has no side effect: asking twice gives the same answer. A
decision says which probes to start, what each route should be and the steps to it, whom to ask
for an opinion, and when to ask again even if nothing happens.

Two rules hold everywhere. A verdict comes from fresh probes only; every other fact may start a
burst and nothing more. And what a router shows is the truth about membership: a step's outcome is
believed when a read confirms it.

Invariant. Nothing here awaits, logs, reads a clock or throws dice. `now_ms` never goes back.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, assert_never

from edged.core.bgp import DOWN_WITH_NODE_MS, GATE_MS, BgpSessions, BgpWatch, SessionView
from edged.core.checks import BACKEND_ERROR_MS, Check
from edged.core.cluster import ClusterWatch, NodeView
from edged.core.errors import CommandRefused
from edged.core.events import Event, Scalar, Severity, event
from edged.core.evidence import Finding, Flight
from edged.core.health import FLAPPING_AT, Verdict
from edged.core.own_trouble import OwnTrouble
from edged.core.plan import OwnRows, address_of, adoption_steps, creation_steps, diff, hand_over
from edged.core.routes import Change, Route, Seen
from edged.core.selection import (
    OPINION_HOLDS_MS,
    Circumstances,
    GatewayView,
    OpinionView,
    Selection,
    select,
)
from edged.core.types import (
    BgpPolicy,
    Command,
    CoreConfig,
    CreateRow,
    DeathClass,
    Decision,
    Drain,
    DropNextHop,
    Frozen,
    FrozenReason,
    GatewayConfig,
    GatewayState,
    HandOver,
    KeptReason,
    Opinion,
    OpinionRequest,
    OpinionResult,
    Pause,
    PlannedStep,
    ProbeDepth,
    ProbeKind,
    ProbeOutcome,
    ProbeReason,
    ProbeRequest,
    ProbeResult,
    Recheck,
    Resume,
    RouteDecision,
    RouteRead,
    RouterFacts,
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

WITNESSES_AT_ONCE: Final = 2
INCONCLUSIVE_ALARM: Final = 10
BLIND_AFTER_MS: Final = 3_000
"""After our own outage nothing leaves as silent or ill for this long (design 4.4)."""
TRAIL_LENGTH: Final = 64
"""Events kept per gateway for `edged why`."""
UNSURE_READ_MS: Final = 500
"""A writer that cannot renew its lease writes only onto rows read so recently."""
NOT_READY: Final = "node_not_ready"
POD: Final = "pod"
CLUSTER_SOURCES: Final = frozenset({"kubernetes", POD})
"""Drains that the cluster asks for; with nobody else left such a gateway may serve on."""


@dataclass(slots=True)
class _Vip:
    """What holds for one VIP on every router."""

    config: VipConfig
    checks: tuple[str, ...]
    gateways: dict[str, GatewayConfig] = field(default_factory=dict)
    departed: dict[str, GatewayConfig] = field(default_factory=dict)
    blind: bool = False
    blind_ends_ms: int = 0

    @property
    def min_healthy(self) -> int:
        """The floor: configured, or half of the gateways that were ever UP, rounded up."""
        if self.config.min_healthy is not None:
            return self.config.min_healthy
        return -(-(len(self.checks) - len(self.config.uncounted)) // 2)


@dataclass(slots=True)
class _Router:
    """What is known of one router."""

    up: bool = False
    back_ms: int = 0
    lost_ms: int | None = None
    facts: RouterFacts | None = None
    upgraded_to: str = ""
    upgraded_detail: str = ""
    answers: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=8))
    bgp: BgpWatch = field(default_factory=lambda: BgpWatch(""))


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


class Engine:
    """Judges gateways and says what each route should be; see the module's theory."""

    def __init__(self, config: CoreConfig, now_ms: int) -> None:
        self._config = config
        self._next_id = 0
        self._checks: dict[str, Check] = {}
        self._by_gateway: dict[str, list[Check]] = {}
        self._vips: dict[str, _Vip] = {}
        self._routers: dict[str, _Router] = {}
        self._routes: dict[tuple[str, str], Route] = {}
        self._drains: dict[str, dict[str, Drain]] = {}
        self._heap: list[tuple[int, str]] = []
        self._due: dict[int, ProbeRequest] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._moved: set[tuple[str, str]] = set()
        self._views_of: dict[str, dict[tuple[str, str], GatewayView]] = {}
        self._decisions: dict[tuple[str, str], RouteDecision] = {}
        self._witness_reads: dict[str, str] = {}
        self._paused: Pause | None = None
        self._not_writer = False
        self._unsure_writer = False
        self._cluster = ClusterWatch()
        self._cluster_judged = False
        self._trouble = OwnTrouble()
        self._trails: dict[str, deque[Event]] = {}
        self._out: list[Event] = []
        self._now_ms = now_ms
        self._started_ms = now_ms
        self._configure(config, now_ms)
        self._begin_warm_up(now_ms, "start")

    # --- time and decisions ---------------------------------------------------------------------

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

    def _must_read_first(self, route: Route, now_ms: int) -> bool:
        """Whether a writer that cannot renew its lease has to look before it writes."""
        if not self._unsure_writer:
            return False
        return route.read is None or now_ms - route.read.answered_ms > UNSURE_READ_MS

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

    def _clock(self, now_ms: int) -> None:
        assert now_ms >= self._now_ms, "the core's clock never goes back"
        self._now_ms = now_ms

    def _flush(self) -> tuple[Event, ...]:
        out = tuple(self._out)
        self._out.clear()
        return out

    def _emit(self, name: str, severity: Severity | None = None, /, **fields: Scalar) -> None:
        made = event(name, self._now_ms, severity, **fields)
        self._out.append(made)
        gateway = made.get("gateway")
        if isinstance(gateway, str) and not self._repeats(made):
            self._trail(gateway).append(made)
        for key in ("added", "removed"):
            names = made.get(key)
            if isinstance(names, tuple):
                for name_of in names:
                    self._trail(name_of).append(made)

    def _repeats(self, made: Event) -> bool:
        """Whether this only says again that a check is DOWN: a trail keeps how it came to that."""
        check = self._checks.get(str(made.get("check")))
        down = check is not None and check.health.verdict is not None
        return down and made.severity is Severity.DEBUG

    def _trail(self, gateway: str) -> deque[Event]:
        return self._trails.setdefault(gateway, deque(maxlen=TRAIL_LENGTH))

    # --- probes ---------------------------------------------------------------------------------

    def observe_probe_started(self, probe_id: int, now_ms: int) -> tuple[Event, ...]:
        """Take note that a wanted probe's SYN (or PING) has left."""
        self._clock(now_ms)
        request = self._due.pop(probe_id, None)
        if request is not None:
            check = self._checks[request.check]
            check.evidence.on_started(probe_id, now_ms)
            self._touch(check, now_ms)
        return self._flush()

    def observe_probe_connected(self, check: str, probe_id: int, now_ms: int) -> tuple[Event, ...]:
        """Take note of a SYN-ACK."""
        self._clock(now_ms)
        found = self._checks.get(check)
        if found is not None:
            found.evidence.on_connected(probe_id, now_ms)
            self._touch(found, now_ms)
        return self._flush()

    def observe_probe_finished(self, result: ProbeResult, now_ms: int) -> tuple[Event, ...]:
        """Take one probe's outcome."""
        self._clock(now_ms)
        self._due.pop(result.probe_id, None)
        check = self._checks.get(result.check)
        if check is not None:
            self._finish(check, result, now_ms)
        return self._flush()

    def _finish(self, check: Check, result: ProbeResult, now_ms: int) -> None:
        was_in_burst = check.evidence.burst is not None
        flight, finding = check.evidence.on_finished(result, now_ms)
        if flight is None:
            return
        self._tell_probe(check, flight, result)
        if result.outcome is ProbeOutcome.PASSED:
            self._answered(check, result.started_ms, now_ms)
        if result.depth is not ProbeDepth.PING:
            self._count_streak(check, flight, result, now_ms)
        if finding is not None:
            self._conclude(check, finding, now_ms)
        elif (
            result.outcome is ProbeOutcome.FAILED
            and not was_in_burst
            and flight.request.kind is not ProbeKind.BURST
            and self._worth_a_burst(check)
        ):
            counts = result.depth is not ProbeDepth.PING  # only a fresh probe gives a verdict
            self._start_burst(check, "probe", now_ms, first=flight if counts else None)
        check.evidence.settle_counts(down=check.health.verdict is not None)
        self._judge_path(check, now_ms)
        self._advance(check, now_ms)
        self._touch(check, now_ms)

    def _tell_probe(self, check: Check, flight: Flight, result: ProbeResult) -> None:
        kind = flight.request.kind
        if result.outcome is ProbeOutcome.PASSED and kind is not ProbeKind.BURST:
            return
        if result.depth is ProbeDepth.PING:
            return
        self._emit(
            "probe.finished",
            gateway=check.name,
            check=check.key,
            probe_id=result.probe_id,
            kind=kind.value,
            depth=result.depth.value,
            outcome=result.outcome.value,
            reason=result.reason.value if result.reason else None,
            latency_us=result.latency_us or None,
            detail=result.detail or None,
        )

    def _count_streak(
        self,
        check: Check,
        flight: Flight,
        result: ProbeResult,
        now_ms: int,
    ) -> None:
        health, timing = check.health, check.evidence.timing
        match result.outcome:
            case ProbeOutcome.PASSED:
                down_since_ms = health.since_ms if health.verdict is not None else None
                if health.on_pass(result.started_ms, now_ms, timing):
                    self._rose(check, down_since_ms)
                if check.note_status(result.http_status, now_ms):
                    self._backend_changed(check, result.http_status, now_ms)
            case ProbeOutcome.FAILED:
                if not check.evidence.late(flight):
                    health.on_failure(now_ms)
            case ProbeOutcome.INCONCLUSIVE:
                counted = result.reason is not ProbeReason.CANCELLED
                if counted and check.evidence.inconclusive_in_row == INCONCLUSIVE_ALARM:
                    self._emit(
                        "probe.inconclusive",
                        gateway=check.name,
                        check=check.key,
                        reason=result.reason.value if result.reason else "",
                        count=INCONCLUSIVE_ALARM,
                        detail=result.detail or None,
                    )
            case _:
                assert_never(result.outcome)

    def _worth_a_burst(self, check: Check) -> bool:
        """Whether a failed single probe needs a burst: not for one that is out and known DOWN."""
        return check.health.verdict is None or self._is_member(check)

    def _is_member(self, check: Check) -> bool:
        return any(
            check.name in route.members
            for route in self._routes.values()
            if route.vip in check.vips
        )

    def _judge_path(self, check: Check, now_ms: int) -> None:
        flaky, failed, probes = check.evidence.losses.flaky(now_ms)
        if flaky and not check.flaky:
            self._emit(
                "gateway.flaky", gateway=check.name, check=check.key, failed=failed, probes=probes
            )
        elif check.flaky and not flaky:
            self._emit("gateway.steady", gateway=check.name, check=check.key)
        check.flaky = flaky

    def _backend_changed(self, check: Check, status: int | None, now_ms: int) -> None:
        alone = not any(other.backend_since_ms is not None for other in check.others)
        if check.backend_since_ms is not None:
            self._emit(
                "probe.backend_error",
                gateway=check.name,
                check=check.key,
                http_status=status,
                alone=alone,
            )
            for other in check.others:
                other.backend_alone = False
                self._set_cause(other, "backend_error", now_ms, present=False)
                self._touch(other, now_ms)
        else:
            self._set_cause(check, "backend_error", now_ms, present=False)

    # --- bursts and verdicts --------------------------------------------------------------------

    def _start_burst(
        self,
        check: Check,
        cause: str,
        now_ms: int,
        *,
        first: Flight | None = None,
    ) -> None:
        if check.evidence.start_burst(now_ms, cause, first=first) is None:
            return
        self._emit("burst.started", gateway=check.name, check=check.key, cause=cause)
        self._collect(check, now_ms)  # ours leaves first: a witness must be sent after it
        self._ask_witnesses(check, now_ms, everybody_blunt=True)
        self._touch(check, now_ms)

    def _find_neighbours(self, check: Check) -> None:
        """Note the checks of other gateways that share a VIP with this one.

        Any of them may stand witness, but one on our own host only if all are there.
        """
        by_name: dict[str, Check] = {}
        for vip in check.vips:
            for key in self._vips[vip].checks:
                by_name.setdefault(self._checks[key].name, self._checks[key])
        by_name.pop(check.name, None)
        check.others = tuple(by_name.values())
        check.candidates = tuple(o for o in check.others if not o.gateway.own_host)
        if check.gateway.own_host and not check.candidates:
            check.candidates = check.others

    def _ask_witnesses(self, check: Check, now_ms: int, *, everybody_blunt: bool) -> None:
        """Ask two gateways without bad evidence first, then last-passed; blunt ones always.

        Gateways without heartbeats are all asked at the first sign: a member counts as alone only
        when each of them has answered or is itself unanswered (design 5.5).
        """
        burst = check.evidence.burst
        assert burst is not None
        candidates = check.candidates
        if not candidates:
            for router in self._routers_of(check):
                self._witness_reads[router] = check.key
            return

        def rank(other: Check) -> tuple[bool, int]:
            bad = other.evidence.unanswered(now_ms) or not other.passing(now_ms)
            return bad, -(other.evidence.last_pass_ms or 0)

        first_ms = burst.first_failed_sent_ms()
        free = [
            other
            for other in candidates
            if other.name not in burst.asked and not other.evidence.asked_since(first_ms)
        ]
        chosen = sorted(free, key=rank)[:WITNESSES_AT_ONCE]
        if everybody_blunt:
            chosen += [o for o in free if not o.evidence.has_heartbeat and o not in chosen]
        for other in chosen:
            burst.asked.add(other.name)
            other.evidence.want_witness(now_ms)
            self._collect(other, now_ms)
            self._touch(other, now_ms)

    def _find_witness(self, check: Check, sent_ms: int, answered_ms: int) -> str | None:
        candidates = check.candidates
        for other in candidates:
            for sent, answered in other.evidence.answers:
                if sent >= sent_ms and answered <= answered_ms:
                    return other.name
        if not candidates:
            for router in self._routers_of(check):
                for sent, answered in self._routers[router].answers:
                    if sent >= sent_ms and answered <= answered_ms:
                        return router
        return None

    def _routers_of(self, check: Check) -> list[str]:
        routers = [router for vip in check.vips for router in self._vips[vip].config.routers]
        return list(dict.fromkeys(routers))

    def _wanted_reads(self) -> Iterator[str]:
        for router, key in self._witness_reads.items():
            check = self._checks.get(key)
            if check is not None and check.evidence.burst is not None:
                yield router

    def _answered(self, check: Check, sent_ms: int, now_ms: int) -> None:
        """A gateway answered: it may be the witness that others lack."""
        for other in check.others:
            burst, verdict = other.evidence.burst, other.health.verdict
            unseen = verdict is not None and verdict.witness is None
            if (burst is None and not unseen) or check not in other.candidates:
                continue  # nobody asked, or it is on our own host and saw nothing of our cable
            if burst is not None and sent_ms >= burst.start_ms:
                if not burst.witness_told:
                    burst.witness_told = True
                    self._emit(
                        "witness.answered",
                        gateway=other.name,
                        check=other.key,
                        witness=check.name,
                        after_ms=now_ms - burst.first_sign_ms,
                    )
                self._touch(other, now_ms)
            if (
                verdict is not None
                and verdict.witness is None
                and not verdict.passed_since
                and burst is None
                and sent_ms > verdict.at_ms
            ):
                self._start_burst(other, "witness", now_ms)

    def _advance(self, check: Check, now_ms: int) -> None:
        """Do what time alone does to one check."""
        evidence, health = check.evidence, check.health
        for flight in evidence.lost_probes(now_ms):
            self._tell_probe(check, flight, _result_of(flight))
        burst = evidence.burst
        if burst is not None:
            if now_ms >= burst.witness_next_ms:
                burst.ask_later(now_ms)
                if self._find_witness(check, burst.first_failed_sent_ms(), now_ms) is None:
                    self._ask_witnesses(check, now_ms, everybody_blunt=False)
            finding = evidence.conclude(
                now_ms, lambda sent, answered: self._find_witness(check, sent, answered)
            )
            if finding is not None:
                self._conclude(check, finding, now_ms)
        down_since_ms = health.since_ms if health.verdict is not None else None
        for happened in health.advance(now_ms, evidence.timing):
            if happened == "rose":
                self._rose(check, down_since_ms)
            elif happened == "up":
                self._emit("gateway.came_up", gateway=check.name, check=check.key)
            elif happened == "undegraded":
                self._emit("gateway.undegraded", gateway=check.name)
        self._judge_backend(check, now_ms)
        self._collect(check, now_ms)

    def _collect(self, check: Check, now_ms: int) -> None:
        health = check.health
        due = check.evidence.take_due(now_ms, rising=health.rising, down=health.verdict is not None)
        for request in due:
            self._due[request.probe_id] = request

    def _judge_backend(self, check: Check, now_ms: int) -> None:
        since_ms = check.backend_since_ms
        others = check.others
        if since_ms is None or check.backend_alone or not others:
            return
        if any(other.backend_since_ms is not None for other in others):
            return
        alone_ms = max(since_ms, *(other.backend_until_ms for other in others))
        if now_ms >= alone_ms + BACKEND_ERROR_MS:
            check.backend_alone = True
            self._set_cause(check, "backend_error", now_ms, present=True)

    def _set_cause(self, check: Check, cause: str, now_ms: int, *, present: bool) -> None:
        if check.health.set_cause(cause, now_ms, present=present):
            self._emit("gateway.degraded", gateway=check.name, cause=cause)

    def _in_company(self, check: Check, now_ms: int) -> bool:
        """Whether another member is without an answer, too, at this very instant (design 5.5)."""
        return any(
            other.evidence.unanswered(now_ms) or other.evidence.undetermined(now_ms)
            for other in check.others
            if self._is_member(other)
        )

    def _conclude(self, check: Check, finding: Finding, now_ms: int) -> None:
        result = "passed" if finding.passed else (finding.death or "nothing")
        self._emit(
            "burst.ended",
            gateway=check.name,
            check=check.key,
            result=str(result),
            took_ms=finding.ended_ms - finding.burst_start_ms,
        )
        if finding.death is None:
            return
        first = check.health.on_verdict(finding, company=self._in_company(check, now_ms))
        detect_ms = finding.ended_ms - finding.first_sign_ms
        self._emit(
            "check.fell",
            gateway=check.name,
            check=check.key,
            class_=finding.death.value,
            witness=finding.witness,
            first_failure_at_ms=finding.first_sign_ms,
            detect_ms=detect_ms,
        )
        if first:
            lead_ms = self._lead_ms(check.name, finding.first_sign_ms)
            self._emit(
                "gateway.went_down",
                Severity.INFO if lead_ms is not None else None,  # it was out, as planned
                gateway=check.name,
                check=check.key,
                class_=finding.death.value,
                reason=check.reason(GatewayState.DOWN),
                witness=finding.witness,
                first_failure_at_ms=finding.first_sign_ms,
                detect_ms=detect_ms,
                lead_ms=lead_ms,
            )
        if now_ms < self._vips_blind_until(check) and finding.death is not DeathClass.REFUSED:
            check.health.mark_stale()

    def _vips_blind_until(self, check: Check) -> int:
        return max((self._vips[vip].blind_ends_ms for vip in check.vips), default=0)

    def _rose(self, check: Check, down_since_ms: int | None) -> None:
        health = check.health
        self._emit("check.rose", gateway=check.name, check=check.key)
        check.evidence.last_overload_ms = None  # healed: its old failures are no present load
        if health.hold_until_ms is not None:
            self._emit(
                "gateway.waiting",
                gateway=check.name,
                check=check.key,
                hold_down_ms=health.hold_ms(),
                removals=health.removals,
                until_ms=health.hold_until_ms,
            )
            return
        if down_since_ms is not None:
            self._emit(
                "gateway.came_up",
                gateway=check.name,
                check=check.key,
                down_ms=self._now_ms - down_since_ms,
            )

    # --- held connections and other sensors -----------------------------------------------------

    def observe_held_opened(self, check: str, now_ms: int) -> tuple[Event, ...]:
        """A light probe's connection is held and carries heartbeats from now on."""
        return self._sense(check, now_ms, lambda found: found.evidence.on_held_opened())

    def observe_held_closed(self, check: str, now_ms: int) -> tuple[Event, ...]:
        """The held connection ended in order: a GOAWAY, or we closed it ourselves."""
        return self._sense(check, now_ms, lambda found: found.evidence.on_held_closed())

    def observe_held_lost(self, check: str, detail: str, now_ms: int) -> tuple[Event, ...]:
        """The held connection was reset or closed without a GOAWAY: ask at once."""

        def lost(found: Check) -> None:
            found.evidence.on_held_closed()
            self._trip(found, "held", detail, now_ms)

        return self._sense(check, now_ms, lost)

    def observe_heartbeat_missed(self, check: str, sent_ms: int, now_ms: int) -> tuple[Event, ...]:
        """A heartbeat has had no answer within its deadline."""

        def missed(found: Check) -> None:
            found.evidence.on_miss(now_ms)
            self._trip(found, "heartbeat", f"sent {now_ms - sent_ms} ms ago", now_ms)

        return self._sense(check, now_ms, missed)

    def observe_heartbeat_heard(self, check: str, now_ms: int) -> tuple[Event, ...]:
        """The first answer after a miss."""

        def heard(found: Check) -> None:
            found.evidence.on_heard()
            self._emit("sensor.recovered", gateway=found.name, check=found.key, sensor="heartbeat")

        return self._sense(check, now_ms, heard)

    def observe_heartbeat_unavailable(
        self,
        check: str,
        detail: str,
        now_ms: int,
    ) -> tuple[Event, ...]:
        """The gateway refuses HTTP/2: full probes only, and no heartbeat; told once."""

        def refused(found: Check) -> None:
            if not found.evidence.heartbeat_refused:
                found.evidence.heartbeat_refused = True
                self._emit("probe.no_heartbeat", gateway=found.name, check=found.key, detail=detail)

        return self._sense(check, now_ms, refused)

    def observe_sensor(
        self,
        gateway: str,
        sensor: str,
        detail: str,
        now_ms: int,
    ) -> tuple[Event, ...]:
        """Another sensor (BGP, Kubernetes) has turned bad: ask the gateway itself."""
        self._clock(now_ms)
        for check in self._by_gateway.get(gateway, ()):
            self._trip(check, sensor, detail, now_ms)
            self._touch(check, now_ms)
        return self._flush()

    def observe_degradation(
        self,
        gateway: str,
        cause: str,
        now_ms: int,
        *,
        present: bool,
    ) -> tuple[Event, ...]:
        """A cause of degradation has come or gone (BGP, node not ready)."""
        self._clock(now_ms)
        for check in self._by_gateway.get(gateway, ()):
            self._set_cause(check, cause, now_ms, present=present)
            self._touch(check, now_ms)
        return self._flush()

    def _sense(
        self,
        check: str,
        now_ms: int,
        what: Callable[[Check], None],
    ) -> tuple[Event, ...]:
        self._clock(now_ms)
        found = self._checks.get(check)
        if found is not None:
            what(found)
            self._touch(found, now_ms)
        return self._flush()

    def _trip(self, check: Check, sensor: str, detail: str, now_ms: int) -> None:
        if not check.evidence.trips(sensor, now_ms):
            return
        self._emit(
            "sensor.tripped", gateway=check.name, check=check.key, sensor=sensor, detail=detail
        )
        self._start_burst(check, sensor, now_ms)
        self._collect(check, now_ms)

    # --- routers and routes ---------------------------------------------------------------------

    def observe_router_up(self, facts: RouterFacts, now_ms: int) -> tuple[Event, ...]:
        """A session is open, or a reconcile has read the router's own facts."""
        self._clock(now_ms)
        router = self._routers.get(facts.router)
        if router is None:
            return self._flush()
        before, was_up = router.facts, router.up
        if not was_up:
            router.up = True
            router.back_ms = now_ms
            for route in self._routes_on(facts.router):
                route.note_reconnect()
            self._tell_connected(router, facts, now_ms)
        if before is not None:
            if facts.major != before.major:
                self._upgraded(router, before, facts)
            elif facts.uptime_ms < before.uptime_ms:
                self._emit("router.rebooted", router=facts.router, uptime_ms=facts.uptime_ms)
                router.bgp.forget()
                for route in self._routes_on(facts.router):
                    route.rebooted = True
        router.facts = facts
        self._dirty_router(facts.router)
        return self._flush()

    def _tell_connected(self, router: _Router, facts: RouterFacts, now_ms: int) -> None:
        if router.lost_ms is None:
            self._emit(
                "router.connected",
                router=facts.router,
                version=facts.version,
                board=facts.board or None,
            )
        else:
            self._emit(
                "router.recovered",
                router=facts.router,
                lost_ms=now_ms - router.lost_ms,
                version=facts.version,
            )
        router.lost_ms = None

    def _upgraded(self, router: _Router, before: RouterFacts, facts: RouterFacts) -> None:
        router.upgraded_to = facts.version
        self._emit(
            "router.upgraded", router=facts.router, before=before.version, after=facts.version
        )

    def observe_router_lost(
        self,
        router: str,
        detail: str,
        now_ms: int,
        *,
        login_refused: bool = False,
    ) -> tuple[Event, ...]:
        """The router cannot be reached, or refuses the login."""
        self._clock(now_ms)
        found = self._routers.get(router)
        if found is not None:
            if login_refused and (found.up or found.lost_ms is None):
                self._emit("router.login_refused", router=router, detail=detail)
            elif found.up or found.lost_ms is None:
                self._emit("router.lost", router=router, detail=detail)
            found.up = False
            if found.lost_ms is None:
                found.lost_ms = now_ms
            self._dirty_router(router)
        return self._flush()

    def observe_router_answered(
        self,
        router: str,
        sent_ms: int,
        answered_ms: int,
        now_ms: int,
    ) -> tuple[Event, ...]:
        """A router answered a read: a witness where no other gateway can be one."""
        self._clock(now_ms)
        found = self._routers.get(router)
        if found is not None:
            found.answers.append((sent_ms, answered_ms))
            key = self._witness_reads.pop(router, None)
            check = self._checks.get(key) if key is not None else None
            if check is not None and check.evidence.burst is not None:
                self._touch(check, now_ms)
        return self._flush()

    def observe_route(self, read: RouteRead, now_ms: int) -> tuple[Event, ...]:
        """Take the rows a router shows for a VIP."""
        self._clock(now_ms)
        route = self._routes.get((read.router, read.vip))
        if route is None:
            return self._flush()
        vip = self._vips[read.vip]
        seen = route.observe(
            read, vip.config, vip.gateways, now_ms=now_ms, started_ms=self._started_ms
        )
        self._explain(route, seen, now_ms)
        self._move_members(route, seen, now_ms)
        self._tell_rows(route, now_ms)
        self._dirty.add(route.key)
        return self._flush()

    def _tell_rows(self, route: Route, now_ms: int) -> None:
        """Say once what a read shows beside the members."""
        vip, router = route.vip, route.router
        news = route.news()
        if news.foreign:
            self._emit("route.foreign_found", vip=vip, router=router, rows=news.foreign)
        if news.unknown:
            self._emit("route.unknown_next_hop", vip=vip, router=router, next_hops=news.unknown)
        if news.inactive:
            self._emit(
                "route.drifted",
                vip=vip,
                router=router,
                expected=route.members,
                found=tuple(name for name in route.members if name not in news.inactive),
                detail=f"the router calls unreachable: {', '.join(news.inactive)}",
            )
        if route.missing_since_ms == now_ms:
            detail = "every row of ours is gone; put back after a second look"
            self._emit("route.missing", vip=vip, router=router, detail=detail)

    def observe_read_refused(
        self,
        router: str,
        vip: str,
        detail: str,
        now_ms: int,
    ) -> tuple[Event, ...]:
        """A router will not show a VIP's rows, or cannot serve it: nothing is written there."""
        self._clock(now_ms)
        route = self._routes.get((router, vip))
        if route is not None and route.unreadable != detail:
            route.unreadable = detail
            self._emit("route.unreadable", vip=vip, router=router, detail=detail)
            self._dirty.add(route.key)
        return self._flush()

    def _explain(self, route: Route, seen: Seen, now_ms: int) -> None:
        if seen.verified is not None and seen.change is Change.OURS:
            read = route.read
            assert read is not None
            first_ms = self._first_sign(seen.verified.planned)
            self._emit(
                "route.verified",
                vip=route.vip,
                router=route.router,
                added=seen.verified.planned.added,
                removed=seen.verified.planned.removed,
                in_route=seen.after,
                read_ms=read.answered_ms - read.sent_ms,
                total_ms=now_ms - first_ms if first_ms is not None else None,
            )
        elif seen.late_step is not None:
            self._tell_changed(route, seen.late_step)
        elif seen.change is Change.DRIFT:
            self._emit(
                "route.drifted",
                vip=route.vip,
                router=route.router,
                expected=self._names_after(route.vip, seen),
                found=seen.after,
                detail="the router answered done, but shows something else",
            )
        elif seen.change is Change.HUMAN:
            self._human_edited(route, seen, now_ms)
        elif seen.change is Change.OTHERS:
            self._yield_to_others(route)

    def _human_edited(self, route: Route, seen: Seen, now_ms: int) -> None:
        vip = self._vips[route.vip]
        passing = sum(
            self._checks[key].passing(now_ms)
            for key in vip.checks
            if self._checks[key].name in seen.after
        )
        until_ms: int | None = None
        if vip.config.restore_human_edits and self._config.enforce:
            route.human_hold.clear()
            if route.restored(seen.edited, now_ms):
                self._emit("route.contested", vip=route.vip, router=route.router, restored=3)
        else:
            until_ms = now_ms + self._config.human_hold_ms
            route.human_until_ms = until_ms
        self._emit(
            "route.human_edited",
            Severity.CRITICAL if passing == 0 else None,
            vip=route.vip,
            router=route.router,
            before=seen.before,
            after=seen.after,
            until_ms=until_ms,
            passing=passing,
        )

    def _names_after(self, vip: str, seen: Seen) -> tuple[str, ...]:
        assert seen.verified is not None
        planned = seen.verified.planned
        inside = {*seen.before, *planned.added} - {*planned.removed}
        return tuple(name for name in self._order(vip) if name in inside)

    def _move_members(self, route: Route, seen: Seen, now_ms: int) -> None:
        step = seen.verified or seen.late_step
        entered = step.planned.added if step is not None and seen.change is Change.OURS else ()
        for name in seen.joined:
            for check in self._checks_in(route, name):
                if name in entered and (
                    check.health.verdict is not None or check.health.owes_hold_down
                ):
                    check.health.on_entered_early(now_ms)
                elif check.health.verdict is None:
                    check.health.presume_up(now_ms)
                self._touch(check, now_ms)
        for name in seen.left:
            for check in self._checks_in(route, name):
                fault = check.health.verdict is not None or check.health.degraded
                if fault and not self._drains.get(name):
                    was = check.health.owes_hold_down
                    removals = check.health.on_left(now_ms)
                    if removals >= FLAPPING_AT and not was:
                        self._emit(
                            "gateway.flapping",
                            gateway=name,
                            removals=removals,
                            hold_down_ms=check.health.hold_ms(),
                        )
                self._touch(check, now_ms)

    def _checks_in(self, route: Route, name: str) -> Iterator[Check]:
        for check in self._by_gateway.get(name, ()):
            if route.vip in check.vips:
                yield check

    def observe_step(self, result: StepResult, now_ms: int) -> tuple[Event, ...]:
        """Take what became of a step."""
        self._clock(now_ms)
        planned = result.planned
        route = self._routes.get((planned.router, planned.vip))
        if route is None:
            return self._flush()
        storm = route.storm_until_ms
        route.observe_step(result, now_ms)
        match result.outcome:
            case StepOutcome.DONE:
                self._tell_changed(route, result)
                self._note_left(planned, result.finished_ms)
            case StepOutcome.REFUSED:
                retry_ms = route.retry_at_ms(planned)
                self._emit(
                    "route.write_refused",
                    vip=route.vip,
                    router=route.router,
                    message=result.message,
                    refusal=(result.refusal or "other"),
                    retry_ms=retry_ms - now_ms if retry_ms else None,
                )
            case StepOutcome.UNCERTAIN:
                self._emit(
                    "route.write_uncertain",
                    vip=route.vip,
                    router=route.router,
                    message=result.message,
                )
            case _:
                assert_never(result.outcome)
        if route.storm_until_ms is not None and route.storm_until_ms != storm:
            self._emit(
                "route.write_storm",
                vip=route.vip,
                router=route.router,
                writes=route.writes_lately(now_ms),
                until_ms=route.storm_until_ms,
            )
        self._dirty.add(route.key)
        return self._flush()

    def _note_left(self, planned: PlannedStep, at_ms: int) -> None:
        for name in planned.removed:
            going = self._cluster.pods.get(name)
            if going is not None:
                going.left_ms = at_ms

    def _first_sign(self, planned: PlannedStep) -> int | None:
        signs = [
            check.health.verdict.first_sign_ms
            for name in planned.removed
            for check in self._by_gateway.get(name, ())
            if check.health.verdict is not None
        ]
        return min(signs, default=None)

    def _tell_changed(self, route: Route, result: StepResult) -> None:
        planned = result.planned
        if not (planned.added or planned.removed):
            return
        first_ms = self._first_sign(planned)
        verdicts = [
            check.health.verdict
            for name in planned.removed
            for check in self._by_gateway.get(name, ())
            if check.health.verdict is not None
        ]
        observed = set(route.members)
        in_route = tuple(
            name
            for name in self._order(route.vip)
            if (name in observed or name in planned.added) and name not in planned.removed
        )
        self._emit(
            "route.changed",
            vip=route.vip,
            router=route.router,
            added=planned.added,
            removed=planned.removed,
            in_route=in_route,
            reason=planned.reason,
            class_=verdicts[0].death.value if verdicts else None,
            first_failure_at_ms=first_ms,
            detect_ms=verdicts[0].detect_ms if verdicts else None,
            write_ms=result.finished_ms - result.sent_ms,
            total_ms=result.finished_ms - first_ms if first_ms is not None else None,
        )

    def observe_opinion(self, result: OpinionResult, now_ms: int) -> tuple[Event, ...]:
        """Take a router's opinion about a suspect."""
        self._clock(now_ms)
        view = OpinionView(
            opinion=result.opinion, asked_ms=result.asked_ms, answered_ms=result.answered_ms
        )
        news = False
        for route in self._routes_on(result.router):
            if any(self._checks_in(route, result.gateway)):
                before = route.opinions.get(result.gateway)
                same = isinstance(before, OpinionView) and before.opinion is result.opinion
                news = news or not same
                route.opinions[result.gateway] = view
                self._dirty.add(route.key)
        quiet = result.opinion is Opinion.UNKNOWN or not news
        self._emit(
            "router.opinion_given",
            Severity.DEBUG if quiet else None,
            router=result.router,
            gateway=result.gateway,
            opinion=result.opinion.value,
            asked_ms=result.asked_ms,
            took_ms=result.answered_ms - result.asked_ms,
            detail=result.detail or None,
        )
        return self._flush()

    # --- BGP (design 7) -------------------------------------------------------------------------

    def observe_bgp(
        self,
        router: str,
        sessions: BgpSessions | None,
        now_ms: int,
    ) -> tuple[Event, ...]:
        """Take one poll of a router's BGP sessions; None: the list cannot be read."""
        self._clock(now_ms)
        found = self._routers.get(router)
        if found is None or self._config.bgp_policy is BgpPolicy.OFF:
            return self._flush()
        if sessions is None:
            found.bgp.unreadable()
        else:
            lost, back = found.bgp.observe(sessions, now_ms)
            self._tell_sessions(found.bgp, lost, back, now_ms)
        self._judge_bgp(now_ms)
        self._dirty_router(router)
        return self._flush()

    def _tell_sessions(
        self,
        watch: BgpWatch,
        lost: list[str],
        back: list[tuple[str, int]],
        now_ms: int,
    ) -> None:
        for gateway in lost:
            self._emit("bgp.session_lost", router=watch.router, gateway=gateway)
            if self._config.bgp_policy is BgpPolicy.DEGRADE:
                for check in self._by_gateway.get(gateway, ()):
                    self._trip(check, "bgp", f"session with {watch.router} lost", now_ms)
                    self._touch(check, now_ms)
        for gateway, lost_ms in back:
            self._emit(
                "bgp.session_recovered", router=watch.router, gateway=gateway, lost_ms=lost_ms
            )
        here = [vip for vip in self._vips.values() if watch.router in vip.config.routers]
        for vip in here:
            names = [self._checks[key].name for key in vip.checks]
            for gateway in watch.not_configured(names):
                self._emit("bgp.not_configured", router=watch.router, gateway=gateway)
            together = tuple(name for name in lost if watch.common_cause(name, names))
            if together:
                self._emit(
                    "bgp.common_cause",
                    router=watch.router,
                    vip=vip.config.name,
                    gateways=together,
                )

    def _judge_bgp(self, now_ms: int) -> None:
        """Set or clear the cause `bgp` of every gateway."""
        if self._config.bgp_policy is not BgpPolicy.DEGRADE:
            return
        for check in self._checks.values():
            sick = self._bgp_sick(check, now_ms)
            if sick != ("bgp" in check.health.causes):
                self._set_cause(check, "bgp", now_ms, present=sick)
                self._touch(check, now_ms)

    def _bgp_sick(self, check: Check, now_ms: int) -> bool:
        """Whether a session once established is down for too long, and not by a common cause."""
        watches = [self._routers[name].bgp for name in self._routers_of(check)]
        if any(watch.established(check.name) for watch in watches):
            return False
        for route in self._routes_of(check):
            watch = self._routers[route.router].bgp
            since_ms = watch.down_since_ms(check.name)
            names = [self._checks[key].name for key in self._vips[route.vip].checks]
            if since_ms is None or watch.common_cause(check.name, names):
                continue
            limit_ms = self._config.bgp_down_for_ms
            opinion = route.opinions.get(check.name)
            if (
                isinstance(opinion, OpinionView)
                and opinion.opinion is Opinion.DEAD
                and opinion.asked_ms >= since_ms
            ):
                limit_ms = min(limit_ms, DOWN_WITH_NODE_MS)
            if now_ms >= since_ms + limit_ms:
                return True
        return False

    def _bgp_down(self) -> Iterator[tuple[Route, Check, int]]:
        """Yield the gateways whose session is down, once for each route it concerns."""
        if self._config.bgp_policy is not BgpPolicy.DEGRADE:
            return
        for route in self._routes.values():
            watch = self._routers[route.router].bgp
            if not watch.any_down:
                continue
            for key in self._vips[route.vip].checks:
                since_ms = watch.down_since_ms(self._checks[key].name)
                if since_ms is not None:
                    yield route, self._checks[key], since_ms

    def _bgp_questions(self, now_ms: int) -> Iterator[OpinionRequest]:
        """Yield the pings that a lost session asks for: does the node live at all?"""
        for route, check, since_ms in self._bgp_down():
            long_ago = now_ms >= since_ms + self._config.bgp_down_for_ms
            if long_ago or not self._routers[route.router].up:
                continue
            opinion = route.opinions.get(check.name)
            asked_ms = opinion.asked_ms if isinstance(opinion, OpinionView) else 0
            if asked_ms < since_ms or now_ms >= asked_ms + OPINION_HOLDS_MS:
                yield OpinionRequest(
                    router=route.router, gateway=check.name, address=check.gateway.address
                )

    def _bgp_deadlines(self) -> Iterator[int]:
        for route, check, since_ms in self._bgp_down():
            yield since_ms + DOWN_WITH_NODE_MS
            yield since_ms + self._config.bgp_down_for_ms
            opinion = route.opinions.get(check.name)
            if isinstance(opinion, OpinionView):
                yield opinion.asked_ms + OPINION_HOLDS_MS

    def _gate_until_ms(self, route: Route, check: Check) -> int | None:
        """Return until when an entry waits for the session that the gateway once had."""
        if self._config.bgp_policy is not BgpPolicy.DEGRADE:
            return None
        if self._routers[route.router].bgp.down_since_ms(check.name) is None:
            return None
        return check.health.since_ms + GATE_MS

    def observe_writer(self, now_ms: int, *, writer: bool, sure: bool = True) -> tuple[Event, ...]:
        """Whether this instance holds the lease, or needs none.

        A holder that is not `sure`, since it cannot renew, goes on while the rows are as it knows
        them, and looks before each write; the first change it did not make ends that.
        """
        self._clock(now_ms)
        took_over = writer and sure and (self._not_writer or self._unsure_writer)
        self._not_writer = not writer
        self._unsure_writer = writer and not sure
        for route in self._routes.values():
            if took_over:
                route.take_over(now_ms)
            elif self._not_writer or self._unsure_writer:
                route.others_write = True
        self._dirty.update(self._routes)
        return self._flush()

    def _yield_to_others(self, route: Route) -> None:
        """Rows changed by another hand while the lease could not be renewed: stop writing."""
        if self._unsure_writer and not self._not_writer:
            self._not_writer = True
            self._emit(
                "lease.lost",
                detail=f"{route.vip} on {route.router} was changed by somebody else while the "
                "lease could not be renewed; nothing is written until it is read again",
            )
            self._dirty.update(self._routes)

    # --- the cluster ----------------------------------------------------------------------------

    def observe_node(
        self, gateway: str, *, ready: bool, detail: str, now_ms: int
    ) -> tuple[Event, ...]:
        """Take a node's Ready condition."""
        self._clock(now_ms)
        self._cluster.observe_node(gateway, ready=ready, detail=detail, now_ms=now_ms)
        self._judge_cluster(now_ms)
        return self._flush()

    def observe_pod_going(
        self, gateway: str, pod: str, grace_ms: int, now_ms: int
    ) -> tuple[Event, ...]:
        """An Envoy Pod is being deleted: its gateway leaves as planned, before the port closes."""
        self._clock(now_ms)
        if gateway in self._by_gateway:
            self._cluster.pod_going(gateway, pod, grace_ms=grace_ms, now_ms=now_ms)
            self._drain(Drain(gateway=gateway, source=POD, reason=f"Pod {pod} is being deleted"))
            self._dirty.update(self._routes)
        return self._flush()

    def observe_pod_gone(self, gateway: str, now_ms: int) -> tuple[Event, ...]:
        """The Pod is gone or replaced: the gateway has to rise, but owes no hold-down."""
        self._clock(now_ms)
        if self._cluster.pods.pop(gateway, None) is not None:
            self._undrain(Undrain(gateway=gateway, source=POD), "the Pod is gone or replaced")
            for check in self._by_gateway.get(gateway, ()):
                if not self._is_member(check):
                    check.health.rise_again(now_ms)
                self._touch(check, now_ms)
            self._dirty.update(self._routes)
        return self._flush()

    def _judge_cluster(self, now_ms: int) -> None:
        """Do what time alone does to what the cluster has said."""
        if self._cluster.quiet and not self._cluster_judged:
            return
        self._cluster_judged = not self._cluster.quiet
        for gateway, detail in self._cluster.newly_not_ready(now_ms):
            for check in self._by_gateway.get(gateway, ()):
                self._trip(check, "kubernetes", f"node not ready: {detail}", now_ms)
        vips = {
            vip.config.name: [self._checks[key].name for key in vip.checks]
            for vip in self._vips.values()
        }
        own, common = self._cluster.sick(vips)
        if common - self._cluster.common:
            self._emit(
                "kube.warning_found",
                kind="Node",
                object=", ".join(sorted(common)),
                detail="half or more of a VIP's nodes became not ready together, so none of them "
                "counts as degraded",
                fix="look at the API server, the controller manager and the network first",
            )
        self._cluster.common = common
        for check in self._checks.values():
            present = check.name in own
            if present != (NOT_READY in check.health.causes):
                self._set_cause(check, NOT_READY, now_ms, present=present)
                self._touch(check, now_ms)
        for gateway, going in self._cluster.overdue(now_ms):
            if all(check.passing(now_ms) for check in self._by_gateway.get(gateway, ())):
                self._void_pod(gateway, going.pod, now_ms)

    def _void_pod(self, gateway: str, pod: str, now_ms: int) -> None:
        del self._cluster.pods[gateway]
        self._undrain(Undrain(gateway=gateway, source=POD), "it still serves")
        self._dirty.update(self._routes)
        self._emit(
            "kube.warning_found",
            kind="Pod",
            object=pod,
            detail=f"its end was announced and its time is up, but {gateway} still passes probes",
            fix="look at the node's kubelet, and delete the Pod again",
        )
        for check in self._by_gateway.get(gateway, ()):
            self._touch(check, now_ms)

    def _burst_where_held(self, decision: RouteDecision, now_ms: int) -> None:
        """A floor holds a gateway whose Pod is going: watch for its death from now on."""
        for kept in decision.kept:
            going = self._cluster.pods.get(kept.gateway)
            if going is not None and not going.burst:
                going.burst = True
                for check in self._by_gateway[kept.gateway]:
                    self._start_burst(check, POD, now_ms)
                    self._collect(check, now_ms)

    def _lead_ms(self, gateway: str, first_sign_ms: int) -> int | None:
        """Return how long before the first sign of its end a gateway had left the route."""
        going = self._cluster.pods.get(gateway)
        if going is None or going.left_ms is None:
            return None
        return first_sign_ms - going.left_ms

    # --- our own trouble ------------------------------------------------------------------------

    def observe_stall(self, stall_ms: int, now_ms: int) -> tuple[Event, ...]:
        """We were late by `stall_ms`: give open bursts that time, or start over."""
        self._clock(now_ms)
        if self._trouble.on_stall(stall_ms, now_ms):
            self._emit("daemon.stalled", stall_ms=stall_ms, cause="stall")
            self._begin_warm_up(now_ms, "stall")
        else:
            for check in self._checks.values():
                if check.evidence.burst is not None:
                    check.evidence.on_stall(stall_ms)
                    self._touch(check, now_ms)
        return self._flush()

    def observe_suspend(self, gap_ms: int, now_ms: int) -> tuple[Event, ...]:
        """The machine slept: what was known before is worth nothing."""
        self._clock(now_ms)
        self._emit("daemon.stalled", stall_ms=gap_ms, cause="suspend")
        self._begin_warm_up(now_ms, "suspend")
        return self._flush()

    def _begin_warm_up(self, now_ms: int, cause: str) -> None:
        often = self._trouble.begin_warm_up(now_ms, self._config.warm_up_ms, cause)
        self._emit(
            "daemon.warming_up",
            Severity.WARNING if often else None,
            cause=cause,
            until_ms=self._trouble.warm_up_until_ms,
        )
        for check in self._checks.values():
            check.evidence.abandon(now_ms)
            check.health.warm_up(now_ms)
            if self._is_member(check):
                check.health.presume_up(now_ms)
            self._touch(check, now_ms)
        self._dirty.update(self._routes)

    # --- commands -------------------------------------------------------------------------------

    def command(self, command: Command, now_ms: int) -> tuple[Event, ...]:
        """Carry out a person's (or the cluster's) wish.

        Raises:
            CommandRefused: with one sentence that says why and what to do.
        """
        self._clock(now_ms)
        match command:
            case Drain():
                self._drain(command)
            case Undrain():
                asked = command.source == "person"
                self._undrain(command, "asked" if asked else "no longer asked for")
            case Pause():
                self._paused = command
                self._emit("daemon.paused", owner=command.owner, until_ms=command.until_ms)
            case Resume():
                self._resume(command)
            case Recheck():
                for check in self._known(command.gateway):
                    self._start_burst(check, "recheck", now_ms)
                    self._collect(check, now_ms)
                    self._touch(check, now_ms)
            case HandOver():
                self._hand_over(command)
            case DropNextHop():
                self._drop(command)
            case _:
                assert_never(command)
        self._dirty.update(self._routes)
        return self._flush()

    def _known(self, gateway: str) -> list[Check]:
        checks = self._by_gateway.get(gateway)
        if not checks:
            known = ", ".join(sorted(self._by_gateway))
            text = f'there is no gateway "{gateway}"; known are {known}'
            raise CommandRefused(text)
        return checks

    def _drain(self, command: Drain) -> None:
        self._known(command.gateway)
        drains = self._drains.setdefault(command.gateway, {})
        drains[command.source] = command
        self._emit(
            "gateway.drained",
            gateway=command.gateway,
            source=command.source,
            owner=command.owner or None,
            reason=command.reason or None,
            until_ms=command.until_ms,
            force=command.force,
        )

    def _undrain(self, command: Undrain, cause: str) -> None:
        drains = self._drains.get(command.gateway, {})
        drain = drains.pop(command.source, None)
        if drain is None:
            if command.source == "person":
                text = f'"{command.gateway}" is not drained by a person; nothing to undo'
                raise CommandRefused(text)
            return
        if not drains:
            del self._drains[command.gateway]
        self._emit(
            "gateway.undrained",
            gateway=command.gateway,
            source=command.source,
            owner=drain.owner or None,
            cause=cause,
        )

    def _resume(self, command: Resume) -> None:
        if self._paused is not None:
            self._paused = None
            self._emit("daemon.resumed", owner=command.owner, cause="asked")
        for route in self._routes.values():
            route.resume()
        for router in self._routers.values():
            router.upgraded_to = ""

    def _hand_over(self, command: HandOver) -> None:
        vip = self._vips.get(command.vip)
        if vip is None:
            known = ", ".join(self._vips)
            text = f'there is no VIP "{command.vip}"; known are {known}'
            raise CommandRefused(text)
        routes = [route for route in self._routes.values() if route.vip == command.vip]
        for route in routes if command.to_bgp else ():
            if not self._live_bgp(route):
                text = (
                    f"{route.router} shows no BGP route for {vip.config.destination} from an "
                    "established session, so handing over would leave the VIP without any route; "
                    "nothing was changed"
                )
                raise CommandRefused(text)
        for route in routes:
            route.handed_over = command.to_bgp
            route.human_hold.clear()
            self._emit(
                "route.handed_over",
                vip=route.vip,
                router=route.router,
                to="bgp" if command.to_bgp else "edged",
                owner=command.owner or None,
            )

    def _live_bgp(self, route: Route) -> bool:
        """Whether a BGP route for the VIP comes from a session that is up, as last read."""
        if route.own is None:
            return False
        gateways = self._vips[route.vip].gateways
        watch = self._routers[route.router].bgp
        names = {
            gateways[address_of(hop)].name
            for row in route.own.bgp
            for hop in row.next_hops
            if address_of(hop) in gateways
        }
        return any(watch.established(name) for name in names)

    def _drop(self, command: DropNextHop) -> None:
        routes = [route for route in self._routes.values() if route.vip == command.vip]
        known = {hop for route in routes if route.own is not None for hop in route.own.unknown}
        wanted = {hop for hop in known if command.next_hop in {hop, address_of(hop)}}
        if not wanted:
            text = (
                f'"{command.next_hop}" is not an unknown next hop of {command.vip}; '
                f"those are: {', '.join(sorted(known)) or 'none'}"
            )
            raise CommandRefused(text)
        for route in routes:
            route.drops |= wanted

    def _end_timed_commands(self, now_ms: int) -> None:
        if (
            self._paused is not None
            and self._paused.until_ms is not None
            and now_ms >= self._paused.until_ms
        ):
            owner = self._paused.owner
            self._paused = None
            self._emit("daemon.resumed", owner=owner, cause="time is up")
            self._dirty.update(self._routes)
        over = [
            drain
            for drains in self._drains.values()
            for drain in drains.values()
            if drain.until_ms is not None and now_ms >= drain.until_ms
        ]
        for drain in over:
            self._undrain(Undrain(gateway=drain.gateway, source=drain.source), "time is up")
            self._dirty.update(self._routes)
        if not self._trouble.warming_up(now_ms) and self._trouble.cause:
            self._trouble.cause = ""
            self._dirty.update(self._routes)
        for route in self._routes.values():
            if route.human_until_ms is not None and now_ms >= route.human_until_ms:
                route.human_until_ms = None
                self._dirty.add(route.key)

    # --- configuration --------------------------------------------------------------------------

    def configure(self, config: CoreConfig, now_ms: int) -> tuple[Event, ...]:
        """Take a new configuration; streaks of checks that stay are kept."""
        self._clock(now_ms)
        self._config = config
        self._configure(config, now_ms)
        return self._flush()

    def _configure(self, config: CoreConfig, now_ms: int) -> None:
        gateways = {gateway.name: gateway for gateway in config.gateways}
        self._configure_checks(config, gateways, now_ms)
        before = self._vips
        self._vips = {}
        for vip in config.vips:
            fresh = _Vip(config=vip, checks=vip.checks)
            for key in vip.checks:
                gateway = self._checks[key].gateway
                fresh.gateways[gateway.next_hop] = gateway
            old = before.get(vip.name)
            if old is not None:
                fresh.blind, fresh.blind_ends_ms = old.blind, old.blind_ends_ms
                for hop, gateway in (*old.gateways.items(), *old.departed.items()):
                    if hop not in fresh.gateways:
                        fresh.departed[hop] = gateway
                        fresh.gateways[hop] = gateway
            self._vips[vip.name] = fresh
        for check in self._checks.values():
            check.vips = tuple(v.name for v in config.vips if check.key in v.checks)
            check.hurried_by.clear()
            self._find_neighbours(check)
        for router in config.routers:
            self._routers.setdefault(router, _Router(bgp=BgpWatch(router)))
        wanted = {(router, vip.name) for vip in config.vips for router in vip.routers}
        self._routes = {
            key: self._routes.get(key) or Route(*key)
            for vip in config.vips
            for key in ((router, vip.name) for router in vip.routers)
        }
        self._views_of.clear()
        for check in self._checks.values():
            check.routes = tuple(key for key in self._routes if key[1] in check.vips)
        self._decisions = {k: d for k, d in self._decisions.items() if k in wanted}
        self._dirty = set(self._routes)
        for route in self._routes.values():
            held = self._vips[route.vip]
            route.resort(held.config, held.gateways)
            for name in route.members:
                for check in self._checks_in(route, name):
                    check.health.presume_up(now_ms)
        for check in self._checks.values():
            self._touch(check, now_ms)

    def _configure_checks(
        self,
        config: CoreConfig,
        gateways: dict[str, GatewayConfig],
        now_ms: int,
    ) -> None:
        kept = self._checks
        self._checks = {}
        count = len(config.checks)
        for index, wanted in enumerate(config.checks):
            old = kept.get(wanted.key)
            if old is not None and old.gateway == gateways[wanted.gateway]:
                old.evidence.reconfigure(wanted)
                old.health.hold_down = config.hold_down
                self._checks[wanted.key] = old
                continue
            spread_ms = index * wanted.timing.interval_ms // count
            self._checks[wanted.key] = Check(
                wanted,
                gateways[wanted.gateway],
                hold_down=config.hold_down,
                now_ms=now_ms,
                first_probe_ms=now_ms + spread_ms,
                ids=self._new_id,
                jitter=config.jitter_permille,
                jitter_at=index * 7,
            )
        self._by_gateway = {}
        for check in self._checks.values():
            self._by_gateway.setdefault(check.name, []).append(check)
        self._due = {
            probe_id: request
            for probe_id, request in self._due.items()
            if request.check in self._checks
        }

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    # --- from checks to routes ------------------------------------------------------------------

    def _touch(self, check: Check, now_ms: int) -> None:
        """After any change of a check: let rules apply, reschedule it, mark its routes."""
        if check.evidence.burst is not None:
            finding = check.evidence.conclude(
                now_ms, lambda sent, answered: self._find_witness(check, sent, answered)
            )
            if finding is not None:
                self._conclude(check, finding, now_ms)
        self._collect(check, now_ms)
        deadline_ms = check.next_deadline_ms(now_ms)
        if deadline_ms != check.deadline_ms:
            check.deadline_ms = deadline_ms
            if deadline_ms is not None:
                heapq.heappush(self._heap, (deadline_ms, check.key))
        facts = check.facts(now_ms)
        if facts != check.seen:
            check.seen = facts
            self._views_of.pop(check.key, None)
            self._moved.update(check.routes)

    def _refresh_blindness(self, vip: _Vip, now_ms: int) -> None:
        checks = [self._checks[key] for key in vip.checks]
        blind = _sees_nothing(checks, now_ms)
        if blind == vip.blind:
            return
        vip.blind = blind
        if not blind:
            vip.blind_ends_ms = now_ms + BLIND_AFTER_MS
            for check in checks:
                verdict = check.health.verdict
                if verdict is not None and verdict.death is not DeathClass.REFUSED:
                    check.health.mark_stale()
                    self._touch(check, now_ms)
        self._dirty.update(key for key in self._routes if key[1] == vip.config.name)

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

    def _changed(self, route: Route, now_ms: int) -> bool:
        key = route.key
        return key in self._moved or key in self._dirty or self._outdated(route, now_ms)

    def _outdated(self, route: Route, now_ms: int) -> bool:
        deadline_ms = self._decisions[route.key].next_deadline_ms
        return deadline_ms is not None and deadline_ms <= now_ms

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

    def _decision(self, route: Route, now_ms: int) -> RouteDecision:
        """Return the current decision; a fresh one if anything changed since it was made."""
        if self._changed(route, now_ms):
            return self._judge_route(route, now_ms)[0]
        return self._decisions[route.key]

    def _judge_route(self, route: Route, now_ms: int) -> tuple[RouteDecision, Selection]:
        vip = self._vips[route.vip]
        router = self._routers[route.router]
        blind = vip.blind or now_ms < vip.blind_ends_ms
        circumstances = Circumstances(
            now_ms=now_ms,
            min_healthy=vip.min_healthy,
            warm_up=self._trouble.warming_up(now_ms),
            blind=blind,
            pace_until_ms=route.pace_until_ms(),
            router_back_ms=router.back_ms,
        )
        views = self._views(route, vip, now_ms)
        selection = select(views, frozenset(route.members), circumstances)
        frozen = self._freezes(route, vip, router, now_ms)
        would = self._plan(route, vip, selection)
        blocking = any(f.reason is not FrozenReason.UNKNOWN_NEXT_HOP for f in frozen)
        plan = () if blocking else self._allowed(route, would, now_ms)
        deadlines = [selection.next_deadline_ms, vip.blind_ends_ms, *(f.until_ms for f in frozen)]
        deadlines.extend(self._retry_deadlines(route, would, now_ms))
        later = [at_ms for at_ms in deadlines if at_ms is not None and at_ms > now_ms]
        decision = RouteDecision(
            router=route.router,
            vip=route.vip,
            observed=route.members,
            desired=selection.desired,
            min_healthy=vip.min_healthy,
            leaving=selection.leaving,
            entering=selection.entering,
            kept=selection.kept,
            waiting=selection.waiting,
            frozen=frozen,
            plan=plan,
            would=would,
            reason=_reason_of(selection),
            opinions_wanted=selection.opinions_wanted,
            next_deadline_ms=min(later, default=None),
        )
        return decision, selection

    def _retry_deadlines(
        self,
        route: Route,
        would: tuple[PlannedStep, ...],
        now_ms: int,
    ) -> Iterator[int]:
        for planned in would:
            at_ms = route.retry_at_ms(planned)
            if at_ms is not None and at_ms > now_ms:
                yield at_ms

    def _allowed(
        self,
        route: Route,
        would: tuple[PlannedStep, ...],
        now_ms: int,
    ) -> tuple[PlannedStep, ...]:
        """Drop steps whose kind was refused lately; the others stand by themselves."""
        allowed = []
        for planned in would:
            at_ms = route.retry_at_ms(planned)
            if at_ms is not None and at_ms <= now_ms:
                allowed.append(planned)
        return tuple(allowed)

    def _order(self, vip: str) -> tuple[str, ...]:
        return tuple(gateway.name for gateway in self._vips[vip].gateways.values())

    def _gateway(self, vip: str, name: str) -> GatewayConfig:
        return next(g for g in self._vips[vip].gateways.values() if g.name == name)

    def _views(self, route: Route, vip: _Vip, now_ms: int) -> tuple[GatewayView, ...]:
        if route.key in self._dirty or self._outdated(route, now_ms):
            for key in vip.checks:
                self._views_of.get(key, {}).pop(route.key, None)
        views = [self._view(route, self._checks[key], now_ms) for key in vip.checks]
        views.extend(
            GatewayView(
                name=gateway.name,
                state=GatewayState.DRAIN,
                passing=False,
                latest_passed=False,
                drained=True,
            )
            for gateway in vip.departed.values()
            if gateway.name in route.members
        )
        return tuple(views)

    def _view(self, route: Route, check: Check, now_ms: int) -> GatewayView:
        """Return a gateway as selection sees it; made anew only after its facts have changed."""
        views = self._views_of.setdefault(check.key, {})
        view = views.get(route.key)
        if view is None:
            view = views[route.key] = self._make_view(route, check, now_ms)
        return view

    def _make_view(self, route: Route, check: Check, now_ms: int) -> GatewayView:
        health, evidence = check.health, check.evidence
        verdict = health.verdict
        drains = self._drains.get(check.name, {})
        own = route.own
        opinion = route.opinions.get(check.name)
        blocked, blocked_until_ms = route.entry_blocked(check.name, now_ms)
        return GatewayView(
            name=check.name,
            state=health.state(drained=bool(drains)),
            passing=check.passing(now_ms),
            latest_passed=evidence.latest_passed(),
            known_bad=verdict is not None and verdict.known_bad,
            passed_since_verdict=verdict is not None and verdict.passed_since,
            death=verdict.death if verdict else None,
            witnessed=verdict is not None and verdict.witness is not None,
            stale=verdict is not None and verdict.stale,
            verdict_since_ms=verdict.since_ms if verdict else 0,
            verdict_at_ms=verdict.at_ms if verdict else 0,
            silent_since_ms=verdict.silent_since_ms if verdict else None,
            silent_at_ms=verdict.silent_at_ms if verdict else None,
            company=verdict is not None and verdict.company,
            burst_start_ms=verdict.burst_start_ms if verdict else 0,
            unanswered=evidence.unanswered(now_ms),
            undetermined=evidence.undetermined(now_ms),
            suspect_since_ms=evidence.suspect_since_ms(now_ms),
            overload_ms=evidence.last_overload_ms,
            slow=check.slow,
            drained=bool(drains),
            drain_forced=any(drain.force for drain in drains.values()),
            drained_by_kubernetes_only=bool(drains) and drains.keys() <= CLUSTER_SOURCES,
            degraded=health.degraded,
            hold_until_ms=health.hold_until_ms,
            progress=check.progress(),
            inactive=own is not None and check.name in own.inactive,
            gate_until_ms=self._gate_until_ms(route, check),
            human_hold=check.name in route.human_hold,
            entry_blocked=blocked,
            entry_blocked_until_ms=blocked_until_ms,
            opinion=opinion if isinstance(opinion, OpinionView) else None,
        )

    def _freezes(
        self,
        route: Route,
        vip: _Vip,
        router: _Router,
        now_ms: int,
    ) -> tuple[Frozen, ...]:
        found: list[Frozen] = []
        if self._not_writer:
            found.append(Frozen(reason=FrozenReason.NOT_WRITER))
        if self._paused is not None:
            found.append(Frozen(reason=FrozenReason.PAUSED, until_ms=self._paused.until_ms))
        if not router.up:
            found.append(Frozen(reason=FrozenReason.ROUTER_LOST))
        if router.upgraded_to:
            detail = f"{route.router} is now {router.upgraded_to}"
            found.append(Frozen(reason=FrozenReason.ROUTER_UPGRADED, detail=detail))
        if self._trouble.warming_up(now_ms):
            until_ms = self._trouble.warm_up_until_ms
            found.append(Frozen(reason=FrozenReason.WARM_UP, until_ms=until_ms))
        lifted: frozenset[FrozenReason] = frozenset()
        if self._config.enforce and self._adoption(route, vip):
            lifted = frozenset({FrozenReason.NOT_ADOPTED, FrozenReason.FOREIGN})
        found.extend(f for f in route.freezes(now_ms) if f.reason not in lifted)
        if route.own is not None and route.own.unknown:
            detail = ", ".join(route.own.unknown)
            found.append(Frozen(reason=FrozenReason.UNKNOWN_NEXT_HOP, detail=detail))
        if not self._config.enforce:
            found.append(Frozen(reason=FrozenReason.OBSERVING))
        return tuple(found)

    def _unknown_in_foreign(self, route: Route, vip: _Vip) -> tuple[str, ...]:
        assert route.own is not None
        return tuple(
            hop
            for row in route.own.foreign
            if row.distance == vip.config.distance
            for hop in row.next_hops
            if address_of(hop) not in vip.gateways
        )

    def _plan(
        self,
        route: Route,
        vip: _Vip,
        selection: Selection,
    ) -> tuple[PlannedStep, ...]:
        own = route.own
        if own is None:
            return ()
        if route.handed_over:
            steps = hand_over(own) if self._live_bgp(route) else ()
            return tuple(self._planned(route, step, "handover") for step in steps)
        marks = self._adoption(route, vip)
        if marks:
            return tuple(self._planned(route, step, "adoption") for step in marks)
        if not own.ours:
            return self._plan_missing(route, vip, own, selection)
        departed = {gateway.name for gateway in vip.departed.values()}
        steps = diff(
            own,
            selection.desired,
            vip.config,
            vip.gateways,
            drop=route.drops,
            rowless=route.held_back(self._uptime_ms(route)) | departed,
        )
        reason = _reason_of(selection)
        early = frozenset(entry.gateway for entry in selection.entering if entry.early)
        return tuple(self._planned(route, step, reason, early) for step in steps)

    def _plan_missing(
        self,
        route: Route,
        vip: _Vip,
        own: OwnRows,
        selection: Selection,
    ) -> tuple[PlannedStep, ...]:
        may = route.ever_ours and route.may_recreate(self._uptime_ms(route))
        if not may or own.foreign or not selection.desired:
            return ()
        members = tuple(self._gateway(route.vip, name) for name in selection.desired)
        steps = creation_steps(own.shape, vip.config, members, ())
        return tuple(self._planned(route, step, "missing") for step in steps)

    def _uptime_ms(self, route: Route) -> int:
        facts = self._routers[route.router].facts
        return facts.uptime_ms if facts is not None else 0

    def _adoption(self, route: Route, vip: _Vip) -> tuple[SetComment, ...]:
        """Return the marks that `adopt = true` still has to set, if it may.

        An adoption that was cut short goes on. But what a person released stays released, a mark
        that a person took off stays off, and a row added beside ours for the same gateway, or a
        second list, stays foreign: marking it would only make two of ours.
        """
        own = route.own
        if own is None or not vip.config.adopt or self._unknown_in_foreign(route, vip):
            return ()
        if route.released or (route.ever_ours and not own.ours):
            return ()
        steps = adoption_steps(own, vip.config)
        ids = {step.row_id for step in steps}
        hops = [hop for row in own.foreign if row.row_id in ids for hop in row.next_hops]
        names = [vip.gateways[address_of(hop)].name for hop in hops]
        if own.shape is RouteShape.LIST:
            return steps if len(steps) == 1 and not own.ours else ()
        return steps if len(set(names)) == len(names) and own.rows.isdisjoint(names) else ()

    def _planned(
        self,
        route: Route,
        step: Step,
        reason: str,
        early: frozenset[str] = frozenset(),
    ) -> PlannedStep:
        names = {hop: gateway.name for hop, gateway in self._vips[route.vip].gateways.items()}
        added: tuple[str, ...] = ()
        removed: tuple[str, ...] = ()
        match step:
            case SetNextHops(row_id=row_id) if route.row_disabled(row_id):
                pass  # nobody is a member of a disabled list; enabling it will say who is
            case SetNextHops(before=before, after=after):
                now_in = {names.get(address_of(hop), "") for hop in after}
                was_in = {names.get(address_of(hop), "") for hop in before}
                added = tuple(n for n in names.values() if n in now_in and n not in was_in)
                removed = tuple(n for n in names.values() if n in was_in and n not in now_in)
            case SetDisabled(next_hops=hops, disabled=disabled):
                touched = {names.get(address_of(hop), "") for hop in hops}
                ordered = tuple(n for n in names.values() if n in touched)
                added, removed = ((), ordered) if disabled else (ordered, ())
            case CreateRow(next_hops=hops, disabled=False):
                added = tuple(names[address_of(hop)] for hop in hops)
            case _:
                pass
        return PlannedStep(
            router=route.router,
            vip=route.vip,
            step=step,
            added=added,
            removed=removed,
            reason=reason,
            early=bool(early.intersection(added)),
        )

    def _routes_on(self, router: str) -> list[Route]:
        return [route for route in self._routes.values() if route.router == router]

    def _routes_of(self, check: Check) -> list[Route]:
        return [route for route in self._routes.values() if route.vip in check.vips]

    def _dirty_router(self, router: str) -> None:
        self._dirty.update(key for key in self._routes if key[0] == router)

    # --- for people -----------------------------------------------------------------------------

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


def _result_of(flight: Flight) -> ProbeResult:
    assert flight.result is not None
    return flight.result


def _sees_nothing(checks: list[Check], now_ms: int) -> bool:
    """Whether every gateway, one on our own host aside, is without an answer at once.

    A lone one cannot tell its own silence from our blindness; there the router is the second eye,
    and we are blind from the first verdict that it did not witness.
    """
    eyes = [check for check in checks if not check.gateway.own_host] or checks
    if len(eyes) == 1:
        verdict = eyes[0].health.verdict
        seen = verdict is None or verdict.witness is not None or verdict.passed_since
        return not seen and eyes[0].evidence.unanswered(now_ms)
    return bool(eyes) and all(check.evidence.unanswered(now_ms) for check in eyes)


def _reason_of(selection: Selection) -> str:
    """Return the one word for a change: the rule of who leaves first, else why somebody enters."""
    if selection.leaving:
        first = selection.leaving[0]
        return first.death.value if first.death is not None else first.rule
    if selection.entering:
        return "early" if any(entry.early for entry in selection.entering) else "up"
    return "in_sync"
