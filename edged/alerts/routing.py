"""Which channel hears what, and when; pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edged.alerts.facts import AlertFacts
from edged.config.types import ChannelConfig, QuietHours
from edged.config.types import Severity as ConfigSeverity
from edged.core.alerting import AlertStep
from edged.core.events import Severity

_ORDER: Final = list(Severity)
_CONFIG: Final[Mapping[ConfigSeverity, Severity]] = {
    one: Severity(one.value) for one in ConfigSeverity
}
_DAY_MINUTES: Final = 24 * 60


def wants(channel: ChannelConfig, facts: AlertFacts, *, told: frozenset[str]) -> bool:
    """Whether a channel hears this message; `told` are those that heard of the incident before.

    What a channel was told of it is told the end of, and of nothing else the end.
    """
    if facts.over:
        return channel.name in told
    if channel.name in told and facts.step is not AlertStep.NOTICE:
        return True
    if facts.facts.get("channel") == channel.name:
        return False  # its own trouble cannot be told there
    loud = _ORDER.index(facts.severity) >= _ORDER.index(_CONFIG[channel.min_severity])
    return (
        loud
        and any(fnmatchcase(name, pattern) for name in facts.names for pattern in channel.events)
        and (channel.vips is None or not facts.vips or bool({*channel.vips} & {*facts.vips}))
    )


def quiet_for(channel: ChannelConfig, facts: AlertFacts, now: datetime, zone: str | None) -> int:
    """Return for how many milliseconds a message is held: quiet hours let critical ones pass."""
    if channel.quiet_hours is None or facts.severity is Severity.CRITICAL:
        return 0
    return quiet_left_ms(channel.quiet_hours, now, zone)


def quiet_left_ms(quiet: QuietHours, now: datetime, zone: str | None) -> int:
    """Return how long quiet hours still last; 0 outside them."""
    local = now.astimezone(zone_of(quiet.timezone or zone))
    minute = local.hour * 60 + local.minute
    start, end = quiet.start_minute, quiet.end_minute
    inside = start <= minute < end if start <= end else minute >= start or minute < end
    if not inside:
        return 0
    minutes = (end - minute) % _DAY_MINUTES or _DAY_MINUTES
    until = timedelta(minutes=minutes) - timedelta(
        seconds=local.second, microseconds=local.microsecond
    )
    return max(until // timedelta(milliseconds=1), 1)


def zone_of(name: str | None) -> ZoneInfo | None:
    """Return a time zone by its name; None is the system's."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
