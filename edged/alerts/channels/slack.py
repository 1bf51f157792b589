"""Slack incoming webhooks: blocks inside an attachment, for the colour bar."""

from datetime import datetime
from typing import Final

from edged.alerts.channels.base import Endpoint, Request, Service, judge, posted
from edged.alerts.limits import fit
from edged.alerts.texts.message import Message

SECTION_MAX: Final = 3_000
CONTEXT_MAX: Final = 2_000
FALLBACK_MAX: Final = 3_000
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def escape(text: str) -> str:
    """Make text harmless: without angle brackets there is no <!channel> and no link."""
    return text.translate(_ENTITIES)


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    del now
    title = fit(message.title, SECTION_MAX - 2, escape=escape)
    lines = "\n".join(str(line) for line in message.lines)
    blocks = [_section(f"*{title}*")]
    if lines:
        blocks.append(_section(fit(lines, SECTION_MAX, escape=escape)))
    footer = fit(message.footer, CONTEXT_MAX, escape=escape)
    blocks.append({"type": "context", "elements": [_words(footer)]})
    return posted(
        endpoint.url,
        {
            "text": fit(message.title, FALLBACK_MAX, escape=escape),
            "attachments": [{"color": message.colour, "blocks": blocks}],
        },
    )


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": _words(text)}


def _words(text: str) -> dict[str, object]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


SERVICE: Final = Service(write=write, judge=judge)
