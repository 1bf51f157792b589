"""The runner: what it reports, in which order, and what it leaves behind."""

import asyncio
import errno
import gc
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edged.core.types import ProbeDepth, ProbeOutcome, ProbeReason, ProbeTiming
from edged.probes.runner import (
    LOOK_GRACE_MS,
    MAX_HANDSHAKES,
    MAX_LOST_MS,
    MAX_PROBES_PER_CHECK,
    MAX_QUEUED_MS,
)
from edged.system import clock
from tests.support.certificates import pair
from tests.support.gateways import (
    PREFACE,
    StandIn,
    auto,
    hang,
    http1,
    http2,
    over_tls,
    raw,
    refused_port,
    reset,
    secure,
    server_context,
)
from tests.support.probing import CHECK, Told, bench, eventually, target_at

LIGHT, FULL, WITNESS = ProbeDepth.LIGHT, ProbeDepth.FULL, ProbeDepth.PING
CALM = ProbeTiming(heartbeat_interval_ms=250, heartbeat_deadline_ms=250)
HEAD = b"HTTP/1.1 404 Not Found\r\n\r\n"


def open_descriptors() -> int:
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# --- order and re-entrancy ----------------------------------------------------------------------


async def test_a_probe_is_started_connected_and_finished_in_this_order() -> None:
    with StandIn(over_tls(auto())) as gateway:
        async with bench(target_at(gateway.port)) as it:
            result = await it.probe(FULL)

    names = [name for name in it.sink.names() if name.startswith("probe")]
    assert names == ["probe_started", "probe_connected", "probe_finished"]
    assert result.connected_ms is not None
    assert result.started_ms <= result.connected_ms <= result.finished_ms


async def test_a_request_under_way_is_not_started_again() -> None:
    """The core hands the same request out until its start is reported."""
    with StandIn(over_tls(auto())) as gateway:
        async with bench(target_at(gateway.port)) as it:
            request = it.request(FULL)
            it.sink.hook = lambda told: (
                it.runner.start(request) if told.name == "probe_started" else None
            )
            it.runner.start(request)
            it.runner.start(request)
            await it.result(request.probe_id)

            assert gateway.accepted == 1
    assert it.sink.names().count("probe_started") == 1


async def test_only_the_start_is_reported_from_inside_start() -> None:
    async with bench(target_at(refused_port())) as it:
        for check in (CHECK, "unknown"):
            it.start(FULL, check=check)

        assert set(it.sink.names()) == {"probe_started"}


async def test_the_sink_may_start_a_probe_from_any_call() -> None:
    with StandIn(over_tls(auto())) as gateway:
        async with bench(target_at(gateway.port)) as it:
            begun: list[str] = []

            def start_once(told: Told) -> None:
                if told.name not in begun:
                    begun.append(told.name)
                    it.start(LIGHT)

            it.sink.hook = start_once
            it.start(LIGHT)
            await it.sink.until(lambda: len(it.sink.results) == len(begun) + 1)

    assert {"probe_started", "probe_connected", "probe_finished"} <= set(begun)
    assert {"held_opened", "certificate_seen"} <= set(begun)
    assert {result.outcome for result in it.sink.results} == {ProbeOutcome.PASSED}


@pytest.mark.parametrize("at", ["probe_started", "probe_connected", "certificate_seen"])
async def test_the_sink_may_abort_the_probe_it_is_told_about(at: str) -> None:
    with StandIn(over_tls(auto())) as gateway:
        async with bench(target_at(gateway.port)) as it:
            it.sink.hook = lambda told: it.runner.abort(1) if told.name == at else None
            result = await it.probe(FULL)

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.CANCELLED)
    assert it.sink.names().count("probe_finished") == 1


async def test_an_error_of_the_sink_is_no_gateways_fault() -> None:
    """It is a bug, which the loop's exception handler is told of."""
    bugs: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: bugs.append(context.get("exception")),
    )

    def fail(told: Told) -> None:
        if told.name == "probe_connected":
            raise ConnectionResetError("not the gateway's")

    with StandIn(over_tls(auto())) as gateway:
        async with bench(target_at(gateway.port)) as it:
            it.sink.hook = fail
            it.start(FULL)
            await it.sink.hears("probe_connected")
            await asyncio.sleep(0.01)

    assert [type(bug) for bug in bugs] == [ConnectionResetError]
    assert it.sink.results == []


# --- our own bounds and troubles ----------------------------------------------------------------


async def test_an_unknown_check_is_cancelled() -> None:
    async with bench(target_at(1)) as it:
        result = await it.probe(FULL, check="nobody")

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.CANCELLED)


async def test_too_many_probes_of_one_check_are_our_own_trouble() -> None:
    with StandIn(hang) as gateway:
        async with bench(target_at(gateway.port)) as it:
            for _ in range(MAX_PROBES_PER_CHECK):
                it.start(FULL, length_ms=1_000)
            result = await it.probe(FULL)

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.LOCAL_ERROR)


async def test_an_address_no_route_leads_to_is_our_own_trouble() -> None:
    """TCP to a multicast address is ENETUNREACH everywhere (Linux, tcp_v4_connect)."""
    async with bench(target_at(443, address="224.0.0.1")) as it:
        result = await it.probe(FULL)

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.LOCAL_ERROR)
    assert result.detail.startswith("ENETUNREACH")


EMFILE_SCRIPT = """
import asyncio, resource
from edged.core.types import ProbeDepth
from tests.support.probing import bench, target_at

async def main():
    async with bench(target_at(1)) as it:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        result = await it.probe(ProbeDepth.FULL)
        print(result.outcome, result.reason, result.detail)

asyncio.run(main())
"""


def test_no_free_descriptor_is_our_own_trouble() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", EMFILE_SCRIPT],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert finished.stdout.startswith("inconclusive local_error EMFILE"), finished.stderr


async def test_probes_that_are_over_do_not_count() -> None:
    async with bench(target_at(refused_port())) as it:
        reasons = {(await it.probe(FULL)).reason for _ in range(2 * MAX_PROBES_PER_CHECK)}

    assert reasons == {ProbeReason.REFUSED}


# --- ends ---------------------------------------------------------------------------------------


async def test_an_aborted_probe_leaves_no_descriptor() -> None:
    with StandIn(hang) as gateway:
        async with bench(target_at(gateway.port)) as it:
            before = open_descriptors()
            for moment, times in (("probe_started", 1), ("probe_connected", 1)):
                probe_id = it.start(FULL, length_ms=1_000)
                await it.sink.hears(moment, times=times)
                it.runner.abort(probe_id)
                it.runner.abort(probe_id)
                await it.result(probe_id)
            it.runner.abort(4_242)
            await eventually(lambda: gateway.accepted > 0)
            gateway.close()

            assert open_descriptors() <= before
    assert {result.reason for result in it.sink.results} == {ProbeReason.CANCELLED}


async def test_no_outcome_leaves_a_descriptor() -> None:
    servers = [auto(), raw(), http1(b"garbage\r\n\r\n")]
    async with bench(target_at(refused_port())) as it:
        await it.probe(FULL)
        before = open_descriptors()
        for script in servers:
            with StandIn(over_tls(script)) as gateway:
                it.runner.reconfigure({CHECK: target_at(gateway.port)})
                for depth in (LIGHT, FULL):
                    await it.probe(depth, length_ms=50)
        it.runner.reconfigure({})

        assert open_descriptors() == before


async def test_after_the_end_nobody_is_told_anything() -> None:
    with StandIn(over_tls(auto())) as gateway:
        async with bench(target_at(gateway.port)) as it:
            await it.probe(LIGHT)
            it.start(FULL)
            it.start(FULL, check="nobody")
            told = len(it.sink.told)
            it.runner.reconfigure({})
            it.runner.close()
            it.start(FULL)
            await asyncio.sleep(0.03)

            assert len(it.sink.told) == told


async def test_a_probe_ends_by_a_reset_and_nothing_stays_in_time_wait() -> None:
    ends: list[int] = []

    def script(tls: ssl.SSLSocket) -> None:
        tls.recv(4_096)
        tls.sendall(HEAD)
        select.select([tls], [], [], 2)
        ends.append(tls.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    with StandIn(over_tls(script), address="127.0.21.7") as gateway:
        async with bench(target_at(gateway.port, address=gateway.address)) as it:
            await it.probe(FULL)
            gateway.close()

    assert ends == [errno.ECONNRESET]
    states = Path("/proc/net/tcp").read_text().splitlines()
    place = f"0715007F:{gateway.port:04X}"
    assert not [line for line in states if place in line and line.split()[3] == "06"]


# --- new targets --------------------------------------------------------------------------------


async def test_a_new_address_gives_up_what_was_under_way_to_the_old_one() -> None:
    with StandIn(over_tls(auto())) as old, StandIn(over_tls(auto())) as new:
        async with bench(target_at(old.port)) as it:
            await it.probe(LIGHT)
            with StandIn(hang) as deaf:
                it.runner.reconfigure({CHECK: target_at(deaf.port)})
                assert not it.runner.holds(CHECK)
                under_way = it.start(FULL, length_ms=2_000)
                it.runner.reconfigure({CHECK: target_at(new.port)})
                result = await it.result(under_way)
            after = await it.probe(LIGHT)

            assert new.accepted == 1
    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.CANCELLED)
    assert after.outcome is ProbeOutcome.PASSED
    held = [name for name in it.sink.names() if name.startswith("held")]
    assert held == ["held_opened", "held_goaway", "held_opened"]
    assert it.sink.names().count("certificate_seen") == 2, "the same leaf on another gateway"


async def test_new_numbers_keep_the_held_connection() -> None:
    with StandIn(over_tls(auto())) as gateway:
        target = target_at(gateway.port)
        async with bench(target) as it:
            await it.probe(LIGHT)
            it.runner.reconfigure({CHECK: target_at(gateway.port, timing=CALM)})

            assert it.runner.holds(CHECK)
            assert it.runner._held[CHECK][1].timing == CALM
            assert gateway.accepted == 1
    assert "held_goaway" not in it.sink.names()


# --- the queue for handshakes -------------------------------------------------------------------


class SlowHandshakes:
    """Shakes hands after a pause, and counts how many it does at once."""

    def __init__(self, pause_s: float) -> None:
        self._context = server_context(pair())
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __call__(self, sock: socket.socket) -> None:
        sock.recv(1, socket.MSG_PEEK)
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        threading.Event().wait(self._pause_s)
        with self._lock:
            self._now -= 1
        with secure(self._context, sock) as tls:
            tls.do_handshake()
            tls.recv(4_096)
            tls.sendall(HEAD)
            hang(tls)


async def test_handshakes_are_bounded_and_the_wait_in_our_queue_is_not_counted() -> None:
    slow = SlowHandshakes(0.03)
    with StandIn(slow) as gateway:
        checks = {f"node{number}": target_at(gateway.port) for number in range(1, 121)}
        async with bench(**checks) as it:
            ids = [it.start(FULL, check=check, length_ms=200) for check in checks]
            results = [await it.result(probe_id) for probe_id in ids]

    assert slow.most <= MAX_HANDSHAKES
    assert {result.outcome for result in results} == {ProbeOutcome.PASSED}
    assert max(result.finished_ms - result.started_ms for result in results) > 80


async def test_a_few_hung_gateways_do_not_keep_a_healthy_one_waiting() -> None:
    with StandIn(hang) as hung, StandIn(over_tls(auto())) as healthy:
        checks = {f"hung{number}": target_at(hung.port) for number in range(3 * MAX_HANDSHAKES)}
        async with bench(target_at(healthy.port), **checks) as it:
            for check in checks:
                it.start(FULL, check=check, length_ms=2_000)
            await it.sink.hears("probe_connected", times=len(checks))
            result = await it.probe(FULL, length_ms=100)

    assert result.outcome is ProbeOutcome.PASSED
    assert result.finished_ms - result.started_ms < 500


async def test_many_handshakes_that_fail_at_once_are_no_recursion() -> None:
    """All are accepted and reset while they wait in our queue."""
    recursion = sys.getrecursionlimit()
    count = 300
    going = threading.Event()

    def wait_and_reset(sock: socket.socket) -> None:
        going.wait(2)
        reset(sock)

    with StandIn(hang) as hung, StandIn(wait_and_reset) as resetting:
        blocking = {f"hung{number}": target_at(hung.port) for number in range(MAX_HANDSHAKES)}
        checks = {f"reset{number}": target_at(resetting.port) for number in range(count)}
        async with bench(target_at(hung.port), **blocking, **checks) as it:
            sys.setrecursionlimit(600)
            try:
                for check in (*blocking, *checks):
                    it.start(FULL, check=check, length_ms=2_000)
                await it.sink.hears("probe_connected", times=count + MAX_HANDSHAKES)
                assert len(it.runner._queue) > count // 2
                going.set()
                await it.sink.hears("probe_finished", times=count)
            finally:
                sys.setrecursionlimit(recursion)

    reasons = {result.reason for result in it.sink.results}
    assert reasons <= {ProbeReason.REFUSED, ProbeReason.TLS_RESET}


async def test_too_long_in_our_own_queue_is_a_stall_of_ours() -> None:
    with StandIn(hang) as hung:
        checks = {f"hung{number}": target_at(hung.port) for number in range(MAX_HANDSHAKES)}
        async with bench(target_at(hung.port), **checks) as it:
            for check in checks:
                it.start(FULL, check=check, length_ms=2_000)
            await it.sink.hears("probe_connected", times=len(checks))
            probe_id = it.start(FULL)
            await it.sink.hears("probe_connected", times=len(checks) + 1)
            probe = it.runner._probes[probe_id]
            assert probe.queued_ms is not None
            it.runner.watch(probe, probe.queued_ms + MAX_QUEUED_MS - 1)
            assert it.sink.results == []
            it.runner.watch(probe, probe.queued_ms + MAX_QUEUED_MS)
            (result,) = it.sink.results

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.STALLED)


async def test_a_stall_in_our_own_queue_does_not_excuse_the_gateway() -> None:
    with StandIn(hang) as hung:
        checks = {f"hung{number}": target_at(hung.port) for number in range(MAX_HANDSHAKES)}
        async with bench(target_at(hung.port), **checks) as it:
            for check in checks:
                it.start(FULL, check=check, length_ms=2_000)
            await it.sink.hears("probe_connected", times=len(checks))
            probe_id = it.start(FULL, length_ms=30)
            await it.sink.hears("probe_connected", times=len(checks) + 1)
            assert it.runner._probes[probe_id].queued_ms is not None
            stall(50)
            result = await it.result(probe_id)

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, ProbeReason.TLS_TIMEOUT)


# --- stalls -------------------------------------------------------------------------------------


def stall(milliseconds: int) -> None:
    """Hold the whole loop."""
    assert milliseconds <= 50
    time.sleep(milliseconds / 1_000)


async def test_a_stall_is_told_and_extends_the_deadline() -> None:
    """The gateway answers after the deadline, but not after the deadline and the stall."""

    def script(tls: ssl.SSLSocket) -> None:
        tls.recv(4_096)
        threading.Event().wait(0.1)
        tls.sendall(HEAD)
        hang(tls)

    with StandIn(over_tls(script)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            await it.probe(FULL, length_ms=2_000)
            probe_id = it.start(FULL, length_ms=80)
            await it.sink.hears("probe_connected", times=2)
            await asyncio.sleep(0.03)
            stall(50)
            result = await it.result(probe_id)

    assert result.outcome is ProbeOutcome.PASSED, result
    (stalled_ms,) = [told.args[0] for told in it.sink.told if told.name == "stalled"]
    assert isinstance(stalled_ms, int)
    assert 20 <= stalled_ms <= 60


async def test_a_probe_that_was_mostly_our_own_stall_is_inconclusive() -> None:
    with StandIn(hang) as gateway:
        async with bench(target_at(gateway.port)) as it:
            probe_id = it.start(FULL, length_ms=25)
            await it.sink.hears("probe_connected")
            stall(50)
            result = await it.result(probe_id)

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.STALLED)


async def test_a_very_long_stall_ends_what_was_under_way() -> None:
    with StandIn(hang) as gateway:
        async with bench(target_at(gateway.port)) as it:
            it.start(FULL, length_ms=500)
            await it.sink.hears("probe_connected")
            it.runner.timers.stalled_ms += 500 + MAX_LOST_MS
            it.runner._on_stall(500 + MAX_LOST_MS, clock.monotonic_ms())
            assert it.sink.results == []
            it.runner.timers.stalled_ms += 1
            it.runner._on_stall(1, clock.monotonic_ms())
            (result,) = it.sink.results

    assert (result.outcome, result.reason) == (ProbeOutcome.INCONCLUSIVE, ProbeReason.STALLED)


async def test_the_last_look_gives_what_it_finds_time_for_one_more_answer() -> None:
    """The SYN-ACK is in the kernel; nobody has looked."""
    with StandIn(over_tls(auto())) as gateway:
        async with bench(target_at(gateway.port)) as it:
            await it.probe(FULL)
            probe_id = it.start(FULL, length_ms=1_000)
            probe = it.runner._probes[probe_id]
            select.select([], [probe.connection._fd], [], 1)  # type: ignore[union-attr] # it has one
            probe.deadline_ms = probe.started_lived_ms
            again_ms = it.runner.watch(probe, probe.deadline_ms)
            assert again_ms is not None
            assert probe.deadline_ms == probe.started_lived_ms + LOOK_GRACE_MS
            probe.deadline_ms += 1_000
            result = await it.result(probe_id)

    assert result.outcome is ProbeOutcome.PASSED


async def test_an_answer_that_arrived_during_a_stall_counts() -> None:
    with StandIn(over_tls(http1(HEAD))) as gateway:
        async with bench(target_at(gateway.port)) as it:
            await it.probe(FULL)
            probe_id = it.start(FULL, length_ms=20)
            it.sink.hook = lambda told: stall(40) if told.name == "probe_connected" else None
            result = await it.result(probe_id)

    assert result.outcome is not ProbeOutcome.FAILED


async def test_a_heartbeat_answered_during_a_stall_is_not_missed() -> None:
    def script(tls: ssl.SSLSocket) -> None:
        first = tls.recv(4_096)
        assert first.startswith(PREFACE)
        http2(tls, first)

    with StandIn(over_tls(script)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            await it.probe(LIGHT)
            for _ in range(4):
                await asyncio.sleep(0.02)
                stall(50)

    assert "heartbeat_missed" not in it.sink.names()
    assert "stalled" in it.sink.names()
