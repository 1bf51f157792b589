"""Judging a route: from what is known to one decision. Reads the ledger and changes nothing.

Selection says who should be in the route; here stand the views it gets, what freezes a VIP, and
the steps from the rows as read to the set as wanted.
"""

from collections.abc import Iterator
from typing import Final

from edged.core.bgp import GATE_MS
from edged.core.checks import Check
from edged.core.ledger import POD, Ledger, RouterState, VipState
from edged.core.plan import OwnRows, address_of, adoption_steps, creation_steps, diff, hand_over
from edged.core.routes import Route
from edged.core.selection import (
    Circumstances,
    GatewayView,
    OpinionView,
    Selection,
    select,
)
from edged.core.types import (
    BgpPolicy,
    CreateRow,
    Frozen,
    FrozenReason,
    GatewayState,
    PlannedStep,
    RouteDecision,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
)

UNSURE_READ_MS: Final = 500
"""A writer that cannot renew its lease writes only onto rows read so recently."""

CLUSTER_SOURCES: Final = frozenset({"kubernetes", POD})
"""Drains that the cluster asks for; with nobody else left such a gateway may serve on."""


class Judging(Ledger):
    """Makes decisions; asking twice gives the same answer."""

    __slots__ = ()

    def _must_read_first(self, route: Route, now_ms: int) -> bool:
        """Whether a writer that cannot renew its lease has to look before it writes."""
        if not self._unsure_writer:
            return False
        return route.read is None or now_ms - route.read.answered_ms > UNSURE_READ_MS

    def _gate_until_ms(self, route: Route, check: Check) -> int | None:
        """Return until when an entry waits for the session that the gateway once had."""
        if self._config.bgp_policy is not BgpPolicy.DEGRADE:
            return None
        if self._routers[route.router].bgp.down_since_ms(check.name) is None:
            return None
        return check.health.since_ms + GATE_MS

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

    def _changed(self, route: Route, now_ms: int) -> bool:
        key = route.key
        return key in self._moved or key in self._dirty or self._outdated(route, now_ms)

    def _outdated(self, route: Route, now_ms: int) -> bool:
        deadline_ms = self._decisions[route.key].next_deadline_ms
        return deadline_ms is not None and deadline_ms <= now_ms

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

    def _views(self, route: Route, vip: VipState, now_ms: int) -> tuple[GatewayView, ...]:
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
        vip: VipState,
        router: RouterState,
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

    def _unknown_in_foreign(self, route: Route, vip: VipState) -> tuple[str, ...]:
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
        vip: VipState,
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
        vip: VipState,
        own: OwnRows,
        selection: Selection,
    ) -> tuple[PlannedStep, ...]:
        may = route.ever_ours and route.may_recreate(self._uptime_ms(route))
        if not may or own.foreign or not selection.desired:
            return ()
        members = tuple(self._gateway(route.vip, name) for name in selection.desired)
        steps = creation_steps(own.shape, vip.config, members, ())
        return tuple(self._planned(route, step, "missing") for step in steps)

    def _adoption(self, route: Route, vip: VipState) -> tuple[SetComment, ...]:
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


def _reason_of(selection: Selection) -> str:
    """Return the one word for a change: the rule of who leaves first, else why somebody enters."""
    if selection.leaving:
        first = selection.leaving[0]
        return first.death.value if first.death is not None else first.rule
    if selection.entering:
        return "early" if any(entry.early for entry in selection.entering) else "up"
    return "in_sync"
