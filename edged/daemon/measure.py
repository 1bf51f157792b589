"""One measurement of one gateway for a person: `edged probe`."""

from edged.core.types import ProbeOutcome
from edged.probes.certificate import client_context
from edged.probes.target import Target
from edged.probes.trace import ProbeTrace, trace
from edged.system import clock
from edged.web.documents import Document, PhaseView, ProbeView, probe_document


async def measure(gateway: str, target: Target, *, timezone: str | None) -> Document:
    """Run a light and a full probe and return `edged.probe/v1`; changes nothing."""
    traced = await trace(target, verifying=client_context(None))
    views = [probe_view(gateway, target, probe) for probe in (traced.light, traced.full)]
    return probe_document(views, wall=clock.wall(), timezone=timezone)


def probe_view(gateway: str, target: Target, probe: ProbeTrace) -> ProbeView:
    """Return one traced probe in the form that documents take."""
    said = [probe.tls_version, probe.cipher, probe.alpn]
    http = [f"status {probe.http_status}" if probe.http_status else "", probe.server]
    http.append("answered by a back end" if probe.reaches_backend else "")
    phases = (
        ("tcp", probe.tcp_us, ""),
        ("tls", probe.tls_us, ", ".join(word for word in said if word)),
        ("http", probe.http_us, ", ".join(word for word in http if word)),
    )
    return ProbeView(
        gateway=gateway,
        address=target.address,
        port=target.port,
        server_name=target.server_name,
        depth=probe.depth,
        outcome=ProbeOutcome.PASSED if probe.passed else ProbeOutcome.FAILED,
        reason=probe.reason,
        detail=probe.detail,
        latency_us=probe.total_us if probe.passed else 0,
        http_status=probe.http_status,
        phases=tuple(
            PhaseView(name=name, took_us=took_us, detail=detail)
            for name, took_us, detail in phases
            if took_us is not None
        ),
    )
