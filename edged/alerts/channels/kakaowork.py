"""KakaoWork incoming webhooks: the body tells whether it was taken."""

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
)
from edged.alerts.channels.base import judge as judge_status
from edged.alerts.limits import fit
from edged.alerts.texts.message import Message

TEXT_MAX: Final = 500
"""Of one text block; limits are not published."""


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    del now
    texts = [message.title, *(str(line) for line in message.lines), message.footer]
    blocks: list[dict[str, object]] = [_block(text) for text in texts]
    if message.link:
        blocks.append(
            {
                "type": "button",
                "text": message.link_text,
                "style": "default",
                "action_type": "open_system_browser",
                "value": message.link,
            },
        )
    return posted(endpoint.url, {"text": fit(message.title, TEXT_MAX), "blocks": blocks})


def _block(text: str) -> dict[str, object]:
    words = fit(text, TEXT_MAX)
    return {"type": "text", "text": words, "inlines": [{"type": "styled", "text": words}]}


def judge(answer: Answer, now: datetime) -> Verdict:
    """Say what an answer means."""
    verdict = judge_status(answer, now)
    if verdict.fate is Fate.DELIVERED and answer.document.get("success") is False:
        return Verdict(fate=Fate.REFUSED, detail=answer.words)
    return verdict


SERVICE: Final = Service(write=write, judge=judge)
