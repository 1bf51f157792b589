"""A whole edged beside a real API server: nodes, Envoy's Pods and the VIP's objects in it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from edged.cli.demo_gateways import ADDRESSES, SERVER_NAME
from edged.cli.demo_lab import VIP
from tests.support.daemon import World, world
from tests.support.kube_objects import NODES, PODS, SERVICES, node, pod, sample
from tests.support.kube_plane import ControlPlane

VIP_ADDRESS: Final = VIP.partition("/")[0]
GATEWAYS: Final = "/apis/gateway.networking.k8s.io/v1/namespaces/kube-system/gateways"
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/edged/leases"
NODE_EVENTS: Final = "/apis/events.k8s.io/v1/namespaces/default/events"
SERVICE_EVENTS: Final = "/apis/events.k8s.io/v1/namespaces/kube-system/events"
RBAC: Final = Path(__file__).parents[2] / "deploy" / "kubernetes" / "rbac.yaml"
CRDS: Final = Path(__file__).parents[1] / "data" / "kube" / "crds"

Obj = dict[str, Any]


def kube_name(gateway: str) -> str:
    """Return the node of a gateway: another name, so that addresses have to join them."""
    return f"k8s-{gateway}"


def populate(plane: ControlPlane) -> None:
    """Put three nodes with an Envoy Pod each, and the VIP's Service, into a cluster."""
    for path in (NODES, PODS):
        plane.clear(path)
    for name, address in ADDRESSES.items():
        plane.create(NODES, node(kube_name(name), address))
        plane.create(PODS, pod(f"envoy-{name}", kube_name(name)))
    service = sample("service-gateway-lb.yaml")[0]
    service["status"]["loadBalancer"]["ingress"] = [{"ip": VIP_ADDRESS, "ipMode": "VIP"}]
    for raw in plane.get(SERVICES)["items"]:
        if raw["metadata"]["name"] == "gateway-lb":
            plane.delete(f"{SERVICES}/gateway-lb")
    plane.create(SERVICES, service)


def node_path(gateway: str) -> str:
    """Return the path of a gateway's node."""
    return f"{NODES}/{kube_name(gateway)}"


def annotate(plane: ControlPlane, gateway: str, **annotations: str | None) -> None:
    """Set annotations on a node; `edged_drain` stands for `edged/drain`."""
    named = {key.replace("_", "/", 1): value for key, value in annotations.items()}
    plane.patch(node_path(gateway), {"metadata": {"annotations": named}})


def drained_at(plane: ControlPlane, gateway: str) -> str | None:
    """Return edged's acknowledgement on a node."""
    annotations = plane.get(node_path(gateway))["metadata"].get("annotations") or {}
    found = annotations.get("edged/drained-at")
    assert found is None or isinstance(found, str)
    return found


@contextmanager
def kube_world(
    folder: Path,
    kubeconfig: Path,
    *,
    kubernetes: Mapping[str, object] | None = None,
    vip: Mapping[str, str] | None = None,
    configured: bool = True,
    before: Callable[[World], None] = lambda _: None,
    routeros: str = "6.49.10",
    envoy: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[World]:
    """Start a world whose edged sees a cluster.

    Args:
        folder: where everything goes.
        kubeconfig: how edged reaches the API server.
        kubernetes: further keys of [kubernetes].
        vip: further keys of [[vip]].
        configured: whether the gateways stand in the configuration, too.
        before: done right before edged starts.
        routeros: the router's version.
        envoy: an Envoy's path; stand-ins without it.
        settings: further settings of the daemon.
    """
    given = {"vip": dict(vip or {}), **(settings or {})}
    with world(folder, routeros=routeros, envoy=envoy, start=False, settings=given) as made:
        configure_kubernetes(made, kubeconfig, kubernetes or {}, configured=configured)
        before(made)
        made.start_daemon()
        yield made


def configure_kubernetes(
    made: World, kubeconfig: Path, keys: Mapping[str, object], *, configured: bool = True
) -> None:
    """Add [kubernetes] to the daemon's configuration."""
    text = made.daemon.config.read_text(encoding="utf-8")
    if not configured:
        head, _, tail = text.partition("[[gateway]]")
        text = head + tail[tail.index("[[vip]]") :]
    table = {"enabled": True, "kubeconfig": str(kubeconfig), **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    made.daemon.config.write_text(text + "\n[kubernetes]\n" + "\n".join(lines) + "\n")


def in_sync(made: World) -> bool:
    """Tell whether edged knows nodes and Pods."""
    known = str(made.daemon.status()["kubernetes"])
    return "nodes in sync" in known and "Envoy Pods in sync" in known


FROM_KUBERNETES: Final = {
    "from": "kubernetes",
    "kube_service": "kube-system/gateway-lb",
    "kube_gateway": "kube-system/cilium-gateway",
}
PROBED: Final = SERVER_NAME
