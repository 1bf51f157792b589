"""What the cluster says of gateways' nodes and Pods, and what it may do (design 8).

Owns how long a node must be not ready before that counts, when it counts for nothing because many
are (the API's or a controller's doing), and until when an announced end of a Pod is believed.
Must not remove anybody: a mark is a wish, and selection decides what becomes of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

NOT_READY_MS: Final = 10_000
"""kubelet's own hiccups are shorter; the node controller's Unknown comes after 40–50 s anyway."""
COMMON_CAUSE_MS: Final = 300_000
"""Half of a VIP's nodes not ready within this long is a common cause, as with BGP sessions."""
COMMON_CAUSE_LEAST: Final = 2
POD_PATIENCE_MS: Final = 5_000
"""A Pod that still serves this long after its grace is not going, whatever the API says."""
POD_AGAIN_MS: Final = 1_000


@dataclass(slots=True)
class _Trouble:
    since_ms: int
    detail: str
    counted: bool = False


@dataclass(slots=True)
class PodGoing:
    """An Envoy Pod whose end is announced; `left_ms` is when its gateway left the last route."""

    pod: str
    at_ms: int
    void_ms: int
    left_ms: int | None = None
    burst: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node that is not ready, as people should see it."""

    gateway: str
    since_ms: int
    detail: str


class ClusterWatch:
    """Not-ready nodes and ending Pods, by gateway."""

    __slots__ = ("_not_ready", "common", "pods")

    def __init__(self) -> None:
        self._not_ready: dict[str, _Trouble] = {}
        self.common: frozenset[str] = frozenset()
        self.pods: dict[str, PodGoing] = {}

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to judge."""
        return not self._not_ready and not self.pods and not self.common

    # --- nodes

    def observe_node(self, gateway: str, *, ready: bool, detail: str, now_ms: int) -> None:
        """Take a node's Ready condition; `ready` True also where it is no longer told of."""
        if ready:
            self._not_ready.pop(gateway, None)
        else:
            self._not_ready.setdefault(gateway, _Trouble(now_ms, detail)).detail = detail

    def newly_not_ready(self, now_ms: int) -> list[tuple[str, str]]:
        """Return gateways whose nodes have now been not ready for long enough, each once."""
        due = [
            (gateway, trouble)
            for gateway, trouble in self._not_ready.items()
            if not trouble.counted and now_ms >= trouble.since_ms + NOT_READY_MS
        ]
        for _, trouble in due:
            trouble.counted = True
        return [(gateway, trouble.detail) for gateway, trouble in due]

    def sick(self, vips: Mapping[str, Iterable[str]]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the gateways whose nodes are in trouble of their own, and those of many's.

        Args:
            vips: each VIP's gateways.
        """
        common = {
            gateway
            for gateways in map(list, vips.values())
            for gateway in gateways
            if self._counted(gateway) and self._is_common(gateway, gateways)
        }
        own = {gateway for gateway in self._not_ready if self._counted(gateway)} - common
        return frozenset(own), frozenset(common)

    def _counted(self, gateway: str) -> bool:
        trouble = self._not_ready.get(gateway)
        return trouble is not None and trouble.counted

    def _is_common(self, gateway: str, gateways: list[str]) -> bool:
        since_ms = self._not_ready[gateway].since_ms
        together = sum(
            abs(self._not_ready[other].since_ms - since_ms) <= COMMON_CAUSE_MS
            for other in gateways
            if other in self._not_ready
        )
        return together >= max(COMMON_CAUSE_LEAST, -(-len(gateways) // 2))

    def nodes(self) -> tuple[NodeView, ...]:
        """Return the nodes that are not ready."""
        return tuple(
            NodeView(gateway=gateway, since_ms=trouble.since_ms, detail=trouble.detail)
            for gateway, trouble in self._not_ready.items()
        )

    # --- Pods

    def pod_going(self, gateway: str, pod: str, *, grace_ms: int, now_ms: int) -> None:
        """Take note that a Pod's end has been asked for."""
        void_ms = now_ms + grace_ms + POD_PATIENCE_MS
        self.pods[gateway] = PodGoing(pod=pod, at_ms=now_ms, void_ms=void_ms)

    def overdue(self, now_ms: int) -> list[tuple[str, PodGoing]]:
        """Return what should have ended by now; asked about again in a second."""
        due = [(name, going) for name, going in self.pods.items() if going.void_ms <= now_ms]
        for _, going in due:
            going.void_ms = now_ms + POD_AGAIN_MS
        return due

    def next_deadline_ms(self) -> int | None:
        """Return when time alone changes something here."""
        due = [going.void_ms for going in self.pods.values()]
        due.extend(
            trouble.since_ms + NOT_READY_MS
            for trouble in self._not_ready.values()
            if not trouble.counted
        )
        return min(due, default=None)
