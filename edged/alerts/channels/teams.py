"""Microsoft Teams, through a Workflows webhook.

202 means that the flow has taken it, not that it was posted: a broken flow is invisible from
outside. A flow is owned by a person and dies with the account.
"""

from datetime import datetime
from typing import Final

from edged.alerts.channels.base import Endpoint, Request, Service, judge, posted
from edged.alerts.limits import escape_signs, fit, utf8_bytes
from edged.alerts.texts.message import Message, Tone

TITLE_MAX: Final = 1_024
LINE_MAX: Final = 2_048
LINES_MAX: Final = 8
"""Together below 20 KB: Teams takes about 28, and loses messages sooner."""
COLOUR: Final = {
    Tone.CRITICAL: "Attention",
    Tone.DOWN: "Attention",
    Tone.WARNING: "Warning",
    Tone.INFO: "Accent",
    Tone.GOOD: "Good",
}

escape = escape_signs("\\*_[]()#`~>")


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message as a card of version 1.4, which every client shows."""
    del now
    body: list[dict[str, object]] = [
        {
            "type": "TextBlock",
            "text": fit(message.title, TITLE_MAX, utf8_bytes, escape),
            "weight": "Bolder",
            "size": "Medium",
            "color": COLOUR[message.tone],
            "wrap": True,
        },
    ]
    body.extend(_block(str(line)) for line in message.lines[:LINES_MAX])
    body.append({**_block(message.footer), "isSubtle": True, "size": "Small"})
    card: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
    }
    if message.link:
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": message.link_text, "url": message.link}
        ]
    return posted(
        endpoint.url,
        {
            "type": "message",
            "attachments": [
                {
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": None,
                    "content": card,
                },
            ],
        },
    )


def _block(text: str) -> dict[str, object]:
    words = fit(text, LINE_MAX, utf8_bytes, escape)
    return {"type": "TextBlock", "text": words, "wrap": True, "spacing": "Small"}


SERVICE: Final = Service(write=write, judge=judge)
