"""Alertmanager: an alert is known by its labels, and forgotten unless it is repeated."""

from datetime import UTC, datetime, timedelta
from typing import Final

from edged.alerts.channels.base import Endpoint, Request, Service, joined, judge, posted
from edged.alerts.texts.message import Message

REFRESH_MS: Final = 60_000
"""How often a firing alert is sent again."""
FIRING_FOR: Final = timedelta(milliseconds=3 * REFRESH_MS)
"""Without a repetition for so long it counts as resolved."""
NOTICE_FOR: Final = timedelta(minutes=5)


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    labels = {
        "alertname": f"edged_{message.kind}",
        "severity": str(message.severity),
        "incident": message.incident,
        "subject": message.subject,
        "instance": endpoint.host or "edged",
    }
    lasts = NOTICE_FOR if message.step == "notice" else FIRING_FOR
    ends = now if message.over else now + lasts
    alert: dict[str, object] = {
        "labels": labels,
        "annotations": {"summary": message.title, "description": message.body},
        "startsAt": _stamp(min(message.opened, ends)),
        "endsAt": _stamp(ends),
    }
    if message.link:
        alert["generatorURL"] = message.link
    headers = {"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
    return posted(joined(endpoint.url, "api/v2/alerts"), [alert], headers)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


SERVICE: Final = Service(write=write, judge=judge, refreshed=True)
