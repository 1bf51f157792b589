"""The outbox: what waits for which channel, in which order, and what stands for what.

Pure: takes the time, returns what changed; the caller keeps it on disk. Of one incident a channel
has at most one message that waits and one that is on its way: a newer message takes the place of
one that has not left, so that a dead service finds a summary and not a storm when it is back.

Invariant: a resolve never overtakes its opening, because the first of an incident goes first, and
a resolve whose opening has not left tells both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from edged.alerts.facts import AlertFacts, merged
from edged.core.alerting import AlertStep
from edged.core.events import Severity

AGE_MAX: Final = timedelta(hours=24)
AGE_MAX_INFO: Final = timedelta(hours=1)
WAITING_MAX: Final = 500
"""Per channel; a service that is away for a day of incidents gets the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """One message for one channel."""

    seq: int
    channel: str
    facts: AlertFacts
    created: datetime
    tries: int = 0
    failed: bool = False
    error: str = ""
    hold_until_ms: int = 0
    """Quiet hours: not before this instant (monotonic)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What came of a new message: what to keep, what it took the place of, what had to go."""

    queued: Queued
    replaced: tuple[int, ...] = ()
    dropped: tuple[Queued, ...] = ()


class Outbox:
    """Every message that waits, by channel."""

    def __init__(self, *, next_seq: int = 1) -> None:
        self._rows: dict[int, Queued] = {}
        self._leaving: set[int] = set()
        self._unkept: set[int] = set()
        self._next_seq = next_seq

    def restore(self, rows: Iterable[Queued]) -> None:
        """Take what an earlier run has left."""
        for row in rows:
            self._rows[row.seq] = row
            self._next_seq = max(self._next_seq, row.seq + 1)

    def rows(self, channel: str | None = None) -> tuple[Queued, ...]:
        """Return what waits, oldest first."""
        return tuple(
            row
            for _, row in sorted(self._rows.items())
            if channel is None or row.channel == channel
        )

    def pending(self) -> int:
        """Return how many messages wait."""
        return len(self._rows)

    def add(
        self,
        channel: str,
        facts: AlertFacts,
        now: datetime,
        *,
        hold_until_ms: int = 0,
        kept: bool = True,
    ) -> Added:
        """Queue a message; one of the same incident that has not left is taken into it.

        One that is not `kept` on disk yet does not leave before `keep` says so.
        """
        before = [
            row
            for row in self.rows(channel)
            if row.facts.incident == facts.incident and row.seq not in self._leaving
        ]
        for row in before:
            facts = _taken_in(row.facts, facts)
            del self._rows[row.seq]
        queued = Queued(
            seq=self._next_seq,
            channel=channel,
            facts=facts,
            created=now,
            hold_until_ms=hold_until_ms,
        )
        self._next_seq += 1
        self._rows[queued.seq] = queued
        if not kept:
            self._unkept.add(queued.seq)
        return Added(
            queued=queued,
            replaced=tuple(row.seq for row in before),
            dropped=tuple(self._surplus(channel)),
        )

    def keep(self) -> None:
        """Note that everything queued so far is on disk, or as safe as it can be."""
        self._unkept.clear()

    def _surplus(self, channel: str) -> Iterator[Queued]:
        rows = [row for row in self.rows(channel) if row.seq not in self._leaving]
        for row in rows[: max(len(rows) - WAITING_MAX, 0)]:
            yield self._rows.pop(row.seq)

    def next(self, channel: str, now_ms: int) -> Queued | None:
        """Return what should leave now: the first of each incident, those tried least first."""
        firsts: dict[str, Queued] = {}
        for row in self.rows(channel):
            if not row.failed:
                firsts.setdefault(row.facts.incident, row)
        due = [
            row
            for row in firsts.values()
            if row.hold_until_ms <= now_ms
            and row.seq not in self._leaving
            and row.seq not in self._unkept
        ]
        return min(
            due,
            key=lambda row: (row.tries, row.facts.severity is not Severity.CRITICAL, row.seq),
            default=None,
        )

    def held_until_ms(self, channel: str, now_ms: int) -> int | None:
        """Return when the next held message may leave."""
        return min(
            (
                row.hold_until_ms
                for row in self.rows(channel)
                if not row.failed and row.hold_until_ms > now_ms
            ),
            default=None,
        )

    def leave(self, seq: int) -> None:
        """Note that a message is on its way: nothing may be taken into it any more."""
        self._leaving.add(seq)

    def stay(self, seq: int) -> None:
        """Note that an attempt was broken off: the message waits as before."""
        self._leaving.discard(seq)

    def delivered(self, seq: int) -> None:
        """Note that a message has arrived."""
        self._leaving.discard(seq)
        self._rows.pop(seq, None)

    def failed(self, seq: int, error: str, *, final: bool) -> Queued | None:
        """Note an attempt that did not succeed; None where the message was dropped meanwhile."""
        self._leaving.discard(seq)
        row = self._rows.get(seq)
        if row is None:
            return None
        row = replace(row, tries=row.tries + 1, error=error, failed=final)
        self._rows[seq] = row
        return row

    def retry(self, channel: str | None, seq: int | None) -> tuple[Queued, ...]:
        """Have messages tried again that were given up."""
        again = tuple(
            replace(row, failed=False, tries=0)
            for row in self.rows(channel)
            if row.failed and seq in {None, row.seq}
        )
        self._rows.update({row.seq: row for row in again})
        return again

    def drop(self, channel: str | None, seq: int | None) -> tuple[Queued, ...]:
        """Forget messages; one on its way may still arrive."""
        gone = tuple(row for row in self.rows(channel) if seq in {None, row.seq})
        for row in gone:
            del self._rows[row.seq]
        return gone

    def expired(self, now: datetime) -> tuple[Queued, ...]:
        """Take out what is too old to be of use."""
        gone = tuple(
            row
            for row in self.rows()
            if row.seq not in self._leaving and now - row.created > _age_max(row.facts)
        )
        for row in gone:
            del self._rows[row.seq]
        return gone


def _taken_in(older: AlertFacts, newer: AlertFacts) -> AlertFacts:
    """Return one message for two of an incident of which neither has left."""
    if newer.over:
        opening = older.step is AlertStep.OPEN or older.whole
        return merged(older, newer) if opening else newer
    if older.step is AlertStep.OPEN:
        return replace(newer, step=AlertStep.OPEN, at=older.at)
    return newer


def _age_max(facts: AlertFacts) -> timedelta:
    return AGE_MAX_INFO if facts.severity is Severity.INFO else AGE_MAX
