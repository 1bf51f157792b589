"""When to connect again, and how long to wait for an answer: numbers, no sockets."""

import random

from hypothesis import given
from hypothesis import strategies as st

from edged.router.link import LIVED_MS, Backoff, RouterTiming
from edged.router.session import CommandDeadline


class _Middle(random.Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def _delays(backoff: Backoff, count: int, *, login_refused: bool = False) -> list[tuple[int, int]]:
    found = []
    for _ in range(count):
        backoff.observe_lost(lived_ms=0, login_refused=login_refused)
        found.append(backoff.next_delays_ms())
    return found


def test_reconnects_slow_down_to_30_s_but_to_2_s_while_a_write_is_wanted() -> None:
    backoff = Backoff(RouterTiming(), _Middle())
    assert _delays(backoff, 7) == [
        (1_000, 1_000), (2_000, 2_000), (4_000, 2_000), (8_000, 2_000), (16_000, 2_000),
        (30_000, 2_000), (30_000, 2_000),
    ]  # fmt: skip


def test_refused_credentials_slow_down_to_5_min_and_are_not_hurried() -> None:
    backoff = Backoff(RouterTiming(), _Middle())
    delays = _delays(backoff, 8, login_refused=True)
    assert [delay for delay, _ in delays] == [
        5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000,
    ]  # fmt: skip
    assert all(usual == hurried for usual, hurried in delays)


def test_the_first_reconnect_after_a_working_session_is_at_once() -> None:
    backoff = Backoff(RouterTiming(), _Middle())
    _delays(backoff, 5)
    backoff.observe_lost(lived_ms=LIVED_MS, login_refused=False)
    assert backoff.next_delays_ms() == (0, 0)
    assert _delays(backoff, 1) == [(1_000, 1_000)]


def test_a_session_that_dies_young_is_no_working_one() -> None:
    backoff = Backoff(RouterTiming(), _Middle())
    backoff.observe_lost(lived_ms=LIVED_MS - 1, login_refused=False)
    assert backoff.next_delays_ms() == (1_000, 1_000)


def test_other_trouble_ends_the_wait_for_credentials() -> None:
    backoff = Backoff(RouterTiming(), _Middle())
    _delays(backoff, 4, login_refused=True)
    assert _delays(backoff, 1) == [(1_000, 1_000)]


@given(st.integers(0, 2**32), st.lists(st.booleans(), min_size=1, max_size=60))
def test_jitter_never_leaves_the_bounds(seed: int, refused: list[bool]) -> None:
    backoff = Backoff(RouterTiming(), random.Random(seed))
    for login_refused in refused:
        backoff.observe_lost(lived_ms=0, login_refused=login_refused)
        usual, hurried = backoff.next_delays_ms()
        assert 800 <= hurried <= usual <= (300_000 if login_refused else 30_000)
        assert login_refused or hurried <= 2_000


def test_a_deadline_doubles_to_5_s_and_returns_when_answers_are_quick() -> None:
    deadline = CommandDeadline()
    grown = []
    for _ in range(4):
        deadline.observe_timeout()
        grown.append(deadline.ms)
    assert grown == [2_000, 4_000, 5_000, 5_000]
    deadline.observe_answer(900_000)
    assert deadline.ms == 5_000
    deadline.observe_answer(400_000)
    assert deadline.ms == 1_000
