"""Verbs: what the control socket can ask of a running daemon.

Each verb checks, acts through the core or a router client, and answers with a document. A wish
that must survive a restart (drain, pause, adoption) is kept before the answer is given.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypedDict

import edged
from edged.config.types import RouterTls
from edged.core.engine import Engine
from edged.core.errors import CommandRefused, RouterError, StoreError
from edged.core.events import Event, Severity, event
from edged.core.plan import (
    OwnRows,
    address_of,
    adoption_steps,
    creation_steps,
    release_steps,
)
from edged.core.types import (
    Drain,
    DropNextHop,
    GatewayConfig,
    HandOver,
    Pause,
    PlannedStep,
    Recheck,
    Resume,
    RouteRow,
    RouteShape,
    SetDisabled,
    SetNextHops,
    Step,
    StepOutcome,
    StepResult,
    Undrain,
    VipConfig,
)
from edged.daemon.alerting import AlertDesk
from edged.daemon.conversion import probe_targets
from edged.daemon.keeping import monotonic_at
from edged.probes.target import Target
from edged.store.sqlite import Store
from edged.store.values import Persisted, SavedAdoption, SavedDrain, SavedPause
from edged.system import clock
from edged.web.documents import (
    AdoptionView,
    AlertsView,
    BgpView,
    DaemonView,
    Document,
    RouterView,
    adoption_document,
    plan_document,
    rfc3339,
    status_document,
    step_words,
    unknown_name,
    why_document,
)

if TYPE_CHECKING:
    from edged.daemon.process import Process

PERFORM_MS: Final = 10_000
STORE_QUEUE: Final = 256


class Verbs:
    """The daemon's side of the control socket; see `edged.web.control.ControlApi`."""

    def __init__(self, process: "Process", store: Store, persisted: Persisted) -> None:
        self._process = process
        self._store = store
        self._closed = asyncio.Event()
        self._work: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue(STORE_QUEUE)
        self._adoptions = {(saved.router, saved.vip): saved for saved in persisted.adoptions}
        self._writes: dict[str, int] = {}
        self._written_before: Mapping[str, int] = {}
        self._written_today: Mapping[str, int] = {}

    @property
    def _engine(self) -> Engine:
        return self._process.agent.engine

    # --- what happens by itself and has to be kept

    def noticed(self, happened: Event) -> None:
        """Keep what must survive: the end of a drain or a pause, and the count of writes."""
        if happened.name == "route.changed":
            router = str(happened.get("router"))
            self._writes[router] = self._writes.get(router, 0) + 1
            self._store.count_write(router)
        elif happened.name == "gateway.undrained" and happened.get("source") == "person":
            gateway = str(happened.get("gateway"))
            self._later(lambda: self._store.clear_drain(gateway))
        elif happened.name == "daemon.resumed":
            self._later(self._store.clear_pause)

    def later(self, work: Callable[[], Awaitable[object]]) -> None:
        """Have something kept in its turn."""
        self._later(work)

    def _later(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            self._work.put_nowait(work)
        except asyncio.QueueFull:
            self._process.agent.emit(
                [event("store.degraded", clock.monotonic_ms(), detail="too much to keep at once")]
            )

    async def keep_forever(self) -> None:
        """Carry out what `noticed` has put aside, until closed and empty."""
        with contextlib.suppress(StoreError, TimeoutError):
            self._written_before = await self._store.writes()
            today = clock.wall().date().isoformat()
            self._written_today = await self._store.writes(since_day=today)
        while True:
            work = await self._work.get()
            await work()
            if self._closed.is_set() and self._work.empty():
                return

    def close(self) -> None:
        """Let `keep_forever` end after what is queued."""
        self._closed.set()
        self._later(_nothing)

    # --- looking

    async def status(self) -> Document:
        """Return `edged.status/v1`."""
        self._process.agent.decide()
        return status_document(self._engine, **self._moment())

    async def why(self, name: str | None) -> Document:
        """Return `edged.why/v1`."""
        self._process.agent.decide()
        return why_document(self._engine, self._resolved(name) if name else None, **self._moment())

    async def plan(self) -> Document:
        """Return `edged.plan/v1`."""
        self._process.agent.decide()
        return plan_document(self._engine, **self._moment())

    def _moment(self) -> "_Moment":
        return {"now_ms": clock.monotonic_ms(), "wall": clock.wall(), "view": self._view()}

    def _view(self) -> DaemonView:
        view = self._plain_view()
        cluster = self._process.cluster
        if cluster is None:
            return view
        policy, fine = cluster.policy() or (view.policy, view.policy_fine)
        return replace(
            view,
            writer=cluster.writer,
            kubernetes=cluster.summary(),
            nodes=cluster.about(),
            nodes_heard=cluster.heard(),
            kubernetes_source=f"the API server of {cluster.monitor.cluster.source}",
            policy=policy,
            policy_fine=fine,
        )

    def _plain_view(self) -> DaemonView:
        process = self._process
        last = process.keeper.last_change
        return DaemonView(
            mode=process.config.mode.value,
            version=edged.__version__,
            host=process.host,
            started=process.started,
            core=process.wanted,
            routers=tuple(self._router_view(name) for name in process.agent.clients),
            config_path=process.loaded.source,
            config_read=process.config_read,
            timezone=process.config.timezone,
            ports={key: target.port for key, target in self._targets().items()},
            bgp=tuple(self._bgp_views()),
            last_change=last.document() if last is not None else None,
            store=self._store.degraded or "",
            alerts=self._alerts_view(),
        )

    def _alerts_view(self) -> AlertsView:
        desk = self._process.desk
        if desk is None:
            return AlertsView()
        return AlertsView(
            open=desk.open,
            pending=desk.pending,
            channels=desk.states(),
            dead_mans_switch=desk.dead_mans_switch,
        )

    def _bgp_views(self) -> Iterator[BgpView]:
        now_ms, wall = clock.monotonic_ms(), clock.wall()
        for session in self._engine.bgp_sessions():
            read_ms = self._engine.bgp_read_ms(session.router)
            yield BgpView(
                router=session.router,
                gateway=session.gateway,
                up=session.established if read_ms is not None else None,
                read=wall - timedelta(milliseconds=now_ms - read_ms) if read_ms else None,
            )

    def _targets(self) -> dict[str, Target]:
        return probe_targets(self._process.config, self._process.wanted)

    def _router_view(self, name: str) -> RouterView:
        status = self._process.agent.clients[name].status()
        facts = self._engine.router_facts(name)
        configured = next(r for r in self._process.config.routers if r.name == name)
        tls = "" if configured.tls in {RouterTls.VERIFY, RouterTls.PIN} else configured.tls.value
        return RouterView(
            name=name,
            connected=status.connected,
            version=status.version,
            board=facts.board if facts is not None else "",
            rtt_us=status.rtt_us,
            cpu_load_percent=facts.cpu_load_percent if facts is not None else None,
            detail=status.detail,
            reads_backed_off=status.reads_backed_off,
            tls=tls,
            writes_today=self._written_today.get(name, 0) + self._writes.get(name, 0),
            writes_ever=self._written_before.get(name, 0) + self._writes.get(name, 0),
        )

    def _resolved(self, name: str) -> str:
        """Return a gateway's name for a name or an address; VIP names stay as they are."""
        for gateway in self._process.config.gateways:
            if name in {gateway.name, gateway.address, gateway.next_hop, self._node(gateway.name)}:
                return gateway.name
        if any(vip.name == name for vip in self._process.config.vips):
            return name
        raise CommandRefused(unknown_name(name, self._process.wanted))

    def _node(self, gateway: str) -> str:
        """Return the name of its node in Kubernetes; without one, its own."""
        cluster = self._process.cluster
        return (cluster.node_of(gateway) if cluster is not None else "") or gateway

    def _gateway(self, name: str) -> str:
        for gateway in self._process.config.gateways:
            if name in {gateway.name, gateway.address, gateway.next_hop, self._node(gateway.name)}:
                return gateway.name
        raise CommandRefused(unknown_name(name, self._process.wanted))

    async def events(
        self,
        *,
        since: datetime | None,
        after_seq: int,
        limit: int,
        names: tuple[str, ...],
        gateway: str | None,
        vip: str | None,
        incident: str | None,
        min_severity: Severity,
    ) -> Document:
        """Return the newest events that match, oldest first."""
        found = await self._store.events(
            since=since,
            after_seq=after_seq,
            limit=limit,
            names=names,
            gateway=gateway,
            vip=vip,
            incident=incident,
            min_severity=min_severity,
        )
        return {"schema": "edged.events/v1", "events": [stored.document() for stored in found]}

    async def stream(self, *, after_seq: int | None) -> AsyncIterator[Document]:
        """Yield events after `after_seq`, then new ones until the daemon ends."""
        keeper = self._process.keeper
        with keeper.listening() as listener:
            last = 0
            if after_seq is not None:
                for stored in await self._store.events(after_seq=after_seq, limit=1_000):
                    last = stored.seq
                    yield stored.document()
            async for fresh in keeper.follow(listener):
                if fresh.seq > last:
                    yield fresh.document()

    async def probe(self, gateway: str, *, trace: bool) -> Document:
        """Measure with a light and a full probe; changes nothing."""
        from edged.daemon.measure import measure  # noqa: PLC0415 - rarely needed

        del trace
        name = self._gateway(gateway)
        checks = [check for check in self._process.wanted.checks if check.gateway == name]
        if not checks:
            raise CommandRefused(f'no VIP uses "{name}", so there is nothing to probe')
        return await measure(
            name, self._targets()[checks[0].key], timezone=self._process.config.timezone
        )

    async def recheck(self, gateway: str, *, owner: str) -> Document:
        """Start a burst now."""
        del owner
        name = self._gateway(gateway)
        self._process.agent.command(Recheck(gateway=name))
        return {"schema": "edged.recheck/v1", "gateway": name}

    # --- acting

    async def drain(
        self,
        gateway: str,
        *,
        owner: str,
        reason: str,
        for_ms: int | None,
        force: bool,
    ) -> Document:
        """Ask a gateway out; kept on disk before it takes effect."""
        name = self._gateway(gateway)
        since = clock.wall()
        until = since + timedelta(milliseconds=for_ms) if for_ms is not None else None
        saved = await self._store.save_drain(
            SavedDrain(
                gateway=name, owner=owner, reason=reason, since=since, until=until, force=force
            )
        )
        self._process.agent.command(
            Drain(
                gateway=name,
                owner=owner,
                reason=reason,
                until_ms=monotonic_at(until) if until is not None else None,
                force=force,
            )
        )
        return {
            "schema": "edged.drain/v1",
            "gateway": name,
            "until": rfc3339(until) if until is not None else None,
            "kept": saved.value,
        }

    async def undrain(self, gateway: str, *, owner: str) -> Document:
        """Let a gateway back."""
        del owner
        name = self._gateway(gateway)
        self._process.agent.command(Undrain(gateway=name))
        return {"schema": "edged.undrain/v1", "gateway": name}

    async def pause(self, *, owner: str, for_ms: int | None, restore: bool) -> Document:
        """Write nothing for a time; with `restore` the rows go back to how they were first."""
        since = clock.wall()
        until = since + timedelta(milliseconds=for_ms) if for_ms is not None else None
        saved = await self._store.save_pause(SavedPause(owner=owner, since=since, until=until))
        until_ms = monotonic_at(until) if until is not None else None
        self._process.agent.command(Pause(owner=owner, until_ms=until_ms))
        restored = await self._restore() if restore else []
        return {
            "schema": "edged.pause/v1",
            "until": rfc3339(until) if until is not None else None,
            "restored": restored,
            "kept": saved.value,
        }

    async def _restore(self) -> list[str]:
        """Write the set as it was at adoption: the big red button."""
        done: list[str] = []
        for router, vip, own in self._own():
            saved = self._adoptions.get((router, vip.name))
            if saved is None:
                continue
            results = await self._all(router, vip, _steps_back(own, saved), "restore")
            done.extend(
                f"{router}: {step_words(result.planned.step, vip)}: {result.outcome.value}"
                for result in results
            )
        return done

    async def resume(self, *, owner: str) -> Document:
        """End a pause, and every hold that waits for a person."""
        self._process.agent.command(Resume(owner=owner))
        await self._store.clear_pause()
        return {"schema": "edged.resume/v1"}

    async def handover(self, *, owner: str, vip: str | None, to_bgp: bool) -> Document:
        """Leave a VIP to BGP, or take it back; the rows are read right before."""
        chosen = self._one_vip(vip)
        for router in chosen.routers:
            await self._process.agent.clients[router].read_now(chosen.name, deadline_ms=PERFORM_MS)
        self._process.agent.command(HandOver(vip=chosen.name, to_bgp=to_bgp, owner=owner))
        return {"schema": "edged.handover/v1", "vip": chosen.name, "to_bgp": to_bgp}

    async def alerts(self) -> Document:
        """Return `edged.alerts/v1`."""
        return self._desk.document()

    async def alerts_test(self, channel: str | None) -> Document:
        """Send one message now, past outbox and rules, and tell each service's answer."""
        return await self._desk.test(channel)

    async def alerts_change(
        self, what: str, *, channel: str | None, number: int | None
    ) -> Document:
        """Try messages that wait again at once, or forget them."""
        desk = self._desk
        act = desk.retry if what == "retry" else desk.drop
        count = await act(channel, number)
        return {"schema": f"edged.alerts-{what}/v1", "messages": count}

    async def silence(
        self,
        *,
        owner: str,
        reason: str,
        for_ms: int | None,
        gateway: str | None,
        vip: str | None,
    ) -> Document:
        """Send no alerts for a time; without a time, end every silence."""
        if for_ms is None:
            return {"schema": "edged.silence/v1", "ended": await self._desk.end_silences()}
        silence = await self._desk.silence(
            owner=owner,
            reason=reason,
            for_ms=for_ms,
            gateway=self._gateway(gateway) if gateway is not None else None,
            vip=self._one_vip(vip).name if vip is not None else None,
        )
        return {
            "schema": "edged.silence/v1",
            "until": rfc3339(silence.until),
            "gateway": silence.gateway,
            "vip": silence.vip,
        }

    @property
    def _desk(self) -> AlertDesk:
        assert self._process.desk is not None
        return self._process.desk

    async def reload(self, *, owner: str) -> Document:
        """Read the configuration again."""
        del owner
        changed, needs_restart = await self._process.reload()
        return {"schema": "edged.reload/v1", "changed": changed, "needs_restart": needs_restart}

    # --- adopting

    async def adopt(
        self,
        *,
        owner: str,
        vip: str | None,
        router: str | None,
        create: bool,
        drop: str | None,
        confirmed: bool,
    ) -> Document:
        """Show what adoption would do; with `confirmed`, do it."""
        if drop is not None:
            return self._drop(owner=owner, vip=vip, drop=drop, confirmed=confirmed)
        views = []
        for name, chosen in self._chosen(vip, router):
            own = await self._fresh(name, chosen)
            steps, objection = self._adoption(own, chosen, create=create)
            matching = tuple(row for row in own.foreign if row.distance == chosen.distance)
            view = AdoptionView(
                router=name,
                vip=chosen,
                shape=own.shape,
                before=own.ours or matching,
                steps=() if objection else steps,
                objection=objection,
            )
            if confirmed and not objection:
                await self._keep_adoption(name, chosen, matching)
                view = replace(view, results=await self._all(name, chosen, steps, "adoption"))
                self._tell_adopted(view, owner)
            views.append(view)
        return self._adoption_document(views, "adopt")

    def _adoption_document(self, views: list[AdoptionView], verb: str) -> Document:
        return adoption_document(views, verb=verb, core=self._process.wanted, wall=clock.wall())

    def _adoption(
        self,
        own: OwnRows,
        vip: VipConfig,
        *,
        create: bool,
    ) -> tuple[tuple[Step, ...], str]:
        """Return the steps that make the route ours, or why that may not be."""
        known = {gateway.next_hop: gateway for gateway in self._gateways(vip)}
        steps = adoption_steps(own, vip)
        if own.ours and (create or not steps):
            return (), f"{vip.name} is adopted already: {len(own.ours)} row(s) carry its mark"
        if create:
            return self._creation(own, vip, known)
        if not steps:
            return (), (
                f"no static row has destination {vip.destination} and distance {vip.distance}; "
                "create one with: edged adopt --create"
            )
        unknown = [
            hop
            for row in own.foreign
            if row.distance == vip.distance
            for hop in row.next_hops
            if address_of(hop) not in known
        ]
        if unknown:
            return (), (
                f"next hop {', '.join(unknown)} belongs to no configured gateway: add a "
                "[[gateway]] for it, or take it out of the route, then adopt"
            )
        return steps, ""

    def _creation(
        self,
        own: OwnRows,
        vip: VipConfig,
        known: dict[str, GatewayConfig],
    ) -> tuple[tuple[Step, ...], str]:
        if own.foreign:
            return (), (
                f"{vip.destination} has a static row already, so nothing is created; "
                "adopt it with: edged adopt"
            )
        passing = {g.name for g in self._engine.gateways(clock.monotonic_ms()) if g.passing}
        members = tuple(g for g in known.values() if g.name in passing)
        if not members:
            return (), "no gateway passes its probes, so there is nothing to put into a route"
        spare = tuple(g for g in known.values() if g.name not in passing)
        return creation_steps(own.shape, vip, members, spare), ""

    async def _keep_adoption(self, router: str, vip: VipConfig, rows: tuple[RouteRow, ...]) -> None:
        saved = SavedAdoption(
            router=router,
            vip=vip.name,
            rows=tuple(_row_words(row) for row in rows),
            at=clock.wall(),
        )
        await self._store.save_adoption(saved)
        self._adoptions[router, vip.name] = saved

    def _tell_adopted(self, view: AdoptionView, owner: str) -> None:
        if any(result.outcome is not StepOutcome.DONE for result in view.results):
            return
        hops = tuple(hop for step in view.steps for hop in getattr(step, "next_hops", ()))
        common = {"vip": view.vip.name, "router": view.router, "owner": owner or None}
        made = (
            event("route.created", clock.monotonic_ms(), next_hops=hops, **common)
            if hops
            else event(
                "route.adopted",
                clock.monotonic_ms(),
                rows=tuple(row.row_id for row in view.before),
                **common,
            )
        )
        self._process.agent.emit([made])

    def _drop(self, *, owner: str, vip: str | None, drop: str, confirmed: bool) -> Document:
        chosen = self._one_vip(vip)
        if confirmed:
            self._process.agent.command(DropNextHop(vip=chosen.name, next_hop=drop, owner=owner))
        return {**self._adoption_document([], "adopt"), "vip": chosen.name, "drop": drop}

    async def release(
        self,
        *,
        owner: str,
        vip: str | None,
        router: str | None,
        confirmed: bool,
    ) -> Document:
        """Show what giving the rows back would do; with `confirmed`, do it."""
        views = []
        for name, chosen in self._chosen(vip, router):
            own = await self._fresh(name, chosen)
            saved = self._adoptions.get((name, chosen.name))
            back = _steps_back(own, saved) if saved is not None else ()
            steps: tuple[Step, ...] = (*back, *release_steps(own, chosen))
            objection = "" if steps else f"no row carries the mark of {chosen.name}"
            if steps and chosen.adopt and self._process.wanted.enforce:
                objection = (
                    f"adopt = true would take {chosen.name} back at once: set it to false, "
                    "edged reload, then release"
                )
            view = AdoptionView(
                router=name,
                vip=chosen,
                shape=own.shape,
                before=own.ours,
                steps=() if objection else steps,
                objection=objection,
            )
            if confirmed and not objection:
                view = replace(view, results=await self._all(name, chosen, steps, "release"))
                await self._tell_released(view, owner)
            views.append(view)
        return self._adoption_document(views, "release")

    async def _tell_released(self, view: AdoptionView, owner: str) -> None:
        if any(result.outcome is not StepOutcome.DONE for result in view.results):
            return
        await self._store.clear_adoption(view.router, view.vip.name)
        self._adoptions.pop((view.router, view.vip.name), None)
        made = event(
            "route.released",
            clock.monotonic_ms(),
            vip=view.vip.name,
            router=view.router,
            rows=tuple(row.row_id for row in view.before),
            owner=owner or None,
        )
        self._process.agent.emit([made])

    async def _all(
        self,
        router: str,
        vip: VipConfig,
        steps: tuple[Step, ...],
        reason: str,
    ) -> tuple[StepResult, ...]:
        """Carry out a person's steps in order; the first that is not done ends it."""
        results: list[StepResult] = []
        for step in steps:
            planned = PlannedStep(router=router, vip=vip.name, step=step, reason=reason)
            client = self._process.agent.clients[router]
            performed = await client.perform(planned, deadline_ms=PERFORM_MS)
            results.append(performed.result)
            if performed.result.outcome is not StepOutcome.DONE:
                break
        return tuple(results)

    async def _fresh(self, router: str, vip: VipConfig) -> OwnRows:
        client = self._process.agent.clients[router]
        try:
            await client.read_now(vip.name, deadline_ms=PERFORM_MS)
        except RouterError as error:
            raise CommandRefused(f"{router} cannot be read now: {error}") from error
        own = self._engine.own_rows(router, vip.name)
        assert own is not None
        return own

    def _own(self) -> list[tuple[str, VipConfig, OwnRows]]:
        return [
            (router, vip, own)
            for vip in self._process.wanted.vips
            for router in vip.routers
            if (own := self._engine.own_rows(router, vip.name)) is not None
        ]

    def _chosen(self, vip: str | None, router: str | None) -> list[tuple[str, VipConfig]]:
        vips = self._process.wanted.vips if vip is None else (self._one_vip(vip),)
        chosen = [(name, one) for one in vips for name in one.routers if router in {None, name}]
        if not chosen:
            known = ", ".join(self._process.agent.clients)
            raise CommandRefused(f'there is no router "{router}" here; known are {known}')
        return chosen

    def _one_vip(self, name: str | None) -> VipConfig:
        vips = self._process.wanted.vips
        if name is None and len(vips) == 1:
            return vips[0]
        for vip in vips:
            if name in {vip.name, vip.destination, vip.destination.partition("/")[0]}:
                return vip
        known = ", ".join(vip.name for vip in vips)
        if name is None:
            raise CommandRefused(f"there is more than one VIP, so name it: {known}")
        raise CommandRefused(f'there is no VIP "{name}"; known are {known}')

    def _gateways(self, vip: VipConfig) -> list[GatewayConfig]:
        wanted = self._process.wanted
        by_key = {check.key: check.gateway for check in wanted.checks}
        by_name = {gateway.name: gateway for gateway in wanted.gateways}
        return [by_name[by_key[key]] for key in vip.checks]


class _Moment(TypedDict):
    """What every document builder takes beside the engine."""

    now_ms: int
    wall: datetime
    view: DaemonView


async def _nothing() -> None:
    """End a wait on the queue."""


def _row_words(row: RouteRow) -> dict[str, str]:
    """Return a row as it is kept: enough to put it back, in the router's own words."""
    return {
        ".id": row.row_id,
        "gateway": ",".join(row.next_hops),
        "disabled": "yes" if row.disabled else "no",
        "distance": str(row.distance),
        "comment": row.comment,
    }


def _steps_back(own: OwnRows, saved: SavedAdoption) -> tuple[Step, ...]:
    """Return the steps from our rows as they are to the set that was there at adoption."""
    steps: list[Step] = []
    hops = tuple(hop for row in saved.rows for hop in row["gateway"].split(",") if hop)
    enabled = {
        hop
        for row in saved.rows
        if row["disabled"] != "yes"
        for hop in row["gateway"].split(",")
        if hop
    }
    if own.shape is RouteShape.LIST:
        for row in own.ours[:1]:
            if set(row.next_hops) != set(hops) and hops:
                steps.append(SetNextHops(row_id=row.row_id, before=row.next_hops, after=hops))
            if row.disabled and enabled:
                steps.append(SetDisabled(row_ids=(row.row_id,), next_hops=hops, disabled=False))
        return tuple(steps)
    for disabled in (False, True):
        rows = [
            row
            for row in own.ours
            if row.disabled is not disabled
            and any(hop in enabled for hop in row.next_hops) is not disabled
        ]
        if rows:
            steps.append(
                SetDisabled(
                    row_ids=tuple(row.row_id for row in rows),
                    next_hops=tuple(hop for row in rows for hop in row.next_hops),
                    disabled=disabled,
                )
            )
    return tuple(steps) if enabled else ()
