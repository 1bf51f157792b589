"""Values that cross the core's border.

Everything here is immutable. Instants and durations are integers of milliseconds on one
monotonic clock (`*_ms`); measured latencies are microseconds (`*_us`). Wall time does not occur.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_GATEWAYS: Final = 1024
"""Most gateways one engine judges; ten times what one core can probe (docs/measurements.md)."""


# --- probes -------------------------------------------------------------------------------------


class ProbeDepth(StrEnum):
    """How far a probe goes: PING uses the held connection, the others open a fresh one."""

    LIGHT = "light"
    FULL = "full"
    PING = "ping"


class ProbeKind(StrEnum):
    """Why the core wants a probe."""

    ROUTINE = "routine"
    BURST = "burst"
    WITNESS = "witness"
    RISE = "rise"


class ProbeOutcome(StrEnum):
    """What a probe says; our own trouble is never the gateway's fault."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class ProbeReason(StrEnum):
    """Why a probe did not pass: a closed list (failed ones first, then inconclusive ones)."""

    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    UNREACHABLE = "unreachable"
    TLS_TIMEOUT = "tls_timeout"
    TLS_RESET = "tls_reset"
    TLS_ALERT = "tls_alert"
    HTTP_TIMEOUT = "http_timeout"
    HTTP_CLOSED = "http_closed"
    HTTP_INVALID = "http_invalid"
    LOCAL_ERROR = "local_error"
    STALLED = "stalled"
    CANCELLED = "cancelled"


INCONCLUSIVE_REASONS: Final = frozenset(
    {ProbeReason.LOCAL_ERROR, ProbeReason.STALLED, ProbeReason.CANCELLED},
)
UNANSWERED_REASONS: Final = frozenset({ProbeReason.CONNECT_TIMEOUT, ProbeReason.UNREACHABLE})
"""Failures in which nothing at all came back from the gateway."""
LOSS_REASONS: Final = frozenset(
    {ProbeReason.CONNECT_TIMEOUT, ProbeReason.TLS_TIMEOUT, ProbeReason.HTTP_TIMEOUT},
)
"""Failures that packet loss alone can cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """A probe the core wants: start it at `start_ms`, give up at `deadline_ms`.

    The same request is handed out by every `decide` until its start has been reported.
    """

    probe_id: int
    check: str
    gateway: str
    depth: ProbeDepth
    kind: ProbeKind
    start_ms: int
    deadline_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One finished probe. `detail` is untrusted text, already cut and cleaned by `probes/`.

    `started_ms` is when the SYN (or PING) left, `connected_ms` when the SYN-ACK came.
    `latency_us` is from the start to the answer and 0 unless the probe passed.
    """

    probe_id: int
    check: str
    depth: ProbeDepth
    outcome: ProbeOutcome
    reason: ProbeReason | None = None
    started_ms: int
    connected_ms: int | None = None
    finished_ms: int
    latency_us: int = 0
    http_status: int | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        """Hold outcome and reason together: one cannot be read without the other."""
        if self.outcome is ProbeOutcome.PASSED:
            assert self.reason is None
        elif self.outcome is ProbeOutcome.FAILED:
            assert self.reason is not None
            assert self.reason not in INCONCLUSIVE_REASONS
        else:
            assert self.reason in INCONCLUSIVE_REASONS


# --- verdicts and states ------------------------------------------------------------------------


class DeathClass(StrEnum):
    """The three ways to die (design 4.3)."""

    REFUSED = "refused"
    SILENT = "silent"
    ILL = "ill"


class GatewayState(StrEnum):
    """What a gateway is; if several apply, the first of DOWN, DRAIN, WAIT, DEGRADED, UP."""

    DOWN = "DOWN"
    DRAIN = "DRAIN"
    WAIT = "WAIT"
    DEGRADED = "DEGRADED"
    UP = "UP"
    UNKNOWN = "UNKNOWN"


class KeptReason(StrEnum):
    """Why a gateway that should leave is kept in the route."""

    NO_WITNESS = "no_witness"
    FLOOR = "floor"
    LAST = "last"
    SECOND_OPINION = "second_opinion"
    OVERLOAD = "overload"
    BLIND = "blind"
    STALE = "stale"


class FrozenReason(StrEnum):
    """Why nothing is written for a VIP."""

    PAUSED = "paused"
    WARM_UP = "warm_up"
    OBSERVING = "observing"
    NOT_ADOPTED = "not_adopted"
    FOREIGN = "foreign"
    UNKNOWN_NEXT_HOP = "unknown_next_hop"
    HUMAN_EDIT = "human_edit"
    CONTESTED = "contested"
    UNCERTAIN = "uncertain"
    NOT_WRITER = "not_writer"
    ROUTER_LOST = "router_lost"
    ROUTER_UPGRADED = "router_upgraded"


class WaitReason(StrEnum):
    """Why a gateway waits outside the route."""

    RISE = "rise"
    HOLD_DOWN = "hold_down"
    ENTRY_GATE = "entry_gate"
    PACE = "pace"
    HUMAN_HOLD = "human_hold"


class Opinion(StrEnum):
    """What a router's ping says about a suspect (design 6.6)."""

    DEAD = "dead"
    ALIVE = "alive"
    UNKNOWN = "unknown"


# --- the route ----------------------------------------------------------------------------------


class RouteShape(StrEnum):
    """How a router keeps an ECMP set: v6 one row with a list, v7 one row per next hop."""

    LIST = "list"
    ROWS = "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRow:
    """One row of the router's table for the VIP's destination and routing table.

    `next_hops` are the router's own words (`172.30.1.20%bridge` stays as it is); v7 rows have one.
    `unreachable` holds those of them that the router itself calls unreachable or inactive.
    """

    row_id: str
    next_hops: tuple[str, ...]
    disabled: bool = False
    static: bool = True
    dynamic: bool = False
    bgp: bool = False
    active: bool = True
    blackhole: bool = False
    unreachable: tuple[str, ...] = ()
    distance: int = 1
    comment: str = ""
    check_gateway: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRead:
    """All rows a router showed for one VIP in one read."""

    router: str
    vip: str
    shape: RouteShape
    rows: tuple[RouteRow, ...]
    sent_ms: int
    answered_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterFacts:
    """What a router said about itself when a session opened or a reconcile read it."""

    router: str
    version: str
    major: int
    uptime_ms: int
    cpu_load_percent: int | None = None
    rtt_us: int = 0
    board: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNextHops:
    """v6: write the whole list of one row."""

    row_id: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDisabled:
    """Enable or disable rows (v7: members; v6: the one row, for a hand-over only)."""

    row_ids: tuple[str, ...]
    next_hops: tuple[str, ...]
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRow:
    """Add a static row; edged creates v7 rows disabled unless a person asked for the route."""

    next_hops: tuple[str, ...]
    comment: str
    disabled: bool
    check_gateway: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetComment:
    """Write one row's comment: adoption and release, nothing else."""

    row_id: str
    before: str
    after: str


Step = SetNextHops | SetDisabled | CreateRow | SetComment


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One router command and what it does to the set, in gateway names."""

    router: str
    vip: str
    step: Step
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    reason: str = ""
    early: bool = False


class StepOutcome(StrEnum):
    """After UNCERTAIN only a read may follow."""

    DONE = "done"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"


class Refusal(StrEnum):
    """What kind of trap a refused step met; some are retried only on a new connection."""

    PERMISSION = "permission"
    UNKNOWN_PARAMETER = "unknown_parameter"
    NO_SUCH_ITEM = "no_such_item"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What became of a planned step; `message` is the router's own (untrusted) text."""

    planned: PlannedStep
    outcome: StepOutcome
    refusal: Refusal | None = None
    message: str = ""
    sent_ms: int
    finished_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpinionResult:
    """A router's answer about one suspect."""

    router: str
    gateway: str
    opinion: Opinion
    asked_ms: int
    answered_ms: int
    detail: str = ""


# --- configuration of the core ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTiming:
    """Every number of design 4.3 for one check, in milliseconds."""

    burst_ms: tuple[int, int, int, int] = (0, 50, 100, 200)
    deadline_ms: int = 250
    silent_after_ms: int = 150
    heartbeat: bool = True
    heartbeat_interval_ms: int = 100
    heartbeat_deadline_ms: int = 100
    interval_ms: int = 1_000
    request_interval_ms: int = 10_000
    rise: int = 3
    stable_for_ms: int = 2_000
    down_interval_ms: int = 1_000
    below_floor_interval_ms: int = 250

    @property
    def syn_wait_ms(self) -> int:
        """How long the last of a burst's three SYNs may stay unanswered."""
        return self.silent_after_ms - self.burst_ms[2]

    @property
    def burst_length_ms(self) -> int:
        """From the start of a burst to its last deadline."""
        return self.burst_ms[3] + self.deadline_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """A node as a way to the VIP."""

    name: str
    address: str
    next_hop: str
    own_host: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """One damped series of probes; VIPs with equal probe values share it."""

    key: str
    gateway: str
    timing: ProbeTiming = ProbeTiming()


@dataclass(frozen=True, slots=True, kw_only=True)
class VipConfig:
    """One VIP: its route's identity and who may be in it, in configured order."""

    name: str
    destination: str
    routers: tuple[str, ...]
    checks: tuple[str, ...]
    distance: int = 10
    routing_table: str = "main"
    min_healthy: int | None = None
    comment: str = ""
    adopt: bool = False
    restore_human_edits: bool = False
    check_gateway: str = "none"
    uncounted: tuple[str, ...] = ()
    """Gateways that were discovered and never UP yet: they do not count for the floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDown:
    """Return damping: base * 2^(n-1), at most max; one removal forgotten per `forget_after_ms`."""

    base_ms: int = 30_000
    max_ms: int = 300_000
    forget_after_ms: int = 300_000


class BgpPolicy(StrEnum):
    """What BGP may do (design 7)."""

    DEGRADE = "degrade"
    OBSERVE = "observe"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """Everything the core needs to know; `jitter_permille` are the dice, thrown outside."""

    enforce: bool
    gateways: tuple[GatewayConfig, ...]
    checks: tuple[CheckConfig, ...]
    vips: tuple[VipConfig, ...]
    routers: tuple[str, ...]
    hold_down: HoldDown = HoldDown()
    bgp_policy: BgpPolicy = BgpPolicy.DEGRADE
    bgp_down_for_ms: int = 300_000
    warm_up_ms: int = 3_000
    human_hold_ms: int = 900_000
    jitter_permille: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        """Hold what `config/` has promised; a fault here is a bug of ours."""
        assert len(self.gateways) <= MAX_GATEWAYS
        names = {gateway.name for gateway in self.gateways}
        assert len(names) == len(self.gateways)
        keys = {check.key for check in self.checks}
        assert len(keys) == len(self.checks)
        assert all(check.gateway in names for check in self.checks)
        assert all(check in keys for vip in self.vips for check in vip.checks)
        assert all(router in self.routers for vip in self.vips for router in vip.routers)
        assert all(-50 <= jitter <= 50 for jitter in self.jitter_permille)  # noqa: PLR2004 - the ±5 %


# --- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Ask a gateway out; `source` is `person`, `kubernetes`, `pod` or `configuration`."""

    gateway: str
    source: str = "person"
    owner: str = ""
    reason: str = ""
    until_ms: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Undrain:
    """End a drain of the same source."""

    gateway: str
    source: str = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Write nothing until `until_ms` (None: until resumed); goes on watching."""

    owner: str = ""
    until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """End a pause, a human hold, a contest or an upgrade freeze; enables what people disabled."""

    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """Start a burst now."""

    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Leave the VIP to BGP (`to_bgp`), or take it back."""

    vip: str
    to_bgp: bool
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropNextHop:
    """Remove an unknown next hop from our rows: a person named it."""

    vip: str
    next_hop: str
    owner: str = ""


Command = Drain | Undrain | Pause | Resume | Recheck | HandOver | DropNextHop


# --- decisions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A gateway that should leave and stays, with what stands in its way."""

    gateway: str
    reason: KeptReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A gateway outside the route and what it waits for; `until_ms` if that is known."""

    gateway: str
    reason: WaitReason
    until_ms: int | None = None
    progress: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Why nothing is written; `detail` names rows or next hops."""

    reason: FrozenReason
    until_ms: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A gateway that leaves and the rule it leaves by: hard, soft, drain or degraded."""

    gateway: str
    rule: str
    death: DeathClass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entering:
    """A gateway that enters; `early` says that a floor, not its rise, brings it in."""

    gateway: str
    early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDecision:
    """What should be, for one VIP on one router. `would` is the plan a freeze holds back."""

    router: str
    vip: str
    observed: tuple[str, ...]
    desired: tuple[str, ...]
    min_healthy: int
    leaving: tuple[Leaving, ...] = ()
    entering: tuple[Entering, ...] = ()
    kept: tuple[Kept, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    frozen: tuple[Frozen, ...] = ()
    plan: tuple[PlannedStep, ...] = ()
    would: tuple[PlannedStep, ...] = ()
    reason: str = "in_sync"
    opinions_wanted: tuple[str, ...] = ()
    next_deadline_ms: int | None = None

    @property
    def in_sync(self) -> bool:
        """Whether the router shows what is desired."""
        return not self.would and not self.plan


@dataclass(frozen=True, slots=True, kw_only=True)
class OpinionRequest:
    """Ask `router` to ping `gateway` now."""

    router: str
    gateway: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What `decide` returns: probes to start, routes to write, opinions and reads to get."""

    now_ms: int
    probes: tuple[ProbeRequest, ...]
    routes: tuple[RouteDecision, ...]
    opinions: tuple[OpinionRequest, ...] = ()
    witness_reads: tuple[str, ...] = ()
    next_deadline_ms: int | None = None
