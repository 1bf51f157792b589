"""The page's memory: bars of the last minutes, lanes of the last day."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edged.core.events import Severity
from edged.core.types import ProbeReason
from edged.web.views import Document
from edged.web.watch import CELL_MS, CELLS, DAY_MS, Removal, Watch, wall_at, wall_ms_of
from tests.support.documents import healthy, node2_refused, status_of
from tests.support.pages import event_document, probe_result, wall_ms, watch_of

NOW = datetime(2026, 10, 13, 3, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1_000)


def document_of(state: str = "UP", since: datetime = NOW - timedelta(hours=30)) -> Document:
    """Return as much of a status as the memory looks at."""
    stamp = since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    gateway = {"name": "node2", "state": state, "since": stamp}
    return {"vips": [{"name": "web", "frozen": [], "gateways": [gateway]}]}


def strip(watch: Watch, name: str = "node2", **status: Any) -> str:  # noqa: ANN401 - of document_of
    """Return a lane as one sign an hour: U D W G R and a dot where edged did not run."""
    signs = {"UP": "U", "DOWN": "D", "WAIT": "W", "DEGRADED": "G", "DRAIN": "R", "off": "."}
    lane = watch.picture(document_of(**status), NOW_MS).lanes[name]
    assert lane[0].from_ms == NOW_MS - DAY_MS
    assert lane[-1].to_ms == NOW_MS
    assert all(a.to_ms == b.from_ms for a, b in itertools.pairwise(lane))
    hours = [NOW_MS - DAY_MS + round((hour + 0.5) * 3_600_000) for hour in range(24)]
    return "".join(
        next(signs[one.state] for one in lane if one.from_ms <= at < one.to_ms) for at in hours
    )


STORIES: list[tuple[str, list[tuple[float, str, dict[str, Any]]], str]] = [
    ("it runs for long", [(30, "daemon.started", {})], "UUUUUUUUUUUUUUUUUUUUUUUU"),
    (
        "down, waits, up",
        [
            (30, "daemon.started", {}),
            (6, "gateway.went_down", {}),
            (4, "gateway.waiting", {}),
            (3, "gateway.came_up", {}),
        ],
        "UUUUUUUUUUUUUUUUUUDDWUUU",
    ),
    (
        "edged was stopped for two hours",
        [(30, "daemon.started", {}), (6, "daemon.stopped", {}), (4, "daemon.started", {})],
        "UUUUUUUUUUUUUUUUUU..UUUU",
    ),
    (
        "edged was killed: since the last event nobody knows",
        [(30, "daemon.started", {}), (8, "gateway.steady", {}), (4, "daemon.started", {})],
        "UUUUUUUUUUUUUUUU....UUUU",
    ),
    (
        "two causes, and a drain over them",
        [
            (30, "daemon.started", {}),
            (10, "gateway.degraded", {"cause": "bgp_down"}),
            (9, "gateway.degraded", {"cause": "not_ready"}),
            (8, "gateway.drained", {"source": "person"}),
            (6, "gateway.undrained", {"source": "person"}),
            (5, "gateway.undegraded", {"cause": "bgp_down"}),
            (4, "gateway.undegraded", {"cause": "not_ready"}),
        ],
        "UUUUUUUUUUUUUUGGRRGGUUUU",
    ),
    (
        "what was before the window still holds in it",
        [(30, "daemon.started", {}), (26, "gateway.went_down", {}), (12, "gateway.came_up", {})],
        "DDDDDDDDDDDDUUUUUUUUUUUU",
    ),
]


@pytest.mark.parametrize(("case", "events", "wanted"), STORIES, ids=[case for case, *_ in STORIES])
def test_a_day_is_drawn_from_its_events(
    case: str, events: list[tuple[float, str, dict[str, Any]]], wanted: str
) -> None:
    del case
    watch = Watch()
    for seq, (hours, name, fields) in enumerate(events, start=1):
        at = NOW - timedelta(hours=hours)
        watch.event(event_document(seq, at, name, gateway="node2", **fields))
    assert strip(watch) == wanted


def test_the_present_is_what_the_engine_says() -> None:
    watch = Watch()
    watch.event(event_document(1, NOW - timedelta(hours=30), "daemon.started"))
    since = NOW - timedelta(hours=3)
    assert strip(watch, state="DOWN", since=since) == "UUUUUUUUUUUUUUUUUUUUUDDD"


def test_the_past_from_the_store_comes_before_what_is_known_already_and_only_once() -> None:
    watch = Watch()
    started = event_document(9, NOW - timedelta(hours=2), "daemon.started")
    watch.event(started)
    watch.probe("node2", probe_result(), NOW_MS)
    past = [
        event_document(7, NOW - timedelta(hours=20), "daemon.started"),
        event_document(8, NOW - timedelta(hours=4), "daemon.stopped"),
        started,
    ]
    watch.past(past)
    assert strip(watch) == "....UUUUUUUUUUUUUUUU..UU"
    picture = watch.picture(document_of(), NOW_MS)
    assert [one["seq"] for one in picture.events] == [7, 8, 9]
    assert picture.cells["node2"][-1] is not None


def test_bars_hold_ten_minutes_and_say_what_failed() -> None:
    watch = Watch()
    begin_ms = NOW_MS // CELL_MS * CELL_MS
    for ago in range(59, -1, -1):
        at_ms = begin_ms - ago * CELL_MS
        watch.probe("node2", probe_result(latency_us=1_000 + ago), at_ms)
        if ago == 3:
            watch.probe("node2", probe_result(ProbeReason.TLS_TIMEOUT), at_ms)
    cells = watch.picture(document_of(), NOW_MS).cells["node2"]
    assert len(cells) == CELLS
    assert all(cell is not None and cell.passed == 1 for cell in cells)
    failed = [(CELLS - 1 - i, c.reason) for i, c in enumerate(cells) if c is not None and c.failed]
    assert failed == [(3, "tls_timeout")]


def test_a_gap_without_probes_stays_empty() -> None:
    watch = Watch()
    watch.probe("node2", probe_result(), NOW_MS - 5 * CELL_MS)
    watch.probe("node2", probe_result(), NOW_MS)
    cells = watch.picture(document_of(), NOW_MS).cells["node2"]
    assert [i for i, cell in enumerate(cells) if cell is not None] == [CELLS - 6, CELLS - 1]


def test_the_median_and_the_slowest_are_told_apart() -> None:
    watch = Watch()
    for latency_us in [1_000] * 99 + [90_000]:
        watch.probe("node2", probe_result(latency_us=latency_us), NOW_MS)
    assert watch.picture(document_of(), NOW_MS).latencies["node2"] == (1_000, 90_000)


def test_a_picture_no_longer_changes() -> None:
    watch = watch_of(healthy())
    run = healthy()
    picture = watch.picture(status_of(run), wall_ms(run))
    before = picture.cells["node1"][-1]
    assert before is not None
    passed = before.passed
    watch.probe("node1", probe_result(), wall_ms(run))
    assert before.passed == passed


def test_how_a_gateway_left_is_remembered_up_to_the_read_that_showed_it() -> None:
    run = node2_refused()
    picture = watch_of(run).picture(status_of(run), wall_ms(run))
    removal = picture.removals["web", "node2"]["hex"]
    assert removal == Removal(at_ms=removal.at_ms, total_ms=13, verified=True)
    assert picture.went_down["node2"]["class"] == "refused"
    assert [mark.removed for mark in picture.marks["web"]] == [("node2",)]


def test_memory_is_bounded_however_much_happens() -> None:
    watch = Watch()
    for seq in range(10_000):
        at = NOW - timedelta(seconds=10_000 - seq)
        name = "gateway.went_down" if seq % 2 else "gateway.came_up"
        watch.event(event_document(seq, at, name, Severity.WARNING, gateway="node2"))
    picture = watch.picture(document_of(), NOW_MS)
    assert len(picture.lanes["node2"]) <= 2_001
    assert len(picture.events) == 20


def test_times_survive_the_way_there_and_back() -> None:
    assert wall_at(wall_ms_of("2026-10-13T03:00:00.123Z")) == NOW + timedelta(milliseconds=123)
