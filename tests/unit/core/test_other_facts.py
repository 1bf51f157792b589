"""Facts from BGP, the cluster and the lease, as far as the core acts on them (design 7, 8)."""

from dataclasses import replace

import pytest

from edged.core.bgp import BgpSessions, BgpWatch
from edged.core.types import BgpPolicy, CoreConfig, Opinion
from tests.support.core import ROUTER, Bench, a_config, names

ALL = {"node1": True, "node2": True, "node3": True}


def with_policy(policy: BgpPolicy) -> CoreConfig:
    return replace(a_config(3), bgp_policy=policy)


def a_bench(policy: BgpPolicy = BgpPolicy.DEGRADE) -> Bench:
    bench = Bench(config=with_policy(policy))
    bench.sessions(**ALL)
    return bench


# --- BGP ----------------------------------------------------------------------------------------


def test_a_lost_session_starts_a_burst_and_is_never_evidence() -> None:
    bench = a_bench()
    bench.sessions(**ALL | {"node1": False})
    assert bench.told("burst.started")[0].get("cause") == "bgp"
    bench.advance(60_000)
    assert bench.members == names(3)
    bench.sessions(**ALL)
    assert bench.told("bgp.session_recovered")[0].get("lost_ms") == 60_000


def test_a_session_lost_for_five_minutes_degrades() -> None:
    bench = a_bench()
    bench.opinion = Opinion.ALIVE
    bench.sessions(**ALL | {"node1": False})
    bench.advance(299_000)
    assert bench.state("node1") == "UP"
    bench.advance(2_000)
    assert bench.state("node1") == "DEGRADED"
    assert bench.members == ("node2", "node3")


def test_a_lost_session_degrades_in_seconds_if_the_node_does_not_answer_the_router_either() -> None:
    bench = a_bench()
    bench.opinion = Opinion.DEAD
    bench.sessions(**ALL | {"node1": False})
    bench.advance(4_900)
    assert bench.state("node1") == "UP"
    bench.advance(200)
    assert bench.state("node1") == "DEGRADED"


def test_half_of_the_sessions_lost_together_degrade_nobody() -> None:
    bench = a_bench()
    bench.sessions(node1=False, node2=False, node3=True)
    bench.advance(400_000)
    assert [bench.state(name) for name in names(3)] == ["UP"] * 3
    assert set(bench.told("bgp.common_cause")[0].get("gateways") or ()) == {"node1", "node2"}  # type: ignore[arg-type]


def test_on_return_a_gateway_waits_for_the_session_it_once_had() -> None:
    bench = a_bench()
    bench.kill("node1")
    bench.sessions(**ALL | {"node1": False})
    bench.advance(1_000)
    bench.answer("node1")
    bench.advance(36_000)
    assert bench.waits("node1") == "entry_gate"
    bench.sessions(**ALL)
    bench.advance(100)
    assert bench.members == names(3)


@pytest.mark.parametrize("policy", [BgpPolicy.OBSERVE, BgpPolicy.OFF])
def test_another_policy_acts_on_nothing(policy: BgpPolicy) -> None:
    bench = a_bench(policy)
    bench.sessions(**ALL | {"node1": False})
    bench.advance(400_000)
    assert not bench.told("burst.started")
    assert bench.state("node1") == "UP"
    assert len(bench.told("bgp.session_lost")) == (policy is BgpPolicy.OBSERVE)


def test_a_list_that_cannot_be_read_says_nothing() -> None:
    bench = a_bench()
    bench.sessions(**ALL | {"node1": False})
    bench._take(bench.engine.observe_bgp(ROUTER, None, bench.now_ms))
    assert bench.engine.bgp_read_ms(ROUTER) is None
    bench.advance(400_000)
    assert bench.state("node1") == "UP"


def test_sessions_can_be_asked_for_and_a_missing_one_is_told_once() -> None:
    bench = Bench(3)
    for _ in range(2):
        bench.sessions(node1=True)
    shown = {view.gateway: view.established for view in bench.engine.bgp_sessions()}
    assert shown["node1"]
    assert bench.engine.bgp_read_ms(ROUTER) == bench.now_ms
    missing = {event.get("gateway") for event in bench.told("bgp.not_configured")}
    assert missing == {"node2", "node3"}
    assert len(bench.told("bgp.not_configured")) == 2


# --- the cluster --------------------------------------------------------------------------------


def not_ready(bench: Bench, *gateways: str, ready: bool = False) -> None:
    for name in gateways:
        bench._take(
            bench.engine.observe_node(name, ready=ready, detail="kubelet", now_ms=bench.now_ms)
        )


def test_a_node_not_ready_for_ten_seconds_is_degraded_for_as_long_as_it_lasts() -> None:
    bench = Bench(3)
    not_ready(bench, "node1")
    bench.advance(9_900)
    assert bench.state("node1") == "UP"
    bench.advance(200)
    assert bench.state("node1") == "DEGRADED"
    assert [view.gateway for view in bench.engine.nodes_not_ready] == ["node1"]
    not_ready(bench, "node1", ready=True)
    bench.advance(2_100)
    assert bench.state("node1") == "WAIT"


def test_half_of_the_nodes_not_ready_together_degrade_nobody() -> None:
    bench = Bench(3)
    not_ready(bench, "node1", "node2")
    bench.advance(20_000)
    assert [bench.state(name) for name in names(3)] == ["UP"] * 3
    assert bench.told("kube.warning_found")


def pod_going(bench: Bench, name: str, grace_ms: int = 1_000) -> None:
    bench._take(
        bench.engine.observe_pod_going(name, f"cilium-envoy-{name}", grace_ms, bench.now_ms)
    )


def pod_gone(bench: Bench, name: str) -> None:
    bench._take(bench.engine.observe_pod_gone(name, bench.now_ms))


def test_a_pod_being_deleted_takes_its_gateway_out_ahead_of_its_death() -> None:
    bench = Bench(3)
    pod_going(bench, "node1")
    pod_going(bench, "nobody")
    bench.advance(10)
    assert bench.members == ("node2", "node3")
    bench.kill("node1")
    bench.advance(500)
    pod_gone(bench, "node1")
    pod_gone(bench, "nobody")
    bench.answer("node1")
    bench.advance(6_000)
    assert bench.members == names(3), "rise, and no hold-down"
    assert bench.gateway("node1").removals == 0


def test_where_the_floor_holds_a_dying_pod_its_death_removes_it() -> None:
    bench = Bench(config=a_config(3, min_healthy=3))
    pod_going(bench, "node1", 60_000)
    bench.advance(10)
    assert bench.members == names(3)
    assert bench.told("burst.started")[0].get("cause") == "pod"
    bench.advance(1_000)
    bench.kill("node1")
    bench.advance(10)
    assert bench.members == ("node2", "node3")


def test_a_pod_that_the_floor_held_and_that_was_replaced_stays_a_member() -> None:
    bench = Bench(config=a_config(3, min_healthy=3))
    pod_going(bench, "node1", 60_000)
    bench.advance(100)
    pod_gone(bench, "node1")
    bench.advance(100)
    assert (bench.state("node1"), bench.members) == ("UP", names(3))


def test_a_pod_that_is_overdue_and_does_not_serve_stays_drained() -> None:
    bench = Bench(3)
    pod_going(bench, "node1")
    bench.advance(10)
    bench.kill("node1")
    bench.advance(20_000)
    assert not bench.told("kube.warning_found")
    assert bench.gateway("node1").drains


def test_who_does_not_write_takes_changes_as_the_others_work() -> None:
    bench = Bench(3)
    bench.advance(10_000)
    bench._take(bench.engine.observe_writer(bench.now_ms, writer=False))
    bench.edit(lambda rows: [replace(rows[0], disabled=True), *rows[1:]])
    assert not bench.told("lease.lost")
    assert not bench.told("route.human_edited")
    assert bench.route.observed == ("node2", "node3")


def test_a_gateway_dead_before_its_pod_is_gone_stays_down_until_it_rises() -> None:
    bench = Bench(3)
    bench.kill("node1")
    bench.advance(100)
    pod_going(bench, "node1")
    bench.advance(100)
    since_ms = bench.gateway("node1").since_ms
    pod_gone(bench, "node1")
    assert bench.state("node1") == "DOWN"
    assert bench.gateway("node1").since_ms == since_ms


def test_a_pod_replaced_before_anybody_saw_it_die_starts_the_rise_anew() -> None:
    bench = Bench(3)
    pod_going(bench, "node1")
    bench.advance(100)
    pod_gone(bench, "node1")
    assert bench.state("node1") == "UNKNOWN"
    assert bench.gateway("node1").since_ms == bench.now_ms
    bench.advance(4_000)
    assert bench.members == names(3)


def test_a_pod_that_serves_on_after_its_time_is_void_with_a_warning() -> None:
    bench = Bench(3)
    pod_going(bench, "node1")
    bench.advance(10_000)
    assert bench.told("kube.warning_found")[0].get("kind") == "Pod"
    assert bench.members == names(3)


# --- the lease ----------------------------------------------------------------------------------


def test_a_holder_that_cannot_renew_looks_before_it_writes() -> None:
    bench = Bench(3)
    bench.writes = False
    assert bench.engine.writer
    bench._take(bench.engine.observe_writer(bench.now_ms, writer=True, sure=False))
    bench.advance(10_000)
    bench.kill("node1")
    bench.advance(10)
    assert bench.wanted() is None
    assert bench.engine.read_wanted(ROUTER, bench.now_ms)
    bench.read()
    assert not bench.engine.read_wanted(ROUTER, bench.now_ms)
    assert bench.wanted() is not None


def test_the_first_change_it_did_not_make_ends_its_writing() -> None:
    bench = Bench(3)
    bench.advance(10_000)
    bench._take(bench.engine.observe_writer(bench.now_ms, writer=True, sure=False))
    bench.edit(lambda rows: [replace(rows[0], disabled=True), *rows[1:]])
    assert bench.told("lease.lost")
    assert not bench.told("route.human_edited")
    assert bench.frozen() == ["not_writer"]
    assert not bench.engine.writer


def test_it_yields_to_another_hand_in_its_first_ten_seconds_too() -> None:
    bench = Bench(3)
    bench._take(bench.engine.observe_writer(bench.now_ms, writer=True, sure=False))
    bench.edit(lambda rows: [replace(rows[0], disabled=True), *rows[1:]])
    assert bench.told("lease.lost")
    assert bench.frozen() == ["not_writer"]
    bench.advance(10_000)
    assert bench.steps == []


def test_a_session_that_is_up_shares_no_cause_with_one_that_is_down() -> None:
    watch = BgpWatch(ROUTER)
    watch.observe(BgpSessions(router=ROUTER, established=ALL), 0)
    watch.observe(BgpSessions(router=ROUTER, established=ALL | {"node1": False}), 5_000)
    assert not watch.common_cause("node2", names(3))
