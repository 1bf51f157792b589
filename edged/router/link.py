"""Keeping one session: connect, let it be used until it is lost, wait, connect again.

Owns the backoff and the wake-up of one loop. Knows nothing of what is asked over the session.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from edged.core.errors import RouterError, RouterLoginRefused
from edged.router.session import CommandDeadline, RouterTarget, Session, open_session

LIVED_MS: Final = 5_000
"""A session that lived this long was a working one: the first reconnect after it is at once."""

_LOOK_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterTiming:
    """The times of one router's loops (design: reconnect 1 -> 30 s, logins 5 s -> 5 min)."""

    reconcile_interval_ms: int = 10_000
    keep_alive_ms: int = 5_000
    bgp_interval_ms: int = 5_000
    command_deadline_ms: int = 1_000
    open_deadline_ms: int = 5_000
    retry_ms: int = 1_000
    retry_ms_max: int = 30_000
    retry_ms_while_wanted: int = 2_000
    login_retry_ms: int = 5_000
    login_retry_ms_max: int = 300_000


class Backoff:
    """When to connect again: at once after a working session, then 1 -> 30 s, with jitter."""

    __slots__ = ("_failures", "_refusals", "_rng", "_timing")

    def __init__(self, timing: RouterTiming, rng: random.Random) -> None:
        self._timing = timing
        self._rng = rng
        self._failures = 0
        self._refusals = 0

    def observe_lost(self, *, lived_ms: int, login_refused: bool) -> None:
        """Count a failure; a session that had worked for a while starts the count anew."""
        if login_refused:
            self._refusals += 1
            return
        self._refusals = 0
        self._failures = 0 if lived_ms >= LIVED_MS else self._failures + 1

    def next_delays_ms(self) -> tuple[int, int]:
        """Return how long to wait, and how long at most while somebody waits for the session.

        Refused credentials are not hurried: a router may count them.
        """
        timing = self._timing
        if self._refusals:
            delay = self._doubled(timing.login_retry_ms, timing.login_retry_ms_max, self._refusals)
            return delay, delay
        if not self._failures:
            return 0, 0
        delay = self._doubled(timing.retry_ms, timing.retry_ms_max, self._failures)
        return delay, min(delay, timing.retry_ms_while_wanted)

    def _doubled(self, base_ms: int, max_ms: int, count: int) -> int:
        plain = min(base_ms << min(count - 1, 16), max_ms)
        return min(round(plain * self._rng.uniform(0.8, 1.2)), max_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Why there is no session."""

    detail: str
    login_refused: bool


class Link:
    """One session, kept: `run` serves it again and again until `stop`."""

    def __init__(
        self,
        target: RouterTarget,
        context: ssl.SSLContext | None,
        *,
        password: Callable[[], str],
        now_us: Callable[[], int],
        rng: random.Random,
        timing: RouterTiming,
    ) -> None:
        self._target = target
        self._context = context
        self._password = password
        self._now_us = now_us
        self._timing = timing
        self._backoff = Backoff(timing, rng)
        self._wake = asyncio.Event()
        self._session: Session | None = None
        self.deadline = CommandDeadline(timing.command_deadline_ms)
        self.stopping = False
        self.loss: Loss | None = None

    @property
    def connected(self) -> bool:
        """Whether a command could be sent now."""
        return self._session is not None and self._session.usable

    def wake(self) -> None:
        """End a rest early."""
        self._wake.set()

    def stop(self) -> None:
        """Let `run` end after the command in flight."""
        self.stopping = True
        self._wake.set()

    def now_ms(self) -> int:
        """Return the time."""
        return self._now_us() // 1_000

    def looked(self) -> None:
        """Note that everything known so far is being looked at; a later `wake` counts anew."""
        self._wake.clear()

    async def rest(self, until_ms: int) -> None:
        """Sleep until a time or a wake-up; waking early is harmless."""
        delay_ms = max(0, until_ms - self.now_ms())
        try:
            async with asyncio.timeout(delay_ms / 1_000):
                await self._wake.wait()
        except TimeoutError:
            return

    async def run(
        self,
        serve: Callable[[Session], Awaitable[None]],
        *,
        lost: Callable[[Loss], None],
        hurried: Callable[[], bool],
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        """Open a session, let `serve` use it, and do so again after each loss.

        Args:
            serve: Returns when the session is not usable any more, or `stopping`.
            lost: Told of each loss whose detail differs from the last one.
            hurried: Whether somebody waits for the session.
            allowed: Whether to connect at all; looked at again with each wake-up.
        """
        try:
            while not self.stopping:
                self.looked()
                if not allowed():
                    await self.rest(self.now_ms() + _LOOK_MS)
                    continue
                opened_ms: int | None = None
                try:
                    self._session = await self._open()
                    opened_ms = self.now_ms()
                    await serve(self._session)
                    loss = self._ended(self._session)
                except RouterError as error:
                    loss = Loss(
                        detail=str(error), login_refused=isinstance(error, RouterLoginRefused)
                    )
                self._drop()
                await self._after(loss, opened_ms, lost, hurried)
        finally:
            self._drop()

    async def _open(self) -> Session:
        return await open_session(
            self._target,
            context=self._context,
            password=self._password,
            deadline=self.deadline,
            now_us=self._now_us,
            on_end=self.wake,
            open_deadline_ms=self._timing.open_deadline_ms,
        )

    def _ended(self, session: Session) -> Loss:
        detail = session.end_detail or f"{self._target.name}: the router ended the connection"
        return Loss(detail=detail, login_refused=False)

    async def _after(
        self,
        loss: Loss,
        opened_ms: int | None,
        lost: Callable[[Loss], None],
        hurried: Callable[[], bool],
    ) -> None:
        if self.stopping:
            return
        lost_ms = self.now_ms()
        if loss != self.loss:
            self.loss = loss
            lost(loss)
        lived_ms = 0 if opened_ms is None else lost_ms - opened_ms
        self._backoff.observe_lost(lived_ms=lived_ms, login_refused=loss.login_refused)
        usual_ms, hurried_ms = self._backoff.next_delays_ms()
        while not self.stopping:
            self.looked()
            until_ms = lost_ms + (hurried_ms if hurried() else usual_ms)
            if self.now_ms() >= until_ms:
                return
            await self.rest(until_ms)

    def _drop(self) -> None:
        if self._session is not None:
            self._session.abort()
            self._session = None
