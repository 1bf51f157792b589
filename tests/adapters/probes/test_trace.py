"""`edged probe GATEWAY --trace`: what a person is shown is what the daemon does."""

import pytest

from edged.core.types import ProbeDepth, ProbeReason
from edged.probes.certificate import CertificateFault, client_context
from edged.probes.trace import Trace, trace
from tests.support.certificates import WILDCARD
from tests.support.gateways import (
    Serve,
    StandIn,
    auto,
    hang,
    over_tls,
    raw,
    refused_port,
    reset_after_hello,
)
from tests.support.probing import target_at

BACKEND = (
    b"HTTP/1.1 200 OK\r\nserver: envoy\r\nx-envoy-upstream-service-time: 3\r\n"
    b"content-length: 0\r\n\r\n"
)


async def traced(port: int, *, deadline_ms: int = 2_000) -> Trace:
    return await trace(target_at(port), verifying=client_context(), deadline_ms=deadline_ms)


async def test_a_healthy_gateway_shows_all_phases() -> None:
    with StandIn(over_tls(auto())) as gateway:
        seen = await traced(gateway.port)

    for probe, depth in ((seen.light, ProbeDepth.LIGHT), (seen.full, ProbeDepth.FULL)):
        assert probe.passed
        assert probe.depth is depth
        assert probe.tls_version == "TLSv1.3"
        assert probe.cipher.startswith("TLS_")
        assert probe.alpn == "", "none is offered"
        assert probe.tcp_us is not None
        assert probe.tls_us is not None
        assert probe.http_us is not None
        assert 0 < probe.tcp_us + probe.tls_us + probe.http_us <= probe.total_us
    assert (seen.full.http_status, seen.full.server) == (404, "envoy")
    assert not seen.full.reaches_backend
    assert seen.certificate is not None
    assert seen.certificate.names == (WILDCARD,)
    assert seen.certificate.fault is CertificateFault.ISSUER_UNKNOWN


async def test_an_answer_from_a_back_end_is_recognised() -> None:
    """The probe's name should reach Envoy and nothing behind it."""
    with StandIn(over_tls(auto(BACKEND))) as gateway:
        seen = await traced(gateway.port)

    assert seen.full.reaches_backend
    assert seen.full.http_status == 200


@pytest.mark.parametrize(
    ("serve", "reason", "reached"),
    [
        pytest.param(hang, ProbeReason.TLS_TIMEOUT, "tcp", id="hung"),
        pytest.param(reset_after_hello, ProbeReason.TLS_RESET, "tcp", id="wrong server name"),
        pytest.param(over_tls(raw()), ProbeReason.HTTP_TIMEOUT, "tcp tls", id="silent after TLS"),
    ],
)
async def test_a_failure_shows_how_far_it_came(
    serve: Serve, reason: ProbeReason, reached: str
) -> None:
    with StandIn(serve) as gateway:
        seen = await traced(gateway.port, deadline_ms=50)

    for probe in (seen.light, seen.full):
        assert probe.reason is reason
        phases = {"tcp": probe.tcp_us, "tls": probe.tls_us, "http": probe.http_us}
        assert " ".join(name for name, us in phases.items() if us is not None) == reached
        assert probe.http_status is None


async def test_a_refused_gateway_shows_nothing_but_the_reason() -> None:
    seen = await traced(refused_port())

    assert (seen.light.reason, seen.full.reason) == (ProbeReason.REFUSED, ProbeReason.REFUSED)
    assert seen.light.tcp_us is None
    assert seen.certificate is None
