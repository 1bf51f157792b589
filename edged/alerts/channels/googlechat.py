"""Google Chat: a card in a thread of its own for each incident."""

from datetime import datetime
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from edged.alerts.channels.base import Endpoint, Request, Service, judge, posted
from edged.alerts.limits import fit, utf8_bytes
from edged.alerts.texts.message import Message

TEXT_MAX: Final = 1_000
BODY_MAX: Final = 20_000
"""A message has 32,000 bytes at most."""
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_PLAIN: Final = str.maketrans({"<": "‹", ">": "›", "*": "∗", "_": "‗", "~": "∼", "`": "'"})


def escape(text: str) -> str:
    """Make text harmless inside a card, which knows a little HTML."""
    return text.translate(_ENTITIES)


def plain(text: str) -> str:
    """Make text harmless outside a card: there is no escape, and <users/all> calls everybody."""
    return text.translate(_PLAIN)


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message; `requestId` lets Google drop a double."""
    del now
    widgets: list[dict[str, object]] = [
        {"textParagraph": {"text": fit(message.body, BODY_MAX, utf8_bytes, escape)}},
    ]
    if message.link:
        button = {"text": message.link_text, "onClick": {"openLink": {"url": message.link}}}
        widgets.append({"buttonList": {"buttons": [button]}})
    document = {
        "text": fit(message.title, TEXT_MAX, utf8_bytes, plain),
        "cardsV2": [{"cardId": message.incident, "card": {"sections": [{"widgets": widgets}]}}],
        "thread": {"threadKey": message.incident},
    }
    parts = urlsplit(endpoint.url)
    words = {
        "messageReplyOption": "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD",
        "requestId": message.message_id,
    }
    query = "&".join(part for part in (parts.query, urlencode(words)) if part)
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
    return posted(url, document)


SERVICE: Final = Service(write=write, judge=judge)
