"""Telegram bots: HTML, counted in UTF-16 units after parsing."""

from datetime import datetime
from typing import Final

from edged.alerts.channels.base import (
    Answer,
    Endpoint,
    Fate,
    Request,
    Service,
    Verdict,
    bounded_ms,
    joined,
    number,
    posted,
)
from edged.alerts.channels.base import judge as judge_status
from edged.alerts.limits import fit, utf16_units
from edged.alerts.texts.message import Message

SERVER: Final = "https://api.telegram.org"
TEXT_MAX: Final = 4_096
TITLE_MAX: Final = 1_024
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def escape(text: str) -> str:
    """Make text harmless inside Telegram's HTML."""
    return text.translate(_ENTITIES)


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message. Its length counts without tags and with entities as one sign."""
    del now
    title = fit(message.title, TITLE_MAX, utf16_units)
    body = fit(message.body, TEXT_MAX - utf16_units(title) - 1, utf16_units)
    document: dict[str, object] = {
        "chat_id": endpoint.chat_id,
        "text": f"<b>{escape(title)}</b>\n{escape(body)}",
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }
    if endpoint.thread_id:
        thread = endpoint.thread_id
        document["message_thread_id"] = int(thread) if thread.isdecimal() else thread
    if endpoint.silent:
        document["disable_notification"] = True
    server = endpoint.url or SERVER
    return posted(joined(server, f"bot{endpoint.token}/sendMessage"), document)


def judge(answer: Answer, now: datetime) -> Verdict:
    """Say what an answer means; a group that became a supergroup has a new number."""
    parameters = answer.document.get("parameters")
    if isinstance(parameters, dict) and answer.status >= 400:  # noqa: PLR2004 - refusals
        moved = parameters.get("migrate_to_chat_id")
        if isinstance(moved, int) and not isinstance(moved, bool):
            return Verdict(
                fate=Fate.RETRY,
                detail=f"the chat has the new number {moved}: write it into the configuration",
                after_ms=0,
                moved_to=str(moved),
            )
        seconds = number(parameters.get("retry_after"))
        if seconds is not None:
            return Verdict(fate=Fate.RETRY, detail=answer.words, after_ms=bounded_ms(seconds))
    good = 200 <= answer.status < 300  # noqa: PLR2004 - the good ones
    if good and answer.document.get("ok") is False:
        return Verdict(fate=Fate.REFUSED, detail=answer.words)
    return judge_status(answer, now)


SERVICE: Final = Service(write=write, judge=judge)
