"""Delivery: one task a channel, which sends what waits and learns from the answers.

Owns back-off, the rate of a channel and its health. Must not decide what is worth a message, and
must not be waited for by anybody: a service that hangs holds up its own channel only.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from edged.alerts.channels.base import Endpoint, Fate, Request, Verdict
from edged.alerts.channels.table import SERVICES
from edged.alerts.facts import AlertFacts
from edged.alerts.outbox import Outbox, Queued
from edged.alerts.sending import Client, NotSent
from edged.alerts.texts.compose import About, compose
from edged.alerts.texts.message import Message
from edged.config.secret import SecretError
from edged.config.types import ChannelConfig
from edged.core.events import Severity
from edged.system import clock

BACKOFF_FIRST_MS: Final = 1_000
BACKOFF_MAX_MS: Final = 300_000
BURST: Final = 5
REFILL_MS: Final = 1_000
"""A channel's bucket holds five messages and gets one a second."""
HOUR_MAX: Final = 60
"""More that are not critical wait, and grow together meanwhile."""
HOUR_MS: Final = 3_600_000
IDLE_MS: Final = 60_000
ERROR_CHARACTERS_MAX: Final = 300
MISHAPS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What odd facts could make of a text: our fault, but none that may end edged."""


class Ledger(Protocol):
    """Who keeps what becomes of a message."""

    async def delivered(self, queued: Queued, *, took_ms: int) -> None:
        """It has arrived: forget it, on disk too."""
        ...

    async def failed(self, queued: Queued, *, detail: str) -> None:
        """An attempt failed; `queued.failed` says whether it was the last."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt came to."""

    verdict: Verdict
    took_ms: int


class Bucket:
    """How fast a channel may be written to; integers, so that two runs are equal."""

    __slots__ = ("_at_ms", "_hour", "_tokens_ms")

    def __init__(self, now_ms: int) -> None:
        self._at_ms = now_ms
        self._tokens_ms = BURST * REFILL_MS
        self._hour: list[int] = []

    def wait_ms(self, now_ms: int, *, critical: bool) -> int:
        """Return how long the next message has to wait; 0 for not at all."""
        self._fill(now_ms)
        wait_ms = max(REFILL_MS - self._tokens_ms, 0)
        if not critical and len(self._hour) >= HOUR_MAX:
            wait_ms = max(wait_ms, self._hour[-HOUR_MAX] + HOUR_MS - now_ms)
        return wait_ms

    def take(self, now_ms: int) -> None:
        """Count a message."""
        self._fill(now_ms)
        self._tokens_ms = max(self._tokens_ms - REFILL_MS, 0)
        self._hour.append(now_ms)

    def _fill(self, now_ms: int) -> None:
        self._tokens_ms = min(self._tokens_ms + now_ms - self._at_ms, BURST * REFILL_MS)
        self._at_ms = now_ms
        self._hour = [at_ms for at_ms in self._hour if at_ms > now_ms - HOUR_MS]


def backoff_ms(failures: int, rng: random.Random) -> int:
    """Return the wait after a number of failures in a row: doubled, with jitter."""
    ceiling = min(BACKOFF_FIRST_MS << min(failures - 1, 20), BACKOFF_MAX_MS)
    return rng.randint(ceiling // 2, ceiling)


class Sender:
    """One channel."""

    def __init__(
        self,
        config: ChannelConfig,
        *,
        outbox: Outbox,
        client: Client,
        ledger: Ledger,
        endpoint: Callable[[ChannelConfig], Endpoint],
        about: Callable[[], About],
        rng: random.Random,
    ) -> None:
        self.config = config
        self._outbox = outbox
        self._client = client
        self._ledger = ledger
        self._endpoint = endpoint
        self._about = about
        self._rng = rng
        self._news = asyncio.Event()
        self._closed = False
        self._failures = 0
        self._not_before_ms = 0
        self._moved_to: str | None = None
        self._bucket = Bucket(clock.monotonic_ms())
        self.trouble = ""

    @property
    def state(self) -> str:
        """Return how the channel does, in a word or a sentence."""
        return self.trouble or "ok"

    def wake(self) -> None:
        """Say that something may wait."""
        self._news.set()

    def hurry(self) -> None:
        """Forget the back-off: a person asked."""
        self._not_before_ms = 0
        self._news.set()

    def close(self) -> None:
        """End after the attempt in flight."""
        self._closed = True
        self._news.set()

    async def run(self) -> None:
        """Send what waits, until closed."""
        while not self._closed:
            self._news.clear()
            now_ms = clock.monotonic_ms()
            queued = self._outbox.next(self.config.name, now_ms)
            wait_ms = self._wait_ms(queued, now_ms)
            if queued is not None and wait_ms == 0:
                await self._deliver(queued)
                continue
            try:
                async with asyncio.timeout(wait_ms / 1_000):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _wait_ms(self, queued: Queued | None, now_ms: int) -> int:
        if queued is None:
            held_ms = self._outbox.held_until_ms(self.config.name, now_ms)
            return IDLE_MS if held_ms is None else min(max(held_ms - now_ms, 1), IDLE_MS)
        critical = queued.facts.severity is Severity.CRITICAL
        rate_ms = self._bucket.wait_ms(now_ms, critical=critical)
        return min(max(rate_ms, self._not_before_ms - now_ms, 0), IDLE_MS)

    async def _deliver(self, queued: Queued) -> None:
        self._outbox.leave(queued.seq)
        self._bucket.take(clock.monotonic_ms())
        try:
            outcome = await self.attempt(queued.facts)
        except BaseException:
            self._outbox.stay(queued.seq)
            raise
        verdict = outcome.verdict
        if verdict.fate is Fate.DELIVERED:
            self._failures, self._not_before_ms, self.trouble = 0, 0, ""
            self._outbox.delivered(queued.seq)
            await self._ledger.delivered(queued, took_ms=outcome.took_ms)
            return
        final = verdict.fate is not Fate.RETRY
        self.trouble = verdict.detail[:ERROR_CHARACTERS_MAX]
        self._failures += 1
        if not final:
            wait_ms = verdict.after_ms
            if wait_ms is None:
                wait_ms = backoff_ms(self._failures, self._rng)
            self._not_before_ms = clock.monotonic_ms() + wait_ms
        row = self._outbox.failed(queued.seq, self.trouble, final=final)
        if row is not None:
            await self._ledger.failed(row, detail=self.trouble)

    async def attempt(self, facts: AlertFacts) -> Outcome:
        """Write a message for the service, send it and say what came of it."""
        started_ms = clock.monotonic_ms()
        verdict = await self._attempt(facts)
        return Outcome(verdict=verdict, took_ms=clock.monotonic_ms() - started_ms)

    async def _attempt(self, facts: AlertFacts) -> Verdict:
        try:
            endpoint = self._endpoint(self.config)
        except SecretError as error:
            return Verdict(fate=Fate.RETRY, detail=str(error))
        if self._moved_to is not None:
            endpoint = replace(endpoint, chat_id=self._moved_to)
        now = clock.wall()
        service = SERVICES[self.config.type]
        try:
            message = compose(facts, self._about(), self.config.language, now=now)
            request = service.write(message, endpoint, now)
        except MISHAPS as error:
            # A message that waits on disk must not end edged again at every start.
            detail = f"this message cannot be written, a bug: {type(error).__name__}"
            return Verdict(fate=Fate.REFUSED, detail=detail)
        verdict = await self._send(request)
        if verdict.fate is Fate.TOO_LARGE:
            short = replace(message, lines=())
            verdict = await self._send(service.write(short, endpoint, now))
            if verdict.fate is Fate.TOO_LARGE:
                verdict = replace(verdict, fate=Fate.REFUSED)
        if verdict.moved_to is not None:
            self._moved_to = verdict.moved_to
        return verdict

    async def _send(self, request: Request) -> Verdict:
        try:
            answer = await self._client.post(request, proxy=self.config.proxy)
        except NotSent as error:
            return Verdict(fate=Fate.RETRY, detail=str(error))
        return SERVICES[self.config.type].judge(answer, clock.wall())

    def message(self, facts: AlertFacts) -> Message:
        """Return a message as this channel would get it now."""
        return compose(facts, self._about(), self.config.language, now=clock.wall())
