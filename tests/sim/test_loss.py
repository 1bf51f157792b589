"""How often random packet loss alone takes a gateway out: a sanity check of promise P4.

Every packet of every probe and heartbeat is lost with the same chance, each way; TCP sends again as
it does (a SYN after 1 s, data after 200 ms). The usual run is short, because the real rate is far
below one in a year; `EDGED_LOSS_HOURS=<h>` simulates longer.
"""

import os
from typing import Final

import pytest

from edged.core.types import ProbeTiming
from tests.sim.world import World, make_config

HOURS: Final = float(os.environ.get("EDGED_LOSS_HOURS", "0.1"))
HOUR_MS: Final = 3_600_000


def lossy_world(loss: float, seed: int, *, timing: ProbeTiming | None = None) -> World:
    """Return a settled world of three gateways on a lossy network that nobody judges but us."""
    world = World(make_config(3, timing=timing), seed=seed)
    world.run_for(10_000)
    world.strict = False  # a false removal is counted here, not raised
    for gateway in world.gateways.values():
        gateway.loss = loss
    for name in world.gateways:
        world.set_slow(name, 1)  # heartbeats are planned anew, with the loss
    world.events.clear()
    return world


def count(world: World, name: str) -> int:
    """Count and forget the events of a name."""
    return sum(1 for _ in world.told(name))


@pytest.mark.parametrize("loss", [0.001, 0.01], ids=["0.1%", "1%"])
def test_random_loss_removes_nobody(loss: float) -> None:
    world = lossy_world(loss, seed=int(loss * 1_000))
    bursts = verdicts = 0
    end_ms = world.now_ms + int(HOURS * HOUR_MS)
    while world.now_ms < end_ms:
        world.run_for(60_000)
        bursts += count(world, "burst.started")
        verdicts += count(world, "check.fell")
        world.events.clear()
    hours = HOURS * len(world.gateways)
    removed = len(world.removed)
    print(  # noqa: T201 - the figures are what a long run is for
        f"loss {loss:.1%}: {hours:.1f} gateway hours, {bursts} bursts, {verdicts} verdicts, "
        f"{removed} removed",
    )
    assert bursts > hours * loss * 20_000, "the loss has to be felt, or nothing was tried"
    # P4 speaks of 0.1 %; at 1 % one removal a gateway and month is still no crying wolf.
    assert removed <= hours * (1 / 8_760 if loss < 0.005 else 1 / 720) + 1


def test_heavy_loss_is_called_flaky_and_lossy() -> None:
    world = lossy_world(0.05, seed=5)
    world.run_for(300_000)
    assert any(world.told("gateway.flaky"))
    assert any(snapshot.lossy for snapshot in world.engine.gateways(world.now_ms))
    assert len(world.removed) <= 2


def test_a_short_gap_now_and_then_counts_for_nothing() -> None:
    world = lossy_world(0.0, seed=7)
    for _ in range(60):
        world.cut_path("n2", cut=True)
        world.run_for(world.dice.randint(1, 150))
        world.cut_path("n2", cut=False)
        world.run_for(20_000)
    assert not world.removed
    assert any(world.told("burst.ended", gateway="n2", result="passed"))
