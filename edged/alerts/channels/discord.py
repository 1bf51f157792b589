"""Discord webhooks: one embed, nobody mentioned."""

from datetime import datetime
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from edged.alerts.channels.base import (
    Answer,
    Endpoint,
    Fate,
    Request,
    Service,
    Verdict,
    bounded_ms,
    number,
    posted,
)
from edged.alerts.channels.base import judge as judge_status
from edged.alerts.limits import escape_signs, fit, utf16_units
from edged.alerts.texts.message import Message

TITLE_MAX: Final = 256
DESCRIPTION_MAX: Final = 4_096
FOOTER_MAX: Final = 1_024
"""2,048 are allowed; title, description and footer together may have 6,000."""
SILENT_FLAG: Final = 1 << 12
TOO_MANY: Final = 429

escape = escape_signs("\\*_~`|>[]()#")


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message. Counted in UTF-16 units: never more than Discord's characters."""
    del now
    lines = "\n".join(str(line) for line in message.lines)
    document: dict[str, object] = {
        "username": "edged",
        "embeds": [
            {
                "title": fit(message.title, TITLE_MAX, utf16_units, escape),
                "description": fit(lines, DESCRIPTION_MAX, utf16_units, escape),
                "color": int(message.colour[1:], 16),
                "timestamp": message.at.isoformat(timespec="milliseconds"),
                "footer": {"text": fit(message.footer, FOOTER_MAX, utf16_units)},
                **({"url": message.link} if message.link else {}),
            },
        ],
        "allowed_mentions": {"parse": []},
    }
    if endpoint.silent:
        document["flags"] = SILENT_FLAG
    return posted(_address(endpoint), document)


def _address(endpoint: Endpoint) -> str:
    words = {"wait": "true"}
    if endpoint.thread_id:
        words["thread_id"] = endpoint.thread_id
    parts = urlsplit(endpoint.url)
    query = "&".join(part for part in (parts.query, urlencode(words)) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def judge(answer: Answer, now: datetime) -> Verdict:
    """Say what an answer means; the wait stands in the body, in seconds with a fraction."""
    if answer.status == TOO_MANY:
        seconds = number(answer.document.get("retry_after"))
        if seconds is not None:
            return Verdict(fate=Fate.RETRY, detail=answer.words, after_ms=bounded_ms(seconds))
    return judge_status(answer, now)


SERVICE: Final = Service(write=write, judge=judge)
