"""The parts that several documents share: a gateway, a VIP, what is frozen, kept or waits."""

from collections.abc import Iterator
from typing import Final, assert_never

from edged.core.engine import Engine, GatewaySnapshot
from edged.core.types import (
    CoreConfig,
    Drain,
    Frozen,
    FrozenReason,
    GatewayState,
    Kept,
    KeptReason,
    ProbeTiming,
    RouteDecision,
    VipConfig,
    Waiting,
)
from edged.web.event_words import ENGLISH, spell_duration
from edged.web.sources import bgp_word, known_of, last_probe, rows_known
from edged.web.views import DaemonView, Document, Moment
from edged.web.words import KEPT_LAST_DOWN, brief, sentence

LEVELS: Final = ("fine", "degraded", "critical")
"""From good to bad; exit codes 0, 3 and 4 of `edged status --check`."""
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


class Facts:
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


def drain_part(drain: Drain, moment: Moment) -> Document:
    """Return one drain."""
    return {
        "gateway": drain.gateway,
        "source": drain.source,
        "owner": drain.owner,
        "reason": drain.reason,
        "until": moment.stamp(drain.until_ms),
        "force": drain.force,
    }


def vip_part(vip: VipConfig, facts: Facts) -> Document:
    """Return one VIP: its routes, its gateways, and what holds it."""
    routes = facts.routes[vip.name]
    members = facts.members(vip)
    frozen = [frozen_part(item, route, facts) for route in routes for item in route.frozen]
    gateways = [gateway_part(snapshot, routes, facts) for snapshot in members]
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
                "read": rows_known(route, facts)["at"],
            }
            for route in routes
        ],
        "gateways": gateways,
    }


def _adopted(route: RouteDecision, facts: Facts) -> bool | None:
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
    quiet = {GatewayState.UP, GatewayState.UNKNOWN} if unjudged else {GatewayState.UP}
    unwell = any(s.state not in quiet for s in members)
    return "degraded" if (out and not unjudged) or unwell or reasons - wished else "fine"


def frozen_part(frozen: Frozen, route: RouteDecision, facts: Facts) -> Document:
    """Return one reason why nothing is written, and what a person can do about it."""
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
        "do": way_out(frozen.reason, route),
    }


def way_out(reason: FrozenReason, route: RouteDecision) -> str | None:
    """Return what a person would type to end a freeze, or nothing where it ends by itself."""
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


def gateway_part(snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: Facts) -> Document:
    """Return one gateway, as far as the routes given are concerned."""
    inside = [snapshot.name in route.observed for route in routes]
    moment = facts.moment
    return {
        "name": snapshot.name,
        "address": snapshot.address,
        "port": facts.port(snapshot.check),
        "state": snapshot.state.value,
        "progress": snapshot.progress,
        "reason": snapshot.reason,
        "brief": _brief(snapshot, facts),
        "since": moment.stamp(_since_ms(snapshot, facts)),
        "passing": snapshot.passing,
        "in_route": bool(inside) and all(inside),
        "in_route_on": [route.router for route in routes if snapshot.name in route.observed],
        "kept": next(_kept_in(snapshot, routes), None),
        "waits": next(waits_in(snapshot, routes, facts), None),
        "probe": {
            "last": last_probe(snapshot),
            "latency_ms": round(snapshot.latency_us / 1_000, 3) if snapshot.latency_us else None,
            "at": moment.stamp(snapshot.last_probe_ms),
        },
        "bgp": _bgp(snapshot.name, facts),
        "kubernetes": facts.view.nodes.get(snapshot.name),
        "known": known_of(snapshot, [route.router for route in routes], facts),
        "hold_until": moment.stamp(snapshot.hold_until_ms),
        "removals": snapshot.removals,
        "drains": [drain_part(drain, moment) for drain in snapshot.drains],
        "causes": list(snapshot.causes),
        "heartbeat": snapshot.heartbeat,
        "lossy": snapshot.lossy,
    }


def _since_ms(snapshot: GatewaySnapshot, facts: Facts) -> int:
    """Return since when it is what it is; a drain begins when it was asked for."""
    if snapshot.state is GatewayState.DRAIN:
        for made in reversed(facts.engine.trail(snapshot.name)):
            if made.name == "gateway.drained":
                return made.at_ms
    return snapshot.since_ms


def _departed(vip: VipConfig, routes: list[RouteDecision], facts: Facts) -> Iterator[Document]:
    """Yield members of the route that the configuration no longer knows."""
    known = {snapshot.name for snapshot in facts.members(vip)}
    names = dict.fromkeys(name for route in routes for name in route.observed)
    for name in names:
        if name not in known:
            yield {
                "name": name,
                "address": "",
                "port": 443,
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
                "kubernetes": None,
                "known": [],
                "hold_until": None,
                "removals": 0,
                "drains": [],
                "causes": [],
                "heartbeat": False,
                "lossy": False,
            }


def _brief(snapshot: GatewaySnapshot, facts: Facts) -> str:
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
                yield kept_part(kept, route, snapshot)


def kept_part(kept: Kept, route: RouteDecision, snapshot: GatewaySnapshot | None) -> Document:
    """Return why a gateway that should leave stays."""
    words = sentence(kept.reason, router=route.router, floor=route.min_healthy)
    if kept.reason is KeptReason.LAST and snapshot is not None and not snapshot.passing:
        words = KEPT_LAST_DOWN[ENGLISH]
    return {
        "gateway": kept.gateway,
        "router": route.router,
        "reason": kept.reason.value,
        "sentence": words,
        "floor": route.min_healthy,
    }


def waits_in(
    snapshot: GatewaySnapshot, routes: list[RouteDecision], facts: Facts
) -> Iterator[Document]:
    """Yield what a gateway outside the route waits for."""
    for route in routes:
        for waiting in route.waiting:
            if waiting.gateway == snapshot.name:
                yield waiting_part(waiting, route, facts, snapshot.check)


def waiting_part(waiting: Waiting, route: RouteDecision, facts: Facts, check: str) -> Document:
    """Return one wait."""
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
        "needs": {"probes": timing.rise, "stable_ms": timing.stable_for_ms},
    }


def _bgp(gateway: str, facts: Facts) -> str | None:
    """Return `up`, `down`, `unknown`, or nothing where no router has a session to it."""
    sessions = [session.up for session in facts.view.bgp if session.gateway == gateway]
    if not sessions:
        return None
    return bgp_word(None if None in sessions else all(sessions))


def unknown_name(name: str, core: CoreConfig) -> str:
    """Say that nothing has this name, and which names there are."""
    known = [*(gateway.name for gateway in core.gateways), *(vip.name for vip in core.vips)]
    return f'there is no gateway or VIP "{name}"; known are {", ".join(known)}'
