"""The JSON documents that commands, page and API show: `edged.status/v1`, `why`, `plan`, `probe`.

Pure functions from the engine and what the daemon knows beside it (`DaemonView`) to plain dicts,
lists and scalars. They only ever grow. Times are RFC 3339 in UTC, converted from the core's clock
by the one pair (`now_ms`, `wall`) of the same instant. Everything that needs a sentence carries
the word for machines and the sentence for people side by side.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from edged.core.engine import Engine, GatewaySnapshot
from edged.core.errors import CommandRefused
from edged.core.events import Event, Severity
from edged.core.plan import (
    OwnRows,
    address_of,
    adoption_steps,
    sort_rows,
    undo_lines,
)
from edged.core.types import (
    CheckConfig,
    CoreConfig,
    CreateRow,
    DeathClass,
    Drain,
    Frozen,
    FrozenReason,
    GatewayState,
    Kept,
    KeptReason,
    PlannedStep,
    ProbeDepth,
    ProbeOutcome,
    ProbeReason,
    ProbeTiming,
    RouteDecision,
    RouteRead,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
    StepOutcome,
    StepResult,
    VipConfig,
    Waiting,
    WaitReason,
)
from edged.web.event_words import ENGLISH, event_sentence, spell_duration
from edged.web.words import KEPT_LAST_DOWN, brief, sentence

Document = dict[str, object]

WISHED: Final = frozenset(
    {
        FrozenReason.PAUSED,
        FrozenReason.WARM_UP,
        FrozenReason.OBSERVING,
        FrozenReason.HUMAN_EDIT,
        FrozenReason.NOT_WRITER,
    },
)
"""Freezes that a person asked for, or that end by themselves: no reason to wake anybody."""
NOT_VERIFIED: Final = frozenset({"anonymous", "off"})


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
    timezone: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    bgp: tuple[BgpView, ...] = ()
    kubernetes: str = "not configured"
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


# --- status -------------------------------------------------------------------------------------


def status_document(engine: Engine, *, now_ms: int, wall: datetime, view: DaemonView) -> Document:
    """Build `edged.status/v1`."""
    moment = Moment(now_ms=now_ms, wall=wall)
    facts = _Facts(engine, moment, view)
    vips = [_vip(vip, facts) for vip in view.core.vips]
    routers = [_router(router) for router in view.routers]
    lost = any(not router.connected for router in view.routers)
    levels = [str(vip["level"]) for vip in vips]
    levels.append("critical" if lost else "degraded" if view.alerts.open else "fine")
    return {
        "schema": "edged.status/v1",
        "time": rfc3339(wall),
        "timezone": view.timezone,
        "version": view.version,
        "host": view.host,
        "started": rfc3339(view.started),
        "uptime_s": max(0, round((wall - view.started).total_seconds())),
        "config": view.config_path,
        "mode": view.mode,
        "writer": view.writer,
        "level": max(levels, key=LEVELS.index),
        "paused": _pause(facts),
        "routers": routers,
        "vips": vips,
        "drains": [_drain(drain, moment) for drain in engine.drains],
        "alerts": {
            "open": view.alerts.open,
            "pending": view.alerts.pending,
            "channels": [{"name": name, "state": state} for name, state in view.alerts.channels],
            "dead_mans_switch": view.alerts.dead_mans_switch or None,
        },
        "last_change": _told(view.last_change),
        "next": list(_next(facts)),
        "policy": {"text": view.policy, "fine": view.policy_fine},
        "store": view.store or None,
    }


LEVELS: Final = ("fine", "degraded", "critical")
"""From good to bad; exit codes 0, 3 and 4 of `edged status --check`."""


class _Facts:
    """What one document is made of, asked of the engine once."""

    __slots__ = ("decision", "engine", "moment", "routes", "snapshots", "timings", "view")

    def __init__(self, engine: Engine, moment: Moment, view: DaemonView) -> None:
        self.engine = engine
        self.moment = moment
        self.view = view
        self.decision = engine.decide(moment.now_ms)
        self.routes: dict[str, list[RouteDecision]] = {vip.name: [] for vip in view.core.vips}
        for route in self.decision.routes:
            self.routes.setdefault(route.vip, []).append(route)
        self.snapshots = {s.check: s for s in engine.gateways(moment.now_ms)}
        self.timings = {check.key: check.timing for check in view.core.checks}

    def members(self, vip: VipConfig) -> list[GatewaySnapshot]:
        """Return the VIP's gateways in configured order."""
        return [self.snapshots[key] for key in vip.checks if key in self.snapshots]

    def timing(self, check: str) -> ProbeTiming:
        """Return the numbers of a check."""
        return self.timings.get(check, ProbeTiming())

    def port(self, check: str) -> int:
        """Return the port that a check probes."""
        return self.view.ports.get(check, 443)

    def hold_ms(self, removals: int) -> int:
        """Return the hold-down after so many removals."""
        hold = self.view.core.hold_down
        return min(hold.base_ms << min(max(removals, 1) - 1, 30), hold.max_ms)


def _told(change: Mapping[str, object] | None) -> Document | None:
    if change is None:
        return None
    fields = change.get("fields")
    assert isinstance(fields, Mapping)
    return {**change, "text": event_sentence(str(change["name"]), fields)}


def _router(router: RouterView) -> Document:
    return {
        "name": router.name,
        "connected": router.connected,
        "version": router.version,
        "rtt_ms": round(router.rtt_us / 1_000, 3),
        "board": router.board,
        "cpu_load_percent": router.cpu_load_percent,
        "since": rfc3339(router.since) if router.since is not None else None,
        "detail": router.detail,
        "reads_backed_off": router.reads_backed_off,
        "tls": router.tls,
        "verified": router.tls not in NOT_VERIFIED,
        "writes": {"today": router.writes_today, "ever": router.writes_ever},
    }


def _pause(facts: _Facts) -> Document | None:
    pause = facts.engine.paused
    if pause is None:
        return None
    return {"owner": pause.owner, "until": facts.moment.stamp(pause.until_ms)}


def _drain(drain: Drain, moment: Moment) -> Document:
    return {
        "gateway": drain.gateway,
        "source": drain.source,
        "owner": drain.owner,
        "reason": drain.reason,
        "until": moment.stamp(drain.until_ms),
        "force": drain.force,
    }


def _vip(vip: VipConfig, facts: _Facts) -> Document:
    routes = facts.routes[vip.name]
    members = facts.members(vip)
    frozen = [_frozen(item, route, facts) for route in routes for item in route.frozen]
    gateways = [_gateway(snapshot, routes, facts) for snapshot in members]
    gateways.extend(_departed(vip, routes, facts))
    floor = routes[0].min_healthy if routes else 0
    return {
        "name": vip.name,
        "address": vip.destination,
        "level": _level(members, routes, floor),
        "in_sync": all(route.in_sync for route in routes),
        "frozen": frozen,
        "min_healthy": floor,
        "passing": sum(snapshot.passing for snapshot in members),
        "desired": list(routes[0].desired) if routes else [],
        "observed": {route.router: list(route.observed) for route in routes},
        "routes": [
            {
                "router": route.router,
                "in_sync": route.in_sync,
                "desired": list(route.desired),
                "observed": list(route.observed),
                "reason": route.reason,
                "held_back": bool(route.would) and not route.plan,
                "adopted": _adopted(route, facts),
            }
            for route in routes
        ],
        "gateways": gateways,
    }


def _adopted(route: RouteDecision, facts: _Facts) -> bool | None:
    own = facts.engine.own_rows(route.router, route.vip)
    return None if own is None else bool(own.ours)


def _level(members: list[GatewaySnapshot], routes: list[RouteDecision], floor: int) -> str:
    reasons = {item.reason for route in routes for item in route.frozen}
    wished = WISHED
    if FrozenReason.OBSERVING in reasons:
        wished = WISHED | {FrozenReason.NOT_ADOPTED, FrozenReason.FOREIGN}
    unjudged = FrozenReason.WARM_UP in reasons
    passing = sum(snapshot.passing for snapshot in members)
    stuck = {FrozenReason.UNKNOWN_NEXT_HOP, *wished}
    if reasons - stuck or (passing < floor and not unjudged):
        return "critical"
    out = any(s.name not in route.observed for s in members for route in routes)
    unwell = any(s.state is not GatewayState.UP for s in members) and not unjudged
    return "degraded" if (out and not unjudged) or unwell or reasons - wished else "fine"


def _frozen(frozen: Frozen, route: RouteDecision, facts: _Facts) -> Document:
    words = sentence(frozen.reason, router=route.router, vip=route.vip)
    if frozen.reason is FrozenReason.PAUSED and facts.engine.paused is not None:
        owner = facts.engine.paused.owner
        words = f"{owner} paused edged" if owner else words
    return {
        "router": route.router,
        "reason": frozen.reason.value,
        "sentence": words,
        "until": facts.moment.stamp(frozen.until_ms),
        "detail": frozen.detail,
        "blocking": frozen.reason is not FrozenReason.UNKNOWN_NEXT_HOP,
        "do": _way_out(frozen.reason, route),
    }


def _way_out(reason: FrozenReason, route: RouteDecision) -> str | None:
    match reason:
        case FrozenReason.NOT_ADOPTED:
            return f"edged adopt {route.vip}"
        case (
            FrozenReason.PAUSED
            | FrozenReason.HUMAN_EDIT
            | FrozenReason.CONTESTED
            | FrozenReason.ROUTER_UPGRADED
        ):
            return "edged resume"
        case FrozenReason.FOREIGN | FrozenReason.UNKNOWN_NEXT_HOP:
            return "edged plan"
        case (
            FrozenReason.WARM_UP
            | FrozenReason.OBSERVING
            | FrozenReason.UNCERTAIN
            | FrozenReason.NOT_WRITER
            | FrozenReason.ROUTER_LOST
        ):
            return None
        case _:
            assert_never(reason)


# --- one gateway --------------------------------------------------------------------------------


def _gateway(snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: _Facts) -> Document:
    inside = [snapshot.name in route.observed for route in routes]
    moment = facts.moment
    return {
        "name": snapshot.name,
        "address": snapshot.address,
        "state": snapshot.state.value,
        "progress": snapshot.progress,
        "reason": snapshot.reason,
        "brief": _brief(snapshot, facts),
        "since": moment.stamp(_since_ms(snapshot, facts)),
        "passing": snapshot.passing,
        "in_route": bool(inside) and all(inside),
        "in_route_on": [route.router for route in routes if snapshot.name in route.observed],
        "kept": next(_kept_in(snapshot, routes), None),
        "waits": next(_waits_in(snapshot, routes, facts), None),
        "probe": {
            "last": _last_probe(snapshot),
            "latency_ms": round(snapshot.latency_us / 1_000, 3) if snapshot.latency_us else None,
            "at": moment.stamp(snapshot.last_probe_ms),
        },
        "bgp": _bgp(snapshot.name, facts),
        "hold_until": moment.stamp(snapshot.hold_until_ms),
        "removals": snapshot.removals,
        "drains": [_drain(drain, moment) for drain in snapshot.drains],
        "causes": list(snapshot.causes),
        "heartbeat": snapshot.heartbeat,
        "lossy": snapshot.lossy,
    }


def _since_ms(snapshot: GatewaySnapshot, facts: _Facts) -> int:
    """Return since when it is what it is; a drain begins when it was asked for."""
    if snapshot.state is GatewayState.DRAIN:
        for made in reversed(facts.engine.trail(snapshot.name)):
            if made.name == "gateway.drained":
                return made.at_ms
    return snapshot.since_ms


def _departed(vip: VipConfig, routes: list[RouteDecision], facts: _Facts) -> Iterator[Document]:
    """Yield members of the route that the configuration no longer knows."""
    known = {snapshot.name for snapshot in facts.members(vip)}
    names = dict.fromkeys(name for route in routes for name in route.observed)
    for name in names:
        if name not in known:
            yield {
                "name": name,
                "address": "",
                "state": GatewayState.DRAIN.value,
                "progress": "",
                "reason": "not_configured",
                "brief": "no longer configured",
                "since": None,
                "passing": False,
                "in_route": True,
                "in_route_on": [route.router for route in routes if name in route.observed],
                "kept": None,
                "waits": None,
                "probe": {"last": "", "latency_ms": None, "at": None},
                "bgp": None,
                "hold_until": None,
                "removals": 0,
                "drains": [],
                "causes": [],
                "heartbeat": False,
                "lossy": False,
            }


def _last_probe(snapshot: GatewaySnapshot) -> str:
    """Return `passed`, or the reason of the last failure."""
    if snapshot.last_outcome == ProbeOutcome.PASSED:
        return ProbeOutcome.PASSED.value
    return snapshot.reason or snapshot.last_outcome


def _brief(snapshot: GatewaySnapshot, facts: _Facts) -> str:
    """Return the few words of the WHY column."""
    if snapshot.state is GatewayState.DRAIN:
        drain = snapshot.drains[0]
        owner = drain.owner or drain.source
        return f"{owner}: {drain.reason}" if drain.reason else f"drained by {owner}"
    if not snapshot.reason:
        return ""
    return brief(snapshot.reason, port=facts.port(snapshot.check))


def _kept_in(snapshot: GatewaySnapshot, routes: list[RouteDecision]) -> Iterator[Document]:
    for route in routes:
        for kept in route.kept:
            if kept.gateway == snapshot.name:
                yield _kept(kept, route, snapshot)


def _kept(kept: Kept, route: RouteDecision, snapshot: GatewaySnapshot | None) -> Document:
    words = sentence(kept.reason, router=route.router, floor=route.min_healthy)
    if kept.reason is KeptReason.LAST and snapshot is not None and not snapshot.passing:
        words = KEPT_LAST_DOWN[ENGLISH]
    return {
        "gateway": kept.gateway,
        "router": route.router,
        "reason": kept.reason.value,
        "sentence": words,
    }


def _waits_in(
    snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: _Facts
) -> Iterator[Document]:
    for route in routes:
        for waiting in route.waiting:
            if waiting.gateway == snapshot.name:
                yield _waiting(waiting, route, facts, snapshot.check)


def _waiting(waiting: Waiting, route: RouteDecision, facts: _Facts, check: str) -> Document:
    timing = facts.timing(check)
    return {
        "gateway": waiting.gateway,
        "router": route.router,
        "reason": waiting.reason.value,
        "sentence": sentence(
            waiting.reason,
            router=route.router,
            rise=timing.rise,
            stable=spell_duration(timing.stable_for_ms),
        ),
        "until": facts.moment.stamp(waiting.until_ms),
        "progress": waiting.progress,
    }


def _bgp(gateway: str, facts: _Facts) -> str | None:
    """Return `up`, `down`, `unknown`, or nothing where no router has a session to it."""
    sessions = [session.up for session in facts.view.bgp if session.gateway == gateway]
    if not sessions:
        return None
    if None in sessions:
        return "unknown"
    return "up" if all(sessions) else "down"


# --- what happens next --------------------------------------------------------------------------


def _next(facts: _Facts) -> Iterator[Document]:
    """Yield what will happen by itself, or waits for a person, in a reader's order."""
    told: set[tuple[str, str]] = set()
    for vip in facts.view.core.vips:
        for document in _next_of(vip, facts):
            key = (str(document["text"]), str(document["at"]))
            if key not in told:
                told.add(key)
                yield document
    for drain in facts.engine.drains:
        if drain.until_ms is not None:
            text = f"the drain of {drain.gateway} ends"
            yield {"text": text, "at": facts.moment.stamp(drain.until_ms), "do": None}
    pause = facts.engine.paused
    if pause is not None:
        text = "edged goes on by itself" if pause.until_ms else "edged stays paused until resumed"
        at = facts.moment.stamp(pause.until_ms)
        yield {"text": text, "at": at, "do": "edged resume"}


def _next_of(vip: VipConfig, facts: _Facts) -> Iterator[Document]:
    moment = facts.moment
    snapshots = {snapshot.name: snapshot for snapshot in facts.members(vip)}
    for route in facts.routes[vip.name]:
        for frozen in route.frozen:
            if frozen.reason in {FrozenReason.NOT_ADOPTED, FrozenReason.HUMAN_EDIT}:
                text = {
                    FrozenReason.NOT_ADOPTED: f"{vip.name} waits to be adopted on {route.router}",
                    FrozenReason.HUMAN_EDIT: f"edged takes {vip.name} over again",
                }[frozen.reason]
                do = _way_out(frozen.reason, route)
                yield {"text": text, "at": moment.stamp(frozen.until_ms), "do": do}
        for waiting in route.waiting:
            snapshot = snapshots.get(waiting.gateway)
            if snapshot is None:
                continue
            if waiting.reason is WaitReason.HUMAN_HOLD:
                text = f"{waiting.gateway} stays out: its row was disabled by a person"
                yield {"text": text, "at": None, "do": "edged resume"}
            elif waiting.reason is WaitReason.RISE:
                text = f"{waiting.gateway} returns by itself: {_way_back(snapshot, facts)}"
                yield {"text": text, "at": None, "do": None}
            else:
                text = f"{waiting.gateway} returns by itself"
                yield {"text": text, "at": moment.stamp(waiting.until_ms), "do": None}


def _way_back(snapshot: GatewaySnapshot, facts: _Facts) -> str:
    timing = facts.timing(snapshot.check)
    parts = [f"{timing.rise} good probes", f"{spell_duration(timing.stable_for_ms)} clean"]
    text = ", ".join(parts)
    if snapshot.removals:
        text += f", then {spell_duration(facts.hold_ms(snapshot.removals))} wait"
    return text


# --- why ----------------------------------------------------------------------------------------


def why_document(
    engine: Engine, name: str | None, *, now_ms: int, wall: datetime, view: DaemonView
) -> Document:
    """Build `edged.why/v1` about a gateway (by name or address), a VIP, or all VIPs.

    Raises:
        CommandRefused: There is no such gateway or VIP.
    """
    facts = _Facts(engine, Moment(now_ms=now_ms, wall=wall), view)
    head: Document = {
        "schema": "edged.why/v1",
        "time": rfc3339(wall),
        "timezone": view.timezone,
        "mode": view.mode,
        "about": "vip",
        "gateway": None,
        "vips": [],
    }
    if name is None:
        return {**head, "vips": [_why_vip(vip, facts) for vip in view.core.vips]}
    named = [vip for vip in view.core.vips if name in {vip.name, vip.destination}]
    snapshots = [s for s in facts.snapshots.values() if name in {s.name, s.address}]
    if snapshots:
        return {**head, "about": "gateway", "gateway": _why_gateway(snapshots, facts)}
    if named:
        return {**head, "vips": [_why_vip(vip, facts) for vip in named]}
    raise CommandRefused(unknown_name(name, view.core))


def unknown_name(name: str, core: CoreConfig) -> str:
    """Say that nothing has this name, and which names there are."""
    known = [*(gateway.name for gateway in core.gateways), *(vip.name for vip in core.vips)]
    return f'there is no gateway or VIP "{name}"; known are {", ".join(known)}'


def _why_vip(vip: VipConfig, facts: _Facts) -> Document:
    status = _vip(vip, facts)
    routes = facts.routes[vip.name]
    return {
        **status,
        "word": _vip_word(vip, routes, facts),
        "routes_why": [
            {
                "router": route.router,
                "in_sync": route.in_sync,
                "would": [
                    _step(planned, vip, facts.view) for planned in (route.plan or route.would)
                ],
                "leaving": [
                    {
                        "gateway": leaving.gateway,
                        "rule": leaving.rule,
                        "class": leaving.death.value if leaving.death else None,
                    }
                    for leaving in route.leaving
                ],
                "entering": [
                    {"gateway": entering.gateway, "early": entering.early}
                    for entering in route.entering
                ],
            }
            for route in routes
        ],
        "trail": _vip_trail(vip, facts),
    }


def _vip_word(vip: VipConfig, routes: list[RouteDecision], facts: _Facts) -> str:
    members = facts.members(vip)
    inside = {name for route in routes for name in route.observed}
    passing = [snapshot for snapshot in members if snapshot.passing and snapshot.name in inside]
    if not inside:
        return "No gateway is in the route on any router."
    if not passing:
        return "No gateway in the route answers. The route is left as it is."
    if all(route.in_sync for route in routes):
        good = f"{len(passing)} of {len(members)} gateways are in the route and answer."
        return good if len(passing) == len(members) else f"{good} The route is as it should be."
    blocked = [item for route in routes for item in route.frozen]
    if blocked:
        return "The route is not what edged would make it, and edged may not write."
    return "The route is not yet what it should be; edged is about to change it."


def _vip_trail(vip: VipConfig, facts: _Facts) -> list[Document]:
    """Return the last changes of the VIP's route and gateways, oldest first, without details."""
    events: dict[int, Event] = {}
    for snapshot in facts.members(vip):
        for made in facts.engine.trail(snapshot.name):
            if made.severity is not Severity.DEBUG and made.get("vip") in {None, vip.name}:
                events[id(made)] = made
    latest = sorted(events.values(), key=lambda made: made.at_ms)[-VIP_TRAIL:]
    return [_told_event(made, facts.moment, None) for made in latest]


VIP_TRAIL: Final = 10
GATEWAY_TRAIL: Final = 24


def _why_gateway(snapshots: list[GatewaySnapshot], facts: _Facts) -> Document:
    """Explain a gateway; where VIPs check it differently, the worst check speaks."""
    order = list(GatewayState)
    snapshot = min(snapshots, key=lambda s: order.index(s.state))
    vips = [vip for vip in facts.view.core.vips if any(s.check in vip.checks for s in snapshots)]
    routes = [route for vip in vips for route in facts.routes[vip.name]]
    first_ms = _first_sign_ms(snapshot, facts)
    return {
        **_gateway(snapshot, routes, facts),
        "word": _word(snapshot, facts),
        "vips": [
            {
                "name": vip.name,
                "in_route": [r.router for r in facts.routes[vip.name] if _in(snapshot, r)],
                "routers": [r.router for r in facts.routes[vip.name]],
            }
            for vip in vips
        ],
        "first_sign": facts.moment.stamp(first_ms),
        "trail": _trail(snapshot, first_ms, facts),
        "rule": _rule(snapshot, routes, facts),
        "also": _also(snapshot, facts),
        "now": _now(snapshot, facts),
        "to_return": _to_return(snapshot, routes, facts),
        "can": list(_can(snapshot, routes, facts)),
    }


def _in(snapshot: GatewaySnapshot, route: RouteDecision) -> bool:
    return snapshot.name in route.observed


def _word(snapshot: GatewaySnapshot, facts: _Facts) -> str:
    """Say in one line what is the matter."""
    port = facts.port(snapshot.check)
    match snapshot.state:
        case GatewayState.DOWN:
            assert snapshot.verdict is not None
            detail = "it does not answer as Envoy does"
            if snapshot.verdict.death is DeathClass.ILL and snapshot.reason in _REASONS:
                detail = sentence(ProbeReason(snapshot.reason), port=port)
            return sentence(snapshot.verdict.death, port=port, detail=detail)
        case GatewayState.DRAIN:
            return sentence(snapshot.state, detail=_drain_words(snapshot))
        case GatewayState.DEGRADED:
            causes = ", ".join(brief(cause) for cause in snapshot.causes)
            return sentence(snapshot.state, detail=causes or "its cause is just gone")
        case GatewayState.UP | GatewayState.WAIT | GatewayState.UNKNOWN:
            return sentence(snapshot.state)
        case _:
            assert_never(snapshot.state)


_REASONS: Final = frozenset(reason.value for reason in ProbeReason)


def _drain_words(snapshot: GatewaySnapshot) -> str:
    if not snapshot.drains:
        return ""
    drain = snapshot.drains[0]
    by = f" by {drain.owner or drain.source}"
    return f'{by}: "{drain.reason}"' if drain.reason else by


def _first_sign_ms(snapshot: GatewaySnapshot, facts: _Facts) -> int | None:
    if snapshot.verdict is not None:
        return snapshot.verdict.first_sign_ms
    for made in reversed(facts.engine.trail(snapshot.name)):
        found = made.get("first_failure_at_ms")
        if made.name == "gateway.went_down" and isinstance(found, int):
            return found
    return None


def _trail(snapshot: GatewaySnapshot, first_ms: int | None, facts: _Facts) -> list[Document]:
    """Return what edged saw and did: from the first sign on, its beginning rather than its end."""
    events = [made for made in facts.engine.trail(snapshot.name) if _worth_telling(made)]
    if first_ms is not None:
        incident = [made for made in events if made.at_ms >= first_ms - BEFORE_MS]
        begin, end = incident[: GATEWAY_TRAIL // 2], incident[GATEWAY_TRAIL // 2 :]
        events = begin + end[-GATEWAY_TRAIL // 2 :]
    else:
        events = events[-GATEWAY_TRAIL // 2 :]
    return [_told_event(made, facts.moment, first_ms, gateway=snapshot.name) for made in events]


BEFORE_MS: Final = 1
_SAID_ELSEWHERE: Final = frozenset({"burst.ended", "check.fell", "burst.started", "check.rose"})


def _worth_telling(made: Event) -> bool:
    return made.name not in _SAID_ELSEWHERE


def _told_event(
    made: Event, moment: Moment, first_ms: int | None, *, gateway: str = ""
) -> Document:
    fields = dict(made.fields)
    if first_ms is not None:
        # A column beside the words counts from the first sign already.
        fields = {k: v for k, v in fields.items() if k not in {"detect_ms", "total_ms"}}
    return {
        "time": moment.stamp(made.at_ms),
        "after_ms": None if first_ms is None else made.at_ms - first_ms,
        "name": made.name,
        "severity": made.severity.value,
        "fields": {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in made.fields.items()
        },
        "text": event_sentence(made.name, fields, gateway=gateway),
    }


def _rule(snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: _Facts) -> str:
    verdict = snapshot.verdict
    if verdict is None:
        return ""
    timing = facts.timing(snapshot.check)
    others = _others_passing(snapshot, routes, facts)
    named = f" (here: {', '.join(others)})" if others else " (here: none)"
    floor = routes[0].min_healthy if routes else 0
    match verdict.death:
        case DeathClass.REFUSED:
            return (
                "refused = 2 refusals, >= 3 ms apart, with a witness. Leaves at once while one "
                f"passing node remains{named}."
            )
        case DeathClass.SILENT:
            return (
                f"silent = 3 SYNs and the held connection unanswered for "
                f"{timing.silent_after_ms} ms, with a witness. Leaves while {floor} nodes remain "
                "in the route, or at once when the router's ping confirms it and one passing "
                f"node remains{named}."
            )
        case DeathClass.ILL:
            return (
                f"ill = 4 failed probes within {timing.burst_length_ms} ms although something "
                f"came back, with a witness. Leaves while {floor} nodes remain in the route and "
                f"one of them passes{named}."
            )
        case _:
            assert_never(verdict.death)


def _others_passing(
    snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: _Facts
) -> list[str]:
    inside = {name for route in routes for name in route.observed}
    passing = {s.name for s in facts.snapshots.values() if s.passing}
    ordered = [gateway.name for gateway in facts.view.core.gateways]
    return [n for n in ordered if n in inside and n in passing and n != snapshot.name]


def _also(snapshot: GatewaySnapshot, facts: _Facts) -> list[str]:
    """Return what others know about it."""
    known = []
    sessions = [session for session in facts.view.bgp if session.gateway == snapshot.name]
    for session in sessions:
        state = {True: "up", False: "down", None: "unknown"}[session.up]
        age = ""
        if session.read is not None:
            age_ms = round((facts.moment.wall - session.read).total_seconds() * 1_000)
            age = f" (read {spell_duration(age_ms)} ago)"
        where = f" on {session.router}" if len(facts.view.routers) > 1 else ""
        known.append(f"BGP {state}{where}{age}")
    if not sessions:
        known.append("BGP: no session known")
    known.append(f"Kubernetes: {facts.view.kubernetes}")
    if snapshot.lossy:
        known.append("its path loses packets, so silent and ill need more evidence")
    if not snapshot.heartbeat and snapshot.passing:
        known.append("no heartbeat: a silent node is noticed by the next probe")
    return known


def _now(snapshot: GatewaySnapshot, facts: _Facts) -> str:
    timing = facts.timing(snapshot.check)
    last = ""
    if snapshot.last_probe_ms is not None:
        ago = spell_duration(facts.moment.now_ms - snapshot.last_probe_ms)
        said = _last_probe(snapshot).replace("_", " ")
        if snapshot.latency_us:
            said += f" in {snapshot.latency_us / 1_000:.1f} ms"
        last = f"last probe {ago} ago: {said}"
    if snapshot.state in {GatewayState.DOWN, GatewayState.UNKNOWN}:
        done = snapshot.progress or f"0/{timing.rise}"
        count = f"{done.replace('/', ' of ')} good probes"
        return f"{count}, {last}" if last else count
    return last or "not probed yet"


def _to_return(snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: _Facts) -> str:
    """Say what has to happen until it is in the route again; nothing if it is in."""
    if routes and all(_in(snapshot, route) for route in routes):
        return ""
    timing = facts.timing(snapshot.check)
    stable = spell_duration(timing.stable_for_ms)
    good = f"{timing.rise} good probes in a row, {stable} without a failure"
    match snapshot.state:
        case GatewayState.DRAIN:
            return f"edged undrain {snapshot.name}"
        case GatewayState.DOWN:
            if not snapshot.removals:
                return f"{good}. Nothing to do in edged."
            wait = spell_duration(facts.hold_ms(snapshot.removals))
            count = f"{_ordinal(snapshot.removals)} removal lately"
            return f"{good}, then {wait} wait ({count}). Nothing to do in edged."
        case GatewayState.UNKNOWN:
            return f"{good}. Nothing to do in edged."
        case GatewayState.WAIT:
            assert snapshot.hold_until_ms is not None
            left = spell_duration(snapshot.hold_until_ms - facts.moment.now_ms)
            return f"{left} of its wait are left. Nothing to do in edged."
        case GatewayState.DEGRADED:
            return "its cause has to go; with too few healthy nodes it returns before that"
        case GatewayState.UP:
            waits = next(_waits_in(snapshot, routes, facts), None)
            return str(waits["sentence"]) if waits is not None else "it enters with the next write"
        case _:
            assert_never(snapshot.state)


def _ordinal(number: int) -> str:
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _can(
    snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: _Facts
) -> Iterator[Document]:
    """Yield what a person can do about it, and what to type."""
    name = snapshot.name
    drained = any(drain.source == "person" for drain in snapshot.drains)
    if snapshot.state is GatewayState.DOWN:
        yield {
            "to": "look at Envoy",
            "type": "kubectl -n kube-system get pod -o wide -l k8s-app=cilium-envoy",
        }
    if any(kept.gateway == name for route in routes for kept in route.kept):
        yield {"to": "take it out", "type": f"edged drain {name} --force"}
    if drained:
        yield {"to": "let it return", "type": f"edged undrain {name}"}
    elif snapshot.state is not GatewayState.UP:
        yield {"to": "keep it out", "type": f"edged drain {name} --for 4h"}
    else:
        yield {"to": "take it out", "type": f"edged drain {name} --for 4h"}
    if facts.engine.paused is not None:
        yield {"to": "go on", "type": "edged resume"}
    elif facts.view.mode == "enforce":
        yield {"to": "stop edged", "type": "edged pause --for 1h"}


# --- plan ---------------------------------------------------------------------------------------


def plan_document(
    engine: Engine, *, now_ms: int, wall: datetime, view: DaemonView, vip: str | None = None
) -> Document:
    """Build `edged.plan/v1`: each row, whose it is, and what would change, with every reason.

    Raises:
        CommandRefused: There is no such VIP.
    """
    facts = _Facts(engine, Moment(now_ms=now_ms, wall=wall), view)
    wanted = [v for v in view.core.vips if vip is None or vip in {v.name, v.destination}]
    if not wanted:
        known = ", ".join(v.name for v in view.core.vips)
        raise CommandRefused(f'there is no VIP "{vip}"; known are {known}')
    routes = [_plan_route(v, route, facts) for v in wanted for route in facts.routes[v.name]]
    return {
        "schema": "edged.plan/v1",
        "time": rfc3339(wall),
        "timezone": view.timezone,
        "mode": view.mode,
        "daemon": True,
        "changes": any(route["steps"] for route in routes),
        "routes": routes,
        "note": None,
    }


def _plan_route(vip: VipConfig, route: RouteDecision, facts: _Facts) -> Document:
    planned = route.plan or route.would
    own = facts.engine.own_rows(route.router, route.vip)
    snapshots = {snapshot.name: snapshot for snapshot in facts.members(vip)}
    names = _names(vip, facts.view.core)
    router = facts.engine.router_facts(route.router)
    waiting = [
        _waiting(item, route, facts, snapshots[item.gateway].check)
        for item in route.waiting
        if item.gateway in snapshots
    ]
    return {
        "router": route.router,
        "version": router.version if router is not None else "",
        "vip": vip.name,
        "address": vip.destination,
        "distance": vip.distance,
        "in_sync": route.in_sync,
        "reason": route.reason,
        "observed": list(route.observed),
        "desired": list(route.desired),
        "read": own is not None,
        "rows": _rows(own, vip, names, [item.step for item in planned]) if own else [],
        "steps": [_step(item, vip, facts.view) for item in planned],
        "held_back": bool(route.would) and not route.plan,
        "frozen": [_frozen(item, route, facts) for item in route.frozen],
        "kept": [_kept(item, route, snapshots.get(item.gateway)) for item in route.kept],
        "waits": waiting,
    }


def offline_plan_document(
    reads: Iterable[RouteRead], *, core: CoreConfig, mode: str, wall: datetime, timezone: str | None
) -> Document:
    """Build `edged.plan/v1` without a daemon: what the routers show, and whose it is.

    Nothing is known of the gateways, so nothing is planned but adoption.
    """
    vips = {vip.name: vip for vip in core.vips}
    routes = []
    for read in reads:
        vip = vips[read.vip]
        gateways = {
            gateway.next_hop: gateway
            for gateway in core.gateways
            if any(check.gateway == gateway.name for check in _checks(vip, core))
        }
        own = sort_rows(read.rows, read.shape, vip, gateways)
        names = {hop: gateway.name for hop, gateway in gateways.items()}
        routes.append(
            {
                "router": read.router,
                "version": "",
                "vip": vip.name,
                "address": vip.destination,
                "distance": vip.distance,
                "in_sync": None,
                "reason": "no_daemon",
                "observed": list(own.members),
                "desired": None,
                "read": True,
                "rows": _rows(own, vip, names, []),
                "steps": [],
                "held_back": False,
                "frozen": _offline_freezes(own, vip, read.router),
                "kept": [],
                "waits": [],
            },
        )
    return {
        "schema": "edged.plan/v1",
        "time": rfc3339(wall),
        "timezone": timezone,
        "mode": mode,
        "daemon": False,
        "changes": False,
        "routes": routes,
        "note": "No daemon runs, so nothing is known of the gateways: edged run finds that out.",
    }


def _offline_freezes(own: OwnRows, vip: VipConfig, router: str) -> list[Document]:
    found = []
    if not own.ours:
        found.append(FrozenReason.NOT_ADOPTED)
    elif own.blocking_foreign:
        found.append(FrozenReason.FOREIGN)
    if own.unknown:
        found.append(FrozenReason.UNKNOWN_NEXT_HOP)
    return [
        {
            "router": router,
            "reason": reason.value,
            "sentence": sentence(reason, router=router, vip=vip.name),
            "until": None,
            "detail": ", ".join(own.unknown) if reason is FrozenReason.UNKNOWN_NEXT_HOP else "",
            "blocking": reason is not FrozenReason.UNKNOWN_NEXT_HOP,
            "do": f"edged adopt {vip.name}" if reason is FrozenReason.NOT_ADOPTED else None,
        }
        for reason in found
    ]


def _checks(vip: VipConfig, core: CoreConfig) -> list[CheckConfig]:
    return [check for check in core.checks if check.key in vip.checks]


def _names(vip: VipConfig, core: CoreConfig) -> dict[str, str]:
    """Return the address of each next hop of the VIP and its gateway's name."""
    wanted = {check.gateway for check in core.checks if check.key in vip.checks}
    return {g.next_hop: g.name for g in core.gateways if g.name in wanted}


def _rows(
    own: OwnRows, vip: VipConfig, names: Mapping[str, str], steps: list[Step]
) -> list[Document]:
    marks = {step.row_id: step for step in adoption_steps(own, vip)}
    sorted_rows = [
        *((row, "ours") for row in own.ours),
        *((row, "foreign") for row in own.foreign),
        *((row, "bgp") for row in own.bgp),
    ]
    return [
        {
            "id": row.row_id,
            "whose": whose,
            "next_hops": list(row.next_hops),
            "gateways": [names.get(address_of(hop)) for hop in row.next_hops],
            "unknown": [hop for hop in row.next_hops if address_of(hop) not in names]
            if whose != "bgp"
            else [],
            "distance": row.distance,
            "disabled": row.disabled,
            "active": row.active,
            "unreachable": list(row.unreachable),
            "comment": row.comment,
            "blocks": row in own.blocking_foreign and bool(own.ours),
            "adoptable": row.row_id in marks and not own.ours,
            "change": _changes(steps, row),
        }
        for row, whose in sorted_rows
    ]


def _changes(steps: Iterable[Step], row: RouteRow) -> str | None:
    return " ".join(text for step in steps if (text := _change(step, row))) or None


def _change(step: Step, row: RouteRow) -> str:
    """Say what a step does to a row, or nothing."""
    match step:
        case SetNextHops(row_id=row_id, after=after) if row_id == row.row_id:
            return f"gateway={','.join(after)}"
        case SetDisabled(row_ids=row_ids, disabled=disabled) if row.row_id in row_ids:
            return "disabled=yes" if disabled else "disabled=no"
        case SetComment(row_id=row_id, after=after) if row_id == row.row_id:
            return f'comment="{_quoted(after)}"'
        case _:
            return ""


def _step(planned: PlannedStep, vip: VipConfig, view: DaemonView) -> Document:
    return {
        "router": planned.router,
        "vip": planned.vip,
        "routeros": step_words(planned.step, vip),
        "added": list(planned.added),
        "removed": list(planned.removed),
        "reason": planned.reason,
        "early": planned.early,
        "will_write": view.mode == "enforce",
    }


def step_words(step: Step, vip: VipConfig) -> str:
    """Write a step as a person would type it on the router."""
    path = "/ipv6 route" if ":" in vip.destination else "/ip route"
    match step:
        case SetNextHops(row_id=row_id, after=after):
            return f"{path} set {row_id} gateway={','.join(after)}"
        case SetDisabled(row_ids=row_ids, disabled=disabled):
            word = "yes" if disabled else "no"
            return f"{path} set {','.join(row_ids)} disabled={word}"
        case SetComment(row_id=row_id, after=after):
            return f'{path} set {row_id} comment="{_quoted(after)}"'
        case CreateRow(next_hops=hops, comment=comment, disabled=disabled):
            table = "" if vip.routing_table == "main" else f" routing-table={vip.routing_table}"
            check = f" check-gateway={step.check_gateway}" if step.check_gateway != "none" else ""
            return (
                f"{path} add dst-address={vip.destination}{table} gateway={','.join(hops)} "
                f'distance={vip.distance} comment="{_quoted(comment)}"{check} '
                f"disabled={'yes' if disabled else 'no'}"
            )
        case _:
            assert_never(step)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")


# --- adoption and release -----------------------------------------------------------------------


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


def adoption_document(
    views: Iterable[AdoptionView], *, verb: str, core: CoreConfig, wall: datetime
) -> Document:
    """Build `edged.adopt/v1` or `edged.release/v1` (`verb`), before or after the deed."""
    return {
        "schema": f"edged.{verb}/v1",
        "time": rfc3339(wall),
        "routes": [_adoption(view, core, verb) for view in views],
    }


def _adoption(view: AdoptionView, core: CoreConfig, verb: str) -> Document:
    vip = view.vip
    names = _names(vip, core)
    created = all(isinstance(step, CreateRow) for step in view.steps)
    return {
        "router": view.router,
        "vip": vip.name,
        "address": vip.destination,
        "objection": view.objection or None,
        "rows": [
            {
                "id": row.row_id,
                "next_hops": list(row.next_hops),
                "gateways": [names.get(address_of(hop)) for hop in row.next_hops],
                "distance": row.distance,
                "disabled": row.disabled,
                "comment": row.comment,
                "change": _changes(view.steps, row),
            }
            for row in view.before
        ],
        "steps": [step_words(step, vip) for step in view.steps],
        "undo": list(_undo(view, verb, created=created)),
        "done": bool(view.results)
        and len(view.results) == len(view.steps)
        and all(result.outcome is StepOutcome.DONE for result in view.results),
        "results": [
            {"outcome": result.outcome.value, "message": result.message} for result in view.results
        ],
    }


def _undo(view: AdoptionView, verb: str, *, created: bool) -> tuple[str, ...]:
    if not view.steps or verb != "adopt":
        return ()
    if created:
        path = "/ipv6 route" if ":" in view.vip.destination else "/ip route"
        find = f'dst-address="{view.vip.destination}" comment~"edged:{view.vip.name}"'
        return (f"{path} remove [find {find}]",)
    return undo_lines(view.before, view.vip, view.shape)


# --- one probe ----------------------------------------------------------------------------------


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


def probe_document(
    probes: Iterable[ProbeView], *, wall: datetime, timezone: str | None = None
) -> Document:
    """Build `edged.probe/v1`."""
    return {
        "schema": "edged.probe/v1",
        "time": rfc3339(wall),
        "timezone": timezone,
        "probes": [
            {
                "gateway": probe.gateway,
                "address": probe.address,
                "port": probe.port,
                "server_name": probe.server_name,
                "depth": probe.depth.value,
                "outcome": probe.outcome.value,
                "reason": probe.reason.value if probe.reason else None,
                "sentence": sentence(probe.reason, port=probe.port) if probe.reason else None,
                "detail": probe.detail,
                "latency_ms": round(probe.latency_us / 1_000, 3) if probe.latency_us else None,
                "http_status": probe.http_status,
                "phases": [
                    {
                        "name": phase.name,
                        "took_ms": round(phase.took_us / 1_000, 3),
                        "detail": phase.detail,
                    }
                    for phase in probe.phases
                ],
            }
            for probe in probes
        ],
    }
