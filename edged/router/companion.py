"""The second session of a router: BGP polls, second opinions, questions of `doctor`.

Apart from the route session, so that a ping of a second or a long peer list never stands before a
write. Opinions go first, then BGP, then the pings that teach which addresses answer pings at all.
It connects only while the route session is up: a router that refuses us hears of it once.
"""

import random
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from edged.core.errors import RouterError
from edged.core.types import MAX_GATEWAYS, OpinionRequest, OpinionResult
from edged.router import opinion
from edged.router.bgp import BgpRead, read_sessions
from edged.router.link import Link, Loss, RouterTiming
from edged.router.opinion import LEARN_EVERY_MS, PingMemory
from edged.router.sentences import request
from edged.router.session import RouterTarget, Session, TrapRefused

OPINIONS_MAX: Final = MAX_GATEWAYS
"""Suspects that may wait for a ping: each once, and each takes a third of a second."""


class CompanionSink(Protocol):
    """The daemon's side; synchronous, never raises."""

    def bgp_read(self, read: BgpRead, now_ms: int, /) -> None:
        """One poll of the router's BGP peers; `peers` is None when they cannot be read."""

    def opinion_given(self, result: OpinionResult, now_ms: int, /) -> None:
        """One second opinion, also an unknown one."""


class RouterCompanion:
    """The loop of the second session; `run` is started once, in the daemon's task group."""

    def __init__(
        self,
        target: RouterTarget,
        context: ssl.SSLContext | None,
        sink: CompanionSink,
        *,
        password: Callable[[], str],
        now_us: Callable[[], int],
        rng: random.Random,
        timing: RouterTiming,
        major: Callable[[], int | None],
        poll_bgp: bool,
    ) -> None:
        self._name = target.name
        self._sink = sink
        self._timing = timing
        self._major = major
        self._poll_bgp = poll_bgp
        self._link = Link(target, context, password=password, now_us=now_us, rng=rng, timing=timing)
        self._wanted: deque[OpinionRequest] = deque()
        self._memory = PingMemory()
        self._learn_due_ms: dict[str, int] = {}
        self._poll_due_ms = 0
        self._test_refused = False

    @property
    def connected(self) -> bool:
        """Whether the second session is open."""
        return self._link.connected

    def wake(self) -> None:
        """Look again: the route session may have come up."""
        self._link.wake()

    def stop(self) -> None:
        """Let `run` end after the command in flight."""
        self._link.stop()

    def learn(self, addresses: Iterable[str]) -> None:
        """Say which addresses may become suspects; each is pinged now and every 15 minutes."""
        self._learn_due_ms = {a: self._learn_due_ms.get(a, 0) for a in addresses}
        self._memory.keep_only(self._learn_due_ms)
        self._link.wake()

    def want_opinion(self, wanted: OpinionRequest) -> None:
        """Have a suspect pinged; asking again while it waits changes nothing."""
        if not any(waiting.gateway == wanted.gateway for waiting in self._wanted):
            if len(self._wanted) == OPINIONS_MAX:
                self._wanted.popleft()
            self._wanted.append(wanted)
        self._link.wake()

    async def run(self) -> None:
        """Serve the second session until `stop`."""
        await self._link.run(
            self._serve,
            lost=self._observe_lost,
            hurried=lambda: bool(self._wanted),
            allowed=lambda: self._major() is not None,
        )

    def _observe_lost(self, loss: Loss) -> None:
        """Say that nothing is known of BGP any more."""
        now_ms = self._link.now_ms()
        if self._poll_bgp:
            self._sink.bgp_read(self._unreadable(loss.detail, now_ms), now_ms)

    def _unreadable(self, detail: str, now_ms: int) -> BgpRead:
        return BgpRead(
            router=self._name, peers=None, sent_ms=now_ms, answered_ms=now_ms, detail=detail
        )

    async def _serve(self, session: Session) -> None:
        self._link.loss = None
        self._test_refused = False
        major = self._major()
        if major is None:
            return  # the route session was lost while this one was opened
        while session.usable and not self._link.stopping:
            self._link.looked()
            now_ms = self._link.now_ms()
            if self._wanted:
                await self._give_opinion(session, self._wanted.popleft(), major)
            elif now_ms >= self._poll_due_ms:
                self._poll_due_ms = now_ms + self._timing.bgp_interval_ms
                await self._poll(session, major)
            elif (address := self._to_learn(now_ms)) is not None:
                await self._learn_one(session, address, major)
            else:
                await self._link.rest(self._next_due_ms())

    async def _give_opinion(self, session: Session, wanted: OpinionRequest, major: int) -> None:
        try:
            result = await opinion.ask(
                session, self._memory, wanted, major=major, now_ms=self._link.now_ms()
            )
        except RouterError as error:
            now_ms = self._link.now_ms()
            self._sink.opinion_given(opinion.unknown(wanted, now_ms, str(error)), now_ms)
            raise
        self._sink.opinion_given(result, self._link.now_ms())

    async def _poll(self, session: Session, major: int) -> None:
        """Read BGP, or only keep the session alive where BGP is nobody's business."""
        try:
            if not self._poll_bgp:
                await session.ask(request("resource"))
                return
            read = await read_sessions(session, self._name, major)
        except TrapRefused as error:
            read = self._unreadable(error.message, self._link.now_ms())
        self._sink.bgp_read(read, self._link.now_ms())

    def _to_learn(self, now_ms: int) -> str | None:
        if self._test_refused:
            return None
        due = [address for address, due_ms in self._learn_due_ms.items() if due_ms <= now_ms]
        return min(due, key=self._learn_due_ms.__getitem__, default=None)

    async def _learn_one(self, session: Session, address: str, major: int) -> None:
        """Ping once; a router that does not let us ping is not asked again on this session."""
        self._learn_due_ms[address] = self._link.now_ms() + LEARN_EVERY_MS
        try:
            await opinion.ping(session, self._memory, address=address, major=major, count=1)
        except TrapRefused:
            self._test_refused = True
            self._learn_due_ms[address] = 0

    def _next_due_ms(self) -> int:
        due = [] if self._test_refused else list(self._learn_due_ms.values())
        return min([*due, self._poll_due_ms])
