"""Selection: which gateways should be in a route, and why each of the others is not.

Pure functions of values; no state. The rules are those of design 5, in their order:

1. Membership has memory: a member leaves only for a reason of its own, a gateway enters only by
   rule 4, and nothing else changes the set.
2. Who leaves: hard (refused; silent and confirmed), soft (silent, ill), planned (drain, degraded).
3. Never the last: after any removal at least one passing member remains.
4. Who enters: UP gateways past the gates; early ones while the floor is missed.
5. Mass events and overload hold back what one broken path or one overload would fake.

Every bound is judged on the set *after* the change, in integers.
"""

from dataclasses import dataclass
from typing import Final

from edged.core.types import (
    DeathClass,
    Entering,
    GatewayState,
    Kept,
    KeptReason,
    Leaving,
    Opinion,
    Waiting,
    WaitReason,
)

MASS_WINDOW_MS: Final = 1_000
"""Two silent verdicts this close are one event until a router says otherwise."""
OPINION_PATIENCE_MS: Final = 1_500
"""A router may take this long with its opinion; then the soft rules decide."""
OPINION_HOLDS_MS: Final = 5_000
OPINION_AGAIN_MS: Final = 3_500
"""Asked again this long after the last answer, so that the next one is there in time."""
OVERLOAD_WINDOW_MS: Final = 10_000
FRESH_MS: Final = 1_000
"""A verdict removes only while its newest burst is younger than this, or its opinion pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpinionView:
    """What one router last said about one suspect."""

    opinion: Opinion
    asked_ms: int
    answered_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayView:
    """One gateway as selection sees it, at one instant, for one route."""

    name: str
    state: GatewayState
    passing: bool
    latest_passed: bool
    known_bad: bool = False
    passed_since_verdict: bool = False
    death: DeathClass | None = None
    witnessed: bool = False
    stale: bool = False
    verdict_since_ms: int = 0
    verdict_at_ms: int = 0
    silent_since_ms: int | None = None
    silent_at_ms: int | None = None
    company: bool = False
    burst_start_ms: int = 0
    unanswered: bool = False
    undetermined: bool = False
    suspect_since_ms: int | None = None
    overload_ms: int | None = None
    slow: bool = False
    drained: bool = False
    drain_forced: bool = False
    drained_by_kubernetes_only: bool = False
    degraded: bool = False
    gate_until_ms: int | None = None
    hold_until_ms: int | None = None
    progress: str = ""
    inactive: bool = False
    human_hold: bool = False
    entry_blocked: bool = False
    entry_blocked_until_ms: int | None = None
    opinion: OpinionView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is true of the VIP and the route as a whole."""

    now_ms: int
    min_healthy: int
    warm_up: bool = False
    blind: bool = False
    pace_until_ms: int | None = None
    router_back_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The set that should be, with a reason for everything that differs from it."""

    desired: tuple[str, ...]
    leaving: tuple[Leaving, ...]
    entering: tuple[Entering, ...]
    kept: tuple[Kept, ...]
    waiting: tuple[Waiting, ...]
    opinions_wanted: tuple[str, ...]
    stale: tuple[str, ...]
    next_deadline_ms: int | None


class _Draft:
    """The set under construction; only `select` uses it."""

    __slots__ = ("after", "deadlines", "kept", "leaving", "opinions", "stale", "views")

    def __init__(self, views: tuple[GatewayView, ...], after: set[str]) -> None:
        self.views = {view.name: view for view in views}
        self.after = after
        self.kept: list[Kept] = []
        self.leaving: list[Leaving] = []
        self.opinions: list[str] = []
        self.stale: list[str] = []
        self.deadlines: list[int] = []

    def others(self, name: str) -> list[GatewayView]:
        """Members that would remain without `name`, in configured order."""
        return [v for v in self.views.values() if v.name in self.after and v.name != name]

    def passing_without(self, name: str) -> int:
        return sum(v.passing and not v.inactive for v in self.others(name))

    def up_without(self, name: str) -> int:
        return sum(
            v.state is GatewayState.UP and v.passing and not v.inactive for v in self.others(name)
        )

    def present_without(self, name: str) -> int:
        return sum(not v.inactive for v in self.others(name))

    def keep(self, view: GatewayView, reason: KeptReason) -> None:
        self.kept.append(Kept(gateway=view.name, reason=reason))

    def leave(self, view: GatewayView, rule: str) -> None:
        if view.death is not None:
            self.deadlines.append(view.verdict_at_ms + FRESH_MS + 1)
            self.deadlines.append(view.verdict_at_ms + FRESH_MS + OPINION_PATIENCE_MS + 1)
        self.after.discard(view.name)
        self.leaving.append(Leaving(gateway=view.name, rule=rule, death=view.death))


def select(
    views: tuple[GatewayView, ...],
    members: frozenset[str],
    circumstances: Circumstances,
) -> Selection:
    """Return the set that should be in the route.

    Args:
        views: every gateway that is configured, discovered or a member, in configured order.
        members: the gateways the router shows in the route, enabled.
        circumstances: what holds for the route as a whole.
    """
    entering, waiting, deadlines = _enter(views, members, circumstances)
    draft = _Draft(views, set(members) | {entry.gateway for entry in entering})
    draft.deadlines.extend(deadlines)
    if not circumstances.warm_up:
        _leave_by_verdict(draft, members, circumstances)
        _leave_as_planned(draft, members, circumstances)
    desired = tuple(view.name for view in views if view.name in draft.after)
    later = [at_ms for at_ms in draft.deadlines if at_ms > circumstances.now_ms]
    return Selection(
        desired=desired,
        leaving=tuple(draft.leaving),
        entering=entering,
        kept=tuple(draft.kept),
        waiting=waiting,
        opinions_wanted=tuple(dict.fromkeys(draft.opinions)),
        stale=tuple(draft.stale),
        next_deadline_ms=min(later, default=None),
    )


# --- rule 4: who enters -------------------------------------------------------------------------


def _enter(
    views: tuple[GatewayView, ...],
    members: frozenset[str],
    now: Circumstances,
) -> tuple[tuple[Entering, ...], tuple[Waiting, ...], list[int]]:
    inside = [view for view in views if view.name in members]
    good_enough = sum(not view.known_bad for view in inside)
    floor_missed = good_enough < now.min_healthy
    all_bad = good_enough == 0
    may_hurry = not now.warm_up and not now.blind
    entering: list[Entering] = []
    waiting: list[Waiting] = []
    deadlines: list[int] = []
    for view in views:
        if view.name in members:
            continue
        early = may_hurry and _enters_early(view, floor_missed=floor_missed, all_bad=all_bad)
        if view.human_hold:
            waiting.append(Waiting(gateway=view.name, reason=WaitReason.HUMAN_HOLD))
        elif view.entry_blocked:
            until_ms = view.entry_blocked_until_ms
            waiting.append(Waiting(gateway=view.name, reason=WaitReason.PACE, until_ms=until_ms))
            if until_ms is not None:
                deadlines.append(until_ms)
        elif early:
            entering.append(Entering(gateway=view.name, early=True))
        elif view.state is GatewayState.UP:
            wait = _gate(view, now)
            if wait is None:
                entering.append(Entering(gateway=view.name))
            else:
                waiting.append(wait)
                assert wait.until_ms is not None
                deadlines.append(wait.until_ms)
        elif view.state in {GatewayState.DOWN, GatewayState.UNKNOWN}:
            waiting.append(
                Waiting(gateway=view.name, reason=WaitReason.RISE, progress=view.progress),
            )
        elif view.state is GatewayState.WAIT:
            waiting.append(
                Waiting(
                    gateway=view.name,
                    reason=WaitReason.HOLD_DOWN,
                    until_ms=view.hold_until_ms,
                ),
            )
    return tuple(entering), tuple(waiting), deadlines


_MAY_BE_EARLY = {GatewayState.UP, GatewayState.DEGRADED, GatewayState.WAIT}


def _enters_early(view: GatewayView, *, floor_missed: bool, all_bad: bool) -> bool:
    """Design 5.4: below the floor the imperfect enter; with nobody left, whoever answers."""
    if floor_missed and view.passing and view.state in _MAY_BE_EARLY:
        return True
    if all_bad and view.latest_passed:
        return not view.drained or view.drained_by_kubernetes_only
    return False


def _gate(view: GatewayView, now: Circumstances) -> Waiting | None:
    if _later(view.gate_until_ms, now.now_ms):
        return Waiting(
            gateway=view.name,
            reason=WaitReason.ENTRY_GATE,
            until_ms=view.gate_until_ms,
        )
    if _later(now.pace_until_ms, now.now_ms):
        return Waiting(gateway=view.name, reason=WaitReason.PACE, until_ms=now.pace_until_ms)
    return None


def _later(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and at_ms > now_ms


# --- rules 2, 3 and 5: who leaves by a verdict --------------------------------------------------


def _leave_by_verdict(draft: _Draft, members: frozenset[str], now: Circumstances) -> None:
    inside = [view for view in draft.views.values() if view.name in members]
    _ask_early(draft, inside, now)
    condemned = [v for v in inside if v.death is not None and not v.passed_since_verdict]
    condemned.sort(key=lambda view: view.verdict_since_ms)
    soft = [view for view in condemned if not _leaves_hard(draft, view, inside, now)]
    for view in soft:
        _leave_soft(draft, view, inside, now)


def _leaves_hard(
    draft: _Draft,
    view: GatewayView,
    inside: list[GatewayView],
    now: Circumstances,
) -> bool:
    """Deal with a member that is hard to remove's case; True if nothing soft remains to do."""
    confirmed = view.death is DeathClass.SILENT and _opinion(view, now) is Opinion.DEAD
    if view.death is not DeathClass.REFUSED and not confirmed:
        return False
    if not view.witnessed:
        draft.keep(view, KeptReason.NO_WITNESS)
    elif confirmed and now.blind:
        draft.keep(view, KeptReason.BLIND)
    elif draft.passing_without(view.name) < 1:
        draft.keep(view, KeptReason.LAST)
        if confirmed:
            _ask_again(draft, view, now)
    elif _too_old(view, inside, now):
        draft.stale.append(view.name)
        draft.keep(view, KeptReason.STALE)
    else:
        draft.leave(view, "hard")
    return True


def _leave_soft(
    draft: _Draft,
    view: GatewayView,
    inside: list[GatewayView],
    now: Circumstances,
) -> None:
    silent = view.death is DeathClass.SILENT
    if not view.witnessed or now.blind:
        draft.keep(view, KeptReason.BLIND if view.witnessed else KeptReason.NO_WITNESS)
        if silent and _is_mass(view, inside):
            _ask_again(draft, view, now)  # else the opinion has lapsed when the obstacle goes
        return
    if silent and _is_mass(view, inside) and _router_holds(draft, view, now):
        draft.keep(view, KeptReason.SECOND_OPINION)
        return
    if view.death is DeathClass.ILL and _is_overload(inside, now):
        draft.keep(view, KeptReason.OVERLOAD)
        return
    floor = draft.present_without(view.name) < now.min_healthy
    if floor and silent:
        _ask_again(draft, view, now)
    if draft.passing_without(view.name) < 1:
        draft.keep(view, KeptReason.LAST)
        return
    if floor:
        draft.keep(view, KeptReason.FLOOR)
        return
    if _too_old(view, inside, now):
        draft.stale.append(view.name)
        draft.keep(view, KeptReason.STALE)
        return
    draft.leave(view, "soft")


def _too_old(view: GatewayView, inside: list[GatewayView], now: Circumstances) -> bool:
    """Whether only a newer burst may remove this one (design 4.4, staleness)."""
    if view.stale or view.burst_start_ms < now.router_back_ms:
        return True
    allowed_ms = FRESH_MS
    if view.death is DeathClass.SILENT and (view.opinion is not None or _is_mass(view, inside)):
        allowed_ms += OPINION_PATIENCE_MS
    return now.now_ms - view.verdict_at_ms > allowed_ms


def _is_mass(view: GatewayView, inside: list[GatewayView]) -> bool:
    """Whether another member is, or was when the verdict fell, without an answer, too (5.5).

    Who was in company then stays so until its next burst: else whoever comes back last after an
    outage of our own would be alone, and leave.
    """
    return view.company or any(
        other.unanswered or other.undetermined or _silent_together(view, other)
        for other in inside
        if other.name != view.name
    )


def _silent_together(view: GatewayView, other: GatewayView) -> bool:
    if view.silent_at_ms is None or other.silent_at_ms is None:
        return False
    return abs(view.silent_at_ms - other.silent_at_ms) <= MASS_WINDOW_MS


def _opinion(view: GatewayView, now: Circumstances) -> Opinion | None:
    """Return the router's opinion while it holds: for this silence, and for five seconds."""
    opinion = view.opinion
    if opinion is None or view.silent_since_ms is None:
        return None
    if opinion.asked_ms < view.silent_since_ms:
        return None
    if now.now_ms > opinion.answered_ms + OPINION_HOLDS_MS:
        return None
    return opinion.opinion


def _router_holds(draft: _Draft, view: GatewayView, now: Circumstances) -> bool:
    """Whether a mass event waits for the router, or the router says that the node lives."""
    if view.drain_forced:
        return False
    _ask_again(draft, view, now)
    opinion = _opinion(view, now)
    if opinion is Opinion.ALIVE:
        return True
    if opinion is not None:
        return False
    assert view.silent_since_ms is not None
    assert view.silent_at_ms is not None
    since_ms = view.silent_at_ms
    if view.opinion is not None and view.opinion.asked_ms >= view.silent_since_ms:
        since_ms = view.opinion.answered_ms + OPINION_HOLDS_MS
    until_ms = since_ms + OPINION_PATIENCE_MS
    draft.deadlines.append(until_ms)
    return now.now_ms < until_ms


def _ask_again(draft: _Draft, view: GatewayView, now: Circumstances) -> None:
    opinion = view.opinion
    silent_ms = view.silent_since_ms
    if opinion is None or silent_ms is None or opinion.asked_ms < silent_ms:
        draft.opinions.append(view.name)
        return
    draft.deadlines.extend(
        (opinion.answered_ms + OPINION_AGAIN_MS, opinion.answered_ms + OPINION_HOLDS_MS + 1),
    )
    if now.now_ms >= opinion.answered_ms + OPINION_AGAIN_MS:
        draft.opinions.append(view.name)


def _ask_early(draft: _Draft, inside: list[GatewayView], now: Circumstances) -> None:
    """Ask about a suspect before its verdict, where the floor or company would keep it."""
    for view in inside:
        since_ms = view.suspect_since_ms
        if since_ms is None or (view.death is not None and not view.passed_since_verdict):
            continue
        if view.opinion is not None and view.opinion.asked_ms >= since_ms:
            continue
        company = any(o.unanswered for o in inside if o.name != view.name)
        if company or draft.present_without(view.name) < now.min_healthy:
            draft.opinions.append(view.name)


def _is_overload(inside: list[GatewayView], now: Circumstances) -> bool:
    """Design 5.5: several slow members are a load, and taking one out loads the others more."""
    since_ms = now.now_ms - OVERLOAD_WINDOW_MS
    failing = {o.name for o in inside if o.overload_ms is not None and o.overload_ms >= since_ms}
    slow = {o.name for o in inside if o.slow}
    return len(failing) > 1 or any(slow - {name} for name in failing)


# --- rule 2, planned ----------------------------------------------------------------------------


def _leave_as_planned(draft: _Draft, members: frozenset[str], now: Circumstances) -> None:
    handled = {leaving.gateway for leaving in draft.leaving}
    for view in draft.views.values():
        if view.name not in members or view.name in handled:
            continue
        if view.drained:
            _leave_drained(draft, view, now)
        elif view.state is GatewayState.DEGRADED:
            if draft.up_without(view.name) >= max(now.min_healthy, 1):
                draft.leave(view, "degraded")
            else:
                draft.keep(view, KeptReason.FLOOR)


def _leave_drained(draft: _Draft, view: GatewayView, now: Circumstances) -> None:
    least = 1 if view.drain_forced else max(now.min_healthy, 1)
    passing = draft.passing_without(view.name)
    if passing >= least:
        draft.kept = [kept for kept in draft.kept if kept.gateway != view.name]
        draft.leave(view, "drain")
        return
    if all(kept.gateway != view.name for kept in draft.kept):
        draft.keep(view, KeptReason.LAST if passing < 1 else KeptReason.FLOOR)
