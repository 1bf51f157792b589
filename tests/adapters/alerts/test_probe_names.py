"""Whether the probes' name is claimed by an HTTPRoute is looked at beside everything else."""

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from edged.config.load import load
from edged.core.events import Event
from edged.core.types import ProbeDepth
from edged.daemon.conversion import core_config, probe_targets
from edged.daemon.probe_names import watch_probe_names
from edged.probes.target import Target
from edged.probes.trace import ProbeTrace, Trace

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"
PROBE = ProbeTrace(
    depth=ProbeDepth.FULL,
    reason=None,
    detail="",
    tcp_us=1,
    tls_us=1,
    http_us=1,
    total_us=3,
)


@pytest.mark.parametrize("claimed", [True, False])
async def test_a_claimed_name_is_told(claimed: bool) -> None:  # noqa: FBT001 - a table
    config = load(EXAMPLE, {}, check_secrets=False).config
    core = core_config(config, Random(1))
    said: list[Event] = []
    asked: list[str] = []
    done = asyncio.Event()

    async def look(target: Target) -> Trace:
        asked.append(target.address)
        if len(asked) == 2:
            done.set()
        if len(asked) == 1:
            raise ConnectionResetError
        found = replace(PROBE, reaches_backend=claimed)
        return Trace(light=PROBE, full=found, certificate=None)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(
            watch_probe_names(
                lambda: core,
                lambda: probe_targets(config, core),
                said.append,
                look=look,
                first_s=0,
                interval_s=0.001,
            )
        )
        await done.wait()
        await asyncio.sleep(0)
        task.cancel()
    assert asked[:2] == [config.gateways[0].address] * 2
    assert [one.name for one in said[:1]] == (["probe.reaches_backend"] if claimed else [])
    assert all(one.get("gateway") == config.gateways[0].name for one in said)
