"""BGP: a sign, a gate and a slow judgement, and never more than that."""

from edged.core.bgp import GATE_MS, BgpSessions, BgpWatch


def poll(watch: BgpWatch, now_ms: int, **established: bool) -> tuple[list[str], list[str]]:
    sessions = BgpSessions(router="hex", established=established)
    lost, back = watch.observe(sessions, now_ms)
    return lost, [name for name, _ in back]


def test_a_session_that_was_never_up_is_no_sign() -> None:
    watch = BgpWatch("hex")
    assert poll(watch, 0, a=False) == ([], [])
    assert watch.down_since_ms("a") is None


def test_a_lost_session_is_told_once_and_so_is_its_return() -> None:
    watch = BgpWatch("hex")
    poll(watch, 0, a=True, b=True)
    assert poll(watch, 5_000, a=False, b=True) == (["a"], [])
    assert poll(watch, 10_000, a=False, b=True) == ([], [])
    assert watch.down_since_ms("a") == 5_000
    assert poll(watch, 15_000, a=True, b=True) == ([], ["a"])
    assert watch.down_since_ms("a") is None


def test_a_peer_taken_out_of_the_configuration_is_not_lost_but_not_configured() -> None:
    watch = BgpWatch("hex")
    poll(watch, 0, a=True, b=True)
    assert poll(watch, 5_000, b=True) == ([], [])
    assert watch.down_since_ms("a") is None
    assert watch.not_configured(["a", "b"]) == ["a"]


def test_an_unreadable_list_neither_degrades_nor_delays() -> None:
    watch = BgpWatch("hex")
    poll(watch, 0, a=True)
    poll(watch, 5_000, a=False)
    watch.unreadable()
    assert watch.down_since_ms("a") is None
    assert not watch.established("a")


def test_half_of_the_sessions_lost_together_is_a_common_cause() -> None:
    watch = BgpWatch("hex")
    poll(watch, 0, a=True, b=True, c=True, d=True)
    poll(watch, 5_000, a=False, b=True, c=True, d=True)
    assert not watch.common_cause("a", "abcd")
    poll(watch, 60_000, a=False, b=False, c=True, d=True)
    assert watch.common_cause("a", "abcd")
    assert watch.common_cause("b", "abcd")


def test_sessions_lost_long_after_each_other_are_no_common_cause() -> None:
    watch = BgpWatch("hex")
    poll(watch, 0, a=True, b=True, c=True, d=True)
    poll(watch, 5_000, a=False, b=True, c=True, d=True)
    poll(watch, 400_000, a=False, b=False, c=True, d=True)
    assert not watch.common_cause("b", "abcd")


def test_a_router_that_has_booted_forgets_what_was_up() -> None:
    watch = BgpWatch("hex")
    poll(watch, 0, a=True)
    watch.forget()
    assert poll(watch, 5_000, a=False) == ([], [])
    assert watch.down_since_ms("a") is None


def test_a_gateway_without_a_peer_is_told_once() -> None:
    watch = BgpWatch("hex")
    poll(watch, 0, a=True)
    assert watch.not_configured(["a", "b"]) == ["b"]
    assert watch.not_configured(["a", "b"]) == []


def test_the_gate_is_three_minutes() -> None:
    assert GATE_MS == 180_000
