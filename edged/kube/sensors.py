"""Sensors: joins nodes and Pods to gateways, and says what the cluster shows of each.

A function of what the watches hold, with a little memory: which nodes were there before, and
which carried a label already when they were first seen. An API server that shows nothing at all
is not believed: all nodes at once do not vanish.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from edged.config.selector import Selector
from edged.kube.nodes import EXCLUDE_LABEL, DrainRules, NodeFacts, PodFacts, drain_mark

GONE: Final = "the node is gone from Kubernetes"
UNSELECTED: Final = "the node no longer matches node_selector"
MOVED: Final = "the node has another address now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A gateway as configured or discovered before; `node` is empty for a configured one."""

    name: str
    address: str
    next_hop: str
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """An Envoy Pod whose end has been asked for."""

    pod: str
    uid: str
    grace_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFacts:
    """What the cluster shows of one gateway. `ready` None: it says nothing."""

    node: str
    uid: str = ""
    drain: str | None = None
    ready: bool | None = None
    ready_detail: str = ""
    going: Going | None = None
    drained_at: str | None = None
    vanished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something worth a warning; one per (kind, object, code) at a time."""

    kind: str
    object: str
    code: str
    detail: str
    fix: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Identify it."""
        return self.kind, self.object, self.code


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """One look: facts by gateway name, newly discovered gateways, warnings."""

    gateways: Mapping[str, GatewayFacts]
    discovered: tuple[Known, ...]
    warnings: tuple[Warned, ...]


@dataclass(slots=True)
class Sensors:
    """The memory between looks."""

    rules: DrainRules
    daemonset: str
    selector: Selector | None
    ipv6: bool = False
    discovered: dict[str, Known] = field(default_factory=dict)
    _joined: dict[str, str] = field(default_factory=dict)
    _excluded_first: dict[str, bool] = field(default_factory=dict)

    def remember(self, known: Iterable[Known]) -> None:
        """Take the gateways that were discovered before this start."""
        for one in known:
            self.discovered[one.name] = one
            self._joined[one.name] = one.node

    def forget(self, name: str) -> None:
        """A discovered gateway is out of every route and gone for good."""
        self.discovered.pop(name, None)
        self._joined.pop(name, None)

    def look(
        self,
        configured: Iterable[Known],
        nodes: Mapping[str, NodeFacts],
        pods: Mapping[str, PodFacts],
        *,
        nodes_known: bool,
        pods_known: bool,
    ) -> ClusterFacts:
        """Say what the cluster shows now.

        Args:
            configured: the gateways of the configuration, in its order.
            nodes: every node the API shows.
            pods: Envoy's Pods.
            nodes_known: whether a complete list of nodes was read.
            pods_known: whether a complete list of Pods was read.
        """
        warnings: list[Warned] = []
        by_node = self._join(list(configured), nodes, warnings)
        pods_of = _by_node(pods.values())
        found: dict[str, GatewayFacts] = {}
        for node_name, gateway in by_node.items():
            node = nodes[node_name]
            self._joined[gateway] = node_name
            found[gateway] = self._facts(node, pods_of.get(node_name, ()), warnings)
        if nodes and nodes_known:
            for gateway, node_name in self._joined.items():
                if gateway not in found:
                    reason = GONE if node_name not in nodes else self._why_not(nodes[node_name])
                    found[gateway] = GatewayFacts(node=node_name, drain=reason, vanished=True)
        if nodes_known:
            warnings.extend(self._empty_handed(nodes))
        if pods_known:
            warnings.extend(self._about_pods(pods, found))
        return ClusterFacts(
            gateways=found, discovered=tuple(self.discovered.values()), warnings=tuple(warnings)
        )

    # --- joining

    def _join(
        self,
        configured: list[Known],
        nodes: Mapping[str, NodeFacts],
        warnings: list[Warned],
    ) -> dict[str, str]:
        """Return node -> gateway; discovers what is selected and has nobody yet."""
        by_address = {a: one.name for one in configured for a in (one.address, one.next_hop)}
        names = {one.name for one in configured}
        taken: dict[str, str] = {}
        by_node: dict[str, str] = {}
        for node in sorted(nodes.values(), key=lambda node: node.name):
            gateway = next((by_address[a] for a in node.addresses if a in by_address), None)
            if gateway is None and node.name in names:
                gateway = node.name
            if gateway is None:
                gateway = self._discover(node, warnings)
            if gateway is None:
                continue
            if gateway in taken:
                warnings.append(_same_address(node.name, taken[gateway], gateway))
                continue
            taken[gateway] = node.name
            by_node[node.name] = gateway
        return by_node

    def _discover(self, node: NodeFacts, warnings: list[Warned]) -> str | None:
        if self.selector is None or not self.selector.matches(node.labels):
            return None
        address = node.address_like(ipv6=self.ipv6)
        if address is None:
            warnings.append(
                Warned(
                    kind="Node",
                    object=node.name,
                    code="no_address",
                    detail="it matches node_selector but has no InternalIP of the VIP's family",
                    fix="look at status.addresses; kubelet's --node-ip sets it",
                )
            )
            return None
        for one in self.discovered.values():
            if one.address == address and one.name != node.name:
                warnings.append(_same_address(node.name, one.node, address))
                return None
        known = self.discovered.get(node.name)
        if known is None:
            self.discovered[node.name] = Known(
                name=node.name, address=address, next_hop=address, node=node.name
            )
        elif known.address != address:
            return None  # the old address has to leave first
        return node.name

    def _why_not(self, node: NodeFacts) -> str:
        selected = self.selector is not None and self.selector.matches(node.labels)
        return MOVED if selected else UNSELECTED

    # --- one gateway

    def _facts(
        self,
        node: NodeFacts,
        pods: Iterable[PodFacts],
        warnings: list[Warned],
    ) -> GatewayFacts:
        ignored = self._ignores_exclude(node)
        if ignored and self.rules.marks:
            warnings.append(
                Warned(
                    kind="Node",
                    object=node.name,
                    code="exclude_ignored",
                    detail=f"label {EXCLUDE_LABEL} is ignored: "
                    + (
                        "it is a control-plane node" if node.control_plane else "it was there first"
                    ),
                    fix=f"to drain it, set the annotation {self.rules.drain_annotation}=true",
                )
            )
        return GatewayFacts(
            node=node.name,
            uid=node.uid,
            drain=drain_mark(node, self.rules, ignore_exclude=ignored),
            ready=node.ready,
            ready_detail=node.ready_detail,
            going=_going(pods),
            drained_at=node.annotations.get(self.rules.drained_annotation),
        )

    def _ignores_exclude(self, node: NodeFacts) -> bool:
        """Tell whether the exclude label means nothing here: kubeadm's, or older than us."""
        has = EXCLUDE_LABEL in node.labels
        first = self._excluded_first.setdefault(node.name, has)
        if not has:
            self._excluded_first[node.name] = False
            return False
        return first or node.control_plane

    # --- warnings

    def _empty_handed(self, nodes: Mapping[str, NodeFacts]) -> Iterable[Warned]:
        if not nodes:
            yield Warned(
                kind="Node",
                object="*",
                code="none",
                detail="the API shows no node at all, which is not believed",
                fix="look at the API server that the kubeconfig names",
            )
        elif self.selector is not None and not any(
            self.selector.matches(node.labels) for node in nodes.values()
        ):
            yield Warned(
                kind="Node",
                object="*",
                code="none_selected",
                detail=f"node_selector matches none of {len(nodes)} nodes",
                fix="compare node_selector in [kubernetes] with: kubectl get nodes --show-labels",
            )

    def _about_pods(
        self, pods: Mapping[str, PodFacts], found: Mapping[str, GatewayFacts]
    ) -> Iterable[Warned]:
        if not pods:
            yield Warned(
                kind="DaemonSet",
                object=self.daemonset,
                code="no_pods",
                detail="it has no Pod on the host's network, so a restart of Envoy is not seen "
                "before it happens",
                fix="name the DaemonSet of Envoy: daemonset in [kubernetes]",
            )
        going = sorted(name for name, facts in found.items() if facts.going is not None)
        if len(going) > 1:
            yield Warned(
                kind="DaemonSet",
                object=self.daemonset,
                code="many_going",
                detail=f"the Envoys of {', '.join(going)} are being deleted at once",
                fix="set updateStrategy.rollingUpdate.maxUnavailable to 1 (Helm: "
                "envoy.updateStrategy)",
            )


def _going(pods: Iterable[PodFacts]) -> Going | None:
    """Return the Pod that ends, unless another serves or will serve in its place."""
    ending = None
    for pod in pods:
        if pod.grace_ms is None:
            return None
        if pod.going:
            ending = Going(pod=pod.key, uid=pod.uid, grace_ms=pod.grace_ms)
    return ending


def _by_node(pods: Iterable[PodFacts]) -> dict[str, list[PodFacts]]:
    found: dict[str, list[PodFacts]] = {}
    for pod in pods:
        found.setdefault(pod.node, []).append(pod)
    return found


def _same_address(node: str, other: str, shared: str) -> Warned:
    return Warned(
        kind="Node",
        object=node,
        code="same_address",
        detail=f"it and {other} are both {shared}; only {other} counts",
        fix="one of the two objects is probably a leftover: kubectl delete node",
    )
