"""The clocks: integers, going forward, agreeing with asyncio's."""

import asyncio
from datetime import UTC, timedelta

from edged.system import clock


async def test_the_monotonic_clock_is_the_one_that_asyncio_sets_its_timers_by() -> None:
    before_ms = clock.monotonic_ms()
    loop_ms = asyncio.get_running_loop().time() * 1_000
    after_ms = clock.monotonic_ms()
    assert before_ms <= loop_ms <= after_ms + 1


def test_all_clocks_are_integers_of_the_unit_in_their_name() -> None:
    ms, us = clock.monotonic_ms(), clock.monotonic_us()
    assert isinstance(ms, int)
    assert isinstance(us, int)
    assert 0 <= us // 1_000 - ms < 1_000
    assert clock.boot_ms() >= clock.monotonic_ms() - 1


def test_wall_time_knows_that_it_is_utc() -> None:
    assert clock.wall().tzinfo is UTC
    assert clock.wall().utcoffset() == timedelta(0)
