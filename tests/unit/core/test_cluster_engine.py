"""What the engine makes of the cluster: Pods that go, nodes that are not ready, who writes."""

import pytest

from edged.core.events import Event
from edged.core.types import FrozenReason, RouteShape
from tests.support.core import ROUTER, Bench, a_config, a_list, hop, names

SHAPES = [RouteShape.LIST, RouteShape.ROWS]


def inside(bench: Bench) -> tuple[str, ...]:
    return bench.engine.decide(bench.now_ms).routes[0].observed


def named(bench: Bench, name: str) -> list[Event]:
    return [event for event in bench.events if event.name == name]


def go(bench: Bench, name: str = "node2", *, grace_ms: int = 1_000) -> None:
    bench.engine.observe_pod_going(name, f"kube-system/envoy-{name}", grace_ms, bench.now_ms)


# --- Pods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pods_gateway_leaves_in_the_same_instant_and_returns_without_hold_down(
    shape: RouteShape,
) -> None:
    bench = Bench(shape=shape)
    go(bench)
    bench.turn()
    assert inside(bench) == ("node1", "node3")
    bench.advance(100)
    bench.kill("node2")
    bench.advance(500)
    (down,) = named(bench, "gateway.went_down")
    assert down.get("lead_ms") == 100
    bench.events.extend(bench.engine.observe_pod_gone("node2", bench.now_ms))
    bench.answer("node2")
    bench.advance(5_000)
    assert inside(bench) == names(3)
    assert named(bench, "gateway.waiting") == []


def test_a_replaced_envoy_rises_even_if_nobody_saw_it_fall() -> None:
    bench = Bench()
    go(bench)
    bench.turn()
    bench.engine.observe_pod_gone("node2", bench.now_ms)
    bench.turn()
    assert inside(bench) == ("node1", "node3")
    bench.advance(1_500)
    assert inside(bench) == ("node1", "node3")
    bench.advance(4_000)
    assert inside(bench) == names(3)


def test_the_floor_holds_a_pods_gateway_and_a_burst_watches_it() -> None:
    bench = Bench(config=a_config(3, min_healthy=3))
    go(bench)
    bench.advance(1)
    assert inside(bench) == names(3)
    assert [event.get("cause") for event in named(bench, "burst.started")] == ["pod"]
    bench.kill("node2")
    bench.advance(20)
    assert inside(bench) == ("node1", "node3")


def test_a_pod_that_serves_on_is_void_5_s_after_its_grace() -> None:
    bench = Bench()
    go(bench)
    bench.advance(5_900)
    assert inside(bench) == ("node1", "node3")
    bench.advance(2_000)
    assert inside(bench) == names(3)
    (warned,) = named(bench, "kube.warning_found")
    assert warned.get("kind") == "Pod"


def test_a_pod_that_is_down_after_its_grace_stays_announced() -> None:
    bench = Bench()
    go(bench)
    bench.turn()
    bench.kill("node2")
    bench.advance(20_000)
    assert [drain.source for drain in bench.engine.drains] == ["pod"]


# --- nodes --------------------------------------------------------------------------------------


def unready(bench: Bench, *gateways: str) -> None:
    for name in gateways:
        bench.engine.observe_node(name, ready=False, detail="stopped", now_ms=bench.now_ms)


def test_a_node_that_is_not_ready_degrades_its_gateway() -> None:
    bench = Bench()
    unready(bench, "node2")
    bench.advance(9_900)
    assert inside(bench) == names(3)
    bench.advance(500)
    assert inside(bench) == ("node1", "node3")
    assert named(bench, "gateway.degraded")[0].get("cause") == "node_not_ready"
    bench.engine.observe_node("node2", ready=True, detail="", now_ms=bench.now_ms)
    bench.advance(40_000)
    assert inside(bench) == names(3)


def test_many_nodes_not_ready_degrade_nobody_and_are_told_once() -> None:
    bench = Bench()
    unready(bench, "node2", "node3")
    bench.advance(60_000)
    assert inside(bench) == names(3)
    assert len(named(bench, "kube.warning_found")) == 1


# --- who writes ---------------------------------------------------------------------------------


def frozen(bench: Bench) -> set[FrozenReason]:
    return {one.reason for one in bench.engine.decide(bench.now_ms).routes[0].frozen}


def writer(bench: Bench, *, writes: bool, sure: bool = True) -> None:
    bench.events.extend(bench.engine.observe_writer(bench.now_ms, writer=writes, sure=sure))


def test_who_does_not_write_takes_the_others_changes_for_nobodys_edit() -> None:
    bench = Bench(shape=RouteShape.LIST)
    bench.advance(20_000)
    writer(bench, writes=False)
    assert FrozenReason.NOT_WRITER in frozen(bench)
    bench.edit(lambda _: [a_list(["node1", "node3"])])
    assert named(bench, "route.human_edited") == []

    bench.rows = [a_list(["node1", "node2"])]  # the other's last word, not read by us yet
    writer(bench, writes=True)
    assert FrozenReason.UNCERTAIN in frozen(bench)  # nothing is written before a read
    bench.read()
    assert named(bench, "route.human_edited") == []
    bench.advance(3_000)
    assert inside(bench) == names(3)
    bench.advance(20_000)
    bench.edit(lambda _: [a_list(["node1"])])
    assert len(named(bench, "route.human_edited")) == 1


def test_an_unsure_writer_looks_before_it_writes() -> None:
    bench = Bench(shape=RouteShape.LIST)
    bench.advance(20_000)
    writer(bench, writes=True, sure=False)
    bench.writes = False
    bench.kill("node2")
    bench.advance(1_000)
    assert bench.wanted() is None
    assert bench.engine.read_wanted(ROUTER, bench.now_ms)
    bench.read()
    assert bench.wanted() is not None


def test_an_unsure_writer_yields_to_the_first_change_that_is_not_its_own() -> None:
    bench = Bench(shape=RouteShape.LIST)
    bench.advance(20_000)
    writer(bench, writes=True, sure=False)
    bench.edit(lambda _: [a_list(["node1", "node3"])])
    bench.advance(5_000)
    assert bench.rows[0].next_hops == (hop("node1"), hop("node3"))
    assert FrozenReason.NOT_WRITER in frozen(bench)
    assert [event.name for event in bench.events if event.name.startswith("lease.")] == [
        "lease.lost"
    ]
    writer(bench, writes=True)
    bench.read()
    bench.advance(2_000)
    assert inside(bench) == names(3)


# --- discovered ---------------------------------------------------------------------------------


def test_a_gateway_that_was_never_up_does_not_raise_the_floor() -> None:
    for uncounted, floor in (((), 2), (("node3",), 1)):
        bench = Bench(3, config=a_config(3, uncounted=uncounted))
        assert bench.engine.decide(bench.now_ms).routes[0].min_healthy == floor
