"""The JSON documents that commands, page and API show: `edged.status/v1`, `why`, `plan`, `probe`.

Pure functions from the engine and what the daemon knows beside it (`DaemonView`) to plain dicts,
lists and scalars. They only ever grow. Times are RFC 3339 in UTC, converted from the core's clock
by the one pair (`now_ms`, `wall`) of the same instant. Everything that needs a sentence carries
the word for machines and the sentence for people side by side.

This module is the way in; `views`, `parts`, `explanation` and `plans` are how it is made.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from edged.core.engine import Engine, GatewaySnapshot
from edged.core.types import FrozenReason, VipConfig, WaitReason
from edged.web.event_words import event_sentence, spell_duration
from edged.web.explanation import why_document
from edged.web.parts import LEVELS, Facts, drain_part, unknown_name, vip_part, way_out
from edged.web.plans import adoption_document, offline_plan_document, plan_document, step_words
from edged.web.views import (
    AdoptionView,
    AlertsView,
    BgpView,
    DaemonView,
    Document,
    Moment,
    PhaseView,
    ProbeView,
    RouterView,
    rfc3339,
)
from edged.web.words import sentence

__all__ = [
    "LEVELS",
    "AdoptionView",
    "AlertsView",
    "BgpView",
    "DaemonView",
    "Document",
    "Moment",
    "PhaseView",
    "ProbeView",
    "RouterView",
    "adoption_document",
    "offline_plan_document",
    "plan_document",
    "probe_document",
    "rfc3339",
    "status_document",
    "step_words",
    "unknown_name",
    "why_document",
]

NOT_VERIFIED: Final = frozenset({"anonymous", "off"})


def status_document(engine: Engine, *, now_ms: int, wall: datetime, view: DaemonView) -> Document:
    """Build `edged.status/v1`."""
    moment = Moment(now_ms=now_ms, wall=wall)
    facts = Facts(engine, moment, view)
    vips = [vip_part(vip, facts) for vip in view.core.vips]
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
        "config_read": rfc3339(view.config_read) if view.config_read is not None else None,
        "mode": view.mode,
        "writer": view.writer,
        "level": max(levels, key=LEVELS.index),
        "paused": _pause(facts),
        "routers": routers,
        "vips": vips,
        "drains": [drain_part(drain, moment) for drain in engine.drains],
        "alerts": {
            "open": view.alerts.open,
            "pending": view.alerts.pending,
            "channels": [{"name": name, "state": state} for name, state in view.alerts.channels],
            "dead_mans_switch": view.alerts.dead_mans_switch or None,
        },
        "last_change": _told(view.last_change),
        "next": list(_next(facts)),
        "policy": {"text": view.policy, "fine": view.policy_fine},
        "kubernetes": view.kubernetes,
        "store": view.store or None,
    }


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


def _pause(facts: Facts) -> Document | None:
    pause = facts.engine.paused
    if pause is None:
        return None
    return {"owner": pause.owner, "until": facts.moment.stamp(pause.until_ms)}


# --- what happens next --------------------------------------------------------------------------


def _next(facts: Facts) -> Iterator[Document]:
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


def _next_of(vip: VipConfig, facts: Facts) -> Iterator[Document]:
    moment = facts.moment
    snapshots = {snapshot.name: snapshot for snapshot in facts.members(vip)}
    for route in facts.routes[vip.name]:
        for frozen in route.frozen:
            if frozen.reason in {FrozenReason.NOT_ADOPTED, FrozenReason.HUMAN_EDIT}:
                text = {
                    FrozenReason.NOT_ADOPTED: f"{vip.name} waits to be adopted on {route.router}",
                    FrozenReason.HUMAN_EDIT: f"edged takes {vip.name} over again",
                }[frozen.reason]
                do = way_out(frozen.reason, route)
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


def _way_back(snapshot: GatewaySnapshot, facts: Facts) -> str:
    timing = facts.timing(snapshot.check)
    parts = [f"{timing.rise} good probes", f"{spell_duration(timing.stable_for_ms)} clean"]
    text = ", ".join(parts)
    if snapshot.removals:
        text += f", then {spell_duration(facts.hold_ms(snapshot.removals))} wait"
    return text


# --- one probe ----------------------------------------------------------------------------------


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
