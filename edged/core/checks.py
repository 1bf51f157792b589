"""Checks: one gateway's evidence and health together, with the facts that belong to it alone.

Glue between `evidence` (what probes say) and `health` (what that makes of the gateway).
"""

from collections.abc import Callable
from typing import Final

from edged.core.evidence import Evidence
from edged.core.health import Health
from edged.core.types import (
    CheckConfig,
    DeathClass,
    GatewayConfig,
    GatewayState,
    HoldDown,
    ProbeOutcome,
)

BACKEND_ERROR_MS: Final = 10_000
"""One gateway alone answering 5xx for this long is DEGRADED (design 4.1)."""
SERVER_ERRORS: Final = 500


class Check:
    """One damped series of probes of one gateway, shared by the VIPs with equal probe values."""

    __slots__ = (
        "backend_alone",
        "backend_since_ms",
        "backend_until_ms",
        "candidates",
        "deadline_ms",
        "evidence",
        "flaky",
        "gateway",
        "health",
        "hurried_by",
        "key",
        "others",
        "routes",
        "seen",
        "vips",
    )

    def __init__(
        self,
        config: CheckConfig,
        gateway: GatewayConfig,
        *,
        hold_down: HoldDown,
        now_ms: int,
        first_probe_ms: int,
        ids: Callable[[], int],
        jitter: tuple[int, ...],
        jitter_at: int,
    ) -> None:
        self.key = config.key
        self.gateway = gateway
        self.vips: tuple[str, ...] = ()
        self.evidence = Evidence(
            config,
            first_probe_ms=first_probe_ms,
            ids=ids,
            jitter=jitter,
            jitter_at=jitter_at,
        )
        self.health = Health(hold_down=hold_down, now_ms=now_ms)
        self.flaky = False
        self.backend_since_ms: int | None = None
        self.backend_until_ms = 0
        self.backend_alone = False
        self.hurried_by: set[tuple[str, str]] = set()
        self.deadline_ms: int | None = None
        self.seen: tuple[object, ...] = ()
        self.others: tuple[Check, ...] = ()
        self.candidates: tuple[Check, ...] = ()
        self.routes: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The gateway's name."""
        return self.gateway.name

    def next_deadline_ms(self, now_ms: int) -> int | None:
        """Return when time alone changes this check."""
        health_ms = self.health.next_deadline_ms(now_ms, self.evidence.timing)
        due = [self.evidence.next_deadline_ms(now_ms), health_ms]
        until_ms = self.evidence.passes_until_ms()
        if until_ms is not None and until_ms >= now_ms:
            due.append(until_ms + 1)
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    def passing(self, now_ms: int) -> bool:
        """Whether the gateway counts as passing (design 5)."""
        verdict = self.health.verdict
        if verdict is not None and not verdict.passed_since:
            return False
        return self.evidence.passes_now(now_ms)

    def facts(self, now_ms: int) -> tuple[object, ...]:
        """Return everything that selection may depend on; compared to see a change cheaply."""
        health, evidence = self.health, self.evidence
        return (
            self.passing(now_ms),
            evidence.latest_passed(),
            evidence.unanswered(now_ms),
            evidence.undetermined(now_ms),
            evidence.burst is not None,
            evidence.suspect_since_ms(now_ms),
            evidence.last_overload_ms,
            self.slow,
            health.verdict,
            health.hold_until_ms,
            health.degraded,
            health.risen,
            health.presumed,
            self.progress(),
        )

    @property
    def slow(self) -> bool:
        """Whether the last passed probe took more than half of its deadline."""
        return 2 * self.evidence.last_latency_ms > self.evidence.timing.deadline_ms

    def note_status(self, http_status: int | None, now_ms: int) -> bool:
        """Note a full probe's status; True if the 5xx state changed."""
        if http_status is None:
            return False
        was = self.backend_since_ms is not None
        if http_status >= SERVER_ERRORS:
            if not was:
                self.backend_since_ms = now_ms
            return not was
        self.backend_since_ms = None
        self.backend_alone = False
        if was:
            self.backend_until_ms = now_ms
        return was

    def progress(self) -> str:
        """Return `1/3` while a rise runs, otherwise nothing."""
        if self.health.risen or self.health.passes == 0:
            return ""
        return f"{self.health.passes}/{self.evidence.timing.rise}"

    def reason(self, state: GatewayState) -> str:
        """Return the one word that says why the gateway is what it is."""
        verdict = self.health.verdict
        if verdict is not None:
            reason = self.evidence.last_reason
            if verdict.death is DeathClass.ILL and reason is not None:
                return reason.value
            return verdict.death.value
        if state is GatewayState.DEGRADED and self.health.causes:
            return min(self.health.causes)
        if self.evidence.last_outcome is ProbeOutcome.FAILED:
            assert self.evidence.last_reason is not None
            return self.evidence.last_reason.value
        return ""
