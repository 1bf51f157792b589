"""The outbox: order, what takes the place of what, and what is too old."""

from datetime import timedelta

from edged.alerts.outbox import WAITING_MAX, Outbox
from edged.core.alerting import AlertStep
from edged.core.events import Severity
from tests.support.alerts import HAPPENED, facts

SLACK = "slack"


def test_the_oldest_leaves_first_and_critical_ones_before() -> None:
    outbox = Outbox()
    first = outbox.add(SLACK, facts(incident="a"), HAPPENED).queued
    urgent = outbox.add(SLACK, facts(incident="b", severity=Severity.CRITICAL), HAPPENED).queued
    assert outbox.next(SLACK, 0) == urgent
    outbox.delivered(urgent.seq)
    assert outbox.next(SLACK, 0) == first
    assert outbox.next("other", 0) is None


def test_a_resolve_whose_opening_has_not_left_tells_both() -> None:
    outbox = Outbox()
    opened = outbox.add(SLACK, facts(), HAPPENED).queued
    added = outbox.add(SLACK, facts(step=AlertStep.RESOLVE), HAPPENED)
    assert added.replaced == (opened.seq,)
    assert added.queued.facts.whole
    assert added.queued.facts.over
    assert added.queued.facts.facts["class"] == "refused"
    assert outbox.rows() == (added.queued,)


def test_a_resolve_waits_behind_an_opening_that_is_on_its_way() -> None:
    outbox = Outbox()
    opened = outbox.add(SLACK, facts(), HAPPENED).queued
    outbox.leave(opened.seq)
    resolved = outbox.add(SLACK, facts(step=AlertStep.RESOLVE), HAPPENED)
    assert resolved.replaced == ()
    assert not resolved.queued.facts.whole
    assert outbox.next(SLACK, 0) is None, "the opening may still be on its way"
    outbox.failed(opened.seq, "no answer", final=False)
    again = outbox.next(SLACK, 0)
    assert again is not None
    assert again.seq == opened.seq, "the opening is tried again first"
    outbox.delivered(opened.seq)
    assert outbox.next(SLACK, 0) == resolved.queued


def test_an_update_to_what_has_not_left_is_still_the_opening() -> None:
    outbox = Outbox()
    outbox.add(SLACK, facts(), HAPPENED)
    later = facts(step=AlertStep.UPDATE, at=HAPPENED + timedelta(minutes=1))
    added = outbox.add(SLACK, later, HAPPENED)
    assert added.queued.facts.step is AlertStep.OPEN
    assert added.queued.facts.at == HAPPENED
    assert len(outbox.rows()) == 1


def test_a_storm_leaves_one_message_an_incident() -> None:
    outbox = Outbox()
    outbox.add(SLACK, facts(), HAPPENED)
    for _ in range(100):
        outbox.add(SLACK, facts(step=AlertStep.REMIND), HAPPENED)
    assert len(outbox.rows()) == 1


def test_a_dead_channel_keeps_the_newest_and_says_what_went() -> None:
    outbox = Outbox()
    dropped = [
        row
        for number in range(WAITING_MAX + 3)
        for row in outbox.add(SLACK, facts(incident=f"i{number}"), HAPPENED).dropped
    ]
    assert [row.facts.incident for row in dropped] == ["i0", "i1", "i2"]
    assert len(outbox.rows()) == WAITING_MAX


def test_one_that_always_fails_does_not_hold_up_the_others() -> None:
    outbox = Outbox()
    poison = outbox.add(SLACK, facts(incident="a"), HAPPENED).queued
    other = outbox.add(SLACK, facts(incident="b"), HAPPENED).queued
    outbox.leave(poison.seq)
    outbox.failed(poison.seq, "500", final=False)
    assert outbox.next(SLACK, 0) == other


def test_what_was_given_up_waits_for_a_person() -> None:
    outbox = Outbox()
    row = outbox.add(SLACK, facts(), HAPPENED).queued
    outbox.leave(row.seq)
    outbox.failed(row.seq, "404", final=True)
    assert outbox.next(SLACK, 0) is None
    assert [one.error for one in outbox.rows()] == ["404"]
    (again,) = outbox.retry(None, None)
    assert outbox.next(SLACK, 0) == again
    assert outbox.drop(SLACK, row.seq) == (again,)
    assert outbox.rows() == ()


def test_an_opening_that_was_given_up_is_never_sent_after_its_resolve() -> None:
    outbox = Outbox()
    row = outbox.add(SLACK, facts(), HAPPENED).queued
    outbox.leave(row.seq)
    outbox.failed(row.seq, "404", final=True)
    added = outbox.add(SLACK, facts(step=AlertStep.RESOLVE), HAPPENED)
    assert added.replaced == (row.seq,)
    assert outbox.retry(None, None) == ()


def test_the_old_are_taken_out_and_infos_sooner() -> None:
    outbox = Outbox()
    outbox.add(SLACK, facts(incident="a"), HAPPENED)
    outbox.add(SLACK, facts(incident="b", severity=Severity.INFO), HAPPENED)
    assert outbox.expired(HAPPENED + timedelta(hours=1)) == ()
    (info,) = outbox.expired(HAPPENED + timedelta(hours=1, seconds=1))
    assert info.facts.incident == "b"
    (warning,) = outbox.expired(HAPPENED + timedelta(hours=25))
    assert warning.facts.incident == "a"


def test_a_held_message_waits_for_its_time() -> None:
    outbox = Outbox()
    row = outbox.add(SLACK, facts(), HAPPENED, hold_until_ms=5_000).queued
    assert outbox.next(SLACK, 4_999) is None
    assert outbox.held_until_ms(SLACK, 4_999) == 5_000
    assert outbox.next(SLACK, 5_000) == row


def test_numbers_go_on_after_a_restart() -> None:
    before = Outbox()
    row = before.add(SLACK, facts(), HAPPENED).queued
    after = Outbox()
    after.restore(before.rows())
    assert after.rows() == (row,)
    assert after.add(SLACK, facts(incident="b"), HAPPENED).queued.seq == row.seq + 1


def test_nothing_leaves_before_it_is_kept() -> None:
    outbox = Outbox()
    row = outbox.add(SLACK, facts(), HAPPENED, kept=False).queued
    assert outbox.next(SLACK, 0) is None
    outbox.keep()
    assert outbox.next(SLACK, 0) == row


def test_an_attempt_that_was_broken_off_is_tried_again() -> None:
    outbox = Outbox()
    row = outbox.add(SLACK, facts(), HAPPENED).queued
    outbox.leave(row.seq)
    assert outbox.next(SLACK, 0) is None
    outbox.stay(row.seq)
    assert outbox.next(SLACK, 0) == row
