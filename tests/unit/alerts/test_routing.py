"""Who hears what, when; and how fast a channel may be written to."""

import random
from datetime import UTC, datetime

import pytest

from edged.alerts.delivery import BACKOFF_MAX_MS, HOUR_MAX, HOUR_MS, Bucket, backoff_ms
from edged.alerts.facts import facts_of
from edged.alerts.routing import quiet_for, wants, zone_of
from edged.config.types import Severity as ConfigSeverity
from edged.core.alerting import AlertKind, AlertStep
from edged.core.events import Severity
from tests.support.alerts import channel, facts, quiet

NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("least", "severity", "heard"),
    [
        ("warning", Severity.WARNING, True),
        ("warning", Severity.INFO, False),
        ("info", Severity.INFO, True),
        ("critical", Severity.WARNING, False),
        ("critical", Severity.CRITICAL, True),
    ],
)
def test_severity(least: str, severity: Severity, heard: bool) -> None:  # noqa: FBT001 - a table
    given = channel(min_severity=ConfigSeverity(least))
    assert wants(given, facts(severity=severity), told=NOBODY) is heard


@pytest.mark.parametrize(
    ("patterns", "heard"),
    [
        (("*",), True),
        (("gateway.*",), True),
        (("route.changed",), True),
        (("router.*",), False),
        (("router.*", "gateway.went_down"), True),
    ],
)
def test_patterns(patterns: tuple[str, ...], heard: bool) -> None:  # noqa: FBT001 - a table
    assert wants(channel(events=patterns), facts(), told=NOBODY) is heard


def test_vips() -> None:
    assert wants(channel(vips=("web",)), facts(), told=NOBODY)
    assert not wants(channel(vips=("dns",)), facts(), told=NOBODY)
    assert wants(channel(vips=("dns",)), facts(vips=()), told=NOBODY), "about no VIP is about all"


def test_an_end_goes_where_the_beginning_went_and_nowhere_else() -> None:
    given = channel(min_severity=ConfigSeverity.CRITICAL)
    over = facts(step=AlertStep.RESOLVE)
    assert wants(given, over, told=frozenset({"slack"}))
    assert not wants(channel(), over, told=NOBODY)


def test_a_channels_own_trouble_is_told_to_the_others() -> None:
    trouble = facts(
        AlertKind.NOTICE,
        AlertStep.NOTICE,
        names=("alert.undeliverable",),
        facts={"channel": "slack"},
    )
    assert not wants(channel(), trouble, told=NOBODY)
    assert wants(channel(name="phone"), trouble, told=NOBODY)


@pytest.mark.parametrize(
    ("clock", "minutes"),
    [
        ("21:59", 0),
        ("22:00", 540),
        ("23:30", 450),
        ("06:59", 1),
        ("07:00", 0),
        ("12:00", 0),
    ],
)
def test_quiet_hours_hold_warnings_until_they_end(clock: str, minutes: int) -> None:
    hour, minute = (int(part) for part in clock.split(":"))
    now = datetime(2026, 5, 1, (hour - 9) % 24, minute, tzinfo=UTC)
    given = channel(quiet_hours=quiet("22:00", "07:00"))
    assert quiet_for(given, facts(), now, None) == minutes * 60_000
    assert quiet_for(given, facts(severity=Severity.CRITICAL), now, None) == 0


def test_quiet_hours_within_one_day_and_without_their_own_zone() -> None:
    given = channel(quiet_hours=quiet("09:00", "10:00", None))
    now = datetime(2026, 5, 1, 0, 30, tzinfo=UTC)
    assert quiet_for(given, facts(), now, "Asia/Seoul") == 30 * 60_000
    assert quiet_for(given, facts(), now, "UTC") == 0


def test_an_unknown_zone_is_the_systems() -> None:
    assert zone_of("No/Such") is None
    assert zone_of(None) is None


def test_facts_survive_the_outbox() -> None:
    for given in (facts(), facts(step=AlertStep.RESOLVE)):
        assert facts_of(given.document()) == given


# --- rates --------------------------------------------------------------------------------------


def test_five_at_once_then_one_a_second() -> None:
    bucket, now_ms, sent = Bucket(0), 0, 0
    while now_ms < 10_000:
        if bucket.wait_ms(now_ms, critical=False) == 0:
            bucket.take(now_ms)
            sent += 1
        else:
            now_ms += bucket.wait_ms(now_ms, critical=False)
    assert sent == 5 + 9


def test_an_hour_has_a_bound_that_critical_ones_pass() -> None:
    bucket = Bucket(0)
    for number in range(HOUR_MAX):
        bucket.take(number * 2_000)
    now_ms = HOUR_MAX * 2_000 + 10_000
    assert bucket.wait_ms(now_ms, critical=True) == 0
    assert bucket.wait_ms(now_ms, critical=False) == HOUR_MS - now_ms
    assert bucket.wait_ms(HOUR_MS, critical=False) == 0


def test_back_off_doubles_with_jitter_up_to_five_minutes() -> None:
    rng = random.Random(7)
    for failures in range(1, 40):
        ceiling = min(1_000 * 2 ** (failures - 1), BACKOFF_MAX_MS)
        assert ceiling // 2 <= backoff_ms(failures, rng) <= ceiling
