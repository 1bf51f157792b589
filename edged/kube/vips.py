"""A VIP's objects against its configuration: what changed, what vanished, what looks wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from edged.core.events import Event, event
from edged.kube.gateway import GatewayFacts, ServiceFacts, covers
from edged.kube.sensors import Warned

FIXED_IN: Final = "cilium 1.18.12, 1.19.6 and 1.20 (cilium #42786)"


@dataclass(frozen=True, slots=True, kw_only=True)
class VipSettings:
    """A VIP as configured. `service` and `gateway` are `namespace/name`; None: not looked at."""

    name: str
    address: str
    server_name: str
    port: int
    service: str | None
    gateway: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VipLook:
    """What the API shows of a VIP's objects; `*_known` False: it has not been read.

    `advertised` None: nobody knows, or Cilium's BGP is not in use. `serving`: some gateway passes;
    None: the first probes are still under way.
    """

    service: ServiceFacts | None = None
    service_known: bool = False
    gateway: GatewayFacts | None = None
    gateway_known: bool = False
    advertised: bool | None = None
    serving: bool | None = None


@dataclass(slots=True)
class VipEyes:
    """The memory between looks at one VIP: which addresses were told of last."""

    settings: VipSettings
    _told: tuple[str, ...] | None = field(default=None)

    def events(self, look: VipLook, now_ms: int) -> Iterator[Event]:
        """Say once when the Service's addresses no longer are the VIP."""
        if self.settings.service is None or not look.service_known:
            return
        shown = look.service.addresses if look.service is not None else ()
        if shown == self._told:
            return
        before, self._told = self._told, shown
        vip, address = self.settings.name, self.settings.address
        if not shown:
            if before:
                yield event("vip.vanished", now_ms, vip=vip)
        elif address not in shown:
            yield event("vip.changed", now_ms, vip=vip, before=address, after=", ".join(shown))

    def warnings(self, look: VipLook) -> Iterator[Warned]:
        """Yield everything that looks wrong now."""
        if look.service_known and self.settings.service is not None:
            yield from self._of_service(self.settings.service, look)
        if look.gateway_known and self.settings.gateway is not None:
            yield from self._of_gateway(self.settings.gateway, look)

    def _of_service(self, name: str, look: VipLook) -> Iterator[Warned]:
        service, address = look.service, self.settings.address

        def warned(code: str, detail: str, fix: str) -> Warned:
            return Warned(kind="Service", object=name, code=code, detail=detail, fix=fix)

        namespace, _, bare = name.partition("/")
        if service is None:
            yield warned("missing", "there is no such Service", "correct kube_service in [[vip]]")
            return
        if service.kind != "LoadBalancer":
            detail = f"it is of type {service.kind or 'nothing'}, not LoadBalancer"
            yield warned("type", detail, "name the Service that holds the VIP: kube_service")
            return
        if not service.addresses:
            why = f": {service.pending}" if service.pending else ""
            fix = f"look at its conditions: kubectl -n {namespace} describe service {bare}"
            yield warned("no_address", f"it has no address{why}", fix)
        elif address not in service.addresses:
            detail = f"it has {', '.join(service.addresses)}, but the VIP is {address}"
            yield warned("address", detail, "correct address in [[vip]], or the Service")
        if not service.local:
            patch = '{"spec":{"externalTrafficPolicy":"Local"}}'
            yield warned(
                "policy",
                "externalTrafficPolicy is Cluster: a node hands VIP traffic to any node's Envoy, "
                "so a dead one hurts through healthy nodes, too",
                f"kubectl -n {namespace} patch service {bare} -p '{patch}'",
            )
        if look.advertised is False:
            yield warned(
                "not_advertised",
                "no BGP advertisement covers it, so nothing backs the static route up",
                "give it the label that the CiliumBGPAdvertisement (or the peering policy) selects",
            )

    def _of_gateway(self, name: str, look: VipLook) -> Iterator[Warned]:
        gateway, server_name = look.gateway, self.settings.server_name

        def warned(code: str, detail: str, fix: str) -> Warned:
            return Warned(kind="Gateway", object=name, code=code, detail=detail, fix=fix)

        if gateway is None:
            yield warned("missing", "there is no such Gateway", "correct kube_gateway in [[vip]]")
            return
        if gateway.unprogrammed and look.serving:
            yield warned(
                "unprogrammed",
                f"Programmed is False ({gateway.unprogrammed}) although :{self.settings.port} "
                "serves",
                f"harmless for traffic; gone with {FIXED_IN}",
            )
        elif gateway.unprogrammed and look.serving is False:
            yield warned(
                "unprogrammed and down",
                f"Programmed is False ({gateway.unprogrammed}) and no gateway serves",
                "look at the Gateway's conditions and at cilium-operator's log",
            )
        for listener in gateway.listeners:
            if listener.unresolved:
                yield warned(
                    f"unresolved {listener.name}",
                    f"listener {listener.name} has ResolvedRefs False ({listener.unresolved})",
                    "its Secret or ReferenceGrant is missing; all nodes fail alike without it",
                )
        mine = [one for one in gateway.listeners if one.port == self.settings.port]
        if mine and not any(covers(one.hostname, server_name) for one in mine):
            names = ", ".join(one.hostname for one in mine)
            yield warned(
                "server_name",
                f"no listener on :{self.settings.port} takes {server_name}; they take {names}",
                "correct probe.server_name, else healthy gateways are reset",
            )


class WarningBook:
    """Which warnings are in force, so that each is told once while it lasts."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str], Warned] = {}

    @property
    def open(self) -> tuple[Warned, ...]:
        """Return the warnings in force."""
        return tuple(self._open.values())

    def take(self, found: Iterable[Warned], now_ms: int) -> list[Event]:
        """Return an event for each warning that was not in force before."""
        now = {one.key: one for one in found}
        fresh = [one for key, one in now.items() if key not in self._open]
        self._open = now
        return [
            event(
                "kube.warning_found",
                now_ms,
                kind=one.kind,
                object=one.object,
                detail=one.detail,
                fix=one.fix,
            )
            for one in fresh
        ]
