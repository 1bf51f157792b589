"""Deadlines in a time that stands still while we are stalled: virtual time, no socket."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.probes.timers import GRID_MS, STALL_LEAST_MS, WATCH_MS, Timers, on_grid
from tests.support.virtual_loop import FakeLoop


@dataclass
class Sleeper:
    """Notes when it is woken, and sleeps on for so long."""

    again_ms: list[int] = field(default_factory=list)
    woken: list[tuple[int, int]] = field(default_factory=list)

    def wake(self, lived_ms: int, now_ms: int, /) -> int | None:
        self.woken.append((lived_ms, now_ms))
        return lived_ms + self.again_ms.pop(0) if self.again_ms else None


class World:
    """Timers on a fake loop."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.stalls: list[int] = []
        self.timers = Timers(
            loop=cast("asyncio.AbstractEventLoop", self.loop),
            clock_ms=lambda: self.loop.now_ms,
            on_stall=lambda stall_ms, _now_ms: self.stalls.append(stall_ms),
        )


def test_sleepers_are_woken_in_order_and_again_as_they_wish() -> None:
    world = World()
    late, early = Sleeper(), Sleeper(again_ms=[15, 5])
    world.timers.add(late, 1_050)
    world.timers.add(early, 1_010)

    world.loop.run_until(1_100)

    assert [lived for lived, _ in early.woken] == [1_010, 1_025, 1_030]
    assert late.woken == [(1_050, 1_050)]
    assert world.stalls == []


def test_one_timer_serves_all_sleepers() -> None:
    world = World()
    for due_ms in (1_090, 1_050, 1_070, 1_050, 1_060):
        world.timers.add(Sleeper(), due_ms)

    assert sum(not handle.cancelled for handle in world.loop.handles) == 1


def test_a_timer_that_fires_early_wakes_nobody() -> None:
    world = World()
    sleeper = Sleeper()
    world.timers.add(sleeper, 1_010)
    (handle,) = world.loop.handles
    world.loop.handles.clear()
    world.loop.now_ms = 1_009
    handle.call()
    assert sleeper.woken == []

    world.loop.run_until(1_020)

    assert sleeper.woken == [(1_010, 1_010)]


def test_what_was_due_long_ago_is_no_stall() -> None:
    world = World()
    sleeper = Sleeper()
    world.timers.add(sleeper, 400)

    world.loop.run_until(1_001)

    assert len(sleeper.woken) == 1
    assert world.stalls == []


def test_lateness_is_a_stall_and_every_deadline_is_extended_by_it() -> None:
    world = World()
    watch, deadline = Sleeper(), Sleeper()
    world.timers.add(watch, 1_020)
    world.timers.add(deadline, 1_250)
    world.loop.run_until(1_000)
    world.timers.alive(1_000)

    world.loop.stall(100)
    world.loop.run_until(2_000)

    assert world.stalls == [80], "what is certain: from when the timer was due"
    assert deadline.woken[0][1] == 1_350, "as early as it can have begun: at the last sign of life"


def test_a_stall_cannot_have_begun_before_the_watch() -> None:
    world = World()
    watch, deadline = Sleeper(), Sleeper()
    world.timers.add(watch, 1_100)
    world.timers.add(deadline, 1_250)

    world.loop.stall(150)
    world.loop.run_until(2_000)

    assert world.stalls == [50]
    assert deadline.woken[0][1] == 1_250 + 50 + WATCH_MS


def test_a_socket_served_after_a_stall_does_not_hide_it() -> None:
    """The selector's events come before its timers."""
    world = World()
    watch, deadline = Sleeper(), Sleeper()
    world.timers.add(watch, 1_020)
    world.timers.add(deadline, 1_050)

    world.loop.stall(100)
    world.timers.alive(world.loop.now_ms)
    world.loop.run_until(2_000)

    assert world.stalls == [80]
    assert deadline.woken[0][1] == 1_150


def test_little_lateness_is_how_a_loop_lives() -> None:
    world = World()
    watch, deadline = Sleeper(), Sleeper()
    world.timers.add(watch, 1_020)
    world.timers.add(deadline, 1_250)

    world.loop.stall(20 + STALL_LEAST_MS - 1)
    world.loop.run_until(2_000)

    assert world.stalls == []
    assert deadline.woken[0][1] == 1_250


def test_one_stall_is_counted_once() -> None:
    world = World()
    for due_ms in (1_010, 1_020, 1_030):
        world.timers.add(Sleeper(), due_ms)

    world.loop.stall(130)
    world.loop.run_until(2_000)

    assert world.stalls == [120]


def test_a_sleepers_bug_does_not_put_the_others_to_sleep() -> None:
    class Faulty:
        def wake(self, _lived_ms: int, _now_ms: int, /) -> int | None:
            raise ZeroDivisionError

    world = World()
    sleeper = Sleeper()
    world.timers.add(Faulty(), 1_010)
    world.timers.add(sleeper, 1_010)

    with pytest.raises(ZeroDivisionError):
        world.loop.run_until(1_020)
    world.loop.run_until(1_020)

    assert len(sleeper.woken) == 1


def test_nobody_is_woken_after_the_end() -> None:
    world = World()
    sleeper = Sleeper()
    world.timers.add(sleeper, 1_010)

    world.timers.close()
    world.loop.run_until(2_000)

    assert sleeper.woken == []


@given(
    stalls=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 200)), max_size=12),
    length_ms=st.integers(1, 400),
)
def test_a_deadline_is_never_believed_early(stalls: list[tuple[int, int]], length_ms: int) -> None:
    """However we stall, a sleeper is given at least its length less what we were late unnoticed."""
    world = World()
    sleeper = Sleeper()
    watch = Sleeper(again_ms=[WATCH_MS] * 200)
    world.timers.add(watch, 1_000 + WATCH_MS)
    world.timers.add(sleeper, 1_000 + length_ms)
    stalled_ms = 0
    for awake_ms, stall_ms in stalls:
        world.loop.run_until(world.loop.now_ms + awake_ms)
        if not sleeper.woken:
            stalled_ms += stall_ms
        world.loop.stall(stall_ms)
    world.loop.run_until(world.loop.now_ms + 5_000)

    ((_, woken_ms),) = sleeper.woken
    noticed_ms = sum(world.stalls)
    assert woken_ms - 1_000 >= length_ms
    assert world.timers.stalled_ms >= noticed_ms
    assert noticed_ms <= sum(stall_ms for _, stall_ms in stalls)


@pytest.mark.parametrize(("lived_ms", "rounded"), [(0, 0), (1, GRID_MS), (GRID_MS, GRID_MS)])
def test_the_grid_rounds_up(lived_ms: int, rounded: int) -> None:
    assert on_grid(lived_ms) == rounded
