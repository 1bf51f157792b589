"""From the configuration to what the core, the prober and the router clients take."""

import random
import socket
from typing import Final

from edged.config.types import (
    BgpConfig,
    Config,
    Heartbeat,
    Mode,
    OnHumanEdit,
    ProbeConfig,
    RouterConfig,
    Verify,
)
from edged.core import types as core
from edged.probes.target import Target
from edged.router.link import RouterTiming
from edged.router.session import RouterTarget, TlsMode

JITTER_NUMBERS: Final = 1_021
"""A prime, so that gateways which start at different places never fall into step."""
JITTER_PERMILLE: Final = 50


def core_config(
    config: Config, rng: random.Random, *, uncounted: frozenset[str] = frozenset()
) -> core.CoreConfig:
    """Return what the core needs; two VIPs share a check where every probe value is equal.

    Args:
        config: with the discovered gateways in it.
        rng: the dice for jitter.
        uncounted: discovered gateways that were never UP: no floor counts them yet.
    """
    gateways = tuple(
        core.GatewayConfig(
            name=gateway.name,
            address=gateway.address,
            next_hop=gateway.next_hop,
            own_host=is_own_address(gateway.address),
        )
        for gateway in config.gateways
    )
    checks: dict[tuple[str, ProbeConfig], core.CheckConfig] = {}
    vips = []
    for vip in config.vips:
        keys = []
        for gateway in vip.gateways:
            known = checks.get((gateway, vip.probe))
            if known is None:
                taken = any(check.gateway == gateway for check in checks.values())
                known = core.CheckConfig(
                    key=f"{gateway}@{vip.name}" if taken else gateway,
                    gateway=gateway,
                    timing=probe_timing(vip.probe),
                )
                checks[gateway, vip.probe] = known
            keys.append(known.key)
        vips.append(
            core.VipConfig(
                name=vip.name,
                destination=vip.address,
                routers=vip.routers,
                checks=tuple(keys),
                distance=vip.distance,
                routing_table=vip.routing_table,
                min_healthy=vip.min_healthy,
                comment=vip.comment or "",
                adopt=vip.adopt,
                restore_human_edits=vip.on_human_edit is OnHumanEdit.RESTORE,
                check_gateway=vip.check_gateway.value,
                uncounted=tuple(name for name in vip.gateways if name in uncounted),
            ),
        )
    return core.CoreConfig(
        enforce=config.mode is Mode.ENFORCE,
        gateways=gateways,
        checks=tuple(checks.values()),
        vips=tuple(vips),
        routers=tuple(router.name for router in config.routers),
        hold_down=core.HoldDown(
            base_ms=config.hold_down.base_ms,
            max_ms=config.hold_down.max_ms,
            forget_after_ms=config.hold_down.forget_after_ms,
        ),
        bgp_policy=core.BgpPolicy(config.bgp.policy.value),
        bgp_down_for_ms=config.bgp.down_for_ms,
        jitter_permille=tuple(
            rng.randint(-JITTER_PERMILLE, JITTER_PERMILLE) for _ in range(JITTER_NUMBERS)
        ),
    )


def probe_timing(probe: ProbeConfig) -> core.ProbeTiming:
    """Return one check's numbers."""
    return core.ProbeTiming(
        burst_ms=probe.burst_ms,
        deadline_ms=probe.timeout_ms,
        silent_after_ms=probe.silent_after_ms,
        heartbeat=probe.heartbeat is Heartbeat.H2_PING,
        heartbeat_interval_ms=probe.heartbeat_interval_ms,
        heartbeat_deadline_ms=probe.heartbeat_deadline_ms,
        interval_ms=probe.interval_ms,
        request_interval_ms=probe.request_interval_ms,
        rise=probe.rise,
        stable_for_ms=probe.stable_for_ms,
        down_interval_ms=probe.down_interval_ms,
        below_floor_interval_ms=probe.below_floor_interval_ms,
    )


def probe_targets(config: Config, wanted: core.CoreConfig) -> dict[str, Target]:
    """Return where each check's probes go."""
    targets: dict[str, Target] = {}
    addresses = {gateway.name: gateway.address for gateway in config.gateways}
    checks = {check.key: check for check in wanted.checks}
    for vip, core_vip in zip(config.vips, wanted.vips, strict=True):
        for key in core_vip.checks:
            check = checks[key]
            targets.setdefault(
                key,
                Target(
                    address=addresses[check.gateway],
                    port=vip.probe.port,
                    server_name=vip.probe.server_name,
                    path=vip.probe.path,
                    timing=check.timing,
                ),
            )
    return targets


def watched_checks(config: Config, wanted: core.CoreConfig) -> frozenset[str]:
    """Return the checks whose certificates are looked at: `verify = "warn"`."""
    return frozenset(
        key
        for vip, core_vip in zip(config.vips, wanted.vips, strict=True)
        if vip.probe.verify is Verify.WARN
        for key in core_vip.checks
    )


def router_target(router: RouterConfig) -> RouterTarget:
    """Return where a router is and how to know that it is the right one."""
    return RouterTarget(
        name=router.name,
        address=router.address,
        username=router.username,
        tls=TlsMode(router.tls.value),
        port=router.port,
        fingerprint=router.fingerprint or "",
        ca_file=str(router.ca_file) if router.ca_file is not None else None,
    )


def router_timing(router: RouterConfig, bgp: BgpConfig) -> RouterTiming:
    """Return one router's times."""
    return RouterTiming(
        reconcile_interval_ms=router.reconcile_interval_ms,
        command_deadline_ms=router.command_timeout_ms,
        bgp_interval_ms=bgp.poll_interval_ms,
    )


def is_own_address(address: str) -> bool:
    """Whether an address belongs to this host: such a gateway is no witness (design 4.4)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
