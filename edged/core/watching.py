"""Watching gateways: probes, held connections, bursts and witnesses, up to the verdict."""

import heapq
from collections.abc import Callable, Iterator
from typing import Final, assert_never

from edged.core.checks import BACKEND_ERROR_MS, Check
from edged.core.events import Event, Severity
from edged.core.evidence import Finding, Flight
from edged.core.judging import Judging
from edged.core.ledger import VipState
from edged.core.types import (
    DeathClass,
    GatewayState,
    ProbeDepth,
    ProbeKind,
    ProbeOutcome,
    ProbeReason,
    ProbeResult,
)

WITNESSES_AT_ONCE: Final = 2

INCONCLUSIVE_ALARM: Final = 10

BLIND_AFTER_MS: Final = 3_000
"""After our own outage nothing leaves as silent or ill for this long (design 4.4)."""


class Watching(Judging):
    """Takes what probes and sensors report, and starts bursts."""

    __slots__ = ()

    def observe_probe_started(self, probe_id: int, now_ms: int) -> tuple[Event, ...]:
        """Take note that a wanted probe's SYN (or PING) has left."""
        self._clock(now_ms)
        request = self._due.pop(probe_id, None)
        if request is not None:
            check = self._checks[request.check]
            check.evidence.on_started(probe_id, now_ms)
            self._touch(check, now_ms)
        return self._flush()

    def observe_probe_connected(self, check: str, probe_id: int, now_ms: int) -> tuple[Event, ...]:
        """Take note of a SYN-ACK."""
        self._clock(now_ms)
        found = self._checks.get(check)
        if found is not None:
            found.evidence.on_connected(probe_id, now_ms)
            self._touch(found, now_ms)
        return self._flush()

    def observe_probe_finished(self, result: ProbeResult, now_ms: int) -> tuple[Event, ...]:
        """Take one probe's outcome."""
        self._clock(now_ms)
        self._due.pop(result.probe_id, None)
        check = self._checks.get(result.check)
        if check is not None:
            self._finish(check, result, now_ms)
        return self._flush()

    def _finish(self, check: Check, result: ProbeResult, now_ms: int) -> None:
        was_in_burst = check.evidence.burst is not None
        flight, finding = check.evidence.on_finished(result, now_ms)
        if flight is None:
            return
        self._tell_probe(check, flight, result)
        if result.outcome is ProbeOutcome.PASSED:
            self._answered(check, result.started_ms, now_ms)
        if result.depth is not ProbeDepth.PING:
            self._count_streak(check, flight, result, now_ms)
        if finding is not None:
            self._conclude(check, finding, now_ms)
        elif (
            result.outcome is ProbeOutcome.FAILED
            and not was_in_burst
            and flight.request.kind is not ProbeKind.BURST
            and self._worth_a_burst(check)
        ):
            counts = result.depth is not ProbeDepth.PING  # only a fresh probe gives a verdict
            self._start_burst(check, "probe", now_ms, first=flight if counts else None)
        check.evidence.settle_counts(down=check.health.verdict is not None)
        self._judge_path(check, now_ms)
        self._advance(check, now_ms)
        self._touch(check, now_ms)

    def _tell_probe(self, check: Check, flight: Flight, result: ProbeResult) -> None:
        kind = flight.request.kind
        if result.outcome is ProbeOutcome.PASSED and kind is not ProbeKind.BURST:
            return
        if result.depth is ProbeDepth.PING:
            return
        self._emit(
            "probe.finished",
            gateway=check.name,
            check=check.key,
            probe_id=result.probe_id,
            kind=kind.value,
            depth=result.depth.value,
            outcome=result.outcome.value,
            reason=result.reason.value if result.reason else None,
            latency_us=result.latency_us or None,
            detail=result.detail or None,
        )

    def _count_streak(
        self,
        check: Check,
        flight: Flight,
        result: ProbeResult,
        now_ms: int,
    ) -> None:
        health, timing = check.health, check.evidence.timing
        match result.outcome:
            case ProbeOutcome.PASSED:
                down_since_ms = health.since_ms if health.verdict is not None else None
                if health.on_pass(result.started_ms, now_ms, timing):
                    self._rose(check, down_since_ms)
                if check.note_status(result.http_status, now_ms):
                    self._backend_changed(check, result.http_status, now_ms)
            case ProbeOutcome.FAILED:
                if not check.evidence.late(flight):
                    health.on_failure(now_ms)
            case ProbeOutcome.INCONCLUSIVE:
                counted = result.reason is not ProbeReason.CANCELLED
                if counted and check.evidence.inconclusive_in_row == INCONCLUSIVE_ALARM:
                    self._emit(
                        "probe.inconclusive",
                        gateway=check.name,
                        check=check.key,
                        reason=result.reason.value if result.reason else "",
                        count=INCONCLUSIVE_ALARM,
                        detail=result.detail or None,
                    )
            case _:
                assert_never(result.outcome)

    def _worth_a_burst(self, check: Check) -> bool:
        """Whether a failed single probe needs a burst: not for one that is out and known DOWN."""
        return check.health.verdict is None or self._is_member(check)

    def _judge_path(self, check: Check, now_ms: int) -> None:
        flaky, failed, probes = check.evidence.losses.flaky(now_ms)
        if flaky and not check.flaky:
            self._emit(
                "gateway.flaky", gateway=check.name, check=check.key, failed=failed, probes=probes
            )
        elif check.flaky and not flaky:
            self._emit("gateway.steady", gateway=check.name, check=check.key)
        check.flaky = flaky

    def _backend_changed(self, check: Check, status: int | None, now_ms: int) -> None:
        alone = not any(other.backend_since_ms is not None for other in check.others)
        if check.backend_since_ms is not None:
            self._emit(
                "probe.backend_error",
                gateway=check.name,
                check=check.key,
                http_status=status,
                alone=alone,
            )
            for other in check.others:
                other.backend_alone = False
                self._set_cause(other, "backend_error", now_ms, present=False)
                self._touch(other, now_ms)
        else:
            self._set_cause(check, "backend_error", now_ms, present=False)

    def _start_burst(
        self,
        check: Check,
        cause: str,
        now_ms: int,
        *,
        first: Flight | None = None,
    ) -> None:
        if check.evidence.start_burst(now_ms, cause, first=first) is None:
            return
        self._emit("burst.started", gateway=check.name, check=check.key, cause=cause)
        self._collect(check, now_ms)  # ours leaves first: a witness must be sent after it
        self._ask_witnesses(check, now_ms, everybody_blunt=True)
        self._touch(check, now_ms)

    def _find_neighbours(self, check: Check) -> None:
        """Note the checks of other gateways that share a VIP with this one.

        Any of them may stand witness, but one on our own host only if all are there.
        """
        by_name: dict[str, Check] = {}
        for vip in check.vips:
            for key in self._vips[vip].checks:
                by_name.setdefault(self._checks[key].name, self._checks[key])
        by_name.pop(check.name, None)
        check.others = tuple(by_name.values())
        check.candidates = tuple(o for o in check.others if not o.gateway.own_host)
        if check.gateway.own_host and not check.candidates:
            check.candidates = check.others

    def _ask_witnesses(self, check: Check, now_ms: int, *, everybody_blunt: bool) -> None:
        """Ask two gateways without bad evidence first, then last-passed; blunt ones always.

        Gateways without heartbeats are all asked at the first sign: a member counts as alone only
        when each of them has answered or is itself unanswered (design 5.5).
        """
        burst = check.evidence.burst
        assert burst is not None
        candidates = check.candidates
        if not candidates:
            for router in self._routers_of(check):
                self._witness_reads[router] = check.key
            return

        def rank(other: Check) -> tuple[bool, int]:
            bad = other.evidence.unanswered(now_ms) or not other.passing(now_ms)
            return bad, -(other.evidence.last_pass_ms or 0)

        first_ms = burst.first_failed_sent_ms()
        free = [
            other
            for other in candidates
            if other.name not in burst.asked and not other.evidence.asked_since(first_ms)
        ]
        chosen = sorted(free, key=rank)[:WITNESSES_AT_ONCE]
        if everybody_blunt:
            chosen += [o for o in free if not o.evidence.has_heartbeat and o not in chosen]
        for other in chosen:
            burst.asked.add(other.name)
            other.evidence.want_witness(now_ms)
            self._collect(other, now_ms)
            self._touch(other, now_ms)

    def _find_witness(self, check: Check, sent_ms: int, answered_ms: int) -> str | None:
        candidates = check.candidates
        for other in candidates:
            for sent, answered in other.evidence.answers:
                if sent >= sent_ms and answered <= answered_ms:
                    return other.name
        if not candidates:
            for router in self._routers_of(check):
                for sent, answered in self._routers[router].answers:
                    if sent >= sent_ms and answered <= answered_ms:
                        return router
        return None

    def _wanted_reads(self) -> Iterator[str]:
        for router, key in self._witness_reads.items():
            check = self._checks.get(key)
            if check is not None and check.evidence.burst is not None:
                yield router

    def _answered(self, check: Check, sent_ms: int, now_ms: int) -> None:
        """A gateway answered: it may be the witness that others lack."""
        for other in check.others:
            burst, verdict = other.evidence.burst, other.health.verdict
            unseen = verdict is not None and verdict.witness is None
            if (burst is None and not unseen) or check not in other.candidates:
                continue  # nobody asked, or it is on our own host and saw nothing of our cable
            if burst is not None and sent_ms >= burst.start_ms:
                if not burst.witness_told:
                    burst.witness_told = True
                    self._emit(
                        "witness.answered",
                        gateway=other.name,
                        check=other.key,
                        witness=check.name,
                        after_ms=now_ms - burst.first_sign_ms,
                    )
                other.evidence.follow_witness(sent_ms, now_ms)
                self._touch(other, now_ms)
            if (
                verdict is not None
                and verdict.witness is None
                and not verdict.passed_since
                and burst is None
                and sent_ms > verdict.at_ms
            ):
                self._start_burst(other, "witness", now_ms)

    def _advance(self, check: Check, now_ms: int) -> None:
        """Do what time alone does to one check."""
        evidence, health = check.evidence, check.health
        for flight in evidence.lost_probes(now_ms):
            self._tell_probe(check, flight, _result_of(flight))
        burst = evidence.burst
        if burst is not None:
            if now_ms >= burst.witness_next_ms:
                burst.ask_later(now_ms)
                if self._find_witness(check, burst.first_failed_sent_ms(), now_ms) is None:
                    self._ask_witnesses(check, now_ms, everybody_blunt=False)
            finding = evidence.conclude(
                now_ms, lambda sent, answered: self._find_witness(check, sent, answered)
            )
            if finding is not None:
                self._conclude(check, finding, now_ms)
        down_since_ms = health.since_ms if health.verdict is not None else None
        for happened in health.advance(now_ms, evidence.timing):
            if happened == "rose":
                self._rose(check, down_since_ms)
            elif happened == "up":
                self._emit("gateway.came_up", gateway=check.name, check=check.key)
            elif happened == "undegraded":
                self._emit("gateway.undegraded", gateway=check.name)
        self._judge_backend(check, now_ms)
        self._collect(check, now_ms)

    def _collect(self, check: Check, now_ms: int) -> None:
        health = check.health
        due = check.evidence.take_due(now_ms, rising=health.rising, down=health.verdict is not None)
        for request in due:
            self._due[request.probe_id] = request

    def _judge_backend(self, check: Check, now_ms: int) -> None:
        since_ms = check.backend_since_ms
        others = check.others
        if since_ms is None or check.backend_alone or not others:
            return
        if any(other.backend_since_ms is not None for other in others):
            return
        alone_ms = max(since_ms, *(other.backend_until_ms for other in others))
        if now_ms >= alone_ms + BACKEND_ERROR_MS:
            check.backend_alone = True
            self._set_cause(check, "backend_error", now_ms, present=True)

    def _set_cause(self, check: Check, cause: str, now_ms: int, *, present: bool) -> None:
        if check.health.set_cause(cause, now_ms, present=present):
            self._emit("gateway.degraded", gateway=check.name, cause=cause)

    def _in_company(self, check: Check, now_ms: int) -> bool:
        """Whether another member is without an answer, too, at this very instant (design 5.5)."""
        return any(
            other.evidence.unanswered(now_ms) or other.evidence.undetermined(now_ms)
            for other in check.others
            if self._is_member(other)
        )

    def _conclude(self, check: Check, finding: Finding, now_ms: int) -> None:
        result = "passed" if finding.passed else (finding.death or "nothing")
        self._emit(
            "burst.ended",
            gateway=check.name,
            check=check.key,
            result=str(result),
            took_ms=finding.ended_ms - finding.burst_start_ms,
        )
        if finding.death is None:
            return
        first = check.health.on_verdict(finding, company=self._in_company(check, now_ms))
        detect_ms = finding.ended_ms - finding.first_sign_ms
        self._emit(
            "check.fell",
            gateway=check.name,
            check=check.key,
            class_=finding.death.value,
            witness=finding.witness,
            first_failure_at_ms=finding.first_sign_ms,
            detect_ms=detect_ms,
        )
        if first:
            lead_ms = self._lead_ms(check.name, finding.first_sign_ms)
            self._emit(
                "gateway.went_down",
                Severity.INFO if lead_ms is not None else None,  # it was out, as planned
                gateway=check.name,
                check=check.key,
                class_=finding.death.value,
                reason=check.reason(GatewayState.DOWN),
                witness=finding.witness,
                first_failure_at_ms=finding.first_sign_ms,
                detect_ms=detect_ms,
                lead_ms=lead_ms,
            )
        if now_ms < self._vips_blind_until(check) and finding.death is not DeathClass.REFUSED:
            check.health.mark_stale()

    def _vips_blind_until(self, check: Check) -> int:
        return max((self._vips[vip].blind_ends_ms for vip in check.vips), default=0)

    def _rose(self, check: Check, down_since_ms: int | None) -> None:
        health = check.health
        self._emit("check.rose", gateway=check.name, check=check.key)
        check.evidence.last_overload_ms = None  # healed: its old failures are no present load
        check.evidence.heartbeat_refused = False  # another Envoy, perhaps, which speaks HTTP/2
        if health.hold_until_ms is not None:
            self._emit(
                "gateway.waiting",
                gateway=check.name,
                check=check.key,
                hold_down_ms=health.hold_ms(),
                removals=health.removals,
                until_ms=health.hold_until_ms,
            )
            return
        if down_since_ms is not None:
            self._emit(
                "gateway.came_up",
                gateway=check.name,
                check=check.key,
                down_ms=self._now_ms - down_since_ms,
            )

    def observe_held_opened(self, check: str, now_ms: int) -> tuple[Event, ...]:
        """A light probe's connection is held and carries heartbeats from now on."""
        return self._sense(check, now_ms, lambda found: found.evidence.on_held_opened())

    def observe_held_closed(self, check: str, now_ms: int) -> tuple[Event, ...]:
        """The held connection ended in order: a GOAWAY, or we closed it ourselves."""
        return self._sense(check, now_ms, lambda found: found.evidence.on_held_closed())

    def observe_held_lost(self, check: str, detail: str, now_ms: int) -> tuple[Event, ...]:
        """The held connection was reset or closed without a GOAWAY: ask at once."""

        def lost(found: Check) -> None:
            found.evidence.on_held_closed()
            self._trip(found, "held", detail, now_ms)

        return self._sense(check, now_ms, lost)

    def observe_heartbeat_missed(self, check: str, sent_ms: int, now_ms: int) -> tuple[Event, ...]:
        """A heartbeat has had no answer within its deadline."""

        def missed(found: Check) -> None:
            found.evidence.on_miss(now_ms)
            self._trip(found, "heartbeat", f"sent {now_ms - sent_ms} ms ago", now_ms)

        return self._sense(check, now_ms, missed)

    def observe_heartbeat_heard(self, check: str, now_ms: int) -> tuple[Event, ...]:
        """The first answer after a miss."""

        def heard(found: Check) -> None:
            found.evidence.on_heard()
            self._emit("sensor.recovered", gateway=found.name, check=found.key, sensor="heartbeat")

        return self._sense(check, now_ms, heard)

    def observe_heartbeat_unavailable(
        self,
        check: str,
        detail: str,
        now_ms: int,
    ) -> tuple[Event, ...]:
        """The gateway refuses HTTP/2: no heartbeat until it has risen again; told once."""

        def refused(found: Check) -> None:
            if not found.evidence.heartbeat_refused:
                found.evidence.heartbeat_refused = True
                self._emit("probe.no_heartbeat", gateway=found.name, check=found.key, detail=detail)

        return self._sense(check, now_ms, refused)

    def observe_sensor(
        self,
        gateway: str,
        sensor: str,
        detail: str,
        now_ms: int,
    ) -> tuple[Event, ...]:
        """Another sensor (BGP, Kubernetes) has turned bad: ask the gateway itself."""
        self._clock(now_ms)
        for check in self._by_gateway.get(gateway, ()):
            self._trip(check, sensor, detail, now_ms)
            self._touch(check, now_ms)
        return self._flush()

    def observe_degradation(
        self,
        gateway: str,
        cause: str,
        now_ms: int,
        *,
        present: bool,
    ) -> tuple[Event, ...]:
        """A cause of degradation has come or gone (BGP, node not ready)."""
        self._clock(now_ms)
        for check in self._by_gateway.get(gateway, ()):
            self._set_cause(check, cause, now_ms, present=present)
            self._touch(check, now_ms)
        return self._flush()

    def _sense(
        self,
        check: str,
        now_ms: int,
        what: Callable[[Check], None],
    ) -> tuple[Event, ...]:
        self._clock(now_ms)
        found = self._checks.get(check)
        if found is not None:
            what(found)
            self._touch(found, now_ms)
        return self._flush()

    def _trip(self, check: Check, sensor: str, detail: str, now_ms: int) -> None:
        if not check.evidence.trips(sensor, now_ms):
            return
        self._emit(
            "sensor.tripped", gateway=check.name, check=check.key, sensor=sensor, detail=detail
        )
        self._start_burst(check, sensor, now_ms)
        self._collect(check, now_ms)

    def _touch(self, check: Check, now_ms: int) -> None:
        """After any change of a check: let rules apply, reschedule it, mark its routes."""
        if check.evidence.burst is not None:
            finding = check.evidence.conclude(
                now_ms, lambda sent, answered: self._find_witness(check, sent, answered)
            )
            if finding is not None:
                self._conclude(check, finding, now_ms)
        self._collect(check, now_ms)
        deadline_ms = check.next_deadline_ms(now_ms)
        if deadline_ms != check.deadline_ms:
            check.deadline_ms = deadline_ms
            if deadline_ms is not None:
                heapq.heappush(self._heap, (deadline_ms, check.key))
        facts = check.facts(now_ms)
        if facts != check.seen:
            check.seen = facts
            self._views_of.pop(check.key, None)
            self._moved.update(check.routes)

    def _refresh_blindness(self, vip: VipState, now_ms: int) -> None:
        checks = [self._checks[key] for key in vip.checks]
        blind = _sees_nothing(checks, now_ms)
        if blind == vip.blind:
            return
        vip.blind = blind
        if not blind:
            vip.blind_ends_ms = now_ms + BLIND_AFTER_MS
            for check in checks:
                verdict = check.health.verdict
                if verdict is not None and verdict.death is not DeathClass.REFUSED:
                    check.health.mark_stale()
                    self._touch(check, now_ms)
        self._dirty.update(key for key in self._routes if key[1] == vip.config.name)


def _result_of(flight: Flight) -> ProbeResult:
    assert flight.result is not None
    return flight.result


def _sees_nothing(checks: list[Check], now_ms: int) -> bool:
    """Whether every gateway, one on our own host aside, is without an answer at once.

    A lone one cannot tell its own silence from our blindness; there the router is the second eye,
    and we are blind from the first verdict that it did not witness.
    """
    eyes = [check for check in checks if not check.gateway.own_host] or checks
    if len(eyes) == 1:
        verdict = eyes[0].health.verdict
        seen = verdict is None or verdict.witness is not None or verdict.passed_since
        return not seen and eyes[0].evidence.unanswered(now_ms)
    return bool(eyes) and all(check.evidence.unanswered(now_ms) for check in eyes)
