"""The whole of edged's view of a cluster: watches, Lease and Events of one API server.

Puts the pieces together and says "look" to its owner; decides nothing.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, assert_never

from edged.config.selector import Selector
from edged.core.events import Event, event
from edged.kube.client import Cluster
from edged.kube.errors import Forbidden, KubeError, NotFound
from edged.kube.events import EventPoster
from edged.kube.gateway import (
    GatewayFacts,
    ServiceFacts,
    advertises,
    parse_gateway,
    parse_service,
)
from edged.kube.lease import Lease, LeaseTiming, Role, identity_of
from edged.kube.nodes import DrainRules, NodeFacts, PodFacts, parse_node, parse_pod
from edged.kube.raw import Json, items
from edged.kube.sensors import ClusterFacts, Known, Sensors
from edged.kube.vips import VipEyes, VipLook, VipSettings, WarningBook
from edged.kube.watch import Resource, SyncState, Watcher
from edged.system import clock

ADVERTS_S: Final = 300.0
"""Advertisements only make a warning: looked at seldom, not watched."""
RELEASE_S: Final = 0.7
ADVERT_PATHS: Final = (
    "/apis/cilium.io/v2/ciliumbgpadvertisements",
    "/apis/cilium.io/v2alpha1/ciliumbgpadvertisements",
)
"""Served as v2 since Cilium 1.18; v2alpha1 before."""
POLICY_PATH: Final = "/apis/cilium.io/v2alpha1/ciliumbgppeeringpolicies"
T = TypeVar("T")
GATEWAY_API: Final = "/apis/gateway.networking.k8s.io/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """What to look at, and with whose credentials."""

    kubeconfig: Path | None
    host: str
    daemonset: str
    rules: DrainRules
    selector: Selector | None
    lease: str | None
    gateways: tuple[Known, ...]
    vips: tuple[VipSettings, ...]
    ipv6: bool = False
    lease_timing: LeaseTiming | None = None


class Port(Protocol):
    """What the monitor's owner provides."""

    def tell(self, *events: Event) -> None:
        """Take events."""

    def facts_changed(self, facts: ClusterFacts) -> None:
        """Take a look at the cluster, as often as anything in it changes."""

    def role_changed(self, role: Role) -> None:
        """Take what this instance may do from now on."""

    def serving(self) -> bool | None:
        """Tell whether some gateway passes its probes; None: the first are still under way."""


class Monitor:
    """Watches one cluster."""

    def __init__(
        self,
        settings: MonitorSettings,
        port: Port,
        *,
        rng: random.Random,
        cluster: Cluster | None = None,
    ) -> None:
        self.settings = settings
        self.identity = identity_of(settings.host)
        self._configured = settings.gateways
        self.cluster = cluster or Cluster(settings.kubeconfig)
        self._port = port
        self._rng = rng
        self.sensors = Sensors(
            rules=settings.rules,
            daemonset=settings.daemonset,
            selector=settings.selector,
            ipv6=settings.ipv6,
        )
        self.facts = ClusterFacts(gateways={}, discovered=(), warnings=())
        self.warnings = WarningBook()
        self.events = EventPoster(self.cluster, self.identity, tell=port.tell)
        self.lease = self._lease()
        namespace, _, name = settings.daemonset.partition("/")
        self.nodes: Watcher[NodeFacts] = self._watch("Node", "/api/v1/nodes", parse_node)
        self.pods: Watcher[PodFacts] = self._watch(
            "Pod", f"/api/v1/namespaces/{namespace}/pods", partial(parse_pod, daemonset=name)
        )
        self.services: dict[str, Watcher[ServiceFacts]] = {}
        self.gateways: dict[str, Watcher[GatewayFacts]] = {}
        for vip in settings.vips:
            self._watch_vip(vip)
        self._eyes = [VipEyes(vip) for vip in settings.vips]
        self._adverts: list[Json] | None = None
        self._adverts_forbidden = False

    def _lease(self) -> Lease | None:
        if self.settings.lease is None:
            return None
        return Lease(
            self.cluster,
            self.settings.lease,
            self.identity,
            changed=self._port.role_changed,
            tell=self._port.tell,
            rng=self._rng,
            timing=self.settings.lease_timing,
        )

    def _watch(
        self, kind: str, path: str, parse: Callable[[Json], T | None], *, name: str = ""
    ) -> Watcher[T]:
        """Make a watch; with `name` of that one object, so that a rule may name it, too."""
        query = {"fieldSelector": f"metadata.name={name}"} if name else {}
        return Watcher(
            self.cluster,
            Resource(kind=kind, path=path, query=query),
            parse,
            changed=self.look,
            tell=self._port.tell,
            rng=self._rng,
        )

    def _watch_vip(self, vip: VipSettings) -> None:
        if vip.service is not None and vip.service not in self.services:
            namespace, _, name = vip.service.partition("/")
            path = f"/api/v1/namespaces/{namespace}/services"
            self.services[vip.service] = self._watch("Service", path, parse_service, name=name)
        if vip.gateway is not None and vip.gateway not in self.gateways:
            namespace, _, name = vip.gateway.partition("/")
            path = f"{GATEWAY_API}/namespaces/{namespace}/gateways"
            self.gateways[vip.gateway] = self._watch("Gateway", path, parse_gateway, name=name)

    # --- life

    def loops(self) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        """Yield what has to run, with a name for each."""
        yield "nodes", self.nodes.run()
        yield "pods", self.pods.run()
        for name, service in self.services.items():
            yield f"service {name}", service.run()
        for name, gateway in self.gateways.items():
            yield f"gateway {name}", gateway.run()
        if self.services:
            yield "advertisements", self._read_adverts_forever()
        yield "events", self.events.run()
        if self.lease is not None:
            yield "lease", self.lease.run()

    def reconfigure(self, gateways: tuple[Known, ...]) -> None:
        """Take another list of configured gateways."""
        self._configured = gateways
        self.look()

    async def close(self) -> None:
        """Give the lease back and close connections; well under a second."""
        if self.lease is not None:
            await self.lease.release(RELEASE_S)
        await self.cluster.close()

    # --- looking

    def look(self) -> None:
        """Look at everything that is known, and say what it amounts to."""
        now_ms = clock.monotonic_ms()
        self.facts = self.sensors.look(
            self._configured,
            self.nodes.objects,
            self.pods.objects,
            nodes_known=self.nodes.known,
            pods_known=self.pods.known,
        )
        found = list(self.facts.warnings)
        for eyes in self._eyes:
            look = self._look_at(eyes.settings)
            self._port.tell(*eyes.events(look, now_ms))
            found.extend(eyes.warnings(look))
        self._port.tell(*self.warnings.take(found, now_ms))
        self._port.facts_changed(self.facts)

    def _look_at(self, vip: VipSettings) -> VipLook:
        services = self.services.get(vip.service or "")
        gateways = self.gateways.get(vip.gateway or "")
        service = services.objects.get(vip.service or "") if services is not None else None
        return VipLook(
            service=service,
            service_known=services is not None and services.known,
            gateway=gateways.objects.get(vip.gateway or "") if gateways is not None else None,
            gateway_known=gateways is not None
            and (gateways.known or gateways.state is SyncState.ABSENT),
            advertised=self._advertised(service),
            serving=self._port.serving(),
        )

    # --- advertisements

    def _advertised(self, service: ServiceFacts | None) -> bool | None:
        if not self._adverts or service is None:
            return None
        return any(advertises(raw, service) for raw in self._adverts)

    async def _read_adverts_forever(self) -> None:
        while True:
            try:
                self._adverts = await self._read_adverts()
                self.look()
            except Forbidden as error:
                self._tell_adverts_forbidden(str(error))
            except KubeError:
                pass  # the watches say that the API server is away
            await asyncio.sleep(ADVERTS_S * self._rng.uniform(0.9, 1.1))

    async def _read_adverts(self) -> list[Json]:
        """Read both generations of Cilium's BGP configuration; what is absent is empty."""
        found = await self._list_or_nothing(ADVERT_PATHS[0])
        if found is None:
            found = await self._list_or_nothing(ADVERT_PATHS[1])
        policies = await self._list_or_nothing(POLICY_PATH)
        return [*(found or ()), *(policies or ())]

    async def _list_or_nothing(self, path: str) -> list[Json] | None:
        try:
            page = await self.cluster.get(path, {"limit": "100"})
        except NotFound:
            return None
        return list(items(page, "items"))

    def _tell_adverts_forbidden(self, detail: str) -> None:
        if not self._adverts_forbidden:
            self._adverts_forbidden = True
            now_ms = clock.monotonic_ms()
            kind = "CiliumBGPAdvertisement"
            self._port.tell(event("kube.forbidden", now_ms, kind=kind, verb="list", detail=detail))

    # --- for people

    def watchers(self) -> Iterator[tuple[str, Watcher[Any]]]:
        """Yield every watch with a name for people."""
        yield "nodes", self.nodes
        yield "Envoy Pods", self.pods
        for name, service in self.services.items():
            yield f"Service {name}", service
        for name, gateway in self.gateways.items():
            yield f"Gateway {name}", gateway

    def age_ms(self, now_ms: int) -> int | None:
        """Return how old the older of nodes and Pods is; None: one was never read."""
        ages = [watcher.age_ms(now_ms) for watcher in (self.nodes, self.pods)]
        known = [age for age in ages if age is not None]
        return max(known) if len(known) == len(ages) else None

    def summary(self, now_ms: int) -> str:
        """Return one line: how well each kind is known, and how old it is."""
        return "; ".join(_state_of(name, watcher, now_ms) for name, watcher in self.watchers())


def _state_of(name: str, watcher: Watcher[Any], now_ms: int) -> str:
    age_ms = watcher.age_ms(now_ms)
    old = f", last heard {age_ms // 1_000} s ago" if age_ms else ""
    match watcher.state:
        case SyncState.SYNCED:
            return f"{name} in sync"
        case SyncState.STARTING:
            return f"{name} not read yet"
        case SyncState.LOST:
            return f"{name} lost ({watcher.detail}){old}"
        case SyncState.FORBIDDEN:
            return f"{name} forbidden{old}"
        case SyncState.ABSENT:
            return f"{name} absent: this cluster has no such kind"
        case _:
            assert_never(watcher.state)
