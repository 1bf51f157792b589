"""The wiring of Kubernetes into the daemon; imported only where [kubernetes] is enabled.

Carries what the cluster shows to the core, and what edged did back to the cluster. Decides
nothing, and nothing waits for it: with the API server dead, hanging or talking rubbish, the agent
does not notice.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from edged.config.selector import parse_selector
from edged.config.types import Config, GatewayConfig, VipConfig, VipSource
from edged.core.events import Event, event
from edged.core.plan import address_of
from edged.core.types import Drain, GatewayState, Undrain
from edged.kube.errors import Forbidden, KubeError
from edged.kube.events import Note
from edged.kube.lease import Role
from edged.kube.monitor import Monitor, MonitorSettings
from edged.kube.nodes import DrainRules
from edged.kube.sensors import ClusterFacts, GatewayFacts, Known
from edged.kube.vips import VipSettings
from edged.store.sqlite import Store
from edged.store.values import SavedGateway
from edged.system import clock

if TYPE_CHECKING:
    from edged.daemon.process import Process

SOURCE: Final = "kubernetes"
OWNER: Final = "Kubernetes"
MARK_RETRY_MS: Final = 10_000
CLOSE_S: Final = 1.0


class ClusterLink:
    """One cluster's facts, handed to the engine as they change."""

    def __init__(self, process: "Process", store: Store, saved: Iterable[SavedGateway]) -> None:
        self._process = process
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._drains: dict[str, str] = {}
        self._ready: dict[str, bool | None] = {}
        self._going: dict[str, str] = {}
        self._marked: dict[str, str | None] = {}
        self._mark_again_ms = 0
        self._marks_forbidden = False
        self._vanished: set[str] = set()
        self._shown: tuple[Known, ...] = ()
        self._counted: set[str] = set()
        self._serving: bool | None = None
        self._facts_ms = clock.monotonic_ms()
        self._fresh: dict[str, int] = {}
        self._before: dict[str, GatewayFacts] = {}
        self.monitor = Monitor(monitor_settings(process.base, process.host), self, rng=process.rng)
        self._remember(saved)

    def _remember(self, saved: Iterable[SavedGateway]) -> None:
        """Take over what was discovered before this start: N stays the same."""
        if self.monitor.settings.selector is None:
            return
        names = {gateway.name for gateway in self._process.base.gateways}
        addresses = {gateway.address for gateway in self._process.base.gateways}
        known = [
            Known(name=one.name, address=one.address, next_hop=one.address, node=one.node)
            for one in saved
            if one.name not in names and one.address not in addresses
        ]
        self.monitor.sensors.remember(known)
        self._counted = {one.name for one in known}
        self._shown = tuple(known)

    # --- what the configuration becomes

    @property
    def discovered(self) -> tuple[Known, ...]:
        """Gateways that the cluster told of, as far as the core knows them."""
        return self._shown

    @property
    def uncounted(self) -> frozenset[str]:
        """Discovered gateways that were never UP."""
        return frozenset(one.name for one in self._shown) - self._counted

    def with_discovered(self, config: Config) -> Config:
        """Return a configuration with them in it, in every VIP that takes all gateways."""
        names = {gateway.name for gateway in config.gateways}
        fresh = tuple(
            GatewayConfig(name=one.name, address=one.address, next_hop=one.next_hop)
            for one in self._shown
            if one.name not in names
        )
        added = tuple(one.name for one in fresh)
        return replace(
            config,
            gateways=(*config.gateways, *fresh),
            vips=tuple(
                replace(vip, gateways=(*vip.gateways, *added)) if vip.all_gateways else vip
                for vip in config.vips
            ),
        )

    def reconfigure(self, config: Config) -> None:
        """Take the gateways of a new configuration; the rest of it needs a restart."""
        self.monitor.reconfigure(known_gateways(config))

    # --- life

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start every loop in `group`."""
        if self.monitor.lease is not None:
            self.role_changed(Role.STANDBY)
        for name, loop in self.monitor.loops():
            self._tasks.add(group.create_task(loop, name=f"kubernetes {name}"))
        marks = self._mark_forever()
        self._tasks.add(group.create_task(marks, name="kubernetes marks"))

    async def close(self) -> None:
        """End every loop, give the lease back."""
        for task in self._tasks:
            task.cancel()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.monitor.close()
        except TimeoutError:
            return  # the lease lapses by itself

    # --- what the monitor says

    def tell(self, *events: Event) -> None:
        """Publish events."""
        self._process.agent.emit(events)

    def role_changed(self, role: Role) -> None:
        """Tell the core who writes; a writer anew looks at the rows at once."""
        agent = self._process.agent
        agent.writer_changed(writer=role is not Role.STANDBY, sure=role is not Role.UNSURE)
        if role is Role.WRITER:
            for client in agent.clients.values():
                client.wake(read=True)

    def serving(self) -> bool | None:
        """Tell whether some gateway passes; None: none yet, and not all have been judged."""
        gateways = self._process.agent.engine.gateways(clock.monotonic_ms())
        if any(gateway.passing for gateway in gateways):
            return True
        return None if any(gateway.state is GatewayState.UNKNOWN for gateway in gateways) else False

    def _look_if_serving_changed(self) -> None:
        """Look anew when what is wrong with the VIP's objects depends on it."""
        serving = self.serving()
        if serving is not self._serving:
            self._serving = serving
            self.monitor.look()

    def facts_changed(self, facts: ClusterFacts) -> None:
        """Hand what differs from the last look to the core."""
        self._discover(facts)
        known = {check.gateway for check in self._process.wanted.checks}
        now_ms = clock.monotonic_ms()
        for name, found in facts.gateways.items():
            if name not in known:
                continue
            if self._before.get(name) != found:
                self._before[name], self._fresh[name] = found, now_ms
            self._drain(name, found)
            self._pod(name, found, now_ms)
            self._node(name, found, now_ms)

    def _drain(self, name: str, found: GatewayFacts) -> None:
        wanted = found.drain
        if wanted == self._drains.get(name):
            return
        agent = self._process.agent
        if wanted is not None:
            self._drains[name] = wanted
            agent.command(Drain(gateway=name, source=SOURCE, owner=OWNER, reason=wanted))
        else:
            del self._drains[name]
            agent.command(Undrain(gateway=name, source=SOURCE))
        if found.vanished and name not in self._vanished:
            self._vanished.add(name)
            self._tell_node("gateway.vanished", name, found.node)
        elif not found.vanished:
            self._vanished.discard(name)

    def _pod(self, name: str, found: GatewayFacts, now_ms: int) -> None:
        agent, going = self._process.agent, found.going
        if going is not None and self._going.get(name) != going.uid:
            self._going[name] = going.uid
            agent.took(
                agent.engine.observe_pod_going(name, going.pod, going.grace_ms, now_ms),
            )
        elif going is None and self._going.pop(name, None) is not None:
            agent.took(agent.engine.observe_pod_gone(name, now_ms))

    def _node(self, name: str, found: GatewayFacts, now_ms: int) -> None:
        if found.ready == self._ready.get(name):
            return
        self._ready[name] = found.ready
        agent = self._process.agent
        events = agent.engine.observe_node(
            name, ready=found.ready is not False, detail=found.ready_detail, now_ms=now_ms
        )
        agent.took(events)

    # --- discovery

    def _discover(self, facts: ClusterFacts) -> None:
        """Give the core the gateways that the cluster shows."""
        if facts.discovered == self._shown:
            return
        before = {one.name for one in self._shown}
        self._shown = facts.discovered
        self._process.apply_discovery()
        for one in facts.discovered:
            if one.name not in before:
                self._tell_node("gateway.discovered", one.name, one.node)

    def _tell_node(self, name: str, gateway: str, node: str) -> None:
        address = next(
            (one.address for one in self._process.config.gateways if one.name == gateway), ""
        )
        now_ms = clock.monotonic_ms()
        self.tell(event(name, now_ms, gateway=gateway, address=address, node=node))

    def noticed(self, happened: Event) -> None:
        """Take note of what the core did: first UP, changes of a route."""
        if happened.name.startswith("check."):
            self._loop.call_soon(self._look_if_serving_changed)
        if happened.name == "check.rose":
            self._loop.call_soon(self._count, str(happened.get("gateway")))
        elif happened.name == "route.changed":
            self._post(happened)

    def _count(self, name: str) -> None:
        """A discovered gateway is UP for the first time: from now on it counts, always."""
        one = next((one for one in self._shown if one.name == name), None)
        if one is None or name in self._counted:
            return
        self._counted.add(name)
        self._process.apply_discovery()
        saved = SavedGateway(name=name, address=one.address, node=one.node, at=clock.wall())
        self._process.later(lambda: self._store.save_gateway(saved))

    def _forget_gone(self) -> None:
        """Drop discovered gateways that are gone and out of every route."""
        for one in self._shown:
            facts = self.monitor.facts.gateways.get(one.name)
            if facts is None or not facts.vanished or not self._is_out(one.name):
                continue
            self.monitor.sensors.forget(one.name)
            self._counted.discard(one.name)
            self._drop(one.name)

    def _drop(self, name: str) -> None:
        if self._drains.pop(name, None) is not None:
            self._process.agent.command(Undrain(gateway=name, source=SOURCE))
        self._ready.pop(name, None)
        self._vanished.discard(name)
        self._process.later(lambda: self._store.clear_gateway(name))
        self.monitor.look()

    def _is_out(self, name: str) -> bool:
        """Tell whether every route was read and none has this gateway."""
        engine, wanted = self._process.agent.engine, self._process.wanted
        hop = next((one.next_hop for one in wanted.gateways if one.name == name), "")
        for vip in wanted.vips:
            for router in vip.routers:
                own = engine.own_rows(router, vip.name)
                if own is None or name in own.members:
                    return False
                hops = (h for row in own.foreign if not row.disabled for h in row.next_hops)
                if hop in map(address_of, hops):
                    return False  # in a person's row, which may be adopted yet
        return True

    # --- the acknowledgement on the node

    async def _mark_forever(self) -> None:
        """Write `drained-at` on nodes whose drain has taken effect, and take it off again."""
        while True:
            await self._process.agent.next_turn()
            self._forget_gone()
            if not self._process.agent.engine.writer:
                continue
            if clock.monotonic_ms() < self._mark_again_ms:
                continue
            for name, facts in list(self.monitor.facts.gateways.items()):
                await self._mark(name, facts)

    async def _mark(self, name: str, facts: GatewayFacts) -> None:
        wanted = name in self._drains and not facts.vanished and self._is_out(name)
        has = self._marked.get(name, facts.drained_at) is not None
        if wanted == has or facts.vanished or (not wanted and name in self._drains):
            return
        value = clock.wall().isoformat(timespec="seconds") if wanted else None
        annotation = self.monitor.settings.rules.drained_annotation
        body = {"metadata": {"annotations": {annotation: value}}}
        try:
            await self.monitor.cluster.patch(f"/api/v1/nodes/{facts.node}", body)
            self._marked[name] = value
        except Forbidden as error:
            self._mark_again_ms = clock.monotonic_ms() + 6 * MARK_RETRY_MS
            if not self._marks_forbidden:
                self._marks_forbidden = True
                now_ms, detail = clock.monotonic_ms(), str(error)
                self.tell(event("kube.forbidden", now_ms, kind="Node", verb="patch", detail=detail))
        except KubeError:
            self._mark_again_ms = clock.monotonic_ms() + MARK_RETRY_MS

    # --- Events

    def _post(self, happened: Event) -> None:
        """Post what happened to a route on each Node it was about, and on the Service."""
        reason = str(happened.get("reason") or "")
        where = f"{happened.get('vip')} on {happened.get('router')}"
        for key, verb, action in (("removed", "Removed", "Remove"), ("added", "Added", "Add")):
            names = happened.get(key)
            for name in names if isinstance(names, tuple) else ():
                words = f"edged {verb.lower()} {name} ({reason}): {where}"
                self._post_on_node(name, f"Gateway{verb}", action, words)
                self._post_on_service(str(happened.get("vip")), f"Gateway{verb}", action, words)

    def _post_on_node(self, gateway: str, reason: str, action: str, words: str) -> None:
        facts = self.monitor.facts.gateways.get(gateway)
        if facts is None or facts.vanished:
            return
        self.monitor.events.post(
            Note(
                kind="Node",
                name=facts.node,
                uid=facts.uid,
                reason=reason,
                action=action,
                warning=action == "Remove",
                words=words,
            )
        )

    def _post_on_service(self, vip: str, reason: str, action: str, words: str) -> None:
        service = next(
            (one.kube_service for one in self._process.config.vips if one.name == vip), None
        )
        if service is None:
            return
        namespace, _, name = service.partition("/")
        self.monitor.events.post(
            Note(
                kind="Service",
                name=name,
                namespace=namespace,
                reason=reason,
                action=action,
                warning=action == "Remove",
                words=words,
            )
        )

    # --- for people

    @property
    def writer(self) -> str | None:
        """Return who writes: the lease's holder, or nothing where there is no lease."""
        lease = self.monitor.lease
        if lease is None:
            return None
        mine = {Role.WRITER: "this instance", Role.UNSURE: "this instance, lease not renewed"}
        here = mine.get(lease.role)
        return f"{lease.holder} ({here})" if here else lease.holder or f"nobody: {lease.detail}"

    def summary(self) -> str:
        """Return one line about how well the cluster is known."""
        return self.monitor.summary(clock.monotonic_ms())

    def node_of(self, gateway: str) -> str:
        """Return the name of a gateway's node, or nothing."""
        facts = self.monitor.facts.gateways.get(gateway)
        return facts.node if facts is not None else ""

    def about(self) -> dict[str, str]:
        """Return a sentence per gateway: what the cluster shows of it, and since when."""
        now_ms = clock.monotonic_ms()
        return {
            name: _sentence(facts, (now_ms - self._fresh.get(name, now_ms)) // 1_000)
            for name, facts in self.monitor.facts.gateways.items()
        }

    def heard(self) -> datetime | None:
        """Return when the API server last vouched for nodes and Pods; now while in sync."""
        age_ms = self.monitor.age_ms(clock.monotonic_ms())
        return None if age_ms is None else clock.wall() - timedelta(milliseconds=age_ms)

    def policy(self) -> tuple[str, bool] | None:
        """Return what is known of externalTrafficPolicy, and whether it is well."""
        found = [
            service.local
            for watcher in self.monitor.services.values()
            for service in watcher.objects.values()
        ]
        if not found:
            return None
        if all(found):
            return "externalTrafficPolicy of the VIP's Service: Local", True
        return (
            "externalTrafficPolicy of the VIP's Service: Cluster, so a dead one hurts the others",
            False,
        )


def _sentence(facts: GatewayFacts, age_s: int) -> str:
    ready = {True: "Ready", False: "not Ready", None: "readiness unknown"}[facts.ready]
    parts = [f"node {facts.node} {'gone' if facts.vanished else ready}"]
    if facts.drain is not None and not facts.vanished:
        parts.append(f"drain: {facts.drain}")
    if facts.going is not None:
        parts.append(f"Pod {facts.going.pod} is being deleted")
    if facts.drained_at is not None:
        parts.append(f"acknowledged at {facts.drained_at}")
    return f"{', '.join(parts)} (unchanged for {age_s} s)"


# --- configuration ------------------------------------------------------------------------------


def monitor_settings(config: Config, host: str) -> MonitorSettings:
    """Return what the monitor needs of a configuration."""
    kubernetes = config.kubernetes
    selector = kubernetes.node_selector
    return MonitorSettings(
        kubeconfig=kubernetes.kubeconfig,
        host=host,
        daemonset=kubernetes.daemonset,
        rules=DrainRules(
            marks=kubernetes.drain_marks,
            cordon=kubernetes.cordon,
            prefix=kubernetes.annotation_prefix,
            labels=kubernetes.drain_labels,
        ),
        selector=parse_selector(selector) if selector is not None else None,
        lease=kubernetes.lease,
        gateways=known_gateways(config),
        vips=tuple(_vip_settings(vip) for vip in config.vips),
        ipv6=bool(config.vips) and all(vip.is_ipv6 for vip in config.vips),
    )


def known_gateways(config: Config) -> tuple[Known, ...]:
    """Return the configured gateways as the monitor joins them with nodes."""
    return tuple(
        Known(name=one.name, address=one.address, next_hop=one.next_hop) for one in config.gateways
    )


def _vip_settings(vip: VipConfig) -> VipSettings:
    compares = vip.source is VipSource.KUBERNETES
    return VipSettings(
        name=vip.name,
        address=vip.address.partition("/")[0],
        server_name=vip.probe.server_name,
        port=vip.probe.port,
        service=vip.kube_service if compares else None,
        gateway=vip.kube_gateway if compares else None,
    )
