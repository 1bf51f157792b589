"""`edged.why/v1`: why a gateway is what it is, what edged saw and did, what a person can do."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, assert_never

from edged.core.engine import Engine, GatewaySnapshot
from edged.core.errors import CommandRefused
from edged.core.events import Event, Severity
from edged.core.types import DeathClass, GatewayState, ProbeReason, RouteDecision, VipConfig
from edged.web.event_words import event_sentence, spell_duration
from edged.web.parts import Facts, gateway_part, unknown_name, vip_part, waits_in
from edged.web.plans import step_part
from edged.web.sources import last_probe
from edged.web.views import DaemonView, Document, Moment, rfc3339
from edged.web.words import brief, sentence

# --- why ----------------------------------------------------------------------------------------


def why_document(
    engine: Engine, name: str | None, *, now_ms: int, wall: datetime, view: DaemonView
) -> Document:
    """Build `edged.why/v1` about a gateway (by name or address), a VIP, or all VIPs.

    Raises:
        CommandRefused: There is no such gateway or VIP.
    """
    facts = Facts(engine, Moment(now_ms=now_ms, wall=wall), view)
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


def _why_vip(vip: VipConfig, facts: Facts) -> Document:
    status = vip_part(vip, facts)
    routes = facts.routes[vip.name]
    return {
        **status,
        "word": _vip_word(vip, routes, facts),
        "routes_why": [
            {
                "router": route.router,
                "in_sync": route.in_sync,
                "would": [
                    step_part(planned, vip, facts.view) for planned in (route.plan or route.would)
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


def _vip_word(vip: VipConfig, routes: list[RouteDecision], facts: Facts) -> str:
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


def _vip_trail(vip: VipConfig, facts: Facts) -> list[Document]:
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


def _why_gateway(snapshots: list[GatewaySnapshot], facts: Facts) -> Document:
    """Explain a gateway; where VIPs check it differently, the worst check speaks."""
    order = list(GatewayState)
    snapshot = min(snapshots, key=lambda s: order.index(s.state))
    vips = [vip for vip in facts.view.core.vips if any(s.check in vip.checks for s in snapshots)]
    routes = [route for vip in vips for route in facts.routes[vip.name]]
    first_ms = _first_sign_ms(snapshot, facts)
    return {
        **gateway_part(snapshot, routes, facts),
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


def _word(snapshot: GatewaySnapshot, facts: Facts) -> str:
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


def _first_sign_ms(snapshot: GatewaySnapshot, facts: Facts) -> int | None:
    if snapshot.verdict is not None:
        return snapshot.verdict.first_sign_ms
    for made in reversed(facts.engine.trail(snapshot.name)):
        found = made.get("first_failure_at_ms")
        if made.name == "gateway.went_down" and isinstance(found, int):
            return found
    return None


def _trail(snapshot: GatewaySnapshot, first_ms: int | None, facts: Facts) -> list[Document]:
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


def _rule(snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: Facts) -> str:
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
    snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: Facts
) -> list[str]:
    inside = {name for route in routes for name in route.observed}
    passing = {s.name for s in facts.snapshots.values() if s.passing}
    ordered = [gateway.name for gateway in facts.view.core.gateways]
    return [n for n in ordered if n in inside and n in passing and n != snapshot.name]


def _also(snapshot: GatewaySnapshot, facts: Facts) -> list[str]:
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
    for opinion in facts.engine.opinions(snapshot.name):
        ago = spell_duration(facts.moment.now_ms - opinion.answered_ms)
        known.append(f"ping from {opinion.router}: {opinion.opinion.value} ({ago} ago)")
    node = facts.view.nodes.get(snapshot.name)
    known.extend([f"Kubernetes: {node}"] if node is not None else [])
    known.append(f"Kubernetes: {facts.view.kubernetes}")
    if snapshot.lossy:
        known.append("its path loses packets, so silent and ill need more evidence")
    if not snapshot.heartbeat and snapshot.passing:
        known.append("no heartbeat: a silent node is noticed by the next probe")
    return known


def _now(snapshot: GatewaySnapshot, facts: Facts) -> str:
    timing = facts.timing(snapshot.check)
    last = ""
    if snapshot.last_probe_ms is not None:
        ago = spell_duration(facts.moment.now_ms - snapshot.last_probe_ms)
        said = last_probe(snapshot).replace("_", " ")
        if snapshot.latency_us:
            said += f" in {snapshot.latency_us / 1_000:.1f} ms"
        last = f"last probe {ago} ago: {said}"
    if snapshot.state in {GatewayState.DOWN, GatewayState.UNKNOWN}:
        done = snapshot.progress or f"0/{timing.rise}"
        count = f"{done.replace('/', ' of ')} good probes"
        return f"{count}, {last}" if last else count
    return last or "not probed yet"


def _to_return(snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: Facts) -> str:
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
            waits = next(waits_in(snapshot, routes, facts), None)
            return str(waits["sentence"]) if waits is not None else "it enters with the next write"
        case _:
            assert_never(snapshot.state)


def _ordinal(number: int) -> str:
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _can(
    snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: Facts
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
