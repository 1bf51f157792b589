"""Looks now and then whether the probes' name reaches a back end (design 9).

A name that an HTTPRoute claims makes a dying back end look like a dying node. One traced probe of
one gateway a VIP, a few times a day; it reports, and decides nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from edged.core.events import Event, event
from edged.core.types import CoreConfig
from edged.probes.certificate import client_context
from edged.probes.target import Target
from edged.probes.trace import Trace, trace
from edged.system import clock

FIRST_S: Final = 60.0
INTERVAL_S: Final = 6 * 3_600.0
LOOK_S: Final = 30.0

Look = Callable[[Target], Awaitable[Trace]]


async def watch_probe_names(
    core: Callable[[], CoreConfig],
    targets: Callable[[], Mapping[str, Target]],
    publish: Callable[[Event], None],
    *,
    look: Look | None = None,
    first_s: float = FIRST_S,
    interval_s: float = INTERVAL_S,
) -> None:
    """Look until cancelled."""
    await asyncio.sleep(first_s)
    if look is None:
        look = await _tracer()
    while True:
        for vip in core().vips:
            for key in vip.checks[:1]:
                found = await _reaches(look, targets().get(key))
                if found:
                    names = {check.key: check.gateway for check in core().checks}
                    publish(
                        event(
                            "probe.reaches_backend",
                            clock.monotonic_ms(),
                            gateway=names[key],
                            check=key,
                        )
                    )
        await asyncio.sleep(interval_s)


async def _tracer() -> Look:
    # Reading the system's authorities takes tens of milliseconds: not on the loop.
    context = await asyncio.to_thread(client_context, None)
    return lambda target: trace(target, verifying=context)


async def _reaches(look: Look, target: Target | None) -> bool:
    if target is None:
        return False
    try:
        async with asyncio.timeout(LOOK_S):
            return (await look(target)).full.reaches_backend
    except (TimeoutError, OSError):
        return False
