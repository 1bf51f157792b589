"""Probes and held connections against a real Envoy with a listener of Cilium's shape."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edged.core.types import ProbeDepth, ProbeOutcome, ProbeReason
from edged.probes.certificate import client_context
from edged.probes.exchanges import USER_AGENT
from edged.probes.trace import trace
from tests.support.certificates import WILDCARD, pair
from tests.support.envoy import Envoy
from tests.support.parts import require_part
from tests.support.probing import CHECK, QUICK, Bench, bench, eventually, target_at

pytestmark = pytest.mark.integration

LIGHT, FULL, WITNESS = ProbeDepth.LIGHT, ProbeDepth.FULL, ProbeDepth.PING
MOST_PROBES = 5
"""The core asks as often after a lost connection: once, and four times after 3 ms each."""
GENEROUS_MS = 2_000
"""A deadline for what must pass on a busy machine."""


@asynccontextmanager
async def gateway(
    folder: Path,
    *,
    server_name: str = "edged-probe.example.test",
    path: str = "/.well-known/edged",
    **options: Any,  # noqa: ANN401 - see `Envoy`
) -> AsyncIterator[tuple[Envoy, Bench]]:
    """Start an Envoy and a bench for it."""
    with Envoy(require_part("envoy"), folder, **options) as envoy:
        target = target_at(envoy.port, address=envoy.address, server_name=server_name, path=path)
        async with bench(target) as it:
            yield envoy, it


async def test_light_and_full_probes_pass_and_only_full_ones_are_logged(tmp_path: Path) -> None:
    """No route, no back end, no access-log line: Envoy answers a light probe in its codec."""
    async with gateway(tmp_path) as (envoy, it):
        lights = [await it.probe(LIGHT, length_ms=GENEROUS_MS) for _ in range(30)]
        full = await it.probe(FULL, length_ms=GENEROUS_MS)
        witness = await it.probe(WITNESS)
        envoy.stop()  # flushes the log
        lines = envoy.access_lines()

    assert {light.reason for light in lights} == {None}
    assert (full.outcome, full.http_status) == (ProbeOutcome.PASSED, 404)
    assert (witness.outcome, witness.depth) == (ProbeOutcome.PASSED, WITNESS)
    assert lines == [f"/.well-known/edged {USER_AGENT} 404"]


@pytest.mark.parametrize(("path", "status"), [("/ok", 200), ("/unavailable", 503)])
async def test_any_final_answer_passes(tmp_path: Path, path: str, status: int) -> None:
    async with gateway(tmp_path, path=path) as (_, it):
        full = await it.probe(FULL, length_ms=GENEROUS_MS)

    assert (full.outcome, full.http_status) == (ProbeOutcome.PASSED, status)


async def test_a_server_name_envoy_does_not_know_is_reset(tmp_path: Path) -> None:
    async with gateway(tmp_path, server_name="edged-probe.example.net") as (_, it):
        reasons = [(await it.probe(depth)).reason for depth in (LIGHT, FULL)]

    assert reasons == [ProbeReason.TLS_RESET] * 2


async def test_a_killed_envoy_is_noticed_in_milliseconds_and_its_successor_serves(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as (envoy, it):
        await it.probe(LIGHT, length_ms=GENEROUS_MS)
        killed = time.monotonic()
        envoy.kill()
        await it.sink.hears("held_lost")
        noticed_ms = (time.monotonic() - killed) * 1_000
        reasons: list[ProbeReason | None] = []
        while reasons[-1:] != [ProbeReason.REFUSED] and len(reasons) < MOST_PROBES:
            reasons.append((await it.probe(FULL)).reason)
            await asyncio.sleep(0.003)
        envoy.restart()
        after = await it.probe(LIGHT, length_ms=GENEROUS_MS)

    assert noticed_ms < 200
    assert reasons[-1] is ProbeReason.REFUSED
    assert set(reasons) <= {ProbeReason.REFUSED, ProbeReason.TLS_RESET}, "it may accept once more"
    assert after.outcome is ProbeOutcome.PASSED
    assert it.sink.names().count("held_opened") == 2


async def test_a_stopped_envoy_misses_heartbeats_and_is_heard_again(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (envoy, it):
        await it.probe(LIGHT, length_ms=GENEROUS_MS)
        envoy.freeze()
        await it.sink.hears("heartbeat_missed")
        hung = await it.probe(FULL, length_ms=100)
        envoy.thaw()
        await it.sink.hears("heartbeat_heard")
        after = await it.probe(FULL, length_ms=GENEROUS_MS)

    assert hung.reason is ProbeReason.TLS_TIMEOUT
    assert hung.connected_ms is not None, "the kernel accepts for a hung process"
    assert after.outcome is ProbeOutcome.PASSED
    assert "held_lost" not in it.sink.names()


async def test_a_replaced_listener_fails_nothing(tmp_path: Path) -> None:
    """Held connections of the old listener would be closed after its drain time: a false alarm."""
    new = pair(days=91)
    async with gateway(tmp_path, drain_time_s=1) as (envoy, it):
        await it.probe(LIGHT, length_ms=GENEROUS_MS)
        envoy.serve(new)
        results = []
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up and it.sink.names().count("certificate_seen") < 2:
            results.append(await it.probe(LIGHT, length_ms=GENEROUS_MS))
            await asyncio.sleep(0.02)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            results.append(await it.probe(LIGHT, length_ms=GENEROUS_MS))
            await asyncio.sleep(0.05)

    seen = [told.args[2] for told in it.sink.told if told.name == "certificate_seen"]
    assert seen == [pair().leaf_der, new.leaf_der]
    assert {result.reason for result in results} == {None}
    assert "held_lost" not in it.sink.names()


async def test_a_removed_listener_refuses(tmp_path: Path) -> None:
    """The held connection lives on while it drains: only a fresh probe sees it."""
    async with gateway(tmp_path, drain_time_s=30) as (envoy, it):
        await it.probe(LIGHT, length_ms=GENEROUS_MS)
        envoy.remove_listener()
        reason = None
        give_up = time.monotonic() + 5
        while reason is not ProbeReason.REFUSED and time.monotonic() < give_up:
            reason = (await it.probe(FULL, length_ms=GENEROUS_MS)).reason
            await asyncio.sleep(0.01)
        witness = await it.probe(WITNESS, length_ms=GENEROUS_MS)

        assert it.runner.holds(CHECK)
    assert reason is ProbeReason.REFUSED
    assert (witness.outcome, witness.depth) == (ProbeOutcome.PASSED, WITNESS)


async def test_an_idle_connection_is_left_with_a_goaway_and_no_alarm(tmp_path: Path) -> None:
    """PINGs are no activity to Envoy; its default is an hour, and we hold for a second."""
    async with gateway(tmp_path, idle_timeout="0.2s") as (_, it):
        await it.probe(LIGHT, length_ms=GENEROUS_MS)
        await it.sink.hears("held_goaway")
        again = await it.probe(LIGHT, length_ms=GENEROUS_MS)

    assert again.outcome is ProbeOutcome.PASSED
    assert "held_lost" not in it.sink.names()


async def test_a_listener_for_http1_only_is_told_once(tmp_path: Path) -> None:
    async with gateway(tmp_path, codec="HTTP1") as (_, it):
        depths = (LIGHT, FULL, LIGHT, FULL, LIGHT, LIGHT)
        results = [await it.probe(depth, length_ms=GENEROUS_MS) for depth in depths]

    assert [result.reason for result in results[-3:]] == [None] * 3
    assert [result.depth for result in results[-2:]] == [FULL] * 2
    assert it.sink.names().count("heartbeat_unavailable") == 1


async def test_heartbeats_go_on_between_light_probes(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (_, it):
        await it.probe(LIGHT, length_ms=GENEROUS_MS)
        held = it.runner._held[CHECK][1]
        before = held._pinging.acked
        await eventually(lambda: held._pinging.acked >= before + 10)

    assert QUICK.heartbeat
    assert "held_goaway" not in it.sink.names()


async def test_a_trace_shows_what_envoy_does(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (envoy, _):
        target = target_at(envoy.port, address=envoy.address)
        seen = await trace(target, verifying=client_context())

    assert seen.light.passed
    assert seen.full.passed
    assert (seen.full.http_status, seen.full.server) == (404, "envoy")
    assert seen.full.tls_version == "TLSv1.3"
    assert not seen.full.reaches_backend
    assert seen.certificate is not None
    assert seen.certificate.names == (WILDCARD,)
