"""Other senses: BGP, the router's opinions, the cluster, and our own trouble.

None of them removes anybody: they start bursts, degrade, drain or make everything start over.
"""

from collections.abc import Iterator
from typing import Final

from edged.core.bgp import DOWN_WITH_NODE_MS, BgpSessions, BgpWatch
from edged.core.checks import Check
from edged.core.events import Event, Severity
from edged.core.ledger import POD
from edged.core.routes import Route
from edged.core.selection import (
    OPINION_HOLDS_MS,
    OpinionView,
)
from edged.core.types import (
    BgpPolicy,
    Drain,
    Opinion,
    OpinionRequest,
    OpinionResult,
    RouteDecision,
    Undrain,
)
from edged.core.watching import Watching

NOT_READY: Final = "node_not_ready"


class Senses(Watching):
    """Takes what is known from elsewhere than the gateways themselves."""

    __slots__ = ()

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
