"""Dooray! incoming webhooks: a status of 200 may still be a failure, which the body tells."""

from datetime import datetime
from typing import Final

from edged.alerts.channels.base import (
    Answer,
    Endpoint,
    Fate,
    Request,
    Service,
    Verdict,
    posted,
    without_links,
)
from edged.alerts.channels.base import judge as judge_status
from edged.alerts.limits import fit
from edged.alerts.texts.message import Message

TITLE_MAX: Final = 250
TEXT_MAX: Final = 3_000
"""Limits are not published; these have room to spare."""


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    del now
    attachment = {
        "title": fit(without_links(message.title), TITLE_MAX),
        "text": fit(without_links(message.body), TEXT_MAX),
        "color": message.colour,
        **({"titleLink": message.link} if message.link else {}),
    }
    return posted(
        endpoint.url,
        {
            "botName": endpoint.bot_name or "edged",
            **({"botIconImage": endpoint.bot_icon} if endpoint.bot_icon else {}),
            "text": fit(without_links(message.title), TITLE_MAX),
            "attachments": [attachment],
        },
    )


def judge(answer: Answer, now: datetime) -> Verdict:
    """Say what an answer means: `header.isSuccessful` decides, not the status."""
    verdict = judge_status(answer, now)
    header = answer.document.get("header")
    if verdict.fate is not Fate.DELIVERED or not isinstance(header, dict):
        return verdict
    if header.get("isSuccessful") is False:
        words = header.get("resultMessage")
        detail = f"{answer.status}, but it failed: {header.get('resultCode')} {words}"
        return Verdict(fate=Fate.REFUSED, detail=detail[:200])
    return verdict


SERVICE: Final = Service(write=write, judge=judge)
