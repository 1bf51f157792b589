"""`edged.plan/v1` and adoption: each row, whose it is, and what would change, in RouterOS words."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import assert_never

from edged.core.engine import Engine
from edged.core.errors import CommandRefused
from edged.core.plan import OwnRows, address_of, adoption_steps, sort_rows, undo_lines
from edged.core.types import (
    CheckConfig,
    CoreConfig,
    CreateRow,
    FrozenReason,
    PlannedStep,
    RouteDecision,
    RouteRead,
    RouteRow,
    SetComment,
    SetDisabled,
    SetNextHops,
    Step,
    StepOutcome,
    VipConfig,
)
from edged.web.parts import Facts, frozen_part, kept_part, waiting_part
from edged.web.sources import ROWS, count_rows, known_of_route
from edged.web.views import AdoptionView, DaemonView, Document, Moment, rfc3339
from edged.web.words import sentence

# --- plan ---------------------------------------------------------------------------------------


def plan_document(
    engine: Engine, *, now_ms: int, wall: datetime, view: DaemonView, vip: str | None = None
) -> Document:
    """Build `edged.plan/v1`: each row, whose it is, and what would change, with every reason.

    Raises:
        CommandRefused: There is no such VIP.
    """
    facts = Facts(engine, Moment(now_ms=now_ms, wall=wall), view)
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


def _plan_route(vip: VipConfig, route: RouteDecision, facts: Facts) -> Document:
    planned = route.plan or route.would
    own = facts.engine.own_rows(route.router, route.vip)
    snapshots = {snapshot.name: snapshot for snapshot in facts.members(vip)}
    names = names_of(vip, facts.view.core)
    router = facts.engine.router_facts(route.router)
    waiting = [
        waiting_part(item, route, facts, snapshots[item.gateway].check)
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
        "steps": [step_part(item, vip, facts.view) for item in planned],
        "held_back": bool(route.would) and not route.plan,
        "frozen": [frozen_part(item, route, facts) for item in route.frozen],
        "kept": [kept_part(item, route, snapshots.get(item.gateway)) for item in route.kept],
        "waits": waiting,
        "known": known_of_route(vip, route, facts),
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
                "known": [_known_rows(read, own, wall)],
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


def _known_rows(read: RouteRead, own: OwnRows, wall: datetime) -> Document:
    source, said = read.router, count_rows(own)
    return {"fact": ROWS, "source": source, "gateway": None, "said": said, "at": rfc3339(wall)}


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


def names_of(vip: VipConfig, core: CoreConfig) -> dict[str, str]:
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


def step_part(planned: PlannedStep, vip: VipConfig, view: DaemonView) -> Document:
    """Return one step: the router's words, and what it does to the set in names."""
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
    names = names_of(vip, core)
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
