"""Pages of made-up situations: pictures through the real memory, and a server that shows them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from edged.core.events import Event, Severity
from edged.core.types import (
    Drain,
    ProbeDepth,
    ProbeOutcome,
    ProbeReason,
    ProbeResult,
    RouteRead,
    RouteShape,
)
from edged.web.documents import AlertsView
from edged.web.metrics import Metrics, Snapshot
from edged.web.page import Assets
from edged.web.page_words import Say
from edged.web.server import WebServer, WebSettings
from edged.web.views import Document
from edged.web.watch import Picture, Watch
from tests.support.documents import healthy, status_of
from tests.support.engine_run import EngineRun

ASSETS = Assets(
    style="/static/page.css",
    script="/static/page.js",
    icons={level: f"/static/{level}.svg" for level in ("fine", "degraded", "critical")},
)
SEOUL = "Asia/Seoul"


def event_document(
    seq: int, at: datetime, name: str, severity: Severity = Severity.INFO, **fields: object
) -> Document:
    """Return an event as the store, the stream and the page have it."""
    return {
        "seq": seq,
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "name": name,
        "severity": severity.value,
        "fields": {
            key.rstrip("_"): list(value) if isinstance(value, tuple) else value
            for key, value in fields.items()
        },
    }


def wall_ms(run: EngineRun) -> int:
    """Return a run's wall time in milliseconds."""
    return round(run.wall.timestamp() * 1_000)


def told(run: EngineRun, events: Iterable[Event]) -> list[Document]:
    """Return what people were told of a run's events."""
    return [
        event_document(
            seq,
            run.wall + timedelta(milliseconds=made.at_ms - run.now_ms),
            made.name,
            made.severity,
            **made.fields,
        )
        for seq, made in enumerate(events, start=1)
        if made.severity is not Severity.DEBUG
    ]


def probe_result(reason: ProbeReason | None = None, latency_us: int = 1_200) -> ProbeResult:
    """Return a finished probe."""
    return ProbeResult(
        probe_id=1,
        check="node1",
        depth=ProbeDepth.FULL,
        outcome=ProbeOutcome.PASSED if reason is None else ProbeOutcome.FAILED,
        reason=reason,
        started_ms=0,
        finished_ms=1,
        latency_us=latency_us if reason is None else 0,
    )


def watch_of(run: EngineRun) -> Watch:
    """Return a memory that has seen all of a run, ten minutes of probes, and a read."""
    watch = Watch()
    now_ms = wall_ms(run)
    started = event_document(0, run.wall - timedelta(hours=30), "daemon.started", version="1.0.0")
    for document in [started, *told(run, run.events)]:
        watch.event(document)
    for snapshot in run.engine.gateways(run.now_ms):
        for ago_ms in range(600_000, 0, -1_000):
            dead = not snapshot.passing and ago_ms < run.now_ms - snapshot.since_ms
            result = probe_result(ProbeReason.REFUSED if dead else None)
            watch.probe(snapshot.name, result, now_ms - ago_ms)
    read = RouteRead(
        router="hex", vip="web", shape=RouteShape.LIST, rows=(), sent_ms=0, answered_ms=0
    )
    watch.read(read, now_ms - 2_300)
    return watch


def picture_of(run: EngineRun, **changes: Any) -> Picture:  # noqa: ANN401 - fields of the view
    """Return what a page of this run is made of."""
    changes = {"alerts": AlertsView(dead_mans_switch="ok")} | changes
    return watch_of(run).picture(status_of(run, **changes), wall_ms(run))


def silent_everywhere() -> EngineRun:
    """Return a run in which no gateway answers any more."""
    run = healthy()
    run.behaviour.update(node1="silent", node2="silent", node3="silent")
    run.run(30_000)
    return run


def drained(reason: str = "kernel update") -> EngineRun:
    """Return a run in which a person asked node3 out a minute ago, for an hour."""
    run = healthy()
    wish = Drain(gateway="node3", owner="kim", reason=reason, until_ms=run.now_ms + 3_600_000)
    run.events.extend(run.engine.command(wish, run.now_ms))
    run.run(60_000)
    return run


def router_lost() -> EngineRun:
    """Return a run whose router has been away for a minute."""
    run = healthy()
    run.router_up = False
    run.events.extend(
        run.engine.observe_router_lost("hex", "timed out", run.now_ms, login_refused=False)
    )
    run.run(60_000)
    return run


def say_of(language: str = "en") -> Say:
    """Return words in a language, with no zone but UTC."""
    return Say(language, UTC)


class ShownApi:
    """A `WebApi` that shows what a test puts there."""

    def __init__(self, run: EngineRun) -> None:
        self.shown = picture_of(run)
        self.asked: dict[str, object] = {}
        self.wrong = ""
        self.unread = ""
        self.failure: Exception | None = None

    async def status(self) -> Document:
        """Return the status, or fail as told."""
        if self.failure is not None:
            raise self.failure
        return self.shown.document

    async def events(
        self,
        *,
        since: datetime | None,
        after_seq: int,
        limit: int,
        names: tuple[str, ...],
        gateway: str | None,
        vip: str | None,
        incident: str | None,
        min_severity: Severity,
    ) -> Document:
        """Note what was asked."""
        self.asked = {
            "since": since,
            "after_seq": after_seq,
            "limit": limit,
            "names": names,
            "gateway": gateway,
            "vip": vip,
            "incident": incident,
            "min_severity": min_severity,
        }
        return {"schema": "edged.events/v1", "events": list(self.shown.events)}

    async def picture(self) -> Picture:
        """Return what is shown, or fail as told."""
        if self.failure is not None:
            raise self.failure
        return self.shown

    async def snapshot(self) -> Snapshot:
        """Return what a scrape shows."""
        return snapshot_of(await self.status())

    def alive(self) -> str:
        """Say what is wrong."""
        return self.wrong

    def ready(self) -> str:
        """Say what is unread."""
        return self.unread


def snapshot_of(document: Document) -> Snapshot:
    """Return what a scrape shows of a status."""
    return Snapshot(
        document=document,
        python="3.11.7",
        reads={("hex", "web"): 1_760_000_000_000},
        changes={"web": 1_760_000_000_000},
        certificates={"node1": 1_790_000_000.0},
        bgp=(("hex", "node1", True), ("hex", "node2", False)),
        watches=(("nodes", False),),
        channels=(("team", 2, 90_000),),
        loop_lag_ms=3,
    )


def server_of(api: ShownApi, language: str = "en") -> WebServer:
    """Return a server on a free port of loopback."""
    settings = WebSettings(
        host="127.0.0.1",
        port=0,
        names=("mgmt-1", "edged.example.test"),
        language=language,
        zone=UTC,
    )
    metrics = Metrics(started_s=1_760_000_000.0)
    metrics.begin([("web", ("hex",))], ["node1", "node2", "node3"])
    return WebServer(api, metrics, settings)
