"""Builders for alerts: facts as the desk makes them, and surroundings that never change."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from edged.alerts.channels.base import Endpoint
from edged.alerts.facts import AlertFacts
from edged.alerts.texts.compose import About
from edged.config.secret import Secret, SecretKind, SecretSource
from edged.config.types import ChannelConfig, ChannelType, Language, QuietHours
from edged.config.types import Severity as ConfigSeverity
from edged.core.alerting import AlertKind, AlertStep
from edged.core.events import Severity

HAPPENED: Final = datetime(2026, 5, 1, 18, 12, 44, tzinfo=UTC)
NODES: Final = ("node1", "node2", "node3")
GOLDEN: Final = Path(__file__).parents[1] / "unit" / "alerts" / "golden"
ENDPOINT: Final = Endpoint(
    url="https://chat.example.test/hook/secret-path",
    token="123456:token",
    routing_key="routing-key",
    secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
    chat_id="-1001234567890",
    thread_id="42",
    topic="edged",
    bot_name="edged",
    host="mgmt-1",
)


def about(**changes: Any) -> About:  # noqa: ANN401 - fields of About
    """Return surroundings: three nodes, one VIP, one router, Seoul."""
    given: dict[str, Any] = {
        "host": "mgmt-1",
        "zone": ZoneInfo("Asia/Seoul"),
        "addresses": {"node1": "172.30.1.20", "node2": "172.30.1.70", "node3": "172.30.1.82"},
        "routers": {"hex": "172.30.1.1"},
        "urls": {"web": "https://grafana.example.test"},
        "vips": {"web": NODES},
        "ports": {"web": 443},
    }
    return About(**(given | changes))


def facts(
    kind: AlertKind = AlertKind.GATEWAY_OUT,
    step: AlertStep = AlertStep.OPEN,
    *,
    incident: str = "7k2",
    **changes: Any,  # noqa: ANN401 - fields of AlertFacts
) -> AlertFacts:
    """Return facts about node2, which refused and left; a resolve comes 4 min 12 s later."""
    over = step is AlertStep.RESOLVE
    given: dict[str, Any] = {
        "class": "refused",
        "changed_on": ("hex",),
        "total_ms": 13,
        "verified": True,
        "in_route": NODES if over else ("node1", "node3"),
        "passing": NODES if over else ("node1", "node3"),
        "left": 3 if over else 2,
        "total": 3,
        "floor": 2,
    }
    if over:
        given |= {"open_ms": 252_000, "ending": "returned"}
    else:
        given["down"] = ("node2",)
    defaults: dict[str, Any] = {
        "message_id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "severity": Severity.WARNING,
        "names": ("gateway.went_down", "route.changed"),
        "vips": ("web",),
        "gateways": ("node2",),
        "opened": HAPPENED,
        "at": HAPPENED + timedelta(milliseconds=252_000 if over else 0),
        "facts": given | changes.pop("facts", {}),
    }
    return AlertFacts(incident=incident, kind=kind, step=step, **(defaults | changes))


def secret(value: str) -> SecretSource:
    """Return a secret that stands in the configuration."""
    return SecretSource(
        kind=SecretKind.INLINE, where="url", credential="channel", value=Secret(value)
    )


def channel(
    kind: ChannelType = ChannelType.SLACK,
    *,
    url: str | None = "https://chat.example.test/hook/secret-path",
    **changes: Any,  # noqa: ANN401 - fields of ChannelConfig
) -> ChannelConfig:
    """Return a channel's configuration; its name is its type."""
    given: dict[str, Any] = {
        "name": kind.value,
        "type": kind,
        "min_severity": ConfigSeverity.WARNING,
        "events": ("*",),
        "vips": None,
        "language": Language.ENGLISH,
        "quiet_hours": None,
        "proxy": None,
        "url": secret(url) if url is not None else None,
        "token": secret("123456:token"),
        "routing_key": secret("routing-key"),
        "secret": secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "chat_id": "-1001234567890",
        "thread_id": None,
        "silent": False,
        "topic": "edged",
        "bot_name": "edged",
        "bot_icon": None,
        "email": None,
    }
    return ChannelConfig(**(given | changes))


def quiet(start: str, end: str, zone: str | None = "Asia/Seoul") -> QuietHours:
    """Return quiet hours from `HH:MM` to `HH:MM`."""

    def minute(text: str) -> int:
        hours, _, minutes = text.partition(":")
        return int(hours) * 60 + int(minutes)

    return QuietHours(start_minute=minute(start), end_minute=minute(end), timezone=zone)
