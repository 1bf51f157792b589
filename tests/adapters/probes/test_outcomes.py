"""Each way in which a gateway can behave, and what a probe calls it: real sockets, real TLS."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from edged.core.types import ProbeDepth, ProbeOutcome, ProbeReason, ProbeResult
from tests.support.certificates import Pair, pair
from tests.support.gateways import (
    Script,
    Serve,
    StandIn,
    alert_after_hello,
    auto,
    close_after_hello,
    close_when_spoken_to,
    hang,
    http1,
    over_tls,
    plain_text,
    raw,
    refused_port,
    reset,
    reset_after_hello,
    unanswering_port,
)
from tests.support.probing import Bench, Told, bench, target_at

LIGHT, FULL = ProbeDepth.LIGHT, ProbeDepth.FULL
SHORT_MS = 60
"""A deadline for gateways that let it pass."""


@contextlib.contextmanager
def serving(serve: Serve, *, address: str = "127.0.0.1") -> Iterator[int]:
    with StandIn(serve, address=address) as gateway:
        yield gateway.port


async def probed(
    depth: ProbeDepth, port: int, *, length_ms: int = 1_000, address: str = "127.0.0.1"
) -> tuple[ProbeResult, Bench]:
    async with bench(target_at(port, address=address)) as it:
        return await it.probe(depth, length_ms=length_ms), it


HEAD = b"HTTP/1.1 404 Not Found\r\nserver: envoy\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
SETTINGS = bytes.fromhex("000000 04 00 00000000")

BELOW_HTTP = [
    pytest.param(reset_after_hello, ProbeReason.TLS_RESET, id="reset after ClientHello"),
    pytest.param(close_after_hello, ProbeReason.TLS_RESET, id="end after ClientHello"),
    pytest.param(alert_after_hello, ProbeReason.TLS_ALERT, id="alert after ClientHello"),
    pytest.param(plain_text, ProbeReason.TLS_ALERT, id="no TLS"),
    pytest.param(over_tls(close_when_spoken_to), ProbeReason.HTTP_CLOSED, id="end in HTTP"),
]
SILENT = [
    pytest.param(hang, ProbeReason.TLS_TIMEOUT, id="accepts and never answers"),
    pytest.param(over_tls(raw()), ProbeReason.HTTP_TIMEOUT, id="TLS and then silence"),
]


@pytest.mark.parametrize("depth", [LIGHT, FULL])
@pytest.mark.parametrize(("serve", "reason"), BELOW_HTTP)
async def test_a_broken_gateway_fails_at_once(
    depth: ProbeDepth, serve: Serve, reason: ProbeReason
) -> None:
    with serving(serve) as port:
        result, it = await probed(depth, port)

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, reason)
    assert result.connected_ms is not None
    assert result.finished_ms - result.started_ms < 500
    assert result.detail
    assert it.sink.names().count("probe_finished") == 1


@pytest.mark.parametrize("depth", [LIGHT, FULL])
@pytest.mark.parametrize(("serve", "reason"), SILENT)
async def test_a_silent_gateway_fails_at_the_deadline(
    depth: ProbeDepth, serve: Serve, reason: ProbeReason
) -> None:
    with serving(serve) as port:
        result, _ = await probed(depth, port, length_ms=SHORT_MS)

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, reason)
    assert result.finished_ms - result.started_ms >= SHORT_MS
    assert result.latency_us == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("depth", [LIGHT, FULL])
async def test_a_port_nobody_listens_on_is_refused(depth: ProbeDepth, address: str) -> None:
    result, it = await probed(depth, refused_port(address), address=address)

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, ProbeReason.REFUSED)
    assert result.connected_ms is None
    assert "probe_connected" not in it.sink.names()
    assert result.finished_ms - result.started_ms < 100


def wait_after(told: Told, name: str) -> None:
    """Hold the loop, so that what the gateway does next is there before our next step."""
    if told.name == name:
        threading.Event().wait(0.03)


async def test_a_reset_before_our_first_byte_counts_as_refused() -> None:
    """A dying listener may accept and reset once."""
    async with bench(target_at(0)) as it:
        with StandIn(reset) as gateway:
            it.runner.reconfigure({"node1": target_at(gateway.port)})
            it.sink.hook = lambda told: wait_after(told, "probe_connected")
            result = await it.probe(FULL)

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, ProbeReason.REFUSED)


async def test_no_syn_ack_is_a_connect_timeout() -> None:
    with unanswering_port() as port:
        result, it = await probed(FULL, port, length_ms=SHORT_MS)

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, ProbeReason.CONNECT_TIMEOUT)
    assert result.connected_ms is None
    assert it.sink.names() == ["probe_started", "probe_finished"]


ANSWERS = [
    pytest.param(http1(b"HTTP/1.1 200 OK\r\n\r\n"), 200, id="200"),
    pytest.param(http1(HEAD), 404, id="404"),
    pytest.param(http1(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), 503, id="503 serves, too"),
    pytest.param(http1(b"HTTP/1.1 599 x\r\n\r\n"), 599, id="the last status"),
    pytest.param(http1(EARLY * 3 + HEAD), 404, id="three informational ones"),
    pytest.param(http1(*[HEAD[i : i + 1] for i in range(len(HEAD))]), 404, id="byte by byte"),
    pytest.param(
        http1(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n", b"x" * 200_000),
        200,
        id="a huge body",
    ),
    pytest.param(
        http1(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 16_000 + b"\r\n\r\n"), 200, id="a long head"
    ),
    pytest.param(http1(b"HTTP/1.0 200 OK\r\n\r\n"), 200, id="HTTP/1.0"),
]


@pytest.mark.parametrize(("script", "status"), ANSWERS)
async def test_a_complete_head_of_a_final_response_passes(script: Script, status: int) -> None:
    with serving(over_tls(script)) as port:
        result, _ = await probed(FULL, port)

    assert (result.outcome, result.reason) == (ProbeOutcome.PASSED, None)
    assert result.http_status == status
    assert result.latency_us > 0


INVALID = [
    pytest.param(b"\x00\x01\x02 garbage \r\n\r\n", id="garbage"),
    pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="another protocol"),
    pytest.param(b"HTTP/1.1 600 x\r\n\r\n", id="a status that does not exist"),
    pytest.param(EARLY * 4 + HEAD, id="four informational ones"),
    pytest.param(EARLY * 10_000, id="a flood of informational ones"),
    pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="switched protocols"),
    pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 4_000, id="endless headers"),
    pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 17_000 + b"\r\n\r\n", id="too long a head"),
    pytest.param(b"x" * 100_000, id="an endless line"),
]


@pytest.mark.parametrize("answer", INVALID)
async def test_what_is_not_a_response_is_invalid(answer: bytes) -> None:
    with serving(over_tls(http1(answer))) as port:
        result, _ = await probed(FULL, port)

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, ProbeReason.HTTP_INVALID)
    assert result.http_status is None
    assert result.detail.isprintable()
    assert len(result.detail) <= 120


async def test_a_slow_drip_is_cut_off_at_the_deadline() -> None:
    """The deadline is one for the whole probe: bytes that trickle in do not renew it."""
    drip = threading.Event()
    parts = [HEAD[i : i + 1] for i in range(len(HEAD))]
    with serving(over_tls(http1(*parts, pause=drip))) as port:
        result, _ = await probed(FULL, port, length_ms=100)
        drip.set()

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, ProbeReason.HTTP_TIMEOUT)
    assert 100 <= result.finished_ms - result.started_ms < 200


HOSTILE = [
    pytest.param(SETTINGS + bytes.fromhex("004001 00 00 00000001"), id="oversized frame"),
    pytest.param(SETTINGS + bytes.fromhex("000000 01 05 00000001"), id="HEADERS unasked"),
    pytest.param(bytes.fromhex("000008 06 01 00000000 0000000000000001"), id="no SETTINGS first"),
    pytest.param(SETTINGS + bytes.fromhex("000008 06 01 00000000") + b"8" * 8, id="foreign PING"),
    pytest.param(SETTINGS * 1_100, id="a flood of SETTINGS"),
    pytest.param(SETTINGS + bytes.fromhex("000000 0b 00 00000000") * 1_100, id="unknown flood"),
    pytest.param(b"\x7f" * 40, id="garbage"),
]


@pytest.mark.parametrize("answer", HOSTILE)
async def test_a_hostile_http2_answer_is_invalid_and_bounded(answer: bytes) -> None:
    with serving(over_tls(raw(answer))) as port:
        result, _ = await probed(LIGHT, port)

    assert (result.outcome, result.reason) == (ProbeOutcome.FAILED, ProbeReason.HTTP_INVALID)
    assert result.detail


CERTIFICATES = [
    pytest.param(pair(days=-3), id="expired"),
    pytest.param(pair("another.example"), id="of another name"),
    pytest.param(pair(), id="of an unknown issuer"),
]


@pytest.mark.parametrize("depth", [LIGHT, FULL])
@pytest.mark.parametrize("certificate", CERTIFICATES)
async def test_a_wrong_certificate_still_passes(depth: ProbeDepth, certificate: Pair) -> None:
    """A wrong certificate is a warning: taking the gateway out would make it an outage."""
    with serving(over_tls(auto(), certificate=certificate)) as port:
        result, it = await probed(depth, port)

    assert result.outcome is ProbeOutcome.PASSED
    (seen,) = [told.args for told in it.sink.told if told.name == "certificate_seen"]
    assert seen[2] == certificate.leaf_der


async def test_a_certificate_is_reported_when_it_changes_and_only_then() -> None:
    old, new = pair(), pair(days=91)
    with StandIn(over_tls(auto(), certificate=old)) as gateway:
        async with bench(target_at(gateway.port)) as it:
            for _ in range(2):
                await it.probe(FULL)
            gateway.close()
            with StandIn(over_tls(auto(), certificate=new), port=gateway.port):
                for depth in (LIGHT, FULL):
                    await it.probe(depth)

    seen = [told.args[2] for told in it.sink.told if told.name == "certificate_seen"]
    assert seen == [old.leaf_der, new.leaf_der]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("depth", [LIGHT, FULL])
async def test_a_healthy_gateway_passes(depth: ProbeDepth, address: str) -> None:
    with serving(over_tls(auto()), address=address) as port:
        result, it = await probed(depth, port, address=address)

    assert (result.outcome, result.reason, result.depth) == (ProbeOutcome.PASSED, None, depth)
    assert result.connected_ms is not None
    assert 0 < result.latency_us <= (result.finished_ms - result.started_ms + 1) * 1_000
    assert it.sink.names()[:2] == ["probe_started", "probe_connected"]
    assert result.http_status == (404 if depth is FULL else None)
