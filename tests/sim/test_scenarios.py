"""Named scenarios: one story each, told to the real engine in virtual time."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from edged.core.bgp import BgpSessions
from edged.core.events import Severity
from edged.core.types import (
    Drain,
    DropNextHop,
    HandOver,
    HoldDown,
    Pause,
    ProbeTiming,
    Refusal,
    Resume,
    RouteRow,
    RouteShape,
    SetDisabled,
    Undrain,
)
from tests.sim.world import (
    MARK,
    VIP,
    Cut,
    Mode,
    OpinionPolicy,
    World,
    make_config,
)

BOTH = pytest.mark.parametrize("shape", list(RouteShape), ids=lambda shape: shape.value)
LIST, ROWS = RouteShape.LIST, RouteShape.ROWS
NO_BEATS = ProbeTiming(heartbeat=False)


def quiet(
    count: int = 3,
    *,
    shape: RouteShape = LIST,
    opinion: OpinionPolicy = OpinionPolicy.HONEST,
    timing: ProbeTiming | None = None,
    restore: bool = False,
    min_healthy: int | None = None,
    members: tuple[str, ...] | None = None,
    own_host: frozenset[str] = frozenset(),
    seed: int = 1,
) -> World:
    """Return a world in which nothing has happened for a quarter of a minute."""
    config = make_config(
        count, timing=timing, restore=restore, min_healthy=min_healthy, own_host=own_host
    )
    world = World(config, shape=shape, opinion=opinion, members=members, seed=seed)
    world.run_for(15_000)
    if members is None:
        assert world.writes() == 0
        assert world.engine.settled
    return world


def gone(world: World, *names: str) -> Callable[[], bool]:
    """Say that these gateways have left the route."""
    return lambda: not set(names) & set(world.members())


def inside(world: World, *names: str) -> Callable[[], bool]:
    """Say that these gateways are in the route."""
    return lambda: set(names) <= set(world.members())


# --- one of them dies -----------------------------------------------------------------------------


@BOTH
def test_one_killed_envoy_leaves_within_20_ms_and_returns_after_its_hold_down(
    shape: RouteShape,
) -> None:
    world = quiet(shape=shape)
    world.set_mode("n2", Mode.KILLED)
    assert world.run_until(gone(world, "n2"), 100) <= 20
    world.run_for(10_000)
    world.set_mode("n2", Mode.SERVING)
    took_ms = world.run_until(inside(world, "n2"), 60_000)
    assert 30_000 < took_ms < 36_000
    world.run_for(100)
    assert world.writes() == 2
    changed = list(world.told("route.changed"))
    assert changed[0].get("removed") == ("n2",)
    assert changed[0].get("class") == "refused"
    assert changed[1].get("added") == ("n2",)


@pytest.mark.parametrize("seed", range(8))
def test_a_silent_node_leaves_within_500_ms(seed: int) -> None:
    world = quiet(seed=seed)
    world.run_for(37 * seed)
    world.set_mode("n2", Mode.SILENT)
    assert world.run_until(gone(world, "n2"), 2_000) <= 500


@pytest.mark.parametrize("seed", range(8))
def test_a_hung_envoy_leaves_within_700_ms(seed: int) -> None:
    world = quiet(seed=seed)
    world.run_for(37 * seed)
    world.set_mode("n2", Mode.HUNG)
    assert world.run_until(gone(world, "n2"), 2_000) <= 700


def test_without_heartbeats_the_routine_probe_finds_a_silent_node() -> None:
    world = quiet(timing=NO_BEATS)
    world.set_mode("n2", Mode.SILENT)
    assert world.run_until(gone(world, "n2"), 3_000) <= 1_600


def test_a_hung_envoy_without_heartbeats_gets_its_witness_in_the_first_burst() -> None:
    """The probes after a failed routine one keep a gap in which a witness can answer."""
    world = quiet(timing=NO_BEATS)
    world.set_mode("n2", Mode.HUNG)
    assert world.run_until(gone(world, "n2"), 3_000) <= 1_650
    fell = list(world.told("check.fell", gateway="n2"))
    assert len(fell) == 1
    assert fell[0].get("witness") in {"n1", "n3"}


def test_broken_tls_leaves_after_four_failures() -> None:
    world = quiet()
    world.set_mode("n2", Mode.TLS_BROKEN)
    assert world.run_until(gone(world, "n2"), 3_000) <= 1_500


def test_a_gateway_without_http2_is_judged_by_full_probes() -> None:
    world = quiet()
    world.set_mode("n2", Mode.HTTP1)
    world.run_for(30_000)
    assert inside(world, "n2")()
    assert len(list(world.told("probe.no_heartbeat", gateway="n2"))) == 1
    world.set_mode("n2", Mode.SILENT)
    assert world.run_until(gone(world, "n2"), 3_000) <= 1_600


def test_a_goaway_alone_removes_nobody() -> None:
    world = quiet()
    world.set_mode("n2", Mode.KILLED, goaway=True)
    world.set_mode("n2", Mode.SERVING)
    world.run_for(20_000)
    assert world.writes() == 0


def test_slow_answers_below_the_deadline_remove_nobody() -> None:
    world = quiet()
    world.set_slow("n2", 60)
    world.run_for(30_000)
    assert world.writes() == 0


# --- several, or everybody ------------------------------------------------------------------------


@BOTH
def test_two_of_three_rolling_each_leave_and_come_back(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    for name in ("n1", "n2"):
        world.set_mode(name, Mode.KILLED)
        world.run_until(gone(world, name), 100)
        world.run_for(8_000)
        world.set_mode(name, Mode.SERVING)
        world.run_for(4_000)
    world.run_until(inside(world, "n1", "n2", "n3"), 60_000)
    assert world.writes() <= 4


@pytest.mark.parametrize("mode", [Mode.KILLED, Mode.SILENT, Mode.HUNG])
@pytest.mark.parametrize("heartbeat", [False, True])
def test_an_outage_of_all_is_not_answered_by_a_flood(mode: Mode, *, heartbeat: bool) -> None:
    """Every 250 ms a burst of at most eight probes, and a few questions to possible witnesses."""
    world = quiet(16, timing=None if heartbeat else NO_BEATS)
    for name in world.gateways:
        world.set_mode(name, mode)
    world.run_for(5_000)
    started = world.probes_started
    world.run_for(5_000)
    assert (world.probes_started - started) / 16 / 5 < 60


@BOTH
def test_all_killed_at_once_keeps_the_last_and_returns_at_once(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    for name in ("n1", "n2", "n3"):
        world.set_mode(name, Mode.KILLED)
    world.run_for(20_000)
    assert world.members() == ("n1", "n2", "n3")
    assert set(world.kept().values()) <= {"last", "no_witness"}
    world.set_mode("n3", Mode.SERVING)
    assert world.run_until(gone(world, "n1", "n2"), 5_000) <= 1_500
    world.set_mode("n1", Mode.SERVING)
    world.set_mode("n2", Mode.SERVING)
    assert world.run_until(inside(world, "n1", "n2"), 60_000) <= 36_000


@pytest.mark.parametrize("offset_ms", [0, 150, 300, 450, 600, 750, 900])
def test_the_last_passing_one_dies_and_who_comes_back_first_is_in_at_once(offset_ms: int) -> None:
    world = quiet()
    world.set_mode("n1", Mode.KILLED)
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n1", "n2"), 2_000)
    world.set_mode("n3", Mode.KILLED)
    world.run_for(5_000 + offset_ms)
    assert world.members() == ("n3",)
    world.set_mode("n1", Mode.SERVING)
    assert world.run_until(inside(world, "n1"), 5_000) <= 300
    assert world.run_until(gone(world, "n3"), 5_000) <= 2_000


def test_a_sick_one_waits_until_somebody_who_passes_is_in_the_route() -> None:
    """The floor would let the first of two sick members go, but the other does not pass either."""
    world = quiet(3, min_healthy=1)
    world.set_mode("n3", Mode.KILLED)
    world.run_until(gone(world, "n3"), 100)
    world.set_mode("n3", Mode.SERVING)
    world.run_for(6_000)
    assert world.waiting() == {"n3": "hold_down"}
    world.set_mode("n1", Mode.TLS_BROKEN)
    world.set_mode("n2", Mode.TLS_BROKEN)
    world.run_until(lambda: world.members() == ("n3",), 5_000)
    assert any(world.told("gateway.kept", reason="last"))


def test_nobody_leaves_where_nobody_else_has_answered() -> None:
    """In the first instants the hung one still counts as passing, but it is no witness."""
    world = quiet(2)
    world.set_mode("n1", Mode.KILLED)
    world.set_mode("n2", Mode.HUNG)
    world.run_for(60)
    assert any(world.told("burst.started", gateway="n1"))
    world.run_for(20_000)
    assert world.writes() == 0
    assert world.kept()["n1"] in {"no_witness", "last"}


def test_a_frozen_route_does_not_chatter() -> None:
    world = quiet()
    world.command(Pause())
    world.set_mode("n2", Mode.KILLED)
    world.run_for(5_000)
    world.events.clear()
    world.run_for(60_000)
    loud = [e.name for e in world.events if e.severity is not Severity.DEBUG]
    assert not loud


def test_a_power_cut_of_one_node_leaves_a_working_route() -> None:
    world = quiet()
    world.set_mode("n3", Mode.SILENT)
    world.run_until(gone(world, "n3"), 500)
    world.run_for(60_000)
    world.set_mode("n3", Mode.SERVING)
    world.run_until(inside(world, "n3"), 40_000)


@BOTH
def test_a_power_cut_with_another_drained_asks_the_router_and_removes(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    world.command(Drain(gateway="n1"))
    world.run_until(gone(world, "n1"), 1_000)
    world.set_mode("n3", Mode.SILENT)
    assert world.run_until(gone(world, "n3"), 3_000) <= 2_000
    assert world.members() == ("n2",)


def test_two_of_three_lose_power_and_the_router_confirms() -> None:
    world = quiet()
    world.set_mode("n2", Mode.SILENT)
    world.set_mode("n3", Mode.SILENT)
    assert world.run_until(gone(world, "n2", "n3"), 4_000) <= 2_000
    assert world.members() == ("n1",)


@pytest.mark.parametrize("length_ms", [700, 5_000, 30_000])
@pytest.mark.parametrize("with_router", [False, True])
@pytest.mark.parametrize("heartbeat", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_our_own_switch_reboots_and_nobody_leaves(
    length_ms: int,
    *,
    with_router: bool,
    heartbeat: bool,
    seed: int,
) -> None:
    world = quiet(5, timing=None if heartbeat else NO_BEATS, seed=seed)
    world.pull_cable(with_router=with_router)
    world.run_for(length_ms)
    assert world.writes() == 0
    world.plug_cable(arp_spread_ms=1_000)
    world.run_for(60_000)
    assert world.writes() == 0
    assert world.engine.settled


@pytest.mark.parametrize("seed", range(6))
def test_who_comes_back_last_after_an_outage_of_two_is_not_alone(seed: int) -> None:
    """Found by the walk: both are silent, one is cleared at once, the other a little later."""
    world = quiet(4, opinion=OpinionPolicy.ALIVE, seed=seed)
    for length_ms in (250, 280, 310, 340):
        world.cut_path("n1", cut=True)
        world.cut_path("n4", cut=True)
        world.run_for(length_ms)
        world.cut_path("n1", cut=False)
        world.run_for(500)
        world.cut_path("n4", cut=False)
        world.run_for(10_000)
    assert world.writes() == 0


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("heartbeat", [False, True])
def test_a_gateway_on_our_own_host_is_no_witness(count: int, *, heartbeat: bool) -> None:
    world = quiet(count, timing=None if heartbeat else NO_BEATS, own_host=frozenset({"n1"}))
    for length_ms in (900, 4_000, 30_000):
        world.pull_cable(with_router=True)
        world.run_for(length_ms)
        world.plug_cable(arp_spread_ms=1_000 if length_ms > 1_000 else 0)
        world.run_for(20_000)
    assert world.writes() == 0
    assert world.engine.settled


def test_where_only_our_own_host_could_be_witness_the_router_is_one() -> None:
    world = quiet(2, own_host=frozenset({"n1"}))
    world.set_mode("n2", Mode.KILLED)
    assert world.run_until(gone(world, "n2"), 3_000) <= 600
    assert next(world.told("check.fell", gateway="n2")).get("witness") == "hex"


@pytest.mark.parametrize("link_error", [False, True])
def test_our_cable_is_out_and_nobody_leaves(*, link_error: bool) -> None:
    world = quiet()
    world.pull_cable(link_error=link_error)
    world.run_for(30_000)
    world.plug_cable()
    world.run_for(30_000)
    assert world.writes() == 0
    assert world.engine.settled


def test_who_really_died_during_our_outage_leaves_soon_after_it() -> None:
    world = quiet()
    world.pull_cable()
    world.run_for(20_000)
    world.set_mode("n2", Mode.SILENT)
    world.run_for(20_000)
    world.plug_cable(arp_spread_ms=1_000)
    assert world.run_until(gone(world, "n2"), 10_000) <= 5_500
    assert world.members() == ("n1", "n3")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_overload_of_all_removes_nobody(count: int) -> None:
    world = quiet(count)
    for name in world.gateways:
        world.set_slow(name, 400)
    world.run_for(30_000)
    assert world.writes() == 0
    for name in world.gateways:
        world.set_slow(name, 0)
    world.run_for(20_000)
    assert world.writes() == 0
    assert world.engine.settled


def test_overload_of_two_holds_both_until_one_recovers() -> None:
    world = quiet(5)
    world.set_mode("n1", Mode.HUNG)
    world.set_mode("n2", Mode.HUNG)
    world.run_for(15_000)
    assert world.writes() == 0
    assert set(world.kept().values()) == {"overload"}
    world.set_mode("n1", Mode.SERVING)
    assert world.run_until(gone(world, "n2"), 20_000) <= 13_000
    assert inside(world, "n1")()


# --- mass events and the router's opinion ---------------------------------------------------------


@pytest.mark.parametrize("heartbeat", [False, True])
def test_three_of_five_silent_and_the_router_says_dead(*, heartbeat: bool) -> None:
    world = quiet(5, timing=None if heartbeat else NO_BEATS)
    for name in ("n1", "n2", "n3"):
        world.set_mode(name, Mode.SILENT)
    world.run_until(gone(world, "n1", "n2", "n3"), 6_000)
    assert world.members() == ("n4", "n5")


@pytest.mark.parametrize("heartbeat", [False, True])
def test_three_of_five_unreachable_and_the_router_says_alive(*, heartbeat: bool) -> None:
    world = quiet(5, timing=None if heartbeat else NO_BEATS)
    for name in ("n1", "n2", "n3"):
        world.cut_path(name, cut=True)
    world.run_for(60_000)
    assert world.writes() == 0
    assert set(world.kept().values()) == {"second_opinion"}
    for name in ("n1", "n2", "n3"):
        world.cut_path(name, cut=False)
    world.run_for(20_000)
    assert world.writes() == 0
    assert world.engine.settled


def test_a_second_opinion_gives_way_to_a_forced_drain() -> None:
    world = quiet(5)
    for name in ("n1", "n2"):
        world.cut_path(name, cut=True)
    world.run_for(15_000)
    assert world.kept() == {"n1": "second_opinion", "n2": "second_opinion"}
    world.command(Drain(gateway="n1", force=True))
    world.run_until(gone(world, "n1"), 100)


@pytest.mark.parametrize("opinion", [OpinionPolicy.UNKNOWN, OpinionPolicy.SLOW])
def test_without_an_opinion_in_time_the_floor_bounds_a_mass_event(opinion: OpinionPolicy) -> None:
    world = quiet(5, opinion=opinion)
    for name in ("n1", "n2", "n3"):
        world.set_mode(name, Mode.SILENT)
    world.run_for(3_000)
    assert len(world.members()) == 3
    assert {"n4", "n5"} <= set(world.members())


def test_a_slow_opinion_still_counts_when_it_comes() -> None:
    world = quiet(5, opinion=OpinionPolicy.SLOW)
    for name in ("n1", "n2", "n3"):
        world.set_mode(name, Mode.SILENT)
    world.run_until(gone(world, "n1", "n2", "n3"), 30_000)


# --- the floor, hold-down, flapping ---------------------------------------------------------------


def test_the_floor_keeps_a_hung_one_and_lets_it_go_when_another_returns() -> None:
    world = quiet()
    world.command(Drain(gateway="n1"))
    world.run_until(gone(world, "n1"), 1_000)
    world.set_mode("n2", Mode.HUNG)
    world.run_for(20_000)
    assert world.members() == ("n2", "n3")
    assert world.kept() == {"n2": "floor"}
    world.command(Undrain(gateway="n1"))
    assert world.run_until(gone(world, "n2"), 5_000) <= 3_000
    assert world.members() == ("n1", "n3")


def test_below_the_floor_a_gateway_in_hold_down_enters_at_once() -> None:
    world = quiet()
    world.set_mode("n1", Mode.KILLED)
    world.run_until(gone(world, "n1"), 100)
    world.run_for(5_000)
    world.set_mode("n1", Mode.SERVING)
    world.run_for(6_000)
    assert world.waiting() == {"n1": "hold_down"}
    world.set_mode("n2", Mode.KILLED)
    assert world.run_until(lambda: world.members() == ("n1", "n3"), 1_000) <= 100


def test_a_crash_loop_is_let_in_rarely() -> None:
    world = quiet()
    begin_ms = world.now_ms
    while world.now_ms < begin_ms + 1_800_000:
        world.run_until(inside(world, "n2"), 600_000)
        world.run_for(1_000)
        world.set_mode("n2", Mode.KILLED)
        world.run_for(1_000)
        world.set_mode("n2", Mode.SERVING)
    added = [at_ms - begin_ms for at_ms, name in world.added if name == "n2"]
    assert sum(at_ms < 600_000 for at_ms in added) <= 7
    later = [at_ms for at_ms in added if at_ms > 600_000]
    gaps = [late - early for early, late in itertools.pairwise(later)]
    assert min(gaps) > 240_000
    assert any(world.told("gateway.flapping"))


@pytest.mark.parametrize("count", [1, 2, 3, 16])
@BOTH
def test_any_number_of_gateways_survives_the_death_of_all_but_one(
    count: int,
    shape: RouteShape,
) -> None:
    world = quiet(count, shape=shape)
    for index in range(1, count):
        world.set_mode(f"n{index + 1}", Mode.KILLED)
    world.run_for(20_000)
    assert world.members() == ("n1",)
    for index in range(1, count):
        world.set_mode(f"n{index + 1}", Mode.SERVING)
    world.run_for(60_000)
    assert len(world.members()) == count
    assert world.engine.settled


@pytest.mark.parametrize("mode", [Mode.KILLED, Mode.SILENT, Mode.HUNG])
def test_a_single_gateway_never_leaves(mode: Mode) -> None:
    world = quiet(1)
    world.set_mode("n1", mode)
    world.run_for(30_000)
    world.set_mode("n1", Mode.SERVING)
    world.run_for(30_000)
    assert world.writes() == 0
    assert world.engine.settled


@pytest.mark.parametrize("mode", [Mode.KILLED, Mode.SILENT])
def test_one_of_two_leaves(mode: Mode) -> None:
    world = quiet(2)
    world.set_mode("n1", mode)
    assert world.run_until(gone(world, "n1"), 3_000) <= 500


# --- drains ---------------------------------------------------------------------------------------


def test_a_drain_waits_at_the_floor_and_force_lowers_it() -> None:
    world = quiet()
    world.command(Drain(gateway="n1"))
    world.run_until(gone(world, "n1"), 100)
    world.command(Drain(gateway="n2"))
    world.run_for(5_000)
    assert world.kept() == {"n2": "floor"}
    world.command(Drain(gateway="n2", force=True))
    world.run_until(gone(world, "n2"), 100)
    world.command(Drain(gateway="n3", force=True))
    world.run_for(5_000)
    assert world.members() == ("n3",)
    assert world.kept() == {"n3": "last"}
    for name in ("n1", "n2", "n3"):
        world.command(Undrain(gateway=name))
    world.run_for(5_000)
    assert world.members() == ("n1", "n2", "n3")


def test_a_drain_that_waits_goes_when_the_floor_allows_it() -> None:
    world = quiet(4)
    world.set_mode("n1", Mode.KILLED)
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n1", "n2"), 1_000)
    world.command(Drain(gateway="n3"))
    world.run_for(5_000)
    assert world.kept() == {"n3": "floor"}
    world.set_mode("n1", Mode.SERVING)
    world.run_until(gone(world, "n3"), 60_000)


# --- restarts, stalls, suspends -------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("mode", [Mode.KILLED, Mode.SILENT, Mode.HUNG])
def test_a_restart_in_the_middle_of_an_outage_writes_nothing_needless(
    shape: RouteShape,
    mode: Mode,
) -> None:
    world = quiet(5, shape=shape)
    world.set_mode("n2", mode)
    world.run_until(gone(world, "n2"), 2_000)
    world.run_for(3_000)
    writes = world.writes()
    world.restart(away_ms=2_000)
    world.run_for(60_000)
    assert world.writes() == writes
    world.set_mode("n2", Mode.SERVING)
    took_ms = world.run_until(inside(world, "n2"), 20_000)
    assert took_ms <= 4_500 or mode is Mode.SILENT  # whose BGP session takes longer to return


def test_who_dies_while_edged_is_away_leaves_when_warm_up_ends() -> None:
    world = quiet()
    world.set_mode("n2", Mode.SILENT)
    world.run_for(50)
    world.restart(away_ms=1_000)
    assert world.run_until(gone(world, "n2"), 10_000) <= 4_500


def test_a_drain_survives_a_restart() -> None:
    world = quiet()
    world.command(Drain(gateway="n2"))
    world.run_until(gone(world, "n2"), 100)
    world.restart(away_ms=1_000)
    world.run_for(30_000)
    assert world.members() == ("n1", "n3")


@pytest.mark.parametrize("length_ms", [15, 60, 249, 600, 1_001, 5_000])
@pytest.mark.parametrize("seed", range(4))
def test_a_stall_of_ours_removes_nobody(length_ms: int, seed: int) -> None:
    world = quiet(seed=seed)
    for _ in range(30):
        world.run_for(world.dice.randint(50, 1_500))
        world.stall(length_ms)
        world.run_for(length_ms)
    world.run_for(10_000)
    assert world.writes() == 0
    assert world.engine.settled


def test_a_suspended_machine_warms_up_again() -> None:
    world = quiet()
    world.suspend(3_600_000)
    assert world.frozen() == {"warm_up"}
    world.run_for(20_000)
    assert world.frozen() == set()
    assert world.writes() == 0


# --- the router -----------------------------------------------------------------------------------


@BOTH
def test_a_verdict_that_fell_while_the_router_was_away_is_asked_again(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    world.reboot("hex", away_ms=40_000)
    world.run_for(10_000)
    world.set_mode("n2", Mode.KILLED)
    world.run_for(10_000)
    assert world.frozen() == {"router_lost"}
    assert world.run_until(gone(world, "n2"), 60_000) <= 24_000
    assert world.writes() == 1


def test_who_recovered_while_the_router_was_away_stays() -> None:
    world = quiet()
    world.reboot("hex", away_ms=40_000)
    world.run_for(5_000)
    world.set_mode("n2", Mode.KILLED)
    world.run_for(10_000)
    world.set_mode("n2", Mode.SERVING)
    world.run_for(60_000)
    assert world.writes() == 0
    assert world.engine.settled


@BOTH
def test_a_reboot_of_the_router_is_nobodys_edit(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n2"), 100)
    world.reboot("hex")
    world.run_for(90_000)
    assert any(world.told("router.rebooted"))
    assert not any(world.told("route.human_edited"))
    assert world.members() == ("n1", "n3")
    assert world.writes() == 1


@BOTH
def test_a_reboot_that_forgot_our_last_write_is_made_good(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    old = list(world.routers["hex"].rows)
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n2"), 100)
    world.run_for(1_000)
    world.reboot("hex")
    world.edit("hex", lambda _rows: old)
    world.run_for(90_000)
    assert not any(world.told("route.human_edited"))
    assert world.members() == ("n1", "n3")


@BOTH
@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
def test_a_session_cut_during_a_write_is_read_again_before_the_next(
    shape: RouteShape,
    cut: Cut,
) -> None:
    world = quiet(shape=shape)
    world.routers["hex"].cut = cut
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n2"), 10_000)
    world.run_for(20_000)
    assert world.writes() == (1 if cut is Cut.AFTER else 2)
    assert not any(world.told("route.human_edited"))
    assert any(world.told("route.write_uncertain"))
    assert len(list(world.told("route.changed"))) == 1


def test_a_refused_write_is_repeated_at_1_5_and_30_seconds() -> None:
    world = quiet()
    router = world.routers["hex"]
    router.refuses = Refusal.OTHER
    world.set_mode("n2", Mode.KILLED)
    world.run_for(70_000)
    times = [at_ms for at_ms, _ in router.writes]
    gaps = [late - early for early, late in itertools.pairwise(times)]
    assert [round(gap, -3) for gap in gaps] == [1_000, 5_000, 30_000, 30_000]
    router.refuses = None
    world.run_until(gone(world, "n2"), 40_000)


def test_a_refused_enabling_costs_nobody_else_its_place() -> None:
    world = quiet(2, shape=ROWS, members=("n1",))
    world.run_for(10_000)
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n2"), 1_000)
    world.routers["hex"].refuses = Refusal.UNKNOWN_PARAMETER
    world.set_mode("n2", Mode.SERVING)
    world.run_for(10_000)
    world.routers["hex"].refuses = None
    world.set_mode("n1", Mode.KILLED)
    world.run_for(60_000)


# --- people ---------------------------------------------------------------------------------------


def _without(hop: str) -> Callable[[list[RouteRow]], list[RouteRow]]:
    """Take a next hop out as a person would: from the list, or by disabling its row."""

    def change(rows: list[RouteRow]) -> list[RouteRow]:
        changed = []
        for row in rows:
            if MARK not in row.comment or hop not in row.next_hops:
                changed.append(row)
            elif len(row.next_hops) == 1:
                changed.append(replace(row, disabled=True))
            else:
                rest = tuple(h for h in row.next_hops if h != hop)
                changed.append(replace(row, next_hops=rest))
        return changed

    return change


@BOTH
def test_an_edit_by_a_person_is_left_alone_for_15_minutes(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    world.edit("hex", _without("10.0.0.2"))
    world.run_for(15_000)
    assert world.frozen() == {"human_edit"}
    assert len(list(world.told("route.human_edited"))) == 1
    world.set_mode("n1", Mode.KILLED)
    world.run_for(60_000)
    assert world.writes() == 0
    world.set_mode("n1", Mode.SERVING)
    world.run_for(900_000)
    assert world.frozen() == set()
    if shape is LIST:
        assert world.members() == ("n1", "n2", "n3")
    else:
        assert world.members() == ("n1", "n3")
        assert world.waiting() == {"n2": "human_hold"}
        world.command(Resume())
        world.run_until(inside(world, "n2"), 100)


@BOTH
def test_resume_takes_over_at_once(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    world.edit("hex", _without("10.0.0.2"))
    world.run_for(15_000)
    world.command(Resume())
    world.run_until(inside(world, "n2"), 100)


def test_a_row_that_a_person_disabled_is_enabled_by_a_person() -> None:
    world = quiet(shape=ROWS)
    world.edit("hex", _without("10.0.0.2"))
    world.run_for(920_000)
    assert world.members() == ("n1", "n3")

    def enable(rows: list[RouteRow]) -> list[RouteRow]:
        return [replace(row, disabled=False) for row in rows]

    world.edit("hex", enable)
    world.run_for(920_000)
    assert world.members() == ("n1", "n2", "n3")
    assert world.writes() == 0


@BOTH
def test_edits_are_restored_where_asked_until_contested(shape: RouteShape) -> None:
    world = quiet(shape=shape, restore=True)
    for _ in range(2):
        world.edit("hex", _without("10.0.0.2"))
        world.run_until(inside(world, "n2"), 11_000)
        world.run_for(11_000)
    world.edit("hex", _without("10.0.0.2"))
    world.run_for(30_000)
    world.edit("hex", _without("10.0.0.2"))
    world.run_for(60_000)
    assert world.frozen() == {"contested"}
    assert world.members() == ("n1", "n3")
    assert 2 <= world.writes() <= 3
    assert len(list(world.told("route.contested"))) == 1
    world.command(Resume())
    world.run_until(inside(world, "n2"), 100)


@BOTH
def test_a_deleted_row_is_put_back_after_two_reads(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    world.edit("hex", lambda rows: [row for row in rows if MARK not in row.comment])
    world.run_for(9_000)
    assert world.members() == ()
    world.command(Resume())
    world.run_until(inside(world, "n1", "n2", "n3"), 40_000)
    world.run_for(100)
    assert any(world.told("route.changed", reason="missing"))


def test_one_deleted_row_of_v7_is_made_again() -> None:
    world = quiet(shape=ROWS)
    world.edit("hex", lambda rows: [row for row in rows if "10.0.0.2" not in row.next_hops])
    world.run_for(15_000)
    assert world.frozen() == {"human_edit"}
    world.command(Resume())
    world.run_until(inside(world, "n2"), 5_000)


@BOTH
def test_an_unknown_next_hop_is_carried_along(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    stranger = "10.0.0.99"

    def add(rows: list[RouteRow]) -> list[RouteRow]:
        if shape is LIST:
            return [
                replace(row, next_hops=(*row.next_hops, stranger)) if MARK in row.comment else row
                for row in rows
            ]
        fresh = RouteRow(row_id="*77", next_hops=(stranger,), distance=10, comment=MARK)
        return [*rows, fresh]

    world.edit("hex", add)
    world.run_for(15_000)
    world.command(Resume())
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n2"), 1_000)
    assert stranger in world.routers["hex"].members()
    assert world.frozen() == {"unknown_next_hop"}
    world.command(DropNextHop(vip=VIP, next_hop=stranger))
    world.run_until(lambda: stranger not in world.routers["hex"].members(), 1_000)
    assert world.members() == ("n1", "n3")


@BOTH
def test_a_foreign_row_freezes_and_is_never_touched(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    foreign = RouteRow(row_id="*55", next_hops=("10.0.0.77",), distance=5, comment="by hand")
    world.edit("hex", lambda rows: [*rows, foreign])
    world.run_for(15_000)
    assert world.frozen() == {"foreign"}
    assert len(list(world.told("route.foreign_found"))) == 1
    world.set_mode("n2", Mode.KILLED)
    world.run_for(20_000)
    assert world.writes() == 0
    world.edit("hex", lambda rows: [row for row in rows if row.row_id != "*55"])
    world.run_until(gone(world, "n2"), 12_000)


# --- BGP, back ends -------------------------------------------------------------------------------


@BOTH
def test_a_hand_over_to_bgp_and_back(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    up = BgpSessions(router="hex", established=dict.fromkeys(world.gateways, True))
    world.engine.observe_bgp("hex", up, world.now_ms)
    world.command(HandOver(vip=VIP, to_bgp=True))
    world.run_until(lambda: world.members() == (), 100)
    world.run_for(30_000)
    assert world.members() == ()
    world.set_mode("n2", Mode.KILLED)
    world.run_for(20_000)
    assert world.members() == ()
    world.command(HandOver(vip=VIP, to_bgp=False))
    world.run_until(lambda: world.members() == ("n1", "n3"), 3_000)


def test_a_hand_over_to_a_bgp_route_without_a_session_is_refused() -> None:
    world = quiet()
    down = BgpSessions(router="hex", established=dict.fromkeys(world.gateways, False))
    world.engine.observe_bgp("hex", down, world.now_ms)
    assert not world.try_command(HandOver(vip=VIP, to_bgp=True))


def test_a_lost_session_alone_degrades_after_five_minutes() -> None:
    world = quiet()
    world.set_agent("n2", runs=False)
    world.run_for(290_000)
    assert world.writes() == 0
    assert any(world.told("bgp.session_lost", gateway="n2"))
    assert world.run_until(gone(world, "n2"), 60_000) > 10_000
    world.run_for(30_000)
    world.set_agent("n2", runs=True)
    assert world.run_until(inside(world, "n2"), 90_000) > 30_000


def test_a_roll_out_of_all_agents_degrades_nobody() -> None:
    world = quiet()
    for name in world.gateways:
        world.set_agent(name, runs=False)
        world.run_for(20_000)
    world.run_for(600_000)
    assert world.writes() == 0
    assert any(world.told("bgp.common_cause"))


def test_a_return_waits_for_the_session_three_minutes_at_most() -> None:
    world = quiet()
    world.set_mode("n2", Mode.SILENT)
    world.run_until(gone(world, "n2"), 1_000)
    world.run_for(20_000)
    world.set_agent("n2", runs=False)
    world.set_mode("n2", Mode.SERVING)
    world.run_for(60_000)
    assert world.waiting() == {"n2": "entry_gate"}
    assert world.run_until(inside(world, "n2"), 200_000) > 100_000


@BOTH
def test_a_restart_while_bgp_serves_changes_nothing(shape: RouteShape) -> None:
    world = quiet(shape=shape)
    world.command(HandOver(vip=VIP, to_bgp=True))
    world.run_until(lambda: world.members() == (), 100)
    world.run_for(1_000)
    writes = world.writes()
    world.restart(away_ms=1_000)
    world.run_for(30_000)
    assert world.writes() == writes
    world.command(HandOver(vip=VIP, to_bgp=False))
    world.run_until(lambda: world.members() == ("n1", "n2", "n3"), 3_000)


def test_a_hand_over_without_a_bgp_route_is_refused() -> None:
    world = quiet()
    world.edit("hex", lambda rows: [row for row in rows if not row.bgp])
    world.run_for(12_000)
    assert not world.try_command(HandOver(vip=VIP, to_bgp=True))
    world.run_for(5_000)
    assert world.writes() == 0


def test_a_lone_backend_error_is_degraded_and_leaves_above_the_floor() -> None:
    world = quiet()
    world.set_mode("n2", Mode.SERVER_ERROR)
    took_ms = world.run_until(gone(world, "n2"), 40_000)
    assert took_ms > 10_000
    assert any(world.told("gateway.degraded", gateway="n2", cause="backend_error"))
    world.set_mode("n2", Mode.SERVING)
    world.run_until(inside(world, "n2"), 60_000)


def test_backend_errors_of_all_are_only_reported() -> None:
    world = quiet()
    for name in world.gateways:
        world.set_mode(name, Mode.SERVER_ERROR)
    turns = world.turns
    world.run_for(60_000)
    assert world.writes() == 0
    assert any(world.told("probe.backend_error"))
    assert world.turns - turns < 60 * 3 * 10


# --- modes ----------------------------------------------------------------------------------------


def test_observe_mode_says_what_it_would_do_and_does_nothing() -> None:
    world = World(replace(make_config(3), enforce=False), seed=4)
    world.run_for(15_000)
    world.set_mode("n2", Mode.KILLED)
    world.run_for(20_000)
    assert world.writes() == 0
    assert world.frozen() == {"observing"}
    assert world.route().would


def test_who_does_not_hold_the_lease_writes_nothing() -> None:
    world = quiet()
    world.engine.observe_writer(world.now_ms, writer=False)
    world.set_mode("n2", Mode.KILLED)
    world.run_for(20_000)
    assert world.writes() == 0
    assert world.frozen() == {"not_writer"}
    world.engine.observe_writer(world.now_ms, writer=True)
    world.run_until(gone(world, "n2"), 11_000)


def test_two_routers_follow_each_on_its_own() -> None:
    world = World(make_config(3, routers=("hex", "rex")), seed=4)
    world.run_for(15_000)
    world.routers["rex"].reachable = False
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n2"), 100)
    assert "n2" in world.members("rex")
    world.run_for(15_000)
    world.routers["rex"].reachable = True
    world.run_until(lambda: "n2" not in world.members("rex"), 5_000)


# --- quiet ----------------------------------------------------------------------------------------


def test_a_quiet_day_writes_nothing_and_turns_little() -> None:
    world = quiet()
    turns = world.turns
    world.run_for(600_000)
    assert world.writes() == 0
    assert world.turns - turns < 600 * 3 * 5


def test_a_row_disabled_by_refusal_of_nobody_stays_ours() -> None:
    """A v7 row that edged disabled is enabled by edged again, not held as a person's."""
    world = quiet(shape=ROWS)
    world.set_mode("n2", Mode.KILLED)
    world.run_until(gone(world, "n2"), 100)
    steps = [planned.step for _, planned in world.routers["hex"].writes]
    assert isinstance(steps[0], SetDisabled)
    world.set_mode("n2", Mode.SERVING)
    world.run_until(inside(world, "n2"), 60_000)


def test_a_short_hold_down_is_configurable() -> None:
    config = make_config(3, hold_down=HoldDown(base_ms=2_000, max_ms=4_000))
    world = World(config, seed=3)
    world.run_for(10_000)
    world.set_mode("n1", Mode.KILLED)
    world.run_until(gone(world, "n1"), 100)
    world.set_mode("n1", Mode.SERVING)
    assert world.run_until(inside(world, "n1"), 20_000) <= 6_000
