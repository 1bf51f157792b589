"""The configuration file as pydantic sees it: every table, key, default and bound, once.

Owns the shape of the file. Values stay as they were written (a duration is still its text);
`edged.config.convert` turns a valid file into the frozen values of `edged.config.types` at once,
and no model leaves this package. What keys mean to each other is in `edged.config.lint`, because
pydantic runs no check across fields while one of them is wrong.

The docstring below a field is its help in editors: it goes into ``config.schema.json``.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, Strict

from edged.config import checks, types
from edged.config.checks import Between, Text, Whole

ROUTERS_MAX = 16
GATEWAYS_MAX = 1_024
"""Three times what one core is promised to carry."""
VIPS_MAX = 64
CHANNELS_MAX = 64

Name: TypeAlias = Annotated[str, Text(checks.name, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
AnyText: TypeAlias = Annotated[str, Text(checks.any_text)]
FilePath: TypeAlias = Annotated[str, Text(checks.any_text)]
IpLiteral: TypeAlias = Annotated[str, Text(checks.ip_literal)]
HttpUrl: TypeAlias = Annotated[str, Text(checks.http_url, pattern="^https?://")]
ObjectName: TypeAlias = Annotated[str, Text(checks.object_name, pattern="^[^/]+/[^/]+$")]
SecretText: TypeAlias = Annotated[str, Text(checks.secret_text, secret=True)]
Variable: TypeAlias = Annotated[
    str, Text(checks.variable, pattern="^[A-Za-z_][A-Za-z0-9_]*$", secret=True)
]
Credential: TypeAlias = Annotated[
    str, Text(checks.credential, pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$", secret=True)
]
Port: TypeAlias = Annotated[int, Whole(1, checks.PORT_MAX)]
Offset: TypeAlias = Annotated[str, Between("0ms", "10s")]

# Strict mode takes members of an enum only; the file holds their values.
_ByValue = Strict(strict=False)


class Table(BaseModel):
    """What all tables share: no unknown key, no silent conversion."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


# --- secrets: each key has four spellings, of which exactly one is set --------------------------


class UrlSecret(Table):
    """A URL that is a secret, because whoever knows it can post."""

    url: SecretText | None = None
    """The URL itself. Better in a file of its own: url_file."""
    url_file: FilePath | None = None
    """A file that holds the URL, and nothing else."""
    url_env: Variable | None = None
    """The environment variable that holds the URL."""
    url_credential: Credential | None = None
    """The systemd credential that holds the URL."""


class TokenSecret(Table):
    """An access token."""

    token: SecretText | None = None
    """The token itself. Better in a file of its own: token_file."""
    token_file: FilePath | None = None
    """A file that holds the token, and nothing else."""
    token_env: Variable | None = None
    """The environment variable that holds the token."""
    token_credential: Credential | None = None
    """The systemd credential that holds the token."""


class RoutingKeySecret(Table):
    """PagerDuty's integration key."""

    routing_key: SecretText | None = None
    """The integration key itself. Better in a file of its own: routing_key_file."""
    routing_key_file: FilePath | None = None
    """A file that holds the integration key, and nothing else."""
    routing_key_env: Variable | None = None
    """The environment variable that holds the integration key."""
    routing_key_credential: Credential | None = None
    """The systemd credential that holds the integration key."""


class SigningSecret(Table):
    """What a webhook is signed with."""

    secret: SecretText | None = None
    """The signing secret itself. Better in a file of its own: secret_file."""
    secret_file: FilePath | None = None
    """A file that holds the signing secret; or two, parted by a blank, while one is replaced."""
    secret_env: Variable | None = None
    """The environment variable that holds the signing secret."""
    secret_credential: Credential | None = None
    """The systemd credential that holds the signing secret."""


# --- the tables that say what is where ----------------------------------------------------------


class Router(Table):
    """A RouterOS device whose route edged keeps."""

    name: Name = Field(examples=["hex"])
    """Your word for it in messages and commands."""
    address: Annotated[str, Text(checks.host)] = Field(examples=["172.30.1.1"])
    """IP address or host name of its API."""
    port: Port | None = None
    """API port; 8729 with TLS, 8728 with tls = "off"."""
    username: AnyText = Field(examples=["edged"])
    """RouterOS user with the policies read, write, api and test."""
    password: SecretText | None = None
    """The password itself. Better in a file of its own: password_file."""
    password_file: FilePath | None = None
    """A file that holds the password, and nothing else."""
    password_env: Variable | None = None
    """The environment variable that holds the password."""
    password_credential: Credential | None = None
    """The systemd credential that holds the password."""
    tls: Annotated[types.RouterTls, _ByValue] = Field(examples=["pin"])
    """How the session is protected: verify, pin, or (with insecure = true) anonymous or off."""
    insecure: bool = False
    """Needed beside tls = "anonymous" and "off": the password can be read or intercepted."""
    fingerprint: Annotated[str, Text(checks.fingerprint)] | None = None
    """SHA-256 of the router's certificate, for tls = "pin"; `edged init` prints it."""
    ca_file: FilePath | None = None
    """PEM file of the authority to trust, for tls = "verify"; default: the system's."""
    command_timeout: Annotated[str, Between("100ms", "5s")] = "1s"
    """The time one command may take; doubled after each time-out, up to 5s."""
    reconcile_interval: Annotated[str, Between("1s", "5m")] = "10s"
    """How often the route is read and compared when nothing happens."""


class Gateway(Table):
    """A node as a way to the VIP."""

    name: Name = Field(examples=["node1"])
    """Your word for it; best the Kubernetes node's name."""
    address: IpLiteral = Field(examples=["172.30.1.20"])
    """IP address that is probed, and the next hop unless next_hop is set."""
    next_hop: IpLiteral | None = None
    """IP address in the route, where it is not the one that is probed."""


class Probe(Table):
    """How a VIP's gateways are judged. What is left out comes from the profile."""

    server_name: Annotated[str, Text(checks.server_name)] = Field(
        examples=["edged-probe.example.test"]
    )
    """SNI and Host: a name under the listener's host name that no HTTPRoute claims."""
    port: Port = 443
    """Port of the gateways' Envoy."""
    path: Annotated[str, Text(checks.absolute_url_path)] = "/.well-known/edged"
    """Path of the request checks; 404 is a good answer."""
    profile: Annotated[types.Profile, _ByValue] = types.Profile.DEFAULT
    """A named set of numbers: default, fast (a quiet switch) or calm (Wi-Fi, long lines)."""
    verify: Annotated[types.Verify, _ByValue] = types.Verify.WARN
    """Whether the gateways' certificates are looked at; they are never evidence."""
    heartbeat: Annotated[types.Heartbeat, _ByValue] = types.Heartbeat.H2_PING
    """What runs on the held connection; off only for gateways that refuse HTTP/2."""
    interval: Annotated[str, Between("100ms", "1m")] = "1s"
    """Time between routine probes of one gateway."""
    request_interval: Annotated[str, Between("100ms", "1h")] = "10s"
    """Time between routine probes that ask a full request, which leaves an access-log line."""
    timeout: Annotated[str, Between("20ms", "10s")] | None = None
    """Deadline of one probe; default by profile: 250ms, fast 200ms, calm 500ms."""
    burst: Annotated[list[Offset], Field(min_length=4, max_length=4)] | None = None
    """Starts of a burst's four probes; default by profile: 0ms, 50ms, 100ms, 200ms; fast 0ms,
    20ms, 40ms, 100ms; calm 0ms, 100ms, 200ms, 400ms."""
    silent_after: Annotated[str, Between("10ms", "10s")] | None = None
    """From a burst's start to the verdict "silent"; default by profile: 150ms, fast 60ms,
    calm 400ms."""
    heartbeat_interval: Annotated[str, Between("10ms", "1m")] | None = None
    """Time between pings on the held connection; default by profile: 100ms, fast 25ms,
    calm 250ms."""
    heartbeat_deadline: Annotated[str, Between("5ms", "10s")] | None = None
    """An answer later than this is a miss; default by profile: 100ms, fast 40ms, calm 250ms."""
    rise: Annotated[int, Whole(1, 100)] = 3
    """Passes in a row before a gateway may come back."""
    stable_for: Annotated[str, Between("0s", "10m")] = "2s"
    """Time without a failure before a gateway may come back."""
    down_interval: Annotated[str, Between("100ms", "5m")] = "1s"
    """Time between probes of a gateway that is down."""
    below_floor_interval: Annotated[str, Between("50ms", "1m")] = "250ms"
    """The same while fewer than min_healthy gateways pass."""


class Canary(Table):
    """A request to the VIP itself, as a client makes it. It is reported, never acted upon."""

    url: HttpUrl = Field(examples=["https://grafana.example.test/api/health"])
    """URL whose host resolves to the VIP, or to what leads there."""
    interval: Annotated[str, Between("1s", "1h")] = "5s"
    """Time between requests."""


class Vip(Table):
    """A virtual address and the route that carries it."""

    name: Name = Field(examples=["web"])
    """Your word for it; part of the mark in the route's comment, so do not change it later."""
    address: Annotated[str, Text(checks.vip_address, pattern="/(32|128)$")] = Field(
        examples=["172.30.1.7/32"]
    )
    """The address with its prefix length, as the router shows the route."""
    distance: Annotated[
        int, Whole(1, checks.BGP_DISTANCE - 1, why=", so that the route wins against BGP's 20")
    ] = 10
    """Distance of the route; below that of BGP routes, which is 20."""
    routers: list[Name] | None = None
    """Names of the routers that carry it; default: all."""
    gateways: list[Name] | None = None
    """Names of its gateways, in the order of next hops; default: all, discovered ones included."""
    min_healthy: Annotated[int, Whole(1, GATEWAYS_MAX)] | None = None
    """The floor: doubtful removals stop here; default: half of the gateways, rounded up."""
    routing_table: Annotated[str, Text(checks.routing_table)] = "main"
    """Routing table of the route; RouterOS 6: main only."""
    comment: Annotated[str, Text(checks.route_comment)] | None = None
    """Your words before the mark, on rows that edged creates."""
    adopt: bool = False
    """Mark matching rows without being asked, in enforce mode; else `edged adopt` does it."""
    on_human_edit: Annotated[types.OnHumanEdit, _ByValue] = types.OnHumanEdit.YIELD
    """When a person changed our row: yield for 15 minutes, or restore."""
    check_gateway: Annotated[types.CheckGateway, _ByValue] = types.CheckGateway.NONE
    """The router's own check on rows that edged creates: none or ping; RouterOS 7 only."""
    source: Annotated[types.VipSource, _ByValue] = Field(
        default=types.VipSource.CONFIG, alias="from"
    )
    """kubernetes: compare address and server_name with the Service and Gateway, and warn."""
    kube_service: ObjectName | None = None
    """The LoadBalancer Service that holds the address, as namespace/name."""
    kube_gateway: ObjectName | None = None
    """The Gateway whose listeners hold the host names, as namespace/name."""
    probe: Probe = Field(examples=["[vip.probe]"])
    canary: Canary | None = None


# --- the tables that hold once ------------------------------------------------------------------


class Bgp(Table):
    """What the router's BGP sessions with the nodes may tell."""

    policy: Annotated[types.BgpPolicy, _ByValue] = types.BgpPolicy.DEGRADE
    """degrade: a lost session may take a gateway out; observe: tell only; off: do not read."""
    down_for: Annotated[str, Between("5s", "1d")] = "5m"
    """How long a session must be down before the gateway counts as degraded."""
    poll_interval: Annotated[str, Between("1s", "5m")] = "5s"
    """How often the router is asked for its sessions."""


class HoldDown(Table):
    """How long a gateway that came back waits, doubled with each removal."""

    base: Annotated[str, Between("1s", "1h")] = "30s"
    """Wait after the first removal."""
    max: Annotated[str, Between("1s", "1d")] = "5m"
    """Longest wait."""
    forget_after: Annotated[str, Between("10s", "7d")] = "5m"
    """One removal is forgotten per this time without a new one."""


class Kubernetes(Table):
    """What is read from the Kubernetes API. Routing never needs it."""

    enabled: bool = False
    """Read nodes, drain marks and Envoy's Pods."""
    kubeconfig: FilePath | None = None
    """Path of a kubeconfig; default: the Pod's own account, else ~/.kube/config."""
    node_selector: Annotated[str, Text(checks.label_selector)] | None = None
    """Discover gateways: nodes with these labels; default: only the configured ones."""
    cordon: bool = False
    """Treat a cordoned node as one to drain."""
    drain_marks: bool = True
    """Honour annotations, labels and taints that announce a node's maintenance."""
    annotation_prefix: Annotated[str, Text(checks.annotation_prefix)] = "edged"
    """Part before the slash of the annotations edged/drain and edged/drained-at."""
    drain_labels: list[Annotated[str, Text(checks.label_key)]] = Field(default=[])
    """Further node labels that mean: drain."""
    daemonset: ObjectName = "kube-system/cilium-envoy"
    """DaemonSet whose Pods are the gateways' Envoys, as namespace/name."""
    lease: ObjectName | None = None
    """Lease that decides which of two instances writes, as namespace/name; default: none, this
    one writes alone."""


class Web(Table):
    """The read-only status page and metrics."""

    listen: Annotated[str, Text(checks.listen)] = "127.0.0.1:9780"
    """Address and port; "" for none."""
    allow_remote: bool = False
    """Needed to listen beyond loopback: whoever reaches the port can read everything."""
    public_url: HttpUrl | None = None
    """How people reach the page; goes into alerts."""


class Log(Table):
    """How and how much edged logs."""

    format: Annotated[types.LogFormat, _ByValue] = types.LogFormat.AUTO
    """auto: the journal's own fields, colour on a terminal, JSON elsewhere."""
    level: Annotated[types.Severity, _ByValue] = types.Severity.INFO
    """Least severity that is logged."""


class History(Table):
    """How much history stays on disk."""

    keep: Annotated[str, Between("1h", "3650d")] = "90d"
    """Age at which events are deleted."""
    max_rows: Annotated[int, Whole(1_000, 10_000_000)] = 100_000
    """Events kept at most."""


class Alerts(Table):
    """What holds for every channel."""

    group_window: Annotated[str, Between("0s", "5m")] = "2s"
    """What belongs together within this time becomes one message; critical ones do not wait."""
    reminder: Annotated[str, Between("0s", "7d")] = "1h"
    """How often an open critical alert is repeated; "0s": never."""


class DeadMansSwitch(UrlSecret):
    """A URL asked at an interval: somebody outside notices when that stops."""

    interval: Annotated[str, Between("5s", "1d")] = "30s"
    """Time between requests."""


# --- channels -----------------------------------------------------------------------------------


class Channel(Table):
    """A place where alerts go."""

    name: Name = Field(examples=["ops"])
    """Your word for it in `edged alerts`."""
    min_severity: Annotated[types.Severity, _ByValue] = types.Severity.WARNING
    """Least severity that is sent."""
    events: list[Annotated[str, Text(checks.event_pattern)]] = Field(default=["*"])
    """Which events, such as "gateway.*"."""
    vips: list[Name] | None = None
    """Names of the VIPs it hears about; default: all."""
    language: Annotated[types.Language, _ByValue] | None = None
    """Language of its messages; default: the one at the top of the file."""
    quiet_hours: Annotated[str, Text(checks.quiet_hours)] | None = None
    """Daily span with critical alerts only, such as "22:00-07:00" or "22:00-07:00 Asia/Seoul"."""
    proxy: HttpUrl | None = None
    """HTTP proxy for this channel."""


class Slack(Channel, UrlSecret):
    """Slack, by an incoming webhook."""

    type: Literal["slack"]
    """Which service."""


class Discord(Channel, UrlSecret):
    """Discord, by a webhook."""

    type: Literal["discord"]
    """Which service."""
    thread_id: AnyText | None = None
    """Thread to post into."""
    silent: bool = False
    """Deliver without a sound."""


class Telegram(Channel, TokenSecret):
    """Telegram, by a bot."""

    type: Literal["telegram"]
    """Which service."""
    chat_id: AnyText = Field(examples=["-1001234567890"])
    """Chat, group or channel to post into."""
    thread_id: AnyText | None = None
    """Topic of a group with topics."""
    silent: bool = False
    """Deliver without a sound."""


class Ntfy(Channel, UrlSecret, TokenSecret):
    """ntfy, public or self-hosted; url is the server's."""

    type: Literal["ntfy"]
    """Which service."""
    topic: AnyText = Field(examples=["edged-alerts"])
    """Topic to publish to."""


class Dooray(Channel, UrlSecret):
    """Dooray!, by an incoming webhook."""

    type: Literal["dooray"]
    """Which service."""
    bot_name: AnyText = "edged"
    """Name the message is signed with."""
    bot_icon: HttpUrl | None = None
    """Picture beside the name."""


class Jandi(Channel, UrlSecret):
    """JANDI, by an incoming webhook."""

    type: Literal["jandi"]
    """Which service."""
    email: AnyText | None = None
    """Member to write to; only for a team webhook."""


class NaverWorks(Channel, UrlSecret):
    """NAVER WORKS (LINE WORKS), by the Incoming Webhook app."""

    type: Literal["naverworks"]
    """Which service."""


class KakaoWork(Channel, UrlSecret):
    """KakaoWork, by an incoming webhook."""

    type: Literal["kakaowork"]
    """Which service."""


class Teams(Channel, UrlSecret):
    """Microsoft Teams, by a Workflows webhook."""

    type: Literal["teams"]
    """Which service."""


class Mattermost(Channel, UrlSecret):
    """Mattermost, by an incoming webhook."""

    type: Literal["mattermost"]
    """Which service."""


class GoogleChat(Channel, UrlSecret):
    """Google Chat, by a space's webhook."""

    type: Literal["googlechat"]
    """Which service."""


class PagerDuty(Channel, RoutingKeySecret, UrlSecret):
    """PagerDuty, by Events API v2; url only for a region of its own."""

    type: Literal["pagerduty"]
    """Which service."""


class Alertmanager(Channel, UrlSecret, TokenSecret):
    """Alertmanager's API; url is the server's."""

    type: Literal["alertmanager"]
    """Which service."""


class Webhook(Channel, UrlSecret, SigningSecret):
    """Anything that takes a signed CloudEvent."""

    type: Literal["webhook"]
    """Which service."""


CHANNELS: dict[types.ChannelType, type[Channel]] = {
    types.ChannelType.SLACK: Slack,
    types.ChannelType.DISCORD: Discord,
    types.ChannelType.TELEGRAM: Telegram,
    types.ChannelType.NTFY: Ntfy,
    types.ChannelType.DOORAY: Dooray,
    types.ChannelType.JANDI: Jandi,
    types.ChannelType.NAVERWORKS: NaverWorks,
    types.ChannelType.KAKAOWORK: KakaoWork,
    types.ChannelType.TEAMS: Teams,
    types.ChannelType.MATTERMOST: Mattermost,
    types.ChannelType.GOOGLECHAT: GoogleChat,
    types.ChannelType.PAGERDUTY: PagerDuty,
    types.ChannelType.ALERTMANAGER: Alertmanager,
    types.ChannelType.WEBHOOK: Webhook,
}

AnyChannel: TypeAlias = Annotated[
    Slack
    | Discord
    | Telegram
    | Ntfy
    | Dooray
    | Jandi
    | NaverWorks
    | KakaoWork
    | Teams
    | Mattermost
    | GoogleChat
    | PagerDuty
    | Alertmanager
    | Webhook,
    Field(discriminator="type"),
]


class Root(Table):
    """Configuration of edged."""

    version: Annotated[int, Whole(1, 1, why="; another format needs another edged")] = 1
    """Version of this format."""
    mode: Annotated[types.Mode, _ByValue] = types.Mode.OBSERVE
    """observe: never write to a router; enforce: keep the route."""
    language: Annotated[types.Language, _ByValue] = types.Language.ENGLISH
    """Language of alerts and page: en or ko."""
    timezone: Annotated[str, Text(checks.timezone)] | None = None
    """Time zone for people, such as "Asia/Seoul"; default: the system's."""
    state_dir: str | None = None
    """Directory for history and state; default $STATE_DIRECTORY, else /var/lib/edged; "" keeps
    nothing."""
    control_socket: FilePath | None = None
    """Unix socket of the commands; default $RUNTIME_DIRECTORY/control.sock, else
    /run/edged/control.sock."""
    router: list[Router] = Field(default=[], max_length=ROUTERS_MAX)
    gateway: list[Gateway] = Field(default=[], max_length=GATEWAYS_MAX)
    vip: list[Vip] = Field(default=[], max_length=VIPS_MAX)
    bgp: Bgp = Bgp()
    hold_down: HoldDown = HoldDown()
    kubernetes: Kubernetes = Kubernetes()
    web: Web = Web()
    log: Log = Log()
    history: History = History()
    alerts: Alerts = Alerts()
    channel: list[AnyChannel] = Field(default=[], max_length=CHANNELS_MAX)
    dead_mans_switch: DeadMansSwitch | None = None
