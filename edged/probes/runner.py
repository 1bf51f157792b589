"""The runner: starts, reports and aborts what the core asked for. It decides nothing.

Owns all probes under way, the held connection of each check, the queue for TLS handshakes and the
deadlines. When a probe starts and how long it may take is the core's affair; here only our own
trouble is added: time spent in our own queue or in a stall never counts against a gateway.
"""

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from edged.core.types import ProbeDepth, ProbeReason, ProbeRequest
from edged.probes.connection import Connection, Fault, own_fault
from edged.probes.exchanges import Exchange, FullExchange, LightExchange
from edged.probes.faults import timeout_reason
from edged.probes.frames import Pinging
from edged.probes.held import Held
from edged.probes.probe import Probe
from edged.probes.target import ProbeSink, Target
from edged.probes.timers import WATCH_MS, Timers
from edged.probes.tls import digest_of, routine_context
from edged.system import clock

MAX_HANDSHAKES: Final = 32
"""TLS handshakes in flight: each is about 1 ms of our core when its answer comes."""
HANDSHAKE_LEASE_MS: Final = 50
"""A handshake unanswered for this long gives its place to the next: it waits for the gateway and
costs us nothing, and a few hung gateways must not keep the healthy ones waiting."""
MAX_QUEUED_MS: Final = 1_000
"""Longer than this in our own queue is a stall of ours."""
MAX_PROBES_PER_CHECK: Final = 32
"""A burst has at most 8, each repeated at most 3 times; more is a bug of the caller."""
MAX_LOST_MS: Final = 1_000
"""More than this of our own time, and the probe is worth nothing any more."""
LOOK_GRACE_MS: Final = 20
"""Granted once when the last look at a deadline found something that needs one more answer."""
CLOSED_BEFORE_HTTP2: Final = 2
"""So often the preface may be answered by a close while a GET is answered, before we believe it."""
GONE_REASONS: Final = frozenset(
    {ProbeReason.REFUSED, ProbeReason.CONNECT_TIMEOUT, ProbeReason.UNREACHABLE}
)
"""After one of these, who answers next may be another process: whether it speaks HTTP/2 is open."""


class ProbeRunner:
    """Runs probes and held connections for one event loop."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        sink: ProbeSink,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        clock_us: Callable[[], int] = clock.monotonic_us,
    ) -> None:
        self._targets = dict(targets)
        self._sink = sink
        self._loop = loop or asyncio.get_running_loop()
        self._clock_us = clock_us
        self._context = routine_context()
        self.timers = Timers(loop=self._loop, clock_ms=self._now_ms, on_stall=self._on_stall)
        self._probes: dict[int, Probe] = {}
        self._running: Counter[str] = Counter()
        self._held: dict[str, tuple[int, Held]] = {}
        self._queue: deque[Probe] = deque()
        self._shaking = 0
        self._serving = False
        self._digests: dict[str, str] = {}
        self._http1_only: set[str] = set()
        self._closed_before_http2: Counter[str] = Counter()
        self._closed = False

    # --- what the daemon calls

    def start(self, request: ProbeRequest) -> None:
        """Start one probe; a request already under way is ignored.

        Of the sink's methods only `probe_started` is called from here.
        """
        if self._closed or request.probe_id in self._probes:
            return
        probe = Probe(self, request, self._clock_us())
        self._probes[request.probe_id] = probe
        self._running[request.check] += 1
        trouble = self._begin(probe)
        self.timers.add(probe, probe.next_wake_ms(probe.started_lived_ms))
        self._sink.probe_started(request.probe_id, probe.started_us // 1_000)
        if trouble is not None:
            self._loop.call_soon(self._finish, probe, trouble)

    def abort(self, probe_id: int, *, detail: str = "aborted") -> None:
        """Give a probe up; it is reported as cancelled, a moment later."""
        probe = self._probes.get(probe_id)
        if probe is None:
            return
        self._let_go(probe)
        fault = Fault(reason=ProbeReason.CANCELLED, detail=detail)
        self._loop.call_soon(self._finish, probe, fault)

    def reconfigure(self, targets: Mapping[str, Target]) -> None:
        """Take new targets; what was under way to a place that changed is given up."""
        before, self._targets = self._targets, dict(targets)
        for check, old in before.items():
            new = targets.get(check)
            if new is None or not new.same_place(old):
                self._forget(check)
            elif check in self._held:
                self._held[check][1].retime(new.timing)

    def holds(self, check: str) -> bool:
        """Whether a connection of this check is held."""
        return check in self._held

    def close(self) -> None:
        """Abort everything, without a word to the sink."""
        self._closed = True
        self.timers.close()
        for probe in self._probes.values():
            self._let_go(probe)
        for _, held in self._held.values():
            held.close()
        self._probes.clear()
        self._held.clear()
        self._queue.clear()

    # --- beginning

    def _now_ms(self) -> int:
        return self._clock_us() // 1_000

    def _begin(self, probe: Probe) -> Fault | None:
        if probe.check not in self._targets:
            return Fault(reason=ProbeReason.CANCELLED, detail="no such check")
        if self._running[probe.check] > MAX_PROBES_PER_CHECK:
            return Fault(reason=ProbeReason.LOCAL_ERROR, detail="too many probes at once")
        if probe.depth is ProbeDepth.PING:
            entry = self._held.get(probe.check)
            if entry is not None and entry[1].ask(probe.request.probe_id):
                return None
        full = probe.depth is ProbeDepth.FULL or probe.check in self._http1_only
        return self._open(probe, ProbeDepth.FULL if full else ProbeDepth.LIGHT)

    def _open(self, probe: Probe, depth: ProbeDepth) -> Fault | None:
        """Open a fresh connection; return what went wrong at once."""
        target = self._targets[probe.check]
        exchange: Exchange = (
            LightExchange()
            if depth is ProbeDepth.LIGHT
            else FullExchange(server_name=target.server_name, path=target.path)
        )
        connection = Connection(
            probe,
            loop=self._loop,
            address=target.address,
            port=target.port,
            server_name=target.server_name,
            context=self._context,
            exchange=exchange,
        )
        probe.depth = depth
        try:
            connection.open()
        except OSError as error:
            return own_fault(error)
        probe.connection = connection
        return None

    # --- what connections say

    def on_connected(self, probe: Probe) -> None:
        """Report the SYN-ACK, then start TLS or queue for it."""
        now_us = self._clock_us()
        self.timers.alive(now_us // 1_000)
        if probe.connected_us is None:
            probe.connected_us = now_us
            self._sink.probe_connected(probe.request.probe_id, now_us // 1_000)
        probe.queued_ms = self.timers.lived_ms(now_us // 1_000)
        probe.queued_stalled_ms = self.timers.stalled_ms
        self._queue.append(probe)
        self._serve_queue()

    def _serve_queue(self) -> None:
        """Start as many handshakes as there are places.

        One that fails at once frees its place from inside of `start_tls`; the loop goes on then,
        instead of a recursion as deep as the queue.
        """
        if self._serving:
            return
        self._serving = True
        try:
            while self._queue and self._shaking < MAX_HANDSHAKES:
                self._shake(self._queue.popleft())
        finally:
            self._serving = False

    def _shake(self, probe: Probe) -> None:
        if probe.queued_ms is None or probe.connection is None:
            return  # over meanwhile
        lived_ms = self.timers.lived_ms(self._now_ms())
        probe.deadline_ms += lived_ms - probe.queued_ms
        probe.stalled_before_ms += self.timers.stalled_ms - probe.queued_stalled_ms
        probe.queued_ms = None
        probe.shaking_ms = lived_ms
        self._shaking += 1
        probe.connection.start_tls()

    def _free_place(self, probe: Probe) -> None:
        if probe.shaking_ms is not None:
            probe.shaking_ms = None
            self._shaking -= 1
            self._serve_queue()

    def on_secured(self, probe: Probe, connection: Connection) -> None:
        """Compare the leaf's digest and give the handshake's place to the next."""
        der = connection.tls.getpeercert(binary_form=True)
        if der is not None:
            digest = digest_of(der)
            if self._digests.get(probe.check) != digest:
                self._digests[probe.check] = digest
                self._sink.certificate_seen(probe.check, digest, der)
        self._free_place(probe)

    def on_ended(self, probe: Probe, connection: Connection, fault: Fault | None) -> None:
        """Report how a connection ended; that of a light probe becomes the held one."""
        now_us = self._clock_us()
        self.timers.alive(now_us // 1_000)
        self._free_place(probe)
        probe.connection = None
        if fault is None:
            self._pass(probe, connection, now_us)
        elif fault.http1_only:
            self._refuse_http2(probe.check, fault.detail)
            trouble = self._open(probe, ProbeDepth.FULL) if self._runs(probe) else None
            if trouble is not None:
                self._finish(probe, trouble)
        else:
            self._notice_close_before_http2(probe, connection, fault)
            self._finish(probe, fault)

    def _pass(self, probe: Probe, connection: Connection, now_us: int) -> None:
        exchange = connection.exchange
        assert exchange is not None
        if isinstance(exchange, LightExchange) and not exchange.pinging.goaway:
            self._hold(probe, connection.release(), exchange.pinging, now_us // 1_000)
        else:
            connection.close()
        if isinstance(exchange, LightExchange):
            del self._closed_before_http2[probe.check]
        elif self._closed_before_http2[probe.check] >= CLOSED_BEFORE_HTTP2:
            self._refuse_http2(probe.check, "closes on the HTTP/2 preface")
        self._finish(probe, None, http_status=exchange.http_status)

    # --- gateways without HTTP/2

    def _notice_close_before_http2(
        self, probe: Probe, connection: Connection, fault: Fault
    ) -> None:
        exchange = connection.exchange
        if (
            fault.reason is ProbeReason.HTTP_CLOSED
            and isinstance(exchange, LightExchange)
            and not exchange.pinging.greeted
        ):
            self._closed_before_http2[probe.check] += 1

    def _refuse_http2(self, check: str, detail: str) -> None:
        del self._closed_before_http2[check]
        if check in self._http1_only:
            return
        self._http1_only.add(check)
        self._drop_held(check)
        self._sink.heartbeat_unavailable(check, detail, self._now_ms())

    # --- ending

    def watch(self, probe: Probe, lived_ms: int) -> int | None:
        """Look after the deadline of a probe; return when to look again."""
        if probe.over:
            return None
        if probe.queued_ms is not None:
            if lived_ms - probe.queued_ms < MAX_QUEUED_MS:
                return lived_ms + WATCH_MS
            self._finish(probe, Fault(reason=ProbeReason.STALLED, detail="our own queue"))
            return None
        if (
            self._queue
            and probe.shaking_ms is not None
            and lived_ms - probe.shaking_ms >= HANDSHAKE_LEASE_MS
        ):
            self._free_place(probe)
        if lived_ms < probe.deadline_ms:
            return probe.next_wake_ms(lived_ms)
        self._look(probe, lived_ms)
        if lived_ms >= probe.deadline_ms:
            self._finish(probe, self._timeout(probe))
        return probe.next_wake_ms(lived_ms) if self._runs(probe) else None

    def _look(self, probe: Probe, lived_ms: int) -> None:
        """Take what has arrived; progress is given time for one more answer, once."""
        connection = probe.connection
        if connection is None:
            if probe.check in self._held:
                self._held[probe.check][1].look()
            return
        phase = connection.phase
        connection.advance()
        if connection.phase is not phase and not probe.graced:
            probe.graced = True
            probe.deadline_ms = max(probe.deadline_ms, lived_ms + LOOK_GRACE_MS)

    def _timeout(self, probe: Probe) -> Fault:
        if probe.connection is None:
            return Fault(reason=ProbeReason.CANCELLED, detail="the PING is not answered")
        return Fault(reason=timeout_reason(probe.connection.phase))

    def _on_stall(self, stall_ms: int, now_ms: int) -> None:
        self._sink.stalled(stall_ms, now_ms)
        for probe in list(self._probes.values()):
            if probe.lost_ms() > MAX_LOST_MS + probe.length_ms:
                self._look(probe, self.timers.lived_ms(now_ms))
                self._finish(probe, Fault(reason=ProbeReason.STALLED, detail="too many stalls"))

    def _runs(self, probe: Probe) -> bool:
        return probe.request.probe_id in self._probes

    def _let_go(self, probe: Probe) -> None:
        probe.queued_ms = None
        self._free_place(probe)
        if probe.connection is not None:
            probe.connection.close()

    def _finish(self, probe: Probe, fault: Fault | None, *, http_status: int | None = None) -> None:
        """Report a probe, once."""
        if probe.over or self._closed:
            return
        probe.over = True
        fault = None if fault is None else probe.excused(fault)
        if fault is not None and fault.reason in GONE_REASONS:
            self._http1_only.discard(probe.check)
        self._let_go(probe)
        probe.connection = None
        del self._probes[probe.request.probe_id]
        self._running[probe.check] -= 1
        now_us = self._clock_us()
        result = probe.result(fault, http_status=http_status, now_us=now_us)
        self._sink.probe_finished(result, now_us // 1_000)

    # --- held connections

    def _hold(self, probe: Probe, tls: ssl.SSLSocket, pinging: Pinging, now_ms: int) -> None:
        """Let the newest light connection take over."""
        check = probe.check
        before = self._held.get(check)
        if before is not None and before[0] > probe.started_us:
            tls.close()
            return
        held = Held(
            self,
            check=check,
            timing=self._targets[check].timing,
            loop=self._loop,
            timers=self.timers,
            tls=tls,
            pinging=pinging,
            now_ms=now_ms,
        )
        self._held[check] = (probe.started_us, held)
        if before is not None:
            for token in before[1].close():
                held.ask(token)
        self._sink.held_opened(check, now_ms)

    def _drop_held(self, check: str) -> None:
        """Give the held connection up; nobody is to read anything into it."""
        entry = self._held.pop(check, None)
        if entry is not None:
            self._cancel_asked(entry[1].close())
            self._loop.call_soon(self._tell_goaway, check)

    def _tell_goaway(self, check: str) -> None:
        if not self._closed:
            self._sink.held_goaway(check, self._now_ms())

    def _cancel_asked(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            self.abort(token, detail="the held connection is gone")

    def _forget(self, check: str) -> None:
        for probe in list(self._probes.values()):
            if probe.check == check:
                self.abort(probe.request.probe_id, detail="the target has changed")
        self._drop_held(check)
        self._digests.pop(check, None)
        self._http1_only.discard(check)
        del self._closed_before_http2[check]

    def on_lost(self, held: Held, reason: str) -> None:
        """A held connection broke."""
        del self._held[held.check]
        self._cancel_asked(held.close())
        self._sink.held_lost(held.check, reason, self._now_ms())

    def on_left(self, held: Held) -> None:
        """A held connection said goodbye."""
        del self._held[held.check]
        self._cancel_asked(held.close())
        self._sink.held_goaway(held.check, self._now_ms())

    def on_missed(self, held: Held, sent_ms: int, now_ms: int) -> None:
        """A heartbeat is late."""
        self._sink.heartbeat_missed(held.check, sent_ms, now_ms)

    def on_heard(self, held: Held) -> None:
        """The first answer after a miss."""
        self._sink.heartbeat_heard(held.check, self._now_ms())

    def on_ponged(self, token: int) -> None:
        """A witness's PING is answered."""
        probe = self._probes.get(token)
        if probe is not None:
            self._finish(probe, None)
