"""`edged probe GATEWAY --trace`: one light and one full probe, phase by phase, for a person."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edged.core.types import ProbeDepth, ProbeReason
from edged.probes.attempt import Attempt, attempt
from edged.probes.certificate import CertificateFacts, inspect
from edged.probes.exchanges import Exchange, FullExchange, LightExchange
from edged.probes.faults import clean
from edged.probes.target import Target
from edged.probes.tls import routine_context
from edged.system import clock

TRACE_DEADLINE_MS: Final = 3_000
BACKEND_HEADER: Final = b"x-envoy-upstream-service-time"
"""Envoy adds it to whatever came from a back end, and to nothing it answers itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTrace:
    """One probe; phases it did not come through are None."""

    depth: ProbeDepth
    reason: ProbeReason | None
    detail: str
    tcp_us: int | None
    tls_us: int | None
    http_us: int | None
    total_us: int
    tls_version: str = ""
    cipher: str = ""
    alpn: str = ""
    http_status: int | None = None
    server: str = ""
    reaches_backend: bool = False

    @property
    def passed(self) -> bool:
        """Whether the daemon would count it as passed."""
        return self.reason is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Both probes and the certificate, where the gateway served one."""

    light: ProbeTrace
    full: ProbeTrace
    certificate: CertificateFacts | None


async def trace(
    target: Target,
    *,
    verifying: ssl.SSLContext,
    deadline_ms: int = TRACE_DEADLINE_MS,
    clock_us: Callable[[], int] = clock.monotonic_us,
) -> Trace:
    """Run one light and one full probe, then look at the certificate."""
    context = routine_context()

    async def run(exchange: Exchange) -> Attempt:
        return await attempt(
            target,
            context=context,
            exchange=exchange,
            deadline_ms=deadline_ms,
            clock_us=clock_us,
        )

    light = LightExchange()
    light_trace = describe_attempt(ProbeDepth.LIGHT, await run(light))
    full = FullExchange(server_name=target.server_name, path=target.path)
    attempted = await run(full)
    certificate = None
    if attempted.session is not None:
        der = attempted.session.der
        certificate = await inspect(target, der, verifying=verifying, deadline_ms=deadline_ms)
    full_trace = describe_attempt(ProbeDepth.FULL, attempted, full)
    return Trace(light=light_trace, full=full_trace, certificate=certificate)


def describe_attempt(
    depth: ProbeDepth,
    tried: Attempt,
    full: FullExchange | None = None,
) -> ProbeTrace:
    """Turn instants into lengths, and headers into what they mean."""
    headers = dict(full.headers) if full is not None else {}
    session, fault = tried.session, tried.fault
    answered_us = tried.ended_us if fault is None else None
    return ProbeTrace(
        depth=depth,
        reason=None if fault is None else fault.reason,
        detail="" if fault is None else fault.detail,
        tcp_us=_between(tried.started_us, tried.connected_us),
        tls_us=_between(tried.connected_us, tried.secured_us),
        http_us=_between(tried.secured_us, answered_us),
        total_us=tried.ended_us - tried.started_us,
        tls_version="" if session is None else session.version,
        cipher="" if session is None else session.cipher,
        alpn="" if session is None else session.alpn,
        http_status=None if full is None else full.http_status,
        server=clean(headers.get(b"server", b"")),
        reaches_backend=BACKEND_HEADER in headers,
    )


def _between(begin_us: int | None, end_us: int | None) -> int | None:
    return None if begin_us is None or end_us is None else end_us - begin_us
