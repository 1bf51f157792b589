"""Metrics: what edged counts, and what it is at the moment of a scrape.

Counters and histograms live here and grow as things happen. Everything else is made from one
snapshot per scrape, so that no series outlives its gateway and no picture is half old. The table
`METRICS` is public interface; `docs/metrics.md` is written from it.
"""

import os
import resource
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from edged.core.events import Event, Severity
from edged.core.types import FrozenReason, GatewayState, ProbeDepth, ProbeOutcome, ProbeResult
from edged.web.views import Document

disable_created_metrics()  # type: ignore[no-untyped-call]  # A `_created` series beside each counter: twice the size, no use.

PROBE_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
DETECTION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

MODES: Final = ("observe", "enforce")


@dataclass(frozen=True, slots=True)
class Told:
    """One metric: type, labels, and what it means."""

    kind: str
    labels: tuple[str, ...]
    help: str


def _told(kind: str, labels: str, words: str) -> Told:
    return Told(kind, tuple(labels.split()), words)


METRICS: Final[Mapping[str, Told]] = MappingProxyType(
    {
        # edged itself
        "edged_build_info": _told("gauge", "version python", "Always 1; which edged this is."),
        "edged_start_time_seconds": _told("gauge", "", "When edged started, since 1970."),
        "edged_mode": _told("gauge", "mode", "1 for the mode edged is in: observe or enforce."),
        "edged_paused": _told("gauge", "", "1 while a person has paused edged."),
        "edged_loop_lag_seconds": _told(
            "gauge", "", "How late the event loop was at worst in the last minute."
        ),
        "edged_loop_stalls_total": _told(
            "counter", "", "Times that edged's own host stood still; no verdict came from them."
        ),
        "edged_config_last_reload_successful": _told(
            "gauge", "", "0 after a reload that was refused; the old configuration stays in force."
        ),
        "edged_config_last_reload_timestamp_seconds": _told(
            "gauge", "", "When the configuration was read last, or was tried to."
        ),
        "edged_history_on_disk": _told(
            "gauge", "", "0 while events, drains and alerts are kept in memory only."
        ),
        "edged_events_total": _told("counter", "event severity", "Events by name and severity."),
        # gateways
        "edged_gateway_healthy": _told(
            "gauge", "vip gateway", "1 if the gateway passes its probes."
        ),
        "edged_gateway_in_route": _told(
            "gauge", "vip gateway", "1 if the gateway is in the route on every router."
        ),
        "edged_gateway_drained": _told(
            "gauge", "vip gateway", "1 while somebody asks the gateway out."
        ),
        "edged_gateway_degraded": _told(
            "gauge", "vip gateway", "1 while it serves, but something is wrong with it."
        ),
        "edged_gateway_kept": _told(
            "gauge", "vip gateway", "1 while it should leave, and something keeps it in."
        ),
        "edged_gateway_transitions_total": _told(
            "counter", "gateway to", "Changes of state: down, up, degraded, drain."
        ),
        # the route
        "edged_route_gateways": _told(
            "gauge", "vip router kind", "Gateways in the route: desired, actual."
        ),
        "edged_route_min_healthy": _told(
            "gauge", "vip", "The floor: below it only surely dead gateways leave."
        ),
        "edged_route_in_sync": _told(
            "gauge", "vip router", "1 if the router shows what edged wants."
        ),
        "edged_route_frozen": _told(
            "gauge", "vip router reason", "1 while edged may not write, by reason."
        ),
        "edged_route_writes_total": _told(
            "counter", "vip router result", "Writes: done, refused, uncertain."
        ),
        "edged_last_reconcile_timestamp_seconds": _told(
            "gauge", "vip router", "When the rows were read last."
        ),
        "edged_last_change_timestamp_seconds": _told(
            "gauge", "vip", "When edged changed the route last; 0: not since it started."
        ),
        # probes
        "edged_probe_duration_seconds": _told(
            "histogram",
            "gateway check",
            "Passed probes: connect (TCP and TLS) and request (with HTTP).",
        ),
        "edged_probe_failures_total": _told(
            "counter", "gateway check reason", "Probes that did not pass, by reason."
        ),
        "edged_detection_seconds": _told(
            "histogram", "", "First bad evidence to the route read back without the gateway."
        ),
        # routers, BGP, certificates, Kubernetes
        "edged_router_up": _told("gauge", "router", "1 while the API session stands."),
        "edged_router_rtt_seconds": _told("gauge", "router", "How long its API takes to answer."),
        "edged_router_reconnects_total": _told(
            "counter", "router", "Sessions that were lost and came back."
        ),
        "edged_bgp_session_up": _told(
            "gauge", "router gateway", "1 if the BGP session is established; absent if unknown."
        ),
        "edged_tls_certificate_expiry_timestamp_seconds": _told(
            "gauge", "gateway", "When the certificate it serves runs out, since 1970."
        ),
        "edged_kubernetes_watch_up": _told(
            "gauge", "kind", "1 while a kind is watched; absent where Kubernetes is not configured."
        ),
        # alerts
        "edged_alerts_open": _told("gauge", "", "Alerts that are open."),
        "edged_alerts_pending": _told(
            "gauge", "channel", "Messages that wait to be delivered, by channel."
        ),
        "edged_alert_oldest_pending_seconds": _told(
            "gauge", "channel", "How long the oldest of them has waited; 0 if none does."
        ),
        "edged_alerts_sent_total": _told(
            "counter", "channel result", "Messages by result: delivered, undeliverable."
        ),
        # the process, from /proc/self, so that ProcSubset=pid does not take them away
        "process_cpu_seconds_total": _told("counter", "", "CPU time used."),
        "process_resident_memory_bytes": _told("gauge", "", "Memory held."),
        "process_open_fds": _told("gauge", "", "Open files and sockets."),
        "process_max_fds": _told("gauge", "", "Most files and sockets it may open."),
        "process_start_time_seconds": _told("gauge", "", "When the process started."),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a scrape shows of the present, taken at one instant."""

    document: Document
    python: str
    reads: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Router and VIP: when its rows were read last, in wall milliseconds."""
    changes: Mapping[str, int] = field(default_factory=dict)
    certificates: Mapping[str, float] = field(default_factory=dict)
    """Gateway: when its certificate runs out, in seconds since 1970."""
    bgp: Iterable[tuple[str, str, bool]] = ()
    watches: Iterable[tuple[str, bool]] = ()
    """Kinds of Kubernetes: whether each is watched."""
    channels: Iterable[tuple[str, int, int]] = ()
    """Channels: how many messages wait, and how long the oldest has, in milliseconds."""
    loop_lag_ms: int = 0


class Metrics:
    """The registry, the counters, and the page that a scrape gets."""

    def __init__(self, *, started_s: float) -> None:
        self._started_s = started_s
        self._registry = CollectorRegistry(auto_describe=False)
        self._snapshot: Snapshot | None = None
        self._reload = (1, started_s)
        self._events = self._counter("edged_events_total")
        self._transitions = self._counter("edged_gateway_transitions_total")
        self._writes = self._counter("edged_route_writes_total")
        self._failures = self._counter("edged_probe_failures_total")
        self._reconnects = self._counter("edged_router_reconnects_total")
        self._sent = self._counter("edged_alerts_sent_total")
        self._stalls = self._counter("edged_loop_stalls_total")
        self._durations = self._histogram("edged_probe_duration_seconds", PROBE_BUCKETS)
        self._detection = self._histogram("edged_detection_seconds", DETECTION_BUCKETS)
        self._registry.register(_Present(self))

    def _counter(self, name: str) -> Counter:
        told = METRICS[name]
        return Counter(name, told.help, told.labels, registry=self._registry)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        told = METRICS[name]
        return Histogram(name, told.help, told.labels, registry=self._registry, buckets=buckets)

    # --- counting

    def begin(self, vips: Iterable[tuple[str, tuple[str, ...]]], gateways: Iterable[str]) -> None:
        """Show counters at 0 before anything happens, so that a first increase is seen.

        Args:
            vips: each VIP's name and its routers.
            gateways: their names.
        """
        for vip, routers in vips:
            for router in routers:
                for result in ("done", "refused", "uncertain"):
                    self._writes.labels(vip, router, result)
                self._reconnects.labels(router)
        for gateway in gateways:
            for to in ("down", "up", "degraded", "drain"):
                self._transitions.labels(gateway, to)

    def probe(self, gateway: str, result: ProbeResult) -> None:
        """Count one finished probe; heartbeats are no probes."""
        if result.depth is ProbeDepth.PING:
            return
        check = "request" if result.depth is ProbeDepth.FULL else "connect"
        if result.outcome is ProbeOutcome.PASSED:
            self._durations.labels(gateway, check).observe(result.latency_us / 1_000_000)
        else:
            self._failures.labels(gateway, check, str(result.reason)).inc()

    def event(self, made: Event, at_s: float) -> None:
        """Count one event; those of severity debug only where a metric is about them."""
        name, fields = made.name, made.fields
        if made.severity is not Severity.DEBUG:
            self._events.labels(name, made.severity.value).inc()
        vip, router = str(fields.get("vip")), str(fields.get("router"))
        match name:
            case "gateway.went_down" | "gateway.came_up" | "gateway.degraded" | "gateway.drained":
                self._transitions.labels(str(fields.get("gateway")), _TO[name]).inc()
            case "route.changed":
                self._writes.labels(vip, router, "done").inc()
            case "route.write_refused":
                self._writes.labels(vip, router, "refused").inc()
            case "route.write_uncertain":
                self._writes.labels(vip, router, "uncertain").inc()
            case "route.verified":
                total, removed = fields.get("total_ms"), fields.get("removed")
                if isinstance(total, int) and removed:
                    self._detection.observe(total / 1_000)
            case "router.recovered":
                self._reconnects.labels(router).inc()
            case "daemon.stalled":
                self._stalls.inc()
            case "config.reloaded" | "config.rejected":
                self._reload = (int(name == "config.reloaded"), at_s)
            case "alert.delivered" | "alert.undeliverable":
                result = name.partition(".")[2]
                self._sent.labels(str(fields.get("channel")), result).inc()
            case _:
                return

    # --- showing

    def text(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format that `accept` asks for, and its content type."""
        self._forget(snapshot)
        self._snapshot = snapshot
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _forget(self, snapshot: Snapshot) -> None:
        """Drop the series of gateways that are no more."""
        known = {str(g["name"]) for _, g in _gateways(snapshot.document)}
        for metric, place in ((self._durations, 0), (self._failures, 0), (self._transitions, 0)):
            for labels in list(metric._metrics):  # noqa: SLF001 - it has no way to list its series
                if labels[place] not in known:
                    metric.remove(*labels)

    def present(self) -> Iterator[Metric]:
        """Yield what the snapshot shows."""
        snapshot = self._snapshot
        if snapshot is None:
            return
        made = _Families()
        self._of_process(made, snapshot)
        _of_routes(made, snapshot)
        _of_gateways(made, snapshot)
        _of_routers(made, snapshot)
        yield from made.families.values()

    def _of_process(self, made: "_Families", snapshot: Snapshot) -> None:
        document = snapshot.document
        alerts = document["alerts"]
        assert isinstance(alerts, Mapping)
        made.add("edged_build_info", 1, str(document["version"]), snapshot.python)
        made.add("edged_start_time_seconds", self._started_s)
        for mode in MODES:
            made.add("edged_mode", document["mode"] == mode, mode)
        made.add("edged_paused", document["paused"] is not None)
        made.add("edged_loop_lag_seconds", snapshot.loop_lag_ms / 1_000)
        made.add("edged_config_last_reload_successful", self._reload[0])
        made.add("edged_config_last_reload_timestamp_seconds", self._reload[1])
        made.add("edged_history_on_disk", document["store"] is None)
        made.add("edged_alerts_open", _number(alerts["open"]))
        for channel, pending, oldest_ms in snapshot.channels:
            made.add("edged_alerts_pending", pending, channel)
            made.add("edged_alert_oldest_pending_seconds", oldest_ms / 1_000, channel)
        for kind, up in snapshot.watches:
            made.add("edged_kubernetes_watch_up", up, kind)
        made.add("process_start_time_seconds", self._started_s)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        made.add("process_cpu_seconds_total", usage.ru_utime + usage.ru_stime)
        made.add("process_max_fds", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        try:
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
            descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
        except OSError:
            return
        made.add("process_resident_memory_bytes", pages * resource.getpagesize())
        made.add("process_open_fds", descriptors)


_TO: Final = {
    "gateway.went_down": "down",
    "gateway.came_up": "up",
    "gateway.degraded": "degraded",
    "gateway.drained": "drain",
}


class _Present(Collector):
    """Hands the snapshot of this scrape to the registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Yield every metric of the present."""
        return self._metrics.present()


class _Families:
    """Metric families, made from the table when their first value comes."""

    def __init__(self) -> None:
        self.families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add one sample."""
        family = self.families.get(name)
        if family is None:
            told = METRICS[name]
            made = CounterMetricFamily if told.kind == "counter" else GaugeMetricFamily
            family = self.families[name] = made(name, told.help, labels=told.labels)
        family.add_metric(labels, float(value))


def _of_routes(made: _Families, snapshot: Snapshot) -> None:
    for vip in _list(snapshot.document["vips"]):
        name = str(vip["name"])
        made.add("edged_route_min_healthy", _number(vip["min_healthy"]), name)
        changed_ms = snapshot.changes.get(name, 0)
        made.add("edged_last_change_timestamp_seconds", changed_ms / 1_000, name)
        frozen = {
            (str(one["router"]), str(one["reason"]))
            for one in _list(vip["frozen"])
            if one["blocking"]
        }
        for route in _list(vip["routes"]):
            router = str(route["router"])
            made.add("edged_route_in_sync", bool(route["in_sync"]), name, router)
            for kind, key in (("desired", "desired"), ("actual", "observed")):
                made.add("edged_route_gateways", len(_list(route[key])), name, router, kind)
            for reason in FrozenReason:
                value = (router, reason.value) in frozen
                made.add("edged_route_frozen", value, name, router, reason.value)
            read_ms = snapshot.reads.get((router, name))
            if read_ms is not None:
                made.add("edged_last_reconcile_timestamp_seconds", read_ms / 1_000, name, router)


def _of_gateways(made: _Families, snapshot: Snapshot) -> None:
    for vip, one in _gateways(snapshot.document):
        name = str(one["name"])
        made.add("edged_gateway_healthy", bool(one["passing"]), vip, name)
        made.add("edged_gateway_in_route", bool(one["in_route"]), vip, name)
        made.add("edged_gateway_drained", bool(one["drains"]), vip, name)
        made.add("edged_gateway_degraded", one["state"] == GatewayState.DEGRADED, vip, name)
        made.add("edged_gateway_kept", one["kept"] is not None, vip, name)
    for gateway, expiry_s in snapshot.certificates.items():
        made.add("edged_tls_certificate_expiry_timestamp_seconds", expiry_s, gateway)


def _of_routers(made: _Families, snapshot: Snapshot) -> None:
    for router in _list(snapshot.document["routers"]):
        name = str(router["name"])
        made.add("edged_router_up", bool(router["connected"]), name)
        made.add("edged_router_rtt_seconds", float(_number(router["rtt_ms"])) / 1_000, name)
    for name, gateway, up in snapshot.bgp:
        made.add("edged_bgp_session_up", up, name, gateway)


def _gateways(document: Document) -> Iterator[tuple[str, Mapping[str, object]]]:
    for vip in _list(document["vips"]):
        for gateway in _list(vip["gateways"]):
            yield str(vip["name"]), gateway


def _list(value: object) -> list[Mapping[str, object]]:
    assert isinstance(value, list)
    return value


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value


def reference() -> str:
    """Return `docs/metrics.md`, the list for people."""
    lines = [
        "# Metrics",
        "",
        "Served on `/metrics` of the read-only server (`[web] listen`), as text or OpenMetrics by",
        "`Accept`. A series goes when its gateway, router or VIP goes. Written from",
        "`edged/web/metrics.py` by `python -m edged.web.metrics`; a test holds the two together.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, told in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in told.labels) or "–"
        lines.append(f"| `{name}` | {told.kind} | {labels} | {told.help} |")
    buckets = ", ".join(f"{one:g}" for one in PROBE_BUCKETS)
    detection = ", ".join(f"{one:g}" for one in DETECTION_BUCKETS)
    reasons = ", ".join(f"`{one.value}`" for one in FrozenReason)
    lines += [
        "",
        f"Buckets in seconds: probes {buckets}; detection {detection}.",
        "",
        f"Reasons of `edged_route_frozen`: {reasons}. `edged_probe_failures_total` has the reasons",
        "of `edged probe`; both lists are closed, and no text of an error ever becomes a label.",
        "",
        "Rules with runbooks: `deploy/prometheus/alerts.yml`; a dashboard:",
        "`deploy/grafana/edged.json`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference())
