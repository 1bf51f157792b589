"""Evidence: what the probes and sensors of one check say, and when that amounts to a verdict.

Owns the burst, the three ways to die, the witness's span and the probes a check wants. Must not
know routes, floors or other gateways: the engine hands in who else answered.

Theory. A single bad sign proves nothing. A *burst* of fresh probes asks again, quickly, and one of
three closed rules must be met (design 4.3): *refused* needs two RSTs at least 3 ms apart, *silent*
needs three SYNs and the held connection without a sound, *ill* needs four failures although
something came back. A verdict without a witness, another gateway that answered in the same span,
is recorded as such and removes nobody.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, assert_never

from edged.core.types import (
    LOSS_REASONS,
    UNANSWERED_REASONS,
    CheckConfig,
    DeathClass,
    ProbeDepth,
    ProbeKind,
    ProbeOutcome,
    ProbeReason,
    ProbeRequest,
    ProbeResult,
    ProbeTiming,
)

REFUSAL_GAP_MS: Final = 3
"""Two refusals count only this far apart: a listener swap has a gap of a millisecond or two."""
EXTRA_PROBES: Final = 4
"""Probes that may follow refusals within one burst."""
REPEATS: Final = 3
"""Immediate repeats of inconclusive probes in a row; more would spin on EMFILE."""
SENSOR_AGAIN_MS: Final = 1_000
"""A sensor that stays bad may trip again after this."""
FOLLOW_GAP_MS: Final = 10
"""After a routine probe that took its whole deadline to fail, the others keep this gap: sent all at
once, no witness asked in that instant could answer before the last of them leaves."""
WITNESS_AGAIN_MS: Final = 20
"""Without a witness by then, two more gateways are asked; and again after twice as long each time,
so that three hundred bursts at once do not drown the network in questions."""
LOST_PROBE_MS: Final = 2_000
"""A probe not reported this long after its deadline is given up: a guard against our own bugs."""
REPORT_GRACE_MS: Final = 50
"""A burst waits this long after its last deadline: several probes may fail at that instant, and
their timers are not ours. Without it the first report would end the burst before the others."""
BUCKET_MS: Final = 60_000
LOSSY_BUCKETS: Final = 10
LOSSY_PER_MILLE: Final = 5
LOSSY_LEAST: Final = 3
FLAKY_BUCKETS: Final = 5
FLAKY_PER_MILLE: Final = 30
FLAKY_LEAST: Final = 9

_MORE_AFTER = frozenset({ProbeReason.REFUSED, ProbeReason.TLS_RESET})
_OVERLOAD = frozenset({ProbeReason.TLS_TIMEOUT, ProbeReason.HTTP_TIMEOUT})

WitnessFinder = Callable[[int, int], str | None]
"""(sent at or after, answered at or before) -> name of somebody else who answered, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How a burst ended: by a pass (`passed`), with a class, or with neither."""

    passed: bool = False
    death: DeathClass | None = None
    witness: str | None = None
    burst_start_ms: int
    first_sign_ms: int
    ended_ms: int
    cause: str


class Flight:
    """One probe of a check, from wish to result."""

    __slots__ = ("connected_ms", "repeats", "request", "result", "slot", "started_ms")

    def __init__(self, request: ProbeRequest, *, slot: int | None = None) -> None:
        self.request = request
        self.slot = slot
        self.started_ms: int | None = None
        self.connected_ms: int | None = None
        self.result: ProbeResult | None = None
        self.repeats = 0

    def unanswered(self, now_ms: int, wait_ms: int) -> bool:
        """Whether this probe's SYN has had no answer for at least `wait_ms`."""
        if self.started_ms is None or self.connected_ms is not None:
            return False
        if self.result is not None:
            return self.result.reason in UNANSWERED_REASONS
        return now_ms >= self.started_ms + wait_ms


class Burst:
    """A short series of full probes on one gateway; see the module's theory."""

    __slots__ = (
        "asked",
        "cause",
        "ends_ms",
        "extended_ms",
        "extras_left",
        "first_sign_ms",
        "flights",
        "heard",
        "second_round",
        "start_ms",
        "witness_followed",
        "witness_next_ms",
        "witness_told",
        "witness_wait_ms",
    )

    def __init__(self, *, cause: str, start_ms: int, first_sign_ms: int, ends_ms: int) -> None:
        self.cause = cause
        self.start_ms = start_ms
        self.first_sign_ms = first_sign_ms
        self.ends_ms = ends_ms
        self.extended_ms = 0
        self.extras_left = EXTRA_PROBES
        self.flights: list[Flight] = []
        self.heard = False
        self.second_round = False
        self.asked: set[str] = set()
        self.witness_wait_ms = WITNESS_AGAIN_MS
        self.witness_next_ms = start_ms + WITNESS_AGAIN_MS
        self.witness_told = False
        self.witness_followed = False

    @property
    def base(self) -> list[Flight | None]:
        """The four planned probes in their order, each as it was last repeated."""
        slots: list[Flight | None] = [None, None, None, None]
        for flight in self.flights:
            if flight.slot is not None:
                slots[flight.slot] = flight
        return slots

    def first_failed_sent_ms(self) -> int:
        """Return when the first probe left that has failed, or the burst's start until one has.

        A dying listener may reset a handshake before it refuses: that failure counts as the first.
        """
        sent = [
            flight.result.started_ms
            for flight in self.flights
            if flight.result is not None and flight.result.outcome is ProbeOutcome.FAILED
        ]
        return min(sent, default=self.start_ms)

    @property
    def over_ms(self) -> int:
        """When the burst ends even if a probe has not been reported."""
        return self.ends_ms + self.extended_ms + REPORT_GRACE_MS

    def ask_later(self, now_ms: int) -> None:
        """Say when two more gateways should be asked if no witness has answered by then."""
        self.witness_wait_ms *= 2
        self.witness_next_ms = now_ms + self.witness_wait_ms

    def passed_over(self) -> bool:
        """Whether no probe of this burst can still bring news."""
        return all(flight.result is not None for flight in self.flights)


class LossWindow:
    """Probes and failures per minute, for the two slow judgements about a path."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque(maxlen=LOSSY_BUCKETS)

    def add(self, now_ms: int, *, failed: bool, lost: bool) -> None:
        """Count one fresh probe."""
        minute = now_ms // BUCKET_MS
        if not self._buckets or self._buckets[-1][0] != minute:
            self._buckets.append([minute, 0, 0, 0])
        bucket = self._buckets[-1]
        bucket[1] += 1
        bucket[2] += failed
        bucket[3] += lost

    def _sum(self, now_ms: int, buckets: int) -> tuple[int, int, int]:
        oldest = now_ms // BUCKET_MS - buckets
        probes = failed = lost = 0
        for minute, count, fails, losses in self._buckets:
            if minute > oldest:
                probes, failed, lost = probes + count, failed + fails, lost + losses
        return probes, failed, lost

    def lossy(self, now_ms: int) -> bool:
        """Whether more than 0.5 % of the probes of ten minutes failed by loss."""
        probes, _, lost = self._sum(now_ms, LOSSY_BUCKETS)
        return lost >= LOSSY_LEAST and lost * 1_000 > probes * LOSSY_PER_MILLE

    def flaky(self, now_ms: int) -> tuple[bool, int, int]:
        """Whether more than 3 % of five minutes' probes failed, with failures and probes."""
        probes, failed, _ = self._sum(now_ms, FLAKY_BUCKETS)
        is_flaky = failed >= FLAKY_LEAST and failed * 1_000 > probes * FLAKY_PER_MILLE
        return is_flaky, failed, probes


def came_back(flight: Flight) -> bool:
    """Whether anything at all returned for this probe: a SYN-ACK, an RST, bytes."""
    if flight.connected_ms is not None:
        return True
    result = flight.result
    if result is None or result.outcome is ProbeOutcome.INCONCLUSIVE:
        return False
    return result.reason not in UNANSWERED_REASONS


def judge(
    burst: Burst,
    timing: ProbeTiming,
    *,
    now_ms: int,
    lossy: bool,
    heard_now: bool,
    witness: WitnessFinder,
) -> tuple[DeathClass, str | None] | None:
    """Say which class the burst has reached by now, with its witness if there is one.

    `heard_now` says that the held connection owes no answer. A class without a witness is
    reported, too; the caller lets the burst run on until its end.
    """
    refusals = [
        flight.result
        for flight in burst.flights
        if flight.result is not None and flight.result.reason is ProbeReason.REFUSED
    ]
    if len(refusals) > 1:
        first = min(refusals, key=lambda result: result.finished_ms)
        last = max(refusals, key=lambda result: result.finished_ms)
        if last.finished_ms - first.finished_ms >= REFUSAL_GAP_MS:
            return DeathClass.REFUSED, witness(burst.first_failed_sent_ms(), last.started_ms)

    heard = burst.heard or heard_now
    base = burst.base
    needed = 4 if lossy else 3
    wait_ms = timing.syn_wait_ms + burst.extended_ms
    unanswered = [f for f in base if f is not None and f.unanswered(now_ms, wait_ms)]
    if (
        not heard
        and all(f is not None and f.unanswered(now_ms, wait_ms) for f in base[:needed])
        and not any(came_back(flight) for flight in burst.flights)
    ):
        return DeathClass.SILENT, witness(_started(unanswered[0]), _started(unanswered[-1]))

    results = [flight.result if flight is not None else None for flight in base]
    if any(r is None or r.outcome is not ProbeOutcome.FAILED for r in results):
        return None
    # All four failed, and something came back: had nothing, they would be silent by now.
    return DeathClass.ILL, witness(_started(base[0]), _started(base[3]))


def _started(flight: Flight | None) -> int:
    assert flight is not None
    assert flight.started_ms is not None
    return flight.started_ms


class Evidence:
    """Everything one check's probes and sensors have said, and the probes it wants next.

    The engine calls the `on_*` methods with facts, `advance` when time has passed, and takes
    `wanted` probes from it. Nothing here looks at a clock or at another check.
    """

    __slots__ = (
        "_bad_sensors",
        "_down",
        "_ids",
        "_jitter",
        "_jitter_at",
        "_last_full_ms",
        "_repeats",
        "_uncounted",
        "answers",
        "burst",
        "config",
        "flights",
        "heartbeat_refused",
        "held",
        "hurry",
        "inconclusive_in_row",
        "last_latency_ms",
        "last_outcome",
        "last_overload_ms",
        "last_pass_ms",
        "last_reason",
        "last_result",
        "losses",
        "miss_ms",
        "next_routine_ms",
        "waits",
    )

    def __init__(
        self,
        config: CheckConfig,
        *,
        first_probe_ms: int,
        ids: Callable[[], int],
        jitter: tuple[int, ...],
        jitter_at: int,
    ) -> None:
        self.config = config
        self._ids = ids
        self._jitter = jitter
        self._jitter_at = jitter_at
        self._last_full_ms: int | None = None
        self._repeats = 0
        self._down = False
        self._bad_sensors: dict[str, int] = {}
        self._uncounted: list[ProbeResult] = []
        self.flights: dict[int, Flight] = {}
        self.waits: dict[int, ProbeRequest] = {}
        self.answers: deque[tuple[int, int]] = deque(maxlen=16)
        self.burst: Burst | None = None
        self.held = False
        self.heartbeat_refused = False
        self.hurry = False
        self.inconclusive_in_row = 0
        self.miss_ms: int | None = None
        self.last_pass_ms: int | None = None
        self.last_outcome: ProbeOutcome | None = None
        self.last_reason: ProbeReason | None = None
        self.last_result: ProbeResult | None = None
        self.last_latency_ms = 0
        self.last_overload_ms: int | None = None
        self.losses = LossWindow()
        self.next_routine_ms: int | None = first_probe_ms

    @property
    def timing(self) -> ProbeTiming:
        """The check's numbers."""
        return self.config.timing

    @property
    def has_heartbeat(self) -> bool:
        """Whether a missing heartbeat could be noticed on this check now."""
        return self.timing.heartbeat and self.held and not self.heartbeat_refused

    # --- what time does

    def next_deadline_ms(self, now_ms: int) -> int | None:
        """Return when time alone changes something next; None if only a fact can.

        Called after everything due at `now_ms` has been done.
        """
        due = [request.start_ms for request in self.waits.values()]
        for flight in self.flights.values():
            if flight.started_ms is None:
                continue
            if flight.connected_ms is None:
                answer_by_ms = flight.started_ms + self._syn_wait_ms()
                if answer_by_ms > now_ms:
                    due.append(answer_by_ms)
            due.append(flight.request.deadline_ms + LOST_PROBE_MS)
        if self.burst is not None:
            due.append(self.burst.over_ms)
            due.append(self.burst.witness_next_ms)
        elif self.next_routine_ms is not None and not self._busy():
            due.append(self.next_routine_ms)
        return min(due, default=None)

    def _busy(self) -> bool:
        return any(f.request.kind is not ProbeKind.WITNESS for f in self.flights.values())

    def take_due(self, now_ms: int, *, rising: bool, down: bool) -> list[ProbeRequest]:
        """Move the probes whose time has come from waiting to wanted, and return them.

        `rising` gateways, those not yet trusted, get full probes only; `down` ones their own pace.
        """
        self._down = down
        if (
            self.burst is None
            and self.next_routine_ms is not None
            and now_ms >= self.next_routine_ms
            and not self._busy()
        ):
            self._want_routine(now_ms, full=rising)
        due = [request for request in self.waits.values() if request.start_ms <= now_ms]
        for request in due:
            del self.waits[request.probe_id]
        return due

    def _want_routine(self, now_ms: int, *, full: bool) -> None:
        timing = self.timing
        stale_full = (
            self._last_full_ms is None or now_ms >= self._last_full_ms + timing.request_interval_ms
        )
        deep = full or stale_full or self.heartbeat_refused
        kind = ProbeKind.RISE if full else ProbeKind.ROUTINE
        self._want(ProbeDepth.FULL if deep else ProbeDepth.LIGHT, kind, now_ms)
        if deep:
            self._last_full_ms = now_ms
        self.plan_routine(now_ms)

    def plan_routine(self, now_ms: int) -> None:
        """Set when the next routine probe is due, counted from `now_ms`."""
        interval_ms = self.timing.down_interval_ms if self._down else self.timing.interval_ms
        if self.hurry:
            interval_ms = self.timing.below_floor_interval_ms
        self._jitter_at = (self._jitter_at + 1) % len(self._jitter)
        jitter_ms = interval_ms * self._jitter[self._jitter_at] // 1_000
        self.next_routine_ms = now_ms + interval_ms + jitter_ms

    def _want(
        self,
        depth: ProbeDepth,
        kind: ProbeKind,
        start_ms: int,
        *,
        slot: int | None = None,
    ) -> Flight:
        request = ProbeRequest(
            probe_id=self._ids(),
            check=self.config.key,
            gateway=self.config.gateway,
            depth=depth,
            kind=kind,
            start_ms=start_ms,
            deadline_ms=start_ms + self.timing.deadline_ms,
        )
        flight = Flight(request, slot=slot)
        self.flights[request.probe_id] = flight
        self.waits[request.probe_id] = request
        return flight

    def want_witness(self, now_ms: int) -> None:
        """Ask this gateway for a sign of life on behalf of another one."""
        depth = ProbeDepth.PING if self.has_heartbeat else ProbeDepth.FULL
        self._want(depth, ProbeKind.WITNESS, now_ms)

    def asked_since(self, at_ms: int) -> bool:
        """Whether a question sent at `at_ms` or later, or about to be sent, is on its way.

        An older one cannot stand witness for a burst that begins now: its answer may have left
        the gateway before the first failure.
        """
        return any(
            flight.request.kind is ProbeKind.WITNESS
            and (flight.started_ms is None or flight.started_ms >= at_ms)
            for flight in self.flights.values()
        )

    # --- bursts

    def start_burst(self, now_ms: int, cause: str, *, first: Flight | None = None) -> Burst | None:
        """Open a burst unless one is open; a failed routine probe may be its `first`."""
        if self.burst is not None:
            return None
        timing = self.timing
        start_ms = now_ms if first is None else _started(first)
        burst = Burst(
            cause=cause,
            start_ms=start_ms,
            first_sign_ms=now_ms,
            ends_ms=now_ms + timing.burst_length_ms,
        )
        self.burst = burst
        self._forget_unstarted()
        for slot, offset_ms in enumerate(timing.burst_ms):
            if slot == 0 and first is not None:
                first.slot = 0
                burst.flights.append(first)
                continue
            at_ms = max(now_ms + (slot - 1) * FOLLOW_GAP_MS, start_ms + offset_ms)
            burst.flights.append(self._want(ProbeDepth.FULL, ProbeKind.BURST, at_ms, slot=slot))
        burst.ends_ms = max(f.request.deadline_ms for f in burst.flights)
        burst.witness_next_ms = now_ms + WITNESS_AGAIN_MS
        if first is not None and first.result is not None:
            self._follow_up(first, now_ms)
        return burst

    def _forget_unstarted(self) -> None:
        """Drop own probes that have not started; a burst or its end makes them needless."""
        for probe_id, flight in list(self.flights.items()):
            if flight.started_ms is None and flight.request.kind is not ProbeKind.WITNESS:
                del self.flights[probe_id]
                self.waits.pop(probe_id, None)

    def _follow_up(self, flight: Flight, now_ms: int) -> None:
        burst = self.burst
        assert burst is not None
        result = flight.result
        assert result is not None
        if result.reason in _MORE_AFTER and burst.extras_left > 0:
            burst.extras_left -= 1
            more = self._want(ProbeDepth.FULL, ProbeKind.BURST, now_ms + REFUSAL_GAP_MS)
            burst.flights.append(more)
            burst.ends_ms = max(burst.ends_ms, more.request.deadline_ms)
        elif (
            result.outcome is ProbeOutcome.INCONCLUSIVE
            and result.reason is not ProbeReason.CANCELLED
            and flight.repeats < REPEATS
            and now_ms + self.timing.deadline_ms <= burst.ends_ms + burst.extended_ms
        ):
            more = self._want(ProbeDepth.FULL, ProbeKind.BURST, now_ms, slot=flight.slot)
            more.repeats = flight.repeats + 1
            burst.flights.append(more)

    def follow_witness(self, sent_ms: int, now_ms: int) -> None:
        """Ask once more when a witness answers a streak of refusals that has run out of probes.

        A slow witness would otherwise wait for the burst's next planned probe, tens of
        milliseconds on: only a refusal sent after its answer has it in between.
        """
        burst = self.burst
        if burst is None or burst.witness_followed or sent_ms < burst.first_failed_sent_ms():
            return
        extras = [flight for flight in burst.flights if flight.slot is None]
        streak = sum(
            flight.result is not None and flight.result.reason is ProbeReason.REFUSED
            for flight in burst.flights
        )
        if streak < 2 or any(flight.result is None for flight in extras):  # noqa: PLR2004 - two RSTs
            return
        burst.witness_followed = True
        more = self._want(ProbeDepth.FULL, ProbeKind.BURST, now_ms)
        burst.flights.append(more)
        burst.ends_ms = max(burst.ends_ms, more.request.deadline_ms)

    def conclude(self, now_ms: int, witness: WitnessFinder) -> Finding | None:
        """End the open burst if a rule is met or its time is over."""
        burst = self.burst
        if burst is None:
            return None
        lossy = self.losses.lossy(now_ms)
        reached = judge(
            burst,
            self.timing,
            now_ms=now_ms,
            lossy=lossy,
            heard_now=self.has_heartbeat and self.miss_ms is None,
            witness=witness,
        )
        over = burst.passed_over() or now_ms >= burst.over_ms
        if reached is not None and (reached[1] is not None or over):
            death, seen_by = reached
            if death is DeathClass.ILL and lossy and not burst.second_round:
                self._second_round(burst, now_ms)
                return None
            return self._end(now_ms, death=death, witness=seen_by)
        return self._end(now_ms) if over else None

    def _second_round(self, burst: Burst, now_ms: int) -> None:
        self._end(now_ms)
        again = self.start_burst(now_ms, burst.cause)
        assert again is not None
        again.second_round = True
        again.first_sign_ms = burst.first_sign_ms

    def _end(
        self,
        now_ms: int,
        *,
        passed: bool = False,
        death: DeathClass | None = None,
        witness: str | None = None,
    ) -> Finding:
        burst = self.burst
        assert burst is not None
        self.burst = None
        self._down = self._down or death is not None
        self._forget_unstarted()
        if death is None:
            for result in self._uncounted:
                self._count(result)
        self._uncounted.clear()
        self.plan_routine(now_ms)
        return Finding(
            passed=passed,
            death=death,
            witness=witness,
            burst_start_ms=burst.start_ms,
            first_sign_ms=burst.first_sign_ms,
            ended_ms=now_ms,
            cause=burst.cause,
        )

    def abandon(self, now_ms: int) -> None:
        """Give up an open burst without a verdict: our own trouble has spoilt it."""
        if self.burst is not None:
            self._end(now_ms)

    # --- facts about probes

    def on_started(self, probe_id: int, now_ms: int) -> None:
        """Record that a probe's SYN (or PING) has left."""
        flight = self.flights.get(probe_id)
        self.waits.pop(probe_id, None)
        if flight is not None:
            flight.started_ms = now_ms

    def on_connected(self, probe_id: int, now_ms: int) -> None:
        """Record a SYN-ACK."""
        flight = self.flights.get(probe_id)
        if flight is not None and flight.connected_ms is None:
            flight.connected_ms = now_ms

    def on_finished(self, result: ProbeResult, now_ms: int) -> tuple[Flight | None, Finding | None]:
        """Take one result; returns its flight (None: unknown probe) and a burst it ended."""
        flight = self.flights.pop(result.probe_id, None)
        if flight is None:
            return None, None
        self.waits.pop(result.probe_id, None)
        if flight.started_ms is None:
            flight.started_ms = result.started_ms
        if flight.connected_ms is None:
            flight.connected_ms = result.connected_ms
        flight.result = result
        if result.outcome is ProbeOutcome.PASSED:
            self.answers.append((result.started_ms, result.finished_ms))
        if result.depth is ProbeDepth.PING:
            return flight, None
        match result.outcome:
            case ProbeOutcome.PASSED:
                return flight, self._on_pass(flight, result, now_ms)
            case ProbeOutcome.FAILED:
                self._on_failure(flight, result, now_ms)
            case ProbeOutcome.INCONCLUSIVE:
                self._on_inconclusive(flight, result, now_ms)
            case _:
                assert_never(result.outcome)
        return flight, None

    def _on_pass(self, flight: Flight, result: ProbeResult, now_ms: int) -> Finding | None:
        self._remember(result)
        if (
            flight.request.kind is ProbeKind.RISE
            and self.miss_ms is not None
            and result.started_ms >= self.miss_ms
        ):
            # No light probe takes over from the old connection while all probes are full ones, and
            # TCP may wait for minutes before it repeats the heartbeat that was lost.
            self.on_held_closed()
        self.inconclusive_in_row = self._repeats = 0
        self.last_pass_ms = now_ms
        self.last_latency_ms = result.latency_us // 1_000
        self._count(result)
        if self.burst is not None and result.started_ms >= self.burst.start_ms:
            return self._end(now_ms, passed=True)
        return None

    def late(self, flight: Flight) -> bool:
        """Whether this probe's burst has ended: the pass or verdict that ended it has spoken."""
        if flight.request.kind is not ProbeKind.BURST:
            return False
        return self.burst is None or flight not in self.burst.flights

    def _on_failure(self, flight: Flight, result: ProbeResult, now_ms: int) -> None:
        self.inconclusive_in_row = self._repeats = 0
        if self.late(flight):
            self._uncounted.append(result)
            return
        self._remember(result)
        if result.reason in _OVERLOAD or (
            result.reason is ProbeReason.CONNECT_TIMEOUT and self.held and self.miss_ms is None
        ):
            self.last_overload_ms = now_ms
        self._uncounted.append(result)
        if self.burst is not None and flight in self.burst.flights:
            self._follow_up(flight, now_ms)

    def _on_inconclusive(self, flight: Flight, result: ProbeResult, now_ms: int) -> None:
        if result.reason is ProbeReason.CANCELLED:
            return
        self.inconclusive_in_row += 1
        if self.burst is not None and flight in self.burst.flights:
            self._follow_up(flight, now_ms)
        elif self._repeats < REPEATS and flight.request.kind is not ProbeKind.WITNESS:
            self._repeats += 1
            self._want(flight.request.depth, flight.request.kind, now_ms)

    def _remember(self, result: ProbeResult) -> None:
        self.last_outcome = result.outcome
        self.last_reason = result.reason
        self.last_result = result

    def _count(self, result: ProbeResult) -> None:
        self.losses.add(
            result.finished_ms,
            failed=result.outcome is ProbeOutcome.FAILED,
            lost=result.reason in LOSS_REASONS,
        )

    def settle_counts(self, *, down: bool) -> None:
        """Count failures outside a burst, or drop them: a dead gateway's are not the path's."""
        if self.burst is not None:
            return
        if not down:
            for result in self._uncounted:
                self._count(result)
        self._uncounted.clear()

    def lost_probes(self, now_ms: int) -> list[Flight]:
        """Return and forget probes that were never reported; a bug of ours, never a verdict."""
        lost = [
            flight
            for flight in self.flights.values()
            if flight.started_ms is not None
            and now_ms >= flight.request.deadline_ms + LOST_PROBE_MS
        ]
        for flight in lost:
            del self.flights[flight.request.probe_id]
            flight.result = ProbeResult(
                probe_id=flight.request.probe_id,
                check=self.config.key,
                depth=flight.request.depth,
                outcome=ProbeOutcome.INCONCLUSIVE,
                reason=ProbeReason.CANCELLED,
                started_ms=_started(flight),
                finished_ms=now_ms,
            )
        return lost

    # --- facts about the held connection

    def trips(self, sensor: str, now_ms: int) -> bool:
        """Note a sensor as bad; True if it may start a burst now."""
        last_ms = self._bad_sensors.get(sensor)
        if last_ms is not None and now_ms < last_ms + SENSOR_AGAIN_MS:
            return False
        self._bad_sensors[sensor] = now_ms
        return True

    def recovers(self, sensor: str) -> bool:
        """Note a sensor as good; True if it was bad."""
        return self._bad_sensors.pop(sensor, None) is not None

    def on_held_opened(self) -> None:
        """A light probe's connection is held from now on, with no heartbeat owed."""
        self.held = True
        self.miss_ms = None
        self.recovers("held")
        self.recovers("heartbeat")

    def on_held_closed(self) -> None:
        """The held connection is gone; what it owed is void."""
        self.held = False
        self.miss_ms = None
        self.recovers("heartbeat")

    def on_miss(self, now_ms: int) -> None:
        """A heartbeat is unanswered."""
        if self.miss_ms is None:
            self.miss_ms = now_ms

    def on_heard(self) -> None:
        """The held connection answered after a miss."""
        self.held = True
        self.miss_ms = None
        self.recovers("heartbeat")
        if self.burst is not None:
            self.burst.heard = True

    def on_stall(self, stall_ms: int) -> None:
        """Give an open burst the time that we lost ourselves."""
        assert self.burst is not None
        self.burst.extended_ms += stall_ms

    # --- what it amounts to

    def _syn_wait_ms(self) -> int:
        wait_ms = self.timing.syn_wait_ms
        return wait_ms + self.burst.extended_ms if self.burst is not None else wait_ms

    def unanswered(self, now_ms: int) -> bool:
        """Whether a SYN or a heartbeat is unanswered and not yet cleared by a pass."""
        if self.miss_ms is not None:
            return True
        if self.last_outcome is ProbeOutcome.FAILED and self.last_reason in UNANSWERED_REASONS:
            return True
        wait_ms = self._syn_wait_ms()
        return any(
            flight.unanswered(now_ms, wait_ms)
            for flight in self.flights.values()
            if flight.request.depth is not ProbeDepth.PING
        )

    def suspect_since_ms(self, now_ms: int) -> int | None:
        """Return the first sign if the burst's second SYN is unanswered: time to ask a router."""
        if self.burst is None or self.burst.heard:
            return None
        second = self.burst.base[1]
        if second is None or not second.unanswered(now_ms, self._syn_wait_ms()):
            return None
        return self.burst.first_sign_ms

    def undetermined(self, now_ms: int) -> bool:
        """Whether, without a heartbeat, a witness probe has neither an answer nor missed one."""
        wait_ms = self._syn_wait_ms()
        return not self.has_heartbeat and any(
            flight.request.kind is ProbeKind.WITNESS
            and flight.connected_ms is None
            and not flight.unanswered(now_ms, wait_ms)
            for flight in self.flights.values()
        )

    def latest_passed(self) -> bool:
        """Whether the latest fresh probe with a verdict passed."""
        return self.last_outcome is ProbeOutcome.PASSED

    def passes_now(self, now_ms: int) -> bool:
        """Whether the evidence alone allows calling the gateway passing (design 5)."""
        return (
            self.burst is None
            and self.miss_ms is None
            and self.latest_passed()
            and self.last_pass_ms is not None
            and now_ms <= self.last_pass_ms + 2 * self.timing.interval_ms
        )

    def passes_until_ms(self) -> int | None:
        """Return the last instant at which the latest pass is recent enough."""
        if self.last_pass_ms is None:
            return None
        return self.last_pass_ms + 2 * self.timing.interval_ms

    def reconfigure(self, config: CheckConfig) -> None:
        """Take new numbers; streaks and what was seen stay."""
        self.config = replace(config)
