"""NAVER WORKS (LINE WORKS), by its Incoming Webhook app."""

from datetime import datetime
from typing import Final

from edged.alerts.channels.base import Endpoint, Request, Service, judge, posted
from edged.alerts.limits import fit
from edged.alerts.texts.message import Message

TITLE_MAX: Final = 250
TEXT_MAX: Final = 2_000
"""Limits are not published; these have room to spare."""


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    del now
    document: dict[str, object] = {
        "title": fit(message.title, TITLE_MAX),
        "body": {"text": fit(message.body, TEXT_MAX)},
    }
    if message.link:
        document["button"] = {"label": message.link_text, "url": message.link}
    return posted(endpoint.url, document)


SERVICE: Final = Service(write=write, judge=judge)
