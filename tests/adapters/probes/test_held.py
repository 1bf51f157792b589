"""The held connection as a tripwire, and its heartbeat."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from edged.core.types import ProbeDepth, ProbeOutcome, ProbeReason
from edged.probes.frames import ACK, PING, SETTINGS, frame
from tests.support.gateways import (
    PREFACE,
    Conductor,
    StandIn,
    auto,
    close_when_spoken_to,
    http2,
    over_tls,
    raw,
)
from tests.support.probing import CHECK, QUICK, Bench, bench, eventually, target_at

LIGHT, FULL, WITNESS = ProbeDepth.LIGHT, ProbeDepth.FULL, ProbeDepth.PING
NO_HEARTBEAT = replace(QUICK, heartbeat=False)


@asynccontextmanager
async def holding(
    conductor: Conductor, *, heartbeat: bool = True
) -> AsyncIterator[tuple[Bench, StandIn]]:
    """Run a bench that holds a connection to a gateway under the test's command."""
    timing = QUICK if heartbeat else NO_HEARTBEAT
    with StandIn(over_tls(conductor)) as gateway:
        try:
            async with bench(target_at(gateway.port, timing=timing)) as it:
                result = await it.probe(LIGHT)
                assert result.outcome is ProbeOutcome.PASSED, result
                assert it.runner.holds(CHECK)
                yield it, gateway
        finally:
            conductor.speaking.set()


def told(it: Bench) -> list[str]:
    """Return what was told about the held connection."""
    return [name for name in it.sink.names() if name.startswith(("held", "heartbeat"))]


async def until_pings(conductor: Conductor, count: int) -> None:
    """Wait until the gateway has got so many more PINGs."""
    wanted = conductor.pings + count
    await eventually(lambda: conductor.pings >= wanted)


async def test_a_light_probe_leaves_a_held_connection_that_beats() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, gateway):
        await until_pings(conductor, 5)

        assert gateway.accepted == 1
    assert told(it) == ["held_opened"]


async def test_no_heartbeat_leaves_when_it_is_off() -> None:
    conductor = Conductor()
    async with holding(conductor, heartbeat=False) as (it, _):
        await asyncio.sleep(0.05)
        assert conductor.pings == 1

        conductor.break_off()
        await it.sink.hears("held_lost")


async def test_an_unanswered_heartbeat_is_told_once_and_its_answer_once() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, _):
        conductor.speaking.clear()
        await it.sink.hears("heartbeat_missed")
        await asyncio.sleep(0.05)
        conductor.speaking.set()
        await it.sink.hears("heartbeat_heard")
        await until_pings(conductor, 4)

    assert told(it) == ["held_opened", "heartbeat_missed", "heartbeat_heard"]
    (missed,) = [call.args for call in it.sink.told if call.name == "heartbeat_missed"]
    late_ms = missed[1]
    assert isinstance(late_ms, int)
    assert QUICK.heartbeat_deadline_ms <= late_ms < QUICK.heartbeat_deadline_ms + 40


async def test_the_end_of_the_connection_is_told_as_lost() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, _):
        conductor.break_off()
        await it.sink.hears("held_lost")

        assert not it.runner.holds(CHECK)
        assert it.sink.told[-1].args == (CHECK, "closed by the gateway")


async def test_a_reset_is_told_as_lost() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, _):
        conductor.reset()
        await it.sink.hears("held_lost")

    reason = it.sink.told[-1].args[1]
    assert reason in {
        "ECONNRESET: Connection reset by peer",
        "EPIPE: Broken pipe",
        "closed by the gateway",  # CPython 3.11 takes a reset while reading for an EOF
    }


async def test_a_goodbye_is_no_loss_and_the_next_light_probe_holds_again() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, _):
        conductor.say_goaway()
        await it.sink.hears("held_goaway")
        assert not it.runner.holds(CHECK)

        await it.probe(LIGHT)
        await until_pings(conductor, 2)

    assert told(it) == ["held_opened", "held_goaway", "held_opened"]


@pytest.mark.parametrize(
    "bytes_said",
    [
        pytest.param(b"\xff" * 20, id="garbage"),
        pytest.param(frame(SETTINGS) * 1_100, id="a flood"),
        pytest.param(frame(PING, payload=bytes(8)) * 1_100, id="a flood of PINGs"),
        pytest.param(frame(PING, ACK, b"\xff" * 8), id="an answer nobody asked for"),
    ],
)
async def test_what_is_not_understood_closes_quietly(bytes_said: bytes) -> None:
    conductor = Conductor()
    async with holding(conductor, heartbeat=False) as (it, _):
        conductor.say(bytes_said)
        await it.sink.hears("held_goaway")

        assert not it.runner.holds(CHECK)
    assert told(it) == ["held_opened", "held_goaway"]


async def test_the_newer_light_probe_takes_over_without_a_loss() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, gateway):
        for _ in range(3):
            await it.probe(LIGHT)
        await until_pings(conductor, 2)

        assert gateway.accepted == 4
        assert told(it) == ["held_opened"] * 4


async def test_an_older_probe_that_ends_later_does_not_take_over() -> None:
    served: list[int] = []
    second_done = threading.Event()

    def script(tls: object) -> None:
        served.append(1)
        if len(served) == 1:
            second_done.wait(2)
        http2(tls)  # type: ignore[arg-type] # an SSLSocket, see `Script`

    with StandIn(over_tls(script)) as gateway:
        async with bench(target_at(gateway.port, timing=NO_HEARTBEAT)) as it:
            older = it.start(LIGHT, length_ms=1_000)
            await eventually(lambda: bool(served))
            await it.probe(LIGHT)
            second_done.set()
            result = await it.result(older)

    assert result.outcome is ProbeOutcome.PASSED
    assert told(it) == ["held_opened"]


async def test_a_gateway_that_says_goodbye_at_once_passes_and_is_not_held() -> None:
    goaway = frame(7, payload=bytes(8))
    answer = frame(SETTINGS) + goaway + frame(PING, ACK, b"\0" * 7 + b"\1")
    with StandIn(over_tls(raw(answer))) as gateway:
        async with bench(target_at(gateway.port)) as it:
            result = await it.probe(LIGHT)

            assert result.outcome is ProbeOutcome.PASSED
            assert not it.runner.holds(CHECK)
    assert told(it) == []


# --- witnesses ----------------------------------------------------------------------------------


async def test_a_witness_is_asked_on_the_held_connection() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, gateway):
        result = await it.probe(WITNESS)

        assert (result.outcome, result.depth) == (ProbeOutcome.PASSED, WITNESS)
        assert result.latency_us > 0
        assert gateway.accepted == 1


async def test_a_witness_without_a_held_connection_gets_a_light_probe() -> None:
    with StandIn(over_tls(auto())) as gateway:
        async with bench(target_at(gateway.port)) as it:
            result = await it.probe(WITNESS)

    assert (result.outcome, result.depth) == (ProbeOutcome.PASSED, LIGHT)


async def test_a_silent_witness_is_no_evidence() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, _):
        conductor.speaking.clear()
        result = await it.probe(WITNESS, length_ms=30)

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.CANCELLED)
    assert result.depth is WITNESS


async def test_a_witness_whose_connection_breaks_is_no_evidence() -> None:
    conductor = Conductor()
    async with holding(conductor) as (it, _):
        conductor.speaking.clear()
        asked = it.start(WITNESS, length_ms=2_000)
        conductor.break_off()
        result = await it.result(asked)

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.CANCELLED)
    assert "held_lost" in told(it)


async def test_a_question_outlives_the_handover() -> None:
    """The connection it was asked on is aborted, so it is asked again on the new one."""
    first_one = threading.Event()
    speaking = threading.Event()

    def script(tls: object) -> None:
        if not first_one.is_set():
            first_one.set()
            first = Conductor()
            first.speaking = speaking
            first(tls)  # type: ignore[arg-type] # an SSLSocket, see `Script`
        else:
            http2(tls)  # type: ignore[arg-type] # an SSLSocket, see `Script`

    speaking.set()
    with StandIn(over_tls(script)) as gateway:
        async with bench(target_at(gateway.port, timing=NO_HEARTBEAT)) as it:
            await it.probe(LIGHT)
            speaking.clear()
            asked = it.start(WITNESS, length_ms=2_000)
            await it.probe(LIGHT)
            result = await it.result(asked)
            speaking.set()

    assert (result.outcome, result.depth) == (ProbeOutcome.PASSED, WITNESS)


# --- gateways without HTTP/2 --------------------------------------------------------------------


def http1_only(tls: socket.socket) -> None:
    """Answer requests and refuse the preface, as a codec for HTTP/1 does."""
    data = tls.recv(4_096)
    refused = data.startswith(PREFACE)
    status = b"400 Bad Request" if refused else b"404 Not Found"
    tls.sendall(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\n\r\n")


async def test_a_gateway_without_http2_is_told_once_and_gets_full_probes() -> None:
    with StandIn(over_tls(http1_only)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            results = [await it.probe(depth) for depth in (LIGHT, LIGHT, WITNESS)]

            assert not it.runner.holds(CHECK)
            assert gateway.accepted == 4, "the first light probe takes two connections"

    assert [result.depth for result in results] == [FULL] * 3
    assert [result.http_status for result in results] == [404] * 3
    assert told(it) == ["heartbeat_unavailable"]
    (unavailable,) = [call for call in it.sink.told if call.name == "heartbeat_unavailable"]
    assert unavailable.args == (CHECK, "HTTP/1.1 400 Bad Request")
    assert it.sink.names().count("probe_connected") == 3


async def test_two_light_probes_at_once_tell_it_once() -> None:
    with StandIn(over_tls(http1_only)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            ids = [it.start(LIGHT), it.start(LIGHT)]
            results = [await it.result(probe_id) for probe_id in ids]

    assert [result.reason for result in results] == [None, None]
    assert told(it) == ["heartbeat_unavailable"]


async def test_another_gateway_is_tried_with_http2_again() -> None:
    with StandIn(over_tls(http1_only)) as old, StandIn(over_tls(auto())) as new:
        async with bench(target_at(old.port)) as it:
            before = await it.probe(LIGHT)
            it.runner.reconfigure({CHECK: target_at(new.port)})
            after = await it.probe(LIGHT)

    assert (before.depth, after.depth) == (FULL, LIGHT)


async def test_a_gateway_that_was_gone_is_tried_with_http2_again() -> None:
    with StandIn(over_tls(http1_only)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            before = await it.probe(LIGHT)
            gateway.close_listener()
            gone = await it.probe(FULL)
            with StandIn(over_tls(auto()), port=gateway.port):
                after = await it.probe(LIGHT)

    assert gone.reason is ProbeReason.REFUSED
    assert (before.depth, after.depth) == (FULL, LIGHT)


async def test_a_gateway_that_closes_on_the_preface_is_learnt() -> None:
    def script(tls: socket.socket) -> None:
        data = tls.recv(4_096)
        if not data.startswith(PREFACE):
            tls.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

    with StandIn(over_tls(script)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            results = [await it.probe(depth) for depth in (LIGHT, FULL, LIGHT, FULL, LIGHT)]

    reasons = [result.reason for result in results]
    closed = ProbeReason.HTTP_CLOSED
    assert reasons == [closed, None, closed, None, None]
    assert told(it) == ["heartbeat_unavailable"]


async def test_a_close_after_the_greeting_is_no_refusal_of_http2() -> None:
    """It speaks HTTP/2 and dies on each PING: that is a fault, and stays one."""

    def script(tls: socket.socket) -> None:
        greeting = frame(SETTINGS)
        data = tls.recv(4_096)
        tls.sendall(greeting if data.startswith(PREFACE) else b"HTTP/1.1 404 x\r\n\r\n")

    with StandIn(over_tls(script)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            results = [await it.probe(depth) for depth in (LIGHT, FULL, LIGHT, FULL, LIGHT)]

    closed = ProbeReason.HTTP_CLOSED
    assert [result.reason for result in results] == [closed, None, closed, None, closed]
    assert told(it) == []


async def test_a_light_pass_forgets_earlier_closes() -> None:
    """Two restarts of Envoy, days apart, do not make it a gateway without HTTP/2."""
    closing = [True, False, True]

    def script(tls: ssl.SSLSocket) -> None:
        data = tls.recv(4_096)
        if not data.startswith(PREFACE):
            tls.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")
        elif not closing.pop(0):
            http2(tls, data)

    with StandIn(over_tls(script)) as gateway:
        async with bench(target_at(gateway.port, timing=NO_HEARTBEAT)) as it:
            results = [await it.probe(depth) for depth in (LIGHT, LIGHT, LIGHT, FULL)]

    closed = ProbeReason.HTTP_CLOSED
    assert [result.reason for result in results] == [closed, None, closed, None]
    assert "heartbeat_unavailable" not in told(it)


async def test_our_acknowledgement_follows_the_answer() -> None:
    """Envoy may take a peer that never acknowledges its SETTINGS for a broken one."""
    conductor = Conductor()
    async with holding(conductor, heartbeat=False):
        await eventually(lambda: conductor.acknowledged == 1)


async def test_a_dying_gateway_is_not_taken_for_one_without_http2() -> None:
    with StandIn(over_tls(close_when_spoken_to)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            results = [await it.probe(depth) for depth in (LIGHT, FULL, LIGHT, FULL, LIGHT)]

    assert {result.reason for result in results} == {ProbeReason.HTTP_CLOSED}
    assert told(it) == []
