"""Documents of made-up situations, through the real engine and the real builders."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from edged.core.plan import OwnRows, adoption_steps
from edged.core.types import CoreConfig
from edged.web.documents import (
    AdoptionView,
    AlertsView,
    BgpView,
    DaemonView,
    Document,
    RouterView,
    adoption_document,
    plan_document,
    rfc3339,
    status_document,
    why_document,
)
from tests.support.engine_run import EngineRun, core_config, list_row


def view_of(run: EngineRun, **changes: Any) -> DaemonView:  # noqa: ANN401 - fields of the view
    """Return what a daemon would know beside the engine."""
    changed = [made for made in run.events if made.name == "route.changed"]
    last_change = None
    if changed:
        made = changed[-1]
        last_change = {
            "seq": 7,
            "time": rfc3339(run.wall - timedelta(milliseconds=run.now_ms - made.at_ms)),
            "name": made.name,
            "severity": made.severity.value,
            "fields": {k: list(v) if isinstance(v, tuple) else v for k, v in made.fields.items()},
        }
    view = DaemonView(
        mode="enforce",
        version="1.0.0",
        host="mgmt-1",
        started=run.wall - timedelta(days=12),
        core=run.config,
        routers=(
            RouterView(
                name="hex",
                connected=True,
                version="6.49.10",
                board="hEX",
                rtt_us=1_400,
                cpu_load_percent=4,
                since=run.wall - timedelta(days=12),
                tls="pin",
                writes_today=1,
                writes_ever=41,
            ),
        ),
        timezone="Asia/Seoul",
        bgp=tuple(
            BgpView(
                router="hex", gateway=gateway.name, up=True, read=run.wall - timedelta(seconds=2)
            )
            for gateway in run.config.gateways
        ),
        alerts=AlertsView(
            open=1, channels=(("slack", "ok"), ("telegram", "ok")), dead_mans_switch="ok"
        ),
        last_change=last_change,
    )
    return replace(view, **changes)


def healthy() -> EngineRun:
    """Return a run in which everything has been fine for twenty seconds."""
    run = EngineRun()
    run.connect()
    run.run(20_000)
    return run


def node2_refused(for_ms: int = 78_000) -> EngineRun:
    """Return a run in which node2's Envoy was killed `for_ms` ago."""
    run = healthy()
    run.behaviour["node2"] = "refused"
    run.lose_held("node2")
    run.run(for_ms)
    return run


def not_adopted(config: CoreConfig | None = None) -> EngineRun:
    """Return a run whose route is still a person's."""
    run = EngineRun(
        config=config or core_config(enforce=False),
        rows=(list_row(comment="ECMP to Gateway VIP"),),
    )
    run.connect()
    run.run(6_000)
    return run


def status_of(run: EngineRun, **changes: Any) -> Document:  # noqa: ANN401 - fields of the view
    """Build `edged.status/v1`."""
    view = view_of(run, **changes)
    return status_document(run.engine, now_ms=run.now_ms, wall=run.wall, view=view)


def why_of(run: EngineRun, name: str | None = None, **changes: Any) -> Document:  # noqa: ANN401 - fields of the view
    """Build `edged.why/v1`."""
    view = view_of(run, **changes)
    return why_document(run.engine, name, now_ms=run.now_ms, wall=run.wall, view=view)


def plan_of(run: EngineRun, **changes: Any) -> Document:  # noqa: ANN401 - fields of the view
    """Build `edged.plan/v1`."""
    view = view_of(run, **changes)
    return plan_document(run.engine, now_ms=run.now_ms, wall=run.wall, view=view)


def adoption_of(run: EngineRun) -> Document:
    """Build `edged.adopt/v1` as it is before the yes."""
    vip = run.config.vips[0]
    own = run.engine.own_rows("hex", vip.name)
    assert isinstance(own, OwnRows)
    view = AdoptionView(
        router="hex",
        vip=vip,
        shape=own.shape,
        before=own.foreign,
        steps=adoption_steps(own, vip),
    )
    return adoption_document([view], verb="adopt", core=run.config, wall=run.wall)
