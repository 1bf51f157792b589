"""An alert's message as facts with wall times: what is kept in the outbox and said in any language.

Owns the JSON form. Holds no text for people, so that a message which waits over a restart is said
in the language and zone that are configured when it leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from edged.core.alerting import AlertKind, AlertStep
from edged.core.events import Scalar, Severity

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFacts:
    """One message. In `facts`, instants (`until_ms` and the like) are milliseconds since 1970."""

    message_id: str
    """Stays the same over retries, so that a receiver can drop a double."""
    incident: str
    kind: AlertKind
    step: AlertStep
    severity: Severity
    names: tuple[str, ...]
    vips: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()
    opened: datetime
    at: datetime
    observe: bool = False
    whole: bool = False
    """A resolve whose opening was never sent: it tells both."""
    facts: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether nothing is wrong any longer."""
        return self.step is AlertStep.RESOLVE

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "message_id": self.message_id,
            "incident": self.incident,
            "kind": str(self.kind),
            "step": str(self.step),
            "severity": str(self.severity),
            "names": list(self.names),
            "vips": list(self.vips),
            "gateways": list(self.gateways),
            "routers": list(self.routers),
            "opened_ms": wall_ms(self.opened),
            "at_ms": wall_ms(self.at),
            "observe": self.observe,
            "whole": self.whole,
            "facts": {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in self.facts.items()
            },
        }


def facts_of(document: Mapping[str, Any]) -> AlertFacts:
    """Read the JSON form.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    return AlertFacts(
        message_id=str(document["message_id"]),
        incident=str(document["incident"]),
        kind=AlertKind(document["kind"]),
        step=AlertStep(document["step"]),
        severity=Severity(document["severity"]),
        names=_texts(document["names"]),
        vips=_texts(document["vips"]),
        gateways=_texts(document["gateways"]),
        routers=_texts(document["routers"]),
        opened=from_wall_ms(document["opened_ms"]),
        at=from_wall_ms(document["at_ms"]),
        observe=bool(document["observe"]),
        whole=bool(document["whole"]),
        facts=MappingProxyType(
            {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in document["facts"].items()
            }
        ),
    )


def merged(opening: AlertFacts, resolve: AlertFacts) -> AlertFacts:
    """Return one message for an opening that never left and the resolve that has come meanwhile."""
    return replace(resolve, whole=True, facts={**opening.facts, **resolve.facts})


def wall_ms(at: datetime) -> int:
    """Return a wall time as milliseconds since 1970."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def from_wall_ms(at_ms: int) -> datetime:
    """Return the wall time of milliseconds since 1970."""
    return EPOCH + timedelta(milliseconds=at_ms)


def _texts(values: list[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
