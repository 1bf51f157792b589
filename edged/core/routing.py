"""Routing: what routers show and what became of steps; membership, drift, human edits."""

from typing import assert_never

from edged.core.events import Event, Severity
from edged.core.health import FLAPPING_AT
from edged.core.ledger import RouterState
from edged.core.routes import Change, Route, Seen
from edged.core.senses import Senses
from edged.core.types import (
    PlannedStep,
    RouteRead,
    RouterFacts,
    StepOutcome,
    StepResult,
)


class Routing(Senses):
    """Takes what routers report."""

    __slots__ = ()

    def observe_router_up(self, facts: RouterFacts, now_ms: int) -> tuple[Event, ...]:
        """A session is open, or a reconcile has read the router's own facts."""
        self._clock(now_ms)
        router = self._routers.get(facts.router)
        if router is None:
            return self._flush()
        before, was_up = router.facts, router.up
        if not was_up:
            router.up = True
            router.refusal_told = False
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

    def _tell_connected(self, router: RouterState, facts: RouterFacts, now_ms: int) -> None:
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

    def _upgraded(self, router: RouterState, before: RouterFacts, facts: RouterFacts) -> None:
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
            if login_refused and not found.refusal_told:
                found.refusal_told = True
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
