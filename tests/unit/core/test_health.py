"""Health: how a gateway comes back, how long it is held down, what it is called (design 4.6).

Strips: a pass `P` or a failure `F` each second; `U` once the rise is complete, `.` before.
"""

import pytest

from edged.core.evidence import Finding
from edged.core.health import Health
from edged.core.types import DeathClass, Drain, GatewayState, HoldDown, Recheck, Undrain
from tests.support.core import DEFAULT, Bench, Manner, a_config, a_row, names


def a_finding(
    at_ms: int = 0,
    death: DeathClass = DeathClass.REFUSED,
    *,
    witness: str | None = "node2",
    first_sign_ms: int | None = None,
) -> Finding:
    start_ms = at_ms if first_sign_ms is None else first_sign_ms
    return Finding(
        death=death,
        witness=witness,
        burst_start_ms=start_ms,
        first_sign_ms=start_ms,
        ended_ms=at_ms,
        cause="held",
    )


def a_health() -> Health:
    return Health(hold_down=HoldDown(), now_ms=0)


def risen(health: Health, at_ms: int) -> int:
    """Let three passes and two clean seconds complete the rise; return the instant."""
    for offset_ms in (500, 1_000, 2_500):
        health.on_pass(at_ms + offset_ms, at_ms + offset_ms, DEFAULT)
    assert health.risen
    return at_ms + 2_500


# --- rise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probes", "states"),
    [
        pytest.param("PPP", "..U", id="three-passes-and-two-seconds"),
        pytest.param("PPFPPP", ".....U", id="a-failure-begins-anew"),
        pytest.param("PFPFPPP", "......U", id="again-and-again"),
        pytest.param("PPPFF", "..UUU", id="a-failure-after-the-rise-only-starts-a-burst"),
    ],
)
def test_a_rise_needs_three_passes_in_a_row(probes: str, states: str) -> None:
    health = a_health()
    shown = ""
    for second, sign in enumerate(probes):
        now_ms = second * 1_000
        if sign == "P":
            health.on_pass(now_ms, now_ms, DEFAULT)
        else:
            health.on_failure(now_ms)
        shown += "U" if health.risen else "."
    assert shown == states


def test_three_quick_passes_wait_for_two_seconds_without_a_failure() -> None:
    health = a_health()
    health.on_failure(1_000)
    for now_ms in (1_001, 1_002, 1_003):
        assert not health.on_pass(now_ms, now_ms, DEFAULT)
    assert health.next_deadline_ms(1_003, DEFAULT) == 3_000
    assert health.advance(2_999, DEFAULT) == ()
    assert health.advance(3_000, DEFAULT) == ("rose",)


def test_a_streak_in_progress_is_shown_as_a_fraction() -> None:
    bench = Bench(3)
    bench.kill("node1")
    bench.advance(1_000)
    assert bench.gateway("node1").progress == ""
    bench.answer("node1")
    seen = []
    for _ in range(400):
        bench.advance(10)
        seen.append(bench.gateway("node1").progress)
    assert [p for i, p in enumerate(seen) if i == 0 or seen[i - 1] != p] == [
        "",
        "1/3",
        "2/3",
        "3/3",
        "",
    ] or "1/3" in seen


# --- hold-down ----------------------------------------------------------------------------------


def test_hold_down_doubles_from_30_to_300_seconds() -> None:
    health = a_health()
    seen = []
    now_ms = 0
    for _ in range(6):
        health.on_verdict(a_finding(now_ms))
        health.on_left(now_ms)
        now_ms = risen(health, now_ms)
        assert health.hold_until_ms is not None
        seen.append((health.hold_until_ms - now_ms) // 1_000)
        assert health.state(drained=False) is GatewayState.WAIT
        assert health.advance(health.hold_until_ms - 1, DEFAULT)[:1] != ("up",)
        health.forget_at_ms = None
        now_ms = health.hold_until_ms
        assert "up" in health.advance(now_ms, DEFAULT)
        assert health.state(drained=False) is GatewayState.UP
    assert seen == [30, 60, 120, 240, 300, 300]


def test_leaving_twice_without_coming_back_counts_once() -> None:
    """Two routers show the same gateway leave."""
    health = a_health()
    health.on_verdict(a_finding(0))
    assert [health.on_left(0), health.on_left(5)] == [1, 1]


def test_hold_down_never_overflows() -> None:
    health = a_health()
    health.removals = 10_000
    assert health.hold_ms() == 300_000


def test_one_removal_is_forgotten_per_five_minutes_without_a_verdict() -> None:
    health = a_health()
    health.on_verdict(a_finding(0))
    health.on_left(0)
    now_ms = risen(health, 0)
    health.removals = 3
    assert health.next_deadline_ms(now_ms + 60_000, DEFAULT) == now_ms + 300_000
    happened = health.advance(now_ms + 299_999, DEFAULT)
    assert "forgot" not in happened
    assert health.removals == 3
    assert health.advance(now_ms + 300_000, DEFAULT) == ("forgot",)
    assert health.advance(now_ms + 900_000, DEFAULT) == ("forgot", "forgot")
    assert health.removals == 0
    assert health.forget_at_ms is None


def test_a_verdict_starts_the_five_minutes_anew() -> None:
    health = a_health()
    health.on_verdict(a_finding(0))
    health.on_left(0)
    now_ms = risen(health, 0)
    health.advance(now_ms + 200_000, DEFAULT)
    health.on_verdict(a_finding(now_ms + 250_000))
    assert health.forget_at_ms is None
    again_ms = risen(health, now_ms + 250_000)
    assert health.forget_at_ms == again_ms + 300_000


def test_a_verdict_in_the_hold_down_returns_to_down_with_n_unchanged() -> None:
    health = a_health()
    health.on_verdict(a_finding(0))
    health.on_left(0)
    now_ms = risen(health, 0)
    health.on_failure(now_ms + 100)
    assert health.state(drained=False) is GatewayState.WAIT, "a single failure only starts a burst"
    health.on_verdict(a_finding(now_ms + 1_000))
    assert health.state(drained=False) is GatewayState.DOWN
    assert health.advance(now_ms + 31_000, DEFAULT) == (), "the old hold-down is over and done"
    now_ms = risen(health, now_ms + 60_000)
    assert health.removals == 1
    assert health.hold_until_ms == now_ms + 30_000


def test_a_gateway_that_never_left_is_up_without_hold_down() -> None:
    bench = Bench(config=a_config(3, min_healthy=3))
    bench.hang("node1")
    bench.miss("node1")
    bench.advance(1_000)
    assert (bench.state("node1"), bench.kept("node1")) == ("DOWN", "floor")
    bench.answer("node1")
    bench.advance(4_000)
    assert bench.state("node1") == "UP"
    assert bench.gateway("node1").removals == 0


def test_planned_removals_do_not_count() -> None:
    bench = Bench(3)
    bench.command(Drain(gateway="node1"))
    bench.advance(10)
    assert bench.members == ("node2", "node3")
    bench.kill("node1")
    bench.advance(5_000)
    bench.answer("node1")
    bench.advance(5_000)
    bench.command(Undrain(gateway="node1"))
    bench.advance(10)
    assert bench.gateway("node1").removals == 0
    assert bench.members == names(3)


def test_flapping_is_told_from_the_third_removal_on() -> None:
    bench = Bench(3)
    for _ in range(3):
        bench.kill("node1")
        bench.advance(1_000)
        bench.answer("node1")
        bench.advance(4_000 + bench.engine._checks["node1"].health.hold_ms())
    told = bench.told("gateway.flapping")
    assert [event.get("removals") for event in told] == [3]


# --- states -------------------------------------------------------------------------------------


def test_the_first_of_down_drain_wait_degraded_up_is_shown() -> None:
    health = a_health()
    assert health.state(drained=False) is GatewayState.UNKNOWN
    now_ms = risen(health, 0)
    assert health.state(drained=False) is GatewayState.UP
    health.set_cause("bgp", now_ms, present=True)
    assert health.state(drained=False) is GatewayState.DEGRADED
    health.on_left(now_ms)
    health._hold(now_ms)
    assert health.state(drained=False) is GatewayState.WAIT
    assert health.state(drained=True) is GatewayState.DRAIN
    health.on_verdict(a_finding(now_ms))
    assert health.state(drained=True) is GatewayState.DOWN


def test_what_the_route_holds_at_the_start_is_presumed_up() -> None:
    bench = Bench(3, members=("node1", "node2"), settled=False)
    bench.turn()
    assert [bench.state(name) for name in names(3)] == ["UP", "UP", "UNKNOWN"]
    assert bench.waits("node3") == "rise"


def test_a_gateway_outside_at_the_start_needs_a_rise_and_no_hold_down() -> None:
    bench = Bench(3, members=("node1", "node2"), settled=False)
    bench.advance(2_900)
    assert bench.state("node3") == "UP"
    assert bench.members == ("node1", "node2"), "warm-up"
    bench.advance(200)
    assert bench.members == names(3)


# --- degraded -----------------------------------------------------------------------------------


def test_degraded_ends_after_two_seconds_without_its_cause() -> None:
    health = a_health()
    now_ms = risen(health, 0)
    assert health.set_cause("bgp", now_ms, present=True)
    assert not health.set_cause("node", now_ms, present=True), "degraded already"
    health.set_cause("bgp", now_ms, present=False)
    assert health.degraded
    assert health.clear_since_ms is None, "another cause stands"
    health.set_cause("node", now_ms + 1_000, present=False)
    assert not health.set_cause("node", now_ms + 1_100, present=False)
    assert health.next_deadline_ms(now_ms + 1_000, DEFAULT) == now_ms + 3_000
    assert health.advance(now_ms + 2_999, DEFAULT) == ()
    assert health.advance(now_ms + 3_000, DEFAULT) == ("undegraded",)
    assert health.state(drained=False) is GatewayState.UP


def test_one_that_left_degraded_returns_through_hold_down() -> None:
    bench = Bench(3)
    bench._take(bench.engine.observe_degradation("node1", "bgp", bench.now_ms, present=True))
    bench._take(bench.engine.observe_degradation("nobody", "bgp", bench.now_ms, present=True))
    bench.advance(10)
    assert bench.members == ("node2", "node3")
    assert bench.gateway("node1").causes == ("bgp",)
    bench._take(bench.engine.observe_degradation("node1", "bgp", bench.now_ms, present=False))
    bench.advance(2_010)
    assert bench.state("node1") == "WAIT"
    bench.advance(29_900)
    assert bench.members == ("node2", "node3")
    bench.advance(200)
    assert bench.members == names(3)


def test_a_removal_for_degradation_is_forgotten_too() -> None:
    bench = Bench(3)
    bench._take(bench.engine.observe_degradation("node1", "bgp", bench.now_ms, present=True))
    bench.advance(10)
    assert bench.gateway("node1").removals == 1
    bench._take(bench.engine.observe_degradation("node1", "bgp", bench.now_ms, present=False))
    bench.advance(300_000)
    assert bench.gateway("node1").removals == 0


# --- verdicts -----------------------------------------------------------------------------------


def test_a_verdict_is_known_bad_only_while_witnessed_fresh_and_not_passed_since() -> None:
    health = a_health()

    def known_bad() -> bool:
        assert health.verdict is not None
        return health.verdict.known_bad

    health.on_verdict(a_finding(100, witness=None))
    assert not known_bad()
    health.on_verdict(a_finding(200))
    assert known_bad()
    health.mark_stale()
    assert not known_bad()
    health.on_verdict(a_finding(300))
    assert known_bad()
    health.on_pass(299, 310, DEFAULT)
    assert known_bad(), "that probe had left before the burst began"
    health.on_pass(300, 310, DEFAULT)
    assert not known_bad()


def test_a_silence_lasts_until_a_pass_or_another_class() -> None:
    health = a_health()

    def silent(at_ms: int) -> tuple[int | None, int | None]:
        health.on_verdict(a_finding(at_ms, DeathClass.SILENT, first_sign_ms=at_ms - 150))
        assert health.verdict is not None
        return health.verdict.silent_since_ms, health.verdict.silent_at_ms

    assert silent(1_000) == (850, 1_000)
    assert silent(2_000) == (850, 1_000)
    health.on_pass(2_500, 2_501, DEFAULT)
    assert silent(3_000) == (2_850, 3_000)
    health.on_verdict(a_finding(4_000, DeathClass.ILL))
    assert silent(5_000) == (4_850, 5_000)


def test_a_burst_begun_before_an_early_entry_removes_nobody() -> None:
    """Entering voids the old verdict; only a burst begun later removes it (design 5.4)."""
    health = a_health()
    health.on_verdict(a_finding(100))
    health.on_left(150)
    health.on_entered_early(1_000)
    assert health.state(drained=False) is GatewayState.UP
    assert not health.owes_hold_down
    health.on_verdict(a_finding(1_010, first_sign_ms=990))
    assert health.verdict is not None
    assert health.verdict.stale
    health.on_verdict(a_finding(1_020, first_sign_ms=1_000))
    assert not health.verdict.stale


def test_after_an_early_entry_the_rise_brings_no_hold_down() -> None:
    health = a_health()
    health.on_verdict(a_finding(100))
    health.on_left(150)
    health.on_entered_early(1_000)
    risen(health, 1_000)
    assert health.hold_until_ms is None
    assert health.removals == 1


def test_an_early_entry_out_of_the_hold_down_ends_it() -> None:
    health = a_health()
    health.on_verdict(a_finding(100))
    health.on_left(150)
    now_ms = risen(health, 150)
    health.on_entered_early(now_ms + 10)
    assert health.state(drained=False) is GatewayState.UP
    assert health.hold_until_ms is None


def test_presuming_up_needs_ignorance() -> None:
    health = a_health()
    health.presume_up(10)
    health.presume_up(20)
    assert health.since_ms == 10
    health.on_verdict(a_finding(30))
    health.presume_up(40)
    assert health.state(drained=False) is GatewayState.DOWN


# --- the words people read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        (Manner.REFUSE, "refused"),
        (Manner.SILENT, "silent"),
        (Manner.HANG, "http_timeout"),
        (Manner.GARBAGE, "http_invalid"),
    ],
)
def test_a_down_gateway_says_its_class_or_what_makes_it_ill(manner: Manner, reason: str) -> None:
    bench = Bench(3)
    bench.behave("node1", manner, 1)
    bench.miss("node1")
    bench.advance(600)
    assert bench.gateway("node1").reason == reason
    assert bench.told("gateway.went_down")[0].get("reason") == reason


def test_a_failing_gateway_that_is_still_up_says_why_it_fails() -> None:
    bench = Bench(3)
    bench.behave("node1", Manner.GARBAGE)
    bench.command(Recheck(gateway="node1"))
    bench.advance(10)
    assert (bench.state("node1"), bench.gateway("node1").reason) == ("UP", "http_invalid")


def test_coming_back_tells_how_long_it_was_down_and_how_long_it_waits() -> None:
    bench = Bench(3)
    bench.kill("node1")
    bench.advance(1_000)
    bench.answer("node1")
    bench.advance(40_000)
    waiting, came_up = bench.told("gateway.waiting")[0], bench.told("gateway.came_up")[0]
    assert waiting.get("hold_down_ms") == 30_000
    assert waiting.get("until_ms") == came_up.at_ms
    assert bench.members == names(3)


def test_a_row_enabled_by_a_person_counts_as_a_member_at_once() -> None:
    bench = Bench(3, members=("node1", "node2"), settled=False)
    bench.edit(lambda rows: [*rows[:2], a_row("node3")])
    assert bench.state("node3") == "UP"
