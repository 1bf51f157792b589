"""Mattermost incoming webhooks: one attachment, urgent where it is critical."""

from datetime import datetime
from typing import Final

from edged.alerts.channels.base import Endpoint, Request, Service, judge, posted
from edged.alerts.limits import fit
from edged.alerts.texts.message import Message, Tone

TITLE_MAX: Final = 1_000
TEXT_MAX: Final = 12_000
"""A post has 16,383 characters at most."""
_QUIET: Final = str.maketrans(
    {"@": "@\u200b", **{sign: f"\\{sign}" for sign in "\\*_[]()#`~>|"}},
)


def escape(text: str) -> str:
    """Make text harmless: @channel is parted by a sign that nobody sees."""
    return text.translate(_QUIET)


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    del now
    attachment = {
        "fallback": fit(message.title, TITLE_MAX, escape=escape),
        "color": message.colour,
        "title": fit(message.title, TITLE_MAX, escape=escape),
        "text": fit(message.body, TEXT_MAX, escape=escape),
        **({"title_link": message.link} if message.link else {}),
    }
    document: dict[str, object] = {"username": "edged", "attachments": [attachment]}
    if message.tone is Tone.CRITICAL:
        document["priority"] = {"priority": "urgent"}
    return posted(endpoint.url, document)


SERVICE: Final = Service(write=write, judge=judge)
