"""PagerDuty Events API v2: opened and resolved by the incident's own key."""

from datetime import UTC, datetime
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

URL: Final = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_MAX: Final = 1_024
KEY_MAX: Final = 255
LATER_MS: Final = 180_000
"""For 429 PagerDuty asks for a pause of a few minutes."""
TOO_MANY: Final = 429
SEVERITY: Final = {"critical": "critical", "warning": "warning", "info": "info", "debug": "info"}


def write(message: Message, endpoint: Endpoint, now: datetime) -> Request:
    """Write a message."""
    del now
    document: dict[str, object] = {
        "routing_key": endpoint.routing_key,
        "event_action": "resolve" if message.over else "trigger",
        "dedup_key": f"edged/{endpoint.host}/{message.incident}"[-KEY_MAX:],
        "payload": {
            "summary": fit(message.title, SUMMARY_MAX),
            "source": endpoint.host or "edged",
            "severity": SEVERITY[str(message.severity)],
            "timestamp": message.at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "component": "edged",
            "group": message.subject,
            "class": message.kind,
            "custom_details": {
                "incident": message.incident,
                "text": message.body,
            },
        },
    }
    if message.link:
        document["client"] = "edged"
        document["client_url"] = message.link
    return posted(endpoint.url or URL, document)


def judge(answer: Answer, now: datetime) -> Verdict:
    """Say what an answer means."""
    verdict = judge_status(answer, now)
    if answer.status == TOO_MANY and verdict.after_ms is None:
        return Verdict(fate=Fate.RETRY, detail=verdict.detail, after_ms=LATER_MS)
    return verdict


SERVICE: Final = Service(write=write, judge=judge)
