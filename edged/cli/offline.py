"""`plan` and `probe` without a daemon: load the configuration, look once, change nothing.

A router gets one session of reads, which ends at once. Nothing is known of the gateways here, so
nothing is planned for them.
"""

import asyncio
import random
from typing import Any

from edged.cli.context import Context
from edged.config.load import load
from edged.config.types import Config, RouterConfig
from edged.core.errors import CommandRefused, ConfigError, EdgedError
from edged.core.types import CoreConfig, RouteRead, VipConfig
from edged.daemon.conversion import core_config, probe_targets, router_target
from edged.router import dialect_v6, dialect_v7
from edged.router.reconcile import RouteDialect, parse_facts
from edged.router.sentences import V7, request
from edged.router.session import CommandDeadline, Session, make_tls_context, open_session
from edged.system import clock
from edged.web.documents import offline_plan_document, unknown_name


def read_plan(context: Context) -> dict[str, Any]:
    """Read every router once and say whose its rows are.

    Raises:
        ConfigErrors: The configuration cannot be used.
        EdgedError: A router cannot be read.
    """
    config = load(context.config, context.config_environ).config
    wanted = _core(config)
    reads = asyncio.run(_read_all(config, wanted))
    return offline_plan_document(
        reads,
        core=wanted,
        mode=config.mode.value,
        wall=clock.wall(),
        timezone=config.timezone,
    )


def measure_gateway(name: str, context: Context) -> dict[str, Any]:
    """Probe a gateway of the configuration once.

    Raises:
        ConfigErrors: The configuration cannot be used.
        CommandRefused: There is no such gateway.
    """
    from edged.daemon.measure import measure

    config = load(context.config, context.config_environ, check_secrets=False).config
    wanted = _core(config)
    for gateway in wanted.gateways:
        if name in {gateway.name, gateway.address}:
            break
    else:
        raise CommandRefused(unknown_name(name, wanted))
    targets = probe_targets(config, wanted)
    checks = [check.key for check in wanted.checks if check.gateway == gateway.name]
    if not checks:
        raise CommandRefused(f'no VIP uses "{gateway.name}", so there is nothing to probe')
    return asyncio.run(measure(gateway.name, targets[checks[0]], timezone=config.timezone))


def _core(config: Config) -> CoreConfig:
    return core_config(config, random.Random())  # noqa: S311 - jitter, and unused here


async def _read_all(config: Config, wanted: CoreConfig) -> list[RouteRead]:
    reads: list[RouteRead] = []
    for router in config.routers:
        vips = [vip for vip in wanted.vips if router.name in vip.routers]
        reads.extend(await _read_router(router, vips))
    return reads


async def _read_router(router: RouterConfig, vips: list[VipConfig]) -> list[RouteRead]:
    target = router_target(router)
    session = await open_session(
        target,
        context=make_tls_context(target),
        password=lambda: router.password.read().reveal(),
        deadline=CommandDeadline(router.command_timeout_ms),
        now_us=clock.monotonic_us,
    )
    try:
        facts = parse_facts(router.name, await session.ask(request("resource")))
        dialect: RouteDialect = dialect_v7 if facts.major >= V7 else dialect_v6
        return [await _read_vip(session, dialect, router.name, vip) for vip in vips]
    finally:
        session.abort()


async def _read_vip(
    session: Session, dialect: RouteDialect, router: str, vip: VipConfig
) -> RouteRead:
    try:
        dialect.check_vip(vip)
    except ConfigError as error:
        raise EdgedError(f"{router}: {error}") from error
    reply = await session.ask(dialect.read_request(vip))
    return RouteRead(
        router=router,
        vip=vip.name,
        shape=dialect.SHAPE,
        rows=dialect.parse_rows(reply.rows, vip),
        sent_ms=reply.sent_us // 1_000,
        answered_ms=reply.answered_us // 1_000,
    )
