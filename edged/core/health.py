"""Health: from verdicts and passes to what a gateway is, with rise, hold-down and degradation.

Owns the damping of one check: how it comes back, how long it is held down, what it is called.
Must not know routes: the engine says when the gateway has left or entered one.
"""

from dataclasses import dataclass, replace
from typing import Final

from edged.core.evidence import Finding
from edged.core.types import DeathClass, GatewayState, HoldDown, ProbeTiming

FLAPPING_AT: Final = 3
"""Removals, not yet forgotten, from which on a gateway is called flapping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A gateway is DOWN: since when, by which burst, and who stood witness.

    `since_ms` and `first_sign_ms` are of the first verdict in a row; the rest is the newest
    burst's. `silent_since_ms` is the first sign of an unbroken silence, `silent_at_ms` its first
    verdict. `passed_since` says that a probe begun in or after that burst has passed, `company`
    that another member was without an answer when the newest burst ended.
    """

    death: DeathClass
    since_ms: int
    first_sign_ms: int
    detect_ms: int
    burst_start_ms: int
    at_ms: int
    witness: str | None
    silent_since_ms: int | None = None
    silent_at_ms: int | None = None
    passed_since: bool = False
    stale: bool = False
    company: bool = False

    @property
    def known_bad(self) -> bool:
        """Whether this is a witnessed verdict that still stands (design 5)."""
        return self.witness is not None and not self.stale and not self.passed_since


class Health:
    """The damped state of one check; plain attributes, changed only through its methods.

    `valid_from_ms` is when it last entered early or all began anew: a burst begun before that
    removes nobody.
    """

    __slots__ = (
        "causes",
        "clear_since_ms",
        "forget_at_ms",
        "hold_down",
        "hold_until_ms",
        "owes_hold_down",
        "passes",
        "presumed",
        "removals",
        "risen",
        "since_ms",
        "stable_from_ms",
        "valid_from_ms",
        "verdict",
    )

    def __init__(self, *, hold_down: HoldDown, now_ms: int) -> None:
        self.hold_down = hold_down
        self.verdict: Verdict | None = None
        self.risen = False
        self.presumed = False
        self.passes = 0
        self.stable_from_ms = now_ms
        self.hold_until_ms: int | None = None
        self.owes_hold_down = False
        self.removals = 0
        self.forget_at_ms: int | None = None
        self.causes: dict[str, int] = {}
        self.clear_since_ms: int | None = None
        self.since_ms = now_ms
        self.valid_from_ms = now_ms

    # --- what it is

    def state(self, *, drained: bool) -> GatewayState:
        """Name the state: the first of DOWN, DRAIN, WAIT, DEGRADED, UP that applies."""
        if self.verdict is not None:
            return GatewayState.DOWN
        if drained:
            return GatewayState.DRAIN
        if self.hold_until_ms is not None:
            return GatewayState.WAIT
        if self.degraded:
            return GatewayState.DEGRADED
        if self.risen or self.presumed:
            return GatewayState.UP
        return GatewayState.UNKNOWN

    @property
    def degraded(self) -> bool:
        """Whether a cause of degradation stands, or has not been gone for long enough."""
        return bool(self.causes) or self.clear_since_ms is not None

    @property
    def rising(self) -> bool:
        """Whether the check is not trusted yet, so that each probe is a full one."""
        return self.verdict is not None or not self.risen

    def next_deadline_ms(self, now_ms: int, timing: ProbeTiming) -> int | None:
        """Return when time alone changes something here."""
        due = []
        if self.passes >= timing.rise and not self.risen:
            due.append(self.stable_from_ms + timing.stable_for_ms)
        if self.hold_until_ms is not None:
            due.append(self.hold_until_ms)
        if self.forget_at_ms is not None:
            due.append(self.forget_at_ms)
        if self.clear_since_ms is not None:
            due.append(self.clear_since_ms + timing.stable_for_ms)
        later = [at_ms for at_ms in due if at_ms > now_ms]
        return min(later, default=None)

    # --- what facts do

    def on_pass(self, started_ms: int, now_ms: int, timing: ProbeTiming) -> bool:
        """Count a pass; True if it completes the rise."""
        if self.verdict is not None and started_ms >= self.verdict.burst_start_ms:
            self.verdict = replace(self.verdict, passed_since=True)
        self.passes = min(self.passes + 1, timing.rise)
        return self._rise(now_ms, timing)

    def on_failure(self, now_ms: int) -> None:
        """A single failure ends the streak and the clean time, nothing else."""
        self.passes = 0
        self.stable_from_ms = now_ms

    def on_verdict(self, finding: Finding, *, company: bool = False) -> bool:
        """Take a verdict; True if the gateway was not DOWN before.

        A verdict after a pass is a new one only if the rise was complete; until then the gateway
        was DOWN all the time, so `since` stays.
        """
        death = finding.death
        assert death is not None
        before = self.verdict
        silent_since_ms = silent_at_ms = None
        if death is DeathClass.SILENT:
            silent_since_ms, silent_at_ms = finding.first_sign_ms, finding.ended_ms
            if before is not None and before.death is death and not before.passed_since:
                silent_since_ms, silent_at_ms = before.silent_since_ms, before.silent_at_ms
        self.verdict = Verdict(
            death=death,
            since_ms=finding.ended_ms if before is None else before.since_ms,
            first_sign_ms=(
                finding.first_sign_ms
                if before is None or before.passed_since
                else before.first_sign_ms
            ),
            detect_ms=finding.ended_ms - finding.first_sign_ms,
            burst_start_ms=finding.burst_start_ms,
            at_ms=finding.ended_ms,
            witness=finding.witness,
            silent_since_ms=silent_since_ms,
            company=company,
            silent_at_ms=silent_at_ms,
            stale=finding.burst_start_ms < self.valid_from_ms,
        )
        self.risen = False
        self.presumed = False
        self.passes = 0
        self.stable_from_ms = finding.ended_ms
        self.hold_until_ms = None
        self.forget_at_ms = None
        if before is None:
            self.since_ms = finding.ended_ms
        return before is None

    def mark_stale(self) -> None:
        """The verdict no longer removes anyone; only a newer burst does."""
        assert self.verdict is not None
        self.verdict = replace(self.verdict, stale=True)

    def on_left(self, now_ms: int) -> int:
        """The gateway has left a route for its own fault; returns removals not forgotten."""
        if not self.owes_hold_down:
            self.owes_hold_down = True
            self.removals += 1
            if self.verdict is None:
                self._start_forgetting(now_ms)
        return self.removals

    def on_entered_early(self, now_ms: int) -> None:
        """A floor brought it in: the old verdict is void, and no hold-down follows."""
        self.owes_hold_down = False
        self.hold_until_ms = None
        self.valid_from_ms = now_ms
        if self.verdict is not None:
            self.verdict = None
            self.presumed = True
            self.since_ms = now_ms
            self._start_forgetting(now_ms)

    def presume_up(self, now_ms: int) -> None:
        """The route holds it and nothing speaks against it yet (warm-up)."""
        if self.verdict is None and not self.risen and not self.presumed:
            self.presumed = True
            self.since_ms = now_ms

    def warm_up(self, now_ms: int) -> None:
        """Start over: what was known before our own trouble no longer counts."""
        self.verdict = None
        self.risen = False
        self.presumed = False
        self.passes = 0
        self.stable_from_ms = now_ms
        self.hold_until_ms = None
        self.owes_hold_down = False
        self.valid_from_ms = now_ms
        self.since_ms = now_ms
        self._start_forgetting(now_ms)

    def rise_again(self, now_ms: int) -> None:
        """Another process serves there now: what was seen of the one before counts no more."""
        self.risen = False
        self.presumed = False
        self.passes = 0
        self.stable_from_ms = now_ms
        if self.verdict is None:
            self.since_ms = now_ms

    def set_cause(self, cause: str, now_ms: int, *, present: bool) -> bool:
        """Note whether a cause of degradation is there; True if `degraded` began."""
        was = self.degraded
        if present:
            self.causes.setdefault(cause, now_ms)
            self.clear_since_ms = None
        elif self.causes.pop(cause, None) is not None and not self.causes:
            self.clear_since_ms = now_ms
        if self.degraded and not was:
            self.since_ms = now_ms
        return self.degraded and not was

    def advance(self, now_ms: int, timing: ProbeTiming) -> tuple[str, ...]:
        """Do what time alone does; returns what happened: rose, up, forgot, undegraded."""
        happened = []
        if self._rise(now_ms, timing):
            happened.append("rose")
        if self.hold_until_ms is not None and now_ms >= self.hold_until_ms:
            self.hold_until_ms = None
            self.owes_hold_down = False
            self.since_ms = now_ms
            happened.append("up")
        while self.forget_at_ms is not None and now_ms >= self.forget_at_ms:
            self.removals -= 1
            happened.append("forgot")
            self.forget_at_ms += self.hold_down.forget_after_ms
            if self.removals == 0:
                self.forget_at_ms = None
        if self.clear_since_ms is not None and now_ms >= self.clear_since_ms + timing.stable_for_ms:
            self.clear_since_ms = None
            self.since_ms = now_ms
            happened.append("undegraded")
            if self.owes_hold_down and self.risen:
                self._hold(now_ms)
        return tuple(happened)

    def _rise(self, now_ms: int, timing: ProbeTiming) -> bool:
        if (
            self.risen
            or self.passes < timing.rise
            or now_ms < self.stable_from_ms + timing.stable_for_ms
        ):
            return False
        self.risen = True
        if self.verdict is not None or not self.presumed:
            self.since_ms = now_ms
        self.presumed = False
        self.verdict = None
        if self.owes_hold_down:
            self._hold(now_ms)
        self._start_forgetting(now_ms)
        return True

    def _hold(self, now_ms: int) -> None:
        self.hold_until_ms = now_ms + self.hold_ms()
        self.since_ms = now_ms

    def hold_ms(self) -> int:
        """Return the hold-down for the removals counted: base * 2^(n-1), at most max."""
        doublings = min(max(self.removals, 1) - 1, 30)
        return min(self.hold_down.base_ms << doublings, self.hold_down.max_ms)

    def _start_forgetting(self, now_ms: int) -> None:
        if self.removals > 0 and self.forget_at_ms is None:
            self.forget_at_ms = now_ms + self.hold_down.forget_after_ms
