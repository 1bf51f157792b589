"""The configuration as the rest of edged sees it: frozen, checked, durations in milliseconds.

Owns the value types and nothing else. Nothing here parses, reads a file or imports pydantic, so a
verb that only passes a configuration on stays quick to start. Names follow the keys of the file;
a duration key ``interval`` becomes the field ``interval_ms``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edged.config.secret import SecretSource


class Mode(StrEnum):
    """Whether edged may write to a router."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


class Language(StrEnum):
    """Language of alerts and of the status page."""

    ENGLISH = "en"
    KOREAN = "ko"


class RouterTls(StrEnum):
    """How the API session to a router is protected."""

    VERIFY = "verify"
    PIN = "pin"
    ANONYMOUS = "anonymous"
    OFF = "off"


class Profile(StrEnum):
    """A named set of probe numbers."""

    DEFAULT = "default"
    FAST = "fast"
    CALM = "calm"


class Verify(StrEnum):
    """What becomes of a gateway's certificate: it warns, or nobody looks. Never evidence."""

    OFF = "off"
    WARN = "warn"


class Heartbeat(StrEnum):
    """What runs on the held connection between fresh probes."""

    H2_PING = "h2_ping"
    OFF = "off"


class OnHumanEdit(StrEnum):
    """What to do when a person changed a row of ours."""

    YIELD = "yield"
    RESTORE = "restore"


class CheckGateway(StrEnum):
    """The router's own gateway check on rows that edged creates (RouterOS 7 only)."""

    NONE = "none"
    PING = "ping"


class VipSource(StrEnum):
    """Whether the VIP is compared with the cluster's Service and Gateway."""

    CONFIG = "config"
    KUBERNETES = "kubernetes"


class BgpPolicy(StrEnum):
    """What a lost BGP session may lead to."""

    DEGRADE = "degrade"
    OBSERVE = "observe"
    OFF = "off"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    JSON = "json"
    JOURNAL = "journal"
    CONSOLE = "console"


class Severity(StrEnum):
    """How loud an event is; also the scale of ``log.level``."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class ChannelType(StrEnum):
    """The chat and paging services edged can talk to."""

    SLACK = "slack"
    DISCORD = "discord"
    TELEGRAM = "telegram"
    NTFY = "ntfy"
    DOORAY = "dooray"
    JANDI = "jandi"
    NAVERWORKS = "naverworks"
    KAKAOWORK = "kakaowork"
    TEAMS = "teams"
    MATTERMOST = "mattermost"
    GOOGLECHAT = "googlechat"
    PAGERDUTY = "pagerduty"
    ALERTMANAGER = "alertmanager"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfig:
    """One RouterOS device and how to reach its API."""

    name: str
    address: str
    port: int
    username: str
    password: SecretSource
    tls: RouterTls
    insecure: bool
    fingerprint: str | None
    """``sha256:`` and 64 lower-case hex digits; set exactly when ``tls`` is ``pin``."""
    ca_file: Path | None
    command_timeout_ms: int
    reconcile_interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """One node as a way to the VIP."""

    name: str
    address: str
    """IP literal in canonical form: what is probed."""
    next_hop: str
    """IP literal in canonical form: what stands in the route; ``address`` unless it was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """Every number of one VIP's check, profile and single settings already merged."""

    server_name: str
    port: int
    path: str
    profile: Profile
    verify: Verify
    heartbeat: Heartbeat
    interval_ms: int
    request_interval_ms: int
    timeout_ms: int
    burst_ms: tuple[int, int, int, int]
    silent_after_ms: int
    heartbeat_interval_ms: int
    heartbeat_deadline_ms: int
    rise: int
    stable_for_ms: int
    down_interval_ms: int
    below_floor_interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryConfig:
    """A request to the VIP itself, as a client would make it. Report only."""

    url: str
    interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VipConfig:
    """One virtual address and the route that carries it."""

    name: str
    address: str
    """Canonical, with its prefix length: ``172.30.1.7/32``."""
    distance: int
    routers: tuple[str, ...]
    gateways: tuple[str, ...]
    """Names in the order of next hops."""
    all_gateways: bool
    """The list was left out: discovered gateways belong to this VIP, too."""
    min_healthy: int | None
    """None: half of the gateways, rounded up, counted with the discovered ones."""
    routing_table: str
    comment: str | None
    adopt: bool
    on_human_edit: OnHumanEdit
    check_gateway: CheckGateway
    source: VipSource
    """The key is ``from``."""
    kube_service: str | None
    """``namespace/name`` of the LoadBalancer Service."""
    kube_gateway: str | None
    """``namespace/name`` of the Gateway."""
    probe: ProbeConfig
    canary: CanaryConfig | None

    @property
    def is_ipv6(self) -> bool:
        """Tell whether only RouterOS 7 can carry this VIP."""
        return ":" in self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpConfig:
    """What the router's BGP sessions may tell."""

    policy: BgpPolicy
    down_for_ms: int
    poll_interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDownConfig:
    """How long a gateway that came back waits before it enters the route."""

    base_ms: int
    max_ms: int
    forget_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesConfig:
    """What is read from, and told to, the Kubernetes API."""

    enabled: bool
    kubeconfig: Path | None
    """None: the Pod's own service account, else ``~/.kube/config``."""
    node_selector: str | None
    """Label selector; None: no discovery."""
    cordon: bool
    drain_marks: bool
    annotation_prefix: str
    drain_labels: tuple[str, ...]
    daemonset: str
    """``namespace/name`` of the DaemonSet whose Pods are the gateways' Envoys."""
    lease: str | None
    """``namespace/name``; None: this instance writes alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where the read-only page is served."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """The read-only status page and metrics."""

    listen: ListenAddress | None
    """None: no TCP listener at all (``listen = ""``)."""
    allow_remote: bool
    public_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """How and how much edged logs."""

    format: LogFormat
    level: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryConfig:
    """How much history stays on disk."""

    keep_ms: int
    max_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsConfig:
    """What holds for every channel."""

    group_window_ms: int
    reminder_ms: int
    """Critical alerts only; 0: no reminders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """A daily span in which a channel gets critical alerts only. May cross midnight."""

    start_minute: int
    end_minute: int
    timezone: str | None
    """IANA name; None: the configuration's time zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConfig:
    """One place where alerts go. Fields a service does not know are None (or False)."""

    name: str
    type: ChannelType
    min_severity: Severity
    events: tuple[str, ...]
    """Patterns such as ``gateway.*``; ``("*",)`` is everything."""
    vips: tuple[str, ...] | None
    """None: every VIP."""
    language: Language
    quiet_hours: QuietHours | None
    proxy: str | None
    url: SecretSource | None
    """Where to post; None for Telegram and, unless set, PagerDuty."""
    token: SecretSource | None
    """Telegram bot token; ntfy and Alertmanager bearer token."""
    routing_key: SecretSource | None
    """PagerDuty."""
    secret: SecretSource | None
    """Webhook signing secret; two, parted by white space, while one is being replaced."""
    chat_id: str | None
    """Telegram."""
    thread_id: str | None
    """Telegram, Discord."""
    silent: bool
    """Telegram, Discord: deliver without a sound."""
    topic: str | None
    """ntfy."""
    bot_name: str | None
    """Dooray."""
    bot_icon: str | None
    """Dooray: URL of a picture."""
    email: str | None
    """JANDI team webhook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMansSwitchConfig:
    """A URL asked at an interval; somebody outside notices when that stops."""

    url: SecretSource
    interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole, valid configuration."""

    version: int
    mode: Mode
    language: Language
    timezone: str | None
    """IANA name; None: the system's."""
    state_dir: Path | None
    """None: nothing is kept on disk."""
    control_socket: Path
    routers: tuple[RouterConfig, ...]
    gateways: tuple[GatewayConfig, ...]
    vips: tuple[VipConfig, ...]
    bgp: BgpConfig
    hold_down: HoldDownConfig
    kubernetes: KubernetesConfig
    web: WebConfig
    log: LogConfig
    history: HistoryConfig
    alerts: AlertsConfig
    channels: tuple[ChannelConfig, ...]
    dead_mans_switch: DeadMansSwitchConfig | None
