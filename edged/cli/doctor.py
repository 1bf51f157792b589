"""`doctor`: every assumption that edged rests on, checked once, with a fix for each that fails.

It looks with its own short router session and its own probes, so it works with and without a
daemon, and it changes nothing. `--bundle` packs what a bug report needs, without secrets.
"""

import asyncio
import random
from argparse import Namespace
from typing import Any, Final

from edged.cli.context import Context
from edged.cli.doctor_bundle import write_bundle
from edged.cli.doctor_checks import PLAIN_SIGNS, SIGNS, Check, Level, fail
from edged.cli.doctor_gateways import gateway_checks, vip_checks
from edged.cli.doctor_host import configuration, host
from edged.cli.doctor_router import router_checks
from edged.cli.render import wrap
from edged.config.errors import ConfigErrors
from edged.config.load import load
from edged.config.loaded import Loaded
from edged.config.types import Config
from edged.daemon.conversion import core_config, probe_targets

EXIT_FINE: Final = 0
EXIT_FAILED: Final = 1


def doctor(arguments: Namespace, context: Context) -> int:
    """Check everything; exit code 1 if something keeps edged from its work."""
    loaded: Loaded | None = None
    try:
        loaded = load(context.config, context.config_environ)
        checks = [*configuration(loaded), *host(loaded.config, context)]
        checks += asyncio.run(_network(loaded.config, context))
    except ConfigErrors as errors:
        checks = [fail("configuration", errors.render(), "edged check-config")]
    failed = any(check.level is Level.FAIL for check in checks)
    document = _document(checks)
    if arguments.bundle is not None:
        write_bundle(arguments.bundle, document, loaded, context)
    if arguments.json:
        context.say_json(document)
    else:
        _show(checks, context)
    if arguments.bundle is not None and not arguments.json:
        context.say(["", f"{arguments.bundle}: written. Secrets are out; look before you send it."])
    return EXIT_FAILED if failed else EXIT_FINE


def _document(checks: list[Check]) -> dict[str, Any]:
    return {
        "schema": "edged.doctor/v1",
        "checks": [
            {"area": one.area, "level": one.level.value, "text": one.text, "fix": one.fix or None}
            for one in checks
        ],
    }


def _show(checks: list[Check], context: Context) -> None:
    terminal = context.terminal
    signs = SIGNS if terminal.unicode else PLAIN_SIGNS
    area = ""
    for check in checks:
        if check.area != area:
            context.say([*([""] if area else []), check.area])
            area = check.area
        first, *rest = wrap(terminal.sign(check.text), terminal.width - 5)
        context.say([f"  {signs[check.level]:<2} {first}", *(f"     {line}" for line in rest)])
        if check.fix:
            context.say(f"     {line}" for line in wrap(f"do: {check.fix}", terminal.width - 5))
    counted = {level: sum(one.level is level for one in checks) for level in Level}
    context.say(
        [
            "",
            f"{counted[Level.OK]} fine, {counted[Level.WARN]} to know, {counted[Level.FAIL]} wrong",
        ]
    )


async def _network(config: Config, context: Context) -> list[Check]:
    wanted = core_config(config, random.Random())  # noqa: S311 - jitter, and unused here
    checks: list[Check] = []
    for router in config.routers:
        checks += [check async for check in router_checks(router, config, wanted)]
    targets = probe_targets(config, wanted)
    for one in wanted.checks:
        checks += [check async for check in gateway_checks(one.gateway, targets[one.key])]
    for vip in config.vips:
        checks += [check async for check in vip_checks(vip, config, context)]
    return checks
