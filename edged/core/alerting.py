"""Alerts: which events are worth a message, which of them are one, and when they are over.

Theory: events move *levels* (who is down, who is out of which route, what is frozen, who is lost),
and the levels say which *problems* there are now. A problem that is new opens an incident, or
joins one that nobody has been told of yet; an incident whose last problem has gone resolves. A
message is due when the window of an untold incident has passed, at once where it is critical, and
never while something larger explains it (`_covered`) or a person has asked for silence. What nobody
was told of needs no end: it is counted as a dip.

Invariant: a resolve follows its opening, and nothing else follows a resolve, in one incident.

Must not know channels, languages or wall times.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from edged.core.events import Event, Scalar, Severity

ROUTER_LOST_MS: Final = 30_000
"""A session that comes back sooner was a reboot of the API, not of the router."""
UNCERTAIN_MS: Final = 30_000
"""A route that cannot be read for so long is frozen; sooner it is one slow command."""
SECOND_OPINION_MS: Final = 10_000
FLAP_CHANGES: Final = 4
FLAP_SPAN_MS: Final = 600_000
FLAP_QUIET_MS: Final = 900_000
"""Without a change for so long a gateway is steady again; also how often the digest comes."""
DIP_SPAN_MS: Final = 3_600_000
REPEAT_MS: Final = 3_600_000
"""The same notice within this time is counted, not sent."""
WRITES_A_DAY: Final = 50
"""More wear the flash of a small router; a healthy cluster needs a few a month."""
DAY_MS: Final = 86_400_000
LOOK_BACK_MS: Final = 10_000
"""Events this old still belong to what opens now."""
INCIDENTS_MAX: Final = 256
RECENT_MAX: Final = 200
REPEATS_MAX: Final = 512
ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without signs that are taken for one another when read aloud at night."""


class AlertKind(StrEnum):
    """What an incident is about; texts are chosen by it."""

    GATEWAY_OUT = "gateway_out"
    TOO_FEW = "too_few"
    NO_ANSWER = "no_answer"
    SECOND_OPINION = "second_opinion"
    FLAPPING = "flapping"
    DEGRADED = "degraded"
    FLAKY = "flaky"
    ROUTER_LOST = "router_lost"
    ROUTE_FROZEN = "route_frozen"
    HUMAN_EDIT = "human_edit"
    CANARY = "canary"
    STORE = "store"
    KUBE_LOST = "kube_lost"
    NOTICE = "notice"
    TEST = "test"


class AlertStep(StrEnum):
    """Which message of an incident."""

    OPEN = "open"
    UPDATE = "update"
    REMIND = "remind"
    DIGEST = "digest"
    RESOLVE = "resolve"
    NOTICE = "notice"


_NAMES: Final[Mapping[AlertKind, tuple[str, ...]]] = MappingProxyType(
    {
        AlertKind.GATEWAY_OUT: ("gateway.went_down", "route.changed"),
        AlertKind.TOO_FEW: ("gateway.went_down", "route.frozen"),
        AlertKind.NO_ANSWER: ("gateway.went_down", "route.frozen"),
        AlertKind.SECOND_OPINION: ("gateway.kept",),
        AlertKind.FLAPPING: ("gateway.flapping",),
        AlertKind.DEGRADED: ("gateway.degraded",),
        AlertKind.FLAKY: ("gateway.flaky",),
        AlertKind.ROUTER_LOST: ("router.lost", "router.login_refused"),
        AlertKind.ROUTE_FROZEN: ("route.frozen", "route.contested"),
        AlertKind.HUMAN_EDIT: ("route.human_edited",),
        AlertKind.CANARY: ("vip.failing",),
        AlertKind.STORE: ("store.degraded",),
        AlertKind.KUBE_LOST: ("kube.watch_lost",),
        AlertKind.TEST: ("alert.tested",),
    },
)
"""The events that a kind stands for: what a channel's `events` patterns are held against."""

NOTICES: Final = frozenset(
    {
        "alert.undeliverable",
        "bgp.common_cause",
        "bgp.not_configured",
        "certificate.expiring",
        "certificate.mismatched",
        "config.rejected",
        "daemon.paused",
        "daemon.resumed",
        "daemon.warming_up",
        "gateway.drained",
        "gateway.undrained",
        "gateway.vanished",
        "kube.forbidden",
        "kube.warning_found",
        "lease.lost",
        "probe.backend_error",
        "probe.reaches_backend",
        "route.adopted",
        "route.created",
        "route.drifted",
        "route.handed_over",
        "route.human_edited",
        "route.missing",
        "route.released",
        "route.unknown_next_hop",
        "route.unreadable",
        "route.write_refused",
        "route.write_storm",
        "router.many_writes",
        "router.rebooted",
        "router.upgraded",
        "vip.changed",
        "vip.vanished",
    },
)
"""Events that are told once and have no end."""

DROPPED_BY_PERSON: Final = "dropped by a person"
"""Why a message that a person dropped was not delivered: nobody has to be told."""

_PERSONAL: Final = frozenset({"daemon.paused", "daemon.resumed", "gateway.drained"})
"""Said once each time: a person did it."""

_PERSONS_WISH: Final = frozenset(
    {
        "paused",
        "warm_up",
        "observing",
        "not_adopted",
        "human_edit",
        "not_writer",
        "router_lost",  # an alert of its own
        "unknown_next_hop",  # holds that next hop alone; a notice of its own
    },
)
"""Reasons for which a frozen VIP is no alert."""

_BEGIN: Final[Mapping[str, tuple[AlertKind, Severity]]] = MappingProxyType(
    {
        "gateway.degraded": (AlertKind.DEGRADED, Severity.WARNING),
        "gateway.flaky": (AlertKind.FLAKY, Severity.WARNING),
        "vip.failing": (AlertKind.CANARY, Severity.CRITICAL),
        "store.degraded": (AlertKind.STORE, Severity.WARNING),
        "kube.watch_lost": (AlertKind.KUBE_LOST, Severity.WARNING),
    },
)
_END: Final[Mapping[str, AlertKind]] = MappingProxyType(
    {
        "gateway.undegraded": AlertKind.DEGRADED,
        "gateway.steady": AlertKind.FLAKY,
        "vip.recovered": AlertKind.CANARY,
        "store.recovered": AlertKind.STORE,
        "kube.watch_recovered": AlertKind.KUBE_LOST,
    },
)
MOVES: Final = frozenset(
    {
        *_BEGIN,
        *_END,
        *NOTICES,
        "gateway.came_up",
        "gateway.flapping",
        "gateway.kept",
        "gateway.released",
        "gateway.went_down",
        "route.changed",
        "route.contested",
        "route.frozen",
        "route.human_edited",
        "route.thawed",
        "route.verified",
        "router.connected",
        "router.login_refused",
        "router.lost",
        "router.opinion_given",
        "router.recovered",
    },
)
"""Every other event changes nothing here and costs one look-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedVip:
    """What alerts need to know of a VIP; `checks` are pairs of check and gateway."""

    name: str
    checks: tuple[tuple[str, str], ...]
    routers: tuple[str, ...]
    min_healthy: int

    @property
    def gateways(self) -> tuple[str, ...]:
        """Return the names of its gateways."""
        return tuple(gateway for _, gateway in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """What the rules go by."""

    vips: tuple[WatchedVip, ...]
    enforce: bool = True
    group_window_ms: int = 2_000
    reminder_ms: int = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A person's wish for quiet: about one gateway, one VIP, or (both None) everything."""

    until_ms: int
    gateway: str | None = None
    vip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How things are by the engine itself, told now and then: levels do not miss an edge."""

    down: frozenset[str]
    """Checks with a verdict."""
    in_route: Mapping[tuple[str, str], tuple[str, ...]]
    """(VIP, router) to the gateways that the router shows."""
    lost: frozenset[str]
    """Routers without a session."""
    frozen: frozenset[tuple[str, str, str]]
    """VIP, router, reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong now."""

    kind: AlertKind
    severity: Severity
    vip: str = ""
    gateway: str = ""
    router: str = ""
    word: str = ""

    @property
    def key(self) -> str:
        """Return what stays the same while it lasts; too few and none are one thing."""
        kind = AlertKind.TOO_FEW if self.kind is AlertKind.NO_ANSWER else self.kind
        word = self.word if kind in {AlertKind.NOTICE, AlertKind.ROUTE_FROZEN} else ""
        return f"{kind}/{self.vip}/{self.gateway}/{self.router}/{word}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMessage:
    """One message to be sent, as facts; instants are monotonic milliseconds."""

    incident: str
    kind: AlertKind
    step: AlertStep
    severity: Severity
    names: tuple[str, ...]
    vips: tuple[str, ...]
    gateways: tuple[str, ...]
    routers: tuple[str, ...]
    opened_ms: int
    at_ms: int
    observe: bool
    facts: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentState:
    """An incident as it is kept: enough to go on with it after a restart."""

    incident: str
    number: int
    problems: tuple[Problem, ...]
    severity: Severity
    opened_ms: int
    told_ms: int | None
    closed_ms: int | None
    messages: int
    facts: Mapping[str, Scalar]

    @property
    def kind(self) -> AlertKind:
        """Return what it is about."""
        return self.problems[0].kind


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChange:
    """What has become of an incident, the message that says so, and the events that are its own."""

    state: IncidentState
    message: AlertMessage | None = None
    events: tuple[int, ...] = ()


@dataclass(slots=True)
class _Gateway:
    drained_by: set[str] = field(default_factory=set)
    out: set[tuple[str, str]] = field(default_factory=set)
    changes: deque[int] = field(default_factory=lambda: deque(maxlen=FLAP_CHANGES * 8))
    flapping: bool = False
    kept: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    opinions: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Router:
    lost_ms: int | None = None
    refused: bool = False
    writes: deque[int] = field(default_factory=lambda: deque(maxlen=WRITES_A_DAY + 1))


@dataclass(slots=True)
class _Incident:
    incident: str
    number: int
    opened_ms: int
    problems: dict[str, Problem]
    closed: dict[str, Problem] = field(default_factory=dict)
    told_ms: int | None = None
    last_ms: int = 0
    held_ms: int = 0
    messages: int = 0
    facts: dict[str, Scalar] = field(default_factory=dict)
    update_ms: int | None = None
    back: list[str] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    momentary: bool = False
    dirty: bool = True

    @property
    def all(self) -> tuple[Problem, ...]:
        return (*self.problems.values(), *self.closed.values())

    @property
    def kind(self) -> AlertKind:
        return self.all[0].kind

    @property
    def severity(self) -> Severity:
        return max((one.severity for one in self.all), key=list(Severity).index)


class Alerting:
    """The rules and their memory; fed with events, asked what is to be said."""

    def __init__(self, rules: AlertRules, now_ms: int, *, next_number: int = 1) -> None:
        self._rules = rules
        self._now_ms = now_ms
        self._number = next_number
        self._down: set[str] = set()
        self._gateways: dict[str, _Gateway] = {}
        self._routers: dict[str, _Router] = {}
        self._in_route: dict[tuple[str, str], tuple[str, ...]] = {}
        self._frozen: dict[tuple[str, str, str], int] = {}
        self._edited: dict[tuple[str, str], Severity] = {}
        self._begun: dict[str, Problem] = {}
        self._assumed: dict[str, Problem] = {}
        self._incidents: dict[str, _Incident] = {}
        self._by_key: dict[str, _Incident] = {}
        self._silences: tuple[Silence, ...] = ()
        self._dips: dict[str, deque[int]] = {}
        self._repeats: dict[str, tuple[int, int]] = {}
        self._recent: deque[tuple[Event, int | None]] = deque(maxlen=RECENT_MAX)
        self._ended: list[IncidentChange] = []

    # --- what is known --------------------------------------------------------------------------

    @property
    def open(self) -> tuple[IncidentState, ...]:
        """Return the incidents that are not over, oldest first."""
        return tuple(_state(one) for one in self._incidents.values() if not one.momentary)

    def configure(self, rules: AlertRules, now_ms: int) -> None:
        """Take new rules; problems of what is no longer there end."""
        self._now_ms = now_ms
        self._rules = rules
        checks = {check for vip in rules.vips for check, _ in vip.checks}
        self._down &= checks
        routes = {(vip.name, router) for vip in rules.vips for router in vip.routers}
        for gateway in self._gateways.values():
            gateway.out &= routes
        self._frozen = {key: at for key, at in self._frozen.items() if key[:2] in routes}
        self._settle()

    def restore(self, states: Iterable[IncidentState], now_ms: int) -> None:
        """Go on with the incidents of an earlier run; they last until the levels say otherwise."""
        self._now_ms = now_ms
        for state in states:
            problems = {one.key: one for one in state.problems}
            found = _Incident(
                incident=state.incident,
                number=state.number,
                opened_ms=state.opened_ms,
                problems=problems,
                told_ms=state.told_ms,
                last_ms=state.told_ms or 0,
                held_ms=now_ms,
                messages=state.messages,
                facts=dict(state.facts),
                momentary=state.kind is AlertKind.NOTICE,
            )
            self._incidents[found.incident] = found
            self._by_key.update(dict.fromkeys(problems, found))
            if not found.momentary:
                self._assumed.update(problems)
            self._number = max(self._number, state.number + 1)

    def silence(self, silences: Iterable[Silence], now_ms: int) -> None:
        """Replace the silences in force."""
        self._now_ms = now_ms
        self._silences = tuple(silences)

    # --- what happens ---------------------------------------------------------------------------

    def observe(self, event: Event, now_ms: int, number: int | None = None) -> None:
        """Take one event; `number` is what it is kept under."""
        if event.name not in MOVES:
            return
        self._now_ms = max(self._now_ms, now_ms)
        self._recent.append((event, number))
        for incident in self._incidents.values():
            if _concerns(incident, event):
                self._attribute(incident, event, number)
        self._move(event)
        self._settle()

    def observe_levels(self, levels: Levels, now_ms: int) -> None:
        """Take how things are; whatever an event has not told is put right."""
        self._now_ms = max(self._now_ms, now_ms)
        self._in_route.update(levels.in_route)
        for problem in self._assumed.values():
            if problem.kind is AlertKind.GATEWAY_OUT:
                away = self._away(problem)
                self._gateway(problem.gateway).out.update(away)
        self._assumed.clear()
        self._down = set(levels.down)
        for name, gateway in self._gateways.items():
            gateway.out = {
                route for route in gateway.out if name not in self._in_route.get(route, ())
            }
        for name, router in self._routers.items():
            if name not in levels.lost:
                router.lost_ms = None
                router.refused = False
        for name in levels.lost:
            router = self._router(name)
            router.lost_ms = router.lost_ms if router.lost_ms is not None else now_ms
        self._frozen = {key: self._frozen.get(key, now_ms) for key in levels.frozen}
        self._settle()

    def _away(self, problem: Problem) -> Iterator[tuple[str, str]]:
        """Yield the routes that a gateway of an earlier run's incident is still out of."""
        for vip in self._rules.vips:
            if vip.name != problem.vip or problem.gateway not in vip.gateways:
                continue
            for router in vip.routers:
                shown = self._in_route.get((vip.name, router))
                if shown is not None and problem.gateway not in shown:
                    yield vip.name, router

    def _gateway(self, name: str) -> _Gateway:
        return self._gateways.setdefault(name, _Gateway())

    def _router(self, name: str) -> _Router:
        return self._routers.setdefault(name, _Router())

    def _move(self, event: Event) -> None:
        """Let an event move the levels."""
        name = event.name
        if name in _BEGIN or name in _END:
            self._move_pair(event)
        elif name.startswith("gateway."):
            self._move_gateway(event)
        elif name.startswith("router."):
            self._move_router(event)
        elif name.startswith("route."):
            self._move_route(event)
        if name in NOTICES and _worth_telling(event):
            self._notice(event)

    def _move_pair(self, event: Event) -> None:
        kind = _END.get(event.name) or _BEGIN[event.name][0]
        severity = _BEGIN.get(event.name, (kind, Severity.INFO))[1]
        problem = Problem(
            kind=kind,
            severity=severity,
            vip=_text(event, "vip"),
            gateway=_text(event, "gateway"),
            router=_text(event, "kind") if kind is AlertKind.KUBE_LOST else "",
        )
        self._assumed.pop(problem.key, None)
        if event.name in _BEGIN:
            self._begun[problem.key] = problem
        else:
            self._begun.pop(problem.key, None)

    def _move_gateway(self, event: Event) -> None:
        name, gateway = event.name, self._gateway(_text(event, "gateway"))
        route = (_text(event, "vip"), _text(event, "router"))
        match name:
            case "gateway.went_down":
                self._down.add(_text(event, "check"))
                gateway.opinions.clear()
            case "gateway.came_up":
                self._down.discard(_text(event, "check"))
                self._forget_assumed(_text(event, "gateway"))
            case "gateway.drained":
                gateway.drained_by.add(_text(event, "source"))
                gateway.out.clear()
            case "gateway.undrained":
                gateway.drained_by.discard(_text(event, "source"))
            case "gateway.flapping":
                gateway.flapping = True
                gateway.changes.append(event.at_ms)
            case "gateway.kept":
                gateway.kept[route] = (_text(event, "reason"), event.at_ms)
            case "gateway.released":
                if gateway.kept.get(route, ("", 0))[0] == _text(event, "reason"):
                    del gateway.kept[route]
            case _:
                pass

    def _forget_assumed(self, gateway: str) -> None:
        gone = [key for key, one in self._assumed.items() if one.gateway == gateway]
        for key in gone:
            if not any(self._away(self._assumed[key])):
                del self._assumed[key]

    def _move_router(self, event: Event) -> None:
        router = self._router(_text(event, "router"))
        match event.name:
            case "router.lost":
                router.lost_ms = event.at_ms if router.lost_ms is None else router.lost_ms
            case "router.login_refused":
                router.lost_ms = event.at_ms if router.lost_ms is None else router.lost_ms
                router.refused = True
            case "router.recovered" | "router.connected":
                router.lost_ms, router.refused = None, False
                gone = [
                    key
                    for key, one in self._assumed.items()
                    if one.kind is AlertKind.ROUTER_LOST and one.router == _text(event, "router")
                ]
                for key in gone:
                    del self._assumed[key]
            case "router.opinion_given":
                gateway = self._gateway(_text(event, "gateway"))
                gateway.opinions[_text(event, "router")] = _text(event, "opinion")
                self._update_opinion(_text(event, "gateway"))
            case _:
                pass

    def _update_opinion(self, gateway: str) -> None:
        """A router's word after the first message changes what a person should do: say it."""
        for incident in self._incidents.values():
            told = incident.told_ms is not None and "opinion" not in incident.facts
            vips = {one.vip for one in incident.problems.values()}
            if incident.kind is not AlertKind.NO_ANSWER or not told:
                continue
            for vip in self._rules.vips:
                if vip.name in vips and gateway in vip.gateways and self._opinion(vip):
                    incident.update_ms = self._now_ms

    def _opinion(self, vip: WatchedVip) -> str:
        """Return what the routers say of a VIP's gateways, once each has an answer."""
        words = {word for gateway in vip.gateways if (word := self._word_of(gateway)) != ""}
        everyone = all(self._word_of(gateway) for gateway in vip.gateways)
        return words.pop() if everyone and len(words) == 1 else "mixed" if everyone else ""

    def _word_of(self, gateway: str) -> str:
        given = [
            word for word in self._gateway(gateway).opinions.values() if word in {"alive", "dead"}
        ]
        return given[-1] if given else ""

    def _move_route(self, event: Event) -> None:
        vip, router = _text(event, "vip"), _text(event, "router")
        match event.name:
            case "route.changed" | "route.verified":
                shown = event.get("in_route")
                if isinstance(shown, tuple):
                    self._in_route[vip, router] = shown
                self._members(event, vip, router)
            case "route.frozen":
                self._frozen.setdefault((vip, router, _text(event, "reason")), event.at_ms)
            case "route.thawed":
                self._frozen.pop((vip, router, _text(event, "reason")), None)
                if event.get("reason") == "human_edit":
                    self._edited.pop((vip, router), None)
            case "route.contested":
                self._frozen.setdefault((vip, router, "contested"), event.at_ms)
            case "route.human_edited":
                self._edited[vip, router] = event.severity
                after = event.get("after")
                if isinstance(after, tuple):
                    self._in_route[vip, router] = after
                if event.get("until_ms") is not None:
                    self._frozen.setdefault((vip, router, "human_edit"), event.at_ms)
            case _:
                pass

    def _members(self, event: Event, vip: str, router: str) -> None:
        removed, added = event.get("removed"), event.get("added")
        down = self._down_in(vip)
        for name in removed if isinstance(removed, tuple) else ():
            gateway = self._gateway(name)
            if name in down and not gateway.drained_by:
                gateway.out.add((vip, router))
        for name in added if isinstance(added, tuple) else ():
            self._gateway(name).out.discard((vip, router))
            self._forget_assumed(name)
        if event.name == "route.changed":
            self._count_write(router, event.at_ms)

    def _count_write(self, router: str, at_ms: int) -> None:
        writes = self._router(router).writes
        writes.append(at_ms)
        if len(writes) == writes.maxlen and at_ms - writes[0] <= DAY_MS:
            problem = Problem(
                kind=AlertKind.NOTICE,
                severity=Severity.WARNING,
                router=router,
                word="router.many_writes",
            )
            self._open_notice(problem, {"router": router, "writes": len(writes)}, at_ms)

    # --- problems -------------------------------------------------------------------------------

    def _down_in(self, vip: str) -> list[str]:
        for watched in self._rules.vips:
            if watched.name == vip:
                return [gateway for check, gateway in watched.checks if check in self._down]
        return []

    def _problems(self) -> Iterator[Problem]:
        yield from self._assumed.values()
        yield from self._begun.values()
        for name, router in self._routers.items():
            if router.lost_ms is not None and self._router_matters(name, router):
                yield Problem(kind=AlertKind.ROUTER_LOST, severity=Severity.CRITICAL, router=name)
        for vip in self._rules.vips:
            yield from self._vip_problems(vip)
        for (vip_name, router_name, reason), since_ms in self._frozen.items():
            due_ms = since_ms + (UNCERTAIN_MS if reason == "uncertain" else 0)
            if reason not in _PERSONS_WISH and due_ms <= self._now_ms:
                yield Problem(
                    kind=AlertKind.ROUTE_FROZEN,
                    severity=Severity.CRITICAL,
                    vip=vip_name,
                    router=router_name,
                    word=reason,
                )
        for (vip_name, router_name), severity in self._edited.items():
            if (vip_name, router_name, "human_edit") in self._frozen:
                yield Problem(
                    kind=AlertKind.HUMAN_EDIT, severity=severity, vip=vip_name, router=router_name
                )
        for name, gateway in self._gateways.items():
            if gateway.flapping:
                yield Problem(kind=AlertKind.FLAPPING, severity=Severity.WARNING, gateway=name)

    def _router_matters(self, name: str, router: _Router) -> bool:
        """Whether a lost router is an alert now: refused, for long, or while a write waits."""
        assert router.lost_ms is not None
        if router.refused or self._now_ms >= router.lost_ms + ROUTER_LOST_MS:
            return True
        return any(self._stuck(vip, name) for vip in self._rules.vips if name in vip.routers)

    def _stuck(self, vip: WatchedVip, router: str) -> bool:
        """Whether a dead gateway stays in a route only because its router is away."""
        down = self._down_in(vip.name)
        shown = self._in_route.get((vip.name, router), vip.gateways)
        return (
            self._rules.enforce
            and 0 < len(down) < len(vip.checks)
            and any(name in shown and not self._gateway(name).kept for name in down)
        )

    def _vip_problems(self, vip: WatchedVip) -> Iterator[Problem]:
        down = self._down_in(vip.name)
        unasked = [name for name in down if not self._gateway(name).drained_by]
        passing = len(vip.checks) - len(down)
        if unasked and passing < max(vip.min_healthy, 1):
            kind = AlertKind.TOO_FEW if passing else AlertKind.NO_ANSWER
            yield Problem(kind=kind, severity=Severity.CRITICAL, vip=vip.name)
        for name in vip.gateways:
            gateway = self._gateways.get(name)
            if gateway is None or gateway.drained_by:
                continue
            away = any((vip.name, router) in gateway.out for router in vip.routers)
            if name in down or away:
                yield Problem(
                    kind=AlertKind.GATEWAY_OUT,
                    severity=Severity.WARNING,
                    vip=vip.name,
                    gateway=name,
                )
            for (kept_vip, router), (reason, since_ms) in gateway.kept.items():
                late = self._now_ms >= since_ms + SECOND_OPINION_MS
                if kept_vip == vip.name and reason == "second_opinion" and late:
                    yield Problem(
                        kind=AlertKind.SECOND_OPINION,
                        severity=Severity.CRITICAL,
                        vip=vip.name,
                        gateway=name,
                        router=router,
                    )

    def _settle(self) -> None:
        """Hold the problems against the incidents: open, join, close."""
        self._judge_flapping()
        problems = {problem.key: problem for problem in self._problems()}
        for key, problem in problems.items():
            if key not in self._by_key:
                self._begin(key, problem)
            else:
                self._follow(self._by_key[key], key, problem)
        for key in [key for key in self._by_key if key not in problems]:
            incident = self._by_key[key]
            if not incident.momentary:
                self._close(incident, key)

    def _judge_flapping(self) -> None:
        for gateway in self._gateways.values():
            changes = gateway.changes
            lately = sum(at_ms > self._now_ms - FLAP_SPAN_MS for at_ms in changes)
            if lately >= FLAP_CHANGES:
                gateway.flapping = True
            elif gateway.flapping and self._now_ms >= _last(changes) + FLAP_QUIET_MS:
                gateway.flapping = False

    def _begin(self, key: str, problem: Problem) -> None:
        if problem.kind is AlertKind.GATEWAY_OUT:
            self._gateway(problem.gateway).changes.append(self._now_ms)
        incident = self._joinable(problem)
        if incident is None:
            if len(self._incidents) >= INCIDENTS_MAX:
                return
            incident = self._new(key, problem, self._now_ms)
        else:
            incident.problems[key] = problem
            incident.dirty = True
        self._by_key[key] = incident
        for event, number in tuple(self._recent):
            near = self._now_ms - event.at_ms <= LOOK_BACK_MS
            if near and _concerns(incident, event):
                self._attribute(incident, event, number)

    def _new(self, key: str, problem: Problem, opened_ms: int) -> _Incident:
        incident = _Incident(
            incident=incident_name(self._number),
            number=self._number,
            opened_ms=opened_ms,
            problems={key: problem},
            held_ms=opened_ms,
        )
        self._number += 1
        self._incidents[incident.incident] = incident
        return incident

    def _joinable(self, problem: Problem) -> _Incident | None:
        """Return an incident that nobody was told of yet and that this one belongs to."""
        for incident in self._incidents.values():
            if incident.told_ms is not None or incident.kind is not problem.kind:
                continue
            if incident.momentary or self._silenced(incident):
                continue
            if self._now_ms - incident.opened_ms > self._window(incident):
                continue
            if problem.kind in {AlertKind.ROUTE_FROZEN, AlertKind.HUMAN_EDIT} and any(
                one.word != problem.word for one in incident.all
            ):
                continue
            if any(_akin(problem, other) for other in incident.all):
                return incident
        return None

    def _follow(self, incident: _Incident, key: str, problem: Problem) -> None:
        """Note that a problem has become larger or smaller."""
        before = incident.problems.get(key)
        if before == problem or before is None:
            return
        incident.problems[key] = problem
        incident.dirty = True
        if incident.told_ms is not None and before.kind is not problem.kind:
            soon = problem.kind is AlertKind.NO_ANSWER
            incident.update_ms = self._now_ms + (0 if soon else self._rules.group_window_ms)

    def _close(self, incident: _Incident, key: str) -> None:
        problem = incident.problems.pop(key)
        incident.closed[key] = problem
        incident.dirty = True
        del self._by_key[key]
        if problem.kind is AlertKind.GATEWAY_OUT:
            self._gateway(problem.gateway).changes.append(self._now_ms)
        if not incident.problems:
            self._end(incident)
        elif problem.kind is AlertKind.GATEWAY_OUT and incident.told_ms is not None:
            incident.back.append(problem.gateway)
            incident.update_ms = self._now_ms + self._rules.group_window_ms

    def _end(self, incident: _Incident) -> None:
        """An incident is over: say so if anybody was told, else count it."""
        del self._incidents[incident.incident]
        message = None
        if incident.told_ms is not None:
            message = self._message(incident, AlertStep.RESOLVE)
        elif incident.held_ms == incident.opened_ms:
            for vip in {one.vip for one in incident.all}:
                self._dips.setdefault(vip, deque(maxlen=RECENT_MAX)).append(self._now_ms)
        self._ended.append(
            IncidentChange(
                state=_state(incident, closed_ms=self._now_ms),
                message=message,
                events=tuple(incident.events),
            ),
        )

    # --- notices --------------------------------------------------------------------------------

    def _notice(self, event: Event) -> None:
        problem = Problem(
            kind=AlertKind.NOTICE,
            severity=event.severity,
            vip=_text(event, "vip"),
            gateway="" if event.name.startswith("certificate.") else _text(event, "gateway"),
            router=_text(event, "router"),
            word=event.name + _which(event),
        )
        self._open_notice(problem, event.fields, event.at_ms)

    def _open_notice(self, problem: Problem, facts: Mapping[str, Scalar], at_ms: int) -> None:
        key = f"{problem.key}/{problem.severity}"
        waiting = self._by_key.get(key)
        if waiting is not None:
            _join_gateways(waiting, facts)
            return
        last_ms, count = self._repeats.get(key, (at_ms - REPEAT_MS, 0))
        personal = problem.word in _PERSONAL
        if at_ms - last_ms < REPEAT_MS and not personal:
            self._repeats[key] = (last_ms, count + 1)
            return
        if len(self._incidents) >= INCIDENTS_MAX:
            return
        while len(self._repeats) >= REPEATS_MAX:
            del self._repeats[next(iter(self._repeats))]
        self._repeats[key] = (at_ms, 0)
        incident = self._new(key, problem, at_ms)
        incident.momentary = True
        incident.facts.update({k: v for k, v in facts.items() if v is not None})
        if count:
            incident.facts["repeats"] = count
        self._by_key[key] = incident

    # --- facts ----------------------------------------------------------------------------------

    def _attribute(self, incident: _Incident, event: Event, number: int | None) -> None:
        """Make an event part of an incident: of its time line, and of what its message says."""
        if number is not None and number not in incident.events:
            incident.events.append(number)
            incident.dirty = True
        facts, get = incident.facts, event.get
        match event.name:
            case "gateway.went_down":
                for key in ("class", "reason", "witness", "detect_ms", "first_failure_at_ms"):
                    if (value := get(key)) is not None:
                        facts.setdefault(key, value)
                first, last = facts.get("seen_ms"), event.at_ms
                facts["seen_ms"] = first if isinstance(first, int) else last
                facts["span_ms"] = last - int(str(facts["seen_ms"]))
            case "route.changed" | "route.verified" if get("removed"):
                facts["changed_on"] = _with(facts.get("changed_on"), _text(event, "router"))
                if (total := get("total_ms")) is not None:
                    facts["total_ms"] = max(int(str(total)), int(str(facts.get("total_ms", 0))))
                if event.name == "route.verified":
                    facts["verified"] = True
            case "route.write_refused" | "route.write_uncertain":
                facts["write"] = event.name.rpartition("_")[2]
            case "router.lost" | "router.login_refused" | "store.degraded" | "kube.watch_lost":
                facts["detail"] = get("detail")
                facts["login_refused"] = event.name == "router.login_refused"
            case "route.human_edited":
                for key in ("before", "after", "until_ms", "passing"):
                    facts[key] = get(key)
            case "route.frozen":
                facts["detail"] = get("detail") or facts.get("detail")
            case "vip.failing" | "gateway.degraded" | "gateway.flaky" | "gateway.flapping":
                facts.update({k: v for k, v in event.fields.items() if k not in {"gateway", "vip"}})
            case _:
                pass

    def _message(self, incident: _Incident, step: AlertStep) -> AlertMessage:
        problems = tuple(incident.problems.values()) or incident.all
        vips = _each(one.vip for one in problems)
        gateways = _each(one.gateway for one in problems)
        routers = _each(one.router for one in problems)
        kind = problems[0].kind
        facts = dict(incident.facts)
        facts.update(self._standing(kind, vips, gateways))
        if kind is AlertKind.NOTICE:
            word = problems[0].word.partition(" ")[0]
            facts["event"] = word
            names: tuple[str, ...] = (word,)
            given = facts.get("gateways")
            gateways = given if isinstance(given, tuple) else gateways
            gateways = gateways or _each([str(facts.get("gateway") or "")])
        else:
            names = _NAMES[kind]
        if kind is AlertKind.ROUTER_LOST:
            lost = [self._router(name).lost_ms for name in routers]
            facts["lost_ms"] = max(
                (self._now_ms - at_ms for at_ms in lost if at_ms is not None), default=None
            )
        if kind is AlertKind.ROUTE_FROZEN:
            facts["frozen"] = problems[0].word
        if step is AlertStep.RESOLVE:
            facts["open_ms"] = self._now_ms - incident.opened_ms
            facts["ending"] = self._ending(incident)
        if incident.back:
            facts["back"] = tuple(incident.back)
            incident.back.clear()
        incident.messages += 1
        incident.last_ms = self._now_ms
        incident.update_ms = None
        incident.facts.update({k: facts[k] for k in ("opinion",) if k in facts})
        return AlertMessage(
            incident=incident.incident,
            kind=kind,
            step=step,
            severity=incident.severity,
            names=names,
            vips=vips,
            gateways=gateways,
            routers=routers,
            opened_ms=incident.opened_ms,
            at_ms=incident.opened_ms if step is AlertStep.OPEN else self._now_ms,
            observe=not self._rules.enforce,
            facts=MappingProxyType({k: v for k, v in facts.items() if v is not None}),
        )

    def _standing(
        self,
        kind: AlertKind,
        vips: tuple[str, ...],
        gateways: tuple[str, ...],
    ) -> Iterator[tuple[str, Scalar]]:
        """Yield how the VIPs stand at this moment."""
        concerned = [vip for vip in self._rules.vips if vip.name in vips or _is_wide(kind)]
        if kind is AlertKind.ROUTER_LOST or not concerned:
            concerned = list(self._rules.vips)
        for vip in concerned[:1]:
            down = self._down_in(vip.name)
            routes = [(vip.name, router) for router in vip.routers]
            shown = [self._in_route[route] for route in routes if route in self._in_route]
            members = [
                name
                for name in vip.gateways
                if (all(name in one for one in shown) if shown else name not in down)
            ]
            passing = [name for name in vip.gateways if name not in down]
            left = members if self._rules.enforce else passing
            yield "total", len(vip.checks)
            yield "left", len(left)
            yield "in_route", tuple(members)
            yield "passing", tuple(passing)
            yield "down", tuple(down)
            yield "floor", vip.min_healthy
            yield "vip_routers", vip.routers
            if opinion := self._opinion(vip):
                yield "opinion", opinion
        for name in gateways:
            for reason, _ in self._gateway(name).kept.values():
                yield "kept", reason
        dips = [at for vip in vips for at in self._dips.get(vip, ())]
        lately = sum(at_ms > self._now_ms - DIP_SPAN_MS for at_ms in dips)
        if lately:
            yield "dips", lately
        if kind is AlertKind.FLAPPING:
            since_ms = self._now_ms - FLAP_QUIET_MS
            yield (
                "changes",
                sum(at_ms > since_ms for name in gateways for at_ms in self._gateway(name).changes),
            )

    def _ending(self, incident: _Incident) -> str:
        """Return how it ended, in one word."""
        problems = incident.all
        known = {name for vip in self._rules.vips for name in vip.gateways}
        names = [one.gateway for one in problems if one.gateway]
        if any(name not in known for name in names):
            return "gone"
        if any(self._gateway(name).drained_by for name in names):
            return "drained"
        left = "changed_on" in incident.facts
        return "returned" if left else "passes"

    # --- what is to be said ---------------------------------------------------------------------

    def advance(self, now_ms: int) -> tuple[IncidentChange, ...]:
        """Let time take effect and return what changed since the last call, in order."""
        self._now_ms = max(self._now_ms, now_ms)
        self._silences = tuple(one for one in self._silences if one.until_ms > self._now_ms)
        self._settle()
        changes, self._ended = self._ended, []
        for incident in tuple(self._incidents.values()):
            message = self._due_message(incident)
            if incident.momentary and (message or self._passed(incident)):
                changes.append(self._finish(incident, message))
            elif message is not None or incident.dirty:
                changes.append(self._change(incident, message))
        return tuple(changes)

    def _finish(self, incident: _Incident, message: AlertMessage | None) -> IncidentChange:
        del self._incidents[incident.incident]
        for key in [key for key, one in self._by_key.items() if one is incident]:
            del self._by_key[key]
        return IncidentChange(
            state=_state(incident, closed_ms=self._now_ms),
            message=message,
            events=tuple(incident.events),
        )

    def _change(self, incident: _Incident, message: AlertMessage | None) -> IncidentChange:
        incident.dirty = False
        return IncidentChange(
            state=_state(incident), message=message, events=tuple(incident.events)
        )

    def _passed(self, incident: _Incident) -> bool:
        return self._now_ms >= incident.opened_ms + self._window(incident)

    def _due_message(self, incident: _Incident) -> AlertMessage | None:
        if self._silenced(incident):
            incident.held_ms = self._now_ms
            return None
        if incident.told_ms is None:
            return self._due_opening(incident)
        if incident.update_ms is not None and self._now_ms >= incident.update_ms:
            return self._message(incident, AlertStep.UPDATE)
        quiet_ms = self._now_ms - incident.last_ms
        if incident.kind is AlertKind.FLAPPING:
            moved = any(
                _last(self._gateway(one.gateway).changes) > incident.last_ms
                for one in incident.problems.values()
            )
            if moved and quiet_ms >= FLAP_QUIET_MS:
                return self._message(incident, AlertStep.DIGEST)
            return None
        reminder_ms = self._rules.reminder_ms
        if incident.severity is Severity.CRITICAL and 0 < reminder_ms <= quiet_ms:
            return self._message(incident, AlertStep.REMIND)
        return None

    def _due_opening(self, incident: _Incident) -> AlertMessage | None:
        if self._covered(incident):
            incident.held_ms = self._now_ms
            return None
        since_ms = max(incident.opened_ms, incident.held_ms)
        if self._now_ms < since_ms + self._window(incident):
            return None
        incident.told_ms = self._now_ms
        step = AlertStep.NOTICE if incident.momentary else AlertStep.OPEN
        return self._message(incident, step)

    def _window(self, incident: _Incident) -> int:
        return 0 if incident.severity is Severity.CRITICAL else self._rules.group_window_ms

    def _silenced(self, incident: _Incident) -> bool:
        problems = incident.all
        return any(
            all(one.gateway == silence.gateway for one in problems)
            if silence.gateway is not None
            else all(one.vip == silence.vip for one in problems)
            if silence.vip is not None
            else True
            for silence in self._silences
        )

    def _covered(self, incident: _Incident) -> bool:
        """Whether something larger explains it: N gateways under one lost router are one alert."""
        return all(self._explained(one) for one in incident.problems.values())

    def _explained(self, problem: Problem) -> bool:
        if problem.kind not in {AlertKind.GATEWAY_OUT, AlertKind.DEGRADED, AlertKind.FLAKY}:
            return False
        if self._gateway(problem.gateway).flapping:
            return True
        kinds = {(one.all[0].kind, key.split("/")[1]) for key, one in self._by_key.items()}
        vips = [
            vip
            for vip in self._rules.vips
            if vip.name == problem.vip or (not problem.vip and problem.gateway in vip.gateways)
        ]
        larger = {AlertKind.TOO_FEW, AlertKind.NO_ANSWER, AlertKind.SECOND_OPINION}
        return bool(vips) and all(
            any((kind, vip.name) in kinds for kind in larger) or self._out_of_reach(vip)
            for vip in vips
        )

    def _out_of_reach(self, vip: WatchedVip) -> bool:
        lost = [r for r in vip.routers if self._router(r).lost_ms is not None]
        return bool(lost) and len(lost) == len(vip.routers)

    @property
    def next_deadline_ms(self) -> int | None:
        """When `advance` may have something new to say, if nothing happens before."""
        due: list[int] = [one.until_ms for one in self._silences]
        for incident in self._incidents.values():
            due.extend(self._deadlines(incident))
        due.extend(
            router.lost_ms + ROUTER_LOST_MS
            for router in self._routers.values()
            if router.lost_ms is not None
        )
        due.extend(
            since_ms + UNCERTAIN_MS
            for key, since_ms in self._frozen.items()
            if key[2] == "uncertain"
        )
        for gateway in self._gateways.values():
            due.extend(
                since_ms + SECOND_OPINION_MS
                for reason, since_ms in gateway.kept.values()
                if reason == "second_opinion"
            )
            if gateway.flapping:
                due.append(_last(gateway.changes) + FLAP_QUIET_MS)
        return min((at_ms for at_ms in due if at_ms > self._now_ms), default=None)

    def _deadlines(self, incident: _Incident) -> Iterator[int]:
        if incident.told_ms is None:
            yield max(incident.opened_ms, incident.held_ms) + self._window(incident)
        elif incident.kind is AlertKind.FLAPPING:
            yield incident.last_ms + FLAP_QUIET_MS
        elif incident.severity is Severity.CRITICAL and self._rules.reminder_ms:
            yield incident.last_ms + self._rules.reminder_ms
        if incident.update_ms is not None:
            yield incident.update_ms


# --- leaves -------------------------------------------------------------------------------------


def incident_name(number: int) -> str:
    """Return a short name that is easy to say and does not look like its neighbours."""
    base = len(ALPHABET)
    size = 3
    while number >= base**size:
        size += 1
    mixed = number * 12_289 % base**size
    signs = []
    for _ in range(size):
        mixed, at = divmod(mixed, base)
        signs.append(ALPHABET[at])
    return "".join(reversed(signs))


def _is_wide(kind: AlertKind) -> bool:
    """Whether a kind concerns every VIP."""
    return kind in {AlertKind.STORE, AlertKind.KUBE_LOST, AlertKind.TEST}


def _state(incident: _Incident, *, closed_ms: int | None = None) -> IncidentState:
    return IncidentState(
        incident=incident.incident,
        number=incident.number,
        problems=tuple(incident.problems.values()) or incident.all,
        severity=incident.severity,
        opened_ms=incident.opened_ms,
        told_ms=incident.told_ms,
        closed_ms=closed_ms,
        messages=incident.messages,
        facts=MappingProxyType(dict(incident.facts)),
    )


def _concerns(incident: _Incident, event: Event) -> bool:
    """Whether an event belongs to an incident's story."""
    return any(_touches(problem, event) for problem in incident.all)


def _touches(problem: Problem, event: Event) -> bool:
    if problem.kind is AlertKind.NOTICE:
        return problem.word.partition(" ")[0] == event.name
    vip, gateway, router = (_text(event, key) for key in ("vip", "gateway", "router"))
    if problem.vip and vip and problem.vip != vip:
        return False
    if problem.gateway:
        moved = (*_names(event, "added"), *_names(event, "removed"))
        return problem.gateway == gateway or problem.gateway in moved
    if problem.router and not problem.vip:
        return problem.router in {router, _text(event, "kind")}
    if problem.vip:
        return vip == problem.vip or event.name.startswith(("gateway.", "router.opinion"))
    return event.name.partition(".")[0] == problem.kind.value.partition("_")[0]


def _akin(one: Problem, other: Problem) -> bool:
    return (
        (one.vip != "" and one.vip == other.vip)
        or (one.gateway != "" and one.gateway == other.gateway)
        or (one.router != "" and one.router == other.router)
        or (not one.vip and not other.vip and one.kind is other.kind)
    )


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    return value if isinstance(value, str) else ""


def _names(event: Event, key: str) -> tuple[str, ...]:
    value = event.get(key)
    return value if isinstance(value, tuple) else ()


def _each(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _last(times: deque[int]) -> int:
    return times[-1] if times else 0


def _with(value: Scalar, name: str) -> tuple[str, ...]:
    before = value if isinstance(value, tuple) else ()
    return _each((*before, name))


def _which(event: Event) -> str:
    """Return what tells two notices of one name apart beside VIP, gateway and router."""
    match event.name:
        case "alert.undeliverable":
            return f" {_text(event, 'channel')}"
        case "certificate.expiring":
            return " " + ",".join(_names(event, "names"))
        case "kube.warning_found" | "kube.forbidden":
            return f" {_text(event, 'kind')}/{_text(event, 'object')}"
        case _:
            return ""


def _worth_telling(event: Event) -> bool:
    """Whether this one, of a name that is a notice, is one."""
    match event.name:
        case "daemon.warming_up":
            return event.severity is Severity.WARNING
        case "probe.backend_error":
            return event.get("alone") is True
        case "alert.undeliverable":
            return event.get("detail") != DROPPED_BY_PERSON
        case "route.human_edited":
            # With a hold it lasts, and is an incident; without one edged has put the route back.
            return event.get("until_ms") is None
        case _:
            return True


def _join_gateways(incident: _Incident, facts: Mapping[str, Scalar]) -> None:
    """Several gateways, one notice: the certificate that all of them serve."""
    first, further = incident.facts.get("gateway"), facts.get("gateway")
    known = incident.facts.get("gateways")
    names = known if isinstance(known, tuple) else ((first,) if isinstance(first, str) else ())
    if isinstance(further, str):
        incident.facts["gateways"] = _each((*names, further))
