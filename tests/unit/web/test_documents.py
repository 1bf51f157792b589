"""The documents: what machines read, and the sentences that people read beside it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edged.cli.render import Terminal
from edged.cli.screens import plan_screen
from edged.core.errors import CommandRefused
from edged.core.types import (
    CreateRow,
    Drain,
    Opinion,
    OpinionResult,
    Pause,
    PlannedStep,
    ProbeDepth,
    ProbeOutcome,
    ProbeReason,
    RouteRead,
    RouteShape,
    SetDisabled,
    SetNextHops,
    StepOutcome,
    StepResult,
    VipConfig,
)
from edged.web.documents import (
    AdoptionView,
    BgpView,
    Moment,
    PhaseView,
    ProbeView,
    RouterView,
    adoption_document,
    offline_plan_document,
    plan_document,
    probe_document,
    rfc3339,
    step_words,
)
from edged.web.parts import kept_part
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
from tests.support.engine_run import START_MS, WALL, EngineRun, bgp_row, core_config, list_row


def vip_of(document: Any) -> Any:  # noqa: ANN401 - JSON
    return document["vips"][0]


def gateway_of(document: Any, name: str) -> Any:  # noqa: ANN401 - JSON
    return next(gateway for gateway in vip_of(document)["gateways"] if gateway["name"] == name)


# --- status -------------------------------------------------------------------------------------


def test_status_has_every_key_that_scripts_were_promised() -> None:
    document: Any = json.loads(json.dumps(status_of(node2_refused())))
    assert document["schema"] == "edged.status/v1"
    assert {"mode", "writer", "routers", "vips", "alerts", "last_change"} <= document.keys()
    assert {"name", "connected", "version", "rtt_ms"} <= document["routers"][0].keys()
    vip = vip_of(document)
    promised = {"name", "address", "in_sync", "frozen", "min_healthy", "desired", "observed"}
    assert promised | {"gateways"} <= vip.keys()
    assert vip["observed"] == {"hex": ["node1", "node3"]}
    gateway = gateway_of(document, "node2")
    keys = {"name", "address", "state", "reason", "since", "in_route", "kept", "waits", "probe"}
    assert keys | {"bgp"} <= gateway.keys()
    assert {"last", "latency_ms"} <= gateway["probe"].keys()
    assert {"open", "pending"} <= document["alerts"].keys()


def test_a_dead_gateway_is_out_with_its_reason_and_what_it_waits_for() -> None:
    document = status_of(node2_refused())
    gateway = gateway_of(document, "node2")
    assert (gateway["state"], gateway["reason"], gateway["in_route"]) == ("DOWN", "refused", False)
    assert gateway["brief"] == ":443 closed"
    assert gateway["waits"]["reason"] == "rise"
    assert gateway["since"] == "2026-10-12T18:12:20.005Z"
    assert document["level"] == "degraded"
    assert document["next"] == [
        {
            "text": "node2 returns by itself: 3 good probes, 2 s clean, then 30 s wait",
            "at": None,
            "do": None,
        },
    ]


LEVELS = [
    ("all well", {}, "fine"),
    ("an alert is open", {"alerts": 1}, "degraded"),
    ("a router is lost", {"lost": True}, "critical"),
]


@pytest.mark.parametrize(("case", "trouble", "level"), LEVELS, ids=[case for case, _, _ in LEVELS])
def test_the_level_is_the_worst_of_all(case: str, trouble: dict[str, Any], level: str) -> None:
    del case
    run = healthy()
    view = view_of(run)
    alerts = replace(view.alerts, open=trouble.get("alerts", 0))
    routers = (RouterView(name="hex", connected=not trouble.get("lost"), detail="timed out"),)
    assert status_of(run, alerts=alerts, routers=routers)["level"] == level


def test_below_the_floor_is_critical() -> None:
    run = node2_refused()
    run.behaviour["node3"] = "refused"
    run.run(5_000)
    document = status_of(run)
    assert vip_of(document)["level"] == "critical"
    assert vip_of(document)["observed"] == {"hex": ["node1"]}


def test_the_last_one_is_kept_with_a_sentence_that_is_true_of_it() -> None:
    run = node2_refused()
    run.behaviour["node3"] = "refused"
    run.run(8_000)
    run.engine.command(Drain(gateway="node1", owner="kim", force=True), run.now_ms)
    run.run(1_000)
    kept = gateway_of(status_of(run), "node1")["kept"]
    assert kept["reason"] == "last"
    assert kept["sentence"] == "it is the last one that answers"
    snapshot = run.engine.gateways(run.now_ms)[0]
    route = run.engine.decide(run.now_ms).routes[0]
    silent = kept_part(route.kept[0], route, replace(snapshot, passing=False))
    assert silent["sentence"] == "no other one answers either, and a route is never emptied"


def test_a_drain_that_the_floor_holds_back_says_so() -> None:
    run = node2_refused()
    run.engine.command(Drain(gateway="node1", owner="kim"), run.now_ms)
    run.run(1_000)
    kept = gateway_of(status_of(run), "node1")["kept"]
    assert kept["reason"] == "floor"
    assert kept["sentence"] == "fewer than 2 would be left in the route"


def test_observing_a_route_that_is_not_adopted_is_nothing_to_wake_anybody_for() -> None:
    run = not_adopted()
    document = status_of(run, mode="observe", alerts=replace(view_of(run).alerts, open=0))
    reasons = {item["reason"]: item for item in vip_of(document)["frozen"]}
    assert set(reasons) == {"not_adopted", "observing"}
    assert reasons["not_adopted"]["do"] == "edged adopt web"
    assert document["level"] != "critical"
    enforced = not_adopted(core_config(enforce=True))
    assert status_of(enforced)["level"] == "critical"


def test_a_death_seen_while_warming_up_is_not_called_fine() -> None:
    run = EngineRun()
    run.connect()
    run.behaviour["node2"] = "refused"
    run.run(2_000)
    vip = vip_of(status_of(run))
    assert [item["reason"] for item in vip["frozen"]] == ["warm_up"]
    assert vip["level"] == "degraded"


def test_a_pause_is_said_with_its_owner_and_its_end() -> None:
    run = healthy()
    run.engine.command(Pause(owner="kim", until_ms=run.now_ms + 60_000), run.now_ms)
    document: Any = status_of(run)
    assert document["paused"] == {"owner": "kim", "until": "2026-10-12T18:13:20.000Z"}
    frozen = vip_of(document)["frozen"][0]
    assert (frozen["sentence"], frozen["do"]) == ("kim paused edged", "edged resume")


def test_a_drain_counts_from_when_it_was_asked_for() -> None:
    run = healthy()
    run.engine.command(
        Drain(gateway="node3", owner="kim", reason="커널", until_ms=run.now_ms + 3_600_000),
        run.now_ms,
    )
    run.run(4_000)
    document: Any = status_of(run)
    gateway = gateway_of(document, "node3")
    assert (gateway["state"], gateway["brief"]) == ("DRAIN", "kim: 커널")
    assert gateway["since"] == "2026-10-12T18:12:20.000Z"
    assert gateway["in_route"] is False
    assert {"text": "the drain of node3 ends", "at": "2026-10-12T19:12:20.000Z", "do": None} in (
        document["next"]
    )


def test_a_member_that_is_no_longer_configured_is_shown_while_it_is_in_the_route() -> None:
    run = healthy()
    run.engine.configure(
        replace(
            run.config,
            gateways=run.config.gateways[:2],
            checks=run.config.checks[:2],
            vips=(replace(run.config.vips[0], checks=("node1", "node2")),),
        ),
        run.now_ms,
    )
    core = replace(
        run.config,
        gateways=run.config.gateways[:2],
        checks=run.config.checks[:2],
        vips=(replace(run.config.vips[0], checks=("node1", "node2")),),
    )
    gateway = gateway_of(status_of(run, core=core), "node3")
    assert (gateway["state"], gateway["reason"]) == ("DRAIN", "not_configured")
    assert gateway["in_route"] is True


def test_times_are_converted_by_the_pair_of_one_instant() -> None:
    moment = Moment(now_ms=START_MS, wall=WALL)
    assert moment.stamp(START_MS - 1_500) == "2026-10-12T18:11:58.500Z"
    assert moment.stamp(None) is None
    seoul = Moment(now_ms=0, wall=datetime.fromisoformat("2026-10-13T03:12:00+09:00"))
    assert seoul.stamp(0) == "2026-10-12T18:12:00.000Z"


# --- why ----------------------------------------------------------------------------------------


def trail_of(document: Any) -> list[tuple[int, str]]:  # noqa: ANN401 - JSON
    return [(item["after_ms"], item["text"]) for item in document["gateway"]["trail"]]


STORY = [
    (0, "held connection lost: reset by peer"),
    (1, "witness: node1 answered, so edged's own eyes work"),
    (1, "fresh probe failed: refused"),
    (5, "fresh probe failed: refused"),
    (5, "DOWN: refused, witness node1"),
    (8, "node2 out: refused. In web on hex: node1, node3"),
    (13, "hex read back: as written"),
]


@pytest.mark.parametrize("for_ms", [1_000, 300_000], ids=["1 s", "5 min"])
def test_the_story_of_a_death_is_still_told_minutes_later(for_ms: int) -> None:
    trail = trail_of(why_of(node2_refused(for_ms), "node2"))
    assert sorted(trail) == sorted(STORY)
    assert [after_ms for after_ms, _ in trail] == [after_ms for after_ms, _ in STORY]


def test_why_says_what_is_the_matter_what_the_rule_is_and_what_to_type() -> None:
    gateway: Any = why_of(node2_refused(), "node2", ports={"node2": 8443})["gateway"]
    assert gateway["word"] == "The host answers, but nothing listens on :8443. Envoy is gone."
    assert "one passing node remains (here: node1, node3)" in gateway["rule"]
    assert gateway["now"].startswith("0 of 3 good probes, last probe ")
    assert gateway["to_return"] == (
        "3 good probes in a row, 2 s without a failure, then 30 s wait (1st removal lately). "
        "Nothing to do in edged."
    )
    assert [item["type"] for item in gateway["can"]][1:] == [
        "edged drain node2 --for 4h",
        "edged pause --for 1h",
    ]


def test_a_gateway_is_found_by_its_address_and_a_vip_by_its_name() -> None:
    run = healthy()
    assert why_of(run, "172.30.1.70")["gateway"] == why_of(run, "node2")["gateway"]
    by_name, by_destination = why_of(run, "web"), why_of(run, "172.30.1.7/32")
    assert by_name["vips"] == by_destination["vips"]
    assert by_name["vips"] == why_of(run)["vips"]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(CommandRefused, match='"node9"; known are node1, node2, node3, web'):
        why_of(healthy(), "node9")


def test_a_gateway_that_is_well_again_says_how_long_it_still_waits() -> None:
    run = node2_refused(10_000)
    run.behaviour.pop("node2")
    run.run(6_000)
    gateway: Any = why_of(run, "node2")["gateway"]
    assert gateway["state"] == "WAIT"
    assert gateway["to_return"].endswith("of its wait are left. Nothing to do in edged.")
    run.run(31_000)
    gateway = why_of(run, "node2")["gateway"]
    assert (gateway["state"], gateway["in_route"], gateway["to_return"]) == ("UP", True, "")


def test_a_vip_says_in_a_word_how_it_stands() -> None:
    whole: Any = why_of(healthy())
    assert whole["vips"][0]["word"] == "3 of 3 gateways are in the route and answer."
    part: Any = why_of(node2_refused())
    assert part["vips"][0]["word"].startswith("2 of 3 gateways are in the route and answer.")
    none: Any = why_of(not_adopted())
    assert none["vips"][0]["word"] == "No gateway is in the route on any router."


# --- plan ---------------------------------------------------------------------------------------


def test_each_row_says_whose_it_is() -> None:
    run = EngineRun(rows=(list_row(), list_row(comment="by hand", row_id="*2"), bgp_row()))
    run.connect()
    run.run(6_000)
    route: Any = plan_of(run)["routes"]
    rows = {row["id"]: row for row in route[0]["rows"]}
    assert {row: found["whose"] for row, found in rows.items()} == {
        "*1": "ours",
        "*2": "foreign",
        "*9": "bgp",
    }
    assert (rows["*1"]["blocks"], rows["*2"]["blocks"]) == (False, True)
    assert rows["*1"]["gateways"] == ["node1", "node2", "node3"]


def test_what_a_freeze_holds_back_is_shown_in_routeros_words() -> None:
    run = healthy()
    run.engine.command(Pause(owner="kim"), run.now_ms)
    run.behaviour["node2"] = "refused"
    run.lose_held("node2")
    run.run(500)
    document: Any = plan_of(run)
    route = document["routes"][0]
    assert document["changes"] is True
    assert route["held_back"] is True
    assert [step["routeros"] for step in route["steps"]] == [
        "/ip route set *1 gateway=172.30.1.20,172.30.1.82",
    ]
    assert route["rows"][0]["change"] == "gateway=172.30.1.20,172.30.1.82"
    assert [item["reason"] for item in route["frozen"]] == ["paused"]


def test_a_plan_for_an_unknown_vip_is_refused() -> None:
    run = healthy()
    view = view_of(run)
    with pytest.raises(CommandRefused, match='there is no VIP "db"; known are web'):
        plan_document(run.engine, now_ms=run.now_ms, wall=run.wall, view=view, vip="db")


def test_without_a_daemon_a_plan_shows_rows_and_claims_nothing() -> None:
    strange = list_row(("172.30.1.20", "172.30.1.99"), comment="by hand")
    read = RouteRead(
        router="hex",
        vip="web",
        shape=RouteShape.LIST,
        rows=(strange,),
        sent_ms=0,
        answered_ms=1,
    )
    document: Any = offline_plan_document(
        [read], core=core_config(), mode="observe", wall=WALL, timezone=None
    )
    route = document["routes"][0]
    assert (document["daemon"], document["changes"], route["in_sync"]) == (False, False, None)
    assert route["rows"][0]["unknown"] == ["172.30.1.99"]
    assert route["rows"][0]["adoptable"] is True
    assert [item["reason"] for item in route["frozen"]] == ["not_adopted"]


V4 = VipConfig(name="web", destination="172.30.1.7/32", routers=(), checks=())
V6 = replace(V4, destination="2001:db8::7/128", routing_table="wan")
STEPS = [
    (
        SetNextHops(row_id="*1", before=("a",), after=("b", "c%bridge")),
        V4,
        "/ip route set *1 gateway=b,c%bridge",
    ),
    (
        SetDisabled(row_ids=("*1", "*2"), next_hops=("a", "b"), disabled=True),
        V6,
        "/ipv6 route set *1,*2 disabled=yes",
    ),
    (
        CreateRow(next_hops=("a",), comment='x "y" edged:web', disabled=True, check_gateway="ping"),
        V6,
        (
            "/ipv6 route add dst-address=2001:db8::7/128 routing-table=wan gateway=a distance=10 "
            'comment="x \\"y\\" edged:web" check-gateway=ping disabled=yes'
        ),
    ),
]


@pytest.mark.parametrize(("step", "vip", "words"), STEPS, ids=["list", "toggle", "create"])
def test_a_step_is_written_as_a_person_would_type_it(
    step: SetNextHops | SetDisabled | CreateRow, vip: VipConfig, words: str
) -> None:
    assert step_words(step, vip) == words


# --- adoption, probe ----------------------------------------------------------------------------


def test_adoption_shows_the_comment_before_and_after_and_how_to_undo_it() -> None:
    route: Any = adoption_of(not_adopted())["routes"]
    assert route[0]["done"] is False
    assert route[0]["rows"][0]["comment"] == "ECMP to Gateway VIP"
    assert route[0]["rows"][0]["change"] == 'comment="ECMP to Gateway VIP edged:web"'
    assert 'comment="ECMP to Gateway VIP" disabled=no' in route[0]["undo"][0]


def test_adoption_is_done_only_when_every_step_is() -> None:
    vip = core_config().vips[0]
    steps = (
        CreateRow(next_hops=("172.30.1.20",), comment="edged:web", disabled=False),
        CreateRow(next_hops=("172.30.1.70",), comment="edged:web", disabled=False),
    )

    def result(step: CreateRow, outcome: StepOutcome) -> StepResult:
        planned = PlannedStep(router="hex", vip="web", step=step)
        return StepResult(planned=planned, outcome=outcome, sent_ms=0, finished_ms=1, message="m")

    def done(*outcomes: StepOutcome) -> Any:  # noqa: ANN401 - JSON
        results = tuple(result(step, o) for step, o in zip(steps, outcomes, strict=False))
        view = AdoptionView(
            router="hex", vip=vip, shape=RouteShape.ROWS, before=(), steps=steps, results=results
        )
        return adoption_document([view], verb="adopt", core=core_config(), wall=WALL)["routes"]

    assert done(StepOutcome.DONE, StepOutcome.DONE)[0]["done"] is True
    assert done(StepOutcome.DONE, StepOutcome.REFUSED)[0]["done"] is False
    assert done(StepOutcome.DONE)[0]["done"] is False
    assert done()[0]["undo"] == [
        '/ip route remove [find dst-address="172.30.1.7/32" comment~"edged:web"]',
    ]


def test_a_probe_says_its_phases_and_why_it_failed() -> None:
    probe = ProbeView(
        gateway="node2",
        address="172.30.1.70",
        port=443,
        server_name="edged-probe.example.test",
        depth=ProbeDepth.FULL,
        outcome=ProbeOutcome.FAILED,
        reason=ProbeReason.REFUSED,
        detail="ECONNREFUSED",
        phases=(PhaseView(name="tcp", took_us=312),),
    )
    document: Any = probe_document([probe], wall=datetime(2026, 1, 1, tzinfo=UTC))
    found = document["probes"][0]
    assert found["sentence"] == "the host answers, but nothing listens on :443"
    assert found["latency_ms"] is None
    assert found["phases"] == [{"name": "tcp", "took_ms": 0.312, "detail": ""}]


# --- where a fact came from ---------------------------------------------------------------------


def known_in(document: dict[str, Any], fact: str) -> list[dict[str, Any]]:
    (route,) = document["routes"]
    return [part for part in route["known"] if part["fact"] == fact]


def test_a_plan_says_where_each_fact_came_from_and_since_when() -> None:
    run = healthy()
    heard = run.wall - timedelta(seconds=70)
    result = OpinionResult(
        router="hex",
        gateway="node2",
        opinion=Opinion.DEAD,
        asked_ms=run.now_ms - 3_300,
        answered_ms=run.now_ms - 3_000,
        detail="",
    )
    run.engine.observe_opinion(result, run.now_ms)
    document = plan_of(
        run,
        nodes={"node3": "node k8s-03 Ready"},
        nodes_heard=heard,
        kubernetes_source="the API server of kubeconfig",
    )
    (rows,) = known_in(document, "rows")
    assert (rows["source"], rows["said"]) == ("hex", "2 rows")
    assert [part["gateway"] for part in known_in(document, "probe")] == ["node1", "node2", "node3"]
    (ping,) = known_in(document, "ping")
    at = rfc3339(run.wall - timedelta(seconds=3))
    assert (ping["source"], ping["gateway"], ping["said"], ping["at"]) == (
        *("hex", "node2", "dead", at),
    )
    assert {part["said"] for part in known_in(document, "bgp")} == {"up"}
    (node,) = known_in(document, "kubernetes")
    assert (node["source"], node["gateway"], node["at"]) == (
        *("the API server of kubeconfig", "node3", rfc3339(heard)),
    )
    screen = "\n".join(plan_screen(document, Terminal(width=200)))
    assert "ping from hex (3 s ago): node2 dead" in screen
    assert "the API server of kubeconfig (1 m 10 s ago): node3 node k8s-03 Ready" in screen
    why = why_of(run, "node2")
    assert "ping from hex: dead (3 s ago)" in str(why["gateway"])


def test_a_session_list_that_cannot_be_read_has_no_age() -> None:
    run = healthy()
    unread = BgpView(router="hex", gateway="node1", up=None)
    (part,) = known_in(plan_of(run, bgp=(unread,)), "bgp")
    assert (part["said"], part["at"]) == ("unknown", None)
