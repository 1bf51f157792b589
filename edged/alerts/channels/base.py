"""What all services share: the request, the answer, and what an answer means for the message.

Owns no socket. A service is two pure functions, so that it can be tested without one.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from edged.alerts.texts.message import Message

RETRY_AFTER_MAX_MS: Final = 3_600_000
"""A service may not make us wait longer for the next attempt."""

ANSWER_SHOWN: Final = 200
RETRIED: Final = frozenset({408, 425, 429})
"""Refusals that a later attempt may not meet."""


class Fate(StrEnum):
    """What becomes of a message after an attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    TOO_LARGE = "too_large"
    """Try once more with the title alone."""
    REFUSED = "refused"
    """Sending it again would change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer understood."""

    fate: Fate
    detail: str = ""
    after_ms: int | None = None
    """The service's own word on when to come again."""
    moved_to: str | None = None
    """The chat's new number (Telegram)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A channel with its secrets revealed; never logged, never kept."""

    url: str = ""
    token: str = ""
    routing_key: str = ""
    secrets: tuple[str, ...] = ()
    chat_id: str = ""
    thread_id: str = ""
    silent: bool = False
    topic: str = ""
    bot_name: str = ""
    bot_icon: str = ""
    email: str = ""
    host: str = ""

    def __repr__(self) -> str:
        return "Endpoint(***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is posted."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Request(***, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; header names in lower case, the body bounded."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def document(self) -> dict[str, Any]:
        """Return the body as a JSON object; empty where it is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def words(self) -> str:
        """Return status and body as one short line."""
        text = self.body[: 4 * ANSWER_SHOWN].decode("utf-8", "replace")
        text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
        return f"{self.status} {text[:ANSWER_SHOWN]}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How one service is spoken to."""

    write: Callable[[Message, Endpoint, datetime], Request]
    judge: Callable[[Answer, datetime], Verdict]
    refreshed: bool = False
    """The service forgets what is not repeated (Alertmanager)."""


def posted(url: str, document: object, headers: Mapping[str, str] | None = None) -> Request:
    """Return a request with a JSON body."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Request(
        url=url,
        body=body.encode("utf-8", "replace"),
        headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
    )


def judge(answer: Answer, now: datetime) -> Verdict:
    """Say what a status means, where a service has no words of its own for it."""
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - the good ones
        return Verdict(fate=Fate.DELIVERED, detail=answer.words)
    if 300 <= status < 400:  # noqa: PLR2004 - never followed: a secret would go along
        return Verdict(fate=Fate.RETRY, detail=f"{status}: a redirect, which is not followed")
    if status == 413:  # noqa: PLR2004 - content too large
        return Verdict(fate=Fate.TOO_LARGE, detail=answer.words)
    if status in RETRIED or status >= 500:  # noqa: PLR2004 - the service's own trouble
        return Verdict(fate=Fate.RETRY, detail=answer.words, after_ms=retry_after(answer, now))
    return Verdict(fate=Fate.REFUSED, detail=answer.words)


def retry_after(answer: Answer, now: datetime) -> int | None:
    """Read `Retry-After`: seconds, or a date."""
    value = answer.headers.get("retry-after", "").strip()
    if not value:
        return None
    seconds = number(value)
    if seconds is not None:
        return bounded_ms(seconds)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if at.tzinfo is None:
        return None
    return bounded_ms((at - now).total_seconds())


def bounded_ms(seconds: float) -> int:
    """Return a wait in milliseconds, within what we accept."""
    return round(min(max(seconds, 0.0) * 1_000, RETRY_AFTER_MAX_MS))


def number(value: object) -> float | None:
    """Return a number that a service gave as one or as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if found == found and abs(found) < 1e12 else None  # noqa: PLR0124, PLR2004 - NaN


def joined(url: str, path: str) -> str:
    """Return a path below a server's URL."""
    return f"{url.rstrip('/')}/{path.lstrip('/')}"


def without_links(text: str) -> str:
    """Break Markdown's link form, for services that have no escape."""
    return text.replace("](", "] (")
