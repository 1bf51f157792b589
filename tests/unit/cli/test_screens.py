"""The screens as people see them: `golden/` holds them; UPDATE_GOLDEN=1 writes them anew."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.cli.render import Terminal, width_of
from edged.cli.screens import (
    adoption_screen,
    event_line,
    plan_screen,
    probe_screen,
    status_screen,
    undo_screen,
    why_screen,
)
from edged.core.types import Drain, Pause
from edged.web.documents import RouterView
from tests.support.documents import (
    adoption_of,
    healthy,
    node2_refused,
    not_adopted,
    plan_of,
    status_of,
    view_of,
    why_of,
)
from tests.support.engine_run import ADDRESSES, EngineRun, bgp_row, core_config, list_row

GOLDEN = Path(__file__).parent / "golden"
WIDE = Terminal()
NARROW = Terminal(width=39)
ASCII = Terminal(unicode=False)


def drained_below_the_floor() -> EngineRun:
    run = node2_refused()
    run.engine.command(
        Drain(
            gateway="node3", owner="kim", reason="커널 업데이트", until_ms=run.now_ms + 3_600_000
        ),
        run.now_ms,
    )
    run.run(2_000)
    return run


def paused_while_node2_died() -> EngineRun:
    run = healthy()
    run.engine.command(Pause(owner="kim", until_ms=run.now_ms + 600_000), run.now_ms)
    run.behaviour["node2"] = "refused"
    run.lose_held("node2")
    run.run(2_000)
    return run


def with_a_foreign_row() -> EngineRun:
    run = EngineRun(
        rows=(
            list_row(("172.30.1.20", "172.30.1.70", "172.30.1.99")),
            list_row(comment="by hand", row_id="*2"),
            bgp_row(),
        )
    )
    run.connect()
    run.run(6_000)
    return run


def lost_router() -> list[str]:
    run = node2_refused()
    run.engine.observe_router_lost("hex", "timed out", run.now_ms)
    router = RouterView(name="hex", connected=False, detail="no answer within 1 s", tls="off")
    return status_screen(status_of(run, routers=(router,)), WIDE)


def adoption() -> list[str]:
    document = adoption_of(not_adopted())
    return [*adoption_screen(document, WIDE), "", *undo_screen(document, WIDE)]


SCREENS: Mapping[str, Callable[[], list[str]]] = {
    "status-fine": lambda: status_screen(
        status_of(healthy(), alerts=replace(view_of(healthy()).alerts, open=0)), WIDE
    ),
    "status-degraded": lambda: status_screen(status_of(node2_refused()), WIDE),
    "status-narrow": lambda: status_screen(status_of(node2_refused()), NARROW),
    "status-ascii": lambda: status_screen(status_of(drained_below_the_floor()), ASCII),
    "status-drain": lambda: status_screen(status_of(drained_below_the_floor()), WIDE),
    "status-observe": lambda: status_screen(status_of(not_adopted(), mode="observe"), WIDE),
    "status-router-lost": lost_router,
    "why-down": lambda: why_screen(why_of(node2_refused(), "node2"), WIDE),
    "why-down-narrow": lambda: why_screen(why_of(node2_refused(), "node2"), NARROW),
    "why-drained": lambda: why_screen(why_of(drained_below_the_floor(), "node3"), WIDE),
    "why-vip": lambda: why_screen(why_of(paused_while_node2_died()), WIDE),
    "plan-in-sync": lambda: plan_screen(plan_of(node2_refused()), WIDE),
    "plan-paused": lambda: plan_screen(plan_of(paused_while_node2_died()), WIDE),
    "plan-foreign": lambda: plan_screen(plan_of(with_a_foreign_row()), WIDE),
    "plan-observe": lambda: plan_screen(plan_of(not_adopted(), mode="observe"), WIDE),
    "adopt": adoption,
}


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_as_it_was_agreed(name: str) -> None:
    text = "\n".join(SCREENS[name]()) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_golden_screen_belongs_to_a_test() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(SCREENS)


def test_a_narrow_screen_still_names_every_gateway_and_its_state() -> None:
    text = "\n".join(status_screen(status_of(node2_refused()), Terminal(width=39)))
    for name in ADDRESSES:
        assert name in text
    assert "DOWN" in text
    assert "out" in text


NAMES = st.text(alphabet=st.sampled_from("ab1-가나한글노드"), min_size=1, max_size=24)


def renamed(document: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """Return a document in which each name is another."""
    match document:
        case dict():
            return {names.get(k, k): renamed(v, names) for k, v in document.items()}
        case list():
            return [renamed(item, names) for item in document]
        case str():
            for old, new in names.items():
                document = document.replace(old, new)
            return document
        case _:
            return document


RUN = drained_below_the_floor()
DOCUMENTS: list[tuple[Callable[[Any, Terminal], list[str]], Any]] = [
    (status_screen, status_of(RUN)),
    (why_screen, why_of(RUN, "node2")),
    (why_screen, why_of(RUN)),
    (plan_screen, plan_of(with_a_foreign_row())),
    (adoption_screen, adoption_of(not_adopted())),
]


@settings(max_examples=60)
@given(
    which=st.sampled_from(range(len(DOCUMENTS))),
    names=st.tuples(NAMES, NAMES, NAMES, NAMES),
    width=st.sampled_from([39, 50, 60, 79]),
    unicode=st.booleans(),
)
def test_no_screen_is_wider_than_its_terminal_with_hangul_names(
    *, which: int, names: tuple[str, str, str, str], width: int, unicode: bool
) -> None:
    screen, document = DOCUMENTS[which]
    changed = renamed(document, dict(zip(("node1", "node2", "node3", "kim"), names, strict=True)))
    lines = screen(changed, Terminal(width=width, unicode=unicode))
    # A command is broken at blanks only: what is longer stays whole, so that it can be pasted.
    assert [line for line in lines if width_of(line) > width and not is_command(line)] == []


def is_command(line: str) -> bool:
    return any(word in line for word in ("edged ", "--", "kubectl", "/ip route", "    "))


def test_what_a_router_says_cannot_steer_the_terminal() -> None:
    run = EngineRun(rows=(list_row(comment="edged:web \x1b[2J\x1b]0;owned\x07"),))
    run.connect()
    run.run(4_000)
    text = "\n".join(plan_screen(plan_of(run), WIDE))
    assert "\x1b" not in text
    assert "\x07" not in text


def event(name: str, severity: str, **fields: object) -> dict[str, object]:
    return {
        "seq": 1,
        "time": "2026-10-12T18:12:44.000Z",
        "name": name,
        "severity": severity,
        "fields": fields,
    }


def test_events_are_said_one_a_line_with_what_matters_marked() -> None:
    run = healthy()
    terminal = Terminal().at("Asia/Seoul")
    lost = event("router.lost", "warning", router="hex", detail="timed out")
    contested = event("route.contested", "critical", vip="web", router="hex", restored=3)
    assert event_line(lost, run.wall, terminal) == ["03:12:44 ! hex lost: timed out"]
    assert event_line(contested, run.wall, terminal) == [
        "03:12:44 ✗ web on hex: put back 3 times, now left alone",
    ]
    quiet = event("daemon.resumed", "info", owner="kim", cause="asked")
    assert event_line(quiet, run.wall, terminal) == ["03:12:44   resumed by kim (asked)"]


def test_a_probe_shows_its_phases_only_when_asked() -> None:
    document = {
        "probes": [
            {
                "gateway": "node2",
                "address": "172.30.1.70",
                "port": 443,
                "server_name": "edged-probe.example.test",
                "depth": "full",
                "outcome": "failed",
                "reason": "tls_alert",
                "sentence": "it refuses the TLS handshake with an alert",
                "detail": "unrecognized_name",
                "latency_ms": None,
                "http_status": None,
                "phases": [{"name": "tcp", "took_ms": 0.31, "detail": ""}],
            },
        ],
    }
    assert probe_screen(document, WIDE, trace=False) == [
        "node2 (172.30.1.70:443)  ✗ failed",
        "  full probe, SNI edged-probe.example.test",
        "  it refuses the TLS handshake with an alert (unrecognized_name)",
    ]
    assert probe_screen(document, WIDE, trace=True)[-1] == "       0.310 ms  tcp"


def test_several_routers_that_are_frozen_alike_are_said_once() -> None:
    run = EngineRun(config=replace(core_config(), routers=("hex",)))
    run.connect()
    run.run(6_000)
    document: Any = status_of(run)
    pause = {
        "router": "hex",
        "reason": "paused",
        "sentence": "kim paused edged",
        "until": None,
        "detail": "",
        "blocking": True,
        "do": "edged resume",
    }
    document["vips"][0]["frozen"] = [pause, {**pause, "router": "ccr"}]
    text = "\n".join(status_screen(document, WIDE))
    assert text.count("kim paused edged") == 1
