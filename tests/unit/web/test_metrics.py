"""Metrics: each is in the table, each value is what the status says, none outlives its subject."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from edged.core.events import Event, Severity, event
from edged.core.types import ProbeReason
from edged.web.metrics import METRICS, Metrics, Snapshot, reference
from tests.support.documents import healthy, node2_refused, status_of
from tests.support.engine_run import EngineRun, core_config, list_row
from tests.support.pages import probe_result, snapshot_of

REPOSITORY = Path(__file__).parents[3]
AT_S = 1_760_000_100.0
PLAIN = "text/plain"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def counted() -> Metrics:
    """Return metrics that have seen one of everything."""
    metrics = Metrics(started_s=1_760_000_000.0)
    metrics.begin([("web", ("hex",))], ["node1", "node2", "node3"])
    metrics.probe("node1", probe_result())
    metrics.probe("node2", probe_result(ProbeReason.REFUSED))
    run = node2_refused()
    for made in run.events:
        metrics.event(made, AT_S)
    for made in (
        event("alert.delivered", 1, key="k", incident="7k2", channel="team"),
        event("daemon.stalled", 1, stall_ms=300),
        event("router.recovered", 1, router="hex", lost_ms=5_000),
        event("route.write_refused", 1, vip="web", router="hex", message="no"),
    ):
        metrics.event(made, AT_S)
    return metrics


def scraped(metrics: Metrics, snapshot: Snapshot | None = None) -> Samples:
    """Return every sample of a scrape."""
    text, _ = metrics.text(snapshot or snapshot_of(status_of(node2_refused())), PLAIN)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(text.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def test_everything_of_the_table_is_exported_and_nothing_else() -> None:
    text, content_type = counted().text(snapshot_of(status_of(node2_refused())), PLAIN)
    assert content_type.startswith("text/plain")
    found = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), re.MULTILINE))
    assert found == {name: told.kind for name, told in METRICS.items()}


def test_the_labels_are_those_of_the_table() -> None:
    for name, labels in scraped(counted()):
        told = METRICS[re.sub(r"_(bucket|sum|count)$", "", name) if name not in METRICS else name]
        assert {key for key, _ in labels} - {"le"} == set(told.labels), name


def test_values_say_what_the_status_says() -> None:
    samples = scraped(counted())
    assert value(samples, "edged_gateway_healthy", vip="web", gateway="node1") == 1
    assert value(samples, "edged_gateway_healthy", vip="web", gateway="node2") == 0
    assert value(samples, "edged_gateway_in_route", vip="web", gateway="node2") == 0
    assert value(samples, "edged_route_gateways", vip="web", router="hex", kind="actual") == 2
    assert value(samples, "edged_route_in_sync", vip="web", router="hex") == 1
    assert value(samples, "edged_mode", mode="enforce") == 1
    assert value(samples, "edged_mode", mode="observe") == 0
    assert value(samples, "edged_router_rtt_seconds", router="hex") == 0.0014
    assert value(samples, "edged_bgp_session_up", router="hex", gateway="node2") == 0
    assert value(samples, "edged_bgp_session_up", router="hex", gateway="node3") is None
    assert value(samples, "edged_alerts_open") == 1
    assert value(samples, "edged_loop_lag_seconds") == 0.003
    assert samples["process_resident_memory_bytes", ()] > 1_000_000


COUNTS: list[tuple[str, dict[str, str], float]] = [
    ("edged_route_writes_total", {"vip": "web", "router": "hex", "result": "done"}, 1),
    ("edged_route_writes_total", {"vip": "web", "router": "hex", "result": "refused"}, 1),
    ("edged_route_writes_total", {"vip": "web", "router": "hex", "result": "uncertain"}, 0),
    ("edged_gateway_transitions_total", {"gateway": "node2", "to": "down"}, 1),
    ("edged_gateway_transitions_total", {"gateway": "node1", "to": "down"}, 0),
    ("edged_detection_seconds_count", {}, 1),
    ("edged_detection_seconds_sum", {}, 0.013),
    ("edged_probe_duration_seconds_count", {"gateway": "node1", "check": "request"}, 1),
    (
        "edged_probe_failures_total",
        {"gateway": "node2", "check": "request", "reason": "refused"},
        1,
    ),
    ("edged_router_reconnects_total", {"router": "hex"}, 1),
    ("edged_loop_stalls_total", {}, 1),
    ("edged_alerts_sent_total", {"channel": "team", "result": "delivered"}, 1),
    ("edged_kubernetes_watch_up", {"kind": "nodes"}, 0),
    ("edged_alerts_pending", {"channel": "team"}, 2),
    ("edged_alert_oldest_pending_seconds", {"channel": "team"}, 90),
    ("edged_events_total", {"event": "gateway.went_down", "severity": "warning"}, 1),
]


@pytest.mark.parametrize(
    ("name", "labels", "wanted"), COUNTS, ids=[f"{name} {labels}" for name, labels, _ in COUNTS]
)
def test_what_happened_is_counted_once(name: str, labels: dict[str, str], wanted: float) -> None:
    assert value(scraped(counted()), name, **labels) == wanted


def test_debug_events_make_no_series_of_their_own() -> None:
    samples = scraped(counted())
    severities = {dict(labels)["severity"] for name, labels in samples if "events_total" in name}
    assert Severity.DEBUG.value not in severities
    assert "info" in severities


def test_a_refused_reload_is_a_fact_until_one_succeeds() -> None:
    metrics = counted()
    assert value(scraped(metrics), "edged_config_last_reload_successful") == 1
    metrics.event(event("config.rejected", 1, errors="no"), AT_S)
    assert value(scraped(metrics), "edged_config_last_reload_successful") == 0
    assert value(scraped(metrics), "edged_config_last_reload_timestamp_seconds") == AT_S
    metrics.event(event("config.reloaded", 1, changed=(), needs_restart=()), AT_S + 9)
    assert value(scraped(metrics), "edged_config_last_reload_successful") == 1


def test_no_series_outlives_its_gateway() -> None:
    metrics = counted()
    assert any("node2" in dict(labels).values() for _, labels in scraped(metrics))
    names = {"node1": "172.30.1.20", "node3": "172.30.1.82"}
    run = EngineRun(config=core_config(names=names), rows=(list_row(tuple(names.values())),))
    run.connect()
    run.run(5_000)
    snapshot = Snapshot(document=status_of(run), python="3.11.7")
    samples = scraped(metrics, snapshot)
    assert not any("node2" in dict(labels).values() for _, labels in samples)
    assert value(samples, "edged_gateway_healthy", vip="web", gateway="node1") == 1


def test_only_what_blocks_a_write_counts_as_frozen() -> None:
    samples = scraped(Metrics(started_s=0.0), snapshot_of(status_of(healthy())))
    frozen = [v for (name, _), v in samples.items() if name == "edged_route_frozen"]
    assert len(frozen) == 12
    assert sum(frozen) == 0


def test_openmetrics_is_answered_to_who_asks_for_it_and_has_no_created_series() -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    text, content_type = counted().text(snapshot_of(status_of(healthy())), accept)
    assert content_type.startswith("application/openmetrics-text")
    assert text.decode().endswith("# EOF\n")
    read = open_families(text.decode())  # type: ignore[no-untyped-call]
    names = {sample.name for family in read for sample in family.samples}
    assert "edged_build_info" in names
    assert not [name for name in names if name.endswith("_created")]


def test_two_daemons_in_one_process_do_not_share_counters() -> None:
    counted()
    samples = scraped(Metrics(started_s=0.0))
    assert value(samples, "edged_loop_stalls_total") == 0


def test_hostile_names_stay_values_of_labels() -> None:
    metrics = Metrics(started_s=0.0)
    name = 'x"} 1\nedged_paused 1 # {"'
    metrics.event(Event("alert.delivered", Severity.INFO, 1, {"channel": name}), AT_S)
    samples = scraped(metrics)
    assert value(samples, "edged_alerts_sent_total", channel=name, result="delivered") == 1
    assert value(samples, "edged_paused") == 0


# --- what is shipped beside it ------------------------------------------------------------------


def test_the_reference_is_written_from_the_table() -> None:
    shipped = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert shipped == reference(), "python -m edged.web.metrics > docs/metrics.md"


NAME = re.compile(r"\b(?:edged|process)_[a-z_]+\b")
SUFFIX = re.compile(r"_(?:bucket|count|sum)$")


def unknown_names(expression: str) -> set[str]:
    """Return what an expression calls a metric of edged and edged does not export."""
    return {
        name
        for name in NAME.findall(expression)
        if name not in METRICS
        and not (
            SUFFIX.search(name)
            and SUFFIX.sub("", name) in METRICS
            and METRICS[SUFFIX.sub("", name)].kind == "histogram"
        )
    }


def texts_of(value: Any, key: str) -> list[str]:  # noqa: ANN401 - JSON
    """Return every text under a key, however deep."""
    match value:
        case dict():
            own = [value[key]] if isinstance(value.get(key), str) else []
            return own + [one for inner in value.values() for one in texts_of(inner, key)]
        case list():
            return [one for inner in value for one in texts_of(inner, key)]
        case _:
            return []


def dashboard() -> Any:  # noqa: ANN401 - JSON
    return json.loads((REPOSITORY / "deploy/grafana/edged.json").read_text(encoding="utf-8"))


def test_every_metric_of_the_dashboard_exists() -> None:
    made = dashboard()
    expressions = texts_of(made, "expr") + texts_of(made, "definition")
    assert len(expressions) > 20
    assert [one for one in expressions if not NAME.search(one)] == []
    assert set().union(*map(unknown_names, expressions)) == set()


def test_the_dashboard_asks_the_data_source_that_its_reader_chose() -> None:
    made = dashboard()
    assert set(texts_of(made["panels"], "uid")) == {"${datasource}"}
    idents = [panel["id"] for panel in made["panels"]]
    assert len(set(idents)) == len(idents)
    assert all(panel["description"] and panel["title"] for panel in made["panels"])


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


RULES = (REPOSITORY / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")


def test_every_metric_of_the_alert_rules_exists() -> None:
    assert unknown_names(RULES) == set()


def test_every_rule_is_tested_and_has_a_runbook() -> None:
    rules = re.findall(r"- alert: (\w+)", RULES)
    assert len(rules) == 12
    tested = (REPOSITORY / "deploy/prometheus/alerts_test.yml").read_text(encoding="utf-8")
    runbooks = (REPOSITORY / "docs/3am.md").read_text(encoding="utf-8")
    for rule in rules:
        fires = re.findall(rf"alertname: {rule}\n +exp_alerts:\n +- exp_labels", tested)
        assert fires, f"{rule} is nowhere expected to fire"
        assert f"### {rule}\n" in runbooks
        assert f"runbook_url: docs/3am.md#{rule.lower()}\n" in RULES
