"""The engine's own duties: commands, what it tells, several VIPs, deadlines, snapshots."""

from dataclasses import replace

import pytest

from edged.core.engine import Engine
from edged.core.errors import CommandRefused
from edged.core.ledger import TRAIL_LENGTH
from edged.core.types import (
    CheckConfig,
    CoreConfig,
    Drain,
    PlannedStep,
    ProbeDepth,
    ProbeKind,
    ProbeReason,
    ProbeTiming,
    Recheck,
    RouteShape,
    SetNextHops,
    Undrain,
)
from tests.support.core import (
    CALM,
    ROUTER,
    Bench,
    a_config,
    a_read,
    a_result,
    a_row,
    a_vip,
    hop,
    names,
    rows_of,
    some_facts,
)


def two_vips(**first: object) -> CoreConfig:
    """Two VIPs over the same checks, so that probes are shared."""
    other = a_vip(3, name="other", destination="192.0.2.81/32")
    return a_config(3, vips=(a_vip(3, **first), other))


def both_read(bench: Bench, *members: tuple[str, ...]) -> None:
    for vip, inside in zip(("web", "other"), members, strict=True):
        rows = [replace(row, comment=f"edged:{vip}") for row in rows_of(inside)]
        read = replace(a_read(rows, bench.now_ms), vip=vip)
        bench._take(bench.engine.observe_route(read, bench.now_ms))


def test_the_core_never_goes_back_in_time() -> None:
    engine = Engine(a_config(3), 1_000)
    with pytest.raises(AssertionError, match="never goes back"):
        engine.observe_time(999)


def test_two_vips_with_equal_probes_share_one_check() -> None:
    bench = Bench(config=two_vips(), settled=False)
    assert len(bench.engine.gateways(0)) == 3
    both_read(bench, names(3), names(3))
    bench.writes = False
    bench.advance(5_000)
    bench.kill("node1")
    bench.advance(10)
    removed = {r.vip: [s.removed for s in r.plan] for r in bench.engine.decide(bench.now_ms).routes}
    assert removed == {"web": [("node1",)], "other": [("node1",)]}
    assert len(bench.told("gateway.went_down")) == 1


def test_next_step_goes_over_the_vips_that_are_ready() -> None:
    bench = Bench(config=two_vips(), settled=False)
    both_read(bench, names(3), names(3))
    bench.writes = False
    bench.advance(5_000)
    bench.kill("node1")
    bench.advance(10)
    engine, now_ms = bench.engine, bench.now_ms
    first = engine.next_step(ROUTER, now_ms)
    second = engine.next_step(ROUTER, now_ms, ready=frozenset({"other"}))
    assert first is not None
    assert second is not None
    assert (first.vip, second.vip) == ("web", "other")
    assert engine.next_step(ROUTER, now_ms, ready=frozenset()) is None
    assert engine.next_step("nowhere", now_ms) is None


def test_a_write_that_only_waits_for_the_router_is_wanted() -> None:
    bench = Bench(3)
    bench.disconnect()
    assert not bench.engine.write_wanted(ROUTER, bench.now_ms)
    bench.kill("node1")
    bench.advance(20)
    assert bench.engine.write_wanted(ROUTER, bench.now_ms)


def test_two_vips_with_different_probes_judge_a_gateway_each_for_itself() -> None:
    slow = tuple(CheckConfig(key=f"{name}/other", gateway=name, timing=CALM) for name in names(3))
    one = a_config(3)
    other = a_vip(3, name="other", checks=tuple(check.key for check in slow))
    config = replace(one, checks=(*one.checks, *slow), vips=(*one.vips, other))
    bench = Bench(config=config, settled=False, rows=rows_of(names(3)))
    both_read(bench, names(3), names(3))
    bench.writes = False
    bench.advance(5_000)
    both_read(bench, ("node2", "node3"), names(3))
    assert {r.vip: r.observed for r in bench.engine.decide(bench.now_ms).routes} == {
        "web": ("node2", "node3"),
        "other": names(3),
    }


def test_one_vip_below_its_floor_hurries_probes_for_all() -> None:
    """Two routes of one check: the one that is well must not slow down the one that is not."""
    bench = Bench(config=two_vips(min_healthy=3), settled=False)
    both_read(bench, names(3), names(3))
    bench.advance(5_000)
    bench.writes = False
    bench.kill("node1")
    bench.advance(2_000)
    before = len(bench.told("probe.finished"))
    bench.advance(2_000)
    assert len(bench.told("probe.finished")) - before >= 7
    assert bench.engine._checks["node1"].evidence.hurry


def test_probes_not_wanted_any_more_are_not_handed_out_and_not_kept() -> None:
    bench = Bench(1, settled=False)
    bench.engine.observe_time(0)
    (routine,) = bench.engine.decide(0).probes
    bench.engine.command(Recheck(gateway="node1"), 0)
    bench.engine.observe_time(0)
    (burst,) = bench.engine.decide(0).probes
    assert (routine.kind, burst.kind) == (ProbeKind.RISE, ProbeKind.BURST)
    assert set(bench.engine._due) == {burst.probe_id}
    bench.engine.command(Recheck(gateway="node1"), 0)
    evidence = bench.engine._checks["node1"].evidence
    del evidence.flights[burst.probe_id]
    assert bench.engine.observe_probe_started(burst.probe_id, 0) == ()


def test_a_wanted_probe_is_handed_out_until_its_start_is_reported() -> None:
    bench = Bench(1, settled=False)
    bench.engine.observe_time(0)
    (first,) = bench.engine.decide(0).probes
    assert bench.engine.decide(0).probes == (first,)
    bench.engine.observe_probe_started(first.probe_id, 0)
    assert bench.engine.decide(0).probes == ()


def test_a_ping_that_fails_starts_a_burst_but_is_no_evidence_in_it() -> None:
    """Only a fresh probe gives a verdict."""
    bench = Bench(3)
    bench.kill("node1")
    bench.engine.observe_time(bench.now_ms)
    ping = next(r for r in bench.engine.decide(bench.now_ms).probes if r.depth is ProbeDepth.PING)
    bench._begun.add(ping.probe_id)
    bench.engine.observe_probe_started(ping.probe_id, bench.now_ms)
    bench._take(
        bench.engine.observe_probe_finished(
            a_result(
                ping.probe_id,
                check=ping.check,
                depth=ping.depth,
                reason=ProbeReason.CONNECT_TIMEOUT,
                started_ms=bench.now_ms,
                finished_ms=bench.now_ms,
            ),
            bench.now_ms,
        )
    )
    burst = bench.engine._checks[ping.check].evidence.burst
    assert burst is not None
    assert {flight.request.depth for flight in burst.flights} == {ProbeDepth.FULL}


def test_facts_about_strangers_are_ignored() -> None:
    engine = Engine(a_config(3), 0)
    engine.observe_time(0)
    assert engine.observe_probe_started(99, 0) == ()
    assert engine.observe_probe_connected("nobody", 1, 0) == ()
    assert engine.observe_probe_connected("node1", 99, 0) == ()
    assert engine.observe_probe_finished(a_result(99), 0) == ()
    assert engine.observe_probe_finished(a_result(99, check="nobody"), 0) == ()
    assert engine.observe_held_opened("nobody", 0) == ()
    assert engine.observe_router_up(replace(some_facts(), router="other"), 0) == ()
    assert engine.observe_router_lost("other", "", 0) == ()


def test_a_result_without_a_reported_start_still_counts() -> None:
    bench = Bench(3)
    bench.command(Recheck(gateway="node1"))
    (request,) = [r for r in bench.engine.decide(bench.now_ms).probes if r.kind is ProbeKind.BURST]
    result = a_result(
        request.probe_id,
        started_ms=bench.now_ms,
        connected_ms=bench.now_ms,
        finished_ms=bench.now_ms,
    )
    bench._take(bench.engine.observe_probe_finished(result, bench.now_ms))
    assert bench.told("burst.ended")[0].get("result") == "passed"


# --- commands -----------------------------------------------------------------------------------


def test_a_drain_moves_the_gateway_out_and_back_without_hold_down() -> None:
    bench = Bench(3)
    drain = Drain(gateway="node1", owner="ann", reason="new disk")
    bench.command(drain)
    bench.advance(10)
    assert bench.state("node1") == "DRAIN"
    assert bench.members == ("node2", "node3")
    assert bench.told("route.changed")[0].get("reason") == "drain"
    assert bench.engine.drains == (drain,)
    bench.command(Undrain(gateway="node1"))
    bench.advance(1_000)
    assert bench.members == names(3)
    assert bench.told("gateway.undrained")[0].get("cause") == "asked"


def test_a_drain_ends_when_its_time_is_up() -> None:
    bench = Bench(3)
    bench.command(Drain(gateway="node1", until_ms=bench.now_ms + 5_000))
    bench.advance(4_999)
    assert bench.state("node1") == "DRAIN"
    bench.advance(1)
    assert bench.told("gateway.undrained")[0].get("cause") == "time is up"
    assert bench.state("node1") == "UP"


def test_drains_of_different_sources_end_apart() -> None:
    bench = Bench(3)
    bench.command(Drain(gateway="node1"))
    bench.command(Drain(gateway="node1", source="kubernetes"))
    bench.command(Undrain(gateway="node1"))
    assert bench.state("node1") == "DRAIN"
    bench.command(Undrain(gateway="node1", source="kubernetes"))
    bench.command(Undrain(gateway="node1", source="kubernetes"))
    assert bench.state("node1") == "UP"


def test_commands_that_make_no_sense_are_refused_with_what_would() -> None:
    bench = Bench(3)
    with pytest.raises(CommandRefused, match="known are node1, node2, node3"):
        bench.command(Drain(gateway="node9"))
    with pytest.raises(CommandRefused, match="known are"):
        bench.command(Recheck(gateway="node9"))
    with pytest.raises(CommandRefused, match="nothing to undo"):
        bench.command(Undrain(gateway="node1"))


def test_a_recheck_asks_with_full_probes_at_once() -> None:
    bench = Bench(3)
    bench.command(Recheck(gateway="node2"))
    assert bench.told("burst.started")[0].get("cause") == "recheck"
    bench.advance(5)
    assert bench.told("burst.ended")[0].get("result") == "passed"


# --- what is told -------------------------------------------------------------------------------


def test_a_change_carries_its_reason_and_evidence_and_times() -> None:
    bench = Bench(3)
    bench.kill("node1")
    bench.advance(10)
    (changed,) = bench.told("route.changed")
    assert dict(changed.fields) == {
        "vip": "web",
        "router": ROUTER,
        "added": (),
        "removed": ("node1",),
        "in_route": ("node2", "node3"),
        "reason": "refused",
        "class": "refused",
        "first_failure_at_ms": 5_000,
        "detect_ms": 3,
        "write_ms": 0,
        "total_ms": 3,
    }


def test_why_answers_from_memory_and_forgets_the_oldest() -> None:
    bench = Bench(3)
    assert bench.engine.trail("nobody") == ()
    for _ in range(40):
        bench.command(Recheck(gateway="node1"))
        bench.advance(20)
    assert len(bench.engine.trail("node1")) == TRAIL_LENGTH
    bench.kill("node1")
    bench.advance(10)
    told = [event.name for event in bench.engine.trail("node1")]
    assert {"sensor.tripped", "gateway.went_down", "route.changed"} <= set(told)
    bench.advance(100_000)
    assert told[-1] in {event.name for event in bench.engine.trail("node1")}, "not drowned"


def test_a_gateway_kept_or_let_go_is_told_once() -> None:
    bench = Bench(config=a_config(3, min_healthy=3))
    bench.hang("node1")
    bench.miss("node1")
    bench.advance(10_000)
    kept = [e for e in bench.told("gateway.kept") if e.severity.value != "debug"]
    assert [event.get("reason") for event in kept] == ["floor"]
    bench.answer("node1")
    bench.advance(5_000)
    assert bench.told("gateway.released")[-1].get("reason") == "floor"


def test_freezes_are_told_when_they_begin_and_end() -> None:
    bench = Bench(3, settled=False)
    bench.advance(5_000)
    frozen = [event.get("reason") for event in bench.told("route.frozen")]
    thawed = [event.get("reason") for event in bench.told("route.thawed")]
    assert frozen == thawed == ["warm_up"]
    assert {event.severity.value for event in bench.told("route.frozen")} == {"debug"}


def test_people_see_one_line_for_each_check() -> None:
    bench = Bench(3)
    bench.advance(1_000)
    shown = bench.gateway("node1")
    assert (shown.address, shown.check) == (hop("node1"), "node1")
    assert shown.last_outcome == "passed"
    assert shown.latency_us == 1_000
    assert shown.held
    assert shown.heartbeat
    assert shown.drains == ()
    fresh = Engine(a_config(1), 0).gateways(0)[0]
    assert (fresh.last_outcome, fresh.last_probe_ms, fresh.latency_us) == ("", None, 0)


def test_what_a_router_said_can_be_asked_for() -> None:
    bench = Bench(3)
    facts = bench.engine.router_facts(ROUTER)
    assert facts is not None
    assert facts.major == 7
    assert bench.engine.router_connected(ROUTER)
    own = bench.engine.own_rows(ROUTER, "web")
    assert own is not None
    assert own.members == names(3)


# --- configuration ------------------------------------------------------------------------------


def test_new_numbers_are_taken_and_a_moved_gateway_starts_anew() -> None:
    bench = Bench(3)
    old = a_config(3)
    fast = replace(old.checks[0], timing=ProbeTiming(interval_ms=500))
    moved = replace(old.gateways[1], address="10.0.1.2", next_hop="10.0.1.2")
    config = replace(
        old,
        checks=(fast, *old.checks[1:]),
        gateways=(old.gateways[0], moved, old.gateways[2]),
    )
    before = bench.engine._checks
    bench._take(bench.engine.configure(config, bench.now_ms))
    after = bench.engine._checks
    assert after["node1"] is before["node1"]
    assert after["node1"].evidence.timing.interval_ms == 500
    assert after["node2"] is not before["node2"]
    bench.advance(10)


def test_the_engine_drops_probes_of_checks_that_are_gone() -> None:
    bench = Bench(3, settled=False)
    bench.command(Recheck(gateway="node3"))
    bench._take(bench.engine.configure(a_config(2), 0))
    assert all(r.check != "node3" for r in bench.engine.decide(0).probes)
    result = a_result(1, check="node3")
    assert bench.engine.observe_probe_finished(result, 0) == ()


@pytest.mark.parametrize(("count", "floor"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (16, 8)])
def test_the_floor_is_half_of_the_gateways_rounded_up(count: int, floor: int) -> None:
    assert Bench(count).route.min_healthy == floor


def test_a_configuration_with_a_hole_is_a_bug_of_ours() -> None:
    config = a_config(2)
    with pytest.raises(AssertionError):
        replace(config, checks=(*config.checks, CheckConfig(key="x", gateway="nobody")))
    with pytest.raises(AssertionError):
        replace(config, jitter_permille=(60,))


def test_a_v6_list_with_words_of_its_own_is_read_and_written() -> None:
    """The router's spelling stays, and a step names gateways, not words."""
    row = replace(a_row("node1"), next_hops=(f"{hop('node1')}%bridge", hop("node2"), hop("node3")))
    bench = Bench(3, shape=RouteShape.LIST, rows=[row])
    bench.kill("node2")
    bench.advance(10)
    (planned,) = bench.steps
    assert isinstance(planned, PlannedStep)
    assert isinstance(planned.step, SetNextHops)
    assert planned.step.after == (f"{hop('node1')}%bridge", hop("node3"))
    assert planned.removed == ("node2",)


# --- early entries, end to end ------------------------------------------------------------------


def test_a_gateway_in_hold_down_enters_early_when_the_floor_is_missed() -> None:
    bench = Bench(3)
    bench.kill("node1")
    bench.advance(100)
    bench.answer("node1")
    bench.advance(5_000)
    assert (bench.state("node1"), bench.members) == ("WAIT", ("node2", "node3"))
    bench.kill("node2")
    bench.advance(10)
    assert bench.members == ("node1", "node3")
    assert bench.state("node1") == "UP"
    assert [e.get("reason") for e in bench.told("route.changed")][-1] in {"early", "refused"}
    bench.advance(60_000)
    assert bench.members == ("node1", "node3"), "and no hold-down takes it out again"


def test_while_all_members_are_bad_one_in_mid_rise_enters_and_its_verdict_is_void() -> None:
    bench = Bench(config=a_config(2, min_healthy=1))
    bench.kill("node1")
    bench.advance(100)
    assert bench.members == ("node2",)
    bench.answer("node1")
    bench.kill("node2")
    bench.advance(1_500)
    assert bench.members == ("node1",)
    assert bench.gateway("node1").verdict is None
    bench.advance(10_000)
    assert bench.state("node1") == "UP"
    assert bench.gateway("node1").hold_until_ms is None


def test_a_refused_login_is_told_also_when_the_session_was_lost_before() -> None:
    bench = Bench(3)
    bench.disconnect()
    now_ms = bench.now_ms
    told = [
        made.name
        for _ in range(2)
        for made in bench.engine.observe_router_lost(
            "hex", "the router refused the login", now_ms, login_refused=True
        )
    ]
    assert told == ["router.login_refused"]
