"""Events: facts with a stable name, a severity and flat fields.

This table is public interface: names, severities and fields follow SemVer. `event()` refuses a
name or a field that is not in it, so that the table cannot lag behind the code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

Scalar = str | int | bool | None | tuple[str, ...]
"""What a field may hold: flat values only, lists only of text."""


class Severity(StrEnum):
    """How much a person has to care."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `at_ms` (monotonic); wall time is added outside the core."""

    name: str
    severity: Severity
    at_ms: int
    fields: Mapping[str, Scalar]

    def get(self, key: str) -> Scalar:
        """Return one field, or None where the event does not carry it."""
        return self.fields.get(key)


def _spec(severity: Severity, fields: str) -> tuple[Severity, frozenset[str]]:
    return severity, frozenset(fields.split())


_D, _I, _W, _C = Severity.DEBUG, Severity.INFO, Severity.WARNING, Severity.CRITICAL

EVENTS: Final[Mapping[str, tuple[Severity, frozenset[str]]]] = MappingProxyType(
    {
        # the process
        "daemon.started": _spec(_I, "version mode config pid"),
        "daemon.stopped": _spec(_I, "reason uptime_ms left"),
        "daemon.stalled": _spec(_W, "stall_ms cause"),
        "daemon.warming_up": _spec(_I, "cause until_ms"),
        "daemon.paused": _spec(_I, "owner until_ms cause"),
        "daemon.resumed": _spec(_I, "owner cause"),
        "config.reloaded": _spec(_I, "changed needs_restart"),
        "config.rejected": _spec(_W, "errors"),
        # probes and checks
        "probe.finished": _spec(
            _D, "gateway check kind depth outcome reason latency_us http_status detail probe_id"
        ),
        "probe.backend_error": _spec(_W, "gateway check http_status alone"),
        "probe.reaches_backend": _spec(_W, "gateway check"),
        "probe.no_heartbeat": _spec(_I, "gateway check detail"),
        "probe.inconclusive": _spec(_W, "gateway check reason count detail"),
        "sensor.tripped": _spec(_D, "gateway check sensor detail"),
        "sensor.recovered": _spec(_D, "gateway check sensor"),
        "burst.started": _spec(_D, "gateway check cause"),
        "burst.ended": _spec(_D, "gateway check result took_ms"),
        "witness.answered": _spec(_D, "gateway check witness after_ms"),
        "check.fell": _spec(_D, "gateway check class witness first_failure_at_ms detect_ms"),
        "check.rose": _spec(_D, "gateway check"),
        # gateways
        "gateway.went_down": _spec(
            _W, "gateway check class reason witness first_failure_at_ms detect_ms lead_ms"
        ),
        "gateway.came_up": _spec(_I, "gateway check down_ms hold_down_ms"),
        "gateway.waiting": _spec(_I, "gateway check hold_down_ms removals until_ms"),
        "gateway.degraded": _spec(_W, "gateway cause"),
        "gateway.undegraded": _spec(_I, "gateway cause"),
        "gateway.kept": _spec(_W, "gateway vip router reason"),
        "gateway.released": _spec(_D, "gateway vip router reason"),
        "gateway.drained": _spec(_I, "gateway source owner reason until_ms force"),
        "gateway.undrained": _spec(_I, "gateway source owner cause"),
        "gateway.flapping": _spec(_W, "gateway removals hold_down_ms"),
        "gateway.flaky": _spec(_W, "gateway check failed probes"),
        "gateway.steady": _spec(_I, "gateway check"),
        "gateway.discovered": _spec(_I, "gateway address node"),
        "gateway.vanished": _spec(_W, "gateway address node"),
        # the route
        "route.changed": _spec(
            _I,
            "vip router added removed in_route reason class first_failure_at_ms detect_ms "
            "write_ms total_ms carried",
        ),
        "route.verified": _spec(_I, "vip router added removed in_route read_ms total_ms"),
        "route.drifted": _spec(_W, "vip router expected found detail"),
        "route.frozen": _spec(_I, "vip router reason until_ms detail"),
        "route.thawed": _spec(_I, "vip router reason"),
        "route.human_edited": _spec(_W, "vip router before after until_ms passing"),
        "route.write_refused": _spec(_W, "vip router message refusal retry_ms"),
        "route.write_uncertain": _spec(_W, "vip router message"),
        "route.write_storm": _spec(_W, "vip router writes until_ms"),
        "route.foreign_found": _spec(_W, "vip router rows"),
        "route.unknown_next_hop": _spec(_W, "vip router next_hops"),
        "route.contested": _spec(_C, "vip router restored"),
        "route.adopted": _spec(_I, "vip router rows owner"),
        "route.created": _spec(_I, "vip router next_hops owner"),
        "route.released": _spec(_I, "vip router rows owner"),
        "route.handed_over": _spec(_W, "vip router to owner"),
        "route.missing": _spec(_W, "vip router detail"),
        "route.unreadable": _spec(_W, "vip router detail"),
        # routers
        "router.connected": _spec(_I, "router version board"),
        "router.lost": _spec(_W, "router detail"),
        "router.recovered": _spec(_I, "router lost_ms version"),
        "router.rebooted": _spec(_W, "router uptime_ms"),
        "router.upgraded": _spec(_C, "router before after"),
        "router.login_refused": _spec(_C, "router detail"),
        "router.slow": _spec(_W, "router rtt_us cpu_load_percent"),
        "router.opinion_given": _spec(_I, "router gateway opinion asked_ms took_ms detail"),
        "reconcile.done": _spec(_D, "router vip reason added removed in_route frozen took_ms rows"),
        # BGP, Kubernetes, lease, certificates, alerts, store: filled by their adapters
        "bgp.session_lost": _spec(_W, "router gateway detail"),
        "bgp.session_recovered": _spec(_I, "router gateway lost_ms"),
        "bgp.not_configured": _spec(_W, "router gateway"),
        "bgp.common_cause": _spec(_W, "router vip gateways"),
        "vip.changed": _spec(_W, "vip before after"),
        "vip.vanished": _spec(_W, "vip"),
        "vip.failing": _spec(_C, "vip failed_percent probes detail"),
        "vip.recovered": _spec(_I, "vip failed_ms"),
        "kube.watch_lost": _spec(_W, "kind detail"),
        "kube.watch_recovered": _spec(_I, "kind lost_ms"),
        "kube.forbidden": _spec(_W, "kind verb detail"),
        "kube.warning_found": _spec(_W, "kind object detail fix"),
        "lease.acquired": _spec(_I, "holder"),
        "lease.lost": _spec(_W, "holder detail"),
        "certificate.expiring": _spec(_W, "gateway names not_after days"),
        "certificate.mismatched": _spec(_W, "gateway detail digest"),
        "alert.opened": _spec(_W, "key incident title"),
        "alert.resolved": _spec(_I, "key incident open_ms"),
        "alert.updated": _spec(_D, "key incident title"),
        "alert.delivered": _spec(_I, "key incident channel step took_ms tries"),
        "alert.undeliverable": _spec(_W, "key incident channel step detail dropped"),
        "router.many_writes": _spec(_W, "router writes"),
        "silence.set": _spec(_I, "owner reason gateway vip until_ms"),
        "silence.ended": _spec(_I, "owner cause"),
        "store.degraded": _spec(_W, "detail"),
        "store.recovered": _spec(_I, "detail"),
    },
)


def event(name: str, at_ms: int, severity: Severity | None = None, /, **fields: Scalar) -> Event:
    """Build an event from the table.

    A trailing underscore in a keyword is dropped, so that `class_=` can be written. Fields that
    are None are left out.
    """
    usual, allowed = EVENTS[name]
    flat = {key.rstrip("_"): value for key, value in fields.items() if value is not None}
    assert flat.keys() <= allowed, f"{name} has no field {sorted(flat.keys() - allowed)}"
    return Event(name, severity or usual, at_ms, MappingProxyType(flat))
