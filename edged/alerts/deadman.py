"""The dead-man's switch: asks a URL as long as edged can do its work, and stops when it cannot.

Somebody outside (healthchecks.io, Uptime Kuma) notices the silence: of edged, its host, the line or
the router, none of which edged itself could tell anybody about.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from edged.alerts.sending import Client, NotSent
from edged.config.secret import SecretError, SecretSource

GOOD: Final = range(200, 300)
HELD: Final = "held back"
LOOK_S: Final = 5.0
"""How soon it is held down again once edged can do its work; at the start, too."""
ATTEMPTS: Final = 2
"""Within one interval: one lost packet is no alarm in the night."""


class DeadMansSwitch:
    """Holds the switch down."""

    def __init__(
        self,
        url: SecretSource,
        interval_ms: int,
        *,
        client: Client,
        hide: Callable[[str], None],
        obstacle: Callable[[], str],
    ) -> None:
        self._url = url
        self._interval_s = interval_ms / 1_000
        self._client = client
        self._hide = hide
        self._obstacle = obstacle
        self.state = "not asked yet"

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            held = self.state.startswith(HELD)
            await asyncio.sleep(min(self._interval_s, LOOK_S) if held else self._interval_s)

    async def ask(self) -> None:
        """Ask once, unless edged cannot do its work."""
        obstacle = self._obstacle()
        if obstacle:
            self.state = f"{HELD}: {obstacle}"
            return
        for _ in range(ATTEMPTS):
            self.state = await self._attempt()
            if self.state == "ok":
                return

    async def _attempt(self) -> str:
        try:
            url = self._url.read().reveal().strip()
        except SecretError as error:
            return str(error)
        self._hide(url)
        try:
            answer = await self._client.get(url)
        except NotSent as error:
            return str(error)
        return "ok" if answer.status in GOOD else f"answers {answer.status}"
