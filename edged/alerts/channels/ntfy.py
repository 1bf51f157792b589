"""ntfy: JSON to the server's root; a message of more than 4,096 bytes would become a file."""

from datetime import datetime
from typing import Final

from edged.alerts.channels.base import Endpoint, Request, Service, joined, judge, posted
from edged.alerts.limits import fit, utf8_bytes
from edged.alerts.texts.message import Message, Tone

MESSAGE_MAX: Final = 4_096
TITLE_MAX: Final = 250
PRIORITY: Final = {
    Tone.CRITICAL: 5,
    Tone.DOWN: 4,
    Tone.WARNING: 3,
    Tone.INFO: 2,
    Tone.GOOD: 3,
}
TAG: Final = {
    Tone.CRITICAL: "critical",
    Tone.DOWN: "down",
    Tone.WARNING: "warning-level",
    Tone.INFO: "info",
    Tone.GOOD: "resolved",
}


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    del now
    document: dict[str, object] = {
        "topic": endpoint.topic,
        "title": fit(message.title, TITLE_MAX, utf8_bytes),
        "message": fit(message.body, MESSAGE_MAX, utf8_bytes),
        "priority": PRIORITY[message.tone],
        "tags": [TAG[message.tone]],
    }
    if message.link:
        document["click"] = message.link
    headers = {"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
    return posted(joined(endpoint.url, ""), document, headers)


SERVICE: Final = Service(write=write, judge=judge)
