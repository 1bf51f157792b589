"""The VIP's objects: its Service, its Gateway, and whether Cilium advertises it; with warnings.

Nothing here moves a gateway. A VIP that changes or vanishes in Kubernetes is told to people, who
change the configuration; what looks wrong is told with what to do about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edged.kube.raw import Json, address, condition, cut, items, labels, text, texts
from edged.kube.selector import object_selector


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """A Service, as far as it carries a VIP."""

    kind: str
    local: bool
    addresses: tuple[str, ...]
    labels: Mapping[str, str]
    pending: str


def parse_service(raw: Json) -> ServiceFacts:
    """Read a Service."""
    found = (address(text(one, "ip")) for one in items(raw, "status", "loadBalancer", "ingress"))
    request = condition(raw, "cilium.io/IPAMRequestSatisfied")
    pending = text(request, "message") or text(request, "reason")
    return ServiceFacts(
        kind=text(raw, "spec", "type"),
        local=text(raw, "spec", "externalTrafficPolicy") == "Local",
        addresses=tuple(one for one in found if one),
        labels=labels(raw, "metadata", "labels"),
        pending=cut(pending) if text(request, "status") == "False" else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerFacts:
    """A TLS listener: its host name (empty: any) and what is wrong with its references."""

    name: str
    hostname: str
    port: int
    unresolved: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFacts:
    """A Gateway. `unprogrammed` and each listener's `unresolved` say why, or nothing."""

    listeners: tuple[ListenerFacts, ...]
    unprogrammed: str


def parse_gateway(raw: Json) -> GatewayFacts:
    """Read a Gateway."""
    unresolved = {
        text(status, "name"): _refusal(status, "ResolvedRefs")
        for status in items(raw, "status", "listeners")
    }
    listeners = []
    for spec in items(raw, "spec", "listeners"):
        port = spec.get("port")
        listeners.append(
            ListenerFacts(
                name=text(spec, "name"),
                hostname=text(spec, "hostname"),
                port=port if isinstance(port, int) else 0,
                unresolved=unresolved.get(text(spec, "name"), ""),
            )
        )
    programmed = condition(raw, "Programmed")
    return GatewayFacts(
        listeners=tuple(listeners),
        unprogrammed=_why(programmed) if text(programmed, "status") == "False" else "",
    )


def _refusal(status: Json, kind: str) -> str:
    found = condition(status, kind, "conditions")
    return _why(found) if text(found, "status") == "False" else ""


def _why(found: Json) -> str:
    reason, message = text(found, "reason"), cut(text(found, "message"))
    return f"{reason}: {message}" if message else reason or "no reason given"


def covers(hostname: str, server_name: str) -> bool:
    """Tell whether a listener's host name takes a server name; an empty one takes any."""
    wanted, name = hostname.lower(), server_name.lower()
    if not wanted or wanted == name:
        return True
    return wanted.startswith("*.") and name.endswith(wanted[1:]) and len(name) > len(wanted) - 1


# --- BGP advertisements -------------------------------------------------------------------------


def advertises(raw: Json, service: ServiceFacts) -> bool:
    """Tell whether a CiliumBGPAdvertisement, or a CiliumBGPPeeringPolicy, covers a Service."""
    for advert in items(raw, "spec", "advertisements"):
        kinds = texts(advert, "service", "addresses")
        if (
            text(advert, "advertisementType") == "Service"
            and "LoadBalancerIP" in kinds
            and _selects(advert, "selector", service)
        ):
            return True
    return any(
        _selects(virtual, "serviceSelector", service)
        for virtual in items(raw, "spec", "virtualRouters")
    )


def _selects(raw: Json, key: str, service: ServiceFacts) -> bool:
    """Cilium's rule: no selector selects nothing, an empty one everything."""
    found = raw.get(key)
    if not isinstance(found, Mapping):
        return False
    return object_selector(found).matches(service.labels)
