"""What the documents show and the engine does not know: values that the daemon fills.

Values only, and the one conversion between the core's clock and the wall's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from edged.core.types import (
    CoreConfig,
    ProbeDepth,
    ProbeOutcome,
    ProbeReason,
    RouteRow,
    RouteShape,
    Step,
    StepResult,
    VipConfig,
)

Document = dict[str, object]
"""A JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterView:
    """One router as the daemon's client sees it."""

    name: str
    connected: bool
    version: str = ""
    board: str = ""
    rtt_us: int = 0
    cpu_load_percent: int | None = None
    since: datetime | None = None
    detail: str = ""
    reads_backed_off: bool = False
    tls: str = ""
    writes_today: int = 0
    writes_ever: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpView:
    """A router's BGP session to a gateway; `up` None: the list cannot be read."""

    router: str
    gateway: str
    up: bool | None
    read: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsView:
    """Open alerts, messages that wait, and how each way out is doing."""

    open: int = 0
    pending: int = 0
    channels: tuple[tuple[str, str], ...] = ()
    dead_mans_switch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonView:
    """What the documents show and the engine does not know; the daemon fills it."""

    mode: str
    version: str
    host: str
    started: datetime
    core: CoreConfig
    routers: tuple[RouterView, ...]
    writer: str | None = None
    config_path: str = ""
    config_read: datetime | None = None
    """When the configuration in force was read."""
    timezone: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    bgp: tuple[BgpView, ...] = ()
    kubernetes: str = "not configured"
    nodes: Mapping[str, str] = field(default_factory=dict)
    """What Kubernetes shows of a gateway and since when, in words."""
    kubernetes_source: str = ""
    """Whose words these are: the API server, by its credentials."""
    nodes_heard: datetime | None = None
    """When the API server last vouched for `nodes`."""
    alerts: AlertsView = AlertsView()
    last_change: Mapping[str, object] | None = None
    policy: str = "externalTrafficPolicy of the VIP's Service: not checked"
    policy_fine: bool = False
    store: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One instant on both clocks: the core's milliseconds and the wall's."""

    now_ms: int
    wall: datetime

    def at(self, at_ms: int) -> datetime:
        """Return the wall time of an instant of the core."""
        return self.wall + timedelta(milliseconds=at_ms - self.now_ms)

    def stamp(self, at_ms: int | None) -> str | None:
        """Return an instant of the core as RFC 3339."""
        return None if at_ms is None else rfc3339(self.at(at_ms))


def rfc3339(at: datetime) -> str:
    """Write a time in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionView:
    """What adopting or releasing one VIP on one router takes, or took.

    `results` holds one outcome and message for each step that was sent; `objection` says why
    nothing may be done here.
    """

    router: str
    vip: VipConfig
    shape: RouteShape
    before: tuple[RouteRow, ...]
    steps: tuple[Step, ...]
    objection: str = ""
    results: tuple[StepResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseView:
    """One phase of a probe and how long it took."""

    name: str
    took_us: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    """One probe that a person asked for; it changes nothing."""

    gateway: str
    address: str
    port: int
    server_name: str
    depth: ProbeDepth
    outcome: ProbeOutcome
    reason: ProbeReason | None = None
    detail: str = ""
    latency_us: int = 0
    http_status: int | None = None
    phases: tuple[PhaseView, ...] = ()
