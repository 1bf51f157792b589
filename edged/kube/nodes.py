"""Nodes and Envoy's Pods: from raw objects to the few facts that matter for a gateway."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edged.kube.raw import MAX_TEXT, Json, address, child, condition, items, labels, number, text

EXCLUDE_LABEL: Final = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Made for this purpose; kubeadm sets it on control-plane nodes, which may be gateways."""
KURED_ANNOTATION: Final = "weave.works/kured-reboot-in-progress"
DRAIN_TAINTS: Final = (
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "node.kubernetes.io/out-of-service",
)
CORDON_TAINT: Final = "node.kubernetes.io/unschedulable"
CONTROL_PLANE: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
SHUTTING_DOWN: Final = "node is shutting down"
"""What kubelet's graceful shutdown says while Ready is False."""
MAX_GRACE_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node. `ready` None: the API does not say. `taints` are keys."""

    name: str
    uid: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: frozenset[str]
    unschedulable: bool
    ready: bool | None
    ready_detail: str
    deleting: bool

    @property
    def control_plane(self) -> bool:
        """Whether it carries a control-plane role."""
        return any(label in self.labels for label in CONTROL_PLANE)

    def address_like(self, *, ipv6: bool) -> str | None:
        """Return its first InternalIP of a family."""
        return next((found for found in self.addresses if (":" in found) is ipv6), None)


def parse_node(raw: Json) -> NodeFacts | None:
    """Read a node."""
    name = text(raw, "metadata", "name")
    if not name:
        return None
    ready = condition(raw, "Ready")
    internal = (
        address(text(one, "address"))
        for one in items(raw, "status", "addresses")
        if text(one, "type") == "InternalIP"
    )
    return NodeFacts(
        name=name,
        uid=text(raw, "metadata", "uid"),
        addresses=tuple(found for found in internal if found),
        labels=labels(raw, "metadata", "labels"),
        annotations={
            key: value[:MAX_TEXT] for key, value in labels(raw, "metadata", "annotations").items()
        },
        taints=frozenset(text(taint, "key") for taint in items(raw, "spec", "taints")),
        unschedulable=child(raw, "spec").get("unschedulable") is True,
        ready={"True": True, "False": False, "Unknown": False}.get(text(ready, "status")),
        ready_detail=text(ready, "message") or text(ready, "reason"),
        deleting=bool(text(raw, "metadata", "deletionTimestamp")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRules:
    """Which marks count."""

    marks: bool = True
    cordon: bool = False
    prefix: str = "edged"
    labels: tuple[str, ...] = ()

    @property
    def drain_annotation(self) -> str:
        """The annotation with which people and scripts ask a node out."""
        return f"{self.prefix}/drain"

    @property
    def drained_annotation(self) -> str:
        """The annotation with which edged says that it is out."""
        return f"{self.prefix}/drained-at"


def drain_mark(node: NodeFacts, rules: DrainRules, *, ignore_exclude: bool) -> str | None:
    """Return the mark that asks a node out, in words, or None."""
    if rules.marks and (mark := _announced(node, rules, ignore_exclude=ignore_exclude)):
        return mark
    if rules.cordon and (node.unschedulable or CORDON_TAINT in node.taints):
        return "cordoned"  # the least of them: who cordons often means nothing by it
    return None


def _announced(node: NodeFacts, rules: DrainRules, *, ignore_exclude: bool) -> str | None:
    asked = node.annotations.get(rules.drain_annotation)
    if asked is not None and asked.strip().lower() != "false":
        return f"annotation {rules.drain_annotation}"
    for label in rules.labels:
        if label in node.labels:
            return f"label {label}"
    if EXCLUDE_LABEL in node.labels and not ignore_exclude:
        return f"label {EXCLUDE_LABEL}"
    for taint in DRAIN_TAINTS:
        if taint in node.taints:
            return f"taint {taint}"
    if KURED_ANNOTATION in node.annotations:
        return f"annotation {KURED_ANNOTATION}"
    if node.ready is False and SHUTTING_DOWN in node.ready_detail:
        return SHUTTING_DOWN
    return "the node is being deleted" if node.deleting else None


# --- Pods ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """One Envoy on one node. `grace_ms` is set once it is being deleted."""

    key: str
    uid: str
    node: str
    running: bool
    grace_ms: int | None

    @property
    def going(self) -> bool:
        """Whether its end has been asked for while it still serves."""
        return self.running and self.grace_ms is not None


def parse_pod(raw: Json, daemonset: str) -> PodFacts | None:
    """Read a Pod; None unless the DaemonSet owns it and it uses the host's network."""
    owned = any(
        text(owner, "kind") == "DaemonSet" and text(owner, "name") == daemonset
        for owner in items(raw, "metadata", "ownerReferences")
    )
    node = text(raw, "spec", "nodeName")
    if not owned or not node or child(raw, "spec").get("hostNetwork") is not True:
        return None
    grace_ms: int | None = None
    if text(raw, "metadata", "deletionTimestamp"):
        seconds = number(raw, "metadata", "deletionGracePeriodSeconds") or 0
        grace_ms = min(max(seconds, 0) * 1_000, MAX_GRACE_MS)
    return PodFacts(
        key=f"{text(raw, 'metadata', 'namespace')}/{text(raw, 'metadata', 'name')}",
        uid=text(raw, "metadata", "uid"),
        node=node,
        running=text(raw, "status", "phase") == "Running",
        grace_ms=grace_ms,
    )
