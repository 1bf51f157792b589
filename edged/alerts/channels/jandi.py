"""JANDI incoming webhooks: a wrong `Accept` is refused."""

from datetime import datetime
from typing import Final

from edged.alerts.channels.base import Endpoint, Request, Service, judge, posted, without_links
from edged.alerts.limits import fit
from edged.alerts.texts.message import Message

ACCEPT: Final = "application/vnd.tosslab.jandi-v2+json"
TITLE_MAX: Final = 250
TEXT_MAX: Final = 2_000
"""Limits are not published; these have room to spare."""


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    del now
    info = [
        {
            "title": fit(without_links(line.label or "edged"), TITLE_MAX),
            "description": fit(without_links(line.text), TEXT_MAX),
        }
        for line in message.lines
    ]
    info.append({"title": message.incident, "description": fit(message.footer, TEXT_MAX)})
    return posted(
        endpoint.url,
        {
            "body": fit(without_links(message.title), TITLE_MAX),
            "connectColor": message.colour,
            "connectInfo": info,
            **({"email": endpoint.email} if endpoint.email else {}),
        },
        {"Accept": ACCEPT, "Content-Type": "application/json"},
    )


SERVICE: Final = Service(write=write, judge=judge)
