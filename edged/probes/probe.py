"""One probe under way: its clocks, and the result it ends with. Starts and decides nothing."""

from typing import Final, Protocol

from edged.core.types import (
    INCONCLUSIVE_REASONS,
    LOSS_REASONS,
    ProbeOutcome,
    ProbeReason,
    ProbeRequest,
    ProbeResult,
)
from edged.probes.connection import Connection, Fault
from edged.probes.timers import WATCH_MS, Timers, on_grid

STALL_TOLERATED_MS: Final = 20

_STALLS_CAUSE: Final = frozenset(
    {*LOSS_REASONS, ProbeReason.TLS_RESET, ProbeReason.HTTP_CLOSED},
)
"""What a gateway cannot be blamed for when we were away: its patience has an end, too."""


class ProbeOwner(Protocol):
    """Who looks after probes."""

    @property
    def timers(self) -> Timers:
        """The time in which deadlines are kept."""

    def watch(self, probe: "Probe", lived_ms: int) -> int | None:
        """Look after a probe; return when to look again."""

    def on_connected(self, probe: "Probe") -> None:
        """The SYN-ACK is in."""

    def on_secured(self, probe: "Probe", connection: Connection) -> None:
        """The handshake is done."""

    def on_ended(self, probe: "Probe", connection: Connection, fault: Fault | None) -> None:
        """The answer is in, or never will be."""


class Probe:
    """One request under way."""

    __slots__ = (
        "connected_us",
        "connection",
        "deadline_ms",
        "depth",
        "graced",
        "length_ms",
        "over",
        "queued_ms",
        "queued_stalled_ms",
        "request",
        "runner",
        "shaking_ms",
        "stalled_before_ms",
        "started_lived_ms",
        "started_us",
    )

    def __init__(self, runner: ProbeOwner, request: ProbeRequest, started_us: int) -> None:
        self.runner = runner
        self.request = request
        self.depth = request.depth
        self.connection: Connection | None = None
        self.length_ms = max(1, request.deadline_ms - request.start_ms)
        self.started_us = started_us
        self.connected_us: int | None = None
        self.started_lived_ms = runner.timers.lived_ms(started_us // 1_000)
        self.deadline_ms = self.started_lived_ms + self.length_ms
        self.stalled_before_ms = runner.timers.stalled_ms
        self.queued_ms: int | None = None
        self.queued_stalled_ms = 0
        self.shaking_ms: int | None = None
        self.graced = False
        self.over = False

    @property
    def check(self) -> str:
        """The check it belongs to."""
        return self.request.check

    def next_wake_ms(self, lived_ms: int) -> int:
        """Return when to look after it: at its deadline, and often enough to notice a stall."""
        return min(self.deadline_ms, on_grid(lived_ms + WATCH_MS))

    def lost_ms(self) -> int:
        """Return how much of its time we lost ourselves by stalls."""
        return self.runner.timers.stalled_ms - self.stalled_before_ms

    def wake(self, lived_ms: int, _now_ms: int) -> int | None:
        """Look after it (called by `Timers`)."""
        return self.runner.watch(self, lived_ms)

    # What its connection says.

    def on_connected(self, _connection: Connection) -> None:
        """The SYN-ACK is in."""
        self.runner.on_connected(self)

    def on_secured(self, connection: Connection) -> None:
        """The handshake is done."""
        self.runner.on_secured(self, connection)

    def on_ended(self, connection: Connection, fault: Fault | None) -> None:
        """The answer is in, or never will be."""
        self.runner.on_ended(self, connection, fault)

    # The end.

    def excused(self, fault: Fault) -> Fault:
        """Take the blame ourselves for what our own stall may have caused."""
        lost_ms = self.lost_ms()
        if fault.reason in _STALLS_CAUSE and lost_ms > max(STALL_TOLERATED_MS, self.length_ms):
            detail = f"{fault.reason} after {lost_ms} ms of our own"
            return Fault(reason=ProbeReason.STALLED, detail=detail)
        return fault

    def result(self, fault: Fault | None, *, http_status: int | None, now_us: int) -> ProbeResult:
        """Put into one value how it ended."""
        outcome = ProbeOutcome.PASSED
        if fault is not None:
            ours = fault.reason in INCONCLUSIVE_REASONS
            outcome = ProbeOutcome.INCONCLUSIVE if ours else ProbeOutcome.FAILED
        connected_us = self.connected_us
        return ProbeResult(
            probe_id=self.request.probe_id,
            check=self.check,
            depth=self.depth,
            outcome=outcome,
            reason=None if fault is None else fault.reason,
            started_ms=self.started_us // 1_000,
            connected_ms=None if connected_us is None else connected_us // 1_000,
            finished_ms=now_us // 1_000,
            latency_us=now_us - self.started_us if fault is None else 0,
            http_status=http_status,
            detail="" if fault is None else fault.detail,
        )
