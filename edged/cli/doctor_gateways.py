"""`doctor` on gateways and VIPs: each phase of a probe, the certificate, the traffic policy."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from edged.cli.context import Context
from edged.cli.doctor_checks import Check, fail, ok, warn
from edged.config.types import Config, VipConfig
from edged.core.errors import EdgedError
from edged.probes.certificate import client_context
from edged.probes.target import Target
from edged.probes.trace import Trace, trace
from edged.system import clock

CERTIFICATE_DAYS: Final = 21
CONNECT_S: Final = 2.0
HTTP_PORT: Final = 80
SERVICE: Final = "kube-system/gateway-lb"
"""What a Service for Envoy on the host network is usually called; only named in a command."""
LOCAL: Final = """'{"spec":{"externalTrafficPolicy":"Local"}}'"""


async def gateway_checks(name: str, target: Target) -> AsyncIterator[Check]:
    """Probe a gateway once, phase by phase."""
    area = f"gateway {name}"
    found = await trace(target, verifying=client_context(None))
    where = f"{target.address}:{target.port}"
    if not found.light.passed:
        reason = found.light.reason.value if found.light.reason else "failed"
        yield fail(
            area, f"{where}: {reason} {found.light.detail}".rstrip(), f"edged probe {name} --trace"
        )
        return
    if not found.full.passed:
        reason = found.full.reason.value if found.full.reason else "failed"
        yield fail(
            area,
            f"{where}: TLS and HTTP as {target.server_name}: {reason} {found.full.detail}".rstrip(),
            f"edged probe {name} --trace; is server_name covered by a listener?",
        )
    else:
        yield ok(
            area,
            f"{where}: TCP, TLS as {target.server_name}, HTTP {found.full.http_status} in "
            f"{found.full.total_us / 1_000:.1f} ms",
        )
    for check in _traced(found, target, area):
        yield check
    if await _connects(target.address, HTTP_PORT):
        yield ok(area, f"{target.address}:{HTTP_PORT} answers, too")
    else:
        yield warn(area, f"{target.address}:{HTTP_PORT} does not answer (edged does not judge it)")


def _traced(found: Trace, target: Target, area: str) -> Iterator[Check]:
    if found.full.reaches_backend:
        yield warn(
            area,
            f"{target.server_name} is served by a back end: a sick back end looks like a sick node",
            "use a server_name that the certificate covers and no HTTPRoute serves",
        )
    certificate = found.certificate
    if certificate is None:
        return
    days = certificate.days_left(clock.wall())
    if certificate.fault is not None:
        yield warn(area, f"certificate: {certificate.fault.value} {certificate.detail}".rstrip())
    elif days < CERTIFICATE_DAYS:
        yield warn(area, f"the certificate ends in {days} days", "renew it")
    else:
        yield ok(area, f"certificate for {', '.join(certificate.names[:3])}, {days} days left")


async def vip_checks(vip: VipConfig, config: Config, context: Context) -> AsyncIterator[Check]:
    """Look how this host reaches the VIP, and how the cluster spreads what comes through it."""
    area = f"VIP {vip.name}"
    address = vip.address.partition("/")[0]
    if await _connects(address, vip.probe.port):
        yield ok(area, f"this host reaches {address}:{vip.probe.port} through the route")
    else:
        yield warn(
            area,
            f"this host does not reach {address}:{vip.probe.port}",
            "only a canary needs that; clients may come another way",
        )
    if config.kubernetes.enabled:
        yield await _policy(vip, config, context, area)
    else:
        yield _policy_unknown(vip, area, "not checked")


async def _policy(vip: VipConfig, config: Config, context: Context, area: str) -> Check:
    """Ask the cluster itself; where that fails, say what the daemon knows."""
    from edged.kube.client import Cluster
    from edged.kube.errors import KubeError
    from edged.kube.gateway import parse_service

    if vip.kube_service is None:
        return _policy_unknown(vip, area, "not checked: [[vip]] has no kube_service")
    namespace, _, name = vip.kube_service.partition("/")
    cluster = Cluster(config.kubernetes.kubeconfig)
    try:
        raw = await cluster.get(f"/api/v1/namespaces/{namespace}/services/{name}")
    except KubeError as error:
        return _policy_of_daemon(context, area) or _policy_unknown(
            vip, area, f"not checked: {cluster.source}: {error}"
        )
    finally:
        await cluster.close()
    if parse_service(raw).local:
        return ok(area, f"Service {vip.kube_service}: externalTrafficPolicy is Local")
    return warn(
        area,
        f"Service {vip.kube_service}: externalTrafficPolicy is Cluster, so a node hands "
        "connections on to another node's Envoy, dead or not",
        f"kubectl -n {namespace} patch service {name} -p {LOCAL}",
    )


def _policy_of_daemon(context: Context, area: str) -> Check | None:
    try:
        policy = context.client.get("status")["policy"]
    except (EdgedError, KeyError):
        return None
    return ok(area, policy["text"]) if policy["fine"] else warn(area, policy["text"])


def _policy_unknown(vip: VipConfig, area: str, why: str) -> Check:
    namespace, _, name = (vip.kube_service or SERVICE).partition("/")
    return warn(
        area,
        f"externalTrafficPolicy of the VIP's Service: {why}. With Cluster, the default, a node "
        "may pass connections on to another node's Envoy, dead or not",
        f"kubectl -n {namespace} get service {name} -o jsonpath={{.spec.externalTrafficPolicy}}; "
        f"if it says Cluster: kubectl -n {namespace} patch service {name} -p {LOCAL}",
    )


async def _connects(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
