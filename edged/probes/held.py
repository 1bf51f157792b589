"""The held connection of a check: a tripwire, and a PING on it every now and then.

Owns the standing connection of the latest light probe, its heartbeats and the PINGs that witnesses
are asked for. A sensor only: it reports what it hears and misses, and never a verdict.

A PING that goes unanswered does not stop the next ones: new segments make the peer's kernel
acknowledge selectively, which repairs a lost one sooner than the retransmission timer's 200 ms.
"""

import asyncio
import ssl
from collections import deque
from typing import Final, Protocol

from edged.core.types import ProbeTiming
from edged.probes.connection import read_some
from edged.probes.faults import describe
from edged.probes.frames import FrameError, Pinging
from edged.probes.timers import Timers, on_grid

MAX_UNANSWERED: Final = 32
"""PINGs in flight; beyond it a silent peer's send buffer would grow for nothing."""
CLOSED_BY_GATEWAY: Final = "closed by the gateway"


class HeldOwner(Protocol):
    """Who is told about held connections."""

    def on_lost(self, held: "Held", reason: str) -> None:
        """It broke without a GOAWAY; `close` is to be called."""

    def on_left(self, held: "Held") -> None:
        """It said GOAWAY, or something we do not understand; `close` is to be called."""

    def on_missed(self, held: "Held", sent_ms: int, now_ms: int) -> None:
        """A heartbeat is late; told once until one is heard."""

    def on_heard(self, held: "Held") -> None:
        """The first answer after a miss."""

    def on_ponged(self, token: int) -> None:
        """The PING asked for under `token` is answered."""


class Held:
    """One standing connection and its heartbeat."""

    __slots__ = (
        "_asked",
        "_beating",
        "_closed",
        "_fd",
        "_loop",
        "_next_ms",
        "_outgoing",
        "_owner",
        "_pinging",
        "_socket",
        "_timers",
        "_unanswered",
        "check",
        "missing",
        "timing",
    )

    def __init__(
        self,
        owner: HeldOwner,
        *,
        check: str,
        timing: ProbeTiming,
        loop: asyncio.AbstractEventLoop,
        timers: Timers,
        tls: ssl.SSLSocket,
        pinging: Pinging,
        now_ms: int,
    ) -> None:
        self.check = check
        self.timing = timing
        self._closed = False
        self.missing = False
        self._owner = owner
        self._loop = loop
        self._timers = timers
        self._socket = tls
        self._pinging = pinging
        self._outgoing = b""
        self._asked: deque[tuple[int, int]] = deque()
        self._unanswered: deque[tuple[int, int, int]] = deque()
        self._fd = tls.fileno()
        self._next_ms = 0
        self._beating = False
        loop.add_reader(self._fd, self._on_readable)
        if timing.heartbeat:
            self._start_beating(timers.lived_ms(now_ms))

    def ask(self, token: int) -> bool:
        """Send a PING at once for a witness; False if that cannot be done."""
        if not (self.stands() and self._send_ping()):
            return False
        self._asked.append((self._pinging.sent, token))
        return True

    def look(self) -> None:
        """Take what has arrived meanwhile."""
        if self.stands():
            self._on_readable()

    def stands(self) -> bool:
        """Whether it is still open."""
        return not self._closed

    def retime(self, timing: ProbeTiming) -> None:
        """Take new numbers from the next heartbeat on."""
        self.timing = timing
        if timing.heartbeat and not self._beating:
            self._start_beating(self._timers.now_lived_ms())

    def close(self) -> list[int]:
        """Abort without a word to the owner; return the tokens nobody has answered."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._fd)
            self._socket.close()
        tokens = [token for _, token in self._asked]
        self._asked.clear()
        return tokens

    def wake(self, lived_ms: int, now_ms: int) -> int | None:
        """Send the heartbeat that is due and look after those unanswered (called by `Timers`)."""
        if not self.timing.heartbeat:
            self._beating = False
            return None
        if self._overdue(lived_ms) and not self.missing:
            self.look()  # an answer that has already arrived counts
        if self._overdue(lived_ms) and not self.missing:
            self.missing = True
            self._owner.on_missed(self, self._unanswered[0][2], now_ms)
        if lived_ms >= self._next_ms and self.stands():
            self._beat(lived_ms, now_ms)
        if not self.stands():
            return None
        if self._unanswered and not self.missing:
            return min(self._next_ms, self._unanswered[0][1] + self.timing.heartbeat_deadline_ms)
        return self._next_ms

    def _start_beating(self, lived_ms: int) -> None:
        self._beating = True
        self._next_ms = on_grid(lived_ms + self.timing.heartbeat_interval_ms)
        self._timers.add(self, self._next_ms)

    def _overdue(self, lived_ms: int) -> bool:
        return bool(self._unanswered and self.stands()) and (
            lived_ms >= self._unanswered[0][1] + self.timing.heartbeat_deadline_ms
        )

    def _beat(self, lived_ms: int, now_ms: int) -> None:
        interval_ms = self.timing.heartbeat_interval_ms
        self._next_ms = max(self._next_ms + interval_ms, on_grid(lived_ms + 1))
        if len(self._unanswered) < MAX_UNANSWERED and self._send_ping():
            self._unanswered.append((self._pinging.sent, lived_ms, now_ms))

    def _send_ping(self) -> bool:
        """Send a PING; False if the peer's kernel takes no more, or the connection just broke."""
        if self._outgoing:
            self._write()
            if self._outgoing:
                return False
        self._outgoing = self._pinging.ping()
        self._write()
        return True

    def _write(self) -> None:
        """Send what the peer's kernel takes; a broken connection is reported a moment later."""
        try:
            while self._outgoing:
                self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._loop.call_soon(self._lose, describe(error))

    def _on_readable(self) -> None:
        try:
            data = read_some(self._socket)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._lose(describe(error))
            return
        if data:
            self._take(data)
        else:
            self._lose(CLOSED_BY_GATEWAY)

    def _take(self, data: bytes) -> None:
        pinging = self._pinging
        before = pinging.acked
        try:
            reply = pinging.receive(data)
        except FrameError:
            self._leave()
            return
        if pinging.acked != before:
            self._on_answer(pinging.acked)
        if not self.stands():
            return
        if pinging.goaway:
            self._leave()
        elif reply:
            self._reply(reply)

    def _reply(self, reply: bytes) -> None:
        if len(self._outgoing) > len(reply) + MAX_UNANSWERED:
            self._leave()  # it sends and never reads
            return
        self._outgoing += reply
        self._write()

    def _on_answer(self, number: int) -> None:
        unanswered = self._unanswered
        while unanswered and unanswered[0][0] <= number:
            unanswered.popleft()
        if self.missing:
            # The miss has spoken for all that were sent until now; their answers may trickle in.
            self.missing = False
            unanswered.clear()
            self._owner.on_heard(self)
        while self._asked and self._asked[0][0] <= number and self.stands():
            self._owner.on_ponged(self._asked.popleft()[1])

    def _lose(self, reason: str) -> None:
        if self._closed:
            return
        self._owner.on_lost(self, reason)

    def _leave(self) -> None:
        self._owner.on_left(self)
