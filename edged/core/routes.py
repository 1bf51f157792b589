"""Routes: what one router shows for one VIP, what we expect it to show, and who changed it.

Owns membership, ownership, human edits, refusals and the pace of one (router, VIP) pair. Must not
judge gateways: selection says who should be in, the engine hands both together.

A read that differs from what we expect has exactly one explanation, tried in this order: a step
of ours whose outcome was unknown; a step that did not take (drift); our first ten seconds, or a
reboot of the router; a person.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, assert_never

from edged.core.plan import OwnRows, after_step, shape_of, sort_rows
from edged.core.types import (
    CreateRow,
    Frozen,
    FrozenReason,
    GatewayConfig,
    PlannedStep,
    Refusal,
    RouteRead,
    RouteRow,
    RouteShape,
    SetComment,
    SetDisabled,
    SetNextHops,
    StepOutcome,
    StepResult,
    VipConfig,
)

ADDITION_GAP_MS: Final = 1_000
STORM_WRITES: Final = 10
STORM_WINDOW_MS: Final = 60_000
STORM_PAUSE_MS: Final = 60_000
RETRIES_MS: Final = (1_000, 5_000, 30_000)
"""Waits after a refused step; then with each reconcile (the last one repeats)."""
YOUNG_MS: Final = 10_000
"""What is first seen within this long after our start is nobody's edit."""
RESTORES: Final = 3
RESTORE_WINDOW_MS: Final = 600_000
GROWING: Final = ("enable", "grow", "create")
"""Kinds of steps that bring somebody in; see `_kind`."""
MISSING_MS: Final = 10_000
"""A vanished row is put back only after two reads this far apart."""
UPTIME_MS: Final = 120_000
"""... and not while the router is younger than this: it may still be loading."""

Shape = frozenset[tuple[str, bool]]


class Change(Enum):
    """How a read's difference is explained."""

    NONE = auto()
    OURS = auto()
    DRIFT = auto()
    FIRST_SIGHT = auto()
    REBOOT = auto()
    HUMAN = auto()
    OTHERS = auto()
    """The other instance's, or at least not to be told from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one read amounts to."""

    change: Change
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    verified: StepResult | None = None
    late_step: StepResult | None = None
    edited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a read shows for the first time: rows, next hops, members the router cannot reach."""

    foreign: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    inactive: tuple[str, ...] = ()


class Route:
    """One VIP's route on one router."""

    __slots__ = (
        "_additions_ms",
        "_expected",
        "_missing",
        "_refusals",
        "_restores",
        "_rows_known",
        "_taken_ms",
        "_told",
        "_unverified",
        "_writes",
        "before_step",
        "confirmed",
        "contested",
        "drops",
        "ever_ours",
        "handed_over",
        "human_hold",
        "human_until_ms",
        "members",
        "missing_since_ms",
        "opinions",
        "others_write",
        "own",
        "read",
        "rebooted",
        "released",
        "router",
        "storm_until_ms",
        "uncertain",
        "unreadable",
        "vip",
    )

    def __init__(self, router: str, vip: str) -> None:
        self.router = router
        self.vip = vip
        self.own: OwnRows | None = None
        self.read: RouteRead | None = None
        self.confirmed = False
        self.released = False
        self.members: tuple[str, ...] = ()
        self.ever_ours = False
        self.rebooted = False
        self.uncertain: StepResult | None = None
        self.unreadable = ""
        self.before_step: Shape = frozenset()
        self.handed_over = False
        self.others_write = False
        self.human_hold: set[str] = set()
        self.human_until_ms: int | None = None
        self.contested = False
        self.missing_since_ms: int | None = None
        self.storm_until_ms: int | None = None
        self.drops: frozenset[str] = frozenset()
        self.opinions: dict[str, object] = {}
        self._taken_ms: int | None = None
        self._expected: Shape | None = None
        self._unverified: StepResult | None = None
        self._additions_ms: int | None = None
        self._missing: dict[str, int] = {}
        self._rows_known: set[str] = set()
        self._refusals: dict[str, tuple[int, int, Refusal]] = {}
        self._restores: dict[str, list[int]] = {}
        self._writes: deque[int] = deque(maxlen=STORM_WRITES + 1)
        self._told: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[str, str]:
        """Identify the route."""
        return self.router, self.vip

    # --- reads

    def observe(
        self,
        read: RouteRead,
        config: VipConfig,
        gateways: Mapping[str, GatewayConfig],
        *,
        now_ms: int,
        started_ms: int,
    ) -> Seen:
        """Take a read; explain what differs from what we expected."""
        if self._outdated(read):
            return Seen(change=Change.NONE, before=self.members, after=self.members)
        own = sort_rows(read.rows, read.shape, config, gateways)
        shape = shape_of(own.ours)
        expected = self._expected
        change, verified, late = self._explain(shape, now_ms, started_ms)
        before, self.members = self.members, own.members
        first = self.own is None
        self.own, self.read = own, read
        self._end_take_over(read)
        self.confirmed = self._taken_ms is None
        self._expected = shape
        self.rebooted = False
        self.unreadable = ""
        if own.ours:
            self.ever_ours = True
            self.missing_since_ms = None
        elif self.ever_ours and self.missing_since_ms is None:
            self.missing_since_ms = now_ms
        self._note_missing(own, now_ms)
        if first and own.ours and not own.members and not self.handed_over:
            self.human_hold.update(own.disabled)
        if change is Change.HUMAN:
            self._note_human(own, before)
        self.human_hold -= set(own.members)
        return Seen(
            change=change,
            joined=tuple(name for name in own.members if name not in before),
            left=tuple(name for name in before if name not in own.members),
            before=before,
            after=own.members,
            verified=verified,
            late_step=late,
            edited=_edited(own, shape, expected) if change is Change.HUMAN else (),
        )

    def _outdated(self, read: RouteRead) -> bool:
        """Whether a read left before the last step was answered: it tells nothing."""
        last = self.uncertain or self._unverified
        return last is not None and read.sent_ms < last.finished_ms

    def _note_missing(self, own: OwnRows, now_ms: int) -> None:
        if own.shape is RouteShape.LIST or not self.ever_ours:
            self._rows_known.clear()
            self._missing.clear()
            return
        self._rows_known |= own.rows
        gone = self._rows_known - own.rows
        self._missing = {name: self._missing.get(name, now_ms) for name in gone}

    def resort(self, config: VipConfig, gateways: Mapping[str, GatewayConfig]) -> None:
        """Name the members anew after a change of the configuration."""
        if self.read is not None:
            self.own = sort_rows(self.read.rows, self.read.shape, config, gateways)
            self.members = self.own.members

    def _explain(
        self,
        shape: Shape,
        now_ms: int,
        started_ms: int,
    ) -> tuple[Change, StepResult | None, StepResult | None]:
        uncertain, unverified = self.uncertain, self._unverified
        expected = self._expected
        if uncertain is not None:
            self.uncertain = None
            if self._marks_settled(uncertain, shape) or shape == self._projected(uncertain):
                return Change.OURS, None, uncertain
            if shape == self.before_step or self._only_ours_differs(uncertain, shape):
                return Change.NONE, None, None
        if unverified is not None:
            self._unverified = None
            if self._marks_settled(unverified, shape) or shape == self._projected(unverified):
                self._refusals.pop(_kind(unverified.planned), None)
                return Change.OURS, unverified, None
            unchanged = shape == self.before_step or self._only_ours_differs(unverified, shape)
            if unchanged and not self.rebooted:
                self._note_refusal(unverified, now_ms)  # asked again at once it would spin
                return Change.DRIFT, unverified, None
        if expected is None or not self.ever_ours:
            return Change.FIRST_SIGHT, None, None
        if shape == expected:
            return Change.NONE, None, None
        if self.rebooted:
            return Change.REBOOT, None, None
        if self.others_write:
            return Change.OTHERS, None, None  # however young we are: whoever is unsure yields
        if now_ms < started_ms + YOUNG_MS:
            return Change.FIRST_SIGHT, None, None
        return Change.HUMAN, None, None

    def take_over(self, now_ms: int) -> None:
        """This instance writes from now on, but what the next read shows is the other's work."""
        self.confirmed = False
        self.others_write = True
        self._taken_ms = now_ms
        self.human_until_ms = None

    def _end_take_over(self, read: RouteRead) -> None:
        if self._taken_ms is not None and read.sent_ms >= self._taken_ms:
            self._taken_ms = None
            self.others_write = False

    def _marks_settled(self, result: StepResult, shape: Shape) -> bool:
        """Take note of an adoption or a release; False for any other step."""
        if not isinstance(result.planned.step, SetComment):
            return False
        self.ever_ours = bool(shape)
        self.released = not shape
        return True

    def _projected(self, result: StepResult) -> Shape:
        rows: tuple[RouteRow, ...] = self.own.ours if self.own is not None else ()
        return after_step(rows, result.planned.step)

    def _only_ours_differs(self, result: StepResult, shape: Shape) -> bool:
        """Whether nothing but the rows that a step named has changed: it was done by half."""
        step = result.planned.step
        if not isinstance(step, SetDisabled):
            return False
        return _without(shape, step.next_hops) == _without(self.before_step, step.next_hops)

    def _note_human(self, own: OwnRows, before: tuple[str, ...]) -> None:
        if own.shape is RouteShape.ROWS or (own.ours and own.ours[0].disabled):
            self.human_hold.update(name for name in own.disabled if name in before)

    # --- steps

    def observe_step(self, result: StepResult, now_ms: int) -> None:
        """Take a step's outcome into account for what the next read should show."""
        planned = result.planned
        self.before_step = shape_of(self.own.ours if self.own is not None else ())
        if result.outcome is StepOutcome.REFUSED:
            self._note_refusal(result, now_ms)
            return
        if planned.added or planned.removed:  # marks and spare rows move nobody
            self._writes.append(now_ms)
        if len(self._writes) > STORM_WRITES and now_ms - self._writes[0] <= STORM_WINDOW_MS:
            self.storm_until_ms = now_ms + STORM_PAUSE_MS
        if planned.added:
            self._additions_ms = now_ms
        if result.outcome is StepOutcome.UNCERTAIN:
            self.uncertain = result
            return
        self._unverified = result

    def writes_lately(self, now_ms: int) -> int:
        """Return the writes of the last minute, as far as they are remembered."""
        return sum(at_ms > now_ms - STORM_WINDOW_MS for at_ms in self._writes)

    def _note_refusal(self, result: StepResult, now_ms: int) -> None:
        kind = _kind(result.planned)
        stage = self._refusals[kind][1] + 1 if kind in self._refusals else 0
        wait_ms = RETRIES_MS[min(stage, len(RETRIES_MS) - 1)]
        refusal = result.refusal or Refusal.OTHER
        self._refusals[kind] = (now_ms + wait_ms, stage, refusal)

    def note_reconnect(self) -> None:
        """A new session: nothing is read on it yet, and what was refused may be tried again."""
        self.confirmed = False
        self._refusals.clear()

    def row_disabled(self, row_id: str) -> bool:
        """Whether the row of this id, as last read, is disabled."""
        rows = self.own.ours if self.own is not None else ()
        return any(row.disabled for row in rows if row.row_id == row_id)

    def retry_at_ms(self, planned: PlannedStep) -> int | None:
        """Return when a refused kind of step may be repeated; None: never (until a reconnect)."""
        return self._retry_at_ms(_kind(planned))

    def _retry_at_ms(self, kind: str) -> int | None:
        entry = self._refusals.get(kind)
        if entry is None:
            return 0
        at_ms, _, refusal = entry
        needs_session = refusal in {Refusal.PERMISSION, Refusal.UNKNOWN_PARAMETER}
        return None if needs_session else at_ms

    def entry_blocked(self, name: str, now_ms: int) -> tuple[bool, int | None]:
        """Return whether nobody, or at least not this gateway, can enter, and until when.

        Whoever cannot enter must not count as if he had: a floor would be met on paper only.
        """
        own = self.own
        if own is not None and own.ours and own.shape is RouteShape.ROWS and name not in own.rows:
            return True, None
        waits = [self._retry_at_ms(kind) for kind in GROWING]
        if None in waits:
            return True, None
        until_ms = max(at_ms for at_ms in waits if at_ms is not None)
        return until_ms > now_ms, until_ms

    # --- pace, edits, freezes

    def pace_until_ms(self) -> int | None:
        """Return when the next ordinary addition may be written."""
        ends = []
        if self._additions_ms is not None:
            ends.append(self._additions_ms + ADDITION_GAP_MS)
        if self.storm_until_ms is not None:
            ends.append(self.storm_until_ms)
        return max(ends, default=None)

    def restored(self, edited: tuple[str, ...], now_ms: int) -> bool:
        """Count a person's edit of rows; True if putting them back has now been tried enough."""
        lately = now_ms - RESTORE_WINDOW_MS
        kept = {row: [t for t in times if t >= lately] for row, times in self._restores.items()}
        self._restores = {row: times for row, times in kept.items() if times}
        for row in edited:
            times = self._restores.setdefault(row, [])
            if len(times) >= RESTORES:
                self.contested = True
            else:
                times.append(now_ms)
        return self.contested

    def resume(self) -> None:
        """A person says: take over."""
        self.human_until_ms = None
        self.human_hold.clear()
        self.contested = False
        self.handed_over = False
        self._restores.clear()

    def news(self) -> News:
        """Return what the last read shows and nobody was told about yet; remember it as told."""
        own = self.own
        if own is None:
            return News()
        told = self._told
        foreign = (row.row_id for row in own.foreign)
        self._told = frozenset({*foreign, *own.unknown, *own.inactive})
        return News(
            foreign=tuple(_describe(row) for row in own.foreign if row.row_id not in told),
            unknown=tuple(hop for hop in own.unknown if hop not in told),
            inactive=tuple(name for name in own.members if name in own.inactive - told),
        )

    def freezes(self, now_ms: int) -> tuple[Frozen, ...]:
        """Return why this route in itself may not be written."""
        own = self.own
        found: list[Frozen] = []
        if self.uncertain is not None:
            found.append(Frozen(reason=FrozenReason.UNCERTAIN))
        elif self._unverified is not None:
            found.append(Frozen(reason=FrozenReason.UNCERTAIN, detail="not read back yet"))
        elif own is not None and not self.confirmed:
            detail = "not read on this connection yet"
            found.append(Frozen(reason=FrozenReason.UNCERTAIN, detail=detail))
        if own is None:
            detail = self.unreadable or "not read yet"
            found.append(Frozen(reason=FrozenReason.UNCERTAIN, detail=detail))
            return tuple(found)
        if self.unreadable:
            found.append(Frozen(reason=FrozenReason.UNCERTAIN, detail=self.unreadable))
        if own.duplicates:
            detail = f"several rows carry edged:{self.vip}: {', '.join(own.duplicates)}"
            found.append(Frozen(reason=FrozenReason.CONTESTED, detail=detail))
        if self.contested:
            found.append(Frozen(reason=FrozenReason.CONTESTED))
        if not own.ours and (own.blocking_foreign or not self.ever_ours):
            rows = "; ".join(_describe(row) for row in own.foreign) or "no static row"
            found.append(Frozen(reason=FrozenReason.NOT_ADOPTED, detail=rows))
        elif own.blocking_foreign:
            rows = "; ".join(_describe(row) for row in own.blocking_foreign)
            found.append(Frozen(reason=FrozenReason.FOREIGN, detail=rows))
        if self.human_until_ms is not None and now_ms < self.human_until_ms:
            found.append(Frozen(reason=FrozenReason.HUMAN_EDIT, until_ms=self.human_until_ms))
        return tuple(found)

    def may_recreate(self, uptime_ms: int) -> bool:
        """Whether a route of ours that vanished may be put back."""
        return self._long_gone(self.missing_since_ms, uptime_ms)

    def held_back(self, uptime_ms: int) -> frozenset[str]:
        """Return the gateways whose row has vanished and may not be put back yet."""
        return frozenset(
            name
            for name, since_ms in self._missing.items()
            if not self._long_gone(since_ms, uptime_ms)
        )

    def _long_gone(self, since_ms: int | None, uptime_ms: int) -> bool:
        if since_ms is None or self.read is None:
            return False
        return self.read.answered_ms >= since_ms + MISSING_MS and uptime_ms > UPTIME_MS


def _without(shape: Shape, next_hops: tuple[str, ...]) -> Shape:
    return frozenset((hop, disabled) for hop, disabled in shape if hop not in next_hops)


def _edited(own: OwnRows, shape: Shape, expected: Shape | None) -> tuple[str, ...]:
    """Name the rows a person touched: by next hop where each has its own, else the one row."""
    if own.shape is RouteShape.LIST:
        return ("list",)
    return tuple(sorted({hop for hop, _ in shape ^ (expected or frozenset())}))


def _kind(planned: PlannedStep) -> str:
    """Name a kind of step, for the bookkeeping of refusals."""
    match planned.step:
        case SetDisabled(disabled=disabled):
            return "disable" if disabled else "enable"
        case SetNextHops():
            return "grow" if planned.added else "shrink"
        case CreateRow():
            return "create" if planned.added else "create_spare"
        case SetComment():
            return "mark"
        case _:
            assert_never(planned.step)


def _describe(row: RouteRow) -> str:
    state = " disabled" if row.disabled else ""
    comment = f' "{row.comment}"' if row.comment else ""
    return f"{row.row_id} via {','.join(row.next_hops)} distance {row.distance}{state}{comment}"
